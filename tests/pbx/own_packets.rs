//! The gate can neither lose nor delay what the PBX sends.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::guard::{Guard, Settings, options};
use super::hosts::{Family, Host};
use super::site::Site;
use super::software::WAYS;
use crate::common::gate::PORT;

/// What became of a stream of requests.
struct Stream {
    sent: usize,
    lost: usize,
    out_of_order: usize,
    /// The longest of all delays, the longest but for a thousandth of the packets, and the median.
    longest: Duration,
    thousandth: Duration,
    median: Duration,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, lost, out_of_order, longest, thousandth, median } = self;
        write!(
            f,
            "{sent} sent, {lost} lost, {out_of_order} out of order; delay {median:?} (median), {thousandth:?} \
             (99.9 %), {longest:?} (longest)"
        )
    }
}

pub(crate) fn own_packets_are_neither_lost_nor_late() {
    let site = Site::new();
    let (trunk, crowd) = (site.host(20), site.host(30));
    let socket = |host: &Host| {
        let socket = host.udp(SocketAddr::new(host.address(Family::V4), PORT));
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20).unwrap();
        socket
    };
    let (pbx, receiver) = (socket(&site.pbx), socket(&trunk));
    let without = stream(&pbx, &receiver, &crowd, || thread::sleep(Duration::from_secs(6)));
    eprintln!("without a gate: {without}");

    let mut guard = Guard::start(&site, &Settings::default());
    let second = || thread::sleep(Duration::from_secs(1));
    let with = stream(&pbx, &receiver, &crowd, || {
        second();
        guard.gate().halt();
        thread::sleep(FROZEN);
        guard.gate().signal(Signal::CONT);
        second();
        guard.take_over();
        second();
        guard.restart();
        second();
        guard.kill_and_restart();
        second();
    });
    eprintln!("with a gate: {with}");
    for stream in [&without, &with] {
        assert_eq!((stream.lost, stream.out_of_order), (0, 0), "{stream}");
    }
    // Behind a frozen gate a packet would be late by as long as it is frozen.
    assert!(with.longest < FROZEN.max(without.longest * 4) / 2, "without: {without}, with: {with}");
    assert!(with.thousandth < Duration::from_millis(100).max(without.thousandth * 4), "{with}");
    // The gate saw them, when it was there.
    let doors = guard.doors(&trunk.v4);
    assert!(doors.iter().any(|door| door["knock"] == "outbound"), "{doors:?}");
}

/// Sends requests from the PBX's port to the trunk's until the work is done, while a stranger floods the PBX.
fn stream(pbx: &UdpSocket, trunk: &UdpSocket, crowd: &Host, work: impl FnOnce()) -> Stream {
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(trunk, start, &stop));
        let sender = scope.spawn(|| {
            let mut sent = 0_usize;
            let request = options("PBX", crowd, WAYS[0], "own");
            while !stop.load(Ordering::Relaxed) {
                let packet = format!("{request}{sent} {}", start.elapsed().as_nanos());
                pbx.send_to(packet.as_bytes(), trunk.local_addr().unwrap()).unwrap();
                sent += 1;
                thread::sleep(Duration::from_micros(500));
            }
            sent
        });
        scope.spawn(|| {
            let stranger = crowd.udp(SocketAddr::new(crowd.address(Family::V4), 0));
            let request = options("stranger", crowd, WAYS[0], "stranger");
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..5 {
                    let _ = stranger.send_to(request.as_bytes(), pbx.local_addr().unwrap());
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        work();
        stop.store(true, Ordering::Relaxed);
        let (sent, (mut seen, out_of_order)) = (sender.join().unwrap(), receiver.join().unwrap());
        seen.sort_unstable();
        let share = |part: usize| seen[seen.len() - 1 - seen.len() / part];
        Stream {
            sent,
            lost: sent - seen.len(),
            out_of_order,
            longest: *seen.last().unwrap(),
            thousandth: share(1000),
            median: share(2),
        }
    })
}

/// The delay of each packet, and how many came behind a later one.
fn receive(socket: &UdpSocket, start: Instant, stop: &AtomicBool) -> (Vec<Duration>, usize) {
    let (mut delays, mut out_of_order, mut last) = (Vec::new(), 0, None);
    let mut buffer = [0; 2048];
    loop {
        // Its time-out is longer than any packet is under way.
        let Ok((length, _)) = socket.recv_from(&mut buffer) else {
            if stop.load(Ordering::Relaxed) {
                return (delays, out_of_order);
            }
            continue;
        };
        let now = start.elapsed();
        let text = String::from_utf8_lossy(&buffer[..length]);
        let (number, sent) = text.rsplit_once("\r\n").unwrap().1.split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        delays.push(now.saturating_sub(Duration::from_nanos(sent.parse().unwrap())));
        out_of_order += usize::from(last.is_some_and(|last| number < last));
        last = Some(number);
    }
}

const FROZEN: Duration = Duration::from_secs(2);
