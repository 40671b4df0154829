//! The settings of a queue.

use std::time::Duration;

use super::message::Setup;

/// The settings with which a queue is bound.
#[derive(Clone, Debug)]
pub struct QueueOptions {
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
    /// The time for which to look for the next packet, after a batch, without sleeping; zero: not at all. For the batched
    /// backend only.
    pub busy_poll: Duration,
}

impl QueueOptions {
    pub(super) fn setup(&self) -> Setup {
        Setup { copy_range: COPY_RANGE, max_len: self.max_len, fail_open: self.overload_open }
    }
}

/// Whole packets: an INPUT hook hands over reassembled datagrams of up to 64 KiB, and a knock may stand at the end.
pub(super) const COPY_RANGE: u32 = 0xffff;
