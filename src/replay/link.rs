//! From a link-layer frame to the IP packet in it.

use std::fmt;

/// What a frame begins with: a LINKTYPE number, see <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: an address family in the byte order of the capturing machine.
    pub const NULL: Self = Self(0);
    /// Ethernet II.
    pub const ETHERNET: Self = Self(1);
    /// An IP packet, in files where a BSD's own number was written in place of 101.
    pub const RAW_BSD: Self = Self(12);
    /// An IP packet, the same for OpenBSD.
    pub const RAW_OPENBSD: Self = Self(14);
    /// An IP packet.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: an address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux "cooked" capture, of `tcpdump -i any` before 2020.
    pub const LINUX_SLL: Self = Self(113);
    /// An IPv4 packet.
    pub const IPV4: Self = Self(228);
    /// An IPv6 packet.
    pub const IPV6: Self = Self(229);
    /// Linux "cooked" capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why there is no IP packet to be had from a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    /// It carries something else: ARP, spanning tree, ...
    #[error("not an IP packet: protocol {0:#06x}")]
    NotIp(u32),
    /// It ends inside the link-layer header.
    #[error("a frame of link type {link} needs {needed} bytes in front of the IP packet, got {got}")]
    Short {
        /// The frame's type.
        link: LinkType,
        /// How many bytes its headers have, as far as they were followed.
        needed: usize,
        /// How many there are.
        got: usize,
    },
    /// A link layer that is not known here. It is the same for every packet of the interface.
    #[error(
        "link type {0} is not supported; capture on Ethernet (1), raw IP (12, 14, 101, 228, 229), \
         Linux cooked (113, 276) or BSD loopback (0, 108)"
    )]
    UnknownLink(LinkType),
}

/// The IP packet in a frame: from the first byte of its header to the end of the frame. Padding behind it
/// stays in, the length in the IP header deals with it.
///
/// ```
/// use sipknock::replay::link::{LinkType, Skip, network_layer};
///
/// let arp = [&[0xff; 6][..], &[0x02; 6], &[0x08, 0x06], &[0; 28]].concat();
/// assert_eq!(network_layer(LinkType::ETHERNET, &arp), Err(Skip::NotIp(0x0806)));
/// assert_eq!(network_layer(LinkType::RAW, b"\x45..."), Ok(&b"\x45..."[..]));
/// ```
///
/// # Errors
/// Where there is none, with the reason.
pub fn network_layer(link: LinkType, data: &[u8]) -> Result<&[u8], Skip> {
    let frame = LinkFrame { link, data };
    match link {
        LinkType::ETHERNET => frame.ether(12, 14),
        LinkType::LINUX_SLL => frame.ether(14, 16),
        LinkType::LINUX_SLL2 => frame.ether(0, 20),
        LinkType::NULL => frame.loopback(|family| match u32::from_be_bytes(family) {
            // A family is a small number: read in the wrong order, it is a large one.
            big @ 0..=0xffff => big,
            _ => u32::from_le_bytes(family),
        }),
        LinkType::LOOP => frame.loopback(u32::from_be_bytes),
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD | LinkType::IPV4 | LinkType::IPV6 => {
            frame.from(0)
        }
        _ => Err(Skip::UnknownLink(link)),
    }
}

#[derive(Clone, Copy)]
struct LinkFrame<'a> {
    link: LinkType,
    data: &'a [u8],
}

impl<'a> LinkFrame<'a> {
    /// Follows an EtherType at one offset, with what it announces at the other, through VLAN tags, PPPoE and MPLS.
    ///
    /// Cooked frames have them as well: the kernel takes the outer tag out, and libpcap puts it back in.
    fn ether(self, mut type_at: usize, mut next: usize) -> Result<&'a [u8], Skip> {
        for _ in 0..=MAX_VLAN_TAGS {
            // The header comes first, whatever is in it: SLL2 has its EtherType in front.
            self.from(next)?;
            match self.u16_at(type_at)? {
                ETHER_IPV4 | ETHER_IPV6 => return self.from(next),
                ETHER_VLAN | ETHER_QINQ | ETHER_QINQ_OLD => {
                    // IEEE 802.1Q, 9.6: two bytes of tag, then the EtherType of what follows.
                    type_at = next + 2;
                    next += 4;
                }
                // RFC 2516, 4: six bytes of session header; RFC 1661, 2: two bytes of PPP protocol.
                ETHER_PPPOE => {
                    return match self.u16_at(next + 6)? {
                        PPP_IPV4 | PPP_IPV6 => self.from(next + 8),
                        other => Err(Skip::NotIp(other.into())),
                    };
                }
                label @ (ETHER_MPLS | ETHER_MPLS_MULTICAST) => return self.behind_labels(label, next),
                other => return Err(Skip::NotIp(other.into())),
            }
        }
        Err(Skip::NotIp(ETHER_VLAN.into()))
    }

    /// RFC 3032, 2.1: labels of four bytes, the last of which has a bit set. They do not say what follows; a router looks at the
    /// version of IP (RFC 4928, 2), and 0 stands for something else.
    fn behind_labels(self, ether_type: u16, mut next: usize) -> Result<&'a [u8], Skip> {
        for _ in 0..MAX_LABELS {
            let is_last = self.u16_at(next + 2)? & 0x0100 != 0;
            next += 4;
            if is_last {
                return match self.from(next)?.first().map(|byte| byte >> 4) {
                    Some(4 | 6) => self.from(next),
                    None => Err(self.short(next + 1)),
                    Some(_) => Err(Skip::NotIp(ether_type.into())),
                };
            }
        }
        Err(Skip::NotIp(ether_type.into()))
    }

    /// Four bytes of address family, then the packet.
    fn loopback(self, family: impl Fn([u8; 4]) -> u32) -> Result<&'a [u8], Skip> {
        let &bytes = self.data.first_chunk().ok_or(self.short(4))?;
        match family(bytes) {
            AF_INET | AF_INET6_LINUX | AF_INET6_BSD | AF_INET6_FREEBSD | AF_INET6_DARWIN => self.from(4),
            other => Err(Skip::NotIp(other)),
        }
    }

    fn from(self, offset: usize) -> Result<&'a [u8], Skip> {
        self.data.get(offset..).ok_or(self.short(offset))
    }

    fn u16_at(self, offset: usize) -> Result<u16, Skip> {
        let &number = self.from(offset)?.first_chunk().ok_or(self.short(offset + 2))?;
        Ok(u16::from_be_bytes(number))
    }

    fn short(self, needed: usize) -> Skip {
        Skip::Short { link: self.link, needed, got: self.data.len() }
    }
}

/// Provider and customer tag make two; more come from stacked provider networks, and from fuzzers.
const MAX_VLAN_TAGS: usize = 4;

/// More labels than any network stacks.
const MAX_LABELS: usize = 16;

const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q, the customer's tag.
const ETHER_VLAN: u16 = 0x8100;
/// IEEE 802.1ad, the provider's tag.
const ETHER_QINQ: u16 = 0x88a8;
/// The provider's tag before there was a standard.
const ETHER_QINQ_OLD: u16 = 0x9100;
/// A PPPoE session: captures at a DSL line.
const ETHER_PPPOE: u16 = 0x8864;
/// RFC 3032, 5.
pub(super) const ETHER_MPLS: u16 = 0x8847;
/// RFC 5332, 3.
pub(super) const ETHER_MPLS_MULTICAST: u16 = 0x8848;
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;

/// The same everywhere.
const AF_INET: u32 = 2;
const AF_INET6_LINUX: u32 = 10;
/// NetBSD, OpenBSD, and Npcap.
const AF_INET6_BSD: u32 = 24;
const AF_INET6_FREEBSD: u32 = 28;
/// macOS and iOS.
const AF_INET6_DARWIN: u32 = 30;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Stands for an IP packet; nothing here looks inside.
    const IP: [u8; 4] = [0x45, 1, 2, 3];
    const MACS: [u8; 12] = [2; 12];

    fn frame(header: &[&[u8]]) -> Vec<u8> {
        [&header.concat()[..], &IP].concat()
    }

    #[test]
    fn the_packet_begins_behind_the_link_header() {
        let vlan: [u8; 4] = [0x81, 0x00, 0x20, 0x07];
        let qinq: [u8; 4] = [0x88, 0xa8, 0x00, 0x64];
        let old: [u8; 4] = [0x91, 0x00, 0x00, 0x64];
        let (v4, v6): ([u8; 2], [u8; 2]) = ([0x08, 0x00], [0x86, 0xdd]);
        let pppoe = [0x88, 0x64, 0x11, 0, 0, 1, 0, 6];
        for (name, link, header) in [
            ("Ethernet", 1, vec![&MACS[..], &v4]),
            ("Ethernet, IPv6", 1, vec![&MACS, &v6]),
            ("VLAN", 1, vec![&MACS, &vlan, &v4]),
            ("QinQ", 1, vec![&MACS, &qinq, &vlan, &v6]),
            ("QinQ before the standard", 1, vec![&MACS, &old, &vlan, &v4]),
            ("four tags", 1, vec![&MACS, &qinq, &qinq, &vlan, &vlan, &v4]),
            ("PPPoE", 1, vec![&MACS, &pppoe, &[0x00, 0x21]]),
            ("PPPoE, IPv6, in a VLAN", 1, vec![&MACS, &vlan, &pppoe, &[0x00, 0x57]]),
            ("MPLS in a VLAN", 1, vec![&MACS, &vlan, &[0x88, 0x47], &[0, 1, 0x41, 64]]),
            ("two labels, multicast", 1, vec![&MACS, &[0x88, 0x48], &[0, 1, 0x40, 64], &[0, 2, 0x41, 64]]),
            ("raw", 101, vec![]),
            ("raw, as BSD has it", 12, vec![]),
            ("raw, as OpenBSD has it", 14, vec![]),
            ("raw IPv4", 228, vec![]),
            ("raw IPv6", 229, vec![]),
            ("cooked", 113, vec![&[0; 14], &v4]),
            ("cooked, VLAN", 113, vec![&[0; 14], &vlan, &v6]),
            ("cooked 2", 276, vec![&v4, &[0; 18]]),
            ("cooked 2, IPv6", 276, vec![&v6, &[0; 18]]),
            ("loopback, little endian", 0, vec![&[2, 0, 0, 0]]),
            ("loopback, big endian", 0, vec![&[0, 0, 0, 2]]),
            ("loopback, IPv6 on Linux", 0, vec![&[10, 0, 0, 0]]),
            ("loopback, IPv6 on OpenBSD", 0, vec![&[0, 0, 0, 24]]),
            ("loopback, IPv6 on FreeBSD", 0, vec![&[28, 0, 0, 0]]),
            ("loopback, IPv6 on macOS", 0, vec![&[30, 0, 0, 0]]),
            ("network order loopback", 108, vec![&[0, 0, 0, 2]]),
            ("network order loopback, IPv6", 108, vec![&[0, 0, 0, 24]]),
        ] {
            let bytes = frame(&header);
            assert_eq!(network_layer(LinkType(link), &bytes), Ok(&IP[..]), "{name}");
            let header_len = bytes.len() - IP.len();
            // Behind labels, only the packet itself says that it is one.
            let has_labels = name.contains("MPLS") || name.contains("labels");
            if !has_labels {
                let empty = network_layer(LinkType(link), &bytes[..header_len]);
                assert_eq!(empty, Ok(&[][..]), "{name}, no packet");
            }
            for got in 0..header_len + usize::from(has_labels) {
                let short = network_layer(LinkType(link), &bytes[..got]);
                assert!(
                    matches!(short, Err(Skip::Short { needed, got: g, .. }) if g == got && g < needed),
                    "{name}, {got} bytes: {short:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_ip_says_what_it_is() {
        let tag = [0x81, 0x00, 0, 1];
        for (name, link, header, protocol) in [
            ("ARP", 1, vec![&MACS[..], &[0x08, 0x06]], 0x0806),
            ("802.3 length", 1, vec![&MACS, &[0x00, 0x26]], 0x26),
            ("five tags", 1, vec![&MACS, &tag, &tag, &tag, &tag, &tag, &[0x08, 0x00]], 0x8100),
            ("PPP LCP", 1, vec![&MACS, &[0x88, 0x64, 0x11, 0, 0, 1, 0, 6], &[0xc0, 0x21]], 0xc021),
            ("a pseudowire", 1, vec![&MACS, &[0x88, 0x47], &[0, 1, 0x41, 64], &[0, 0, 0, 0]], 0x8847),
            ("labels without end", 1, vec![&MACS, &[0x88, 0x47], &[0; 80]], 0x8847),
            ("cooked ARP", 113, vec![&[0; 14], &[0x08, 0x06]], 0x0806),
            ("cooked 2 ARP", 276, vec![&[0x08, 0x06], &[0; 18]], 0x0806),
            ("loopback, AppleTalk", 0, vec![&[16, 0, 0, 0]], 16),
            ("loopback, the wrong order", 108, vec![&[2, 0, 0, 0]], 0x0200_0000),
        ] {
            assert_eq!(network_layer(LinkType(link), &frame(&header)), Err(Skip::NotIp(protocol)), "{name}");
        }
    }

    #[test]
    fn an_unknown_link_type_is_named() {
        let skip = network_layer(LinkType(127), &IP).unwrap_err();
        assert_eq!(skip, Skip::UnknownLink(LinkType(127)));
        assert!(
            skip.to_string().starts_with("link type 127 is not supported; capture on Ethernet (1)"),
            "{skip}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_tail_of_them_or_a_reason(
            link in prop_oneof![prop::sample::select(vec![0u16, 1, 101, 108, 113, 276]), any::<u16>()],
            data in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x81), Just(0), Just(8)], 0..64),
        ) {
            if let Ok(packet) = network_layer(LinkType(link), &data) {
                prop_assert!(data.ends_with(packet));
            }
        }
    }
}
