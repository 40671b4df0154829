use super::*;

/// Call-ID and body length of each.
fn read(payload: &str) -> Vec<(String, usize)> {
    messages(payload.as_bytes())
        .map(|message| {
            let call = String::from_utf8_lossy(message.header("i").unwrap_or_default()).into_owned();
            (call, message.rest.len() - block(message.rest).1)
        })
        .collect()
}

#[test]
fn messages_follow_each_other() {
    let one = "BYE sip:a SIP/2.0\r\ni: 1\r\n\r\n";
    let two = "BYE sip:a SIP/2.0\r\nCall-ID: 2\r\nContent-Length: 0\r\n\r\n";
    let body = "INFO sip:a SIP/2.0\r\nCall-ID: 3\r\nl :\r\n 30\r\n\r\nBYE sip:a SIP/2.0\r\ni: x\r\n\r\n..";
    let response = "SIP/2.0 200 OK\ni: 4\n\n";
    let found = |calls: &[(&str, usize)]| -> Vec<_> {
        calls.iter().map(|&(call, length)| (call.to_owned(), length)).collect()
    };
    for (payload, calls) in [
        (String::new(), &[][..]),
        ("\r\n\r\n".into(), &[]),
        (one.into(), &[("1", 0)]),
        (format!("{one}{two}"), &[("1", 0), ("2", 0)]),
        (format!("\r\n\r\n{one}\r\n\r\n{response}\n{two}"), &[("1", 0), ("4", 0), ("2", 0)]),
        (format!("{two}{body}{one}"), &[("2", 0), ("3", 30), ("1", 0)]),
        (format!("{one}no start line\r\n{two}"), &[("1", 0)]),
        (format!("noise\r\n{one}"), &[]),
        (format!("{two}{}", &body[..60]), &[("2", 0), ("3", 16)]),
        (format!("{one}{}", &two[..20]), &[("1", 0), ("", 0)]),
        (format!("{one}{}", &two[..12]), &[("1", 0)]),
        (two.replace(": 0", ": 00000"), &[("2", 0)]),
        (format!("{}{one}", two.replace(": 0", ": -1")), &[("2", 27)]),
        (format!("{}{one}", two.replace(": 0", ": ")), &[("2", 27)]),
        (format!("{}{one}", two.replace(": 0", ": 99999999999999999999999")), &[("2", 27)]),
        (format!("{}{one}", two.replace(": 0", ": 18446744073709551615")), &[("2", 27)]),
    ] {
        assert_eq!(read(&payload), found(calls), "{payload:?}");
    }
}

#[test]
fn the_block_is_all_but_the_body() {
    for (payload, block) in [
        ("BYE sip:a SIP/2.0\r\ni: 1\r\n\r\nbody", "BYE sip:a SIP/2.0\r\ni: 1\r\n"),
        ("\r\n\nBYE sip:a SIP/2.0\ni: 1\n\nbody\n\n", "BYE sip:a SIP/2.0\ni: 1\n"),
        ("BYE sip:a SIP/2.0\r\r\ni: 1\r\r\n\r\r\nbody", "BYE sip:a SIP/2.0\r\r\ni: 1\r\r\n"),
        ("BYE sip:a SIP/2.0\r\ni: 1\r\n \r\nt: 2\r\n\r\n", "BYE sip:a SIP/2.0\r\ni: 1\r\n \r\nt: 2\r\n"),
        ("BYE sip:a SIP/2.0\r\n\r\ni: 1", "BYE sip:a SIP/2.0\r\n"),
        ("BYE sip:a SIP/2.0\r\ni: 1", "BYE sip:a SIP/2.0\r\ni: 1"),
        ("BYE sip:a SIP/2.0", "BYE sip:a SIP/2.0"),
    ] {
        let message = Message::parse(payload.as_bytes()).unwrap();
        assert_eq!(message.block(), block.as_bytes(), "{payload:?}");
    }
    let two = b"BYE sip:a SIP/2.0\r\n\r\n\r\nBYE sip:b SIP/2.0\ni: 1\n\n";
    let blocks: Vec<_> = messages(two).map(|message| message.block()).collect();
    assert_eq!(blocks, [&b"BYE sip:a SIP/2.0\r\n"[..], b"BYE sip:b SIP/2.0\ni: 1\n"]);
}

#[test]
fn what_can_not_change_any_more() {
    for (complete, growing) in [
        ("", ""),
        ("", "\r\n\r\n"),
        ("", "BYE sip:a SIP/2.0"),
        ("", "BYE sip:a SIP/2.0\r\n"),
        ("BYE sip:a SIP/2.0\r\n", "i"),
        ("BYE sip:a SIP/2.0\n", "i: 1\n"),
        ("BYE sip:a SIP/2.0\r\n", "\r"),
        ("BYE sip:a SIP/2.0\r\n\r\n", ""),
        ("BYE sip:a SIP/2.0\r\n\r\n", "body\r\nbody"),
        ("BYE sip:a SIP/2.0\n\n", "body"),
        ("BYE sip:a SIP/2.0\r\r\n\r\r\n", ""),
        ("", "BYE sip:a SIP/2.0\r\n "),
        ("BYE sip:a SIP/2.0\r\n", "i: 1\r\n "),
        ("BYE sip:a SIP/2.0\r\n", "i: 1\r\n 2\r\n"),
        ("BYE sip:a SIP/2.0\r\ni: 1\r\n 2\r\n", "t: 3\r\n\t"),
        ("BYE sip:a SIP/2.0\r\ni: 1\r\n \r\n", "t"),
        ("\r\n\nBYE sip:a SIP/2.0\r\n", "i: 1"),
        ("\r\n\r\nBYE sip:a SIP/2.0\r\n\r\n", "\r\nBYE"),
        ("noise\n", "noise"),
    ] {
        assert_eq!(
            complete_fields(format!("{complete}{growing}").as_bytes()),
            complete.len(),
            "{complete:?} {growing:?}"
        );
    }
}

proptest::proptest! {
    /// However a message goes on, the fields that were complete are the first of it.
    #[test]
    fn complete_fields_stay(lines in "([at:]{1,3}:[ x]{0,3}[ \r\n]{1,4}){0,6}[\r\n]{0,4}", cut: proptest::sample::Index) {
        let payload = format!("BYE sip:a SIP/2.0\r\n{lines}");
        let cut = &payload.as_bytes()[..cut.index(payload.len() + 1)];
        let complete = &cut[..complete_fields(cut)];
        let fields = |payload| Message::parse(payload).iter().flat_map(Message::headers).collect::<Vec<_>>();
        let whole = fields(payload.as_bytes());
        assert!(whole.starts_with(&fields(complete)), "{complete:?}");
        let block = |payload| Message::parse(payload).map(|message| message.block());
        if block(complete).is_some_and(|block| block.len() < complete.len()) {
            assert_eq!(block(complete), block(payload.as_bytes()));
        }
    }
}

/// Both say when a field is complete.
#[test]
fn a_field_becomes_complete() {
    for block in [
        "REGISTER sip:a SIP/2.0\r\nFrom: a\r\n b\r\nTo: c\r\n\t\r\n d\nX: e\r\nY:",
        "\r\n\nREGISTER sip:a SIP/2.0\nFrom: a\n \n b\nTo: c",
        "a\nb\nc",
        "",
    ] {
        let block = block.as_bytes();
        for now in 0..=block.len() {
            for known in 0..=now {
                let (before, after) = (complete_fields(&block[..known]), complete_fields(&block[..now]));
                let field = completed_field(&block[..now], known);
                if before == after {
                    // Line ends in front of the start line are no field.
                    assert!(field.is_none() || after == 0, "{known} {now}: {field:?}");
                } else {
                    // Line ends in front of the start line may be left out.
                    let skipped = |at| block.get(before..at).unwrap_or_default();
                    let begins = |at| skipped(at).iter().all(u8::is_ascii_whitespace);
                    assert!(field.is_some_and(begins), "{known} {now}: {field:?} {before}");
                }
            }
        }
    }
}
