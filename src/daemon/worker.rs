//! A queue's thread.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::events::{Budget, EventSink};
use super::learner::Copies;
use super::reload::Live;
use super::{Alarm, Handle};
use crate::clock::Clock;
use crate::door::Change;
use crate::drops::Drops;
use crate::event::Event;
use crate::inspect::{Decision, Inspector};
use crate::net::Source;
use crate::queue::{Queue, QueueError};
use crate::time::Time;
use crate::verdict::{Reason, ReasonCounts, Verdict};

/// What a queue thread shows to the one that keeps house.
#[derive(Debug)]
pub(super) struct Shared {
    /// Packets by reason. Only the queue thread writes.
    reasons: [AtomicU64; Reason::ALL.len()],
    /// Drops since the last summary, of all queues together.
    drops: Arc<Mutex<Drops>>,
}

impl Shared {
    pub(super) fn new(drops: Arc<Mutex<Drops>>) -> Self {
        Self { reasons: Default::default(), drops }
    }

    pub(super) fn reasons(&self) -> ReasonCounts {
        ReasonCounts::from_array(std::array::from_fn(|index| {
            self.reasons.get(index).map_or(0, |count| count.load(Ordering::Relaxed))
        }))
    }
}

/// Receives, decides, answers, tells.
pub(super) struct Worker {
    queue: Box<dyn Queue>,
    gate: Live,
    clock: Clock,
    sink: EventSink,
    shared: Arc<Shared>,
    copies: Option<Copies>,
    /// The current batch's decisions and verdicts, kept for their memory.
    decisions: Vec<Decision>,
    verdicts: Vec<Verdict>,
    budget: Budget,
}

impl Worker {
    pub(super) fn new(
        queue: Box<dyn Queue>,
        gate: Live,
        clock: Clock,
        sink: EventSink,
        shared: Arc<Shared>,
        copies: Option<Copies>,
    ) -> Self {
        Self {
            queue,
            gate,
            clock,
            sink,
            shared,
            copies,
            decisions: Vec::new(),
            verdicts: Vec::new(),
            budget: Budget::default(),
        }
    }

    /// Starts the thread. It rings the alarm when it ends, for whatever cause.
    pub(super) fn spawn(self, alarm: Alarm) -> io::Result<Handle> {
        let name = format!("queue {}", self.queue.binding().queue);
        thread::Builder::new().name(name).spawn(move || {
            let outcome = self.run();
            alarm.ring();
            outcome
        })
    }

    /// Serves the queue until it is shut and drained.
    fn run(mut self) -> Result<Box<dyn Queue>, QueueError> {
        while self.serve()? > 0 {}
        Ok(self.queue)
    }

    /// One batch.
    fn serve(&mut self) -> Result<usize, QueueError> {
        let packets = self.queue.receive()?;
        let now = self.clock.now();
        self.decisions.clear();
        // One gate for the whole batch, and for what there is to tell of it.
        let gate = self.gate.load();
        self.decisions.extend((0..packets).map(|index| gate.inspect(now, self.queue.packet(index))));
        self.verdicts.clear();
        self.verdicts.extend(self.decisions.iter().map(|decision| decision.verdict));
        self.queue.answer(&self.verdicts)?;
        if let Some(copies) = &self.copies {
            (0..packets).for_each(|index| copies.add(self.queue.packet(index)));
        }
        self.tell(now, &gate);
        Ok(packets)
    }

    /// Counts and reports the batch, whose verdicts have left.
    fn tell(&mut self, now: Time, gate: &Inspector) {
        let mut counts = ReasonCounts::default();
        let mut drops = None;
        let number = self.queue.binding().queue;
        for (index, decision) in self.decisions.iter().enumerate() {
            counts.add(decision.reason);
            if decision.reason.verdict() == Verdict::Drop {
                let drops = drops
                    .get_or_insert_with(|| self.shared.drops.lock().unwrap_or_else(PoisonError::into_inner));
                let source = decision.source.map(|address| Source::new(address, gate.prefixes()));
                drops.add(source, decision.reason);
            }
            let Some(change) = decision.change else { continue };
            // Doors opened are bounded by the table; what one source can repeat at will is not.
            let opened = matches!(change, Change::Opened { .. });
            if opened || self.budget.take(now, decision.knocks.len()) {
                for event in Event::of_knocks(gate, number, decision, self.queue.packet(index)) {
                    self.sink.send(event);
                }
            } else {
                self.sink.skip(decision.knocks.len());
            }
        }
        for (reason, count) in counts.occurred() {
            if let Some(total) = self.shared.reasons.get(reason as usize) {
                total.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}
