//! Teddy: SIMD over the first bytes of a few secrets.

use std::ops::Range;

use aho_corasick::Span;
use aho_corasick::packed::Searcher;

use super::pattern::Numbered;
use crate::knock::id::KnockId;

/// It reports one secret at the leftmost place where any begins; which others begin there is seen by comparing.
pub(super) struct Teddy {
    searcher: Searcher,
    secrets: Vec<(KnockId, Box<[u8]>)>,
}

impl Teddy {
    /// The patterns must match to the letter. `None` where they are too many, or the CPU has no SIMD that it knows.
    pub(super) fn new(patterns: &[Numbered<'_>]) -> Option<Self> {
        let searcher = Searcher::new(patterns.iter().map(|(_, pattern)| pattern.bytes))?;
        let secrets = patterns.iter().map(|(id, pattern)| (*id, pattern.bytes.into())).collect();
        Some(Self { searcher, secrets })
    }

    pub(super) fn each(&self, payload: &[u8], mut visit: impl FnMut(KnockId, Range<usize>)) {
        let mut from = 0;
        while let Some(hit) = self.searcher.find_in(payload, Span::from(from..payload.len())) {
            let start = hit.start();
            let rest = payload.get(start..).unwrap_or_default();
            for (id, secret) in &self.secrets {
                if rest.starts_with(secret) {
                    visit(*id, start..start + secret.len());
                }
            }
            from = start + 1;
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        let secrets: usize = self.secrets.iter().map(|(_, secret)| secret.len()).sum();
        self.searcher.memory_usage() + secrets + self.secrets.capacity() * size_of::<(KnockId, Box<[u8]>)>()
    }
}
