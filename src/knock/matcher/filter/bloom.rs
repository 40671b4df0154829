//! A Bloom filter with one bit for each hash.
//!
//! A second bit in the same word halves the false positives and more, but a lookup then takes half as long again, and
//! a false positive is cheap here.

/// A set of hashes in `WORDS` words, a power of two, that also says yes to some hashes that are not in it.
pub(super) struct Bloom<const WORDS: usize>(Box<[u64; WORDS]>);

impl<const WORDS: usize> Bloom<WORDS> {
    /// Leaves as many of a hash's bits as there are bits in the set: the first ones, which are the best mixed.
    const SHIFT: u32 = u64::BITS - (WORDS * 64).ilog2();

    /// An empty set. `None` never comes: it is what the standard library's conversion leaves open.
    pub(super) fn new() -> Option<Self> {
        vec![0; WORDS].into_boxed_slice().try_into().ok().map(Self)
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let bit = hash >> Self::SHIFT;
        if let Some(word) = self.0.get_mut((bit / 64) as usize) {
            *word |= 1 << (bit % 64);
        }
    }

    #[inline(always)]
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let bit = hash >> Self::SHIFT;
        self.0.get((bit / 64) as usize).is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }

    pub(super) fn memory_usage(&self) -> usize {
        size_of_val(&*self.0)
    }
}
