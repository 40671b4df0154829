//! The other backend, on the nfq crate: one packet per system call, for comparison and as an alternative.
//!
//! The crate keeps its socket to itself, and what it offers for setting up has gaps (nfq 0.2.5): every `set_*`
//! throws away packets that arrive before its acknowledgement and leaves them waiting for good, and the receive
//! buffer can't be sized at all. So its socket is found among this process's descriptors, and the set-up goes
//! through [`super::message`] as with the other backend; receiving and verdicts are the crate's.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use nfq::Verdict as NfqVerdict;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::netlink::{self, SocketAddrNetlink};

use super::error::QueueError;
use super::interface::{Queue, QueueBinding, QueueCounters};
use super::options::QueueOptions;
use super::sequence::BIND_SEQUENCE;
use super::shutter::{ShutProgress, Shutter};
use super::socket::{send, size_receive_buffer};
use super::{kernel, message, refusal};
use crate::sys;
use crate::verdict::Verdict;

/// A queue bound through the nfq crate.
pub struct NfqQueue {
    queue: nfq::Queue,
    /// The crate's socket, a second time.
    socket: OwnedFd,
    binding: QueueBinding,
    exit_open: bool,
    shut: Arc<ShutProgress>,
    packet: Option<nfq::Message>,
    /// The last packet that was answered: giving a verdict to the crate gives the packet away.
    answered: Vec<u8>,
    counters: QueueCounters,
}

impl NfqQueue {
    /// Binds a queue with all its settings in one message.
    ///
    /// # Errors
    /// Where the kernel refuses; the error says why and what to do.
    pub fn open(options: &QueueOptions) -> Result<Self, QueueError> {
        let (mut queue, socket) = open_and_find()?;
        let address = rustix::net::getsockname(&socket).and_then(SocketAddrNetlink::try_from);
        let port_id = address.map_err(|error| QueueError::io("name the netlink socket", error))?.pid();
        size_crate_buffer(&mut queue, options.queue, port_id)?;
        let receive_buffer = size_receive_buffer(&socket, options.receive_buffer)?;
        let binding = QueueBinding { queue: options.queue, port_id, receive_buffer };

        let mut setup = Vec::new();
        message::bind(&mut setup, options.queue, BIND_SEQUENCE, options.setup());
        send(&socket, &setup)?;
        queue.set_nonblocking(true);
        let mut this = Self {
            queue,
            socket,
            binding,
            exit_open: options.exit_open,
            shut: Arc::default(),
            packet: None,
            answered: Vec::new(),
            counters: QueueCounters::default(),
        };
        // An acknowledgement the crate swallows; a refusal comes out of its receive call.
        match this.queue.recv() {
            Ok(packet) => this.packet = Some(packet),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(refusal::explain(options.queue, port_id, error)),
        }
        // Where nobody may look, a refusal would have come by now.
        let Ok(rows) = kernel::readable_queues() else { return Ok(this) };
        match rows.iter().any(|row| (row.queue, row.port_id) == (options.queue, port_id)) {
            true => Ok(this),
            false => Err(refusal::explain(options.queue, port_id, Errno::PERM.into())),
        }
    }
}

impl Queue for NfqQueue {
    fn receive(&mut self) -> Result<usize, QueueError> {
        while self.packet.is_none() {
            if self.shut.is_released() {
                return Ok(0);
            }
            let shut = self.shut.done.load(Ordering::SeqCst);
            match self.queue.recv() {
                Ok(packet) => self.packet = Some(packet),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Shut before we looked, and nothing there: that was all.
                    if shut {
                        return Ok(0);
                    }
                    // The crate swallows the kernel's answer, which would have ended the waiting; so once the
                    // shutting has begun, its end is not far and nothing to sleep for.
                    match self.shut.begun.load(Ordering::SeqCst) {
                        true => std::thread::yield_now(),
                        false => wait(self.socket.as_fd())?,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel's answer to an earlier verdict: the packet is gone, or the queue is.
                Err(error) if is_stale(&error) => self.counters.stale += 1,
                Err(error) => return Err(QueueError::io("receive packets", error)),
            }
        }
        Ok(1)
    }

    fn packet(&self, index: usize) -> &[u8] {
        match (&self.packet, index) {
            (Some(packet), 0) => packet.get_payload(),
            (None, 0) => &self.answered,
            _ => &[],
        }
    }

    fn answer(&mut self, verdicts: &[Verdict]) -> Result<(), QueueError> {
        let waiting = usize::from(self.packet.is_some());
        if verdicts.len() != waiting {
            return Err(QueueError::Count { verdicts: verdicts.len(), packets: waiting });
        }
        if let (Some(mut packet), Some(verdict)) = (self.packet.take(), verdicts.first()) {
            self.answered.clear();
            self.answered.extend_from_slice(packet.get_payload());
            packet.set_verdict(match verdict {
                Verdict::Accept => NfqVerdict::Accept,
                Verdict::Drop => NfqVerdict::Drop,
            });
            self.queue.verdict(packet).map_err(|error| QueueError::io("send to the kernel", error))?;
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

/// What [`super::batched`] counts as stale as well.
fn is_stale(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NODEV | Errno::PERM))
}

/// Opens the crate's socket, and finds it: of the descriptors that are there afterwards and were not before, the
/// netlink one.
fn open_and_find() -> Result<(nfq::Queue, OwnedFd), QueueError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let before = descriptors()?;
    let queue = nfq::Queue::open().map_err(refusal::explain_socket)?;
    let new = descriptors()?.into_iter().filter(|descriptor| !before.contains(descriptor));
    let sockets = new.filter_map(|(descriptor, _)| Some((descriptor, sys::duplicate(descriptor).ok()?)));
    match sockets.into_iter().find(|(_, socket)| is_netfilter(socket)) {
        Some((descriptor, socket)) => {
            // A program that this one starts would keep the queue bound.
            sys::close_on_exec(descriptor)
                .map_err(|error| QueueError::io("keep the nfq crate's socket to this process", error))?;
            Ok((queue, socket))
        }
        None => Err(QueueError::io("find the nfq crate's socket", io::ErrorKind::NotFound)),
    }
}

/// The open descriptors, with what they are: a number alone may have been closed and given out again.
fn descriptors() -> Result<Vec<(RawFd, PathBuf)>, QueueError> {
    let entries =
        fs::read_dir("/proc/self/fd").map_err(|error| QueueError::io("read /proc/self/fd", error))?;
    let named = entries.flatten().filter_map(|entry| {
        Some((entry.file_name().to_str()?.parse().ok()?, fs::read_link(entry.path()).ok()?))
    });
    Ok(named.collect())
}

fn is_netfilter(socket: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_domain(socket) == Ok(AddressFamily::NETLINK)
        && rustix::net::sockopt::socket_protocol(socket) == Ok(Some(netlink::NETFILTER))
}

/// Makes the crate's own buffer large enough for whole packets, which only its `bind` does: by binding a queue
/// number that nobody uses, and leaving it. No rule sends packets there, so none can be lost on the way.
///
/// A refusal is reported for the queue that is really wanted.
fn size_crate_buffer(queue: &mut nfq::Queue, wanted: u16, port_id: u32) -> Result<(), QueueError> {
    let taken: Vec<_> = kernel::queues().iter().map(|row| row.queue).collect();
    let free = (0..=u16::MAX).rev().filter(|number| *number != wanted && !taken.contains(number));
    let mut refusal = Errno::BUSY.into();
    for number in free.take(SPARE_QUEUES) {
        match queue.bind(number).and_then(|()| queue.unbind(number)) {
            Ok(()) => return Ok(()),
            Err(error) => refusal = error,
        }
    }
    Err(refusal::explain(wanted, port_id, refusal))
}

/// Waits until the socket has something: packets, or the kernel's answer to the shutting.
fn wait(socket: BorrowedFd<'_>) -> Result<(), QueueError> {
    match rustix::event::poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(QueueError::io("poll", error)),
    }
}

/// How many unused numbers to try: somebody else may take one between our look and the bind.
const SPARE_QUEUES: usize = 4;
