//! TCP through the gate: clients with real sockets, a server that reads what reaches it, and what the clients' kernel
//! knows of their connections.

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::gate::{DEADLINE, PORT, SENTINEL, SERVER4, World, wait_until};

/// What listens behind the gate, and does nothing but read.
pub(crate) struct Server {
    listener: TcpListener,
    connections: Vec<Connection>,
}

struct Connection {
    peer: SocketAddr,
    /// Until its end.
    stream: Option<TcpStream>,
    bytes: Vec<u8>,
}

impl Server {
    pub(crate) fn listen(world: &World, port: u16) -> Self {
        let listener = world.server.run(|| {
            fs::write("/proc/sys/net/core/somaxconn", BACKLOG.to_string()).unwrap();
            fs::write("/proc/sys/net/ipv4/tcp_max_syn_backlog", BACKLOG.to_string()).unwrap();
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()
        });
        // Many clients come at once, and nobody may have to try again.
        rustix::net::listen(&listener, BACKLOG).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, connections: Vec::new() }
    }

    /// Takes in what is there by now.
    pub(crate) fn pump(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true).unwrap();
                    self.connections.push(Connection { peer, stream: Some(stream), bytes: Vec::new() });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("accept: {error}"),
            }
        }
        self.connections.iter_mut().for_each(Connection::read);
    }

    /// What the latest connection of a client has brought so far.
    pub(crate) fn received(&self, client: &TcpStream) -> &[u8] {
        self.received_from(client.local_addr().unwrap())
    }

    pub(crate) fn received_from(&self, peer: SocketAddr) -> &[u8] {
        let latest = self.connections.iter().rev().find(|connection| connection.peer == peer);
        latest.map(|connection| &connection.bytes[..]).unwrap_or_default()
    }

    /// Whether a client's latest connection has ended, for all that the server knows.
    pub(crate) fn has_ended(&self, peer: SocketAddr) -> bool {
        let latest = self.connections.iter().rev().find(|connection| connection.peer == peer);
        latest.unwrap().stream.is_none()
    }

    /// What all connections have brought, each for itself.
    pub(crate) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.connections.iter().map(|connection| &connection.bytes[..])
    }

    /// Waits until a client's bytes are these.
    pub(crate) fn wait_for(&mut self, client: &TcpStream, expected: &[u8]) {
        let came = wait_until(|| {
            self.pump();
            (self.received(client) == expected).then_some(())
        });
        came.unwrap_or_else(|| panic!("only {:?} has come", String::from_utf8_lossy(self.received(client))));
    }

    /// Takes in all that was sent before this call and has got through: one queue keeps the order, so that a trusted
    /// client's bytes come behind it.
    pub(crate) fn settle(&mut self, world: &World) {
        let sentinel = world.connect(SENTINEL.parse().unwrap());
        (&sentinel).write_all(b"sentinel").unwrap();
        self.wait_for(&sentinel, b"sentinel");
        self.pump();
    }
}

impl Connection {
    fn read(&mut self) {
        let mut buffer = [0; 16_384];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut buffer) {
                Ok(length) if length > 0 => self.bytes.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => self.stream = None,
            }
        }
    }
}

/// What the clients' kernel knows of a connection: `/proc/net/tcp`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// Bytes written and not acknowledged.
    pub(crate) unacknowledged: u64,
    /// How often in a row the oldest of them were sent again because a timer ran out.
    pub(crate) again: u64,
}

impl World {
    /// A client's connection, on a port of the kernel's choice.
    pub(crate) fn connect(&self, address: Ipv4Addr) -> TcpStream {
        self.connect_from(SocketAddrV4::new(address, 0))
    }

    pub(crate) fn connect_from(&self, from: SocketAddrV4) -> TcpStream {
        self.clients.run(|| connect(from, PORT))
    }

    /// That many connections, from an address of its own each, which nobody has had before.
    pub(crate) fn connect_crowd(&self, count: usize) -> Vec<TcpStream> {
        self.connect_crowd_to(count, PORT)
    }

    pub(crate) fn connect_crowd_to(&self, count: usize, port: u16) -> Vec<TcpStream> {
        let one = |_| connect(SocketAddrV4::new(self.fresh_address(), 0), port);
        self.clients.run(|| (0..count).map(one).collect())
    }

    /// Sends each client's pieces, one after the other: a piece is written when the one before has been acknowledged,
    /// and so is a segment of its own. The last one is not waited for.
    pub(crate) fn send_in_pieces(&self, clients: &[(&TcpStream, Vec<&[u8]>)]) {
        let rounds = clients.iter().map(|(_, pieces)| pieces.len()).max().unwrap_or(0);
        for round in 0..rounds {
            let go_on: Vec<_> = clients.iter().filter(|(_, pieces)| pieces.len() > round).collect();
            self.wait_for_sent(go_on.iter().map(|(client, _)| *client), |sent| sent.unacknowledged == 0);
            for (client, pieces) in go_on {
                (&**client).write_all(pieces[round]).unwrap();
            }
        }
    }

    /// Waits until that is so of each client's connection.
    pub(crate) fn wait_for_sent<'a>(
        &self,
        clients: impl Iterator<Item = &'a TcpStream>,
        is_so: impl Fn(Sent) -> bool,
    ) {
        let mut waiting: Vec<_> = clients.map(|client| client.local_addr().unwrap()).collect();
        let done = wait_until(|| {
            let table = self.sent();
            waiting.retain(|client| table.get(client).is_none_or(|sent| !is_so(*sent)));
            waiting.is_empty().then_some(())
        });
        let table = self.sent();
        let rest = || waiting.iter().map(|client| (client, table.get(client))).collect::<Vec<_>>();
        done.unwrap_or_else(|| panic!("of some clients it is not so: {:?}", rest()));
    }

    /// The clients' connections to the server.
    fn sent(&self) -> HashMap<SocketAddr, Sent> {
        let table = self.clients.run(|| fs::read_to_string("/proc/thread-self/net/tcp").unwrap());
        let rows = table.lines().skip(1).map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            let (waiting, _) = columns[4].split_once(':').unwrap();
            (address(columns[1]), Sent { unacknowledged: number(waiting), again: number(columns[6]) })
        });
        rows.collect()
    }
}

/// As the kernel prints it: the address as a number in memory, and the port.
fn address(text: &str) -> SocketAddr {
    let (address, port) = text.split_once(':').unwrap();
    let octets = u32::from_str_radix(address, 16).unwrap().to_ne_bytes();
    SocketAddr::new(octets.into(), u16::from_str_radix(port, 16).unwrap())
}

fn connect(from: SocketAddrV4, port: u16) -> TcpStream {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .unwrap();
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(DEADLINE)).unwrap();
    // It ends by RST, and leaves nothing that would be sent again for minutes.
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
    rustix::net::bind(&socket, &from).unwrap();
    let server = SocketAddrV4::new(SERVER4.parse().unwrap(), port);
    rustix::net::connect(&socket, &server).unwrap_or_else(|error| panic!("connect from {from}: {error}"));
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    stream
}

/// Connections that nobody has accepted yet.
const BACKLOG: i32 = 16_384;
