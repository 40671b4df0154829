//! When the main thread looks after things, and when the service manager hears that all is well.

use std::time::Duration;

use super::HOUSEKEEPING;
use super::manager::Manager;
use super::watchdog::Health;
use crate::clock::Clock;
use crate::time::Time;

/// Keeps the times.
pub(super) struct Rounds {
    clock: Clock,
    manager: Manager,
    next: Time,
    next_ping: Time,
    next_status: Time,
}

impl Rounds {
    pub(super) fn new(clock: Clock, manager: Manager) -> Self {
        let now = clock.now();
        let next_ping = if manager.interval().is_some() { now } else { Time::MAX };
        Self { clock, manager, next: now.after(HOUSEKEEPING), next_ping, next_status: now.after(STATUS) }
    }

    /// Whether it is time to look after things.
    pub(super) fn is_time(&self) -> bool {
        self.clock.now() >= self.next
    }

    /// Tells the service manager that all is well, where it wants to hear that and it is so. Where a queue is stuck it
    /// hears nothing, and starts the gate anew unless that gets better soon.
    pub(super) fn report(&mut self, health: &Health) {
        let now = self.clock.now();
        if now < self.next_ping {
            return;
        }
        self.next_ping = self.manager.interval().map_or(Time::MAX, |interval| now.after(interval));
        if !health.is_stuck() {
            self.manager.alive();
        }
    }

    /// Things have been looked after.
    pub(super) fn done(&mut self, status: impl FnOnce() -> String) {
        let now = self.clock.now();
        self.next = now.after(HOUSEKEEPING);
        if now >= self.next_status {
            self.next_status = now.after(STATUS);
            self.manager.status(&status());
        }
    }

    /// How long there is nothing to do.
    pub(super) fn pause(&self) -> Duration {
        // A moment more, so that it is time then.
        self.next.min(self.next_ping).since(self.clock.now()) + Duration::from_micros(100)
    }
}

/// How often whoever asks `systemctl status` gets other numbers.
const STATUS: Duration = Duration::from_secs(10);
