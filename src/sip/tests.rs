use super::*;

fn request(payload: &[u8]) -> (String, String) {
    match Message::parse(payload).unwrap().start() {
        StartLine::Request { method, uri } => (text(method), text(uri)),
        StartLine::Response { status } => panic!("response {status}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn start_lines_of_requests() {
    for (line, method, uri) in [
        ("REGISTER sip:example.org SIP/2.0\r\n", "REGISTER", "sip:example.org"),
        ("REGISTER sip:example.org SIP/2.0\n", "REGISTER", "sip:example.org"),
        ("REGISTER sip:example.org SIP/2.0", "REGISTER", "sip:example.org"),
        ("\r\n\r\nOPTIONS sip:a SIP/2.0\r\r\n", "OPTIONS", "sip:a"),
        ("REGISTER  sip:a   SIP/2.0  \r\n", "REGISTER", "sip:a"),
        ("REGISTER\tsip:a\tSIP/2.0\r\n", "REGISTER", "sip:a"),
        ("INVITE sip:a b@c SIP/2.0\r\n", "INVITE", "sip:a b@c"),
        ("INVITE <sip:a@b> SIP/7.0\r\n", "INVITE", "<sip:a@b>"),
        ("register sip:a sip/2.0\r\n", "register", "sip:a"),
        ("REGISTER SIP/2.0\r\n", "REGISTER", ""),
        (
            "!interesting-Method0123456789_*+`.%indeed'~ sip:a SIP/2.0",
            "!interesting-Method0123456789_*+`.%indeed'~",
            "sip:a",
        ),
    ] {
        assert_eq!(request(line.as_bytes()), (method.into(), uri.into()), "{line:?}");
    }
}

#[test]
fn start_lines_of_responses() {
    for (line, status) in [("SIP/2.0 200 OK\r\n", 200), ("SIP/2.0 100 \r\n", 100), ("SIP/2.0  404\n", 404)] {
        let message = Message::parse(line.as_bytes()).unwrap();
        assert_eq!(message.start(), StartLine::Response { status }, "{line:?}");
        assert_eq!(message.method(), None);
    }
}

#[test]
fn what_is_not_sip() {
    for payload in [
        &b""[..],
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"     ",
        b"GET / HTTP/1.1\r\n",
        b"REGISTER sip:a\r\n",
        b"SIP/2.0",
        b"SIP/2.0 banana OK",
        b"SIP/2.0 99999999 OK",
        b"\x00\x01\x00\x00\x21\x12\xa4\x42 SIP/2.0",
        b"two\xffbytes sip:a SIP/2.0",
    ] {
        assert!(Message::parse(payload).is_none(), "{}", payload.escape_ascii());
    }
}

#[test]
fn header_fields() {
    let fold = "\"A\"\r\n <sip:a@b>\r\n\t;tag=1";
    for (lines, name, value) in [
        ("From: \"A\" <sip:a@b>\r\n\r\n", "From", Some("\"A\" <sip:a@b>")),
        ("FROM: x\r\n\r\n", "from", Some("x")),
        ("f: x\r\n\r\n", "From", Some("x")),
        ("F:x\r\n\r\n", "from", Some("x")),
        ("From: x\r\n\r\n", "f", Some("x")),
        ("f: x\r\n\r\n", "f", Some("x")),
        ("From \t : \t x \t\r\n\r\n", "From", Some("x")),
        (&format!("From: {fold}\r\nTo: y\r\n\r\n"), "From", Some(fold)),
        (&format!("From: {fold}\r\nTo: y\r\n\r\n"), "To", Some("y")),
        ("From:\r\n x\r\n\r\n", "From", Some("x")),
        ("From:\r\n\r\n", "From", Some("")),
        ("From: x", "From", Some("x")),
        ("From: x\nTo: y\n\nbody", "To", Some("y")),
        ("From: x\r\r\nTo: y\r\r\n\r\n", "To", Some("y")),
        ("no colon here\r\nTo: y\r\n\r\n", "To", Some("y")),
        (": nameless\r\nTo: y\r\n\r\n", "To", Some("y")),
        ("To: y\r\n\r\nFrom: in the body\r\n", "From", None),
        ("From: first\r\nFrom: second\r\n\r\n", "From", Some("first")),
        ("X-Door: 1\r\n\r\n", "x-door", Some("1")),
        ("x: 90\r\n\r\n", "Session-Expires", Some("90")),
        ("q: 90\r\n\r\n", "Session-Expires", None),
        ("i: abc@host\r\n\r\n", "Call-ID", Some("abc@host")),
        ("From: a:b:c\r\n\r\n", "From", Some("a:b:c")),
        ("", "From", None),
    ] {
        let payload = format!("REGISTER sip:a SIP/2.0\r\n{lines}");
        let message = Message::parse(payload.as_bytes()).unwrap();
        assert_eq!(message.header(name).map(text).as_deref(), value, "{lines:?} {name}");
    }
}

#[test]
fn headers_keep_their_order_and_number() {
    let payload = b"OPTIONS sip:a SIP/2.0\r\nVia: 1\r\nv: 2\r\nnonsense\r\nVIA : 3\r\n\r\nVia: 4\r\n";
    let message = Message::parse(payload).unwrap();
    let found: Vec<_> = message.headers().map(|header| (text(header.name), text(header.value))).collect();
    let expected = [("Via", "1"), ("v", "2"), ("VIA", "3")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(found, expected);
    assert!(message.headers().all(|header| header.is("Via")));
}

proptest::proptest! {
    /// Whatever comes in, what comes out are pieces of it, and no more header fields than lines.
    #[test]
    fn arbitrary_bytes_yield_slices_of_themselves(payload: Vec<u8>) {
        let inside = |part: &[u8]| payload.as_ptr_range().contains(&part.as_ptr()) || part.is_empty();
        if let Some(message) = Message::parse(&payload) {
            let lines = payload.iter().filter(|byte| **byte == b'\n').count();
            let headers: Vec<_> = message.headers().collect();
            assert!(headers.len() <= lines + 1);
            assert!(headers.iter().all(|header| inside(header.name) && inside(header.value)));
        }
    }

    #[test]
    fn arbitrary_text_behind_a_start_line(lines in "([A-Za-z: \t\r\n]{0,12}[\r\n]{0,3}){0,20}") {
        let payload = format!("OPTIONS sip:a SIP/2.0\r\n{lines}");
        let message = Message::parse(payload.as_bytes()).unwrap();
        for header in message.headers() {
            assert!(!header.name.is_empty() && !header.name.contains(&b':'));
        }
    }
}
