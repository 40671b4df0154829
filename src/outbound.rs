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

mod message;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

pub(crate) use message::called_user;
pub use message::{Binding, Inbound, Method, Request, registered_user};

use crate::net::{NetSet, Source};
use crate::time::Time;

/// The bounded table of outbound doors and marks, shared by all queue threads.
#[derive(Debug)]
pub struct OutboundTable {
    inner: RwLock<Inner>,
    /// Doors, open or run out since the last sweep: no lock is needed while there is none.
    doors: AtomicUsize,
    /// Registrations of all doors, for the same purpose.
    bindings: AtomicUsize,
    max: AtomicUsize,
    /// Something changed since this was last asked for.
    changed: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    doors: HashMap<Source, OutboundDoor, ahash::RandomState>,
    /// The same doors by the PBX's last request, oldest first.
    by_request: BTreeSet<(Time, Source)>,
    marks: HashMap<Source, Mark, ahash::RandomState>,
    /// The same marks by their end.
    by_end: BTreeSet<(Time, Source)>,
    /// Destinations that never get a door.
    excluded: NetSet,
    /// Registrations of all doors together.
    bindings: usize,
}

/// The permission of a source that the PBX has called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundDoor {
    /// The time of the request that opened it.
    pub opened: Time,
    /// The method of that request.
    pub method: Method,
    /// The time of the PBX's last request to the source.
    pub requested: Time,
    /// Held until then by requests of the PBX and by requests inside their dialogs.
    pub held_until: Time,
    /// The registrations of the PBX with the source.
    pub bindings: Vec<HeldBinding>,
    /// Packets that it let pass, since it was opened or the gate was started.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
}

/// A registration of the PBX, and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBinding {
    /// The registration.
    pub binding: Binding,
    /// The first moment at which it no longer holds the door.
    pub until: Time,
}

/// What keeps a source from having an outbound door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The first moment at which it no longer counts.
    pub until: Time,
    /// Its life, from the closing and from each later request of the PBX to the source.
    pub life: Duration,
}

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

impl OutboundTable {
    /// An empty table for at most `max` doors.
    pub fn new(max: usize) -> Self {
        Self {
            inner: RwLock::default(),
            doors: AtomicUsize::new(0),
            bindings: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
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

    /// Sets the destinations that get no door from now on: own addresses, next hops, multicast and the like.
    pub fn exclude(&self, excluded: NetSet) {
        self.write().excluded = excluded;
    }

    /// Takes note of a request of the PBX to an address. `life`: for how long a request opens a door that is no REGISTER.
    pub fn requested(
        &self,
        source: Source,
        address: IpAddr,
        now: Time,
        request: &Request,
        life: Duration,
    ) -> Effect {
        let mut inner = self.write();
        let effect = inner.requested(source, address, now, request, life, self.max());
        self.count(&inner);
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
        !self.is_empty() && self.read().doors.get(&source).is_some_and(|door| now < door.expires())
    }

    /// Renews the open door of a source by a request of its own inside a dialog, up to [`MAX_DIALOG`] after the last
    /// request of the PBX.
    pub fn in_dialog(&self, source: Source, now: Time, life: Duration) {
        let wanted = |door: &OutboundDoor| now.after(life).min(door.requested.after(MAX_DIALOG));
        let longer = |door: &OutboundDoor| {
            now < door.expires() && wanted(door) >= door.held_until.after(LEAST_RENEWAL)
        };
        // Most packets of a dialog change nothing, and take no lock that others wait for.
        if !self.read().doors.get(&source).is_some_and(longer) {
            return;
        }
        if let Some(door) = self.write().doors.get_mut(&source).filter(|door| longer(door)) {
            door.held_until = wanted(door);
            self.set_changed();
        }
    }

    /// Counts a packet that a source's door let pass.
    pub fn passed(&self, source: Source, bytes: u32) {
        if let Some(door) = self.write().doors.get_mut(&source) {
            door.packets += 1;
            door.bytes += u64::from(bytes);
        }
    }

    /// Whether the PBX has registered somewhere, now or until the last sweep.
    pub fn has_users(&self) -> bool {
        self.bindings.load(Ordering::Relaxed) > 0
    }

    /// Whether the PBX has registered somewhere with this user part, see [`registered_user`].
    pub fn has_user(&self, user: u64, now: Time) -> bool {
        self.has_users()
            && self.read().doors.values().any(|door| {
                door.bindings.iter().any(|held| now < held.until && held.binding.users.contains(&user))
            })
    }

    /// Doors that are open.
    pub fn open_count(&self, now: Time) -> usize {
        if self.is_empty() {
            return 0;
        }
        self.read().doors.values().filter(|door| now < door.expires()).count()
    }

    /// Closes a source's door; the door, if it was open.
    pub fn close(&self, source: Source, now: Time) -> Option<OutboundDoor> {
        let mut inner = self.write();
        let closed = inner.remove(source).filter(|door| now < door.expires());
        self.count(&inner);
        self.set_changed();
        closed
    }

    /// Closes all doors. Marks stay.
    pub fn flush(&self, now: Time) -> Vec<(Source, OutboundDoor)> {
        let mut inner = self.write();
        inner.by_request.clear();
        inner.bindings = 0;
        let closed = inner.doors.drain().filter(|(_, door)| now < door.expires()).collect();
        self.count(&inner);
        self.set_changed();
        closed
    }

    /// Marks a source for `life`, and closes its door; the door, if it was open.
    pub fn mark(&self, source: Source, now: Time, life: Duration) -> Option<OutboundDoor> {
        let mut inner = self.write();
        let life = inner.marks.get(&source).map_or(life, |mark| mark.life.max(life));
        inner.set_mark(source, Mark { until: now.after(life), life });
        let closed = inner.remove(source).filter(|door| now < door.expires());
        self.count(&inner);
        self.set_changed();
        closed
    }

    /// Takes a source's mark away. Whether there was one.
    pub fn unmark(&self, source: Source, now: Time) -> bool {
        let mut inner = self.write();
        let mark = inner.remove_mark(source);
        self.set_changed();
        mark.is_some_and(|mark| now < mark.until)
    }

    /// Whether a source has a mark.
    pub fn is_marked(&self, source: Source, now: Time) -> bool {
        self.read().marks.get(&source).is_some_and(|mark| now < mark.until)
    }

    /// The open doors, in the order of their sources.
    pub fn listed(&self, now: Time) -> Vec<(Source, OutboundDoor)> {
        let inner = self.read();
        let open = inner.doors.iter().filter(|(_, door)| now < door.expires());
        let mut open: Vec<_> = open.map(|(source, door)| (*source, door.clone())).collect();
        drop(inner);
        open.sort_unstable_by_key(|(source, _)| *source);
        open
    }

    /// The marks that count, in the order of their sources.
    pub fn marks(&self, now: Time) -> Vec<(Source, Mark)> {
        let inner = self.read();
        let valid = inner.marks.iter().filter(|(_, mark)| now < mark.until);
        let mut marks: Vec<_> = valid.map(|(source, mark)| (*source, *mark)).collect();
        drop(inner);
        marks.sort_unstable_by_key(|(source, _)| *source);
        marks
    }

    /// The number of marks.
    pub fn mark_count(&self) -> usize {
        self.read().marks.len()
    }

    /// Opens a door that was open before a restart, if its source has no mark. Whether it did.
    pub fn restore(&self, source: Source, door: OutboundDoor, now: Time) -> bool {
        let mut inner = self.write();
        let refused = now >= door.expires()
            || inner.doors.contains_key(&source)
            || inner.doors.len() >= self.max()
            || inner.is_marked(source, now);
        if !refused {
            inner.insert(source, door);
            self.count(&inner);
            self.set_changed();
        }
        !refused
    }

    /// Sets a mark of before a restart.
    pub fn restore_mark(&self, source: Source, mark: Mark, now: Time) {
        if now < mark.until {
            let mut inner = self.write();
            inner.set_mark(source, mark);
            inner.remove(source);
            self.count(&inner);
            self.set_changed();
        }
    }

    /// Forgets doors and marks that have run out; the doors.
    pub fn sweep(&self, now: Time) -> Vec<(Source, OutboundDoor)> {
        let run_out: Vec<_> = {
            let inner = self.read();
            let run_out = inner.doors.iter().filter(|(_, door)| now >= door.expires());
            let run_out = run_out.map(|(source, _)| *source).collect();
            let marks_end = inner.by_end.first().is_some_and(|(until, _)| *until <= now);
            if !marks_end && Vec::is_empty(&run_out) {
                return Vec::new();
            }
            run_out
        };
        let mut inner = self.write();
        while let Some(&(until, source)) = inner.by_end.first().filter(|(until, _)| *until <= now) {
            inner.by_end.remove(&(until, source));
            inner.marks.remove(&source);
        }
        // One that was renewed meanwhile stays.
        let still_over = |inner: &Inner, source: &Source| {
            inner.doors.get(source).is_some_and(|door| now >= door.expires())
        };
        let mut ended = Vec::with_capacity(run_out.len());
        for source in run_out {
            if still_over(&inner, &source)
                && let Some(door) = inner.remove(source)
            {
                ended.push((source, door));
            }
        }
        self.count(&inner);
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

    fn count(&self, inner: &Inner) {
        self.doors.store(inner.doors.len(), Ordering::Relaxed);
        self.bindings.store(inner.bindings, Ordering::Relaxed);
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn requested(
        &mut self,
        source: Source,
        address: IpAddr,
        now: Time,
        request: &Request,
        life: Duration,
        max: usize,
    ) -> Effect {
        if let Some(mark) = self.marks.get(&source).copied().filter(|mark| now < mark.until) {
            self.set_mark(source, Mark { until: now.after(mark.life), ..mark });
            return Effect::Marked;
        }
        let open = self.doors.get(&source).is_some_and(|door| now < door.expires());
        if !open && (!request.opens() || self.excluded.contains(address)) {
            return Effect::Nothing;
        }
        let (mut door, effect) = match self.remove(source).filter(|_| open) {
            Some(door) => (door, Effect::Renewed),
            None => {
                while self.doors.len() >= max.max(1) {
                    let Some(&(_, oldest)) = self.by_request.first() else { break };
                    self.remove(oldest);
                }
                let door = OutboundDoor::new(now, request.method());
                (door, Effect::Opened { expires: now })
            }
        };
        door.requested = now;
        match request {
            Request::Register(binding, asked) => door.bind(*binding, now, *asked),
            Request::Opening(_) | Request::Other(_) => door.held_until = door.held_until.max(now.after(life)),
        }
        let expires = door.expires();
        self.insert(source, door);
        match effect {
            Effect::Opened { .. } => Effect::Opened { expires },
            effect => effect,
        }
    }

    fn insert(&mut self, source: Source, door: OutboundDoor) {
        self.by_request.insert((door.requested, source));
        self.bindings += door.bindings.len();
        self.doors.insert(source, door);
    }

    fn remove(&mut self, source: Source) -> Option<OutboundDoor> {
        let door = self.doors.remove(&source)?;
        self.by_request.remove(&(door.requested, source));
        self.bindings -= door.bindings.len();
        Some(door)
    }

    fn is_marked(&self, source: Source, now: Time) -> bool {
        self.marks.get(&source).is_some_and(|mark| now < mark.until)
    }

    fn set_mark(&mut self, source: Source, mark: Mark) {
        self.remove_mark(source);
        while self.marks.len() >= MAX_MARKS {
            let Some(&(_, first)) = self.by_end.first() else { break };
            self.remove_mark(first);
        }
        self.by_end.insert((mark.until, source));
        self.marks.insert(source, mark);
    }

    fn remove_mark(&mut self, source: Source) -> Option<Mark> {
        let mark = self.marks.remove(&source)?;
        self.by_end.remove(&(mark.until, source));
        Some(mark)
    }
}

impl OutboundDoor {
    fn new(now: Time, method: Method) -> Self {
        Self {
            opened: now,
            method,
            requested: now,
            held_until: now,
            bindings: Vec::new(),
            packets: 0,
            bytes: 0,
        }
    }

    /// The first moment at which it is no longer open.
    pub fn expires(&self) -> Time {
        self.bindings.iter().map(|held| held.until).fold(self.held_until, Time::max)
    }

    /// Holds the door for a registration. The end of one (0 seconds) leaves the door open for the answers.
    fn bind(&mut self, binding: Binding, now: Time, asked: Duration) {
        let until = now.after(asked.max(ANSWERS));
        self.bindings.retain(|held| held.until > now && held.binding.aor != binding.aor);
        if self.bindings.len() >= MAX_BINDINGS
            && let Some(first) =
                (0..self.bindings.len()).min_by_key(|&n| self.bindings.get(n).map(|b| b.until))
        {
            self.bindings.swap_remove(first);
        }
        self.bindings.push(HeldBinding { binding, until });
    }
}

/// Registrations of one door that are told apart: more than a PBX has with one provider, most often.
pub const MAX_BINDINGS: usize = 64;

/// As many marks as there are doors by default, twice: a knock that half of the phones share may be taken out.
pub const MAX_MARKS: usize = 131_072;

/// How long requests of a source inside a dialog renew its door, counted from the last request of the PBX.
pub const MAX_DIALOG: Duration = Duration::from_secs(24 * 3600);

/// A shorter renewal is not worth a lock.
const LEAST_RENEWAL: Duration = Duration::from_secs(1);

/// The time in which the last answer to a request may come: twice 64 * T1 (RFC 3261, 17.1.2.2), since a challenge costs a
/// second transaction.
const ANSWERS: Duration = Duration::from_secs(64);

#[cfg(test)]
mod tests;
