//! What is known of one flow.

use std::time::Duration;

use super::block::Scanner;
use super::passage::Passage;
use crate::time::Time;

/// One flow.
#[derive(Debug)]
pub(super) struct Stream {
    /// The sequence number of the first byte of `kept`.
    pub(super) start: u32,
    /// All that has passed.
    pub(super) kept: Vec<u8>,
    pub(super) scanner: Scanner,
    pub(super) segments: u32,
    pub(super) state: State,
    /// It starts where the connection did.
    pub(super) whole: bool,
    /// It has started elsewhere before, and the receiver may know of that only (RFC 5961, 4).
    pub(super) anew: bool,
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
pub(super) enum State {
    /// Segments pass while they complete nothing.
    Gathering,
    /// Nothing more passes; of a flow whose start nobody saw, a knock still does.
    Refused,
    /// The receiver may have part of a block that is not known here: each segment is judged alone.
    Held,
}

impl Stream {
    /// What a segment adds to what has passed; `None` where it stands elsewhere, or differs where it overlaps.
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

    /// Frees what is kept, and says how much it was. From here on segments are judged alone. Between two messages that were
    /// judged nothing is in doubt: the flow goes on, and only what is sent again does not pass any more.
    pub(super) fn hold(&mut self) -> usize {
        if self.is_between_messages() {
            (self.start, self.passage) = (self.next(), Some(Passage::default()));
        } else if self.passed || self.ended {
            self.state = State::Held;
        }
        std::mem::take(&mut self.kept).len()
    }

    /// Idle for so long that its sender has given up. Between two messages that were judged, silence means nothing.
    pub(super) fn is_stale(&self, now: Time) -> bool {
        now.since(self.seen) >= if self.is_between_messages() { HELD_LIFE } else { LIFE }
    }

    /// Whether a receiver may still wait for the rest of what it has.
    pub(super) fn is_held(&self, now: Time) -> bool {
        (self.passed || self.ended) && !self.is_between_messages() && now.since(self.seen) < HELD_LIFE
    }

    /// Whether all that has passed are whole messages, each of them judged.
    pub(super) fn is_between_messages(&self) -> bool {
        self.state == State::Gathering
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
