//! Looking at doors, and shutting them, while packets pass.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use dashmap::mapref::entry::Entry::Vacant;

use super::entry::Entry;
use super::{Door, DoorTable, State};
use crate::knock::KnockId;
use crate::net::Source;
use crate::time::Time;

/// An open door with what it has been used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Whose it is.
    pub source: Source,
    /// The door.
    pub door: Door,
    /// When it was last opened or renewed by a knock; to the second.
    pub last_knock: Time,
    /// Packets that it let pass, those with knocks included.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
}

impl DoorTable {
    /// Into how many parts a look at all doors is to be divided, so that each has some `most` doors. Each part costs a
    /// walk through the whole table, which for a million doors takes 20 ms.
    pub fn parts(&self, most: usize) -> u64 {
        self.len().div_ceil(most.max(1)).max(1) as u64
    }

    /// The open doors of one part of so many, in no order. A source is in the same part each time.
    ///
    /// A shard is locked for reading while it is walked through, which takes some tenth of a millisecond; packets
    /// pass meanwhile, and knocks wait for so long.
    pub fn listed(&self, part: u64, parts: u64, now: Time) -> Vec<Listed> {
        let seed = self.doors.hasher();
        let wanted = |source: &Source| parts <= 1 || seed.hash_one(source) % parts == part;
        let open = self.doors.iter().filter(|entry| wanted(entry.key()) && entry.is_held(now));
        open.map(|entry| listed(*entry.key(), &entry)).collect()
    }

    /// All that is known, in parts like [`DoorTable::listed`]: open doors, and such as have run out and are remembered.
    pub fn known(&self, part: u64, parts: u64, now: Time) -> Vec<Listed> {
        let seed = self.doors.hasher();
        let wanted = |source: &Source| parts <= 1 || seed.hash_one(source) % parts == part;
        let known = self.doors.iter().filter(|entry| wanted(entry.key()) && entry.state(now) != State::None);
        known.map(|entry| listed(*entry.key(), &entry)).collect()
    }

    /// Of the open doors that are wanted, at most so `many` that rank highest, in that order, and how many are wanted
    /// in all. One walk through the table, with shards locked as by [`DoorTable::listed`]: what is asked of each door
    /// has to be quick.
    pub fn top(
        &self,
        many: usize,
        now: Time,
        wanted: impl Fn(Source, KnockId) -> bool,
        rank: impl Fn(&Listed) -> u64,
    ) -> (u64, Vec<Listed>) {
        let (mut count, mut best, mut least) = (0, Vec::with_capacity(2 * many), 0);
        let order = |(rank, listed): &(u64, Listed)| (Reverse(*rank), listed.source);
        for entry in self.doors.iter().filter(|entry| entry.is_held(now)) {
            let (source, door) = (*entry.key(), entry.door());
            if !wanted(source, door.knock) {
                continue;
            }
            count += 1;
            let (packets, bytes) = entry.counts();
            let listed = Listed { source, door, last_knock: entry.last_knock(), packets, bytes };
            let rank = rank(&listed);
            if rank < least || many == 0 {
                continue;
            }
            best.push((rank, listed));
            if best.len() >= 2 * many {
                best.select_nth_unstable_by_key(many - 1, order);
                best.truncate(many);
                least = best.last().map_or(0, |(rank, _)| *rank);
            }
        }
        best.sort_unstable_by_key(order);
        best.truncate(many);
        (count, best.into_iter().map(|(_, listed)| listed).collect())
    }

    /// A source's door; `None` if none is open.
    pub fn door(&self, source: Source, now: Time) -> Option<Door> {
        let entry = self.doors.get(&source)?;
        (entry.state(now) == State::Open).then(|| entry.door())
    }

    /// Shuts and forgets all doors; `each` gets to see those that held a place. How many these were.
    ///
    /// One shard is locked at a time: a door that is opened meanwhile may stay.
    pub fn flush(&self, mut each: impl FnMut(Source, Door)) -> u64 {
        let mut shut = 0;
        self.doors.retain(|source, entry| {
            let door = entry.door();
            if door.holds_place {
                self.release(door.knock);
                shut += 1;
                each(*source, door);
            }
            false
        });
        self.set_changed();
        shut
    }

    /// Shuts and forgets the doors of knocks that are gone, but not those that another knock's registration holds as
    /// well: these stay for as long as it does. `each` gets to see those that are shut, those that are remembered, which
    /// are forgotten, and those that stay for another knock; it is told whether the door was shut just now. How many were
    /// shut.
    pub fn retire(
        &self,
        gone: impl Fn(KnockId) -> bool,
        now: Time,
        mut each: impl FnMut(Source, Door, bool),
    ) -> u64 {
        let mut shut = 0;
        self.doors.retain(|source, entry| {
            let mut door = entry.door();
            let (claimed, heir) =
                entry.claims().map_or((false, None), |claims| (claims.retire(&gone), claims.last(now)));
            if !gone(door.knock) {
                if claimed && door.holds_place {
                    each(*source, door, false);
                }
                return true;
            }
            if !door.holds_place {
                if door.state(now) != State::None {
                    each(*source, door, false);
                }
                return false;
            }
            if let Some((knock, until)) = heir
                && self.places.take_knock(knock)
            {
                each(*source, door, false);
                self.places.give_back_knock(door.knock);
                door.knock = knock;
                door.expires = door.expires.min(until);
                entry.set(&door);
                self.runs_out(door.expires);
                return true;
            }
            self.release(door.knock);
            shut += 1;
            each(*source, door, true);
            false
        });
        self.set_changed();
        shut
    }

    /// Changes how many doors there may be, in all and for each knock. Nobody loses a door by that.
    pub fn limit(&self, max_doors: usize, per_knock: impl IntoIterator<Item = Option<u32>>) {
        self.places.limit(max_doors, per_knock);
    }

    /// Opens a door that was open before, with what it had been used for, where there is room and none is there. Whether
    /// it did.
    pub fn restore(&self, listed: &Listed) -> bool {
        let Listed { source, door, last_knock, packets, bytes } = *listed;
        if !self.places.take() {
            return false;
        }
        if !self.places.take_knock(door.knock) {
            self.places.give_back();
            return false;
        }
        let Vacant(vacant) = self.doors.entry(source) else {
            self.release(door.knock);
            return false;
        };
        vacant.insert(Entry::restored(door, last_knock, (packets, bytes)));
        self.runs_out(door.expires);
        self.set_changed();
        true
    }

    /// Remembers a door that has run out, where there is room and nothing is known of its source. Whether it does.
    pub fn remember(&self, listed: &Listed) -> bool {
        let Listed { source, mut door, last_knock, packets, bytes } = *listed;
        if self.doors.len() >= self.places.max().saturating_mul(2) {
            return false;
        }
        door.holds_place = false;
        let Vacant(vacant) = self.doors.entry(source) else { return false };
        vacant.insert(Entry::restored(door, last_knock, (packets, bytes)));
        true
    }

    /// Whether doors were opened, renewed or shut since this was last asked. Those that ran out are not meant.
    pub fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }

    /// Has the next [`DoorTable::take_changed`] say so.
    pub fn set_changed(&self) {
        // Most often it is set already, and then no other queue's cache is disturbed.
        if !self.changed.load(Ordering::Relaxed) {
            self.changed.store(true, Ordering::Release);
        }
    }

    /// How many doors a knock holds, counting those that ran out since the last sweep.
    pub fn held_by(&self, knock: KnockId) -> u32 {
        self.places.held_by(knock)
    }

    /// How many doors may be open at a time.
    pub fn max_doors(&self) -> usize {
        self.places.max()
    }
}

fn listed(source: Source, entry: &Entry) -> Listed {
    let (packets, bytes) = entry.counts();
    Listed { source, door: entry.door(), last_knock: entry.last_knock(), packets, bytes }
}
