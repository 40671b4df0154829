//! The reasons for which a queue can't be used.

use std::io;

use super::kernel;

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
        /// The kernel's answer.
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
        /// The fault.
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
        /// The action that failed.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// A batch was answered with another number of verdicts than it has packets.
    #[error("{verdicts} verdicts for a batch of {packets} packets")]
    Count {
        /// The number of verdicts given.
        verdicts: usize,
        /// The number of packets that wait.
        packets: usize,
    },
}

impl QueueError {
    pub(super) fn io(what: &'static str, error: impl Into<io::Error>) -> Self {
        Self::Io { what, error: error.into() }
    }
}
