//! The way of an event to the log, past the packets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::time::Duration;

use crate::clock::Clock;
use crate::control::watch::Watchers;
use crate::daemon::thread::BackgroundThread;
use crate::door::Door;
use crate::event::Event;
use crate::inspect::Inspector;
use crate::net::Source;
use crate::time::Time;

/// Takes events from the queue threads without ever making them wait.
#[derive(Clone, Debug)]
pub(super) struct EventSender {
    events: SyncSender<Arc<Event>>,
    lost: Arc<Lost>,
    watchers: Watchers,
    clock: Clock,
}

/// Events that no log has.
#[derive(Debug, Default)]
struct Lost {
    since_last_told: AtomicU64,
    ever: AtomicU64,
}

/// The thread that writes events. It ends when all senders are gone.
#[derive(Debug)]
pub(super) struct LogThread(BackgroundThread);

impl EventSender {
    pub(super) fn start(clock: Clock) -> io::Result<(Self, LogThread)> {
        let (sender, receiver) = mpsc::sync_channel::<Arc<Event>>(CAPACITY);
        let write_all = move || receiver.into_iter().for_each(|event| event.write());
        let thread = BackgroundThread::spawn("log", write_all)?;
        let sink = Self { events: sender, lost: Arc::default(), watchers: Watchers::default(), clock };
        Ok((sink, LogThread(thread)))
    }

    /// Hands an event over; where the log is so far behind that there is no room, it is counted as lost.
    pub(super) fn send(&self, event: Event) {
        let event = Arc::new(event);
        self.watchers.tell(|| self.clock.now(), &event);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.events.try_send(event) {
            self.skip(1);
        }
    }

    /// Counts events as lost without having made them.
    pub(super) fn skip(&self, events: usize) {
        self.lost.since_last_told.fetch_add(events as u64, Ordering::Relaxed);
        self.lost.ever.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// How many events were lost since the last call.
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.since_last_told.swap(0, Ordering::Relaxed)
    }

    /// How many events were ever lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.ever.load(Ordering::Relaxed)
    }

    /// Those who get to see each event as well.
    pub(super) fn watchers(&self) -> Watchers {
        self.watchers.clone()
    }
}

/// Doors that were shut together, to be told of once no lock is held: as many as the log has room for, and how many
/// more there were.
#[derive(Debug, Default)]
pub(super) struct ClosedDoors {
    doors: Vec<(Source, Door)>,
    more: u64,
}

impl ClosedDoors {
    pub(super) fn add(&mut self, source: Source, door: Door) {
        if self.doors.len() < CAPACITY {
            self.doors.push((source, door));
        } else {
            self.more += 1;
        }
    }

    pub(super) fn tell(self, gate: &Inspector, why: &'static str, tell: &dyn Fn(Event)) {
        for (source, door) in self.doors {
            tell(Event::closed(gate, source, door, why));
        }
        if self.more > 0 {
            tell(Event::EventsLost(self.more));
        }
    }
}

impl LogThread {
    /// Waits until all is written, but not for a log that has come to a halt.
    pub(super) fn finish(self) {
        self.0.wait(LAST_WORDS);
    }
}

/// How many events a queue thread may still make: so many at once, and [`EVENTS_PER_SECOND`] more each second. A phone gone
/// wild, or somebody with a stolen knock, fills no disk.
#[derive(Debug)]
pub(super) struct RateLimit {
    most: u64,
    left: u64,
    /// When `left` was last brought up to date.
    as_of: Time,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::of(EVENTS_PER_SECOND)
    }
}

impl RateLimit {
    /// That of doors that open, and of those that run out: all phones of a large site may come back at once, and a normal day
    /// has no more.
    pub(super) fn of_opened() -> Self {
        Self::of(CAPACITY as u64)
    }

    fn of(most: u64) -> Self {
        Self { most, left: most, as_of: Time::default() }
    }

    /// Takes some, where there are as many.
    pub(super) fn take(&mut self, now: Time, events: usize) -> bool {
        let earned = now.since(self.as_of).as_nanos() * u128::from(EVENTS_PER_SECOND) / NANOS_PER_SEC;
        if earned > 0 {
            self.left = u64::try_from(earned).unwrap_or(u64::MAX).saturating_add(self.left).min(self.most);
            self.as_of = now;
        }
        let rest = self.left.checked_sub(events as u64);
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
    }
}

/// Ten thousand phones that register every ten seconds, which is more than anyone has.
const EVENTS_PER_SECOND: u64 = 1000;

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// How long the end waits for the log.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A burst of knocks as large as 8,192 phones that all come back at once.
const CAPACITY: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_shut_together_are_told_of_within_bounds() {
        let knocks = crate::knock::KnockSet::new(Vec::new()).unwrap();
        let gate = Inspector::new(crate::inspect::Policy::default(), knocks, 10);
        let door = Door::again(Door::by_hand(), Time::default(), Time::MAX, Duration::from_secs(1), false);
        let mut shut = ClosedDoors::default();
        (0..CAPACITY + 7).for_each(|n| shut.add(Source::from_bits([0, n as u64]), door));
        let told = std::cell::RefCell::new(Vec::new());
        shut.tell(&gate, "flushed", &|event| told.borrow_mut().push(event));
        let told = told.into_inner();
        assert_eq!((told.len(), told.last()), (CAPACITY + 1, Some(&Event::EventsLost(7))));
    }

    #[test]
    fn a_budget_is_spent_and_earned_again() {
        let mut budget = RateLimit::default();
        let start = Time::from_parts(1_000_000, 0);
        let spend = |budget: &mut RateLimit, now| (0..5000).take_while(|_| budget.take(now, 1)).count();
        assert_eq!(spend(&mut budget, start), 1000);
        assert_eq!(spend(&mut budget, start.after(Duration::from_micros(900))), 0);
        assert_eq!(spend(&mut budget, start.after(Duration::from_millis(10))), 10);
        assert_eq!(spend(&mut budget, start.after(Duration::from_secs(100))), 1000);
    }

    #[test]
    fn doors_that_open_have_a_budget_of_their_own() {
        let mut budget = RateLimit::of_opened();
        let start = Time::from_parts(1_000_000, 0);
        let spend = |budget: &mut RateLimit, now| (0..100_000).take_while(|_| budget.take(now, 1)).count();
        assert_eq!(spend(&mut budget, start), CAPACITY);
        assert_eq!(spend(&mut budget, start.after(Duration::from_secs(1))), 1000);
        assert_eq!(spend(&mut budget, start.after(Duration::from_secs(100))), CAPACITY);
    }
}
