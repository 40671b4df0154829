//! Text from a packet as a log may show it.

use std::fmt::Write;
use std::ops::Range;

use crate::knock::KnockSet;
use crate::sip;

/// Header fields of a message as a log may show them: without secrets, escaped, cut to so many characters.
pub(crate) fn printable_parts<const N: usize>(
    knocks: &KnockSet,
    payload: &[u8],
    parts: [Option<&[u8]>; N],
    most: usize,
) -> [Option<String>; N] {
    let text = Text::new(knocks, payload);
    parts.map(|part| {
        let mut shown = text.printable(part?);
        cut(&mut shown, most);
        Some(shown)
    })
}

/// A payload from which parts go to a log: without secrets, without anything unprintable, and not too long.
pub(super) struct Text<'a> {
    knocks: &'a KnockSet,
    pub(super) payload: &'a [u8],
    /// Where secrets stand in it.
    secrets: Vec<Range<usize>>,
}

impl<'a> Text<'a> {
    pub(super) fn new(knocks: &'a KnockSet, payload: &'a [u8]) -> Self {
        Self { knocks, payload, secrets: merged(knocks.secret_ranges(payload)) }
    }

    pub(super) fn printable(&self, part: &[u8]) -> String {
        // What stands in a packet with escapes or folds in it is no less of a secret.
        let plain = sip::unescape(sip::unfold(part));
        let secrets = |text: &[u8]| self.knocks.secret_ranges(text).len();
        if plain != part && secrets(&plain) > secrets(part) {
            return HIDDEN.to_owned();
        }
        printable(self.payload, part, &self.secrets)
    }
}

/// The same ranges in order, with those that overlap or touch made one: a payload can be full of secrets, and each
/// byte of it inside many.
pub(super) fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|later, kept| {
        let joins = later.start <= kept.end;
        if joins {
            kept.end = kept.end.max(later.end);
        }
        joins
    });
    ranges
}

/// A part of a payload as text for a log: without secrets, without anything unprintable, and not too long.
fn printable(payload: &[u8], part: &[u8], secrets: &[Range<usize>]) -> String {
    let start = (part.as_ptr() as usize).saturating_sub(payload.as_ptr() as usize);
    let end = start.saturating_add(part.len());
    let mut text = String::new();
    let mut at = start;
    // One walk, and no further than a log has room for: this runs where packets wait for their verdicts.
    for range in secrets.iter().skip(secrets.partition_point(|range| range.end <= start)) {
        if range.start.max(at) >= end || text.len() > MAX_BYTES {
            break;
        }
        escape(&mut text, plain(payload, at..range.start));
        text.push_str(HIDDEN);
        at = range.end;
    }
    escape(&mut text, plain(payload, at..end));
    cut(&mut text, MAX_TEXT);
    text
}

/// Cuts a text to so many characters, and shows that it did.
fn cut(text: &mut String, most: usize) {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push('…');
    }
}

/// The part of a payload between two secrets, as much of it as a log may show.
fn plain(payload: &[u8], range: Range<usize>) -> &[u8] {
    let plain = payload.get(range).unwrap_or_default();
    plain.get(..MAX_BYTES).unwrap_or(plain)
}

/// UTF-8 stays readable, as names are; everything else, and whatever does not print or turns the line around,
/// shows as its number.
fn escape(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' | '\'' | '\\' => out.push(char),
                _ => out.extend(char.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string can't fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

/// Stands in logs where a secret stood in the packet.
const HIDDEN: &str = "[secret]";

/// Characters of a header field that a log shows: enough to recognise a phone by.
pub(super) const MAX_TEXT: usize = 128;

/// Bytes that are certainly more than that many characters of UTF-8.
const MAX_BYTES: usize = 4 * (MAX_TEXT + 1);
