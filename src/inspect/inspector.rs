//! Policy, knocks and doors together.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::ids::{Identities, Ids};
use super::policy::{DEFAULT_MAX_OUTBOUND, MANUAL, Mode, Policy};
use super::registrar::Registrar;
use crate::door::{self, Door, DoorState, DoorTable};
use crate::knock::{Knock, KnockId, KnockSet};
use crate::net::{Cut, Source};
use crate::outbound::{OutboundDoor, OutboundTable};
use crate::stream::StreamTable;
use crate::time::Time;

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
    /// Some sources are others than those of the inspector before.
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

    /// Has the doors go by this one's limits, and shuts those that only knocks hold that are gone, once it has taken
    /// the place of the inspector before it. The sources of such knocks, and those that such a knock is remembered for, are
    /// marked, so that a PBX that goes on calling them opens no outbound door. `each` gets to see those that are shut.
    pub fn take_over(&self, max_doors: usize, now: Time, mut each: impl FnMut(Source, Door)) -> RetiredDoors {
        let mut outbound = Vec::new();
        let limit = |place: &Option<KnockId>| place.and_then(|place| self.knocks.get(place)?.max_doors);
        self.doors.limit(max_doors, self.ids.places().iter().map(limit));
        self.outbound.limit(self.policy.max_outbound.unwrap_or(DEFAULT_MAX_OUTBOUND));
        let gone = |id| id != Door::by_hand() && self.ids.place(id).is_none();
        let door::RetiredClaims { shut: closed, kept } =
            self.doors.retire(gone, now, |source, door, was_shut| {
                let closed = self.outbound.mark(source, now, self.mark_life(door.life()));
                outbound.extend(closed.map(|closed| (source, closed)));
                if was_shut {
                    each(source, door);
                }
            });
        let mut retired = RetiredDoors { closed, kept, outbound };
        if self.recut {
            self.forget_other_sources(now, &mut retired, &mut each);
        }
        retired
    }

    /// Shuts the doors of sources that are none any more: an address of theirs finds no door there, and opens one of its own
    /// by its next knock.
    fn forget_other_sources(
        &self,
        now: Time,
        retired: &mut RetiredDoors,
        each: &mut impl FnMut(Source, Door),
    ) {
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

    /// Whether a source's door is open, by a knock, by hand or by a call of the PBX.
    pub fn has_door(&self, source: Source, now: Time) -> bool {
        self.doors.state(source, now) == DoorState::Open || self.outbound.admits(source, now)
    }
}

/// The doors that were shut because their knocks are gone, or because the rule that makes a source has changed.
#[derive(Debug, Default)]
pub struct RetiredDoors {
    /// The number of doors, outbound ones aside.
    pub closed: u64,
    /// The number of doors that stay open since other knocks hold them, too.
    pub kept: u64,
    /// Outbound doors of the same sources.
    pub outbound: Vec<(Source, OutboundDoor)>,
}

/// Doors that are looked through at once.
const PART: usize = 131_072;
