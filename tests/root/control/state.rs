//! Doors that survive the gate.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::Signal;
use serde_json::Value;
use sipknock::net::{Prefixes, Source};
use sipknock::state::format::{Saved, Writer, read};
use sipknock::time::Time;

use crate::common::commands::{assert_same_doors, doors, says, stats};
use crate::common::gate::{DEADLINE, Gate, SECRET, World, register, trusting, wait_until};
use crate::common::log::warnings;
use crate::control::two_knocks;

/// A gate that keeps its doors.
struct Kept {
    gate: Gate,
    config: String,
    file: String,
}

impl Kept {
    fn start(world: &World) -> Self {
        let file = world.path("doors");
        let config = world.guarded("", "", &two_knocks());
        Self { gate: run(world, &config, &file), config, file }
    }

    /// Waits until the file has so many doors.
    fn has_on_disk(&self, doors: usize) {
        let on_disk = || saved(&self.file).map_or(0, |saved| saved.doors.len());
        let there = wait_until(|| (on_disk() == doors).then_some(()));
        there.unwrap_or_else(|| panic!("{} doors are on disk, and not {doors}", on_disk()));
    }

    fn kill(self, world: &World) -> (Self, BTreeMap<String, Value>) {
        let before = doors(world, &self.config);
        self.gate.signal(Signal::KILL);
        let Self { gate, config, file } = self;
        drop(gate);
        (Self { gate: run(world, &config, &file), config, file }, before)
    }

    fn stop(self) -> (String, String) {
        assert!(self.gate.stop().0.success());
        (self.config, self.file)
    }
}

/// The file's content, where there is one.
fn saved(file: &str) -> Option<Saved> {
    read(&*fs::read(file).ok()?).ok()
}

fn run(world: &World, config: &str, file: &str) -> Gate {
    Gate::start(world, &["--config", config, "--state", file])
}

/// Seconds since 1970 of a field.
fn seconds(door: &Value, field: &str) -> i64 {
    let text = door[field].as_str().unwrap();
    text.parse::<jiff::Timestamp>().unwrap().as_second()
}

pub(crate) fn doors_survive_kill_9_and_restart(world: &World) {
    let kept = Kept::start(world);
    let (alice, bob, stranger) =
        (world.client("198.51.100.7"), world.client("198.51.100.8"), world.client("198.51.100.9"));
    alice.send("some packets");
    alice.send(&register(SECRET));
    bob.send(&register("another-long-one"));
    says(world, &kept.config, &["doors", "open", "2001:db8:0:2::7", "--for", "1h"]);
    world.delivered();
    kept.has_on_disk(3);
    let (mut kept, before) = kept.kill(world);
    assert_eq!(before.len(), 3);
    assert_same_doors(&before, &doors(world, &kept.config), true);
    for (phone, text) in [(&alice, "alice"), (&bob, "bob"), (&stranger, "stranger")] {
        phone.send(text);
    }
    assert_eq!(world.delivered(), ["alice", "bob"]);
    // Bob's knock has room for one, and that is taken.
    world.client("198.51.100.10").send(&register("another-long-one"));
    assert_eq!(world.delivered(), [""; 0]);
    // A clean end writes what there is at that moment, and a closed door stays closed.
    says(world, &kept.config, &["doors", "close", "198.51.100.8"]);
    let before = doors(world, &kept.config);
    let (config, file) = kept.stop();
    kept = Kept { gate: run(world, &config, &file), config, file };
    assert_same_doors(&before, &doors(world, &kept.config), true);
    assert_eq!(before["198.51.100.7"]["packets"], 2);
    // A knock that is gone from the configuration opens nothing.
    let (_, file) = kept.stop();
    let config = world.config_with_knocks(
        &trusting(""),
        "",
        "[[knock]]\nname = \"carol\"\nsecret = \"carols-own-secret\"\n",
    );
    let gate = run(world, &config, &file);
    assert_eq!(
        doors(world, &config).into_values().map(|door| door["knock"].clone()).collect::<Vec<_>>(),
        ["manual"]
    );
    alice.send("alice");
    assert_eq!(world.delivered(), [""; 0]);
    assert!(gate.stop().0.success());
}

/// What is on disk survives, and doors get there soon: within a second on a machine that is not busy.
pub(crate) fn nothing_older_than_a_second_is_lost(world: &World) {
    let mut kept = Kept::start(world);
    let mut knocked: BTreeMap<Source, (String, Instant)> = BTreeMap::new();
    let mut on_disk: BTreeSet<Source> = BTreeSet::new();
    let mut longest = Duration::ZERO;
    let mut next = 1..=240;
    for round in 1..=3 {
        let start = Instant::now();
        let mut look = |knocked: &BTreeMap<Source, (String, Instant)>| {
            for door in saved(&kept.file).into_iter().flat_map(|saved| saved.doors) {
                if on_disk.insert(door.source) {
                    longest = longest.max(knocked[&door.source].1.elapsed());
                }
            }
            on_disk.len()
        };
        // A kill at another moment between two writes in each round.
        while look(&knocked) < 20 * round
            || start.elapsed() < Duration::from_millis(1500 + 230 * round as u64)
        {
            assert!(start.elapsed() < DEADLINE, "{} doors are on disk", on_disk.len());
            if let Some(n) = next.next() {
                let text = format!("198.51.100.{n}");
                let source = Source::new(text.parse().unwrap(), Prefixes::default());
                knocked.insert(source, (text.clone(), Instant::now()));
                world.client(&text).send(&register(SECRET));
                world.delivered();
            }
            thread::sleep(Duration::from_millis(30));
        }
        let killed = Instant::now();
        kept.gate.signal(Signal::KILL);
        let Kept { gate, config, file } = kept;
        drop(gate);
        kept = Kept { gate: run(world, &config, &file), config, file };
        let doors = doors(world, &kept.config);
        for (source, (text, at)) in &knocked {
            let there = doors.contains_key(text);
            assert!(there || !on_disk.contains(source), "{text} was on disk");
            assert!(there || killed - *at < GENEROUS, "{text} knocked {:?} before", killed - *at);
        }
        knocked.retain(|_, (text, _)| doors.contains_key(text));
        // Those that got there unseen are not measured.
        on_disk.extend(knocked.keys());
    }
    eprintln!("doors were on disk {longest:?} after their knocks, at the latest");
    assert!(longest < GENEROUS, "{longest:?}");
}

/// Ten times what a door may take to the disk.
const GENEROUS: Duration = Duration::from_secs(10);

/// Gives a state file another content.
fn edit(file: &str, edit: impl FnOnce(&mut Saved)) {
    let mut saved = read(&*fs::read(file).unwrap()).unwrap();
    edit(&mut saved);
    let names = saved.names.iter().map(String::as_str);
    let mut out = Writer::new(Vec::new(), &saved.stamp, saved.prefixes, names).unwrap();
    saved.doors.iter().for_each(|door| out.door(door).unwrap());
    fs::write(file, out.finish().unwrap()).unwrap();
}

/// As a gate has left them that knew no such networks.
pub(crate) fn doors_of_networks_that_are_no_sources(world: &World) {
    let kept = Kept::start(world);
    world.client("198.51.100.7").send(&register(SECRET));
    world.delivered();
    let (config, file) = kept.stop();
    edit(&file, |saved| {
        let alice = saved.doors[0].clone();
        for shared in ["64:ff9b::c000:207", "fe80::1", "2001:0:1:2:3::", "2001:db8:7::1"] {
            let source = Source::new(shared.parse().unwrap(), Prefixes::default());
            saved.doors.push(sipknock::state::format::DoorRecord { source, ..alice.clone() });
        }
    });
    let gate = run(world, &config, &file);
    let doors = doors(world, &config);
    assert_eq!(doors.keys().collect::<Vec<_>>(), ["198.51.100.7", "2001:db8:7::/64"]);
    gate.wait_for_note("2 open again, 0 have run out, 0 are of knocks that are gone, 0 find no room, 3 are of networks in which");
    assert!(gate.stop().0.success());
}

pub(crate) fn a_reboot_counts_the_time_down(world: &World) {
    let kept = Kept::start(world);
    world.client("198.51.100.7").send(&register(SECRET));
    world.client("198.51.100.8").send(&register("another-long-one"));
    world.delivered();
    let before = doors(world, &kept.config);
    let down = Instant::now();
    let (config, file) = kept.stop();
    let original = fs::read(&file).unwrap();
    let back = |wall: Time, secs: u64| Time::from_nanos(wall.as_nanos() - secs * 1_000_000_000);
    let ahead = |wall: Time, secs: u64| wall.after(Duration::from_secs(secs));
    // How long ago the wall clock says that it was written, and how much less time alice's door has for it.
    for (name, wall, less, open) in [
        ("a minute down", &(|wall| back(wall, 60)) as &dyn Fn(Time) -> Time, 60, 2),
        ("longer than bob's door", &|wall| back(wall, 200), 200, 1),
        ("a day", &|wall| back(wall, 86_400), 0, 0),
        ("a clock that was set back", &|wall| ahead(wall, 86_400), 0, 2),
    ] {
        fs::write(&file, &original).unwrap();
        edit(&file, |saved| {
            saved.stamp.boot ^= 1;
            saved.stamp.wall = wall(saved.stamp.wall);
        });
        let gate = run(world, &config, &file);
        let after = doors(world, &config);
        assert_eq!(after.len(), open, "{name}");
        if let Some(door) = after.get("198.51.100.7") {
            let moved = seconds(&before["198.51.100.7"], "expires") - seconds(door, "expires");
            // With the clock set back, the time from the end of the one to the start of the other is not counted.
            let uncounted = i64::try_from(down.elapsed().as_secs()).unwrap() + 1;
            assert!((less - uncounted..=less + 1).contains(&moved), "{name}: {moved}");
        }
        drop(gate);
    }
    // Within the same boot, the wall clock is not asked.
    fs::write(&file, &original).unwrap();
    edit(&file, |saved| saved.stamp.wall = back(saved.stamp.wall, 86_400));
    let _gate = run(world, &config, &file);
    assert_same_doors(&before, &doors(world, &config), true);
}

pub(crate) fn damaged_state_is_set_aside(world: &World) {
    let kept = Kept::start(world);
    let alice = world.client("198.51.100.7");
    alice.send(&register(SECRET));
    world.delivered();
    let (config, file) = kept.stop();
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (name, content, says_why) in [
        ("flipped", flipped.as_slice(), "its checksum is wrong"),
        ("cut", &whole[..whole.len() - 20], "it ends too soon"),
        ("empty", &[], "it is no file of doors"),
        ("foreign", b"root:x:0:0:root:/root:/bin/bash\n", "it is no file of doors"),
    ] {
        fs::write(&file, content).unwrap();
        let gate = run(world, &config, &file);
        let warned = gate.wait_for_warning("doors of before are lost");
        assert!(warned.contains(says_why), "{name}: {warned}");
        assert_eq!(fs::read(format!("{file}.damaged")).unwrap(), content, "{name}");
        alice.send("shut");
        alice.send(&register(SECRET));
        alice.send("open");
        assert_eq!(world.delivered().len(), 2, "{name}");
        assert!(gate.stop().0.success());
        assert_eq!(read(&*fs::read(&file).unwrap()).unwrap().doors.len(), 1, "{name}");
    }
}

/// A file system of a few pages, while this lives.
struct Tiny(String);

impl Tiny {
    fn mount(folder: &str) -> Option<Self> {
        fs::create_dir(folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "tmpfs", folder]).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        assert!(Command::new("mount").args(["-o", &option, &self.0]).status().unwrap().success());
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

pub(crate) fn disk_full(world: &World) {
    // Where nothing can be mounted, there is no disk to fill.
    let Some(tiny) = Tiny::mount(&world.path("tiny")) else { return };
    let file = format!("{}/doors", tiny.0);
    fails_and_recovers(world, &tiny, &file, "No space left", || {}, "size=1m");
}

pub(crate) fn read_only_state(world: &World) {
    let Some(tiny) = Tiny::mount(&world.path("tiny")) else { return };
    tiny.remount("size=1m");
    let file = format!("{}/doors", tiny.0);
    fails_and_recovers(world, &tiny, &file, "Read-only file system", || tiny.remount("ro"), "rw");
}

fn fails_and_recovers(world: &World, tiny: &Tiny, file: &str, why: &str, fail: impl FnOnce(), mend: &str) {
    world.apply_rules(&world.config("", ""));
    let config = world.config_with_knocks(&trusting(""), "", &two_knocks());
    let gate = run(world, &config, file);
    fail();
    let phones: Vec<_> = (1..=100).map(|n| world.client(&format!("198.51.100.{n}"))).collect();
    for phone in &phones {
        phone.send(&register(SECRET));
        phone.send("open");
    }
    assert_eq!(world.delivered().len(), 200, "the gate continues");
    let failing = Instant::now();
    let warned = gate.wait_for_warning("can't be kept");
    assert!(warned.contains(why), "{warned}");
    let failures = || stats(world, &config)["state"]["failures"].as_u64().unwrap();
    wait_until(|| (failures() >= 3).then_some(())).expect("it tries again");
    tiny.remount(mend);
    wait_until(|| {
        fs::read(file).ok().filter(|bytes| read(&**bytes).is_ok_and(|saved| saved.doors.len() == 100))
    })
    .expect("it is written once it can be");
    let (status, _, log) = gate.stop();
    assert!(status.success());
    assert!(log.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains("are kept in"))));
    let count = warnings(&log).iter().filter(|text| text.contains("can't be kept")).count() as u64;
    assert!(count <= 1 + failing.elapsed().as_secs() / 60, "once a minute: {log:#?}");
}

pub(crate) fn two_gates_and_one_file(world: &World) {
    let kept = Kept::start(world);
    world.client("198.51.100.7").send(&register(SECRET));
    world.delivered();
    let config = world.config_with_knocks(&trusting(""), "numbers = \"7\"", &two_knocks());
    let other = run(world, &config, &kept.file);
    other.wait_for_warning("the doors of another sipknock");
    assert!(doors(world, &config).is_empty());
    let (status, _, _) = other.stop();
    assert!(status.success());
    let (config, file) = kept.stop();
    assert_eq!(read(&*fs::read(&file).unwrap()).unwrap().doors.len(), 1, "it was not written over");
    let gate = Gate::start(world, &["--config", &config, "--state", "off"]);
    assert!(!gate.threads().iter().any(|name| name == "state"));
    assert!(doors(world, &config).is_empty());
    // Where it can't be made, the gate goes on without.
    drop(gate);
    let gate = run(world, &config, "/proc/no/such/place");
    gate.wait_for_warning("will not survive a restart");
    assert!(gate.stop().0.success());
}
