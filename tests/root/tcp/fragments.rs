//! IPv6 in fragments, with and without a kernel that puts them together before the gate sees them.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};

use super::register;
use crate::common::commands::stats;
use crate::common::gate::{CLIENTS6, DEADLINE, Gate, PORT, SECRET, SENTINEL6, SERVER6, World, wait_until};

/// If nothing puts fragments together, a stranger's segment does not pass in them; and neither does a datagram whose
/// first fragment has no knock. Packets for other ports never meet the gate.
pub(crate) fn nobody_puts_fragments_together(world: &World) {
    let site = Site::new(world);
    site.without_reassembly();
    let (first, second) = (CLIENTS6[0], CLIENTS6[1]);
    let mut stranger = site.connect(first, 5061);
    let plain = register("Alice");
    for header in [8, 24, 64] {
        stranger.send_in_fragments(plain.as_bytes(), header);
    }
    assert_eq!(site.received(&stranger), b"");
    let reasons = site.reasons();
    assert_eq!((&reasons["fragment"], &reasons["malformed"]), (&2.into(), &1.into()), "{reasons}");
    // One in a datagram, with and without a knock in the first fragment.
    let udp = world.server.run(|| UdpSocket::bind(("::", PORT)).unwrap());
    udp.set_nonblocking(true).unwrap();
    let datagram = |name: &str| format!("{}{}", register(name), "x".repeat(3000));
    let send = |text: &str| {
        let socket = world.clients.run(|| UdpSocket::bind((second, 0)).unwrap());
        socket.send_to(text.as_bytes(), (SERVER6, PORT)).unwrap();
    };
    send(&datagram("Alice"));
    send(&datagram(SECRET));
    let mut buffer = vec![0; 65_536];
    let (length, from) = wait_until(|| udp.recv_from(&mut buffer).ok()).expect("the knock arrives");
    assert_eq!((&buffer[..length], from.ip()), (datagram(SECRET).as_bytes(), second.parse().unwrap()));
    // Through an open door fragments of a segment pass, as all does.
    let mut phone = site.connect(second, 5062);
    phone.send_in_fragments(plain.as_bytes(), 24);
    assert!(site.received(&phone) == plain.as_bytes());
    site.others_pass();
}

/// The rule that holds conntrack on does that: the gate gets segments whole.
pub(crate) fn the_kernel_puts_fragments_together(world: &World) {
    let site = Site::new(world);
    let [mut stranger, mut phone] = [5061, 5062].map(|port| site.connect(CLIENTS6[0], port));
    let plain = register("Alice");
    stranger.send_in_fragments(plain.as_bytes(), 24);
    assert_eq!(site.received(&stranger), b"");
    let reasons = site.reasons();
    assert_eq!((&reasons["no-knock"], reasons.get("fragment")), (&1.into(), None), "{reasons}");
    let knocking = register(SECRET);
    phone.send_in_fragments(knocking.as_bytes(), 24);
    assert!(site.received(&phone) == knocking.as_bytes());
    site.others_pass();
}

/// A first fragment without the ports matches no rule. Linux itself puts nothing together of it (RFC 7112, 5;
/// ipv6frag_thdr_truncated in net/ipv6/reassembly.c), and a rule that asks for a protocol drops it (ip6_packet_match).
pub(crate) fn a_header_chain_that_is_cut_before_the_ports(world: &World) {
    // A port that nobody guards, so that it is the kernel alone.
    let udp = world.server.run(|| UdpSocket::bind(("::", 9999)).unwrap());
    udp.set_nonblocking(true).unwrap();
    let raw = RawIp::new(world, CLIENTS6[0]);
    let datagram = |text: &str| {
        let length = u16::try_from(8 + text.len()).unwrap();
        let mut udp = [5061u16, 9999, length, 0].map(u16::to_be_bytes).concat();
        udp.extend(text.as_bytes());
        let sum = checksum(raw.source, 17, &udp);
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        // Destination options in front: eight bytes (RFC 8200, 4.6).
        [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp].concat()
    };
    let only_the_other_arrives = |id, name: &str| {
        raw.send_fragments(id, 60, &datagram("cut before the ports"), 8);
        raw.send_fragments(id + 1, 60, &datagram("cut behind them"), 16);
        let mut buffer = [0; 2048];
        let (length, _) = wait_until(|| udp.recv_from(&mut buffer).ok()).expect("one of them arrives");
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), "cut behind them", "{name}");
        assert!(udp.recv_from(&mut buffer).is_err(), "{name}");
    };
    let errors = || {
        let text = world.server.run(|| fs::read_to_string("/proc/thread-self/net/snmp6").unwrap());
        let line = text.lines().find_map(|line| line.strip_prefix("Ip6InHdrErrors")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    let before = errors();
    only_the_other_arrives(1, "no rules");
    assert_eq!(errors(), before + 1, "the kernel counts it as an error in a header");
    let site = Site::new(world);
    only_the_other_arrives(3, "rules, and reassembly held on");
    site.without_reassembly();
    only_the_other_arrives(5, "rules alone");
    // The same for the guarded port reaches neither a queue nor the server.
    let mut stranger = site.connect(CLIENTS6[0], 5061);
    let before = site.reasons();
    stranger.send_behind_options(register("Alice").as_bytes(), 8);
    assert_eq!(site.received(&stranger), b"");
    let after = site.reasons();
    for reason in ["fragment", "malformed", "no-knock", "partial"] {
        assert_eq!(before.get(reason), after.get(reason), "{reason}");
    }
}

/// A gate in front of a listener.
struct Site<'a> {
    world: &'a World,
    listener: TcpListener,
    _gate: Gate,
    config: String,
}

impl<'a> Site<'a> {
    fn new(world: &'a World) -> Self {
        let listener = world.server.run(|| TcpListener::bind(("::", PORT)).unwrap());
        // A rule that is taken out stays out.
        let inspect = "transports = [\"udp\", \"tcp\"]\nipv6_prefix = 128\n[firewall]\nkeep = false";
        world.apply_rules(&world.config(inspect, ""));
        let config = world.config(&format!("trusted = [\"{SENTINEL6}\"]\n{inspect}"), "");
        let gate = Gate::start(world, &["--config", &config]);
        // The clients' kernel knows nothing of connections that are made here.
        let rule = ["-I", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST,ACK", "RST", "-j", "DROP"];
        assert!(world.clients.command("ip6tables").args(rule).status().unwrap().success());
        Self { world, listener, _gate: gate, config }
    }

    /// As on a kernel that has no conntrack.
    fn without_reassembly(&self) {
        let rule = ["-D", "SIPKNOCK", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"];
        assert!(self.world.server.command("ip6tables").args(rule).status().unwrap().success());
    }

    /// How many packets were decided for which reason.
    fn reasons(&self) -> serde_json::Value {
        stats(self.world, &self.config)["reasons"].clone()
    }

    /// The handshake of a connection.
    fn connect(&self, source: &str, port: u16) -> Flow6 {
        let raw = RawIp::new(self.world, source);
        let ear = self.world.clients.run(|| {
            let socket = rustix::net::socket_with(
                AddressFamily::INET6,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                Some(ipproto::TCP),
            )
            .unwrap();
            sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(DEADLINE)).unwrap();
            rustix::net::bind(&socket, &SocketAddrV6::new(raw.source, 0, 0, 0)).unwrap();
            socket
        });
        let mut flow = Flow6 { raw, port, expected: 0, id: u32::from(port) << 8, server: None };
        flow.raw.send(6, &flow.segment(START - 1, SYN, b""));
        let mut buffer = [0; 2048];
        flow.expected = loop {
            let (length, _) = rustix::net::recv(&ear, &mut buffer[..], RecvFlags::empty()).unwrap();
            let segment = &buffer[..length];
            if segment[..4] == [PORT, port].map(u16::to_be_bytes).concat() && segment[13] & SYN > 0 {
                break u32::from_be_bytes(segment[4..8].try_into().unwrap()).wrapping_add(1);
            }
        };
        flow.raw.send(6, &flow.segment(START, 0, b""));
        let (server, peer) = self.listener.accept().unwrap();
        assert_eq!(peer, SocketAddr::new(source.parse().unwrap(), port));
        server.set_nonblocking(true).unwrap();
        flow.server = Some(server);
        flow
    }

    /// The bytes that a connection has brought, of all that was sent before this call.
    fn received(&self, flow: &Flow6) -> Vec<u8> {
        use std::io::Read as _;
        // One queue keeps the order, and so does the kernel.
        let sentinel = self.world.clients.run(|| {
            let socket = rustix::net::socket_with(
                AddressFamily::INET6,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
                None,
            )
            .unwrap();
            rustix::net::bind(&socket, &SocketAddrV6::new(SENTINEL6.parse().unwrap(), 0, 0, 0)).unwrap();
            rustix::net::connect(&socket, &SocketAddrV6::new(SERVER6.parse().unwrap(), PORT, 0, 0)).unwrap();
            socket
        });
        _ = self.listener.accept().unwrap();
        drop(sentinel);
        let mut bytes = Vec::new();
        let mut server = flow.server.as_ref().unwrap();
        let _ = server.read_to_end(&mut bytes);
        bytes
    }

    /// A DNS answer of 4 KB and an echo, in fragments: no rule of ours looks at them.
    fn others_pass(&self) {
        for (server, client) in [(SERVER6, CLIENTS6[0]), ("192.0.2.1", "198.51.100.9")] {
            let resolver = self.world.server.run(|| UdpSocket::bind((server, 0)).unwrap());
            resolver.set_read_timeout(Some(DEADLINE)).unwrap();
            let dns = self.world.clients.run(|| UdpSocket::bind((client, 53)).unwrap());
            let answer = [b'd'; 4096];
            dns.send_to(&answer, resolver.local_addr().unwrap()).unwrap();
            let mut buffer = [0; 8192];
            let (length, _) = resolver.recv_from(&mut buffer).expect("a DNS answer in fragments arrives");
            assert!(buffer[..length] == answer, "{server}");
            assert!(self.is_answered(client, server), "an echo in fragments is answered: {server}");
        }
    }
}

impl Site<'_> {
    /// Whether an echo request of 4 KB is (RFC 792, RFC 4443).
    fn is_answered(&self, client: &str, server: &str) -> bool {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let v6 = address(server).is_ipv6();
        let (family, protocol) = match v6 {
            true => (AddressFamily::INET6, ipproto::ICMPV6),
            false => (AddressFamily::INET, ipproto::ICMP),
        };
        let socket = self.world.clients.run(|| {
            let socket = rustix::net::socket(family, SocketType::RAW, Some(protocol)).unwrap();
            sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(DEADLINE)).unwrap();
            rustix::net::bind(&socket, &address(client)).unwrap();
            socket
        });
        let (request, reply) = if v6 { (128, 129) } else { (8, 0) };
        let mut echo = [&[request, 0, 0, 0, 0x12, 0x34, 0, 1][..], &[b'e'; 4000]].concat();
        // Of ICMPv6 the kernel does that.
        let sum = sum(&[&echo]);
        echo[2..4].copy_from_slice(&(!sum).to_be_bytes());
        rustix::net::sendto(&socket, &echo, SendFlags::empty(), &address(server)).unwrap();
        let mut buffer = [0; 8192];
        while let Ok((length, _)) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()) {
            let header = if v6 { 0 } else { usize::from(buffer[0] & 15) * 4 };
            let answer = &buffer[header..length];
            if answer[0] == reply && answer[4..] == echo[4..] {
                return true;
            }
        }
        false
    }
}

/// A TCP connection whose segments are written here.
struct Flow6 {
    raw: RawIp,
    port: u16,
    /// Of the server's first byte.
    expected: u32,
    /// Of the next packet in fragments.
    id: u32,
    server: Option<std::net::TcpStream>,
}

impl Flow6 {
    fn segment(&self, number: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let flags = if flags & SYN > 0 { flags } else { flags | ACK };
        let mut segment = [self.port, PORT].map(u16::to_be_bytes).concat();
        segment.extend([number, self.expected].map(u32::to_be_bytes).concat());
        segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(payload);
        let sum = checksum(self.raw.source, 6, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        segment
    }

    /// Sends the stream's beginning in two fragments, the first of which has so much of the segment.
    fn send_in_fragments(&mut self, payload: &[u8], first: usize) {
        self.id += 1;
        self.raw.send_fragments(self.id, 6, &self.segment(START, 0, payload), first);
    }

    /// The same behind destination options.
    fn send_behind_options(&mut self, payload: &[u8], first: usize) {
        self.id += 1;
        let segment = self.segment(START, 0, payload);
        self.raw.send_fragments(self.id, 60, &[&[6, 0, 1, 4, 0, 0, 0, 0][..], &segment].concat(), first);
    }
}

/// A socket to which IPv6 headers are given (raw(7)).
struct RawIp {
    socket: OwnedFd,
    source: Ipv6Addr,
}

impl RawIp {
    fn new(world: &World, source: &str) -> Self {
        let socket = world
            .clients
            .run(|| rustix::net::socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::RAW)).unwrap());
        Self { socket, source: source.parse().unwrap() }
    }

    fn send(&self, next: u8, data: &[u8]) {
        let server: Ipv6Addr = SERVER6.parse().unwrap();
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        let header = [&[0x60, 0, 0, 0][..], &length, &[next, 64]].concat();
        let packet = [&header[..], &self.source.octets(), &server.octets(), data].concat();
        rustix::net::sendto(&self.socket, &packet, SendFlags::empty(), &SocketAddrV6::new(server, 0, 0, 0))
            .unwrap();
    }

    fn send_fragments(&self, id: u32, next: u8, data: &[u8], first: usize) {
        let fragment = |offset: usize, more: bool, data: &[u8]| {
            let place = u16::try_from(offset).unwrap() | u16::from(more);
            [&[next, 0][..], &place.to_be_bytes(), &id.to_be_bytes(), data].concat()
        };
        self.send(44, &fragment(0, true, &data[..first]));
        self.send(44, &fragment(first, false, &data[first..]));
    }
}

/// RFC 8200, 8.1.
fn checksum(source: Ipv6Addr, next: u8, data: &[u8]) -> u16 {
    let server: Ipv6Addr = SERVER6.parse().unwrap();
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    let before = [&source.octets()[..], &server.octets(), &length, &[0, 0, 0, next]].concat();
    !sum(&[&before, data])
}

/// RFC 1071. All but the last part are of even length.
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| low.into())).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}

/// The number of the first byte.
const START: u32 = 1_000_000;

const SYN: u8 = 2;
const ACK: u8 = 16;
