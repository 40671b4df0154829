//! The pieces that a packet goes through, each as something to do over and over.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use super::configurations::{self, secret};
use super::worst;
use sipknock::config::{Config, Flags};
use sipknock::door::{DoorState, DoorTable, Grant, Key, Lookup};
use sipknock::inspect::{Batch, Inspector};
use sipknock::knock::{KnockId, Payload};
use sipknock::net::{Prefixes, Source};
use sipknock::packet::Packet;
use sipknock::queue::message::{self, QueueMessages};
use sipknock::sip::Message;
use sipknock::time::Time;
use sipknock::verdict::{Reason, Verdict};

/// Something to do, and how often it is to be done for an instruction count.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) times: usize,
    /// Prepares it, and returns what does it once.
    pub(crate) prepare: fn() -> Box<dyn FnMut()>,
}

pub(crate) const CASES: [Case; 48] = [
    case("packet/udp4", || repeat(udp4(PHONE, &register()), |bytes| black_box(Packet::parse(bytes)).is_ok())),
    case("packet/udp6", || repeat(udp6(&register()), |bytes| black_box(Packet::parse(bytes)).is_ok())),
    case("packet/tcp4", || {
        repeat(tcp4(PHONE, 1, &register()), |bytes| black_box(Packet::parse(bytes)).is_ok())
    }),
    case("sip/start-line", || repeat(register(), |bytes| Message::parse(bytes).is_some())),
    case("sip/from", || repeat(register(), |bytes| Message::parse(bytes).unwrap().header("From").is_some())),
    case("matcher/1", || matcher(1)),
    case("matcher/10", || matcher(10)),
    case("matcher/100", || matcher(100)),
    case("matcher/1000", || matcher(1000)),
    case("matcher/10000", || matcher(10_000)),
    case("inspect/stranger", || inspect(STRANGER, false, Reason::NoKnock)),
    case("inspect/open", || inspect(PHONE, false, Reason::Door)),
    case("inspect/knocking", || inspect(PHONE, true, Reason::Knock)),
    case("inspect/trusted", || inspect(OFFICE, false, Reason::Trusted)),
    case("inspect/tcp-open", tcp_open),
    case("inspect/batch", batch),
    case("door/get-1k", || get(1000)),
    case("door/get-100k", || get(100_000)),
    case("door/get-1M", || get(1_000_000)),
    case("door/get-alone-1M", || get_alone(1_000_000)),
    case("door/insert-1k", || insert(1000)),
    case("door/insert-100k", || insert(100_000)),
    case("door/insert-1M", || insert(1_000_000)),
    Case { name: "door/sweep-1k", times: 10, prepare: || sweep(1000) },
    Case { name: "door/sweep-100k", times: 10, prepare: || sweep(100_000) },
    Case { name: "door/sweep-1M", times: 10, prepare: || sweep(1_000_000) },
    case("netlink/read-packet", read_packet),
    case("netlink/write-verdict", write_verdict),
    case("plain/anywhere", || worst::plain("anywhere")),
    case("worst/anywhere", || worst::worst("anywhere")),
    case("plain/headers", || worst::plain("headers")),
    case("worst/headers", || worst::worst("headers")),
    case("plain/from-display-name", || worst::plain("from-display-name")),
    case("worst/from-display-name", || worst::worst("from-display-name")),
    case("plain/contact-instance", || worst::plain("contact-instance")),
    case("worst/contact-instance", || worst::worst("contact-instance")),
    case("plain/user-agent", || worst::plain("user-agent")),
    case("worst/user-agent", || worst::worst("user-agent")),
    case("plain/request-uri", || worst::plain("request-uri")),
    case("worst/request-uri", || worst::worst("request-uri")),
    case("plain/header", || worst::plain("header")),
    case("worst/header", || worst::worst("header")),
    case("plain/six-places", || worst::plain("six-places")),
    case("worst/six-places", || worst::worst("six-places")),
    case("plain/words", || worst::plain("words")),
    case("worst/words", || worst::worst("words")),
    case("plain/flow", || worst::plain("flow")),
    case("worst/flow", || worst::worst("flow")),
];

const fn case(name: &'static str, prepare: fn() -> Box<dyn FnMut()>) -> Case {
    Case { name, times: 1000, prepare }
}

fn repeat(bytes: Vec<u8>, work: fn(&[u8]) -> bool) -> Box<dyn FnMut()> {
    Box::new(move || assert!(work(black_box(&bytes))))
}

fn matcher(knocks: usize) -> Box<dyn FnMut()> {
    let gate = gate(knocks);
    let payload = register();
    let source = IpAddr::V4(PHONE);
    Box::new(move || {
        let found = gate.knocks().matched(source, Payload::Datagram(black_box(&payload)));
        assert!(found.is_empty());
    })
}

fn inspect(source: Ipv4Addr, knocking: bool, reason: Reason) -> Box<dyn FnMut()> {
    let gate = gate(10);
    let knock = udp4(PHONE, &configurations::register(&secret(3)));
    gate.inspect(NOW, &knock);
    let packet = if knocking { knock } else { udp4(source, &register()) };
    Box::new(move || assert_eq!(gate.inspect(NOW, black_box(&packet)).reason, reason))
}

fn tcp_open() -> Box<dyn FnMut()> {
    let gate = gate(10);
    gate.inspect(NOW, &udp4(PHONE, &configurations::register(&secret(3))));
    let packet = tcp4(PHONE, 1, &register());
    Box::new(move || assert_eq!(gate.inspect(NOW, black_box(&packet)).reason, Reason::Door))
}

/// Packets through open doors of a thousand sources, decided as a queue has them decided: 32 at once. Each of 32 calls is
/// one of them, for a mean.
fn batch() -> Box<dyn FnMut()> {
    let gate = gate(10);
    let phones: Vec<_> = (0..1000).map(|number| Ipv4Addr::from(u32::from(PHONE) + number)).collect();
    let packets: Vec<_> = phones.iter().map(|&phone| udp4(phone, &register())).collect();
    phones
        .iter()
        .for_each(|&phone| _ = gate.inspect(NOW, &udp4(phone, &configurations::register(&secret(3)))));
    let (mut calls, mut decided) = (0, Batch::default());
    Box::new(move || {
        calls += 1;
        if calls % BATCH == 0 {
            let batch = packets.chunks_exact(BATCH).nth(calls / BATCH % (packets.len() / BATCH)).unwrap();
            gate.inspect_all(NOW, batch.iter().map(Vec::as_slice), &mut decided, || {});
            assert!(decided.decisions().iter().all(|decision| decision.reason == Reason::Door));
        }
    })
}

/// Doors of a batch of packets, as a queue asks for them: 32 at once. Each of 32 calls is one of them, for a mean.
fn get(doors: u32) -> Box<dyn FnMut()> {
    let table = table(doors);
    let (mut next, mut batch) = (random(doors), Vec::with_capacity(BATCH));
    Box::new(move || {
        batch.push(table.key(next()));
        if batch.len() == BATCH {
            let ask = |key: &Key| Some(Lookup { key: *key, bytes: 700 });
            let mut open = 0;
            table.pass_together(&mut batch, NOW, ask, |_, state| {
                open += usize::from(state == DoorState::Open)
            });
            assert_eq!(open, BATCH);
            batch.clear();
        }
    })
}

fn get_alone(doors: u32) -> Box<dyn FnMut()> {
    let table = table(doors);
    let mut next = random(doors);
    Box::new(move || assert_eq!(table.pass(table.key(next()), NOW, 700), DoorState::Open))
}

/// Sources in no order that a cache could foresee.
fn random(doors: u32) -> impl FnMut() -> Source {
    let mut state = 1u32;
    move || {
        // Numerical Recipes' generator; its low bits have short periods.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        source((state >> 8) % doors)
    }
}

fn insert(doors: u32) -> Box<dyn FnMut()> {
    let table = table(doors);
    let mut next = doors;
    Box::new(move || {
        table.knock(source(next), NOW, &GRANTS);
        table.close(source(next));
        next += 1;
    })
}

fn sweep(doors: u32) -> Box<dyn FnMut()> {
    let table = table(doors);
    Box::new(move || assert!(table.sweep(NOW).is_empty()))
}

fn table(doors: u32) -> DoorTable {
    let table = DoorTable::new(2_000_000, [None]);
    (0..doors).for_each(|number| _ = table.knock(source(number), NOW, &GRANTS));
    table
}

/// Spread over all addresses.
fn source(number: u32) -> Source {
    Source::new(Ipv4Addr::from(number.wrapping_mul(2_654_435_761)).into(), Prefixes::default())
}

fn read_packet() -> Box<dyn FnMut()> {
    let packet = udp4(PHONE, &register());
    let mut datagram = Vec::new();
    let attributes = [attribute(1, &[0, 0, 0, 7, 8, 0, 1, 0]), attribute(10, &packet)].concat();
    let length = u32::try_from(20 + attributes.len()).unwrap();
    datagram.extend(length.to_ne_bytes());
    // NFNL_SUBSYS_QUEUE, NFQNL_MSG_PACKET
    datagram.extend((3u16 << 8).to_ne_bytes());
    datagram.extend([0; 10]);
    datagram.extend([2, 0, 0, 0]);
    datagram.extend(attributes);
    repeat(datagram, |bytes| {
        matches!(QueueMessages::new(bytes).next(), Some(Ok(message::QueueMessage::Packet(_))))
    })
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn write_verdict() -> Box<dyn FnMut()> {
    let mut out = Vec::with_capacity(64);
    Box::new(move || {
        out.clear();
        message::verdict(&mut out, 0, black_box(7), Verdict::Accept);
        black_box(&out);
    })
}

fn gate(knocks: usize) -> Inspector {
    let mut text = String::new();
    for number in 0..knocks {
        write!(text, "[[knock]]\nname = \"{number}\"\nsecret = \"{}\"\n", secret(number)).unwrap();
    }
    gate_of(&text)
}

/// A gate with these `[[knock]]` tables.
pub(crate) fn gate_of(knocks: &str) -> Inspector {
    let text = format!("[inspect]\ntrusted = [\"10.0.0.0/8\"]\n{knocks}");
    Config::parse(&text, Path::new("bench.toml"), &Flags::default()).unwrap().inspector().unwrap()
}

pub(crate) fn register() -> Vec<u8> {
    configurations::register(NOBODY)
}

pub(crate) fn udp4(source: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    ip4(source, 17, &udp(payload))
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    [&[0x13, 0xc5, 0x13, 0xc4][..], &length.to_be_bytes(), &[0, 0], payload].concat()
}

fn udp6(payload: &[u8]) -> Vec<u8> {
    let udp = udp(payload);
    let length = u16::try_from(udp.len()).unwrap().to_be_bytes();
    let address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    [&[0x60, 0, 0, 0][..], &length, &[17, 64], &address, &address, &udp].concat()
}

fn tcp4(source: Ipv4Addr, sequence: u32, payload: &[u8]) -> Vec<u8> {
    tcp4_with(source, sequence, PSH_ACK, payload)
}

pub(crate) fn tcp4_with(source: Ipv4Addr, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let rest = [0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
    ip4(source, 6, &[&[0x13, 0xc5, 0x13, 0xc4][..], &sequence.to_be_bytes(), &rest, payload].concat())
}

fn ip4(source: Ipv4Addr, protocol: u8, transport: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + transport.len()).unwrap().to_be_bytes();
    let header = [0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    [&header[..], &source.octets(), &[192, 0, 2, 1], transport].concat()
}

/// Packets that a queue takes at once.
const BATCH: usize = 32;

pub(crate) const SYN: u8 = 0x02;
pub(crate) const PSH_ACK: u8 = 0x18;

/// A display name without a secret in it.
const NOBODY: &str = "Alice in the kitchen";

pub(crate) const NOW: Time = Time::from_parts(1_800_000_000, 0);
const PHONE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);
const OFFICE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
const GRANTS: [Grant; 1] =
    [Grant { knock: KnockId::FIRST, life: Duration::from_secs(4000), registration: None }];
