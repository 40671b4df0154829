//! The only place that asks what time it is.

#[cfg(test)]
mod testing;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::ClockId;

#[cfg(test)]
pub(crate) use testing::ClockHand;

use crate::time::Time;

/// The time of a running daemon.
///
/// It starts at the wall clock's time and then follows `CLOCK_BOOTTIME`, so that setting the wall clock neither
/// opens nor shuts a door, and time spent in suspend counts.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The wall clock's time when the boot clock stood at 0, as it was at the start.
    boot: Time,
    /// The time that a test sets.
    #[cfg(test)]
    hand: Option<ClockHand>,
}

impl Clock {
    /// A clock that agrees with the wall clock now.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let boot = wall.saturating_sub(since_boot());
        Self {
            boot: Time::default().after(boot),
            #[cfg(test)]
            hand: None,
        }
    }

    /// Now.
    pub fn now(&self) -> Time {
        #[cfg(test)]
        if let Some(hand) = self.hand {
            return hand.now();
        }
        self.boot.after(since_boot())
    }
}

/// The CPU time that this thread has had: to measure by what something costs, whoever else the CPU works for.
pub fn cpu_time() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// The CPU time that all threads of this process have had.
pub fn process_cpu_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// How long the machine has been up, suspended or not.
pub(crate) fn since_boot() -> Duration {
    read(ClockId::Boottime)
}

fn read(clock: ClockId) -> Duration {
    let now = rustix::time::clock_gettime(clock);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_forward_near_the_wall_clock() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(clock.now() >= first);
        // Some time after 2025, and the two reads of the wall clock agree.
        assert!(first > Time::from_parts(1_735_689_600, 0));
        assert!(Clock::start().now().since(first) < Duration::from_secs(3600));
    }
}
