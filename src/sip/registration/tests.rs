use super::*;

const URN: &str = "urn:uuid:00000000-0000-1000-8000-aabbccddeeff";

#[test]
fn how_long_and_for_whom() {
    for (fields, expires, all) in [
        ("Contact: <sip:a@c>;expires=60", 60, false),
        ("m: <sip:a@c>;expires=60", 60, false),
        ("Contact: <sip:a@c>;Expires = 60\r\nExpires: 90", 60, false),
        ("Contact: <sip:a@c>;expires=\"60\"", 60, false),
        ("Contact: sip:a@c;expires=60", 60, false),
        ("Contact: <sip:a@c;expires=60>\r\nExpires: 90", 90, false),
        ("Contact: <sip:a@c>\r\nExpires: 90", 90, false),
        ("Contact: <sip:a@c>\r\nexpires:\r\n 90", 90, false),
        ("Contact: <sip:a@c>", 3600, false),
        ("Contact: <sip:a@c>;expires=0", 0, false),
        ("Contact: <sip:a@c>\r\nExpires: 0", 0, false),
        ("Contact: <sip:a@c>;expires=0, <sip:a@d>;expires=60", 60, false),
        ("Contact: <sip:a@c>;expires=60\r\nContact: <sip:a@d>;expires=0", 60, false),
        ("Contact: <sip:a@c>;expires=60, <sip:a@d>\r\nExpires: 90", 90, false),
        ("Contact: <sip:a@c>;expires=60, <sip:a@d>", 3600, false),
        ("Contact: *\r\nExpires: 0", 0, true),
        ("m:*\r\nExpires: 0", 0, true),
        ("Contact: *", 3600, true),
        ("Contact: *;expires=5\r\nExpires: 7", 7, true),
        ("Contact: <sip:a@c>;expires=60\r\nContact: *\r\nExpires: 0", 0, true),
        ("Expires: 90", 90, false),
        ("Expires: 0", 0, false),
        ("Subject: no contact", 3600, false),
        ("Contact: <sip:a@c>;expires=soon\r\nExpires: 90", 3600, false),
        ("Contact: <sip:a@c>;expires\r\nExpires: 90", 3600, false),
        ("Contact: <sip:a@c>;expires=-1", 3600, false),
        ("Contact: <sip:a@c>;expires=+1", 3600, false),
        ("Contact: <sip:a@c>;expires=1.5", 3600, false),
        ("Contact: <sip:a@c>;expires=4294967295", u32::MAX, false),
        ("Contact: <sip:a@c>;expires=4294967296", 3600, false),
        ("Contact: <sip:a@c>;expires=280297596632815", 3600, false),
        ("Contact: <sip:a@c>;expires=00000000000000000060", 60, false),
        ("Contact: <sip:a@c>\r\nExpires: 10000000000", 3600, false),
        ("Contact: <sip:a@c>\r\nExpires:", 3600, false),
        ("Contact: <sip:a@c>\r\nExpires: 90\r\nExpires: 91", 90, false),
    ] {
        let payload = format!("REGISTER sip:b SIP/2.0\r\nTo: \"A\" <sip:a@b;x=y>;z=1\r\n{fields}\r\n\r\n");
        let registration = Message::parse(payload.as_bytes()).unwrap().registration().unwrap();
        let contact = registration.contact;
        let expected = Registration { expires, aor: b"sip:a@b;x=y", contact, all };
        assert_eq!(registration, expected, "{fields}");
    }
}

#[test]
fn who_registers() {
    for (to, aor) in [
        ("To: <sip:a@b>", "sip:a@b"),
        ("t: sip:a@b;tag=1", "sip:a@b"),
        ("To: \"Door <sip:x@y>\" <sip:a@b>", "sip:a@b"),
        ("To: <sip:a@[2001:db8::1]>\r\nTo: <sip:c@d>", "sip:a@[2001:db8::1]"),
        ("To:", ""),
        ("From: <sip:a@b>", ""),
    ] {
        let payload = format!("REGISTER sip:b SIP/2.0\r\n{to}\r\n\r\n");
        let registration = Message::parse(payload.as_bytes()).unwrap().registration().unwrap();
        assert_eq!(registration.aor, aor.as_bytes(), "{to}");
    }
}

#[test]
fn each_contact_for_itself() {
    for (fields, expected) in [
        (
            format!("Contact: <sip:a@c>;+sip.instance=\"<{URN}>\";reg-id=1"),
            vec![("sip:a@c", Some(URN), Some("1"), 3600)],
        ),
        (
            format!("m: <sip:a@c>;reg-id=\"2\";+sip.instance=\"<{URN}>\";expires=60\r\nExpires: 90"),
            vec![("sip:a@c", Some(URN), Some("2"), 60)],
        ),
        (
            format!("Contact: <sip:a@c>, <sip:a@d>;+sip.instance=\"<{URN}>\"\r\nExpires: 90"),
            vec![("sip:a@c", None, None, 90), ("sip:a@d", Some(URN), None, 90)],
        ),
        (
            "Contact: <sip:a@c>\r\nContact: <sip:a@d>;expires=0\r\nExpires: 90".into(),
            vec![("sip:a@c", None, None, 90), ("sip:a@d", None, None, 0)],
        ),
        (
            format!("Contact: <sip:a@c;+sip.instance={URN};reg-id=1>"),
            vec![(
                "sip:a@c;+sip.instance=urn:uuid:00000000-0000-1000-8000-aabbccddeeff;reg-id=1",
                None,
                None,
                3600,
            )],
        ),
        ("Contact: *\r\nExpires: 0".into(), vec![("*", None, None, 0)]),
        ("Expires: 0".into(), vec![]),
    ] {
        let payload = format!("REGISTER sip:b SIP/2.0\r\n{fields}\r\n\r\n");
        let message = Message::parse(payload.as_bytes()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let contacts: Vec<_> = message
            .contacts()
            .map(|contact| {
                let [instance, flow] =
                    [&contact.instance, &contact.reg_id].map(|part| part.as_deref().map(text));
                (text(contact.uri), instance, flow, contact.expires)
            })
            .collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(uri, instance, flow, expires)| {
                (uri.to_owned(), instance.map(str::to_owned), flow.map(str::to_owned), expires)
            })
            .collect();
        assert_eq!(contacts, expected, "{fields}");
    }
}

#[test]
fn what_is_no_registration() {
    for start in ["INVITE sip:b SIP/2.0", "register sip:b SIP/2.0", "SIP/2.0 200 OK"] {
        let payload = format!("{start}\r\nContact: <sip:a@c>;expires=60\r\nCSeq: 1 REGISTER\r\n\r\n");
        assert_eq!(Message::parse(payload.as_bytes()).unwrap().registration(), None, "{start}");
    }
}
