//! The end of a queue.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::QueueError;
use super::message;
use super::options::{COPY_RANGE, QueueOptions};
use super::sequence::{SHUT_SEQUENCE, WAKE_SEQUENCE};
use super::socket::send;

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

/// The progress of the shutting, in case the kernel's answer does not get through.
#[derive(Debug, Default)]
pub(super) struct ShutProgress {
    /// The message is about to be sent, or was.
    pub(super) begun: AtomicBool,
    /// The kernel has carried it out.
    pub(super) done: AtomicBool,
    /// The queue is to be left as it is, with what waits in it.
    pub(super) released: AtomicBool,
}

impl ShutProgress {
    pub(super) fn is_released(&self) -> bool {
        self.released.load(Ordering::SeqCst)
    }
}

impl Shutter {
    pub(super) fn new(
        socket: &OwnedFd,
        queue: u16,
        exit_open: bool,
        progress: &Arc<ShutProgress>,
    ) -> Result<Self, QueueError> {
        let socket = socket.try_clone().map_err(|error| QueueError::io("copy a socket", error))?;
        Ok(Self { socket, queue, exit_open, progress: Arc::clone(progress) })
    }

    /// Closes the queue to newcomers, which from now on find what `on_exit` promises. Packets that wait are still received
    /// and answered; then [`Queue::receive`](super::Queue::receive) returns 0.
    ///
    /// # Errors
    /// If the kernel does not take the message.
    pub fn shut(&self) -> Result<(), QueueError> {
        let mut message = Vec::new();
        message::shut(&mut message, self.queue, SHUT_SEQUENCE, self.exit_open);
        self.progress.begun.store(true, Ordering::SeqCst);
        // The kernel carries it out before send(2) returns.
        let sent = send(&self.socket, &message);
        self.progress.done.store(true, Ordering::SeqCst);
        sent
    }

    /// Has [`Queue::receive`](super::Queue::receive) return 0 once the batch at hand is answered, and leaves the queue
    /// bound: later packets wait in it for the next process.
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
    pub fn resume(&self, options: &QueueOptions) {
        let mut message = Vec::new();
        message::change(&mut message, self.queue, WAKE_SEQUENCE, options.setup());
        // If the kernel does not take it, the next look at the queue shows why.
        let _ = send(&self.socket, &message);
        self.progress.released.store(false, Ordering::SeqCst);
    }

    /// Gives the queue up at once, whatever its thread does, so that another socket can bind it. The kernel drops what
    /// waits in it.
    ///
    /// # Errors
    /// If the kernel does not take the message.
    pub fn unbind(&self) -> Result<(), QueueError> {
        self.progress.released.store(true, Ordering::SeqCst);
        unbind(&self.socket, self.queue)
    }
}

/// Gives up a queue that this socket holds; one that it does not hold stays as it is.
///
/// # Errors
/// If the kernel does not take the message.
pub fn unbind(socket: impl AsFd, queue: u16) -> Result<(), QueueError> {
    let mut message = Vec::new();
    message::unbind(&mut message, queue, WAKE_SEQUENCE);
    send(socket, &message)
}
