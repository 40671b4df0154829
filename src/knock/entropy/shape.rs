//! Forms that a piece of a secret may have. All texts here are in small letters.

use super::letters::{distinct, log2, of_letters};
use super::piece::{Piece, PieceKind};

/// The piece of a known form that begins here, numbers among them.
pub(super) fn formed(text: &[u8], at: usize) -> Option<Piece> {
    let rest = text.get(at..)?;
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    let joins = |class: fn(&u8) -> bool| before.is_some_and(class);
    if joins(u8::is_ascii_digit) {
        return None;
    }
    let of_words = || uuid(rest).or_else(|| labelled(rest)).or_else(|| mac(rest));
    let in_word = joins(u8::is_ascii_alphanumeric);
    if in_word { None } else { of_words() }.or_else(|| dashed_date(rest)).or_else(|| number(rest))
}

/// A row of keys, of the alphabet or of one character: `qwertz`, `4321`, `aaaa`.
pub(super) fn row(text: &[u8], at: usize) -> Option<Piece> {
    let rest = text.get(at..)?;
    let first = rest.first()?;
    let repeated = rest.iter().take_while(|byte| *byte == first).count();
    let along = |row: &&str| {
        let forward = row.bytes().skip_while(|byte| byte != first);
        let backward = row.bytes().rev().skip_while(|byte| byte != first);
        common(rest, forward).max(common(rest, backward))
    };
    let length = ROWS.iter().map(along).max().unwrap_or(0).max(repeated);
    (length >= MIN_ROW).then_some(Piece { length, bits: ROW_BITS, kind: PieceKind::Plain })
}

fn common(text: &[u8], row: impl Iterator<Item = u8>) -> usize {
    text.iter().copied().zip(row).take_while(|(one, other)| one == other).count()
}

/// RFC 9562, section 4, the dashes where they belong.
fn uuid(text: &[u8]) -> Option<Piece> {
    let text = text.get(..UUID)?;
    let dashes = |at: &usize| [8, 13, 18, 23].contains(at);
    let fits = |(at, byte): (usize, &u8)| if dashes(&at) { *byte == b'-' } else { is_hex(byte) };
    if !text.iter().enumerate().all(fits) {
        return None;
    }
    let digits: Vec<u8> = text.iter().copied().filter(is_hex).collect();
    let value = |at: usize| digits.get(at).map_or(0, |digit| hex_value(*digit));
    let zeros = digits.iter().take(20).filter(|digit| **digit == b'0').count();
    // The multicast bit of the first octet says that the node is no MAC address (RFC 9562, 6.10).
    let node = if value(21) & 1 == 1 { RANDOM_NODE_BITS } else { MAC_BITS };
    let seen = of_letters(&digits);
    let (kind, most) = match value(12) {
        _ if distinct(&digits) < 4 => (PieceKind::FilledUuid, ROW_BITS),
        _ if zeros >= 14 => (PieceKind::MacUuid, MAC_BITS),
        1 | 6 => (PieceKind::TimeUuid, TIME_BITS + CLOCK_BITS + node),
        // Its time lacks the 32 bits that move, and its clock sequence 8.
        2 => (PieceKind::TimeUuid, CLOCK_BITS - 8.0 + node),
        4 => (PieceKind::RandomUuid, 122.0),
        7 => (PieceKind::RandomUuid, 74.0),
        3 | 5 => (PieceKind::NameUuid, 122.0),
        _ => (PieceKind::OddUuid, 128.0),
    };
    Some(Piece { length: UUID, bits: seen.min(most), kind })
}

/// `mac:` or `imei:` and its digits, however they are grouped.
fn labelled(text: &[u8]) -> Option<Piece> {
    for (label, kind, least, bits) in
        [(&b"mac"[..], PieceKind::Mac, 12, MAC_BITS), (b"imei", PieceKind::Imei, 14, IMEI_BITS)]
    {
        let Some(behind) = text.strip_prefix(label) else { continue };
        let belongs = |byte: &&u8| is_hex(byte) || matches!(byte, b':' | b'-' | b'.' | b'=' | b' ' | b'_');
        let length = behind.iter().take_while(belongs).count();
        let digits = behind.iter().take(length).filter(|byte| is_hex(byte)).count();
        if (least..=16).contains(&digits) {
            return Some(Piece { length: label.len() + length, bits, kind });
        }
    }
    None
}

/// A MAC address: 12 hexadecimal digits that stand alone, or in groups of two or four.
fn mac(text: &[u8]) -> Option<Piece> {
    let grouped = |separator: u8, group: usize| {
        let length = 12 + 12 / group - 1;
        let fits = |(at, byte): (usize, &u8)| {
            if at % (group + 1) == group { *byte == separator } else { is_hex(byte) }
        };
        let begins = text.get(..length).is_some_and(|text| text.iter().enumerate().all(fits));
        begins.then_some(length)
    };
    let bare = || {
        let digits = text.get(..12).filter(|digits| digits.iter().all(is_hex))?;
        // The two lowest bits of the first octet are 0 in what a maker assigns (IEEE 802, 8.2). Of digits alone it is
        // more likely a phone number.
        let assigned = digits.get(1).is_some_and(|digit| hex_value(*digit) & 3 == 0);
        (assigned && digits.iter().any(u8::is_ascii_alphabetic)).then_some(12)
    };
    let length = grouped(b':', 2).or_else(|| grouped(b'-', 2)).or_else(|| grouped(b'.', 4)).or_else(bare)?;
    let ends = text.get(length).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    ends.then_some(Piece { length, bits: MAC_BITS, kind: PieceKind::Mac })
}

/// `2026-11-22`, `22.11.2026`, `11/22/2026`.
fn dashed_date(text: &[u8]) -> Option<Piece> {
    let date = text.get(..10)?;
    if text.get(10).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let digits: Vec<u8> = date.iter().copied().filter(u8::is_ascii_digit).collect();
    let places: Vec<_> =
        (0..10).filter(|at| date.get(*at).is_some_and(|byte| b"-./".contains(byte))).collect();
    let grouped = matches!(places[..], [4, 7] | [2, 5]) && digits.len() == 8;
    (grouped && is_date(&digits)).then_some(Piece { length: 10, bits: DATE_BITS, kind: PieceKind::Date })
}

/// Digits that stand alone: an IMEI, a date, a year, a version. Others are no form.
fn number(text: &[u8]) -> Option<Piece> {
    let run = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let length = run(text);
    let digits = text.get(..length)?;
    if let Some(length) = version(text, run) {
        return Some(Piece { length, bits: VERSION_BITS, kind: PieceKind::Plain });
    }
    let date = || digits.get(..8).is_some_and(is_date);
    let (bits, kind) = match length {
        4 if (1950..2050).contains(&value(digits)) => (log2(100), PieceKind::Plain),
        8 if date() => (DATE_BITS, PieceKind::Date),
        12 if date() && is_time(digits.get(8..)?) => (DATE_BITS + log2(24 * 60), PieceKind::Date),
        14 if date() && is_time(digits.get(8..)?) => (DATE_BITS + log2(24 * 60 * 60), PieceKind::Date),
        15 if is_imei(digits) => (IMEI_BITS, PieceKind::Imei),
        _ => return None,
    };
    Some(Piece { length, bits, kind })
}

/// `66.86.0.15`: numbers of three digits at most, with dots between them.
fn version(text: &[u8], run: impl Fn(&[u8]) -> usize) -> Option<usize> {
    let (mut at, mut numbers) = (0, 0);
    loop {
        let digits = run(text.get(at..)?);
        if !(1..=3).contains(&digits) {
            return None;
        }
        (at, numbers) = (at + digits, numbers + 1);
        let goes_on = text.get(at) == Some(&b'.') && text.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !goes_on || numbers == MAX_NUMBERS {
            return (numbers > 1).then_some(at);
        }
        at += 1;
    }
}

/// Eight digits in one of the usual orders, in a year that somebody may remember.
fn is_date(digits: &[u8]) -> bool {
    let part = |at: usize, length: usize| digits.get(at..at + length).map_or(0, value);
    let fits = |year: u32, month: u32, day: u32| {
        (1900..2100).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)
    };
    let (early, late) = (part(0, 4), part(4, 4));
    fits(early, part(4, 2), part(6, 2))
        || fits(late, part(2, 2), part(0, 2))
        || fits(late, part(0, 2), part(2, 2))
}

/// `HHMM` or `HHMMSS`.
fn is_time(digits: &[u8]) -> bool {
    digits.chunks(2).zip([24, 60, 60]).all(|(pair, end)| value(pair) < end)
}

/// The check digit is right (Luhn), and the first two digits are those of a body that assigns them.
fn is_imei(digits: &[u8]) -> bool {
    let body = digits.get(..2).unwrap_or_default();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let value = hex_value(*digit) << (at % 2);
            value / 10 + value % 10
        })
        .sum();
    IMEI_BODIES.iter().any(|known| known.as_bytes() == body) && sum.is_multiple_of(10)
}

fn value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |sum, digit| sum * 10 + hex_value(*digit))
}

fn is_hex(byte: &u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn hex_value(digit: u8) -> u32 {
    char::from(digit).to_digit(16).unwrap_or(0)
}

const UUID: usize = 36;

/// The half of a MAC address that is not the maker's.
const MAC_BITS: f64 = 24.0;

/// A node of RFC 9562, 6.10: all but the multicast bit.
const RANDOM_NODE_BITS: f64 = 47.0;

/// The clock sequence of RFC 9562, 5.1.
const CLOCK_BITS: f64 = 14.0;

/// A time in milliseconds within the minute that somebody knows: many phones have no finer clock, and begin at a date that
/// their firmware has.
const TIME_BITS: f64 = 16.0;

/// The serial number; the model and the check digit are known.
const IMEI_BITS: f64 = 20.0;

/// The bodies of GSMA TS.06 that have assigned most of them.
const IMEI_BODIES: [&str; 10] = ["01", "35", "86", "44", "45", "49", "52", "91", "98", "99"];

/// One day of a hundred years.
const DATE_BITS: f64 = 15.2;

/// Numbers of a version, or of an address.
const MAX_NUMBERS: usize = 8;

/// A release among some hundreds.
const VERSION_BITS: f64 = 9.0;

/// Rows that are typed for want of an idea.
const ROWS: [&str; 9] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "qsdfghjklm",
    "zxcvbnm",
    "yxcvbnm",
];

/// Three in a row are chance.
const MIN_ROW: usize = 4;

/// The row, where it begins and ends, and which way it goes.
const ROW_BITS: f64 = 8.0;
