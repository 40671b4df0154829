//! When the main thread looks after things, and when the service manager hears that all is well.

use std::time::Duration;

use crate::clock::Clock;
use crate::daemon::systemd::Systemd;
use crate::daemon::workers::watchdog::QueueHealth;
use crate::time::Time;

/// Keeps the times.
pub(in crate::daemon) struct Timers {
    clock: Clock,
    manager: Systemd,
    next: Time,
    next_ping: Time,
    next_status: Time,
}

impl Timers {
    pub(in crate::daemon) fn new(clock: Clock, manager: Systemd) -> Self {
        let now = clock.now();
        let next_ping = if manager.interval().is_some() { now } else { Time::MAX };
        Self { clock, manager, next: now.after(HOUSEKEEPING), next_ping, next_status: now.after(STATUS) }
    }

    /// Whether it is time to look after things.
    pub(in crate::daemon) fn is_time(&self) -> bool {
        self.clock.now() >= self.next
    }

    /// Tells the service manager that all is well, where it wants to hear that and it is so. Where a queue is stuck it
    /// hears nothing, and restarts the gate unless that gets better soon.
    pub(in crate::daemon) fn report(&mut self, health: &QueueHealth) {
        if self.reports(self.clock.now(), health) {
            self.manager.alive();
        }
    }

    fn reports(&mut self, now: Time, health: &QueueHealth) -> bool {
        if now < self.next_ping {
            return false;
        }
        self.next_ping = self.manager.interval().map_or(Time::MAX, |interval| now.after(interval));
        !health.is_stuck()
    }

    /// Things have been looked after.
    pub(in crate::daemon) fn done(&mut self, status: impl FnOnce() -> String) {
        let now = self.clock.now();
        self.next = now.after(HOUSEKEEPING);
        if now >= self.next_status {
            self.next_status = now.after(STATUS);
            self.manager.status(&status());
        }
    }

    /// How long there is nothing to do.
    pub(in crate::daemon) fn pause(&self) -> Duration {
        // A moment more, so that it is time then.
        self.next.min(self.next_ping).since(self.clock.now()) + Duration::from_micros(100)
    }
}

/// How often doors are swept and counters looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// The interval at which the numbers of `systemctl status` change.
const STATUS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Fault, QueueBinding};

    #[test]
    fn the_service_manager_hears_nothing_while_a_queue_is_stuck() {
        let health = QueueHealth::default();
        health.serve(QueueBinding { queue: 3, port_id: 77, receive_buffer: 0 });
        let clock = Clock::start();
        let mut timers = Timers::new(clock, Systemd::of(Some(Duration::from_secs(15))));
        let start = clock.now();
        let mut told = |from: u64, to: u64| {
            (from..to)
                .filter(|second| timers.reports(start.after(Duration::from_secs(*second)), &health))
                .count()
        };
        assert_eq!(told(1, 60), 4);
        health.set(3, Some(Fault::Stuck), start);
        assert_eq!(told(60, 120), 0);
        // One that another program has is tried again by ourselves.
        health.set(3, Some(Fault::Lost), start);
        assert_eq!(told(120, 180), 4);
        health.set(3, None, start);
        assert_eq!(told(180, 240), 4);
        let mut unasked = Timers::new(clock, Systemd::of(None));
        assert!(!unasked.reports(start.after(Duration::from_secs(1000)), &health));
    }

    #[test]
    fn things_are_looked_after_once_a_second_and_the_status_is_told_every_tenth() {
        let (clock, hand) = Clock::by_hand(Time::from_parts(1_000_000, 0));
        let mut timers = Timers::new(clock, Systemd::of(None));
        let (mut looks, mut told) = (Vec::new(), Vec::new());
        for millis in (0..21_000).step_by(250) {
            if timers.is_time() {
                looks.push(millis);
                timers.done(|| {
                    told.push(millis);
                    String::new()
                });
            }
            hand.advance(Duration::from_millis(250));
        }
        assert_eq!(looks, (1000..21_000).step_by(1000).collect::<Vec<_>>());
        assert_eq!(told, [10_000, 20_000]);
    }

    #[test]
    fn a_look_that_takes_long_is_not_made_up_for() {
        let (clock, hand) = Clock::by_hand(Time::from_parts(1_000_000, 0));
        let mut timers = Timers::new(clock, Systemd::of(None));
        hand.advance(Duration::from_secs(60));
        assert!(timers.is_time());
        timers.done(String::new);
        assert!(!timers.is_time() && timers.pause() > HOUSEKEEPING, "the next one is a second later");
    }

    #[test]
    fn the_pause_ends_with_what_is_due_first() {
        let (clock, hand) = Clock::by_hand(Time::from_parts(1_000_000, 0));
        let mut timers = Timers::new(clock, Systemd::of(Some(Duration::from_millis(300))));
        let moment = Duration::from_micros(100);
        assert_eq!(timers.pause(), moment, "the service manager hears at once that all is well");
        let health = QueueHealth::default();
        for (advance, pause) in [(0, 300), (200, 100), (100, 300), (300, 300), (300, 100), (100, 0)] {
            hand.advance(Duration::from_millis(advance));
            timers.report(&health);
            assert_eq!(timers.pause(), Duration::from_millis(pause) + moment);
        }
        assert!(timers.is_time());
    }
}
