//! The meaning of the kernel's refusals.

use std::fs;
use std::io;

use super::error::QueueError;
use super::kernel::{QUEUES, owner, queue};

/// The error for a refused set-up message.
pub(super) fn explain(queue_number: u16, own_port_id: u32, error: io::Error) -> QueueError {
    use rustix::io::Errno;
    match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::BUSY) => match queue(queue_number) {
            Some(row) if row.port_id != own_port_id => QueueError::Taken {
                queue: queue_number,
                port_id: row.port_id,
                owner: owner(row.port_id)
                    .unwrap_or_else(|| "a process that can't be seen from here".to_owned()),
            },
            _ => QueueError::NotPermitted { queue: queue_number },
        },
        Some(Errno::NETDOWN) => QueueError::NetworkDown { queue: queue_number },
        // nfnetlink_rcv_msg (net/netfilter/nfnetlink.c) answers EINVAL if no subsystem is registered.
        Some(Errno::INVAL | Errno::OPNOTSUPP) if fs::metadata(QUEUES).is_err() => {
            QueueError::Unsupported { detail: error }
        }
        _ => QueueError::Refused { queue: queue_number, error },
    }
}

/// The error for a socket that can't be had.
pub(super) fn explain_socket(error: io::Error) -> QueueError {
    use rustix::io::Errno;
    match Errno::from_io_error(&error) {
        Some(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => QueueError::Unsupported { detail: error },
        _ => QueueError::Io { what: "open a netlink socket", error },
    }
}

/// The action that fails without root's group.
pub(super) const UNREADABLE: &str =
    "read /proc/net/netfilter/nfnetlink_queue, which is for root and members of the group root";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let error = |errno: rustix::io::Errno| explain(65535, 1, errno.into()).to_string();
        assert!(error(rustix::io::Errno::PERM).contains("needs CAP_NET_ADMIN"));
        assert!(error(rustix::io::Errno::NETDOWN).contains("went down"));
        assert!(error(rustix::io::Errno::NOMEM).starts_with("queue 65535 can't be bound"));
        let unsupported = explain_socket(rustix::io::Errno::PROTONOSUPPORT.into()).to_string();
        assert!(unsupported.contains("modprobe nfnetlink_queue"), "{unsupported}");
    }
}
