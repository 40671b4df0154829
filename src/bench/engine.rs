//! The engines: the gate's own matcher, and what else there is to find many strings at a time.
//!
//! All of them answer the same question, which knocks occur in a packet, and each does it in the way that its authors
//! provide for that. Where an engine reports one knock at a place, the others that begin there are added.

mod aho_corasick;
mod compiled;
mod own;
mod simple;
mod unfit;
#[cfg(feature = "vectorscan")]
mod vectorscan;

pub use compiled::Compiled;
pub use unfit::Unfit;

use super::style::BenchPattern;
use crate::knock::matcher;

/// Something that finds knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BenchEngine {
    /// The gate's matcher, as it chooses by itself.
    Sipknock,
    /// The gate's matcher, made to use one of its engines for everything.
    Forced(matcher::Engine),
    /// The `aho-corasick` crate as it comes: it reports every match.
    AhoCorasickStandard,
    /// The same with `LeftmostFirst`, which has prefilters.
    AhoCorasickLeftmostFirst,
    /// The same, made to be a contiguous NFA.
    AhoCorasickNfa,
    /// The same, made to be a DFA.
    AhoCorasickDfa,
    /// Its packed searcher.
    Teddy,
    /// The `daachorse` crate: a double array.
    Daachorse,
    /// A loop of substring searches with `memchr::memmem`.
    Memmem,
    /// The vectorscan library, the portable fork of Hyperscan.
    Vectorscan,
}

impl BenchEngine {
    /// All there are, also those that this build has not.
    pub const ALL: [Self; 13] = [
        Self::Sipknock,
        Self::Forced(matcher::Engine::Memmem),
        Self::Forced(matcher::Engine::Teddy),
        Self::Forced(matcher::Engine::Automaton),
        Self::Forced(matcher::Engine::Filter),
        Self::AhoCorasickStandard,
        Self::AhoCorasickLeftmostFirst,
        Self::AhoCorasickNfa,
        Self::AhoCorasickDfa,
        Self::Teddy,
        Self::Daachorse,
        Self::Memmem,
        Self::Vectorscan,
    ];

    /// Its name, in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sipknock => "sipknock",
            Self::Forced(matcher::Engine::Memmem) => "sipknock-memmem",
            Self::Forced(matcher::Engine::Teddy) => "sipknock-teddy",
            Self::Forced(matcher::Engine::Automaton) => "sipknock-automaton",
            Self::Forced(matcher::Engine::Filter) => "sipknock-filter",
            Self::AhoCorasickStandard => "aho-corasick-standard",
            Self::AhoCorasickLeftmostFirst => "aho-corasick-leftmost-first",
            Self::AhoCorasickNfa => "aho-corasick-nfa",
            Self::AhoCorasickDfa => "aho-corasick-dfa",
            Self::Teddy => "teddy",
            Self::Daachorse => "daachorse",
            Self::Memmem => "memmem",
            Self::Vectorscan => "vectorscan",
        }
    }

    /// Whether this build has it.
    pub const fn is_built_in(self) -> bool {
        !matches!(self, Self::Vectorscan) || cfg!(feature = "vectorscan")
    }

    /// Compiles knocks.
    ///
    /// # Errors
    /// Where they are nothing for this engine.
    pub fn compile(self, wanted: &[BenchPattern]) -> Result<Compiled, Unfit> {
        match self {
            Self::Sipknock => own::chosen(wanted),
            Self::Forced(engine) => own::forced(wanted, engine),
            Self::AhoCorasickStandard => aho_corasick::standard(wanted, None),
            Self::AhoCorasickLeftmostFirst => aho_corasick::leftmost_first(wanted),
            Self::AhoCorasickNfa => aho_corasick::nfa(wanted),
            Self::AhoCorasickDfa => aho_corasick::dfa(wanted),
            Self::Teddy => aho_corasick::teddy(wanted),
            Self::Daachorse => simple::daachorse(wanted),
            Self::Memmem => simple::memmem(wanted),
            #[cfg(feature = "vectorscan")]
            Self::Vectorscan => vectorscan::compile(wanted),
            #[cfg(not(feature = "vectorscan"))]
            Self::Vectorscan => Err(Unfit::Absent),
        }
    }
}

/// The version of the vectorscan library, where this build has it.
pub fn vectorscan_version() -> Option<String> {
    #[cfg(feature = "vectorscan")]
    return Some(vectorscan::version());
    #[cfg(not(feature = "vectorscan"))]
    return None;
}

#[cfg(test)]
mod tests;
