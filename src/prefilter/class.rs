//! The class that the filter gives a packet.

use crate::knock::gram_filter::GramFilter;
use crate::packet::{Body, Packet, Transport};

/// The fate of a packet whose source has no open door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It holds no knock, or can't be read: it is dropped without being seen by user space.
    None,
    /// It may hold a knock.
    Hit,
    /// It is not for the filter to say: a TCP segment, a fragment's first piece, several datagrams in one packet, a payload of
    /// more than [`MAX_PAYLOAD`] bytes or behind more than [`MAX_EXTENSIONS`] extension headers, what begins as an answer does,
    /// and a backslash if a knock may be hidden by quoted pairs.
    Odd,
}

names! { pub Class { None = "none", Hit = "hit", Odd = "odd" } }

impl Class {
    /// The class that a result of the program stands for; `None` for a number that it never returns.
    pub(super) const fn of_result(result: u32) -> Option<Self> {
        match result {
            0 => Some(Self::None),
            1 => Some(Self::Hit),
            2 => Some(Self::Odd),
            _ => None,
        }
    }
}

/// Longer payloads are odd, in bytes.
pub const MAX_PAYLOAD: usize = 2048;

/// Packets with more extension headers are odd.
pub const MAX_EXTENSIONS: usize = 8;

/// The class of a packet, from its IP header on, as the program in the kernel gives it.
pub fn classify(filter: &GramFilter, bytes: &[u8]) -> Class {
    if has_many_extensions(bytes) {
        return Class::Odd;
    }
    let Ok(Packet { body: Body::Segment(segment), .. }) = Packet::parse(bytes) else { return Class::None };
    let payload = segment.payload;
    if segment.flow.transport == Transport::Tcp || segment.fragment.is_some() || payload.len() > MAX_PAYLOAD {
        return Class::Odd;
    }
    if filter.may_hold(payload) {
        return Class::Hit;
    }
    let is_answer = payload.first_chunk::<4>().is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"));
    let is_odd = is_answer || filter.escapes() && payload.contains(&b'\\');
    if is_odd { Class::Odd } else { Class::None }
}

/// Whether more extension headers follow each other than the program reads. They are read as [`Packet::parse`] reads them.
fn has_many_extensions(bytes: &[u8]) -> bool {
    if bytes.first().is_none_or(|first| first >> 4 != 6) || bytes.len() < IPV6_HEADER {
        return false;
    }
    let Some((header, rest)) = bytes.split_at_checked(IPV6_HEADER) else { return false };
    let (Some(length), Some(&next)) = (header.get(4..6).and_then(<[u8]>::first_chunk), header.get(6)) else {
        return false;
    };
    let on_wire = usize::from(u16::from_be_bytes(*length));
    let (mut rest, mut next) = (rest.get(..on_wire).unwrap_or(rest), next);
    for _ in 0..MAX_EXTENSIONS {
        let Some(&[following, length, high, low, ..]) = rest.first_chunk::<8>() else { return false };
        let length = usize::from(length);
        let size = match next {
            0 | 43 | 60 => (length + 1) * 8,
            44 if u16::from_be_bytes([high, low]) & 0xfff8 == 0 => 8,
            51 if length > 0 => (length + 2) * 4,
            _ => return false,
        };
        let Some(behind) = rest.get(size..) else { return false };
        (rest, next) = (behind, following);
    }
    matches!(next, 0 | 43 | 44 | 51 | 60)
}

/// RFC 8200, 3.
const IPV6_HEADER: usize = 40;
