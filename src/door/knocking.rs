//! What knocks do to a door.

use dashmap::mapref::entry::Entry::{Occupied, Vacant};

use super::change::{DoorChange, Limit};
use super::claim::Grant;
use super::claims::Claims;
use super::entry::Entry;
use super::state::Door;
use super::table::DoorTable;
use crate::knock::KnockId;
use crate::net::Source;
use crate::time::Time;

/// Knocks of one packet.
#[derive(Clone, Copy)]
struct Knocking<'a> {
    source: Source,
    now: Time,
    grants: &'a [Grant],
    /// Of the packet; 0 if it is not to be counted.
    bytes: u32,
}

impl DoorTable {
    /// Opens or renews a door for the knocks that matched, in the order of the config.
    ///
    /// Each gets a claim to the door, or has its own renewed, if the knock has room for one more door. A renewal never
    /// shortens a claim, so that two phones behind one address can't shut each other out; the end of a registration shortens
    /// its own. The door counts as that of the claim that ends last, the first of equals.
    pub fn knock(&self, source: Source, now: Time, grants: &[Grant]) -> DoorChange {
        self.knock_and_pass(source, now, grants, 0, &mut Vec::new())
    }

    /// The same by a packet of so many bytes, which is counted where it passes. Knocks that get no claim are `refused`, each
    /// once.
    pub fn knock_and_pass(
        &self,
        source: Source,
        now: Time,
        grants: &[Grant],
        bytes: u32,
        refused: &mut Vec<KnockId>,
    ) -> DoorChange {
        let change = self.open_or_renew(&Knocking { source, now, grants, bytes }, refused);
        if !matches!(change, DoorChange::Refused(_)) {
            self.set_changed();
        }
        change
    }

    fn open_or_renew(&self, knocking: &Knocking<'_>, refused: &mut Vec<KnockId>) -> DoorChange {
        let mut renewed = self.try_renew(knocking, refused);
        if renewed.is_some() && !refused.is_empty() && self.make_room(knocking.now) {
            // The packet is counted by now, if it passes.
            let bytes = if matches!(renewed, Some(Ok(_))) { 0 } else { knocking.bytes };
            renewed = self.try_renew(&Knocking { bytes, ..*knocking }, refused);
        }
        match renewed {
            Some(Ok(door)) => DoorChange::Renewed(door),
            Some(Err(limit)) => DoorChange::Refused(limit),
            None => self.open(knocking, refused),
        }
    }

    /// Renews a door that is open; `None` where none is.
    fn try_renew(&self, knocking: &Knocking<'_>, refused: &mut Vec<KnockId>) -> Option<Result<Door, Limit>> {
        let mut entry = self.doors.get_mut(&knocking.source).filter(|entry| entry.is_held(knocking.now))?;
        Some(self.renew(&mut entry, knocking, refused))
    }

    /// Renews an open door for those knocks that may hold it, or says what was full where none may.
    fn renew(
        &self,
        entry: &mut Entry,
        knocking: &Knocking<'_>,
        refused: &mut Vec<KnockId>,
    ) -> Result<Door, Limit> {
        let Knocking { now, grants, bytes, .. } = *knocking;
        refused.clear();
        // Most doors have one claim, and most packets the knock that it is of.
        let sole = match grants {
            [Grant { knock, life, registration: None }] => entry.renew_sole(*knock, now, *life),
            _ => false,
        };
        if !sole {
            let claims = entry.claims_mut();
            claims.run_out(now, &self.places);
            let added = self.add_all(claims, knocking, refused);
            claims.drop_covered(&self.places);
            entry.settle();
            // The end of a registration makes it run out sooner.
            self.runs_out(entry.next_end());
            added?;
        }
        entry.knocked(now, bytes);
        Ok(entry.door())
    }

    /// Ends the claims of registrations that have ended, and makes or renews those of the rest. The error says what was full
    /// if there was nothing else to do.
    fn add_all(
        &self,
        claims: &mut Claims,
        knocking: &Knocking<'_>,
        refused: &mut Vec<KnockId>,
    ) -> Result<(), Limit> {
        let Knocking { now, grants, .. } = *knocking;
        let mut full = None;
        let (ends, holds): (Vec<&Grant>, Vec<&Grant>) = grants.iter().partition(|grant| grant.ends());
        ends.iter().for_each(|grant| claims.end(grant, now));
        let mut done = !ends.is_empty();
        for grant in holds {
            match claims.add(grant, now, &self.places) {
                Ok(()) => done = true,
                Err(limit) => {
                    full = full.or(Some(limit));
                    if !refused.contains(&grant.knock) {
                        refused.push(grant.knock);
                    }
                }
            }
        }
        if done { Ok(()) } else { Err(full.unwrap_or(Limit::Table)) }
    }

    /// Opens a door where none is open.
    fn open(&self, knocking: &Knocking<'_>, refused: &mut Vec<KnockId>) -> DoorChange {
        let now = knocking.now;
        refused.clear();
        let has_place = self.places.take() || (self.make_room(now) && self.places.take());
        if !has_place {
            refused.extend(knocking.grants.iter().map(|grant| grant.knock));
            refused.dedup();
            return DoorChange::Refused(Limit::Table);
        }
        let entry = match self.reserve(knocking, refused) {
            Ok(entry) => entry,
            Err(limit) => {
                self.places.give_back();
                return DoorChange::Refused(limit);
            }
        };
        self.insert(entry, knocking, refused)
    }

    /// A door that is not in the table yet, with all places of knocks that it takes.
    fn reserve(&self, knocking: &Knocking<'_>, refused: &mut Vec<KnockId>) -> Result<Entry, Limit> {
        let Knocking { now, grants, .. } = *knocking;
        refused.clear();
        if let [grant @ Grant { registration: None, .. }] = grants {
            let take = || self.places.take_knock(grant.knock);
            let has_place = take() || (self.make_room(now) && take());
            if !has_place {
                refused.push(grant.knock);
                return Err(Limit::Knock(grant.knock));
            }
            return Ok(Entry::sole(&Door::new(grant.knock, now, grant.life), now));
        }
        let mut claims = Claims::default();
        let mut added = self.claim_all(&mut claims, knocking, refused);
        if !refused.is_empty() && self.make_room(now) {
            refused.clear();
            added = self.claim_all(&mut claims, knocking, refused);
        }
        added?;
        Entry::of_claims(claims, now, now).ok_or(Limit::Table)
    }

    /// Claims for a new door. A registration that ends opens one for the answers, if nothing else does.
    fn claim_all(
        &self,
        claims: &mut Claims,
        knocking: &Knocking<'_>,
        refused: &mut Vec<KnockId>,
    ) -> Result<(), Limit> {
        let grants = knocking.grants;
        let holds = grants.iter().any(|grant| !grant.ends());
        let mut full = None;
        for grant in grants.iter().filter(|grant| !holds || !grant.ends()) {
            if let Err(limit) = claims.add(grant, knocking.now, &self.places) {
                full = full.or(Some(limit));
                if !refused.contains(&grant.knock) {
                    refused.push(grant.knock);
                }
            }
        }
        if claims.is_empty() { Err(full.unwrap_or(Limit::Table)) } else { Ok(()) }
    }

    /// Puts a door with its places into the table.
    fn insert(&self, mut entry: Entry, knocking: &Knocking<'_>, refused: &mut Vec<KnockId>) -> DoorChange {
        let Knocking { source, now, bytes, .. } = *knocking;
        entry.knocked(now, bytes);
        let (door, next_end) = (entry.door(), entry.next_end());
        let ran_out = match self.doors.entry(source) {
            Vacant(vacant) => {
                vacant.insert(entry);
                None
            }
            Occupied(mut occupied) if occupied.get().is_held(now) => {
                // Another queue opened it between our look and now: that place serves, ours goes back.
                entry.release(&self.places);
                return match self.renew(occupied.get_mut(), knocking, refused) {
                    Ok(door) => DoorChange::Renewed(door),
                    Err(limit) => DoorChange::Refused(limit),
                };
            }
            Occupied(mut occupied) => {
                let earlier = occupied.get_mut().release(&self.places);
                entry.inherit(occupied.get(), now);
                occupied.insert(entry);
                earlier.holds_place.then_some(earlier)
            }
        };
        // After the insertion: a sweep that started before it and did not see the door has set its bound by now.
        self.runs_out(next_end);
        DoorChange::Opened { door, ran_out }
    }
}
