//! The tests that need root: real packets, queues and firewalls in network namespaces of their own.
//!
//! One program, with a suite for each module. A trial's name begins with that of its suite, so that
//! `cargo test --test root -- pbx::` runs one suite, and `cargo test --test root -- a_fault_opens_nothing` one trial, for
//! both backends. Without root each shows as ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod trials;

mod banned;
mod confirm;
mod control;
mod doctor;
mod faults;
mod firewall;
mod fragments;
mod gate;
mod harden;
mod http;
mod nflog;
mod outbound;
mod pbx;
mod setup;
mod takeover;
mod tcp;
mod watch;

use std::process::ExitCode;

use libtest_mimic::Trial;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() -> ExitCode {
    if let Some(end) = doctor::as_another_program() {
        return end;
    }
    raise_limit();
    // Those that take longest come first, so that nothing waits for them at the end.
    let suites = [
        ("pbx", pbx::trials()),
        ("tcp", tcp::trials()),
        ("watch", watch::trials()),
        ("takeover", takeover::trials()),
        ("gate", gate::trials()),
        ("faults", faults::trials()),
        ("control", control::trials()),
        ("harden", harden::trials()),
        ("outbound", outbound::trials()),
        ("banned", banned::trials()),
        ("http", http::trials()),
        ("setup", setup::trials()),
        ("doctor", doctor::trials()),
        ("confirm", confirm::trials()),
        ("firewall", firewall::trials()),
        ("nflog", nflog::trials()),
        ("fragments", fragments::trials()),
    ];
    let trials =
        suites.into_iter().flat_map(|(suite, trials)| trials.into_iter().map(|trial| trial.of(suite)));
    let mut trials: Vec<_> = trials.collect();
    let names: Vec<_> = trials.iter().map(|trial| trial.name().to_owned()).collect();
    trials
        .push(Trial::test("faults::the_table_names_every_fault", move || faults::compare_with_table(&names)));
    trials::run(trials)
}

/// Both ends of thousands of connections are here.
fn raise_limit() {
    let now = getrlimit(Resource::Nofile);
    let more = Rlimit { current: Some(FILES), maximum: now.maximum.map(|maximum| maximum.max(FILES)) };
    // If root may not raise the limit, the present one has to do.
    setrlimit(Resource::Nofile, more)
        .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now }))
        .unwrap();
}

/// Three times what the trials of half-open connections use.
const FILES: u64 = 65_536;
