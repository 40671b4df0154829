//! `sipknock learn` and `check --against`: what phones send, and what that opens for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use tempfile::TempDir;

const EMPTY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/empty.toml");
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// Exit status, stdout, stderr.
fn sipknock(config: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(cargo_bin!("sipknock"));
    let output = command.args(["--config", config]).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What `learn --json` says of files.
fn learn(files: &[&str]) -> Value {
    let (status, out, err) = sipknock(EMPTY, &[&["learn", "--json"], files].concat());
    assert_eq!((status, err.as_str()), (0, ""), "{files:?}");
    serde_json::from_str(&out).unwrap()
}

/// `(aor, source)` and the `in` of what is recommended, of each phone.
fn recommended(learned: &Value) -> Vec<(String, String, Option<String>)> {
    let phones = learned["phones"].as_array().unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let of = |phone: &Value| {
        (text(&phone["aor"]).unwrap(), text(&phone["source"]).unwrap(), text(&phone["recommended"]))
    };
    phones.iter().map(of).collect()
}

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The project's own captures, and those of `SIPKNOCK_CORPUS`.
fn captures() -> Vec<PathBuf> {
    let corpus = env::var_os("SIPKNOCK_CORPUS").map(|corpus| Path::new(&corpus).join("pcap"));
    let folders = [Some(PathBuf::from(DATA)), corpus];
    let files = folders.into_iter().flatten().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "pcap" || end == "pcapng"));
    files.sort();
    files
}

#[test]
fn what_learn_prints_opens_exactly_the_doors_of_those_phones() {
    let folder = TempDir::new().unwrap();
    let (mut doors, mut shut) = (0, 0);
    for capture in captures() {
        let file = capture.to_str().unwrap();
        let (_, json, _) = sipknock(EMPTY, &["learn", "--json", file]);
        let Ok(learned) = serde_json::from_str::<Value>(&json) else { panic!("{file}: {json}") };
        let phones = recommended(&learned);
        let of = |wanted: bool| -> BTreeSet<_> {
            let phones = phones.iter().filter(|(_, _, within)| within.is_some() == wanted);
            phones.map(|(_, source, _)| source.clone()).collect()
        };
        let expected = of(true);
        let (_, toml, _) = sipknock(EMPTY, &["learn", "--toml", file]);
        if expected.is_empty() {
            assert!(!toml.contains("\n[[knock]]"), "{file}: {toml}");
            continue;
        }
        let config = write(&folder, "learned.toml", &toml);
        let (_, out, err) = sipknock(&config, &["replay", "--json", file]);
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let knocked = lines.iter().filter(|line| line["reason"] == "knock");
        let opened: BTreeSet<_> = knocked.map(|line| line["src"].as_str().unwrap().to_owned()).collect();
        assert_eq!(opened, expected, "{file}: {err}\n{toml}");
        let knocks = lines.last().unwrap()["summary"]["knocks"].as_object().unwrap();
        assert_eq!(knocks.len(), toml.matches("[[knock]]").count(), "{file}: each knock is of use");
        doors += opened.len();
        shut += of(false).difference(&opened).count();
    }
    println!("{doors} sources with a door, {shut} without");
    // One phone with an address of each family, in a capture of the project's own.
    assert!(doors >= 2, "{doors}");
}

/// A message as Asterisk's pjsip logger writes it.
fn logged(peer: &str, message: &str) -> String {
    let message = message.replace('\n', "\r\n");
    format!(
        "[2026-11-22 14:00:00] VERBOSE[811] res_pjsip_logger.c: <--- Received SIP request ({} bytes) from {peer} \
         --->\n{message}\n",
        message.len()
    )
}

/// The PBX's answer to a user's REGISTER.
fn answer(peer: &str, user: &str, status: &str) -> String {
    let message = format!("SIP/2.0 {status}\r\nTo: <sip:{user}@pbx>;tag=9\r\nCSeq: 2 REGISTER\r\n\r\n");
    let length = message.len();
    format!("<--- Transmitting SIP response ({length} bytes) to {peer} --->\n{message}\n")
}

fn request(method: &str, user: &str, name: &str, contact: &str) -> String {
    format!(
        "{method} sip:pbx SIP/2.0\nFrom: {name} <sip:{user}@pbx>;tag=1\nTo: <sip:{user}@pbx>\nCSeq: 2 {method}\n\
         Contact: <sip:{user}@192.0.2.9>{contact}\nUser-Agent: Yealink SIP-T46S 66.86.0.15\n\n"
    )
}

const GOOD: &str = "\"gjdmtwapgjdtmwagptjd\"";
const INSTANCE: &str = ";+sip.instance=\"<urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55>\"";

#[test]
fn phones_are_judged_by_what_they_send_and_who_else_does() {
    let udp = |host: u8| format!("UDP:192.0.2.{host}:5060");
    let register = |host, user, name, contact| logged(&udp(host), &request("REGISTER", user, name, contact));
    let invite = |host, user, name| logged(&udp(host), &request("INVITE", user, name, ""));
    type Phones<'a> = &'a [(&'a str, &'a str, Option<&'a str>)];
    let cases: [(&str, Vec<String>, Phones); 15] = [
        (
            "a good display name",
            vec![register(7, "100", GOOD, "")],
            &[("100@pbx", "192.0.2.7", Some("from-display-name"))],
        ),
        (
            "the instance before the name",
            vec![register(7, "100", GOOD, INSTANCE)],
            &[("100@pbx", "192.0.2.7", Some("contact-instance"))],
        ),
        ("only the make", vec![register(7, "100", "\"100\"", "")], &[("100@pbx", "192.0.2.7", None)]),
        (
            "the same name on two phones",
            vec![register(7, "100", GOOD, ""), register(8, "101", GOOD, "")],
            &[("100@pbx", "192.0.2.7", None), ("101@pbx", "192.0.2.8", None)],
        ),
        (
            "a name inside another's",
            vec![register(7, "100", GOOD, ""), register(8, "101", "\"x-gjdmtwapgjdtmwagptjd\"", "")],
            &[("100@pbx", "192.0.2.7", None), ("101@pbx", "192.0.2.8", Some("from-display-name"))],
        ),
        (
            "one phone with two accounts",
            vec![register(7, "100", "a", INSTANCE), register(7, "101", "b", INSTANCE)],
            &[
                ("100@pbx", "192.0.2.7", Some("contact-instance")),
                ("101@pbx", "192.0.2.7", Some("contact-instance")),
            ],
        ),
        (
            "one phone that moves",
            vec![register(7, "100", "a", INSTANCE), register(8, "100", "a", INSTANCE)],
            &[
                ("100@pbx", "192.0.2.7", Some("contact-instance")),
                ("100@pbx", "192.0.2.8", Some("contact-instance")),
            ],
        ),
        (
            "one phone with both families",
            vec![
                register(7, "100", "a", INSTANCE),
                logged("UDP:[2001:db8::7]:5060", &request("REGISTER", "101", "a", INSTANCE)),
            ],
            &[
                ("100@pbx", "192.0.2.7", Some("contact-instance")),
                ("101@pbx", "2001:db8::7", Some("contact-instance")),
            ],
        ),
        (
            "an instance that many have",
            vec![register(7, "100", "a", INSTANCE), register(8, "101", "b", INSTANCE)],
            &[("100@pbx", "192.0.2.7", None), ("101@pbx", "192.0.2.8", None)],
        ),
        (
            "a name that comes and goes",
            vec![register(7, "100", GOOD, ""), register(7, "100", "\"100\"", "")],
            &[("100@pbx", "192.0.2.7", None)],
        ),
        (
            "another name in calls",
            vec![register(7, "100", GOOD, ""), invite(7, "100", "\"Alice\"")],
            &[("100@pbx", "192.0.2.7", Some("from-display-name"))],
        ),
        (
            "a stranger whose registration is refused",
            vec![
                register(7, "100", GOOD, ""),
                answer(&udp(7), "100", "200 OK"),
                register(8, "101", "\"qzxwvkjhgfdsqpmnbvcx\"", ""),
                answer(&udp(8), "101", "403 Forbidden"),
            ],
            &[("100@pbx", "192.0.2.7", Some("from-display-name")), ("101@pbx", "192.0.2.8", None)],
        ),
        (
            "TLS",
            vec![logged("TLS:192.0.2.7:5061", &request("REGISTER", "100", GOOD, INSTANCE))],
            &[("100@pbx", "192.0.2.7", None)],
        ),
        (
            "IPv6 over TCP",
            vec![logged("TCP:[2001:db8::7]:5060", &request("REGISTER", "100", GOOD, ""))],
            &[("100@pbx", "2001:db8::7", Some("from-display-name"))],
        ),
        (
            "a scanner",
            vec![logged(&udp(66), &request("OPTIONS", "100", "\"sipvicious\"", ""))],
            &[("100@pbx", "192.0.2.66", None)],
        ),
    ];
    let folder = TempDir::new().unwrap();
    for (name, log, expected) in cases {
        let log = write(&folder, "full", &log.concat());
        let expected: Vec<_> = expected
            .iter()
            .map(|(aor, source, within)| ((*aor).to_owned(), (*source).to_owned(), within.map(str::to_owned)))
            .collect();
        assert_eq!(recommended(&learn(&[&log])), expected, "{name}");
    }
}

#[test]
fn the_configuration_is_ready_and_says_why_not() {
    let folder = TempDir::new().unwrap();
    let log = [
        logged("UDP:192.0.2.7:5060", &request("REGISTER", "100", "\"x\\\"y'<gjdmtwapgjdtmwagp\"", "")),
        logged("UDP:192.0.2.8:5060", &request("REGISTER", "101", "\"Alice Smith-Jones\"", "")),
        logged("UDP:192.0.2.9:5060", &request("REGISTER", "102", "\"102\"", "")),
    ];
    let log = write(&folder, "full", &log.concat());
    let (status, toml, _) = sipknock(EMPTY, &["learn", "--toml", &log]);
    assert_eq!(status, 0);
    assert!(toml.starts_with("# No answers to REGISTERs were seen"), "{toml}");
    assert!(
        toml.contains(
            "secret = \"x\\\"y'<gjdmtwapgjdtmwagp\"\nin = \"from-display-name\"\nmatch = \"whole\"\n"
        ),
        "{toml}"
    );
    assert!(toml.contains("# not from-display-name: weak, the user's name or extension"), "{toml}");
    assert_eq!(toml.matches("[[knock]]").count(), 1);
    let config = write(&folder, "learned.toml", &toml);
    assert_eq!(sipknock(&config, &["check"]).0, 0);
    // A weak one is written if it is asked for; one that is guessed within a minute is not.
    let (status, weak, err) = sipknock(EMPTY, &["learn", "--toml", "--weak", &log]);
    assert_eq!(weak.matches("[[knock]]").count(), 2, "{weak}");
    assert!(weak.contains("secret = \"Alice Smith-Jones\"") && !weak.contains("secret = \"102\""), "{weak}");
    assert!(weak.contains("a sender at 1 Gbit/s guesses it in less than a second"), "{weak}");
    assert!(
        status == 2 && err.contains("1 phone sends nothing but what is guessed within a minute"),
        "{err}"
    );
    let (_, text, _) = sipknock(EMPTY, &["learn", "--details", &log]);
    assert!(text.contains("-> knock with its from-display-name"), "{text}");
    assert!(text.contains("3 phones in 3 requests\n1 of them send"), "{text}");
    let (_, text, _) = sipknock(EMPTY, &["learn", &log]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[1].starts_with(" 100@pbx  192.0.2.7  from-display-name"), "{text}");
    assert!(lines[2].contains("set its display name to a secret of 'sipknock keygen'"), "{text}");
}

/// A knock that is all of its part would never count for a phone that sends another value beside it.
#[test]
fn what_stands_beside_other_values_is_written_to_match_within() {
    let folder = TempDir::new().unwrap();
    let two = ";+sip.instance=\"<urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55>\", <sip:x@192.0.2.9>;+sip.instance=\"<urn:x>\"";
    for (contact, extent) in [(INSTANCE, "whole"), (two, "within")] {
        let log =
            write(&folder, "full", &logged("UDP:192.0.2.7:5060", &request("REGISTER", "100", "a", contact)));
        let (_, toml, _) = sipknock(EMPTY, &["learn", "--toml", &log]);
        assert!(toml.contains("in = \"contact-instance\"\n"), "{toml}");
        assert_eq!(toml.contains("match = \"whole\"\n"), extent == "whole", "{toml}");
        let best = &learn(&[&log])["phones"][0]["candidates"][0];
        assert_eq!((&best["match"], &best["bits"]), (&extent.into(), &122.0.into()), "{best}");
    }
}

/// What `learn` calls weak for its kind, `check` refuses, in the same words.
#[test]
fn learn_and_check_judge_alike() {
    let folder = TempDir::new().unwrap();
    for urn in [
        "urn:dev:mac:0004f2a1b2c3",
        "urn:gsma:imei:90420156-025763-0",
        "urn:uuid:00000000-0000-1000-8000-0004f2a1b2c3",
    ] {
        let contact = format!(";+sip.instance=\"<{urn}>\"");
        let log =
            write(&folder, "full", &logged("UDP:192.0.2.7:5060", &request("REGISTER", "100", "a", &contact)));
        let learned = learn(&[&log]);
        let phone = &learned["phones"][0];
        assert_eq!(phone["recommended"], Value::Null, "{phone}");
        let candidates = phone["candidates"].as_array().unwrap();
        let instance = candidates.iter().find(|candidate| candidate["in"] == "contact-instance").unwrap();
        assert_eq!(instance["strength"], "weak", "{instance}");
        let text = format!(
            "[[knock]]\nname = \"a\"\nsecret = \"{urn}\"\nin = \"contact-instance\"\nmatch = \"whole\"\n"
        );
        let config = write(&folder, "sipknock.toml", &text);
        let (status, out, _) = sipknock(&config, &["check"]);
        assert!(status == 2 && out.contains(instance["why"].as_str().unwrap()), "{instance}: {out}");
        let (_, toml, _) = sipknock(EMPTY, &["learn", "--toml", "--weak", &log]);
        assert!(!toml.contains("in = \"contact-instance\""), "{toml}");
    }
}

/// Logs with a container's or the journal's prefix, and without their CRs, say the same as those without.
#[test]
fn logs_of_every_kind_say_the_same() {
    let read = |name: &str| {
        let learned = learn(&[&format!("{DATA}/log-{name}.log")]);
        (recommended(&learned), learned["answers_seen"].clone())
    };
    let control = read("control");
    assert_eq!((control.0.len(), &control.0[0].2), (1, &Some("contact-instance".to_owned())));
    assert_eq!(read("compose"), control);
    assert_eq!(read("journal-podman"), control);
    let many = read("many-cr");
    assert!(many.0.len() == 4 && many.0.iter().all(|(_, _, within)| within.is_some()), "{many:?}");
    assert_eq!(read("many-lf"), many);
    let stranger = read("stranger-cr");
    assert_eq!((stranger.0.len(), &stranger.0[0].2, &stranger.1), (1, &None, &true.into()));
    assert_eq!(read("stranger-lf"), stranger);
    for name in ["stranger-cr", "stranger-lf"] {
        let (_, toml, _) = sipknock(EMPTY, &["learn", "--toml", &format!("{DATA}/log-{name}.log")]);
        assert!(!toml.contains("[[knock]]") && !toml.contains("203.0.113.9:"), "{toml}");
        assert!(toml.contains("# 1 stranger at 1 address: 1 without an accepted registration"), "{toml}");
    }
}

/// The log of a PBX under attack: 10,100 senders that it refused, and phones among them.
#[test]
fn phones_are_found_behind_strangers() {
    let folder = TempDir::new().unwrap();
    let mut log = String::new();
    let exchange = |log: &mut String, peer: &str, user: &str, contact: &str, accepted: bool| {
        *log += &logged(peer, &request("REGISTER", user, "\"x\"", contact));
        *log += &answer(peer, user, "401 Unauthorized");
        if accepted {
            *log += &logged(peer, &request("REGISTER", user, "\"x\"", contact));
            *log += &answer(peer, user, "200 OK");
        }
    };
    for number in 0..10_100u32 {
        let peer = format!("UDP:10.0.{}.{}:5060", number / 256, number % 256);
        let instance = format!(";+sip.instance=\"<urn:uuid:{number:08x}-4e0b-4c6b-8f1e-0f4c2f1a7e55>\"");
        exchange(&mut log, &peer, &format!("a{number}"), &instance, false);
        if number % 125 == 0 && number < 10_000 {
            let phone = number / 125;
            let instance =
                format!(";+sip.instance=\"<urn:uuid:9d1f2b60-{phone:04x}-4c6b-8f1e-0f4c2f1a7e55>\"");
            exchange(
                &mut log,
                &format!("UDP:192.0.2.{}:5060", phone + 1),
                &format!("{}", 100 + phone),
                &instance,
                true,
            );
        }
    }
    let log = write(&folder, "full", &log);
    let (status, text, err) = sipknock(EMPTY, &["learn", &log]);
    assert_eq!((status, err.as_str()), (0, ""));
    let phones: Vec<_> = text.lines().skip(1).take_while(|line| !line.is_empty()).collect();
    assert_eq!(phones.len(), 80, "{text}");
    assert!(
        phones.iter().all(|line| line.contains("@pbx  192.0.2.") && line.contains("contact-instance")),
        "{text}"
    );
    let rest: Vec<_> = text.lines().skip(82).collect();
    assert!(rest.len() == 3 && rest[0] == "80 phones in 10260 requests", "{rest:?}");
    assert!(
        rest[2].starts_with("10100 strangers at ") && rest[2].ends_with("; --all lists them"),
        "{rest:?}"
    );
    let (_, toml, _) = sipknock(EMPTY, &["learn", "--toml", &log]);
    assert_eq!(toml.matches("[[knock]]").count(), 80);
    assert!(!toml.contains("@pbx at 10.0."), "no stranger");
    let (_, all, _) = sipknock(EMPTY, &["learn", "--all", &log]);
    assert!(all.lines().count() > 9_900 && all.contains("a10099@pbx"), "{}", all.lines().count());
}

#[test]
fn a_name_in_another_encoding_says_why_it_is_not_taken() {
    let folder = TempDir::new().unwrap();
    let mut log = logged("UDP:192.0.2.7:5060", &request("REGISTER", "100", "\"g?dmtwapgjdtmwagptjd\"", ""))
        .into_bytes();
    let at = log.iter().position(|byte| *byte == b'?').unwrap();
    log[at] = 0xe9;
    let path = folder.path().join("full");
    fs::write(&path, log).unwrap();
    let (_, toml, _) = sipknock(EMPTY, &["learn", "--toml", path.to_str().unwrap()]);
    assert!(toml.contains("# not from-display-name: it is not UTF-8"), "{toml}");
}

#[test]
fn check_against_reads_logs() {
    let folder = TempDir::new().unwrap();
    let config = write(&folder, "sipknock.toml", &format!("[[knock]]\nname = \"n\"\nsecret = {GOOD}\n"));
    let log = [
        logged("UDP:192.0.2.7:5060", &request("REGISTER", "100", GOOD, "")),
        answer("UDP:192.0.2.7:5060", "100", "200 OK"),
        logged("UDP:192.0.2.8:5060", &request("REGISTER", "101", "\"other\"", "")),
    ];
    let log = write(&folder, "full", &log.concat());
    let (status, text, err) = sipknock(&config, &["check", "--against", &log]);
    assert_eq!((status, err.as_str()), (0, ""), "{text}");
    let expected = "knock \"n\" would open for 1 packet, number 1, from 192.0.2.7, of 100@pbx\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn files_that_are_neither_captures_nor_logs() {
    let folder = TempDir::new().unwrap();
    for (text, says) in [
        ("just some text\n", "pjsip set logger on"),
        ("", "the file is empty"),
        ("\u{1f}\u{8b}\u{8}\0", "gzip"),
        ("[Nov 22 14:00:00] NOTICE[811] loader.c: modules loaded\n", "pjsip set logger on"),
        (
            "x1 <--- Received SIP request (9 bytes) from UDP:192.0.2.7:5060 --->\nx2 REGISTER sip:pbx SIP/2.0\n",
            "1 SIP messages are announced in this log",
        ),
        ("{\"log\":\"<--- Received SIP request (9 bytes)\"}\n", "JSON objects"),
        ("Nov 22 14:00:00 pbx asterisk[8]: [372B blob data]\n", "journalctl -a -o cat"),
    ] {
        let text: Vec<u8> = text.chars().map(|c| c as u8).collect();
        let path = folder.path().join("file");
        fs::write(&path, text).unwrap();
        let (status, _, err) = sipknock(EMPTY, &["learn", path.to_str().unwrap()]);
        assert_eq!(status, 1);
        assert!(err.contains(says), "{err}");
    }
    let (status, _, err) = sipknock(EMPTY, &["learn", "/nowhere/full"]);
    assert_eq!(status, 1);
    assert!(err.contains("/nowhere/full") && err.contains("No such file"), "{err}");
}

#[test]
fn check_against_a_capture_shows_for_whom_each_knock_opens() {
    let folder = TempDir::new().unwrap();
    let config = write(
        &folder,
        "sipknock.toml",
        "[[knock]]\nname = \"display\"\nsecret = \"mykn0ckstr1ng\"\n\
         [[knock]]\nname = \"agent\"\nsecret = \"sipsak 0.9.8\"\nin = \"user-agent\"\n\
         [[knock]]\nname = \"everyone\"\nsecret = \"SIP/2.0/UDP\"\n\
         [[knock]]\nname = \"nobody\"\nsecret = \"zqkvbnwrtyplkj\"\n",
    );
    let capture = format!("{DATA}/door.pcap");
    let (status, text, err) = sipknock(&config, &["check", "--against", &capture]);
    // Two of them are known to everybody.
    assert_eq!((status, err.as_str()), (2, ""));
    for line in [
        "knock \"display\" would open for 1 packet, number 6, from 198.51.100.7, of 200@192.0.2.1\n",
        "warning: knock \"agent\": 2 packets with it are a scanner's: it opens to strangers; take another\n",
        "warning: knock \"everyone\": it stands in packets of ",
        "knock \"nobody\" would open for 0 packets\n",
        "warning: knock \"nobody\": it stands in no packet of the captures and logs\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (_, json, _) = sipknock(&config, &["check", "--json", "--against", &capture]);
    let checked: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(checked["against"][0]["sources"], serde_json::json!(["198.51.100.7"]), "{json}");
    let (status, ..) = sipknock(EMPTY, &["check", "--knock", "a=k7q9xw2mfzb3", "--against", "/nowhere.pcap"]);
    assert_eq!(status, 1);
}
