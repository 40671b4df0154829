//! Other processes, from /proc: their names, and the sockets that they have open.

use std::collections::HashMap;
use std::fs;

/// The processes that have a socket open, for each socket.
pub(crate) struct SocketOwners(HashMap<u64, Vec<u32>>);

impl SocketOwners {
    /// Reads the descriptors of all processes. Those of other users can be read with CAP_SYS_PTRACE alone.
    pub(crate) fn read() -> Self {
        let mut owners: HashMap<u64, Vec<u32>> = HashMap::new();
        for pid in all() {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            for descriptor in descriptors {
                let link = fs::read_link(descriptor.path()).unwrap_or_default();
                let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
                if let Some(inode) = inode.and_then(|inode| inode.parse().ok()) {
                    let owners = owners.entry(inode).or_default();
                    if owners.last() != Some(&pid) {
                        owners.push(pid);
                    }
                }
            }
        }
        Self(owners)
    }

    /// The processes that have the socket with this inode open, in the order of /proc.
    pub(crate) fn of(&self, inode: u64) -> &[u32] {
        self.0.get(&inode).map_or(&[], Vec::as_slice)
    }
}

/// The ids of all processes, in the order of /proc.
pub(crate) fn all() -> impl Iterator<Item = u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The name of a process as /proc/PID/comm has it, at most 15 bytes, escaped. `None` if the process is gone.
pub(crate) fn name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().escape_debug().to_string())
}

/// The fields of /proc/PID/stat from the third on, the state: the name before them may hold anything
/// (proc_pid_stat(5)). `None` if the process is gone.
pub(crate) fn stat(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_is_this_process_s() {
        let (_one, other) = UnixStream::pair().unwrap();
        let inode =
            fs::File::from(std::os::fd::OwnedFd::from(other.try_clone().unwrap())).metadata().unwrap();
        let this = std::process::id();
        assert!(SocketOwners::read().of(inode.ino()).contains(&this));
        assert!(SocketOwners::read().of(u64::MAX).is_empty());
        assert!(name(this).is_some_and(|name| name.starts_with("sipknock")));
        assert!(stat(this).is_some_and(|stat| stat.starts_with(['R', 'S'])));
        assert_eq!((name(u32::MAX), stat(u32::MAX)), (None, None));
    }
}
