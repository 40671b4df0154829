//! Latency of a phone's packets beside a flood of a stranger's: how much more one of the dearest packets than one of plain
//! REGISTERs adds.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::configurations::{Configuration, configuration, register, secret};
use super::lab::{Keeper, Lab};
use super::latency::Latency;
use super::sender::Sender;
use super::traffic::{phone, stranger};

/// Measures both floods in turn, and prints medians. It fails if the 99th percentile beside the dearest is more than
/// [`MOST`] times that beside the plain ones.
pub(crate) fn run(rounds: usize, packets: usize) -> ExitCode {
    let configuration = configuration(CONFIGURATION);
    let lab = Lab::with_knocks(Keeper::Batched, &(configuration.knocks)(), false);
    let sender = Sender::new(&lab.world);
    let floods = [("plain", vec![register("Alice in the kitchen")]), ("dearest", configuration.kept())];
    let frames = floods.each_ref().map(|(_, payloads)| flood(&sender, payloads));
    open_door(&lab, &sender, configuration);
    let mut seen = [const { Vec::new() }; 2];
    for round in 1..=rounds {
        for (flood, seen) in frames.iter().zip(&mut seen) {
            seen.push(measure(&lab, &sender, flood, packets));
        }
        let shown = seen.each_ref().map(|rounds| format!("{:.1}", rounds[round - 1].quantile(990)));
        eprintln!("round {round} of {rounds}: p99 {} µs", shown.join(", "));
    }
    println!("beside {FLOOD} packets/s   p50 µs   p99 µs  p99.9 µs   lost");
    for ((name, _), rounds) in floods.iter().zip(&seen) {
        let [a, b, c] =
            [500, 990, 999].map(|permille| median(rounds.iter().map(|round| round.quantile(permille))));
        let lost: usize = rounds.iter().map(|round| round.lost).sum();
        println!("{name:<22} {a:>8.1} {b:>8.1} {c:>9.1} {lost:>6}");
    }
    let [plain, dearest] = &seen;
    let ratio =
        median(plain.iter().zip(dearest).map(|(plain, dearest)| dearest.quantile(990) / plain.quantile(990)));
    println!("p99, times plain: {ratio:.2}");
    if ratio <= MOST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Frames of many strangers.
fn flood(sender: &Sender, payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
    assert!(
        !payloads.is_empty(),
        "there are no dearest packets: 'cargo bench --bench core -- --worst --minutes 1'"
    );
    (0..SOURCES).map(|number| sender.frame(stranger(number), &payloads[number % payloads.len()])).collect()
}

fn open_door(lab: &Lab, sender: &Sender, configuration: &Configuration) {
    let socket = lab.world.server_socket();
    socket.set_nonblocking(true).unwrap();
    sender.send_frames(&[sender.frame(phone(0), &register(&secret(KNOCK)))]);
    let end = Instant::now() + Duration::from_secs(5);
    while socket.recv(&mut [0; 2048]).is_err() {
        assert!(Instant::now() < end, "{}: the phone's knock opens its door", configuration.name);
    }
}

/// One thread sends both, and spins until the phone's packet is at the server's socket: no other wake-up is in it. Between
/// two packets of the phone go two of the flood, at places that change.
fn measure(lab: &Lab, sender: &Sender, flood: &[Vec<u8>], packets: usize) -> Latency {
    let socket = lab.world.server_socket();
    let own = [sender.frame(phone(0), &register("Alice in the kitchen"))];
    let mut buffer = [0; 2048];
    let (mut sorted, mut lost) = (Vec::with_capacity(packets), 0);
    let mut flooded = 0usize;
    let start = Instant::now();
    let mut flood_until = |now: Instant| {
        let due = now.duration_since(start).as_micros() * u128::from(FLOOD) / 1_000_000;
        while (flooded as u128) < due {
            sender.send_frames(&flood[flooded % flood.len()..][..1]);
            flooded += 1;
        }
    };
    for number in 0..packets {
        // A step that shares no factor with the flood's, so that all distances occur.
        let due = start
            + INTERVAL * u32::try_from(number).unwrap()
            + Duration::from_nanos(number as u64 * 7_919 % 50_000);
        while Instant::now() < due {
            flood_until(Instant::now());
        }
        let sent = Instant::now();
        sender.send_frames(&own);
        loop {
            if socket.recv(&mut buffer).is_ok() {
                sorted.push(sent.elapsed());
                break;
            }
            if sent.elapsed() > GIVE_UP {
                lost += 1;
                break;
            }
            flood_until(Instant::now());
        }
    }
    Latency::of(sorted, lost)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// That of benches/core with the most knocks, in the most places.
const CONFIGURATION: &str = "six-places";

/// Its knock in From.
const KNOCK: usize = 1;

/// Packets per second.
const FLOOD: u32 = 20_000;

const SOURCES: usize = 1000;

/// Times the latency beside plain packets.
const MOST: f64 = 2.0;

const INTERVAL: Duration = Duration::from_micros(100);

const GIVE_UP: Duration = Duration::from_millis(100);
