//! Makes sure that engines find the same, and times them.

use std::cmp::Ordering;
use std::hint::black_box;
use std::time::Duration;

use serde::Serialize;

use super::engine::{BenchEngine, Compiled, Unfit};
use super::style::{BenchPattern, Style};
use super::traffic::knocking;
use crate::clock::cpu_time;

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchPlan {
    /// Kinds of knocks.
    pub styles: Vec<Style>,
    /// Numbers of knocks. The configuration's style has a number of its own.
    pub counts: Vec<usize>,
    /// The configuration's knocks.
    pub own: Vec<BenchPattern>,
    /// All knocks match in either case.
    pub ignore_case: bool,
    /// Who takes part.
    pub engines: Vec<BenchEngine>,
    /// How often everything is measured, at least once.
    pub rounds: usize,
    /// How long an engine is measured at a time.
    pub sample: Duration,
}

/// An engine with so many knocks of a style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Their style.
    pub style: Style,
    /// Their number.
    pub knocks: usize,
    /// The engine.
    pub engine: BenchEngine,
}

/// What a case costs.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Of what.
    pub case: Case,
    /// Nanoseconds of CPU time for a packet.
    pub ns: Spread,
    /// What the engine holds in memory, in bytes.
    pub memory: usize,
    /// CPU time of building it.
    pub build: Duration,
    /// Which of the gate's engines it chose.
    pub chosen: Option<&'static str>,
    /// Packets in which a knock occurs.
    pub hits: usize,
}

/// The values of all rounds, in short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// As many are larger as are smaller.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// `None` without a value.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
        let upper = values.len() / 2;
        let lower = values.len().checked_sub(1)? / 2;
        let median = (values.get(lower)? + values.get(upper)?) / 2.0;
        Some(Self { median, min: *values.first()?, max: *values.last()? })
    }
}

/// What came of it all.
#[derive(Clone, Debug, Default)]
pub struct Measurements {
    /// In the order of the plan.
    pub measured: Vec<Measured>,
    /// Engines that are nothing for these knocks, and why.
    pub left_out: Vec<(Case, Unfit)>,
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BenchError {
    /// An engine is wrong.
    #[error(
        "the engines differ: with {count} knocks of style {style}, {engine} {} knock {} in packet {}, where it does {}occur",
        if *occurs { "misses" } else { "finds" }, knock + 1, packet + 1, if *occurs { "" } else { "not " }
    )]
    Differ {
        /// Who is wrong.
        engine: &'static str,
        /// The knocks' style.
        style: &'static str,
        /// Their number.
        count: usize,
        /// The knock's place among them.
        knock: usize,
        /// The packet's place, those that were made to hold knocks behind the others.
        packet: usize,
        /// Whether the knock does occur.
        occurs: bool,
    },
}

/// Measures all that is planned. `progress` is told how many of [`BenchPlan::steps`] are done with each call, and what comes.
///
/// # Errors
/// Where engines differ in what they find.
pub fn measure(
    plan: &BenchPlan,
    packets: &[Vec<u8>],
    mut progress: impl FnMut(u64, &str),
) -> Result<Measurements, BenchError> {
    let mut all = Measurements::default();
    for &style in &plan.styles {
        for knocks in plan.counts(style) {
            let wanted = plan.wanted(style, knocks);
            let mut set = Set { plan, style, wanted: &wanted, packets, progress: &mut progress };
            set.measure(&mut all)?;
        }
    }
    Ok(all)
}

impl BenchPlan {
    /// How many steps it takes.
    pub fn steps(&self) -> u64 {
        let sets: usize = self.styles.iter().map(|&style| self.counts(style).len()).sum();
        (sets * self.engines.len() * (1 + self.rounds.max(1))) as u64
    }

    fn counts(&self, style: Style) -> Vec<usize> {
        if style == Style::Config { vec![self.own.len()] } else { self.counts.clone() }
    }

    fn wanted(&self, style: Style, count: usize) -> Vec<BenchPattern> {
        let mut wanted = match style {
            Style::Config => self.own.clone(),
            style => {
                let knocks = style.knocks(count).into_iter();
                knocks.map(|bytes| BenchPattern { bytes, ignore_case: false }).collect()
            }
        };
        wanted.iter_mut().for_each(|knock| knock.ignore_case |= self.ignore_case);
        wanted
    }
}

/// Engines that are measured with the same knocks.
struct Set<'a> {
    plan: &'a BenchPlan,
    style: Style,
    wanted: &'a [BenchPattern],
    packets: &'a [Vec<u8>],
    progress: &'a mut dyn FnMut(u64, &str),
}

/// An engine that takes part.
struct Runner {
    case: Case,
    compiled: Compiled,
    build: Duration,
    /// How often all packets are searched in a sample.
    passes: usize,
    samples: Vec<f64>,
}

impl Set<'_> {
    fn measure(&mut self, all: &mut Measurements) -> Result<(), BenchError> {
        let mut runners = Vec::new();
        for &engine in &self.plan.engines {
            let case = Case { style: self.style, knocks: self.wanted.len(), engine };
            match self.compile(case) {
                Ok(runner) => runners.push(runner),
                Err(why) => all.left_out.push((case, why)),
            }
            self.step(1, engine);
        }
        let hits = self.compare(&runners)?;
        // What comes in rounds is disturbed alike by whatever else the machine does.
        for _ in 0..self.plan.rounds.max(1) {
            for runner in &mut runners {
                let sample = runner.sample(self.packets, self.plan.sample);
                runner.samples.push(sample);
                self.step(1, runner.case.engine);
            }
        }
        let missing = self.plan.engines.len() - runners.len();
        (self.progress)((missing * self.plan.rounds.max(1)) as u64, "");
        all.measured.extend(runners.into_iter().filter_map(|runner| runner.measured(hits)));
        Ok(())
    }

    fn step(&mut self, steps: u64, engine: BenchEngine) {
        let text = format!("{} {}, {}", self.wanted.len(), self.style.name(), engine.name());
        (self.progress)(steps, &text);
    }

    /// Builds it a few times, and keeps the last.
    fn compile(&self, case: Case) -> Result<Runner, Unfit> {
        let mut compiled = case.engine.compile(self.wanted)?;
        let mut times = vec![compiled.took];
        while times.len() < self.plan.rounds.min(MAX_BUILDS) && times.iter().sum::<Duration>() < BUILDS_TIME {
            compiled = case.engine.compile(self.wanted)?;
            times.push(compiled.took);
        }
        times.sort_unstable();
        let build = times.get(times.len() / 2).copied().unwrap_or_default();
        Ok(Runner { case, compiled, build, passes: 1, samples: Vec::new() })
    }

    /// Whether all find the same, also in packets that are made to hold knocks. Returns in how many of the packets that
    /// are measured anything occurs.
    fn compare(&self, runners: &[Runner]) -> Result<usize, BenchError> {
        let Some((first, others)) = runners.split_first() else { return Ok(0) };
        let made = knocking(self.packets, self.wanted);
        let mut hits = 0;
        for (number, packet) in self.packets.iter().chain(&made).enumerate() {
            let expected = first.compiled.occurring(packet);
            hits += usize::from(number < self.packets.len() && !expected.is_empty());
            for other in others {
                let found = other.compiled.occurring(packet);
                if let Some(knock) = difference(&expected, &found) {
                    let occurs = self.wanted.get(knock).is_some_and(|knock| knock.occurs_in(packet));
                    let wrong = if found.contains(&knock) == occurs { first } else { other };
                    return Err(BenchError::Differ {
                        engine: wrong.case.engine.name(),
                        style: self.style.name(),
                        count: self.wanted.len(),
                        knock,
                        packet: number,
                        occurs,
                    });
                }
            }
        }
        Ok(hits)
    }
}

impl Runner {
    /// Nanoseconds for a packet.
    fn sample(&mut self, packets: &[Vec<u8>], time: Duration) -> f64 {
        if self.samples.is_empty() {
            self.warm_up(packets, time);
        }
        // Others have had the caches meanwhile.
        self.time(packets, 1);
        let took = self.time(packets, self.passes);
        took.as_secs_f64() * 1e9 / (self.passes * packets.len().max(1)) as f64
    }

    /// Searches for as long as a sample, and finds out how often it can do so in that time.
    fn warm_up(&mut self, packets: &[Vec<u8>], time: Duration) {
        loop {
            let took = self.time(packets, self.passes);
            if took >= time / 2 || self.passes >= MAX_PASSES {
                let scale = time.as_secs_f64() / took.as_secs_f64().max(1e-9);
                self.passes = ((self.passes as f64 * scale).ceil() as usize).clamp(1, MAX_PASSES);
                return;
            }
            self.passes *= 2;
        }
    }

    fn time(&self, packets: &[Vec<u8>], passes: usize) -> Duration {
        let start = cpu_time();
        for _ in 0..passes {
            black_box(self.compiled.pass(packets));
        }
        cpu_time().saturating_sub(start)
    }

    fn measured(self, hits: usize) -> Option<Measured> {
        Some(Measured {
            case: self.case,
            ns: Spread::of(self.samples)?,
            memory: self.compiled.memory,
            build: self.build,
            chosen: self.compiled.chosen,
            hits,
        })
    }
}

/// The first that is in one of two ascending lists only.
fn difference(one: &[usize], other: &[usize]) -> Option<usize> {
    let at = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    match (one.get(at), other.get(at)) {
        (Some(one), Some(other)) => Some(*one.min(other)),
        (one, other) => one.or(other).copied(),
    }
}

/// A median of more builds tells no more.
const MAX_BUILDS: usize = 5;

/// Builds that take longer together are not repeated.
const BUILDS_TIME: Duration = Duration::from_millis(200);

/// For packets so short, or so few, that a pass takes no time to speak of.
const MAX_PASSES: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::traffic::registers;

    #[test]
    fn medians_and_ranges() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some((3.0, 3.0, 3.0))),
            (vec![4.0, 1.0], Some((2.5, 1.0, 4.0))),
            (vec![9.0, 1.0, 2.0], Some((2.0, 1.0, 9.0))),
        ] {
            let spread = Spread::of(values).map(|spread| (spread.median, spread.min, spread.max));
            assert_eq!(spread, expected);
        }
    }

    #[test]
    fn differences() {
        for (one, other, expected) in [
            (&[][..], &[][..], None),
            (&[1, 2], &[1, 2], None),
            (&[1, 2, 3], &[1, 3], Some(2)),
            (&[1], &[1, 3], Some(3)),
            (&[4], &[], Some(4)),
        ] {
            assert_eq!((difference(one, other), difference(other, one)), (expected, expected));
        }
    }

    fn plan(engines: &[BenchEngine]) -> BenchPlan {
        BenchPlan {
            styles: vec![Style::Random, Style::Config],
            counts: vec![1, 80],
            own: vec![BenchPattern { bytes: b"sip.INSTANCE".to_vec(), ignore_case: true }],
            ignore_case: false,
            engines: engines.to_vec(),
            rounds: 2,
            sample: Duration::from_micros(100),
        }
    }

    #[test]
    fn everything_planned_is_measured_or_left_out() {
        let plan = plan(&[BenchEngine::Sipknock, BenchEngine::Teddy]);
        let mut steps = 0;
        let all = measure(&plan, &registers(4), |done, _| steps += done).unwrap();
        assert_eq!(steps, plan.steps());
        let cases: Vec<_> = all
            .measured
            .iter()
            .map(|one| (one.case.style, one.case.knocks, one.case.engine.name(), one.hits))
            .collect();
        assert_eq!(
            cases,
            [
                (Style::Random, 1, "sipknock", 0),
                (Style::Random, 1, "teddy", 0),
                (Style::Random, 80, "sipknock", 0),
                (Style::Config, 1, "sipknock", 4),
            ]
        );
        let left_out: Vec<_> = all.left_out.iter().map(|(case, why)| (case.knocks, why.clone())).collect();
        assert_eq!(left_out, [(80, Unfit::TooMany), (1, Unfit::Case)]);
        for one in &all.measured {
            assert!(one.ns.min > 0.0 && one.ns.min <= one.ns.median && one.ns.median <= one.ns.max);
            assert_eq!(one.chosen.is_some(), one.case.engine == BenchEngine::Sipknock);
        }
    }

    #[test]
    fn who_is_wrong_is_named() {
        let plan = plan(&[]);
        let (packets, wanted) = (registers(3), plan.wanted(Style::Config, 1));
        let runner = |engine: BenchEngine, bytes: &[u8]| {
            let case = Case { style: Style::Config, knocks: 1, engine };
            let compiled =
                engine.compile(&[BenchPattern { bytes: bytes.to_vec(), ignore_case: true }]).unwrap();
            Runner { case, compiled, build: Duration::ZERO, passes: 1, samples: Vec::new() }
        };
        let right = || runner(BenchEngine::Sipknock, b"sip.instance");
        let blind = || runner(BenchEngine::AhoCorasickDfa, b"never");
        let compare = |wanted: &[BenchPattern], runners: &[Runner]| {
            let progress = &mut |_, _: &str| ();
            Set { plan: &plan, style: Style::Config, wanted, packets: &packets, progress }.compare(runners)
        };
        assert_eq!(compare(&wanted, &[right(), right()]), Ok(3));
        for runners in [[right(), blind()], [blind(), right()]] {
            let error = compare(&wanted, &runners).unwrap_err();
            let BenchError::Differ { engine, knock, packet, occurs, .. } = &error;
            assert_eq!((*engine, *knock, *packet, *occurs), ("aho-corasick-dfa", 0, 0, true));
            assert!(error.to_string().contains("aho-corasick-dfa misses knock 1 in packet 1"), "{error}");
        }
        let absent = [BenchPattern { bytes: b"nowhere".to_vec(), ignore_case: false }];
        let error = compare(&absent, &[blind(), right()]).unwrap_err().to_string();
        assert!(error.contains("sipknock finds knock 1 in packet 1, where it does not occur"), "{error}");
    }
}
