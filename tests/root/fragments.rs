//! `replay::defrag` beside a real kernel: the same fragments, and the same datagrams arrive.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use crate::common::gate::{CLIENTS6, DEADLINE, SERVER4, SERVER6, World};
use crate::trials::{self, NetnsTrial, trials};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto};
use rustix::thread::{CpuSet, sched_setaffinity};
use sipknock::inspect::Scope;
use sipknock::packet::{Body, Packet};
use sipknock::replay::defrag::{Defrag, Defragged};
use sipknock::time::Time;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    CASES.iter().map(|&(name, case)| trials::in_netns(name, case)).collect()
}

const CASES: &[(&str, fn())] =
    &trials![of_ipv4_as_the_kernel_in_front_of_input, of_ipv6_as_conntrack_in_front_of_input];

fn of_ipv4_as_the_kernel_in_front_of_input() {
    compare(false);
}

fn of_ipv6_as_conntrack_in_front_of_input() {
    compare(true);
}

/// A fragment of the datagram of a trial: from where to where, and whether others follow.
#[derive(Clone, Copy, Debug)]
struct Part {
    from: usize,
    to: usize,
    more: bool,
}

fn compare(is_ipv6: bool) {
    // One processor: packets of two may overtake each other.
    let mut processors = CpuSet::new();
    processors.set(0);
    sched_setaffinity(None, &processors).unwrap();
    let world = World::without_receiver("fragments");
    let (from, to) = if is_ipv6 { (CLIENTS6[0], SERVER6) } else { ("198.51.100.7", SERVER4) };
    let wire = Wire::new(&world, from.parse().unwrap(), to.parse().unwrap());
    if is_ipv6 {
        // As the gate's own rule does, it has the kernel put fragments together in front of INPUT.
        let rule = ["-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW"];
        assert!(world.server.command("ip6tables").args(rule).status().unwrap().success());
    }
    let mut random = Random(if is_ipv6 { 6 } else { 4 });
    let mut defrag = Defrag::new(Scope { ports: vec![PORT..=PORT], transports: Vec::new() });
    let mut whole = 0;
    for id in 1..=TRIALS {
        let parts = random.parts();
        let mut expected = Vec::new();
        for &part in &parts {
            let packet = wire.fragment(id, part);
            match defrag.packet(Time::from_parts(1_700_000_000, 0), &packet) {
                Defragged::Withheld => {}
                Defragged::Alone => expected.extend(payload(&packet)),
                Defragged::Whole(packet) => expected.extend(payload(&packet)),
            }
            wire.send(&packet);
        }
        let end = format!("end of trial {id}").into_bytes();
        wire.send(&wire.datagram(&end));
        let arrived = wire.arrived(&end);
        assert!(
            arrived == expected,
            "trial {id}: {parts:?}: {} arrived, not {}",
            arrived.len(),
            expected.len()
        );
        whole += expected.len();
    }
    // Neither all nor none of them.
    assert!((TRIALS as usize / 5..TRIALS as usize).contains(&whole), "{whole}");
}

/// The payload that a socket gets of a packet. The kernel drops what is shorter than UDP says.
fn payload(packet: &[u8]) -> Option<Vec<u8>> {
    match Packet::parse(packet).unwrap().body {
        Body::Segment(segment) if segment.fragment.is_none() => Some(segment.payload.to_vec()),
        _ => None,
    }
}

/// A raw socket, and one that listens.
struct Wire {
    from: IpAddr,
    to: IpAddr,
    raw: OwnedFd,
    receiver: UdpSocket,
}

impl Wire {
    fn new(world: &World, from: IpAddr, to: IpAddr) -> Self {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let raw =
            world.clients.run(|| rustix::net::socket(family, SocketType::RAW, Some(ipproto::RAW)).unwrap());
        let receiver = world.server.run(|| UdpSocket::bind(SocketAddr::new(to, PORT)).unwrap());
        receiver.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { from, to, raw, receiver }
    }

    fn send(&self, packet: &[u8]) {
        let to = SocketAddr::new(self.to, 0);
        rustix::net::sendto(&self.raw, packet, SendFlags::empty(), &to).unwrap();
    }

    /// The datagrams that came before the `end`.
    fn arrived(&self, end: &[u8]) -> Vec<Vec<u8>> {
        let mut arrived = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let length = self.receiver.recv(&mut buffer).expect("the end of the trial");
            if buffer[..length] == *end {
                return arrived;
            }
            arrived.push(buffer[..length].to_vec());
        }
    }

    fn datagram(&self, payload: &[u8]) -> Vec<u8> {
        let udp = self.udp(payload);
        self.packet(17, 0, 0, &udp)
    }

    /// A part of the same datagram in each trial. Bytes behind its end are there as well.
    fn fragment(&self, id: u16, part: Part) -> Vec<u8> {
        let mut bytes = self.udp(&[b'k'; LENGTH - 8]);
        bytes.resize(2 * LENGTH, b'k');
        let place = u16::try_from(part.from).unwrap();
        let data = &bytes[part.from..part.to];
        if self.to.is_ipv4() {
            return self.packet(17, id, (place / 8) | if part.more { 0x2000 } else { 0 }, data);
        }
        let place = (place | u16::from(part.more)).to_be_bytes();
        let header = [&[17, 0][..], &place, &[0, 0], &id.to_be_bytes()].concat();
        self.packet(44, 0, 0, &[&header, data].concat())
    }

    fn packet(&self, protocol: u8, id: u16, flags: u16, data: &[u8]) -> Vec<u8> {
        let length = |header: usize| u16::try_from(header + data.len()).unwrap().to_be_bytes();
        let start = match self.to {
            IpAddr::V4(_) => {
                [&[0x45, 0][..], &length(20), &id.to_be_bytes(), &flags.to_be_bytes(), &[64, protocol, 0, 0]]
                    .concat()
            }
            IpAddr::V6(_) => [&[0x60, 0, 0, 0][..], &length(0), &[protocol, 64]].concat(),
        };
        [start, self.addresses(), data.to_vec()].concat()
    }

    fn addresses(&self) -> Vec<u8> {
        let octets = [self.from, self.to].map(|address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
        octets.concat()
    }

    /// A datagram with a checksum, which IPv6 wants.
    fn udp(&self, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + payload.len()).unwrap();
        let mut udp = [[5061, PORT, length, 0].map(u16::to_be_bytes).concat(), payload.to_vec()].concat();
        if self.to.is_ipv6() {
            let before = [&self.addresses()[..], &[0, 17], &length.to_be_bytes()].concat();
            let words = before.chunks(2).chain(udp.chunks(2));
            let word = |word: &[u8]| u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| u32::from(low));
            let mut sum: u32 = words.map(word).sum();
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            udp[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        }
        udp
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    /// A datagram's fragments out of order, with some twice, some missing, and others between that fit nowhere.
    fn parts(&mut self) -> Vec<Part> {
        let mut places = vec![0, LENGTH];
        (0..self.below(5)).for_each(|_| places.push((1 + self.below(LENGTH / 8 - 1)) * 8));
        places.sort_unstable();
        places.dedup();
        let part = |ends: &[usize]| Part { from: ends[0], to: ends[1], more: ends[1] < LENGTH };
        let mut parts: Vec<_> = places.windows(2).map(part).collect();
        if parts.len() == 1 {
            parts = vec![part(&[0, 8]), part(&[8, LENGTH])];
        }
        match self.below(8) {
            0 => parts.push(parts[self.below(parts.len())]),
            1 => _ = parts.remove(self.below(parts.len())),
            2 | 3 => {
                let from = self.below(LENGTH / 8) * 8;
                let to = from + (1 + self.below(4)) * 8;
                parts.push(Part { from, to, more: self.below(5) > 0 });
            }
            // A length that is not a multiple of eight, or 0.
            4 => {
                let from = (1 + self.below(LENGTH / 8 - 1)) * 8;
                let to = from + self.below(12);
                parts.push(Part { from, to, more: self.below(3) > 0 });
            }
            _ => {}
        }
        for index in (1..parts.len()).rev() {
            parts.swap(index, self.below(index + 1));
        }
        if self.below(2) == 0 {
            parts.sort_by_key(|part| part.from);
        }
        parts
    }
}

const PORT: u16 = 5060;

/// Of the datagram, with its UDP header.
const LENGTH: usize = 100;

const TRIALS: u16 = 400;
