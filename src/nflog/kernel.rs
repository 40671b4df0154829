//! The kernel's table of NFLOG groups in /proc, and the meaning of its refusals.

use std::fs;
use std::io;

use rustix::io::Errno;

use super::error::NflogError;
use crate::queue::kernel::owner;

/// The error for a refused set-up message.
pub(super) fn explain(group: u16, own_port_id: u32, error: io::Error) -> NflogError {
    match Errno::from_io_error(&error) {
        // `nfulnl_recv_config` answers EPERM if another socket has the group, and EBUSY if this one has it already.
        Some(Errno::PERM | Errno::BUSY | Errno::EXIST) => match holder(group) {
            Some(port_id) if port_id != own_port_id => NflogError::Taken {
                group,
                port_id,
                owner: owner(port_id).unwrap_or_else(|| "a process that can't be seen from here".to_owned()),
            },
            _ => NflogError::NotPermitted { group },
        },
        // `nfnetlink_rcv_msg` answers EINVAL if no subsystem is registered.
        Some(Errno::INVAL | Errno::OPNOTSUPP) if fs::metadata(GROUPS).is_err() => {
            NflogError::Unsupported { detail: error }
        }
        _ => NflogError::Refused { group, error },
    }
}

/// The error for a socket that can't be had.
pub(super) fn explain_socket(error: io::Error) -> NflogError {
    match Errno::from_io_error(&error) {
        Some(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => NflogError::Unsupported { detail: error },
        _ => NflogError::Io { what: "open a netlink socket", error },
    }
}

/// The port id of the socket that has a group, in this thread's network namespace.
fn holder(group: u16) -> Option<u32> {
    fs::read_to_string(GROUPS).ok()?.lines().filter_map(parse_row).find(|row| row.0 == group).map(|row| row.1)
}

/// Group and port id in a line of the table (`seq_show` in net/netfilter/nfnetlink_log.c).
fn parse_row(line: &str) -> Option<(u16, u32)> {
    let mut columns = line.split_ascii_whitespace();
    let (group, port_id) = (columns.next()?.parse().ok()?, columns.next()?);
    // Older kernels print the port id as a signed number.
    let port_id = port_id.parse().or_else(|_| port_id.parse::<i32>().map(i32::cast_unsigned)).ok()?;
    Some((group, port_id))
}

/// Of the thread, not of the process: its main thread may be in another network namespace.
const GROUPS: &str = "/proc/thread-self/net/netfilter/nfnetlink_log";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        for (line, expected) in [
            (" 5060 4294962000     0 2  2048    100  1", Some((5060, 4_294_962_000))),
            (" 5060  -5296     0 2  2048    100  1", Some((5060, 4_294_962_000))),
            ("    0   1234     0 2 65531    100  1", Some((0, 1234))),
            ("70000 1 0 2 2048 100 1", None),
            ("5060", None),
            ("", None),
            ("group one", None),
        ] {
            assert_eq!(parse_row(line), expected, "{line:?}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let error = |errno: Errno| explain(65535, 1, errno.into()).to_string();
        assert!(error(Errno::PERM).contains("needs CAP_NET_ADMIN"));
        assert!(error(Errno::NOMEM).starts_with("NFLOG group 65535 can't be bound"));
        let unsupported = explain_socket(Errno::PROTONOSUPPORT.into()).to_string();
        assert!(unsupported.contains("modprobe nfnetlink_log"), "{unsupported}");
    }
}
