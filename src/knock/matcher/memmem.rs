//! One substring search after the other.

use std::ops::Range;

use memchr::memmem::Finder;

use super::{KnockId, Numbered};

/// A search for each pattern.
pub(super) struct Memmem(Vec<(KnockId, Finder<'static>)>);

impl Memmem {
    /// The patterns must match to the letter.
    pub(super) fn new(patterns: &[Numbered<'_>]) -> Self {
        Self(patterns.iter().map(|(id, pattern)| (*id, Finder::new(pattern.bytes).into_owned())).collect())
    }

    pub(super) fn each(&self, payload: &[u8], mut visit: impl FnMut(KnockId, Range<usize>)) {
        for (id, finder) in &self.0 {
            let mut from = 0;
            while let Some(at) = payload.get(from..).and_then(|rest| finder.find(rest)) {
                let start = from + at;
                visit(*id, start..start + finder.needle().len());
                from = start + 1;
            }
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        let needles: usize = self.0.iter().map(|(_, finder)| finder.needle().len()).sum();
        needles + self.0.capacity() * size_of::<(KnockId, Finder<'_>)>()
    }
}
