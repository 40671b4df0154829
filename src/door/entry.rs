//! What the table has about a source, packed: there can be a million of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::claims::Claims;
use super::{Door, Grant, State};
use crate::knock::KnockId;
use crate::sys;
use crate::time::Time;

/// A door in 40 bytes, so that a million of them with their sources and the table's free slots are 120 MB. What only
/// people look at is kept to the second.
#[derive(Debug)]
pub(super) struct Entry {
    expires: Time,
    /// [`PACKET`] for each accepted packet, and its bytes.
    counts: AtomicU64,
    more: Option<Box<More>>,
    life: Life,
    opened: Seconds,
    last_knock: Seconds,
    knock: PackedKnock,
}

/// What few doors have.
#[derive(Debug, Default)]
struct More {
    /// Whose it is; `None` where nothing but knocks with a life of their own has held it.
    claims: Option<Claims>,
    /// Packets and bytes that were once in `counts`.
    earlier: (u64, u64),
}

impl Entry {
    pub(super) fn new(door: Door, now: Time, grants: &[Grant]) -> Self {
        let mut entry = Self::restored(door, now, (0, 0));
        if grants.iter().any(|grant| grant.registration.is_some() && !grant.ends()) {
            let mut claims = Claims::default();
            grants.iter().filter(|grant| !grant.ends()).for_each(|grant| claims.add(grant, now));
            entry.more_mut().claims = Some(claims);
        }
        entry
    }

    /// One that nobody's registration holds, with what it had been used for.
    pub(super) fn restored(door: Door, last_knock: Time, counts: (u64, u64)) -> Self {
        let mut entry = Self {
            expires: door.expires,
            counts: AtomicU64::new(0),
            more: None,
            life: Life::default(),
            opened: Seconds::default(),
            last_knock: last_knock.into(),
            knock: PackedKnock::default(),
        };
        entry.set(&door);
        if counts != (0, 0) {
            entry.more_mut().earlier = counts;
        }
        entry
    }

    pub(super) fn door(&self) -> Door {
        Door {
            opened: self.opened.into(),
            expires: self.expires,
            life: Duration::from(self.life).into(),
            knock: self.knock.id(),
            holds_place: self.knock.0 & PackedKnock::HOLDS_PLACE != 0,
            closing: self.knock.0 & PackedKnock::CLOSING != 0,
        }
    }

    pub(super) fn set(&mut self, door: &Door) {
        self.expires = door.expires;
        self.life = door.life().into();
        self.opened = door.opened.into();
        self.knock = PackedKnock::new(door);
    }

    /// Has what a packet asks for brought near. It lies next to the source, and takes two lines of the cache at most.
    #[inline(always)]
    pub(super) fn prefetch(&self) {
        sys::prefetch(&self.counts);
    }

    /// What the door is at `now`, as [`Door::state`] says it.
    #[inline]
    pub(super) fn state(&self, now: Time) -> State {
        if now < self.expires { State::Open } else { self.state_when_shut(now) }
    }

    /// What the door is to a packet of so many bytes, which is counted where it passes if they are not 0, and whether
    /// it is time to [`Entry::spill`].
    #[inline]
    pub(super) fn pass(&self, now: Time, bytes: u32) -> (State, bool) {
        let state = self.state(now);
        (state, bytes > 0 && state == State::Open && self.count(bytes))
    }

    #[cold]
    #[inline(never)]
    fn state_when_shut(&self, now: Time) -> State {
        if now < self.expires.after(self.life.into()) { State::RunOut } else { State::None }
    }

    pub(super) fn expires(&self) -> Time {
        self.expires
    }

    /// Open, and not yet taken for run out by a sweep whose clock was ahead of this one.
    pub(super) fn is_held(&self, now: Time) -> bool {
        self.knock.0 & PackedKnock::HOLDS_PLACE != 0 && self.state(now) == State::Open
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

    pub(super) fn claims(&mut self) -> Option<&mut Claims> {
        self.more.as_mut()?.claims.as_mut()
    }

    /// From here on registrations are told apart.
    pub(super) fn claim(&mut self, claims: Claims) {
        self.more_mut().claims = Some(claims);
    }

    fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

/// A point in time to the second, up to the year 2106.
#[derive(Clone, Copy, Debug, Default)]
struct Seconds(u32);

impl From<Time> for Seconds {
    fn from(time: Time) -> Self {
        Self(u32::try_from(time.as_nanos() / NANOS_PER_SEC).unwrap_or(u32::MAX))
    }
}

impl From<Seconds> for Time {
    fn from(seconds: Seconds) -> Self {
        Self::from_parts(seconds.0.into(), 0)
    }
}

/// How long a door is remembered, rounded up: in milliseconds up to 24 days, beyond that in seconds up to 68 years,
/// and what is more is without end.
#[derive(Clone, Copy, Debug, Default)]
struct Life(u32);

impl Life {
    const IN_SECONDS: u32 = 1 << 31;
}

impl From<Duration> for Life {
    fn from(life: Duration) -> Self {
        let fits = |units: u128| u32::try_from(units).ok().filter(|units| *units < Self::IN_SECONDS);
        let millis = fits(life.as_nanos().div_ceil(1_000_000));
        let seconds = || fits(life.as_nanos().div_ceil(NANOS_PER_SEC.into()));
        Self(millis.or_else(|| seconds().map(|seconds| seconds | Self::IN_SECONDS)).unwrap_or(u32::MAX))
    }
}

impl From<Life> for Duration {
    fn from(life: Life) -> Self {
        let units = u64::from(life.0 & !Life::IN_SECONDS);
        match life.0 {
            u32::MAX => Duration::MAX,
            Life::IN_SECONDS.. => Duration::from_secs(units),
            _ => Duration::from_millis(units),
        }
    }
}

/// Whose door it is, and two flags.
#[derive(Clone, Copy, Debug, Default)]
struct PackedKnock(u32);

impl PackedKnock {
    const HOLDS_PLACE: u32 = 1 << 31;
    const CLOSING: u32 = 1 << 30;

    fn new(door: &Door) -> Self {
        let flag = |set, flag| if set { flag } else { 0 };
        let index = u32::try_from(door.knock.index()).unwrap_or(u32::MAX) & (Self::CLOSING - 1);
        Self(index | flag(door.holds_place, Self::HOLDS_PLACE) | flag(door.closing, Self::CLOSING))
    }

    fn id(self) -> KnockId {
        KnockId::from(self.0 & (Self::CLOSING - 1))
    }
}

/// The highest index of a knock that a door can have; that of [`Door::by_hand`].
pub(super) const LAST_KNOCK: u32 = PackedKnock::CLOSING - 1;

/// One packet among the counts: the bytes have 40 bits, the packets 24.
const PACKET: u64 = 1 << 40;

/// Eight million packets, whose bytes fill no more than half of their place either.
const HALF_FULL: u64 = 1 << 63;

const NANOS_PER_SEC: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let door = Door::new(KnockId::FIRST, Time::from_parts(1, 0), Duration::from_secs(9), false);
        let mut entry = Entry::new(door, Time::default(), &[]);
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
            let packed = Entry::new(door, door.opened, &[]).door();
            let unit = if life <= 2_147_483_647 * 1_000_000 { 1_000_000 } else { NANOS_PER_SEC };
            let rounded = packed.life().as_nanos() as u64;
            if rounded < 2_147_483_647 * NANOS_PER_SEC {
                prop_assert!(rounded >= life && rounded - life < unit, "{} {}", rounded, life);
            }
            prop_assert_eq!(Door { life: door.life, ..packed }, door);
        }
    }
}
