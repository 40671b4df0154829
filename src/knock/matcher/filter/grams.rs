//! How q-grams and windows are read and hashed.

/// The q-grams of one filter.
#[derive(Clone, Copy, Debug)]
pub(in crate::knock) struct Grams {
    /// Their length in bytes, 1 to 8.
    q: usize,
    /// Shifted so far that the bytes behind a q-gram have no say in its hash.
    multiplier: u64,
}

impl Grams {
    pub(in crate::knock) fn new(q: usize) -> Self {
        let q = q.clamp(1, 8);
        Self { q, multiplier: MULTIPLIER << (64 - 8 * q) }
    }

    /// The factor of the hash.
    pub(in crate::knock) fn multiplier(self) -> u64 {
        self.multiplier
    }

    /// How many q-grams so many bytes have.
    pub(in crate::knock) fn count(self, bytes: usize) -> usize {
        (bytes + 1).saturating_sub(self.q)
    }

    /// The hash of the q-gram that these bytes begin with. Its first bits are the best.
    #[inline(always)]
    pub(in crate::knock) fn hash(self, bytes: [u8; 8]) -> u64 {
        folded(bytes).wrapping_mul(self.multiplier)
    }

    /// The hash of the q-gram that stands here, if one does.
    #[inline(always)]
    pub(in crate::knock) fn hash_at(self, bytes: &[u8], at: usize) -> Option<u64> {
        let rest = bytes.get(at..)?;
        match rest.first_chunk() {
            Some(bytes) => Some(self.hash(*bytes)),
            None => (rest.len() >= self.q).then(|| self.hash(tail(bytes, rest.len()))),
        }
    }

    /// The hash of the window of so many q-grams that stands here, if one does.
    #[inline(always)]
    pub(super) fn window_hash(self, bytes: &[u8], at: usize, grams: usize) -> Option<u64> {
        let rest = bytes.get(at..)?;
        let window = rest.get(..self.q + grams - 1)?;
        let Some(last) = window.last_chunk() else {
            let word = rest.first_chunk().copied().unwrap_or_else(|| padded(rest));
            return Some(mix(folded(word) << (64 - 8 * window.len())));
        };
        // The last word may overlap with the one before.
        let hash = window.as_chunks().0.iter().fold(0, |hash, word| mix(hash ^ folded(*word)));
        Some(mix(hash ^ folded(*last)))
    }

    /// The first and the last eight bytes of the window of so many q-grams, letters in one case; `None` if it has fewer.
    pub(super) fn window_ends(self, bytes: &[u8], at: usize, grams: usize) -> Option<[u64; 2]> {
        let window = bytes.get(at..)?.get(..self.q + grams - 1)?;
        Some([folded(*window.first_chunk()?), folded(*window.last_chunk()?)])
    }
}

/// Another hash of a q-gram, made of the first: another one for each odd seed.
#[inline(always)]
pub(super) fn rehash(hash: u64, seed: u32) -> u64 {
    (hash ^ hash >> 32).wrapping_mul(seed.into())
}

/// Eight bytes with ASCII letters in one case. Some other bytes become the same, too, which a filter may do.
#[inline(always)]
pub(super) fn folded(bytes: [u8; 8]) -> u64 {
    u64::from_le_bytes(bytes) | CASE
}

/// The last bytes, fewer than eight, and zeros: a part of the last eight where there are so many, since a copy byte by
/// byte takes as long as some five q-grams.
#[inline(always)]
fn tail(bytes: &[u8], count: usize) -> [u8; 8] {
    match bytes.last_chunk() {
        Some(word) => (u64::from_le_bytes(*word) >> (64 - 8 * count)).to_le_bytes(),
        None => padded(bytes.get(bytes.len() - count..).unwrap_or_default()),
    }
}

/// Fewer than eight bytes, and zeros.
#[inline(never)]
fn padded(bytes: &[u8]) -> [u8; 8] {
    let mut padded = [0; 8];
    padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    padded
}

/// Both halves of a product: all bits of the word have a say in all bits of the hash.
#[inline(always)]
fn mix(word: u64) -> u64 {
    let product = u128::from(word) * u128::from(MULTIPLIER);
    product as u64 ^ (product >> 64) as u64
}

/// The bit that tells small letters from capitals, in each byte.
const CASE: u64 = 0x2020_2020_2020_2020;

/// 2^64 divided by the golden ratio, as in Knuth's multiplicative hashing (The Art of Computer Programming, 6.4).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
