//! A TCP sender that writes its headers itself, and so can do what no kernel does. The receiver is a real one.

use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};

use super::gate::{DEADLINE, PORT, SERVER4, World};

/// A connection that is open, as the server sees it.
pub(crate) struct RawFlow {
    socket: OwnedFd,
    from: SocketAddrV4,
    server: SocketAddrV4,
    /// Of the server's first byte.
    expected: u32,
}

/// Something about a segment that is not as usual.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Odd {
    /// Beside ACK.
    pub(crate) flags: u8,
    /// Up to which byte of the segment the data is urgent.
    pub(crate) urgent: u16,
    /// So that the receiver throws it away.
    pub(crate) bad_checksum: bool,
}

impl RawFlow {
    /// Does the handshake. The clients' kernel knows nothing of it and must not answer: see [`World::no_resets`].
    pub(crate) fn open(world: &World, from: SocketAddrV4) -> Self {
        Self::open_with(world, from, b"")
    }

    /// The same with TCP options in its SYN, whose length is a multiple of four.
    pub(crate) fn open_with(world: &World, from: SocketAddrV4, options: &[u8]) -> Self {
        let mut flow = Self::forged(world, from);
        flow.transmit_with(START.wrapping_sub(1), SYN, Odd::default(), options, b"");
        flow.expected = flow.answer().wrapping_add(1);
        flow.send(0, b"");
        flow
    }

    /// One that there is not: its sender sees no answers, and makes up what it acknowledges.
    pub(crate) fn forged(world: &World, from: SocketAddrV4) -> Self {
        let socket = world.clients.run(|| {
            let socket = rustix::net::socket_with(
                AddressFamily::INET,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                Some(ipproto::TCP),
            );
            let socket = socket.unwrap();
            sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(DEADLINE)).unwrap();
            rustix::net::bind(&socket, &SocketAddrV4::new(*from.ip(), 0)).unwrap();
            socket
        });
        Self { socket, from, server: SocketAddrV4::new(SERVER4.parse().unwrap(), PORT), expected: 0 }
    }

    /// The client's end.
    pub(crate) fn from(&self) -> SocketAddr {
        self.from.into()
    }

    /// A segment at this place of the stream.
    pub(crate) fn send(&self, at: usize, payload: &[u8]) {
        self.send_odd(at, Odd::default(), payload);
    }

    pub(crate) fn send_odd(&self, at: usize, odd: Odd, payload: &[u8]) {
        self.transmit(START.wrapping_add(u32::try_from(at).unwrap()), odd.flags | ACK, odd, payload);
    }

    /// A SYN such that the stream would begin here.
    pub(crate) fn send_syn(&self, at: usize) {
        self.transmit(
            START.wrapping_add(u32::try_from(at).unwrap()).wrapping_sub(1),
            SYN,
            Odd::default(),
            b"",
        );
    }

    /// The same with the first bytes of the stream in it (RFC 7413 has a use for that).
    pub(crate) fn send_syn_with(&self, at: usize, payload: &[u8]) {
        let number = START.wrapping_add(u32::try_from(at).unwrap()).wrapping_sub(1);
        self.transmit(number, SYN, Odd::default(), payload);
    }

    fn transmit(&self, number: u32, flags: u8, odd: Odd, payload: &[u8]) {
        self.transmit_with(number, flags, odd, b"", payload);
    }

    fn transmit_with(&self, number: u32, flags: u8, odd: Odd, options: &[u8], payload: &[u8]) {
        let flags = flags | if odd.urgent > 0 { URG } else { 0 };
        let acknowledged = if flags & ACK > 0 { self.expected } else { 0 };
        let mut segment = [self.from.port(), self.server.port()].map(u16::to_be_bytes).concat();
        segment.extend([number, acknowledged].map(u32::to_be_bytes).concat());
        let words = u8::try_from(5 + options.len() / 4).unwrap();
        segment.extend([words << 4, flags, 0xff, 0xff, 0, 0]);
        segment.extend(odd.urgent.to_be_bytes());
        segment.extend(options);
        segment.extend(payload);
        let sum = checksum(self.from, self.server, &segment) ^ if odd.bad_checksum { 0x5555 } else { 0 };
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        rustix::net::sendto(
            &self.socket,
            &segment,
            SendFlags::empty(),
            &SocketAddrV4::new(*self.server.ip(), 0),
        )
        .unwrap();
    }

    /// Waits for the server's SYN, and returns its number.
    fn answer(&self) -> u32 {
        let mut buffer = [0; 2048];
        loop {
            // A raw socket gets all of the address's TCP, with its IP header (raw(7)).
            let (length, _) = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty())
                .unwrap_or_else(|error| panic!("no answer to {}: {error}", self.from));
            let segment = &buffer[usize::from(buffer[0] & 15) * 4..length];
            let ports = [self.server.port(), self.from.port()].map(u16::to_be_bytes).concat();
            if segment[..4] == ports && segment[13] & SYN > 0 {
                return u32::from_be_bytes(segment[4..8].try_into().unwrap());
            }
        }
    }
}

impl World {
    /// Keeps the clients' kernel from ending connections that it does not know. To what acknowledges something it
    /// answers with an RST that does not (RFC 9293, 3.5.2); those made here do.
    pub(crate) fn no_resets(&self) {
        let rule = ["-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST,ACK", "RST", "-j", "DROP"];
        assert!(self.clients.command("iptables").args(rule).status().unwrap().success());
    }
}

/// RFC 9293, 3.1: over the segment and a header made of addresses, protocol and length.
fn checksum(from: SocketAddrV4, to: SocketAddrV4, segment: &[u8]) -> u16 {
    let length = u16::try_from(segment.len()).unwrap().to_be_bytes();
    let before = [&from.ip().octets()[..], &to.ip().octets(), &[0, 6], &length].concat();
    let words = before.chunks(2).chain(segment.chunks(2));
    let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| low.into())).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}

/// The number of the first byte. The end of the number space is not far.
const START: u32 = u32::MAX - 40;

pub(crate) const FIN: u8 = 1;
const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
const ACK: u8 = 16;
const URG: u8 = 32;
