//! Load: what a keeper lets pass, loses and costs.

use std::fs;
use std::time::Duration;

use super::lab::{Keeper, Lab, cpu_of_machine};
use super::sender::Sender;
use super::traffic::Traffic;

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) keeper: Keeper,
    pub(crate) knocks: usize,
    pub(crate) traffic: Traffic,
    pub(crate) sources: usize,
    /// Packets per second; `None`: as fast as one core sends.
    pub(crate) rate: Option<u32>,
}

/// What was seen of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) sent: usize,
    /// Of those, how many reached the rules.
    pub(crate) arrived: usize,
    pub(crate) per_second: f64,
    /// Lost by the keeper: at a full queue or a full socket.
    pub(crate) lost: u64,
    pub(crate) phones_accepted: u64,
    pub(crate) strangers_accepted: u64,
    /// CPU time for each packet that arrived, in microseconds.
    pub(crate) process_micros: f64,
    pub(crate) machine_micros: f64,
}

/// A case set up, with its doors open.
struct Bench {
    case: Case,
    lab: Lab,
    sender: Sender,
}

/// Measures cases with so many packets each, side by side: all are set up, and then each gets a few of its packets in
/// turn, so that what slows the machine down for a while slows down all of them. Their order changes, so that none always
/// finds the caches as one other leaves them.
pub(crate) fn run_together(cases: &[Case], packets: usize) -> Vec<Seen> {
    let benches: Vec<_> = cases.iter().map(|&case| Bench::new(case)).collect();
    let turns = if cases.len() > 1 { packets.div_ceil(turn_of(cases)) } else { 1 };
    let mut seen: Vec<_> = cases.iter().map(|_| Vec::new()).collect();
    let mut order: Vec<_> = (0..cases.len()).collect();
    for turn in 0..turns {
        for &index in &order {
            seen[index].push(benches[index].run(packets, turns));
        }
        // Turned around each time, and shifted by one every other time.
        order.reverse();
        order.rotate_left(turn % 2);
    }
    seen.iter().map(|turns| Seen::of_all(turns)).collect()
}

impl Seen {
    fn of_all(turns: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> u64| turns.iter().map(of).sum();
        // Means over packets, and so of each turn's by the packets that it had.
        let mean = |of: &dyn Fn(&Self) -> f64, weigh: &dyn Fn(&Self) -> f64| {
            let weights: f64 = turns.iter().map(weigh).sum();
            turns.iter().map(|turn| of(turn) * weigh(turn)).sum::<f64>() / weights.max(f64::MIN_POSITIVE)
        };
        let arrived = |turn: &Self| turn.arrived as f64;
        Self {
            sent: turns.iter().map(|turn| turn.sent).sum(),
            arrived: turns.iter().map(|turn| turn.arrived).sum(),
            per_second: mean(&|turn| turn.per_second, &|turn| arrived(turn) / turn.per_second),
            lost: sum(|turn| turn.lost),
            phones_accepted: sum(|turn| turn.phones_accepted),
            strangers_accepted: sum(|turn| turn.strangers_accepted),
            process_micros: mean(&|turn| turn.process_micros, &arrived),
            machine_micros: mean(&|turn| turn.machine_micros, &arrived),
        }
    }
}

impl Bench {
    fn new(case: Case) -> Self {
        let lab = Lab::new(case.keeper, case.knocks, true);
        let sender = Sender::new(&lab.world);
        // Doors open, neighbours resolved, memory touched.
        let first = if case.keeper == Keeper::SeedRules { 100 } else { case.sources };
        let warm_up = match case.traffic {
            Traffic::Phones => Traffic::Knocking { knocks: case.knocks },
            other => other,
        };
        sender.send(warm_up, case.sources, first, Some(50_000.0));
        lab.settle();
        Self { case, lab, sender }
    }

    /// Sends one turn's share of so many packets; the seed rules get as many as they manage in some seconds.
    fn run(&self, packets: usize, turns: usize) -> Seen {
        let Self { case, lab, sender } = self;
        let all = match case.keeper {
            Keeper::SeedRules => packets.min(case.seed_packets()),
            _ => packets,
        };
        let packets = all / turns;
        let before = (lab.accepted(), lab.queued_and_lost(), dropped_by_backlog());
        let (process, machine) = (lab.cpu_of_process(), cpu_of_machine());
        let sending = sender.send(case.traffic, case.sources, packets, case.rate.map(f64::from));
        lab.settle();
        let (process, machine) = (lab.cpu_of_process() - process, cpu_of_machine() - machine);
        let after = (lab.accepted(), lab.queued_and_lost(), dropped_by_backlog());
        let arrived = packets - usize::try_from(after.2 - before.2).unwrap().min(packets);
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / arrived.max(1) as f64;
        Seen {
            sent: packets,
            arrived,
            per_second: arrived as f64 / sending.as_secs_f64(),
            lost: after.1.1 - before.1.1,
            phones_accepted: after.0[0] - before.0[0],
            strangers_accepted: after.0[1] - before.0[1],
            process_micros: each(process),
            machine_micros: each(machine),
        }
    }
}

impl Case {
    /// Two seconds' worth, at 0.34 µs for each rule and packet.
    fn seed_packets(&self) -> usize {
        (2e6 / (2.4 + 0.34 * self.knocks as f64)) as usize
    }
}

/// Packets that the kernel has dropped before any rule, since softirqs were too far behind
/// (Documentation/networking/scaling.rst; the second column of /proc/net/softnet_stat).
fn dropped_by_backlog() -> u64 {
    let stat = fs::read_to_string("/proc/net/softnet_stat").unwrap();
    let dropped = stat.lines().map(|line| line.split_whitespace().nth(1).unwrap());
    dropped.map(|word| u64::from_str_radix(word, 16).unwrap()).sum()
}

/// Packets of one turn. Where speed is asked for they are three times what a queue holds, and a fifth of a second; where
/// only their cost is, a twentieth of a second's.
fn turn_of(cases: &[Case]) -> usize {
    if cases.iter().any(|case| case.traffic == Traffic::Strangers) { 50_000 } else { 10_000 }
}
