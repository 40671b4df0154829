//! Marks: sources that get no outbound door.

use std::time::Duration;

use crate::time::Time;

/// A bar to an outbound door for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The first moment at which it no longer counts.
    pub until: Time,
    /// Its life, from the closing and from each later request of the PBX to the source.
    pub life: Duration,
}

/// As many marks as there are doors by default, twice: a knock that half of the phones share may be taken out.
pub const MAX_MARKS: usize = 131_072;
