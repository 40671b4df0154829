//! What becomes of a packet, by its source's door and by what its own knocks do to that.

use std::net::IpAddr;

use super::client::PacketSender;
use super::decision::{Decision, Knocked};
use super::inspector::Inspector;
use super::outbound::Again;
use super::policy::{Mode, Renew};
use super::search::{Content, FoundKnocks, SearchedPacket, StreamPart, at_door};
use crate::door::{DoorChange, DoorState};
use crate::knock::Payload;
use crate::outbound::Inbound;
use crate::stream::{Fate, Gathered, SegmentFinding};
use crate::time::Time;
use crate::verdict::{Reason, Verdict};

impl Inspector {
    /// Decides a packet. If it is a TCP segment, it is the next one of `parts`. It is read `again`, and `catch_up` has all seen
    /// that the PBX has sent, only if it has no door.
    #[inline(always)]
    pub(super) fn settle<'a>(
        &self,
        now: Time,
        seen: SearchedPacket,
        parts: &mut impl Iterator<Item = StreamPart<'a>>,
        again: Again<'a>,
        catch_up: &mut dyn FnMut(),
    ) -> Decision {
        let SearchedPacket { address, key, bytes, content } = seen;
        let client = PacketSender { address, key, now, bytes };
        let is_segment = matches!(content, Content::Segment);
        let (reason, knocked) = match content {
            Content::Trusted => (Reason::Trusted, None),
            Content::Knockless(reason) => (self.without_knock(client, reason), None),
            Content::Told(reason) => (self.renewed(client, reason), None),
            Content::Knocking(found) => self.knocking(client, *found),
            Content::Segment => match parts.next() {
                Some(part) => self.segment(client, part, catch_up),
                None => {
                    debug_assert!(false, "each segment leaves a part");
                    (self.without_knock(client, Reason::Malformed), None)
                }
            },
        };
        let reason = match reason.verdict() {
            Verdict::Drop if !is_segment => self.without_door(client, again, reason, catch_up),
            _ => reason,
        };
        self.conclude(reason, Some(address), knocked)
    }

    /// A packet of which not even the sender can be read.
    #[cold]
    pub(super) fn unreadable(&self) -> Decision {
        self.conclude(Reason::Malformed, None, None)
    }

    /// A datagram with knocks in it.
    #[inline(never)]
    fn knocking(&self, client: PacketSender, found: FoundKnocks) -> (Reason, Option<Box<Knocked>>) {
        let knocked = self.knock(client, found);
        (self.reason(client, knocked.change), Some(knocked))
    }

    /// A TCP segment.
    #[inline(never)]
    fn segment(
        &self,
        client: PacketSender,
        part: StreamPart<'_>,
        catch_up: &mut dyn FnMut(),
    ) -> (Reason, Option<Box<Knocked>>) {
        let mut knocked = None;
        let stranger = match self.doors.pass(client.key, client.now, 0) {
            DoorState::Open => return (self.segment_through_door(client, part, &mut knocked), knocked),
            DoorState::Expired => Reason::Expired,
            DoorState::None => Reason::NoKnock,
        };
        if !part.whole {
            return self.piece_of_stranger(client, part, stranger);
        }
        let called = part.sequence.length > 0 && self.is_called(client, || true, catch_up);
        let reason = match called {
            true => self.segment_of_called(client, part, stranger, &mut knocked),
            false => self.segment_of_stranger(client, part, stranger, &mut knocked),
        };
        if reason.verdict() == Verdict::Drop && self.policy.mode == Mode::Monitor {
            // It passes all the same. Once drops are carried out, only a knock does.
            self.streams.loosen(client.now, part.id);
        }
        (reason, knocked)
    }

    /// The first IP fragment of a segment, or one whose header is cut or broken: nobody can say what stands in the rest, so
    /// only a knock lets it pass, and a call of the PBX does not.
    #[cold]
    fn piece_of_stranger(
        &self,
        client: PacketSender,
        part: StreamPart<'_>,
        stranger: Reason,
    ) -> (Reason, Option<Box<Knocked>>) {
        let (reason, knocked) = match self.find(client.address, Payload::Stream(part.payload)) {
            Some(found) => self.knocking(client, *found),
            None if stranger == Reason::Expired => (stranger, None),
            None if part.fragment => (Reason::Fragment, None),
            None => (Reason::Malformed, None),
        };
        if reason.verdict() == Verdict::Accept || self.policy.mode == Mode::Monitor {
            self.streams.loosen(client.now, part.id);
        }
        (reason, knocked)
    }

    /// One that a door lets pass, whatever is in it.
    fn segment_through_door(
        &self,
        client: PacketSender,
        part: StreamPart<'_>,
        knocked: &mut Option<Box<Knocked>>,
    ) -> Reason {
        let StreamPart { id, sequence, payload, whole, .. } = part;
        let found = self.find(client.address, Payload::Stream(payload));
        // The rest that it needs may stand in another segment, and then the knock is found with that one.
        let waits = whole && found.as_ref().is_some_and(|found| self.needs_all(found));
        if let Some(found) = found.filter(|_| !waits) {
            *knocked = Some(self.knock(client, *found));
            self.streams.opened(client.now, id);
        } else if !whole {
            self.streams.loosen(client.now, id);
        } else {
            self.streams.follow(client.now, id, sequence, payload, waits, |gathered| {
                self.gathered(client, gathered, payload, knocked)
            });
        }
        match knocked {
            Some(knocked) => self.reason(client, knocked.change),
            None => self.without_knock(client, Reason::NoKnock),
        }
    }

    /// One that passes only with what its flow has sent before, or is dropped for `stranger`.
    fn segment_of_stranger(
        &self,
        client: PacketSender,
        part: StreamPart<'_>,
        stranger: Reason,
        knocked: &mut Option<Box<Knocked>>,
    ) -> Reason {
        let StreamPart { id, sequence, payload, .. } = part;
        if sequence.length == 0 {
            let passes = self.streams.handshake(client.now, id, sequence);
            return if passes { Reason::Handshake } else { stranger };
        }
        let fate = self.streams.segment(client.now, id, sequence, payload, |gathered| {
            self.gathered(client, gathered, payload, knocked)
        });
        of_fate(fate, stranger)
    }

    /// One of a source that the PBX has called.
    fn segment_of_called(
        &self,
        client: PacketSender,
        part: StreamPart<'_>,
        stranger: Reason,
        knocked: &mut Option<Box<Knocked>>,
    ) -> Reason {
        let StreamPart { id, sequence, payload, .. } = part;
        let mut in_dialog = false;
        let fate = self.streams.called(
            client.now,
            id,
            sequence,
            payload,
            |gathered| self.gathered(client, gathered, payload, knocked),
            |message| {
                let inbound = Inbound::of_message(message);
                in_dialog |= inbound == Inbound::InDialog;
                inbound != Inbound::Refused
            },
        );
        if fate == Fate::Admitted {
            self.pass_outbound(client, in_dialog);
        }
        of_fate(fate, stranger)
    }

    /// Looks for knocks in all that is known of a flow, `last` being what came last.
    fn gathered(
        &self,
        client: PacketSender,
        gathered: Gathered<'_>,
        last: &[u8],
        knocked: &mut Option<Box<Knocked>>,
    ) -> SegmentFinding {
        let bytes = gathered.bytes;
        // What came before was looked at when it came.
        let searched = bytes.len().saturating_sub(last.len());
        let payload =
            if gathered.grows { Payload::Growing { bytes, searched } } else { Payload::Stream(bytes) };
        if let Some(found) = self.find(client.address, payload) {
            *knocked = Some(self.knock(client, *found));
        }
        let Some(knocked) = knocked else { return SegmentFinding::Nothing };
        if bytes.len() > last.len() {
            knocked.gathered = Some(bytes.into());
        }
        match knocked.change {
            DoorChange::Refused(_) => SegmentFinding::NoRoom,
            DoorChange::Opened { .. } | DoorChange::Renewed(_) => SegmentFinding::Opened,
        }
    }

    /// Lets what was found do what it does to the source's door.
    fn knock(&self, client: PacketSender, found: FoundKnocks) -> Box<Knocked> {
        let FoundKnocks { knocks, grants } = found;
        let mut refused = Vec::new();
        let change =
            self.doors.knock_and_pass(client.key.source(), client.now, &grants, client.bytes, &mut refused);
        Box::new(Knocked { knocks, change, refused, gathered: None })
    }

    /// The reason that follows from what the knocks did.
    fn reason(&self, client: PacketSender, change: DoorChange) -> Reason {
        match change {
            DoorChange::Opened { .. } | DoorChange::Renewed(_) => Reason::Knock,
            DoorChange::Refused(_) => match self.without_knock(client, Reason::DoorLimit) {
                Reason::Expired => Reason::DoorLimit,
                reason => reason,
            },
        }
    }

    /// What has no knock, or one that did nothing: [`at_door`].
    #[inline]
    fn without_knock(&self, client: PacketSender, reason: Reason) -> Reason {
        let state = self.doors.pass(client.key, client.now, client.bytes);
        self.renewed(client, at_door(state, reason))
    }

    /// Has what passed through a door renew it, where packets do that.
    #[inline]
    fn renewed(&self, client: PacketSender, reason: Reason) -> Reason {
        if reason == Reason::Door && self.policy.renew == Renew::Packet {
            self.doors.extend(client.key.source(), client.now);
        }
        reason
    }

    #[inline(always)]
    fn conclude(&self, reason: Reason, source: Option<IpAddr>, knocked: Option<Box<Knocked>>) -> Decision {
        let verdict = match self.policy.mode {
            Mode::Enforce => reason.verdict(),
            Mode::Monitor => Verdict::Accept,
        };
        Decision { verdict, reason, source, knocked }
    }
}

/// What a flow's fate is called; one that is refused is dropped for `stranger`.
fn of_fate(fate: Fate, stranger: Reason) -> Reason {
    match fate {
        Fate::Partial => Reason::Partial,
        Fate::Opened => Reason::Knock,
        Fate::Admitted => Reason::Outbound,
        Fate::NoRoom => Reason::DoorLimit,
        Fate::Refused => stranger,
    }
}
