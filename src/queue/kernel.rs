//! The kernel's table of queues in /proc, and the owners of its sockets.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;

use crate::processes::{self, SocketOwners};

/// A line of /proc/net/netfilter/nfnetlink_queue (`seq_show` in net/netfilter/nfnetlink_queue.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueRow {
    /// The queue's number.
    pub queue: u16,
    /// The netlink port id of the socket that listens.
    pub port_id: u32,
    /// Packets that wait for a verdict.
    pub waiting: u64,
    /// Packets dropped because the queue was full.
    pub queue_dropped: u64,
    /// Packets dropped because the socket's receive buffer was full.
    pub user_dropped: u64,
    /// The id of the last packet queued: how many there were since the queue was bound.
    pub sequence: u64,
}

/// The queues of this thread's network namespace. Empty if the kernel has no such file.
pub fn queues() -> Vec<QueueRow> {
    readable_queues().unwrap_or_default()
}

/// The same; no such file is an error, no queue is not.
///
/// # Errors
/// If the file can't be read.
pub fn readable_queues() -> io::Result<Vec<QueueRow>> {
    let text = KEPT.get().map_or_else(|| fs::read_to_string(QUEUES), from_the_top)?;
    Ok(text.lines().filter_map(parse_row).collect())
}

/// Opens the file for good, since it is for root and root's group to open: whoever this process becomes can go on reading
/// it. All its threads then see the queues of the network namespace that this one is in.
///
/// # Errors
/// If it can't be opened.
pub fn keep_readable() -> io::Result<()> {
    if KEPT.get().is_none() {
        // Whoever is second has opened the same.
        let _ = KEPT.set(File::open(QUEUES)?);
    }
    Ok(())
}

/// All of a file of the kernel's that has been read before (`seq_read_iter` in fs/seq_file.c).
fn from_the_top(file: &File) -> io::Result<String> {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match file.read_at(&mut buffer, text.len() as u64) {
            Ok(0) => return String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into()),
            Ok(read) => text.extend(buffer.iter().take(read)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// One queue of this thread's network namespace.
pub fn queue(number: u16) -> Option<QueueRow> {
    queues().into_iter().find(|row| row.queue == number)
}

fn parse_row(line: &str) -> Option<QueueRow> {
    let mut columns = line.split_ascii_whitespace();
    let mut number = || columns.next()?.parse::<i64>().ok();
    let (queue, port_id, waiting) = (number()?, number()?, number()?);
    let (_copy_mode, _copy_range) = (number()?, number()?);
    let count = |number: i64| u64::try_from(number).ok();
    // Older kernels print the port id as a signed number.
    let port_id = u32::try_from(port_id).or_else(|_| i32::try_from(port_id).map(i32::cast_unsigned)).ok()?;
    Some(QueueRow {
        queue: queue.try_into().ok()?,
        port_id,
        waiting: count(waiting)?,
        queue_dropped: count(number()?)?,
        user_dropped: count(number()?)?,
        sequence: count(number()?)?,
    })
}

/// The process that has a netlink socket with this port id: /proc/net/netlink tells the socket's inode.
pub(crate) fn owner(port_id: u32) -> Option<String> {
    let pid = *SocketOwners::read().of(socket_inode(port_id)?).first()?;
    Some(format!("process {pid}, {}", processes::name(pid).unwrap_or_default()))
}

/// What to do about a process that holds what this one wants. The service manager keeps a gate's sockets between two of its
/// processes, and is never to be stopped.
pub(crate) fn advice(owner: &str, other: &'static str) -> &'static str {
    match owner.starts_with("process 1,") {
        true => {
            "the service manager keeps it for the gate that it runs: 'systemctl restart sipknock', or 'systemctl stop \
             sipknock' first"
        }
        false => other,
    }
}

/// The inode of the netfilter socket with this port id, in this thread's network namespace.
pub fn socket_inode(port_id: u32) -> Option<u64> {
    let table = fs::read_to_string("/proc/thread-self/net/netlink").ok()?;
    table.lines().find_map(|line| netlink_inode(line, port_id))
}

/// The inode in a line of /proc/net/netlink (`netlink_native_seq_show` in net/netlink/af_netlink.c), where it is
/// a netfilter socket with this port id.
fn netlink_inode(line: &str, port_id: u32) -> Option<u64> {
    let columns: Vec<_> = line.split_ascii_whitespace().collect();
    let &[_sk, protocol, port, _groups, _rmem, _wmem, _dump, _locks, _drops, inode] = columns.as_slice()
    else {
        return None;
    };
    let wanted = protocol == NETLINK_NETFILTER && port.parse() == Ok(port_id);
    wanted.then(|| inode.parse().ok()).flatten()
}

/// Of the thread, not of the process: its main thread may be in another network namespace.
pub(super) const QUEUES: &str = "/proc/thread-self/net/netfilter/nfnetlink_queue";
const NETLINK_NETFILTER: &str = "12";

static KEPT: OnceLock<File> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let row = QueueRow {
            queue: 3,
            port_id: 4_294_962_000,
            waiting: 5,
            queue_dropped: 6,
            user_dropped: 7,
            sequence: 8,
        };
        for (line, expected) in [
            ("    3 4294962000     5 2 65531     6     7        8  1", Some(row)),
            ("    3      -5296     5 2 65531     6     7        8  1", Some(row)),
            ("    3 4294962000     5 2 65531     6     7", None),
            ("70000 1 0 2 65531 0 0 0 1", None),
            ("", None),
            ("queue one", None),
        ] {
            assert_eq!(parse_row(line), expected, "{line:?}");
        }
    }

    #[test]
    fn netlink_sockets() {
        let line = "0000000000000000 12  4242       00000000 0        0        0     2        0        31337";
        assert_eq!(netlink_inode(line, 4242), Some(31337));
        assert_eq!(netlink_inode(line, 4243), None);
        assert_eq!(netlink_inode(&line.replacen("12 ", "4  ", 1), 4242), None);
        assert_eq!(
            netlink_inode(
                "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode",
                0
            ),
            None
        );
    }

    #[test]
    fn nobody_is_told_to_stop_the_service_manager() {
        assert!(advice("process 1, systemd", "stop it").contains("systemctl restart sipknock"));
        for owner in ["process 17, suricata", "process 1234, systemd-networkd", "-"] {
            assert_eq!(advice(owner, "stop it"), "stop it");
        }
    }
}
