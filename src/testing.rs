//! Packets for tests, written byte by byte so that they can also be wrong. Unit tests have it as a module; tests of the
//! program and fuzz targets include the file, since nothing here belongs to the crate.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The destination port of everything made here.
pub(crate) const PORT: u16 = 5060;

/// A UDP datagram from port 5061.
pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap();
    [&5061u16.to_be_bytes()[..], &PORT.to_be_bytes(), &length.to_be_bytes(), &[0, 0], payload].concat()
}

/// A TCP segment with ACK and PSH set, from port 5061.
pub(crate) fn tcp(payload: &[u8]) -> Vec<u8> {
    let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0];
    [&5061u16.to_be_bytes()[..], &PORT.to_be_bytes(), &rest, payload].concat()
}

/// The same, somewhere in its stream, with some of the flags SYN (2), FIN (1) and RST (4) beside ACK.
pub(crate) fn tcp_at(sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = tcp(payload);
    segment[4..8].copy_from_slice(&sequence.to_be_bytes());
    segment[13] = 0x10 | flags;
    segment
}

/// The same with options, whose length is a multiple of four.
pub(crate) fn tcp_with(sequence: u32, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut segment = tcp_at(sequence, flags, &[options, payload].concat());
    segment[12] = u8::try_from(5 + options.len() / 4).unwrap() << 4;
    segment
}

/// An IPv4 packet to 192.0.2.1; TCP where the transport header says so by its length byte, else UDP.
pub(crate) fn ipv4(source: &str, transport: &[u8]) -> Vec<u8> {
    let protocol = if transport.get(12) == Some(&0x50) && transport.len() >= 20 { 6 } else { 17 };
    ipv4_with(source, protocol, 0, &[], transport)
}

/// A fragment of a UDP datagram: offset in units of 8 bytes, and whether more follow.
pub(crate) fn ipv4_fragment(source: &str, offset: u16, more: bool, data: &[u8]) -> Vec<u8> {
    ipv4_with(source, 17, offset | if more { 0x2000 } else { 0 }, &[], data)
}

/// A fragment of a TCP segment.
pub(crate) fn ipv4_tcp_fragment(source: &str, offset: u16, more: bool, data: &[u8]) -> Vec<u8> {
    ipv4_with(source, 6, offset | if more { 0x2000 } else { 0 }, &[], data)
}

/// An IPv4 packet with everything said. `options` is padded to a multiple of four by the caller.
pub(crate) fn ipv4_with(source: &str, protocol: u8, fragment: u16, options: &[u8], data: &[u8]) -> Vec<u8> {
    let source: Ipv4Addr = source.parse().unwrap();
    let header_len = 20 + options.len();
    let total = u16::try_from(header_len + data.len()).unwrap();
    let mut packet = vec![0x40 | u8::try_from(header_len / 4).unwrap(), 0];
    packet.extend(total.to_be_bytes());
    packet.extend(0x1234u16.to_be_bytes());
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend([192, 0, 2, 1]);
    packet.extend(options);
    packet.extend(data);
    packet
}

/// An IPv6 packet with UDP in it, to 2001:db8::1.
pub(crate) fn ipv6(source: &str, udp: &[u8]) -> Vec<u8> {
    ipv6_with(source, 17, udp)
}

/// An IPv6 packet with a next header of any kind.
pub(crate) fn ipv6_with(source: &str, next: u8, data: &[u8]) -> Vec<u8> {
    let (source, to): (Ipv6Addr, Ipv6Addr) = (source.parse().unwrap(), "2001:db8::1".parse().unwrap());
    let length = u16::try_from(data.len()).unwrap();
    [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[next, 64], &source.octets(), &to.octets(), data].concat()
}
