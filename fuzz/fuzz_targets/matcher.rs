//! The matcher: `KnockSet` and what logs show of a packet with secrets in it.
//!
//! The input is text: a line for each knock, up to a blank line, then the payload. The first byte of a line says
//! what the knock is like (see `Line`), the others are its secret. In the payload the bytes 1 and 2, with another
//! behind them, stand for a secret as it is and in the other case.
//!
//! - Every engine finds what a naive search finds.
//! - `matched` gives the knocks that a naive search finds and whose conditions hold, each once, in their order.
//! - `secret_ranges` gives the ranges that a naive search finds, no more and no fewer.
//! - The log events of a packet are one for each knock that matched; where a secret stood in a header field they
//!   have `[secret]` in its place and all the rest as it was, up to their limit, and nothing that does not print.

#![no_main]

#[allow(dead_code)]
#[path = "../../src/testing.rs"]
mod packets;

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sipknock::event::Event;
use sipknock::inspect::{Inspector, Policy};
use sipknock::knock::matcher::{Engine, Matcher, Pattern};
use sipknock::knock::{Extent, Knock, KnockId, KnockSet, Life, Part, Payload, Secret};
use sipknock::net::NetSet;
use sipknock::sip::Message;
use sipknock::time::Time;
use sipknock::verdict::Reason;

fuzz_target!(|input: &[u8]| {
    let (lines, payload) = split(input);
    let payload = expand(&lines, payload);
    let set =
        KnockSet::new(lines.iter().enumerate().map(|(n, line)| line.knock(n)).collect()).expect("small");

    let by_line: Vec<_> = lines.iter().map(|line| line.ranges(&payload)).collect();
    let mut expected = by_line.concat();
    let mut ranges = set.secret_ranges(&payload);
    for found in [&mut expected, &mut ranges] {
        found.sort_unstable_by_key(|range| (range.start, range.end));
    }
    assert_eq!(ranges, expected);

    let method = Message::parse(&payload).and_then(|message| message.method());
    let matching = |office: bool| -> Vec<_> {
        let knocks = (0u32..).map(KnockId::from).zip(lines.iter().zip(&by_line));
        let counts =
            |line: &Line| (!line.office || office) && (!line.register || method == Some(b"REGISTER"));
        knocks.filter(|(_, (line, ranges))| counts(line) && !ranges.is_empty()).map(|(id, _)| id).collect()
    };
    let matched = |source: [u8; 4]| -> Vec<_> {
        let found = set.matched(IpAddr::from(source), Payload::Datagram(&payload)).into_iter();
        found.map(|found| found.knock).collect()
    };
    assert_eq!(matched(OFFICE), matching(true));
    assert_eq!(matched(ELSEWHERE), matching(false));
    engines(&lines, &payload, &by_line);
    log(set, &payload, &matching(true), &expected);
});

/// Lets every engine search.
fn engines(lines: &[Line<'_>], payload: &[u8], by_line: &[Vec<Range<usize>>]) {
    let occurring: Vec<_> = (0u32..)
        .zip(by_line)
        .filter(|(_, ranges)| !ranges.is_empty())
        .map(|(id, _)| KnockId::from(id))
        .collect();
    for engine in Engine::ALL {
        let patterns = lines.iter().map(|line| Pattern { bytes: line.secret, ignore_case: line.ignore_case });
        let matcher = Matcher::with_engine(patterns, engine).expect("small");
        assert_eq!(matcher.occurring(payload), occurring, "{engine:?}");
        assert_eq!(matcher.ranges(payload, lines.len()).len(), by_line.concat().len(), "{engine:?}");
    }
}

/// A knock, as the input has it.
struct Line<'a> {
    ignore_case: bool,
    register: bool,
    office: bool,
    secret: &'a [u8],
}

impl<'a> Line<'a> {
    fn read(line: &'a [u8]) -> Option<Self> {
        let (&kind, secret) = line.split_first()?;
        let has = |bit: u8| kind & bit != 0;
        (!secret.is_empty()).then_some(Self { ignore_case: has(1), register: has(2), office: has(4), secret })
    }

    fn knock(&self, number: usize) -> Knock {
        Knock {
            name: format!("k{number}"),
            secret: Secret::new(self.secret).expect("not empty"),
            ignore_case: self.ignore_case,
            methods: if self.register { vec!["REGISTER".to_owned()] } else { Vec::new() },
            sources: self.office.then(|| NetSet::new(&["198.51.100.0/24".parse().expect("a network")])),
            part: Part::Anywhere,
            extent: Extent::Within,
            door: Life::Span(Duration::from_secs(60)),
            max_doors: None,
        }
    }

    fn ranges(&self, payload: &[u8]) -> Vec<Range<usize>> {
        let same = |window: &[u8]| {
            if self.ignore_case { window.eq_ignore_ascii_case(self.secret) } else { window == self.secret }
        };
        let starts = (0..).zip(payload.windows(self.secret.len())).filter(|(_, window)| same(window));
        starts.map(|(start, _)| start..start + self.secret.len()).collect()
    }
}

fn split(input: &[u8]) -> (Vec<Line<'_>>, &[u8]) {
    let mut lines = Vec::new();
    let mut rest = input;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let line = Line::read(&rest[..end]);
        rest = &rest[end + 1..];
        match line {
            Some(line) => lines.push(line),
            None => break,
        }
    }
    (lines, rest)
}

fn expand(lines: &[Line<'_>], payload: &[u8]) -> Vec<u8> {
    let mut expanded = Vec::new();
    let mut bytes = payload.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, lines.len()) {
            (1 | 2, 1..) => {
                let Some(&index) = bytes.next() else { break };
                let secret = lines[usize::from(index) % lines.len()].secret;
                expanded.extend(secret.iter().map(|&letter| match letter {
                    b'a'..=b'z' | b'A'..=b'Z' if byte == 2 => letter ^ 0x20,
                    _ => letter,
                }));
            }
            _ => expanded.push(byte),
        }
    }
    expanded.truncate(MAX_PAYLOAD);
    expanded
}

/// Lets a packet with this payload knock, and looks at its events.
fn log(set: KnockSet, payload: &[u8], matching: &[KnockId], ranges: &[Range<usize>]) {
    let gate = Inspector::new(Policy::default(), set, 1);
    let packet = packets::ipv4("198.51.100.9", &packets::udp(payload));
    let decision = gate.inspect(Time::from_parts(1_795_356_000, 0), &packet);
    assert_eq!(decision.knocks(), matching);
    assert_eq!(decision.reason, if matching.is_empty() { Reason::NoKnock } else { Reason::Knock });

    let events = Event::of_knocks(&gate, 7, &decision, &packet);
    assert_eq!(events.len(), matching.len());
    let message = Message::parse(payload);
    let header = |name| message.and_then(|message| message.header(name));
    for (event, &id) in events.iter().zip(matching) {
        let Event::Knock(event) = event else { panic!("{event:?}") };
        assert_eq!((event.knock.as_str(), event.queue), (gate.knocks().name(id), 7));
        for (text, part) in [
            (&event.method, message.and_then(|message| message.method())),
            (&event.from, header("From")),
            (&event.user_agent, header("User-Agent")),
            (&event.call_id, header("Call-ID")),
        ] {
            assert_eq!(text.is_some(), part.is_some());
            if let (Some(text), Some(part)) = (text, part) {
                assert!(text.chars().count() <= MAX_TEXT + 1 && !text.contains(char::is_control), "{text:?}");
                // What needs an escape is another question, so only text that needs none is compared.
                if part.iter().all(|byte| (b' '..=b'~').contains(byte)) {
                    assert_eq!(*text, redacted(payload, part, ranges));
                }
            }
        }
    }
}

/// A part of the payload, with `[secret]` wherever a range has bytes of it.
fn redacted(payload: &[u8], part: &[u8], ranges: &[Range<usize>]) -> String {
    let start = (part.as_ptr() as usize).wrapping_sub(payload.as_ptr() as usize);
    let mut hidden = vec![false; part.len()];
    for at in ranges.iter().cloned().flatten() {
        if let Some(hidden) = at.checked_sub(start).and_then(|at| hidden.get_mut(at)) {
            *hidden = true;
        }
    }
    let mut text = String::new();
    for (at, &byte) in part.iter().enumerate() {
        if !hidden[at] {
            text.push(byte.into());
        } else if at == 0 || !hidden[at - 1] {
            text.push_str("[secret]");
        }
    }
    if text.len() > MAX_TEXT {
        text.truncate(MAX_TEXT);
        text.push('…');
    }
    text
}

const OFFICE: [u8; 4] = [198, 51, 100, 9];
const ELSEWHERE: [u8; 4] = [203, 0, 113, 7];

/// What fits into an IPv4 packet.
const MAX_PAYLOAD: usize = 65_535 - 28;

/// What a log shows of a header field, in characters.
const MAX_TEXT: usize = 128;
