//! Packets of those whom the PBX has called.

use super::*;
use crate::net::Prefixes;
use crate::outbound::Effect;

const LIFE: u64 = 1000;
const TRUNK: &str = "203.0.113.50";
const OTHER: &str = "203.0.113.51";
const INVITE: &[u8] = b"INVITE sip:line@pbx SIP/2.0\r\nFrom: <sip:t@x>;tag=1\r\nTo: <sip:line@pbx>\r\nContent-Length: 0\r\n\r\n";
const BYE: &[u8] =
    b"BYE sip:line@pbx SIP/2.0\r\nFrom: <sip:t@x>;tag=1\r\nTo: <sip:line@pbx>;tag=2\r\nContent-Length: 0\r\n\r\n";
const REGISTER: &[u8] =
    b"REGISTER sip:pbx SIP/2.0\r\nFrom: <sip:t@x>;tag=1\r\nTo: <sip:line@pbx>\r\nContent-Length: 0\r\n\r\n";
const ANSWER: &[u8] =
    b"SIP/2.0 200 OK\r\nFrom: <sip:line@pbx>;tag=1\r\nTo: <sip:t@x>;tag=2\r\nContent-Length: 0\r\n\r\n";

fn gate() -> Inspector {
    let policy = Policy { outbound: Some(Duration::from_secs(LIFE)), ..Policy::default() };
    Inspector::new(policy, KnockSet::new(vec![knock("alice", "mykn0ckstr1ng")]).unwrap(), 10)
}

/// A datagram of the PBX to an address.
fn from_pbx(to: &str, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4("192.0.2.1", &udp(payload));
    let to: std::net::Ipv4Addr = to.parse().unwrap();
    packet[16..20].copy_from_slice(&to.octets());
    packet
}

pub(super) fn options(to: &str) -> Vec<u8> {
    from_pbx(to, format!("OPTIONS sip:x@{to} SIP/2.0\r\nTo: <sip:x@{to}>\r\n\r\n").as_bytes())
}

#[test]
fn a_call_of_the_pbx_lets_its_destination_answer_and_call() {
    let gate = gate();
    let fate = |secs, from: &str, body: &[u8]| gate.inspect(at(secs), &ipv4(from, &udp(body))).reason;
    assert_eq!(fate(0, TRUNK, ANSWER), Reason::NoKnock);
    let outgoing = gate.outgoing(at(1), &options(TRUNK)).unwrap();
    assert_eq!(outgoing.effect, Effect::Opened { expires: at(1 + LIFE) });
    for (secs, from, body, reason) in [
        (2, TRUNK, ANSWER, Reason::Outbound),
        (2, TRUNK, INVITE, Reason::Outbound),
        (2, TRUNK, b"\r\n\r\n", Reason::Outbound),
        (2, TRUNK, REGISTER, Reason::NoKnock),
        (2, TRUNK, PLAIN, Reason::NoKnock),
        (2, TRUNK, KNOCK, Reason::Knock),
        (3, TRUNK, INVITE, Reason::Door),
        (102, TRUNK, INVITE, Reason::Outbound),
        (102, TRUNK, REGISTER, Reason::Expired),
        (2, OTHER, INVITE, Reason::NoKnock),
        (2, OTHER, ANSWER, Reason::NoKnock),
        (1000, TRUNK, INVITE, Reason::Outbound),
        (1001, TRUNK, INVITE, Reason::NoKnock),
    ] {
        assert_eq!(fate(secs, from, body), reason, "{from} at {secs}: {}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_dialog_keeps_it_open_and_an_answer_does_not() {
    let gate = gate();
    let fate = |secs, body: &[u8]| gate.inspect(at(secs), &ipv4(TRUNK, &udp(body))).reason;
    gate.outgoing(at(0), &options(TRUNK));
    assert_eq!(fate(900, BYE), Reason::Outbound);
    assert_eq!(fate(1899, ANSWER), Reason::Outbound);
    assert_eq!(fate(1900, ANSWER), Reason::NoKnock);
    gate.outgoing(at(2000), &from_pbx(TRUNK, ANSWER));
    assert_eq!(fate(2001, INVITE), Reason::NoKnock, "a stranger can earn an answer");
}

#[test]
fn what_passes_is_counted() {
    let gate = gate();
    gate.outgoing(at(0), &options(TRUNK));
    let packet = ipv4(TRUNK, &udp(INVITE));
    (0..3).for_each(|_| _ = gate.inspect(at(1), &packet));
    gate.inspect(at(1), &ipv4(TRUNK, &udp(REGISTER)));
    let (_, door) = gate.outbound().listed(at(1)).remove(0);
    assert_eq!((door.packets, door.bytes), (3, 3 * packet.len() as u64));
}

#[test]
fn nothing_is_opened_for_trusted_ones_or_where_it_is_off() {
    let trusting = Policy {
        outbound: Some(Duration::from_secs(LIFE)),
        trusted: NetSet::new(&["203.0.113.50/32".parse().unwrap()]),
        ..Policy::default()
    };
    for policy in [trusting, Policy::default()] {
        let gate = Inspector::new(policy, KnockSet::new(vec![knock("a", "mykn0ckstr1ng")]).unwrap(), 10);
        assert_eq!(gate.outgoing(at(0), &options(TRUNK)), None);
        assert!(gate.outbound().is_empty());
    }
}

#[test]
fn fragments_of_those_who_were_called() {
    let gate = gate();
    gate.outgoing(at(0), &options(TRUNK));
    let cut = |body: &[u8], length: usize| ipv4_fragment(TRUNK, 0, true, &udp(body)[..length]);
    for (packet, reason) in [
        (cut(INVITE, 8 + 56), Reason::Outbound),
        (ipv4_fragment(TRUNK, 8, false, b"the rest"), Reason::Outbound),
        (cut(INVITE, 8), Reason::NoKnock),
        (cut(REGISTER, 8 + 8), Reason::NoKnock),
        (cut(ANSWER, 8 + 8), Reason::Outbound),
        (ipv4_fragment(OTHER, 8, false, b"the rest"), Reason::Fragment),
    ] {
        assert_eq!(gate.inspect(at(1), &packet).reason, reason, "{packet:02x?}");
    }
}

#[test]
fn a_batch_looks_once_at_what_the_pbx_has_sent_before_it_drops_an_answer() {
    let gate = gate();
    let packets = [
        ipv4(OTHER, &udp(INVITE)),
        ipv4(TRUNK, &udp(ANSWER)),
        ipv4(OTHER, &udp(ANSWER)),
        ipv4(TRUNK, &udp(ANSWER)),
    ];
    let (mut batch, mut looks) = (Batch::default(), 0);
    let packets = || packets.iter().map(Vec::as_slice);
    gate.inspect_all(at(0), packets().take(1), &mut batch, || panic!("an INVITE answers nothing"));
    gate.inspect_all(at(0), packets(), &mut batch, || {
        looks += 1;
        gate.outgoing(at(0), &options(TRUNK));
    });
    let reasons: Vec<_> = batch.decisions().iter().map(|decision| decision.reason).collect();
    assert_eq!(reasons, [Reason::NoKnock, Reason::Outbound, Reason::NoKnock, Reason::Outbound]);
    assert_eq!(looks, 1);
    // With its door open nobody has to look.
    gate.inspect_all(at(1), packets().skip(3), &mut batch, || panic!("the door is open"));
    assert_eq!(batch.decisions()[0].reason, Reason::Outbound);
}

#[test]
fn the_call_of_a_provider_is_told_by_the_user_that_the_pbx_registered() {
    let gate = gate();
    let call = ipv4(OTHER, &udp(INVITE));
    assert_eq!(gate.trunk_call(at(0), &call), None);
    let register =
        "REGISTER sip:p SIP/2.0\r\nTo: <sip:me@p>\r\nContact: <sip:line@192.0.2.1>;expires=60\r\n\r\n";
    gate.outgoing(at(0), &from_pbx(TRUNK, register.as_bytes()));
    let found = gate.trunk_call(at(1), &call).unwrap();
    assert_eq!((found.address, found.user, found.payload), (OTHER.parse().unwrap(), &b"line"[..], INVITE));
    assert_eq!(gate.trunk_call(at(1), &ipv4(OTHER, &udp(REGISTER))), None);
    assert_eq!(gate.trunk_call(at(64), &call), None);
}

/// A TCP connection of the trunk, segment by segment.
struct Connection<'a> {
    gate: &'a Inspector,
    next: u32,
}

impl<'a> Connection<'a> {
    fn begin(gate: &'a Inspector, secs: u64) -> Self {
        assert_eq!(gate.inspect(at(secs), &ipv4(TRUNK, &tcp_at(99, SYN, b""))).reason, Reason::Handshake);
        Self { gate, next: 100 }
    }

    fn send(&mut self, secs: u64, payload: &[u8]) -> Reason {
        let reason = self.gate.inspect(at(secs), &ipv4(TRUNK, &tcp_at(self.next, 0, payload))).reason;
        if reason.verdict() == Verdict::Accept {
            self.next += u32::try_from(payload.len()).unwrap();
        }
        reason
    }

    fn end(&mut self, secs: u64) -> Reason {
        self.gate.inspect(at(secs), &ipv4(TRUNK, &tcp_at(self.next, FIN, b""))).reason
    }
}

#[test]
fn messages_of_a_stream_pass_one_by_one() {
    let with_body = [&INVITE[..INVITE.len() - 5], b"7\r\n\r\nREGISTE"].concat();
    let rows: [(&str, &[&[u8]], Reason); 12] = [
        ("a call", &[INVITE], Reason::Outbound),
        ("two in one segment", &[&[INVITE, BYE].concat()], Reason::Outbound),
        (
            "cut anywhere",
            &[&INVITE[..5], &INVITE[5..40], &INVITE[40..], &BYE[..9], &BYE[9..]],
            Reason::Outbound,
        ),
        ("keepalives", &[b"\r\n\r\n", INVITE, b"\r\n", b"\r\n", BYE], Reason::Outbound),
        ("an answer", &[ANSWER, INVITE], Reason::Outbound),
        ("a body that looks like another message", &[&with_body, BYE], Reason::Outbound),
        ("a REGISTER", &[REGISTER], Reason::NoKnock),
        ("a REGISTER behind a call", &[INVITE, REGISTER], Reason::NoKnock),
        ("in one segment with it", &[&[INVITE, REGISTER].concat()], Reason::NoKnock),
        ("in two halves", &[INVITE, &REGISTER[..4], &REGISTER[4..]], Reason::NoKnock),
        ("without a length", &[b"INVITE sip:a@b SIP/2.0\r\nFrom: <sip:t@x>;tag=1\r\n\r\n"], Reason::NoKnock),
        (
            "with bare line ends",
            &[b"INVITE sip:a@b SIP/2.0\nFrom: <sip:t@x>;tag=1\r\nl: 0\r\n\r\n"],
            Reason::NoKnock,
        ),
    ];
    for (name, segments, last) in rows {
        let gate = gate();
        gate.outgoing(at(0), &options(TRUNK));
        let mut connection = Connection::begin(&gate, 1);
        let (end, begin) = segments.split_last().unwrap();
        for segment in begin {
            assert_eq!(connection.send(2, segment), Reason::Outbound, "{name}");
        }
        assert_eq!(connection.send(2, end), last, "{name}");
        if last != Reason::Outbound {
            assert_eq!(connection.send(3, INVITE), Reason::NoKnock, "{name}: nothing more passes");
        }
    }
}

#[test]
fn a_silent_connection_of_a_trunk_still_brings_its_calls() {
    let gate = gate();
    gate.outgoing(at(0), &options(TRUNK));
    let mut connection = Connection::begin(&gate, 1);
    assert_eq!(connection.send(2, INVITE), Reason::Outbound);
    (3..900).step_by(10).for_each(|secs| gate.streams().sweep(at(secs)));
    assert_eq!(connection.send(900, BYE), Reason::Outbound);
    assert_eq!(connection.end(901), Reason::Handshake);
    // The same ports again, as with a trunk that calls from its own port 5060.
    let mut again = Connection::begin(&gate, 902);
    assert_eq!(again.send(902, INVITE), Reason::Outbound);
}

#[test]
fn what_was_sent_again_passes_and_what_was_changed_does_not() {
    let gate = gate();
    gate.outgoing(at(0), &options(TRUNK));
    let mut connection = Connection::begin(&gate, 1);
    connection.send(2, INVITE);
    connection.next = 100;
    assert_eq!(connection.send(3, INVITE), Reason::Outbound);
    let other = INVITE.to_ascii_lowercase();
    connection.next = 100;
    assert_eq!(connection.send(3, &other), Reason::NoKnock);
    connection.next = 100 + u32::try_from(INVITE.len()).unwrap() + 1;
    assert_eq!(connection.send(3, BYE), Reason::NoKnock, "out of order");
    connection.next -= 1;
    assert_eq!(connection.send(3, BYE), Reason::Outbound);
}

#[test]
fn half_a_message_is_not_completed_after_the_door() {
    let gate = gate();
    gate.outgoing(at(0), &options(TRUNK));
    let mut connection = Connection::begin(&gate, 989);
    assert_eq!(connection.send(990, &INVITE[..50]), Reason::Outbound);
    assert_eq!(connection.send(1001, &INVITE[50..]), Reason::NoKnock);
    assert_eq!(connection.end(1001), Reason::NoKnock, "a receiver may take what it has for a whole message");
    // A knock still gets in.
    assert_eq!(connection.send(1002, KNOCK), Reason::Knock);
}

#[test]
fn a_knock_in_pieces_counts_on_a_connection_of_one_who_was_called() {
    let gate = gate();
    gate.outgoing(at(0), &options(TRUNK));
    let mut connection = Connection::begin(&gate, 1);
    connection.send(2, INVITE);
    assert_eq!(connection.send(2, &KNOCK[..38]), Reason::Outbound);
    assert_eq!(connection.send(2, &KNOCK[38..]), Reason::Knock);
    assert_eq!(gate.doors().open_count(), 1);
}

#[test]
fn a_knock_that_is_gone_marks_whom_it_held_or_is_remembered_for() {
    let policy = || Policy { outbound: Some(Duration::from_secs(LIFE)), ..Policy::default() };
    let both = vec![knock("alice", "mykn0ckstr1ng"), knock("bob", "another-secret")];
    let first = Inspector::new(policy(), KnockSet::new(both).unwrap(), 10);
    let (held, remembered, forgotten, neighbour) =
        ("203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4");
    let knocks = |secs, from: &str, body: &[u8]| {
        assert_eq!(first.inspect(at(secs), &ipv4(from, &udp(body))).reason, Reason::Knock, "{from}");
    };
    knocks(0, forgotten, KNOCK);
    knocks(100, remembered, KNOCK);
    knocks(200, held, KNOCK);
    knocks(200, neighbour, b"another-secret");
    for to in [held, remembered, neighbour] {
        assert_eq!(
            first.outgoing(at(210), &options(to)).unwrap().effect,
            Effect::Opened { expires: at(210 + LIFE) }
        );
    }
    // As the daemon does each second.
    assert_eq!(first.doors().sweep(at(210)).len(), 2);
    let second = first.successor(policy(), KnockSet::new(vec![knock("bob", "another-secret")]).unwrap());
    let mut shut = Vec::new();
    let retired = second.take_over(10, at(210), |source, _| shut.push(source));
    let source = |from: &str| Source::new(from.parse().unwrap(), Prefixes::default());
    assert_eq!((retired.closed, shut), (1, vec![source(held)]), "only that one was open");
    let mut closed: Vec<_> = retired.outbound.into_iter().map(|(source, _)| source).collect();
    closed.sort_unstable();
    assert_eq!(closed, [source(held), source(remembered)]);
    for (to, effect) in [
        (held, Effect::Marked),
        (remembered, Effect::Marked),
        (neighbour, Effect::Renewed),
        (forgotten, Effect::Opened { expires: at(220 + LIFE) }),
    ] {
        assert_eq!(second.outgoing(at(220), &options(to)).unwrap().effect, effect, "{to}");
    }
    let fate = |secs, from: &str| second.inspect(at(secs), &ipv4(from, &udp(ANSWER))).reason;
    assert_eq!(
        [held, remembered, forgotten].map(|from| fate(221, from)),
        [Reason::NoKnock, Reason::NoKnock, Reason::Outbound]
    );
    // A mark lasts from the last request of the PBX, as long as an outbound door does.
    assert_eq!(second.outgoing(at(219 + LIFE), &options(held)).unwrap().effect, Effect::Marked);
    assert!(matches!(
        second.outgoing(at(221 + LIFE), &options(remembered)).unwrap().effect,
        Effect::Opened { .. }
    ));
}

#[test]
fn what_came_before_the_call_of_the_pbx_passes_when_it_is_sent_again() {
    let gate = gate();
    let mut connection = Connection::begin(&gate, 1);
    let start = connection.next;
    assert_eq!(connection.send(2, INVITE), Reason::NoKnock);
    connection.next = start;
    assert_eq!(connection.send(3, INVITE), Reason::NoKnock);
    gate.outgoing(at(4), &options(TRUNK));
    connection.next = start;
    assert_eq!(connection.send(6, INVITE), Reason::Outbound);
    assert_eq!(connection.send(7, BYE), Reason::Outbound);
}

#[test]
fn strangers_who_fill_the_table_cut_no_trunk_off() {
    let gate = gate();
    gate.outgoing(at(0), &options(TRUNK));
    let mut connection = Connection::begin(&gate, 1);
    assert_eq!(connection.send(2, INVITE), Reason::Outbound);
    let mut held = 0;
    for n in 0..20_000 {
        let from = format!("198.51.{}.{}", n / 250, n % 250);
        let fate = |segment: &[u8]| gate.inspect(at(3), &ipv4(&from, segment)).reason;
        assert_eq!(fate(&tcp_at(99, SYN, b"")), Reason::Handshake);
        held += i32::from(fate(&tcp_at(100, 0, b"INVITE")) != Reason::Partial);
    }
    assert!(held < 100, "{held} are taken for others that had to go");
    assert_eq!(connection.send(4, BYE), Reason::Outbound);
}

#[test]
fn strangers_who_fill_the_room_for_bytes_cut_no_trunk_off() {
    let gate = gate();
    gate.outgoing(at(0), &options(TRUNK));
    let mut connection = Connection::begin(&gate, 1);
    let start = connection.next;
    assert_eq!(connection.send(2, INVITE), Reason::Outbound);
    let next = connection.next;
    let beginning = [&b"INVITE sip:a@b SIP/2.0\r\nX: "[..], &[b'x'; 8000]].concat();
    for n in 0..6000 {
        let from = format!("198.51.{}.{}", n / 250, n % 250);
        let fate = |segment: &[u8]| gate.inspect(at(3), &ipv4(&from, segment)).reason;
        assert_eq!(fate(&tcp_at(99, SYN, b"")), Reason::Handshake);
        assert_eq!(fate(&tcp_at(100, 0, &beginning)), Reason::Partial);
    }
    connection.next = start;
    assert_eq!(connection.send(4, &INVITE.to_ascii_lowercase()), Reason::NoKnock, "what has passed stays so");
    connection.next = next;
    assert_eq!(connection.send(5, BYE), Reason::Outbound);
}
