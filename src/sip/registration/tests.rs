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
        let expected = Registration { expires, aor: b"sip:a@b;x=y", instance: None, contact, all };
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
fn with_what_device() {
    for (contact, instance) in [
        (format!("Contact: <sip:a@c>;+sip.instance=\"<{URN}>\";reg-id=1"), Some(URN)),
        (format!("Contact: <sip:a@c>, <sip:a@d>;+sip.instance=\"<{URN}>\""), Some(URN)),
        (format!("m: <sip:a@c>\r\nm: <sip:a@d>;+sip.instance=\"<{URN}>\""), Some(URN)),
        (
            format!("m: <sip:a@c>;+sip.instance=\"<{URN}>\"\r\nm: <sip:a@d>;+sip.instance=\"<urn:x>\""),
            Some(URN),
        ),
        (format!("Contact: <sip:a@c;+sip.instance={URN}>"), None),
        ("Contact: <sip:a@c>".into(), None),
        ("Contact: *".into(), None),
    ] {
        let payload = format!("REGISTER sip:b SIP/2.0\r\n{contact}\r\n\r\n");
        let registration = Message::parse(payload.as_bytes()).unwrap().registration().unwrap();
        assert_eq!(registration.instance.as_deref(), instance.map(str::as_bytes), "{contact}");
    }
}

#[test]
fn what_is_no_registration() {
    for start in ["INVITE sip:b SIP/2.0", "register sip:b SIP/2.0", "SIP/2.0 200 OK"] {
        let payload = format!("{start}\r\nContact: <sip:a@c>;expires=60\r\nCSeq: 1 REGISTER\r\n\r\n");
        assert_eq!(Message::parse(payload.as_bytes()).unwrap().registration(), None, "{start}");
    }
}
