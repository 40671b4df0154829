//! Packets made by hand, and packets spoilt.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::files::Frame;
use super::gates::Random;

/// A UDP datagram, from its header on.
pub(crate) fn udp(sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let len = 8 + payload.len() as u16;
    [&sport.to_be_bytes(), &dport.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload].concat()
}

/// `flags` are the fragment flags and offset.
pub(crate) fn ipv4(src: Ipv4Addr, id: u16, flags: u16, protocol: u8, inside: &[u8]) -> Vec<u8> {
    let len = 20 + inside.len() as u16;
    let (len, id, flags) = (len.to_be_bytes(), id.to_be_bytes(), flags.to_be_bytes());
    let dst = [192, 0, 2, 1];
    [&[0x45, 0], &len[..], &id, &flags, &[64, protocol], &[0, 0], &src.octets(), &dst, inside].concat()
}

pub(crate) fn ipv6(src: Ipv6Addr, next: u8, inside: &[u8]) -> Vec<u8> {
    let len = (inside.len() as u16).to_be_bytes();
    let dst: Ipv6Addr = "2001:db8::1".parse().unwrap();
    [&[0x60, 0, 0, 0], &len[..], &[next, 64], &src.octets(), &dst.octets(), inside].concat()
}

/// An IPv6 fragment header. `flags` are the offset and the bit for more.
pub(crate) fn fragment_header(next: u8, id: u32, flags: u16) -> Vec<u8> {
    [&[next, 0], &flags.to_be_bytes()[..], &id.to_be_bytes()].concat()
}

/// The same packets with most of them spoilt: bytes changed, ends cut off, headers put between, datagrams in
/// fragments; and from time to time nothing happens for a while.
pub(crate) fn spoil(frames: &[Frame], random: &mut Random) -> Vec<Frame> {
    let mut spoilt: Vec<Frame> = Vec::new();
    for frame in frames {
        let mut frame = frame.clone();
        // Twice over, every other time.
        for _ in 0..=random.below(2) {
            let len = frame.ip.len();
            let header = if frame.ip.first().is_some_and(|byte| byte >> 4 == 6) { 40 } else { 20 };
            match random.below(14) {
                0 | 1 => {
                    for _ in 0..=random.below(3) {
                        let at = random.below(len.min(header + 8));
                        if let Some(byte) = frame.ip.get_mut(at) {
                            *byte = random.below(256) as u8;
                        }
                    }
                }
                2 => {
                    let at = random.below(len.min(header + 8));
                    if let Some(byte) = frame.ip.get_mut(at) {
                        *byte ^= 1 << random.below(8);
                    }
                }
                3 => {
                    let kept = random.below(len + 1);
                    frame.ip.truncate(kept);
                    frame.cut_off += (len - kept) as u32;
                }
                4 => frame.ip.truncate(random.below(len + 1)),
                5 => frame.ip.truncate(random.below(len.min(header + 12))),
                6 => {
                    // The UDP length.
                    if let Some(bytes) = frame.ip.get_mut(header + 4..header + 6) {
                        let len = len.saturating_sub(header) + random.below(9);
                        let odd = [0, 7, 8, 9, random.below(2000), 0xffff, len.saturating_sub(4), len];
                        bytes.copy_from_slice(&(odd[random.below(8)] as u16).to_be_bytes());
                    }
                }
                7 => frame.ip.extend(vec![b'x'; random.below(40)]),
                8 => spoilt.extend(ipv6_instead(&mut frame, header, random)),
                9 => spoilt.extend(in_fragments(&mut frame, header, random)),
                _ => {}
            }
        }
        spoilt.push(frame);
    }
    let mut shift = 0;
    for index in 0..spoilt.len() {
        let mut nanos = spoilt[index].nanos + shift;
        let earlier = spoilt[index.saturating_sub(1 + random.below(3))].nanos;
        match random.below(20) {
            0 => nanos += NANOS_PER_MS * [1, 999, 2000, 8_000_000][random.below(4)],
            // To the nanosecond when a door opened by then runs out, or is forgotten.
            1 | 2 => nanos = nanos.max(earlier + NANOS_PER_MS * [1000, 2000][random.below(2)]),
            _ => {}
        }
        shift = nanos - spoilt[index].nanos;
        spoilt[index].nanos = nanos;
        spoilt[index].number = index as u64 + 1;
    }
    spoilt
}

/// The same packets, timed by a clock that runs eight times as fast and is set back every now and then.
pub(crate) fn set_back(frames: &[Frame], random: &mut Random) -> Vec<Frame> {
    let begin = frames.first().map_or(0, |frame| frame.nanos);
    let mut back = 0;
    let mut changed = frames.to_vec();
    for (index, frame) in changed.iter_mut().enumerate() {
        if random.below(30) == 0 {
            back += NANOS_PER_MS * [1, 500, 1000, 1500, 2500, 9_000_000][random.below(6)];
        }
        frame.nanos = begin + DAY_NANOS + frame.nanos.saturating_sub(begin) * 8 - back;
        frame.number = index as u64 + 1;
    }
    changed
}

/// The same datagram over IPv6, as IPv4 in disguise or behind extension headers. Gives what comes before it.
fn ipv6_instead(frame: &mut Frame, header: usize, random: &mut Random) -> Option<Frame> {
    if header != 20 || frame.ip.len() < 28 || frame.ip[9] != UDP {
        return None;
    }
    let src = Ipv4Addr::new(frame.ip[12], frame.ip[13], frame.ip[14], frame.ip[15]);
    let native = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(src.to_bits()));
    let udp = frame.ip[20..].to_vec();
    frame.ip = match random.below(6) {
        0 => ipv6(src.to_ipv6_mapped(), UDP, &udp),
        1 => ipv6(native, 0, &[&[60, 0, 1, 4, 0, 0, 0, 0], &[UDP, 1][..], &[0; 14], &udp].concat()),
        2 => ipv6(native, 44, &[fragment_header(UDP, 7, 0), udp].concat()),
        3 => ipv6(native, 43, &[&[UDP, 0, 0, 0, 0, 0, 0, 0][..], &udp].concat()),
        4 => ipv6(native, 60, &[&[UDP, random.below(4) as u8][..], &[0; 6], &udp].concat()),
        _ => {
            let middle = udp.len() / 16 * 8;
            let (one, two) = udp.split_at(middle);
            let first = [fragment_header(UDP, 9, 1), one.to_vec()].concat();
            let later = [fragment_header(UDP, 9, middle as u16), two.to_vec()].concat();
            let before = Frame { ip: ipv6(native, 44, &first), ..frame.clone() };
            frame.ip = ipv6(native, 44, &later);
            return Some(before);
        }
    };
    None
}

/// An IPv4 datagram in two parts, sometimes the wrong way round. Gives the one that goes first.
fn in_fragments(frame: &mut Frame, header: usize, random: &mut Random) -> Option<Frame> {
    if header != 20 || frame.ip.len() < 52 || frame.ip[0] != 0x45 || frame.cut_off > 0 {
        return None;
    }
    let middle = (8 + random.below(frame.ip.len() - 36)) / 8 * 8;
    let part = |range: std::ops::Range<usize>, flags: u16| {
        let mut ip = [&frame.ip[..20], &frame.ip[20..][range]].concat();
        let len = ip.len() as u16;
        ip[2..4].copy_from_slice(&len.to_be_bytes());
        ip[6..8].copy_from_slice(&flags.to_be_bytes());
        ip
    };
    let first = part(0..middle, 0x2000);
    let later = part(middle..frame.ip.len() - 20, middle as u16 / 8);
    let (before, after) = if random.below(4) == 0 { (later, first) } else { (first, later) };
    let before = Frame { ip: before, ..frame.clone() };
    frame.ip = after;
    Some(before)
}

const UDP: u8 = 17;

const NANOS_PER_MS: u64 = 1_000_000;

/// So that no clock is set back to before 1970.
const DAY_NANOS: u64 = 86_400_000_000_000;
