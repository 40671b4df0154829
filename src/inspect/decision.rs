//! The decision about a packet.

use std::net::IpAddr;

use crate::door::DoorChange;
use crate::knock::KnockId;
use crate::verdict::{Reason, Verdict};

/// The verdict on a packet, its reason, and the effect of its knocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer to the kernel.
    pub verdict: Verdict,
    /// The reason. In monitor mode this is still the reason for which it would have been dropped.
    pub reason: Reason,
    /// The sender, if it could be read.
    pub source: Option<IpAddr>,
    /// The knocks in it; most packets have none.
    pub knocked: Option<Box<Knocked>>,
}

/// The knocks of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knocked {
    /// Every knock that matched, each once, in the order of the config: ids that the inspector has names for.
    pub knocks: Vec<KnockId>,
    /// Their effect on the source's door.
    pub change: DoorChange,
    /// Those that were full and got no claim to it.
    pub refused: Vec<KnockId>,
    /// All TCP segments of the knocks, this one included, if there are several.
    pub gathered: Option<Box<[u8]>>,
}

impl Decision {
    /// The knocks that matched.
    pub fn knocks(&self) -> &[KnockId] {
        self.knocked.as_ref().map_or(&[], |knocked| &knocked.knocks)
    }

    /// Their effect on the source's door.
    pub fn change(&self) -> Option<DoorChange> {
        self.knocked.as_ref().map(|knocked| knocked.change)
    }

    /// Accepted only because the gate runs in monitor mode.
    pub fn would_drop(&self) -> bool {
        self.verdict == Verdict::Accept && self.reason.verdict() == Verdict::Drop
    }
}
