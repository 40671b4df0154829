//! `match = "whole"`: the part is the secret and nothing else, whatever else the message holds.

use std::fmt::Write as _;

use super::rows::*;
use super::{PHONE, Payload, knock};
use sipknock::knock::{Extent, Knock, KnockSet, Part, Secret};

/// Every part that has ends, with its messages.
fn tables() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("from-display-name", from_display_name()),
        ("contact-instance", contact_instance()),
        ("user-agent", user_agent()),
        ("request-uri", request_uri()),
        ("header:X-Door", x_door()),
        ("header:Contact", contact()),
    ]
}

fn from_display_name() -> Vec<Row> {
    let from = |value: &str| register(&format!("From: {value}"));
    vec![
        yes("without quotes", DOOR, from("mykn0ckstr1ng <sip:a@b>")),
        yes("in quotes", DOOR, from("\"mykn0ckstr1ng\" <sip:a@b>;tag=1")),
        yes("right at the <", DOOR, from("mykn0ckstr1ng<sip:a@b>")),
        yes("the compact name", DOOR, register("f:mykn0ckstr1ng<sip:a@b>")),
        yes("an escaped quote", "my\"kn0ck\"", from("\"my\\\"kn0ck\\\"\" <sip:a@b>")),
        yes("over a fold", "my kn0ck", from("\"my\n kn0ck\" <sip:a@b>")),
        yes("blanks at its ends, in quotes", DOOR, from("\" mykn0ckstr1ng\t\" <sip:a@b>")),
        yes(
            "twice the same",
            DOOR,
            register("From: mykn0ckstr1ng <sip:a@b>\nf: \"mykn0ckstr1ng\" <sip:c@d>"),
        ),
        yes("beside an address without a name", DOOR, from("mykn0ckstr1ng <sip:a@b>, <sip:c@d>")),
        yes(
            "and more in other parts",
            DOOR,
            register("From: mykn0ckstr1ng <sip:a@b>\nSubject: x mykn0ckstr1ng"),
        ),
        no("a letter escaped, as no phone does", DOOR, from("\"mykn0ck\\str1ng\" <sip:a@b>")),
        no("a word more", DOOR, from("\"Alice mykn0ckstr1ng\" <sip:a@b>")),
        no("a letter more", DOOR, from("mykn0ckstr1ngs <sip:a@b>")),
        no("a letter before", DOOR, from("\"xmykn0ckstr1ng\" <sip:a@b>")),
        no("another case", DOOR, from("\"MYKN0CKSTR1NG\" <sip:a@b>")),
        no("quotes that are escaped, within quotes", DOOR, from("\"\\\"mykn0ckstr1ng\\\"\" <sip:a@b>")),
        no("another name beside it", DOOR, from("mykn0ckstr1ng <sip:a@b>, guess <sip:c@d>")),
        no("another From before it", DOOR, register("From: guess <sip:a@b>\nFrom: mykn0ckstr1ng <sip:a@b>")),
        no("another From behind it", DOOR, register("f: mykn0ckstr1ng <sip:a@b>\nFrom: guess <sip:a@b>")),
        no("an empty name beside it", DOOR, from("mykn0ckstr1ng <sip:a@b>, \"\" <sip:c@d>")),
        no("a longer name beside it", DOOR, from("mykn0ckstr1ng <sip:a@b>, mykn0ckstr1ngs <sip:c@d>")),
        no("in the To", DOOR, register("From: <sip:a@b>\nTo: mykn0ckstr1ng <sip:a@b>")),
    ]
}

fn contact_instance() -> Vec<Row> {
    let contact = |value: &str| register(&format!("From: a <sip:a@b>\nContact: {value}"));
    let upper = URN.to_ascii_uppercase();
    vec![
        yes("in quotes and <>", URN, contact(&format!("<sip:a@c>;+sip.instance=\"<{URN}>\""))),
        yes("in quotes alone", URN, contact(&format!("<sip:a@c>;+sip.instance=\"{URN}\""))),
        yes("without quotes", URN, contact(&format!("<sip:a@c>;+sip.instance=<{URN}>"))),
        yes("bare", URN, contact(&format!("<sip:a@c>;+sip.instance={URN};expires=60"))),
        yes("another case", URN, contact(&format!("<sip:a@c>;+sip.instance=\"<{upper}>\""))),
        yes("the compact name", URN, register(&format!("m: <sip:a@c>;+sip.instance=\"<{URN}>\""))),
        yes(
            "two contacts of one phone (RFC 5626)",
            URN,
            contact(&format!(
                "<sip:a@c>;+sip.instance=\"<{URN}>\";reg-id=1, <sip:a@d>;reg-id=2;+sip.instance=\"<{upper}>\""
            )),
        ),
        yes(
            "beside a contact without an instance",
            URN,
            contact(&format!("<sip:a@c>;expires=0, <sip:a@d>;+sip.instance=\"<{URN}>\"")),
        ),
        no("a digit more", URN, contact(&format!("<sip:a@c>;+sip.instance=\"<{URN}0>\""))),
        no("text before it", URN, contact(&format!("<sip:a@c>;+sip.instance=\"<x{URN}>\""))),
        no("text behind the >", URN, contact(&format!("<sip:a@c>;+sip.instance=\"<{URN}> x\""))),
        no(
            "another instance beside it",
            URN,
            contact(&format!("<sip:a@c>;+sip.instance=\"<urn:x>\", <sip:a@d>;+sip.instance=\"<{URN}>\"")),
        ),
        no(
            "another instance in another Contact",
            URN,
            register(&format!(
                "m: <sip:a@c>;+sip.instance=\"<{URN}>\"\nm: <sip:a@c>;+sip.instance=\"<urn:x>\""
            )),
        ),
    ]
}

fn user_agent() -> Vec<Row> {
    let agent = |value: &str| register(&format!("From: a <sip:a@b>\nUser-Agent:{value}"));
    vec![
        yes("alone", DOOR, agent(" mykn0ckstr1ng")),
        yes("blanks around it", DOOR, agent(" \t mykn0ckstr1ng \t")),
        yes("with a blank in it, folded", "Handset 7Q", agent(" Handset\n 7Q")),
        yes("twice", DOOR, agent("mykn0ckstr1ng\nuser-agent: mykn0ckstr1ng")),
        no("a version behind it", DOOR, agent(" mykn0ckstr1ng/1.0")),
        no("quotes around it, which are the field's own", DOOR, agent(" \"mykn0ckstr1ng\"")),
        no("another beside it", DOOR, agent(" mykn0ckstr1ng\nUser-Agent: x")),
        no("an empty one beside it", DOOR, agent(" mykn0ckstr1ng\nUser-Agent:")),
    ]
}

fn request_uri() -> Vec<Row> {
    let from = "From: a <sip:a@b>";
    vec![
        yes("all of the URI", "sip:mykn0ckstr1ng@pbx", request("sip:mykn0ckstr1ng@pbx", from)),
        yes("no scheme", DOOR, request(DOOR, from)),
        no("the user alone", DOOR, request("sip:mykn0ckstr1ng@pbx", from)),
        no("a parameter more", "sip:mykn0ckstr1ng@pbx", request("sip:mykn0ckstr1ng@pbx;user=phone", from)),
        no("a port more", "sip:mykn0ckstr1ng@pbx", request("sip:mykn0ckstr1ng@pbx:5060", from)),
        no("<> around it", "sip:mykn0ckstr1ng@pbx", request("<sip:mykn0ckstr1ng@pbx>", from)),
    ]
}

fn x_door() -> Vec<Row> {
    let door = |value: &str| register(&format!("From: a <sip:a@b>\nX-Door: {value}"));
    vec![
        yes("alone", DOOR, door(DOOR)),
        yes("the name in another case", DOOR, register("x-dOOR:mykn0ckstr1ng")),
        yes("repeated", DOOR, door("mykn0ckstr1ng\nX-Door: mykn0ckstr1ng")),
        yes("quotes that are part of the secret", "\"mykn0ck\"", door("\"mykn0ck\"")),
        no("quotes around it", DOOR, door("\"mykn0ckstr1ng\"")),
        no("a parameter behind it", DOOR, door("mykn0ckstr1ng;x=1")),
        no("one of a list", DOOR, door("x, mykn0ckstr1ng")),
        no("among others", DOOR, door("one\nX-Door: mykn0ckstr1ng\nX-Door: three")),
    ]
}

fn contact() -> Vec<Row> {
    vec![
        yes("all of the field", "<sip:mykn0ck@c>;q=1", register("m: <sip:mykn0ck@c>;q=1")),
        no("a parameter more", "<sip:mykn0ck@c>", register("Contact: <sip:mykn0ck@c>;expires=60")),
        no("two contacts", "<sip:mykn0ck@c>", register("Contact: <sip:mykn0ck@c>, <sip:x@d>")),
    ]
}

fn whole(part: &Part, secret: &[u8]) -> Knock {
    Knock { extent: Extent::Whole, ..knock(part, secret) }
}

fn counts(knocks: &[Knock], payload: Payload<'_>) -> usize {
    KnockSet::new(knocks.to_vec()).unwrap().matched(PHONE.into(), payload).len()
}

#[test]
fn a_knock_that_is_its_part() {
    let mut wrong = String::new();
    for (word, rows) in tables() {
        let part = Part::parse(word).unwrap();
        for Row { why, secret, message, counts: expected } in &rows {
            let one = whole(&part, secret.as_bytes());
            // Another value may follow as long as the message is not complete.
            for (payload, expected) in [
                (Payload::Datagram(message), *expected),
                (Payload::Stream(message), *expected),
                (Payload::Growing { bytes: message, searched: 0 }, false),
            ] {
                let found = counts(std::slice::from_ref(&one), payload);
                if found != usize::from(expected) {
                    writeln!(wrong, "{word}: {why}: {found}: {}", message.escape_ascii()).unwrap();
                }
            }
            // Within, the same secret counts in almost all of them.
            let within = Knock { extent: Extent::Within, ..one };
            assert!(!expected || counts(&[within], Payload::Datagram(message)) == 1, "{word}: {why}");
        }
        assert!(rows.iter().any(|row| row.counts) && rows.iter().any(|row| !row.counts), "{word}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A message in which every place is another guess is none.
#[test]
fn many_values_in_a_message_are_no_guesses() {
    let names: String = (0..1000).map(|n| format!("k7q9xw2{n:03} <sip:a@b>,")).collect();
    let message = register(&format!("From: {names}k7q9xw2mfz <sip:a@b>"));
    let set = [whole(&Part::FromDisplayName, b"k7q9xw2mfz"), whole(&Part::FromDisplayName, b"k7q9xw2017")];
    assert_eq!(counts(&set, Payload::Datagram(message.as_bytes())), 0);
    let within = set.map(|knock| Knock { extent: Extent::Within, ..knock });
    assert_eq!(counts(&within, Payload::Datagram(message.as_bytes())), 2);
}

/// Both in one set: neither changes what becomes of the other.
#[test]
fn whole_and_within_beside_each_other() {
    let part = Part::FromDisplayName;
    let within = Knock { name: "b".to_owned(), ..knock(&part, b"kn0ckstr") };
    let set = [whole(&part, DOOR.as_bytes()), within];
    for (from, expected) in [
        ("mykn0ckstr1ng <sip:a@b>", 2),
        ("mykn0ckstr1ng <sip:a@b>, mykn0ckstr1ng <sip:c@d>", 2),
        ("mykn0ckstr1ng <sip:a@b>, x <sip:c@d>", 1),
        ("\"x mykn0ckstr1ng\" <sip:a@b>", 1),
        ("x <sip:a@b>", 0),
    ] {
        let message = register(&format!("From: {from}"));
        assert_eq!(counts(&set, Payload::Datagram(message.as_bytes())), expected, "{from}");
    }
}

/// A knock that was typed with the blanks, quotes and `<>` around it, as configurations have it.
#[test]
fn a_secret_is_its_part_as_it_is_typed() {
    let text = "[[knock]]\nname = \"a\"\nsecret = \" mykn0ckstr1ng\\t\"\nin = \"from-display-name\"\nmatch = \"whole\"\n\
                [[knock]]\nname = \"b\"\nsecret = \"\\\"<urn:x-kn0ck>\\\"\"\nin = \"contact-instance\"\nmatch = \"whole\"\n";
    let config =
        sipknock::config::Config::parse(text, std::path::Path::new("x.toml"), &Default::default()).unwrap();
    assert_eq!(config.knocks[0].secret, Secret::new(DOOR.as_bytes()).unwrap());
    let message =
        register("From: mykn0ckstr1ng <sip:a@b>\nContact: <sip:a@b>;+sip.instance=\"<URN:X-Kn0ck>\"");
    assert_eq!(counts(&config.knocks, Payload::Datagram(message.as_bytes())), 2);
}
