//! How long a registration holds a door.
//!
//! The phone asks for a life, in the same message that holds the knock. The registrar may grant less, and then the
//! phone comes back sooner; that it grants more is not foreseen (RFC 3261, 10.3).

use std::time::Duration;

use crate::door::{End, Grant, Registration};
use crate::inspect::Bounds;
use crate::knock::KnockId;
use crate::sip::{DEFAULT_EXPIRES, Message};

/// Reads registrations.
#[derive(Debug)]
pub(crate) struct Registrar {
    bounds: Bounds,
    hasher: ahash::RandomState,
}

impl Registrar {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, hasher: ahash::RandomState::new() }
    }

    /// One with other bounds that knows the same registrations again.
    pub(crate) fn with(&self, bounds: Bounds) -> Self {
        Self { bounds, hasher: self.hasher.clone() }
    }

    /// What a knock with this message around it grants.
    pub(crate) fn grant(&self, knock: KnockId, message: Option<&Message<'_>>) -> Grant {
        let Some(asked) = message.and_then(Message::registration) else {
            return Grant { knock, life: self.life(DEFAULT_EXPIRES), registration: None };
        };
        let user = self.hasher.hash_one(asked.aor.to_ascii_lowercase());
        let phone = match asked.instance {
            Some(instance) => self.hasher.hash_one((true, instance.to_ascii_lowercase())),
            None => self.hasher.hash_one((false, asked.contact.to_vec())),
        };
        let end = (asked.expires == 0).then_some(if asked.all { End::All } else { End::One });
        let life = if end.is_some() { GRACE } else { self.life(asked.expires) };
        Grant { knock, life, registration: Some(Registration { user, phone, end }) }
    }

    /// The life of a registration, and some more: the phone comes back a little before its end.
    fn life(&self, expires: u32) -> Duration {
        let expires = Duration::from_secs(expires.into());
        let life = expires + MARGIN.max(expires / 10);
        life.clamp(self.bounds.min, self.bounds.max)
    }
}

/// For a phone that is late. Beyond five minutes it is a tenth of the registration's life.
const MARGIN: Duration = Duration::from_secs(30);

/// How long the door stays open for somebody who has left: by then the last answer has been repeated for the last time
/// (64 * T1, RFC 3261, 17.2.2).
pub(crate) const GRACE: Duration = Duration::from_secs(32);
