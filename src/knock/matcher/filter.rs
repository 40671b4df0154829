//! A sampled q-gram filter.
//!
//! Of each pattern a *window* is chosen, all windows of one length, and their *q-grams* (runs of q bytes) go into a
//! Bloom filter. Of a payload only every n-th q-gram is looked up in it, n being the number of q-grams in a window:
//! wherever a window stands, exactly one of its q-grams is looked at. Where that is a known one, a table tells where
//! in a window it has its place, and in whose. If those are few patterns, the first and the last eight bytes of their windows
//! are compared, and then all of them. If they are many, the window that would then stand there is looked up by
//! its hash, and the patterns of that window are compared with the payload, which alone decides.
//!
//! The work is bounded, whatever a stranger sends. No place of a payload is taken for a window's beginning twice, so
//! there are at most as many windows to look at as there are bytes, and far fewer unless most q-grams of the patterns
//! have most places, which is why those that consist of repetitions are left to others. Patterns are compared only
//! where a window stands, as far as that is looked at, and only so many have the same. What a packet full of
//! q-grams of patterns costs is counted by `cargo bench --bench core -- --worst`.
//!
//! All of it treats letters as if they were of one case, so patterns that ignore case and others share the filter, and
//! only the comparison tells them apart.

mod bloom;
mod grams;
mod marks;
mod sampled;
mod stride;
mod window;

use std::ops::Range;

pub(in crate::knock) use grams::Grams;
use sampled::Sampled;
#[cfg(test)]
pub(super) use sampled::work;
use stride::MAX_STRIDE;
pub(super) use stride::MIN_STRIDE;
pub(in crate::knock) use window::Rarity;

use super::pattern::{BuildError, Numbered};
use crate::knock::id::KnockId;

/// A filter, by the room for its q-grams: the lookup is faster where the compiler knows it.
pub(super) enum Filter {
    Small(Sampled<SMALL>),
    Medium(Sampled<MEDIUM>),
    Large(Sampled<LARGE>),
    Huge(Sampled<HUGE>),
}

impl Filter {
    /// A filter, and the patterns that it would be too slow for: those that consist of repetitions, and those that
    /// crowd in one window. None may be shorter than [`MIN_LEN`].
    pub(super) fn new<'a>(patterns: &[Numbered<'a>]) -> Result<(Self, Vec<Numbered<'a>>), BuildError> {
        let shortest = patterns.iter().map(|(_, pattern)| pattern.bytes.len()).min().unwrap_or(MIN_LEN);
        let has_words = || patterns.iter().any(|(_, pattern)| pattern.bytes.contains(&b' '));
        let q = match patterns.len() {
            0..=FEW if has_words() => WORDS_Q,
            0..=FEW => FEW_Q,
            _ => MANY_Q,
        };
        let q = q.min(shortest.saturating_sub(MIN_STRIDE - 1)).max(MIN_LEN);
        let most = (MAX_GRAMS / patterns.len().max(1)).clamp(MIN_STRIDE, MAX_STRIDE);
        let stride = most.min((shortest + 1).saturating_sub(q)).max(1);
        let grams = stride.saturating_mul(patterns.len());
        if grams <= SMALL_GRAMS {
            Sampled::new(patterns, q, stride).map(|(sampled, aside)| (Self::Small(sampled), aside))
        } else if grams <= MEDIUM_GRAMS {
            Sampled::new(patterns, q, stride).map(|(sampled, aside)| (Self::Medium(sampled), aside))
        } else if grams <= MAX_GRAMS {
            Sampled::new(patterns, q, stride).map(|(sampled, aside)| (Self::Large(sampled), aside))
        } else {
            Sampled::new(patterns, q, stride).map(|(sampled, aside)| (Self::Huge(sampled), aside))
        }
    }

    /// Shows every occurrence of each pattern, once.
    pub(super) fn each(&self, payload: &[u8], visit: impl FnMut(KnockId, Range<usize>)) {
        match self {
            Self::Small(sampled) => sampled.each(payload, visit),
            Self::Medium(sampled) => sampled.each(payload, visit),
            Self::Large(sampled) => sampled.each(payload, visit),
            Self::Huge(sampled) => sampled.each(payload, visit),
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        match self {
            Self::Small(sampled) => sampled.memory_usage(),
            Self::Medium(sampled) => sampled.memory_usage(),
            Self::Large(sampled) => sampled.memory_usage(),
            Self::Huge(sampled) => sampled.memory_usage(),
        }
    }
}

/// Shorter patterns don't go in: a q-gram of three bytes or fewer stands in every packet.
pub(super) const MIN_LEN: usize = 4;

/// Up to so many patterns four bytes tell enough, and leave the longest stride: with 100 knocks of 20 random letters
/// one packet in ten has a known q-gram by chance. With 1,000 it would be every packet, and six bytes are better.
const FEW: usize = 256;
const FEW_Q: usize = 4;
const MANY_Q: usize = 6;

/// Of patterns that are made of words, strangers know the words. Such a q-gram is seldom part of one.
const WORDS_Q: usize = 8;

/// Patterns of so many bytes have it, where they are few. Then it is faster than any search that looks at each byte.
pub(super) const LONGEST_STRIDE: usize = FEW_Q + MAX_STRIDE - 1;

/// A knock of 20 letters has 15 q-grams, and 10,000 of them fit in. Longer strides than that save less, by fewer
/// lookups, than a fuller filter costs.
const MAX_GRAMS: usize = 170_000;

/// 4 KiB of filter, for which one bit in 32 is set at most: one lookup in 32 has a false positive.
const SMALL: usize = 1 << 9;
const SMALL_GRAMS: usize = 1 << 10;

/// 32 KiB: the first-level cache of most processors. The same share of its bits is set.
const MEDIUM: usize = 1 << 12;
const MEDIUM_GRAMS: usize = 1 << 13;

/// 256 KiB, which stay in the second-level cache. One bit in 12 is set at most.
const LARGE: usize = 1 << 15;

/// 2 MiB, for 20,000 knocks and more.
const HUGE: usize = 1 << 18;
