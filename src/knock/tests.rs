use proptest::prelude::*;

use super::*;

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
