//! Outbound doors: the sources that the PBX itself calls, until when they may answer and call back.
//!
//! A request of the PBX opens or renews the door of its destination; an answer does neither, since a stranger could earn
//! one. A door here admits less than a knock's does: no REGISTER, and no request without a tag in From. It is looked up
//! only for packets that the doors of [`crate::door`] do not let pass.
//!
//! A *mark* keeps a source from having one. A closed door or a knock taken out of the configuration leaves it, so that a
//! PBX that goes on pinging a phone does not let the phone in again.
//!
//! Bounds, for what an insider who names foreign addresses as contacts could grow:
//! - doors: `max_outbound`. A full table *evicts the door whose last request of the PBX is oldest*.
//! - registrations of a door: [`MAX_BINDINGS`]. The *one that ends first is forgotten*.
//! - marks: [`MAX_MARKS`]. A full table *evicts the mark that ends first*.

mod door;
mod entries;
mod mark;
mod message;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

pub use door::{HeldBinding, MAX_BINDINGS, OutboundDoor};
pub use entries::Effect;
pub use mark::{MAX_MARKS, Mark};
pub(crate) use message::called_user;
pub use message::user_of;
pub use message::{ContactBinding, Inbound, Method, OutboundRequest, registered_user};

use entries::Entries;

use crate::net::{NetSet, Source};
use crate::time::Time;

/// The bounded table of outbound doors and marks, shared by all queue threads.
#[derive(Debug)]
pub struct OutboundTable {
    entries: RwLock<Entries>,
    /// Doors, open or run out since the last sweep: no lock is needed while there is none.
    doors: AtomicUsize,
    /// Registered users, for the same purpose.
    users: AtomicUsize,
    max: AtomicUsize,
    /// Open doors that had to go since the table was full.
    evicted: AtomicU64,
    /// Something changed since this was last asked for.
    changed: AtomicBool,
}

impl OutboundTable {
    /// An empty table for at most `max` doors.
    pub fn new(max: usize) -> Self {
        Self {
            entries: RwLock::default(),
            doors: AtomicUsize::new(0),
            users: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
            evicted: AtomicU64::new(0),
            changed: AtomicBool::new(false),
        }
    }

    /// Changes the number of doors that there may be. The oldest go with the next request of the PBX.
    pub fn limit(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// The number of doors that there may be.
    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Open doors that were evicted because the table was full.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Sets the destinations that get no door from now on: own addresses, next hops, multicast and the like. Returns the
    /// doors that this closes. A source that is a network keeps its door if its first address is none of them; requests to
    /// one of them renew it no longer.
    pub fn exclude(&self, excluded: NetSet, now: Time) -> Vec<(Source, OutboundDoor)> {
        let mut entries = self.write();
        if !entries.exclude(excluded) {
            return Vec::new();
        }
        let sources = entries.doors().map(|(source, _)| source);
        let gone: Vec<_> = sources.filter(|source| entries.excludes(source.first_address())).collect();
        let closed = gone.into_iter().filter_map(|source| Some((source, entries.remove(source)?)));
        let closed: Vec<_> = closed.filter(|(_, door)| now < door.expires()).collect();
        self.count(&entries);
        if !closed.is_empty() {
            self.set_changed();
        }
        closed
    }

    /// Takes note of a request of the PBX to an address. `life`: for how long a request opens a door that is no REGISTER.
    pub fn requested(
        &self,
        source: Source,
        address: IpAddr,
        now: Time,
        request: &OutboundRequest,
        life: Duration,
    ) -> Effect {
        let mut entries = self.write();
        let (effect, evicted) = entries.requested(source, address, now, request, life, self.max());
        self.count(&entries);
        drop(entries);
        self.evicted.fetch_add(evicted, Ordering::Relaxed);
        if effect != Effect::Nothing {
            self.set_changed();
        }
        effect
    }

    /// Whether there is no door at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Doors, open ones and those that have run out since the last sweep.
    pub fn len(&self) -> usize {
        self.doors.load(Ordering::Relaxed)
    }

    /// Whether a source's outbound door is open.
    #[inline]
    pub fn admits(&self, source: Source, now: Time) -> bool {
        !self.is_empty() && self.read().door(source).is_some_and(|held| now < held.door.expires())
    }

    /// Renews the open door of a source by a request of its own inside a dialog, up to [`MAX_DIALOG`] after the last
    /// request of the PBX.
    pub fn in_dialog(&self, source: Source, now: Time, life: Duration) {
        let wanted = |door: &OutboundDoor| now.after(life).min(door.requested.after(MAX_DIALOG));
        let longer = |door: &OutboundDoor| {
            now < door.expires() && wanted(door) >= door.held_until.after(LEAST_RENEWAL)
        };
        // Most packets of a dialog change nothing, and take no lock that others wait for.
        if !self.read().door(source).is_some_and(|held| longer(&held.door)) {
            return;
        }
        if let Some(door) = self.write().door_mut(source).filter(|door| longer(door)) {
            door.held_until = wanted(door);
            self.set_changed();
        }
    }

    /// Counts a packet that a source's door let pass.
    pub fn passed(&self, source: Source, bytes: u32) {
        if let Some(held) = self.read().door(source) {
            held.passed(bytes);
        }
    }

    /// Whether the PBX has registered a user somewhere. It may have run out since; its door is there.
    pub fn has_users(&self) -> bool {
        self.users.load(Ordering::Relaxed) > 0
    }

    /// Whether the PBX has registered somewhere with this user part, see [`registered_user`].
    pub fn has_user(&self, user: u64, now: Time) -> bool {
        self.has_users() && self.read().has_user(user, now)
    }

    /// Doors that are open.
    pub fn open_count(&self, now: Time) -> usize {
        if self.is_empty() {
            return 0;
        }
        self.read().doors().filter(|(_, held)| now < held.door.expires()).count()
    }

    /// Closes a source's door; the door, if it was open.
    pub fn close(&self, source: Source, now: Time) -> Option<OutboundDoor> {
        let mut entries = self.write();
        let closed = entries.remove(source).filter(|door| now < door.expires());
        self.count(&entries);
        self.set_changed();
        closed
    }

    /// Closes all doors. Marks stay.
    pub fn flush(&self, now: Time) -> Vec<(Source, OutboundDoor)> {
        let mut entries = self.write();
        let closed = entries.clear().filter(|(_, door)| now < door.expires()).collect();
        self.count(&entries);
        self.set_changed();
        closed
    }

    /// Marks a source for `life`, and closes its door; the door, if it was open.
    pub fn mark(&self, source: Source, now: Time, life: Duration) -> Option<OutboundDoor> {
        let mut entries = self.write();
        let earlier = entries.marks.get(&source).filter(|mark| now < mark.until);
        let life = earlier.map_or(life, |mark| mark.life.max(life));
        entries.set_mark(source, Mark { until: now.after(life), life });
        let closed = entries.remove(source).filter(|door| now < door.expires());
        self.count(&entries);
        self.set_changed();
        closed
    }

    /// Takes a source's mark away. Whether there was one.
    pub fn unmark(&self, source: Source, now: Time) -> bool {
        let mut entries = self.write();
        let mark = entries.remove_mark(source);
        self.set_changed();
        mark.is_some_and(|mark| now < mark.until)
    }

    /// Whether a source has a mark.
    pub fn is_marked(&self, source: Source, now: Time) -> bool {
        self.read().is_marked(source, now)
    }

    /// The open doors, in the order of their sources.
    pub fn listed(&self, now: Time) -> Vec<(Source, OutboundDoor)> {
        let entries = self.read();
        let open = entries.doors().filter(|(_, held)| now < held.door.expires());
        let mut open: Vec<_> = open.map(|(source, held)| (source, held.copy())).collect();
        drop(entries);
        open.sort_unstable_by_key(|(source, _)| *source);
        open
    }

    /// The marks that count, in the order of their sources.
    pub fn marks(&self, now: Time) -> Vec<(Source, Mark)> {
        let entries = self.read();
        let valid = entries.marks.iter().filter(|(_, mark)| now < mark.until);
        let mut marks: Vec<_> = valid.map(|(source, mark)| (*source, *mark)).collect();
        drop(entries);
        marks.sort_unstable_by_key(|(source, _)| *source);
        marks
    }

    /// The number of marks.
    pub fn mark_count(&self) -> usize {
        self.read().marks.len()
    }

    /// Opens a door that was open before a restart, if its source has no mark. Whether it did.
    pub fn restore(&self, source: Source, door: OutboundDoor, now: Time) -> bool {
        let mut entries = self.write();
        let refused = now >= door.expires()
            || entries.door(source).is_some()
            || entries.len() >= self.max()
            || entries.excludes(source.first_address())
            || entries.is_marked(source, now);
        if !refused {
            entries.insert(source, door);
            self.count(&entries);
            self.set_changed();
        }
        !refused
    }

    /// Sets a mark of before a restart.
    pub fn restore_mark(&self, source: Source, mark: Mark, now: Time) {
        if now < mark.until {
            let mut entries = self.write();
            entries.set_mark(source, mark);
            entries.remove(source);
            self.count(&entries);
            self.set_changed();
        }
    }

    /// Forgets doors and marks that have run out; the doors.
    pub fn sweep(&self, now: Time) -> Vec<(Source, OutboundDoor)> {
        {
            let entries = self.read();
            if !entries.has_old_marks(now) && !entries.has_run_out(now) {
                return Vec::new();
            }
        }
        let mut entries = self.write();
        entries.forget_old_marks(now);
        let ended = entries.take_run_out(now);
        self.count(&entries);
        ended
    }

    /// Whether doors or marks changed since this was last asked. Those that ran out are not meant.
    pub fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }

    /// Has the next [`OutboundTable::take_changed`] say so.
    pub fn set_changed(&self) {
        self.changed.store(true, Ordering::Release);
    }

    fn count(&self, entries: &Entries) {
        self.doors.store(entries.len(), Ordering::Relaxed);
        self.users.store(entries.user_count(), Ordering::Relaxed);
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long requests of a source inside a dialog renew its door, counted from the last request of the PBX.
pub const MAX_DIALOG: Duration = Duration::from_secs(24 * 3600);

/// A shorter renewal is not worth a lock.
const LEAST_RENEWAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
