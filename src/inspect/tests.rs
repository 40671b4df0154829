mod adversary;
mod batch;
mod identities;
mod outbound;
mod registrations;
mod sources;
mod tricks;

use std::time::Duration;

use super::*;
use crate::door::DoorChange;
use crate::knock::{Knock, KnockId, KnockSet, Life, Part, Secret};
use crate::net::{NetSet, Prefixes, Source};
use crate::packet::{Flow, Transport};
use crate::stream::Limits;
use crate::testing::{ipv4, ipv4_fragment, ipv4_with, ipv6, tcp, tcp_at, udp};
use crate::verdict::{Reason, Verdict};

fn knock(name: &str, secret: &str) -> Knock {
    Knock::new(name, Secret::new(secret.as_bytes()).unwrap(), Duration::from_secs(100))
}

fn inspector(mode: Mode, renew: Renew, max_doors: usize) -> Inspector {
    let knocks = vec![
        knock("alice", "mykn0ckstr1ng"),
        knock("inside", "kn0ckstr"),
        Knock { max_doors: Some(1), ..knock("lonely", "only-one-of-me") },
    ];
    let trusted = NetSet::new(&["10.10.1.0/24".parse().unwrap()]);
    let policy = Policy { trusted, mode, renew, ..Policy::default() };
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
        // It gets no claim, and passes since the door is open.
        (300, other, udp(LONELY), Reason::Door, 1),
    ] {
        let decision = gate.inspect(at(secs), &ipv4(from, &body));
        assert_eq!(decision.reason, reason, "{from} at {secs}");
        assert_eq!(decision.verdict, reason.verdict(), "{from} at {secs}");
        assert_eq!(decision.knocks().len(), knocks, "{from} at {secs}");
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

const PHONE: &str = "203.0.113.7";

/// The reasons for TCP segments of one flow, each with its second.
fn flow(gate: &Inspector, segments: &[(u64, u32, u8, &[u8])]) -> Vec<Reason> {
    let decide = |&(secs, sequence, flags, payload): &(u64, u32, u8, &[u8])| {
        gate.inspect(at(secs), &ipv4(PHONE, &tcp_at(sequence, flags, payload))).reason
    };
    segments.iter().map(decide).collect()
}

#[test]
fn a_knock_in_two_segments() {
    use Reason::{Door, Handshake, Knock, Partial};
    for cut in 1..KNOCK.len() {
        let gate = inspector(Mode::Enforce, Renew::Knock, 10);
        let (first, second) = KNOCK.split_at(cut);
        let next = 100 + u32::try_from(cut).unwrap();
        let reasons =
            flow(&gate, &[(0, 99, SYN, b""), (0, 100, 0, b""), (0, 100, 0, first), (1, next, 0, second)]);
        let whole_in_first = first.windows(13).any(|window| window == b"mykn0ckstr1ng");
        // The shorter knock inside may be there before the longer.
        let shorter = first.windows(8).any(|window| window == b"kn0ckstr");
        let last = match (whole_in_first, shorter) {
            (true, _) => [Knock, Door],
            (false, true) => [Knock, Door],
            (false, false) => [Partial, Knock],
        };
        assert_eq!(reasons, [&[Handshake, Handshake], &last[..]].concat(), "cut at {cut}");
        assert!(gate.streams().is_empty());
    }
}

#[test]
fn a_request_without_a_knock_in_two_segments() {
    for cut in 1..PLAIN.len() {
        let gate = inspector(Mode::Enforce, Renew::Knock, 10);
        let (first, second) = PLAIN.split_at(cut);
        let next = 100 + u32::try_from(cut).unwrap();
        let reasons =
            flow(&gate, &[(0, 99, SYN, b""), (0, 100, 0, first), (0, next, 0, second), (0, next, 0, KNOCK)]);
        // A second line end's CR is the end already, for those who need no LF.
        let first = if cut == PLAIN.len() - 1 { Reason::NoKnock } else { Reason::Partial };
        assert_eq!(reasons[1..], [first, Reason::NoKnock, Reason::NoKnock], "cut at {cut}");
    }
}

#[test]
fn a_flow_and_its_door() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    let (half, rest) = PLAIN.split_at(20);
    for (name, segment, reason) in [
        ("a beginning", (0, 99, SYN, &b""[..]), Reason::Handshake),
        ("half of a request", (0, 100, 0, half), Reason::Partial),
        ("a knock elsewhere", (0, 0, 0, &b""[..]), Reason::Handshake),
        ("the other half", (2, 120, 0, rest), Reason::Door),
        ("a knock on it", (50, 200, 0, KNOCK), Reason::Knock),
        ("the door has run out", (150, 300, 0, PLAIN), Reason::Expired),
        ("a knock on it, again", (150, 400, 0, KNOCK), Reason::Knock),
        ("the end, of who knows what", (251, 600, FIN, b""), Reason::Expired),
        ("another connection", (252, 999, SYN, b""), Reason::Handshake),
        (
            "a keepalive, on ports whose receiver may wait for one",
            (253, 1000, 0, b"\r\n\r\n"),
            Reason::Expired,
        ),
        ("a knock", (254, 1004, 0, KNOCK), Reason::Knock),
        ("a keepalive through the door", (255, 2000, 0, b"\r\n\r\n"), Reason::Door),
    ] {
        if name == "a knock elsewhere" {
            assert_eq!(gate.inspect(at(1), &ipv4(PHONE, &udp(KNOCK))).reason, Reason::Knock);
            continue;
        }
        assert_eq!(flow(&gate, &[segment]), [reason], "{name}");
    }
}

#[test]
fn keepalives_open_no_door_and_pass_an_open_one() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    let stun = b"\x00\x01\x00\x00\x21\x12\xa4\x42a STUN transaction";
    let keepalives = [&b"\r\n\r\n"[..], b"\r\n", b"\0", b"\0\0\0\0", b"", stun];
    for (opened, reason) in [(false, Reason::NoKnock), (true, Reason::Door)] {
        for keepalive in keepalives {
            let decision = gate.inspect(at(0), &ipv4(PHONE, &udp(keepalive)));
            assert_eq!(decision.reason, reason, "{keepalive:?}, door open: {opened}");
        }
        gate.inspect(at(0), &ipv4(PHONE, &udp(KNOCK)));
    }
}

const PLAIN_TEXT: &str = "ACK sip:a SIP/2.0\r\n\r\n";
const SYN: u8 = 2;
const FIN: u8 = 1;

#[test]
fn a_knock_in_several_segments_renews_an_open_door() {
    let part = Knock { part: Part::FromDisplayName, ..knock("alice", "mykn0ckstr1ng") };
    for cut in 1..KNOCK.len() {
        let gate = Inspector::new(Policy::default(), KnockSet::new(vec![part.clone()]).unwrap(), 10);
        gate.inspect(at(0), &ipv4(PHONE, &udp(KNOCK)));
        let (first, second) = KNOCK.split_at(cut);
        let next = 100 + u32::try_from(cut).unwrap();
        let reasons = flow(
            &gate,
            &[
                (50, 99, SYN, b""),
                (50, 100, 0, first),
                (50, 100, 0, b""),
                (51, next, 0, second),
                (52, 500, 0, PLAIN),
            ],
        );
        assert!(reasons[1..4].contains(&Reason::Knock), "cut at {cut}: {reasons:?}");
        assert!(gate.streams().is_empty(), "cut at {cut}");
        assert_eq!(flow(&gate, &[(149, 900, 0, b"x")]), [Reason::Door], "cut at {cut}");
    }
}

#[test]
fn a_registrations_life_is_known_when_its_header_block_is() {
    let knock = Knock { door: Life::Registration, ..knock("a", "mykn0ckstr1ng") };
    let gate = Inspector::new(Policy::default(), KnockSet::new(vec![knock]).unwrap(), 10);
    let first = b"REGISTER sip:a SIP/2.0\r\nFrom: mykn0ckstr1ng <sip:1@a>\r\nTo: <sip:1@a>\r\n";
    let second = b"Expires: 600\r\n\r\n";
    let reasons = flow(
        &gate,
        &[(0, 99, SYN, b""), (0, 100, 0, first), (0, 100 + u32::try_from(first.len()).unwrap(), 0, second)],
    );
    assert_eq!(reasons, [Reason::Handshake, Reason::Partial, Reason::Knock]);
    assert_eq!(flow(&gate, &[(659, 900, 0, b"x"), (660, 901, 0, b"x")]), [Reason::Door, Reason::Expired]);
}

#[test]
fn a_successor_keeps_doors_by_the_names_of_their_knocks() {
    let first = inspector(Mode::Enforce, Renew::Knock, 10);
    let (alice, other, gone) = ("203.0.113.7", "203.0.113.8", "203.0.113.9");
    let reason = |gate: &Inspector, secs, from: &str, payload: &[u8]| {
        gate.inspect(at(secs), &ipv4(from, &udp(payload))).reason
    };
    assert_eq!(reason(&first, 0, alice, KNOCK), Reason::Knock);
    assert_eq!(reason(&first, 0, gone, LONELY), Reason::Knock);

    // Another order, another secret for alice, the lonely one gone, and one more.
    let knocks = vec![
        knock("new", "the-new-secret"),
        Knock { max_doors: Some(2), ..knock("inside", "kn0ckstr") },
        knock("alice", "another-secret"),
    ];
    let second = first.successor(Policy::default(), KnockSet::new(knocks).unwrap());
    let mut shut = Vec::new();
    // In a batch that began before.
    assert_eq!(reason(&first, 1, other, LONELY), Reason::DoorLimit);
    assert_eq!(second.take_over(3, at(1), |source, door| shut.push((source, door.knock))).closed, 1);
    let source = |from: &str| Source::new(from.parse().unwrap(), Prefixes::default());
    assert_eq!(shut, [(source(gone), KnockId::from(2))]);
    assert_eq!(second.name(KnockId::from(2)), "lonely", "for the log");
    assert_eq!(reason(&second, 2, alice, PLAIN), Reason::Door);
    assert_eq!(reason(&second, 2, gone, PLAIN), Reason::NoKnock);
    assert_eq!(reason(&second, 2, gone, LONELY), Reason::NoKnock);

    // Ids stay, whatever the place.
    let id = |name| second.knock_named(name).unwrap();
    assert_eq!([id("alice"), id("inside"), id("new")], [0, 1, 3].map(KnockId::from));
    assert_eq!(second.knock_named("lonely"), None);
    let decision = second.inspect(at(3), &ipv4(other, &udp(b"the-new-secret mykn0ckstr1ng")));
    assert_eq!(decision.knocks(), [id("new"), id("inside")], "in the order of the config");
    let Some(DoorChange::Opened { door, .. }) = decision.change() else { panic!("{decision:?}") };
    assert_eq!(second.name(door.knock), "new");
    assert_eq!(second.doors().held_by(id("alice")), 1);
    // The limit of the knock that has got one, and of the table.
    assert_eq!(second.doors().held_by(id("inside")), 2);
    assert_eq!(reason(&second, 4, gone, b"mykn0ckstr1ng"), Reason::DoorLimit);
    assert_eq!(reason(&second, 4, gone, b"the-new-secret"), Reason::Knock);
    assert_eq!(reason(&second, 4, "203.0.113.10", b"the-new-secret"), Reason::DoorLimit);

    // A name that comes back is the same knock.
    let third =
        second.successor(Policy::default(), KnockSet::new(vec![knock("lonely", "only-one-of-me")]).unwrap());
    assert_eq!(third.take_over(3, at(5), |_, _| {}).closed, 3);
    assert_eq!(third.knock_named("lonely"), Some(KnockId::from(2)));
}

#[test]
fn a_successor_tells_the_same_registrations() {
    let registers = |policy| {
        let knock = Knock { door: Life::Registration, ..knock("alice", "mykn0ckstr1ng") };
        (policy, KnockSet::new(vec![knock]).unwrap())
    };
    let (policy, knocks) = registers(Policy::default());
    let first = Inspector::new(policy, knocks, 10);
    let message = |expires| {
        format!(
            "REGISTER sip:pbx SIP/2.0\r\nFrom: \"mykn0ckstr1ng\" <sip:100@pbx>\r\nTo: <sip:100@pbx>\r\n\
             Contact: <sip:100@203.0.113.7>\r\nExpires: {expires}\r\n\r\n"
        )
    };
    let phone = |payload: String| ipv4("203.0.113.7", &udp(payload.as_bytes()));
    assert_eq!(first.inspect(at(0), &phone(message(3600))).reason, Reason::Knock);
    let (policy, knocks) = registers(Policy::default());
    let second = first.successor(policy, knocks);
    second.take_over(10, at(1), |_, _| panic!("nobody's knock is gone"));
    assert_eq!(second.inspect(at(10), &phone(message(0))).reason, Reason::Knock);
    assert_eq!(second.inspect(at(50), &phone("nothing".into())).reason, Reason::Expired);
}

#[test]
fn a_revoked_door_is_shut_to_its_connections() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    let phone = "203.0.113.7";
    let segment = |secs, sequence: u32, payload: &[u8]| {
        gate.inspect(at(secs), &ipv4(phone, &tcp_at(sequence, 0, payload))).reason
    };
    let next = |sequence: u32, payload: &[u8]| sequence + u32::try_from(payload.len()).unwrap();
    assert_eq!(gate.inspect(at(0), &ipv4(phone, &tcp_at(99, 2, b""))).reason, Reason::Handshake);
    assert_eq!(segment(0, 100, KNOCK), Reason::Knock);
    let second = next(100, KNOCK);
    assert_eq!(segment(1, second, PLAIN), Reason::Door);
    let half = &PLAIN[..40];
    let third = next(second, PLAIN);
    assert_eq!(segment(2, third, half), Reason::Door);
    assert!(gate.doors().close(gate.cut().source(phone.parse().unwrap())).is_some());
    // Neither the rest of a request nor another one.
    assert_eq!(segment(3, next(third, half), &PLAIN[40..]), Reason::NoKnock);
    assert_eq!(segment(3, next(third, PLAIN), PLAIN), Reason::NoKnock);
    assert_eq!(gate.inspect(at(3), &ipv4(phone, &udp(PLAIN))).reason, Reason::NoKnock);
    assert_eq!(segment(4, next(third, PLAIN), KNOCK), Reason::Knock);
}
