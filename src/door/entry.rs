//! What the table has about a source, packed: there can be a million of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::claim::Claim;
use super::claims::{Claims, Packed};
use super::limits::DoorLimits;
use super::packed::{PackedKnock, PackedLife, Seconds};
use super::state::{Door, DoorState};
use crate::knock::KnockId;
use crate::sys;
use crate::time::Time;

/// A door in 40 bytes, so that a million of them with their sources and the table's free slots are 120 MB. What only
/// people look at is kept to the second.
///
/// If its only claim is no registration's, that is all of it. Else the claims are in a list, and what the entry has of the
/// door is that of the longest of them.
#[derive(Debug)]
pub(super) struct Entry {
    expires: Time,
    /// [`PACKET`] for each accepted packet, and its bytes.
    counts: AtomicU64,
    more: Option<Box<More>>,
    /// How long it is remembered once it has run out: for as long as any of its claims is.
    life: PackedLife,
    opened: Seconds,
    last_knock: Seconds,
    knock: PackedKnock,
}

/// What few doors have.
#[derive(Debug, Default)]
struct More {
    /// All claims; empty if there is only one, and no registration's.
    claims: Claims,
    /// Packets and bytes that were once in `counts`.
    earlier: (u64, u64),
}

impl Entry {
    /// A door with one claim, which is no registration's.
    pub(super) fn sole(door: &Door, last_knock: Time) -> Self {
        Self {
            expires: door.expires,
            counts: AtomicU64::new(0),
            more: None,
            life: door.life().into(),
            opened: door.opened.into(),
            last_knock: last_knock.into(),
            knock: PackedKnock::new(door.knock, door.holds_place, door.closing),
        }
    }

    /// A door with these claims; `None` if there is none.
    pub(super) fn of_claims(claims: Claims, opened: Time, last_knock: Time) -> Option<Self> {
        let door = Door { opened, ..Door::of_claim(&claims.longest()?.unpack()) };
        let mut entry = Self::sole(&door, last_knock);
        entry.more_mut().claims = claims;
        entry.settle();
        Some(entry)
    }

    /// The same with what it had been used for.
    pub(super) fn used(mut self, counts: (u64, u64)) -> Self {
        if counts != (0, 0) {
            self.more_mut().earlier = counts;
        }
        self
    }

    pub(super) fn door(&self) -> Door {
        let longest = self.list().and_then(Claims::longest);
        Door {
            opened: self.opened.into(),
            expires: self.expires,
            life: Duration::from(longest.map_or(self.life, |longest| longest.life)).into(),
            knock: self.knock.id(),
            holds_place: self.knock.holds_place(),
            closing: self.knock.is_closing(),
        }
    }

    /// Has what a packet asks for brought near. It lies next to the source, and takes two lines of the cache at most.
    #[inline(always)]
    pub(super) fn prefetch(&self) {
        sys::prefetch(&self.counts);
    }

    /// What the door is at `now`.
    #[inline]
    pub(super) fn state(&self, now: Time) -> DoorState {
        if now < self.expires { DoorState::Open } else { self.state_when_shut(now) }
    }

    /// What the door is to a packet of so many bytes, which is counted where it passes if they are not 0, and whether
    /// it is time to [`Entry::spill`].
    #[inline]
    pub(super) fn pass(&self, now: Time, bytes: u32) -> (DoorState, bool) {
        let state = self.state(now);
        (state, bytes > 0 && state == DoorState::Open && self.count(bytes))
    }

    #[cold]
    #[inline(never)]
    fn state_when_shut(&self, now: Time) -> DoorState {
        if now < self.expires.after(self.life.into()) { DoorState::Expired } else { DoorState::None }
    }

    /// Open, and not yet taken for run out by a sweep whose clock was ahead of this one.
    pub(super) fn is_held(&self, now: Time) -> bool {
        self.knock.holds_place() && self.state(now) == DoorState::Open
    }

    /// Whether it holds a place in the table.
    pub(super) fn holds_place(&self) -> bool {
        self.knock.holds_place()
    }

    /// The time at which the next of its claims runs out.
    pub(super) fn next_end(&self) -> Time {
        self.list().and_then(Claims::next_end).unwrap_or(self.expires)
    }

    /// All claims, those that have run out and are remembered as well.
    pub(super) fn claims(&self) -> impl Iterator<Item = Claim> {
        let sole = self.list().is_none().then(|| self.own());
        let list = self.list().into_iter().flat_map(Claims::iter).copied();
        sole.into_iter().chain(list).map(|claim| claim.unpack())
    }

    /// The claims, if there is more to say of them than the door does.
    pub(super) fn list(&self) -> Option<&Claims> {
        self.more.as_ref().map(|more| &more.claims).filter(|claims| !claims.is_empty())
    }

    /// The claims, to be changed. Then the door has to be [settled](Entry::settle).
    pub(super) fn claims_mut(&mut self) -> &mut Claims {
        let own = self.list().is_none().then(|| self.own());
        let claims = &mut self.more_mut().claims;
        own.into_iter().for_each(|own| claims.push(own));
        claims
    }

    /// The only claim, which is all that the entry has.
    fn own(&self) -> Packed {
        Packed::new(&Claim::sole(&self.door()), self.knock.holds_place())
    }

    /// Makes the door that of its longest claim. There has to be one.
    pub(super) fn settle(&mut self) {
        let Some(more) = &mut self.more else { return };
        let Some(longest) = more.claims.longest() else { return };
        let (knock, closing) = (longest.knock.id(), longest.knock.is_closing());
        (self.expires, self.life) = (longest.until, more.claims.forgotten().since(longest.until).into());
        self.knock = PackedKnock::new(knock, more.claims.any_holds(), closing);
        if more.claims.sole().is_some() {
            more.claims = Claims::default();
            if more.earlier == (0, 0) {
                self.more = None;
            }
        }
    }

    /// Renews the only claim, which is the knock's own, if that is all that there is to do. Whether it was.
    #[inline]
    pub(super) fn renew_sole(&mut self, knock: KnockId, now: Time, life: Duration) -> bool {
        if self.knock.id() != knock || self.list().is_some() {
            return false;
        }
        let expires = now.after(life);
        if expires > self.expires || self.knock.is_closing() {
            self.expires = self.expires.max(expires);
            self.life = life.into();
            self.knock.set_closing(false);
        }
        true
    }

    /// Lets an accepted packet renew the claims.
    pub(super) fn extend(&mut self, now: Time) {
        if self.list().is_some() {
            self.claims_mut().extend(now);
            self.settle();
        } else if !self.knock.is_closing() {
            self.expires = self.expires.max(now.after(self.life.into()));
        }
    }

    /// Gives back the places of claims that have run out, and forgets those that nobody remembers. When the next one runs out,
    /// and whether it gave any back.
    #[inline]
    pub(super) fn sweep(&mut self, now: Time, places: &DoorLimits) -> (Time, bool) {
        // Most doors have nothing more, and there can be a million of them.
        if self.more.is_none() {
            return (self.expires, false);
        }
        let freed = self.sweep_list(now, places);
        (self.next_end(), freed)
    }

    #[cold]
    #[inline(never)]
    fn sweep_list(&mut self, now: Time, places: &DoorLimits) -> bool {
        if self.list().is_none() {
            return false;
        }
        let claims = self.claims_mut();
        let freed = claims.run_out(now, places);
        claims.forget(now);
        self.settle();
        freed
    }

    /// Gives back all places of knocks, and that in the table. The door as it was.
    pub(super) fn release(&mut self, places: &DoorLimits) -> Door {
        let door = self.door();
        if door.holds_place {
            places.give_back();
            match self.list().is_some() {
                true => {
                    self.claims_mut().release_all(places);
                    self.settle();
                }
                false => places.give_back_knock(door.knock),
            }
            self.knock.set_holds_place(false);
        }
        door
    }

    /// Removes the claims of knocks that are gone, and gives back their places. Whether any other is left, which may have run
    /// out.
    pub(super) fn retire(&mut self, gone: impl Fn(KnockId) -> bool, now: Time, places: &DoorLimits) -> bool {
        let claims = self.claims_mut();
        claims.run_out(now, places);
        claims.remove_if(places, |claim| gone(claim.knock.id()));
        let left = !claims.is_empty();
        self.settle();
        left
    }

    /// Keeps what is remembered of an earlier door of the same source.
    pub(super) fn inherit(&mut self, earlier: &Self, now: Time) {
        let other = |claim: &Claim| {
            claim.is_known(now)
                && !self
                    .claims()
                    .any(|own| own.knock == claim.knock && own.registration == claim.registration)
        };
        let others: Vec<_> = earlier.claims().filter(other).map(|claim| Packed::new(&claim, false)).collect();
        if !others.is_empty() {
            self.claims_mut().inherit(others);
            self.settle();
        }
    }

    /// Somebody knocked, with a packet of so many bytes.
    pub(super) fn knocked(&mut self, now: Time, bytes: u32) {
        self.last_knock = now.into();
        if bytes > 0 && self.count(bytes) {
            self.spill();
        }
    }

    pub(super) fn last_knock(&self) -> Time {
        self.last_knock.into()
    }

    /// Counts an accepted packet; whether it is time to [`Entry::spill`].
    #[inline]
    pub(super) fn count(&self, bytes: u32) -> bool {
        self.counts.fetch_add(PACKET + u64::from(bytes), Ordering::Relaxed) >= HALF_FULL
    }

    /// Puts the counts where they have room to grow.
    pub(super) fn spill(&mut self) {
        let counts = self.counts();
        *self.counts.get_mut() = 0;
        self.more_mut().earlier = counts;
    }

    /// Packets accepted, and their bytes.
    pub(super) fn counts(&self) -> (u64, u64) {
        let counts = self.counts.load(Ordering::Relaxed);
        let (packets, bytes) = self.more.as_ref().map_or((0, 0), |more| more.earlier);
        (packets + counts / PACKET, bytes + counts % PACKET)
    }

    fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

/// One packet among the counts: the bytes have 40 bits, the packets 24.
const PACKET: u64 = 1 << 40;

/// Eight million packets, whose bytes fill no more than half of their place either.
const HALF_FULL: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::packed::{LAST_KNOCK, NANOS_PER_SEC};
    use super::*;

    #[test]
    fn an_entry_is_as_small_as_promised() {
        assert_eq!(size_of::<Entry>(), 40);
        assert_eq!(size_of::<(crate::net::Source, Entry)>(), 56);
    }

    /// As `DoorTable::prefetch` takes for granted.
    #[test]
    fn what_a_packet_asks_for_lies_together() {
        type Kept = (crate::net::Source, Entry);
        assert_eq!(std::mem::offset_of!(Kept, 0), 0);
        assert_eq!(std::mem::offset_of!(Kept, 1.expires), 16);
        assert_eq!(std::mem::offset_of!(Kept, 1.counts), 24);
    }

    #[test]
    fn counts_go_on_beyond_their_bits() {
        let door = Door::new(KnockId::FIRST, Time::from_parts(1, 0), Duration::from_secs(9));
        let mut entry = Entry::sole(&door, Time::default());
        *entry.counts.get_mut() = ((1 << 23) - 2) * PACKET + 1000;
        assert!(!entry.count(65_535) && !entry.count(1));
        assert!(entry.count(1), "half full");
        entry.spill();
        assert_eq!(entry.counts(), ((1 << 23) + 1, 1000 + 65_537));
        assert!(!entry.count(100));
        assert_eq!(entry.counts(), ((1 << 23) + 2, 1000 + 65_637));
    }

    proptest! {
        #[test]
        fn packing_loses_what_it_says_and_no_more(
            opened in any::<u32>(),
            expires in any::<u64>(),
            life in prop_oneof![any::<u64>(), 0..10_000_000_000_000_000u64],
            knock in 0..=LAST_KNOCK,
            holds_place in any::<bool>(),
            closing in any::<bool>(),
        ) {
            let door = Door {
                opened: Time::from_parts(opened.into(), 0),
                expires: Time::from_nanos(expires),
                life: Duration::from_nanos(life).into(),
                knock: KnockId::from(knock),
                holds_place,
                closing,
            };
            let packed = Entry::sole(&door, door.opened).door();
            let unit = if life <= 2_147_483_647 * 1_000_000 { 1_000_000 } else { NANOS_PER_SEC };
            let rounded = packed.life().as_nanos() as u64;
            if rounded < 2_147_483_647 * NANOS_PER_SEC {
                prop_assert!(rounded >= life && rounded - life < unit, "{} {}", rounded, life);
            }
            prop_assert_eq!(Door { life: door.life, ..packed }, door);
        }
    }
}
