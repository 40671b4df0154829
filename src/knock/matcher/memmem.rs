//! One substring search after the other.

use std::ops::Range;

use memchr::memmem::Finder;

use super::folded::Folded;
use super::pattern::{Numbered, Pattern};
use crate::knock::id::KnockId;

/// A search for each pattern.
pub(super) struct Memmem(Vec<(KnockId, NeedleSearch)>);

#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and there are few")]
enum NeedleSearch {
    Exact(Finder<'static>),
    Folded(Folded),
}

impl Memmem {
    /// Whether there is a search for a pattern like this.
    pub(super) fn holds(pattern: &Pattern<'_>) -> bool {
        !folds(pattern) || Folded::fits(pattern.bytes)
    }

    /// Leaves out patterns that it does not hold.
    pub(super) fn new(patterns: &[Numbered<'_>]) -> Self {
        let search = |pattern: &Pattern<'_>| match folds(pattern) {
            true => Folded::new(pattern.bytes).map(NeedleSearch::Folded),
            false => Some(NeedleSearch::Exact(Finder::new(pattern.bytes).into_owned())),
        };
        Self(patterns.iter().filter_map(|(id, pattern)| Some((*id, search(pattern)?))).collect())
    }

    /// Whether any of them occurs, or may.
    #[inline]
    pub(super) fn finds(&self, payload: &[u8]) -> bool {
        match &self.0[..] {
            [(_, NeedleSearch::Exact(finder))] => finder.find(payload).is_some(),
            _ => true,
        }
    }

    pub(super) fn each(&self, payload: &[u8], mut visit: impl FnMut(KnockId, Range<usize>)) {
        for (id, search) in &self.0 {
            match search {
                NeedleSearch::Exact(finder) => {
                    let mut from = 0;
                    while let Some(at) = payload.get(from..).and_then(|rest| finder.find(rest)) {
                        let start = from + at;
                        visit(*id, start..start + finder.needle().len());
                        from = start + 1;
                    }
                }
                NeedleSearch::Folded(folded) => folded.each(payload, |range| visit(*id, range)),
            }
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        let len = |search: &NeedleSearch| match search {
            NeedleSearch::Exact(finder) => finder.needle().len(),
            NeedleSearch::Folded(folded) => folded.len(),
        };
        let needles: usize = self.0.iter().map(|(_, search)| len(search)).sum();
        needles + self.0.capacity() * size_of::<(KnockId, NeedleSearch)>()
    }
}

/// Whether case makes a difference that is to be ignored.
fn folds(pattern: &Pattern<'_>) -> bool {
    pattern.ignore_case && pattern.bytes.iter().any(u8::is_ascii_alphabetic)
}
