//! The place that queues come from: the kernel, and in tests a stand-in for it.

use std::io;
use std::os::fd::OwnedFd;

use crate::queue::kernel::{self, QueueRow};
use crate::queue::{Backend, Queue, QueueError, QueueOptions, Unanswered};

/// Binds queues, and has the kernel's counters of them.
pub(in crate::daemon) trait QueueProvider {
    /// Binds a queue.
    ///
    /// # Errors
    /// As [`Backend::open`].
    fn open(&self, options: &QueueOptions) -> Result<Box<dyn Queue>, QueueError>;

    /// Goes on with a queue on a socket that another process has bound.
    ///
    /// # Errors
    /// As [`Backend::adopt`].
    fn adopt(
        &self,
        socket: OwnedFd,
        options: &QueueOptions,
        unanswered: Unanswered,
    ) -> Result<Box<dyn Queue>, QueueError>;

    /// Whether a queue can go from one process to another while packets wait in it.
    fn hands_over(&self) -> bool;

    /// The queues that are bound, those of other processes among them.
    ///
    /// # Errors
    /// If they can't be read.
    fn rows(&self) -> io::Result<Vec<QueueRow>>;
}

impl QueueProvider for Backend {
    fn open(&self, options: &QueueOptions) -> Result<Box<dyn Queue>, QueueError> {
        Self::open(*self, options)
    }

    fn adopt(
        &self,
        socket: OwnedFd,
        options: &QueueOptions,
        unanswered: Unanswered,
    ) -> Result<Box<dyn Queue>, QueueError> {
        Self::adopt(*self, socket, options, unanswered)
    }

    fn hands_over(&self) -> bool {
        Self::hands_over(*self)
    }

    fn rows(&self) -> io::Result<Vec<QueueRow>> {
        kernel::readable_queues()
    }
}
