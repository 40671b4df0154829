//! SIP over TCP through the gate, with real sockets, rules and NFQUEUEs: however a sender cuts it, a phone that knocks
//! gets in, and of a stranger no complete header block arrives. And phones as they are, in front of a real registrar.

mod flood;
mod fragments;
mod older;
mod phones;
mod splits;
mod tricks;

use crate::common::gate::{Gate, World, alice};
use crate::trials::{self, NetnsTrial, missing_program, trials};
use serde_json::Value;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    let groups = [
        (CASES, &[][..]),
        (WITH_BARESIP, &["baresip", "kamailio", "stdbuf"]),
        (WITH_SIPP, &["sipp", "kamailio"]),
        (WITH_IP6TABLES, &["ip6tables"]),
    ];
    let of_group = |(cases, programs): (&'static [(&'static str, Case)], &[&str])| {
        let missing = missing_program(programs);
        cases.iter().map(move |&(name, case)| {
            trials::in_netns_with(missing.clone(), name, move || case(&World::without_receiver("tcp")))
        })
    };
    groups.into_iter().flat_map(of_group).collect()
}

type Case = fn(&World);

/// Those that take longest come first.
const CASES: &[(&str, Case)] = &trials![
    splits::a_stranger_at_every_split,
    splits::a_knock_at_every_split,
    flood::half_open_flows,
    flood::half_open_flows_in_a_small_table,
    tricks::retransmissions,
    flood::half_open_flows_with_all_that_may_pass,
    tricks::a_connection_begun_anew,
    tricks::no_connection_ends_inside_a_block,
    tricks::keepalives_before_the_register,
    tricks::two_registers_in_a_row,
    tricks::tls_is_dropped,
    tricks::a_restart_completes_no_block,
    tricks::no_trick_completes_a_block,
    tricks::segments_in_any_order,
    older::half_a_request_over_a_restart,
    older::half_a_request_over_kill_9,
    older::half_a_request_over_a_takeover,
    older::half_a_request_after_doors_close,
    older::half_a_request_when_monitor_becomes_enforce,
    older::a_connection_older_than_the_gate_can_knock,
    older::a_connection_that_offers_multipath_tcp_has_to_knock,
];

const WITH_BARESIP: &[(&str, Case)] = &trials![
    phones::baresip_registers_over_udp,
    phones::baresip_registers_over_tcp,
    phones::baresip_without_a_knock_over_udp,
    phones::baresip_without_a_knock_over_tcp,
];

const WITH_SIPP: &[(&str, Case)] = &trials![phones::sipp_registers_over_tcp,];

const WITH_IP6TABLES: &[(&str, Case)] = &trials![
    fragments::nobody_puts_fragments_together,
    fragments::the_kernel_puts_fragments_together,
    fragments::a_header_chain_that_is_cut_before_the_ports,
];

/// Starts a gate with its rules.
fn start(world: &World, inspect: &str) -> Gate {
    start_with(world, inspect, &alice())
}

fn start_with(world: &World, inspect: &str, knocks: &str) -> Gate {
    let inspect = format!("transports = [\"udp\", \"tcp\"]\n{inspect}");
    Gate::start(world, &["--config", &world.guarded(&inspect, "", knocks)])
}

/// How many packets a gate decided for a reason, from its last event.
fn count(stopped: &Value, reason: &str) -> u64 {
    let reasons = stopped["reasons"].as_str().unwrap();
    let counts = reasons.split(' ').filter_map(|word| word.split_once(':'));
    counts.filter(|(name, _)| *name == reason).map(|(_, count)| count.parse::<u64>().unwrap()).sum()
}

/// A REGISTER as phones send it over TCP, of some 600 bytes.
fn register(display_name: &str) -> String {
    format!(
        "REGISTER sip:192.0.2.1;transport=tcp SIP/2.0\r\n\
         Via: SIP/2.0/TCP 198.51.100.7:49152;branch=z9hG4bK-524287-1---8d0a2b3c4e5f;rport;alias\r\n\
         Max-Forwards: 70\r\n\
         To: \"{display_name}\" <sip:200@192.0.2.1>\r\n\
         From: \"{display_name}\" <sip:200@192.0.2.1>;tag=8d0a2b3c\r\n\
         Call-ID: 3848276298220188511@198.51.100.7\r\n\
         CSeq: 1 REGISTER\r\n\
         Contact: <sip:200@198.51.100.7:49152;transport=tcp;ob>;reg-id=1;+sip.instance=\"<urn:uuid:{INSTANCE}>\"\r\n\
         Expires: 3600\r\n\
         Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO\r\n\
         Supported: path, outbound, gruu\r\n\
         User-Agent: A desk phone 1.0\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// What stands in every phone's REGISTER here; a knock only where the configuration says so.
const INSTANCE: &str = "3f2b8c1e-5d47-4a09-9c66-0e7a51d2b8f4";

/// Whether anybody could take this for a message with a complete header block: two line ends in a row, of whatever
/// kind, behind something that is none.
fn holds_block(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    text.trim_start_matches('\n').contains("\n\n")
}

/// A message in pieces.
fn pieces<'a>(message: &'a str, cuts: &[usize]) -> Vec<&'a [u8]> {
    let ends = cuts.iter().copied().chain([message.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(start, end)| &message.as_bytes()[start..end]).collect()
}
