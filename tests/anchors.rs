//! Where a knock must stand: tables of messages for each part that `in` names, and the torture tests of RFC 4475.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "anchors/anywhere.rs"]
mod anywhere;
#[path = "anchors/captured.rs"]
mod captured;
#[path = "anchors/contact_instance.rs"]
mod contact_instance;
#[path = "anchors/from_display_name.rs"]
mod from_display_name;
#[path = "anchors/header.rs"]
mod header;
#[path = "anchors/headers.rs"]
mod headers;
#[allow(dead_code)]
#[path = "../src/testing.rs"]
mod packets;
#[path = "anchors/request_uri.rs"]
mod request_uri;
#[path = "anchors/rows.rs"]
mod rows;
#[path = "anchors/torture.rs"]
mod torture;
#[path = "anchors/user_agent.rs"]
mod user_agent;
#[path = "anchors/whole.rs"]
mod whole;

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use rows::Row;
use sipknock::inspect::{Inspector, Policy};
use sipknock::knock::{Knock, KnockSet, Part, Payload, Secret};
use sipknock::sip::{Message, QuotedPairs, addresses, complete_fields, messages};
use sipknock::time::Time;
use sipknock::verdict::Reason;

/// Every word of `in`, with its messages.
fn tables() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("anywhere", anywhere::table()),
        ("headers", headers::table()),
        ("from-display-name", from_display_name::table()),
        ("contact-instance", contact_instance::table()),
        ("user-agent", user_agent::table()),
        ("request-uri", request_uri::table()),
        ("header:X-Door", header::x_door()),
        ("header:Contact", header::contact()),
        ("header:f", header::from()),
        ("header:CALL-id", header::call_id()),
    ]
}

/// What the gate says: whether a datagram with this payload knocks.
fn counts(part: &Part, secret: &[u8], payload: &[u8]) -> bool {
    let set = KnockSet::new(vec![knock(part, secret)]).unwrap();
    !set.matched(IpAddr::from(PHONE), Payload::Datagram(payload)).is_empty()
}

fn knock(part: &Part, secret: &[u8]) -> Knock {
    let secret = Secret::new(part.secret(secret).expect("a secret")).unwrap();
    Knock { part: part.clone(), ..Knock::new("a", secret, Duration::from_secs(100)) }
}

/// The same by the part's texts alone, each searched from its beginning.
fn in_texts(part: &Part, secret: &[u8], payload: &[u8]) -> bool {
    let secret = part.secret(secret).expect("a secret");
    if *part == Part::Anywhere {
        return holds(payload, &secret, false);
    }
    let mut found = false;
    if let Some(message) = Message::parse(payload) {
        let pairs = part.pairs(&secret);
        part.texts(&message, pairs, &mut |text| found |= holds(text, &secret, part.ignores_case()));
    }
    found
}

fn holds(text: &[u8], secret: &[u8], ignore_case: bool) -> bool {
    let same =
        |window: &[u8]| if ignore_case { window.eq_ignore_ascii_case(secret) } else { window == secret };
    text.windows(secret.len()).any(same)
}

#[test]
fn a_knock_counts_in_its_part() {
    let mut wrong = String::new();
    for (word, rows) in tables() {
        let part = Part::parse(word).unwrap();
        for Row { why, secret, message, counts: expected } in &rows {
            let secret = secret.as_bytes();
            for (by, found) in
                [("texts", in_texts(&part, secret, message)), ("gate", counts(&part, secret, message))]
            {
                if found != *expected {
                    writeln!(wrong, "{word}: {why}: {found} by {by}: {}", message.escape_ascii()).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Over TCP, cut in two anywhere, a message gets in that would get in as a datagram, and no other.
#[test]
fn a_knock_counts_in_its_part_wherever_tcp_is_cut() {
    let (mut tried, mut wrong) = (0, String::new());
    for (word, rows) in tables() {
        let part = Part::parse(word).unwrap();
        for Row { why, secret, message, counts } in &rows {
            // Of what is no SIP a stranger gets nothing through, so that it is not searched further; and behind a
            // message TCP may have another one, where UDP has nothing.
            let block = Message::parse(message).map_or(0, |message| message.block().len());
            // One that breaks off is never complete, and CR CR LF is a blank line for some.
            let odd = block == message.len() || message.windows(3).any(|window| window == b"\r\r\n");
            if odd || messages(message).count() != 1 {
                continue;
            }
            tried += 1;
            let set = KnockSet::new(vec![knock(&part, secret.as_bytes())]).unwrap();
            // One gate for all cuts, each of them by another stranger.
            let gate = Inspector::new(Policy::default(), set, message.len());
            for cut in (1..message.len()).filter(|cut| message.len() - cut >= 2 || *cut <= block) {
                let (first, second) = message.split_at(cut);
                let cut_at = u32::try_from(cut).unwrap();
                let (next, phone) = (100 + cut_at, Ipv4Addr::from_bits(FIRST_PHONE + cut_at));
                let decide = |packet: &[u8]| gate.inspect(Time::default(), packet).reason;
                let reasons = [(99, SYN, &b""[..]), (100, 0, first), (next, 0, second)]
                    .map(|(sequence, flags, payload)| decide(&segment(phone, sequence, flags, payload)));
                let opened = reasons.contains(&Reason::Knock);
                // A body that comes later than the block comes too late.
                if opened != *counts && !(word == "anywhere" && cut >= block) {
                    writeln!(wrong, "{word}: {why}: {reasons:?}, cut at {cut}").unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty() && tried > 200, "{tried} tried, {wrong}");
}

/// An IPv4 packet with a TCP segment from a phone.
fn segment(phone: Ipv4Addr, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    packets::ipv4(&phone.to_string(), &packets::tcp_at(sequence, flags, payload))
}

/// A row can only fail where the secret might have been found: in some other part, in another case, and so on.
#[test]
fn the_tables_are_worth_something() {
    for (word, rows) in tables() {
        let least = if word.starts_with("header:") && word != "header:X-Door" { 6 } else { 25 };
        assert!(rows.len() >= least, "{word}: {} messages", rows.len());
        assert!(rows.iter().any(|row| row.counts) && rows.iter().any(|row| !row.counts), "{word}");
        if word != "anywhere" {
            let elsewhere = |row: &&Row| !row.counts && holds(&row.message, row.secret.as_bytes(), true);
            let wrong = rows.iter().filter(elsewhere).count();
            let right = rows.iter().filter(|row| !row.counts).count();
            assert!(wrong * 4 >= right * 3, "{word}: {wrong} of {right}");
        }
        let mut whys: Vec<_> = rows.iter().map(|row| row.why).collect();
        whys.sort_unstable();
        whys.dedup();
        assert_eq!(whys.len(), rows.len(), "{word}: two rows of one name");
    }
}

/// Over TCP the first message of a payload is found where a datagram's is.
#[test]
fn the_first_message_of_a_stream_is_read_alike() {
    for (word, rows) in tables() {
        let part = Part::parse(word).unwrap();
        for Row { why, message, .. } in &rows {
            let texts = |message: Option<Message<'_>>| {
                let mut texts = Vec::new();
                message.iter().for_each(|message| {
                    part.texts(message, QuotedPairs::Kept, &mut |text| texts.push(text.to_vec()))
                });
                texts
            };
            assert_eq!(texts(messages(message).next()), texts(Message::parse(message)), "{word}: {why}");
        }
    }
}

/// What a growing message's complete fields hold, no byte that follows can take away; and once its block is complete,
/// all is there.
#[test]
fn what_counts_early_still_counts_in_the_end() {
    for (word, rows) in tables() {
        let part = Part::parse(word).unwrap();
        for Row { why, secret, message, counts } in rows.iter().filter(|_| word != "anywhere") {
            let mut early = false;
            for cut in 0..=message.len() {
                let complete = complete_fields(&message[..cut]);
                assert!(complete <= cut);
                early = in_texts(&part, secret.as_bytes(), &message[..complete]);
                assert!(*counts || !early, "{word}: {why}: {}", message[..complete].escape_ascii());
            }
            let block = Message::parse(message).map(|message| message.block()).unwrap_or_default();
            let ended = message.windows(block.len().max(1)).position(|window| window == block);
            if ended.is_some_and(|at| at + block.len() < message.len()) {
                assert_eq!(early, *counts, "{word}: {why}");
            }
        }
    }
}

/// Whatever breaks off, wherever, and whatever is lost in it: nothing panics.
#[test]
fn damaged_messages_are_read() {
    let parts: Vec<_> = tables().iter().map(|(word, _)| Part::parse(word).unwrap()).collect();
    for (_, rows) in tables() {
        for Row { message, .. } in rows {
            for cut in 0..message.len() {
                read(&message[..cut], &parts);
                let mut lost = message.clone();
                lost.remove(cut);
                read(&lost, &parts);
            }
        }
    }
}

fn read(payload: &[u8], parts: &[Part]) {
    for message in messages(payload) {
        parts.iter().for_each(|part| part.texts(&message, QuotedPairs::Undone, &mut |_| {}));
        let _ = message.registration();
    }
}

/// The torture tests of RFC 4475, and the forms they have, in messages of our own.
#[test]
fn torture() {
    for case in torture::OWN {
        check(case.name, rows::lines(case.message).as_bytes(), &case.expected);
    }
}

#[test]
fn torture_of_rfc_4475() {
    let Some(corpus) = env::var_os(CORPUS) else {
        eprintln!("skipped: {CORPUS} is not set");
        return;
    };
    let mut known = 0;
    for entry in fs::read_dir(Path::new(&corpus).join("raw")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(name) = name.strip_prefix("rfc4475_").and_then(|name| name.strip_suffix(".dat")) else {
            continue;
        };
        let payload = fs::read(&path).unwrap();
        match torture::REFERENCE.iter().find(|(known, _)| *known == name) {
            Some((_, expected)) => check(name, &payload, expected),
            None => panic!("{name} is not in the reference list"),
        }
        let parts: Vec<_> = tables().iter().map(|(word, _)| Part::parse(word).unwrap()).collect();
        (0..=payload.len()).for_each(|cut| read(&payload[..cut], &parts));
        known += 1;
    }
    assert!(known > 0, "no rfc4475_*.dat in {}", Path::new(&corpus).join("raw").display());
    println!("{known} messages of RFC 4475");
}

fn check(name: &str, payload: &[u8], expected: &torture::Expected) {
    let message = Message::parse(payload).unwrap_or_else(|| panic!("{name}: not a message"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let texts = |word: &str| {
        let mut texts = Vec::new();
        Part::parse(word).unwrap().texts(&message, QuotedPairs::Undone, &mut |found| texts.push(text(found)));
        texts
    };
    let from = message.header("From").and_then(|value| addresses(value).next());
    assert_eq!(message.method().map(text).as_deref(), expected.method, "{name}");
    assert_eq!(
        from.and_then(|from| from.display_name()).map(|name| text(&name)).as_deref(),
        expected.from,
        "{name}"
    );
    assert_eq!(texts("from-display-name"), Vec::from_iter(expected.from.map(str::to_owned)), "{name}");
    assert_eq!(texts("contact-instance"), Vec::from_iter(expected.instance.map(str::to_owned)), "{name}");
    assert_eq!(messages(payload).count(), expected.messages, "{name}");
}

const PHONE: [u8; 4] = [203, 0, 113, 7];

/// 10.0.0.0, behind which there are enough for each byte of a message.
const FIRST_PHONE: u32 = 10 << 24;

const SYN: u8 = 2;

/// The folder with foreign messages, under `raw/`.
const CORPUS: &str = "SIPKNOCK_CORPUS";
