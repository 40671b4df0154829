//! What can be said of a packet before its source's door is looked at.

use std::net::IpAddr;

use super::inspector::Inspector;
use crate::door::{DoorState, Grant, Key, Lookup};
use crate::knock::{Knock, KnockId, Life, Match, Payload};
use crate::packet::{Body, Packet, Sequence, Transport};
use crate::stream::FlowId;
use crate::verdict::Reason;

/// A packet that was read, and searched if it is a datagram, and waits for its decision. Of all that was read it keeps
/// only what that takes.
#[derive(Debug)]
pub(super) struct SearchedPacket {
    pub(super) address: IpAddr,
    pub(super) key: Key,
    /// Of the packet, for the door's count.
    pub(super) bytes: u32,
    pub(super) content: Content,
}

/// What a packet is to the gate.
#[derive(Debug)]
pub(super) enum Content {
    /// Anything, from an address that needs no knock.
    Trusted,
    /// A datagram with knocks in it.
    Knocking(Box<FoundKnocks>),
    /// A TCP segment, which is kept elsewhere. What is to be searched for knocks depends on the door.
    Segment,
    /// What opens no door, and why it is dropped where none is open.
    Knockless(Reason),
    /// What was one of these, and what became of it at its door.
    Told(Reason),
}

impl SearchedPacket {
    /// What is to be asked of the doors, where the decision is all in that.
    #[inline]
    pub(super) fn ask(&self) -> Option<Lookup> {
        let asks = matches!(self.content, Content::Knockless(_));
        asks.then_some(Lookup { key: self.key, bytes: self.bytes })
    }

    /// What the doors say to that.
    #[inline]
    pub(super) fn resolved(&mut self, state: DoorState) {
        if let Content::Knockless(reason) = self.content {
            self.content = Content::Told(at_door(state, reason));
        }
    }

    /// Whether what a door is to the next packet may be another once this one is decided. What passes may prolong its door,
    /// which makes no difference to a packet of the same time.
    #[inline]
    pub(super) fn may_change_doors(&self) -> bool {
        matches!(self.content, Content::Knocking(_) | Content::Segment)
    }
}

/// What becomes of a packet without a knock: it passes where a door is open, and is dropped for `reason` where there never
/// was one.
#[inline]
pub(super) fn at_door(state: DoorState, reason: Reason) -> Reason {
    match state {
        DoorState::Open => Reason::Door,
        DoorState::Expired => Reason::Expired,
        DoorState::None => reason,
    }
}

/// A TCP segment's place, and what it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamPart<'a> {
    pub(super) id: FlowId,
    pub(super) sequence: Sequence,
    pub(super) payload: &'a [u8],
    /// All of the segment is here.
    pub(super) whole: bool,
    /// If not: this is the first IP fragment of it, and otherwise its header can't be read.
    pub(super) fragment: bool,
}

/// Knocks that were found, and what each of them grants.
#[derive(Debug)]
pub(super) struct FoundKnocks {
    pub(super) knocks: Vec<KnockId>,
    pub(super) grants: Vec<Grant>,
}

impl Inspector {
    /// Looks for knocks in a datagram, and hands a TCP segment to `keep`.
    // Compiled into its caller, as reading a packet and `settle` are: what is written piece by piece and then moved as a
    // whole makes the processor wait for its own writes.
    #[inline(always)]
    pub(super) fn search<'a>(
        &self,
        packet: &Packet<'a>,
        keep: impl FnOnce(StreamPart<'a>),
    ) -> SearchedPacket {
        let content = match packet.body {
            _ if self.policy.trusted.contains(packet.source) => Content::Trusted,
            Body::Segment(segment) => match segment.sequence {
                None => match self.find(packet.source, Payload::Datagram(segment.payload)) {
                    Some(found) => Content::Knocking(found),
                    None => Content::Knockless(Reason::NoKnock),
                },
                Some(sequence) => {
                    let id = FlowId::of(packet, segment.flow);
                    let fragment = segment.fragment.is_some();
                    keep(StreamPart { id, sequence, payload: segment.payload, whole: !fragment, fragment });
                    Content::Segment
                }
            },
            Body::LaterFragment(_) => Content::Knockless(Reason::Fragment),
            // A receiver may be able to read it, once it has the other fragments.
            Body::Malformed(_, Some(flow)) if flow.transport == Transport::Tcp => {
                let (id, sequence) = (FlowId::of(packet, flow), Sequence::default());
                keep(StreamPart { id, sequence, payload: &[], whole: false, fragment: false });
                Content::Segment
            }
            Body::Malformed(..) => Content::Knockless(Reason::Malformed),
        };
        let key = self.doors.key(self.policy.cut.source(packet.source));
        SearchedPacket { address: packet.source, key, bytes: packet.length, content }
    }

    /// The knocks of a payload that count, and what they grant.
    #[inline]
    pub(super) fn find(&self, address: IpAddr, payload: Payload<'_>) -> Option<Box<FoundKnocks>> {
        let matches = self.knocks.matched(address, payload);
        if matches.is_empty() { None } else { Some(self.granted(&matches)) }
    }

    #[cold]
    fn granted(&self, matches: &[Match<'_>]) -> Box<FoundKnocks> {
        let knocks = matches.iter().map(|found| self.ids.of_place(found.knock)).collect();
        let mut grants = Vec::with_capacity(matches.len());
        matches.iter().for_each(|found| self.grant(found, &mut grants));
        Box::new(FoundKnocks { knocks, grants })
    }

    /// Whether any of what was found counts only with the whole of its message.
    pub(super) fn needs_all(&self, found: &FoundKnocks) -> bool {
        found.knocks.iter().any(|id| self.knock_of(*id).is_some_and(Knock::needs_all))
    }

    fn grant(&self, found: &Match<'_>, grants: &mut Vec<Grant>) {
        let knock = self.ids.of_place(found.knock);
        match self.knocks.get(found.knock).map(|knock| knock.door) {
            Some(Life::Span(life)) => grants.push(Grant { knock, life, registration: None }),
            Some(Life::Registration) => self.registrar.grants(knock, found.message.as_ref(), grants),
            None => {}
        }
    }
}
