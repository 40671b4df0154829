//! Times and knocks in four bytes each: there can be a million doors.

use std::time::Duration;

use crate::knock::KnockId;
use crate::time::Time;

/// A point in time to the second, up to the year 2106.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seconds(u32);

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
pub(super) struct PackedLife(u32);

impl PackedLife {
    const IN_SECONDS: u32 = 1 << 31;
}

impl From<Duration> for PackedLife {
    fn from(life: Duration) -> Self {
        let fits = |units: u128| u32::try_from(units).ok().filter(|units| *units < Self::IN_SECONDS);
        let millis = fits(life.as_nanos().div_ceil(1_000_000));
        let seconds = || fits(life.as_nanos().div_ceil(NANOS_PER_SEC.into()));
        Self(millis.or_else(|| seconds().map(|seconds| seconds | Self::IN_SECONDS)).unwrap_or(u32::MAX))
    }
}

impl From<PackedLife> for Duration {
    fn from(life: PackedLife) -> Self {
        let units = u64::from(life.0 & !PackedLife::IN_SECONDS);
        match life.0 {
            u32::MAX => Duration::MAX,
            PackedLife::IN_SECONDS.. => Duration::from_secs(units),
            _ => Duration::from_millis(units),
        }
    }
}

/// The knock of a door or of a claim, and three flags.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PackedKnock(u32);

impl PackedKnock {
    /// Of a door: it holds a place in the table. Of a claim: it is among those for which its knock holds a place.
    const HOLDS_PLACE: u32 = 1 << 31;
    const CLOSING: u32 = 1 << 30;
    const REGISTERED: u32 = 1 << 29;

    pub(super) fn new(knock: KnockId, holds_place: bool, closing: bool) -> Self {
        let index = u32::try_from(knock.index()).unwrap_or(u32::MAX) & LAST_KNOCK;
        let mut packed = Self(index);
        packed.set(Self::HOLDS_PLACE, holds_place);
        packed.set(Self::CLOSING, closing);
        packed
    }

    pub(super) fn id(self) -> KnockId {
        KnockId::from(self.0 & LAST_KNOCK)
    }

    pub(super) fn holds_place(self) -> bool {
        self.0 & Self::HOLDS_PLACE != 0
    }

    pub(super) fn is_closing(self) -> bool {
        self.0 & Self::CLOSING != 0
    }

    pub(super) fn is_registered(self) -> bool {
        self.0 & Self::REGISTERED != 0
    }

    pub(super) fn set_holds_place(&mut self, on: bool) {
        self.set(Self::HOLDS_PLACE, on);
    }

    pub(super) fn set_closing(&mut self, on: bool) {
        self.set(Self::CLOSING, on);
    }

    pub(super) fn set_registered(&mut self, on: bool) {
        self.set(Self::REGISTERED, on);
    }

    fn set(&mut self, flag: u32, on: bool) {
        if on {
            self.0 |= flag;
        } else {
            self.0 &= !flag;
        }
    }
}

/// The highest index of a knock that a door can have; that of [`super::Door::by_hand`].
pub(super) const LAST_KNOCK: u32 = PackedKnock::REGISTERED - 1;

pub(super) const NANOS_PER_SEC: u64 = 1_000_000_000;
