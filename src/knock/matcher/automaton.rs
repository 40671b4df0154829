//! One automaton, whatever the number, length and kind of patterns.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};

use super::pattern::{BuildError, Numbered};
use crate::knock::id::KnockId;

/// At most one automaton for those that match to the letter, and one for those that match in either case.
pub(super) struct Automaton(Vec<(AhoCorasick, Vec<KnockId>)>);

impl Automaton {
    pub(super) fn new(patterns: &[Numbered<'_>]) -> Result<Self, BuildError> {
        let mut automata = Vec::new();
        for ignore_case in [false, true] {
            let of_kind = patterns.iter().filter(|(_, pattern)| pattern.ignore_case == ignore_case);
            let (ids, secrets): (Vec<_>, Vec<_>) = of_kind.map(|(id, pattern)| (*id, pattern.bytes)).unzip();
            if !ids.is_empty() {
                let automaton = AhoCorasickBuilder::new()
                    .match_kind(MatchKind::Standard)
                    .ascii_case_insensitive(ignore_case)
                    .build(secrets)
                    .map_err(|_| BuildError::new(patterns.iter().map(|(_, pattern)| pattern)))?;
                automata.push((automaton, ids));
            }
        }
        Ok(Self(automata))
    }

    pub(super) fn each(&self, payload: &[u8], mut visit: impl FnMut(KnockId, Range<usize>)) {
        for (automaton, ids) in &self.0 {
            for hit in automaton.find_overlapping_iter(payload) {
                if let Some(&id) = ids.get(hit.pattern().as_usize()) {
                    visit(id, hit.range());
                }
            }
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        let automata = self.0.iter();
        automata
            .map(|(automaton, ids)| automaton.memory_usage() + ids.capacity() * size_of::<KnockId>())
            .sum()
    }
}
