use std::time::Duration;

use super::*;
use crate::knock::{Knock, Secret};
use crate::testing::{ipv4, ipv4_fragment, ipv6, tcp, udp};

fn knock(name: &str, secret: &str) -> Knock {
    Knock {
        name: name.into(),
        secret: Secret::new(secret.as_bytes()).unwrap(),
        ignore_case: false,
        methods: Vec::new(),
        sources: None,
        door: Duration::from_secs(100),
        max_doors: None,
    }
}

fn inspector(mode: Mode, renew: Renew, max_doors: usize) -> Inspector {
    let knocks = vec![
        knock("alice", "mykn0ckstr1ng"),
        knock("inside", "kn0ckstr"),
        Knock { max_doors: Some(1), ..knock("lonely", "only-one-of-me") },
    ];
    let trusted = NetSet::new(&["10.10.1.0/24".parse().unwrap()]);
    let policy = Policy { trusted, mode, renew, prefixes: Prefixes::default() };
    Inspector::new(policy, KnockSet::new(knocks).unwrap(), max_doors)
}

fn at(secs: u64) -> Time {
    Time::from_parts(secs, 0)
}

const KNOCK: &[u8] = b"REGISTER sip:pbx SIP/2.0\r\nFrom: \"mykn0ckstr1ng\" <sip:100@pbx>\r\n\r\n";
const PLAIN: &[u8] = b"REGISTER sip:pbx SIP/2.0\r\nFrom: \"Alice\" <sip:100@pbx>\r\n\r\n";
const LONELY: &[u8] = b"REGISTER sip:pbx SIP/2.0\r\nFrom: only-one-of-me <sip:100@pbx>\r\n\r\n";

#[test]
fn a_packets_fate() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    let (phone, other, office) = ("203.0.113.7", "203.0.113.8", "10.10.1.9");
    for (secs, from, body, reason, knocks) in [
        (0, phone, udp(PLAIN), Reason::NoKnock, 0),
        (1, office, udp(PLAIN), Reason::Trusted, 0),
        (1, office, udp(KNOCK), Reason::Trusted, 0),
        (2, phone, udp(KNOCK), Reason::Knock, 2),
        (3, phone, udp(PLAIN), Reason::Door, 0),
        (3, other, udp(PLAIN), Reason::NoKnock, 0),
        (3, phone, udp(b"\r\n\r\n"), Reason::Door, 0),
        (3, other, udp(b"\r\n\r\n"), Reason::NoKnock, 0),
        (3, other, udp(b""), Reason::NoKnock, 0),
        (3, phone, tcp(PLAIN), Reason::Door, 0),
        (3, other, tcp(b""), Reason::Handshake, 0),
        (3, phone, tcp(b""), Reason::Door, 0),
        (3, other, tcp(PLAIN), Reason::NoKnock, 0),
        (50, phone, udp(KNOCK), Reason::Knock, 2),
        (149, phone, udp(PLAIN), Reason::Door, 0),
        (150, phone, udp(PLAIN), Reason::Expired, 0),
        (150, phone, tcp(b""), Reason::Handshake, 0),
        (249, phone, udp(PLAIN), Reason::Expired, 0),
        (250, phone, udp(PLAIN), Reason::NoKnock, 0),
        (300, other, tcp(KNOCK), Reason::Knock, 2),
        (300, phone, udp(LONELY), Reason::Knock, 1),
        (300, "203.0.113.9", udp(LONELY), Reason::DoorLimit, 1),
        (300, other, udp(LONELY), Reason::Knock, 1),
    ] {
        let decision = gate.inspect(at(secs), &ipv4(from, &body));
        assert_eq!(decision.reason, reason, "{from} at {secs}");
        assert_eq!(decision.verdict, reason.verdict(), "{from} at {secs}");
        assert_eq!(decision.knocks.len(), knocks, "{from} at {secs}");
        assert_eq!(decision.source, Some(from.parse().unwrap()));
        assert!(!decision.would_drop());
    }
}

#[test]
fn fragments_and_what_is_malformed() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    let mut short = udp(KNOCK);
    short[4..6].copy_from_slice(&7u16.to_be_bytes());
    for (secs, packet, reason) in [
        (0, ipv4_fragment("203.0.113.7", 100, false, b"mykn0ckstr1ng"), Reason::Fragment),
        (0, ipv4_fragment("203.0.113.7", 0, true, &udp(KNOCK)), Reason::Knock),
        (0, ipv4_fragment("203.0.113.7", 100, false, b"the rest"), Reason::Door),
        (0, ipv4_fragment("10.10.1.9", 100, false, b"the rest"), Reason::Trusted),
        (100, ipv4_fragment("203.0.113.7", 100, false, b"the rest"), Reason::Expired),
        (0, ipv4("203.0.113.9", &short), Reason::Malformed),
        (0, ipv4("203.0.113.9", b"123"), Reason::Malformed),
        (0, ipv4("10.10.1.9", b"123"), Reason::Trusted),
        (0, Vec::new(), Reason::Malformed),
        (0, vec![0x45], Reason::Malformed),
    ] {
        assert_eq!(gate.inspect(at(secs), &packet).reason, reason, "{packet:02x?}");
    }
}

#[test]
fn ipv6_doors_are_for_the_whole_prefix() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    for (from, body, reason) in [
        ("2001:db8:1:2::7", KNOCK, Reason::Knock),
        ("2001:db8:1:2:aaaa::1", PLAIN, Reason::Door),
        ("2001:db8:1:3::7", PLAIN, Reason::NoKnock),
        ("::ffff:10.10.1.9", PLAIN, Reason::Trusted),
    ] {
        assert_eq!(gate.inspect(at(0), &ipv6(from, &udp(body))).reason, reason, "{from}");
    }
}

#[test]
fn a_full_table_refuses_and_lets_the_others_be() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 1);
    for (secs, from, body, reason) in [
        (0, "203.0.113.1", KNOCK, Reason::Knock),
        (0, "203.0.113.2", KNOCK, Reason::DoorLimit),
        (0, "203.0.113.2", PLAIN, Reason::NoKnock),
        (0, "203.0.113.1", PLAIN, Reason::Door),
        (100, "203.0.113.2", KNOCK, Reason::Knock),
        (100, "203.0.113.1", PLAIN, Reason::Expired),
        (100, "203.0.113.1", KNOCK, Reason::DoorLimit),
    ] {
        assert_eq!(gate.inspect(at(secs), &ipv4(from, &udp(body))).reason, reason, "{from} at {secs}");
    }
}

#[test]
fn a_knock_that_is_refused_still_passes_through_an_open_door() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    gate.inspect(at(0), &ipv4("203.0.113.1", &udp(LONELY)));
    gate.inspect(at(0), &ipv4("203.0.113.2", &udp(KNOCK)));
    let decision = gate.inspect(at(1), &ipv4("203.0.113.2", &udp(LONELY)));
    assert_eq!(decision.reason, Reason::Door, "nothing is renewed by a knock that is full");
    assert_eq!(gate.inspect(at(100), &ipv4("203.0.113.2", &udp(PLAIN))).reason, Reason::Expired);
}

#[test]
fn any_accepted_packet_renews_where_the_config_says_so() {
    let gate = inspector(Mode::Enforce, Renew::Packet, 10);
    for (secs, body, reason) in [
        (0, PLAIN, Reason::NoKnock),
        (0, KNOCK, Reason::Knock),
        (90, PLAIN, Reason::Door),
        (180, PLAIN, Reason::Door),
        (279, PLAIN, Reason::Door),
        (379, PLAIN, Reason::Expired),
        (380, PLAIN, Reason::Expired),
    ] {
        assert_eq!(gate.inspect(at(secs), &ipv4("203.0.113.7", &udp(body))).reason, reason, "at {secs}");
    }
}

#[test]
fn monitor_accepts_all_and_says_what_it_would_drop() {
    let gate = inspector(Mode::Monitor, Renew::Knock, 10);
    for (body, reason, would_drop) in
        [(PLAIN, Reason::NoKnock, true), (KNOCK, Reason::Knock, false), (PLAIN, Reason::Door, false)]
    {
        let decision = gate.inspect(at(0), &ipv4("203.0.113.7", &udp(body)));
        assert_eq!((decision.verdict, decision.reason), (Verdict::Accept, reason));
        assert_eq!(decision.would_drop(), would_drop);
    }
    assert!(gate.inspect(at(0), b"").would_drop());
}

#[test]
fn scope() {
    let scope = Scope { ports: vec![5060..=5060, 5070..=5079], transports: vec![Transport::Udp] };
    for (transport, port, covered) in [
        (Transport::Udp, 5060, true),
        (Transport::Udp, 5061, false),
        (Transport::Udp, 5070, true),
        (Transport::Udp, 5079, true),
        (Transport::Udp, 5080, false),
        (Transport::Tcp, 5060, false),
    ] {
        let flow = Flow { transport, source_port: 1, destination_port: port };
        assert_eq!(scope.covers(flow), covered, "{transport:?} {port}");
    }
}
