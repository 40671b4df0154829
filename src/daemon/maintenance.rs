//! Work that is due now and then, off the packets' path.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::daemon::context::{Context, Live};
use crate::daemon::event_log::{EventSender, RateLimit};
use crate::daemon::genuine::Genuine;
use crate::daemon::outbound::tell_closed;
use crate::daemon::trunks::RefusedTrunks;
use crate::daemon::workers::worker::WorkerCounters;
use crate::drops::Drops;
use crate::event::{EXPIRED, Event};
use crate::time::Time;
use crate::verdict::ReasonCounts;

/// The number of a queue, and what a thread of it counts in. A queue may have had several.
pub(super) type WatchedQueue = (u16, Arc<WorkerCounters>);

/// Sweeps doors, sums up drops.
pub(super) struct Maintenance {
    gate: Live,
    clock: Clock,
    sink: EventSender,
    workers: Vec<WatchedQueue>,
    drops: Arc<Mutex<Drops>>,
    genuine: Genuine,
    trunks: Arc<RefusedTrunks>,
    summed_up: Time,
    /// Doors that run out.
    closed_budget: RateLimit,
    /// Whether queue threads count how long decisions take, too.
    timed: bool,
}

impl Maintenance {
    pub(super) fn new(context: Context, timed: bool) -> Self {
        let Context { gate, clock, sink } = context;
        let (workers, drops, summed_up) = (Vec::new(), Arc::default(), clock.now());
        Self {
            gate,
            clock,
            sink,
            workers,
            drops,
            genuine: Genuine::default(),
            trunks: Arc::default(),
            summed_up,
            closed_budget: RateLimit::of_opened(),
            timed,
        }
    }

    /// The counters of another thread of this queue, which are watched from here on.
    pub(super) fn watch(&mut self, queue: u16) -> Arc<WorkerCounters> {
        let shared =
            Arc::new(WorkerCounters::new(Arc::clone(&self.drops), Arc::clone(&self.trunks), self.timed));
        self.workers.push((queue, Arc::clone(&shared)));
        shared
    }

    /// Calls that queue threads drop and that may be a provider's.
    pub(super) fn trunks(&self) -> Arc<RefusedTrunks> {
        Arc::clone(&self.trunks)
    }

    /// The counters of all queue threads.
    pub(super) fn workers(&self) -> Vec<WatchedQueue> {
        self.workers.clone()
    }

    /// A round of all that is due.
    pub(super) fn run(&mut self) {
        let now = self.clock.now();
        self.sweep(now);
        if now.since(self.summed_up) >= SUMMARY_INTERVAL {
            self.sum_up(now);
        }
    }

    /// The last round.
    pub(super) fn finish(&mut self) {
        let now = self.clock.now();
        self.sweep(now);
        self.sum_up(now);
    }

    /// All packets so far.
    pub(super) fn totals(&self) -> ReasonCounts {
        let mut totals = ReasonCounts::default();
        for (_, worker) in &self.workers {
            totals.merge(&worker.reasons());
        }
        totals
    }

    fn sweep(&mut self, now: Time) {
        let gate = self.gate.load();
        for (source, door) in gate.doors().sweep(now) {
            match self.closed_budget.take(now, 1) {
                true => self.sink.send(Event::closed(&gate, source, door, EXPIRED)),
                false => self.sink.skip(1),
            }
        }
        tell_closed(&gate, gate.outbound().sweep(now), EXPIRED, &|event| self.sink.send(event));
        gate.streams().sweep(now);
    }

    fn sum_up(&mut self, now: Time) {
        let interval = now.since(self.summed_up);
        self.summed_up = now;
        let lines = self.drops.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gate = self.gate.load();
        let proven = self.genuine.look(&lines, |text| self.sink.send(Event::Warning(text)));
        for line in lines {
            let established = proven.holds(&gate, &line, now);
            self.sink.send(Event::dropped(&gate, line, interval, established));
        }
        match self.sink.take_lost() {
            0 => {}
            lost => self.sink.send(Event::EventsLost(lost)),
        }
    }
}

/// How often drops are summed up: soon enough for a tool that bans by log, seldom enough to read.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);
