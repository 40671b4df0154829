//! A knock's number.

/// A knock's place in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnockId(pub(super) u32);

impl KnockId {
    /// That of the first knock.
    pub const FIRST: Self = Self(0);

    /// The place, counted from 0 in the order of the config.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<u32> for KnockId {
    fn from(index: u32) -> Self {
        Self(index)
    }
}
