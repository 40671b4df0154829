//! Header fields and their names, long and compact.

use super::text::without_line_end;

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name, as in the message.
    pub name: &'a [u8],
    /// The value without white space at its ends. Line folds (RFC 3261, 7.3.1) are still in it.
    pub value: &'a [u8],
}

impl Header<'_> {
    /// Whether this is the header field of that name: any case, long or compact.
    pub fn is(&self, name: &str) -> bool {
        long_name(self.name).eq_ignore_ascii_case(long_name(name.as_bytes()))
    }
}

/// The long form of a compact name; any other name unchanged.
pub(crate) fn long_name(name: &[u8]) -> &[u8] {
    let &[letter] = name else { return name };
    let known = COMPACT.iter().find(|(short, _)| *short == letter.to_ascii_lowercase());
    known.map_or(name, |(_, long)| long.as_bytes())
}

/// The length of a header field's shortest name: 1 if it has a compact form.
pub(crate) fn shortest_name(name: &str) -> usize {
    let long = long_name(name.as_bytes());
    let has_compact = COMPACT.iter().any(|(_, known)| known.as_bytes().eq_ignore_ascii_case(long));
    if has_compact { 1 } else { name.len() }
}

/// Iterator over [`Message::headers`](super::Message::headers).
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        loop {
            let whole = self.rest;
            let (line, mut rest) = split_line(whole);
            if line.is_empty() {
                self.rest = &[];
                return None;
            }
            let mut end = line.len();
            while matches!(rest.first(), Some(b' ' | b'\t')) {
                let (folded, behind) = split_line(rest);
                end = whole.len() - rest.len() + folded.len();
                rest = behind;
            }
            self.rest = rest;
            let field = whole.get(..end)?;
            if let Some(colon) = memchr::memchr(b':', field) {
                let (name, value) = field.split_at(colon);
                let name = name.trim_ascii();
                if !name.is_empty() {
                    return Some(Header { name, value: value.get(1..)?.trim_ascii() });
                }
            }
        }
    }
}

/// A line without its line end, and what follows the line end. Any CRs right before the LF belong to the end.
pub(super) fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match memchr::memchr(b'\n', bytes) {
        Some(end) => (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default()),
        None => (bytes, &[][..]),
    };
    (without_line_end(line), rest)
}

/// The compact forms of RFC 3261, 7.3.3, and of the extensions in IANA's registry of SIP header fields.
const COMPACT: [(u8, &str); 20] = [
    (b'a', "Accept-Contact"),
    (b'b', "Referred-By"),
    (b'c', "Content-Type"),
    (b'd', "Request-Disposition"),
    (b'e', "Content-Encoding"),
    (b'f', "From"),
    (b'i', "Call-ID"),
    (b'j', "Reject-Contact"),
    (b'k', "Supported"),
    (b'l', "Content-Length"),
    (b'm', "Contact"),
    (b'n', "Identity-Info"),
    (b'o', "Event"),
    (b'r', "Refer-To"),
    (b's', "Subject"),
    (b't', "To"),
    (b'u', "Allow-Events"),
    (b'v', "Via"),
    (b'x', "Session-Expires"),
    (b'y', "Identity"),
];
