//! What is sent: REGISTERs of 700 bytes that differ in source and display name only.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Who sends, and whether they knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Every second source knocks with each packet, each with one of so many knocks; the others are strangers.
    Mixed { knocks: usize },
    /// Nobody knocks.
    Strangers,
    /// The sources that [`Traffic::Knocking`] knocked from, without a knock.
    Phones,
    /// The same, all with a knock, each with one of so many.
    Knocking { knocks: usize },
}

impl Traffic {
    /// A source's address and its display name.
    pub(crate) fn source(self, number: usize) -> (Ipv4Addr, [u8; NAME]) {
        match self {
            Self::Mixed { knocks } if number.is_multiple_of(2) => {
                (phone(number / 2), secret(number / 2 % knocks))
            }
            Self::Mixed { .. } => (stranger(number / 2), NOBODY),
            Self::Strangers => (stranger(number), NOBODY),
            Self::Phones => (phone(number), NOBODY),
            Self::Knocking { knocks } => (phone(number), secret(number % knocks)),
        }
    }

    /// How many of `count` packets should get in.
    pub(crate) fn welcome(self, count: usize) -> usize {
        match self {
            Self::Mixed { .. } => count.div_ceil(2),
            Self::Strangers => 0,
            Self::Phones | Self::Knocking { .. } => count,
        }
    }
}

pub(crate) fn phone(number: usize) -> Ipv4Addr {
    host([198, 18], number)
}

pub(crate) fn stranger(number: usize) -> Ipv4Addr {
    host([198, 19], number)
}

/// From x.y.0.1 on. There are 65,535 of them.
fn host([a, b]: [u8; 2], number: usize) -> Ipv4Addr {
    let [c, d] = u16::try_from(number % 65_535 + 1).unwrap().to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// A REGISTER as phones send it, filled up to the length that the benchmark is about.
pub(crate) fn message() -> String {
    let name = std::str::from_utf8(&NOBODY).unwrap();
    let mut message = format!(
        "REGISTER sip:pbx.example.org SIP/2.0\r\nVia: SIP/2.0/UDP 198.18.0.1:5061;branch=z9hG4bK-524287-1---a2c7f0;rport\r\n\
         Max-Forwards: 70\r\nContact: <sip:100@198.18.0.1:5061;rinstance=9c4d1b>;expires=3600\r\n\
         To: <sip:100@pbx.example.org>\r\nFrom: \"{name}\" <sip:100@pbx.example.org>;tag=5f2a71c9\r\n\
         Call-ID: Yl0xF3kq7mT1vN8r@198.18.0.1\r\nCSeq: 1 REGISTER\r\nUser-Agent: Phone 1.2.3\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n"
    );
    let end = "Content-Length: 0\r\n\r\n";
    let missing = PAYLOAD - message.len() - end.len() - "X-Filler: \r\n".len();
    write!(message, "X-Filler: {}\r\n{end}", "0123456789".repeat(100).get(..missing).unwrap()).unwrap();
    message
}

/// Where the display name stands in it.
pub(crate) fn name_at() -> usize {
    message().find(std::str::from_utf8(&NOBODY).unwrap()).unwrap()
}

/// The secrets of a configuration.
pub(crate) fn secrets(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| String::from_utf8(secret(number).to_vec()).unwrap())
}

/// Different for each number from the first letter on, as random secrets are.
pub(crate) fn secret(number: usize) -> [u8; NAME] {
    let mut state = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::array::from_fn(|_| {
        // splitmix64 (Steele, Lea and Flood, 2014)
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        b"abcdefghijklmnopqrstuvwxyz"[((mixed ^ mixed >> 31) % 26) as usize]
    })
}

/// Bytes of a display name, a secret or not.
pub(crate) const NAME: usize = 20;

pub(crate) const NOBODY: [u8; NAME] = *b"Alice in the kitchen";

/// Bytes of a packet's payload.
pub(crate) const PAYLOAD: usize = 700;
