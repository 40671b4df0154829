//! A message: its start line, its header fields and its extent.

use super::header::{Headers, split_line};
use super::text::is_blank;

/// A message's start line and header fields, as slices of the payload it was read from.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub(super) start: StartLine<'a>,
    /// Everything from the start line on.
    pub(super) whole: &'a [u8],
    /// Everything behind the start line, the body included.
    pub(super) rest: &'a [u8],
}

/// RFC 3261, 7.1 and 7.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// `REGISTER sip:example.org SIP/2.0`
    Request {
        /// Case-sensitive, by RFC 3261, 7.1.
        method: &'a [u8],
        /// The Request-URI, or the text in its place.
        uri: &'a [u8],
    },
    /// `SIP/2.0 200 OK`
    Response {
        /// The three digits.
        status: u16,
    },
}

impl<'a> Message<'a> {
    /// Reads the start line; `None` if the payload does not begin with one (a keepalive, STUN, noise).
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let blank = payload.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let whole = payload.get(blank..)?;
        let (line, rest) = split_line(whole);
        Some(Self { start: StartLine::parse(line)?, whole, rest })
    }

    /// The start line.
    pub fn start(&self) -> StartLine<'a> {
        self.start
    }

    /// The request method; `None` for a response.
    pub fn method(&self) -> Option<&'a [u8]> {
        match self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The header fields in their order, up to the blank line or the point at which the message breaks off. Lines without
    /// a colon are left out.
    pub fn headers(&self) -> Headers<'a> {
        Headers { rest: self.rest }
    }

    /// The value of the first header field of a name: any case, in its long or its compact form.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers_named(name).next()
    }

    /// The values of all header fields of a name: any case, in their long or their compact form.
    pub fn headers_named<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.headers().filter(move |header| header.is(name)).map(|header| header.value)
    }

    /// All of it: header block and body.
    pub fn bytes(&self) -> &'a [u8] {
        self.whole
    }

    /// The start line and the header fields as they stand, up to the blank line or the point at which the message breaks off.
    pub fn block(&self) -> &'a [u8] {
        let (fields, _) = block(self.rest);
        self.whole.get(..self.whole.len() - self.rest.len() + fields).unwrap_or_default()
    }
}

impl<'a> StartLine<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii();
        let (first, behind) = split_word(line);
        if is_version(first) {
            let (status, _) = split_word(behind);
            return Some(Self::Response { status: std::str::from_utf8(status).ok()?.parse().ok()? });
        }
        // A Request-URI with a space in it is wrong (RFC 4475, 3.1.2.10), yet all of it is what was asked for.
        let version = behind.iter().rposition(|byte| is_blank(*byte)).map_or(0, |blank| blank + 1);
        let (uri, version) = behind.split_at_checked(version)?;
        let request = is_version(version) && !first.is_empty() && first.iter().copied().all(is_token);
        request.then_some(Self::Request { method: first, uri: uri.trim_ascii() })
    }
}

/// The bytes up to the first blank, and what stands behind the blanks.
fn split_word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| is_blank(*byte)).unwrap_or(bytes.len());
    let (word, rest) = bytes.split_at(end);
    (word, rest.trim_ascii_start())
}

/// Whether a payload may be the beginning of a message, as far as it goes: a start line, or what there is of one.
pub(crate) fn may_begin(payload: &[u8]) -> bool {
    let blank = payload.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let rest = payload.get(blank..).unwrap_or_default();
    match memchr::memchr(b'\n', rest) {
        Some(_) => Message::parse(rest).is_some(),
        None => rest.first().is_some_and(|&first| is_token(first)),
    }
}

/// The length of the header fields, and the place behind the blank line at which the body begins. Both are the whole
/// length if the message breaks off.
pub(super) fn block(rest: &[u8]) -> (usize, usize) {
    let mut at = 0;
    loop {
        let here = rest.get(at..).unwrap_or_default();
        let (line, behind) = split_line(here);
        let next = rest.len() - behind.len();
        if line.is_empty() {
            return (at, next);
        }
        at = next;
    }
}

fn is_version(word: &[u8]) -> bool {
    word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

/// RFC 3261, 25.1: `token`.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}
