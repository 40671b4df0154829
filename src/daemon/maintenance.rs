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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::testing::{Stand, datagram, gate, source};
    use crate::door::Grant;

    #[test]
    fn doors_that_have_run_out_are_told_and_drops_are_summed_up_every_ten_seconds() {
        let stand = Stand::new(gate(&[("alice", "secret-one-of-alice")]));
        let mut maintenance = Maintenance::new(stand.context.clone(), false);
        let grant = Grant { knock: stand.knock("alice"), life: Duration::from_secs(3), registration: None };
        stand.gate().doors().knock(source(1), stand.now(), &[grant]);
        let drop = |n: u8| {
            let (gate, packet) = (stand.gate(), datagram(n, "OPTIONS sip:stranger SIP/2.0"));
            let decision = gate.inspect(stand.now(), &packet);
            let source = decision.source.map(|address| gate.cut().source(address));
            maintenance.drops.lock().unwrap().add(stand.now(), source, decision.reason, &packet, |payload| {
                Event::words_of_sender(&gate, payload)
            });
        };
        (0..5).for_each(|_| drop(8));
        drop(9);
        stand.context.sink.skip(4);
        let mut told = Vec::new();
        for second in 1..=20 {
            stand.hand.advance(Duration::from_secs(1));
            maintenance.run();
            told.extend(stand.events().into_iter().map(|event| (second, event)));
        }
        let shown: Vec<_> = told
            .iter()
            .map(|(second, event)| match event {
                Event::Closed { source, why, .. } => format!("{second} {source} {why}"),
                Event::Dropped { source, reasons, interval, .. } => {
                    format!("{second} {source} {} in {} s", reasons.total(), interval.as_secs())
                }
                Event::EventsLost(count) => format!("{second} {count} lost"),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected =
            ["3 192.0.2.1 expired", "10 192.0.2.8 5 in 10 s", "10 192.0.2.9 1 in 10 s", "10 4 lost"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_end_sums_up_what_there_is() {
        let stand = Stand::new(gate(&[("alice", "secret-one-of-alice")]));
        let mut maintenance = Maintenance::new(stand.context.clone(), false);
        stand.hand.advance(Duration::from_secs(4));
        let reason = crate::verdict::Reason::Malformed;
        maintenance.drops.lock().unwrap().add(stand.now(), None, reason, b"", |_| None);
        maintenance.finish();
        let events = stand.events();
        assert!(
            matches!(events.as_slice(), [Event::Dropped { interval, .. }] if interval.as_secs() == 4),
            "{events:?}"
        );
    }
}
