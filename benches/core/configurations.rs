//! Configurations for which the dearest packet is compared with a plain REGISTER of the same length.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// Knocks of one kind, and how their packets come.
pub(crate) struct Configuration {
    pub(crate) name: &'static str,
    /// Its packets are TCP flows of [`SEGMENTS`] segments, not datagrams.
    pub(crate) flow: bool,
    /// The `[[knock]]` tables.
    pub(crate) knocks: fn() -> String,
}

pub(crate) const CONFIGURATIONS: [Configuration; 10] = [
    datagrams("anywhere", || ten("anywhere")),
    datagrams("headers", || ten("headers")),
    datagrams("from-display-name", || ten("from-display-name")),
    datagrams("contact-instance", || table(0..10, |_| "contact-instance", instance)),
    datagrams("user-agent", || ten("user-agent")),
    datagrams("request-uri", || ten("request-uri")),
    datagrams("header", || ten("header:X-Door")),
    datagrams("six-places", || table(0..1000, |number| PLACES[number % PLACES.len()], of_place)),
    datagrams("words", || table(0..20, |number| ["from-display-name", "user-agent"][number % 2], words)),
    Configuration {
        name: "flow",
        flow: true,
        knocks: || table(0..30, |number| FLOW_PLACES[number % FLOW_PLACES.len()], secret),
    },
];

const fn datagrams(name: &'static str, knocks: fn() -> String) -> Configuration {
    Configuration { name, flow: false, knocks }
}

pub(crate) fn configuration(name: &str) -> &'static Configuration {
    CONFIGURATIONS
        .iter()
        .find(|configuration| configuration.name == name)
        .expect("a configuration of that name")
}

impl Configuration {
    /// The files of the dearest payloads that were found for it, in the order of their names.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        (1..=KEPT).map(|rank| PathBuf::from(FOLDER).join(format!("{}-{rank}.bin", self.name)))
    }

    /// What is in these files, as far as they are there.
    pub(crate) fn kept(&self) -> Vec<Vec<u8>> {
        self.files().filter_map(|path| fs::read(path).ok()).collect()
    }
}

fn ten(part: &'static str) -> String {
    table(0..10, |_| part, secret)
}

fn table(
    numbers: impl Iterator<Item = usize>,
    part: impl Fn(usize) -> &'static str,
    secret: fn(usize) -> String,
) -> String {
    numbers.fold(String::new(), |mut text, number| {
        let (part, secret) = (part(number), secret(number));
        write!(text, "[[knock]]\nname = \"{number}\"\nin = \"{part}\"\nsecret = \"{secret}\"\n").unwrap();
        text
    })
}

/// 20 letters, different for each number.
pub(crate) fn secret(number: usize) -> String {
    let mut state = number as u64 + 88_172_645_463_325_252;
    (0..20)
        .map(|_| {
            // xorshift64 (Marsaglia, 2003)
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'a' + (state % 26) as u8)
        })
        .collect()
}

fn instance(number: usize) -> String {
    let hex = |number: usize| (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (a, b) = (hex(2 * number), hex(2 * number + 1));
    let (c, d) = (a >> 32, b >> 48);
    format!(
        "urn:uuid:{c:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 16 & 0xffff,
        a & 0xfff,
        d & 0xfff,
        b & 0xffff_ffff_ffff
    )
}

fn of_place(number: usize) -> String {
    if PLACES[number % PLACES.len()] == "contact-instance" { instance(number) } else { secret(number) }
}

/// Four words, which a stranger may guess one by one.
fn words(number: usize) -> String {
    [number, 3 * number + 1, 7 * number + 2, 9 * number + 5].map(|place| WORDS[place % WORDS.len()]).join(" ")
}

/// A REGISTER of [`LENGTH`] bytes as phones send it.
pub(crate) fn register(name: &str) -> Vec<u8> {
    let mut message = format!(
        "REGISTER sip:pbx.example.org SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5061;branch=z9hG4bK-524287-1---a2c7;rport\r\n\
         Max-Forwards: 70\r\nContact: <sip:100@198.51.100.7:5061>;+sip.instance=\"<urn:uuid:3f2b8c1e-5d47-4a09-9c66-0e7a51d2b8f4>\"\r\n\
         To: <sip:100@pbx.example.org>\r\nFrom: \"{name}\" <sip:100@pbx.example.org>;tag=5f2a71c9\r\n\
         Call-ID: Yl0xF3kq7mT1vN8r@198.51.100.7\r\nCSeq: 1 REGISTER\r\nUser-Agent: Phone 1.2.3\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n"
    );
    let end = "Content-Length: 0\r\n\r\n";
    let missing = LENGTH - message.len() - end.len() - "X-Filler: \r\n".len();
    write!(message, "X-Filler: {}\r\n{end}", "0123456789".repeat(70).get(..missing).unwrap()).unwrap();
    message.into_bytes()
}

/// Bytes of each payload, and of all segments of a flow together.
pub(crate) const LENGTH: usize = 700;

/// Segments of a flow: as many as pass before its block must be complete.
pub(crate) const SEGMENTS: usize = 16;

/// Payloads that are kept of each configuration.
pub(crate) const KEPT: usize = 2;

/// Words of secrets.
pub(crate) const WORDS: [&str; 20] = [
    "anchor", "basket", "candle", "dragon", "engine", "falcon", "garden", "hammer", "island", "jacket",
    "kettle", "ladder", "magnet", "needle", "orange", "pepper", "rocket", "saddle", "timber", "violin",
];

const PLACES: [&str; 6] =
    ["headers", "from-display-name", "contact-instance", "user-agent", "request-uri", "header:X-Door"];

const FLOW_PLACES: [&str; 3] = ["anywhere", "from-display-name", "user-agent"];

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/core/worst");
