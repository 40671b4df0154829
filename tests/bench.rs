//! `sipknock bench` as a user meets it. Times are never looked at: they depend on the machine.

#![allow(clippy::unwrap_used)]

#[path = "common/capture.rs"]
mod capture;

use std::fs;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use capture::write_datagrams;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Exit status, stdout, stderr of a quick run. A configuration of the machine that tests run on is none of theirs.
fn bench(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(cargo_bin!("sipknock"));
    if !args.contains(&"--config") {
        command.args(["--config", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/empty.toml")]);
    }
    let output = command.args(["bench", "--quick"]).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(args: &[&str]) -> Value {
    let (status, out, err) = bench(&[args, &["--json"]].concat());
    assert_eq!((status, err.as_str()), (0, ""));
    serde_json::from_str(&out).unwrap()
}

/// A capture of datagrams with these payloads to port 5060.
fn capture(folder: &TempDir, payloads: &[&str]) -> String {
    write_datagrams(folder.path(), 0, payloads)
}

fn written(folder: &TempDir, name: &str, bytes: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

const KNOCKS: &str = "[[knock]]\nname = \"a\"\nsecret = \"mykn0ckstr1ng\"\n\
                      [[knock]]\nname = \"b\"\nsecret = \"Blue-Window\"\nignore_case = true\n";

#[test]
fn engines_agree_and_json_says_what_they_cost() {
    let object = json(&["--knocks", "1,60", "--style", "random,uuid,words"]);
    assert_eq!(object["traffic"], json!({"captured": false, "packets": 256, "bytes": 179_200}));
    assert_eq!((&object["rounds"], &object["ignore_case"]), (&json!(1), &json!(false)));
    for field in ["cpu", "kernel", "sipknock"] {
        assert!(object["machine"][field].as_str().is_some_and(|text| !text.is_empty()), "{object}");
    }
    assert!(object["machine"]["cores"].is_u64() && object["machine"]["pinned_to"].is_u64(), "{object}");
    let results = object["results"].as_array().unwrap();
    let left_out = object["left_out"].as_array().unwrap();
    let engines = if cfg!(feature = "vectorscan") { 13 } else { 12 };
    assert_eq!(results.len() + left_out.len(), 3 * 2 * engines, "{object}");
    for result in results {
        for field in ["gb_per_second", "build_ms"] {
            assert!(result[field].is_f64(), "{field}: {result}");
        }
        for field in ["median", "min", "max"] {
            assert!(result["ns_per_packet"][field].is_f64(), "{field}: {result}");
        }
        assert!(result["memory_bytes"].as_u64() > Some(0), "{result}");
        assert_eq!(result["packets_with_hits"], 0, "{result}");
        assert_eq!(result["engine"] == "sipknock", result["chosen"].is_string(), "{result}");
    }
}

#[test]
fn letters_in_either_case() {
    let object = json(&["--knocks", "20", "--style", "words", "--ignore-case"]);
    assert_eq!(object["ignore_case"], true);
    let of = |list: &str| {
        let engines = object[list].as_array().unwrap().iter();
        engines.map(|one| one["engine"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(of("results").contains(&"aho-corasick-standard".to_owned()), "{object}");
    for engine in ["memmem", "teddy", "daachorse", "sipknock-teddy"] {
        assert!(of("left_out").contains(&engine.to_owned()), "{engine}: {object}");
    }
}

#[test]
fn captured_packets_and_the_configured_knocks() {
    let folder = TempDir::new().unwrap();
    let config = written(&folder, "sipknock.toml", KNOCKS.as_bytes());
    let file = capture(&folder, &["mykn0ckstr1ng", "a BLUE-WINDOW", "", "MYKN0CKSTR1NG", "and nothing"]);
    let object = json(&["--config", &config, "--style", "config", "--capture", &file, &file]);
    assert_eq!(object["traffic"], json!({"captured": true, "packets": 8, "bytes": 2 * 50}));
    let results = object["results"].as_array().unwrap();
    assert!(results.len() >= 6, "{object}");
    for result in results {
        assert_eq!((&result["style"], &result["knocks"]), (&json!("config"), &json!(2)));
        assert_eq!(result["packets_with_hits"], 4, "{result}");
    }
    let (_, out, _) = bench(&["--config", &config, "--style", "config", "--capture", &file]);
    assert!(out.contains("4 captured payloads of 12 bytes"), "{out}");
    assert!(!out.to_lowercase().contains("mykn0ck") && !out.to_lowercase().contains("blue"), "{out}");
}

#[test]
fn a_table_for_people() {
    let (status, out, err) = bench(&["--knocks", "2,300", "--style", "uuid", "--engine", "sipknock,teddy"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let lines: Vec<_> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    let place = lines.iter().position(|line| line.first() == Some(&"knocks")).unwrap();
    assert_eq!(lines[place], ["knocks", "engine", "ns/packet", "range", "GB/s", "memory", "build"]);
    let rows: Vec<_> = lines[place + 1..].iter().map(|line| (line[0], line[1])).collect();
    assert!(rows.contains(&("2", "teddy")) && rows.contains(&("2", "sipknock")), "{out}");
    assert!(rows.contains(&("300", "sipknock")) && !rows.contains(&("300", "teddy")), "{out}");
    assert!(out.contains("left out: teddy with 300: "), "{out}");
}

#[test]
fn markdown_and_plots() {
    let folder = TempDir::new().unwrap();
    let plot = folder.path().join("speed.svg");
    let args = ["--markdown", "--knocks", "100,1", "--engine", "sipknock,daachorse", "--plot"];
    let (status, out, err) =
        bench(&[&args[..], &[plot.to_str().unwrap(), "--style", "words,random"]].concat());
    assert_eq!((status, err.as_str()), (0, ""));
    for style in ["random", "words"] {
        assert!(out.contains(&format!("### Knocks of style {style}\n")), "{out}");
        assert!(out.contains(&format!("](speed-{style}.svg)\n")), "{out}");
        let svg = fs::read_to_string(folder.path().join(format!("speed-{style}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("sipknock") && svg.contains("daachorse"), "{svg}");
    }
    let header = "| knocks | 1 | 100 | memory, 100 | build, 100 |\n|---|---:|---:|---:|---:|\n| sipknock | ";
    assert_eq!(out.matches(header).count(), 2, "{out}");
    assert!(
        out.lines().filter(|line| line.starts_with('|')).all(|line| line.matches('|').count() == 6),
        "{out}"
    );

    // One style needs no name of its own.
    let (status, _, _) = bench(&[&args[..], &[plot.to_str().unwrap(), "--style", "uuid"]].concat());
    assert_eq!(status, 0);
    assert!(fs::read_to_string(plot).unwrap().starts_with("<svg"));
}

#[test]
fn what_can_not_be_measured() {
    let folder = TempDir::new().unwrap();
    let (file, other) = (capture(&folder, &["one"]), TempDir::new().unwrap());
    let empty = capture(&other, &[]);
    let config = written(&folder, "broken.toml", b"nonsense");
    for (args, status, says) in [
        (&["--engine", "grep"][..], 2, "aho-corasick-dfa"),
        (&["--knocks", "0"], 2, "100000"),
        (&["--knocks", "10,many"], 2, "many"),
        (&["--style", "poems"], 2, "random"),
        (&["--style", "config"], 2, "no knock is configured"),
        (&["--config", &config, "--style", "config"], 2, "broken.toml"),
        (&["--json", "--markdown"], 2, "--markdown"),
        (&["--plot", "speed.png"], 2, ".svg"),
        (&["--plot", "/nonexistent/speed.svg"], 1, "/nonexistent: there is no such folder"),
        (&["--port", "5070"], 2, "--capture"),
        (&["--capture", &empty], 1, "inspected port (5060)"),
        (&["--capture", &file, "--port", "5070-5072"], 1, "inspected port (5070-5072)"),
        (&["--capture", "/nonexistent.pcap"], 1, "/nonexistent.pcap: "),
        (&["--cpu", "1023"], 1, "CPU 1023"),
    ] {
        let (code, out, err) = bench(args);
        assert_eq!(code, status, "{args:?}: {err}");
        // With --json the error is an object on stdout as well.
        match args.contains(&"--json") {
            true => assert!(out.starts_with("{\"error\":") && out.contains(says), "{args:?}: {out}"),
            false => assert_eq!(out, "", "{args:?}"),
        }
        assert!(err.contains(says), "{args:?}: {err}");
    }
    let (code, _, err) = bench(&["--engine", "vectorscan", "--knocks", "1"]);
    let built_in = cfg!(feature = "vectorscan");
    assert_eq!(
        (code, err.contains("--features vectorscan")),
        (if built_in { 0 } else { 2 }, !built_in),
        "{err}"
    );
}

#[test]
fn a_configuration_that_is_not_needed_is_not_read() {
    let folder = TempDir::new().unwrap();
    let config = written(&folder, "broken.toml", b"nonsense");
    let (status, _, err) = bench(&["--config", &config, "--knocks", "1", "--style", "random"]);
    assert_eq!((status, err.as_str()), (0, ""));
}
