//! What many doors take, and how long a queue waits for one.
//!
//! Each number of doors is measured in a process of its own, whose memory nothing else has used before.

use std::fs;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use sipknock::door::{DoorState, DoorTable, Grant, Key, Lookup};
use sipknock::knock::KnockId;
use sipknock::net::{Prefixes, Source};
use sipknock::time::Time;

/// The argument with which this program is the one that measures so many doors.
pub(crate) const DOORS: &str = "--doors";

/// What was seen of so many doors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) doors: u32,
    /// Resident memory for each.
    pub(crate) bytes: f64,
    /// Nanoseconds for a door, asked for among those of a batch, and alone.
    pub(crate) get: f64,
    pub(crate) get_alone: f64,
    /// For how long a shard is locked by a sweep, and by a knock at most while it grows.
    pub(crate) sweep: Duration,
    pub(crate) grow: Duration,
}

pub(crate) fn measure_all() -> Vec<Seen> {
    SIZES.map(measure_apart).to_vec()
}

fn measure_apart(doors: u32) -> Seen {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([DOORS, &doors.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let &[bytes, get, get_alone, sweep, grow] = &numbers[..] else { panic!("{text}") };
    let [sweep, grow] = [sweep, grow].map(Duration::from_secs_f64);
    Seen { doors, bytes, get, get_alone, sweep, grow }
}

/// Measures, and prints what `measure_apart` reads.
pub(crate) fn measure(doors: u32) {
    let before = resident();
    let (table, mut grow) = filled(doors);
    let bytes = (resident() - before) as f64 / f64::from(doors);
    let get = median(|| batches(&table, doors));
    let get_alone = median(|| alone(&table, doors));
    let sweep = sweep_of_a_shard(&table);
    // The longest of a million is that of whoever was interrupted; in the best of some tables nobody was.
    for _ in 0..4 {
        grow = grow.min(filled(doors).1);
    }
    println!("{bytes} {get} {get_alone} {} {}", sweep.as_secs_f64(), grow.as_secs_f64());
}

/// A table with so many open doors, and how long the slowest knock took.
fn filled(doors: u32) -> (DoorTable, Duration) {
    let table = DoorTable::new(2_000_000, [None]);
    let mut slowest = Duration::ZERO;
    for number in 0..doors {
        let began = Instant::now();
        black_box(table.knock(source(number), NOW, &[GRANT]));
        slowest = slowest.max(began.elapsed());
    }
    (table, slowest)
}

/// Nanoseconds for each of many doors, asked for as queues do.
fn batches(table: &DoorTable, doors: u32) -> f64 {
    let mut random = random(doors);
    let began = Instant::now();
    for _ in 0..GETS / BATCH {
        let mut batch: [Key; BATCH] = std::array::from_fn(|_| table.key(random()));
        let mut open = 0;
        let ask = |key: &Key| Some(Lookup { key: *key, bytes: 700 });
        table.pass_together(&mut batch, NOW, ask, |_, state| open += usize::from(state == DoorState::Open));
        assert_eq!(open, BATCH);
    }
    began.elapsed().as_secs_f64() * 1e9 / GETS as f64
}

fn alone(table: &DoorTable, doors: u32) -> f64 {
    let mut random = random(doors);
    let began = Instant::now();
    (0..GETS).for_each(|_| assert_eq!(table.pass(table.key(random()), NOW, 700), DoorState::Open));
    began.elapsed().as_secs_f64() * 1e9 / GETS as f64
}

/// The best of some sweeps, in which nobody interrupted, divided by the shards, of which one is locked at a time.
fn sweep_of_a_shard(table: &DoorTable) -> Duration {
    let sweep = || {
        let began = Instant::now();
        assert!(table.sweep(NOW).is_empty());
        began.elapsed()
    };
    let best = (0..ROUNDS).map(|_| sweep()).min().unwrap();
    best / u32::try_from(DoorTable::SHARDS).unwrap()
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Sources with a door, in no order that a cache could foresee.
fn random(doors: u32) -> impl FnMut() -> Source {
    let mut state = 1u32;
    move || {
        // Numerical Recipes' generator; its low bits have short periods.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        source((state >> 8) % doors)
    }
}

/// Spread over all addresses.
fn source(number: u32) -> Source {
    Source::new(Ipv4Addr::from(number.wrapping_mul(2_654_435_761)).into(), Prefixes::default())
}

/// Bytes of this process that are in memory (proc(5), /proc/pid/status).
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

pub(crate) const SIZES: [u32; 3] = [1000, 100_000, 1_000_000];
const GRANT: Grant = Grant { knock: KnockId::FIRST, life: Duration::from_secs(4000), registration: None };
const NOW: Time = Time::from_parts(1_800_000_000, 0);
const GETS: usize = 1_000_000;
const ROUNDS: usize = 5;
/// Packets that a queue takes at once.
const BATCH: usize = 32;
