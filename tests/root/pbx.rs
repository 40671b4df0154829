//! The gate in front of a real PBX: Kamailio, which pings its phones and registers with a trunk; baresip as phones, whose
//! `+sip.instance` is the knock; a second Kamailio as the trunk; SIPp as callers. In network namespaces, over UDP and
//! TCP, IPv4 and IPv6, with the PBX on the gate's machine and behind it.

mod attackers;
mod ends;
mod forward;
mod guard;
mod hosts;
mod own_packets;
mod revoked;
mod site;
mod software;
mod stays_in;
mod trunk;
mod without;

use crate::trials::{self, NetnsTrial, missing_program, trials};

pub(crate) fn trials() -> Vec<NetnsTrial> {
    let missing = missing_program(PROGRAMS);
    CASES.iter().map(|&(name, case)| trials::in_netns_with(missing.clone(), name, case)).collect()
}

/// The programs that all of them need.
const PROGRAMS: &[&str] = &["baresip", "iptables", "kamailio", "sipp", "stdbuf"];

/// Those that take longest come first.
const CASES: &[(&str, fn())] = &trials![
    forward::a_pbx_behind_a_router,
    forward::a_pbx_on_a_router_and_one_behind_it,
    revoked::revoked_phones_stay_out,
    trunk::a_trunk_calls_in,
    attackers::attackers_earn_nothing,
    own_packets::own_packets_are_neither_lost_nor_late,
    stays_in::phones_stay_in,
    without::without_a_gate,
    without::without_a_gate_behind_a_router,
];
