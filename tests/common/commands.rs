//! What a gate's owner types, and what comes back.

use std::collections::BTreeMap;

use serde_json::Value;

use super::gate::World;
use super::process;

/// Exit status, stdout, stderr.
pub(crate) fn sipknock(world: &World, config: &str, args: &[&str]) -> (i32, String, String) {
    let output = world.sipknock(&[&["--config", config], args].concat()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What it says, where it does what it is asked.
pub(crate) fn says(world: &World, config: &str, args: &[&str]) -> String {
    let (status, out, err) = sipknock(world, config, args);
    assert_eq!(status, 0, "{args:?}: {err}");
    out
}

/// The same as JSON lines.
pub(crate) fn objects(world: &World, config: &str, args: &[&str]) -> Vec<Value> {
    says(world, config, args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The counters, with all packets that were decided before this call.
pub(crate) fn stats(world: &World, config: &str) -> Value {
    let stats = || objects(world, config, &["stats", "--json"]).remove(0);
    process::settle(stats()["pid"].as_u64().unwrap().try_into().unwrap());
    stats()
}

/// The open doors, by source.
pub(crate) fn doors(world: &World, config: &str) -> BTreeMap<String, Value> {
    let doors = objects(world, config, &["doors", "--json"]);
    doors.into_iter().map(|door| (door["source"].as_str().unwrap().to_owned(), door)).collect()
}

/// They are as they were, to the second; `packets` and `bytes` too where nothing has passed meanwhile.
pub(crate) fn assert_same_doors(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
    quiet: bool,
) {
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let seconds =
        |door: &Value| door["expires"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    for (source, door) in before {
        let again = &after[source];
        let counts: &[&str] = if quiet { &["packets", "bytes"] } else { &[] };
        for field in [&["knock", "opened", "last_knock"], counts].concat() {
            assert_eq!(door[field], again[field], "{field} of {source}");
        }
        assert!((seconds(door) - seconds(again)).abs() <= 1, "{door} {again}");
    }
}

/// The control socket of a gate with a configuration of [`World::config`].
pub(crate) fn socket(config: &str) -> String {
    config.replace(".toml", ".sock")
}
