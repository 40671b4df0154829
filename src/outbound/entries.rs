//! Doors, marks and registered users, with the orders that evict and the index that answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::door::{HeldBinding, OutboundDoor};
use super::mark::{MAX_MARKS, Mark};
use super::message::OutboundRequest;
use crate::net::{NetSet, Source};
use crate::time::Time;

/// The effect of a request of the PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A new door, open until then.
    Opened {
        /// The first moment at which it is no longer open.
        expires: Time,
    },
    /// An open door, renewed.
    Renewed,
    /// No door: the source has a mark, which lasts longer now.
    Marked,
    /// No door: the request opens none, or the destination never gets one.
    Nothing,
}

/// The content of the table, without its lock.
#[derive(Debug, Default)]
pub(super) struct Entries {
    doors: HashMap<Source, HeldEntry, ahash::RandomState>,
    /// The same doors by the PBX's last request, oldest first.
    by_request: BTreeSet<(Time, Source)>,
    /// Registered users and the ends of their registrations, each with the number of registrations that have both.
    users: Users,
    pub(super) marks: HashMap<Source, Mark, ahash::RandomState>,
    /// The same marks by their end.
    by_end: BTreeSet<(Time, Source)>,
    /// Destinations that never get a door.
    excluded: NetSet,
    /// No door runs out before this.
    next_end: Time,
    /// Doors that made room since they had run out, for the next sweep to report.
    unreported: Vec<(Source, OutboundDoor)>,
}

/// A door in the table. Its counts change without the table's write lock.
#[derive(Debug)]
pub(super) struct HeldEntry {
    pub(super) door: OutboundDoor,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl HeldEntry {
    fn of(door: OutboundDoor) -> Self {
        let (packets, bytes) = (door.packets.into(), door.bytes.into());
        Self { door, packets, bytes }
    }

    /// Counts a packet that it let pass.
    pub(super) fn passed(&self, bytes: u32) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes.into(), Ordering::Relaxed);
    }

    /// The door with its counts as they are now.
    pub(super) fn copy(&self) -> OutboundDoor {
        OutboundDoor {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            ..self.door.clone()
        }
    }

    fn into_door(self) -> OutboundDoor {
        OutboundDoor { packets: self.packets.into_inner(), bytes: self.bytes.into_inner(), ..self.door }
    }
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.doors.len()
    }

    /// Registered users, each counted once for each end of a registration.
    pub(super) fn user_count(&self) -> usize {
        self.users.len()
    }

    pub(super) fn door(&self, source: Source) -> Option<&HeldEntry> {
        self.doors.get(&source)
    }

    /// For changes of `held_until`: the index and the orders do not depend on it.
    pub(super) fn door_mut(&mut self, source: Source) -> Option<&mut OutboundDoor> {
        self.doors.get_mut(&source).map(|held| &mut held.door)
    }

    pub(super) fn doors(&self) -> impl Iterator<Item = (Source, &HeldEntry)> {
        self.doors.iter().map(|(source, held)| (*source, held))
    }

    /// Whether a registration with this user is in force.
    pub(super) fn has_user(&self, user: u64, now: Time) -> bool {
        let mut ends = self.users.range((user, Time::default())..=(user, Time::MAX));
        ends.next_back().is_some_and(|((_, until), _)| now < *until)
    }

    /// A request of the PBX: its effect, and the number of doors that it evicted.
    pub(super) fn requested(
        &mut self,
        source: Source,
        address: IpAddr,
        now: Time,
        request: &OutboundRequest,
        life: Duration,
        max: usize,
    ) -> (Effect, u64) {
        if let Some(mark) = self.marks.get(&source).copied().filter(|mark| now < mark.until) {
            self.set_mark(source, Mark { until: now.after(mark.life), ..mark });
            return (Effect::Marked, 0);
        }
        if self.excluded.contains(address) {
            return (Effect::Nothing, 0);
        }
        if let Some(held) = self.doors.get_mut(&source).filter(|held| now < held.door.expires()) {
            self.by_request.remove(&(held.door.requested, source));
            self.by_request.insert((now, source));
            let registers = matches!(request, OutboundRequest::Register(..));
            if registers {
                held.door.leave(&mut self.users);
            }
            held.door.requested_at(now, request, life);
            self.next_end = self.next_end.min(held.door.expires());
            if registers {
                held.door.enter(&mut self.users);
            }
            return (Effect::Renewed, 0);
        }
        if !request.opens() {
            return (Effect::Nothing, 0);
        }
        self.remove(source);
        let max = max.max(1);
        if self.doors.len() >= max && self.next_end <= now {
            let run_out = self.take_run_out(now);
            self.unreported.extend(run_out);
        }
        let mut evicted = 0;
        while self.doors.len() >= max {
            let Some(&(_, oldest)) = self.by_request.first() else { break };
            evicted += u64::from(self.remove(oldest).is_some());
        }
        let mut door = OutboundDoor::new(now, request.method());
        door.requested_at(now, request, life);
        let expires = door.expires();
        self.insert(source, door);
        (Effect::Opened { expires }, evicted)
    }

    /// Removes the doors that have run out, and returns them with those that went since the last time.
    pub(super) fn take_run_out(&mut self, now: Time) -> Vec<(Source, OutboundDoor)> {
        let over = |held: &HeldEntry| now >= held.door.expires();
        let sources: Vec<_> = self.doors().filter(|(_, held)| over(held)).map(|(source, _)| source).collect();
        let mut run_out = std::mem::take(&mut self.unreported);
        run_out.extend(sources.into_iter().filter_map(|source| Some((source, self.remove(source)?))));
        self.next_end = self.doors().map(|(_, held)| held.door.expires()).min().unwrap_or(Time::MAX);
        run_out
    }

    /// Whether there is anything for [`Entries::take_run_out`].
    pub(super) fn has_run_out(&self, now: Time) -> bool {
        !self.unreported.is_empty() || self.doors().any(|(_, held)| now >= held.door.expires())
    }

    pub(super) fn insert(&mut self, source: Source, door: OutboundDoor) {
        self.next_end = self.next_end.min(door.expires());
        self.by_request.insert((door.requested, source));
        door.enter(&mut self.users);
        self.doors.insert(source, HeldEntry::of(door));
    }

    pub(super) fn remove(&mut self, source: Source) -> Option<OutboundDoor> {
        let door = self.doors.remove(&source)?.into_door();
        self.by_request.remove(&(door.requested, source));
        door.leave(&mut self.users);
        Some(door)
    }

    /// Removes all doors, and returns them.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = (Source, OutboundDoor)> {
        self.by_request.clear();
        self.users.clear();
        self.doors.drain().map(|(source, held)| (source, held.into_door()))
    }

    /// Whether an address never gets a door.
    pub(super) fn excludes(&self, address: IpAddr) -> bool {
        self.excluded.contains(address)
    }

    /// Sets the destinations that get no door; whether they differ from those of before.
    pub(super) fn exclude(&mut self, excluded: NetSet) -> bool {
        let differs = self.excluded != excluded;
        self.excluded = excluded;
        differs
    }

    pub(super) fn is_marked(&self, source: Source, now: Time) -> bool {
        self.marks.get(&source).is_some_and(|mark| now < mark.until)
    }

    pub(super) fn set_mark(&mut self, source: Source, mark: Mark) {
        self.remove_mark(source);
        while self.marks.len() >= MAX_MARKS {
            let Some(&(_, first)) = self.by_end.first() else { break };
            self.remove_mark(first);
        }
        self.by_end.insert((mark.until, source));
        self.marks.insert(source, mark);
    }

    pub(super) fn remove_mark(&mut self, source: Source) -> Option<Mark> {
        let mark = self.marks.remove(&source)?;
        self.by_end.remove(&(mark.until, source));
        Some(mark)
    }

    /// Whether a mark has run out.
    pub(super) fn has_old_marks(&self, now: Time) -> bool {
        self.by_end.first().is_some_and(|(until, _)| *until <= now)
    }

    /// Forgets the marks that have run out.
    pub(super) fn forget_old_marks(&mut self, now: Time) {
        while let Some(&(until, source)) = self.by_end.first().filter(|(until, _)| *until <= now) {
            self.by_end.remove(&(until, source));
            self.marks.remove(&source);
        }
    }
}

/// See [`Entries::users`].
type Users = BTreeMap<(u64, Time), u32>;

impl OutboundDoor {
    /// Enters its registrations into the index.
    fn enter(&self, users: &mut Users) {
        self.registered().for_each(|key| *users.entry(key).or_default() += 1);
    }

    /// Takes its registrations out of the index.
    fn leave(&self, users: &mut Users) {
        for key in self.registered() {
            if let Some(count) = users.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    users.remove(&key);
                }
            }
        }
    }

    /// The users of its registrations, with the ends of these; 0 is no user.
    fn registered(&self) -> impl Iterator<Item = (u64, Time)> {
        let of = |held: &HeldBinding| held.binding.users.map(|user| (user, held.until));
        self.bindings.iter().flat_map(of).filter(|(user, _)| *user != 0)
    }
}
