//! The time for which a registration holds a door.
//!
//! The phone asks for a life, in the same message that holds the knock. The registrar may grant less, and then the
//! phone comes back sooner; that it grants more is not foreseen (RFC 3261, 10.3).

use std::time::Duration;

use crate::door::{ClaimEnd, ClaimRegistration, Grant};
use crate::hash::{stable_hash, stable_hash_of};
use crate::knock::KnockId;
use crate::sip::{Contact, DEFAULT_EXPIRES, Message};

/// The shortest and the longest time for which a registration holds a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A minute by default: the shortest that a registrar is likely to grant (RFC 3261, 10.3).
    pub min: Duration,
    /// A day by default.
    pub max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { min: Duration::from_secs(60), max: Duration::from_secs(24 * 3600) }
    }
}

/// Reads registrations.
#[derive(Debug)]
pub(super) struct Registrar {
    bounds: Bounds,
}

impl Registrar {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds }
    }

    /// The grants of a knock with this message around it: one for each contact, up to [`MAX_CONTACTS`].
    pub(super) fn grants(&self, knock: KnockId, message: Option<&Message<'_>>, grants: &mut Vec<Grant>) {
        let Some((message, asked)) = message.and_then(|message| Some((message, message.registration()?)))
        else {
            return grants.push(Grant { knock, life: self.life(DEFAULT_EXPIRES), registration: None });
        };
        let user = stable_hash(&asked.aor.to_ascii_lowercase());
        let mut add = |phone, expires, end| {
            let end = (expires == 0).then_some(end);
            let life = if end.is_some() { GRACE } else { self.life(expires) };
            grants.push(Grant { knock, life, registration: Some(ClaimRegistration { user, phone, end }) });
        };
        if asked.all {
            return add(by_contact(asked.contact), asked.expires, ClaimEnd::All);
        }
        let mut contacts = message.contacts().take(MAX_CONTACTS).peekable();
        if contacts.peek().is_none() {
            // It asks what there is; phones that knock by that are told apart by their users.
            return add(by_contact(&[]), asked.expires, ClaimEnd::One);
        }
        contacts.for_each(|contact| add(phone(&contact), contact.expires, ClaimEnd::One));
    }

    /// The life of a registration, and some more: the phone comes back a little before its end.
    fn life(&self, expires: u32) -> Duration {
        let expires = Duration::from_secs(expires.into());
        let life = expires + MARGIN.max(expires / 10);
        life.clamp(self.bounds.min, self.bounds.max)
    }
}

/// The identity of a registration among those of its user (RFC 5626, 6). A device without a reg-id has one registration,
/// whatever address it has just now.
fn phone(contact: &Contact<'_>) -> u64 {
    let Some(instance) = &contact.instance else { return by_contact(contact.uri) };
    let flow = contact.reg_id.as_deref().unwrap_or_default();
    stable_hash_of(&[b"instance", &instance.to_ascii_lowercase(), flow])
}

fn by_contact(uri: &[u8]) -> u64 {
    stable_hash_of(&[b"contact", uri])
}

/// Contacts of one REGISTER that are told apart; phones have one, and two while their address changes.
const MAX_CONTACTS: usize = 32;

/// For a phone that is late. Beyond five minutes it is a tenth of the registration's life.
const MARGIN: Duration = Duration::from_secs(30);

/// The life of a door after its registration has ended: by then the last answer has been repeated for the last time
/// (64 * T1, RFC 3261, 17.2.2).
const GRACE: Duration = Duration::from_secs(32);
