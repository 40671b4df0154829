use proptest::prelude::*;

use super::*;
use crate::testing::{ipv4, ipv4_fragment, ipv4_with, ipv6, ipv6_with, tcp, udp};

fn payload(packet: &[u8]) -> Result<Vec<u8>, Malformed> {
    match Packet::parse(packet)?.body {
        Body::Segment(segment) => Ok(segment.payload.to_vec()),
        Body::LaterFragment(_) => panic!("a later fragment"),
        Body::Malformed(error, _) => Err(error),
    }
}

/// An extension header of `words` times eight bytes, naming what follows.
fn extension(next: u8, words: u8) -> Vec<u8> {
    let mut header = vec![0; usize::from(words) * 8];
    header[0] = next;
    header[1] = words - 1;
    header
}

fn fragment_header(next: u8, offset: u16, more: bool) -> Vec<u8> {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    vec![next, 0, high, low, 0, 0, 0x12, 0x34]
}

#[test]
fn payloads() {
    let padded = [ipv4("192.0.2.7", &udp(b"hello")), vec![0; 13]].concat();
    let chain =
        [extension(60, 1), extension(43, 2), extension(51, 1), vec![17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]];
    let chain = [chain.concat(), udp(b"hello")].concat();
    let mut roomy = udp(b"hello");
    roomy.extend(b"behind the datagram");
    for (name, packet, expected) in [
        ("UDP over IPv4", ipv4("192.0.2.7", &udp(b"hello")), &b"hello"[..]),
        ("TCP over IPv4", ipv4("192.0.2.7", &tcp(b"hello")), b"hello"),
        ("an empty datagram", ipv4("192.0.2.7", &udp(b"")), b""),
        ("IPv4 options", ipv4_with("192.0.2.7", 17, 0, &[7, 7, 4, 0, 0, 0, 0, 0], &udp(b"hello")), b"hello"),
        ("link padding", padded, b"hello"),
        ("UDP shorter than the IP packet", ipv4("192.0.2.7", &roomy), b"hello"),
        ("UDP over IPv6", ipv6("2001:db8::7", &udp(b"hello")), b"hello"),
        ("IPv6 extension headers", ipv6_with("2001:db8::7", 0, &chain), b"hello"),
        (
            "an IPv6 atomic fragment",
            ipv6_with("2001:db8::7", 44, &[fragment_header(17, 0, false), udp(b"hello")].concat()),
            b"hello",
        ),
    ] {
        assert_eq!(payload(&packet).as_deref(), Ok(expected), "{name}");
    }
}

#[test]
fn sources_and_ports() {
    let udp4 = ipv4("192.0.2.7", &udp(b""));
    let packet = Packet::parse(&udp4).unwrap();
    assert_eq!(packet.source, IpAddr::from([192, 0, 2, 7]));
    assert_eq!(packet.destination, IpAddr::from([192, 0, 2, 1]));
    let flow = Flow { transport: Transport::Udp, source_port: 5061, destination_port: 5060 };
    assert_eq!(packet.flow(), Some(flow));

    let mapped = ipv6("::ffff:192.0.2.7", &udp(b""));
    assert_eq!(Packet::parse(&mapped).unwrap().source, IpAddr::from([192, 0, 2, 7]));
}

#[test]
fn what_is_malformed() {
    let short_udp = |length: u16| {
        let mut datagram = udp(b"hello");
        datagram[4..6].copy_from_slice(&length.to_be_bytes());
        ipv4("192.0.2.7", &datagram)
    };
    let mut bad_tcp = ipv4("192.0.2.7", &tcp(b"hello"));
    bad_tcp[32] = 0x40;
    let mut long_tcp = ipv4("192.0.2.7", &tcp(b"hello"));
    long_tcp[32] = 0xf0;
    let mut bad_ihl = ipv4("192.0.2.7", &udp(b"hello"));
    bad_ihl[0] = 0x44;
    let mut bad_total = ipv4("192.0.2.7", &udp(b"hello"));
    bad_total[2..4].copy_from_slice(&19u16.to_be_bytes());
    let esp = ipv6_with("2001:db8::7", 50, &[0; 16]);
    for (packet, expected) in [
        (vec![], Malformed::Version(0)),
        (vec![0x50; 40], Malformed::Version(5)),
        (vec![0x45; 19], Malformed::Ipv4(19)),
        (bad_ihl, Malformed::Ipv4(33)),
        (bad_total, Malformed::Ipv4(33)),
        (vec![0x60; 39], Malformed::Ipv6(39)),
        (ipv4_with("192.0.2.7", 1, 0, &[], &[8, 0, 0, 0, 0, 0, 0, 0]), Malformed::Protocol(1)),
        (esp, Malformed::Protocol(50)),
        (ipv4("192.0.2.7", b""), Malformed::UdpHeader(0)),
        (ipv4("192.0.2.7", b"1234567"), Malformed::UdpHeader(7)),
        (short_udp(0), Malformed::UdpLength { said: 0, got: 13 }),
        (short_udp(7), Malformed::UdpLength { said: 7, got: 13 }),
        (short_udp(14), Malformed::UdpLength { said: 14, got: 13 }),
        (bad_tcp, Malformed::TcpHeader(25)),
        (long_tcp, Malformed::TcpHeader(25)),
        (ipv6_with("2001:db8::7", 0, &[17, 1, 0, 0, 0, 0, 0, 0]), Malformed::Extension(0)),
        (ipv6_with("2001:db8::7", 44, &[17, 0, 0]), Malformed::Extension(44)),
        (ipv6_with("2001:db8::7", 51, &[17, 9, 0, 0]), Malformed::Extension(51)),
    ] {
        assert_eq!(payload(&packet), Err(expected), "{packet:02x?}");
    }
}

#[test]
fn malformed_packets_keep_their_ports_where_the_port_match_would_read_them() {
    for (data, flow) in [(&b"\x13\xc5\x13\xc4"[..], Some((5061, 5060))), (b"\x13\xc5\x13", None)] {
        let packet = ipv4("192.0.2.7", data);
        let ports =
            Packet::parse(&packet).unwrap().flow().map(|flow| (flow.source_port, flow.destination_port));
        assert_eq!(ports, flow);
    }
}

#[test]
fn truncated_copies_are_searched_as_far_as_they_go() {
    for whole in [ipv4("192.0.2.7", &udp(b"hello")), ipv6("2001:db8::7", &udp(b"hello"))] {
        let header = whole.len() - 5;
        for kept in header..=whole.len() {
            assert_eq!(payload(&whole[..kept]).unwrap(), b"hello"[..kept - header]);
        }
        for kept in 0..header {
            assert!(payload(&whole[..kept]).is_err());
        }
    }
}

#[test]
fn fragments() {
    let first = ipv4_fragment("192.0.2.7", 0, true, &udp(&[b'x'; 64])[..40]);
    match Packet::parse(&first).unwrap().body {
        Body::Segment(segment) => {
            assert_eq!(segment.payload, [b'x'; 32]);
            assert_eq!(segment.fragment, Some(Fragment { id: 0x1234, protocol: 17 }));
        }
        other => panic!("{other:?}"),
    }
    let v6 = [fragment_header(17, 5, false), b"\x13\xc5\x13\xc4 the rest".to_vec()].concat();
    for later in [ipv4_fragment("192.0.2.7", 5, false, b"the rest"), ipv6_with("2001:db8::7", 44, &v6)] {
        let packet = Packet::parse(&later).unwrap();
        assert_eq!(packet.body, Body::LaterFragment(Fragment { id: 0x1234, protocol: 17 }));
        assert_eq!(packet.flow(), None);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Packet::parse(&bytes);
    }

    /// Bytes that begin like a packet get further into the parser.
    #[test]
    fn a_packet_with_some_bytes_changed(
        v6: bool,
        next in prop::sample::select(vec![0u8, 6, 17, 43, 44, 51, 60]),
        data in prop::collection::vec(any::<u8>(), 0..100),
        changes in prop::collection::vec((0usize..160, any::<u8>()), 0..6),
        cut in 0usize..200,
    ) {
        let mut packet = match v6 {
            true => ipv6_with("2001:db8::7", next, &data),
            false => ipv4_with("192.0.2.7", next, 0, &[], &data),
        };
        for (index, byte) in changes {
            if let Some(place) = packet.get_mut(index) {
                *place = byte;
            }
        }
        packet.truncate(cut);
        if let Ok(Packet { body: Body::Segment(segment), .. }) = Packet::parse(&packet) {
            prop_assert!(packet.ends_with(segment.payload) || packet.windows(segment.payload.len().max(1)).any(|part| part == segment.payload));
            prop_assert!(segment.payload.len() + 28 <= packet.len());
        }
    }
}
