//! A fragment's place in its datagram.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A fragment, read from an IP packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct FragmentPart<'a> {
    pub(super) id: Id,
    /// Start of its data in the datagram, in bytes.
    pub(super) offset: u32,
    /// End of its data, by the length in the header.
    pub(super) end: u32,
    /// There are fragments behind it.
    pub(super) more: bool,
    /// As much of the data as was kept.
    pub(super) data: &'a [u8],
    /// The headers before the data, less an IPv6 fragment header.
    pub(super) head: &'a [u8],
    /// IPv6: the byte of `head` that names what follows, and what it has to say then.
    pub(super) next: Option<(usize, u8)>,
    /// The two bits of RFC 3168.
    pub(super) ecn: u8,
    /// IPv6: a first fragment without all of the transport header, which Linux leaves alone and drops behind INPUT
    /// (RFC 8200, 4.5).
    pub(super) is_cut: bool,
}

/// The key that the fragments of a datagram share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Id {
    /// RFC 791, 2.3.
    V4 { source: Ipv4Addr, destination: Ipv4Addr, id: u16, protocol: u8 },
    /// RFC 8200, 4.5.
    V6 { source: Ipv6Addr, destination: Ipv6Addr, id: u32 },
}

impl Id {
    pub(super) const fn is_ipv6(self) -> bool {
        matches!(self, Self::V6 { .. })
    }

    /// Of IPv6, the protocol is in the first fragment only.
    pub(super) const fn may_be_sip(self) -> bool {
        matches!(self, Self::V6 { .. } | Self::V4 { protocol: TCP | UDP, .. })
    }
}

impl<'a> FragmentPart<'a> {
    /// `None` for a packet that Linux does not look at as a fragment.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::of_v4(bytes),
            6 => Self::of_v6(bytes),
            _ => None,
        }
    }

    fn of_v4(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<20>()?;
        let header_len = usize::from(header[0] & 0xf) * 4;
        let total = usize::from(u16_at(header, 2)?);
        let place = u16_at(header, 6)?;
        let (more, offset) = (place & 0x2000 != 0, u32::from(place & 0x1fff) * 8);
        if !more && offset == 0 || header_len < 20 || total < header_len {
            return None;
        }
        let data = bytes.get(header_len..)?;
        let length = total - header_len;
        Some(Self {
            id: Id::V4 {
                source: Ipv4Addr::from(*header.get(12..)?.first_chunk::<4>()?),
                destination: Ipv4Addr::from(*header.get(16..)?.first_chunk::<4>()?),
                id: u16_at(header, 4)?,
                protocol: header[9],
            },
            offset,
            end: offset + u32::try_from(length).ok()?,
            more,
            data: data.get(..length).unwrap_or(data),
            head: bytes.get(..header_len)?,
            next: None,
            ecn: header[1] & 3,
            is_cut: false,
        })
    }

    fn of_v6(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<IPV6_HEADER>()?;
        let payload_len = usize::from(u16_at(header, 4)?);
        let end_of_packet = IPV6_HEADER + payload_len;
        let bytes = bytes.get(..end_of_packet).unwrap_or(bytes);
        let (mut next_at, mut at) = (6, IPV6_HEADER);
        // find_prev_fhdr
        while *bytes.get(next_at)? != FRAGMENT {
            let length = extension_length(*bytes.get(next_at)?, *bytes.get(at + 1)?)?;
            (next_at, at) = (at, at + length);
        }
        let data_at = at + FRAGMENT_HEADER;
        if payload_len == 0 || data_at > end_of_packet {
            return None;
        }
        let place = u16_at(bytes, at + 2)?;
        let (more, offset) = (place & 1 != 0, u32::from(place & !7));
        let next = *bytes.get(at)?;
        let data = bytes.get(data_at..)?;
        let length = end_of_packet - data_at;
        Some(Self {
            id: Id::V6 {
                source: Ipv6Addr::from(*header.get(8..)?.first_chunk::<16>()?),
                destination: Ipv6Addr::from(*header.get(24..)?.first_chunk::<16>()?),
                id: u32::from_be_bytes(*bytes.get(at + 4..)?.first_chunk()?),
            },
            offset,
            end: offset + u32::try_from(length).ok()?,
            more,
            data: data.get(..length).unwrap_or(data),
            head: bytes.get(..at)?,
            next: Some((next_at, next)),
            ecn: (header[1] >> 4) & 3,
            is_cut: offset == 0 && is_cut(bytes, next, data_at, end_of_packet),
        })
    }
}

/// `ipv6frag_thdr_truncated`: the transport header does not end inside the packet.
fn is_cut(bytes: &[u8], mut next: u8, mut at: usize, end: usize) -> bool {
    let header = loop {
        match next {
            TCP => break 20,
            UDP | ICMPV6 => break 8,
            FRAGMENT => {
                if u16_at(bytes, at + 2).is_none_or(|place| place & !7 != 0) {
                    return false;
                }
                next = bytes.get(at).copied().unwrap_or(NO_NEXT);
                at += FRAGMENT_HEADER;
            }
            _ => {
                let length = bytes.get(at + 1).and_then(|&length| extension_length(next, length));
                match (next, length) {
                    (HOP_BY_HOP | ROUTING | AUTH | DESTINATION, Some(length)) => {
                        next = bytes.get(at).copied().unwrap_or(NO_NEXT);
                        at += length;
                    }
                    (HOP_BY_HOP | ROUTING | AUTH | DESTINATION | NO_NEXT, _) => return false,
                    _ => break 1,
                }
            }
        }
    };
    at + header > end
}

/// The length of an extension header, in bytes, from its second byte; `None` for what is none.
fn extension_length(kind: u8, length: u8) -> Option<usize> {
    match kind {
        HOP_BY_HOP | ROUTING | DESTINATION => Some((usize::from(length) + 1) * 8),
        AUTH => Some((usize::from(length) + 2) * 4),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|&number| u16::from_be_bytes(number))
}

const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTH: u8 = 51;
const ICMPV6: u8 = 58;
const NO_NEXT: u8 = 59;
const DESTINATION: u8 = 60;

/// RFC 8200, 3.
pub(super) const IPV6_HEADER: usize = 40;

/// RFC 8200, 4.5.
const FRAGMENT_HEADER: usize = 8;
