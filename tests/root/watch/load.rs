//! Flushes under load: how long packets go by, who says so, and what becomes of each packet.

use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;

use super::{SLOWEST, looked, metric, other, run, start};
use crate::common::commands::{says, stats};
use crate::common::gate::{Gate, PORT, SECRET, World, register, wait_until};

/// A way to remove the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    /// `iptables -F`, which keeps what waits in the queue.
    Chains,
    /// `iptables -F; iptables -X`, which removes base chains as well.
    Script,
    /// `nft flush ruleset`, while packets wait for a gate that is halted.
    Ruleset,
}

impl Flush {
    const ALL: [Self; 3] = [Self::Chains, Self::Script, Self::Ruleset];

    fn carry_out(self, world: &World) {
        match self {
            Self::Chains => other(world, "iptables -F"),
            Self::Script => {
                assert!(run(world, "sh", &["-c", "iptables -F; iptables -X"]).status.success());
            }
            Self::Ruleset => other(world, "nft flush ruleset"),
        }
    }

    /// Families whose rules it removes.
    fn families(self) -> usize {
        if self == Self::Ruleset { 2 } else { 1 }
    }

    /// Whether the kernel drops what waits in a queue.
    fn loses(self) -> bool {
        self != Self::Chains
    }
}

/// The numbers of the next packets.
#[derive(Default)]
struct Sent {
    strangers: AtomicU64,
    phones: AtomicU64,
}

/// A flush and what came of it.
#[derive(Debug)]
struct Round {
    flush: Flush,
    /// Numbers of the strangers' packets that may have passed by.
    strangers: Range<u64>,
    /// Numbers of the phone's packets that may have waited when it happened.
    phones: Range<u64>,
    /// Time from its beginning until the test read that the rules are back.
    took: Duration,
    /// The same from the beginning of the round: others make changes in it, and a loss counts from the first change on that
    /// the watch has not looked at.
    most: Duration,
    /// Seconds without rules, as the log has it.
    logged: f64,
    /// Seconds from its beginning until the log said that they are missing.
    told: f64,
}

/// What the receiver got.
#[derive(Default)]
struct Arrived {
    strangers: Vec<u64>,
    phones: HashSet<u64>,
}

/// Sets flags when dropped.
struct Ends<'a>([&'a AtomicBool; 2]);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
    }
}

/// A stranger and a phone with an open door send all the while, and number what they send.
/// Twelve flushes at some 5,000 packets a second; with SIPKNOCK_LONG=1 fifty at some 20,000, and within the times that are
/// promised.
pub(super) fn flushes_under_load(world: &World) {
    let long = std::env::var_os("SIPKNOCK_LONG").is_some();
    let (count, burst) = if long { (50, 80) } else { (12, 20) };
    let (gate, config) = start(world);
    world.client(PHONE).send(&register(SECRET));
    assert!(wait_until(|| world.receive()).is_some(), "the door opens");
    let missing = || metric(world, "sipknock_rules_missing_seconds_total").unwrap();
    let missing_before = missing();

    let (sent, ends, over) = (Sent::default(), AtomicBool::new(false), AtomicBool::new(false));
    let mut rounds = Vec::new();
    let (times, mut arrived) = thread::scope(|scope| {
        // Also if an assertion fails.
        let _guard = Ends([&ends, &over]);
        let sender = scope.spawn(|| send(world, burst, &sent, &ends));
        let receiver = scope.spawn(|| receive(world, &over));
        for number in 0..count {
            rounds.push(flush(world, &gate, &config, &sent, number));
        }
        ends.store(true, Ordering::Relaxed);
        let times = sender.join().unwrap();
        world.wait_for_row(0, |row| row[0] == 0);
        over.store(true, Ordering::Relaxed);
        (times, receiver.join().unwrap())
    });

    arrived.strangers.sort_unstable();
    let seen: Vec<_> = rounds.iter().map(|round| seconds_seen(&round.strangers, &arrived, &times)).collect();
    for (round, seen) in rounds.iter().zip(&seen) {
        let Round { flush, took, logged, told, .. } = round;
        eprintln!(
            "{flush:?}: without rules {seen:.3} s, logged {logged:.3} s; missing told after {told:.3} s, restored after {took:?}"
        );
    }
    packets_add_up(world, &config, &sent, &rounds, &arrived);

    // Time adds up.
    let sum_seen: f64 = seen.iter().sum();
    let sum_logged: f64 = rounds.iter().map(|round| round.logged).sum();
    let counted = missing() - missing_before;
    eprintln!("without rules: seen {sum_seen:.3} s, logged {sum_logged:.3} s, metric {counted:.3} s");
    let tolerance = count as f64 * NOTICE.as_secs_f64();
    assert!(sum_logged >= sum_seen - tolerance, "logged {sum_logged}, seen {sum_seen}");
    assert!(counted >= sum_logged - count as f64 * 1e-3, "metric {counted}, logged {sum_logged}");
    for (round, seen) in rounds.iter().zip(&seen) {
        assert!(round.logged <= round.most.as_secs_f64(), "more than there was: {round:?}");
        let most = if long { PROMISED } else { SLOWEST.as_secs_f64() };
        assert!(*seen < most && round.told < most, "seen {seen}: {round:?}");
    }
}

/// One flush, at a time that nothing else goes by, up to the moment at which the rules are said to be back.
fn flush(world: &World, gate: &Gate, config: &str, sent: &Sent, number: u64) -> Round {
    let flush = Flush::ALL[usize::try_from(number).unwrap() % Flush::ALL.len()];
    let began = Instant::now();
    // The owner's own word ends what would be a fight.
    says(world, config, &["firewall", "apply"]);
    looked(world, config);
    thread::sleep(Duration::from_millis((number * 7919) % 400));

    let before = [events(gate, "missing").len(), events(gate, "restored").len()];
    let strangers = sent.strangers.load(Ordering::SeqCst);
    let phones = sent.phones.load(Ordering::SeqCst);
    let waiting = world.queue_row(0).expect("the queue is bound")[0];
    if flush == Flush::Ruleset {
        gate.halt();
        world.wait_for_row(0, |row| row[0] >= WAITING);
    }
    let (start, wall) = (Instant::now(), Timestamp::now());
    flush.carry_out(world);
    // The packet that is being sent has a number, too.
    let last_phone = sent.phones.load(Ordering::SeqCst) + 1;
    if flush == Flush::Ruleset {
        gate.signal(Signal::CONT);
    }
    let back = wait_until(|| {
        let restored = events(gate, "restored");
        (restored.len() >= before[1] + flush.families()).then_some(restored)
    });
    let (took, most) = (start.elapsed(), began.elapsed());
    let last_stranger = sent.strangers.load(Ordering::SeqCst) + 1;
    let back = back.unwrap_or_else(|| panic!("{flush:?}: {:#?}", gate.events("rules")));
    let (missing, restored) = (&events(gate, "missing")[before[0]..], &back[before[1]..]);
    assert_eq!((missing.len(), restored.len()), (flush.families(), flush.families()), "{flush:?}");
    let told: Timestamp = missing[0]["timestamp"].as_str().unwrap().parse().unwrap();
    let of_ipv4 = restored.iter().find(|event| event["family"] == "ipv4").unwrap();
    Round {
        flush,
        strangers: strangers.saturating_sub(BACKLOG)..last_stranger,
        phones: phones.saturating_sub(waiting + BACKLOG)..last_phone,
        took,
        most,
        logged: of_ipv4["seconds"].as_f64().unwrap(),
        told: told.duration_since(wall).as_secs_f64(),
    }
}

/// Events of the rules so far, by their state. The gate may be busy.
fn events(gate: &Gate, state: &str) -> Vec<Value> {
    let events = gate.wait_for_events("rules", 0);
    events.into_iter().filter(|event| event["state"] == state).collect()
}

/// Each packet was decided, went by while there were no rules, was lost as it waited at a flush, or is counted as lost.
fn packets_add_up(world: &World, config: &str, sent: &Sent, rounds: &[Round], arrived: &Arrived) {
    assert_eq!(receiver_drops(world), 0, "the receiver itself loses nothing");
    let (strangers, phones) = (sent.strangers.load(Ordering::SeqCst), sent.phones.load(Ordering::SeqCst));
    let stats = stats(world, config);
    let queue = |name: &str| stats["queues"][0][name].as_u64().unwrap();
    let reason = |name: &str| stats["reasons"][name].as_u64().unwrap_or(0);
    // Before the firewall, at the queue's length, at the socket's buffer.
    let overflows = [device_drops(world), queue("kernel_dropped"), queue("socket_dropped")];
    let overflow: u64 = overflows.iter().sum();
    let lost: Vec<_> = (0..phones).filter(|number| !arrived.phones.contains(number)).collect();
    let (passed, refused, stale) = (arrived.strangers.len() as u64, reason("no-knock"), queue("stale"));
    eprintln!(
        "of {strangers} packets of a stranger {refused} were dropped and {passed} went by; of {phones} packets of a \
         phone {} were lost; {stale} were decided too late; overflows {overflows:?}",
        lost.len()
    );

    // Every packet of the stranger was decided or went by, and that only while there were no rules.
    assert!(passed > 0 && refused > 0);
    let accounted = passed + refused;
    assert!(accounted <= strangers && strangers <= accounted + overflow, "{accounted} of {strangers}");
    let odd: Vec<_> = arrived.strangers.iter().filter(|number| !is_in(rounds, **number)).collect();
    assert!(odd.is_empty(), "packets of the stranger passed although there were rules: {odd:?}");

    // The phone lost what waited, and nothing else.
    assert!(reason("door") <= phones && !lost.is_empty());
    if overflow == 0 {
        let losing: Vec<_> = rounds.iter().filter(|round| round.flush.loses()).collect();
        let odd: Vec<_> =
            lost.iter().filter(|lost| losing.iter().all(|round| !round.phones.contains(lost))).collect();
        assert!(odd.is_empty(), "packets were lost at another time: {odd:?}; {losing:#?}");
    }
    // A batch that is being carried out at that very moment is in no queue any more.
    let losing = rounds.iter().filter(|round| round.flush.loses()).count() as u64;
    let most = stale + overflow + losing * BATCH;
    assert!(lost.len() as u64 <= most, "{} lost, {stale} counted", lost.len());
    let halted = rounds.iter().filter(|round| round.flush == Flush::Ruleset).count() as u64;
    assert!(stale >= halted * WAITING, "{stale} counted at {halted} flushes with {WAITING} waiting or more");
    let exported = metric(world, "sipknock_queue_stale_total{queue=\"0\"}");
    assert_eq!(exported, Some(stale as f64));
}

fn is_in(rounds: &[Round], stranger: u64) -> bool {
    rounds.iter().any(|round| round.strangers.contains(&stranger))
}

/// Sends until it is told to end. Returns when each of the stranger's packets was sent.
fn send(world: &World, burst: usize, sent: &Sent, ends: &AtomicBool) -> Vec<Instant> {
    let (stranger, phone) = (world.client("198.51.100.66"), world.client(PHONE));
    let mut times = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        for _ in 0..burst / 2 {
            times.push(Instant::now());
            stranger.send(&format!("s {}", sent.strangers.load(Ordering::SeqCst)));
            sent.strangers.fetch_add(1, Ordering::SeqCst);
        }
        for _ in 0..burst / 2 {
            phone.send(&format!("p {}", sent.phones.load(Ordering::SeqCst)));
            sent.phones.fetch_add(1, Ordering::SeqCst);
        }
        thread::sleep(Duration::from_millis(2));
    }
    times
}

/// Receives until nothing comes although it is told that nothing more will.
fn receive(world: &World, over: &AtomicBool) -> Arrived {
    let mut arrived = Arrived::default();
    let mut buffer = [0; 2048];
    loop {
        let last = over.load(Ordering::Relaxed);
        let Ok((length, _)) = world.server_socket().recv_from(&mut buffer) else {
            if last {
                return arrived;
            }
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..length]);
        let (who, number) = text.split_once(' ').unwrap();
        let number = number.parse().unwrap();
        if who == "s" {
            arrived.strangers.push(number);
        } else {
            assert!(arrived.phones.insert(number), "{text} comes twice");
        }
    }
}

/// Seconds between the first and the last packet of the stranger that went by; 0 if none did.
fn seconds_seen(numbers: &Range<u64>, arrived: &Arrived, times: &[Instant]) -> f64 {
    let mut passed = arrived.strangers.iter().filter(|number| numbers.contains(number));
    let Some(&first) = passed.next() else { return 0.0 };
    let last = passed.next_back().copied().unwrap_or(first);
    let at = |number: u64| times[usize::try_from(number).unwrap()];
    at(last).duration_since(at(first)).as_secs_f64()
}

/// Packets that were lost on their way to the server's network stack (/proc/net/dev).
fn device_drops(world: &World) -> u64 {
    let table = world.server.run(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap());
    let row = table.lines().find_map(|line| line.trim().strip_prefix("up0:").map(str::to_owned));
    // bytes, packets, errs, drop
    row.unwrap().split_whitespace().nth(3).unwrap().parse().unwrap()
}

/// Datagrams that found the receiver's buffer full (/proc/net/udp6).
fn receiver_drops(world: &World) -> u64 {
    let table = world.server.run(|| fs::read_to_string("/proc/thread-self/net/udp6").unwrap());
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    let own = rows.filter(|row| row[1].ends_with(&format!(":{PORT:04X}")));
    own.map(|row| row.last().unwrap().parse::<u64>().unwrap()).sum()
}

const PHONE: &str = "198.51.100.7";

/// Packets of both senders that wait for a halted gate before its rules are removed.
const WAITING: u64 = 200;

/// Packets that were sent and have not reached the firewall: the default of `net.core.netdev_max_backlog`.
const BACKLOG: u64 = 1000;

/// Packets of one verdict.
const BATCH: u64 = 32;

/// The mean time within which a watch hears of a change; its clock begins with that. The machine may be busy.
const NOTICE: Duration = Duration::from_millis(100);

/// Seconds after which rules are back, and after which the log says that they were missing.
const PROMISED: f64 = 1.0;
