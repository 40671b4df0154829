//! The claims to a door: which knocks and registrations hold it, and until when.
//!
//! A knock with a life of its own has one claim to a door, and a knock that opens for a registration's life has one for
//! each registration. The door is open until the last claim ends. A claim that has run out is remembered for its own life
//! once more, as a door is, so that it is known whom a knock has let in that is taken out of the configuration.

use super::change::Limit;
use super::claim::{Claim, ClaimEnd, Grant, RegistrationId};
use super::limits::DoorLimits;
use super::packed::{PackedKnock, PackedLife};
use crate::knock::KnockId;
use crate::time::Time;

/// A claim in 32 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    pub(super) until: Time,
    registration: RegistrationId,
    pub(super) life: PackedLife,
    pub(super) knock: PackedKnock,
}

impl Packed {
    pub(super) fn new(claim: &Claim, holds_place: bool) -> Self {
        let mut knock = PackedKnock::new(claim.knock, holds_place, claim.closing);
        knock.set_registered(claim.registration.is_some());
        Self {
            until: claim.until,
            registration: claim.registration.unwrap_or(RegistrationId { user: 0, phone: 0 }),
            life: claim.life.into(),
            knock,
        }
    }

    fn of_grant(grant: &Grant, now: Time) -> Self {
        let claim = Claim {
            knock: grant.knock,
            registration: grant.registration.map(|registration| registration.id()),
            until: now.after(grant.life),
            life: grant.life,
            closing: grant.ends(),
        };
        Self::new(&claim, true)
    }

    fn registration(&self) -> Option<RegistrationId> {
        self.knock.is_registered().then_some(self.registration)
    }

    pub(super) fn unpack(&self) -> Claim {
        Claim {
            knock: self.knock.id(),
            registration: self.registration(),
            until: self.until,
            life: self.life.into(),
            closing: self.knock.is_closing(),
        }
    }

    fn holds(&self) -> bool {
        self.knock.holds_place()
    }

    fn is_of(&self, knock: KnockId) -> bool {
        self.knock.id() == knock
    }

    /// A later claim, or one that holds the door in place of one that has run out.
    fn outlasts(&self, other: &Self) -> bool {
        (self.holds(), self.until) > (other.holds(), other.until)
    }
}

/// All claims to a door, at most [`MAX_CLAIMS`], in the order in which they were made. One that holds the door has its
/// flag for that set until somebody notices that it has run out; while a knock has any such claim, it holds one of its
/// places.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<Packed>);

impl Claims {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Packed> {
        self.0.iter()
    }

    /// The claim if it is the only one, and no registration's.
    pub(super) fn sole(&self) -> Option<&Packed> {
        match self.0.as_slice() {
            [claim] if claim.registration().is_none() => Some(claim),
            _ => None,
        }
    }

    /// Whether any holds the door, as far as has been noticed.
    pub(super) fn any_holds(&self) -> bool {
        self.0.iter().any(Packed::holds)
    }

    /// The one that holds the door longest, the first of equals; if none does, the one that ran out last.
    pub(super) fn longest(&self) -> Option<&Packed> {
        self.0.iter().reduce(|longest, claim| if claim.outlasts(longest) { claim } else { longest })
    }

    /// The time at which the next of those that hold the door runs out.
    pub(super) fn next_end(&self) -> Option<Time> {
        self.0.iter().filter(|claim| claim.holds()).map(|claim| claim.until).min()
    }

    /// The first moment at which none of them is remembered.
    pub(super) fn forgotten(&self) -> Time {
        self.0.iter().map(|claim| claim.until.after(claim.life.into())).max().unwrap_or_default()
    }

    /// Adds one as it is. Its knock's place is the caller's business.
    pub(super) fn push(&mut self, claim: Packed) {
        // Most doors have one or two: a vector that grows by itself has room for four.
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(1 + self.0.len() / 2);
        }
        self.0.push(claim);
    }

    /// Makes or renews the claim of a grant; one that renews never shortens. The error says what was full, and then all is
    /// as it was.
    ///
    /// A registration beyond [`MAX_CLAIMS`] is held by its knock like one with a life of its own: the registration of the
    /// same knock that ends first makes room, and is no longer told apart either. Those that have run out go before that.
    pub(super) fn add(&mut self, grant: &Grant, now: Time, places: &DoorLimits) -> Result<(), Limit> {
        let knock = grant.knock;
        let new = Packed::of_grant(grant, now);
        let known =
            self.0.iter().position(|claim| claim.is_of(knock) && claim.registration() == new.registration());
        let counted = self.counts(knock);
        if !counted && !places.take_knock(knock) {
            return Err(Limit::Knock(knock));
        }
        match known.and_then(|index| Some((index, self.0.get_mut(index)?))) {
            Some((_, claim)) if claim.holds() => {
                claim.renew(&new);
                return Ok(());
            }
            // It is another one now, and in its order.
            Some((index, _)) => _ = self.0.remove(index),
            None => {}
        }
        if self.0.len() < MAX_CLAIMS || self.forget_one() {
            self.push(new);
            return Ok(());
        }
        if let Some(claim) = self.stand_in(knock) {
            claim.knock.set_registered(false);
            claim.renew(&Packed::new(&Claim { registration: None, ..new.unpack() }, true));
            return Ok(());
        }
        if !counted {
            places.give_back_knock(knock);
        }
        Err(Limit::Claims)
    }

    /// A claim of the knock to which one more can be added: one without a registration, or the one that ends first.
    fn stand_in(&mut self, knock: KnockId) -> Option<&mut Packed> {
        let held = self.0.iter_mut().filter(|claim| claim.is_of(knock) && claim.holds());
        held.min_by_key(|claim| (claim.registration().is_some(), claim.until))
    }

    /// Forgets the one that ran out first. Whether there was any.
    fn forget_one(&mut self) -> bool {
        let run_out = self.0.iter().enumerate().filter(|(_, claim)| !claim.holds());
        let Some((index, _)) = run_out.min_by_key(|(_, claim)| claim.until) else { return false };
        self.0.remove(index);
        true
    }

    /// A registration, or all of a user's, has ended: its claim stays for the answers alone.
    pub(super) fn end(&mut self, grant: &Grant, now: Time) {
        let Some(ended) = grant.registration else { return };
        let answered = now.after(grant.life);
        for claim in self.0.iter_mut().filter(|claim| claim.is_of(grant.knock) && claim.holds()) {
            let same = claim.registration().is_some_and(|known| {
                known.user == ended.user && (ended.end == Some(ClaimEnd::All) || known.phone == ended.phone)
            });
            if same && !claim.knock.is_closing() {
                claim.until = claim.until.min(answered);
                claim.life = grant.life.into();
                claim.knock.set_closing(true);
            }
        }
    }

    /// Drops the claims of registrations that have ended, if another claim keeps the door open for the answers.
    pub(super) fn drop_covered(&mut self, places: &DoorLimits) {
        let others = self.0.iter().filter(|claim| claim.holds() && !claim.knock.is_closing());
        if let Some(longest) = others.map(|claim| claim.until).max() {
            self.remove_if(places, |claim| {
                claim.holds() && claim.knock.is_closing() && claim.until <= longest
            });
        }
    }

    /// Lets an accepted packet renew all claims but those of registrations that have ended, each by its own life.
    pub(super) fn extend(&mut self, now: Time) {
        for claim in self.0.iter_mut().filter(|claim| claim.holds() && now < claim.until) {
            if !claim.knock.is_closing() {
                claim.until = claim.until.max(now.after(claim.life.into()));
            }
        }
    }

    /// Takes note of those that have run out, and gives back the places of knocks that have no other claim. Whether there
    /// were any.
    pub(super) fn run_out(&mut self, now: Time, places: &DoorLimits) -> bool {
        let ended: Vec<_> = self
            .0
            .iter_mut()
            .filter(|claim| claim.holds() && claim.until <= now)
            .map(Packed::release)
            .collect();
        self.give_back(&ended, places);
        !ended.is_empty()
    }

    /// The same for all that hold the door.
    pub(super) fn release_all(&mut self, places: &DoorLimits) {
        let held: Vec<_> = self.0.iter_mut().filter(|claim| claim.holds()).map(Packed::release).collect();
        self.give_back(&held, places);
    }

    /// Forgets those that were remembered for long enough.
    pub(super) fn forget(&mut self, now: Time) {
        self.0.retain(|claim| claim.holds() || claim.unpack().is_known(now));
    }

    /// Removes claims, and gives back the places of knocks that have no other.
    pub(super) fn remove_if(&mut self, places: &DoorLimits, mut remove: impl FnMut(&Packed) -> bool) {
        let mut held = Vec::new();
        self.0.retain(|claim| {
            let goes = remove(claim);
            if goes && claim.holds() {
                held.push(claim.knock.id());
            }
            !goes
        });
        self.give_back(&held, places);
    }

    /// Gives back the place of each knock that no longer has a claim, once.
    fn give_back(&self, knocks: &[KnockId], places: &DoorLimits) {
        for (index, knock) in knocks.iter().enumerate() {
            let given = knocks.get(..index).is_some_and(|earlier| earlier.contains(knock));
            if !given && !self.counts(*knock) {
                places.give_back_knock(*knock);
            }
        }
    }

    /// Whether a knock has a claim for which it holds a place.
    fn counts(&self, knock: KnockId) -> bool {
        self.0.iter().any(|claim| claim.holds() && claim.is_of(knock))
    }

    /// Adds claims that are remembered, as far as there is room.
    pub(super) fn inherit(&mut self, remembered: Vec<Packed>) {
        let room = MAX_CLAIMS.saturating_sub(self.0.len());
        self.0.extend(remembered.into_iter().take(room));
    }
}

impl Packed {
    /// Holds the door for as long as `new` does, if that is longer.
    fn renew(&mut self, new: &Self) {
        if new.until > self.until || self.knock.is_closing() {
            self.until = self.until.max(new.until);
            self.life = new.life;
            self.knock.set_closing(new.knock.is_closing());
        }
    }

    /// It holds the door no more. The knock that it was of.
    fn release(&mut self) -> KnockId {
        self.knock.set_holds_place(false);
        self.knock.id()
    }
}

/// Claims to one door: four offices of the size that share an address, most often. At 32 bytes each, they are 8 KB.
pub const MAX_CLAIMS: usize = 256;
