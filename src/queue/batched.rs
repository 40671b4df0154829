//! The default backend: a netlink socket of our own.
//!
//! System calls are what a queue costs, so one takes up to 32 packets and one carries all their verdicts. A
//! run of equal verdicts is one message: packets come in the order of their ids and a batch is answered whole, so
//! nothing older than its last packet is ever held back, and "all up to this id" means exactly the run.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::error::QueueError;
use super::interface::{Queue, QueueBinding, QueueCounters};
use super::message::{self, QueueMessage, QueueMessages, Unanswered};
use super::options::QueueOptions;
use super::pace::Pace;
use super::sequence::{BIND_SEQUENCE, FIRST_UNUSED_SEQUENCE, RUN_SEQUENCE, SHUT_SEQUENCE, WAKE_SEQUENCE};
use super::shutter::{ShutProgress, Shutter};
use super::socket::{send, size_receive_buffer};
use super::{kernel, refusal};
use crate::clock::Clock;
use crate::netlink::socket as netlink;
use crate::sys::{self, MAX_BATCH, Wait};
use crate::verdict::Verdict;

/// A queue bound on a socket of its own.
#[derive(Debug)]
pub struct BatchedQueue {
    socket: OwnedFd,
    binding: QueueBinding,
    exit_open: bool,
    shut: Arc<ShutProgress>,
    /// The kernel's answer to the set-up, once it has come: an errno, or 0.
    bound: Option<i32>,
    /// The kernel's answer to the shutting has come, and with it the last packet.
    drained: bool,
    /// What another process may have received and not answered.
    orphans: Option<Orphans>,
    /// [`SLOTS`] receive buffers of [`STRIDE`] bytes, used again for each batch.
    slots: Box<[u8]>,
    batch: Vec<Waiting>,
    /// The batch has its verdicts, and is kept only to be looked at.
    answered: bool,
    pace: Pace,
    /// How long to look for packets without sleeping.
    busy_poll: Duration,
    clock: Clock,
    /// The verdict messages of a batch.
    answers: Vec<u8>,
    counters: QueueCounters,
}

/// Packets that wait for a process that is gone, as far as there are any.
#[derive(Clone, Copy, Debug)]
struct Orphans {
    /// The last id that there was before our change.
    last: u32,
    /// Marks the kernel's answer to our change, behind all packets that wait for us.
    sequence: u32,
    /// Their end.
    fate: Unanswered,
}

/// A packet of the current batch: where it lies in the slots, and what the kernel calls it.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: u32,
    start: usize,
    len: usize,
}

impl BatchedQueue {
    /// Binds a queue with all its settings in one message.
    ///
    /// # Errors
    /// Where the kernel refuses; the error says why and what to do.
    pub fn open(options: &QueueOptions) -> Result<Self, QueueError> {
        let (socket, port_id) = netlink::open().map_err(refusal::explain_socket)?;
        set_options(&socket)?;
        let receive_buffer = size_receive_buffer(&socket, options.receive_buffer)?;
        let binding = QueueBinding { queue: options.queue, port_id, receive_buffer };
        let mut queue = Self::new(socket, binding, options);
        message::bind(&mut queue.answers, options.queue, BIND_SEQUENCE, options.setup());
        send(&queue.socket, &queue.answers)?;
        queue.answers.clear();
        queue.confirm()?;
        Ok(queue)
    }

    /// Goes on with a queue that another process has bound on this socket. What waits in it is received next. Its
    /// length and fail-open become those of `options`; its receive buffer grows if need be, and never shrinks, since
    /// what waits may have need of it. `unanswered` is the end of packets that the other process has received and not
    /// answered.
    ///
    /// # Errors
    /// Where the socket does not hold the queue.
    pub fn adopt(
        socket: OwnedFd,
        options: &QueueOptions,
        unanswered: Unanswered,
    ) -> Result<Self, QueueError> {
        let not_held = |why| QueueError::NotHeld { queue: options.queue, why };
        if !netlink::is_netfilter(&socket) {
            return Err(not_held("it is no netfilter socket"));
        }
        let port_id = netlink::port_id(&socket);
        let port_id = port_id.map_err(|error| QueueError::io("name the netlink socket", error))?;
        let rows = kernel::readable_queues().map_err(|error| QueueError::io(refusal::UNREADABLE, error))?;
        let last = match rows.into_iter().find(|row| row.queue == options.queue) {
            // As the ids do, it starts anew after 2^32.
            Some(row) if row.port_id == port_id => row.sequence as u32,
            Some(_) => return Err(not_held("another socket holds it")),
            None => return Err(not_held("it is not bound in this network namespace")),
        };
        rustix::io::ioctl_fionbio(&socket, false)
            .map_err(|error| QueueError::io("let the socket wait", error))?;
        set_options(&socket)?;
        let granted = netlink::receive_buffer(&socket)
            .map_err(|error| QueueError::io("read the receive buffer", error))?;
        let receive_buffer = match granted < options.receive_buffer {
            true => size_receive_buffer(&socket, options.receive_buffer)?,
            false => granted,
        };
        let mut queue =
            Self::new(socket, QueueBinding { queue: options.queue, port_id, receive_buffer }, options);
        queue.bound = Some(0);
        // Answers to messages of earlier processes may come first; this one is told from them.
        let sequence = queue.clock.now().as_nanos() as u32 | FIRST_UNUSED_SEQUENCE;
        queue.orphans = Some(Orphans { last, sequence, fate: unanswered });
        message::change(&mut queue.answers, options.queue, sequence, options.setup());
        send(&queue.socket, &queue.answers)?;
        queue.answers.clear();
        Ok(queue)
    }

    fn new(socket: OwnedFd, binding: QueueBinding, options: &QueueOptions) -> Self {
        Self {
            socket,
            binding,
            exit_open: options.exit_open,
            shut: Arc::default(),
            bound: None,
            drained: false,
            orphans: None,
            slots: vec![0; SLOTS * STRIDE].into_boxed_slice(),
            batch: Vec::with_capacity(SLOTS),
            answered: false,
            pace: Pace::default(),
            busy_poll: options.busy_poll,
            clock: Clock::start(),
            answers: Vec::new(),
            counters: QueueCounters::default(),
        }
    }

    /// Waits for the kernel's answer to the set-up. A packet is as good an answer, and becomes the first batch: none
    /// comes from a queue that is not bound. The kernel's table is one too, since a full socket loses answers.
    fn confirm(&mut self) -> Result<(), QueueError> {
        while self.bound.is_none() && self.batch.is_empty() {
            self.fill(Wait::ForOne)?;
            let listed =
                || kernel::queue(self.binding.queue).is_some_and(|row| row.port_id == self.binding.port_id);
            if self.bound.is_none() && listed() {
                self.bound = Some(0);
            }
        }
        match self.bound {
            Some(0) | None => Ok(()),
            Some(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                Err(refusal::explain(self.binding.queue, self.binding.port_id, error))
            }
        }
    }

    /// Looks for packets over and over until one comes, for as long as `busy_poll`.
    fn poll(&mut self) -> Result<(), QueueError> {
        let start = self.clock.now();
        let busy = |this: &Self| !this.drained && !this.shut.is_released();
        while self.batch.is_empty() && busy(self) && self.clock.now().since(start) < self.busy_poll {
            self.fill(Wait::Never)?;
        }
        Ok(())
    }

    /// Takes what is there, or comes while it may wait, and appends the packets in it to the batch.
    fn fill(&mut self, wait: Wait) -> Result<(), QueueError> {
        let mut lengths = [0; MAX_BATCH];
        let shut = self.shut.done.load(Ordering::SeqCst);
        let slots = &mut self.slots;
        let received = match sys::receive_batch(self.socket.as_fd(), slots, STRIDE, &mut lengths, wait) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Shut before we looked, and nothing came: the answer was lost, and that was all.
                self.drained |= shut;
                0
            }
            Err(error) => return Err(QueueError::io("receive packets", error)),
        };
        for (slot, length) in lengths.into_iter().enumerate().take(received) {
            let start = slot * STRIDE;
            let datagram = self.slots.get(start..start + length.min(STRIDE)).unwrap_or_default();
            for message in QueueMessages::new(datagram) {
                let settled = match (self.orphans, &message) {
                    // All that still waits and came before this was received by a process that is gone, and by nobody
                    // again: the kernel hands a packet over once.
                    (Some(Orphans { fate, .. }), Ok(QueueMessage::Packet(packet))) => {
                        Some((packet.id.wrapping_sub(1), fate))
                    }
                    // The answer to our change, and no packet before it.
                    (
                        Some(Orphans { last, sequence, fate }),
                        Ok(QueueMessage::Answer { sequence: answered, .. }),
                    ) if sequence == *answered => Some((last, fate)),
                    _ => None,
                };
                if let Some((last, fate)) = settled {
                    self.orphans = None;
                    settle(&self.socket, self.binding.queue, last, fate)?;
                }
                match message {
                    Ok(QueueMessage::Packet(packet)) => self.batch.push(Waiting {
                        id: packet.id,
                        start: start + offset(datagram, packet.payload),
                        len: packet.payload.len(),
                    }),
                    Ok(QueueMessage::Answer { sequence: BIND_SEQUENCE, errno }) => self.bound = Some(errno),
                    Ok(QueueMessage::Answer { sequence: SHUT_SEQUENCE, .. }) => self.drained = true,
                    Ok(
                        QueueMessage::Answer { errno: 0, .. }
                        | QueueMessage::Answer { sequence: WAKE_SEQUENCE | FIRST_UNUSED_SEQUENCE.., .. }
                        | QueueMessage::Other,
                    ) => {}
                    Ok(QueueMessage::Answer { sequence, errno: ENOENT | ENODEV | EPERM }) => {
                        self.counters.stale += packets_of(sequence);
                    }
                    Ok(QueueMessage::Answer { errno, .. }) => {
                        let error = io::Error::from_raw_os_error(errno);
                        return Err(QueueError::io("give a verdict", error));
                    }
                    Err(_) => self.counters.unreadable += 1,
                }
            }
        }
        Ok(())
    }
}

impl Queue for BatchedQueue {
    fn receive(&mut self) -> Result<usize, QueueError> {
        if std::mem::take(&mut self.answered) {
            let batch = self.batch.len();
            self.batch.clear();
            if self.busy_poll > Duration::ZERO {
                self.poll()?;
            } else if let Some(pause) = self.pace.after(self.clock.now(), batch, SLOTS) {
                thread::sleep(pause);
            }
        }
        // What came along with the set-up's answer is a batch already.
        while self.batch.is_empty() && !self.drained && !self.shut.is_released() {
            self.fill(Wait::ForOne)?;
        }
        Ok(self.batch.len())
    }

    fn packet(&self, index: usize) -> &[u8] {
        let packet =
            self.batch.get(index).and_then(|packet| self.slots.get(packet.start..packet.start + packet.len));
        packet.unwrap_or_default()
    }

    fn answer(&mut self, verdicts: &[Verdict]) -> Result<(), QueueError> {
        let waiting = if self.answered { 0 } else { self.batch.len() };
        if verdicts.len() != waiting {
            return Err(QueueError::Count { verdicts: verdicts.len(), packets: waiting });
        }
        let mut answered = self.batch.iter().zip(verdicts).peekable();
        let mut run = 0;
        while let Some((packet, &verdict)) = answered.next() {
            run += 1;
            if answered.peek().is_some_and(|&(_, &next)| next == verdict) {
                continue;
            }
            match run {
                1 => message::verdict(&mut self.answers, self.binding.queue, packet.id, verdict),
                _ => message::verdict_up_to(
                    &mut self.answers,
                    self.binding.queue,
                    RUN_SEQUENCE | run,
                    packet.id,
                    verdict,
                ),
            }
            run = 0;
        }
        self.answered = true;
        if !self.answers.is_empty() {
            send(&self.socket, &self.answers)?;
            self.answers.clear();
        }
        Ok(())
    }

    fn shutter(&self) -> Result<Shutter, QueueError> {
        Shutter::new(&self.socket, self.binding.queue, self.exit_open, &self.shut)
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn counters(&self) -> QueueCounters {
        self.counters
    }

    fn binding(&self) -> QueueBinding {
        self.binding
    }
}

/// Queues again, or drops, all that waits with an id up to this one.
fn settle(socket: &OwnedFd, queue: u16, last: u32, fate: Unanswered) -> Result<(), QueueError> {
    let mut message = Vec::new();
    message::settle_up_to(&mut message, queue, WAKE_SEQUENCE, last, fate);
    send(socket, &message)
}

/// How the socket waits, and that it goes on when its buffer has overflowed.
fn set_options(socket: &OwnedFd) -> Result<(), QueueError> {
    sys::ignore_overruns(socket.as_fd()).map_err(|error| QueueError::io("set NETLINK_NO_ENOBUFS", error))?;
    set_socket_timeout(socket, Timeout::Recv, Some(LOOK_UP))
        .map_err(|error| QueueError::io("set the receive timeout", error))
}

/// How many packets the verdict was for that is answered under this sequence number.
fn packets_of(sequence: u32) -> u64 {
    if sequence & RUN_SEQUENCE > 0 { u64::from(sequence ^ RUN_SEQUENCE) } else { 1 }
}

/// Where a part begins in the whole it is a slice of.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

/// Packets per system call. Of the saving over single packets 32 have nearly all; more only adds to the time that
/// the first packet of a batch waits for the last.
const SLOTS: usize = MAX_BATCH;

/// Room for a packet of 64 KiB with its netlink headers and attributes; and an odd number of cache lines more, so
/// that the beginnings of all slots don't compete for the same lines of the cache.
const STRIDE: usize = 65_536 + 1024 + 13 * 64;

/// How long to wait for packets before looking up whether the queue was shut: the answer that should tell is lost
/// where the socket's buffer is full.
const LOOK_UP: Duration = Duration::from_millis(250);

/// A verdict on a packet that is not there any more.
const ENOENT: i32 = Errno::NOENT.raw_os_error();

/// A verdict for a queue that is bound no more, or by another socket (`verdict_instance_lookup`,
/// net/netfilter/nfnetlink_queue.c). Whoever watches the kernel's table has it bound again.
const ENODEV: i32 = Errno::NODEV.raw_os_error();
const EPERM: i32 = Errno::PERM.raw_os_error();
