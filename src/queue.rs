//! The kernel's packet queues, NFQUEUE.
//!
//! A [`Queue`] hands over packets in batches and takes one verdict for each. Two backends do so:
//! - [`batched`], the default: a netlink socket of our own, many packets and many verdicts per system call;
//! - [`nfq`], on the nfq crate: one packet per call, for comparison, and in case the other fails.
//!
//! [`message`] is the language both speak to the kernel, [`kernel`] what /proc tells about queues.

pub mod batched;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod interface;
pub mod kernel;
pub mod message;
pub mod nfq;
mod options;
mod pace;
mod refusal;
mod sequence;
mod shutter;
mod socket;

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

pub use error::QueueError;
pub use interface::{Queue, QueueBinding, QueueCounters};
pub use message::Unanswered;
pub use options::QueueOptions;
pub use shutter::{Shutter, unbind};

use crate::sys;

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

/// An implementation of [`Queue`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// [`batched`].
    #[default]
    Batched,
    /// [`nfq`].
    Nfq,
}

names! {
    /// As in the config.
    pub Backend { Batched = "batched", Nfq = "nfq" }
}

impl Backend {
    /// Binds a queue.
    ///
    /// # Errors
    /// If the kernel refuses; the error says why and what to do.
    pub fn open(self, options: &QueueOptions) -> Result<Box<dyn Queue>, QueueError> {
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

    /// Goes on with a queue on a socket that another process has bound. `unanswered` is the end of packets that it has
    /// received and not answered.
    ///
    /// # Errors
    /// If the socket is none that holds this queue, or this is not a backend that [`Backend::hands_over`].
    pub fn adopt(
        self,
        socket: OwnedFd,
        options: &QueueOptions,
        unanswered: Unanswered,
    ) -> Result<Box<dyn Queue>, QueueError> {
        match self {
            Self::Batched => Ok(Box::new(batched::BatchedQueue::adopt(socket, options, unanswered)?)),
            Self::Nfq => Err(QueueError::NotHeld { queue: options.queue, why: "the backend is nfq" }),
        }
    }
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
