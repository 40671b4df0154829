use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::knock::{KnockSet, Part, Payload, Secret};

fn knock(part: Part, secret: &[u8]) -> Knock {
    Knock { part, ..Knock::new("k", Secret::new(secret).unwrap(), Duration::from_secs(4000)) }
}

fn matches(knocks: &[Knock], payload: &[u8]) -> bool {
    let set = KnockSet::new(knocks.to_vec()).unwrap();
    !set.matched("192.0.2.1".parse().unwrap(), Payload::Datagram(payload)).is_empty()
}

/// Whether the packet reaches user space.
fn passes(filter: &GramFilter, payload: &[u8]) -> bool {
    filter.may_hold(payload) || filter.escapes() && payload.contains(&b'\\')
}

/// A message whose From has this display name as it stands here.
fn register(display: &str) -> Vec<u8> {
    format!(
        "REGISTER sip:pbx.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.5:5060;branch=z9hG4bK5f1c\r\n\
         From: {display} <sip:100@pbx.example>;tag=8c2a\r\nTo: <sip:100@pbx.example>\r\nCall-ID: 1d0f@192.168.1.5\r\n\
         CSeq: 2 REGISTER\r\nContact: <sip:100@192.168.1.5>;+sip.instance=\"<URN:UUID:9D1F2B60>\"\r\n\
         User-Agent: Yealink SIP-T46S\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn a_knock_is_seen_however_it_is_written() {
    let display = Part::FromDisplayName;
    let folding = knock(display.clone(), b"Front Desk mykn0ckstr1ng");
    let quoted = knock(display.clone(), b"say \"mykn0ck\" to me");
    let blank = knock(Part::Headers, b"  ");
    for (name, knock, payload) in [
        ("plain", knock(Part::Anywhere, b"mykn0ckstr1ng"), register("\"mykn0ckstr1ng\"")),
        ("folded at both spaces", folding.clone(), register("\"Front\r\n Desk \r\n\t mykn0ckstr1ng\"")),
        ("not folded", folding, register("\"Front Desk mykn0ckstr1ng\"")),
        ("escaped", quoted.clone(), register(r#""say \"mykn0ck\" to me""#)),
        ("each byte escaped", quoted, register(r#""\s\a\y\ \"\m\y\k\n\0\c\k\"\ \t\o me""#)),
        ("nothing but spaces", blank, register("\"a\r\n \r\n b\"")),
        ("in another case", knock(Part::ContactInstance, b"urn:uuid:9d1f2b60"), register("x")),
        ("one byte", knock(Part::Anywhere, b"~"), register("\"~\"")),
        (
            "four bytes, at the end",
            knock(Part::Anywhere, b"7a!e"),
            [register("x"), b"7a!e".to_vec()].concat(),
        ),
        ("alone", knock(Part::Anywhere, b"mykn0ckstr1ng"), b"mykn0ckstr1ng".to_vec()),
        ("repetitive", knock(Part::Anywhere, &[b'a'; 60]), [b'a'; 60].to_vec()),
    ] {
        assert!(matches(std::slice::from_ref(&knock), &payload), "{name}: the matcher finds it");
        assert!(passes(&GramFilter::new([&knock]), &payload), "{name}");
    }
}

#[test]
fn strangers_are_told_apart() {
    let knocks =
        ["mykn0ckstr1ng", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "k7h2m9x4", "Blue-Window-42"];
    let knocks = knocks.map(|secret| knock(Part::Anywhere, secret.as_bytes()));
    let filter = GramFilter::new(&knocks);
    assert!(!filter.escapes() && !filter.everything());
    for display in ["", "\"Alice\"", "mykn0x", "\"a\\\"b\"", "k7h-m9x4"] {
        assert!(!passes(&filter, &register(display)), "{display:?}");
    }
    assert!(
        !passes(&GramFilter::new([]), &register("mykn0ckstr1ng")),
        "without knocks there is nothing to find"
    );
    let quoted = knock(Part::FromDisplayName, b"say \"mykn0ck\" to me");
    assert!(passes(&GramFilter::new([&quoted]), &register("\"\\x\"")), "a pair that may hide one");
    assert!(!passes(&GramFilter::new([&quoted]), &register("\"x\"")));
}

#[test]
fn levels_suit_their_knocks() {
    let level = |count: usize, length: usize| {
        let knocks: Vec<_> =
            (0..count).map(|n| knock(Part::Anywhere, format!("{n:0length$}").as_bytes())).collect();
        let filter = GramFilter::new(&knocks);
        let level = filter.long.or(filter.short).unwrap();
        (level.q(), level.stride(), level.first().bytes().len(), level.second().words().len())
    };
    for (count, length, expected) in [
        (1, 45, (8, 32, 1 << 16, 512)),
        (1, 36, (5, 32, 1 << 16, 512)),
        (1, 20, (5, 16, 1 << 16, 512)),
        (1, 13, (6, 8, 1 << 16, 512)),
        (1, 12, (8, 4, 1 << 16, 512)),
        (256, 13, (6, 8, 1 << 16, 1_024)),
        (1_000, 13, (6, 8, 1 << 18, 4_096)),
        (1_001, 45, (8, 32, 1 << 18, 16_384)),
        (10_000, 45, (8, 32, 1 << 18, 1 << 17)),
        (10_000, 20, (8, 8, 1 << 18, 1 << 16)),
        (50_000, 13, (6, 8, 1 << 20, 1 << 17)),
    ] {
        assert_eq!(level(count, length), expected, "{count} knocks of {length} bytes");
    }
}

#[test]
fn costs_name_the_dear_ones() {
    let knocks = [
        knock(Part::Anywhere, b"mykn0ckstr1ng"),
        knock(Part::FromDisplayName, b"Ann Lee Smith Jones"),
        knock(Part::Anywhere, b"Ann Lee Smith Jones"),
        knock(Part::Headers, b"  "),
    ];
    assert_eq!(GramFilter::costs(&knocks), Costs { long: 2, short: 0, everything: 2 });
}

#[test]
fn secrets_are_not_shown() {
    let filter = GramFilter::new(&[knock(Part::Anywhere, b"mykn0ckstr1ng")]);
    let shown = format!("{filter:?}");
    assert!(shown.len() < 400 && shown.contains("Bytes(65536 bytes)"), "{shown}");
}

/// A knock's secret, its part, and how a phone writes it.
#[derive(Clone, Debug)]
struct Written {
    part: usize,
    secret: String,
    ignore_case: bool,
    /// At each byte of the secret: 0 leaves it, 1 folds a space, 2 escapes the byte, 3 swaps the case.
    marks: Vec<u8>,
}

fn written() -> impl Strategy<Value = Written> {
    let secret = prop_oneof![
        4 => "[a-z0-9]{8,40}",
        1 => "[a-c]{1,12}",
        2 => "[A-Za-z ]{6,30}",
        1 => "[a-z\"\\\\ ]{8,30}",
        1 => "(ab){2,20}",
        1 => "urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}",
        1 => "[ \t]{1,4}[a-z]{0,9}",
    ];
    let marks = prop_oneof![3 => Just(vec![0]), 4 => prop::collection::vec(0..4u8, 1..40)];
    (0..PARTS.len(), secret, any::<bool>(), marks).prop_map(|(part, secret, ignore_case, marks)| Written {
        part,
        secret,
        ignore_case,
        marks,
    })
}

const PARTS: [&str; 7] = [
    "anywhere",
    "headers",
    "from-display-name",
    "contact-instance",
    "user-agent",
    "request-uri",
    "header:X-Door",
];

impl Written {
    fn knock(&self) -> Knock {
        let part = Part::parse(PARTS[self.part]).unwrap();
        Knock { ignore_case: self.ignore_case, ..knock(part, self.secret.as_bytes()) }
    }

    fn text(&self) -> String {
        let quoted = matches!(PARTS[self.part], "from-display-name" | "contact-instance");
        let mut text = String::new();
        for (at, letter) in self.secret.chars().enumerate() {
            match (self.marks[at % self.marks.len()], letter) {
                (1, ' ') => text.push_str(["\r\n ", " \r\n\t", "\n  "][at % 3]),
                (2, _) if quoted => text.extend(['\\', letter]),
                (_, '"' | '\\') if quoted => text.extend(['\\', letter]),
                (3, _) if letter.is_ascii_lowercase() => text.push(letter.to_ascii_uppercase()),
                _ => text.push(letter),
            }
        }
        text
    }

    /// A message with it in its part, and something in front of it.
    fn message(&self, shift: usize) -> Vec<u8> {
        let text = self.text();
        let at = |part: &str| if PARTS[self.part] == part { text.as_str() } else { "x" };
        let shift = "s".repeat(shift);
        format!(
            "REGISTER {} SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.5;branch={shift}\r\nFrom: \"{}\" <sip:1@pbx>;tag=8c\r\n\
             To: <sip:1@pbx>\r\nContact: <sip:1@192.168.1.5>;+sip.instance=\"<{}>\"\r\nUser-Agent: {}\r\nX-Door: {}\r\n\
             X-Any: {}\r\n\r\n{}",
            at("request-uri"),
            at("from-display-name"),
            at("contact-instance"),
            at("user-agent"),
            at("header:X-Door"),
            at("headers"),
            at("anywhere"),
        )
        .into_bytes()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A datagram in which the matcher finds a knock passes, among whatever other knocks.
    #[test]
    fn no_knock_is_missed(
        all in prop::collection::vec(written(), 1..8),
        shift in 0..70_usize,
        cut in any::<prop::sample::Index>(),
    ) {
        let knocks: Vec<_> = all.iter().map(Written::knock).collect();
        let filter = GramFilter::new(&knocks);
        let set = KnockSet::new(knocks).unwrap();
        for written in &all {
            let message = written.message(shift);
            for payload in [&message[..], message.get(cut.index(message.len())..).unwrap()] {
                let found = set.matched("192.0.2.1".parse().unwrap(), Payload::Datagram(payload));
                prop_assert!(
                    found.is_empty() || passes(&filter, payload),
                    "{} in {:?}", written.secret, String::from_utf8_lossy(payload)
                );
            }
        }
    }

    /// Bytes of any kind, and the knocks among them at each place of a word.
    #[test]
    fn no_bytes_are_missed(
        secrets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 1..20),
        before in prop::collection::vec(any::<u8>(), 0..70),
        behind in prop::collection::vec(any::<u8>(), 0..10),
        which in any::<prop::sample::Index>(),
    ) {
        let knocks: Vec<_> = secrets.iter().map(|secret| knock(Part::Anywhere, secret)).collect();
        let payload = [before, which.get(&secrets).clone(), behind].concat();
        prop_assert!(passes(&GramFilter::new(&knocks), &payload));
    }
}
