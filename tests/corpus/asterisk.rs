//! A real Asterisk that qualifies its phones and registers to a trunk: it speaks first, and is called back.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::Value;

const PBX: &str = "192.0.2.10";
const TRUNK: &str = "192.0.2.50";
const STRANGER: &str = "192.0.2.66";
/// The `+sip.instance` of the phone over UDP, and of the one over TCP.
const KNOCKS: [&str; 2] =
    ["a=4fffd3d2-23be-69ae-1d20-03add46eabde", "b=5139804f-6fb5-05af-c26f-11afbd2c2965"];

/// Without the PBX's address its trunk is a stranger; with it, the trunk answers and calls, and a stranger stays one.
pub(crate) fn replayed(path: &Path) -> Result<(), Failed> {
    let fates = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sipknock"));
        command.args(["replay", "--json", "--config", "tests/data/empty.toml"]).args(args).arg(path);
        KNOCKS.iter().for_each(|knock| _ = command.args(["--knock", knock]));
        let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut fates: BTreeMap<(String, String), u64> = BTreeMap::new();
        for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).unwrap();
            if let (Some(from), Some(reason)) = (line["src"].as_str(), line["reason"].as_str()) {
                let out = line.get("direction").is_some_and(|direction| direction == "out");
                assert_eq!(out, reason == "outgoing", "{line}");
                assert!(!out || line["verdict"] == "accept", "{line}");
                *fates.entry((from.to_owned(), reason.to_owned())).or_default() += 1;
            }
        }
        fates
    };
    let count = |fates: &BTreeMap<(String, String), u64>, from: &str, reason: &str| {
        fates.get(&(from.to_owned(), reason.to_owned())).copied().unwrap_or(0)
    };
    let known = fates(&["--pbx", PBX]);
    assert_eq!(count(&known, TRUNK, "outbound"), 5);
    assert_eq!(count(&known, STRANGER, "no-knock"), 2);
    assert_eq!(known.keys().filter(|(from, _)| from == TRUNK || from == STRANGER).count(), 2, "{known:?}");
    assert!(known.keys().all(|(from, reason)| (from == PBX) == (reason == "outgoing")), "{known:?}");
    let unknown = fates(&[]);
    assert_eq!(count(&unknown, TRUNK, "no-knock"), 5);
    assert_eq!(count(&unknown, TRUNK, "outbound"), 0);
    Ok(())
}
