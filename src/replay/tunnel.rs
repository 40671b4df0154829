//! IP packets and Ethernet frames inside IP packets.

use super::link::LinkType;

/// A kind of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelKind {
    /// IPv4 or IPv6 right behind an IP header: RFC 2003, RFC 2473, RFC 4213.
    Ipip,
    /// RFC 2784 with RFC 2890, and ERSPAN in it (draft-foschiano-erspan).
    Gre,
    /// RFC 7348.
    Vxlan,
    /// RFC 8926.
    Geneve,
    /// 3GPP TS 29.281.
    Gtp,
    /// RFC 3378.
    EtherIp,
    /// RFC 3032: what is behind the labels is no IP packet.
    Mpls,
    /// RFC 3931, right behind an IP header.
    L2tp,
    /// RFC 4303, also in UDP (RFC 3948).
    Esp,
}

names! {
    /// As JSON has it.
    pub TunnelKind {
        Ipip = "ipip", Gre = "gre", Vxlan = "vxlan", Geneve = "geneve", Gtp = "gtp", EtherIp = "etherip",
        Mpls = "mpls", L2tp = "l2tp", Esp = "esp",
    }
}

impl TunnelKind {
    /// As people write it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ipip => "IPIP",
            Self::Gre => "GRE",
            Self::Vxlan => "VXLAN",
            Self::Geneve => "Geneve",
            Self::Gtp => "GTP",
            Self::EtherIp => "EtherIP",
            Self::Mpls => "MPLS",
            Self::L2tp => "L2TP",
            Self::Esp => "ESP",
        }
    }
}

/// A tunnel's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Its kind.
    pub kind: TunnelKind,
    /// Start of the packet or frame in it, and which of the two it is. `None` if it can't be looked into: it is encrypted, a
    /// fragment, or something other than IP and Ethernet.
    pub inner: Option<(usize, LinkType)>,
}

impl Tunnel {
    /// The tunnel whose packet this is, from its IP header on.
    pub fn of(packet: &[u8]) -> Option<Self> {
        let Upper { protocol, at, is_fragment } = Upper::of(packet)?;
        let body = packet.get(at..)?;
        let (kind, inner) = match protocol {
            IPIP | IPV6_IN_IP => (TunnelKind::Ipip, Some((0, LinkType::RAW))),
            GRE => (TunnelKind::Gre, gre(body)),
            ETHER_IP => (TunnelKind::EtherIp, Some((2, LinkType::ETHERNET))),
            L2TP => (TunnelKind::L2tp, None),
            ESP => (TunnelKind::Esp, None),
            UDP if !is_fragment => in_udp(u16_at(body, 2)?, body.get(UDP_HEADER..)?)?,
            _ => return None,
        };
        let at_udp = if protocol == UDP { UDP_HEADER } else { 0 };
        let inner = inner.filter(|_| !is_fragment).map(|(offset, link)| (at + at_udp + offset, link));
        Some(Self { kind, inner: inner.filter(|(at, _)| *at < packet.len()) })
    }
}

/// The upper layer of an IP packet.
struct Upper {
    protocol: u8,
    at: usize,
    is_fragment: bool,
}

impl Upper {
    fn of(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let at = usize::from(packet.first()? & 0xf) * 4;
                let is_fragment = u16_at(packet, 6)? & 0x3fff != 0;
                (at >= 20).then_some(Self { protocol: *packet.get(9)?, at, is_fragment })
            }
            6 => {
                let (mut protocol, mut at, mut is_fragment) = (*packet.get(6)?, 40, false);
                loop {
                    let length = match protocol {
                        HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(*packet.get(at + 1)?) + 1) * 8,
                        AUTH => (usize::from(*packet.get(at + 1)?) + 2) * 4,
                        FRAGMENT => {
                            let place = u16_at(packet, at + 2)?;
                            is_fragment |= place & !6 != 0;
                            if place & !7 != 0 {
                                return Some(Self { protocol: *packet.get(at)?, at: at + 8, is_fragment });
                            }
                            8
                        }
                        _ => return Some(Self { protocol, at, is_fragment }),
                    };
                    protocol = *packet.get(at)?;
                    at += length;
                }
            }
            _ => None,
        }
    }
}

/// Version 0, with whatever of checksum, key and sequence number is there.
fn gre(body: &[u8]) -> Option<(usize, LinkType)> {
    let (flags, protocol) = (u16_at(body, 0)?, u16_at(body, 2)?);
    let (has_route, version) = (flags & 0x4000 != 0, flags & 7);
    if has_route || version != 0 {
        return None;
    }
    let has_sequence = flags & 0x1000 != 0;
    let optional = [flags & 0x8000 != 0, flags & 0x2000 != 0, has_sequence];
    let at = 4 + 4 * optional.into_iter().filter(|&is_there| is_there).count();
    match protocol {
        ETHER_IPV4 | ETHER_IPV6 => Some((at, LinkType::RAW)),
        ETHER_ETHERNET => Some((at, LinkType::ETHERNET)),
        // Type I has no header of its own, type II one of 8 bytes.
        ERSPAN => Some((at + if has_sequence { 8 } else { 0 }, LinkType::ETHERNET)),
        ERSPAN_3 => {
            let has_more = body.get(at + 11)? & 1 != 0;
            Some((at + if has_more { 20 } else { 12 }, LinkType::ETHERNET))
        }
        _ => None,
    }
}

type Unwrapped = (TunnelKind, Option<(usize, LinkType)>);

/// A port alone is no proof: the header behind it has to look like one.
fn in_udp(port: u16, body: &[u8]) -> Option<Unwrapped> {
    let header = body.first_chunk::<8>()?;
    match port {
        4789 | 8472 => {
            let is_one = header[0] & 0x08 != 0 && header[1] == 0 && header[2] == 0 && header[7] == 0;
            // VXLAN-GPE says what is in it (draft-ietf-nvo3-vxlan-gpe, 3.1).
            let link = match (header[0] & 0x04 != 0, header[3]) {
                (false, _) | (true, 3) => Some(LinkType::ETHERNET),
                (true, 1 | 2) => Some(LinkType::RAW),
                (true, _) => None,
            };
            is_one.then_some((TunnelKind::Vxlan, link.map(|link| (8, link))))
        }
        6081 => {
            let at = 8 + usize::from(header[0] & 0x3f) * 4;
            let inner = match u16::from_be_bytes([header[2], header[3]]) {
                ETHER_ETHERNET => Some((at, LinkType::ETHERNET)),
                ETHER_IPV4 | ETHER_IPV6 => Some((at, LinkType::RAW)),
                _ => None,
            };
            (header[0] >> 6 == 0 && header[7] == 0).then_some((TunnelKind::Geneve, inner))
        }
        2152 => {
            // Version 1 with its protocol type bit, and a message that carries a packet.
            let is_one = header[0] >> 4 == 3 && header[1] == 255;
            is_one.then(|| (TunnelKind::Gtp, gtp(body).map(|at| (at, LinkType::RAW))))
        }
        // Not zero: an SPI and not the marker of IKE.
        4500 => (header[..4] != [0; 4] && body.len() > 16).then_some((TunnelKind::Esp, None)),
        _ => None,
    }
}

/// Start of the packet in GTP-U: behind the optional fields, and extension headers that name the next one in their last byte.
fn gtp(body: &[u8]) -> Option<usize> {
    if body.first()? & 7 == 0 {
        return Some(8);
    }
    let (mut next, mut at) = (*body.get(11)?, 12);
    while next != 0 {
        let length = usize::from(*body.get(at)?) * 4;
        next = *body.get(at + length.checked_sub(1)?)?;
        at += length;
    }
    Some(at)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|&number| u16::from_be_bytes(number))
}

const HOP_BY_HOP: u8 = 0;
const IPIP: u8 = 4;
const UDP: u8 = 17;
const IPV6_IN_IP: u8 = 41;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const GRE: u8 = 47;
const ESP: u8 = 50;
const AUTH: u8 = 51;
const DESTINATION: u8 = 60;
const ETHER_IP: u8 = 97;
const L2TP: u8 = 115;

const UDP_HEADER: usize = 8;

const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86dd;
/// RFC 1701: an Ethernet frame.
const ETHER_ETHERNET: u16 = 0x6558;
const ERSPAN: u16 = 0x88be;
const ERSPAN_3: u16 = 0x22eb;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{ipv4_with, ipv6_with};

    const IP: [u8; 4] = [0x45, 1, 2, 3];

    fn to_port(port: u16, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + body.len()).unwrap();
        [&[0x30, 0x39][..], &port.to_be_bytes(), &length.to_be_bytes(), &[0, 0], body].concat()
    }

    #[test]
    fn packets_and_frames_in_tunnels_are_found() {
        let (ethernet, raw) = (LinkType::ETHERNET, LinkType::RAW);
        let udp = |port, header: &[u8]| to_port(port, &[header, &IP].concat());
        for (name, protocol, body, kind, link) in [
            ("IPv4 in IP", 4, IP.to_vec(), TunnelKind::Ipip, Some(raw)),
            ("IPv6 in IP", 41, IP.to_vec(), TunnelKind::Ipip, Some(raw)),
            ("GRE", 47, [&[0, 0, 8, 0][..], &IP].concat(), TunnelKind::Gre, Some(raw)),
            (
                "GRE, everything in it",
                47,
                [&[0xb0, 0, 0x86, 0xdd][..], &[9; 12], &IP].concat(),
                TunnelKind::Gre,
                Some(raw),
            ),
            (
                "GRE, a frame",
                47,
                [&[0x20, 0, 0x65, 0x58][..], &[9; 4], &IP].concat(),
                TunnelKind::Gre,
                Some(ethernet),
            ),
            ("ERSPAN I", 47, [&[0, 0, 0x88, 0xbe][..], &IP].concat(), TunnelKind::Gre, Some(ethernet)),
            (
                "ERSPAN II",
                47,
                [&[0x10, 0, 0x88, 0xbe][..], &[0; 12], &IP].concat(),
                TunnelKind::Gre,
                Some(ethernet),
            ),
            (
                "ERSPAN III",
                47,
                [&[0x10, 0, 0x22, 0xeb][..], &[0; 16], &IP].concat(),
                TunnelKind::Gre,
                Some(ethernet),
            ),
            (
                "ERSPAN III with more",
                47,
                [&[0x10, 0, 0x22, 0xeb][..], &[0; 15], &[1], &[0; 8], &IP].concat(),
                TunnelKind::Gre,
                Some(ethernet),
            ),
            ("PPTP", 47, [&[0x30, 1, 0x88, 0x0b][..], &[9; 8], &IP].concat(), TunnelKind::Gre, None),
            ("GRE, routed", 47, [&[0x40, 0, 8, 0][..], &[9; 8], &IP].concat(), TunnelKind::Gre, None),
            ("EtherIP", 97, [&[0x30, 0][..], &IP].concat(), TunnelKind::EtherIp, Some(ethernet)),
            ("L2TP", 115, [9; 12].to_vec(), TunnelKind::L2tp, None),
            ("ESP", 50, [9; 20].to_vec(), TunnelKind::Esp, None),
            ("ESP in UDP", 17, to_port(4500, &[9; 20]), TunnelKind::Esp, None),
            ("VXLAN", 17, udp(4789, &[8, 0, 0, 0, 0, 0, 7, 0]), TunnelKind::Vxlan, Some(ethernet)),
            (
                "VXLAN on Linux's port",
                17,
                udp(8472, &[8, 0, 0, 0, 0, 0, 7, 0]),
                TunnelKind::Vxlan,
                Some(ethernet),
            ),
            ("VXLAN-GPE", 17, udp(4789, &[0x0c, 0, 0, 1, 0, 0, 7, 0]), TunnelKind::Vxlan, Some(raw)),
            (
                "Geneve",
                17,
                udp(6081, &[1, 0, 0x65, 0x58, 0, 0, 7, 0, 9, 9, 9, 9]),
                TunnelKind::Geneve,
                Some(ethernet),
            ),
            ("GTP", 17, udp(2152, &[0x30, 255, 0, 4, 0, 0, 0, 1]), TunnelKind::Gtp, Some(raw)),
            (
                "GTP with an extension",
                17,
                udp(2152, &[0x34, 255, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 9, 0]),
                TunnelKind::Gtp,
                Some(raw),
            ),
        ] {
            let expected = |header: usize| Tunnel {
                kind,
                inner: link.map(|link| (header + body.len() - IP.len(), link)),
            };
            let outer = ipv4_with("192.0.2.7", protocol, 0, &[1; 4], &body);
            assert_eq!(Tunnel::of(&outer), Some(expected(24)), "{name}");
            let outer = ipv6_with("2001:db8::7", 60, &[&[protocol, 0, 0, 0, 0, 0, 0, 0], &body[..]].concat());
            assert_eq!(Tunnel::of(&outer), Some(expected(48)), "{name}, over IPv6");
            let fragment = ipv4_with("192.0.2.7", protocol, 0x2000, &[], &body);
            let alone = (protocol != 17).then_some(Tunnel { kind, inner: None });
            assert_eq!(Tunnel::of(&fragment), alone, "{name}, a fragment");
        }
    }

    #[test]
    fn a_port_alone_makes_no_tunnel() {
        for (port, body) in [
            (4789, &b"REGISTER sip:x SIP/2.0"[..]),
            (8472, &[8, 0, 0, 0, 0, 0, 0, 1]),
            (6081, b"OPTIONS sip:x SIP/2.0"),
            (2152, b"REGISTER sip:x SIP/2.0"),
            (2152, &[0x30, 1, 0, 4, 0, 0, 0, 1]),
            (4500, &[0; 28]),
            (4500, b"\xff"),
            (5060, &[8, 0, 0, 0, 0, 0, 7, 0, 1, 2, 3]),
        ] {
            assert_eq!(Tunnel::of(&ipv4_with("192.0.2.7", 17, 0, &[], &to_port(port, body))), None, "{port}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_place_inside_or_nothing(
            version in prop::sample::select(vec![0x45u8, 0x46, 0x60]),
            protocol in prop::sample::select(vec![0u8, 4, 17, 41, 43, 44, 47, 50, 51, 60, 97, 115]),
            port in prop::sample::select(vec![4789u16, 6081, 2152, 4500]),
            mut bytes in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            for (at, byte) in [(0, version), (6, if version == 0x60 { protocol } else { 0 }), (7, 0)] {
                bytes.get_mut(at).into_iter().for_each(|place| *place = byte);
            }
            if version < 0x60 && bytes.len() > 24 {
                bytes[9] = protocol;
                bytes[22..24].copy_from_slice(&port.to_be_bytes());
            }
            if let Some(Tunnel { inner: Some((at, _)), .. }) = Tunnel::of(&bytes) {
                prop_assert!(at < bytes.len());
            }
        }
    }
}
