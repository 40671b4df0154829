//! How much time has passed since another process, perhaps before a reboot, wrote something down.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use crate::clock::{self, Clock};
use crate::time::Time;

/// A moment by two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// By the wall clock, which can be set.
    pub wall: Time,
    /// By the clock that runs from boot on and can't.
    pub since_boot: Duration,
    /// Which boot that was; 0 where it is not known.
    pub boot: u128,
}

impl Stamp {
    /// Now.
    pub fn now() -> Self {
        Self { wall: Clock::start().now(), since_boot: clock::since_boot(), boot: boot() }
    }

    /// How long ago an earlier one was: after a reboot by the wall clock, and nothing where that was set back.
    pub fn since(&self, earlier: &Self) -> Duration {
        let same_boot = self.boot != 0 && self.boot == earlier.boot;
        match self.since_boot.checked_sub(earlier.since_boot).filter(|_| same_boot) {
            Some(passed) => passed,
            None => self.wall.since(earlier.wall),
        }
    }
}

/// The kernel's random name for this boot, which this process asks for once.
fn boot() -> u128 {
    static BOOT: OnceLock<u128> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_whatever_the_wall_clock_says() {
        let stamp = |wall, since_boot, boot| Stamp {
            wall: Time::from_parts(wall, 0),
            since_boot: Duration::from_secs(since_boot),
            boot,
        };
        for (name, earlier, now, passed) in [
            ("a restart", stamp(1000, 50, 7), stamp(1010, 60, 7), 10),
            ("and the clock set ahead", stamp(1000, 50, 7), stamp(999_999, 60, 7), 10),
            ("and the clock set back", stamp(1000, 50, 7), stamp(3, 60, 7), 10),
            ("a reboot", stamp(1000, 50, 7), stamp(1100, 5, 8), 100),
            ("a reboot, longer up than before", stamp(1000, 50, 7), stamp(1100, 70, 8), 100),
            ("a reboot without a battery", stamp(1000, 50, 7), stamp(0, 5, 8), 0),
            ("boots without names", stamp(1000, 50, 0), stamp(1100, 60, 0), 100),
            ("a clock from boot that is another one", stamp(1000, 50, 7), stamp(1100, 5, 7), 100),
        ] {
            assert_eq!(now.since(&earlier), Duration::from_secs(passed), "{name}");
        }
    }

    #[test]
    fn this_boot_has_a_name() {
        let (first, second) = (Stamp::now(), Stamp::now());
        assert!(first.boot != 0 && first.boot == second.boot);
        assert!(second.since(&first) < Duration::from_secs(60));
    }
}
