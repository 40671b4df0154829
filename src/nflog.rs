//! Copies of what the PBX sends, by NFLOG.
//!
//! A rule in the firewall copies packets to a group, and one socket reads the group: a [`NflogReader`]. A copy delays nothing:
//! it lies in the socket before its packet leaves, and one that finds the socket full is lost, while its packet is not.
//! [`message`] is the language spoken to the kernel.

mod error;
mod kernel;
pub mod message;
mod sequence;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

pub use error::NflogError;

use crate::netlink::socket as netlink;
use crate::sys::{self, MAX_BATCH, Wait};
use message::{NflogMessage, NflogMessages};
use sequence::SequenceCheck;

/// How to bind a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NflogOptions {
    /// The group's number.
    pub group: u16,
    /// The receive buffer to ask for, in bytes.
    pub receive_buffer: usize,
}

impl NflogOptions {
    /// A group with the usual buffer.
    pub const fn of(group: u16) -> Self {
        Self { group, receive_buffer: RECEIVE_BUFFER }
    }
}

/// A bound group.
#[derive(Debug)]
pub struct NflogReader {
    socket: OwnedFd,
    group: u16,
    port_id: u32,
    receive_buffer: usize,
    sequence: SequenceCheck,
    /// Copies that came before the kernel's answer to the set-up.
    early: Vec<Vec<u8>>,
    /// [`MAX_BATCH`] receive buffers of [`STRIDE`] bytes, used again for each batch.
    slots: Box<[u8]>,
    counters: CopyCounters,
}

/// The counts of a reader since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyCounters {
    /// Copies read.
    pub packets: u64,
    /// Copies lost because the receive buffer was full. Those at the end of a burst count as one until the next copy
    /// arrives.
    pub lost: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
}

impl NflogReader {
    /// Binds a group, with all settings in one message.
    ///
    /// # Errors
    /// If the kernel refuses; the error says why and what to do.
    pub fn open(options: &NflogOptions) -> Result<Self, NflogError> {
        let (socket, port_id) = netlink::open().map_err(kernel::explain_socket)?;
        let receive_buffer = netlink::size_receive_buffer(&socket, options.receive_buffer)
            .map_err(NflogError::io("set the receive buffer"))?;
        let mut reader =
            Self::new(socket, options.group, port_id, receive_buffer, SequenceCheck::from_zero());
        let answer = reader.ask(message::bind)?;
        // Only a full socket loses the answer, and then a second message tells as much.
        let answer = match answer {
            Some(errno) => errno,
            None => reader.ask(message::change)?.unwrap_or_default(),
        };
        match answer {
            0 => Ok(reader),
            errno => Err(kernel::explain(options.group, port_id, io::Error::from_raw_os_error(errno))),
        }
    }

    /// Goes on with a group that another process has bound on this socket. The copies that wait in it come first. Its
    /// receive buffer grows if need be, and never shrinks.
    ///
    /// # Errors
    /// If the socket does not hold the group.
    pub fn adopt(socket: OwnedFd, options: &NflogOptions) -> Result<Self, NflogError> {
        let not_held = |why| NflogError::NotHeld { group: options.group, why };
        if !netlink::is_netfilter(&socket) {
            return Err(not_held("it is no netfilter socket"));
        }
        let port_id = netlink::port_id(&socket).map_err(NflogError::io("name the netlink socket"))?;
        let mut receive_buffer =
            netlink::receive_buffer(&socket).map_err(NflogError::io("read the receive buffer"))?;
        if receive_buffer < options.receive_buffer {
            receive_buffer = netlink::size_receive_buffer(&socket, options.receive_buffer)
                .map_err(NflogError::io("set the receive buffer"))?;
        }
        let mut reader = Self::new(socket, options.group, port_id, receive_buffer, SequenceCheck::unknown());
        let mut answer = reader.ask(message::change)?;
        if answer.is_none() {
            answer = reader.ask(message::change)?;
        }
        match answer {
            None | Some(0) => Ok(reader),
            Some(EPERM) => Err(not_held("another socket has it, or CAP_NET_ADMIN is missing")),
            Some(ENODEV) => Err(not_held("it is not bound in this network namespace")),
            Some(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                Err(NflogError::Refused { group: options.group, error })
            }
        }
    }

    fn new(
        socket: OwnedFd,
        group: u16,
        port_id: u32,
        receive_buffer: usize,
        sequence: SequenceCheck,
    ) -> Self {
        let slots = vec![0; MAX_BATCH * STRIDE].into_boxed_slice();
        let (early, counters) = (Vec::new(), CopyCounters::default());
        Self { socket, group, port_id, receive_buffer, sequence, early, slots, counters }
    }

    /// Sends a message, and returns the kernel's answer: an errno, or 0; `None` if it is lost. The kernel has answered when
    /// send(2) returns. Copies that lie before the answer are kept.
    fn ask(&mut self, write: fn(&mut Vec<u8>, u16, u32, u32)) -> Result<Option<i32>, NflogError> {
        let mut message = Vec::new();
        write(&mut message, self.group, SET_UP, COPY_RANGE);
        netlink::send(&self.socket, &message).map_err(NflogError::io("send to the kernel"))?;
        let mut early = std::mem::take(&mut self.early);
        let answer = self.read(|payload| early.push(payload.to_vec()));
        self.early = early;
        answer
    }

    /// Hands over each copy that is there, from its IP header on, in the order in which the packets were sent, until none
    /// is left; never waits.
    ///
    /// # Errors
    /// If the socket fails for good.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), NflogError> {
        for payload in std::mem::take(&mut self.early) {
            each(&payload);
        }
        self.read(each).map(drop)
    }

    /// Reads until the socket is empty. Returns the answer to a set-up message, if one came.
    fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<Option<i32>, NflogError> {
        let mut answer = None;
        let mut lengths = [0; MAX_BATCH];
        loop {
            let socket = self.socket.as_fd();
            let received =
                match sys::receive_batch(socket, &mut self.slots, STRIDE, &mut lengths, Wait::Never) {
                    Ok(received) => received,
                    Err(error) => match Errno::from_io_error(&error) {
                        Some(Errno::AGAIN) => return Ok(answer),
                        Some(Errno::INTR) => continue,
                        // The socket reports an overflow once, and goes on.
                        Some(Errno::NOBUFS) => {
                            self.counters.lost += self.sequence.overflowed();
                            continue;
                        }
                        _ => return Err(NflogError::io("receive copies")(error)),
                    },
                };
            for (slot, length) in self.slots.chunks_exact(STRIDE).zip(lengths).take(received) {
                for message in NflogMessages::new(slot.get(..length).unwrap_or(slot)) {
                    match message {
                        Ok(NflogMessage::Packet(packet)) if packet.group == self.group => {
                            self.counters.packets += 1;
                            if let Some(number) = packet.number {
                                self.counters.lost += self.sequence.arrived(number);
                            }
                            each(packet.payload);
                        }
                        Ok(NflogMessage::Answer { sequence: SET_UP, errno }) => answer = Some(errno),
                        Ok(NflogMessage::Packet(_) | NflogMessage::Answer { .. } | NflogMessage::Other) => {}
                        Err(_) => self.counters.unreadable += 1,
                    }
                }
            }
        }
    }

    /// The counts so far.
    pub const fn counters(&self) -> CopyCounters {
        self.counters
    }

    /// The group's number.
    pub const fn group(&self) -> u16 {
        self.group
    }

    /// The netlink port id that /proc/net/netfilter/nfnetlink_log lists for the group.
    pub const fn port_id(&self) -> u32 {
        self.port_id
    }

    /// The receive buffer that the socket has, in bytes, in the measure in which it was asked for.
    pub const fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// The socket that holds the group, to be handed over.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The means to wait for copies while others use the reader.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn waiter(&self) -> Result<Waiter, NflogError> {
        let socket = self.socket.try_clone().map_err(NflogError::io("copy a socket"))?;
        Ok(Waiter { socket })
    }
}

/// Waits for the copies of a [`NflogReader`].
#[derive(Debug)]
pub struct Waiter {
    socket: OwnedFd,
}

impl Waiter {
    /// Waits until a copy lies in the socket or the time is over. Whether there is one, or a loss to count.
    ///
    /// # Errors
    /// As poll(2).
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(timeout).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The receive buffer that a reader asks for, in bytes: 7,280 copies of 700 bytes, or some 3,900 of 2048, since the kernel
/// counts what it has allocated for them.
pub const RECEIVE_BUFFER: usize = 8 << 20;

/// As the rule has it (`--nflog-size`): the start line and all header fields of any ordinary request.
const COPY_RANGE: u32 = 2048;

/// Room for a copy with its netlink headers and attributes, and a cache line more, so that the beginnings of all slots
/// don't compete for the same lines of the cache.
const STRIDE: usize = 4096 + 64;

/// Marks the kernel's answer to a set-up message.
const SET_UP: u32 = 1;

/// The answers to a set-up message for a group of another socket, and of none (`nfulnl_recv_config`).
const EPERM: i32 = Errno::PERM.raw_os_error();
const ENODEV: i32 = Errno::NODEV.raw_os_error();
