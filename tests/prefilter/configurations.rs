//! Knocks of every kind.

use std::time::Duration;

use sipknock::knock::{Knock, Part, Secret};

use crate::dice::Dice;

pub(crate) struct Configuration {
    pub(crate) name: &'static str,
    pub(crate) knocks: Vec<Knock>,
}

/// A knock that stands in a part.
pub(crate) fn knock(part: &str, secret: &str) -> Knock {
    let secret = Secret::new(secret.as_bytes()).unwrap();
    Knock { part: Part::parse(part).unwrap(), ..Knock::new("k", secret, Duration::from_secs(4000)) }
}

fn anywhere<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Vec<Knock> {
    secrets.into_iter().map(|secret| knock("anywhere", secret)).collect()
}

fn many(name: &str, count: usize, make: impl Fn(&mut Dice) -> String) -> Vec<Knock> {
    let mut dice = Dice::new(name);
    (0..count).map(|_| knock("anywhere", &make(&mut dice))).collect()
}

pub(crate) fn uuid(dice: &mut Dice) -> String {
    let mut hex = |length| dice.text("0123456789abcdef", length);
    format!("urn:uuid:{}-{}-4{}-8{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12))
}

fn random(length: usize) -> impl Fn(&mut Dice) -> String {
    move |dice| dice.text("abcdefghijklmnopqrstuvwxyz0123456789", length)
}

pub(crate) fn configurations() -> Vec<Configuration> {
    let ignoring = |knock: Knock| Knock { ignore_case: true, ..knock };
    let mixed = ["7a!e%q3w", "k7h2m9x4", "mykn0ckstr1ng", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"];
    let anchored = [
        knock("contact-instance", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
        knock("from-display-name", "mykn0ckstr1ng"),
        knock("user-agent", "Desk-7-k7h2m9x4"),
        knock("header:X-Door", "0p3nses4me0p3n"),
        knock("request-uri", "sip:k7h2m9x4q3"),
    ];
    let folded = [
        knock("from-display-name", "Front Desk mykn0ckstr1ng"),
        knock("headers", "a k7h2m9x4 b"),
        knock("user-agent", "ab cdefghij kl"),
    ];
    let escaped =
        [knock("from-display-name", "say \"mykn0ck\" to me"), knock("from-display-name", "b\\k7h2m9x4")];
    [
        ("with_one_knock", anywhere(["mykn0ckstr1ng"])),
        ("with_short_knocks", anywhere(["7a!e%q3w", "k7h2m9x4"])),
        ("with_knocks_of_a_few_bytes", anywhere(["k7h2m9x4", "m9x4q3w8tz", "q3w8tz5b6n7"])),
        ("with_repetitive_knocks", anywhere(["aaaaaaaaaaaaaaaa", "abababababababababab", "zzzzzzzz"])),
        ("with_escaped_knocks", escaped.into()),
        ("with_folded_knocks", folded.into()),
        ("with_case_ignored", anywhere(["MyKn0ckStr1ng", "k7H2m9X4"]).into_iter().map(ignoring).collect()),
        ("with_anchored_knocks", anchored.into()),
        ("with_all_kinds", anywhere(mixed)),
        ("with_long_knocks", many("long", 20, random(60))),
        ("with_1000_knocks", many("thousand", 1_000, random(13))),
        ("with_10000_knocks", many("ten thousand", 10_000, random(20))),
        ("with_10000_uuids", many("uuids", 10_000, uuid)),
    ]
    .map(|(name, knocks)| Configuration { name, knocks })
    .into()
}

/// Knocks by their number, and how many packets of strangers in a thousand may be hits.
pub(crate) fn sizes() -> Vec<(String, Vec<Knock>, usize)> {
    let mut sizes = Vec::new();
    for count in [1, 10, 100, 1_000, 10_000] {
        sizes.push((format!("{count} of 13 bytes"), many("13", count, random(13)), 20));
        // At the places between its hyphens a UUID has few digits, which those of strangers share: 34 of a thousand packets
        // are hits, where 20 are the aim.
        let most = if count == 10_000 { 50 } else { 20 };
        sizes.push((format!("{count} UUIDs"), many("uuid", count, uuid), most));
    }
    sizes
}
