//! Payloads that are made to be dear: each repeats something to which SIP text gives a meaning.

use super::super::configurations::{WORDS, secret};
use super::LENGTH;

/// A name and a payload of [`LENGTH`] bytes for each.
pub(super) fn listed() -> Vec<(String, Vec<u8>)> {
    let words = WORDS.map(|word| format!("{word} "));
    let folded = WORDS.map(|word| format!("{word}\r\n "));
    let units = UNITS.iter().copied().chain(words.iter().chain(&folded).map(String::as_str));
    let mut attacks = Vec::new();
    for unit in units {
        for (start, end) in CONTEXTS {
            attacks.push((format!("{:?} in {start:?}", unit), filled(start, unit, end)));
        }
    }
    // All of the first letters of a secret, but not the last one.
    for number in 0..10 {
        let secret = secret(number);
        for length in [4, 6, 8, 12, 16, 19] {
            let unit = &secret[..length];
            attacks.push((
                format!("{length} letters of secret {number}"),
                filled("REGISTER sip:a SIP/2.0\r\n", unit, ""),
            ));
        }
    }
    attacks
}

/// A payload of [`LENGTH`] bytes that repeats `unit`.
fn filled(start: &str, unit: &str, end: &str) -> Vec<u8> {
    let mut bytes = format!("{BEFORE}{start}").into_bytes();
    let middle = LENGTH - end.len();
    while bytes.len() < middle {
        bytes.extend_from_slice(unit.as_bytes());
    }
    bytes.truncate(middle);
    bytes.extend_from_slice(end.as_bytes());
    bytes
}

/// What [`listed`] repeats, and mutations put in.
pub(super) const UNITS: [&str; 47] = [
    "\\",
    "\\\\\"",
    "\\\"",
    "\"",
    "\"\\\\\"",
    "a\\",
    "\\a",
    "\r\n ",
    "\n ",
    "\n\t",
    "\r\r\n ",
    " \r\n ",
    "a\n ",
    "a:\r\n",
    "f:\r\n",
    "m:\n",
    "a\r\n",
    "\n",
    "\r\n",
    "\r",
    ",",
    ";",
    "<",
    ">",
    ":",
    "<a>,",
    "a:b,",
    "m:<a>,",
    "f:\"\\\"\"<a>\r\n",
    "f:a\r\n b<a>\r\n",
    "m:<a>;+sip.instance=\"\\<\"\r\n",
    "m:\"\\",
    "User-Agent:a\r\n b\r\n",
    "X-Door:a\r\n b\r\n",
    " ",
    "\t",
    "\0",
    "=",
    ";a=",
    ";+sip.instance=",
    "x",
    "\u{ff}",
    "SIP/2.0 ",
    "REGISTER ",
    "urn:uuid:",
    "From: ",
    "Contact: ",
];

/// Each payload has a quoted pair and a fold in it, so that nothing is spared for want of one.
const BEFORE: &str = "REGISTER sip:a SIP/2.0\r\nX: \\\"\r\n b\r\n";

const CONTEXTS: [(&str, &str); 7] = [
    ("", ""),
    ("", "\r\n\r\n"),
    ("From: \"", "\" <sip:a@b>\r\n\r\n"),
    ("f:", ""),
    ("Contact: <sip:a@b>;+sip.instance=\"<", ">\"\r\n\r\n"),
    ("m:", "<sip:a@b>"),
    ("User-Agent: ", "\r\nX-Door: a\r\n\r\n"),
];
