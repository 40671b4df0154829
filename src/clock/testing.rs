//! A clock that tests set.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Clock;
use crate::time::Time;

/// Moves the clock of a test, which stands still otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockHand(&'static HandState);

struct HandState {
    nanos: AtomicU64,
    /// Done when somebody next asks for the time.
    next: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Clock {
    /// A clock that stands at `start`, and its hand.
    pub(crate) fn by_hand(start: Time) -> (Self, ClockHand) {
        let state = HandState { nanos: start.as_nanos().into(), next: Mutex::default() };
        // A clock is copied everywhere, so that nobody knows when the last copy goes.
        let hand = ClockHand(Box::leak(Box::new(state)));
        (Self { boot: start, hand: Some(hand) }, hand)
    }
}

impl ClockHand {
    /// The time at which it stands.
    pub(crate) fn now(self) -> Time {
        let next = self.0.next.lock().unwrap().take();
        next.into_iter().for_each(|work| work());
        Time::from_nanos(self.0.nanos.load(Ordering::SeqCst))
    }

    /// Moves it forward.
    pub(crate) fn advance(self, span: Duration) {
        self.0.nanos.fetch_add(u64::try_from(span.as_nanos()).unwrap(), Ordering::SeqCst);
    }

    /// Does some work when somebody next asks for the time: in the middle of what a test has begun.
    pub(crate) fn at_next_look(self, work: impl FnOnce() + Send + 'static) {
        *self.0.next.lock().unwrap() = Some(Box::new(work));
    }
}

impl fmt::Debug for HandState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nanos.fmt(f)
    }
}
