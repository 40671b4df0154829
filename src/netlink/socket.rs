//! Sockets of the netfilter netlink family.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

/// A new socket and the port id that the kernel gave it.
pub(crate) fn open() -> io::Result<(OwnedFd, u32)> {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    let port_id = port_id(&socket)?;
    Ok((socket, port_id))
}

/// Whether a descriptor is a netfilter socket.
pub(crate) fn is_netfilter(socket: impl AsFd) -> bool {
    sockopt::socket_domain(&socket) == Ok(AddressFamily::NETLINK)
        && sockopt::socket_protocol(&socket) == Ok(Some(netlink::NETFILTER))
}

/// The port id of a socket.
pub(crate) fn port_id(socket: impl AsFd) -> io::Result<u32> {
    Ok(SocketAddrNetlink::try_from(rustix::net::getsockname(socket)?)?.pid())
}

/// Sends messages to the kernel, which carries them out before this returns. A netlink socket takes a datagram whole or
/// not at all.
pub(crate) fn send(socket: impl AsFd, messages: &[u8]) -> io::Result<()> {
    loop {
        match rustix::net::send(&socket, messages, SendFlags::empty()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR | Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Asks for a receive buffer, past the system's limit where the process may, and returns what the socket has.
pub(crate) fn size_receive_buffer(socket: impl AsFd, wanted: usize) -> io::Result<usize> {
    let socket = socket.as_fd();
    sockopt::set_socket_recv_buffer_size_force(socket, wanted)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(socket, wanted))?;
    receive_buffer(socket)
}

/// The receive buffer of a socket, in the measure in which it was asked for.
pub(crate) fn receive_buffer(socket: impl AsFd) -> io::Result<usize> {
    // socket(7): the kernel doubles the value on setting, for its own bookkeeping, and returns the double.
    Ok(sockopt::socket_recv_buffer_size(socket)? / 2)
}
