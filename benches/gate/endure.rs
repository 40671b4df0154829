//! Endurance: doors that open and run out all the time, at 100,000 packets per second. Memory stays as large as it is,
//! no descriptor is left open, nothing is lost, and each packet is decided as it should be.

use std::fs;
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::SENDER_CPU;
use super::common::gate::{World, wait_until};
use super::lab::{KEEPER_CPU, accepted, configured, count_accepted, pin};
use super::sender::Sender;
use super::traffic::{NAME, NOBODY, phone, secret, stranger};

/// A gate whose log nobody reads, and what can be seen of it from outside.
pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) config: String,
    child: Child,
}

impl Site {
    pub(crate) fn new(inspect: &str, knocks: usize) -> Self {
        let world = World::new("endure");
        count_accepted(&world);
        let config =
            world.config_with_knocks(&format!("max_doors = 200000\n{inspect}"), "", &configured(knocks));
        world.apply_rules(&config);
        pin(KEEPER_CPU);
        let child = gate(&world, &config, &[]);
        pin(SENDER_CPU);
        let site = Self { world, config, child };
        wait_until(|| site.says(&["stats", "--json"])).expect("the gate is up");
        site
    }

    /// Has another process take over. Whether the old one has ended in order, and the new one answers.
    pub(crate) fn take_over(&mut self) -> bool {
        pin(KEEPER_CPU);
        let mut old = std::mem::replace(&mut self.child, gate(&self.world, &self.config, &["--takeover"]));
        pin(SENDER_CPU);
        let ended = wait_until(|| old.try_wait().unwrap());
        ended.is_some_and(|status| status.success()) && wait_until(|| self.says(&["stats"])).is_some()
    }

    /// What a command prints, where it works.
    pub(crate) fn says(&self, args: &[&str]) -> Option<String> {
        let output = self.world.sipknock(&[&["--config", &self.config], args].concat()).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// How many packets have been decided, by a reason.
    pub(crate) fn decided(&self, reason: &str) -> u64 {
        let stats: Value = serde_json::from_str(&self.says(&["stats", "--json"]).unwrap()).unwrap();
        stats["reasons"][reason].as_u64().unwrap_or(0)
    }

    /// Waits until nothing is on its way any more. Packets that came to the queue, and that it lost.
    pub(crate) fn settle(&self) -> (u64, u64) {
        let mut before = None;
        let row = wait_until(|| {
            let row = self.world.queue_row(0)?;
            thread::sleep(Duration::from_millis(100));
            (before.replace(row) == Some(row) && row[0] == 0).then_some(row)
        });
        let [_, queue, socket, packets] = row.expect("the gate decides what waits");
        (packets, queue + socket)
    }

    fn look(&self) -> Sample {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the gate lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the gate lives");
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count();
        Sample { kib: line.trim().trim_end_matches(" kB").parse().unwrap(), descriptors }
    }
}

fn gate(world: &World, config: &str, args: &[&str]) -> Child {
    let state = world.path("doors");
    let mut command = world.sipknock(&[&["--config", config, "run", "--state", &state], args].concat());
    command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    kib: u64,
    descriptors: usize,
}

/// What a packet of the churn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Knock,
    /// From somebody who has knocked some seconds ago.
    Open,
    /// From somebody whose door has run out.
    Late,
    Stranger,
}

/// Of 50 packets one knocks, 24 come through open doors, one comes too late, and 24 are of strangers.
///
/// At first there are twice as many doors. A table of which more than half is in use doubles once it is full of living and
/// dead entries (hashbrown's `reserve_rehash`), and each of the 256 parts of the table of doors does so when chance has it:
/// so all of them have the size that they come to in the end.
fn churn(number: usize, warm: usize) -> (Kind, Ipv4Addr, [u8; NAME]) {
    let knocks = number / 50;
    // The same order each time, and not in a row.
    let ago = YOUNG + number.wrapping_mul(7919) % (OLD - YOUNG);
    match number % 50 {
        0 => (Kind::Knock, phone(knocks), secret(knocks % KNOCKS)),
        1..=24 if knocks > ago => (Kind::Open, phone(knocks - ago), NOBODY),
        26 if number < warm => (Kind::Knock, phone(knocks + HALF_THE_PHONES), secret(knocks % KNOCKS)),
        25 if knocks > GONE => (Kind::Late, phone(knocks - GONE), NOBODY),
        _ => (Kind::Stranger, stranger(number), NOBODY),
    }
}

/// Runs it for so many seconds, and says whether all was as it should be.
pub(crate) fn run(seconds: u64) -> bool {
    let warm_up = WARM_UP.min(usize::try_from(seconds).unwrap() / 3);
    let warm = warm_up * RATE as usize * 2 / 3;
    let site = Site::new(&format!("door = \"{DOOR}s\""), KNOCKS);
    let (over, mut kinds, mut samples) = (AtomicBool::new(false), [0u64; 4], Vec::new());
    let mut sent = (0, Duration::ZERO);
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            pin(SENDER_CPU);
            let (sender, mut kinds) = (Sender::new(&site.world), [0u64; 4]);
            let sent = sender.send_while(
                || !over.load(Ordering::Relaxed),
                usize::MAX,
                Some(RATE),
                |number| {
                    let (kind, address, name) = churn(number, warm);
                    kinds[kind as usize] += 1;
                    (address, name)
                },
            );
            (sent, kinds)
        });
        let start = Instant::now();
        for second in 1..=seconds {
            thread::sleep(Duration::from_secs(second).saturating_sub(start.elapsed()));
            let sample = site.look();
            if second % 10 == 0 {
                let lost = site.world.queue_row(0).map_or(0, |row| row[1] + row[2]);
                eprintln!("{second} s: {} KiB, {} descriptors, {lost} lost", sample.kib, sample.descriptors);
            }
            samples.push(sample);
        }
        over.store(true, Ordering::Relaxed);
        (sent, kinds) = sending.join().unwrap();
    });
    let (queued, lost) = site.settle();
    let [phones, strangers] = accepted(&site.world);
    let [knocks, open, late, others] = kinds;
    let rate = sent.0 as f64 / sent.1.as_secs_f64();
    let mut findings = Findings::default();
    findings.check(rate > 0.98 * RATE, &format!("{rate:.0} packets per second"));
    findings.check(
        (queued, lost) == (sent.0 as u64, 0),
        &format!("{} sent, {queued} queued, {lost} lost there", sent.0),
    );
    findings.check(
        phones == knocks + open,
        &format!("{phones} accepted of {knocks} knocks and {open} packets through open doors"),
    );
    findings.check(strangers == 0, &format!("{strangers} accepted of {others} packets of strangers"));
    let expired = site.decided("expired");
    findings.check(
        expired == late,
        &format!("{expired} dropped of {late} packets through doors that had run out"),
    );
    findings.steady(&samples, warm_up);
    findings.all_held
}

/// Prints what was found, and knows whether all of it is good.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) all_held: bool,
}

impl Default for Findings {
    fn default() -> Self {
        Self { all_held: true }
    }
}

impl Findings {
    pub(crate) fn check(&mut self, held: bool, what: &str) {
        println!("{}: {what}", if held { "ok" } else { "FAULT" });
        self.all_held &= held;
    }

    /// Memory and descriptors, after the time in which doors and those who are remembered become as many as they will be.
    fn steady(&mut self, samples: &[Sample], warm_up: usize) {
        let warm = samples.get(warm_up..).unwrap_or_default();
        let (first, last) = warm.split_at(warm.len() / 2);
        let mean = |half: &[Sample]| {
            half.iter().map(|sample| sample.kib).sum::<u64>() as f64 / half.len().max(1) as f64
        };
        let (before, after) = (mean(first), mean(last));
        let change = (after / before - 1.0) * 100.0;
        self.check(
            change.abs() <= 2.0,
            &format!("{before:.0} KiB resident in the first half, {after:.0} in the last: {change:+.2} %"),
        );
        let descriptors = warm.iter().map(|sample| sample.descriptors);
        let (least, most) = (descriptors.clone().min().unwrap_or(0), descriptors.max().unwrap_or(0));
        // One is open while doors are written down, and one for their folder.
        self.check(most - least <= 2, &format!("{least} to {most} descriptors"));
        let ends = |half: &[Sample]| half.iter().map(|sample| sample.descriptors).min().unwrap_or(0);
        let (before, after) = (ends(first), ends(last));
        self.check(
            before == after,
            &format!("{before} descriptors at rest in the first half, {after} in the last"),
        );
    }
}

const RATE: f64 = 100_000.0;

/// Seconds. 2,000 open each second, and are remembered for as long again.
const DOOR: u64 = 10;

const KNOCKS: usize = 100;

/// In knocks, of which there are 2,000 a second: through a door that is open for a twentieth of a second to five.
const YOUNG: usize = 100;
const OLD: usize = 10_000;

/// So that nobody is late whose door was opened again, or the other way round.
const HALF_THE_PHONES: usize = 32_768;

/// The same: the door has run out, and is still remembered.
const GONE: usize = 30_000;

/// Seconds: by then each source has knocked.
const WARM_UP: usize = 60;
