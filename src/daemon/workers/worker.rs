//! A worker: one thread per queue.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::clock::Clock;
use crate::daemon::busiest::Vote;
use crate::daemon::context::{Context, Live};
use crate::daemon::event_log::{EventSender, RateLimit};
use crate::daemon::observers::packet_tap::PacketTap;
use crate::daemon::outbound::OutboundReader;
use crate::daemon::signals::Waker;
use crate::daemon::trunks::RefusedTrunks;
use crate::door::DoorChange;
use crate::drops::Drops;
use crate::event::{Event, KnockOutcome};
use crate::inspect::{Batch, Inspector};
use crate::metrics::counts::{Histogram, HistogramTotal, KnockCounts};
use crate::queue::{Queue, QueueError};
use crate::time::Time;
use crate::verdict::{Reason, ReasonCounts, Verdict};

/// Counters of a queue thread, which others read.
#[derive(Debug)]
pub(in crate::daemon) struct WorkerCounters {
    /// Packets by reason. Only the queue thread writes.
    reasons: [AtomicU64; Reason::ALL.len()],
    /// Those that were accepted, and that enforce mode would have dropped. They are not among the others.
    spared: [AtomicU64; Reason::ALL.len()],
    /// Knocks, and what they did.
    knocks: KnockCounts,
    /// When the last batch was answered that had a packet in it, in nanoseconds since 1970; 0 before the first one.
    answered: AtomicU64,
    /// Packets whose verdicts came too late, as of the last batch. Only the queue thread writes.
    stale: AtomicU64,
    /// How long decisions took; `None` where nobody asks.
    inspected: Option<Histogram>,
    /// Drops since the last summary, of all queues together.
    drops: Arc<Mutex<Drops>>,
    /// Calls that were dropped and may be a provider's.
    trunks: Arc<RefusedTrunks>,
    /// From where most packets come. Only the queue thread writes.
    vote: Mutex<Vote>,
}

impl WorkerCounters {
    /// `timed`: it is to count how long decisions take.
    pub(in crate::daemon) fn new(drops: Arc<Mutex<Drops>>, trunks: Arc<RefusedTrunks>, timed: bool) -> Self {
        Self {
            reasons: Default::default(),
            spared: Default::default(),
            knocks: KnockCounts::default(),
            answered: AtomicU64::default(),
            stale: AtomicU64::default(),
            inspected: timed.then(Histogram::default),
            drops,
            trunks,
            vote: Mutex::default(),
        }
    }

    /// How many packets have their verdict.
    pub(in crate::daemon) fn packets(&self) -> u64 {
        self.reasons().total()
    }

    /// All packets.
    pub(in crate::daemon) fn reasons(&self) -> ReasonCounts {
        let mut all = self.decided();
        all.merge(&self.spared());
        all
    }

    /// Packets whose verdict was that of their reason.
    pub(in crate::daemon) fn decided(&self) -> ReasonCounts {
        counted(&self.reasons)
    }

    /// Packets that were accepted in monitor mode, and would have been dropped.
    pub(in crate::daemon) fn spared(&self) -> ReasonCounts {
        counted(&self.spared)
    }

    pub(in crate::daemon) fn knocks(&self) -> &KnockCounts {
        &self.knocks
    }

    /// When the packets that had their verdicts last were received.
    pub(in crate::daemon) fn last_verdict(&self) -> Option<Time> {
        Some(self.answered.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0).map(Time::from_nanos)
    }

    /// Packets whose verdicts came too late, as of the last batch.
    pub(in crate::daemon) fn stale(&self) -> u64 {
        self.stale.load(Ordering::Relaxed)
    }

    /// From where most packets of this queue come.
    pub(in crate::daemon) fn vote(&self) -> Vote {
        *self.vote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds how long decisions took.
    pub(in crate::daemon) fn add_inspected(&self, total: &mut HistogramTotal) {
        if let Some(inspected) = &self.inspected {
            inspected.add_to(total);
        }
    }

    fn count(&self, counts: &ReasonCounts, of: &[AtomicU64]) {
        for (reason, count) in counts.occurred() {
            if let Some(total) = of.get(reason as usize) {
                total.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

fn counted(counts: &[AtomicU64; Reason::ALL.len()]) -> ReasonCounts {
    ReasonCounts::from_array(counts.each_ref().map(|count| count.load(Ordering::Relaxed)))
}

/// The handle of a queue thread. The thread returns its queue, still bound, so that the last look at the kernel's counters
/// finds it.
pub(in crate::daemon) type Handle = thread::JoinHandle<Result<Box<dyn Queue>, QueueError>>;

/// Receives, decides, answers, tells.
pub(in crate::daemon) struct Worker {
    queue: Box<dyn Queue>,
    gate: Live,
    clock: Clock,
    sink: EventSender,
    shared: Arc<WorkerCounters>,
    taps: Vec<PacketTap>,
    outbound: Arc<OutboundReader>,
    batch: Batch,
    /// The current batch's, kept for their memory.
    verdicts: Vec<Verdict>,
    budget: RateLimit,
    /// Doors that open.
    opened_budget: RateLimit,
    /// Dropped packets that are looked at for a provider's call.
    trunk_budget: RateLimit,
}

impl Worker {
    pub(in crate::daemon) fn new(
        queue: Box<dyn Queue>,
        context: Context,
        shared: Arc<WorkerCounters>,
        taps: Vec<PacketTap>,
        outbound: Arc<OutboundReader>,
    ) -> Self {
        let Context { gate, clock, sink } = context;
        Self {
            queue,
            gate,
            clock,
            sink,
            shared,
            taps,
            outbound,
            batch: Batch::default(),
            verdicts: Vec::new(),
            budget: RateLimit::default(),
            opened_budget: RateLimit::of_opened(),
            trunk_budget: RateLimit::default(),
        }
    }

    /// Starts the thread. It rings the alarm when it ends, for whatever cause.
    pub(in crate::daemon) fn spawn(self, waker: Waker) -> io::Result<Handle> {
        let name = format!("queue {}", self.queue.binding().queue);
        thread::Builder::new().name(name).spawn(move || {
            let outcome = self.run();
            waker.ring();
            outcome
        })
    }

    /// Serves the queue until it is shut and drained, or released.
    fn run(mut self) -> Result<Box<dyn Queue>, QueueError> {
        while self.serve()? > 0 {}
        Ok(self.queue)
    }

    /// One batch.
    fn serve(&mut self) -> Result<usize, QueueError> {
        let packets = self.queue.receive()?;
        let now = self.clock.now();
        // One gate for the whole batch, and for what there is to tell of it.
        let gate = self.gate.load();
        let packets_of_batch = (0..packets).map(|index| self.queue.packet(index));
        gate.inspect_all(now, packets_of_batch, &mut self.batch, || self.outbound.catch_up());
        // The one more look at the clock that a batch costs where metrics are asked for.
        let took = self.shared.inspected.as_ref().map(|inspected| (inspected, self.clock.now().since(now)));
        self.verdicts.clear();
        self.verdicts.extend(self.batch.decisions().iter().map(|decision| decision.verdict));
        self.queue.answer(&self.verdicts)?;
        if packets > 0 {
            self.shared.answered.store(now.as_nanos(), Ordering::Relaxed);
            self.shared.stale.store(self.queue.counters().stale, Ordering::Relaxed);
        }
        if let Some((inspected, took)) = took {
            inspected.observe(took, packets);
        }
        for tap in &self.taps {
            let decided = self.batch.decisions().iter().enumerate();
            decided.for_each(|(index, decision)| tap.add(decision, self.queue.packet(index)));
        }
        self.tell(now, &gate);
        Ok(packets)
    }

    /// Counts and reports the batch, whose verdicts have left.
    fn tell(&mut self, now: Time, gate: &Inspector) {
        let (mut counts, mut spared) = (ReasonCounts::default(), ReasonCounts::default());
        let mut drops = None;
        let mut vote = self.shared.vote.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.queue.binding().queue;
        for (index, decision) in self.batch.decisions().iter().enumerate() {
            if decision.would_drop() {
                spared.add(decision.reason);
            } else {
                counts.add(decision.reason);
            }
            decision.source.into_iter().for_each(|source| vote.add(source));
            if decision.reason.verdict() == Verdict::Drop {
                let drops = drops
                    .get_or_insert_with(|| self.shared.drops.lock().unwrap_or_else(PoisonError::into_inner));
                let source = decision.source.map(|address| gate.cut().source(address));
                let bytes = self.queue.packet(index);
                drops.add(now, source, decision.reason, bytes, |payload| {
                    Event::words_of_sender(gate, payload)
                });
            }
            let Some(knocked) = &decision.knocked else { continue };
            for &knock in &knocked.knocks {
                self.shared.knocks.add(knock, KnockOutcome::of(knock, knocked));
            }
            // Opening doors takes many addresses, renewing them one.
            let (budget, ran_out) = match knocked.change {
                DoorChange::Opened { ran_out, .. } => (&mut self.opened_budget, ran_out.is_some()),
                _ => (&mut self.budget, false),
            };
            let events = decision.knocks().len() + usize::from(ran_out);
            if budget.take(now, events) {
                for event in Event::of_knocks(gate, number, decision, self.queue.packet(index)) {
                    self.sink.send(event);
                }
            } else {
                self.sink.skip(events);
            }
        }
        let dropped = drops.is_some();
        drop(drops);
        drop(vote);
        self.shared.count(&counts, &self.shared.reasons);
        self.shared.count(&spared, &self.shared.spared);
        // Not under the lock that all queues share.
        if dropped && gate.outbound().has_users() {
            self.tell_trunks(now, gate);
        }
    }

    /// Reports dropped calls that may be a provider's.
    fn tell_trunks(&mut self, now: Time, gate: &Inspector) {
        for (index, decision) in self.batch.decisions().iter().enumerate() {
            if decision.reason.verdict() == Verdict::Drop && self.trunk_budget.take(now, 1) {
                let call = gate.trunk_call(now, self.queue.packet(index));
                let event = call.and_then(|call| self.shared.trunks.add(gate, &call, now));
                event.into_iter().for_each(|event| self.sink.send(event));
            }
        }
    }
}
