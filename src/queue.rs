//! The kernel's packet queues, NFQUEUE.
//!
//! A [`Queue`] hands over packets in batches and takes one verdict for each. Two backends do so:
//! - [`batched`], the default: a netlink socket of our own, many packets and many verdicts per system call;
//! - [`nfq`], on the nfq crate: one packet per call, for comparison, and where the other should fail.
//!
//! [`message`] is the language both speak to the kernel, [`kernel`] what /proc tells about queues.

pub mod batched;
pub mod kernel;
pub mod message;
pub mod nfq;
mod pace;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::netlink::socket as netlink;
use crate::sys;
use crate::verdict::Verdict;
use message::Setup;

/// What a packet queue does. Batches are answered in the order in which they came, each whole: that is what
/// makes "exactly one verdict for each packet" a matter of this trait and not of its users.
pub trait Queue: Send {
    /// Waits for packets, and returns how many are in the new batch: 0 once the queue is shut and drained, or is to be
    /// left as it is ([`Shutter::release`]).
    ///
    /// # Errors
    /// Where the socket fails for good. The queue must then be dropped, upon which the kernel drops what waits.
    fn receive(&mut self) -> Result<usize, QueueError>;

    /// A packet of the current batch, from its IP header on; there until the next batch is received. Empty for an
    /// index that is not in the batch.
    fn packet(&self, index: usize) -> &[u8];

    /// Answers the whole current batch, one verdict for each packet, in order.
    ///
    /// # Errors
    /// Where the kernel does not take the verdicts, or their number is not that of the packets.
    fn answer(&mut self, verdicts: &[Verdict]) -> Result<(), QueueError>;

    /// What shuts this queue, from whichever thread.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    fn shutter(&self) -> Result<Shutter, QueueError>;

    /// The socket that holds the queue, for whoever is to hold it as well.
    fn socket(&self) -> BorrowedFd<'_>;

    /// What happened to messages, beside packets and verdicts.
    fn counters(&self) -> Counters;

    /// What the kernel granted and calls it.
    fn binding(&self) -> Binding;
}

/// What a backend counts beside packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets whose verdicts came too late (`ENOENT`): the kernel had dropped them by itself, as it does if their
    /// interface goes away, or any base chain of the namespace.
    pub stale: u64,
    /// Messages that could not be read, so that no verdict could be given.
    pub unreadable: u64,
}

impl Counters {
    /// Adds those of another queue.
    pub fn add(&mut self, other: Self) {
        self.stale += other.stale;
        self.unreadable += other.unreadable;
    }
}

/// What a bound queue is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The queue's number.
    pub queue: u16,
    /// The netlink port id that /proc/net/netfilter/nfnetlink_queue lists for it.
    pub port_id: u32,
    /// The receive buffer that the socket has, in bytes, in the measure in which it was asked for.
    pub receive_buffer: usize,
}

/// Why a bound queue is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Packets wait in it, and its thread decides none.
    Stuck,
    /// The kernel does not have it as ours any more: it was unbound from outside, or is another's.
    Lost,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stuck => "stuck",
            Self::Lost => "lost",
        })
    }
}

/// How to bind a queue.
#[derive(Clone, Debug)]
pub struct Options {
    /// The queue's number.
    pub queue: u16,
    /// Packets that may wait for a verdict.
    pub max_len: u32,
    /// The receive buffer to ask for, in bytes.
    pub receive_buffer: usize,
    /// Whether packets that find the queue full are accepted unchecked.
    pub overload_open: bool,
    /// Whether packets are accepted unchecked while the queue is being left.
    pub exit_open: bool,
    /// How long to look for the next packet, after a batch, without sleeping; zero: not at all. For the batched
    /// backend only.
    pub busy_poll: Duration,
}

impl Options {
    fn setup(&self) -> Setup {
        Setup { copy_range: COPY_RANGE, max_len: self.max_len, fail_open: self.overload_open }
    }
}

/// Which implementation of [`Queue`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// [`batched`].
    #[default]
    Batched,
    /// [`nfq`].
    Nfq,
}

impl Backend {
    /// As in the config.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batched => "batched",
            Self::Nfq => "nfq",
        }
    }

    /// Binds a queue.
    ///
    /// # Errors
    /// Where the kernel refuses; the error says why and what to do.
    pub fn open(self, options: &Options) -> Result<Box<dyn Queue>, QueueError> {
        Ok(match self {
            Self::Batched => Box::new(batched::BatchedQueue::open(options)?),
            Self::Nfq => Box::new(nfq::NfqQueue::open(options)?),
        })
    }

    /// Whether a queue of this backend can go from one process to another while packets wait in it. The nfq crate
    /// takes no socket but its own.
    pub const fn hands_over(self) -> bool {
        matches!(self, Self::Batched)
    }

    /// Goes on with a queue on a socket that another process has bound.
    ///
    /// # Errors
    /// Where the socket is none that holds this queue, or this is not a backend that [`Backend::hands_over`].
    pub fn adopt(self, socket: OwnedFd, options: &Options) -> Result<Box<dyn Queue>, QueueError> {
        match self {
            Self::Batched => Ok(Box::new(batched::BatchedQueue::adopt(socket, options)?)),
            Self::Nfq => Err(QueueError::NotHeld { queue: options.queue, why: "the backend is nfq" }),
        }
    }
}

/// Shuts a queue while its own thread waits for packets.
///
/// The kernel's answer to the message comes through the queue's socket, behind all packets queued before it. So it
/// ends the thread's waiting, and tells that nothing more will come.
#[derive(Debug)]
pub struct Shutter {
    socket: OwnedFd,
    queue: u16,
    exit_open: bool,
    progress: Arc<ShutProgress>,
}

/// How far the shutting is, for where the kernel's answer does not get through.
#[derive(Debug, Default)]
struct ShutProgress {
    /// The message is about to be sent, or was.
    begun: AtomicBool,
    /// The kernel has carried it out.
    done: AtomicBool,
    /// The queue is to be left as it is, with what waits in it.
    released: AtomicBool,
}

impl ShutProgress {
    fn is_released(&self) -> bool {
        self.released.load(Ordering::SeqCst)
    }
}

impl Shutter {
    fn new(
        socket: &OwnedFd,
        queue: u16,
        exit_open: bool,
        progress: &Arc<ShutProgress>,
    ) -> Result<Self, QueueError> {
        let socket = socket.try_clone().map_err(|error| QueueError::io("copy a socket", error))?;
        Ok(Self { socket, queue, exit_open, progress: Arc::clone(progress) })
    }

    /// Closes the queue to newcomers, which from now on find what `on_exit` promises. What waits is still received
    /// and answered; then [`Queue::receive`] returns 0.
    ///
    /// # Errors
    /// Where the kernel does not take the message.
    pub fn shut(&self) -> Result<(), QueueError> {
        let mut message = Vec::new();
        message::shut(&mut message, self.queue, SHUT_SEQUENCE, self.exit_open);
        self.progress.begun.store(true, Ordering::SeqCst);
        // The kernel carries it out before send(2) returns.
        let sent = send(&self.socket, &message);
        self.progress.done.store(true, Ordering::SeqCst);
        sent
    }

    /// Has [`Queue::receive`] return 0 once the batch at hand is answered, and leaves the queue bound: what comes waits
    /// in it for whoever goes on with it.
    pub fn release(&self) {
        self.progress.released.store(true, Ordering::SeqCst);
        let mut message = Vec::new();
        message::wake(&mut message, self.queue, WAKE_SEQUENCE, COPY_RANGE);
        // Without it the thread looks up by itself, a little later.
        let _ = send(&self.socket, &message);
    }

    /// A second descriptor of the queue's socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// After a [`Shutter::release`]: the queue may be served again, with the settings that it was bound with, whatever
    /// somebody else has made of them meanwhile.
    pub fn resume(&self, options: &Options) {
        let mut message = Vec::new();
        message::change(&mut message, self.queue, WAKE_SEQUENCE, options.setup());
        // Where the kernel does not take it, the next look at the queue shows why.
        let _ = send(&self.socket, &message);
        self.progress.released.store(false, Ordering::SeqCst);
    }

    /// Gives the queue up at once, whatever its thread does, so that another socket can bind it. The kernel drops what
    /// waits in it.
    ///
    /// # Errors
    /// Where the kernel does not take the message.
    pub fn unbind(&self) -> Result<(), QueueError> {
        self.progress.released.store(true, Ordering::SeqCst);
        unbind(&self.socket, self.queue)
    }
}

/// Gives up a queue that this socket holds; one that it does not hold stays as it is.
///
/// # Errors
/// Where the kernel does not take the message.
pub fn unbind(socket: impl AsFd, queue: u16) -> Result<(), QueueError> {
    let mut message = Vec::new();
    message::unbind(&mut message, queue, WAKE_SEQUENCE);
    send(socket, &message)
}

/// The descriptors that a service manager has kept for this process (`LISTEN_FDS`, sd_listen_fds(3)), with their names.
/// They are given out once; the next call finds none.
pub fn inherited() -> Vec<(String, OwnedFd)> {
    static GIVEN_OUT: AtomicBool = AtomicBool::new(false);
    if GIVEN_OUT.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let listed = sd_notify::listen_fds_with_names().map(Iterator::collect).unwrap_or_else(|_| Vec::new());
    listed.into_iter().filter_map(|(descriptor, name)| Some((name, sys::inherit(descriptor).ok()?))).collect()
}

/// Sends messages to the kernel.
fn send(socket: impl AsFd, messages: &[u8]) -> Result<(), QueueError> {
    netlink::send(socket, messages).map_err(|error| QueueError::io("send to the kernel", error))
}

/// Asks for a receive buffer, and returns what the socket has.
fn size_receive_buffer(socket: impl AsFd, wanted: usize) -> Result<usize, QueueError> {
    netlink::size_receive_buffer(socket, wanted)
        .map_err(|error| QueueError::io("set the receive buffer", error))
}

/// Why a queue can't be used.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Another socket has it.
    #[error(
        "queue {queue} is taken by port id {port_id} ({owner}): {}",
        kernel::advice(
            owner,
            "stop that program, or give this one another number with --queue (and the firewall the same)"
        )
    )]
    Taken {
        /// The queue.
        queue: u16,
        /// The other's netlink port id.
        port_id: u32,
        /// Its process, as far as /proc tells.
        owner: String,
    },
    /// The kernel wants a capability.
    #[error(
        "queue {queue} needs CAP_NET_ADMIN: run as root, or give the program that capability (setcap cap_net_admin+ep)"
    )]
    NotPermitted {
        /// The queue.
        queue: u16,
    },
    /// The kernel can't queue packets.
    #[error(
        "this kernel has no nfnetlink_queue ({detail}): load it with 'modprobe nfnetlink_queue' (on OpenWrt: \
         install kmod-nfnetlink-queue), or use a kernel with CONFIG_NETFILTER_NETLINK_QUEUE"
    )]
    Unsupported {
        /// What the kernel answered.
        detail: io::Error,
    },
    /// The network under the socket went away.
    #[error(
        "queue {queue}: the network namespace or its interfaces went down (ENETDOWN); start again when they are up"
    )]
    NetworkDown {
        /// The queue.
        queue: u16,
    },
    /// A socket that was handed over does not hold the queue.
    #[error("the socket that was handed over can't serve queue {queue}: {why}")]
    NotHeld {
        /// The queue.
        queue: u16,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The kernel answered something unexpected to the set-up.
    #[error("queue {queue} can't be bound: {error}")]
    Refused {
        /// The queue.
        queue: u16,
        /// The kernel's answer.
        error: io::Error,
    },
    /// A system call failed.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// A batch was answered with another number of verdicts than it has packets.
    #[error("{verdicts} verdicts for a batch of {packets} packets")]
    Count {
        /// How many verdicts were given.
        verdicts: usize,
        /// How many packets wait.
        packets: usize,
    },
}

impl QueueError {
    fn io(what: &'static str, error: impl Into<io::Error>) -> Self {
        Self::Io { what, error: error.into() }
    }
}

/// Whole packets: an INPUT hook hands over reassembled datagrams of up to 64 KiB, and a knock may stand at the end.
const COPY_RANGE: u32 = 0xffff;

/// Marks the kernel's answer to the set-up.
const BIND_SEQUENCE: u32 = 1;

/// Marks its answer to the shutting.
const SHUT_SEQUENCE: u32 = 2;

/// Marks answers that matter only by coming.
const WAKE_SEQUENCE: u32 = 3;

/// Marks answers to the verdict on a run of packets; the number of these stands in the bits below.
const RUN_SEQUENCE: u32 = 1 << 30;

/// From here on numbers are free for what a process has to tell from what others have sent.
const FIRST_UNUSED_SEQUENCE: u32 = 1 << 31;
