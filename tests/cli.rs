//! The command line as a user meets it: output, errors, exit status.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/capture.rs"]
mod capture;

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use capture::write_datagrams;
use serde_json::Value;
use tempfile::TempDir;

const SECRET: &str = "mykn0ckstr1ng";

fn sipknock(args: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin!("sipknock"));
    // A configuration of the machine that tests run on is none of theirs.
    if !args.contains(&"--config") {
        command.args(["--config", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/empty.toml")]);
    }
    command.args(args);
    command
}

/// Exit status, stdout, stderr.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = sipknock(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A capture of datagrams from 203.0.113.7:5061 to 192.0.2.1:5060, a second apart, from 2026-11-22T14:00:00Z on.
fn capture(folder: &TempDir, payloads: &[&str]) -> String {
    write_datagrams(folder.path(), 1_795_356_000, payloads)
}

fn config(folder: &TempDir, text: &str) -> String {
    let path = folder.path().join("sipknock.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

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

#[test]
fn wrong_words_and_configs_end_with_2_and_say_what_to_do() {
    let folder = TempDir::new().unwrap();
    let bad = config(&folder, "[inspect]\nports = [0]\n[[knock]]\nname = \"a\"\nsecret = \"0pen-sesame\"\n");
    for command in ["run", "check"] {
        for (args, says) in [
            (&["--config", bad.as_str()][..], "sipknock.toml:2: inspect.ports: \"0\" is not a port"),
            (&["--config", "/nonexistent.toml"], "/nonexistent.toml: No such file"),
            (&[], "no knock is configured"),
            (&["--knock", "0pen-sesame"], "write it as NAME=SECRET"),
            (&["--knock", "a=0pen-sesame", "--knock", "b=0pen-sesame"], "is that of knock \"a\" already"),
            (&["--knock", "a=0pen-sesame", "--port", "99999"], "is not a port"),
            (&["--knock", "a=0pen-sesame", "--trust", "10.0.0.0/33"], "is not a network"),
            (&["--knock", "a=0pen-sesame", "--door", "4000"], "with its unit"),
            (&["--knock", "a=0pen-sesame", "--queue", "3-1"], "write 1-3"),
            (&["--knock", "a=0pen-sesame", "--backend", "pcap"], "\"batched\" and \"nfq\""),
            (&["--colour"], "unexpected argument"),
        ] {
            let args: Vec<_> = std::iter::once(command).chain(args.iter().copied()).collect();
            let (status, _, err) = run(&args);
            assert_eq!(status, 2, "{args:?}: {err}");
            assert!(err.contains(says), "{args:?}: {err}");
            assert!(!err.contains("0pen-sesame"), "{err}");
        }
    }
    assert_eq!(run(&["fly"]).0, 2);
}

#[test]
fn a_plain_user_is_told_what_is_missing() {
    let mut command = sipknock(&["run", "--knock", "a=mykn0ckstr1ng", "--queue", "4242"]);
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        let binary = PathBuf::from(cargo_bin!("sipknock"));
        // The way to the binary may be closed to others; a copy in a place of its own is not.
        let folder = TempDir::new().unwrap();
        let copy = folder.keep().join("sipknock");
        // By another process: a file that is open for writing here, and by then in a test's child, can't be run.
        Command::new("cp").arg(&binary).arg(&copy).assert().success();
        fs::set_permissions(copy.parent().unwrap(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]).arg(&copy);
        command.args(["run", "--knock", "a=mykn0ckstr1ng", "--queue", "4242"]);
        let output = command.output().unwrap();
        fs::remove_dir_all(copy.parent().unwrap()).unwrap();
        check(&output);
    } else {
        check(&command.output().unwrap());
    }

    fn check(output: &std::process::Output) {
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("queue 4242 needs CAP_NET_ADMIN: run as root"), "{err}");
        assert!(!err.contains(SECRET), "{err}");
    }
}

#[test]
fn check_reports_and_warns() {
    let folder = TempDir::new().unwrap();
    let good = config(&folder, "[[knock]]\nname = \"a\"\nsecret = \"gjdmtwapgjdtmwagptjd\"\n");
    let (status, out, err) = run(&["check", "--config", &good]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.ends_with("the configuration is valid: 1 knock, 0 warnings\n"), "{out}");
    let weak = config(
        &folder,
        "[inspect]\ntrusted = [\"10.0.0.1/8\"]\n[[knock]]\nname = \"a\"\nsecret = \"470718352649\"\n\
         [[knock]]\nname = \"b\"\nsecret = \"gjdmtwapgjdtmwagptjd \"\n",
    );
    let (status, out, _) = run(&["check", "--config", &weak]);
    assert_eq!(status, 0);
    for says in [
        "10.0.0.0/8",
        "warning: knock \"a\": 40 bits, which a sender at 1 Gbit/s guesses in 67 minutes",
        "warning: knock \"b\": it begins or ends with white space",
        "the configuration is valid: 2 knocks, 3 warnings",
    ] {
        assert!(out.contains(says), "{says}: {out}");
    }
    let (_, out, _) = run(&["check", "--json", "--config", &weak]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&json["ok"], &json["knocks"], json["warnings"].as_array().unwrap().len()),
        (&true.into(), &2.into(), 3)
    );
    assert_eq!(json["refused"], serde_json::json!([]));
    assert!(!out.contains("470718352649"));
}

/// Knocks that are guessed within a minute, each with a word on why.
#[test]
fn check_refuses_what_is_guessed_within_a_minute() {
    let folder = TempDir::new().unwrap();
    for (secret, keys, says) in [
        ("8421", "", "13 bits, which a sender at 1 Gbit/s guesses in less than a second"),
        ("adgjmptwad", "", "28 bits, which a sender at 1 Gbit/s guesses in 1 second"),
        ("adgjmptwad", "in = \"from-display-name\"\nmatch = \"whole\"", "guesses in 28 seconds"),
        ("friendly-scanner", "", "it occurs in text that SIP scanners send"),
        ("CHANGE-ME", "", "it occurs in the example configuration"),
        (
            "<urn:dev:mac:0004f2a1b2c3>",
            "in = \"contact-instance\"",
            "it is made of the MAC address, which is printed",
        ),
        ("urn:gsma:imei:90420156-025763-0", "in = \"contact-instance\"", "it is the IMEI, which is printed"),
        (
            "urn:uuid:00000000-0000-1000-8000-0004f2a1b2c3",
            "in = \"contact-instance\"",
            "a UUID made of the MAC address, which is printed",
        ),
    ] {
        let text = format!(
            "[[knock]]\nname = \"good\"\nsecret = \"k7q9xw2mfzb3\"\n[[knock]]\nname = \"a\"\nsecret = \"{secret}\"\n{keys}\n"
        );
        let file = config(&folder, &text);
        let (status, out, err) = run(&["check", "--config", &file]);
        assert_eq!((status, err.as_str()), (2, ""), "{secret}: {out}");
        assert!(out.contains(says), "{says}: {out}");
        assert!(out.contains("error: knock \"a\": ") && !out.contains("error: knock \"good\""), "{out}");
        assert!(
            out.contains("the configuration is refused for 1 knock that anybody guesses: 2 knocks"),
            "{out}"
        );
        assert!(!out.contains(secret), "{out}");
        let (status, out, _) = run(&["check", "--json", "--config", &file]);
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (status, &json["ok"], &json["refused"][0]["knock"]),
            (2, &false.into(), &"a".into()),
            "{out}"
        );
    }
}

/// The secret of the string rules that this program takes the place of is in use, and 67 bits long.
#[test]
fn check_warns_of_the_documented_secret() {
    let (status, out, _) = run(&["check", "--knock", "alice-desk=mykn0ckstr1ng"]);
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("warning: knock \"alice-desk\": it occurs in the documentation"), "{out}");
}

#[test]
fn check_prints_bits_and_time_of_each_knock() {
    let folder = TempDir::new().unwrap();
    let knocks = [
        ("keypad", "gjdmtwapgjdtmwagptjdgmp", "", 65, "sound"),
        ("keypad, short", "adgjmptwadga", "", 34, "weak"),
        ("digits", "47071835264902716053", "", 66, "sound"),
        ("digits, short", "470718352649", "", 40, "weak"),
        ("letters", "hkzvbnwrtyplqc", "", 66, "sound"),
        ("letters and digits", "k7q9xw2mfz", "", 50, "sound"),
        ("hexadecimal", "3f9a81c07be25d64", "", 64, "sound"),
        ("all of it", "Vb7-Qm2-Kx9-Rw4", "", 76, "sound"),
        (
            "UUID",
            "<urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55>",
            "in = \"contact-instance\"\nmatch = \"whole\"",
            122,
            "sound",
        ),
        (
            "UUID of a time",
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "in = \"contact-instance\"",
            54,
            "sound",
        ),
    ];
    let text: String = knocks
        .iter()
        .map(|(name, secret, keys, ..)| {
            format!("[[knock]]\nname = \"{name}\"\nsecret = \"{secret}\"\n{keys}\n")
        })
        .collect();
    let file = config(&folder, &text);
    let (status, out, _) = run(&["check", "--config", &file]);
    assert_eq!(status, 0, "{out}");
    let (_, json, _) = run(&["check", "--json", "--config", &file]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let strengths = json["strengths"].as_array().unwrap();
    assert_eq!(strengths.len(), 10);
    for ((name, _, keys, bits, grade), strength) in knocks.iter().zip(strengths) {
        let row = out.lines().find(|line| line.trim_start().starts_with(&format!("{name} "))).unwrap();
        let guessed = strength["guessed_in"].as_str().unwrap();
        assert!(row.contains(&format!(" {bits} ")) && row.contains(guessed), "{row}: {bits} {guessed}");
        assert!((strength["bits"].as_f64().unwrap() - f64::from(*bits)).abs() <= 0.5, "{strength}");
        assert_eq!((&strength["knock"], &strength["grade"]), (&(*name).into(), &(*grade).into()));
        let whole = if keys.contains("whole") { "whole" } else { "within" };
        assert_eq!(strength["match"], whole);
        assert!(strength["seconds"].as_f64().unwrap() > 60.0);
    }
    // All of them at once are guessed before the weakest one.
    let weakest = strengths[1]["seconds"].as_f64().unwrap();
    let any = json["any_seconds"].as_f64().unwrap();
    assert!(any < weakest && any > weakest * 0.9, "{any} {weakest}");
    assert!(out.contains("any of them: guessed in "), "{out}");
}

/// As it is shipped, the example is refused for its secret alone.
#[test]
fn the_shipped_example_wants_a_secret_of_its_own() {
    let folder = TempDir::new().unwrap();
    let shipped = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/dist/sipknock.toml")).unwrap();
    let (status, out, _) = run(&["check", "--config", &config(&folder, &shipped)]);
    assert_eq!(status, 2, "{out}");
    assert!(out.contains("error: knock \"example\": it occurs in the example configuration"), "{out}");
    let (_, secret, _) = run(&["keygen"]);
    let (status, out, _) =
        run(&["check", "--config", &config(&folder, &shipped.replace("CHANGE-ME", secret.trim()))]);
    assert!(status == 0 && out.ends_with("1 knock, 0 warnings\n"), "{out}");
}

#[test]
fn check_warns_of_what_doctor_finds() {
    let folder = TempDir::new().unwrap();
    let doubtful = "[inspect]\nmode = \"monitor\"\ntrusted = [\"0.0.0.0/0\"]\n[http]\nlisten = \"[::]:9470\"\n\
                    [[knock]]\nname = \"a\"\nsecret = \"gjdmtwapgjdtmwagptjd\"\nmethods = [\"REGSTER\"]\n";
    let (status, out, _) = run(&["check", "--config", &config(&folder, doubtful)]);
    assert_eq!(status, 0);
    for says in [
        "the mode is \"monitor\"",
        "`trusted` holds every IPv4 address",
        "warning: knock \"a\": no phone sends the method \"REGSTER\", so it never opens a door",
        "set [http] listen = \"127.0.0.1:9470\"",
        "1 knock, 4 warnings",
    ] {
        assert!(out.contains(says), "{says}: {out}");
    }
}

#[test]
fn keygen_makes_what_check_likes() {
    for alphabet in ["keypad", "digits", "alnum", "hex"] {
        let (status, toml, _) =
            run(&["keygen", "--toml", "-n", "20", "--name", "desk \"7\"", "--alphabet", alphabet]);
        assert_eq!(status, 0);
        let folder = TempDir::new().unwrap();
        let (status, out, err) = run(&["check", "--config", &config(&folder, &toml)]);
        assert_eq!(status, 0, "{alphabet}: {err}");
        assert!(out.ends_with("the configuration is valid: 20 knocks, 0 warnings\n"), "{alphabet}: {out}");
    }
    for (part, extent) in [
        ("from-display-name", Some("whole")),
        ("contact-instance", Some("whole")),
        ("header:X-Door", Some("whole")),
        ("user-agent", None),
        ("request-uri", None),
        ("headers", None),
        ("anywhere", None),
    ] {
        let (status, toml, _) = run(&["keygen", "--toml", "--in", part]);
        assert_eq!(status, 0, "{part}");
        assert!(toml.contains(&format!("in = \"{part}\"\n")), "{toml}");
        assert_eq!(toml.contains("match = "), extent.is_some(), "{toml}");
        assert!(toml.starts_with("# 64 bits, guessed in "), "{toml}");
        let folder = TempDir::new().unwrap();
        assert_eq!(run(&["check", "--config", &config(&folder, &toml)]).0, 0, "{toml}");
        let (_, json, _) = run(&["keygen", "--json", "--in", part]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["in"], &json["match"]), (&part.into(), &extent.unwrap_or("within").into()));
        assert!(json["seconds"].as_f64().unwrap() > 86_400.0 && json["guessed_in"].is_string(), "{json}");
    }
    assert_eq!(run(&["keygen", "--in", "body"]).0, 2);
    let (status, out, err) = run(&["keygen", "--alphabet", "digits", "--bits", "32"]);
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(err.contains("guesses in 17 seconds: take --bits 34 or more"), "{err}");
    let (status, out, err) = run(&["keygen", "--alphabet", "digits", "--bits", "40"]);
    assert!(status == 0 && out.trim().len() == 13, "{out}");
    assert!(err.contains("warning: 40 bits") && err.contains("--bits 45 or more"), "{err}");
    let (_, out, _) = run(&["keygen", "--json", "--bits", "128"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert!(json["bits"].as_u64().unwrap() >= 128 && json["secret"].as_str().unwrap().len() >= 40, "{out}");
    assert!(run(&["keygen", "--name", "alice"]).1.starts_with("alice="));
    assert_eq!(run(&["keygen", "--bits", "8"]).0, 2);
}

#[test]
fn firewall_print_needs_neither_root_nor_a_knock() {
    let (status, out, err) =
        run(&["firewall", "print", "--port", "5060,5070-5079", "--trust", "10.10.1.0/24", "--queue", "2"]);
    assert_eq!((status, err.as_str()), (0, ""));
    for line in [
        "iptables -w -A SIPKNOCK -s 10.10.1.0/24 -j ACCEPT",
        "ip6tables -w -A SIPKNOCK -j NFQUEUE --queue-num 2",
        "iptables -w -I INPUT 1 -p udp -m multiport --dports 5060,5070:5079 -j SIPKNOCK",
        "ip6tables -w -I OUTPUT 2 -p tcp -m multiport --ports 5060,5070:5079 -j SIPKNOCK-OUT",
        "iptables -w -A SIPKNOCK-OUT -j NFLOG --nflog-group 5062 --nflog-size 2048 --nflog-threshold 1",
        "ip6tables -w -t mangle -I INPUT 1 -p udp -m multiport --dports 5060,5070:5079 -m comment --comment sipknock-counter",
    ] {
        assert!(out.lines().any(|printed| printed == line), "{line}\n{out}");
    }
    let (_, out, _) = run(&["firewall", "print", "--restore", "ipv6", "--no-replies"]);
    assert!(
        out.starts_with("*filter\n") && out.ends_with("COMMIT\n") && !out.contains("ESTABLISHED"),
        "{out}"
    );
    let (_, out, _) = run(&["firewall", "print", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json[0]["family"], &json[1]["family"]), (&"ipv4".into(), &"ipv6".into()));
    assert_eq!(json[0]["rules"][0], "-A SIPKNOCK -j NFQUEUE --queue-num 0");
    assert_eq!(run(&["firewall", "print", "--chain", "-x"]).0, 2);
    let (status, _, err) = run(&["firewall", "print", "--chain", "FORWARD"]);
    assert!(status == 2 && err.contains("--chain") && err.contains("pbx = ["), "{err}");
    let (_, out, _) =
        run(&["firewall", "print", "--chain", "FORWARD", "--pbx", "192.0.2.5", "--pbx", "eth1"]);
    let jump =
        "iptables -w -I FORWARD 2 -s 192.0.2.5/32 -i eth1 -p udp -m multiport --ports 5060 -j SIPKNOCK-OUT";
    assert!(out.contains("-I FORWARD 1 -d 192.0.2.5/32 -p udp") && !out.contains("INPUT"), "{out}");
    assert!(out.contains(&jump.replace("FORWARD 2", "FORWARD 3")), "{out}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = TempDir::new().unwrap();
    let file = capture(&folder, &["x"; 5000]);
    let script = format!(
        "{} replay --json --knock a=some-secret {file} | head -n 1",
        cargo_bin!("sipknock").display()
    );
    let output = Command::new("bash").args(["-c", &format!("set -o pipefail; {script}")]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn commands_for_a_running_gate_say_when_there_is_none() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("control.sock");
    let knock = "[[knock]]\nname = \"a\"\nsecret = \"gjdmtwapgjdtmwagptjd\"\n";
    let named = config(&folder, &format!("[control]\nsocket = {socket:?}\n{knock}"));
    for command in [&["doors"][..], &["doors", "flush"], &["stats"], &["watch"], &["reload"]] {
        for place in [["--control", socket.to_str().unwrap()], ["--config", named.as_str()]] {
            let (status, _, err) = run(&[command, &place].concat());
            assert_eq!(status, 1, "{command:?} {place:?}: {err}");
            assert!(
                err.contains(socket.to_str().unwrap()) && err.contains("is 'sipknock run' running?"),
                "{err}"
            );
        }
    }
    let off = config(&folder, &format!("[control]\nsocket = \"off\"\n{knock}"));
    let (status, _, err) = run(&["doors", "--config", &off]);
    assert!(status == 2 && err.contains("name the socket with --control PATH"), "{err}");
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    let folder = TempDir::new().unwrap();
    let text = "[[knock]]\nname = \"a\"\nsecret = \"gwadjtpmagjwtdpmjgatwdm\"\n";
    let inline = config(&folder, text);
    let file = folder.path().join("secret");
    fs::write(&file, "gwadjtpmagjwtdpmjgatwdm").unwrap();
    let named = folder.path().join("named.toml");
    fs::write(&named, "[[knock]]\nname = \"a\"\nsecret_file = \"secret\"\n").unwrap();
    let none = folder.path().join("none.toml");
    fs::write(&none, "[inspect]\nports = [5060]\n").unwrap();
    let (file, named, none) = (file.to_str().unwrap(), named.to_str().unwrap(), none.to_str().unwrap());
    let mode = |path: &str, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    for readable in [0o644, 0o604, 0o602] {
        for (config, culprit) in [(inline.as_str(), inline.as_str()), (named, file)] {
            mode(culprit, readable);
            for command in ["run", "check"] {
                let (status, _, err) = run(&["--config", config, command]);
                assert_eq!(status, 2, "{err}");
                assert!(err.contains(culprit) && err.contains("every user can read"), "{err}");
                assert!(err.contains("--allow-readable-secrets") && !err.contains("gwadjtp"), "{err}");
                // The mend that it names is one.
                let mend = err.split("run '").nth(1).unwrap().split('\'').next().unwrap();
                assert!(mend.starts_with("chmod 06"), "{mend}");
                let words: Vec<_> = mend.split(' ').collect();
                let (status, _, err) = run(&["--config", config, "check", "--allow-readable-secrets"]);
                assert_eq!(status, 0, "{err}");
                if command == "check" {
                    Command::new(words[0]).args(&words[1..]).assert().success();
                }
            }
            let (status, out, err) = run(&["--config", config, "check"]);
            assert!(status == 0 && out.contains("0 warnings"), "{out}{err}");
        }
    }
    // What holds no secret may be read, and so may what others do with one.
    mode(none, 0o644);
    assert_eq!(run(&["--config", none, "firewall", "print"]).0, 0);
    mode(&inline, 0o644);
    let capture = capture(&folder, &["before"]);
    assert_eq!(run(&["--config", &inline, "replay", &capture]).0, 0);
    let (_, out, _) = run(&["--config", &inline, "check", "--allow-readable-secrets"]);
    assert!(out.contains("1 warning\n") && out.contains("every user can read"), "{out}");
}

#[test]
fn no_knock_is_named_like_doors_that_no_knock_opens() {
    let folder = TempDir::new().unwrap();
    for (name, why) in [("manual", "opened by hand"), ("outbound", "a request of the PBX")] {
        let inline =
            config(&folder, &format!("[[knock]]\nname = \"{name}\"\nsecret = \"gwadjtpmagjwtdpmjgatwdm\"\n"));
        let flag = format!("{name}=gwadjtpmagjwtdpmjgatwdm");
        for args in [&["--config", &inline, "check"][..], &["check", "--knock", &flag]] {
            let (status, _, err) = run(args);
            assert!(status == 2 && err.contains(why) && err.contains("another"), "{err}");
        }
        assert_eq!(run(&["keygen", "--name", name]).0, 2);
    }
}

#[test]
fn wrong_values_of_a_file_are_told_at_once() {
    let folder = TempDir::new().unwrap();
    let text = format!(
        "[inspect]\nports = [0]\ndoor = \"soon\"\n[queue]\nmax_len = 0\n[[knock]]\nname = \"{}\"\nsecret = \"\"\n\
         [[knock]]\nname = \"ok\"\nsecret = \"k7q9xw2mfzb3\"\nin = \"nowhere\"\nmatch = \"whole\"\n",
        "n".repeat(70)
    );
    let path = config(&folder, &text);
    let (status, out, err) = run(&["check", "--config", &path]);
    let lines: Vec<_> = err.lines().collect();
    assert_eq!((status, out.as_str(), lines.len()), (2, "", 6), "{err}");
    let places = [
        ":2: inspect.ports",
        ":3: inspect.door",
        ":5: queue.max_len",
        ":7: knock 1.name: the name \"nnnnnnnnnnnnnnnnnnnnnnnn\"… has 70 characters",
        ":8: knock 1.secret",
        ":12: knock 2.in",
    ];
    for (line, place) in lines.iter().zip(places) {
        assert!(line.starts_with("sipknock: ") && line.contains(place), "{place}: {line}");
    }
    let (status, out, _) = run(&["check", "--json", "--config", &path]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (status, &json["status"], json["errors"].as_array().unwrap().len()),
        (2, &2.into(), 6),
        "{out}"
    );
    assert_eq!((&json["errors"][0]["line"], &json["errors"][0]["key"]), (&2.into(), &"inspect.ports".into()));
}

#[test]
fn a_knock_with_the_wrong_header_is_told_the_right_one() {
    let folder = TempDir::new().unwrap();
    for header in ["[knock]", "[[knocks]]", "[knocks]", "[ knock ]  # mine", "[[Knock]]"] {
        let path = config(&folder, &format!("# x\n{header}\nname = \"a\"\nsecret = \"hush-hush\"\n"));
        let (status, _, err) = run(&["check", "--config", &path]);
        assert!(status == 2 && err.contains(":2: ") && err.contains("write [[knock]]"), "{header}: {err}");
        assert!(!err.contains("hush"), "{err}");
    }
}

#[test]
fn errors_are_json_if_it_is_asked_for() {
    for (args, status) in [
        (&["stats", "--json", "--control", "/nowhere/socket"][..], 1),
        (&["keygen", "--json", "--bits", "9"], 2),
        (&["replay", "--json", "/nowhere.pcap"], 2),
    ] {
        let (code, out, err) = run(args);
        let json: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{args:?}: {out}"));
        assert_eq!((code, &json["status"]), (status, &status.into()), "{args:?}");
        let error = json["error"].as_str().unwrap();
        assert!(err.contains(error.lines().next().unwrap()), "{error}: {err}");
    }
    let (code, out, _) = run(&["learn", "--json", "--help"]);
    assert!(code == 0 && out.starts_with("List the values that each phone"), "{out}");
}

#[test]
fn a_keypads_table_takes_any_case() {
    let (_, toml, _) = run(&["keygen", "--toml", "--name", "desk"]);
    for line in ["in = \"from-display-name\"", "match = \"whole\"", "ignore_case = true"] {
        assert!(toml.lines().any(|found| found == line), "{toml}");
    }
    let folder = TempDir::new().unwrap();
    assert_eq!(run(&["check", "--config", &config(&folder, &toml)]).0, 0, "{toml}");
    let (_, hex, _) = run(&["keygen", "--toml", "--alphabet", "hex"]);
    assert!(!hex.contains("ignore_case") && !hex.contains("in = "), "{hex}");
    let (_, header, _) = run(&["keygen", "--toml", "--in", "header:X-Door"]);
    assert!(header.contains("in = \"header:X-Door\"") && header.contains("ignore_case = true"), "{header}");
}

#[test]
fn doors_are_flushed_after_a_yes() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::process::Stdio;

    let flush = |typed: Option<&str>, more: &[&str]| {
        let mut command = std::process::Command::new(cargo_bin!("sipknock"));
        command.args(["doors", "flush", "--control", "/nowhere/socket"]).args(more).stdin(Stdio::null());
        let terminal = typed.map(|typed| {
            let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
            grantpt(&person).unwrap();
            unlockpt(&person).unwrap();
            let name = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
            // O_NOCTTY, or it would be the tests' own controlling terminal.
            let side = fs::File::options().read(true).write(true).custom_flags(0o400).open(name).unwrap();
            command.stdin(side);
            let mut person = fs::File::from(person);
            person.write_all(format!("{typed}\n").as_bytes()).unwrap();
            person
        });
        let output = command.output().unwrap();
        drop(terminal);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, err) = flush(Some("no"), &[]);
    assert!(status == Some(1) && err.contains("Type yes") && err.contains("nothing was closed"), "{err}");
    for (typed, more) in [(Some("yes"), &[][..]), (Some("no"), &["--yes"]), (None, &[])] {
        let (status, err) = flush(typed, more);
        assert!(status == Some(1) && err.contains("no sipknock can be reached"), "{typed:?} {more:?}: {err}");
        assert_eq!(err.contains("Type yes"), typed.is_some() && more.is_empty(), "{err}");
    }
}
