//! Whether the queues are served, and what was lost before anybody looked.
//!
//! It judges numbers: the kernel's line about a queue, and how many packets its thread has decided.
//! [`crate::daemon::workers`] reads them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::queue::kernel::QueueRow;
use crate::queue::{Fault, QueueBinding};
use crate::time::Time;

/// How a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) struct QueueStatus {
    /// The queue's binding in the kernel.
    pub(in crate::daemon) binding: QueueBinding,
    /// Its fault, and the time since which that is known.
    pub(in crate::daemon) fault: Option<(Fault, Time)>,
    /// How often something was wrong with it since the start. Never less than before.
    pub(in crate::daemon) faults: u64,
}

/// The state of all queues; copies share it.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct QueueHealth(Arc<Mutex<Vec<QueueStatus>>>);

impl QueueHealth {
    /// All queues that are to be served.
    pub(in crate::daemon) fn queues(&self) -> Vec<QueueStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a thread is stuck. A service manager that hears nothing for a while restarts the gate.
    pub(in crate::daemon) fn is_stuck(&self) -> bool {
        self.queues().iter().any(|queue| matches!(queue.fault, Some((Fault::Stuck, _))))
    }

    /// The queues' bindings in the kernel.
    pub(in crate::daemon) fn bindings(&self) -> Vec<QueueBinding> {
        self.queues().iter().map(|queue| queue.binding).collect()
    }

    /// From now on this queue is served, by this binding.
    pub(in crate::daemon) fn serve(&self, binding: QueueBinding) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match queues.iter_mut().find(|queue| queue.binding.queue == binding.queue) {
            Some(queue) => queue.binding = binding,
            None => queues.push(QueueStatus { binding, fault: None, faults: 0 }),
        }
        queues.sort_unstable_by_key(|queue| queue.binding.queue);
    }

    /// This queue is served no more, and is not to be.
    pub(in crate::daemon) fn retire(&self, number: u16) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| queue.binding.queue != number);
    }

    /// Takes note of a fault, or of its end. Whether that is news.
    pub(in crate::daemon) fn set(&self, number: u16, fault: Option<Fault>, now: Time) -> bool {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queues.iter_mut().find(|queue| queue.binding.queue == number) else {
            return false;
        };
        if queue.fault.map(|(fault, _)| fault) == fault {
            return false;
        }
        queue.faults += u64::from(fault.is_some());
        queue.fault = fault.map(|fault| (fault, now));
        true
    }
}

/// Watches one queue.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) struct QueueMonitor {
    /// Packets decided, as last seen.
    decided: u64,
    /// Looks in a row at which packets waited and none had been decided.
    still: u32,
    losses: [Loss; 2],
}

impl QueueMonitor {
    /// From here on; what the kernel has lost until now is no news.
    pub(in crate::daemon) fn new(row: &QueueRow, decided: u64) -> Self {
        let seen = |count| Loss { seen: count, untold: 0, told: None };
        Self { decided, still: 0, losses: [seen(row.queue_dropped), seen(row.user_dropped)] }
    }

    /// A look, a second or so after the last one. `row` is what the kernel has under the queue's number.
    ///
    /// Looks are counted, not time: a process that was halted for a minute looks once when it goes on, and is not blamed
    /// for it.
    pub(in crate::daemon) fn check(
        &mut self,
        ours: QueueBinding,
        row: Option<&QueueRow>,
        decided: u64,
    ) -> Option<Fault> {
        let Some(row) = row.filter(|row| row.port_id == ours.port_id) else { return Some(Fault::Lost) };
        let stands = row.waiting > 0 && decided == self.decided;
        self.still = if stands { self.still + 1 } else { 0 };
        self.decided = decided;
        (self.still >= STUCK_LOOKS).then_some(Fault::Stuck)
    }

    /// Packets that were lost, by place, where it is time to tell.
    pub(in crate::daemon) fn losses(
        &mut self,
        row: &QueueRow,
        now: Time,
    ) -> impl Iterator<Item = (LossPlace, u64)> + use<> {
        self.tell(Some(row), now, Loss::is_due)
    }

    /// The rest of them, at the end.
    pub(in crate::daemon) fn last_losses(
        &mut self,
        row: Option<&QueueRow>,
        now: Time,
    ) -> impl Iterator<Item = (LossPlace, u64)> + use<> {
        self.tell(row, now, |_, _| true)
    }

    fn tell(
        &mut self,
        row: Option<&QueueRow>,
        now: Time,
        due: fn(&Loss, Time) -> bool,
    ) -> impl Iterator<Item = (LossPlace, u64)> + use<> {
        let counts = row.map(|row| [row.queue_dropped, row.user_dropped]);
        let mut told = [(LossPlace::Kernel, 0), (LossPlace::Socket, 0)];
        for (index, (loss, (_, told))) in self.losses.iter_mut().zip(&mut told).enumerate() {
            if let Some(count) = counts.and_then(|counts| counts.get(index).copied()) {
                loss.untold += count.saturating_sub(loss.seen);
                loss.seen = count;
            }
            if loss.untold > 0 && due(loss, now) {
                *told = std::mem::take(&mut loss.untold);
                loss.told = Some(now);
            }
        }
        told.into_iter().filter(|(_, count)| *count > 0)
    }
}

/// Where packets are lost before anybody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum LossPlace {
    /// The queue was full.
    Kernel,
    /// The socket's receive buffer was.
    Socket,
}

/// Packets lost in one place.
#[derive(Clone, Copy, Debug)]
struct Loss {
    seen: u64,
    untold: u64,
    told: Option<Time>,
}

impl Loss {
    fn is_due(&self, now: Time) -> bool {
        self.told.is_none_or(|told| now.since(told) >= OVERLOAD_INTERVAL)
    }
}

/// As many looks, one a second: what a thread does to a batch takes less than a millisecond.
const STUCK_LOOKS: u32 = 5;

/// How often an overload that goes on is told of.
const OVERLOAD_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: QueueBinding = QueueBinding { queue: 3, port_id: 77, receive_buffer: 0 };

    fn row(waiting: u64) -> QueueRow {
        QueueRow { queue: 3, port_id: 77, waiting, ..QueueRow::default() }
    }

    /// The monitor's findings at each check, of packets that wait and packets decided in all.
    fn faults(looks: &[(u64, u64)]) -> Vec<Option<Fault>> {
        let mut watch = QueueMonitor::new(&row(0), 0);
        looks.iter().map(|&(waiting, decided)| watch.check(OURS, Some(&row(waiting)), decided)).collect()
    }

    #[test]
    fn a_queue_is_stuck_where_packets_wait_and_none_is_decided() {
        let stuck = Some(Fault::Stuck);
        for (name, seen, last) in [
            ("quiet", vec![(0, 0); 20], None),
            ("busy", (0..20).map(|n| (9, n * 100)).collect(), None),
            ("slow", (0..20).map(|n| (16_384, n / 3)).collect(), None),
            ("stuck", vec![(1, 0); 5], stuck),
            ("not yet", vec![(1, 0); 4], None),
            ("stuck after much work", [vec![(5, 100), (5, 200)], vec![(5, 200); 5]].concat(), stuck),
            ("going on again", [vec![(5, 0); 9], vec![(5, 1)]].concat(), None),
            ("emptied from outside", [vec![(5, 0); 9], vec![(0, 0)]].concat(), None),
        ] {
            assert_eq!(faults(&seen).last(), Some(&last), "{name}");
        }
        let all = faults(&[(1, 0); 9]);
        assert_eq!(
            all.iter().position(Option::is_some),
            Some(4),
            "at the fifth look, and from then on: {all:?}"
        );
    }

    #[test]
    fn a_queue_is_lost_where_the_kernel_does_not_have_it_as_ours() {
        let mut watch = QueueMonitor::new(&row(0), 0);
        assert_eq!(watch.check(OURS, None, 0), Some(Fault::Lost), "unbound");
        let theirs = QueueRow { port_id: 78, ..row(0) };
        assert_eq!(watch.check(OURS, Some(&theirs), 0), Some(Fault::Lost), "stolen");
        assert_eq!(watch.check(OURS, Some(&row(0)), 0), None);
    }

    #[test]
    fn an_overload_is_told_once_per_interval_and_nothing_is_left_out() {
        let mut lost = QueueRow { queue_dropped: 1000, user_dropped: 5, ..row(0) };
        let mut watch = QueueMonitor::new(&lost, 0);
        let at = |seconds: u64| Time::from_parts(1_000_000 + seconds, 0);
        assert_eq!(watch.losses(&lost, at(0)).count(), 0, "that was before our time");
        let mut told = Vec::new();
        for second in 0..=25 {
            lost.queue_dropped += 10;
            lost.user_dropped += u64::from(second == 7);
            told.extend(watch.losses(&lost, at(second)).map(|(place, count)| (second, place, count)));
        }
        let kernel = [(0, LossPlace::Kernel, 10), (10, LossPlace::Kernel, 100), (20, LossPlace::Kernel, 100)];
        assert_eq!(told, [&kernel[..1], &[(7, LossPlace::Socket, 1)], &kernel[1..]].concat());
        assert_eq!(watch.last_losses(None, at(26)).collect::<Vec<_>>(), [(LossPlace::Kernel, 50)]);
    }

    #[test]
    fn faults_are_counted_when_they_begin() {
        let health = QueueHealth::default();
        let now = Time::from_parts(9, 0);
        health.serve(OURS);
        assert!(health.queues()[0].fault.is_none() && !health.is_stuck());
        assert!(health.set(3, Some(Fault::Stuck), now));
        assert!(!health.set(3, Some(Fault::Stuck), Time::from_parts(10, 0)), "no news");
        assert_eq!(health.queues()[0].fault, Some((Fault::Stuck, now)));
        assert!(health.is_stuck());
        health.serve(QueueBinding { port_id: 78, ..OURS });
        assert!(health.set(3, None, now) && health.queues()[0].fault.is_none());
        assert!(health.set(3, Some(Fault::Lost), now) && !health.is_stuck());
        assert_eq!((health.queues()[0].faults, health.bindings()[0].port_id), (2, 78));
        assert!(!health.set(4, Some(Fault::Lost), now), "not one of ours");
    }
}
