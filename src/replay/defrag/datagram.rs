//! The fragments of one datagram.

use std::collections::BTreeMap;

use super::fragment::{FragmentPart, IPV6_HEADER};
use crate::packet::Flow;
use crate::time::Time;

/// A datagram that is not whole yet.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) begun: Time,
    pub(super) serial: u64,
    /// Packets that are part of it, duplicates included.
    pub(super) fragments: u64,
    /// Its ports, once its first fragment has come.
    pub(super) flow: Option<Flow>,
    /// Bytes of memory, as the kernel reckons it.
    pub(super) charged: usize,
    /// The headers of the first fragment, rewritten for the whole datagram.
    head: Vec<u8>,
    /// By where they begin.
    pieces: BTreeMap<u32, DatagramPiece>,
    /// Ranges without a gap, by their start. Only the last run grows: a fragment that comes before it is a run of its
    /// own even if it touches another, as in the kernel, which tells duplicates from overlaps by that.
    runs: BTreeMap<u32, u32>,
    /// Its length, as far as it is known.
    length: u32,
    /// Bytes that are there.
    there: u32,
    has_last: bool,
    /// A bit for each value of the field of RFC 3168 that a fragment has.
    ecn: u8,
    /// The number of the latest fragment among all of its source.
    peer: u32,
}

#[derive(Debug)]
struct DatagramPiece {
    /// As many bytes as there were on the wire.
    length: u32,
    /// Those of them that were kept.
    kept: Vec<u8>,
}

/// The effect of a fragment on its datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DefragStep {
    /// It waits for others.
    Waits,
    /// It is dropped, and its datagram goes on to wait.
    Dropped,
    /// The datagram is given up.
    Ends,
    /// The same, and the fragment passes by itself.
    Passes,
    /// The datagram is whole.
    Whole(Vec<u8>),
}

/// The place of a fragment among those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DatagramPlace {
    Free,
    Inside,
    Overlap,
}

impl Datagram {
    pub(super) fn new(begun: Time, serial: u64) -> Self {
        Self {
            begun,
            serial,
            fragments: 0,
            flow: None,
            charged: QUEUE_CHARGE,
            head: Vec::new(),
            pieces: BTreeMap::new(),
            runs: BTreeMap::new(),
            length: 0,
            there: 0,
            has_last: false,
            ecn: 0,
            peer: 0,
        }
    }

    /// `ip_frag_too_far`: whether too many fragments of the same source came since its latest one. `peer` counts them.
    pub(super) fn is_too_far(&mut self, peer: u32) -> bool {
        let distance = peer.wrapping_sub(self.peer);
        self.peer = peer;
        !self.pieces.is_empty() && distance > MAX_DISTANCE
    }

    /// Adds a fragment.
    pub(super) fn add(&mut self, fragment: &FragmentPart<'_>) -> DefragStep {
        self.fragments += 1;
        let step = match fragment.id.is_ipv6() {
            false => self.add_v4(fragment),
            true => self.add_v6(fragment),
        };
        if matches!(step, DefragStep::Dropped | DefragStep::Passes) {
            self.fragments -= 1;
        }
        step
    }

    /// `ip_frag_queue`
    fn add_v4(&mut self, fragment: &FragmentPart<'_>) -> DefragStep {
        let FragmentPart { offset, mut end, more, .. } = *fragment;
        if more {
            end &= !7;
        }
        match self.reaches(end, more) && end > offset {
            true => self.put(fragment, end),
            false => DefragStep::Ends,
        }
    }

    /// `nf_ct_frag6_queue`
    fn add_v6(&mut self, fragment: &FragmentPart<'_>) -> DefragStep {
        let FragmentPart { offset, end, more, .. } = *fragment;
        if end > MAX_LENGTH {
            return DefragStep::Dropped;
        }
        if more && end % 8 != 0 {
            return DefragStep::Passes;
        }
        match self.reaches(end, more) && end > offset {
            true => self.put(fragment, end),
            false => DefragStep::Dropped,
        }
    }

    /// Learns the datagram's length; false if that contradicts what is known of it.
    fn reaches(&mut self, end: u32, more: bool) -> bool {
        match more {
            false if end < self.length || self.has_last && end != self.length => return false,
            true if end > self.length && self.has_last => return false,
            _ => {}
        }
        self.has_last |= !more;
        self.length = self.length.max(end);
        true
    }

    /// `inet_frag_queue_insert`
    fn put(&mut self, fragment: &FragmentPart<'_>, end: u32) -> DefragStep {
        let offset = fragment.offset;
        match self.place(offset, end) {
            DatagramPlace::Inside => return DefragStep::Waits,
            DatagramPlace::Overlap => return DefragStep::Ends,
            DatagramPlace::Free => {}
        }
        match self.runs.last_entry() {
            Some(mut last) if *last.get() == offset => _ = last.insert(end),
            _ => _ = self.runs.insert(offset, end),
        }
        let length = end - offset;
        let kept = fragment.data.get(..length as usize).unwrap_or(fragment.data).to_vec();
        self.charged += kept.len() + FRAGMENT_CHARGE;
        self.pieces.insert(offset, DatagramPiece { length, kept });
        self.there += length;
        self.ecn |= 1 << fragment.ecn;
        if offset == 0 {
            self.head = fragment.head.to_vec();
            if let Some((at, next)) = fragment.next
                && let Some(byte) = self.head.get_mut(at)
            {
                *byte = next;
            }
        }
        let is_whole = !self.head.is_empty() && self.has_last && self.there == self.length;
        if !is_whole {
            return DefragStep::Waits;
        }
        self.whole(fragment.id.is_ipv6()).map_or(DefragStep::Ends, DefragStep::Whole)
    }

    fn place(&self, offset: u32, end: u32) -> DatagramPlace {
        let Some((_, &last)) = self.runs.last_key_value() else { return DatagramPlace::Free };
        if last < end {
            return if offset < last { DatagramPlace::Overlap } else { DatagramPlace::Free };
        }
        match self.runs.range(..end).next_back() {
            Some((&from, &to)) if to > offset => match from <= offset && end <= to {
                true => DatagramPlace::Inside,
                false => DatagramPlace::Overlap,
            },
            _ => DatagramPlace::Free,
        }
    }

    /// The datagram as one packet. A fragment whose end was not kept makes it a copy that ends there. `None` if Linux
    /// drops it: it is too long, or some fragments are of a transport that knows ECN and others are not.
    fn whole(&self, is_ipv6: bool) -> Option<Vec<u8>> {
        let header = if is_ipv6 { self.head.len().checked_sub(IPV6_HEADER)? } else { self.head.len() };
        let length = u16::try_from(header + self.length as usize).ok()?.to_be_bytes();
        if self.ecn & NOT_ECT != 0 && self.ecn != NOT_ECT {
            return None;
        }
        let mut bytes = self.head.clone();
        if is_ipv6 {
            bytes.get_mut(4..6)?.copy_from_slice(&length);
        } else {
            bytes.get_mut(2..4)?.copy_from_slice(&length);
            bytes.get_mut(6..8)?.fill(0);
        }
        for piece in self.pieces.values() {
            bytes.extend_from_slice(&piece.kept);
            if piece.kept.len() < piece.length as usize {
                break;
            }
        }
        Some(bytes)
    }
}

/// `net.ipv4.ipfrag_max_dist`.
const MAX_DISTANCE: u32 = 64;

/// `IPV6_MAXPLEN`.
const MAX_LENGTH: u32 = 65_535;

/// The bit of fragments whose transport does not know ECN.
const NOT_ECT: u8 = 1;

/// The kernel's `struct ipq` and `struct frag_queue`, about.
pub(super) const QUEUE_CHARGE: usize = 200;

/// The kernel's charge for a fragment beside its bytes: a socket buffer and the room around its data, about.
const FRAGMENT_CHARGE: usize = 768;
