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

impl Case {
    /// Measures it with so many packets; the seed rules with as many as they get through in some seconds.
    pub(crate) fn run(&self, packets: usize) -> Seen {
        let lab = Lab::new(self.keeper, self.knocks, true);
        let sender = Sender::new(&lab.world);
        // Doors open, neighbours resolved, memory touched.
        let (first, sources, packets) = match self.keeper {
            Keeper::SeedRules => (100, self.sources, packets.min(self.seed_packets())),
            _ => (self.sources, self.sources, packets),
        };
        let warm_up = match self.traffic {
            Traffic::Phones => Traffic::Knocking { knocks: self.knocks },
            other => other,
        };
        sender.send(warm_up, sources, first, Some(50_000.0));
        lab.settle();
        let before = (lab.accepted(), lab.queued_and_lost(), dropped_by_backlog());
        let (process, machine) = (lab.cpu_of_process(), cpu_of_machine());
        let sending = sender.send(self.traffic, sources, packets, self.rate.map(f64::from));
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
