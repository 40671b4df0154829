//! A sender without a knock that does anything, and receivers that follow TCP, each in its own way. What stands between them
//! is a gate as it is run: restarted, turned from monitor to enforce and back, with doors that open and close.
//!
//! 4,000 cases in the suite; `SIPKNOCK_CASES=400000 cargo test --lib no_receiver_completes_a_request -- --nocapture` for more.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestRunner, contextualize_config};

use super::*;
use crate::packet::Flow;
use crate::stream::FlowId;
use crate::testing::{ipv4_tcp_fragment, tcp_with};

/// An event. Places count from the first byte of the stream.
#[derive(Clone, Debug)]
enum Step {
    /// Some of the stream, perhaps with bytes changed.
    Segment { at: Index, length: usize, change: Change, form: Form },
    /// A segment without payload.
    Empty { at: Index, form: Form },
    /// The gate is gone, and another one there: by a restart, `kill -9` or a takeover.
    Restart,
    /// Somebody at the sender's address knocks, and the door is open.
    Knock,
    /// `doors close`.
    Close,
    /// The mode becomes the other one.
    Turn,
    /// Nothing, for so many seconds.
    Pause(u64),
    /// Other connections, so many.
    Flood(u16),
}

/// A change of a segment's bytes.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    /// One byte is another.
    Byte(Index, u8),
    /// All but the last ones are noise, which a receiver ignores if it has them already.
    Noise(usize),
}

/// How a segment is sent.
#[derive(Clone, Copy, Debug)]
struct Form {
    flags: u8,
    /// With the option of Multipath TCP.
    multipath: bool,
    /// Over the second connection.
    second: bool,
    /// In IP fragments, which nobody puts together before the gate sees the first of them.
    fragments: bool,
    arrives: bool,
}

/// Of two copies of a byte that waits for its turn.
#[derive(Clone, Copy, Debug)]
enum Overlap {
    First,
    Last,
    /// tcp_data_queue_ofo (net/ipv4/tcp_input.c): a segment within one that waits is dropped, what goes further at its end
    /// keeps what was there, and what begins before it replaces it.
    Linux,
}

/// A receiver of the segments that pass.
#[derive(Clone, Debug)]
struct Receiver {
    overlap: Overlap,
    /// A SYN begins a connection, also within another one. Else such a segment is ignored (RFC 5961, 4.2), unless it
    /// is the first one, which may carry data (RFC 7413).
    begins_anew: bool,
    /// An urgent byte is taken out of the stream (RFC 6093, 3).
    takes_out: bool,
    /// It takes bytes of both connections, once the first of them has offered that.
    multipath: bool,
    offered: bool,
    begun: bool,
    start: usize,
    read: Vec<Option<u8>>,
    /// Each byte with the segment that it came in.
    waiting: BTreeMap<usize, (u8, usize, usize)>,
    urgent: HashSet<usize>,
    /// Places at which the stream ends, as it was told.
    ends: HashSet<usize>,
}

impl Receiver {
    fn all() -> Vec<Self> {
        let both = [false, true];
        let mut all = Vec::new();
        for overlap in [Overlap::First, Overlap::Last, Overlap::Linux] {
            for (begins_anew, takes_out) in both.into_iter().flat_map(|a| both.map(|b| (a, b))) {
                all.push(Self {
                    overlap,
                    begins_anew,
                    takes_out,
                    multipath: all.len() % 2 == 0,
                    offered: false,
                    begun: false,
                    start: 0,
                    read: Vec::new(),
                    waiting: BTreeMap::new(),
                    urgent: HashSet::new(),
                    ends: HashSet::new(),
                });
            }
        }
        all
    }

    fn receive(&mut self, at: usize, form: Form, payload: &[u8]) {
        let Form { flags, multipath, second, .. } = form;
        let syn = flags & SYN > 0;
        if second && !(self.multipath && self.offered) {
            return;
        }
        if !self.begun && !syn {
            return;
        }
        if syn && !second {
            if self.begun && !self.begins_anew {
                return;
            }
            *self = Self {
                start: at,
                begun: true,
                offered: multipath,
                read: Vec::new(),
                waiting: BTreeMap::new(),
                urgent: HashSet::new(),
                ends: HashSet::new(),
                ..*self
            };
        }
        let end = at + payload.len();
        // A RST ends it there and then, if it is in its place (RFC 5961, 3.2).
        if flags & FIN > 0 || flags & RST > 0 && at == self.next() {
            self.ends.insert(end);
        }
        if flags & URG > 0 && self.takes_out && at >= self.next() {
            self.urgent.insert(at);
        }
        for (place, &byte) in (at..).zip(payload) {
            let stays = self.waiting.get(&place).is_some_and(|&(_, from, to)| match self.overlap {
                Overlap::First => true,
                Overlap::Last => false,
                Overlap::Linux => from < at || from == at && end <= to,
            });
            if !stays {
                self.waiting.insert(place, (byte, at, end));
            }
        }
        let next = self.next();
        self.waiting.retain(|place, _| *place >= next);
        while let Some((byte, ..)) = self.waiting.remove(&self.next()) {
            let taken_out = self.urgent.contains(&self.next());
            self.read.push((!taken_out).then_some(byte));
        }
    }

    fn next(&self) -> usize {
        self.start + self.read.len()
    }

    /// Header blocks that it has: two line ends in a row, of whatever kind, behind something that is none; or the end
    /// behind that. Bodies count as if they were blocks as well.
    fn blocks(&self) -> usize {
        let (mut blocks, mut lines, mut after_cr, mut inside) = (0, 0, false, false);
        for byte in self.read.iter().copied().flatten() {
            match byte {
                b'\n' if after_cr => after_cr = false,
                b'\r' | b'\n' => {
                    after_cr = byte == b'\r';
                    lines += 1;
                    if inside && lines == 2 {
                        (blocks, inside) = (blocks + 1, false);
                    }
                }
                _ => (lines, after_cr, inside) = (0, false, true),
            }
        }
        blocks + usize::from(inside && self.ends.contains(&self.next()))
    }
}

const RST: u8 = 4;
const URG: u8 = 0x20;

/// For so long it is known which flows there were.
const DAY: u64 = 24 * 3600 - 1;

/// A sequence number; the end of the number space is not far.
fn number(at: usize) -> u32 {
    (u32::MAX - 30).wrapping_add(u32::try_from(at).unwrap())
}

/// One gate after the other, and the sender's packets.
struct Side {
    gate: Inspector,
    mode: Mode,
    secs: u64,
}

impl Side {
    const BEGIN: u64 = 1000;

    fn new() -> Self {
        Self { gate: gate(Mode::Enforce), mode: Mode::Enforce, secs: Self::BEGIN }
    }

    /// Whether a request of the sender may pass.
    fn is_open(&self) -> bool {
        let mut packet = udp(b"x");
        packet[1] += 1;
        self.mode == Mode::Monitor
            || self.gate.inspect(at(self.secs), &ipv4(PHONE, &packet)).reason == Reason::Door
    }

    /// Whether a segment passes.
    fn send(&self, at_byte: usize, form: Form, payload: &[u8]) -> bool {
        let syn = u32::from(form.flags & SYN > 0);
        let options = if form.multipath { &[30, 4, 1, 0x81][..] } else { &[] };
        let mut segment = tcp_with(number(at_byte).wrapping_sub(syn), form.flags, options, payload);
        segment[1] += u8::from(form.second);
        let packet = match form.fragments {
            true => ipv4_tcp_fragment(PHONE, 0, true, &segment[..segment.len().min(24) & !7]),
            false => ipv4_with(PHONE, 6, 0, &[], &segment),
        };
        self.gate.inspect(at(self.secs), &packet).verdict == Verdict::Accept
    }

    /// The connections that a PBX has are known from the kernel.
    fn restart(&mut self, receivers: &[Receiver]) {
        self.gate = gate(self.mode);
        if receivers.iter().any(|receiver| receiver.begun) {
            for source_port in [5061, 5062] {
                let flow = Flow { transport: Transport::Tcp, source_port, destination_port: 5060 };
                let id = FlowId {
                    source: (PHONE.parse().unwrap(), flow.source_port),
                    destination: ([192, 0, 2, 1].into(), flow.destination_port),
                };
                self.gate.streams().loosen(at(self.secs), id);
            }
        }
    }

    fn turn(&mut self) {
        self.mode = if self.mode == Mode::Enforce { Mode::Monitor } else { Mode::Enforce };
        self.gate = self.gate.successor(policy(self.mode), knocks());
    }
}

fn policy(mode: Mode) -> Policy {
    Policy { mode, streams: Limits { bytes: 100, segments: 6, flows: 64 }, ..Policy::default() }
}

fn knocks() -> KnockSet {
    KnockSet::new(vec![knock("alice", "mykn0ckstr1ng")]).unwrap()
}

fn gate(mode: Mode) -> Inspector {
    Inspector::new(policy(mode), knocks(), 10)
}

/// Line ends of all kinds, and not much between them.
fn stream() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["REGISTER", "X: y", " ", "\r\n", "\r\n", "\n", "\r", "\r\n\r\n"]);
    prop::collection::vec(word, 1..20).prop_map(|words| words.concat())
}

fn form() -> impl Strategy<Value = Form> {
    let flags = prop_oneof![12 => Just(0), 2 => Just(SYN), 1 => Just(FIN), 1 => Just(RST), 1 => Just(URG)];
    let rarely = || prop::bool::weighted(0.05);
    (flags, rarely(), rarely(), rarely(), prop::bool::weighted(0.9)).prop_map(
        |(flags, multipath, second, fragments, arrives)| Form {
            flags,
            multipath,
            second,
            fragments,
            arrives,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop_oneof![
        8 => Just(Change::Nothing),
        1 => (any::<Index>(), prop::sample::select(b"x\r\n".to_vec())).prop_map(|(at, byte)| Change::Byte(at, byte)),
        2 => (1usize..4).prop_map(Change::Noise),
    ];
    prop::collection::vec(
        prop_oneof![
            20 => (any::<Index>(), 1usize..30, change, form())
                .prop_map(|(at, length, change, form)| Step::Segment { at, length, change, form }),
            3 => (any::<Index>(), form()).prop_map(|(at, form)| Step::Empty { at, form }),
            1 => Just(Step::Restart),
            1 => Just(Step::Knock),
            2 => Just(Step::Close),
            1 => Just(Step::Turn),
            1 => prop_oneof![0u64..400, 50_000u64..80_000].prop_map(Step::Pause),
            1 => (1u16..200).prop_map(Step::Flood),
        ],
        1..40,
    )
}

/// The next bytes that receivers wait for, and those just before them, more often than by chance.
fn place(at: &Index, stream: &[u8], receivers: &[Receiver]) -> usize {
    let place = at.index(3 * stream.len() + 1);
    if place <= stream.len() {
        return place;
    }
    let next = receivers[place % receivers.len()].next().min(stream.len());
    next.saturating_sub(if place > 2 * stream.len() { place % 7 } else { 0 })
}

#[test]
fn no_receiver_completes_a_request_without_a_knock() {
    // The macro would have PROPTEST_CASES have the last word.
    let config = ProptestConfig { failure_persistence: None, cases: cases(), ..ProptestConfig::default() };
    let run = TestRunner::new(config).run(&(stream(), steps()), |(stream, steps)| {
        let stream = stream.as_bytes();
        let mut side = Side::new();
        let mut receivers = Receiver::all();
        let begin = Form { flags: SYN, multipath: false, second: false, fragments: false, arrives: true };
        assert!(side.send(0, begin, b""));
        receivers.iter_mut().for_each(|receiver| receiver.receive(0, begin, b""));
        let mut before = vec![0; receivers.len()];
        for step in &steps {
            let is_open = side.is_open();
            match step {
                Step::Segment { at, length, change, form } => {
                    let at = place(at, stream, &receivers);
                    let mut payload = stream[at..stream.len().min(at + length)].to_vec();
                    if payload.is_empty() {
                        continue;
                    }
                    match change {
                        Change::Nothing => {}
                        Change::Byte(index, byte) => *index.get_mut(&mut payload) = *byte,
                        Change::Noise(but) => {
                            let noise = payload.len().saturating_sub(*but);
                            payload[..noise].fill(b'x');
                        }
                    }
                    if side.send(at, *form, &payload) && form.arrives {
                        receivers.iter_mut().for_each(|receiver| receiver.receive(at, *form, &payload));
                    }
                }
                Step::Empty { at, form } => {
                    let at = place(at, stream, &receivers);
                    if side.send(at, *form, b"") && form.arrives {
                        receivers.iter_mut().for_each(|receiver| receiver.receive(at, *form, b""));
                    }
                }
                Step::Restart => side.restart(&receivers),
                Step::Knock => _ = side.gate.inspect(at(side.secs), &ipv4(PHONE, &udp(KNOCK))),
                Step::Close => {
                    side.gate.doors().close(side.gate.cut().source(PHONE.parse().unwrap()));
                }
                Step::Turn => side.turn(),
                Step::Pause(secs) => {
                    // For longer nothing is promised: see docs/threat-model.md.
                    side.secs = (side.secs + secs).min(Side::BEGIN + DAY);
                    side.gate.doors().sweep(at(side.secs));
                    side.gate.streams().sweep(at(side.secs));
                }
                Step::Flood(flows) => {
                    for n in 0..*flows {
                        let from = format!("198.51.100.{}", n % 250);
                        let mut segment = tcp_at(0, SYN, b"X");
                        segment[0] = 40 + u8::try_from(n / 250).unwrap();
                        side.gate.inspect(at(side.secs), &ipv4_with(&from, 6, 0, &[], &segment));
                    }
                }
            }
            if matches!(step, Step::Segment { .. } | Step::Empty { .. }) {
                for (receiver, before) in receivers.iter().zip(&mut before) {
                    let blocks = receiver.blocks();
                    prop_assert!(
                        is_open || blocks <= *before,
                        "{:?}\nhas a block more by {:?}",
                        receiver,
                        step
                    );
                    *before = blocks;
                }
            }
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}

/// More than usual: most of what a sender does at random is refused at once.
fn cases() -> u32 {
    let wanted = std::env::var("SIPKNOCK_CASES").ok().map(|cases| cases.parse().expect("a number of cases"));
    let cases = wanted.unwrap_or_else(|| contextualize_config(ProptestConfig::with_cases(4000)).cases);
    println!("{cases} cases; SIPKNOCK_CASES={} for more", 400_000);
    cases
}
