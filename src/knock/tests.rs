use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::net::NetSet;

fn knock(name: &str, secret: &[u8]) -> Knock {
    Knock::new(name, Secret::new(secret).unwrap(), Duration::from_secs(4000))
}

fn names(set: &KnockSet, source: &str, payload: &[u8]) -> Vec<String> {
    let found = set.matched(source.parse().unwrap(), Payload::Datagram(payload));
    found.into_iter().map(|found| set.name(found.knock).to_owned()).collect()
}

#[test]
fn every_secret_that_occurs_is_reported_once() {
    let set = KnockSet::new(vec![
        knock("long", b"mykn0ckstr1ng"),
        knock("inside", b"kn0ck"),
        knock("end", b"str1ng"),
        knock("overlap", b"str1ng-and-more"),
        Knock { ignore_case: true, ..knock("folded", b"Door-Keeper") },
        Knock { ignore_case: true, ..knock("folded-inside", b"KEEP") },
    ])
    .unwrap();
    for (payload, expected) in [
        ("", &[][..]),
        ("nothing of interest", &[]),
        ("mykn0ckstr1ng", &["long", "inside", "end"]),
        ("kn0ck kn0ck kn0ck", &["inside"]),
        ("mykn0ckstr1ng-and-more", &["long", "inside", "end", "overlap"]),
        ("MYKN0CKSTR1NG", &[]),
        ("dOOR-kEEPER", &["folded", "folded-inside"]),
        ("keep kn0ck", &["inside", "folded-inside"]),
        ("mykn0ckstr1n", &["inside"]),
    ] {
        assert_eq!(names(&set, "192.0.2.1", payload.as_bytes()), expected, "{payload:?}");
    }
}

#[test]
fn conditions() {
    let net = NetSet::new(&["198.51.100.0/24".parse().unwrap()]);
    let set = KnockSet::new(vec![
        Knock { methods: vec!["REGISTER".into()], ..knock("register", b"s3cret-one") },
        Knock { methods: vec!["INVITE".into(), "OPTIONS".into()], ..knock("two", b"s3cret-two") },
        Knock { sources: Some(net), ..knock("office", b"s3cret-three") },
    ])
    .unwrap();
    let all = "s3cret-one s3cret-two s3cret-three";
    for (source, start, expected) in [
        ("192.0.2.1", "REGISTER sip:a SIP/2.0", &["register"][..]),
        ("192.0.2.1", "INVITE sip:a SIP/2.0", &["two"]),
        ("192.0.2.1", "OPTIONS sip:a SIP/2.0", &["two"]),
        ("192.0.2.1", "register sip:a SIP/2.0", &[]),
        ("192.0.2.1", "SIP/2.0 200 OK", &[]),
        ("192.0.2.1", "not sip at all", &[]),
        ("198.51.100.9", "SIP/2.0 200 OK", &["office"]),
        ("198.51.100.9", "REGISTER sip:a SIP/2.0", &["register", "office"]),
        ("2001:db8::1", "not sip at all", &[]),
    ] {
        let payload = format!("{start}\r\nX: {all}\r\n\r\n");
        assert_eq!(names(&set, source, payload.as_bytes()), expected, "{source} {start}");
    }
}

#[test]
fn ids_follow_the_config_across_both_automata() {
    let knocks: Vec<_> = (0..200)
        .map(|n| Knock {
            ignore_case: n % 3 == 0,
            ..knock(&format!("k{n}"), format!("secret-{n:03}").as_bytes())
        })
        .collect();
    let set = KnockSet::new(knocks).unwrap();
    for n in [0, 1, 99, 100, 101, 198, 199] {
        let payload = format!("...secret-{n:03}...");
        assert_eq!(names(&set, "192.0.2.1", payload.as_bytes()), [format!("k{n}")]);
    }
}

#[test]
fn a_secret_does_not_show() {
    let shown = format!("{:?}", knock("alice", b"mykn0ckstr1ng"));
    assert!(shown.contains("Secret(13 bytes)") && !shown.contains("mykn0ck"), "{shown}");
    assert!(Secret::new(&b""[..]).is_none());
}

#[test]
fn an_empty_set_matches_nothing() {
    let set = KnockSet::new(Vec::new()).unwrap();
    assert!(set.is_empty() && names(&set, "192.0.2.1", b"anything").is_empty());
}

/// Whatever a packet is made of: without a secret in it, its messages are not read.
#[test]
fn a_packet_without_a_secret_is_not_read() {
    let anchored = |name: &str, part: &str, secret: &[u8]| Knock {
        part: Part::parse(part).unwrap(),
        ..knock(name, secret)
    };
    let plain = || {
        vec![
            anchored("name", "from-display-name", b"mykn0ckstr1ng"),
            anchored("instance", "contact-instance", b"urn:uuid:9d1f2b60-4e0b-4c6b-8f43-0242ac120002"),
        ]
    };
    let words = || {
        vec![
            anchored("long", "from-display-name", b"anchor basket candle"),
            anchored("short", "user-agent", b"a b c d"),
            anchored("block", "headers", b"dragon engine"),
        ]
    };
    let quotes = || vec![anchored("quotes", "from-display-name", b"The \"Door\" Keeper")];
    for (what, unit) in [
        ("backslashes", "\\"),
        ("quoted pairs", "\\\""),
        ("escaped letters", "\\m\\y"),
        ("folds", "a\r\n "),
        ("folds of nothing", "\n\t"),
        ("a word", "anchor "),
        ("a word, folded", "anchor\n "),
        ("two words that do not belong together", "anchor\n candle "),
        ("short header fields", "f:a\n"),
        ("contacts", "m:\"\\\"\"<a>\r\n"),
        ("commas", ",\\,"),
    ] {
        for (of, knocks) in [("plain", plain()), ("words", words()), ("quotes", quotes())] {
            let set = KnockSet::new(knocks).unwrap();
            for start in ["", "REGISTER sip:a SIP/2.0\r\n", "REGISTER sip:a SIP/2.0\r\nFrom: \"\\\""] {
                let payload = format!("{start}{}", unit.repeat(700 / unit.len()));
                work::READ.set(0);
                assert!(names(&set, "192.0.2.1", payload.as_bytes()).is_empty(), "{what}: {of}");
                assert_eq!(work::READ.get(), 0, "{what}: {of} {start:?}");
            }
        }
    }
}

/// In a packet with folds, what stands there as it is counts as well, whatever it begins and ends with.
#[test]
fn secrets_beside_folds_are_found() {
    let other = Knock { part: Part::FromDisplayName, ..knock("other", b"some other words") };
    for secret in [
        "abc-def",
        "\tabc-def",
        "  abc-def",
        "abc-def  ",
        "abc-def\t",
        " abc-def ",
        "abc-def\r",
        "abc\r\n  def",
    ] {
        for (before, after) in
            [("x\r\n", "\r\n y"), ("x\n\t", "\n y"), ("x\r\n ", "\r\n\ty"), ("x", "y\r\n z")]
        {
            let set = KnockSet::new(vec![other.clone(), knock("it", secret.as_bytes())]).unwrap();
            let payload = format!("REGISTER sip:a SIP/2.0\r\nSubject: {before}{secret}{after}\r\n\r\n");
            assert_eq!(names(&set, "192.0.2.1", payload.as_bytes()), ["it"], "{payload:?}");
        }
    }
    // Anywhere means as it stands.
    let set = KnockSet::new(vec![other, knock("it", b"abc def")]).unwrap();
    let payload = b"REGISTER sip:a SIP/2.0\r\nSubject: abc\r\n def\r\n\r\n";
    assert!(names(&set, "192.0.2.1", payload).is_empty());
}

/// Folds and pairs that a phone may write are undone; a stranger's packet may be full of them.
#[test]
fn the_first_folds_and_pairs_of_a_packet_are_undone() {
    let anchored = |secret: &[u8]| {
        let part = Part::FromDisplayName;
        KnockSet::new(vec![Knock { part, ..knock("a", secret) }]).unwrap()
    };
    let message = |before: &str, name: &str| {
        format!("REGISTER sip:a SIP/2.0\r\nX: {before}\r\nFrom: \"{name}\" <sip:a@b>\r\n\r\n")
    };
    let long = "0123456789".repeat(4);
    for (count, found) in [(0, true), (MAX_FOLDS - 1, true), (MAX_FOLDS, false), (300, false)] {
        let payload = message(&format!("{long}\r\n ").repeat(count), "my\r\n knock");
        assert_eq!(
            !names(&anchored(b"my knock"), "192.0.2.1", payload.as_bytes()).is_empty(),
            found,
            "{count}"
        );
        // What is not folded is found however many folds there are.
        let payload = message(&format!("{long}\r\n ").repeat(count), "my knock");
        assert!(!names(&anchored(b"my knock"), "192.0.2.1", payload.as_bytes()).is_empty(), "{count}");
    }
    for (count, found) in [(0, true), (MAX_PAIRS - 2, true), (MAX_PAIRS - 1, false), (300, false)] {
        let payload = message(&"\\a".repeat(count), "my \\\"knock\\\"");
        let set = anchored(b"my \"knock\"");
        assert_eq!(!names(&set, "192.0.2.1", payload.as_bytes()).is_empty(), found, "{count}");
    }
}

/// A block that grows is searched where it has grown, and read where a header field has become complete; once it is
/// complete all of it is.
#[test]
fn a_growing_block_is_looked_at_where_it_has_grown() {
    let set = KnockSet::new(vec![
        knock("anywhere", b"0pen-sesame"),
        Knock { part: Part::FromDisplayName, ..knock("from", b"mykn0ckstr1ng") },
        Knock { part: Part::FromDisplayName, ..knock("words", b"anchor basket") },
        Knock { methods: vec!["REGISTER".into()], ..knock("register", b"s3cret-one") },
    ])
    .unwrap();
    let grown = |text: &str, searched: usize| {
        work::READ.set(0);
        let payload = Payload::Growing { bytes: text.as_bytes(), searched };
        let found = set.matched(IpAddr::from([192, 0, 2, 1]), payload);
        let found: Vec<_> = found.into_iter().map(|found| set.name(found.knock).to_owned()).collect();
        (found.join(" "), work::READ.get())
    };
    let start = "REGISTER sip:a SIP/2.0\r\n";
    for (before, new, found, read) in [
        // It straddles what was there.
        ("X: 0pen-ses", "ame", "anywhere", 0),
        ("X: 0pen-sesame and more", "!", "", 0),
        // The field is not complete before the next byte shows that no fold follows.
        ("From: mykn0ckstr1n", "g <sip:a@b>", "", 0),
        ("From: mykn0ckstr1n", "g <sip:a@b>\r\n", "", 0),
        ("From: mykn0ckstr1ng <sip:a@b>\r\n", "T", "from", 1),
        ("From: mykn0ckstr1ng <sip:a@b>\r\n", " ", "", 0),
        ("From: mykn0ckstr1ng <sip:a@b>\r\nT", "o: x", "", 0),
        ("From: anchor\r\n", " basket <sip:a@b>\r\nT", "words", 1),
        ("From: anchor\r\n basket <sip:a@b>\r\nTo: a\r\n", "X", "", 0),
        ("X: s3cret-one\r\n", "T", "register", 1),
        ("X: s3cret-o", "ne", "", 0),
        ("X: a\r\nY: b\r\nFrom: mykn0ckstr1n", "g <sip:a@b>\r\nTo", "from", 1),
    ] {
        let searched = start.len() + before.len();
        assert_eq!(
            grown(&format!("{start}{before}{new}"), searched),
            (found.to_owned(), read),
            "{before:?} {new:?}"
        );
    }
    let whole = format!("{start}From: mykn0ckstr1ng <sip:a@b>\r\nX: 0pen-sesame s3cret-one\r\n\r\n");
    let found = set.matched(IpAddr::from([192, 0, 2, 1]), Payload::Stream(whole.as_bytes()));
    assert_eq!(found.len(), 3);
}

/// Secrets over a small alphabet, so that they overlap, nest and nearly match all the time.
fn secrets() -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
    let secret = prop::collection::vec(prop::sample::select(b"aAbB1".to_vec()), 1..6);
    prop::collection::vec((secret, any::<bool>()), 0..90)
}

fn naive(secret: &[u8], ignore_case: bool, payload: &[u8]) -> bool {
    payload
        .windows(secret.len())
        .any(|window| if ignore_case { window.eq_ignore_ascii_case(secret) } else { window == secret })
}

proptest! {
    #[test]
    fn agrees_with_a_naive_search(
        secrets in secrets(),
        payload in prop::collection::vec(prop::sample::select(b"aAbB12".to_vec()), 0..200),
    ) {
        let knocks = secrets.iter().enumerate();
        let knocks = knocks.map(|(n, (secret, ignore_case))| Knock { ignore_case: *ignore_case, ..knock(&n.to_string(), secret) });
        let set = KnockSet::new(knocks.collect()).unwrap();
        let expected: Vec<_> = (0u32..)
            .zip(&secrets)
            .filter(|(_, (secret, ignore_case))| naive(secret, *ignore_case, &payload))
            .map(|(n, _)| KnockId(n))
            .collect();
        let found = set.matched(IpAddr::from([192, 0, 2, 1]), Payload::Datagram(&payload));
        prop_assert_eq!(found.iter().map(|found| found.knock).collect::<Vec<_>>(), expected);
        for range in set.secret_ranges(&payload) {
            let at = payload.get(range).unwrap();
            prop_assert!(secrets.iter().any(|(secret, _)| secret.eq_ignore_ascii_case(at)));
        }
    }
}
