//! Knocks compiled for an engine, and their search.

use std::hint::black_box;
use std::time::Duration;

use super::unfit::Unfit;
use crate::bench::style::BenchPattern;
use crate::clock::cpu_time;

/// Knocks, compiled for an engine.
pub struct Compiled {
    pub(super) searcher: Box<dyn Passes>,
    /// Its memory in bytes, by its own account.
    pub memory: usize,
    /// CPU time of the engine's own part of compiling.
    pub took: Duration,
    /// The one of the gate's engines that holds most knocks, if that was its own choice.
    pub chosen: Option<&'static str>,
}

impl Compiled {
    pub(super) fn new(searcher: impl Search + 'static, memory: usize, took: Duration) -> Self {
        Self { searcher: Box::new(searcher), memory, took, chosen: None }
    }

    /// Searches all packets, one after the other, and returns the number of finds.
    pub fn pass(&self, packets: &[Vec<u8>]) -> usize {
        self.searcher.pass(packets)
    }

    /// The places of all knocks that occur in a packet, counted from 0: ascending, each once.
    pub fn occurring(&self, packet: &[u8]) -> Vec<usize> {
        self.searcher.occurring(packet)
    }
}

/// The search of one packet.
pub(super) trait Search {
    /// Adds the places of all knocks that occur, in any order. Some may come twice.
    fn find(&self, packet: &[u8], found: &mut Vec<usize>);
}

/// The same for many packets, so that a call by pointer for each is nothing that is measured.
pub(super) trait Passes {
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

/// The thing made, and the CPU time of making it.
pub(super) fn timed<T>(make: impl FnOnce() -> T) -> (T, Duration) {
    let start = cpu_time();
    let made = make();
    (made, cpu_time().saturating_sub(start))
}

/// Refuses knocks that ignore case, for engines that can't.
pub(super) fn exact(wanted: &[BenchPattern]) -> Result<(), Unfit> {
    if wanted.iter().any(|knock| knock.ignore_case) { Err(Unfit::Case) } else { Ok(()) }
}
