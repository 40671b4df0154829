//! A gate's whole life with `seccomp = "kill"`, where any call that is not foreseen ends it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::gate::{DEADLINE, SECRET, World, register, wait_until};
use crate::harden::{House, all_threads_have};

pub(crate) fn a_whole_life_behind_the_strictest_filter_batched() {
    behind_the_strictest_filter("batched");
}

pub(crate) fn a_whole_life_behind_the_strictest_filter_nfq() {
    behind_the_strictest_filter("nfq");
}

/// Start, knocks, drops, all that its owner can do, two kinds of reload, what it learned, and the end.
fn behind_the_strictest_filter(backend: &str) {
    let house = House::new(true);
    let config = house.config(&format!(
        "[process]\nseccomp = \"kill\"\n[queue]\nbackend = \"{backend}\"\nnumbers = \"0-1\""
    ));
    let learned = house.folder("learned", 0o770).join("learned.json");
    let mut gate =
        house.start(&["--config", &config, "--firewall", &format!("--learn={}", learned.display())]);
    assert!(gate.says("seccomp is on"));
    let mut watch = house
        .world
        .sipknock(&["--config", &config, "watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(watch.stdout.take().unwrap()).lines();

    live(&house.world, &register(SECRET));
    let _ = events.next().expect("one who watches sees the knock").unwrap();
    for words in [
        &["doors", "--json"][..],
        &["doors", "open", "198.51.100.9", "--for", "1h"],
        &["doors", "close", "198.51.100.9"],
        &["stats", "--json"],
        &["reload"],
        &["doors", "flush"],
    ] {
        house.says(&config, words);
    }
    // A configuration that is no good, and one whose secret is in another file.
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, "nonsense").unwrap();
    gate.signal(Signal::HUP);
    gate.wait_for_warning("not reloaded");
    let secret = Path::new(&config).with_file_name("bob");
    crate::harden::write_secret(&secret, "another-long-secret\n");
    house.to_group(&secret, 0o640);
    fs::write(&config, format!("{good}[[knock]]\nname = \"bob\"\nsecret_file = \"bob\"\n")).unwrap();
    gate.signal(Signal::HUP);
    // One by the command and this one.
    gate.wait_for_events("reloaded", 2);
    live(&house.world, &register("another-long-secret"));

    gate.signal(Signal::USR1);
    wait_until(|| learned.exists().then_some(())).unwrap();
    let doors = house.world.path("lib/doors");
    wait_until(|| Path::new(&doors).exists().then_some(())).unwrap();
    // A summary of drops, every ten seconds.
    gate.wait_for("dropped", |_| true);
    all_threads_have(gate.pid(), &[("Seccomp", "2")]);
    kill_process(Pid::from_child(&watch), Signal::TERM).unwrap();
    watch.wait().unwrap();
    let (ended, last, log) = gate.stop();
    assert!(ended.success() && last["event"] == "stopped", "{ended}: {log:#?}");
    assert!(log.iter().all(|line| line["event"] != "fault"), "its queues are its own throughout: {log:#?}");
    // It comes back with its doors.
    let gate = house.start(&["--config", &config]);
    assert!(house.says(&config, &["doors"]).contains("198.51.100.8"));
    let (ended, _, _) = gate.stop();
    assert!(ended.success(), "{ended}");
}

/// The journal's own socket is stood in for by one of ours, in a mount namespace of the gate's.
pub(crate) fn the_journal_behind_the_strictest_filter() {
    let house = House::new(true);
    let config = house.config("[process]\nseccomp = \"kill\"");
    let folder = house.folder("journal", 0o755);
    let journal = UnixDatagram::bind(folder.join("socket")).unwrap();
    std::os::unix::fs::chown(folder.join("socket"), Some(0), Some(crate::harden::GROUP)).unwrap();
    let _ = fs::set_permissions(folder.join("socket"), std::os::unix::fs::PermissionsExt::from_mode(0o666));
    journal.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let place = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
                 mount --bind \"$1\" /run/systemd/journal && shift && exec \"$@\"";
    let mut command = house.world.server.command("sh");
    command.args(["-c", place, "sh", folder.to_str().unwrap(), env!("CARGO_BIN_EXE_sipknock")]);
    command.args(["--log-format", "journald", "-v", "run", "--firewall", "--config", &config]);
    let mut gate = command.stderr(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    let mut hear = |wanted: &str| {
        let deadline = std::time::Instant::now() + DEADLINE;
        let mut buffer = vec![0; 65_536];
        while !said.contains(wanted) {
            assert!(std::time::Instant::now() < deadline, "no {wanted:?} in {said}");
            if let Ok(length) = journal.recv(&mut buffer) {
                said.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        }
    };
    hear("the gate is up");
    live(&house.world, &register(SECRET));
    hear("door opened");
    kill_process(Pid::from_child(&gate), Signal::TERM).unwrap();
    hear("the gate is down");
    let ended = gate.wait().unwrap();
    assert!(ended.success(), "{ended}");
}

/// Strangers and phones, over IPv4 and IPv6.
fn live(world: &World, knock: &str) {
    let stranger = world.client("198.51.100.66");
    (0..50).for_each(|_| stranger.send("stranger"));
    for address in ["198.51.100.8", "2001:db8:0:2::7"] {
        world.client(address).send(knock);
    }
    let seen = wait_until(|| (world.receive()? == knock).then_some(()));
    assert!(seen.is_some(), "the phone gets in: {knock} rows {:?}", world.queue_row(0));
}
