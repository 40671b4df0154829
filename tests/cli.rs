//! The command line as a user meets it: output, errors, exit status.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/capture.rs"]
mod captures;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/config.rs"]
mod config_files;
#[path = "cli/replay.rs"]
mod replay;

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use captures::write_datagrams;
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

#[test]
fn names_for_a_shell_to_offer() {
    let folder = TempDir::new().unwrap();
    let knock = |name: &str, secret: &str| format!("[[knock]]\nname = \"{name}\"\nsecret = \"{secret}\"\n");
    let path = config(&folder, &(knock("desk 2", "hush-hush-one") + &knock("alice", "hush-hush-two")));
    let offered = run(&["--config", &path, "complete", "knocks"]);
    assert_eq!(offered, (0, "alice\ndesk 2\n".to_owned(), String::new()));
    let (status, out, _) = run(&["--config", &path, "complete", "chains"]);
    assert!(status == 0 && out.lines().any(|line| line == "DOCKER-USER"), "{out}");
    // A configuration that can't be used offers nothing, and says nothing into the command line.
    let broken = config(&folder, "x = 1\n");
    assert_eq!(run(&["--config", &broken, "complete", "knocks"]), (0, String::new(), String::new()));
}

#[test]
fn an_error_is_not_followed_by_a_count_of_nothing() {
    let (status, out, err) = run(&["learn", "/no/such.pcap"]);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    let (status, out, _) = run(&["learn", "--json", "/no/such.pcap"]);
    assert!(status == 1 && out.starts_with('{'), "{out}");
}
