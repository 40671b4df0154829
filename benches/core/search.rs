//! A search for dear payloads: mutations of the dearest so far, of which the dearest stay.

use std::fs;
use std::time::{Duration, Instant};

use super::super::cases::register;
use super::super::configurations::{Configuration, SEGMENTS, WORDS};
use super::attacks::{UNITS, listed};
use super::{CUTS, LENGTH, Meter, payload};

/// The search for one configuration.
pub(super) struct Search {
    configuration: &'static Configuration,
    meter: Meter,
    random: Random,
    /// The dearest, dearest first.
    population: Vec<Found>,
    /// Instructions of a plain REGISTER.
    pub(super) plain: u64,
    pub(super) trials: u64,
}

/// A payload and its cost.
#[derive(Clone)]
pub(super) struct Found {
    payload: Vec<u8>,
    pub(super) cost: u64,
    /// What it was to begin with.
    pub(super) origin: String,
}

/// Goes on with each for a while in turn, and says how far they are.
pub(super) fn go_on(searches: &mut [Search], time: Duration) {
    let (start, mut told) = (Instant::now(), Instant::now());
    while start.elapsed() < time {
        for search in &mut *searches {
            (0..TURN).for_each(|_| search.mutate());
        }
        if told.elapsed() > TELL {
            told = Instant::now();
            let ratio = |search: &Search| search.worst().cost as f64 / search.plain as f64;
            let all: Vec<_> =
                searches.iter().map(|search| format!("{} {:.2}", search.name(), ratio(search))).collect();
            eprintln!("{:4} s: {}", start.elapsed().as_secs(), all.join(", "));
        }
    }
}

impl Search {
    /// Counts a plain REGISTER, the listed attacks and what is kept.
    pub(super) fn start(configuration: &'static Configuration) -> Self {
        let mut meter = Meter::start(configuration);
        // The first decisions have lookups of symbols in them.
        let plain = (0..3).filter_map(|_| meter.cost(&payload(configuration, &register()))).last();
        let plain = plain.expect("a REGISTER without a secret does not knock");
        let random = Random(0x2545_f491_4f6c_dd1d);
        let mut search = Self { configuration, meter, random, population: Vec::new(), plain, trials: 0 };
        for (name, text) in listed() {
            search.try_out(payload(configuration, &text), &name);
        }
        for (rank, kept) in configuration.kept().into_iter().enumerate() {
            search.try_out(kept, &format!("kept {}", rank + 1));
        }
        search
    }

    pub(super) fn name(&self) -> &'static str {
        self.configuration.name
    }

    pub(super) fn worst(&self) -> &Found {
        &self.population[0]
    }

    /// Writes the dearest to their files.
    pub(super) fn keep(&self) {
        for (path, found) in self.configuration.files().zip(&self.population) {
            fs::write(path, &found.payload).unwrap();
        }
    }

    fn mutate(&mut self) {
        // The dearer the likelier.
        let rank = self.random.below(self.population.len()).min(self.random.below(self.population.len()));
        let other = self.random.below(self.population.len());
        let Found { mut payload, origin, .. } = self.population[rank].clone();
        let cuts = if self.configuration.flow { CUTS } else { 0 };
        for _ in 0..=self.random.below(3) {
            if self.configuration.flow && self.random.below(4) == 0 {
                self.move_cut(&mut payload);
            } else {
                let donor = self.population[other].payload[cuts..].to_vec();
                self.random.change(&mut payload[cuts..], &donor);
            }
        }
        self.try_out(payload, &origin);
    }

    /// Puts one cut elsewhere.
    fn move_cut(&mut self, payload: &mut [u8]) {
        let at = |cut: &[u8]| u16::from_be_bytes([cut[0], cut[1]]);
        let mut cuts: Vec<_> = payload[..CUTS].chunks_exact(2).map(at).collect();
        // Each segment has a byte at least.
        let place = u16::try_from(1 + self.random.below(LENGTH - 1)).unwrap();
        if !cuts.contains(&place) {
            cuts[self.random.below(SEGMENTS - 1)] = place;
            cuts.sort_unstable();
            let bytes: Vec<_> = cuts.into_iter().flat_map(u16::to_be_bytes).collect();
            payload[..CUTS].copy_from_slice(&bytes);
        }
    }

    fn try_out(&mut self, payload: Vec<u8>, origin: &str) {
        self.trials += 1;
        let Some(cost) = self.meter.cost(&payload) else { return };
        let full = self.population.len() >= POPULATION;
        let known = self.population.iter().any(|found| found.payload == payload);
        if known || full && self.population.last().is_some_and(|last| last.cost >= cost) {
            return;
        }
        let at = self.population.partition_point(|found| found.cost >= cost);
        self.population.insert(at, Found { payload, cost, origin: origin.to_owned() });
        self.population.truncate(POPULATION);
    }
}

/// xorshift64 (Marsaglia, 2003), the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    /// Changes a text of the same length in one way.
    fn change(&mut self, text: &mut [u8], donor: &[u8]) {
        let length = text.len();
        let from = self.below(length);
        let span = 1 + self.below(64.min(length - from));
        match self.below(8) {
            0 => text[from] = self.byte(),
            1 => (from..from + span).for_each(|at| text[at] = self.byte()),
            2 => {
                let units = UNITS.len() + WORDS.len();
                let unit = self.below(units);
                let unit = UNITS.get(unit).copied().unwrap_or_else(|| WORDS[unit - UNITS.len()]).as_bytes();
                let end = (from + unit.len()).min(length);
                text[from..end].copy_from_slice(&unit[..end - from]);
            }
            // Some bytes again and again, up to the end or for a while.
            3 | 4 => {
                let piece = text[from..from + span].to_vec();
                let end =
                    if self.below(2) == 0 { length } else { (from + span * self.below(16)).min(length) };
                (from..end).for_each(|at| text[at] = piece[(at - from) % span]);
            }
            5 => {
                let to = self.below(length - span + 1);
                text.copy_within(from..from + span, to);
            }
            6 => text[from..from + span].copy_from_slice(&donor[from..from + span]),
            // What follows moves by some bytes.
            _ => {
                let shift = span.min(8);
                match self.below(2) {
                    0 => text[from..].rotate_right(shift.min(length - from)),
                    _ => text[from..].rotate_left(shift.min(length - from)),
                }
            }
        }
    }

    fn byte(&mut self) -> u8 {
        match self.below(4) {
            0 => (self.next() >> 24) as u8,
            1 => b"\\\"\r\n \t:;,<>=()"[self.below(14)],
            _ => b"abcdefghijklmnopqrstuvwxyz0123456789-:"[self.below(38)],
        }
    }
}

/// Payloads that are mutated.
const POPULATION: usize = 24;

/// Mutations before another configuration has its turn.
const TURN: usize = 50;

/// Between two lines of how far it is.
const TELL: Duration = Duration::from_secs(30);
