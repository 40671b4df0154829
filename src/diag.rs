//! Questions to the kernel about sockets of this network namespace: sock_diag(7), include/uapi/linux/inet_diag.h and
//! netlink_diag.h. Anybody may ask them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::net::Connection;
use crate::netlink::{Attributes, Frame, Frames, NLM_F_REQUEST, NLMSG_ERROR, u32_ne};

/// The receive buffer of the netfilter socket with this port id, in the measure in which it was asked for. `None` if the
/// kernel does not tell (CONFIG_NETLINK_DIAG).
pub(crate) fn receive_buffer(port_id: u32) -> Option<usize> {
    let mut found = None;
    let ended = dump(&netlink_request(), |frame| {
        if let Some(size) = buffer_of(frame.body, port_id) {
            found = Some(size);
        }
        found.is_none()
    });
    ended.ok().and(found)
}

/// Has `each` see the established TCP connections to local ports of a range, of both families. At most [`MAX_SOCKETS`] are
/// looked at.
///
/// # Errors
/// `ENOENT` if the kernel has no inet_diag and tcp_diag (CONFIG_INET_DIAG), `InvalidData` if its answer can't be read, and
/// others as socket(2), send(2) and recv(2).
pub(crate) fn established(ports: &RangeInclusive<u16>, mut each: impl FnMut(Connection)) -> io::Result<()> {
    let mut left = MAX_SOCKETS;
    for family in [AF_INET, AF_INET6] {
        dump(&tcp_request(family, ports), |frame| {
            connection(frame.body).into_iter().for_each(&mut each);
            left = left.saturating_sub(1);
            left > 0
        })?;
    }
    Ok(())
}

/// Sends a request, and has `each` see the answers until it has seen enough. A socket of its own each time: what is left of
/// an answer goes with it.
fn dump(request: &[u8], mut each: impl FnMut(&Frame<'_>) -> bool) -> io::Result<()> {
    let socket = open()?;
    rustix::net::send(&socket, request, SendFlags::empty())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (length, _) = rustix::net::recv(&socket, &mut *buffer, RecvFlags::empty())?;
        if read(buffer.get(..length).unwrap_or_default(), &mut each)? {
            return Ok(());
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

/// Looks through a datagram of an answer. Whether the answer ends with it, or is not wanted any further.
fn read(datagram: &[u8], each: &mut impl FnMut(&Frame<'_>) -> bool) -> io::Result<bool> {
    for frame in Frames::new(datagram) {
        let frame = frame.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        match frame.kind {
            SOCK_DIAG_BY_FAMILY if each(&frame) => {}
            SOCK_DIAG_BY_FAMILY | NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let errno =
                    frame.errno().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                return Err(io::Error::from_raw_os_error(errno));
            }
            _ => {}
        }
    }
    Ok(false)
}

/// `struct nlmsghdr`, whose length is set here, and what follows it.
fn message(body: &[&[u8]]) -> Vec<u8> {
    let length = NLMSG_HDRLEN + body.iter().map(|part| part.len()).sum::<usize>();
    let mut message = u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes().to_vec();
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message.extend([0; 8]);
    body.iter().for_each(|part| message.extend(*part));
    message
}

/// `struct netlink_diag_req`.
fn netlink_request() -> Vec<u8> {
    message(&[&[AF_NETLINK, NETLINK_NETFILTER, 0, 0], &[0; 4], &NDIAG_SHOW_MEMINFO.to_ne_bytes(), &[0; 8]])
}

/// `struct inet_diag_req_v2` for established connections, and the program that the kernel holds each of them against.
fn tcp_request(family: u8, ports: &RangeInclusive<u16>) -> Vec<u8> {
    const STATES: u32 = 1 << TCP_ESTABLISHED;
    const SOCKET_ID: usize = 48;
    // Each comparison takes two operations, of which the second holds the number. One that is not so jumps behind the end,
    // which is a no; one that is so goes on to the next, and from the last to the end, which is a yes.
    let comparison = |code: u8, no: u16, number: u16| {
        let [high, low] = no.to_ne_bytes();
        let [first, second] = number.to_ne_bytes();
        [code, 8, high, low, INET_DIAG_BC_NOP, 0, first, second]
    };
    let program =
        [comparison(INET_DIAG_BC_S_GE, 20, *ports.start()), comparison(INET_DIAG_BC_S_LE, 12, *ports.end())];
    let attribute = [4 + 16, INET_DIAG_REQ_BYTECODE].map(u16::to_ne_bytes).concat();
    message(&[
        &[family, IPPROTO_TCP, 0, 0],
        &STATES.to_ne_bytes(),
        &[0; SOCKET_ID],
        &attribute,
        &program.concat(),
    ])
}

/// The connection of a `struct inet_diag_msg`: family, state, timer and retransmits, then `struct inet_diag_sockid`, in
/// network order.
fn connection(body: &[u8]) -> Option<Connection> {
    let &[family, state, _, _] = body.first_chunk()?;
    if state != TCP_ESTABLISHED {
        return None;
    }
    let port = |at: usize| body.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
    let address = |at: usize| -> Option<IpAddr> {
        match family {
            AF_INET => Some(Ipv4Addr::from(*body.get(at..)?.first_chunk::<4>()?).into()),
            AF_INET6 => Some(Ipv6Addr::from(*body.get(at..)?.first_chunk::<16>()?).into()),
            _ => None,
        }
    };
    Some(Connection::new((address(24)?, port(6)?), (address(8)?, port(4)?)))
}

/// SK_MEMINFO_RCVBUF of the attribute NETLINK_DIAG_MEMINFO, if the `struct netlink_diag_msg` is of this port id: family,
/// type, protocol and state, then the port id. The kernel doubles what was asked for (socket(7)).
fn buffer_of(body: &[u8], port_id: u32) -> Option<usize> {
    const HEAD: usize = 28;
    let attributes = body.get(HEAD..)?;
    if u32_ne(body, 4) != port_id {
        return None;
    }
    let attributes = Attributes::new(attributes);
    let memory = attributes.flatten().find(|(kind, value)| *kind == NETLINK_DIAG_MEMINFO && value.len() >= 8);
    memory.map(|(_, numbers)| u32_ne(numbers, 4) as usize / 2)
}

const NLMSG_HDRLEN: usize = 16;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP: u16 = 0x300;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_NETLINK: u8 = 16;
const NETLINK_NETFILTER: u8 = 12;
const NDIAG_SHOW_MEMINFO: u32 = 0x1;
const NETLINK_DIAG_MEMINFO: u16 = 0;
const IPPROTO_TCP: u8 = 6;
/// include/net/tcp_states.h.
const TCP_ESTABLISHED: u8 = 1;
const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_BC_NOP: u8 = 0;
const INET_DIAG_BC_S_GE: u8 = 2;
const INET_DIAG_BC_S_LE: u8 = 3;

/// The kernel answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connections that are looked at for one question: more than a PBX has, and a fraction of a second.
const MAX_SOCKETS: usize = 262_144;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn answer(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message
    }

    fn netlink_socket(port_id: u32, attributes: &[u8]) -> Vec<u8> {
        let mut body = vec![AF_NETLINK, 3, NETLINK_NETFILTER, 0];
        body.extend(port_id.to_ne_bytes());
        body.extend([0; 20]);
        body.extend(attributes);
        answer(SOCK_DIAG_BY_FAMILY, &body)
    }

    #[test]
    fn buffers() {
        let mut attribute = 16u16.to_ne_bytes().to_vec();
        attribute.extend(NETLINK_DIAG_MEMINFO.to_ne_bytes());
        [7u32, 425_984, 9].iter().for_each(|number| attribute.extend(number.to_ne_bytes()));
        let ours = netlink_socket(42, &attribute);
        let other = netlink_socket(43, &attribute);
        let done = answer(NLMSG_DONE, &[0; 4]);
        let error = answer(NLMSG_ERROR, &(-2_i32).to_ne_bytes());
        for (name, answer, found, ended) in [
            ("ours", ours.clone(), Some(212_992), Some(true)),
            ("behind another", [other.clone(), ours.clone()].concat(), Some(212_992), Some(true)),
            ("another", other.clone(), None, Some(false)),
            ("the end", [other.clone(), done].concat(), None, Some(true)),
            ("refused", error, None, None),
            ("cut off", ours[..40].to_vec(), None, None),
            ("nothing", vec![], None, Some(false)),
            ("no attribute", netlink_socket(42, &[]), None, Some(false)),
        ] {
            let mut size = None;
            let outcome = read(&answer, &mut |frame| {
                size = size.or(buffer_of(frame.body, 42));
                size.is_none()
            });
            assert_eq!((size, outcome.ok()), (found, ended), "{name}");
        }
    }

    #[test]
    fn connections() {
        let body = |family: u8, state: u8, local: &[u8], peer: &[u8]| {
            let mut body = vec![family, state, 0, 0];
            body.extend([5060u16, 40_001].map(u16::to_be_bytes).concat());
            for address in [local, peer] {
                let mut field = [0; 16];
                field[..address.len()].copy_from_slice(address);
                body.extend(field);
            }
            body
        };
        let mapped = "::ffff:203.0.113.7".parse::<Ipv6Addr>().unwrap().octets();
        let v4 = Some("203.0.113.7:40001 192.0.2.1:5060".to_owned());
        for (name, body, expected) in [
            ("IPv4", body(AF_INET, 1, &[192, 0, 2, 1], &[203, 0, 113, 7]), v4.clone()),
            (
                "IPv4 at a socket of IPv6",
                body(AF_INET6, 1, &"::ffff:192.0.2.1".parse::<Ipv6Addr>().unwrap().octets(), &mapped),
                v4,
            ),
            (
                "IPv6",
                body(AF_INET6, 1, &Ipv6Addr::LOCALHOST.octets(), &Ipv6Addr::LOCALHOST.octets()),
                Some("[::1]:40001 [::1]:5060".to_owned()),
            ),
            ("half open", body(AF_INET, 3, &[192, 0, 2, 1], &[203, 0, 113, 7]), None),
            ("another family", body(1, 1, &[], &[]), None),
            ("cut off", body(AF_INET6, 1, &[], &[])[..39].to_vec(), None),
            ("nothing", vec![], None),
        ] {
            let found = connection(&body).map(|found| format!("{} {}", found.peer, found.local));
            assert_eq!(found, expected, "{name}");
        }
    }

    /// This machine's own kernel, asked for a connection over loopback.
    #[test]
    fn the_kernel_tells_connections_to_ports_of_a_range() {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            // There may be no IPv6 here.
            let Ok(listener) = TcpListener::bind(listen) else { continue };
            let server = listener.local_addr().unwrap();
            let stream = TcpStream::connect(server).unwrap();
            let client = stream.local_addr().unwrap();
            let wanted = Connection::new((client.ip(), client.port()), (server.ip(), server.port()));
            let port = server.port();
            for (ports, expected) in [
                (port..=port, true),
                (port.saturating_sub(9)..=port.saturating_add(9), true),
                (0..=u16::MAX, true),
                (port + 1..=u16::MAX, false),
                (0..=port - 1, false),
            ] {
                let mut found = false;
                match established(&ports, |connection| found |= connection == wanted) {
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                        eprintln!("skipped: this kernel has no tcp_diag");
                        return;
                    }
                    outcome => outcome.unwrap(),
                }
                assert_eq!(found, expected, "{ports:?} of {stream:?}");
            }
        }
    }
}
