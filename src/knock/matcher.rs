//! Finding every secret that occurs in a payload, in one pass.

use std::ops::Range;

use aho_corasick::packed::Searcher;
use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind, Span};

use super::KnockId;

/// The secrets are too many or too long for an automaton.
#[derive(Debug, thiserror::Error)]
#[error("{patterns} secrets can't be compiled into one matcher: {source}")]
pub struct BuildError {
    patterns: usize,
    source: aho_corasick::BuildError,
}

/// Something to look for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Pattern<'a> {
    pub(super) bytes: &'a [u8],
    /// ASCII letters match in either case.
    pub(super) ignore_case: bool,
}

/// All patterns: those that match to the letter, and those that match in either case.
#[derive(Debug)]
pub(super) struct Matcher {
    exact: Option<Finder>,
    folded: Option<Finder>,
    /// How many there are in all.
    patterns: usize,
}

impl Matcher {
    /// Compiles patterns. Their order gives them their ids.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = Pattern<'a>>) -> Result<Self, BuildError> {
        let (folded, exact): (Vec<_>, Vec<_>) =
            (0..).map(KnockId).zip(patterns).partition(|(_, pattern)| pattern.ignore_case);
        let finder = |patterns: &[(KnockId, Pattern<'a>)], ignore_case| {
            let (ids, secrets): (Vec<_>, Vec<_>) =
                patterns.iter().map(|&(id, pattern)| (id, pattern.bytes)).unzip();
            Finder::new(ids, &secrets, ignore_case)
        };
        let patterns = exact.len() + folded.len();
        Ok(Self { exact: finder(&exact, false)?, folded: finder(&folded, true)?, patterns })
    }

    /// The ids of all patterns that occur, also of one that stands inside another: ascending, each once.
    pub(super) fn occurring(&self, payload: &[u8]) -> Vec<KnockId> {
        let mut found = Vec::new();
        // A payload may hold a secret ten thousand times; what is kept is bounded by the patterns there are.
        let mut seen = Vec::new();
        for finder in self.finders() {
            finder.each(payload, |id, _| {
                seen.resize(self.patterns.max(seen.len()), false);
                if let Some(seen) = seen.get_mut(id.index())
                    && !std::mem::replace(seen, true)
                {
                    found.push(id);
                }
            });
        }
        found.sort_unstable();
        found
    }

    /// Where the first `count` of them occur. Ranges may overlap.
    pub(super) fn ranges(&self, payload: &[u8], count: usize) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for finder in self.finders() {
            finder.each(payload, |id, range| {
                if id.index() < count {
                    found.push(range);
                }
            });
        }
        found
    }

    fn finders(&self) -> impl Iterator<Item = &Finder> {
        self.exact.iter().chain(&self.folded)
    }
}

/// Finds all occurrences of a number of secrets, also overlapping ones.
#[derive(Debug)]
struct Finder {
    ids: Vec<KnockId>,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    /// Teddy: SIMD over the first bytes of a few secrets. It reports one secret at the leftmost place where any
    /// begins; which others begin there is seen by comparing.
    Packed { searcher: Searcher, secrets: Vec<Box<[u8]>> },
    /// One automaton, whatever the number.
    Automaton(AhoCorasick),
}

impl Finder {
    fn new(ids: Vec<KnockId>, secrets: &[&[u8]], ignore_case: bool) -> Result<Option<Self>, BuildError> {
        if secrets.is_empty() {
            return Ok(None);
        }
        let few = !ignore_case && secrets.len() <= PACKED_MAX_SECRETS;
        // There is none where the CPU has no SIMD that it knows.
        let engine = match few.then(|| Searcher::new(secrets)).flatten() {
            Some(searcher) => {
                Engine::Packed { searcher, secrets: secrets.iter().map(|&secret| secret.into()).collect() }
            }
            None => Engine::Automaton(
                AhoCorasickBuilder::new()
                    .match_kind(MatchKind::Standard)
                    .ascii_case_insensitive(ignore_case)
                    .build(secrets)
                    .map_err(|source| BuildError { patterns: secrets.len(), source })?,
            ),
        };
        Ok(Some(Self { ids, engine }))
    }

    fn each(&self, payload: &[u8], mut visit: impl FnMut(KnockId, Range<usize>)) {
        match &self.engine {
            Engine::Packed { searcher, secrets } => {
                let mut at = 0;
                while let Some(hit) = searcher.find_in(payload, Span::from(at..payload.len())) {
                    let start = hit.start();
                    let rest = payload.get(start..).unwrap_or_default();
                    for (&id, secret) in self.ids.iter().zip(secrets) {
                        if rest.starts_with(secret) {
                            visit(id, start..start + secret.len());
                        }
                    }
                    at = start + 1;
                }
            }
            Engine::Automaton(automaton) => {
                for hit in automaton.find_overlapping_iter(payload) {
                    if let Some(&id) = self.ids.get(hit.pattern().as_usize()) {
                        visit(id, hit.range());
                    }
                }
            }
        }
    }
}

/// Up to here Teddy passes a packet without a secret at some 60 ns, where the automaton takes 1000.
const PACKED_MAX_SECRETS: usize = 60;
