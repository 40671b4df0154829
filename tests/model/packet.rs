//! Packets, byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The inspected port.
const PORT: u16 = 5060;

/// A place in a datagram that IP has cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment {
    Whole,
    First,
    Later,
}

/// A UDP header and payload. `extra`: bytes that its length has more than are here.
pub(crate) fn udp(payload: &[u8], extra: usize) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len() + extra).expect("a datagram's length");
    [&5061u16.to_be_bytes()[..], &PORT.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

/// A segment with ACK and PSH.
pub(crate) fn tcp(sport: u16, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(sport.to_be_bytes());
    segment.extend(PORT.to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

/// An IP packet from or to the PBX.
pub(crate) fn ip(peer: IpAddr, to_peer: bool, protocol: u8, fragment: Fragment, inside: &[u8]) -> Vec<u8> {
    let length = inside.len();
    match peer {
        IpAddr::V4(peer) => {
            let pbx = Ipv4Addr::new(192, 0, 2, 1);
            let (from, to) = if to_peer { (pbx, peer) } else { (peer, pbx) };
            let total = u16::try_from(20 + length).expect("an IP packet's length");
            let offset: u16 = match fragment {
                Fragment::Whole => 0,
                Fragment::First => 0x2000,
                Fragment::Later => 100,
            };
            let mut packet = vec![0x45, 0];
            packet.extend(total.to_be_bytes());
            packet.extend([0x12, 0x34]);
            packet.extend(offset.to_be_bytes());
            packet.extend([64, protocol, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            packet.extend(inside);
            packet
        }
        IpAddr::V6(peer) => {
            let pbx = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
            let (from, to) = if to_peer { (pbx, peer) } else { (peer, pbx) };
            let (next, extension) = match fragment {
                Fragment::Whole => (protocol, Vec::new()),
                Fragment::First => (44, [&[protocol, 0, 0, 1][..], &[0, 0, 0, 9]].concat()),
                Fragment::Later => {
                    (44, [&[protocol, 0][..], &(100u16 << 3).to_be_bytes(), &[0, 0, 0, 9]].concat())
                }
            };
            let payload = u16::try_from(extension.len() + length).expect("an IP packet's length");
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend(payload.to_be_bytes());
            packet.extend([next, 64]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            packet.extend(extension);
            packet.extend(inside);
            packet
        }
    }
}

pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const PSH: u8 = 0x08;
