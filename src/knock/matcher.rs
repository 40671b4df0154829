//! Finding every secret that occurs in a payload, in one pass.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};

use super::KnockId;

/// The secrets are too many or too long for an automaton.
#[derive(Debug, thiserror::Error)]
#[error("{patterns} secrets can't be compiled into one matcher: {source}")]
pub struct BuildError {
    patterns: usize,
    source: aho_corasick::BuildError,
}

/// All secrets: those that match to the letter, and those that match in either case.
#[derive(Debug)]
pub(super) struct Matcher {
    exact: Option<Automaton>,
    folded: Option<Automaton>,
}

impl Matcher {
    /// Compiles secrets, each with whether case is ignored. Their order gives them their ids.
    pub(super) fn new<'a>(secrets: impl Iterator<Item = (&'a [u8], bool)>) -> Result<Self, BuildError> {
        let (folded, exact): (Vec<_>, Vec<_>) =
            (0..).map(KnockId).zip(secrets).partition(|&(_, (_, ignore_case))| ignore_case);
        Ok(Self { exact: Automaton::new(&exact)?, folded: Automaton::new(&folded)? })
    }

    /// The ids of all secrets that occur, also of one that stands inside another: ascending, each once.
    pub(super) fn occurring(&self, payload: &[u8]) -> Vec<KnockId> {
        let mut found = Vec::new();
        for automaton in self.automata() {
            if automaton.may_match(payload) {
                automaton.each(payload, |id, _| found.push(id));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Where they occur. Ranges may overlap.
    pub(super) fn ranges(&self, payload: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for automaton in self.automata() {
            automaton.each(payload, |_, range| found.push(range));
        }
        found
    }

    fn automata(&self) -> impl Iterator<Item = &Automaton> {
        self.exact.iter().chain(&self.folded)
    }
}

/// One Aho-Corasick automaton with what it is faster to ask first.
#[derive(Debug)]
struct Automaton {
    /// Says whether anything matches at all; there only where that is much cheaper than the full search.
    filter: Option<AhoCorasick>,
    /// Finds overlapping matches: every secret, also those inside others.
    all: AhoCorasick,
    ids: Vec<KnockId>,
}

impl Automaton {
    fn new(secrets: &[(KnockId, (&[u8], bool))]) -> Result<Option<Self>, BuildError> {
        let Some(&(_, (_, ignore_case))) = secrets.first() else {
            return Ok(None);
        };
        let build = |kind| {
            AhoCorasickBuilder::new()
                .match_kind(kind)
                .ascii_case_insensitive(ignore_case)
                .build(secrets.iter().map(|&(_, (secret, _))| secret))
                .map_err(|source| BuildError { patterns: secrets.len(), source })
        };
        let filter = !ignore_case && secrets.len() <= FILTER_MAX_SECRETS;
        Ok(Some(Self {
            filter: filter.then(|| build(MatchKind::LeftmostFirst)).transpose()?,
            all: build(MatchKind::Standard)?,
            ids: secrets.iter().map(|&(id, _)| id).collect(),
        }))
    }

    fn may_match(&self, payload: &[u8]) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.is_match(payload))
    }

    fn each(&self, payload: &[u8], mut visit: impl FnMut(KnockId, Range<usize>)) {
        for hit in self.all.find_overlapping_iter(payload) {
            if let Some(&id) = self.ids.get(hit.pattern().as_usize()) {
                visit(id, hit.range());
            }
        }
    }
}

/// Up to here aho-corasick puts its packed searcher (Teddy) in front of a leftmost automaton, which then passes a
/// packet without a secret at some 60 ns instead of 1000. Overlapping search, which alone reports every secret,
/// never gets it.
const FILTER_MAX_SECRETS: usize = 60;
