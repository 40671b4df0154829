//! How much of a secret is random, as far as the secret itself shows it.
//!
//! The bits are those that are left to guess for somebody who knows how phones, makers and `sipknock keygen` make
//! secrets: the length times the bits of one letter of the smallest known alphabet. Of what has a known form (a UUID, a
//! MAC address, an IMEI, a date, a well-known word, a row of keys) only the random part of that form counts. Nothing is
//! known of the words of languages: a sentence counts as if its letters were random.

mod letters;
mod piece;
mod shape;

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

pub use letters::{ALNUM, HEX, KEYPAD};
pub use piece::PieceKind;

use letters::{count, distinct, log2, of_letters};
use piece::Piece;

use super::common_text::{DOCUMENTED, ORDINARY};

/// What is random in a secret.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entropy {
    /// Bits, from 0: half of 2 to the power of these are tried on average.
    pub bits: f64,
    /// The known form that most of it has.
    pub kind: PieceKind,
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
    let (mut at, mut bits, mut kind, mut longest) = (0, 0.0, PieceKind::Plain, 0);
    let mut plain = Vec::new();
    while at < lower.len() {
        while words.next_if(|word| word.start() < at).is_some() {}
        let word = words.peek().filter(|word| word.start() == at).map(|word| Piece {
            length: word.len(),
            bits: if word.pattern().as_usize() < SCHEMES.len() { 0.0 } else { WORD_BITS },
            kind: PieceKind::Plain,
        });
        match shape::formed(&lower, at).or(word).or_else(|| shape::row(&lower, at)) {
            Some(piece) => {
                bits += piece.bits;
                at += piece.length;
                if piece.kind != PieceKind::Plain && piece.length > longest {
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
        kind = PieceKind::Plain;
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
