//! The gate in front of a real PBX: Kamailio, which pings its phones and registers with a trunk; baresip as phones, whose
//! `+sip.instance` is the knock; a second Kamailio as the trunk; SIPp as callers. In network namespaces, over UDP and
//! TCP, IPv4 and IPv6, with the PBX on the gate's machine and behind it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

#[path = "pbx/attackers.rs"]
mod attackers;
#[path = "../common/mod.rs"]
mod common;
#[path = "pbx/ends.rs"]
mod ends;
#[path = "pbx/forward.rs"]
mod forward;
#[path = "pbx/guard.rs"]
mod guard;
#[path = "pbx/hosts.rs"]
mod hosts;
#[path = "pbx/own_packets.rs"]
mod own_packets;
#[path = "pbx/revoked.rs"]
mod revoked;
#[path = "pbx/site.rs"]
mod site;
#[path = "pbx/software.rs"]
mod software;
#[path = "pbx/stays_in.rs"]
mod stays_in;
#[path = "pbx/trunk.rs"]
mod trunk;
#[path = "pbx/without.rs"]
mod without;

use std::process::ExitCode;

use common::trials::{self, missing_program};

fn main() -> ExitCode {
    trials::run(CASES.iter().map(|&(name, case)| {
        let missing = missing_program(PROGRAMS);
        trials::in_netns_with(missing, name, case)
    }))
}

/// The programs that all of them need.
const PROGRAMS: &[&str] = &["baresip", "iptables", "kamailio", "sipp", "stdbuf"];

/// Name and test. Those that take longest come first.
const CASES: &[(&str, fn())] = &[
    ("a_pbx_behind_a_router", forward::a_pbx_behind_a_router),
    ("a_pbx_on_a_router_and_one_behind_it", forward::a_pbx_on_a_router_and_one_behind_it),
    ("revoked_phones_stay_out", revoked::revoked_phones_stay_out),
    ("a_trunk_calls_in", trunk::a_trunk_calls_in),
    ("attackers_earn_nothing", attackers::attackers_earn_nothing),
    ("own_packets_are_neither_lost_nor_late", own_packets::own_packets_are_neither_lost_nor_late),
    ("phones_stay_in", stays_in::phones_stay_in),
    ("without_a_gate", without::without_a_gate),
    ("without_a_gate_behind_a_router", without::without_a_gate_behind_a_router),
];
