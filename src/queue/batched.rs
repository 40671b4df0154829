//! The default backend: a netlink socket of our own.
//!
//! System calls are what a queue costs, so one takes up to 32 packets and one carries all their verdicts. A
//! run of equal verdicts is one message: packets come in the order of their ids and a batch is answered whole, so
//! nothing older than its last packet is ever held back, and "all up to this id" means exactly the run.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::message::{self, Message, Messages};
use super::pace::Pace;
use super::sys::{self, MAX_BATCH, Wait};
use super::{
    BIND_SEQUENCE, Binding, Counters, Options, Queue, QueueError, SHUT_SEQUENCE, ShutProgress, Shutter,
    kernel, send, size_receive_buffer,
};
use crate::clock::Clock;
use crate::verdict::Verdict;

/// A queue bound on a socket of its own.
#[derive(Debug)]
pub struct BatchedQueue {
    socket: OwnedFd,
    binding: Binding,
    exit_open: bool,
    shut: Arc<ShutProgress>,
    /// The kernel's answer to the set-up, once it has come: an errno, or 0.
    bound: Option<i32>,
    /// The kernel's answer to the shutting has come, and with it the last packet.
    drained: bool,
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
    counters: Counters,
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
    pub fn open(options: &Options) -> Result<Self, QueueError> {
        let (socket, port_id) = open_socket().map_err(kernel::explain_socket)?;
        sys::ignore_overruns(socket.as_fd())
            .map_err(|error| QueueError::io("set NETLINK_NO_ENOBUFS", error))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(LOOK_UP))
            .map_err(|error| QueueError::io("set the receive timeout", error))?;
        let receive_buffer = size_receive_buffer(&socket, options.receive_buffer)?;
        let mut queue = Self {
            socket,
            binding: Binding { queue: options.queue, port_id, receive_buffer },
            exit_open: options.exit_open,
            shut: Arc::default(),
            bound: None,
            drained: false,
            slots: vec![0; SLOTS * STRIDE].into_boxed_slice(),
            batch: Vec::with_capacity(SLOTS),
            answered: false,
            pace: Pace::default(),
            busy_poll: options.busy_poll,
            clock: Clock::start(),
            answers: Vec::new(),
            counters: Counters::default(),
        };
        message::bind(&mut queue.answers, options.queue, BIND_SEQUENCE, options.setup());
        send(&queue.socket, &queue.answers)?;
        queue.answers.clear();
        queue.confirm()?;
        Ok(queue)
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
                Err(kernel::explain(self.binding.queue, self.binding.port_id, error))
            }
        }
    }

    /// Looks for packets over and over until one comes, for as long as `busy_poll`.
    fn poll(&mut self) -> Result<(), QueueError> {
        let start = self.clock.now();
        while self.batch.is_empty() && !self.drained && self.clock.now().since(start) < self.busy_poll {
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
            for message in Messages::new(datagram) {
                match message {
                    Ok(Message::Packet(packet)) => self.batch.push(Waiting {
                        id: packet.id,
                        start: start + offset(datagram, packet.payload),
                        len: packet.payload.len(),
                    }),
                    Ok(Message::Answer { sequence: BIND_SEQUENCE, errno }) => self.bound = Some(errno),
                    Ok(Message::Answer { sequence: SHUT_SEQUENCE, .. }) => self.drained = true,
                    Ok(Message::Answer { errno: 0, .. } | Message::Other) => {}
                    Ok(Message::Answer { errno: ENOENT, .. }) => self.counters.stale += 1,
                    Ok(Message::Answer { errno, .. }) => {
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
        while self.batch.is_empty() && !self.drained {
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
                _ => message::verdict_up_to(&mut self.answers, self.binding.queue, packet.id, verdict),
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

    fn counters(&self) -> Counters {
        self.counters
    }

    fn binding(&self) -> Binding {
        self.binding
    }
}

/// A netfilter netlink socket and the port id that the kernel gave it.
fn open_socket() -> io::Result<(OwnedFd, u32)> {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    let address = SocketAddrNetlink::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, address.pid()))
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
