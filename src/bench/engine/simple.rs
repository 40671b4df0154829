//! Engines that need no more than a call: daachorse, and a loop of substring searches.

use daachorse::DoubleArrayAhoCorasick;
use memchr::memmem::Finder;

use super::compiled::{Compiled, Search, exact, timed};
use super::unfit::Unfit;
use crate::bench::style::BenchPattern;

pub(super) fn daachorse(wanted: &[BenchPattern]) -> Result<Compiled, Unfit> {
    exact(wanted)?;
    let build = || DoubleArrayAhoCorasick::<u32>::new(wanted.iter().map(|knock| &knock.bytes));
    let (automaton, took) = timed(build);
    let automaton = automaton.map_err(|_| Unfit::Failed(REFUSED.to_owned()))?;
    let memory = automaton.heap_bytes();
    Ok(Compiled::new(automaton, memory, took))
}

impl Search for DoubleArrayAhoCorasick<u32> {
    fn find(&self, packet: &[u8], found: &mut Vec<usize>) {
        found.extend(self.find_overlapping_iter(packet).map(|hit| hit.value() as usize));
    }
}

pub(super) fn memmem(wanted: &[BenchPattern]) -> Result<Compiled, Unfit> {
    exact(wanted)?;
    if wanted.len() > MOST_LOOPS {
        return Err(Unfit::TooSlow);
    }
    let build = || wanted.iter().map(|knock| Finder::new(&knock.bytes).into_owned()).collect();
    let (finders, took): (Vec<_>, _) = timed(build);
    let secrets: usize = wanted.iter().map(|knock| knock.bytes.len()).sum();
    let memory = secrets + finders.capacity() * size_of::<Finder<'_>>();
    Ok(Compiled::new(Loop(finders), memory, took))
}

struct Loop(Vec<Finder<'static>>);

impl Search for Loop {
    fn find(&self, packet: &[u8], found: &mut Vec<usize>) {
        for (place, finder) in self.0.iter().enumerate() {
            if finder.find(packet).is_some() {
                found.push(place);
            }
        }
    }
}

/// Its own errors show the knock that is wrong.
const REFUSED: &str = "it refuses these knocks";

/// At 30 ns for each, a packet takes 15 µs with so many: it is plain by then where that leads.
pub(super) const MOST_LOOPS: usize = 500;
