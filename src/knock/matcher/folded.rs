//! A substring search that ignores case.
//!
//! Two bytes of the pattern, those that SIP text has the least of, are looked for at their distance from each other, in
//! a loop that compilers make SIMD of. Where both stand, eight bytes and then the whole pattern are compared.

use std::ops::Range;
#[cfg(test)]
use std::{cell::Cell, thread_local};

use crate::knock::common_text::ORDINARY;

/// A pattern.
pub(super) struct Folded {
    pattern: Box<[u8]>,
    /// Where in it the two bytes stand, and what they are.
    pair: [(usize, u8); 2],
    /// Where in it the eight bytes stand, and what they are.
    word: (usize, u64),
}

impl Folded {
    /// Whether it is worth searching for in this way: a stranger could fill a packet with the one byte of a pattern that
    /// has no other, so that nearly all of it is found at every place.
    pub(super) fn fits(pattern: &[u8]) -> bool {
        let first = pattern.first().copied().map(fold);
        pattern.len() >= WORD && pattern.iter().any(|&byte| Some(fold(byte)) != first)
    }

    /// `None` for what does not fit.
    pub(super) fn new(pattern: &[u8]) -> Option<Self> {
        let common = |byte: u8| {
            let texts = ORDINARY.iter().flat_map(|(_, text)| text.as_bytes());
            let count = texts.filter(|&&other| fold(other) == fold(byte)).count();
            // Addresses, tags, branches and Call-IDs are in no list of words.
            count + if byte.is_ascii_hexdigit() { HEX_COUNT } else { 0 }
        };
        let mut places: Vec<_> = pattern.iter().map(|&byte| fold(byte)).enumerate().collect();
        places.sort_by_cached_key(|&(_, byte)| common(byte));
        let (&first, rest) = places.split_first()?;
        let &second = rest.iter().find(|(_, byte)| *byte != first.1)?;
        // Around the rarest byte, as far as there is room.
        let at = first.0.saturating_sub(WORD / 2).min(pattern.len().checked_sub(WORD)?);
        let word = (at, word_at(pattern, at)?);
        Some(Self { pattern: pattern.into(), pair: [first, second], word })
    }

    pub(super) fn len(&self) -> usize {
        self.pattern.len()
    }

    /// Shows where it occurs.
    pub(super) fn each(&self, payload: &[u8], mut visit: impl FnMut(Range<usize>)) {
        let Some(places) = (payload.len() + 1).checked_sub(self.pattern.len()) else { return };
        let [(first, one), (second, other)] = self.pair;
        let text = |at: usize| payload.get(at..at + places).unwrap_or_default();
        let (ones, others) = (text(first), text(second));
        let mut from = 0;
        for (ones, others) in ones.as_chunks().0.iter().zip(others.as_chunks().0) {
            if both(ones, others, one, other) {
                self.look(payload, from..from + BLOCK, &mut visit);
            }
            from += BLOCK;
        }
        if from < places {
            // A block that overlaps with the one before, where there is room for it.
            let last = ones.last_chunk().zip(others.last_chunk());
            if last.is_none_or(|(ones, others)| both(ones, others, one, other)) {
                self.look(payload, from..places, &mut visit);
            }
        }
    }

    /// Looks at each of these places.
    #[cold]
    #[inline(never)]
    fn look(&self, payload: &[u8], places: Range<usize>, visit: &mut impl FnMut(Range<usize>)) {
        let [(first, one), (second, other)] = self.pair;
        let is = |at: usize, byte| payload.get(at).copied().map(fold) == Some(byte);
        for start in places {
            if is(start + first, one) && is(start + second, other) {
                #[cfg(test)]
                COMPARED.set(COMPARED.get() + 1);
                let end = start + self.pattern.len();
                if word_at(payload, start + self.word.0) == Some(self.word.1)
                    && payload.get(start..end).is_some_and(|text| text.eq_ignore_ascii_case(&self.pattern))
                {
                    visit(start..end);
                }
            }
        }
    }
}

/// Whether both bytes stand at one place of a block.
#[inline(always)]
fn both(ones: &[u8; BLOCK], others: &[u8; BLOCK], one: u8, other: u8) -> bool {
    let mut found = 0;
    for (a, b) in ones.iter().zip(others) {
        found |= u8::from(fold(*a) == one) & u8::from(fold(*b) == other);
    }
    found != 0
}

/// ASCII letters in one case. Some other bytes become the same, too.
#[inline(always)]
const fn fold(byte: u8) -> u8 {
    byte | 0x20
}

fn word_at(text: &[u8], at: usize) -> Option<u64> {
    let bytes = text.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes) | 0x2020_2020_2020_2020)
}

/// Bytes that are looked at between two branches.
const BLOCK: usize = 64;

/// Bytes of a word.
const WORD: usize = 8;

/// How often a hexadecimal digit would stand in the list of what is ordinary.
const HEX_COUNT: usize = 40;

#[cfg(test)]
thread_local! {
    /// Places where both bytes stand.
    pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) };
}
