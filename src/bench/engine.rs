//! The engines: the gate's own matcher, and what else there is to find many strings at a time.
//!
//! All of them answer the same question, which knocks occur in a packet, and each does it in the way that its authors
//! provide for that. Where an engine reports one knock at a place, the others that begin there are added.

mod aho_corasick;
mod own;
mod simple;
#[cfg(feature = "vectorscan")]
mod vectorscan;

use std::hint::black_box;
use std::time::Duration;

use super::Wanted;
use crate::clock::cpu_time;
use crate::knock::matcher;

/// Something that finds knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Engine {
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

impl Engine {
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
    pub fn compile(self, wanted: &[Wanted]) -> Result<Compiled, Unfit> {
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

/// Knocks, compiled for an engine.
pub struct Compiled {
    searcher: Box<dyn Passes>,
    /// What it holds in memory, in bytes, by its own account.
    pub memory: usize,
    /// CPU time of the engine's own part of compiling.
    pub took: Duration,
    /// Which of the gate's engines holds most knocks, where that was its own choice.
    pub chosen: Option<&'static str>,
}

impl Compiled {
    fn new(searcher: impl Search + 'static, memory: usize, took: Duration) -> Self {
        Self { searcher: Box::new(searcher), memory, took, chosen: None }
    }

    /// Searches all packets, one after the other, and returns how often anything was found.
    pub fn pass(&self, packets: &[Vec<u8>]) -> usize {
        self.searcher.pass(packets)
    }

    /// The places of all knocks that occur in a packet, counted from 0: ascending, each once.
    pub fn occurring(&self, packet: &[u8]) -> Vec<usize> {
        self.searcher.occurring(packet)
    }
}

/// Why an engine does not take part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It knows capitals and small letters only as different letters.
    #[error("it can't ignore case")]
    Case,
    /// It holds no more.
    #[error("so many knocks are too many for it")]
    TooMany,
    /// Nobody would wait for it.
    #[error("it would take too long")]
    TooSlow,
    /// They are too short for it, or of another kind that it leaves to others.
    #[error("it leaves knocks like these to others")]
    Kind,
    /// Its tables would be too large.
    #[error("its tables would be too large")]
    TooLarge,
    /// The feature is off.
    #[error("this build has no vectorscan: build with 'cargo build --release --features vectorscan' for it")]
    Absent,
    /// Whatever it says itself.
    #[error("{0}")]
    Failed(String),
}

impl Unfit {
    fn failed(error: impl std::error::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What an engine does with a packet.
trait Search {
    /// Adds the places of all knocks that occur, in any order. Some may come twice.
    fn find(&self, packet: &[u8], found: &mut Vec<usize>);
}

/// The same for many packets, so that a call by pointer for each is nothing that is measured.
trait Passes {
    fn pass(&self, packets: &[Vec<u8>]) -> usize;
    fn occurring(&self, packet: &[u8]) -> Vec<usize>;
}

impl<T: Search> Passes for T {
    fn pass(&self, packets: &[Vec<u8>]) -> usize {
        let (mut found, mut hits) = (Vec::new(), 0);
        for packet in packets {
            found.clear();
            self.find(black_box(packet.as_slice()), &mut found);
            hits += black_box(&found).len();
        }
        hits
    }

    fn occurring(&self, packet: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        self.find(packet, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What is made, and the CPU time it took.
fn timed<T>(make: impl FnOnce() -> T) -> (T, Duration) {
    let start = cpu_time();
    let made = make();
    (made, cpu_time().saturating_sub(start))
}

/// For engines that can't ignore case.
fn exact(wanted: &[Wanted]) -> Result<(), Unfit> {
    if wanted.iter().any(|knock| knock.ignore_case) { Err(Unfit::Case) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
