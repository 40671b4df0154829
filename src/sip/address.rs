//! The addresses in From, To, Contact and the like: RFC 3261, 20.10 and 25.1, read as tolerantly as the message.

use std::borrow::Cow;
use std::ops::Range;

use super::text::{QuotedPairs, closing_quote, unquote};

/// `name-addr` or `addr-spec`, with the header parameters behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// As it stands, with its quotes.
    name: Option<&'a [u8]>,
    uri: &'a [u8],
    /// What follows the URI, up to the comma.
    params: &'a [u8],
}

/// The addresses of a header field's value: it may hold several, with commas between them.
///
/// A comma within quotes or `<>` separates nothing; nor does one with no URI in front of it: it stands in a display
/// name whose quotes are missing (RFC 4475, 3.1.2.15). `Contact: *` is an address with the URI `*`.
pub fn addresses(value: &[u8]) -> impl Iterator<Item = Address<'_>> {
    Addresses { value, pieces: Pieces::of(value), start: 0 }
}

impl<'a> Address<'a> {
    fn parse(text: &'a [u8]) -> Self {
        let text = text.trim_ascii();
        let part = |range: Range<usize>| text.get(range).unwrap_or_default().trim_ascii();
        let (mut quoted, mut scheme, mut semicolon) = (None, false, None);
        for piece in Pieces::of(text) {
            match piece.byte {
                b'<' => {
                    let name = Some(part(0..piece.start)).filter(|name| !name.is_empty());
                    let uri = part(piece.start + 1..piece.end);
                    let uri = uri.strip_suffix(b">").unwrap_or(uri).trim_ascii();
                    return Self { name, uri, params: part(piece.end..text.len()) };
                }
                b'"' if piece.start == 0 && piece.end > 1 => quoted = Some(piece.end),
                b':' => scheme = true,
                b';' => {
                    semicolon = semicolon.or(Some(piece.start));
                    // Behind a URI without <>, parameters are the header field's, whatever else they hold.
                    if scheme {
                        break;
                    }
                }
                _ => {}
            }
        }
        let end = semicolon.unwrap_or(text.len());
        let name = quoted.map(|end| part(0..end));
        Self { name, uri: part(quoted.unwrap_or(0)..end), params: part(end..text.len()) }
    }

    /// The display name without its quotes, with escapes and folds undone; `None` where there is none.
    pub fn display_name(&self) -> Option<Cow<'a, [u8]>> {
        self.display_name_with(QuotedPairs::Undone)
    }

    /// The same with quoted pairs as told.
    pub fn display_name_with(&self, pairs: QuotedPairs) -> Option<Cow<'a, [u8]>> {
        self.name.map(|name| unquote(name, pairs))
    }

    /// The URI as it stands, its own parameters with it.
    pub fn uri(&self) -> &'a [u8] {
        self.uri
    }

    /// The value of the first header parameter of that name, in any case: without its quotes, with escapes and folds
    /// undone, and empty where the parameter has none. Parameters within `<>` are the URI's and do not count.
    pub fn param(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.param_with(name, QuotedPairs::Undone)
    }

    fn param_with(&self, name: &str, pairs: QuotedPairs) -> Option<Cow<'a, [u8]>> {
        self.params()
            .find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| unquote(value, pairs))
    }

    /// The device's URN (RFC 5626, 4.1), without its quotes and `<>`.
    pub fn instance(&self) -> Option<Cow<'a, [u8]>> {
        self.instance_with(QuotedPairs::Undone)
    }

    /// The same with quoted pairs as told.
    pub fn instance_with(&self, pairs: QuotedPairs) -> Option<Cow<'a, [u8]>> {
        Some(match self.param_with("+sip.instance", pairs)? {
            Cow::Borrowed(value) => Cow::Borrowed(bare_instance(value)),
            Cow::Owned(value) => Cow::Owned(bare_instance(&value).to_vec()),
        })
    }

    fn params(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let params = self.params;
        let mut semicolons = Pieces::of(params).filter(|piece| piece.byte == b';');
        let mut start = semicolons.next().map(|first| first.end);
        std::iter::from_fn(move || {
            let from = start?;
            let next = semicolons.next();
            start = next.as_ref().map(|next| next.end);
            let param = params.get(from..next.map_or(params.len(), |next| next.start))?;
            let equals = memchr::memchr(b'=', param).unwrap_or(param.len());
            let (name, value) = param.split_at(equals);
            Some((name.trim_ascii(), value.strip_prefix(b"=").unwrap_or(value).trim_ascii()))
        })
    }
}

/// A URN without the quotes and `<>` that RFC 5626, 4.1 puts around it, or some of them.
pub(crate) fn bare_instance(mut text: &[u8]) -> &[u8] {
    while let [b'"' | b'<' | b' ' | b'\t', shorter @ ..] | [shorter @ .., b'"' | b'>' | b' ' | b'\t'] = text {
        text = shorter;
    }
    text
}

struct Addresses<'a> {
    value: &'a [u8],
    pieces: Pieces<'a>,
    start: usize,
}

impl<'a> Iterator for Addresses<'a> {
    type Item = Address<'a>;

    fn next(&mut self) -> Option<Address<'a>> {
        loop {
            let text = self.value.get(self.start..)?;
            // Once, not at each comma: a stranger may send many of either.
            let start = self.value.len() - text.trim_ascii_start().len();
            let until = |end| self.value.get(start..end).unwrap_or_default().trim_ascii_end();
            let mut has_uri = false;
            let comma = self.pieces.find(|piece| {
                has_uri |= matches!(piece.byte, b'<' | b':');
                piece.byte == b',' && (has_uri || matches!(until(piece.start), b"" | b"*"))
            });
            let text = until(comma.as_ref().map_or(self.value.len(), |comma| comma.start));
            // Past the end once the last one is read.
            self.start = comma.map_or(self.value.len() + 1, |comma| comma.end);
            if !text.is_empty() {
                return Some(Address::parse(text));
            }
        }
    }
}

/// A text cut up into what a delimiter can be told by: single bytes, whole quoted strings and whole `<…>`.
struct Pieces<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether quotes may still be closed. Where one is not, no later one is either: all that follow it are escaped,
    /// so each would be searched for in vain to the end.
    quotes: bool,
}

/// The piece's first byte, and where it begins and ends.
struct AddressPiece {
    byte: u8,
    start: usize,
    end: usize,
}

impl<'a> Pieces<'a> {
    fn of(text: &'a [u8]) -> Self {
        Self { text, at: 0, quotes: true }
    }
}

impl Iterator for Pieces<'_> {
    type Item = AddressPiece;

    fn next(&mut self) -> Option<AddressPiece> {
        let start = self.at;
        let (&byte, behind) = self.text.get(start..)?.split_first()?;
        let end = match byte {
            b'"' if self.quotes => match closing_quote(behind) {
                Some(quote) => start + 1 + quote + 1,
                None => {
                    self.quotes = false;
                    start + 1
                }
            },
            // Escaped where nothing is quoted: wrong, but seen. It quotes nothing.
            b'\\' if behind.first() == Some(&b'"') => start + 2,
            // An address that breaks off in its URI is nothing but URI from there on.
            b'<' => memchr::memchr(b'>', behind).map_or(self.text.len(), |close| start + 1 + close + 1),
            _ => start + 1,
        };
        self.at = end;
        Some(AddressPiece { byte, start, end })
    }
}

#[cfg(test)]
mod tests;
