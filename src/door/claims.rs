//! Who holds a door, where registrations do.

use super::{Door, Grant};
use crate::knock::KnockId;
use crate::time::Time;

/// A registration, told apart from others that come through the same door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Whose it is: a hash of the address-of-record (RFC 3261, 6).
    pub user: u64,
    /// Which of the user's phones it is: a hash of the instance (RFC 5626, 4.1), or of the contact where it names none.
    pub phone: u64,
    /// Set where it is over.
    pub end: Option<End>,
}

/// What a REGISTER with an expiry of 0 ends (RFC 3261, 10.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This phone's registration.
    One,
    /// All of the user's.
    All,
}

/// The registrations that hold a door, and what else does.
#[derive(Debug, Default)]
pub(super) struct Claims {
    registrations: Vec<(KnockId, Registration, Time)>,
    /// Until when it is held by a knock that is not tied to a registration.
    other: Option<(KnockId, Time)>,
}

impl Claims {
    /// A door that so far was held by its knock alone.
    pub(super) fn of_knock(door: &Door) -> Self {
        Self { registrations: Vec::new(), other: (!door.closing).then_some((door.knock, door.expires)) }
    }

    /// Somebody holds the door, from now on or still.
    pub(super) fn add(&mut self, grant: &Grant, now: Time) {
        let expires = now.after(grant.life);
        if let Some(registration) = grant.registration {
            self.registrations.retain(|&(knock, known, until)| {
                until > now && !(knock == grant.knock && known == registration)
            });
            if self.registrations.len() < MAX_REGISTRATIONS {
                self.registrations.push((grant.knock, registration, expires));
                return;
            }
        }
        if self.other.is_none_or(|(_, until)| until <= expires) {
            self.other = Some((grant.knock, expires));
        }
    }

    /// A registration has ended.
    pub(super) fn end(&mut self, grant: &Grant) {
        let Some(ended) = grant.registration else { return };
        self.registrations.retain(|&(knock, known, _)| {
            let same =
                known.user == ended.user && (ended.end == Some(End::All) || known.phone == ended.phone);
            knock != grant.knock || !same
        });
    }

    /// Forgets what knocks hold that are gone. Whether there was any of it.
    pub(super) fn retire(&mut self, gone: impl Fn(KnockId) -> bool) -> bool {
        let before = (self.registrations.len(), self.other.is_some());
        self.registrations.retain(|&(knock, _, _)| !gone(knock));
        self.other = self.other.filter(|&(knock, _)| !gone(knock));
        before != (self.registrations.len(), self.other.is_some())
    }

    /// Who of those that hold the door holds it longest.
    pub(super) fn last(&self, now: Time) -> Option<(KnockId, Time)> {
        let registrations = self.registrations.iter().map(|&(knock, _, until)| (knock, until));
        registrations.chain(self.other).filter(|&(_, until)| until > now).max_by_key(|&(_, until)| until)
    }
}

/// Registrations of one door that are told apart: more phones than an office behind one address has, most often.
pub const MAX_REGISTRATIONS: usize = 64;
