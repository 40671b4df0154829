//! The pieces that a packet goes through: parsing, matching, doors, decisions, the queue's messages.
//!
//! `cargo bench --bench core` measures their time with criterion; an argument is a part of the names wanted. With
//! `--instructions`, it counts their instructions with callgrind (valgrind) and holds them against those in
//! benches/core/instructions.txt: noise does not change these, but another processor or compiler may. `--record` writes
//! that file.
//!
//! With `--worst`, it counts what packets cost that are made to be dear, for ten configurations, and fails if one costs more
//! than three times a plain REGISTER of the same length. `--minutes N` looks for dearer ones for so long, and keeps the
//! dearest in benches/core/worst; `--only NAME` does so for one configuration.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod cases;
mod configurations;
mod instructions;
mod worst;

use std::process::ExitCode;
use std::time::Duration;

use cases::CASES;
use criterion::Criterion;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let given = |name: &str| args.iter().any(|arg| arg == name);
    let option = |name: &str| args.iter().skip_while(|arg| *arg != name).nth(1);
    if let [flag, name, times] = &args[..]
        && flag == instructions::WORK
    {
        instructions::work(name, times.parse().unwrap());
    } else if let [flag, name] = &args[..]
        && flag == worst::SERVE
    {
        worst::serve(name);
    } else if given("--worst") {
        let minutes = option("--minutes").map(|text| text.parse::<u64>().expect("a number of minutes"));
        let time = minutes.map(|minutes| Duration::from_secs(60 * minutes));
        return worst::run(time, option("--only").map(String::as_str));
    } else if given("--instructions") || given("--record") {
        instructions::compare(given("--record"));
    } else {
        measure();
    }
    ExitCode::SUCCESS
}

fn measure() {
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .configure_from_args();
    for case in &CASES {
        let mut work = None;
        criterion.bench_function(case.name, |bencher| {
            // Only where the name is wanted: a million doors take their time.
            let work = work.get_or_insert_with(case.prepare);
            bencher.iter(work);
        });
    }
    criterion.final_summary();
}
