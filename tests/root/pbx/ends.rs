//! Sockets of an attacker, of those whose addresses it uses, and of a PBX of the test's own; over UDP and TCP.

use std::cell::RefCell;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::hosts::Host;
use super::software::Way;
use crate::common::gate::PORT;
use crate::common::program::patiently;

/// Something that sends one message.
pub(crate) enum Mouth<'a> {
    Udp(UdpSocket),
    /// A host that connects.
    Tcp(&'a Host, Way),
}

impl<'a> Mouth<'a> {
    /// Of a host, in its own name.
    pub(crate) fn own(host: &'a Host, way: Way) -> Self {
        match way.transport {
            "udp" => Self::Udp(host.udp(SocketAddr::new(host.address(way.family), 0))),
            _ => Self::Tcp(host, way),
        }
    }

    /// Of an attacker, with the address of somebody else. The port is its own: those of phone and trunk are theirs. Over
    /// TCP it is at that address, since it needs the answers.
    pub(crate) fn forged(attacker: &Host, source: &'a Host, way: Way) -> Self {
        match way.transport {
            "udp" => Self::Udp(attacker.forged_udp(SocketAddr::new(source.address(way.family), 5099))),
            _ => Self::Tcp(source, way),
        }
    }

    /// Sends it. A connection lasts until the value is dropped.
    pub(crate) fn say(&self, message: &str, to: SocketAddr) -> Option<TcpStream> {
        match self {
            Self::Udp(socket) => {
                socket.send_to(message.as_bytes(), to).unwrap();
                None
            }
            Self::Tcp(host, way) => {
                let mut stream = connect(host, SocketAddr::new(host.address(way.family), 0), to);
                stream.write_all(message.as_bytes()).unwrap();
                Some(stream)
            }
        }
    }
}

/// What listens on port 5060 of an address, and takes no part in what it hears.
pub(crate) struct Ear {
    at: SocketAddr,
    socket: Listening,
}

enum Listening {
    Udp(UdpSocket),
    /// With the connections that have brought nothing yet, or only what was not asked for.
    Tcp(TcpListener, RefCell<Vec<(TcpStream, String)>>),
}

impl Ear {
    pub(crate) fn open(host: &Host, way: Way) -> Self {
        Self::open_at(host, way, SocketAddr::new(host.address(way.family), PORT))
    }

    /// On one of a host's other addresses.
    pub(crate) fn open_at(host: &Host, way: Way, at: SocketAddr) -> Self {
        let socket = match way.transport {
            "udp" => Listening::Udp(host.udp(at)),
            _ => {
                let socket = tcp(host, at);
                socket.listen(128).unwrap();
                socket.set_nonblocking(true).unwrap();
                Listening::Tcp(socket.into(), RefCell::default())
            }
        };
        Self { at, socket }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.at
    }

    /// The next message.
    pub(crate) fn hears(&self) -> Option<String> {
        match &self.socket {
            Listening::Udp(socket) => {
                let mut buffer = [0; 4096];
                patiently(|| {
                    let (length, _) = socket.recv_from(&mut buffer).ok()?;
                    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
                })
            }
            Listening::Tcp(listener, streams) => patiently(|| {
                let mut streams = streams.borrow_mut();
                accept(listener, &mut streams);
                let whole = streams.iter().position(|(_, text)| text.contains("\r\n\r\n"))?;
                Some(streams.swap_remove(whole).1)
            }),
        }
    }

    /// Whether a message comes that begins so.
    pub(crate) fn hears_of(&self, beginning: &str) -> bool {
        patiently(|| self.hears().map(|message| message.starts_with(beginning)).filter(|is_so| *is_so))
            .is_some()
    }

    /// Sends from this very port. A connection ends at once, so that the next one can have the port.
    pub(crate) fn say(&self, host: &Host, message: &str, to: SocketAddr) {
        match &self.socket {
            Listening::Udp(socket) => _ = socket.send_to(message.as_bytes(), to).unwrap(),
            Listening::Tcp(..) => {
                let stream = connect(host, self.at, to);
                Socket::from(stream.try_clone().unwrap()).set_linger(Some(Duration::ZERO)).unwrap();
                (&stream).write_all(message.as_bytes()).unwrap();
            }
        }
    }
}

/// Takes in connections, and what they have brought by now.
fn accept(listener: &TcpListener, streams: &mut Vec<(TcpStream, String)>) {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true).unwrap();
        streams.push((stream, String::new()));
    }
    streams.retain_mut(|(stream, text)| {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(length) if length > 0 => text.push_str(&String::from_utf8_lossy(&buffer[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                // Its end. A message may have come before.
                Ok(_) | Err(_) => return !text.is_empty(),
            }
        }
    });
}

fn connect(host: &Host, from: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = tcp(host, from);
    socket.connect_timeout(&to.into(), CONNECT).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
    socket.into()
}

/// A TCP socket on an address. Several may have the same port.
fn tcp(host: &Host, at: SocketAddr) -> Socket {
    let socket = host.netns.run(|| Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap());
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&at.into()).unwrap();
    socket
}

/// Longer than a SYN takes that is sent again twice.
const CONNECT: Duration = Duration::from_secs(10);
