use super::*;

fn read(log: &str) -> Vec<(String, &'static str, bool, String)> {
    messages(log.as_bytes())
        .map(|logged| {
            let Logged { peer, transport, received, bytes } = logged.unwrap();
            (peer.to_string(), transport, received, String::from_utf8(bytes).unwrap())
        })
        .collect()
}

const REGISTER: &str = "REGISTER sip:pbx SIP/2.0\r\nFrom: \"a\" <sip:1@pbx>\r\n\r\n";

/// `text` as pjsip's logger writes it.
fn received(prefix: &str, peer: &str, text: &str) -> String {
    format!("{prefix}<--- Received SIP request ({} bytes) from {peer} --->\n{text}\n", text.len())
}

#[test]
fn headings() {
    for (line, expected) in [
        (
            "<--- Received SIP request (432 bytes) from UDP:192.0.2.7:5060 --->",
            Some(("192.0.2.7", "udp", true, Some(432))),
        ),
        (
            "<--- Received SIP response (9 bytes) from TCP:[2001:db8::7]:5060 --->",
            Some(("2001:db8::7", "tcp", true, Some(9))),
        ),
        (
            "[2026-11-22 14:00:00] VERBOSE[811] res_pjsip_logger.c: <--- Received SIP request (1 bytes) from tls:192.0.2.7:5061 --->\n",
            Some(("192.0.2.7", "tls", true, Some(1))),
        ),
        (
            "<--- Transmitting SIP response (512 bytes) to WSS:192.0.2.7:40000 --->\r\n",
            Some(("192.0.2.7", "wss", false, Some(512))),
        ),
        ("<--- SIP read from UDP:192.0.2.7:5060 --->", Some(("192.0.2.7", "udp", true, None))),
        ("<--- SIP read from UDP://192.0.2.7:5060 --->", Some(("192.0.2.7", "udp", true, None))),
        ("<--- SIP read from 192.0.2.7:5060 --->", Some(("192.0.2.7", "udp", true, None))),
        ("<--- SIP read from UDP:[::ffff:192.0.2.7]:5060 --->", Some(("192.0.2.7", "udp", true, None))),
        ("<--- Transmitting (no NAT) to 192.0.2.7:5060 --->", Some(("192.0.2.7", "udp", false, None))),
        ("<--- Reliably Transmitting (NAT) to 192.0.2.7:5060 --->", Some(("192.0.2.7", "udp", false, None))),
        ("Reliably Transmitting (NAT) to 192.0.2.7:5060:", Some(("192.0.2.7", "udp", false, None))),
        ("<--- Received SIP request (432 bytes) from UDP:nowhere --->", None),
        ("<--- Examining AST_CONTROL 1 --->", None),
        (
            "NOTICE[8] a.c: Request 'REGISTER' from '\"<--- Received SIP request (60000 bytes) from UDP:192.0.2.7:5060 --->\" \
             <sip:1@x>' failed for '192.0.2.9:5060' (callid: x) - No matching endpoint found",
            None,
        ),
        ("<------------->", None),
        ("-- Registered SIP '1' at 192.0.2.7:5060", None),
        ("", None),
    ] {
        let heading = Heading::parse(line.as_bytes());
        let found =
            heading.map(|found| (found.peer.to_string(), found.transport, found.received, found.length));
        let expected = expected
            .map(|(peer, transport, received, length)| (peer.to_owned(), transport, received, length));
        assert_eq!(found, expected, "{line}");
    }
}

#[test]
fn every_way_of_logging() {
    let plain = |start: &str| {
        format!(
            "{start}<--- SIP read from UDP:192.0.2.7:5060 --->\n{REGISTER}<------------->\n--- (2 headers 0 lines) ---\n"
        )
    };
    let one = || vec![("192.0.2.7".to_owned(), "udp", true, REGISTER.to_owned())];
    for (name, log) in [
        ("console", received("", "UDP:192.0.2.7:5060", REGISTER)),
        (
            "file",
            received(
                "[2026-11-22 14:00:00] VERBOSE[811] res_pjsip_logger.c: ",
                "UDP:192.0.2.7:5060",
                REGISTER,
            ),
        ),
        ("chan_sip on the console", plain("")),
        ("chan_sip in a file", plain("[Nov 22 14:00:00] VERBOSE[811] chan_sip.c: \n")),
        (
            "between others",
            format!(
                "Asterisk Ready.\n{}    -- Executing [1@a:1]\n",
                received("", "UDP:192.0.2.7:5060", REGISTER)
            ),
        ),
    ] {
        assert_eq!(read(&log), one(), "{name}");
    }
    // Each line on its own, without its CR, as the journal has it.
    let prefix = "Nov 22 14:00:00 pbx asterisk[811]: ";
    let lines: String = REGISTER.lines().map(|line| format!("{prefix}{line}\n")).collect();
    let twice = format!(
        "{prefix}<--- Received SIP request ({} bytes) from UDP:192.0.2.7:5060 --->\n{lines}",
        REGISTER.len()
    )
    .repeat(2);
    assert_eq!(read(&twice).len(), 2);
    assert_eq!(read(&twice)[1].3, REGISTER.replace('\r', ""));
}

#[test]
fn several_in_a_row_with_bodies() {
    let invite = "INVITE sip:2@pbx SIP/2.0\r\nContent-Length: 7\r\n\r\nv=0\r\nx\r";
    let ok = "SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\n\r\n";
    let log = [
        received("", "UDP:192.0.2.7:5060", invite),
        format!("<--- Transmitting SIP response ({} bytes) to UDP:192.0.2.8:5060 --->\n{ok}\n", ok.len()),
        received("", "TCP:192.0.2.9:5060", REGISTER),
    ];
    let found: Vec<_> = read(&log.concat())
        .into_iter()
        .map(|(peer, transport, received, text)| (peer, transport, received, text.len()))
        .collect();
    assert_eq!(
        found,
        [
            ("192.0.2.7".to_owned(), "udp", true, invite.len()),
            ("192.0.2.8".to_owned(), "udp", false, ok.len()),
            ("192.0.2.9".to_owned(), "tcp", true, REGISTER.len()),
        ]
    );
}

#[test]
fn a_message_cannot_pass_for_the_log() {
    let inside =
        received("[2026-11-22 14:00:00] VERBOSE[811] res_pjsip_logger.c: ", "UDP:203.0.113.9:5060", REGISTER);
    let text = format!("OPTIONS sip:pbx SIP/2.0\r\nSubject: x\r\n\r\n{inside}");
    let found = read(&received("", "UDP:192.0.2.7:5060", &text));
    assert_eq!(found, [("192.0.2.7".to_owned(), "udp", true, text)]);
}

#[test]
fn what_is_cut_off_or_too_long() {
    let whole = received("", "UDP:192.0.2.7:5060", REGISTER);
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).len() <= 1);
    }
    let long = format!(
        "<--- Received SIP request (99999999 bytes) from UDP:192.0.2.7:5060 --->\n{}",
        "x".repeat(3 * MAX_MESSAGE)
    );
    assert_eq!(read(&long)[0].3.len(), MAX_MESSAGE);
    let next = format!("{}\n{whole}", "x".repeat(3 * MAX_MESSAGE));
    assert_eq!(read(&next).len(), 1);
}

#[test]
fn captures_are_no_logs() {
    for (start, log) in [
        (&b"[Nov 22"[..], true),
        (b"\x1b[0mAsterisk", true),
        (b"", false),
        (b"\0\0\0[Nov 22", true),
        (b"\0\0\0", false),
        (b"\xa1\xb2\xc3\xd4\0\x02\0\x04", false),
        (b"\xd4\xc3\xb2\xa1\x02\0\x04\0", false),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0", false),
        (b"\x1f\x8b\x08", false),
    ] {
        assert_eq!(is_log(start), log, "{start:02x?}");
    }
}

/// The same log in each form that loggers give it.
#[test]
fn every_logger() {
    let response = "SIP/2.0 200 OK\r\nTo: <sip:1@pbx>\r\nCSeq: 1 REGISTER\r\n\r\n";
    let heading =
        format!("<--- Received SIP request ({} bytes) from UDP:192.0.2.7:5060 --->", REGISTER.len());
    let answer =
        format!("<--- Transmitting SIP response ({} bytes) to UDP:192.0.2.7:5060 --->", response.len());
    let plain = format!("{heading}\n{REGISTER}\n{answer}\n{response}\n");
    let lf = plain.replace('\r', "");
    let each = |text: &str, prefix: &str| -> String {
        text.split_inclusive('\n').map(|line| format!("{prefix}{line}")).collect()
    };
    let journal = "Nov 22 14:00:00 pbx asterisk[811]: ";
    let indented = |heading: &str, message: &str| {
        let rest: String =
            message.lines().map(|line| format!("{}{line}\n", " ".repeat(journal.len()))).collect();
        format!("{journal}{heading}\n{rest}")
    };
    let one_line = |heading: &str, message: &str| {
        let text = message.replace('\r', "#015").replace('\n', "#012");
        format!("{journal}VERBOSE[8]: res_pjsip_logger.c:229 in pjsip_log_rx: {heading}#012{text}#012\n")
    };
    let mixed =
        each(&lf, "asterisk-1  | ").replace("asterisk-1  | From", "db-1        | ready\nasterisk-1  | From");
    for (name, log) in [
        ("with CRs", plain.clone()),
        ("without", lf.clone()),
        ("compose", each(&plain, "asterisk-1  | ")),
        ("compose without CRs", each(&lf, "asterisk-1  | ")),
        ("compose, blanks cut off", each(&lf, "asterisk-1  | ").replace("| \n", "|\n")),
        ("compose with a clock", each(&lf, "asterisk-1  | 2026-11-22T14:00:00.123456789Z ")),
        ("compose with other containers", mixed),
        ("journal", each(&lf, journal)),
        ("journal of podman", each(&lf, "Nov 22 14:00:00 pbx pbx-asterisk[811]: ")),
        ("journal with a date in full", each(&lf, "2026-11-22T14:00:00+0000 pbx asterisk[811]: ")),
        ("journal, entries of several lines", indented(&heading, REGISTER) + &indented(&answer, response)),
        ("docker with a clock", each(&lf, "2026-11-22T14:00:00.12Z ")),
        ("containerd", each(&lf, "2026-11-22T14:00:00.12Z stdout F ")),
        ("kubectl", each(&plain, "[pod/pbx-0/asterisk] ")),
        ("a logger that nobody knows", each(&lf, "pbx> ")),
        ("rsyslog", one_line(&heading, REGISTER) + &one_line(&answer, response)),
        (
            "rsyslog without CRs",
            one_line(&heading, &REGISTER.replace('\r', "")) + &one_line(&answer, response),
        ),
    ] {
        let found: Vec<_> = read(&log)
            .into_iter()
            .map(|(peer, _, received, text)| (peer, received, text.replace('\r', "").trim_end().to_owned()))
            .collect();
        let expected = [(true, REGISTER), (false, response)].map(|(received, text)| {
            ("192.0.2.7".to_owned(), received, text.replace('\r', "").trim_end().to_owned())
        });
        assert_eq!(found, expected, "{name}: {log}");
    }
}

/// A stranger sends bare LFs, so that less of the message counts than there is, or quotes a heading in a name.
#[test]
fn a_heading_of_a_strangers_is_none() {
    let answer = "<--- Transmitting to 203.0.113.9:5 --->\nSIP/2.0 200 \nTo:<sip:1@x>\nCSeq:1 REGISTER\n\n";
    for lines in [1, 30, 60, 61, 100, 1000] {
        let text = format!("OPTIONS sip:pbx SIP/2.0\n{}\n{answer}", "a:\n".repeat(lines));
        let found = read(&format!(
            "{}{}",
            received("", "UDP:203.0.113.9:5", &text),
            received("", "UDP:192.0.2.7:5060", REGISTER)
        ));
        assert!(
            found.iter().all(|(_, _, received, text)| *received || !text.starts_with("SIP/2.0 200")),
            "{found:?}"
        );
        assert_eq!(found[0].0, "203.0.113.9");
    }
    let forged =
        "<--- Transmitting SIP response (60 bytes) to UDP:203.0.113.9:5060 --->#012SIP/2.0 200 OK#015#012";
    let notice = "Nov 22 14:00:00 pbx asterisk[811]: NOTICE[8]: res_pjsip/pjsip_distributor.c:673 in log_failed_request: ";
    assert_eq!(read(&format!("{notice}Request 'REGISTER' from '\"{forged}\" <sip:1@x>' failed\n")), []);
    assert_eq!(read(&format!("{notice}{forged}\n")).len(), 1);
}

#[test]
fn forms_that_cannot_be_read_are_told() {
    let heading = "<--- Received SIP request (9 bytes) from UDP:192.0.2.7:5060 --->";
    for (line, expected) in [
        (format!("{{\"log\":\"{heading}\\r\\n\",\"stream\":\"stdout\"}}\n"), Some(Obstacle::Json)),
        (
            format!("{{\"log\":\"{}\\n\"}}\n", heading.replace('<', "\\u003c").replace('>', "\\u003e")),
            Some(Obstacle::Json),
        ),
        ("Nov 22 14:00:00 pbx asterisk[811]: [372B blob data]\n".to_owned(), Some(Obstacle::Blob)),
        ("{}\nordinary\n".to_owned(), None),
    ] {
        let mut messages = messages(line.as_bytes());
        assert!(messages.by_ref().next().is_none(), "{line}");
        assert_eq!(messages.obstacle(), expected, "{line}");
    }
}
