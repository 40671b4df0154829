//! Latency: how much later a packet reaches the server.

use std::time::{Duration, Instant};

use super::lab::{Keeper, Lab};
use super::sender::Sender;
use super::traffic::Traffic;

/// What was seen of it in one round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latency {
    /// Of each packet that arrived, ascending.
    sorted: Vec<Duration>,
    /// How many never did.
    pub(crate) lost: usize,
}

/// How long packets of a phone with an open door are on their way.
///
/// One thread sends, spins until the packet is at the server's socket, and sends the next when its time has come: 10,000
/// per second. So no wake-up of a receiver is in it, and no other core than the keeper's is needed.
pub(crate) fn measure(keeper: Keeper, knocks: usize, packets: usize) -> Latency {
    let lab = Lab::new(keeper, knocks, false);
    let sender = Sender::new(&lab.world);
    let socket = lab.world.server_socket();
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2048];
    // The second one for the seed rules, which drop the packet that knocks.
    for _ in 0..2 {
        sender.send_one(Traffic::Knocking { knocks }, 0);
        let end = Instant::now() + Duration::from_millis(200);
        while Instant::now() < end && socket.recv(&mut buffer).is_err() {}
    }
    let mut seen = Latency { sorted: Vec::with_capacity(packets), lost: 0 };
    let mut due = Instant::now();
    for _ in 0..packets {
        due = (due + INTERVAL).max(Instant::now());
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let sent = Instant::now();
        sender.send_one(Traffic::Phones, 0);
        loop {
            if socket.recv(&mut buffer).is_ok() {
                seen.sorted.push(sent.elapsed());
                break;
            }
            if sent.elapsed() > GIVE_UP {
                seen.lost += 1;
                break;
            }
        }
    }
    seen.sorted.sort_unstable();
    seen
}

impl Latency {
    /// What was seen of packets that arrived, and how many did not.
    pub(crate) fn of(mut times: Vec<Duration>, lost: usize) -> Self {
        times.sort_unstable();
        Self { sorted: times, lost }
    }

    /// The microseconds below which so many of a thousand packets are.
    pub(crate) fn quantile(&self, permille: usize) -> f64 {
        let index = (self.sorted.len() * permille / 1000).min(self.sorted.len().saturating_sub(1));
        self.sorted.get(index).map_or(f64::NAN, Duration::as_secs_f64) * 1e6
    }
}

const INTERVAL: Duration = Duration::from_micros(100);

const GIVE_UP: Duration = Duration::from_millis(100);
