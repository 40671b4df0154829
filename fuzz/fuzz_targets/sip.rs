//! SIP messages: `sip::Message` over arbitrary payloads.
//!
//! - All that comes out are slices of the input, header fields in their order and without overlap, no more of them
//!   than lines; so reading ends.
//! - A name is not empty and holds no colon; names and values have no white space at their ends.
//! - No header field begins behind the blank line that a naive search finds.
//! - `header(name)` is the first that a scan over `headers()` finds, with a table of compact names of its own.
//! - A message that breaks off has the header fields of the whole one, but for the last.
//! - Whether lines end with CR LF or LF makes no difference.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sipknock::sip::{Header, Message, StartLine};

fuzz_target!(|payload: &[u8]| {
    let Some(message) = Message::parse(payload) else { return };
    start_line(&message, payload);
    let headers: Vec<_> = message.headers().collect();
    slices(&headers, payload);
    let own = headers.iter().take(16).filter_map(|header| std::str::from_utf8(header.name).ok());
    for name in NAMES.into_iter().chain(own) {
        let scanned = headers.iter().find(|header| same_name(header.name, name.as_bytes()));
        assert_eq!(message.header(name), scanned.map(|header| header.value), "{name:?}");
    }
    for cut in [payload.len() / 2, payload.len() * 3 / 4, payload.len().saturating_sub(1)] {
        broken_off(&payload[..cut], &headers);
    }
    other_line_ends(payload, &message);
});

fn start_line(message: &Message<'_>, payload: &[u8]) {
    match message.start() {
        StartLine::Request { method, uri } => {
            assert!(offset(method, payload).is_some() && offset(uri, payload).is_some());
            assert_eq!(message.method(), Some(method));
            assert!(!method.is_empty() && method.iter().all(u8::is_ascii_graphic));
            assert!(!uri.contains(&b'\n') && uri == uri.trim_ascii());
        }
        StartLine::Response { .. } => assert_eq!(message.method(), None),
    }
}

fn slices(headers: &[Header<'_>], payload: &[u8]) {
    let lines = payload.split(|&byte| byte == b'\n').count();
    assert!(headers.len() < lines);
    let blank = blank_line(payload);
    let mut end = 0;
    for header in headers {
        assert!(!header.name.is_empty() && !header.name.contains(&b':'));
        assert!(header.name == header.name.trim_ascii() && header.value == header.value.trim_ascii());
        let at = offset(header.name, payload).expect("a slice of the payload");
        assert!(at >= end && at < blank, "{at} {end} {blank}");
        end = at + header.name.len();
        if let Some(at) = offset(header.value, payload).filter(|_| !header.value.is_empty()) {
            assert!(at > end);
            end = at + header.value.len();
            assert!(end <= blank);
        }
    }
}

/// Where in the whole a part begins; `None` for what is not part of it. An empty part may stand anywhere.
fn offset(part: &[u8], whole: &[u8]) -> Option<usize> {
    let at = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    (part.is_empty() || (at <= whole.len() && part.len() <= whole.len() - at)).then_some(at)
}

/// Where the first line without anything in it begins, behind the start line.
fn blank_line(payload: &[u8]) -> usize {
    let mut at = 0;
    let mut started = false;
    for line in payload.split_inclusive(|&byte| byte == b'\n') {
        let blank = line.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        if started && blank {
            return at;
        }
        started |= !blank;
        at += line.len();
    }
    payload.len()
}

fn same_name(a: &[u8], b: &[u8]) -> bool {
    long_name(a).eq_ignore_ascii_case(long_name(b))
}

fn long_name(name: &[u8]) -> &[u8] {
    let [letter] = name else { return name };
    match letter.to_ascii_lowercase() {
        b'a' => b"accept-contact",
        b'b' => b"referred-by",
        b'c' => b"content-type",
        b'd' => b"request-disposition",
        b'e' => b"content-encoding",
        b'f' => b"from",
        b'i' => b"call-id",
        b'j' => b"reject-contact",
        b'k' => b"supported",
        b'l' => b"content-length",
        b'm' => b"contact",
        b'n' => b"identity-info",
        b'o' => b"event",
        b'r' => b"refer-to",
        b's' => b"subject",
        b't' => b"to",
        b'u' => b"allow-events",
        b'v' => b"via",
        b'x' => b"session-expires",
        b'y' => b"identity",
        _ => name,
    }
}

fn broken_off(payload: &[u8], whole: &[Header<'_>]) {
    let headers: Vec<_> = Message::parse(payload).iter().flat_map(Message::headers).collect();
    if let Some((_, sure)) = headers.split_last() {
        assert_eq!(whole.get(..sure.len()), Some(sure));
    }
}

/// Puts one more CR in front of every LF.
fn other_line_ends(payload: &[u8], message: &Message<'_>) {
    let mut doubled = Vec::with_capacity(payload.len() * 2);
    for &byte in payload {
        if byte == b'\n' {
            doubled.push(b'\r');
        }
        doubled.push(byte);
    }
    let other = Message::parse(&doubled).expect("the same message");
    assert_eq!(other.start(), message.start());
    let text = |bytes: &[u8]| bytes.iter().copied().filter(|&byte| byte != b'\r').collect::<Vec<_>>();
    let fields = |message: &Message<'_>| {
        message.headers().map(|header| (text(header.name), text(header.value))).collect::<Vec<_>>()
    };
    assert_eq!(fields(&other), fields(message));
}

/// What the daemon asks for, in any case and length, and what nobody sends.
const NAMES: [&str; 12] =
    ["From", "f", "F", "Call-ID", "i", "user-agent", "Contact", "m", "VIA", "x", "No-Such-Name", ""];
