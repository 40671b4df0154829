//! One claim to a door, and the knock that asks for it.

use std::time::Duration;

use crate::knock::KnockId;
use crate::time::Time;

/// A knock that matched, and how long it opens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The knock.
    pub knock: KnockId,
    /// The life of its door.
    pub life: Duration,
    /// The registration whose life that is; `None` if the knock has a life of its own.
    pub registration: Option<ClaimRegistration>,
}

/// A registration, told apart from others that come through the same door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimRegistration {
    /// Its user: a hash of the address-of-record (RFC 3261, 6).
    pub user: u64,
    /// Its number among the user's registrations: a hash of the instance and its reg-id (RFC 5626, 4.1 and 4.2), or of the
    /// contact if it names no instance.
    pub phone: u64,
    /// Set if it is over.
    pub end: Option<ClaimEnd>,
}

/// The registrations that a REGISTER with an expiry of 0 ends (RFC 3261, 10.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimEnd {
    /// This registration.
    One,
    /// All of the user's.
    All,
}

/// The registration of a claim. Its hashes are the same in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrationId {
    /// As [`ClaimRegistration::user`].
    pub user: u64,
    /// As [`ClaimRegistration::phone`].
    pub phone: u64,
}

/// One hold on a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The knock.
    pub knock: KnockId,
    /// The registration whose life it has; `None` if the knock has a life of its own.
    pub registration: Option<RegistrationId>,
    /// The first moment at which it no longer holds the door.
    pub until: Time,
    /// The life that the knock opens for; also the time for which the claim is remembered once it has run out.
    pub life: Duration,
    /// The registration has ended, and the claim is there for the last answers.
    pub closing: bool,
}

impl Grant {
    /// Whether it is about a registration that ends.
    pub(super) fn ends(&self) -> bool {
        self.registration.is_some_and(|registration| registration.end.is_some())
    }
}

impl ClaimRegistration {
    /// Its identity.
    pub fn id(&self) -> RegistrationId {
        RegistrationId { user: self.user, phone: self.phone }
    }
}

impl Claim {
    /// Whether it holds the door, or is remembered.
    pub fn is_known(&self, now: Time) -> bool {
        now < self.until.after(self.life)
    }
}
