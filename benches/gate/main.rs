//! The whole gate under load: real rules, real queues, two namespaces, a packet sender of its own.
//!
//! `cargo bench --bench gate` (as root) measures the kernel's string rules, a process that accepts everything unseen, and
//! sipknock with both backends, for 1 to 10,000 knocks: packets per second at full speed and what is lost of them, CPU
//! time per packet, latency. The rounds are interleaved; figures are medians over the rounds, ratios are taken within
//! each. `scripts/bench` runs it and writes docs/benchmarks.md.
//!
//! Options: `--packets N` of a run, `--rounds N`, `--out FOLDER` for Markdown and plots.
//!
//! `--beside` measures the latency of a phone's packets alone, beside 20,000 packets per second of strangers: plain ones, and
//! the dearest that `cargo bench --bench core -- --worst` has kept, in turn. `--packets N` of the phone, `--rounds N`.
//!
//! With `--endure SECONDS` or `--turn TIMES` nothing is measured: a gate is kept busy and has to stay as it should be, as
//! `scripts/endure` says. The exit status tells.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod beside;
#[path = "../../tests/common/mod.rs"]
mod common;
#[allow(dead_code, reason = "benches/core uses the rest")]
#[path = "../core/configurations.rs"]
mod configurations;
mod doors;
mod endure;
mod lab;
mod latency;
mod load;
mod report;
mod sender;
mod start;
mod traffic;
mod turn;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use common::netns::Netns;
use lab::{ACCEPT_ALL, Keeper};
use load::{Case, Seen};
use report::Report;
use sipknock::queue::{Backend, QueueOptions};
use sipknock::verdict::Verdict;
use traffic::Traffic;

fn main() -> ExitCode {
    // Cargo hands every bench a --bench of its own.
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == ACCEPT_ALL) {
        accept_all();
    }
    if let Some(at) = args.iter().position(|arg| arg == doors::DOORS) {
        lab::pin(lab::KEEPER_CPU);
        doors::measure(args[at + 1].parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if let Some(reason) = Netns::missing() {
        println!("skipped: {reason}");
        return ExitCode::SUCCESS;
    }
    let option = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).cloned()
    };
    let trials = [
        option("--turn").map(|text| turn::run(text.parse().expect("a number"))),
        option("--endure").map(|text| endure::run(text.parse().expect("seconds"))),
    ];
    if trials.iter().any(Option::is_some) {
        let held = trials.into_iter().flatten().all(|held| held);
        return if held { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let number = |name: &str, default| option(name).map_or(default, |text| text.parse().expect("a number"));
    lab::pin(SENDER_CPU);
    if args.iter().any(|arg| arg == "--beside") {
        return beside::run(number("--rounds", 7), number("--packets", 20_000));
    }
    let (packets, rounds) = (number("--packets", 300_000), number("--rounds", 5));
    let mut report = Report::new(option("--out").map(PathBuf::from), rounds, packets);
    let groups = groups();
    let mut seen: Vec<Vec<Vec<Seen>>> = groups.iter().map(|group| vec![Vec::new(); group.len()]).collect();
    let mut latencies: Vec<_> = LATENCIES.iter().map(|_| Vec::new()).collect();
    let mut doors = Vec::new();
    for round in 1..=rounds {
        for (group, seen) in groups.iter().zip(&mut seen) {
            eprintln!("round {round} of {rounds}: {group:?}");
            let costs = group.iter().any(|case| case.traffic == Traffic::Phones);
            let packets_each = if costs { 2 * packets } else { packets };
            let now = load::run_together(group, packets_each);
            seen.iter_mut().zip(now).for_each(|(seen, now)| seen.push(now));
        }
        for ((keeper, knocks), seen) in LATENCIES.into_iter().zip(&mut latencies) {
            eprintln!("round {round} of {rounds}: latency of {}, {knocks} knocks", keeper.name());
            seen.push(latency::measure(keeper, knocks, LATENCY_PACKETS));
        }
        doors.push(doors::measure_all());
    }
    let cases = groups.into_iter().flatten().zip(seen.into_iter().flatten());
    let measured: Vec<_> = cases.collect();
    report.strangers(&measured);
    report.losses(&measured);
    report.inspection(&measured);
    report.rates(&measured);
    report.latency(&LATENCIES.into_iter().zip(latencies).collect::<Vec<_>>());
    report.start(&start::first_verdicts(), &start::idle_memory());
    report.doors(&doors);
    report.finish();
    ExitCode::SUCCESS
}

/// All loads, in the order in which a round runs them: what is to be compared follows each other. Those of a group take
/// turns.
fn groups() -> Vec<Vec<Case>> {
    let mut groups = Vec::new();
    for knocks in KNOCKS {
        let case = |keeper, traffic, sources, rate| Case { keeper, knocks, traffic, sources, rate };
        let mixed = Traffic::Mixed { knocks };
        groups.push(
            [Keeper::SeedRules, Keeper::Nfq, Keeper::Batched, Keeper::Polling]
                .map(|keeper| case(keeper, Traffic::Strangers, SOURCES, None))
                .to_vec(),
        );
        groups
            .extend([SOURCES, MANY_SOURCES].map(|sources| vec![case(Keeper::Batched, mixed, sources, None)]));
        groups.push(
            [Keeper::AcceptAll, Keeper::Batched, Keeper::Nfq]
                .map(|keeper| case(keeper, Traffic::Phones, SOURCES, None))
                .to_vec(),
        );
        if knocks == RATE_KNOCKS {
            for rate in RATES {
                for keeper in [Keeper::SeedRules, Keeper::Nfq, Keeper::Batched] {
                    groups.push(vec![case(keeper, mixed, RATE_SOURCES, Some(rate))]);
                }
            }
        }
    }
    groups
}

/// The floor: what the queue costs when nothing is looked at.
fn accept_all() -> ! {
    let options = QueueOptions {
        queue: 0,
        max_len: 16_384,
        receive_buffer: 32 << 20,
        overload_open: false,
        exit_open: false,
        busy_poll: Duration::ZERO,
    };
    let mut queue = Backend::Batched.open(&options).unwrap();
    let mut verdicts = Vec::new();
    loop {
        let packets = queue.receive().unwrap();
        verdicts.clear();
        verdicts.resize(packets, Verdict::Accept);
        queue.answer(&verdicts).unwrap();
    }
}

const KNOCKS: [usize; 5] = [1, 10, 100, 1000, 10_000];
const SOURCES: usize = 1000;
const MANY_SOURCES: usize = 100_000;
/// At fixed rates: so few that `xt_recent` remembers all phones among them, 100 by default.
const RATE_SOURCES: usize = 200;
const RATE_KNOCKS: usize = 10;
const RATES: [u32; 3] = [20_000, 50_000, 100_000];
const LATENCIES: [(Keeper, usize); 6] = [
    (Keeper::Nobody, 10),
    (Keeper::SeedRules, 10),
    (Keeper::AcceptAll, 10),
    (Keeper::Batched, 10),
    (Keeper::Batched, 10_000),
    (Keeper::Polling, 10),
];
const LATENCY_PACKETS: usize = 20_000;

/// The sender has this core, the keeper the next one.
const SENDER_CPU: usize = 0;
