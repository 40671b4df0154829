//! Which part of a pattern says most about it.

use super::grams::Grams;
use crate::knock::common_text::ORDINARY;

/// How common q-grams are in SIP text, and in the patterns themselves: `urn:uuid:` is in all of them, and strangers
/// know it, too.
pub(in crate::knock) struct Rarity {
    grams: Grams,
    /// By the first bits of the hash. Some q-grams share a count, which makes a choice worse but not wrong.
    counts: Vec<u16>,
    shift: u32,
}

impl Rarity {
    pub(in crate::knock) fn new<'a>(grams: Grams, patterns: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let bytes: usize = patterns.clone().map(<[u8]>::len).sum();
        let counts = bytes.saturating_mul(COUNTS_PER_BYTE).clamp(MIN_COUNTS, MAX_COUNTS).next_power_of_two();
        let mut rarity = Self { grams, counts: vec![0; counts], shift: u64::BITS - counts.ilog2() };
        for (_, text) in ORDINARY {
            rarity.add(text.as_bytes(), ORDINARY_COUNT);
        }
        patterns.for_each(|pattern| rarity.add(pattern, 1));
        rarity
    }

    /// Where the window of so many q-grams begins whose q-grams are the least common.
    pub(in crate::knock) fn rarest_window(&self, pattern: &[u8], grams: usize) -> usize {
        let commonness = |at| u64::from(self.count(pattern, at));
        let mut sum: u64 = (0..grams).map(commonness).sum();
        let (mut least, mut best) = (sum, 0);
        for at in 1..=self.grams.count(pattern.len()).saturating_sub(grams) {
            sum = sum + commonness(at + grams - 1) - commonness(at - 1);
            if sum < least {
                (least, best) = (sum, at);
            }
        }
        best
    }

    fn add(&mut self, text: &[u8], count: u16) {
        for at in 0..self.grams.count(text.len()) {
            let slot = self.slot(text, at);
            if let Some(known) = slot.and_then(|slot| self.counts.get_mut(slot)) {
                *known = known.saturating_add(count);
            }
        }
    }

    fn count(&self, text: &[u8], at: usize) -> u16 {
        self.slot(text, at).and_then(|slot| self.counts.get(slot)).copied().unwrap_or_default()
    }

    fn slot(&self, text: &[u8], at: usize) -> Option<usize> {
        self.grams.hash_at(text, at).map(|hash| (hash >> self.shift) as usize)
    }
}

/// A q-gram of ordinary SIP text counts as much as one of so many patterns: it comes with nearly every packet.
const ORDINARY_COUNT: u16 = 64;

/// So that few q-grams share a count.
const COUNTS_PER_BYTE: usize = 4;
const MIN_COUNTS: usize = 1 << 16;

/// Two mebibytes, while the matcher is built.
const MAX_COUNTS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_is_left_out() {
        let uuids: Vec<_> =
            (1..50u64).map(|n| format!("urn:uuid:{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        for (patterns, grams, expected) in [
            // In one pattern only, so only SIP text can tell. It has no "id:9", which is as good as any other.
            (&["urn:uuid:9d1f2b604e0b4c6b"][..], 13, 5..=9),
            (&["k7h2m9x4;transport=udp;"], 5, 0..=3),
            (&["no choice"], 6, 0..=0),
            (&["ab"], 6, 0..=0),
            (&uuids.iter().map(String::as_str).collect::<Vec<_>>(), 13, 5..=9),
            (&["shared-prefix-k7h2", "shared-prefix-m9x4", "shared-prefix-q3w8"], 4, 11..=11),
        ] {
            let rarity = Rarity::new(Grams::new(4), patterns.iter().map(|pattern| pattern.as_bytes()));
            for pattern in patterns {
                let start = rarity.rarest_window(pattern.as_bytes(), grams);
                assert!(expected.contains(&start), "{pattern}: {start}");
            }
        }
    }
}
