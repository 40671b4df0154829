//! Looking at doors, and shutting them, while packets pass.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dashmap::mapref::entry::Entry::Vacant;

use super::claim::Claim;
use super::claims::{Claims, MAX_CLAIMS, Packed};
use super::entry::Entry;
use super::state::{Door, DoorState};
use super::table::DoorTable;
use crate::knock::KnockId;
use crate::net::Source;
use crate::time::Time;

/// A door with what it has been used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Whose it is.
    pub source: Source,
    /// The door.
    pub door: Door,
    /// Its claims, those that have run out and are remembered as well; empty if there is one only, and no registration's.
    pub claims: Box<[Claim]>,
    /// When it was last opened or renewed by a knock; to the second.
    pub last_knock: Time,
    /// Packets that it let pass, those with knocks included.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
}

/// What a knock holds of a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldClaim {
    /// The knock.
    pub knock: KnockId,
    /// The end of its last claim.
    pub until: Time,
    /// Its claims that are registrations'.
    pub registrations: u64,
}

/// A door that somebody has shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The door; `None` if none was open.
    pub door: Option<Door>,
    /// The longest life of a claim of a knock that held the door or is remembered for it; `None` if no knock did.
    pub by_knock: Option<Duration>,
}

/// What became of the doors of knocks that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetiredClaims {
    /// Doors that were shut.
    pub shut: u64,
    /// Doors that such knocks held, and that stay open since others hold them as well.
    pub kept: u64,
}

impl Listed {
    /// A door of before with these claims, which nobody has used; `None` if there is none.
    pub fn again(source: Source, opened: Time, claims: Vec<Claim>) -> Option<Self> {
        let longest = claims.iter().reduce(|longest, claim| match claim.until > longest.until {
            true => claim,
            false => longest,
        })?;
        let sole = claims.len() == 1 && claims.iter().all(|claim| claim.registration.is_none());
        Some(Self {
            source,
            door: Door { opened, ..Door::of_claim(longest) },
            claims: if sole { Box::default() } else { claims.into() },
            last_knock: opened,
            packets: 0,
            bytes: 0,
        })
    }

    /// All claims, in the order in which they were made.
    pub fn claims(&self) -> impl Iterator<Item = Claim> {
        let sole = self.claims.is_empty().then(|| Claim::sole(&self.door));
        sole.into_iter().chain(self.claims.iter().copied())
    }

    /// The knocks that hold the door, the one that does so longest first.
    pub fn held_by(&self, now: Time) -> Vec<HeldClaim> {
        let mut held: Vec<HeldClaim> = Vec::new();
        for claim in self.claims().filter(|claim| now < claim.until) {
            let registrations = u64::from(claim.registration.is_some());
            match held.iter_mut().find(|held| held.knock == claim.knock) {
                Some(held) => {
                    held.until = held.until.max(claim.until);
                    held.registrations += registrations;
                }
                None => held.push(HeldClaim { knock: claim.knock, until: claim.until, registrations }),
            }
        }
        // The first of equals is the one that the door counts as.
        held.sort_by_key(|held| (Reverse(held.until), held.knock != self.door.knock));
        held
    }
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
        let known =
            self.doors.iter().filter(|entry| wanted(entry.key()) && entry.state(now) != DoorState::None);
        known.map(|entry| listed(*entry.key(), &entry)).collect()
    }

    /// Of the open doors that are wanted, at most so `many` that rank highest, in that order, and how many are wanted
    /// in all. One walk through the table, with shards locked as by [`DoorTable::listed`]: what is asked of each door and of
    /// the knocks that hold it has to be quick.
    pub fn top(
        &self,
        many: usize,
        now: Time,
        wanted: impl Fn(Source, &mut dyn Iterator<Item = KnockId>) -> bool,
        rank: impl Fn(&Listed) -> u64,
    ) -> (u64, Vec<Listed>) {
        let (mut count, mut best, mut least) = (0, Vec::with_capacity(2 * many), 0);
        let order = |(rank, listed): &(u64, Listed)| (Reverse(*rank), listed.source);
        for entry in self.doors.iter().filter(|entry| entry.is_held(now)) {
            let source = *entry.key();
            let mut knocks = entry.claims().filter(|claim| now < claim.until).map(|claim| claim.knock);
            if !wanted(source, &mut knocks) {
                continue;
            }
            count += 1;
            let door = listed_without_claims(source, &entry);
            let rank = rank(&door);
            if rank < least || many == 0 {
                continue;
            }
            best.push((rank, Listed { claims: claims(&entry), ..door }));
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
        (entry.state(now) == DoorState::Open).then(|| entry.door())
    }

    /// A source's door with all that is known of it; `None` if none is open.
    pub fn look(&self, source: Source, now: Time) -> Option<Listed> {
        let entry = self.doors.get(&source)?;
        (entry.state(now) == DoorState::Open).then(|| listed(source, &entry))
    }

    /// Shuts a source's door and forgets it, also where it has run out and is remembered; `None` if nothing is known of the
    /// source.
    pub fn revoke(&self, source: Source, now: Time) -> Option<Revoked> {
        let (_, mut entry) = self.doors.remove(&source)?;
        self.set_changed();
        let by_knock = entry.claims().filter(|claim| claim.knock != Door::by_hand() && claim.is_known(now));
        let by_knock = by_knock.map(|claim| claim.life).max();
        let door = Some(entry.release(&self.places)).filter(|door| door.holds_place);
        (door.is_some() || entry.state(now) != DoorState::None).then_some(Revoked { door, by_knock })
    }

    /// Shuts and forgets all doors; `each` gets to see those that held a place. How many these were.
    ///
    /// One shard is locked at a time: a door that is opened meanwhile may stay.
    pub fn flush(&self, mut each: impl FnMut(Source, Door)) -> u64 {
        let mut shut = 0;
        self.doors.retain(|source, entry| {
            let door = entry.release(&self.places);
            if door.holds_place {
                shut += 1;
                each(*source, door);
            }
            false
        });
        self.set_changed();
        shut
    }

    /// Ends the claims of knocks that are gone, and shuts and forgets the doors that nobody else holds. `each` gets to see
    /// the doors of all sources that such a knock held or is remembered for, with the knock and its life in place of the
    /// door's own; it is told whether the door was shut just now.
    pub fn retire(
        &self,
        gone: impl Fn(KnockId) -> bool,
        now: Time,
        mut each: impl FnMut(Source, Door, bool),
    ) -> RetiredClaims {
        let mut retired = RetiredClaims::default();
        self.doors.retain(|source, entry| {
            let before = entry.door();
            let goes = |claim: &Claim| gone(claim.knock);
            let ended = || entry.claims().filter(|claim| goes(claim) && claim.is_known(now));
            let Some(last) = ended().max_by_key(|claim| claim.until) else { return true };
            let life = ended().map(|claim| claim.life).max().unwrap_or_default();
            let door = Door { knock: last.knock, life: life.into(), ..before };
            let left = entry.retire(&gone, now, &self.places);
            let shut = before.holds_place && !(left && entry.holds_place());
            if shut {
                retired.shut += 1;
                self.places.give_back();
            } else if before.holds_place && now < last.until {
                retired.kept += 1;
            }
            each(*source, door, shut);
            if left {
                self.runs_out(entry.next_end());
            }
            left
        });
        self.set_changed();
        retired
    }

    /// Changes how many doors there may be, in all and for each knock. Nobody loses a door by that.
    pub fn limit(&self, max_doors: usize, per_knock: impl IntoIterator<Item = Option<u32>>) {
        self.places.limit(max_doors, per_knock);
    }

    /// Opens a door that was open before, with what it had been used for, where there is room and none is there. Claims of
    /// knocks without room are left out. Whether it did.
    pub fn restore(&self, listed: &Listed, now: Time) -> bool {
        if !self.places.take() {
            return false;
        }
        let Some(mut entry) = self.restored(listed, now) else {
            self.places.give_back();
            return false;
        };
        let expires = entry.next_end();
        let Vacant(vacant) = self.doors.entry(listed.source) else {
            entry.release(&self.places);
            return false;
        };
        vacant.insert(entry);
        self.runs_out(expires);
        self.set_changed();
        true
    }

    /// A door with all places of its knocks; `None` if none has room.
    fn restored(&self, listed: &Listed, now: Time) -> Option<Entry> {
        let Listed { door, last_knock, packets, bytes, .. } = *listed;
        let mut claims = Claims::default();
        let mut holding = Vec::new();
        for claim in listed.claims().take(MAX_CLAIMS) {
            let holds = now < claim.until;
            if holds && !holding.contains(&claim.knock) {
                if !self.places.take_knock(claim.knock) {
                    continue;
                }
                holding.push(claim.knock);
            }
            claims.push(Packed::new(&claim, holds));
        }
        if holding.is_empty() {
            return None;
        }
        Some(Entry::of_claims(claims, door.opened, last_knock)?.used((packets, bytes)))
    }

    /// Remembers a door that has run out, where there is room and nothing is known of its source. Whether it does.
    pub fn remember(&self, listed: &Listed) -> bool {
        let Listed { source, door, last_knock, packets, bytes, .. } = *listed;
        if self.doors.len() >= self.places.max().saturating_mul(2) {
            return false;
        }
        let Vacant(vacant) = self.doors.entry(source) else { return false };
        let mut claims = Claims::default();
        listed.claims().take(MAX_CLAIMS).for_each(|claim| claims.push(Packed::new(&claim, false)));
        let Some(entry) = Entry::of_claims(claims, door.opened, last_knock) else { return false };
        vacant.insert(entry.used((packets, bytes)));
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

    /// How many doors a knock holds, alone or with others, counting those that ran out since the last sweep;
    /// [`Door::by_hand`] is none of a set and has a number as well.
    pub fn held_by(&self, knock: KnockId) -> u32 {
        self.places.held_by(knock)
    }

    /// How many doors may be open at a time.
    pub fn max_doors(&self) -> usize {
        self.places.max()
    }
}

fn listed(source: Source, entry: &Entry) -> Listed {
    Listed { claims: claims(entry), ..listed_without_claims(source, entry) }
}

fn listed_without_claims(source: Source, entry: &Entry) -> Listed {
    let (packets, bytes) = entry.counts();
    let (door, last_knock) = (entry.door(), entry.last_knock());
    Listed { source, door, claims: Box::default(), last_knock, packets, bytes }
}

fn claims(entry: &Entry) -> Box<[Claim]> {
    entry.list().map_or_else(Box::default, |claims| claims.iter().map(Packed::unpack).collect())
}
