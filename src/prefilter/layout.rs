//! How a filter lies in the memory of its map: `struct level` and `struct control` of tables.h.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::knock::gram_filter::{GramFilter, Level, MAX_FIRST, MAX_SECOND};

/// Words of a level: its numbers, the first table and the second.
pub(super) const LEVEL_WORDS: usize = HEADER_WORDS + FIRST_WORDS + MAX_SECOND;

/// A half has the long level and the short one, and there are two halves.
pub(super) const LEVELS: usize = 4;

/// Words of `struct control`.
pub(super) const CONTROL_WORDS: usize = 1;

const HEADER_WORDS: usize = 8;
const FIRST_WORDS: usize = MAX_FIRST / 8;

/// Writes a filter into a half, which has the words of two levels, and in which no program reads.
pub(super) fn write(half: &[AtomicU64], filter: &GramFilter) {
    let (long, short) = half.split_at(LEVEL_WORDS.min(half.len()));
    write_level(long, filter.long(), flags(filter));
    write_level(short, filter.short(), 0);
}

/// The flags of a half: whether a backslash is odd, and whether each payload is a hit.
fn flags(filter: &GramFilter) -> u64 {
    u64::from(filter.escapes()) | u64::from(filter.everything()) << 32
}

fn write_level(words: &[AtomicU64], level: Option<&Level>, flags: u64) {
    let Some((header, tables)) = words.split_at_checked(HEADER_WORDS) else { return };
    let Some(level) = level else {
        return fill(header, [0, 0, 0, flags].into_iter());
    };
    let (first, second) = tables.split_at(FIRST_WORDS.min(tables.len()));
    let pair = |low: usize, high: u32| low as u64 & 0xffff_ffff | u64::from(high) << 32;
    let stride = u32::try_from(level.stride()).unwrap_or(0);
    let shifts = u64::from(level.first().shift()) | u64::from(level.second().shift()) << 32;
    fill(header, [level.multiplier(), pair(level.q(), stride), shifts, flags].into_iter());
    fill(first, level.first().bytes().as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)));
    fill(second, level.second().words().iter().copied());
}

fn fill(words: &[AtomicU64], values: impl Iterator<Item = u64>) {
    words.iter().zip(values).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
}
