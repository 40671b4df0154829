//! The table of doors, and its sweep.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use dashmap::DashMap;

use super::entry::Entry;
use super::limits::DoorLimits;
use super::state::{Door, DoorState};
use crate::net::Source;
use crate::time::Time;

/// A bounded table of doors, shared by all queue threads.
#[derive(Debug)]
pub struct DoorTable {
    pub(super) doors: DashMap<Source, Entry, ahash::RandomState>,
    /// Held by open doors, and by ones that ran out unnoticed since the last sweep.
    pub(super) places: DoorLimits,
    /// No claim to an open door runs out before this. A full table or a full knock needs no sweep until then.
    pub(super) next_expiry: AtomicU64,
    /// Something is not as it was when this was last asked for.
    pub(super) changed: AtomicBool,
    /// Doors whose end was noticed outside [`DoorTable::sweep`], for it to report. Its lock lets one thread sweep.
    pub(super) unreported: Mutex<Vec<(Source, Door)>>,
}

impl DoorTable {
    /// Many small ones: a sweep locks one at a time, and a packet for another one does not wait.
    pub const SHARDS: usize = 128;

    /// A table for `max_doors` open doors. `per_knock` holds each knock's own `max_doors`, by its id.
    pub fn new(max_doors: usize, per_knock: impl IntoIterator<Item = Option<u32>>) -> Self {
        Self {
            doors: DashMap::with_hasher_and_shard_amount(ahash::RandomState::new(), Self::SHARDS),
            places: DoorLimits::new(max_doors, per_knock),
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

    /// The number of open doors, counting those that ran out since the last sweep.
    pub fn open_count(&self) -> usize {
        self.places.held()
    }

    /// The number of entries, open and remembered.
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
            if entry.state(now) == DoorState::Open {
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
            !forget_all && entry.state(now) == DoorState::Expired
        });
        freed
    }

    /// A claim that holds a place runs out at this time.
    pub(super) fn runs_out(&self, expires: Time) {
        self.next_expiry.fetch_min(expires.as_nanos(), Ordering::Relaxed);
    }

    /// Sweeps if that can free a place; whether it did.
    pub(super) fn make_room(&self, now: Time) -> bool {
        let mut ran_out = self.unreported.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_nanos() < self.next_expiry.load(Ordering::Relaxed) {
            return false;
        }
        self.sweep_into(&mut ran_out, now)
    }
}
