//! Events for those who watch, without waiting for any of them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::event::Event;
use crate::time::Time;

/// All who watch. Copies share them.
#[derive(Clone, Debug, Default)]
pub struct Watchers(Arc<WatcherList>);

#[derive(Debug, Default)]
struct WatcherList {
    /// As many as there are in `all`, to be asked for without a lock where there are none, as most often.
    count: AtomicUsize,
    all: Mutex<Vec<Watcher>>,
}

#[derive(Debug)]
struct Watcher {
    events: SyncSender<(Time, Arc<Event>)>,
    lost: Arc<AtomicU64>,
    ours: bool,
}

/// One who watches. He is forgotten when this is dropped.
#[derive(Debug)]
pub struct Watch {
    events: Receiver<(Time, Arc<Event>)>,
    lost: Arc<AtomicU64>,
}

/// What there is for one who watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchedEvent {
    /// An event, and when it was.
    Event(Time, Arc<Event>),
    /// So many more there were, but he was too slow.
    Lost(u64),
    /// Nothing yet.
    Nothing,
    /// There will be no more.
    End,
}

impl Watchers {
    /// Another one, where there are not too many.
    pub fn add(&self) -> Option<Watch> {
        let mut all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        let guests = all.iter().filter(|watcher| !watcher.ours).count();
        (guests < MAX_WATCHERS).then(|| self.seat(&mut all, false))
    }

    /// One of the gate's own, who is not counted among those who may come.
    pub fn add_ours(&self) -> Watch {
        self.seat(&mut self.0.all.lock().unwrap_or_else(PoisonError::into_inner), true)
    }

    fn seat(&self, all: &mut Vec<Watcher>, ours: bool) -> Watch {
        let (events, receiver) = mpsc::sync_channel(CAPACITY);
        let lost = Arc::<AtomicU64>::default();
        all.push(Watcher { events, lost: Arc::clone(&lost), ours });
        self.0.count.store(all.len(), Ordering::Relaxed);
        Watch { events: receiver, lost }
    }

    /// Gives an event to all. Who has no room for it loses it; who is gone is forgotten.
    pub fn tell(&self, now: impl FnOnce() -> Time, event: &Arc<Event>) {
        if self.0.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let now = now();
        let mut all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|watcher| match watcher.events.try_send((now, Arc::clone(event))) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                watcher.lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
        self.0.count.store(all.len(), Ordering::Relaxed);
    }

    /// Tells all that there will be no more.
    pub fn end(&self) {
        let mut all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.clear();
        self.0.count.store(0, Ordering::Relaxed);
    }
}

impl Watch {
    /// What comes next, within a time.
    pub fn next(&self, patience: Duration) -> WatchedEvent {
        match self.lost.swap(0, Ordering::Relaxed) {
            0 => match self.events.recv_timeout(patience) {
                Ok((time, event)) => WatchedEvent::Event(time, event),
                Err(RecvTimeoutError::Timeout) => WatchedEvent::Nothing,
                Err(RecvTimeoutError::Disconnected) => WatchedEvent::End,
            },
            lost => WatchedEvent::Lost(lost),
        }
    }
}

/// More than there are people to watch one gate.
pub const MAX_WATCHERS: usize = 16;

/// A second's events of a busy gate.
const CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn note(n: usize) -> Arc<Event> {
        Arc::new(Event::Note(n.to_string()))
    }

    #[test]
    fn the_slow_one_loses_and_nobody_waits() {
        let watchers = Watchers::default();
        let (slow, quick) = (watchers.add().unwrap(), watchers.add().unwrap());
        for n in 0..CAPACITY + 5 {
            watchers.tell(Time::default, &note(n));
            assert_eq!(quick.next(PATIENCE), WatchedEvent::Event(Time::default(), note(n)));
        }
        assert_eq!(slow.next(PATIENCE), WatchedEvent::Lost(5));
        for n in 0..CAPACITY {
            assert_eq!(slow.next(PATIENCE), WatchedEvent::Event(Time::default(), note(n)));
        }
        assert_eq!(slow.next(Duration::ZERO), WatchedEvent::Nothing);
    }

    #[test]
    fn they_are_bounded_forgotten_and_told_of_the_end() {
        let watchers = Watchers::default();
        let mut all: Vec<_> = (0..MAX_WATCHERS).map(|_| watchers.add().unwrap()).collect();
        assert!(watchers.add().is_none());
        let ours = watchers.add_ours();
        all.pop();
        watchers.tell(Time::default, &note(1));
        assert!(watchers.add().is_some(), "one is gone");
        watchers.end();
        assert_eq!(all[0].next(PATIENCE), WatchedEvent::Event(Time::default(), note(1)));
        assert_eq!(all[0].next(PATIENCE), WatchedEvent::End);
        assert_eq!(ours.next(PATIENCE), WatchedEvent::Event(Time::default(), note(1)));
    }

    const PATIENCE: Duration = Duration::from_secs(60);
}
