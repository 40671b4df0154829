//! The wall clock.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;
use sipknock::net::{Prefixes, Source};
use sipknock::state::format::read;

use crate::common::gate::{Gate, SECRET, World, register, wait_until};
use crate::faults::{Outcome, Site, prepare};

/// libfaketime gives one process another wall clock, which follows a file. The clock that runs from boot on is asked for by
/// system calls, and stays what it is.
pub(crate) fn clock_set_back_and_forth(world: &World) -> Outcome {
    let Some(library) = LIBRARIES.into_iter().find(|path| fs::exists(path).unwrap_or(false)) else {
        return Outcome::Impossible("needs libfaketime");
    };
    let (config, arguments) = prepare(world, "", "");
    let setting = world.path("clock");
    let set = |to: &str| {
        // As a whole: it is read again for each look at the clock.
        fs::write(format!("{setting}.new"), to).unwrap();
        fs::rename(format!("{setting}.new"), &setting).unwrap();
    };
    let start = || {
        let mut command = world.server.command("env");
        command.args([
            &format!("LD_PRELOAD={library}"),
            &format!("FAKETIME_TIMESTAMP_FILE={setting}"),
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            env!("CARGO_BIN_EXE_sipknock"),
            "--log-format",
            "json",
            "run",
        ]);
        command.args(&arguments);
        let mut gate = Gate::spawn_command(command);
        gate.wait_for("started", |_| true);
        gate
    };
    set("+0");
    let mut site = Site::around(world, start(), config);
    let started = site.gate.wait_for("started", |_| true);
    let today = started["timestamp"].as_str().unwrap()[..10].to_owned();
    let left = |site: &Site<'_>| {
        let (status, said) = site.sipknock(&["doors", "--json", "--source", "198.51.100.7"]);
        assert_eq!(status, 0, "{said}");
        let door: serde_json::Value = serde_json::from_str(&said).unwrap();
        door["expires_in_s"].as_u64().unwrap()
    };
    let (before, asked) = (left(&site), Instant::now());
    for (number, (to, name)) in
        [("+1d", "a day ahead"), ("-1d", "a day back"), ("-40y", "forty years back"), ("+0", "right again")]
            .into_iter()
            .enumerate()
    {
        set(to);
        site.holds(name);
        let now = left(&site);
        let passed = asked.elapsed().as_secs() + 2;
        assert!((before - passed..=before).contains(&now), "{name}: {before} s are {now} s after {passed} s");
        // A door of a second runs out in its own time.
        let guest = format!("198.51.100.{}", 20 + number);
        let (status, said) = site.sipknock(&["doors", "open", &guest, "--for", "1s"]);
        assert_eq!(status, 0, "{said}");
        let closed = site.gate.wait_for("closed", |event| event["src"].as_str() == Some(&guest));
        let day = &closed["timestamp"].as_str().unwrap()[..10];
        assert_eq!(day == today, to == "+0", "{name}: the process sees it: {closed}");
        world.client(&guest).send("late");
        site.holds(name);
    }
    // A restart with another clock: it is the same boot, so that the wall clock is not asked.
    set("+1d");
    site.opens("198.51.100.30");
    let newcomer = Source::new("198.51.100.30".parse().unwrap(), Prefixes::default());
    let kept = || {
        let saved = read(&*fs::read(world.path("state/doors")).ok()?).ok()?;
        saved.doors.iter().any(|door| door.source == newcomer).then_some(())
    };
    wait_until(kept).expect("its door is on disk");
    let (before, asked) = (left(&site), Instant::now());
    site.gate.signal(Signal::KILL);
    let Site { gate, config, .. } = site;
    drop(gate);
    set("-1d");
    let site = Site {
        world,
        gate: start(),
        config,
        phone: world.client("198.51.100.30"),
        stranger: world.client(crate::faults::STRANGER),
    };
    let now = left(&site);
    let passed = asked.elapsed().as_secs() + 2;
    assert!((before - passed..=before + 1).contains(&now), "{before} s are {now} s after {passed} s");
    site.holds("after a restart with the clock set back");
    world.client("198.51.100.31").send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    site.ends();
    Outcome::Held
}

/// Where Debian has it.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];
