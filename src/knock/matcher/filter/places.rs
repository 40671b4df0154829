//! Where in their windows q-grams stand.

use super::grams::rehash;

/// A bit for each place of a window, for each hash's first bits. There is no more room for places than a window has, so
/// that the tables of thousands of patterns stay in the cache.
pub(super) struct Places {
    /// One after the other, and behind them as much as the last ones lack to be read as a `u32`.
    bits: Box<[u8]>,
    /// Bytes of one, as a power of two.
    width: u32,
    mask: u32,
    shift: u32,
}

impl Places {
    /// For windows of so many places, up to 32, and for so many q-grams.
    pub(super) fn new(places: usize, grams: usize) -> Self {
        let bytes = places.div_ceil(8).next_power_of_two().min(size_of::<u32>());
        let slots = grams.next_power_of_two().max(2);
        Self {
            bits: vec![0; slots * bytes + size_of::<u32>() - bytes].into(),
            width: bytes.ilog2(),
            mask: u32::MAX >> (u32::BITS - 8 * bytes as u32),
            shift: u64::BITS - slots.ilog2(),
        }
    }

    /// Takes in the place of a q-gram.
    pub(super) fn insert(&mut self, hash: u64, place: usize) {
        let at = self.slot(hash) + place / 8;
        if let Some(bits) = self.bits.get_mut(at) {
            *bits |= 1 << (place % 8);
        }
    }

    /// The places at which a q-gram may stand, and some more.
    #[inline]
    pub(super) fn of(&self, hash: u64) -> u32 {
        let bytes = self.bits.get(self.slot(hash)..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes)) & self.mask
    }

    /// Where its bits begin. The hash is mixed again: the first bits of q-grams that the Bloom filter lets pass are those
    /// of known ones.
    fn slot(&self, hash: u64) -> usize {
        ((rehash(hash) >> self.shift) as usize) << self.width
    }

    pub(super) fn memory_usage(&self) -> usize {
        size_of_val(&*self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_of_each_width_is_found_again() {
        for places in 1..=32 {
            let mut table = Places::new(places, 1000);
            let hash = |gram: usize| (gram as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (0..1000).for_each(|gram| table.insert(hash(gram), gram % places));
            for gram in 0..1000 {
                let found = table.of(hash(gram));
                assert_ne!(found & 1 << (gram % places), 0, "{gram} of {places}");
                assert_eq!(found.checked_shr(places as u32).unwrap_or(0), 0, "{gram} of {places}");
            }
        }
    }

    #[test]
    fn a_byte_is_enough_for_eight_places() {
        assert_eq!(Places::new(8, 1000).memory_usage(), 1024 + 3);
        assert_eq!(Places::new(9, 1000).memory_usage(), 2 * 1024 + 2);
        assert_eq!(Places::new(17, 1000).memory_usage(), 4 * 1024);
    }
}
