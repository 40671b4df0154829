//! `replay`.

use super::*;

#[test]
fn replay_lines_are_as_promised() {
    let folder = TempDir::new().unwrap();
    let file = capture(&folder, &["before", "a mykn0ckstr1ng b", "after"]);
    let knock = format!("alice-desk={SECRET}");
    let (status, out, err) = run(&["replay", "--json", "--knock", &knock, &file]);
    let line = |n, second, verdict, reason, knocks| {
        format!(
            r#"{{"n":{n},"time":"2026-11-22T14:00:0{second}.000000Z","src":"203.0.113.7","sport":5061,"dst":"192.0.2.1","dport":5060,"transport":"udp","verdict":"{verdict}","reason":"{reason}","knocks":[{knocks}]}}"#
        )
    };
    let expected = [
        line(1, 0, "drop", "no-knock", ""),
        line(2, 1, "accept", "knock", "\"alice-desk\""),
        line(3, 2, "accept", "door", ""),
        r#"{"summary":{"packets":3,"inspected":3,"accepted":2,"dropped":1,"reasons":{"knock":1,"door":1,"no-knock":1},"knocks":{"alice-desk":1}}}"#.to_owned(),
    ];
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn replay_in_monitor_mode_says_what_would_be_dropped() {
    let folder = TempDir::new().unwrap();
    let file = capture(&folder, &["stranger"]);
    let (_, out, _) = run(&["replay", "--json", "--monitor", "--knock", "a=not-in-there", &file]);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["verdict"], &lines[0]["would"], &lines[0]["reason"]),
        (&"accept".into(), &"drop".into(), &"no-knock".into())
    );
    assert_eq!(
        (&lines[1]["summary"]["accepted"], &lines[1]["summary"]["would_drop"]),
        (&1.into(), &1.into())
    );
}

/// After two bug reports of others, each with its control: RFC 5626, and a phone that learns of its public address.
#[test]
fn registrations_of_one_phone() {
    let knock = format!("n={SECRET}");
    for (name, expected) in [
        // The end of one flow of a device leaves the other.
        ("two-flows", "knock knock door knock door door door"),
        ("two-contacts", "knock knock knock door door"),
        // The end of the old contact beside the new one: when that one ends, nothing is left.
        ("rewrite", "knock knock knock expired no-knock no-knock"),
        ("one-contact", "knock knock expired no-knock"),
    ] {
        let file = format!("{}/tests/data/registrations/{name}.pcap", env!("CARGO_MANIFEST_DIR"));
        let (status, out, err) = run(&["replay", "--json", "--knock", &knock, "--door", "expires", &file]);
        assert_eq!((status, err.as_str()), (0, ""), "{name}");
        let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let reasons: Vec<_> = lines.filter_map(|line| Some(line["reason"].as_str()?.to_owned())).collect();
        assert_eq!(reasons.join(" "), expected, "{name}");
    }
}

#[test]
fn replay_for_people() {
    let folder = TempDir::new().unwrap();
    let file = capture(&folder, &["stranger", SECRET]);
    let knock = format!("alice-desk={SECRET}");
    let (status, out, _) = run(&["replay", "--knock", &knock, &file, &file]);
    assert_eq!(status, 0);
    assert!(out.starts_with("4 packets, 4 of them for inspected ports: 3 accepted, 1 dropped\n"), "{out}");
    for word in ["alice-desk", "203.0.113.7", "no-knock"] {
        assert!(out.contains(word), "{word} in {out}");
    }
    assert!(!out.contains(SECRET));
}

#[test]
fn replay_of_files_that_are_not_whole() {
    let folder = TempDir::new().unwrap();
    let whole = fs::read(capture(&folder, &["one", "two"])).unwrap();
    let path = folder.path().join("broken");
    let name = path.to_str().unwrap();
    for (bytes, status, says, packets) in [
        (&whole[..whole.len() - 1], 0, "ends in the middle", 1),
        (&b"neither pcap nor anything"[..], 1, "neither pcap nor pcapng", 0),
        (b"", 1, "empty", 0),
        (b"\x1f\x8b\x08\0 compressed", 1, "gunzip", 0),
    ] {
        fs::write(&path, bytes).unwrap();
        let (code, out, err) = run(&["replay", "--json", "--knock", "a=some-secret", name]);
        assert_eq!(code, status, "{err}");
        assert!(err.starts_with(&format!("sipknock: {name}: ")) && err.contains(says), "{err}");
        let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        assert_eq!(last["summary"]["packets"], packets);
    }
    let (code, _, err) = run(&["replay", "--knock", "a=some-secret", "/nonexistent.pcap"]);
    assert_eq!(code, 1);
    assert!(err.contains("/nonexistent.pcap") && err.contains("No such file"), "{err}");
}

#[test]
fn replay_reads_standard_input_and_names_files() {
    let folder = TempDir::new().unwrap();
    let file = capture(&folder, &["one"]);
    let bytes = fs::read(&file).unwrap();
    let output = sipknock(&["replay", "--json", "--knock", "a=some-secret", &file, "-"])
        .write_stdin(bytes)
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let names: Vec<Value> = out
        .lines()
        .take(2)
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["file"].clone())
        .collect();
    assert_eq!(names, [Value::from(file), Value::from("-")]);
}
