//! When to let packets gather before receiving them.
//!
//! A packet that comes alone is best received at once. In a flood that wakes the thread for every packet, waking is
//! most of what a packet costs, on the sender's side of the kernel too; then a pause of a few packets' time makes
//! batches. Network drivers do the same with their interrupts.

use std::time::Duration;

use crate::time::Time;

/// Watches how fast packets come.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the current window began.
    since: Time,
    /// Packets in it so far.
    packets: usize,
    /// Whether the last window had a flood in it.
    flood: bool,
}

impl Pace {
    /// Takes note of a batch, and says how long to wait before the next: not at all, unless packets come fast and the
    /// batch had room for more.
    pub(super) fn after(&mut self, now: Time, batch: usize, room: usize) -> Option<Duration> {
        self.packets += batch;
        let elapsed = now.since(self.since);
        if elapsed >= WINDOW {
            let fastest = elapsed.as_micros() / FLOOD_INTERVAL.as_micros();
            self.flood = self.packets as u128 >= fastest;
            self.since = now;
            self.packets = 0;
        }
        (self.flood && batch < room).then_some(PAUSE)
    }
}

/// Long enough to tell a flood from two packets that happen to follow each other.
const WINDOW: Duration = Duration::from_millis(1);

/// Faster than a packet in this time is a flood: 50,000 packets per second.
const FLOOD_INTERVAL: Duration = Duration::from_micros(20);

/// How long packets gather in a flood, to which the kernel adds a timer slack of some 50 µs. At 50,000 per second five
/// come together, at 300,000 a whole batch.
const PAUSE: Duration = Duration::from_micros(60);

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of `batch` packets at `rate` packets per second for a while; how many of them pause.
    fn pauses(pace: &mut Pace, start: Time, rate: u64, batch: usize) -> (usize, usize) {
        let step = Duration::from_nanos(1_000_000_000 / rate * batch as u64);
        let times = (1..=200u32).map(|n| start.after(step * n));
        let paused: Vec<_> = times.map(|now| pace.after(now, batch, 32).is_some()).collect();
        (paused.iter().filter(|paused| **paused).count(), paused.len())
    }

    #[test]
    fn pauses_in_a_flood_only() {
        for (rate, batch, expected) in [
            (10_000, 1, false),
            (45_000, 1, false),
            (60_000, 1, true),
            (200_000, 10, true),
            (500_000, 32, false),
        ] {
            let mut pace = Pace::default();
            let start = Time::from_parts(1000, 0);
            pauses(&mut pace, start, rate, batch);
            let (paused, all) = pauses(&mut pace, start.after(Duration::from_secs(1)), rate, batch);
            // The first window after the gap still sees the silence before it.
            assert!(
                if expected { paused > all / 2 } else { paused == 0 },
                "{rate}/s in {batch}s: {paused} of {all}"
            );
        }
    }

    #[test]
    fn a_flood_ends() {
        let mut pace = Pace::default();
        pauses(&mut pace, Time::from_parts(1000, 0), 200_000, 4);
        assert_eq!(pace.after(Time::from_parts(1001, 0), 1, 32), None);
    }
}
