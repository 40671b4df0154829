//! The decision about one packet: bytes and the time in, a verdict with its reason out.
//!
//! The checks and their order are those of the table in docs/architecture.md, which `replay --json` shows:
//! `trusted`, `knock`, `door`, `handshake`, `partial`, `expired`, and for the rest what kind of packet it was.
//!
//! A datagram is decided by itself. A TCP segment of a source without an open door is decided by all that its flow has
//! sent so far, see [`crate::stream`]; with the door open it passes, and only its knocks are looked for there.

mod client;
mod decision;
mod identities;
mod ids;
mod outbound;
mod policy;
mod registrar;
mod scope;
mod search;
mod settle;

pub use decision::{Decision, Knocked};
pub use ids::Identities;
pub use outbound::{Outgoing, TrunkCall};
pub use policy::{DEFAULT_MAX_OUTBOUND, MANUAL, Mode, OUTBOUND, Policy, Renew};
pub use registrar::Bounds;
pub use scope::Scope;

use outbound::Again;
use search::Seen;

use crate::packet::Packet;
use crate::time::Time;

use crate::door::{self, Door, DoorTable, State};
use crate::knock::{Knock, KnockId, KnockSet};
use crate::net::{Cut, Source};
use crate::outbound::{OutboundDoor, OutboundTable};
use crate::stream::StreamTable;
use ids::Ids;
use registrar::Registrar;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Policy, knocks and doors together: all that a decision needs. One serves all queue threads.
#[derive(Debug)]
pub struct Inspector {
    pub(super) policy: Policy,
    pub(super) knocks: KnockSet,
    pub(super) ids: Ids,
    pub(super) identities: OnceLock<Identities>,
    pub(super) doors: Arc<DoorTable>,
    pub(super) outbound: Arc<OutboundTable>,
    pub(super) streams: Arc<StreamTable>,
    pub(super) registrar: Registrar,
    /// Some sources are others than its predecessor's.
    recut: bool,
}

impl Inspector {
    /// An inspector without any door open. `max_doors` bounds how many can be.
    pub fn new(policy: Policy, knocks: KnockSet, max_doors: usize) -> Self {
        let ids = Ids::new(&knocks);
        let doors = DoorTable::new(max_doors, knocks.iter().map(|knock| knock.max_doors)).into();
        let streams = StreamTable::new(policy.streams).into();
        let registrar = Registrar::new(policy.registrations);
        let outbound = OutboundTable::new(policy.max_outbound.unwrap_or(DEFAULT_MAX_OUTBOUND)).into();
        let identities = OnceLock::new();
        Self { policy, knocks, ids, identities, doors, outbound, streams, registrar, recut: false }
    }

    /// One with another policy and other knocks that shares this one's doors and TCP flows. Knocks are told by their
    /// secrets and places, and by their names if the secret or the place is another. The lengths of prefixes stay as they
    /// are, and so do the limits of flows, since doors and flows go by them.
    pub fn successor(&self, policy: Policy, knocks: KnockSet) -> Self {
        let cut = policy.cut.with_prefixes(self.policy.cut.prefixes());
        Self {
            recut: cut != self.policy.cut,
            ids: self.ids.next(&self.knocks, &knocks),
            identities: OnceLock::new(),
            registrar: Registrar::new(policy.registrations),
            policy: Policy { cut, streams: self.policy.streams, ..policy },
            doors: Arc::clone(&self.doors),
            outbound: Arc::clone(&self.outbound),
            streams: Arc::clone(&self.streams),
            knocks,
        }
    }

    /// Has the doors go by this one's limits, and shuts those that only knocks hold that are gone, once it has taken its
    /// predecessor's place. The sources of such knocks, and those that such a knock is remembered for, are marked, so that a PBX that goes on calling
    /// them opens no outbound door. `each` gets to see those that are shut.
    pub fn take_over(&self, max_doors: usize, now: Time, mut each: impl FnMut(Source, Door)) -> Retired {
        let mut outbound = Vec::new();
        let limit = |place: &Option<KnockId>| place.and_then(|place| self.knocks.get(place)?.max_doors);
        self.doors.limit(max_doors, self.ids.places().iter().map(limit));
        self.outbound.limit(self.policy.max_outbound.unwrap_or(DEFAULT_MAX_OUTBOUND));
        let gone = |id| id != Door::by_hand() && self.ids.place(id).is_none();
        let door::Retired { shut: closed, kept } = self.doors.retire(gone, now, |source, door, was_shut| {
            let closed = self.outbound.mark(source, now, self.mark_life(door.life()));
            outbound.extend(closed.map(|closed| (source, closed)));
            if was_shut {
                each(source, door);
            }
        });
        let mut retired = Retired { closed, kept, outbound };
        if self.recut {
            self.forget_other_sources(now, &mut retired, &mut each);
        }
        retired
    }

    /// Shuts the doors of sources that are none any more: an address of theirs finds no door there, and opens one of its own
    /// by its next knock.
    fn forget_other_sources(&self, now: Time, retired: &mut Retired, each: &mut impl FnMut(Source, Door)) {
        let parts = self.doors.parts(PART);
        for part in 0..parts {
            for known in self.doors.known(part, parts, now) {
                if !self.policy.cut.makes(known.source)
                    && let Some(door) = self.doors.close(known.source)
                {
                    each(known.source, door);
                    retired.closed += 1;
                }
            }
        }
        for (source, _) in self.outbound.listed(now) {
            if !self.policy.cut.makes(source) {
                let closed = self.outbound.close(source, now);
                retired.outbound.extend(closed.map(|closed| (source, closed)));
            }
        }
    }

    /// For how long a source is marked whose door opens for `life`.
    pub fn mark_life(&self, life: Duration) -> Duration {
        life.max(self.policy.outbound.unwrap_or_default())
    }

    /// For how long a request of the PBX opens a door for its destination; `None`: it opens none.
    pub fn outbound_life(&self) -> Option<Duration> {
        self.policy.outbound
    }

    /// The knocks it looks for.
    pub fn knocks(&self) -> &KnockSet {
        &self.knocks
    }

    /// A knock's name, as logs and lists have it; [`MANUAL`] for that of doors opened by hand.
    pub fn name(&self, knock: KnockId) -> &str {
        if knock == Door::by_hand() { MANUAL } else { self.ids.name(knock) }
    }

    /// The names of all knocks that there ever were, by their ids.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.ids.names()
    }

    /// The knock of a name.
    pub fn knock_named(&self, name: &str) -> Option<KnockId> {
        self.knocks_by_id().find(|(_, knock)| knock.name == name).map(|(id, _)| id)
    }

    /// A knock that it looks for, by its id.
    pub fn knock_of(&self, id: KnockId) -> Option<&Knock> {
        self.knocks.get(self.ids.place(id)?)
    }

    /// The knocks with their ids, in the order of the config.
    pub fn knocks_by_id(&self) -> impl Iterator<Item = (KnockId, &Knock)> {
        (0u32..)
            .zip(self.knocks.iter())
            .map(|(place, knock)| (self.ids.of_place(KnockId::from(place)), knock))
    }

    /// The doors.
    pub fn doors(&self) -> &DoorTable {
        &self.doors
    }

    /// The doors of sources that the PBX has called.
    pub fn outbound(&self) -> &OutboundTable {
        &self.outbound
    }

    /// The TCP flows of sources without an open door.
    pub fn streams(&self) -> &StreamTable {
        &self.streams
    }

    /// Whether it accepts everything, and only logs drops.
    pub fn monitors(&self) -> bool {
        self.policy.mode == Mode::Monitor
    }

    /// Whether an address passes without a knock.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.policy.trusted.contains(address)
    }

    /// The rule that makes a source out of an address.
    pub fn cut(&self) -> &Cut {
        &self.policy.cut
    }

    /// Whether a source's door is open, whoever opened it.
    pub fn has_door(&self, source: Source, now: Time) -> bool {
        self.doors.state(source, now) == State::Open || self.outbound.admits(source, now)
    }
}

/// The doors that were shut because their knocks are gone, or because the rule that makes a source has changed.
#[derive(Debug, Default)]
pub struct Retired {
    /// The number of doors, outbound ones aside.
    pub closed: u64,
    /// The number of doors that stay open since other knocks hold them, too.
    pub kept: u64,
    /// Outbound doors of the same sources.
    pub outbound: Vec<(Source, OutboundDoor)>,
}

/// Doors that are looked through at once.
const PART: usize = 131_072;

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
        let changing = |seen: &Option<Seen>| seen.as_ref().is_some_and(Seen::may_change_doors);
        let first = seen.iter().position(changing).unwrap_or(seen.len());
        let (before, rest) = seen.split_at_mut(first);
        let ask = |seen: &Option<Seen>| seen.as_ref().and_then(Seen::ask);
        self.doors.pass_together(before, now, ask, |seen, state| {
            if let Some(seen) = seen {
                seen.told(state);
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
    seen: Vec<Option<Seen>>,
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
