//! One flow: its ends, its state and the bytes kept of it.

use std::net::IpAddr;
use std::time::Duration;

use super::block::Scanner;
use super::passage::Passage;
use crate::packet::{Flow, Packet, Sequence};
use crate::time::Time;

/// The two ends of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    /// The sender to the inspected port.
    pub source: (IpAddr, u16),
    /// The inspected end.
    pub destination: (IpAddr, u16),
}

/// How a segment of a held flow is looked at.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) payload: &'a [u8],
    /// Also by itself: nobody has looked at it.
    pub(super) itself: bool,
    /// It passes, whatever is found.
    pub(super) passes: bool,
}

impl FlowId {
    /// The id of a segment's flow.
    pub fn of(packet: &Packet<'_>, flow: Flow) -> Self {
        Self {
            source: (packet.source, flow.source_port),
            destination: (packet.destination, flow.destination_port),
        }
    }
}

/// The place of a segment in its flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowPlace {
    /// The sequence number of its first byte.
    pub(super) number: u32,
    /// Bytes on the wire.
    pub(super) length: u32,
    /// The connection ends with it.
    pub(super) last: bool,
}

impl FlowPlace {
    pub(super) fn of(sequence: Sequence) -> Self {
        Self {
            number: sequence.number.wrapping_add(sequence.syn.into()),
            length: sequence.length,
            last: sequence.fin || sequence.rst,
        }
    }
}

/// One flow.
#[derive(Debug)]
pub(super) struct Stream {
    /// The sequence number of the first byte of `kept`.
    pub(super) start: u32,
    /// All that has passed. Of a held flow: segments that only a knock lets pass, as far as they are in order.
    pub(super) kept: Vec<u8>,
    pub(super) scanner: Scanner,
    pub(super) segments: u32,
    /// How much of `kept` there was when knocks were last looked for in it.
    pub(super) looked: usize,
    /// A header field became complete since then.
    pub(super) field: bool,
    pub(super) state: FlowState,
    /// The sequence number at which it begins.
    pub(super) begin: u32,
    /// It starts with a SYN, as the connection does.
    pub(super) whole: bool,
    /// It has started elsewhere before, and the receiver may know of that only (RFC 5961, 4).
    pub(super) anew: bool,
    /// Nobody knows whether its SYN is one: see [`super::StreamTable::doubt_all`].
    pub(super) unsure: bool,
    /// A receiver may have some of it, from this start or an earlier one.
    pub(super) passed: bool,
    /// A receiver may have been told where it ends.
    pub(super) ended: bool,
    /// When it last got on.
    pub(super) seen: Time,
    /// Its messages pass one by one, since the PBX has called the source.
    pub(super) passage: Option<Passage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowState {
    /// Segments pass while they complete nothing.
    Gathering,
    /// Nothing more passes.
    Refused,
    /// The receiver may have part of a block that is not known here: only a knock passes.
    Held,
}

impl Stream {
    /// A flow of which nothing is there yet.
    pub(super) fn new(start: u32, now: Time) -> Self {
        Self {
            start,
            kept: Vec::new(),
            scanner: Scanner::Blank,
            segments: 0,
            looked: 0,
            field: false,
            state: FlowState::Gathering,
            begin: start,
            whole: true,
            anew: false,
            unsure: false,
            passed: false,
            ended: false,
            seen: now,
            passage: None,
        }
    }

    /// The bytes that a segment adds to those kept; `None` if it stands elsewhere, or differs in its overlap.
    ///
    /// That an equal overlap is no reason to refuse the rest is more than it may seem: a sender that missed an
    /// acknowledgement sends what it has again, in larger segments than before (tcp_retrans_try_collapse,
    /// net/ipv4/tcp_output.c), and would do so for ever.
    pub(super) fn new_bytes<'a>(&self, number: u32, payload: &'a [u8]) -> Option<&'a [u8]> {
        // Of what came before the start, which is beyond half of the number space, nothing is known.
        let offset = number.wrapping_sub(self.start) as usize;
        let seen = self.kept.get(offset..)?;
        let (again, new) = payload.split_at_checked(seen.len()).unwrap_or((payload, &[]));
        seen.starts_with(again).then_some(new)
    }

    /// The sequence number that the receiver expects.
    pub(super) fn next(&self) -> u32 {
        // What is kept is bounded far below this.
        self.start.wrapping_add(self.kept.len() as u32)
    }

    /// Whether to look for knocks in what is kept, of which there are now this many bytes: the first time, and then once a
    /// header field became complete and there is half as much again. So a block is searched for three times its length at
    /// most, however it is cut, beside the last look, which needs no permission.
    pub(super) fn is_due(&mut self, length: usize, field: bool) -> bool {
        self.field |= field;
        let due = self.looked == 0 || self.field && length >= self.looked + self.looked.div_ceil(2);
        if due {
            (self.looked, self.field) = (length, false);
        }
        due
    }

    /// Frees what is kept, and says how much it was. From here on only a knock passes. Between two messages that were
    /// judged nothing is in doubt: the flow goes on, and only what is sent again does not pass any more.
    pub(super) fn hold(&mut self) -> usize {
        if self.is_between_messages() {
            (self.start, self.passage) = (self.next(), Some(Passage::default()));
        } else if self.passed || self.ended {
            self.state = FlowState::Held;
        }
        (self.looked, self.field, self.segments) = (0, false, 0);
        std::mem::take(&mut self.kept).len()
    }

    /// Idle for so long that its sender has given up. Silence means nothing before the first byte, and between two
    /// messages that were judged.
    pub(super) fn is_stale(&self, now: Time) -> bool {
        let patient = self.is_between_messages() || self.is_blank();
        now.since(self.seen) >= if patient { HELD_LIFE } else { LIFE }
    }

    /// Whether a receiver may still wait for the rest of what it has.
    pub(super) fn is_held(&self, now: Time) -> bool {
        (self.passed || self.ended) && !self.is_between_messages() && now.since(self.seen) < HELD_LIFE
    }

    /// Whether its SYN is all that has passed.
    fn is_blank(&self) -> bool {
        self.whole && self.state == FlowState::Gathering && !self.passed && !self.ended
    }

    /// Whether all that has passed are whole messages, each of them judged.
    pub(super) fn is_between_messages(&self) -> bool {
        self.state == FlowState::Gathering
            && !self.ended
            && self.passage.is_some_and(|passage| passage.is_at_start(&self.kept))
    }
}

/// How long a silent flow goes on where it was. A sender gives up on what is not acknowledged after some 100 seconds
/// (RFC 9293, 3.8.3), and a phone has long begun a new connection by then.
pub const LIFE: Duration = Duration::from_secs(120);

/// How long a receiver is thought to wait for the rest of a header block. PBXs close such connections after seconds
/// or minutes; not all do.
pub(super) const HELD_LIFE: Duration = Duration::from_secs(24 * 3600);
