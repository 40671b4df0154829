//! The settings of a decision.

use std::time::Duration;

use super::registrar::Bounds;
use crate::net::{Cut, NetSet};
use crate::stream::Limits;

/// The settings of a decision, beside the knocks and the doors.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Sources that pass without a knock.
    pub trusted: NetSet,
    /// Whether drops are carried out.
    pub mode: Mode,
    /// The packets that renew an open door.
    pub renew: Renew,
    /// The rule that makes a source out of an address.
    pub cut: Cut,
    /// The bounds of the time for which registrations hold a door.
    pub registrations: Bounds,
    /// The bounds of a TCP flow before a knock.
    pub streams: Limits,
    /// For how long a request of the PBX opens a door for its destination; `None`: it opens none.
    pub outbound: Option<Duration>,
    /// The number of such doors that there may be; `None`: [`DEFAULT_MAX_OUTBOUND`].
    pub max_outbound: Option<usize>,
}

/// Whether drops are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Carry out drops.
    #[default]
    Enforce,
    /// Accept everything, and log the drops of enforce mode.
    Monitor,
}

/// The packets that renew an open door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renew {
    /// A knock, and nothing else.
    #[default]
    Knock,
    /// Any packet that the door let through.
    Packet,
}

/// Stands for the knock of a door that was opened by hand.
pub const MANUAL: &str = "manual";

/// Stands for the knock of a door that the PBX opened by a call.
pub const OUTBOUND: &str = "outbound";

/// Outbound doors, unless [`crate::outbound::OutboundTable::limit`] says otherwise: a large office's phones and providers.
pub const DEFAULT_MAX_OUTBOUND: usize = 16_384;
