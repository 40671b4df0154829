//! The PBX's own requests, and what passes because of them.

use std::net::IpAddr;

use super::client::PacketSender;
use super::inspector::Inspector;
use crate::net::Source;
use crate::outbound::{Effect, Inbound, Method, OutboundRequest, called_user};
use crate::packet::{Body, Packet, Segment};
use crate::time::Time;
use crate::verdict::Reason;

/// A request of the PBX, and its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The destination.
    pub address: IpAddr,
    /// The source that it is, once it answers.
    pub source: Source,
    /// The request's method.
    pub method: Method,
    /// What it did.
    pub effect: Effect,
}

/// An INVITE for a user that the PBX has registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrunkCall<'a> {
    /// The sender.
    pub address: IpAddr,
    /// The whole message.
    pub payload: &'a [u8],
    /// The user part of its Request-URI, a part of the message.
    pub user: &'a [u8],
}

/// A packet once more, after it was searched.
#[derive(Clone, Copy)]
pub(super) enum Again<'a> {
    /// From its IP header on.
    Bytes(&'a [u8]),
    /// Read already.
    Read(&'a Packet<'a>),
}

impl<'a> Again<'a> {
    /// Whether it is a datagram that begins as an answer does. Of IPv4 this takes a look at four bytes: it is asked for each
    /// packet of strangers.
    fn may_answer(self) -> bool {
        let start = match self {
            Self::Bytes(bytes @ [first, ..]) if first >> 4 == 4 => {
                bytes.get(usize::from(first & 0xf) * 4 + UDP_HEADER..)
            }
            _ => match self.packet().map(|packet| packet.body) {
                Some(Body::Segment(segment)) => Some(segment.payload),
                _ => None,
            },
        };
        start.and_then(<[u8]>::first_chunk::<4>).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
    }

    fn packet(self) -> Option<Packet<'a>> {
        match self {
            Self::Bytes(bytes) => Packet::parse(bytes).ok(),
            Self::Read(packet) => Some(*packet),
        }
    }
}

/// RFC 768.
const UDP_HEADER: usize = 8;

impl Inspector {
    /// Takes note of a packet that the PBX has sent, from its IP header on; `None` where that is no request, or where no
    /// request opens a door.
    pub fn outgoing(&self, now: Time, bytes: &[u8]) -> Option<Outgoing> {
        self.sent(now, &Packet::parse(bytes).ok()?)
    }

    /// The same for a packet that has been read already.
    pub fn sent(&self, now: Time, packet: &Packet<'_>) -> Option<Outgoing> {
        let life = self.policy.outbound?;
        let Body::Segment(segment) = packet.body else { return None };
        let request = OutboundRequest::parse(segment.payload)?;
        let address = packet.destination;
        if self.policy.trusted.contains(address) {
            return None;
        }
        let source = self.policy.cut.source(address);
        let effect = self.outbound.requested(source, address, now, &request, life);
        Some(Outgoing { address, source, method: request.method(), effect })
    }

    /// An INVITE for a user that the PBX has registered somewhere: the call of a provider, perhaps. `None` for any other
    /// packet.
    pub fn trunk_call<'a>(&self, now: Time, bytes: &'a [u8]) -> Option<TrunkCall<'a>> {
        if !self.outbound.has_users() {
            return None;
        }
        let packet = Packet::parse(bytes).ok()?;
        let Body::Segment(Segment { payload, .. }) = packet.body else { return None };
        let (user, hash) = called_user(payload)?;
        self.outbound.has_user(hash, now).then_some(TrunkCall { address: packet.source, payload, user })
    }

    /// Whether the PBX has called a source. If the packet `may_answer`, all that it has sent is looked at before the answer
    /// is no.
    #[inline]
    pub(super) fn is_called(
        &self,
        client: PacketSender,
        may_answer: impl FnOnce() -> bool,
        catch_up: &mut dyn FnMut(),
    ) -> bool {
        if self.policy.outbound.is_none() {
            return false;
        }
        let admits = || self.outbound.admits(client.key.source(), client.now);
        admits()
            || may_answer() && {
                catch_up();
                admits()
            }
    }

    /// A packet that would be dropped for `reason`: it passes if the PBX has called its source, and it is one that may come
    /// of that. TCP segments are judged elsewhere, with what came before them.
    #[inline(never)]
    pub(super) fn without_door(
        &self,
        client: PacketSender,
        again: Again<'_>,
        reason: Reason,
        catch_up: &mut dyn FnMut(),
    ) -> Reason {
        if self.is_called(client, || again.may_answer(), catch_up) {
            self.through_outbound(client, again.packet(), reason)
        } else {
            reason
        }
    }

    #[cold]
    fn through_outbound(&self, client: PacketSender, packet: Option<Packet<'_>>, reason: Reason) -> Reason {
        let in_dialog = match packet.map(|packet| packet.body) {
            Some(Body::Segment(segment)) => {
                match Inbound::of_datagram(segment.payload, segment.fragment.is_some()) {
                    Inbound::Refused => return reason,
                    inbound => inbound == Inbound::InDialog,
                }
            }
            // Of a datagram whose first fragment was refused nothing is put together.
            Some(Body::LaterFragment(_)) => false,
            Some(Body::Malformed(..)) | None => return reason,
        };
        self.pass_outbound(client, in_dialog);
        Reason::Outbound
    }

    /// Counts a packet that passes because the PBX has called its source, and renews the door by one inside a dialog.
    pub(super) fn pass_outbound(&self, client: PacketSender, in_dialog: bool) {
        let source = client.key.source();
        self.outbound.passed(source, client.bytes);
        if let Some(life) = self.policy.outbound.filter(|_| in_dialog) {
            self.outbound.in_dialog(source, client.now, life);
        }
    }
}
