//! The pieces that a packet goes through: parsing, matching, doors, decisions, the queue's messages.
//!
//! `cargo bench --bench core` measures their time with criterion; an argument is a part of the names wanted. With
//! `--instructions`, it counts their instructions with callgrind (valgrind) and holds them against those in
//! benches/core/instructions.txt: noise does not change these, but another processor or compiler may. `--record` writes
//! that file.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod cases;
mod instructions;

use std::time::Duration;

use cases::CASES;
use criterion::Criterion;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let given = |name: &str| args.iter().any(|arg| arg == name);
    if let [flag, name, times] = &args[..]
        && flag == instructions::WORK
    {
        instructions::work(name, times.parse().unwrap());
    } else if given("--instructions") || given("--record") {
        instructions::compare(given("--record"));
    } else {
        measure();
    }
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
