//! Finding every secret that occurs in a payload.
//!
//! Long secrets go through a sampled q-gram filter, which looks at a few places of a packet only and decides by
//! comparing with the few secrets that can stand there (see `filter`); what is too short for it goes aside. All
//! engines give the same answer, so one may be forced on all patterns to compare them.

mod automaton;
mod filter;
mod folded;
mod memmem;
mod pattern;
mod teddy;

use std::fmt;
use std::ops::Range;

pub use pattern::{BuildError, Pattern};

use automaton::Automaton;
use filter::Filter;
pub(super) use filter::{Grams, Rarity};
use memmem::Memmem;
use pattern::Numbered;
use teddy::Teddy;

use super::id::KnockId;

/// A way to find patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// One SIMD substring search after the other ([`memchr::memmem`], and one of our own that ignores case). It can't
    /// ignore the case of patterns of less than eight bytes, or of one byte again and again.
    Memmem,
    /// SIMD over the first bytes of up to some dozens of patterns ([`aho_corasick::packed`]). It can't ignore case.
    Teddy,
    /// One automaton over all patterns ([`aho_corasick`]).
    Automaton,
    /// A sampled q-gram filter in front of a table of windows and a comparison.
    Filter,
}

names! { pub Engine { Memmem = "memmem", Teddy = "teddy", Automaton = "automaton", Filter = "filter" } }

impl Engine {
    /// Whether it can hold a pattern like this.
    fn holds(self, pattern: &Pattern<'_>) -> bool {
        match self {
            Self::Memmem => Memmem::holds(pattern),
            Self::Teddy => !pattern.ignore_case,
            Self::Automaton => true,
            Self::Filter => pattern.bytes.len() >= filter::MIN_LEN,
        }
    }
}

/// All patterns, compiled.
pub struct Matcher {
    finders: Vec<Finder>,
    /// The engine that holds most of them.
    engine: Engine,
}

/// Nothing of the patterns: they are secrets.
impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matcher({}, {} bytes)", self.engine.name(), self.memory_usage())
    }
}

impl Matcher {
    /// Compiles patterns, and chooses the engines by their number, length and kind. Their order gives them their ids.
    ///
    /// # Errors
    /// Where the patterns together are larger than a matcher can hold: some gigabytes.
    pub fn new<'a>(patterns: impl Iterator<Item = Pattern<'a>>) -> Result<Self, BuildError> {
        let mut plan = EnginePlan::default();
        let (long, short): (Vec<_>, Vec<_>) =
            numbered(patterns).partition(|(_, pattern)| pattern.bytes.len() >= LONG);
        if let [(_, pattern)] = long[..]
            && Engine::Memmem.holds(&pattern)
            && (!pattern.ignore_case || pattern.bytes.len() < filter::LONGEST_STRIDE)
        {
            plan.memmem.extend(long);
        } else {
            plan.filter.extend(long);
        }
        let (folded, exact): (Vec<_>, Vec<_>) =
            short.into_iter().partition(|(_, pattern)| pattern.ignore_case);
        match exact.len() {
            0 | 1 => plan.memmem.extend(exact),
            2..=FEW => plan.teddy.extend(exact),
            _ => plan.filter.extend(exact),
        }
        plan.filter.extend(folded);
        let (held, tiny) = plan.filter.drain(..).partition(|(_, pattern)| Engine::Filter.holds(pattern));
        (plan.filter, plan.automaton) = (held, tiny);
        plan.build()
    }

    /// Compiles patterns for one engine. Those that it can't hold are left to the automaton.
    ///
    /// # Errors
    /// As for [`Matcher::new`].
    pub fn with_engine<'a>(
        patterns: impl Iterator<Item = Pattern<'a>>,
        engine: Engine,
    ) -> Result<Self, BuildError> {
        let mut plan = EnginePlan::default();
        let (held, rest) = numbered(patterns).partition(|(_, pattern)| engine.holds(pattern));
        plan.automaton = rest;
        match engine {
            Engine::Memmem => plan.memmem = held,
            Engine::Teddy => plan.teddy = held,
            Engine::Automaton => plan.automaton.extend::<Vec<_>>(held),
            Engine::Filter => plan.filter = held,
        }
        plan.build()
    }

    /// The ids of all patterns that occur, also of one that stands inside another: ascending, each once.
    ///
    /// Nothing is allocated where nothing occurs.
    pub fn occurring(&self, payload: &[u8]) -> Vec<KnockId> {
        let mut found = Vec::new();
        // This search is so short that the way through what follows would be felt.
        if let [Finder::Memmem(memmem)] = &self.finders[..]
            && !memmem.finds(payload)
        {
            return found;
        }
        let mut most = MIN_COMPACT;
        for finder in &self.finders {
            finder.each(payload, |id, _| {
                found.push(id);
                // A payload may hold a secret ten thousand times; what is kept is bounded by the patterns there are.
                if found.len() >= most {
                    found.sort_unstable();
                    found.dedup();
                    most = MIN_COMPACT.max(2 * found.len());
                }
            });
        }
        if found.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    /// Where the first `count` of them occur, in bytes from the payload's start. Ranges may overlap.
    pub fn ranges(&self, payload: &[u8], count: usize) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for finder in &self.finders {
            finder.each(payload, |id, range| {
                if id.index() < count {
                    found.push(range);
                }
            });
        }
        found
    }

    /// The engine that holds most of the patterns.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// What it takes on the heap, in bytes.
    pub fn memory_usage(&self) -> usize {
        self.finders.iter().map(Finder::memory_usage).sum::<usize>()
            + self.finders.capacity() * size_of::<Finder>()
    }
}

fn numbered<'a>(patterns: impl Iterator<Item = Pattern<'a>>) -> impl Iterator<Item = Numbered<'a>> {
    (0..).map(KnockId).zip(patterns).filter(|(_, pattern)| !pattern.bytes.is_empty())
}

/// Which engine is to hold which patterns.
#[derive(Default)]
struct EnginePlan<'a> {
    memmem: Vec<Numbered<'a>>,
    teddy: Vec<Numbered<'a>>,
    filter: Vec<Numbered<'a>>,
    automaton: Vec<Numbered<'a>>,
}

impl EnginePlan<'_> {
    fn build(mut self) -> Result<Matcher, BuildError> {
        let mut finders = Vec::new();
        let (short, long): (Vec<_>, Vec<_>) =
            self.filter.iter().partition(|(_, pattern)| pattern.bytes.len() < LONG);
        for patterns in [short, long].iter().filter(|patterns| !patterns.is_empty()) {
            let (filter, aside) = Filter::new(patterns)?;
            if aside.len() < patterns.len() {
                finders.push((patterns.len() - aside.len(), Finder::Filter(filter)));
            }
            let (held, others): (Vec<_>, Vec<_>) =
                aside.into_iter().partition(|(_, pattern)| Engine::Memmem.holds(pattern));
            let to = if held.len() <= FEW_ASIDE { &mut self.memmem } else { &mut self.automaton };
            to.extend(held);
            self.automaton.extend(others);
        }
        if !self.memmem.is_empty() {
            finders.push((self.memmem.len(), Finder::Memmem(Memmem::new(&self.memmem))));
        }
        if !self.teddy.is_empty() {
            match Teddy::new(&self.teddy) {
                Some(teddy) => finders.push((self.teddy.len(), Finder::Teddy(teddy))),
                None => self.automaton.append(&mut self.teddy),
            }
        }
        if !self.automaton.is_empty() {
            finders.push((self.automaton.len(), Finder::Automaton(Automaton::new(&self.automaton)?)));
        }
        let most = finders.iter().max_by_key(|(patterns, _)| *patterns);
        let engine = most.map_or(Engine::Memmem, |(_, finder)| finder.engine());
        Ok(Matcher { finders: finders.into_iter().map(|(_, finder)| finder).collect(), engine })
    }
}

/// One engine with its patterns.
enum Finder {
    Memmem(Memmem),
    Teddy(Teddy),
    Automaton(Automaton),
    Filter(Filter),
}

impl Finder {
    fn engine(&self) -> Engine {
        match self {
            Self::Memmem(_) => Engine::Memmem,
            Self::Teddy(_) => Engine::Teddy,
            Self::Automaton(_) => Engine::Automaton,
            Self::Filter(_) => Engine::Filter,
        }
    }

    /// Shows every occurrence of each pattern, in any order.
    fn each(&self, payload: &[u8], visit: impl FnMut(KnockId, Range<usize>)) {
        match self {
            Self::Memmem(memmem) => memmem.each(payload, visit),
            Self::Teddy(teddy) => teddy.each(payload, visit),
            Self::Automaton(automaton) => automaton.each(payload, visit),
            Self::Filter(filter) => filter.each(payload, visit),
        }
    }

    fn memory_usage(&self) -> usize {
        match self {
            Self::Memmem(memmem) => memmem.memory_usage(),
            Self::Teddy(teddy) => teddy.memory_usage(),
            Self::Automaton(automaton) => automaton.memory_usage(),
            Self::Filter(filter) => filter.memory_usage(),
        }
    }
}

/// From here on a pattern has room for the filter's faster loop.
const LONG: usize = filter::MIN_LEN + filter::MIN_STRIDE - 1;

/// Up to so many short patterns are looked for by Teddy. It compares all that begin alike wherever a packet has such a
/// beginning: with four of them that may take a fifth longer than the automaton, with eight it is twice as long.
const FEW: usize = 4;

/// A substring search costs a fortieth of the automaton, so up to so many patterns that the filter won't have go there.
const FEW_ASIDE: usize = 4;

/// Fewer ids than this are not worth a look for repetitions before the end.
const MIN_COMPACT: usize = 64;

#[cfg(test)]
mod tests;
