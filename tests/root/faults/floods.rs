//! More than anybody needs.

use std::net::UdpSocket;
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto};

use crate::common::gate::{PORT, SECRET, SERVER4, World, register, wait_until};
use crate::faults::{Outcome, Site};

/// A hundred thousand sources without a knock: neither memory nor the log grows with them.
pub(crate) fn sources_flooding(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    let before = site.gate.resident_kib();
    let mut sent = 0;
    world.clients.run(|| {
        for round in 0..SOURCES / 1000 {
            for _ in 0..1000 {
                // Each from an address that nobody has had before.
                let socket = UdpSocket::bind((world.fresh_address(), 0)).unwrap();
                socket.send_to(b"let me in", (SERVER4, PORT)).unwrap();
                sent += 1;
            }
            if round % 10 == 0 {
                site.phone.send("open");
            }
            // The queue has room for 16,384.
            world.wait_for_row(0, |row| row[0] < 4096);
        }
    });
    let expected = vec!["open"; SOURCES as usize / 10_000];
    assert_eq!(world.delivered(), expected, "the phone is not disturbed, and no stranger gets in");
    let more = site.gate.resident_kib().saturating_sub(before);
    assert!(more < 8 * 1024, "{more} KiB more");
    assert!(site.stats()["doors"]["known"] == 1, "strangers leave nothing behind");
    site.holds("after the flood");
    let log = site.ends();
    let summaries = log.iter().filter(|line| line["event"] == "dropped");
    let counts: Vec<_> = summaries.map(|line| line["count"].as_u64().unwrap()).collect();
    assert_eq!(counts.iter().sum::<u64>(), sent + 1, "each is counted");
    assert!(log.iter().any(|line| line["src"] == "others"), "and not each has a line");
    Outcome::Held
}

const SOURCES: u32 = 100_000;

/// The newcomer is refused, by name and not in silence; nobody who is in is put out.
pub(crate) fn door_table_full(world: &World) -> Outcome {
    let mut site = Site::new(world, "max_doors = 50", "");
    let phones: Vec<_> = (1..50).map(|n| world.client(&format!("198.51.100.{}", 100 + n))).collect();
    phones.iter().for_each(|phone| phone.send(&register(SECRET)));
    assert_eq!(world.delivered().len(), 49);
    let late: Vec<_> = (1..40).map(|n| world.client(&format!("198.51.100.{}", 30 + n))).collect();
    for _ in 0..3 {
        late.iter().for_each(|phone| phone.send(&register(SECRET)));
    }
    assert_eq!(world.delivered(), [""; 0]);
    assert_eq!(site.gate.wait_for("refused", |_| true)["limit"], "inspect.max_doors");
    phones.iter().for_each(|phone| phone.send("open"));
    assert_eq!(world.delivered().len(), 49, "all who were in still are");
    // Who is in may renew.
    phones[0].send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    let (status, said) = site.sipknock(&["doors", "close", "198.51.100.101"]);
    assert_eq!(status, 0, "{said}");
    late[0].send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1, "one place, one newcomer");
    late[1].send(&register(SECRET));
    assert_eq!(world.delivered(), [""; 0]);
    // 99 sends as a stranger here, and it was the last of those who came in time.
    site.stranger.send("stranger");
    site.phone.send("open");
    assert_eq!(world.delivered(), ["open"]);
    site.ends();
    Outcome::Held
}

/// As large as UDP goes, in fragments that the kernel puts together before the gate sees them.
pub(crate) fn datagrams_of_64_kib(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    let before = site.gate.resident_kib();
    let large = "x".repeat(65_507);
    for round in 0..40 {
        for _ in 0..10 {
            site.stranger.send(&large);
        }
        // All of it is searched.
        if round % 8 == 0 {
            let phone = world.client(&format!("198.51.100.{}", 20 + round));
            // But for the last four bytes, since NFQUEUE copies 65,531 (nfqnl_set_mode).
            phone.send(&format!("{}{SECRET}xxxx", &large[SECRET.len() + 4..]));
            let delivered = world.delivered();
            assert!(delivered.len() == 1 && delivered[0].len() == large.len(), "round {round}");
        }
    }
    site.holds("after the flood");
    let more = site.gate.resident_kib().saturating_sub(before);
    assert!(more < 16 * 1024, "{more} KiB more");
    site.ends();
    Outcome::Held
}

/// Datagrams that say they are shorter or longer than they are. Each gets a verdict.
pub(crate) fn malformed_flood(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    let socket = raw(world, "198.51.100.9");
    let mut sent = 0u64;
    for round in 0..2000u16 {
        for length in [0, 1, 7, round % 8, 60_000 + round] {
            let header = [5061, PORT, length, 0].map(u16::to_be_bytes).concat();
            send(&socket, &[&header[..], SECRET.as_bytes()].concat());
            sent += 1;
        }
        if round % 200 == 0 {
            site.holds("during the flood");
        }
    }
    site.holds("after the flood");
    assert_eq!(world.queue_row(0).unwrap()[..3], [0, 0, 0], "none waits, and none was lost");
    let reasons = &site.stats()["reasons"];
    // A length of 0 is none in UDP over IPv4; what the kernel refuses before INPUT is not counted here.
    let malformed = reasons["malformed"].as_u64().unwrap_or(0);
    assert!(malformed > sent / 4, "{malformed} of {sent}: {reasons}");
    assert!(reasons.get("knock") == Some(&1.into()), "none of them opens a door: {reasons}");
    site.ends();
    Outcome::Held
}

/// First fragments that nothing follows, and later ones without a first: the kernel keeps them within its own bounds.
pub(crate) fn fragments_that_never_complete(world: &World) -> Outcome {
    // For so many seconds the kernel waits for the rest; with more halves than it has room for, others wait as long.
    world.server.run(|| std::fs::write("/proc/sys/net/ipv4/ipfrag_time", "2").unwrap());
    let site = Site::new(world, "", "");
    let before = site.gate.resident_kib();
    let socket = raw_ip(world);
    let server: std::net::Ipv4Addr = SERVER4.parse().unwrap();
    let source: std::net::Ipv4Addr = "198.51.100.9".parse().unwrap();
    for id in 0..20_000u16 {
        // With more fragments to come, or from byte 1480 on.
        let fragment: u16 = if id % 2 == 0 { 0x2000 } else { 185 };
        let payload =
            [&[5061, PORT, 2000, 0].map(u16::to_be_bytes).concat()[..], SECRET.as_bytes(), &[b'x'; 35]]
                .concat();
        let mut packet = vec![0x45, 0, 0, 0];
        packet.extend(id.to_be_bytes());
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, 17, 0, 0]);
        packet.extend(source.octets());
        packet.extend(server.octets());
        packet.extend(&payload);
        send(&socket, &packet);
        if id % 4000 == 0 {
            site.holds("during the flood");
        }
    }
    site.holds("after the flood");
    // Whole ones still come through, in fragments, from others.
    let phone = world.client("198.51.100.30");
    let large = format!("{}{SECRET}", "y".repeat(20_000));
    let came = wait_until(|| {
        phone.send(&large);
        (world.delivered().last() == Some(&large)).then_some(())
    });
    came.expect("a datagram in fragments arrives");
    assert!(site.gate.resident_kib().saturating_sub(before) < 4 * 1024);
    assert_eq!(site.stats()["doors"]["open"], 2, "half a datagram opens nothing");
    site.ends();
    Outcome::Held
}

fn raw(world: &World, source: &str) -> std::os::fd::OwnedFd {
    world.clients.run(|| {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::UDP)).unwrap();
        let address: std::net::SocketAddr = format!("{source}:0").parse().unwrap();
        rustix::net::bind(&socket, &address).unwrap();
        socket
    })
}

/// A socket to which IP headers are given (raw(7)).
fn raw_ip(world: &World) -> std::os::fd::OwnedFd {
    world
        .clients
        .run(|| rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).unwrap())
}

fn send(socket: &std::os::fd::OwnedFd, packet: &[u8]) {
    let server: std::net::SocketAddr = format!("{SERVER4}:0").parse().unwrap();
    loop {
        match rustix::net::sendto(socket, packet, SendFlags::empty(), &server) {
            Ok(_) => return,
            Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::AGAIN) => {
                std::thread::sleep(Duration::from_millis(1))
            }
            Err(error) => panic!("send: {error}"),
        }
    }
}
