//! The queue threads, and looking after them.
//!
//! A thread that hangs can't be ended from outside. So its queue is taken from it: given up through a second
//! descriptor of the same socket, bound anew on another socket, and served by another thread. Should the old one ever
//! wake up, the kernel takes its verdicts for nothing.

pub(super) mod watchdog;
pub(super) mod worker;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Config;
use crate::daemon::context::Live;
use crate::daemon::error::{DaemonError, system};
use crate::daemon::event_log::EventSink;
use crate::daemon::maintenance::Housekeeping;
use crate::daemon::observers::grace::Looks;
use crate::daemon::observers::learner::Copies;
use crate::daemon::outbound::OutboundReader;
use crate::daemon::signals::Alarm;
use crate::daemon::systemd::Manager;
use crate::daemon::workers::watchdog::{Health, Place, Watch};
use crate::daemon::workers::worker::{Handle, Shared, Worker};
use crate::event::Event;
use crate::queue::kernel::{self, QueueRow};
use crate::queue::{self, Backend, Binding, Counters, Fault, Options, Queue, Shutter};
use crate::time::Time;

/// What a queue thread works with.
pub(super) struct Means {
    pub(super) gate: Live,
    pub(super) clock: Clock,
    pub(super) sink: EventSink,
    pub(super) copies: Option<Copies>,
    pub(super) looks: Option<Looks>,
    pub(super) outbound: Arc<OutboundReader>,
    pub(super) alarm: Alarm,
}

/// All queues with their threads.
pub(super) struct Crew {
    means: Means,
    backend: Backend,
    manager: Manager,
    /// Whether the service manager keeps the sockets.
    stored: bool,
    posts: Vec<Post>,
    health: Health,
    /// What threads counted whose queues are closed.
    counted: Counters,
}

/// A queue and whoever serves it.
struct Post {
    options: Options,
    binding: Binding,
    shutter: Shutter,
    shared: Arc<Shared>,
    at_work: AtWork,
    watch: Watch,
    /// It is being shut, while others go on.
    leaving: bool,
    /// It was bound anew because it was stuck, and had decided so much by then.
    revived: Option<u64>,
    /// When the log last said that it can't be bound.
    told: Option<Time>,
}

/// Who has the queue.
enum AtWork {
    /// Nobody yet, or nobody any more.
    Nobody(Box<dyn Queue>),
    /// A thread.
    Thread(Handle),
    /// It is closed.
    Closed,
}

impl Crew {
    pub(super) fn new(means: Means, backend: Backend, manager: Manager) -> Self {
        let stored = manager.is_present() && backend.hands_over();
        let (posts, health, counted) = (Vec::new(), Health::default(), Counters::default());
        Self { means, backend, manager, stored, posts, health, counted }
    }

    /// How the queues are.
    pub(super) fn health(&self) -> Health {
        self.health.clone()
    }

    /// Whether the service manager keeps the sockets.
    pub(super) fn is_stored(&self) -> bool {
        self.stored
    }

    fn bind(&mut self, options: &Options, shared: Arc<Shared>) -> Result<(), DaemonError> {
        let queue = self.backend.open(options)?;
        self.enlist(queue, options, shared)
    }

    /// Goes on with a queue that another process has bound.
    fn adopt(&mut self, socket: OwnedFd, options: &Options, shared: Arc<Shared>) -> Result<(), DaemonError> {
        let queue = self.backend.adopt(socket, options)?;
        self.enlist(queue, options, shared)
    }

    /// Goes on with queues that another process has left. Those that are not configured any more are named: they are served
    /// like the others until somebody [`Crew::leave`]s them, when no rule leads there any more.
    ///
    /// What the service manager has kept is perhaps of no use, and then the queue is bound anew. A gate that is `alive` goes
    /// on where its queues can't be used, so that this is an error.
    pub(super) fn inherit(
        &mut self,
        sockets: Vec<(u16, OwnedFd)>,
        config: &Config,
        alive: bool,
        house: &mut Housekeeping,
    ) -> Result<Vec<u16>, DaemonError> {
        let mut surplus = Vec::new();
        for (number, socket) in sockets {
            let wanted = config.queue.numbers.contains(&number);
            if self.posts.iter().any(|post| post.binding.queue == number) {
                continue;
            }
            let second = socket.try_clone().map_err(system("copy a socket"))?;
            let adopted = self.adopt(socket, &config.queue.options(number), house.watch(number));
            match adopted {
                Ok(()) if wanted => {}
                Ok(()) => surplus.push(number),
                Err(error) if alive => return Err(error),
                Err(error) => {
                    self.manager.forget(&store_name(number));
                    // What waits there would wait for ever, and nobody else could bind it.
                    queue::unbind(&second, number)?;
                    let text = format!("the queue that the service manager has kept is bound anew: {error}");
                    self.means.sink.send(Event::Warning(text));
                    if wanted {
                        self.bind(&config.queue.options(number), house.watch(number))?;
                    }
                }
            }
        }
        let mut numbers = config.queue.numbers.clone().filter(|_| alive);
        if let Some(number) =
            numbers.find(|number| self.posts.iter().all(|post| post.binding.queue != *number))
        {
            let text =
                format!("queue {number} is not served by the running gate just now: try again in a moment");
            return Err(DaemonError::Takeover(text));
        }
        if !surplus.is_empty() {
            let text = format!(
                "queues {surplus:?} are not configured any more, and are shut: see that no rule leads there, \
                 'sipknock firewall apply'"
            );
            self.means.sink.send(Event::Warning(text));
        }
        Ok(surplus)
    }

    /// No more packets for whoever learns from them.
    pub(super) fn stop_copying(&mut self) {
        (self.means.copies, self.means.looks) = (None, None);
    }

    /// Takes a queue that is bound. Nobody serves it before [`Crew::start`].
    pub(super) fn enlist(
        &mut self,
        queue: Box<dyn Queue>,
        options: &Options,
        shared: Arc<Shared>,
    ) -> Result<(), DaemonError> {
        let (binding, shutter) = (queue.binding(), queue.shutter()?);
        let row = kernel::queue(binding.queue).filter(|row| row.port_id == binding.port_id);
        let watch = Watch::new(&row.unwrap_or_default(), shared.packets());
        self.health.serve(binding);
        self.posts.push(Post {
            options: options.clone(),
            binding,
            shutter,
            shared,
            at_work: AtWork::Nobody(queue),
            watch,
            leaving: false,
            revived: None,
            told: None,
        });
        self.posts.sort_by_key(|post| post.binding.queue);
        Ok(())
    }

    /// Puts a thread at each queue that has none.
    pub(super) fn start(&mut self) -> Result<(), DaemonError> {
        for post in &mut self.posts {
            post.start(&self.means)?;
        }
        if self.stored {
            self.posts.iter().filter(|post| !post.leaving).for_each(|post| post.store(self.manager));
        }
        Ok(())
    }

    /// All bindings that are to stay.
    pub(super) fn bindings(&self) -> Vec<Binding> {
        self.posts.iter().filter(|post| !post.leaving).map(|post| post.binding).collect()
    }

    /// Looks after all of them, once a second or so.
    ///
    /// # Errors
    /// Where a queue that was stuck can't be served again, so that the process had better be started anew.
    pub(super) fn look(&mut self) -> Result<(), DaemonError> {
        // Who can't see the queues does not know that they are gone.
        let Ok(rows) = kernel::readable_queues() else { return Ok(()) };
        let now = self.means.clock.now();
        for post in self.posts.iter_mut().filter(|post| !post.leaving) {
            let row = rows.iter().find(|row| row.queue == post.binding.queue);
            let decided = post.shared.packets();
            if post.revived.is_some_and(|before| decided > before) {
                post.revived = None;
            }
            let fault = post.watch.look(post.binding, row, decided);
            if let Some(row) = row.filter(|row| row.port_id == post.binding.port_id) {
                post.watch.losses(row, now).for_each(|lost| self.means.sink.send(post.overload(lost)));
            }
            let waiting = row.map_or(0, |row| row.waiting);
            // A queue bound anew has yet to prove that this has helped.
            let unproven = || post.revived.filter(|_| waiting > 0).map(|_| Fault::Stuck);
            let news = self.health.set(post.binding.queue, fault.or_else(unproven), now);
            let Some(fault) = fault else { continue };
            if news {
                self.means.sink.send(Event::QueueFault { queue: post.binding.queue, fault, waiting });
            }
            if post.mend(fault, now, self.backend, &self.means)? {
                self.health.serve(post.binding);
                if fault == Fault::Lost {
                    self.health.set(post.binding.queue, None, now);
                }
                if self.stored {
                    self.manager.forget(&store_name(post.binding.queue));
                    post.store(self.manager);
                }
            }
        }
        Ok(())
    }

    /// Sees to threads that have ended. One whose queue was shut has nothing more to do; one that has taken its time to
    /// [`Crew::release`] its queue is sent back.
    ///
    /// # Errors
    /// Where one could not go on.
    pub(super) fn see_to_ended(&mut self) -> Result<(), DaemonError> {
        for post in self.posts.iter_mut().filter(|post| post.is_finished()) {
            let counters = post.join()?;
            if post.leaving {
                self.counted.add(counters);
                post.at_work = AtWork::Closed;
            } else {
                post.start(&self.means)?;
            }
        }
        self.posts.retain(|post| !(post.leaving && matches!(post.at_work, AtWork::Closed)));
        Ok(())
    }

    /// Shuts queues that are not to be served any more, while others go on. What waits in them is still decided.
    pub(super) fn leave(&mut self, numbers: &[u16]) -> Result<(), DaemonError> {
        for post in self.posts.iter_mut().filter(|post| numbers.contains(&post.binding.queue)) {
            post.leaving = true;
            self.health.leave(post.binding.queue);
            self.manager.forget(&store_name(post.binding.queue));
            post.shutter.shut()?;
        }
        Ok(())
    }

    /// Has all threads answer what they have received and stop, with the queues still bound.
    ///
    /// # Errors
    /// Where one does not come to its end, or has come to a bad one. The others are to be resumed.
    pub(super) fn release(&mut self) -> Result<(), DaemonError> {
        self.posts.iter().for_each(|post| post.shutter.release());
        for _ in 0..LONGEST_BATCH.as_millis() {
            if self.posts.iter().all(|post| post.is_finished() || !post.has_thread()) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        for post in &mut self.posts {
            match post.has_thread() && !post.is_finished() {
                true => return Err(DaemonError::Stuck { queue: post.binding.queue }),
                false => _ = post.join()?,
            }
        }
        Ok(())
    }

    /// After a [`Crew::release`]: goes on as before.
    pub(super) fn resume(&mut self) -> Result<(), DaemonError> {
        self.posts.iter().for_each(|post| post.shutter.resume(&post.options));
        for post in &mut self.posts {
            // Whoever has not come to his end in time is seen to when he does.
            post.start(&self.means)?;
        }
        Ok(())
    }

    /// After a [`Crew::release`]: the sockets that hold the queues.
    pub(super) fn sockets(&self) -> Vec<(u16, BorrowedFd<'_>)> {
        let posts = self.posts.iter().filter(|post| !post.leaving);
        posts
            .filter_map(|post| match &post.at_work {
                AtWork::Nobody(queue) => Some((post.binding.queue, queue.socket())),
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
        for post in &mut self.posts {
            self.manager.forget(&store_name(post.binding.queue));
            if stuck.contains(&post.binding.queue) {
                post.at_work = AtWork::Closed;
            } else {
                outcome = outcome.and(post.shutter.shut().map_err(DaemonError::from));
            }
        }
        for post in &mut self.posts {
            outcome = outcome.and(post.join().map(|_| ()));
        }
        outcome
    }

    /// Tells of what was lost and not yet told of, and sums up: packets that wait for a verdict, and what happened
    /// beside packets. Queues stay bound until this is dropped, so that the kernel's counters are there for it.
    pub(super) fn finish(&mut self) -> (u64, Counters) {
        let (rows, now) = (kernel::queues(), self.means.clock.now());
        let ours = |post: &Post| {
            rows.iter().find(|row| (row.queue, row.port_id) == (post.binding.queue, post.binding.port_id))
        };
        let (mut waiting, mut counted) = (0, self.counted);
        for post in &mut self.posts {
            let row = ours(post);
            waiting += row.map_or(0, |row| row.waiting);
            post.watch.last_losses(row, now).for_each(|lost| self.means.sink.send(post.overload(lost)));
            if let AtWork::Nobody(queue) = &post.at_work {
                counted.add(queue.counters());
            }
        }
        (waiting, counted)
    }
}

impl Post {
    fn start(&mut self, means: &Means) -> Result<(), DaemonError> {
        match std::mem::replace(&mut self.at_work, AtWork::Closed) {
            AtWork::Nobody(queue) => {
                let (gate, clock, sink) = (Arc::clone(&means.gate), means.clock, means.sink.clone());
                let (shared, outbound) = (Arc::clone(&self.shared), Arc::clone(&means.outbound));
                let worker = Worker::new(queue, gate, clock, sink, shared, means.copies.clone(), outbound);
                let worker = worker.shown_to(means.looks.clone());
                let thread = worker.spawn(means.alarm.another()?).map_err(system("start a queue thread"))?;
                self.at_work = AtWork::Thread(thread);
            }
            other => self.at_work = other,
        }
        Ok(())
    }

    fn has_thread(&self) -> bool {
        matches!(self.at_work, AtWork::Thread(_))
    }

    fn is_finished(&self) -> bool {
        matches!(&self.at_work, AtWork::Thread(thread) if thread.is_finished())
    }

    /// Waits for the thread's end, and takes the queue from it.
    fn join(&mut self) -> Result<Counters, DaemonError> {
        let queue = match std::mem::replace(&mut self.at_work, AtWork::Closed) {
            AtWork::Thread(thread) => match thread.join() {
                Ok(queue) => queue?,
                // Not with panic = "abort", which is how it is built for use.
                Err(panic) => std::panic::resume_unwind(panic),
            },
            AtWork::Nobody(queue) => queue,
            AtWork::Closed => return Ok(Counters::default()),
        };
        let counters = queue.counters();
        self.at_work = AtWork::Nobody(queue);
        Ok(counters)
    }

    fn store(&self, manager: Manager) {
        manager.keep(&store_name(self.binding.queue), self.shutter.socket());
    }

    fn overload(&self, (place, count): (Place, u64)) -> Event {
        let queue = self.binding.queue;
        match place {
            Place::Kernel => {
                Event::Overload { queue, place: "kernel", count, limit: self.options.max_len.into() }
            }
            Place::Socket => {
                Event::Overload { queue, place: "socket", count, limit: self.binding.receive_buffer as u64 }
            }
        }
    }

    /// Takes the queue from whoever has it, binds it anew and puts another thread at it. Whether that went well; a queue
    /// that somebody else has is tried again at the next look.
    fn mend(
        &mut self,
        fault: Fault,
        now: Time,
        backend: Backend,
        means: &Means,
    ) -> Result<bool, DaemonError> {
        let queue = self.binding.queue;
        if fault == Fault::Stuck && self.revived.is_some() {
            // Another thread and another socket have not helped.
            return Err(DaemonError::Stuck { queue });
        }
        // Of a queue that is another's or nobody's this only ends the thread.
        let unbound = self.shutter.unbind();
        self.at_work = AtWork::Closed;
        let bound = unbound.and_then(|()| backend.open(&self.options));
        let bound = bound.and_then(|queue| Ok((queue.binding(), queue.shutter()?, queue)));
        match (bound, fault) {
            (Ok((binding, shutter, queue)), _) => {
                self.revived = (fault == Fault::Stuck).then(|| self.shared.packets());
                (self.binding, self.shutter, self.at_work) = (binding, shutter, AtWork::Nobody(queue));
                self.start(means)?;
                let row = QueueRow { queue: binding.queue, port_id: binding.port_id, ..QueueRow::default() };
                self.watch = Watch::new(&row, self.shared.packets());
                self.told = None;
                let text = format!("queue {} is bound anew, and served by another thread", binding.queue);
                means.sink.send(Event::Note(text));
                Ok(true)
            }
            (Err(error), Fault::Stuck) => Err(error.into()),
            (Err(error), Fault::Lost) => {
                if self.told.is_none_or(|told| now.since(told) >= SAY_AGAIN) {
                    self.told = Some(now);
                    means.sink.send(Event::Warning(format!(
                        "queue {queue} can't be bound again, and is tried again every second: {error}"
                    )));
                }
                Ok(false)
            }
        }
    }
}

/// What the service manager calls a queue's socket.
pub(super) fn store_name(queue: u16) -> String {
    format!("{STORE_PREFIX}{queue}")
}

/// The queue of a socket that the service manager has kept.
pub(super) fn stored_queue(name: &str) -> Option<u16> {
    name.strip_prefix(STORE_PREFIX)?.parse().ok()
}

const STORE_PREFIX: &str = "queue-";

/// Longer than a queue thread takes for a batch, unless it is stuck.
const LONGEST_BATCH: Duration = Duration::from_secs(2);

/// How often the log says that a queue can't be had.
const SAY_AGAIN: Duration = Duration::from_secs(60);
