//! The doors: which sources may pass, until when, and whose knock it was.
//!
//! One table serves all queues. A door is open while `now < expires`; one that has run out is remembered for its
//! own life once more, or that of another claim to it, so that a drop can be told apart from a stranger's. Both follow
//! from the times in the entry alone. The sweep only frees memory and reports what ran out; decisions are the same
//! without it.
//!
//! Several phones may stand behind one address. So a door is held by [claims](Claim): one of each knock that came, or one of
//! each registration if the knock opens for that one's life. The end of a claim closes the door for nobody else; it is
//! shut with the last. [`Door`] is what a door is to all of them: it says of the claim that ends last.
//!
//! Bounds, for what a stranger with a stolen knock could grow:
//! - open doors: `max_doors`. A full table *refuses the newcomer*; nobody's door is ever evicted for another.
//! - entries, remembered ones included: three times `max_doors`. Places are freed by a sweep only, and one that
//!   finds more than twice `max_doors` entries *forgets all that have run out*.
//! - claims to a door: [`MAX_CLAIMS`]. Those that have run out go first. Then a registration *shares the claim of its knock
//!   that ends first*, and a knock without a claim gets *none*: it passes while the others hold the door.

mod claims;
mod entry;
mod knocking;
mod listing;
mod look;
mod packed;
mod places;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;

pub use claims::{Claim, End, MAX_CLAIMS, Registration, RegistrationId};
use entry::Entry;
pub use listing::{Held, Listed, Retired, Revoked};
pub use look::{Ask, Key};
use packed::LAST_KNOCK;
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
    /// No claim to an open door runs out before this. A full table or a full knock needs no sweep until then.
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
    /// How long the knock that set `expires` opens for.
    life: Span,
    /// The knock whose claim ends last.
    pub knock: KnockId,
    /// Whether it still holds a place among `max_doors`.
    holds_place: bool,
    /// The registration of that claim has ended, and it stays open only for the answers.
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
    /// The door's claims, see [`MAX_CLAIMS`].
    Claims,
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

    /// Lets an accepted packet renew its door (`renew = "packet"`): each claim by its own life, but for those of registrations
    /// that have ended.
    pub fn extend(&self, source: Source, now: Time) {
        if let Some(mut entry) = self.doors.get_mut(&source)
            && entry.is_held(now)
        {
            entry.extend(now);
            self.set_changed();
        }
    }

    /// Shuts a door and forgets it; what it was, if it still held its place.
    pub fn close(&self, source: Source) -> Option<Door> {
        let (_, mut entry) = self.doors.remove(&source)?;
        self.set_changed();
        Some(entry.release(&self.places)).filter(|door| door.holds_place)
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

    /// Whether that freed a place, of the table or of a knock.
    fn sweep_into(&self, ran_out: &mut Vec<(Source, Door)>, now: Time) -> bool {
        let mut freed = false;
        let forget_all = self.doors.len() > self.places.max().saturating_mul(2);
        self.next_expiry.store(u64::MAX, Ordering::Relaxed);
        self.doors.retain(|source, entry| {
            if entry.state(now) == State::Open {
                let (next_end, run_out) = entry.sweep(now, &self.places);
                freed |= run_out;
                self.runs_out(next_end);
                return true;
            }
            let mut door = entry.release(&self.places);
            if door.holds_place {
                door.holds_place = false;
                ran_out.push((*source, door));
                freed = true;
            }
            !forget_all && entry.state(now) == State::RunOut
        });
        freed
    }

    /// A claim that holds a place runs out at this time.
    fn runs_out(&self, expires: Time) {
        self.next_expiry.fetch_min(expires.as_nanos(), Ordering::Relaxed);
    }

    /// Sweeps where that can free a place; whether it did.
    fn make_room(&self, now: Time) -> bool {
        let mut ran_out = self.unreported.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_nanos() < self.next_expiry.load(Ordering::Relaxed) {
            return false;
        }
        self.sweep_into(&mut ran_out, now)
    }
}

impl Grant {
    /// Whether it is about a registration that ends.
    fn ends(&self) -> bool {
        self.registration.is_some_and(|registration| registration.end.is_some())
    }
}

impl Door {
    /// One that this claim holds alone, as long as nobody says when it was opened.
    fn of_claim(claim: &Claim) -> Self {
        Self::again(claim.knock, Time::default(), claim.until, claim.life, claim.closing)
    }

    /// A door that holds a place.
    fn new(knock: KnockId, now: Time, life: Duration) -> Self {
        Self::again(knock, now, now.after(life), life, false)
    }

    /// The knock of claims that somebody made by hand. It is none of any set, and has no limit of its own.
    pub fn by_hand() -> KnockId {
        KnockId::from(LAST_KNOCK)
    }

    /// How long the knock that set `expires` opens for.
    pub fn life(&self) -> Duration {
        self.life.into()
    }

    /// One that was open before a restart.
    pub fn again(knock: KnockId, opened: Time, expires: Time, life: Duration, closing: bool) -> Self {
        Self { opened, expires, life: life.into(), knock, holds_place: true, closing }
    }

    /// Whether the registration whose claim ends last is over, so that the door stays open only for the answers.
    pub fn is_closing(&self) -> bool {
        self.closing
    }
}

#[cfg(test)]
mod tests;
