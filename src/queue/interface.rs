//! The interface of the backends.

use std::os::fd::BorrowedFd;

use super::error::QueueError;
use super::shutter::Shutter;
use crate::verdict::Verdict;

/// A packet queue. Batches are answered in the order in which they came, each whole: that is what
/// makes "exactly one verdict for each packet" a matter of this trait and not of its users.
pub trait Queue: Send {
    /// Waits for packets, and returns how many are in the new batch: 0 once the queue is shut and drained, or is to be
    /// left as it is ([`Shutter::release`]).
    ///
    /// # Errors
    /// If the socket fails for good. The queue must then be dropped, upon which the kernel drops what waits.
    fn receive(&mut self) -> Result<usize, QueueError>;

    /// A packet of the current batch, from its IP header on; there until the next batch is received. Empty for an
    /// index that is not in the batch.
    fn packet(&self, index: usize) -> &[u8];

    /// Answers the whole current batch, one verdict for each packet, in order.
    ///
    /// # Errors
    /// If the kernel does not take the verdicts, or their number is not that of the packets.
    fn answer(&mut self, verdicts: &[Verdict]) -> Result<(), QueueError>;

    /// The means to shut this queue, from any thread.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    fn shutter(&self) -> Result<Shutter, QueueError>;

    /// The socket that holds the queue, for another holder of it.
    fn socket(&self) -> BorrowedFd<'_>;

    /// The counts of messages, beside packets and verdicts.
    fn counters(&self) -> QueueCounters;

    /// The queue's binding in the kernel.
    fn binding(&self) -> QueueBinding;
}

/// The counts of a backend, beside packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// Packets whose verdicts came too late (`ENOENT`): the kernel had dropped them by itself, as it does if their
    /// interface goes away, or any base chain of the namespace.
    pub stale: u64,
    /// Messages that could not be read, so that no verdict could be given.
    pub unreadable: u64,
}

impl QueueCounters {
    /// Adds those of another queue.
    pub fn add(&mut self, other: Self) {
        self.stale += other.stale;
        self.unreadable += other.unreadable;
    }
}

/// A bound queue, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBinding {
    /// The queue's number.
    pub queue: u16,
    /// The netlink port id that /proc/net/netfilter/nfnetlink_queue lists for it.
    pub port_id: u32,
    /// The receive buffer that the socket has, in bytes, in the measure in which it was asked for.
    pub receive_buffer: usize,
}
