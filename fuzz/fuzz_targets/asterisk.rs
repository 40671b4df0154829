//! Asterisk's logs: `learn::asterisk` over arbitrary bytes, and over logs as Asterisk writes them.
//!
//! - However the log comes, whole or in pieces, the messages are the same; together they are no longer than the log, and
//!   none is empty or longer than 64 KiB.
//! - Messages whose length the log says are read back as they were logged, whatever bytes they hold, headings of other
//!   messages among them.
//! - Whoever is shown them, [`Roster`] too, comes to an end.

#![no_main]

use std::io::{BufReader, Read};
use std::net::{IpAddr, SocketAddr};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use sipknock::inspect::Scope;
use sipknock::learn::asterisk::{Logged, is_log, messages};
use sipknock::learn::{ReportFormat, Roster};
use sipknock::packet::Transport;
use sipknock::sip;

fuzz_target!(|bytes: &[u8]| {
    is_log(bytes);
    let whole = read(bytes, 1 << 20);
    for capacity in [1, 7, 100] {
        assert_eq!(read(bytes, capacity), whole, "in pieces of {capacity}");
    }
    let total: usize = whole.iter().map(|logged| logged.bytes.len()).sum();
    assert!(total <= bytes.len());
    for logged in &whole {
        assert!(!logged.bytes.is_empty() && logged.bytes.len() <= 64 * 1024);
        assert!(["udp", "tcp", "tls", "ws", "wss"].contains(&logged.transport));
        assert_eq!(logged.peer, logged.peer.to_canonical());
    }
    roster(&whole);
    if let Ok(log) = Vec::<Entry>::arbitrary_take_rest(Unstructured::new(bytes)) {
        as_written(&log);
    }
});

fn read(log: &[u8], capacity: usize) -> Vec<Logged> {
    messages(BufReader::with_capacity(capacity, log.take(u64::MAX)))
        .map(|logged| logged.expect("a slice"))
        .collect()
}

fn roster(log: &[Logged]) {
    let scope = Scope { ports: vec![5060..=5060], transports: vec![Transport::Udp, Transport::Tcp] };
    let mut roster = Roster::new(scope);
    for logged in log {
        for message in sip::messages(&logged.bytes) {
            if logged.received {
                roster.request(logged.peer, None, logged.transport, &message);
            } else {
                roster.response(logged.peer, &message);
            }
        }
    }
    let mut out = Vec::new();
    roster.report().write(&mut out, ReportFormat::Json).expect("a vector");
    serde_json::from_slice::<serde_json::Value>(&out).expect("JSON");
}

/// A line of a log, or a message in it.
#[derive(Arbitrary, Debug)]
enum Entry {
    Other(String),
    Message { peer: SocketAddr, transport: u8, received: bool, request: bool, rest: Vec<u8> },
}

fn as_written(log: &[Entry]) {
    let mut text = Vec::new();
    let mut expected = Vec::new();
    for entry in log {
        match entry {
            Entry::Other(line) => {
                // Nothing that is a heading itself.
                let plain: String = line.chars().filter(|char| *char != '<' && *char != 'R').collect();
                text.extend(plain.bytes());
                text.push(b'\n');
            }
            Entry::Message { peer, transport, received, request, rest } => {
                let start = if *request { "OPTIONS sip:a SIP/2.0\r\n" } else { "SIP/2.0 200 OK\r\n" };
                let body = [start.as_bytes(), rest].concat();
                let name = TRANSPORTS[usize::from(*transport) % TRANSPORTS.len()];
                let (verb, to) = if *received { ("Received", "from") } else { ("Transmitting", "to") };
                let kind = if *request { "request" } else { "response" };
                let address = SocketAddr::new(plain(peer.ip()), peer.port());
                let length = body.len();
                let heading = format!("<--- {verb} SIP {kind} ({length} bytes) {to} {name}:{address} --->\n");
                text.extend(heading.bytes());
                text.extend(&body);
                text.push(b'\n');
                expected.push((address.ip().to_canonical(), name.to_lowercase(), *received, body));
            }
        }
    }
    let found: Vec<_> = read(&text, 4096)
        .into_iter()
        .map(|logged| (logged.peer, logged.transport.to_owned(), logged.received, logged.bytes))
        .collect();
    assert_eq!(found, expected);
}

/// Without a scope or flow, which Asterisk does not write.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(address.octets().into()),
    }
}

const TRANSPORTS: [&str; 5] = ["UDP", "TCP", "TLS", "WS", "WSS"];
