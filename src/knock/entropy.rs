//! How much of a secret is random, as far as the secret itself shows it.
//!
//! The bits are those that are left to guess for somebody who knows how phones, makers and `sipknock keygen` make
//! secrets: the length times the bits of one letter of the smallest known alphabet. Of what has a known form (a UUID, a
//! MAC address, an IMEI, a date, a well-known word, a row of keys) only the random part of that form counts. Nothing is
//! known of the words of languages: a sentence counts as if its letters were random.

mod shape;

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::weakness::{DOCUMENTED, ORDINARY};

/// What is random in a secret.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entropy {
    /// Bits, from 0: half of 2 to the power of these are tried on average.
    pub bits: f64,
    /// The known form that most of it has.
    pub kind: Kind,
}

/// A known form of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None of the others.
    Plain,
    /// A UUID of version 4 or 7 (RFC 9562).
    RandomUuid,
    /// A UUID of version 1, 2 or 6: a time, a clock sequence and a MAC address.
    TimeUuid,
    /// A UUID of version 3 or 5: the hash of a name.
    NameUuid,
    /// A UUID of no version that RFC 9562 has.
    OddUuid,
    /// A UUID of three different digits at most.
    FilledUuid,
    /// A UUID of zeros and a MAC address.
    MacUuid,
    /// A MAC address.
    Mac,
    /// The IMEI of a mobile phone (3GPP TS 23.003, 6.2).
    Imei,
    /// A date, with or without a time of day.
    Date,
}

/// One piece of a secret that has a known form.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    length: usize,
    bits: f64,
    kind: Kind,
}

impl Kind {
    /// What such a secret is, in words that follow "it is …"; `None` for a plain text.
    pub const fn what(self) -> Option<&'static str> {
        Some(match self {
            Self::Plain => return None,
            Self::RandomUuid => "a random UUID",
            Self::TimeUuid => "a UUID made of the time and the MAC address: hard to guess, not random",
            Self::NameUuid => "a UUID made of a name: as hard to guess as that name",
            Self::OddUuid => "a UUID of no standard kind",
            Self::FilledUuid => "a UUID that is filled with the same digits: many phones have it",
            Self::MacUuid => {
                "a UUID made of the MAC address, which is printed on the phone and half the vendor's"
            }
            Self::Mac => "made of the MAC address, which is printed on the phone",
            Self::Imei => "the IMEI, which is printed on the phone and known to its network",
            Self::Date => "made of a date",
        })
    }
}

/// What is random in a secret. `ignore_case`: its ASCII letters match in either case.
pub fn of(secret: &[u8], ignore_case: bool) -> Entropy {
    let text = secret.trim_ascii();
    // A text that is repeated is as hard to guess as one of its repetitions.
    if let Some(period) = period(text)
        && let Some(once) = text.get(..period)
    {
        let once = of(once, ignore_case);
        return Entropy { bits: once.bits + log2(text.len() / period), ..once };
    }
    let lower = text.to_ascii_lowercase();
    let mut words = KNOWN_WORDS.find_iter(&lower).peekable();
    let (mut at, mut bits, mut kind, mut longest) = (0, 0.0, Kind::Plain, 0);
    let mut plain = Vec::new();
    while at < lower.len() {
        while words.next_if(|word| word.start() < at).is_some() {}
        let word = words.peek().filter(|word| word.start() == at).map(|word| Piece {
            length: word.len(),
            bits: if word.pattern().as_usize() < SCHEMES.len() { 0.0 } else { WORD_BITS },
            kind: Kind::Plain,
        });
        match shape::formed(&lower, at).or(word).or_else(|| shape::row(&lower, at)) {
            Some(piece) => {
                bits += piece.bits;
                at += piece.length;
                if piece.kind != Kind::Plain && piece.length > longest {
                    (kind, longest) = (piece.kind, piece.length);
                }
            }
            None => {
                plain.extend(if ignore_case { lower.get(at) } else { text.get(at) });
                at += 1;
            }
        }
    }
    if longest * 2 < text.len() {
        kind = Kind::Plain;
    }
    Entropy { bits: bits + of_plain(&plain), kind }
}

/// Bits of a text without any form: letters and digits by their alphabet, separators hardly at all.
fn of_plain(text: &[u8]) -> f64 {
    let (letters, others): (Vec<u8>, Vec<u8>) = text.iter().partition(|byte| byte.is_ascii_alphanumeric());
    let (symbols, foreign): (Vec<u8>, Vec<u8>) = others.iter().partition(|byte| byte.is_ascii());
    let of_symbol = if distinct(&symbols) <= FEW_SYMBOLS { SEPARATOR_BITS } else { log2(SYMBOLS) };
    of_letters(&letters) + count(symbols.len()) * of_symbol + count(foreign.len()) * FOREIGN_BITS
}

/// Bits of ASCII letters and digits: by the smallest alphabet that has them all.
fn of_letters(text: &[u8]) -> f64 {
    let Some(others) = text.len().checked_sub(1) else { return 0.0 };
    let length = count(text.len());
    let all_in = |alphabet: &str| text.iter().all(|byte| alphabet.as_bytes().contains(byte));
    let has = |class: fn(&u8) -> bool, size| if text.iter().any(class) { size } else { 0 };
    let natural =
        has(u8::is_ascii_digit, 10) + has(u8::is_ascii_lowercase, 26) + has(u8::is_ascii_uppercase, 26);
    // An alphabet of a few of these letters has to be guessed, too.
    let used = distinct(text);
    let mut bits = (length * log2(natural)).min(log2(natural) + choices(natural, used) + length * log2(used));
    if all_in(KEYPAD) {
        let again = text.windows(2).any(|pair| pair.first() == pair.last());
        let next = KEYPAD.len() - usize::from(!again);
        bits = bits.min(log2(KEYPAD.len()) + count(others) * log2(next));
    }
    for alphabet in [ALNUM, HEX, UPPER_HEX] {
        if all_in(alphabet) {
            bits = bits.min(length * log2(alphabet.len()));
        }
    }
    bits
}

/// The length of what a text repeats twice or more, if it does.
fn period(text: &[u8]) -> Option<usize> {
    // The longest proper prefix that is a suffix, of each beginning of the text (Knuth, Morris and Pratt).
    let mut borders = vec![0; text.len()];
    let mut border = 0;
    for at in 1..text.len() {
        while border > 0 && text.get(border) != text.get(at) {
            border = borders.get(border - 1).copied().unwrap_or(0);
        }
        border += usize::from(text.get(border) == text.get(at));
        if let Some(place) = borders.get_mut(at) {
            *place = border;
        }
    }
    let period = text.len() - border;
    (period * 2 <= text.len() && period > 0).then_some(period)
}

/// Binary logarithm of the number of ways to choose some of so many letters.
fn choices(letters: usize, some: usize) -> f64 {
    (1..=some.min(letters)).map(|n| (count(letters - some.min(letters) + n) / count(n)).log2()).sum()
}

fn distinct(bytes: &[u8]) -> usize {
    let mut sorted = bytes.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len()
}

fn log2(number: usize) -> f64 {
    count(number).max(1.0).log2()
}

#[expect(clippy::cast_precision_loss, reason = "lengths, far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

/// The first letter on each of the keys 2 to 9 of a phone's keypad (ITU-T E.161): `sipknock keygen`'s default.
pub const KEYPAD: &str = "adgjmptw";

/// Small letters and digits without those that look alike.
pub const ALNUM: &str = "abcdefghjkmnpqrstuvwxyz23456789";

/// Hexadecimal digits.
pub const HEX: &str = "0123456789abcdef";

const UPPER_HEX: &str = "0123456789ABCDEF";

/// Beginnings that a secret's form prescribes. They tell nobody anything.
const SCHEMES: [&str; 7] = ["urn:uuid:", "urn:gsma:", "urn:dev:", "urn:", "uuid:", "sip:", "sips:"];

/// Words that guessers try first, beside those of [`ORDINARY`].
const FIRST_TRIED: [&str; 14] = [
    "change-me",
    "changeme",
    "change_me",
    "secret",
    "knock",
    "sipknock",
    "phone",
    "office",
    "user",
    "guest",
    "test",
    "welcome",
    "letmein",
    "trunk",
];

/// Finds words that everybody knows.
static KNOWN_WORDS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let ordinary = ORDINARY.iter().flat_map(|(_, text)| text.split(|c: char| !c.is_ascii_alphanumeric()));
    let ordinary = ordinary.filter(|word| {
        word.len() >= MIN_WORD && *word != DOCUMENTED && word.contains(|c: char| c.is_ascii_alphabetic())
    });
    let words = SCHEMES.into_iter().chain(FIRST_TRIED).chain(ordinary).map(str::to_ascii_lowercase);
    let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(words);
    // Some hundred short words always compile; without them every letter would count as random.
    built.unwrap_or_else(|error| unreachable!("{error}"))
});

/// Shorter words stand in random text by chance.
const MIN_WORD: usize = 4;

/// One of some hundred words.
const WORD_BITS: f64 = 7.0;

/// Dashes between groups, and not much else.
const FEW_SYMBOLS: usize = 2;
const SEPARATOR_BITS: f64 = 1.5;

/// Printable ASCII characters that are neither letters nor digits, the space included.
const SYMBOLS: usize = 33;

/// A byte of UTF-8 beyond ASCII: two of them make a letter of some alphabet.
const FOREIGN_BITS: f64 = 2.5;

#[cfg(test)]
mod tests;
