//! What has to be done now and then, and not on a packet's time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::events::EventSink;
use super::reload::Live;
use super::worker::Shared;
use crate::clock::Clock;
use crate::drops::Drops;
use crate::event::{EXPIRED, Event};
use crate::queue::Binding;
use crate::queue::kernel::{self, QueueRow};
use crate::time::Time;
use crate::verdict::ReasonCounts;

/// Sweeps doors, sums up drops, watches what the kernel drops.
pub(super) struct Housekeeping {
    gate: Live,
    clock: Clock,
    sink: EventSink,
    workers: Vec<Arc<Shared>>,
    drops: Arc<Mutex<Drops>>,
    /// The kernel's counters as last seen; they start at 0 with the binding.
    rows: Vec<QueueRow>,
    summed_up: Time,
}

impl Housekeeping {
    pub(super) fn new(gate: Live, clock: Clock, sink: EventSink, bindings: &[Binding]) -> Self {
        let row = |binding: &Binding| QueueRow {
            queue: binding.queue,
            port_id: binding.port_id,
            ..QueueRow::default()
        };
        let rows = bindings.iter().map(row).collect();
        Self { gate, clock, sink, workers: Vec::new(), drops: Arc::default(), rows, summed_up: clock.now() }
    }

    /// What another queue thread counts in, which from here on is watched. `timed`: also how long decisions take.
    pub(super) fn watch(&mut self, timed: bool) -> Arc<Shared> {
        let shared = Arc::new(Shared::new(Arc::clone(&self.drops), timed));
        self.workers.push(Arc::clone(&shared));
        shared
    }

    /// What all queue threads count in.
    pub(super) fn workers(&self) -> Vec<Arc<Shared>> {
        self.workers.clone()
    }

    /// A round of all that is due.
    pub(super) fn keep(&mut self) {
        let now = self.clock.now();
        self.sweep(now);
        self.watch_kernel();
        if now.since(self.summed_up) >= SUMMARY_INTERVAL {
            self.sum_up(now);
        }
    }

    /// The last round.
    pub(super) fn finish(&mut self) {
        let now = self.clock.now();
        self.sweep(now);
        self.watch_kernel();
        self.sum_up(now);
    }

    /// All packets so far.
    pub(super) fn totals(&self) -> ReasonCounts {
        let mut totals = ReasonCounts::default();
        for worker in &self.workers {
            totals.merge(&worker.reasons());
        }
        totals
    }

    fn sweep(&self, now: Time) {
        let gate = self.gate.load();
        for (source, door) in gate.doors().sweep(now) {
            self.sink.send(Event::closed(&gate, source, door, EXPIRED));
        }
        gate.streams().sweep(now);
    }

    fn sum_up(&mut self, now: Time) {
        let interval = now.since(self.summed_up);
        self.summed_up = now;
        let lines = self.drops.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gate = self.gate.load();
        for line in lines {
            self.sink.send(Event::dropped(&gate, &line, interval));
        }
        match self.sink.take_lost() {
            0 => {}
            lost => self.sink.send(Event::EventsLost(lost)),
        }
    }

    fn watch_kernel(&mut self) {
        let current = kernel::queues();
        for seen in &mut self.rows {
            let Some(row) = current.iter().find(|row| (row.queue, row.port_id) == (seen.queue, seen.port_id))
            else {
                continue;
            };
            let lost = [
                ("kernel", row.queue_dropped, seen.queue_dropped),
                ("socket", row.user_dropped, seen.user_dropped),
            ];
            for (place, count, before) in lost {
                if count > before {
                    self.sink.send(Event::Overload { queue: row.queue, place, count: count - before });
                }
            }
            *seen = *row;
        }
    }
}

/// How often drops are summed up: soon enough for a tool that bans by log, seldom enough to read.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);
