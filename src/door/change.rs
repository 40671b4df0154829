//! The outcome of a knock.

use super::state::Door;
use crate::knock::KnockId;

/// The effect of a knock on a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorChange {
    /// A new door. `ran_out` is an earlier one of the same source whose end no sweep has reported yet.
    Opened {
        /// The new door.
        door: Door,
        /// The earlier one.
        ran_out: Option<Door>,
    },
    /// The door was open, and is so for longer now.
    Renewed(Door),
    /// No room; whatever door there was is as it was.
    Refused(Limit),
}

/// The bound that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `inspect.max_doors`.
    Table,
    /// The `max_doors` of the knock.
    Knock(KnockId),
    /// The door's claims, see [`MAX_CLAIMS`](super::MAX_CLAIMS).
    Claims,
}
