use std::hash::{BuildHasher, RandomState};

use super::*;

#[test]
fn words_of_the_config() {
    for (word, part) in [
        ("anywhere", Part::default()),
        ("headers", Part::Headers),
        ("from-display-name", Part::FromDisplayName),
        ("contact-instance", Part::ContactInstance),
        ("user-agent", Part::UserAgent),
        ("request-uri", Part::RequestUri),
        ("header:X-Door", Part::Header(HeaderName::new("X-Door").unwrap())),
        ("header:f", Part::Header(HeaderName::new("f").unwrap())),
    ] {
        assert_eq!(Part::parse(word).unwrap(), part);
        assert_eq!(part.to_string(), word);
    }
}

#[test]
fn words_that_are_none() {
    for (word, why) in [
        ("", "\"headers\""),
        ("body", "\"header:X-Door\""),
        ("Headers", "\"headers\""),
        (" headers", "\"headers\""),
        ("header", "\"header:X-Door\""),
        ("Header:From", "\"header:X-Door\""),
        ("header:", "header field's name"),
        ("header: From", "header field's name"),
        ("header:From:", "header field's name"),
        ("header:Türe", "header field's name"),
    ] {
        let error = Part::parse(word).unwrap_err();
        assert!(error.contains(why), "{word:?}: {error}");
    }
}

#[test]
fn the_same_header_field() {
    let part = |name: &str| Part::parse(&format!("header:{name}")).unwrap();
    let hasher = RandomState::new();
    for (one, other, same) in [
        ("From", "from", true),
        ("From", "f", true),
        ("F", "f", true),
        ("From", "To", false),
        ("q", "Q", true),
    ] {
        let (one, other) = (part(one), part(other));
        assert_eq!(one == other, same, "{one} {other}");
        assert_eq!(hasher.hash_one(&one) == hasher.hash_one(&other), same, "{one} {other}");
    }
}

#[test]
fn texts_of_each_part() {
    let payload = "\r\nREGISTER sip:pbx;x=y SIP/2.0\r\n\
        From: \"The \\\"Door\\\"\" <sip:a@b>\r\n\
        f: Some\r\n  one<sip:c@d>\r\n\
        FROM: <sip:nameless@b>\r\n\
        Contact: <sip:a@c>;+sip.instance=\"<urn:x>\", <sip:a@d>\r\n\
        m: sip:e;+sip.instance=\"<URN:\\y>\"\r\n\
        User-Agent: Handset/7\r\n\
        User-agent : Second\r\n hand\r\n\
        X-Door:\r\n\
        X-Door: a  b\r\n\
        \r\n\
        X-Door: body";
    let block = &payload[2..payload.len() - 14];
    let message = Message::parse(payload.as_bytes()).unwrap();
    let unfolded = block.replace("\r\n  one", " one").replace("\r\n hand", " hand");
    for (word, expected) in [
        ("anywhere", &[][..]),
        ("headers", &[block, unfolded.as_str()]),
        ("from-display-name", &["The \"Door\"", "Some one"]),
        ("contact-instance", &["urn:x", "URN:y"]),
        ("user-agent", &["Handset/7", "Second hand"]),
        ("request-uri", &["sip:pbx;x=y"]),
        ("header:x-door", &["", "a  b"]),
        ("header:User-Agent", &["Handset/7", "Second hand"]),
        ("header:t", &[]),
        (
            "header:M",
            &["<sip:a@c>;+sip.instance=\"<urn:x>\", <sip:a@d>", "sip:e;+sip.instance=\"<URN:\\y>\""],
        ),
    ] {
        let mut found = Vec::new();
        let part = Part::parse(word).unwrap();
        part.texts(&message, QuotedPairs::Undone, &mut |text| {
            found.push(String::from_utf8(text.to_vec()).unwrap())
        });
        assert_eq!(found, expected, "{word}");
    }
}

#[test]
fn quoted_pairs_are_undone_for_secrets_that_phones_escape() {
    let payload = b"REGISTER sip:a SIP/2.0\r\n\
        From: \"The \\\"Door\\\" of\r\n \\Alice\" <sip:a@b>\r\n\
        Contact: <sip:a@c>;+sip.instance=\"<urn:\\x>\"\r\n\
        User-Agent: \"\\a\"\r\n\r\n";
    let message = Message::parse(payload).unwrap();
    for (word, secret, expected) in [
        ("from-display-name", "The \"Door\"", "The \"Door\" of Alice"),
        ("from-display-name", "The\\Door", "The \"Door\" of Alice"),
        ("from-display-name", "The Door", "The \\\"Door\\\" of \\Alice"),
        ("contact-instance", "urn:\\x", "urn:x"),
        ("contact-instance", "urn:x", "urn:\\x"),
        ("user-agent", "\"a\"", "\"\\a\""),
    ] {
        let part = Part::parse(word).unwrap();
        let mut found = Vec::new();
        let pairs = part.pairs(secret.as_bytes());
        part.texts(&message, pairs, &mut |text| found.push(String::from_utf8(text.to_vec()).unwrap()));
        assert_eq!(found, [expected], "{word} {secret}");
    }
}

#[test]
fn a_response_has_no_request_uri() {
    let message = Message::parse(b"SIP/2.0 200 OK\r\n\r\n").unwrap();
    Part::RequestUri.texts(&message, QuotedPairs::Kept, &mut |text| panic!("{}", text.escape_ascii()));
}

#[test]
fn secrets_as_they_are_typed() {
    for (word, typed, secret) in [
        ("contact-instance", "urn:x", Some("urn:x")),
        ("contact-instance", "<urn:x>", Some("urn:x")),
        ("contact-instance", "\"<urn:x>\"", Some("urn:x")),
        ("contact-instance", "\"urn:x\"", Some("urn:x")),
        ("contact-instance", "urn:x>\"", Some("urn:x")),
        ("contact-instance", "\"<>\"", None),
        ("contact-instance", "", None),
        ("from-display-name", "\"<Door>\"", Some("\"<Door>\"")),
        ("anywhere", "\"<urn:x>\"", Some("\"<urn:x>\"")),
        ("header:Contact", "<urn:x>", Some("<urn:x>")),
        ("headers", "", None),
    ] {
        let part = Part::parse(word).unwrap();
        assert_eq!(part.secret(typed.as_bytes()).as_deref(), secret.map(str::as_bytes), "{word} {typed}");
    }
}
