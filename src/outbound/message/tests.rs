use super::*;

const TO: &str = "To: <sip:a@b>\r\n";

fn request(text: &str) -> Option<OutboundRequest> {
    OutboundRequest::parse(text.as_bytes())
}

#[test]
fn requests_of_the_pbx() {
    let opening = |method| Some(OutboundRequest::Opening(method));
    let other = |method| Some(OutboundRequest::Other(method));
    for (text, expected) in [
        (format!("OPTIONS sip:a@b SIP/2.0\r\n{TO}\r\n"), opening(Method::Options)),
        (format!("INVITE sip:a@b SIP/2.0\r\n{TO}\r\n"), opening(Method::Invite)),
        (format!("SUBSCRIBE sip:a@b SIP/2.0\r\n{TO}\r\n"), opening(Method::Subscribe)),
        (format!("PUBLISH sip:a@b SIP/2.0\r\n{TO}\r\n"), opening(Method::Publish)),
        (format!("MESSAGE sip:a@b SIP/2.0\r\n{TO}\r\n"), opening(Method::Message)),
        (format!("\r\n\r\noptions sip:a@b SIP/2.0\r\n{TO}\r\n"), opening(Method::Options)),
        // A dialog without a tag in From ends with a BYE without one in To.
        (format!("BYE sip:a@b SIP/2.0\r\n{TO}\r\n"), other(Method::Other)),
        (format!("ACK sip:a@b SIP/2.0\r\n{TO}\r\n"), other(Method::Other)),
        (format!("CANCEL sip:a@b SIP/2.0\r\n{TO}\r\n"), other(Method::Other)),
        (format!("NOTIFY sip:a@b SIP/2.0\r\n{TO}\r\n"), other(Method::Other)),
        (format!("REFER sip:a@b SIP/2.0\r\n{TO}\r\n"), other(Method::Other)),
        ("INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag=1\r\n\r\n".into(), other(Method::Invite)),
        ("INVITE sip:a@b SIP/2.0\r\nt:sip:a@b;TAG=1\r\n\r\n".into(), other(Method::Invite)),
        ("INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n ;tag=1\r\n\r\n".into(), other(Method::Invite)),
        ("INVITE sip:a@b SIP/2.0\r\nTO : <sip:a@b>;x=y; Tag = 1\r\n\r\n".into(), other(Method::Invite)),
        ("INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag\r\n\r\n".into(), other(Method::Invite)),
        ("INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b;tag=1>\r\n\r\n".into(), opening(Method::Invite)),
        ("INVITE sip:a@b SIP/2.0\r\nTo: \"x;tag=1\" <sip:a@b>\r\n\r\n".into(), opening(Method::Invite)),
        (
            "INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\nTo: <sip:a@b>;tag=1\r\n\r\n".into(),
            other(Method::Invite),
        ),
        // A copy that ends before its To.
        ("INVITE sip:a@b SIP/2.0\r\nVia: x\r\n".into(), other(Method::Invite)),
        ("SIP/2.0 200 OK\r\nTo: <sip:a@b>\r\n\r\n".into(), None),
        ("\r\n\r\n".into(), None),
        (String::new(), None),
    ] {
        assert_eq!(request(&text), expected, "{text:?}");
    }
}

#[test]
fn registrations_of_the_pbx() {
    let binding = |text: &str| match request(text) {
        Some(OutboundRequest::Register(binding, asked)) => (binding, asked.as_secs()),
        other => panic!("{text:?}: {other:?}"),
    };
    let register = |expires: &str, contact: &str| {
        format!(
            "REGISTER sip:p SIP/2.0\r\nTo: <sip:me@p>\r\nContact: <sip:{contact}@192.0.2.1>{expires}\r\n\r\n"
        )
    };
    let (one, asked) = binding(&register(";expires=120", "line1"));
    assert_eq!((asked, one.users), (120, [registered_user(b"line1"), registered_user(b"me")]));
    assert_eq!(binding(&register("", "line1")), (one, 3600));
    assert_eq!(binding(&register(";expires=0", "line1")), (one, 0));
    assert_eq!(binding(&register("", "line2")).0.aor, one.aor);
    assert_ne!(binding(&register("", "line1").replace("me@p", "you@p")).0.aor, one.aor);
    assert_ne!(registered_user(b"line1"), registered_user(b"Line1"));
    assert_eq!(registered_user(b""), 0);
}

#[test]
fn user_parts() {
    for (uri, expected) in [
        ("sip:me@p", "me"),
        ("sips:me:secret@p:5061;x=y", "me"),
        ("sip:+49;phone-context=x@p", "+49"),
        ("sip:p", ""),
        ("me@p", "me"),
        ("", ""),
    ] {
        assert_eq!(user_of(uri.as_bytes()), expected.as_bytes(), "{uri}");
    }
}

#[test]
fn datagrams_of_those_who_were_called() {
    const FROM: &str = "From: <sip:t@b>;tag=7\r\n";
    for (text, expected) in [
        ("SIP/2.0 401 Unauthorized\r\n\r\n".into(), Inbound::Passes),
        ("\r\nsip/2.0 200 OK\r\n\r\n".into(), Inbound::Passes),
        (format!("INVITE sip:a@b SIP/2.0\r\n{FROM}{TO}\r\n"), Inbound::Passes),
        (format!("OPTIONS sip:a@b SIP/2.0\r\nf: sip:t@b;tag=7\r\n{TO}\r\n"), Inbound::Passes),
        (format!("BYE sip:a@b SIP/2.0\r\n{FROM}To: <sip:a@b>;tag=8\r\n\r\n"), Inbound::InDialog),
        (format!("INVITE sip:a@b SIP/2.0\r\nFrom: <sip:t@b>\r\n{TO}\r\n"), Inbound::Refused),
        (format!("INVITE sip:a@b SIP/2.0\r\nFrom: <sip:t@b>;tag=\r\n{TO}\r\n"), Inbound::Refused),
        (format!("INVITE sip:a@b SIP/2.0\r\nFrom: <sip:t@b;tag=7>\r\n{TO}\r\n"), Inbound::Refused),
        (format!("INVITE sip:a@b SIP/2.0\r\n{FROM}f: <sip:t@b>\r\n{TO}\r\n"), Inbound::Refused),
        (format!("INVITE sip:a@b SIP/2.0\r\n{TO}\r\n"), Inbound::Refused),
        (format!("REGISTER sip:b SIP/2.0\r\n{FROM}{TO}\r\n"), Inbound::Refused),
        (format!("\r\n\r\nReGiStEr sip:b SIP/2.0\r\n{FROM}{TO}\r\n"), Inbound::Refused),
        (format!(" \t\0register\tsip:b SIP/2.0\r\n{FROM}{TO}\r\n"), Inbound::Refused),
        ("REGISTER".into(), Inbound::Refused),
        // What no parser of ours reads, and some PBX's may.
        (format!("INVITE sip:a@b SIP 2.0\r\n{FROM}\r\n"), Inbound::Refused),
        ("\r\n\r\n".into(), Inbound::Passes),
        ("\0".into(), Inbound::Passes),
        ("hello".into(), Inbound::Passes),
        (String::new(), Inbound::Passes),
        // What chan_sip takes for a blank, in front of a method and behind it.
        (format!("\x01REGISTER sip:b SIP/2.0\r\n{FROM}{TO}\r\n"), Inbound::Refused),
        (format!("\r\n\x0b\x0cRegister sip:b SIP/2.0\r\n{FROM}{TO}\r\n"), Inbound::Refused),
        (format!("\u{80}REGISTER sip:b SIP/2.0\r\n{FROM}{TO}\r\n"), Inbound::Refused),
        (format!("INVITE\x0bsip:a@b SIP/2.0\r\n{TO}\r\n"), Inbound::Refused),
        (format!("\x1fINVITE sip:a@b SIP/2.0\r\n{TO}\r\n"), Inbound::Refused),
    ] {
        assert_eq!(Inbound::of_datagram(text.as_bytes(), false), expected, "{text:?}");
    }
}

#[test]
fn of_a_first_fragment_only_what_can_be_judged_passes() {
    for (text, expected) in [
        ("SIP/2.0 200 OK\r\nVia: x", Inbound::Passes),
        ("INVITE sip:a@b SIP/2.0\r\nFrom: <sip:t@b>;tag=7\r\nTo: <si", Inbound::Passes),
        ("INVITE sip:a@b SIP/2.0\r\nVia: ", Inbound::Refused),
        ("REGI", Inbound::Refused),
        ("\r\n\r\n", Inbound::Refused),
        ("", Inbound::Refused),
    ] {
        assert_eq!(Inbound::of_datagram(text.as_bytes(), true), expected, "{text:?}");
    }
}

#[test]
fn stun_keepalives_pass() {
    for length in [0, 8, b'R', b' '] {
        let stun = [&[0, 1, 0, length][..], b"\x21\x12\xa4\x42 twelve bytes"].concat();
        assert_eq!(Inbound::of_datagram(&stun, false), Inbound::Passes, "{length}");
    }
    assert_eq!(Inbound::of_datagram(b"R\0\0REGISTER", false), Inbound::Refused);
}
