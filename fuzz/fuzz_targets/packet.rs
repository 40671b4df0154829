//! IP packets: `Packet::parse`, and the whole of `Inspector::inspect`, over arbitrary bytes.
//!
//! - The payload is a subslice of the input.
//! - A cut copy (a short snap length) has the same addresses and ports and a prefix of the payload, and is never
//!   readable where the whole packet is not.
//! - A plain IPv4 datagram is read as by the few lines that are written out here.
//! - Every packet gets one reason: the first that holds, by a model of the checks that searches naively. Its verdict
//!   is the reason's, and accept in monitor mode.
//! - A knock opens a door, and nothing else does. It is open up to its last nanosecond, `expired` for as long again,
//!   and then forgotten; an IPv6 neighbour shares it, an IPv4 neighbour does not.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sipknock::config::{Config, Flags};
use sipknock::door::DoorChange;
use sipknock::inspect::{Decision, Inspector};
use sipknock::packet::{Body, Fragment, Packet, Sequence, Transport};
use sipknock::sip;
use sipknock::time::Time;
use sipknock::verdict::{Reason, Verdict};

fuzz_target!(|bytes: &[u8]| {
    let packet = Packet::parse(bytes);
    if let Some(payload) = packet.ok().and_then(payload) {
        assert!(is_inside(payload, bytes));
    }
    for cut in (0..bytes.len().min(96)).chain((96..bytes.len()).step_by(61)) {
        cut_copy(&bytes[..cut], packet.ok());
    }
    if let Some((source, destination, ports, expected)) = plain_datagram(bytes) {
        let packet = packet.expect("a plain datagram");
        assert_eq!((packet.source, packet.destination), (source.into(), destination.into()));
        let flow = packet.flow().expect("it has ports");
        assert_eq!(
            (flow.transport, flow.source_port, flow.destination_port),
            (Transport::Udp, ports.0, ports.1)
        );
        assert_eq!(payload(packet), Some(expected));
    }
    decisions(bytes, packet.ok());
});

fn payload(packet: Packet<'_>) -> Option<&[u8]> {
    match packet.body {
        Body::Segment(segment) => Some(segment.payload),
        _ => None,
    }
}

fn is_tcp(packet: Packet<'_>) -> bool {
    packet.flow().is_some_and(|flow| flow.transport == Transport::Tcp)
}

/// Of a TCP segment that is here as a whole.
fn sequence(packet: Packet<'_>) -> Option<Sequence> {
    match packet.body {
        Body::Segment(segment) if segment.fragment.is_none() => segment.sequence,
        _ => None,
    }
}

fn is_inside(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    part.is_empty() || (whole.start <= part.start && part.end <= whole.end)
}

/// Holds a packet whose end was not kept against the whole of it.
fn cut_copy(bytes: &[u8], whole: Option<Packet<'_>>) {
    let Ok(cut) = Packet::parse(bytes) else { return };
    let whole = whole.expect("more bytes can't be less readable");
    assert_eq!((cut.source, cut.destination), (whole.source, whole.destination));
    if let Some(flow) = cut.flow() {
        assert_eq!(whole.flow(), Some(flow));
    }
    if let Some(kept) = payload(cut) {
        let full = payload(whole).expect("a cut copy is a segment, so the whole is one");
        assert!(full.starts_with(kept) && is_inside(kept, bytes));
    }
    if let (Body::LaterFragment(cut), whole) = (cut.body, whole.body) {
        assert_eq!(whole, Body::LaterFragment(cut));
    }
}

/// Source, destination, ports and payload of an unfragmented IPv4 datagram with a header of 20 bytes.
type Datagram<'a> = (Ipv4Addr, Ipv4Addr, (u16, u16), &'a [u8]);

fn plain_datagram(bytes: &[u8]) -> Option<Datagram<'_>> {
    let be16 = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let plain = bytes.len() >= 28 && bytes[0] == 0x45 && be16(6) & 0x3fff == 0 && bytes[9] == 17;
    if !plain {
        return None;
    }
    let (total, length) = (usize::from(be16(2)), usize::from(be16(24)));
    if length < 8 || total < 20 + length {
        return None;
    }
    let end = bytes.len().min(20 + length);
    let address = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
    Some((address(12), address(16), (be16(20), be16(22)), &bytes[28..end]))
}

fn decisions(bytes: &[u8], packet: Option<Packet<'_>>) {
    // A gate remembers the flows of TCP.
    let fresh = packet.is_some_and(is_tcp).then(gates);
    let [enforcing, monitoring] = fresh.as_ref().unwrap_or(&GATES);
    let (mut reason, knocks) = expected(packet);
    let decision = enforcing.inspect(START, bytes);
    let names: Vec<_> = decision.knocks().iter().map(|&id| enforcing.knocks().name(id)).collect();
    match packet.and_then(sequence) {
        // Of a segment that goes on, what is not complete may still become something else; and it passes behind its SYN.
        Some(sequence) if reason == Reason::NoKnock || reason == Reason::Knock => {
            assert!(names.iter().all(|name| knocks.contains(name)), "{names:?} of {knocks:?}");
            let certain = knocks.iter().filter(|name| **name != "register" && !sequence.urgent);
            assert!(certain.into_iter().all(|name| names.contains(name)), "{names:?} of {knocks:?}");
            reason = match names.is_empty() {
                false => Reason::Knock,
                true if decision.reason == Reason::Partial && sequence.syn => Reason::Partial,
                true => Reason::NoKnock,
            };
            assert_eq!(decision.reason, reason);
        }
        _ => assert_eq!((decision.reason, &names), (reason, &knocks)),
    }
    assert_eq!(decision.verdict, reason.verdict());
    assert!(!decision.would_drop());
    assert_eq!(decision.source, packet.map(|packet| packet.source));
    assert_eq!(
        reason == Reason::Knock,
        matches!(decision.change(), Some(DoorChange::Opened { ran_out: None, .. }))
    );
    assert_eq!(enforcing.doors().len(), usize::from(reason == Reason::Knock));

    let monitored = monitoring.inspect(START, bytes);
    assert_eq!((monitored.verdict, monitored.reason), (Verdict::Accept, reason));
    assert_eq!(monitored.would_drop(), reason.verdict() == Verdict::Drop);

    if let Some(packet) = packet {
        if reason == Reason::Knock && names == knocks {
            door(enforcing, &decision, packet);
        }
        for gate in [enforcing, monitoring] {
            gate.doors().close(gate.cut().source(packet.source));
            let doors = gate.doors();
            assert!(doors.is_empty() && doors.open_count() == 0);
        }
    }
}

/// The reason for a packet from a source without a door, and the names of the knocks in it.
fn expected(packet: Option<Packet<'_>>) -> (Reason, Vec<&'static str>) {
    let Some(packet) = packet else { return (Reason::Malformed, Vec::new()) };
    if in_net(packet.source, "10.10.1.0", 24) || in_net(packet.source, "2001:db8:7::", 48) {
        return (Reason::Trusted, Vec::new());
    }
    let segment = match packet.body {
        Body::Segment(segment) => segment,
        Body::LaterFragment(_) => return (Reason::Fragment, Vec::new()),
        Body::Malformed(..) => return (Reason::Malformed, Vec::new()),
    };
    let occurs = |secret: &str, fold: bool| {
        let secret = secret.as_bytes();
        let same = |window: &[u8]| if fold { window.eq_ignore_ascii_case(secret) } else { window == secret };
        segment.payload.windows(secret.len()).any(same)
    };
    let register =
        || sip::Message::parse(segment.payload).is_some_and(|message| message.method() == Some(b"REGISTER"));
    let mut knocks = Vec::new();
    for (name, matches) in [
        ("plain", occurs("mykn0ckstr1ng", false)),
        ("folded", occurs("Kn0ck-Folded", true)),
        ("inside", occurs("kn0ck", false)),
        ("register", occurs("0nly-register", false) && register()),
        ("office", occurs("fr0m-office", false) && in_net(packet.source, "198.51.100.0", 24)),
    ] {
        if matches {
            knocks.push(name);
        }
    }
    let reason = match segment.sequence {
        _ if !knocks.is_empty() => Reason::Knock,
        Some(_) if segment.fragment.is_some() => Reason::Fragment,
        // Nothing ends what was not seen to begin, and a byte that is urgent may come later.
        Some(at) if at.length == 0 && !at.urgent && !at.fin && !at.rst => Reason::Handshake,
        _ => Reason::NoKnock,
    };
    (reason, knocks)
}

fn in_net(address: IpAddr, net: &str, bits: u32) -> bool {
    match (address, net.parse().expect("a constant")) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()) >> (32 - bits) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) >> (128 - bits) == 0,
        _ => false,
    }
}

/// Follows a door that was just opened through its lives.
fn door(gate: &Inspector, decision: &Decision, packet: Packet<'_>) {
    let Some(DoorChange::Opened { door, .. }) = decision.change() else { unreachable!() };
    // The longest of those that matched; "folded" opens for a minute, all others for 4000 s.
    let only_folded = decision.knocks().iter().all(|&id| gate.name(id) == "folded");
    assert_eq!(door.life(), Duration::from_secs(if only_folded { 60 } else { 4000 }));
    assert_eq!((door.opened, door.expires), (START, START.after(door.life())));

    let other =
        |source| Packet { source, body: Body::LaterFragment(Fragment { id: 1, protocol: 17 }), ..packet };
    let at = |source, now| gate.decide(now, &other(source)).reason;
    let before = |time: Time| Time::from_nanos(time.as_nanos() - 1);
    let forgotten = door.expires.after(door.life());
    for (now, reason) in [
        (START, Reason::Door),
        (before(door.expires), Reason::Door),
        (door.expires, Reason::Expired),
        (before(forgotten), Reason::Expired),
        (forgotten, Reason::Fragment),
    ] {
        assert_eq!(at(packet.source, now), reason, "{now}");
    }
    let (neighbour, reason) = match packet.source {
        IpAddr::V4(address) => (IpAddr::from(Ipv4Addr::from_bits(address.to_bits() ^ 1)), Reason::Fragment),
        IpAddr::V6(address) => (IpAddr::from(Ipv6Addr::from_bits(address.to_bits() ^ 1)), Reason::Door),
    };
    // The neighbour of an address in ::/64 may be an IPv4-mapped one, which belongs to another source.
    if neighbour.to_canonical() == neighbour {
        assert_eq!(at(neighbour, START), reason);
    }
    let later = START.after(Duration::from_secs(1));
    let again = gate.decide(later, &packet);
    assert!(
        matches!(again.change(), Some(DoorChange::Renewed(renewed)) if renewed.expires == later.after(door.life()))
    );
}

static GATES: LazyLock<[Inspector; 2]> = LazyLock::new(gates);

/// The same rules, enforced and monitored.
fn gates() -> [Inspector; 2] {
    ["enforce", "monitor"].map(|mode| {
        let config = Config::parse(&RULES.replace("MODE", mode), Path::new("rules.toml"), &Flags::default());
        config.and_then(|config| config.inspector()).expect("valid rules")
    })
}

const START: Time = Time::from_parts(1_795_356_000, 0);

const RULES: &str = r#"
[inspect]
mode = "MODE"
trusted = ["10.10.1.0/24", "2001:db8:7::/48"]
[[knock]]
name = "plain"
secret = "mykn0ckstr1ng"
[[knock]]
name = "folded"
secret = "Kn0ck-Folded"
ignore_case = true
door = "60s"
[[knock]]
name = "inside"
secret = "kn0ck"
[[knock]]
name = "register"
secret = "0nly-register"
methods = ["REGISTER"]
[[knock]]
name = "office"
secret = "fr0m-office"
sources = ["198.51.100.0/24"]
"#;
