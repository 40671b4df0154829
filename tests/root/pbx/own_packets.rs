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

/// What became of streams of requests, taken together.
#[derive(Default)]
struct Streams {
    sent: usize,
    lost: usize,
    out_of_order: usize,
    delays: Vec<Duration>,
}

impl Streams {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.out_of_order += other.out_of_order;
        self.delays.extend(other.delays);
        self.delays.sort_unstable();
    }

    /// The longest delay but for one packet in so many.
    fn all_but(&self, part: usize) -> Duration {
        self.delays[self.delays.len() - 1 - self.delays.len() / part]
    }

    fn longest(&self) -> Duration {
        *self.delays.last().unwrap()
    }
}

impl fmt::Display for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, lost, out_of_order, .. } = self;
        write!(
            f,
            "{sent} sent, {lost} lost, {out_of_order} out of order; delay {:?} (median), {:?} (99 %), {:?} (99.9 %), {:?} \
             (longest)",
            self.all_but(2),
            self.all_but(100),
            self.all_but(1000),
            self.longest()
        )
    }
}

/// Periods without a gate, with a running one and with a frozen one come in turns, so that the machine is the same for all.
/// SIPKNOCK_LONG=1 makes five times as many of them.
pub(crate) fn own_packets_are_neither_lost_nor_late() {
    let site = Site::new();
    let (trunk, crowd) = (site.host(20), site.host(30));
    let socket = |host: &Host| {
        let socket = host.udp(SocketAddr::new(host.address(Family::V4), PORT));
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20).unwrap();
        socket
    };
    let (pbx, receiver) = (socket(&site.pbx), socket(&trunk));
    let streams = |work: &mut dyn FnMut()| stream(&pbx, &receiver, &crowd, work);
    let period = || thread::sleep(FROZEN);
    let [mut without, mut running, mut frozen, mut changing] = [(); 4].map(|()| Streams::default());
    let turns = if std::env::var_os("SIPKNOCK_LONG").is_some() { 15 } else { 3 };
    for _ in 0..turns {
        without.add(streams(&mut || period()));

        let mut guard = Guard::start(&site, &Settings::default());
        running.add(streams(&mut || period()));
        frozen.add(streams(&mut || {
            guard.gate().halt();
            period();
        }));
        guard.gate().signal(Signal::CONT);
        // The gate saw them, when it was there.
        let doors = guard.doors(&trunk.v4);
        assert!(doors.iter().any(|door| door["knock"] == "outbound"), "{doors:?}");
        changing.add(streams(&mut || {
            guard.take_over();
            guard.restart();
            guard.kill_and_restart();
        }));
        guard.stop();
        guard.says(&["firewall", "remove"]);
    }
    for (name, streams) in [
        ("none", &without),
        ("running", &running),
        ("frozen", &frozen),
        ("upgraded, restarted, killed", &changing),
    ] {
        eprintln!("gate {name}: {streams}");
        assert!(streams.sent > 0);
        assert_eq!((streams.lost, streams.out_of_order), (0, 0), "gate {name}: {streams}");
        // Behind a frozen gate a packet would be late by as long as it is frozen, and a machine is never that busy.
        assert!(streams.longest() < FROZEN / 2, "gate {name}: {streams}");
    }
}

/// Sends requests from the PBX's port to the trunk's until the work is done, while a stranger floods the PBX.
fn stream(pbx: &UdpSocket, trunk: &UdpSocket, crowd: &Host, work: &mut dyn FnMut()) -> Streams {
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
        let (sent, (mut delays, out_of_order)) = (sender.join().unwrap(), receiver.join().unwrap());
        delays.sort_unstable();
        Streams { sent, lost: sent - delays.len(), out_of_order, delays }
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
