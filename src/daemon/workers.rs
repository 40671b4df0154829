//! The queue threads, and looking after them.
//!
//! A thread that hangs can't be ended from outside. So its queue is taken from it: given up through a second
//! descriptor of the same socket, bound again on another socket, and served by another thread. If the old one ever
//! wake up, the kernel takes its verdicts for nothing.

pub(super) mod provider;
pub(super) mod watchdog;
pub(super) mod worker;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::config::Config;
use crate::daemon::context::Context;
use crate::daemon::error::{DaemonError, system};
use crate::daemon::maintenance::Maintenance;
use crate::daemon::observers::packet_tap::PacketTap;
use crate::daemon::outbound::OutboundReader;
use crate::daemon::signals::Waker;
use crate::daemon::systemd::Systemd;
use crate::daemon::workers::provider::QueueProvider;
use crate::daemon::workers::watchdog::{LossPlace, QueueHealth, QueueMonitor};
use crate::daemon::workers::worker::{Handle, Worker, WorkerCounters};
use crate::event::Event;
use crate::queue::kernel::QueueRow;
use crate::queue::{self, Fault, Queue, QueueBinding, QueueCounters, QueueOptions, Shutter, Unanswered};
use crate::time::Time;

/// The values that a queue thread works with.
pub(super) struct WorkerContext {
    /// The gate, the time and the log.
    pub(super) common: Context,
    /// The kernel.
    pub(super) queues: Box<dyn QueueProvider>,
    /// Observers of the packets.
    pub(super) taps: Vec<PacketTap>,
    pub(super) outbound: Arc<OutboundReader>,
    pub(super) waker: Waker,
}

/// All queues with their threads.
pub(super) struct WorkerPool {
    context: WorkerContext,
    manager: Systemd,
    /// Whether the service manager keeps the sockets.
    stored: bool,
    slots: Vec<Slot>,
    health: QueueHealth,
    /// Counts of threads whose queues are closed.
    counted: QueueCounters,
    /// Looks until the mark of requeued packets is taken back.
    unproven: Option<u32>,
}

/// A queue and the thread that serves it.
struct Slot {
    options: QueueOptions,
    binding: QueueBinding,
    shutter: Shutter,
    shared: Arc<WorkerCounters>,
    state: SlotState,
    monitor: QueueMonitor,
    /// It is being shut, while others go on.
    leaving: bool,
    /// Packets decided when it was bound again because it was stuck.
    revived: Option<u64>,
    /// When the log last said that it can't be bound.
    told: Option<Time>,
}

/// The holder of the queue.
enum SlotState {
    /// Nobody yet, or nobody any more.
    Nobody(Box<dyn Queue>),
    /// A thread.
    Thread(Handle),
    /// It is closed.
    Closed,
}

impl WorkerPool {
    pub(super) fn new(context: WorkerContext, manager: Systemd) -> Self {
        let stored = manager.is_present() && context.queues.hands_over();
        let (slots, health, counted) = (Vec::new(), QueueHealth::default(), QueueCounters::default());
        Self { context, manager, stored, slots, health, counted, unproven: None }
    }

    /// How the queues are.
    pub(super) fn health(&self) -> QueueHealth {
        self.health.clone()
    }

    /// Whether the service manager keeps the sockets.
    pub(super) fn is_stored(&self) -> bool {
        self.stored
    }

    fn bind(&mut self, options: &QueueOptions, shared: Arc<WorkerCounters>) -> Result<(), DaemonError> {
        let queue = self.context.queues.open(options)?;
        self.add(queue, options, shared)
    }

    /// Goes on with a queue that another process has bound.
    fn adopt(
        &mut self,
        socket: OwnedFd,
        options: &QueueOptions,
        shared: Arc<WorkerCounters>,
        unanswered: Unanswered,
    ) -> Result<(), DaemonError> {
        let queue = self.context.queues.adopt(socket, options, unanswered)?;
        self.add(queue, options, shared)
    }

    /// The end of packets that a process of before had received when it ended out of order: they come again, once. If one
    /// of them was why it ended, the next process ends by it as well; so it leaves a mark with the service manager,
    /// until it has proved that it goes on. With the mark there (`marked`) they are dropped.
    pub(super) fn unanswered(&mut self, marked: bool) -> Unanswered {
        let mark = || rustix::fs::memfd_create("sipknock requeued", rustix::fs::MemfdFlags::CLOEXEC).ok();
        let unanswered = match (marked, mark()) {
            (false, Some(mark)) => {
                self.manager.keep(REQUEUED, mark.as_fd());
                Unanswered::Requeue
            }
            _ => Unanswered::Drop,
        };
        self.unproven = Some(PROVED_LOOKS);
        unanswered
    }

    /// Goes on with queues that another process has left. Those that are not configured any more are named: they are served
    /// like the others until somebody [`WorkerPool::retire`]s them, when no rule leads there any more.
    ///
    /// A socket that the service manager has kept may be of no use; then the queue is bound again. A gate that is `alive` goes
    /// on where its queues can't be used, so that this is an error.
    pub(super) fn inherit(
        &mut self,
        sockets: Vec<(u16, OwnedFd)>,
        config: &Config,
        alive: bool,
        unanswered: Unanswered,
        daemon: &mut Maintenance,
    ) -> Result<Vec<u16>, DaemonError> {
        let mut surplus = Vec::new();
        for (number, socket) in sockets {
            let wanted = config.queue.numbers.contains(&number);
            if self.slots.iter().any(|slot| slot.binding.queue == number) {
                continue;
            }
            let second = socket.try_clone().map_err(system("copy a socket"))?;
            let adopted = self.adopt(socket, &config.queue.options(number), daemon.watch(number), unanswered);
            match adopted {
                Ok(()) if wanted => {}
                Ok(()) => surplus.push(number),
                Err(error) if alive => return Err(error),
                Err(error) => {
                    self.manager.forget(&store_name(number));
                    // Packets that wait there would wait for ever, and no other process could bind it.
                    queue::unbind(&second, number)?;
                    let text = format!("the queue that the service manager has kept is bound again: {error}");
                    self.context.common.sink.send(Event::Warning(text));
                    if wanted {
                        self.bind(&config.queue.options(number), daemon.watch(number))?;
                    }
                }
            }
        }
        let mut numbers = config.queue.numbers.clone().filter(|_| alive);
        if let Some(number) =
            numbers.find(|number| self.slots.iter().all(|slot| slot.binding.queue != *number))
        {
            let text =
                format!("queue {number} is not served by the running gate just now: try again in a moment");
            return Err(DaemonError::Takeover(text));
        }
        if !surplus.is_empty() {
            let text = format!(
                "queues {surplus:?} are no longer configured, and are shut: 'sipknock firewall apply' takes the rules \
                 away that lead there"
            );
            self.context.common.sink.send(Event::Warning(text));
        }
        Ok(surplus)
    }

    /// Ends the copies to observers.
    pub(super) fn stop_copying(&mut self) {
        self.context.taps.clear();
    }

    /// Takes a queue that is bound. Nobody serves it before [`WorkerPool::start`].
    pub(super) fn add(
        &mut self,
        queue: Box<dyn Queue>,
        options: &QueueOptions,
        shared: Arc<WorkerCounters>,
    ) -> Result<(), DaemonError> {
        let (binding, shutter) = (queue.binding(), queue.shutter()?);
        let rows = self.context.queues.rows().unwrap_or_default();
        let row = rows.iter().find(|row| (row.queue, row.port_id) == (binding.queue, binding.port_id));
        let monitor = QueueMonitor::new(&row.copied().unwrap_or_default(), shared.packets());
        self.health.serve(binding);
        self.slots.push(Slot {
            options: options.clone(),
            binding,
            shutter,
            shared,
            state: SlotState::Nobody(queue),
            monitor,
            leaving: false,
            revived: None,
            told: None,
        });
        self.slots.sort_unstable_by_key(|slot| slot.binding.queue);
        Ok(())
    }

    /// Puts a thread at each queue that has none.
    pub(super) fn start(&mut self) -> Result<(), DaemonError> {
        for slot in &mut self.slots {
            slot.start(&self.context)?;
        }
        if self.stored {
            self.slots.iter().filter(|slot| !slot.leaving).for_each(|slot| slot.store(self.manager));
        }
        Ok(())
    }

    /// All bindings that are to stay.
    pub(super) fn bindings(&self) -> Vec<QueueBinding> {
        self.slots.iter().filter(|slot| !slot.leaving).map(|slot| slot.binding).collect()
    }

    /// Looks after all of them, once a second or so.
    ///
    /// # Errors
    /// If a queue that was stuck can't be served again. The process is to be restarted then.
    pub(super) fn check(&mut self) -> Result<(), DaemonError> {
        self.unproven = self.unproven.and_then(|looks| looks.checked_sub(1));
        if self.unproven == Some(0) {
            self.manager.forget(REQUEUED);
        }
        // Queues that can't be seen are not known to be gone.
        let Ok(rows) = self.context.queues.rows() else { return Ok(()) };
        let now = self.context.common.clock.now();
        for slot in self.slots.iter_mut().filter(|slot| !slot.leaving) {
            let row = rows.iter().find(|row| row.queue == slot.binding.queue);
            let decided = slot.shared.packets();
            if slot.revived.is_some_and(|before| decided > before) {
                slot.revived = None;
            }
            let fault = slot.monitor.check(slot.binding, row, decided);
            if let Some(row) = row.filter(|row| row.port_id == slot.binding.port_id) {
                slot.monitor
                    .losses(row, now)
                    .for_each(|lost| self.context.common.sink.send(slot.overload(lost)));
            }
            let waiting = row.map_or(0, |row| row.waiting);
            // A queue that was bound again has not proved yet that this has helped.
            let unproven = || slot.revived.filter(|_| waiting > 0).map(|_| Fault::Stuck);
            let news = self.health.set(slot.binding.queue, fault.or_else(unproven), now);
            let Some(fault) = fault else { continue };
            if news {
                self.context.common.sink.send(Event::QueueFault {
                    queue: slot.binding.queue,
                    fault,
                    waiting,
                });
            }
            if slot.rebind(fault, now, &self.context)? {
                self.health.serve(slot.binding);
                if fault == Fault::Lost {
                    self.health.set(slot.binding.queue, None, now);
                }
                if self.stored {
                    self.manager.forget(&store_name(slot.binding.queue));
                    slot.store(self.manager);
                }
            }
        }
        Ok(())
    }

    /// Sees to threads that have ended. One whose queue was shut has nothing more to do; one that has taken its time to
    /// [`WorkerPool::release`] its queue is sent back.
    ///
    /// # Errors
    /// If one could not go on.
    pub(super) fn join_ended(&mut self) -> Result<(), DaemonError> {
        for slot in self.slots.iter_mut().filter(|slot| slot.is_finished()) {
            let counters = slot.join()?;
            if slot.leaving {
                self.counted.add(counters);
                slot.state = SlotState::Closed;
            } else {
                slot.start(&self.context)?;
            }
        }
        self.slots.retain(|slot| !(slot.leaving && matches!(slot.state, SlotState::Closed)));
        Ok(())
    }

    /// Shuts queues that are not to be served any more, while others go on. What waits in them is still decided.
    pub(super) fn retire(&mut self, numbers: &[u16]) -> Result<(), DaemonError> {
        for slot in self.slots.iter_mut().filter(|slot| numbers.contains(&slot.binding.queue)) {
            slot.leaving = true;
            self.health.retire(slot.binding.queue);
            self.manager.forget(&store_name(slot.binding.queue));
            slot.shutter.shut()?;
        }
        Ok(())
    }

    /// Has all threads answer what they have received and stop, with the queues still bound.
    ///
    /// # Errors
    /// If one does not end, or has failed. The others are to be resumed.
    pub(super) fn release(&mut self) -> Result<(), DaemonError> {
        self.slots.iter().for_each(|slot| slot.shutter.release());
        for _ in 0..LONGEST_BATCH.as_millis() {
            if self.slots.iter().all(|slot| slot.is_finished() || !slot.has_thread()) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        for slot in &mut self.slots {
            match slot.has_thread() && !slot.is_finished() {
                true => return Err(DaemonError::Stuck { queue: slot.binding.queue }),
                false => _ = slot.join()?,
            }
        }
        Ok(())
    }

    /// After a [`WorkerPool::release`]: goes on as before.
    pub(super) fn resume(&mut self) -> Result<(), DaemonError> {
        self.slots.iter().for_each(|slot| slot.shutter.resume(&slot.options));
        for slot in &mut self.slots {
            // A thread that has not ended in time is joined when it does.
            slot.start(&self.context)?;
        }
        Ok(())
    }

    /// After a [`WorkerPool::release`]: the sockets that hold the queues.
    pub(super) fn sockets(&self) -> Vec<(u16, BorrowedFd<'_>)> {
        let slots = self.slots.iter().filter(|slot| !slot.leaving);
        slots
            .filter_map(|slot| match &slot.state {
                SlotState::Nobody(queue) => Some((slot.binding.queue, queue.socket())),
                _ => None,
            })
            .collect()
    }

    /// Shuts all queues, has what waits decided, and waits for that; but not for threads that are stuck.
    pub(super) fn shut(&mut self) -> Result<(), DaemonError> {
        let mut outcome = Ok(());
        let stuck: Vec<_> = self
            .health
            .queues()
            .iter()
            .filter(|queue| queue.fault.is_some())
            .map(|queue| queue.binding.queue)
            .collect();
        for slot in &mut self.slots {
            self.manager.forget(&store_name(slot.binding.queue));
            if stuck.contains(&slot.binding.queue) {
                slot.state = SlotState::Closed;
            } else {
                outcome = outcome.and(slot.shutter.shut().map_err(DaemonError::from));
            }
        }
        for slot in &mut self.slots {
            outcome = outcome.and(slot.join().map(|_| ()));
        }
        outcome
    }

    /// Tells of what was lost and not yet told of, and sums up: packets that wait for a verdict, and what happened
    /// beside packets. Queues stay bound until this is dropped, so that the kernel's counters are there for it.
    pub(super) fn finish(&mut self) -> (u64, QueueCounters) {
        let rows = self.context.queues.rows().unwrap_or_default();
        let now = self.context.common.clock.now();
        let ours = |slot: &Slot| {
            rows.iter().find(|row| (row.queue, row.port_id) == (slot.binding.queue, slot.binding.port_id))
        };
        let (mut waiting, mut counted) = (0, self.counted);
        for slot in &mut self.slots {
            let row = ours(slot);
            waiting += row.map_or(0, |row| row.waiting);
            slot.monitor
                .last_losses(row, now)
                .for_each(|lost| self.context.common.sink.send(slot.overload(lost)));
            if let SlotState::Nobody(queue) = &slot.state {
                counted.add(queue.counters());
            }
        }
        (waiting, counted)
    }
}

impl Slot {
    fn start(&mut self, context: &WorkerContext) -> Result<(), DaemonError> {
        match std::mem::replace(&mut self.state, SlotState::Closed) {
            SlotState::Nobody(queue) => {
                let (shared, outbound) = (Arc::clone(&self.shared), Arc::clone(&context.outbound));
                let worker =
                    Worker::new(queue, context.common.clone(), shared, context.taps.clone(), outbound);
                let thread =
                    worker.spawn(context.waker.another()?).map_err(system("start a queue thread"))?;
                self.state = SlotState::Thread(thread);
            }
            other => self.state = other,
        }
        Ok(())
    }

    fn has_thread(&self) -> bool {
        matches!(self.state, SlotState::Thread(_))
    }

    fn is_finished(&self) -> bool {
        matches!(&self.state, SlotState::Thread(thread) if thread.is_finished())
    }

    /// Waits for the thread's end, and takes the queue from it.
    fn join(&mut self) -> Result<QueueCounters, DaemonError> {
        let queue = match std::mem::replace(&mut self.state, SlotState::Closed) {
            SlotState::Thread(thread) => match thread.join() {
                Ok(queue) => queue?,
                // Not with panic = "abort", which is how it is built for use.
                Err(panic) => std::panic::resume_unwind(panic),
            },
            SlotState::Nobody(queue) => queue,
            SlotState::Closed => return Ok(QueueCounters::default()),
        };
        let counters = queue.counters();
        self.state = SlotState::Nobody(queue);
        Ok(counters)
    }

    fn store(&self, manager: Systemd) {
        manager.keep(&store_name(self.binding.queue), self.shutter.socket());
    }

    fn overload(&self, (place, count): (LossPlace, u64)) -> Event {
        let queue = self.binding.queue;
        match place {
            LossPlace::Kernel => {
                Event::Overload { queue, place: "kernel", count, limit: self.options.max_len.into() }
            }
            LossPlace::Socket => {
                Event::Overload { queue, place: "socket", count, limit: self.binding.receive_buffer as u64 }
            }
        }
    }

    /// Takes the queue from its thread, binds it again and starts another thread for it. Returns whether that went well; a queue
    /// that somebody else has is tried again at the next look.
    fn rebind(&mut self, fault: Fault, now: Time, context: &WorkerContext) -> Result<bool, DaemonError> {
        let queue = self.binding.queue;
        if fault == Fault::Stuck && self.revived.is_some() {
            // Another thread and another socket have not helped.
            return Err(DaemonError::Stuck { queue });
        }
        // Of a queue that is another's or nobody's this only ends the thread.
        let unbound = self.shutter.unbind();
        self.state = SlotState::Closed;
        let bound = unbound.and_then(|()| context.queues.open(&self.options));
        let bound = bound.and_then(|queue| Ok((queue.binding(), queue.shutter()?, queue)));
        match (bound, fault) {
            (Ok((binding, shutter, queue)), _) => {
                self.revived = (fault == Fault::Stuck).then(|| self.shared.packets());
                (self.binding, self.shutter, self.state) = (binding, shutter, SlotState::Nobody(queue));
                self.start(context)?;
                let row = QueueRow { queue: binding.queue, port_id: binding.port_id, ..QueueRow::default() };
                self.monitor = QueueMonitor::new(&row, self.shared.packets());
                self.told = None;
                let text = format!("queue {} is bound again, and served by another thread", binding.queue);
                context.common.sink.send(Event::Note(text));
                Ok(true)
            }
            (Err(error), Fault::Stuck) => Err(error.into()),
            (Err(error), Fault::Lost) => {
                if self.told.is_none_or(|told| now.since(told) >= SAY_AGAIN) {
                    self.told = Some(now);
                    context.common.sink.send(Event::Warning(format!(
                        "queue {queue} can't be bound again, and is tried again every second: {error}"
                    )));
                }
                Ok(false)
            }
        }
    }
}

/// The name of a queue's socket in the service manager's store.
pub(super) fn store_name(queue: u16) -> String {
    format!("{STORE_PREFIX}{queue}")
}

/// The queue of a socket that the service manager has kept.
pub(super) fn stored_queue(name: &str) -> Option<u16> {
    name.strip_prefix(STORE_PREFIX)?.parse().ok()
}

const STORE_PREFIX: &str = "queue-";

/// The name of the mark in the service manager's store that packets were queued again.
pub(super) const REQUEUED: &str = "requeued";

/// Looks, once a second or so, after which the packets that were queued again have done no harm: they are the first that
/// are decided.
const PROVED_LOOKS: u32 = 3;

/// Longer than a queue thread takes for a batch, unless it is stuck.
const LONGEST_BATCH: Duration = Duration::from_secs(2);

/// How often the log says that a queue can't be had.
const SAY_AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
