//! Copies of what a PBX sends, by a real NFLOG rule, in network namespaces with real packets.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::common::gate::{CLIENTS6, DEADLINE, SERVER4, SERVER6, World, wait_until};
use crate::trials::{self, NetnsTrial, trials};
use sipknock::nflog::{NflogError, NflogOptions, NflogReader};
use sipknock::own_addresses;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    let trial = |&(name, case): &(&'static str, Case)| {
        trials::in_netns(name, move || {
            let world = World::without_receiver("nflog");
            rules(&world);
            case(&world);
        })
    };
    CASES.iter().map(trial).collect()
}

type Case = fn(&World);

const CASES: &[(&str, Case)] = &trials![
    every_byte_in_order_of_both_families_and_tcp,
    a_long_packet_is_cut,
    what_is_sent_to_a_frozen_reader_is_read_later,
    a_full_buffer_loses_copies_and_says_how_many,
    a_taken_group_is_refused_with_the_holder,
    another_reader_goes_on_where_one_stopped,
    a_wait_ends_with_a_copy_or_its_time,
    the_addresses_that_never_get_a_door,
];

/// As the firewall has them, of both families.
fn rules(world: &World) {
    for program in ["iptables", "ip6tables"] {
        for protocol in ["udp", "tcp"] {
            let rule = ["-A", "OUTPUT", "-p", protocol, "--sport", "5060", "-j", "NFLOG"];
            let group = GROUP.to_string();
            let target = ["--nflog-group", &group, "--nflog-size", "2048", "--nflog-threshold", "1"];
            let status = world.server.command(program).args(rule).args(target).status().unwrap();
            assert!(status.success(), "{program} {rule:?}");
        }
    }
}

fn open(world: &World, receive_buffer: usize) -> Result<NflogReader, NflogError> {
    world.server.run(|| NflogReader::open(&NflogOptions { receive_buffer, ..NflogOptions::of(GROUP) }))
}

/// The same after a reader of this process is gone. The kernel lets go of the group a moment after the last descriptor is
/// closed, and a program that another trial starts has a copy between fork(2) and execve(2).
fn open_again(world: &World, receive_buffer: usize) -> NflogReader {
    wait_until(|| open(world, receive_buffer).ok()).expect("the group is free")
}

/// The PBX's socket.
fn server(world: &World, address: &str) -> UdpSocket {
    let address = SocketAddr::new(address.parse().unwrap(), 5060);
    world.server.run(|| UdpSocket::bind(address).unwrap())
}

fn client(world: &World, address: &str) -> UdpSocket {
    let address = SocketAddr::new(address.parse().unwrap(), 5060);
    let client = world.clients.run(|| UdpSocket::bind(address).unwrap());
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client
}

fn drain(reader: &mut NflogReader) -> Vec<Vec<u8>> {
    let mut copies = Vec::new();
    reader.drain(|copy| copies.push(copy.to_vec())).unwrap();
    copies
}

/// Source, destination, protocol and the bytes behind the IP header.
fn parse(copy: &[u8]) -> (IpAddr, IpAddr, u8, &[u8]) {
    let address = |octets: &[u8]| match octets.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(octets).unwrap()),
        _ => IpAddr::from(<[u8; 16]>::try_from(octets).unwrap()),
    };
    match copy[0] >> 4 {
        4 => {
            let header = usize::from(copy[0] & 15) * 4;
            (address(&copy[12..16]), address(&copy[16..20]), copy[9], &copy[header..])
        }
        _ => (address(&copy[8..24]), address(&copy[24..40]), copy[6], &copy[40..]),
    }
}

/// A request, padded to some length.
fn request(number: usize, length: usize) -> Vec<u8> {
    let mut text = format!("OPTIONS sip:{number}@phone SIP/2.0\r\nX: ").into_bytes();
    text.extend((text.len()..length).map(|at| b'a' + (at % 26) as u8));
    text
}

fn every_byte_in_order_of_both_families_and_tcp(world: &World) {
    let mut reader = open(world, 4 << 20).unwrap();
    let pairs = [(SERVER4, "198.51.100.7"), (SERVER6, CLIENTS6[0])]
        .map(|(from, to)| (server(world, from), client(world, to)));
    let mut expected = Vec::new();
    for number in 0..400 {
        let (from, to) = &pairs[number % 2];
        let text = request(number, 40 + number * 4);
        from.send_to(&text, to.local_addr().unwrap()).unwrap();
        expected.push((from.local_addr().unwrap().ip(), to.local_addr().unwrap().ip(), text));
    }
    // The copy lies in the socket before the packet leaves, and so before send(2) has returned.
    let copies = drain(&mut reader);
    let read: Vec<_> = copies
        .iter()
        .map(|copy| {
            let (from, to, protocol, rest) = parse(copy);
            assert_eq!((protocol, &rest[..2]), (17, &5060u16.to_be_bytes()[..]));
            (from, to, rest[8..].to_vec())
        })
        .collect();
    assert_eq!(read, expected);

    let listener = world.server.run(|| TcpListener::bind((SERVER4, 5060)).unwrap());
    let client = world.clients.run(|| TcpStream::connect((SERVER4, 5060)).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    server.set_nodelay(true).unwrap();
    let mut received = vec![0; 300];
    for number in 0..5 {
        server.write_all(&request(number, 300)).unwrap();
        (&client).read_exact(&mut received).unwrap();
        assert_eq!(received, request(number, 300));
    }
    let segments = drain(&mut reader);
    let payloads: Vec<_> = segments
        .iter()
        .map(|copy| {
            let (_, to, protocol, rest) = parse(copy);
            assert_eq!((protocol, to), (6, client.local_addr().unwrap().ip()));
            rest[usize::from(rest[12] >> 4) * 4..].to_vec()
        })
        .filter(|payload| !payload.is_empty())
        .collect();
    assert_eq!(payloads, (0..5).map(|number| request(number, 300)).collect::<Vec<_>>());
    let counters = reader.counters();
    assert_eq!((counters.lost, counters.unreadable), (0, 0));
    assert_eq!(counters.packets, (copies.len() + segments.len()) as u64);
}

fn a_long_packet_is_cut(world: &World) {
    let mut reader = open(world, 4 << 20).unwrap();
    let (server, client) = (server(world, SERVER4), client(world, "198.51.100.7"));
    let text = request(1, 60_000);
    server.send_to(&text, client.local_addr().unwrap()).unwrap();
    let copies = drain(&mut reader);
    assert_eq!(copies[0].len(), 2048);
    assert_eq!(copies[0][28..], text[..2020]);
    let mut received = vec![0; 65_536];
    assert_eq!(client.recv(&mut received).unwrap(), 60_000, "the packet itself is whole");
}

fn what_is_sent_to_a_frozen_reader_is_read_later(world: &World) {
    let mut reader = world.server.run(|| NflogReader::open(&NflogOptions::of(GROUP))).unwrap();
    let (server, client) = (server(world, SERVER4), client(world, "198.51.100.7"));
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&client, 64 << 20).unwrap();
    let to = client.local_addr().unwrap();
    let began = Instant::now();
    for number in 0..5_000 {
        assert_eq!(server.send_to(&request(number, 700), to).unwrap(), 700);
    }
    let span = began.elapsed();
    let mut buffer = [0; 2048];
    for number in 0..5_000 {
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], request(number, 700), "packets are not held");
    }
    let began = Instant::now();
    let copies = drain(&mut reader);
    eprintln!("5,000 datagrams of 700 bytes sent in {span:?}, their copies read in {:?}", began.elapsed());
    assert_eq!((copies.len(), reader.counters().lost), (5_000, 0));
    for (number, copy) in copies.iter().enumerate() {
        assert_eq!(copy[28..], request(number, 700), "{number}");
    }
}

fn a_full_buffer_loses_copies_and_says_how_many(world: &World) {
    let mut reader = open(world, 64 << 10).unwrap();
    let (server, client) = (server(world, SERVER4), client(world, "198.51.100.7"));
    let to = client.local_addr().unwrap();
    for number in 0..1_000 {
        server.send_to(&request(number, 700), to).unwrap();
    }
    let copies = drain(&mut reader);
    let kept = copies.len();
    assert!((10..900).contains(&kept), "{kept}");
    for (number, copy) in copies.iter().enumerate() {
        assert_eq!(copy[28..], request(number, 700), "the first ones are kept");
    }
    assert_eq!(reader.counters().lost, 1, "nothing has come behind the gap");
    server.send_to(&request(1_000, 700), to).unwrap();
    assert_eq!(drain(&mut reader).len(), 1);
    assert_eq!(reader.counters().lost, 1_000 - kept as u64, "the next copy tells how long it is");
    server.send_to(&request(1_001, 700), to).unwrap();
    assert_eq!(drain(&mut reader).len(), 1);
    assert_eq!(reader.counters().lost, 1_000 - kept as u64);
}

fn a_taken_group_is_refused_with_the_holder(world: &World) {
    let reader = open(world, 4 << 20).unwrap();
    let error = open(world, 4 << 20).unwrap_err();
    let NflogError::Taken { group, port_id, owner } = &error else { panic!("{error}") };
    assert_eq!((*group, *port_id), (GROUP, reader.port_id()));
    assert!(owner.starts_with(&format!("process {}, ", std::process::id())), "{owner}");
    assert!(error.to_string().contains("stop that program"), "{error}");
    drop(reader);
    open_again(world, 4 << 20);
}

fn another_reader_goes_on_where_one_stopped(world: &World) {
    let mut first = open(world, 4 << 20).unwrap();
    let (server, client) = (server(world, SERVER4), client(world, "198.51.100.7"));
    let to = client.local_addr().unwrap();
    let send = |number| assert_eq!(server.send_to(&request(number, 100), to).unwrap(), 100);
    let numbers = |copies: &[Vec<u8>]| -> Vec<usize> {
        let found = |copy: &Vec<u8>| (0..100).find(|number| copy[28..] == request(*number, 100));
        copies.iter().map(|copy| found(copy).unwrap()).collect()
    };
    (0..3).for_each(send);
    assert_eq!(numbers(&drain(&mut first)), [0, 1, 2]);
    (3..6).for_each(send);
    let socket = first.socket().try_clone_to_owned().unwrap();
    drop(first);
    (6..9).for_each(send);
    let adopt = |socket| world.server.run(|| NflogReader::adopt(socket, &NflogOptions::of(GROUP)));
    let mut second = adopt(socket).unwrap();
    (9..12).for_each(send);
    assert_eq!(numbers(&drain(&mut second)), (3..12).collect::<Vec<_>>());
    assert_eq!((second.counters().packets, second.counters().lost), (9, 0));

    // A socket that does not hold the group is none to go on with.
    let other = world.server.run(|| NflogReader::open(&NflogOptions::of(GROUP + 1))).unwrap();
    let socket = other.socket().try_clone_to_owned().unwrap();
    let error = adopt(socket).unwrap_err().to_string();
    assert!(error.contains("another socket has it"), "{error}");
    let error = adopt(server.try_clone().unwrap().into()).unwrap_err().to_string();
    assert!(error.contains("it is no netfilter socket"), "{error}");
    drop(second);
    // The kernel lets go of the group a moment after the last descriptor is closed.
    let unbound = wait_until(|| {
        let socket = other.socket().try_clone_to_owned().unwrap();
        let error = adopt(socket).unwrap_err().to_string();
        error.contains("it is not bound").then_some(())
    });
    assert!(unbound.is_some(), "the group is bound still");
}

fn a_wait_ends_with_a_copy_or_its_time(world: &World) {
    let mut reader = open(world, 4 << 20).unwrap();
    let waiter = reader.waiter().unwrap();
    let began = Instant::now();
    assert!(!waiter.wait(Duration::from_millis(30)).unwrap());
    assert!(began.elapsed() >= Duration::from_millis(30));
    let server = server(world, SERVER4);
    let to = SocketAddr::new(Ipv4Addr::new(198, 51, 100, 7).into(), 5060);
    let waiting = std::thread::spawn(move || (waiter.wait(DEADLINE).unwrap(), Instant::now(), waiter));
    let sent = Instant::now();
    server.send_to(b"x", to).unwrap();
    let (ready, woken, waiter) = waiting.join().unwrap();
    assert!(ready && woken - sent < DEADLINE);
    assert_eq!(drain(&mut reader).len(), 1);
    assert!(!waiter.wait(Duration::ZERO).unwrap());
    // An overflow is something to look at, too.
    drop((reader, waiter));
    let mut reader = open_again(world, 4096);
    let waiter = reader.waiter().unwrap();
    for _ in 0..100 {
        server.send_to(&request(1, 1000), to).unwrap();
    }
    assert!(waiter.wait(Duration::ZERO).unwrap());
    drain(&mut reader);
    assert!(reader.counters().lost > 0);
}

fn the_addresses_that_never_get_a_door(world: &World) {
    let ip = |words: &str| {
        let status = world.server.command("ip").args(words.split(' ')).status().unwrap();
        assert!(status.success(), "ip {words}");
    };
    let own = |address: &str| {
        let set = world.server.run(|| own_addresses::read(&[])).unwrap();
        set.contains(address.parse().unwrap())
    };
    let later =
        ["172.31.0.1", "172.31.255.255", "192.0.2.77", "2001:db8:9::1", "2001:db8:0:1::77", "fd00::7"];
    for address in later {
        assert!(!own(address), "{address}");
    }
    ip("link add br-test type bridge");
    ip("addr add 172.31.0.1/16 brd + dev br-test");
    ip("addr add 2001:db8:9::1/64 dev br-test nodad");
    ip("link set br-test up");
    ip("route add 203.0.113.0/24 via 192.0.2.77");
    ip("-6 route add 2001:db8:f::/48 via 2001:db8:0:1::77");
    ip("-6 route add fd00::/8 via fd00::7 dev up0 onlink table 100");
    for address in
        later.into_iter().chain([SERVER4, SERVER6, "192.0.2.2", "192.0.2.255", "127.0.0.1", "ff02::1"])
    {
        assert!(own(address), "{address}");
    }
    // Neighbours and whom a route leads to are others.
    for address in
        ["192.0.2.3", "172.31.0.2", "203.0.113.5", "2001:db8:0:1::3", "2001:db8:9::2", "2001:db8:f::1"]
    {
        assert!(!own(address), "{address}");
    }
}

const GROUP: u16 = 5060;
