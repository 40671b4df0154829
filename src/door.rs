//! The doors: which sources may pass, until when, and whose knock it was.
//!
//! One table serves all queues. A door is open while `now < expires`; one that has run out is remembered for its
//! own life once more, so that a drop can be told apart from a stranger's. Both follow from the times in the
//! entry alone. The sweep only frees memory and reports what ran out; decisions are the same without it.
//!
//! A knock may open for the life of a registration. Then the door knows whose registrations hold it, so that the end
//! of one closes it for nobody else: several phones may stand behind one address.
//!
//! Bounds, for what a stranger with a stolen knock could grow:
//! - open doors: `max_doors`. A full table *refuses the newcomer*; nobody's door is ever evicted for another.
//! - entries, remembered ones included: three times `max_doors`. Places are freed by a sweep only, and one that
//!   finds more than twice `max_doors` entries *forgets all that have run out*.
//! - registrations of a door: [`MAX_REGISTRATIONS`]. One beyond them *holds the door like any other knock*.

mod claims;
mod entry;
mod listing;
mod look;
mod places;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry::{Occupied, Vacant};

use claims::Claims;
pub use claims::{End, MAX_REGISTRATIONS, Registration};
use entry::{Entry, LAST_KNOCK};
pub use listing::Listed;
pub use look::{Ask, Key};
use places::Places;

use crate::knock::KnockId;
use crate::net::Source;
use crate::time::{Span, Time};

/// A bounded table of doors, shared by all queue threads.
#[derive(Debug)]
pub struct DoorTable {
    doors: DashMap<Source, Entry, ahash::RandomState>,
    /// Held by open doors, and by ones that ran out unnoticed since the last sweep.
    places: Places,
    /// No door that holds a place runs out before this. A full table needs no sweep until then.
    next_expiry: AtomicU64,
    /// Something is not as it was when this was last asked for.
    changed: AtomicBool,
    /// Doors whose end was noticed outside [`DoorTable::sweep`], for it to report. Its lock lets one thread sweep.
    unreported: Mutex<Vec<(Source, Door)>>,
}

/// One source's permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// When it was opened; the table keeps it to the second.
    pub opened: Time,
    /// The first moment at which it is no longer open.
    pub expires: Time,
    /// How long the knock that set `expires` opens for; also how long it is remembered once run out.
    life: Span,
    /// The knock that it counts against.
    pub knock: KnockId,
    /// Whether it still holds a place among `max_doors`.
    holds_place: bool,
    /// The last registration that held it has ended, and it stays open only for the answers.
    closing: bool,
}

/// What a source's door is to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It passes.
    Open,
    /// It had one, and it has run out.
    RunOut,
    /// A stranger, or one whose door is forgotten.
    None,
}

/// A knock that matched, and how long it opens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which knock.
    pub knock: KnockId,
    /// How long its door stays open.
    pub life: Duration,
    /// The registration whose life that is; `None` where the knock has a life of its own.
    pub registration: Option<Registration>,
}

/// Knocks of one packet.
#[derive(Clone, Copy)]
struct Knocking<'a> {
    source: Source,
    now: Time,
    grants: &'a [Grant],
    /// Of the packet; 0 where it is not to be counted.
    bytes: u32,
}

/// What a knock did to a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new door. `ran_out` is an earlier one of the same source whose end no sweep has reported yet.
    Opened {
        /// The new door.
        door: Door,
        /// The earlier one.
        ran_out: Option<Door>,
    },
    /// The door was open, and is so for longer now.
    Renewed(Door),
    /// No room; whatever door there was is as it was.
    Refused(Limit),
}

/// What was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `inspect.max_doors`.
    Table,
    /// The `max_doors` of the knock.
    Knock(KnockId),
}

impl DoorTable {
    /// Many small ones: a sweep locks one at a time, and a packet for another one does not wait.
    pub const SHARDS: usize = 128;

    /// A table for `max_doors` open doors. `per_knock` holds each knock's own `max_doors`, by its id.
    pub fn new(max_doors: usize, per_knock: impl IntoIterator<Item = Option<u32>>) -> Self {
        Self {
            doors: DashMap::with_hasher_and_shard_amount(ahash::RandomState::new(), Self::SHARDS),
            places: Places::new(max_doors, per_knock),
            next_expiry: AtomicU64::new(u64::MAX),
            changed: AtomicBool::new(false),
            unreported: Mutex::new(Vec::new()),
        }
    }

    /// Opens or renews a door for the knocks that matched, in the order of the config.
    ///
    /// A renewal never shortens a door, so that two phones behind one address can't shut each other out; the end of
    /// the last registration that holds it does. Of several knocks the one with the longest life (the first of
    /// equals) that has room gets the door.
    pub fn knock(&self, source: Source, now: Time, grants: &[Grant]) -> Change {
        self.knock_and_pass(source, now, grants, 0)
    }

    /// The same by a packet of so many bytes, which is counted where it passes.
    pub fn knock_and_pass(&self, source: Source, now: Time, grants: &[Grant], bytes: u32) -> Change {
        let change = self.open_or_renew(&Knocking { source, now, grants, bytes });
        if !matches!(change, Change::Refused(_)) {
            self.set_changed();
        }
        change
    }

    fn open_or_renew(&self, knocking: &Knocking<'_>) -> Change {
        let mut renewed = self.try_renew(knocking);
        if matches!(renewed, Some(Err(_))) && self.make_room(knocking.now) {
            renewed = self.try_renew(knocking);
        }
        match renewed {
            Some(Ok(door)) => return Change::Renewed(door),
            Some(Err(limit)) => return Change::Refused(limit),
            None => {}
        }
        match self.reserve(knocking.now, knocking.grants) {
            Ok(grant) => self.open(knocking, grant),
            Err(limit) => Change::Refused(limit),
        }
    }

    /// Renews a door that is open; `None` where none is.
    fn try_renew(&self, knocking: &Knocking<'_>) -> Option<Result<Door, Limit>> {
        let mut entry = self.doors.get_mut(&knocking.source).filter(|entry| entry.is_held(knocking.now))?;
        Some(self.renew(&mut entry, knocking))
    }

    /// Lets an accepted packet renew its door by the door's own life (`renew = "packet"`).
    pub fn extend(&self, source: Source, now: Time) {
        if let Some(mut entry) = self.doors.get_mut(&source)
            && entry.is_held(now)
        {
            let mut door = entry.door();
            if !door.closing {
                door.expires = door.expires.max(now.after(door.life()));
                entry.set(&door);
                self.set_changed();
            }
        }
    }

    /// Shuts a door and forgets it; what it was, if it still held its place.
    pub fn close(&self, source: Source) -> Option<Door> {
        let (_, entry) = self.doors.remove(&source)?;
        self.set_changed();
        let door = entry.door();
        door.holds_place.then(|| {
            self.release(door.knock);
            door
        })
    }

    /// How many doors are open, counting those that ran out since the last sweep.
    pub fn open_count(&self) -> usize {
        self.places.held()
    }

    /// How many entries there are, open and remembered.
    pub fn len(&self) -> usize {
        self.doors.len()
    }

    /// Whether there is no entry at all.
    pub fn is_empty(&self) -> bool {
        self.doors.is_empty()
    }

    /// Takes the places back from doors that have run out, and forgets those whose second life is over. Returns
    /// the doors that ran out since the last time. One shard is locked at a time.
    pub fn sweep(&self, now: Time) -> Vec<(Source, Door)> {
        let mut ran_out = self.unreported.lock().unwrap_or_else(PoisonError::into_inner);
        self.sweep_into(&mut ran_out, now);
        std::mem::take(&mut ran_out)
    }

    fn sweep_into(&self, ran_out: &mut Vec<(Source, Door)>, now: Time) {
        let forget_all = self.doors.len() > self.places.max().saturating_mul(2);
        self.next_expiry.store(u64::MAX, Ordering::Relaxed);
        self.doors.retain(|source, entry| {
            let state = entry.state(now);
            if state == State::Open {
                self.next_expiry.fetch_min(entry.expires().as_nanos(), Ordering::Relaxed);
                return true;
            }
            let mut door = entry.door();
            if door.holds_place {
                door.holds_place = false;
                entry.set(&door);
                self.release(door.knock);
                ran_out.push((*source, door));
            }
            state == State::RunOut && !forget_all
        });
    }

    /// Renews an open door by those knocks that may hold it, or says what was full where none may.
    fn renew(&self, entry: &mut Entry, knocking: &Knocking<'_>) -> Result<Door, Limit> {
        let Knocking { now, grants, bytes, .. } = *knocking;
        let mut door = entry.door();
        // The holder first: while it still knocks, the door stays its own.
        let holder = door.knock;
        let own = grants.iter().filter(|grant| grant.knock == holder);
        let others = grants.iter().filter(|grant| grant.knock != holder);
        let mut outcome = Err(grants.first().map_or(Limit::Table, |grant| Limit::Knock(grant.knock)));
        for grant in own.chain(others) {
            if grant.registration.is_some() && entry.claims().is_none() {
                entry.claim(Claims::of_knock(&door));
            }
            if grant.ends() {
                if let Some(claims) = entry.claims() {
                    claims.end(grant);
                    self.shorten(&mut door, claims, now, grant.life);
                }
                outcome = Ok(());
                continue;
            }
            let expires = now.after(grant.life);
            let longer = expires > door.expires;
            if longer && grant.knock != door.knock {
                if !self.places.take_knock(grant.knock) {
                    continue;
                }
                self.places.give_back_knock(door.knock);
                door.knock = grant.knock;
            }
            if let Some(claims) = entry.claims() {
                claims.add(grant, now);
            }
            if longer || door.closing {
                door.expires = door.expires.max(expires);
                door.life = grant.life.into();
                door.closing = false;
            }
            outcome = Ok(());
        }
        outcome?;
        entry.set(&door);
        entry.knocked(now, bytes);
        // The end of a registration makes it run out sooner.
        self.runs_out(door.expires);
        Ok(door)
    }

    /// Leaves a door to those who still hold it, and open for `grace` where nobody does.
    fn shorten(&self, door: &mut Door, claims: &Claims, now: Time, grace: Duration) {
        let last = claims.last(now);
        if let Some((knock, _)) = last
            && knock != door.knock
            && self.places.take_knock(knock)
        {
            self.places.give_back_knock(door.knock);
            door.knock = knock;
        }
        let held_until = last.map_or(Time::default(), |(_, expires)| expires);
        door.expires = door.expires.min(held_until.max(now.after(grace)));
        if last.is_none() {
            door.life = grace.into();
            door.closing = true;
        }
    }

    /// Takes a place in the table and one of a knock's.
    fn reserve(&self, now: Time, grants: &[Grant]) -> Result<Grant, Limit> {
        let has_place = self.places.take() || (self.make_room(now) && self.places.take());
        if !has_place {
            return Err(Limit::Table);
        }
        let granted = self
            .reserve_knock(grants)
            .or_else(|| self.make_room(now).then(|| self.reserve_knock(grants)).flatten());
        granted.ok_or_else(|| {
            self.places.give_back();
            grants.first().map_or(Limit::Table, |grant| Limit::Knock(grant.knock))
        })
    }

    fn reserve_knock(&self, grants: &[Grant]) -> Option<Grant> {
        let mut best: Option<Grant> = None;
        for &grant in grants {
            if best.is_none_or(|best| grant.life > best.life)
                && self.places.take_knock(grant.knock)
                && let Some(worse) = best.replace(grant)
            {
                self.places.give_back_knock(worse.knock);
            }
        }
        best
    }

    /// Puts a reserved door into the table.
    fn open(&self, knocking: &Knocking<'_>, grant: Grant) -> Change {
        let Knocking { source, now, grants, bytes } = *knocking;
        let door = Door::new(grant.knock, now, grant.life, grant.ends());
        let mut entry = Entry::new(door, now, grants);
        entry.knocked(now, bytes);
        let ran_out = match self.doors.entry(source) {
            Vacant(vacant) => {
                vacant.insert(entry);
                None
            }
            Occupied(mut occupied) if occupied.get().is_held(now) => {
                // Another queue opened it between our look and now: that place serves, ours goes back.
                self.release(grant.knock);
                return match self.renew(occupied.get_mut(), &Knocking { grants: &[grant], ..*knocking }) {
                    Ok(door) => Change::Renewed(door),
                    Err(limit) => Change::Refused(limit),
                };
            }
            Occupied(mut occupied) => {
                let earlier = occupied.insert(entry).door();
                earlier.holds_place.then(|| {
                    self.release(earlier.knock);
                    earlier
                })
            }
        };
        // After the insertion: a sweep that started before it and did not see the door has set its bound by now.
        self.runs_out(door.expires);
        Change::Opened { door, ran_out }
    }

    /// A door that holds a place runs out at this time.
    fn runs_out(&self, expires: Time) {
        self.next_expiry.fetch_min(expires.as_nanos(), Ordering::Relaxed);
    }

    /// Sweeps where that can free a place; whether it did.
    fn make_room(&self, now: Time) -> bool {
        let mut ran_out = self.unreported.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_nanos() < self.next_expiry.load(Ordering::Relaxed) {
            return false;
        }
        let before = ran_out.len();
        self.sweep_into(&mut ran_out, now);
        ran_out.len() > before
    }

    fn release(&self, knock: KnockId) {
        self.places.give_back();
        self.places.give_back_knock(knock);
    }
}

impl Grant {
    /// Whether it is about a registration that ends.
    fn ends(&self) -> bool {
        self.registration.is_some_and(|registration| registration.end.is_some())
    }
}

impl Door {
    /// A door that holds a place.
    fn new(knock: KnockId, now: Time, life: Duration, closing: bool) -> Self {
        let expires = now.after(life);
        Self { opened: now, expires, life: life.into(), knock, holds_place: true, closing }
    }

    /// The knock of doors that somebody opened by hand. It is none of any set, and has no limit of its own.
    pub fn by_hand() -> KnockId {
        KnockId::from(LAST_KNOCK)
    }

    /// How long the knock that set `expires` opens for; also how long the door is remembered once it has run out.
    pub fn life(&self) -> Duration {
        self.life.into()
    }

    /// One that was open before a restart.
    pub fn again(knock: KnockId, opened: Time, expires: Time, life: Duration, closing: bool) -> Self {
        Self { opened, expires, life: life.into(), knock, holds_place: true, closing }
    }

    /// Whether the last registration that held it has ended, so that it stays open only for the answers.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// What the door is at `now`.
    pub fn state(&self, now: Time) -> State {
        if now < self.expires {
            State::Open
        } else if now < self.expires.after(self.life()) {
            State::RunOut
        } else {
            State::None
        }
    }
}

#[cfg(test)]
mod tests;
