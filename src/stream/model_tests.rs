//! The table between a sender that does anything and receivers that follow TCP, each in its own way.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use proptest::sample::Index;

use std::time::Duration;

use super::*;
use crate::outbound::Inbound;
use crate::packet::Sequence;
use crate::time::Time;

const LIMITS: Limits = Limits { bytes: 100, segments: 6, flows: 64 };

/// What a stranger does. Places count from the first byte of the stream.
#[derive(Clone, Debug)]
enum Step {
    /// Sends some of the stream, perhaps with one byte changed.
    Segment { at: Index, length: usize, change: Option<(Index, u8)>, flags: Flags, arrives: bool },
    /// Sends a segment without payload.
    Empty { at: Index, flags: Flags, arrives: bool },
    /// Does nothing for so many seconds.
    Pause(u64),
    /// Begins other connections, so many.
    Flood(u16),
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    syn: bool,
    fin: bool,
    rst: bool,
    urgent: bool,
}

/// What a receiver makes of the segments that reach it.
#[derive(Clone, Debug)]
struct Receiver {
    /// Of two copies of a byte that waits for its turn, the later one counts.
    last_wins: bool,
    /// A SYN begins a connection, also within another one. Else such a segment is ignored (RFC 5961, 4.2), unless it
    /// is the first one, which may carry data (RFC 7413).
    begins_anew: bool,
    /// An urgent byte is taken out of the stream (RFC 6093, 3).
    takes_out: bool,
    /// Where the connection begins, and what has been read of it: each byte, unless it was taken out.
    start: usize,
    read: Vec<Option<u8>>,
    waiting: BTreeMap<usize, u8>,
    urgent: HashSet<usize>,
    /// Where it has been told that the stream ends.
    ends: HashSet<usize>,
}

impl Receiver {
    fn all() -> Vec<Self> {
        let both = [false, true];
        let kinds = both.into_iter().flat_map(|a| both.map(|b| both.map(|c| (a, b, c)))).flatten();
        kinds
            .map(|(last_wins, begins_anew, takes_out)| Self {
                last_wins,
                begins_anew,
                takes_out,
                start: 0,
                read: Vec::new(),
                waiting: BTreeMap::new(),
                urgent: HashSet::new(),
                ends: HashSet::new(),
            })
            .collect()
    }

    fn receive(&mut self, at: usize, flags: Flags, payload: &[u8]) {
        let again = at != self.start || !self.read.is_empty();
        if flags.syn && again && !self.begins_anew {
            return;
        }
        if flags.syn && again {
            *self = Self {
                start: at,
                read: Vec::new(),
                waiting: BTreeMap::new(),
                urgent: HashSet::new(),
                ends: HashSet::new(),
                ..*self
            };
        }
        // A RST ends it there and then, if it is in its place (RFC 5961, 3.2).
        if flags.fin || flags.rst && at == self.next() {
            self.ends.insert(at + payload.len());
        }
        if flags.urgent && self.takes_out && at >= self.next() {
            self.urgent.insert(at);
        }
        for (place, &byte) in (at..).zip(payload) {
            let byte = if self.last_wins { byte } else { *self.waiting.get(&place).unwrap_or(&byte) };
            self.waiting.insert(place, byte);
        }
        let next = self.next();
        self.waiting.retain(|place, _| *place >= next);
        while let Some(byte) = self.waiting.remove(&self.next()) {
            let taken_out = self.urgent.contains(&self.next());
            self.read.push((!taken_out).then_some(byte));
        }
    }

    fn next(&self) -> usize {
        self.start + self.read.len()
    }

    /// Two line ends in a row, of whatever kind, behind something that is none; or the end behind that.
    fn has_a_block(&self) -> bool {
        let text: Vec<u8> = self.read.iter().copied().flatten().collect();
        let text = String::from_utf8(text).unwrap().replace("\r\n", "\n").replace('\r', "\n");
        let text = text.trim_start_matches('\n');
        text.contains("\n\n") || !text.is_empty() && self.ends.contains(&self.next())
    }
}

impl Receiver {
    /// Reads message after message as the most tolerant PBX does: any line end, any case, no length is a length of 0.
    fn has_a_register(&self) -> bool {
        let text: Vec<u8> = self.read.iter().copied().flatten().collect();
        let mut rest = &text[..];
        loop {
            let start = rest.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(rest.len());
            rest = &rest[start..];
            let ended = self.ends.contains(&self.next());
            let Some(end) = block_end(rest).or(ended.then_some(rest.len())).filter(|end| *end > 0) else {
                return false;
            };
            let block = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
            if block.starts_with("register") {
                return true;
            }
            let mut lengths = block.split(['\r', '\n']).filter_map(|line| line.strip_prefix("l:"));
            let length = lengths.next_back().and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            rest = &rest[rest.len().min(end + length)..];
        }
    }
}

/// Behind the first blank line.
fn block_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut blank = false;
    while at < text.len() {
        let length = match &text[at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => 0,
        };
        match (length, blank) {
            (0, _) => blank = false,
            (_, true) => return Some(at + length),
            (_, false) => blank = true,
        }
        at += length.max(1);
    }
    None
}

/// A sequence number; the end of the number space is not far.
fn number(at: usize) -> u32 {
    (u32::MAX - 30).wrapping_add(u32::try_from(at).unwrap())
}

impl Flags {
    fn sequence(self, at: usize, payload: &[u8]) -> Sequence {
        let Self { syn, fin, rst, urgent } = self;
        let multipath = false;
        let length = u32::try_from(payload.len()).unwrap();
        Sequence { number: number(at).wrapping_sub(syn.into()), length, syn, fin, rst, urgent, multipath }
    }
}

fn id(port: u16) -> FlowId {
    FlowId { source: ([192, 0, 2, 7].into(), port), destination: ([192, 0, 2, 1].into(), 5060) }
}

fn flags() -> impl Strategy<Value = Flags> {
    prop_oneof![
        12 => Just(Flags::default()),
        2 => Just(Flags { syn: true, ..Flags::default() }),
        1 => Just(Flags { fin: true, ..Flags::default() }),
        1 => Just(Flags { rst: true, ..Flags::default() }),
        1 => Just(Flags { urgent: true, ..Flags::default() }),
    ]
}

/// Line ends of all kinds, and not much between them.
fn stream() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["REGISTER", "X: y", " ", "\r\n", "\r\n", "\n", "\r", "\r\n\r\n"]);
    prop::collection::vec(word, 1..20).prop_map(|words| words.concat())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (any::<Index>(), prop::sample::select(b"x\r\n".to_vec()));
    let arrives = || prop::bool::weighted(0.9);
    prop::collection::vec(
        prop_oneof![
            16 => (any::<Index>(), 1usize..30, prop::option::weighted(0.2, change), flags(), arrives()).prop_map(
                |(at, length, change, flags, arrives)| Step::Segment { at, length, change, flags, arrives }
            ),
            3 => (any::<Index>(), flags(), arrives())
                .prop_map(|(at, flags, arrives)| Step::Empty { at, flags, arrives }),
            1 => (0u64..400).prop_map(Step::Pause),
            1 => (1u16..200).prop_map(Step::Flood),
        ],
        1..40,
    )
}

/// The next bytes that receivers wait for, more often than by chance.
fn place(at: &Index, stream: &[u8], receivers: &[Receiver]) -> usize {
    let places = 2 * stream.len() + 1;
    let place = at.index(places);
    if place <= stream.len() { place } else { receivers[place % receivers.len()].next().min(stream.len()) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn no_receiver_has_a_block_of_a_stranger(stream in stream(), steps in steps()) {
        let stream = stream.as_bytes();
        let table = StreamTable::new(LIMITS);
        let mut now = Time::from_parts(1_000_000, 0);
        let mut receivers = Receiver::all();
        let syn = Flags { syn: true, ..Flags::default() };
        table.handshake(now, id(1), syn.sequence(0, b""));
        for step in &steps {
            match step {
                Step::Segment { at, length, change, flags, arrives } => {
                    let at = place(at, stream, &receivers);
                    let mut payload = stream[at..stream.len().min(at + length)].to_vec();
                    if payload.is_empty() {
                        continue;
                    }
                    if let Some((index, byte)) = change {
                        let index = index.index(payload.len());
                        payload[index] = *byte;
                    }
                    let sequence = flags.sequence(at, &payload);
                    let fate = table.segment(now, id(1), sequence, &payload, |_| SegmentFinding::Nothing);
                    prop_assert!(matches!(fate, Fate::Partial | Fate::Refused));
                    if fate == Fate::Partial && *arrives {
                        receivers.iter_mut().for_each(|receiver| receiver.receive(at, *flags, &payload));
                    }
                }
                Step::Empty { at, flags, arrives } => {
                    let at = place(at, stream, &receivers);
                    if table.handshake(now, id(1), flags.sequence(at, b"")) && *arrives {
                        receivers.iter_mut().for_each(|receiver| receiver.receive(at, *flags, b""));
                    }
                }
                Step::Pause(secs) => {
                    now = now.after(Duration::from_secs(*secs));
                    table.sweep(now);
                }
                Step::Flood(flows) => {
                    for port in 2..2 + flows {
                        let sequence = Flags::default().sequence(0, b"X");
                        table.segment(now, id(port), sequence, b"X", |_| SegmentFinding::Nothing);
                    }
                }
            }
            for receiver in &receivers {
                prop_assert!(!receiver.has_a_block(), "{:?}", receiver);
            }
            prop_assert!(table.len() <= LIMITS.flows && table.kept() <= LIMITS.flows * LIMITS.bytes);
        }
    }

    /// The PBX has called the source, at times. Then messages pass, and no REGISTER is ever among them.
    #[test]
    fn no_receiver_has_a_register_of_one_who_was_called(
        words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 1..8),
        steps in steps(),
        uncalled in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let stream = words.concat().into_bytes();
        let uncalled: HashSet<_> = uncalled.iter().map(|index| index.index(steps.len())).collect();
        let table = StreamTable::new(Limits { bytes: 200, ..LIMITS });
        let mut now = Time::from_parts(1_000_000, 0);
        let mut receivers = Receiver::all();
        let syn = Flags { syn: true, ..Flags::default() };
        table.handshake(now, id(1), syn.sequence(0, b""));
        for (n, step) in steps.iter().enumerate() {
            match step {
                Step::Segment { at, length, change, flags, arrives } => {
                    let at = place(at, &stream, &receivers);
                    let length = if n % 3 == 0 { 200 } else { *length };
                    let mut payload = stream[at..stream.len().min(at + length)].to_vec();
                    if payload.is_empty() {
                        continue;
                    }
                    if let Some((index, byte)) = change {
                        let index = index.index(payload.len());
                        payload[index] = *byte;
                    }
                    let sequence = flags.sequence(at, &payload);
                    let judge = |_: Gathered<'_>| SegmentFinding::Nothing;
                    let fate = match uncalled.contains(&n) {
                        true => table.segment(now, id(1), sequence, &payload, judge),
                        false => table.called(now, id(1), sequence, &payload, judge, |message| {
                            Inbound::of_message(message) != Inbound::Refused
                        }),
                    };
                    if fate != Fate::Refused && *arrives {
                        receivers.iter_mut().for_each(|receiver| receiver.receive(at, *flags, &payload));
                    }
                }
                Step::Empty { at, flags, arrives } => {
                    let at = place(at, &stream, &receivers);
                    if table.handshake(now, id(1), flags.sequence(at, b"")) && *arrives {
                        receivers.iter_mut().for_each(|receiver| receiver.receive(at, *flags, b""));
                    }
                }
                Step::Pause(secs) => {
                    now = now.after(Duration::from_secs(*secs));
                    table.sweep(now);
                }
                Step::Flood(_) => {}
            }
            for receiver in &receivers {
                prop_assert!(!receiver.has_a_register(), "{:?}", receiver);
            }
        }
    }

    /// What is sent in its order passes, wherever it is cut, and some of it is sent twice.
    #[test]
    fn messages_of_one_who_was_called_get_in(
        words in prop::collection::vec(prop::sample::select(WORDS[..5].to_vec()), 1..8),
        cuts in prop::collection::vec(any::<Index>(), 0..30),
        again in prop::collection::vec(any::<Index>(), 0..5),
    ) {
        let stream = words.concat().into_bytes();
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        ends.extend([0, stream.len()]);
        ends.sort_unstable();
        ends.dedup();
        let again: HashSet<_> = again.iter().map(|index| index.index(ends.len())).collect();
        let table = StreamTable::new(Limits { bytes: 200, segments: 40, flows: 64 });
        let mut now = Time::from_parts(1_000_000, 0);
        let syn = Flags { syn: true, ..Flags::default() };
        table.handshake(now, id(1), syn.sequence(0, b""));
        for (n, pair) in ends.windows(2).enumerate() {
            for _ in 0..=usize::from(again.contains(&n)) {
                let payload = &stream[pair[0]..pair[1]];
                let sequence = Flags::default().sequence(pair[0], payload);
                let judge = |_: Gathered<'_>| SegmentFinding::Nothing;
                let fate = table.called(now, id(1), sequence, payload, judge, |message| {
                    Inbound::of_message(message) != Inbound::Refused
                });
                prop_assert_eq!(fate, Fate::Admitted, "{:?}", String::from_utf8_lossy(&stream[..pair[1]]));
                now = now.after(Duration::from_secs(7));
                table.sweep(now);
            }
        }
        let fin = Flags { fin: true, ..Flags::default() };
        prop_assert!(table.handshake(now, id(1), fin.sequence(stream.len(), b"")));
        prop_assert!(table.is_empty() && table.kept() == 0);
    }

    /// In pieces, in any order, some of them several times or together with the next ones. What is not acknowledged is
    /// sent again, by and by in its order.
    #[test]
    fn a_knock_gets_in(
        before in prop::collection::vec(prop::sample::select(vec!["REGISTER", "X: y", "X:\r\nX", "X\nX", "X\rX"]), 0..20),
        after in prop::collection::vec(prop::sample::select(vec!["X", "Y: z\r\n", "\n", "\r", "\r\n\r\n"]), 0..10),
        keepalives in prop::sample::select(vec!["", "\r\n", "\r\n\r\n", "\n"]),
        cuts in prop::collection::vec(any::<Index>(), 0..16),
        first in prop::collection::vec((any::<Index>(), 1usize..4), 0..40),
        with_syn: bool,
        only_when_complete: bool,
    ) {
        let end = "X: y\r\n\r\n";
        let after = if only_when_complete { String::new() } else { after.concat() };
        let begin = if with_syn { keepalives } else { "A b SIP/2.0\r\n" };
        let stream = format!("{begin}A{}KNOCK{after}{end}", before.concat()).into_bytes();
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        ends.extend([0, stream.len()]);
        ends.sort_unstable();
        ends.dedup();
        let table = StreamTable::new(Limits { bytes: stream.len(), segments: 18, flows: 64 });
        let now = Time::from_parts(1_000_000, 0);
        if with_syn {
            let syn = Flags { syn: true, ..Flags::default() };
            table.handshake(now, id(1), syn.sequence(0, b""));
        }
        let mut read = 0;
        let mut send = |from: usize, to: usize| {
            let payload = &stream[from..to];
            let sequence = Flags::default().sequence(from, payload);
            let fate = table.segment(now, id(1), sequence, payload, |gathered| {
                let complete = !only_when_complete || !gathered.grows;
                let knocks = gathered.bytes.windows(5).any(|window| window == b"KNOCK");
                if complete && knocks { SegmentFinding::Opened } else { SegmentFinding::Nothing }
            });
            match fate {
                Fate::Partial => read = read.max(to),
                Fate::Opened => read = stream.len(),
                Fate::NoRoom | Fate::Admitted | Fate::Refused => {}
            }
            (fate, read)
        };
        let mut reached = 0;
        let mut opened = false;
        let random = first.iter().map(|(index, pieces)| (index.index(ends.len() - 1), *pieces));
        for (piece, pieces) in random {
            if !opened {
                let (fate, read) = send(ends[piece], ends[(piece + pieces).min(ends.len() - 1)]);
                (opened, reached) = (fate == Fate::Opened, read);
            }
        }
        // Nothing of a flow whose start was not seen is acknowledged: all is sent, and all again from the beginning.
        if !with_syn && !opened {
            let fates: Vec<_> = ends.windows(2).map(|pair| send(pair[0], pair[1]).0).collect();
            prop_assert!(fates.contains(&Fate::Opened), "{:?}", fates);
            opened = true;
        }
        while !opened {
            let next = ends.partition_point(|end| *end <= reached);
            prop_assert!(next < ends.len(), "all has passed without a knock");
            let (fate, read) = send(reached, ends[next]);
            prop_assert!(read > reached, "{:?} at {}: {:?}", fate, reached, String::from_utf8_lossy(&stream));
            (opened, reached) = (fate == Fate::Opened, read);
        }
    }
}

/// Messages that pass, and behind them some that don't and parts of messages.
const WORDS: [&str; 12] = [
    "BYE s:a SIP/2.0\r\nf:<s:t>;tag=1\r\nl:0\r\n\r\n",
    "REFER s:a SIP/2.0\r\nf:<s:t>;tag=1\r\nl:4\r\n\r\nREGI",
    "SIP/2.0 200 OK\r\nl:12\r\n\r\nREGISTER s\r\n",
    "\r\n\r\n",
    "\r\n",
    "REGISTER s:a SIP/2.0\r\nf:<s:t>;tag=1\r\nl:0\r\n\r\n",
    "ISTER s:a SIP/2.0\r\nf:<s:t>;tag=1\r\nl:0\r\n\r\n",
    "BYE s:a SIP/2.0\r\nf:<s:t>;tag=1\r\nl:4\r\nl:0\r\n\r\n",
    "BYE s:a SIP/2.0\nf:<s:t>;tag=1\nl:0\n\n",
    "REG",
    "\n\n",
    "STER s:a SIP/2.0\r\n",
];

/// More than usual: most of what a sender does at random is refused at once.
const CASES: u32 = 4000;
