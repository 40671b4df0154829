//! The whole gate under load: real rules, real queues, two namespaces, each backend in turn.
//!
//! `cargo bench --bench gate` (as root) sends 600,000 REGISTERs of 700 bytes from 1,000 sources as fast as one core
//! can, with 10 knocks configured and half of the sources knocking, in five rounds of both backends after each
//! other, and prints what was lost, what was accepted and what a packet cost. Then it measures how soon a gate with
//! 10,000 knocks gives its first verdict, and what an idle one with 10 takes of memory.
//!
//! Options: `--packets N`, `--rounds N`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fmt::Write as _;
use std::fs;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use common::gate::{Gate, PORT, SERVER4, World, register, wait_until};
use common::netns::Netns;
use rustix::net::{
    AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketType, ipproto,
};

fn main() {
    if let Some(reason) = Netns::missing() {
        println!("skipped: {reason}");
        return;
    }
    // Cargo hands every bench a --bench of its own.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: usize| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)).map_or(default, |value| value.parse().expect("a number"))
    };
    let (packets, rounds) = (option("--packets", 600_000), option("--rounds", 5));
    println!("{}\n", machine());
    full_speed(packets, rounds);
    first_verdict();
    idle_memory();
}

/// What was seen of one run.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sent_per_second: f64,
    queue_dropped: u64,
    user_dropped: u64,
    knocking_accepted: u64,
    strangers_accepted: u64,
    cpu_per_packet: Duration,
}

fn full_speed(packets: usize, rounds: usize) {
    println!("{packets} REGISTERs of {PAYLOAD} bytes from {SOURCES} sources, {KNOCKS} knocks, full speed:\n");
    println!(
        "| round | backend | sent/s | lost in queue | lost at socket | knocking accepted | strangers accepted | CPU/packet |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut costs = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (backend, costs) in BACKENDS.into_iter().zip(&mut costs) {
            let seen = load(backend, packets);
            println!(
                "| {round} | {backend} | {:.0} | {} | {} | {} of {} | {} of {} | {:.2} µs |",
                seen.sent_per_second,
                seen.queue_dropped,
                seen.user_dropped,
                seen.knocking_accepted,
                packets / 2,
                seen.strangers_accepted,
                packets / 2,
                micros(seen.cpu_per_packet),
            );
            costs.push(seen.cpu_per_packet);
        }
    }
    let ratios = costs[0].iter().zip(&costs[1]).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    let [batched, nfq] = costs.map(|costs| micros(median(costs)));
    println!(
        "\nmedian CPU per packet: batched {batched:.2} µs, nfq {nfq:.2} µs; median ratio {:.2}\n",
        median_f64(ratios)
    );
}

fn load(backend: &str, packets: usize) -> Seen {
    let world = World::new("bench");
    world.apply_rules(&world.config("", ""));
    // Behind the gate every accepted packet is counted and dropped, so that no receiver takes a share of the CPU.
    for source in ["198.18.0.0/16", "198.19.0.0/16"] {
        let rule = ["-t", "security", "-A", "INPUT", "-s", source, "-j", "DROP"];
        assert!(world.server.command("iptables").args(rule).status().unwrap().success());
    }
    route(&world);
    let config = world.config_with_knocks("", "", &knocks(KNOCKS));
    let gate = Gate::start(&world, &["--config", &config, "--backend", backend]);
    let sender = Sender::new(&world);
    sender.send(SOURCES); // Doors open, neighbours resolved, memory touched.
    settle(&world, SOURCES as u64);
    let (cpu, accepted, start) = (gate.cpu_time(), accepted(&world), Instant::now());
    sender.send(packets);
    let sending = start.elapsed();
    settle(&world, (SOURCES + packets) as u64);
    let after = self::accepted(&world);
    let row = world.queue_row(0).unwrap();
    let cpu = gate.cpu_time() - cpu;
    Seen {
        sent_per_second: packets as f64 / sending.as_secs_f64(),
        queue_dropped: row[1],
        user_dropped: row[2],
        knocking_accepted: after[0] - accepted[0],
        strangers_accepted: after[1] - accepted[1],
        cpu_per_packet: cpu / u32::try_from(packets).unwrap(),
    }
}

/// Waits until all packets are queued or lost, and none waits.
fn settle(world: &World, sent: u64) {
    let all = || world.queue_row(0).filter(|row| row[0] == 0 && row[1] + row[3] >= sent);
    assert!(wait_until(all).is_some(), "packets are missing: {:?} of {sent}", world.queue_row(0));
}

/// The counters of the two rules behind the gate.
fn accepted(world: &World) -> [u64; 2] {
    let output =
        world.server.command("iptables").args(["-t", "security", "-nvxL", "INPUT"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    ["198.18.0.0/16", "198.19.0.0/16"].map(|source| {
        let line = text.lines().find(|line| line.contains(source)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    })
}

fn first_verdict() {
    let mut times = Vec::new();
    for _ in 0..5 {
        let world = World::new("bench");
        world.apply_rules(&world.config("", ""));
        let config = world.config_with_knocks("", "", &knocks(10_000));
        let phone = world.client("198.51.100.7");
        let start = Instant::now();
        let gate = Gate::spawn(&world, &["--config", &config]);
        let verdict = wait_until(|| {
            phone.send(&register(&secret(7)));
            world.queue_row(0).filter(|row| row[3] > 0 && row[0] == 0)
        });
        times.push(start.elapsed());
        assert!(verdict.is_some());
        drop(gate);
    }
    println!(
        "from start to the first verdict with 10,000 knocks: {:.0} ms (median of 5)",
        median(times).as_secs_f64() * 1000.0
    );
}

fn idle_memory() {
    let world = World::new("bench");
    for backend in BACKENDS {
        let config = world.config_with_knocks("", "", &knocks(10));
        let gate = Gate::start(&world, &["--config", &config, "--backend", backend]);
        println!("resident memory, idle, 10 knocks, {backend}: {} KiB", gate.resident_kib());
        gate.stop();
    }
}

/// Sends prepared packets from many addresses on a raw socket, many per system call.
struct Sender {
    socket: OwnedFd,
    packets: Vec<Vec<u8>>,
}

impl Sender {
    /// Every second source knocks, each with one of the knocks in its display name.
    fn new(world: &World) -> Self {
        let socket = world.clients.run(|| {
            // IPPROTO_RAW: the packets bring their own IP header (raw(7)).
            rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).unwrap()
        });
        let packets = (0..SOURCES).map(|n| {
            let host = u16::try_from(n / 2 + 1).unwrap().to_be_bytes();
            let (net, name) =
                if n % 2 == 0 { (18, secret(n / 2 % KNOCKS)) } else { (19, "Alice".to_owned()) };
            packet(Ipv4Addr::new(198, net, host[0], host[1]), &message(&name))
        });
        Self { socket, packets: packets.collect() }
    }

    fn send(&self, count: usize) {
        let to = SocketAddrAny::from(format!("{SERVER4}:0").parse::<SocketAddr>().unwrap());
        let slices: Vec<_> = self.packets.iter().map(|packet| [IoSlice::new(packet)]).collect();
        let mut controls: Vec<_> = slices.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let mut headers: Vec<_> = slices
            .iter()
            .zip(&mut controls)
            .map(|(slice, control)| MMsgHdr::new_with_addr(&to, slice, control))
            .collect();
        let mut sent = 0;
        while sent < count {
            let start = sent % headers.len();
            let end = headers.len().min(start + BATCH).min(start + count - sent);
            sent +=
                rustix::net::sendmmsg(&self.socket, &mut headers[start..end], SendFlags::empty()).unwrap();
        }
    }
}

fn packet(source: Ipv4Addr, payload: &str) -> Vec<u8> {
    let server: Ipv4Addr = SERVER4.parse().unwrap();
    let length = u16::try_from(28 + payload.len()).unwrap().to_be_bytes();
    let datagram = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    // The kernel fills in the identification and the checksum; UDP may go without one (RFC 768).
    let header = [0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0];
    let udp = [[0x13, 0xc5], PORT.to_be_bytes(), datagram, [0, 0]].concat();
    [&header[..], &source.octets(), &server.octets(), &udp, payload.as_bytes()].concat()
}

/// A REGISTER as phones send it, filled up to the length that the benchmark is about.
fn message(display_name: &str) -> String {
    let mut message = format!(
        "REGISTER sip:pbx.example.org SIP/2.0\r\nVia: SIP/2.0/UDP 198.18.0.1:5061;branch=z9hG4bK-524287-1---a2c7f0;rport\r\n\
         Max-Forwards: 70\r\nContact: <sip:100@198.18.0.1:5061;rinstance=9c4d1b>;expires=3600\r\n\
         To: <sip:100@pbx.example.org>\r\nFrom: \"{display_name}\" <sip:100@pbx.example.org>;tag=5f2a71c9\r\n\
         Call-ID: Yl0xF3kq7mT1vN8r@198.18.0.1\r\nCSeq: 1 REGISTER\r\nUser-Agent: Phone 1.2.3\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n"
    );
    let end = "Content-Length: 0\r\n\r\n";
    let missing = PAYLOAD - message.len() - end.len() - "X-Filler: \r\n".len();
    write!(message, "X-Filler: {}\r\n{end}", "0123456789".repeat(100).get(..missing).unwrap()).unwrap();
    message
}

fn knocks(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        write!(text, "[[knock]]\nname = \"knock-{n}\"\nsecret = \"{}\"\n", secret(n)).unwrap();
        text
    })
}

/// Different for each number from the first letter on, as random secrets are.
fn secret(number: usize) -> String {
    let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{mixed:016x}-{number}")
}

fn route(world: &World) {
    let route = ["-n", world.server.name(), "route", "add", "198.18.0.0/15", "via", "192.0.2.2"];
    assert!(Command::new("ip").args(route).status().unwrap().success());
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "{}, {cores} cores, Linux {}",
        model.trim_start_matches(['\t', ':', ' ']),
        read("/proc/sys/kernel/osrelease").trim()
    )
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values[values.len() / 2]
}

fn median_f64(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

const BACKENDS: [&str; 2] = ["batched", "nfq"];
const SOURCES: usize = 1000;
const KNOCKS: usize = 10;
const PAYLOAD: usize = 700;
const BATCH: usize = 64;
