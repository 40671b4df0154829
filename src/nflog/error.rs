//! The reasons for which an NFLOG group can't be used.

use std::io;

/// Why a group can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NflogError {
    /// Another socket has it.
    #[error(
        "NFLOG group {group} is taken by port id {port_id} ({owner}): {}",
        crate::queue::kernel::advice(
            owner,
            "stop that program, or give the first queue another number with --queue (the group is that number and 5060), \
             and run 'sipknock firewall apply'"
        )
    )]
    Taken {
        /// The group.
        group: u16,
        /// The other's netlink port id.
        port_id: u32,
        /// Its process, as far as /proc tells.
        owner: String,
    },
    /// The kernel wants a capability.
    #[error(
        "NFLOG group {group} needs CAP_NET_ADMIN: run as root, or give the program that capability (setcap \
         cap_net_admin+ep)"
    )]
    NotPermitted {
        /// The group.
        group: u16,
    },
    /// The kernel can't copy packets.
    #[error(
        "this kernel has no nfnetlink_log ({detail}): load it with 'modprobe nfnetlink_log' (on OpenWrt: install \
         kmod-nfnetlink-log and iptables-mod-nflog), or use a kernel with CONFIG_NETFILTER_NETLINK_LOG"
    )]
    Unsupported {
        /// The kernel's answer.
        detail: io::Error,
    },
    /// A socket that was handed over does not hold the group.
    #[error("the socket that was handed over can't read NFLOG group {group}: {why}")]
    NotHeld {
        /// The group.
        group: u16,
        /// The fault.
        why: &'static str,
    },
    /// The kernel answered something unexpected to the set-up.
    #[error("NFLOG group {group} can't be bound: {error}")]
    Refused {
        /// The group.
        group: u16,
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
}

impl NflogError {
    pub(super) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { what, error }
    }
}
