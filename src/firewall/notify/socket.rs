//! A netlink socket that hears of changes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, sockopt};

use crate::processes;

use super::{Generation, NFNLGRP_NFTABLES, Notification, Notifications};

/// Hears of each change that somebody makes to iptables's tables in this thread's network namespace.
#[derive(Debug)]
pub struct Changes {
    socket: OwnedFd,
    buffer: Box<[u8]>,
    /// The transaction that is being read touches a table of iptables's.
    touched: bool,
}

/// A change of iptables's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifiedChange {
    /// By this process.
    By(Author),
    /// Some notifications are lost (`ENOBUFS`), or can't be read: anything may have changed.
    Lost,
}

/// The process that made a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// The netlink port id of its socket.
    pub port_id: u32,
    /// Its number, as the first process namespace counts; `None` if the kernel does not say.
    pub pid: Option<u32>,
    /// Its name, and that of the program that started it, if that could be seen in time; for people.
    pub name: String,
}

impl Changes {
    /// Begins to listen.
    ///
    /// # Errors
    /// If there is no netlink socket to be had, no nf_tables in the kernel, or no CAP_NET_ADMIN.
    pub fn listen() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(netlink::NETFILTER);
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        // A restore of many rules is one burst. A smaller buffer is no fault: what is lost is told.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
        // The mask has room for the first 32 groups (netlink(7)).
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 1 << (NFNLGRP_NFTABLES - 1)))?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM].into(), touched: false })
    }

    /// All changes since the last call, oldest first; at most [`MOST`] by name. Does not wait.
    ///
    /// # Errors
    /// If the socket can't be used any more.
    pub fn heard(&mut self) -> io::Result<VecDeque<NotifiedChange>> {
        let mut heard = VecDeque::new();
        // The socket is read empty even if a program changes tables all the time; each turn takes a bounded number.
        for _ in 0..READS {
            match rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::TRUNC) {
                Ok((kept, sent)) if sent > kept => push(&mut heard, NotifiedChange::Lost),
                Ok((length, _)) => self.read(length, &mut heard),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => push(&mut heard, NotifiedChange::Lost),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(heard)
    }

    fn read(&mut self, length: usize, heard: &mut VecDeque<NotifiedChange>) {
        for notification in Notifications::new(self.buffer.get(..length).unwrap_or_default()) {
            match notification {
                Ok(Notification::Change(change)) => self.touched |= change.is_of_iptables(),
                Ok(Notification::Generation(generation)) => {
                    if std::mem::take(&mut self.touched) {
                        push(heard, NotifiedChange::By(Author::of(&generation)));
                    }
                }
                Ok(Notification::Other) => {}
                Err(_) => push(heard, NotifiedChange::Lost),
            }
        }
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Author {
    fn of(generation: &Generation<'_>) -> Self {
        let Generation { port_id, pid, name, .. } = *generation;
        let name = String::from_utf8_lossy(name).escape_debug().to_string();
        let starter = pid.and_then(starter).filter(|starter| *starter != name);
        let name = starter.map_or_else(|| name.clone(), |starter| format!("{name} of {starter}"));
        Self { port_id, pid, name }
    }

    /// Whether it is one of these processes, as this process's namespace numbers them.
    pub fn is_one_of(&self, processes: &[u32]) -> bool {
        processes.iter().any(|process| *process == self.port_id || Some(*process) == self.pid)
    }
}

/// The name of the program that started a process, if the process still runs: a script or a service has iptables do its
/// work, and iptables alone tells nothing about who wanted that.
fn starter(pid: u32) -> Option<String> {
    processes::name(processes::stat(pid)?.split(' ').nth(1)?.parse().ok()?)
}

fn push(heard: &mut VecDeque<NotifiedChange>, one: NotifiedChange) {
    if heard.len() == MOST {
        heard.pop_front();
    }
    heard.push_back(one);
}

/// Changes that are told by name in one turn. Older ones are dropped: the latest names count.
pub const MOST: usize = 64;

/// Datagrams read in one turn.
const READS: usize = 4096;

/// As large as the kernel makes them (`NLMSG_GOODSIZE`, net/netlink), with room to spare.
const DATAGRAM: usize = 64 << 10;

const RECEIVE_BUFFER: usize = 4 << 20;
