//! The way of an event to the log, past the packets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};

use crate::event::Event;

/// Takes events from the queue threads without ever making them wait.
#[derive(Clone, Debug)]
pub(super) struct EventSink {
    events: SyncSender<Event>,
    lost: Arc<AtomicU64>,
}

/// The thread that writes them. It ends when all sinks are gone.
#[derive(Debug)]
pub(super) struct EventWriter(JoinHandle<()>);

impl EventSink {
    pub(super) fn start() -> io::Result<(Self, EventWriter)> {
        let (sender, receiver) = mpsc::sync_channel::<Event>(CAPACITY);
        let write_all = move || receiver.into_iter().for_each(|event| event.write());
        let thread = thread::Builder::new().name("log".to_owned()).spawn(write_all)?;
        Ok((Self { events: sender, lost: Arc::default() }, EventWriter(thread)))
    }

    /// Hands an event over; where the log is so far behind that there is no room, it is counted as lost.
    pub(super) fn send(&self, event: Event) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.events.try_send(event) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many events were lost since the last call.
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl EventWriter {
    pub(super) fn join(self) {
        // It does not panic; and if it did, there would be no log left to say so.
        let _ = self.0.join();
    }
}

/// A burst of knocks as large as 8,192 phones that all come back at once.
const CAPACITY: usize = 8192;
