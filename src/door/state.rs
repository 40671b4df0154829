//! A source's door, and its state.

use std::time::Duration;

use super::claim::Claim;
use super::packed::LAST_KNOCK;
use crate::knock::KnockId;
use crate::time::{Span, Time};

/// One source's permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// When it was opened; the table keeps it to the second.
    pub opened: Time,
    /// The first moment at which it is no longer open.
    pub expires: Time,
    /// The life that the knock that set `expires` opens for.
    pub(super) life: Span,
    /// The knock whose claim ends last.
    pub knock: KnockId,
    /// Whether it still holds a place among `max_doors`.
    pub(super) holds_place: bool,
    /// The registration of that claim has ended, and it stays open only for the answers.
    pub(super) closing: bool,
}

/// The state of a source's door, as it counts for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorState {
    /// It passes.
    Open,
    /// It had one, and it has run out.
    Expired,
    /// A stranger, or one whose door is forgotten.
    None,
}

impl Door {
    /// One that this claim holds alone, as long as nobody says when it was opened.
    pub(super) fn of_claim(claim: &Claim) -> Self {
        Self::again(claim.knock, Time::default(), claim.until, claim.life, claim.closing)
    }

    /// A door that holds a place.
    pub(super) fn new(knock: KnockId, now: Time, life: Duration) -> Self {
        Self::again(knock, now, now.after(life), life, false)
    }

    /// The knock of claims that somebody made by hand. It is none of any set, and has no limit of its own.
    pub fn by_hand() -> KnockId {
        KnockId::from(LAST_KNOCK)
    }

    /// The life that the knock that set `expires` opens for.
    pub fn life(&self) -> Duration {
        self.life.into()
    }

    /// One that was open before a restart.
    pub fn again(knock: KnockId, opened: Time, expires: Time, life: Duration, closing: bool) -> Self {
        Self { opened, expires, life: life.into(), knock, holds_place: true, closing }
    }

    /// Whether the registration whose claim ends last is over, so that the door stays open only for the answers.
    pub fn is_closing(&self) -> bool {
        self.closing
    }
}

impl Claim {
    /// The only claim to a door of which no others are known.
    pub fn sole(door: &Door) -> Self {
        Self {
            knock: door.knock,
            registration: None,
            until: door.expires,
            life: door.life(),
            closing: door.is_closing(),
        }
    }
}
