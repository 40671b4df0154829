//! The decision about one packet: bytes and the time in, a verdict with its reason out.
//!
//! The checks and their order are those of the table "A packet's fate" in docs/guide.md; `replay --json` shows
//! the outcome.
//!
//! A datagram is decided by itself. A TCP segment of a source without an open door is decided by all that its flow has
//! sent so far, see [`crate::stream`]; with the door open it passes, and only its knocks are looked for there.

mod client;
mod decision;
mod identities;
mod ids;
mod inspector;
mod outbound;
mod policy;
mod registrar;
mod scope;
mod search;
mod settle;

pub use decision::{Decision, Knocked};
pub use ids::Identities;
pub use inspector::{Inspector, RetiredDoors};
pub use outbound::{Outgoing, TrunkCall};
pub use policy::{DEFAULT_MAX_OUTBOUND, MANUAL, Mode, OUTBOUND, Policy, Renew};
pub use registrar::Bounds;
pub use scope::Scope;

use outbound::Again;
use search::SearchedPacket;

use crate::packet::Packet;
use crate::time::Time;

impl Inspector {
    /// Decides a packet that starts with its IP header, as the kernel queues it.
    pub fn inspect(&self, now: Time, bytes: &[u8]) -> Decision {
        match Packet::parse(bytes) {
            Ok(packet) => self.decide(now, &packet),
            Err(_) => self.unreadable(),
        }
    }

    /// Decides a packet that has been read already.
    pub fn decide(&self, now: Time, packet: &Packet<'_>) -> Decision {
        let mut part = None;
        let seen = self.search(packet, |its| part = Some(its));
        self.settle(now, seen, &mut part.into_iter(), Again::Read(packet), &mut || {})
    }

    /// Decides packets that came together, as [`Inspector::inspect`] does one after the other.
    ///
    /// First all are read, and datagrams are searched, which is most of the work. Then their doors are looked at, for all
    /// of them together, up to the first packet that may open or shut one. What is known of the sources of the rest is
    /// fetched to the cache, and then all are decided in their order.
    ///
    /// `catch_up` is called once at most, before the first packet that may answer a request of the PBX is dropped for want
    /// of a door. It has [`Inspector::outgoing`] see all that the PBX has sent so far.
    pub fn inspect_all<'a>(
        &self,
        now: Time,
        packets: impl Iterator<Item = &'a [u8]> + Clone,
        batch: &mut Batch,
        catch_up: impl FnOnce(),
    ) {
        let Batch { seen, decisions } = batch;
        let mut parts = Vec::new();
        seen.extend(packets.clone().map(|bytes| {
            let packet = Packet::parse_inline(bytes);
            packet.as_ref().ok().map(|packet| self.search(packet, |part| parts.push(part)))
        }));
        let changing =
            |seen: &Option<SearchedPacket>| seen.as_ref().is_some_and(SearchedPacket::may_change_doors);
        let first = seen.iter().position(changing).unwrap_or(seen.len());
        let (before, rest) = seen.split_at_mut(first);
        let ask = |seen: &Option<SearchedPacket>| seen.as_ref().and_then(SearchedPacket::ask);
        self.doors.pass_together(before, now, ask, |seen, state| {
            if let Some(seen) = seen {
                seen.resolved(state);
            }
        });
        self.doors.prefetch(rest.iter().flatten().map(|seen| seen.key));
        let mut parts = parts.into_iter();
        let mut catch_up = Some(catch_up);
        let mut catch_up = || catch_up.take().into_iter().for_each(|catch_up| catch_up());
        decisions.clear();
        decisions.extend(seen.drain(..).zip(packets).map(|(seen, bytes)| match seen {
            Some(seen) => self.settle(now, seen, &mut parts, Again::Bytes(bytes), &mut catch_up),
            None => self.unreadable(),
        }));
    }
}

/// Packets that came together, as far as they are decided. It serves one batch after the other, for its memory.
#[derive(Debug, Default)]
pub struct Batch {
    seen: Vec<Option<SearchedPacket>>,
    decisions: Vec<Decision>,
}

impl Batch {
    /// The last decisions of [`Inspector::inspect_all`], one for each packet.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }
}

#[cfg(test)]
mod tests;
