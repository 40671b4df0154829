//! What a REGISTER asks for (RFC 3261, 10.2 and 10.3).

use std::borrow::Cow;

use super::address::{Address, addresses};
use super::message::Message;

/// The bindings that a phone asks for, or wants to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration<'a> {
    /// For how many seconds: the longest of its contacts. 0 ends it.
    pub expires: u32,
    /// The address-of-record: the To URI as it stands; empty if there is none.
    pub aor: &'a [u8],
    /// The URI of the first contact; empty if there is none.
    pub contact: &'a [u8],
    /// `Contact: *`: about every binding of the address-of-record (RFC 3261, 10.2.2).
    pub all: bool,
}

/// One of these bindings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact<'a> {
    /// The URI. It tells bindings apart if no instance does (RFC 3261, 10.3).
    pub uri: &'a [u8],
    /// The device, if it is named: its `+sip.instance` without quotes and `<>` (RFC 5626, 4.1).
    pub instance: Option<Cow<'a, [u8]>>,
    /// The number of the flow, which tells several bindings of a device apart (RFC 5626, 4.2).
    pub reg_id: Option<Cow<'a, [u8]>>,
    /// For how many seconds. 0 ends it.
    pub expires: u32,
}

impl<'a> Message<'a> {
    /// The registration that a REGISTER asks for; `None` for other messages.
    pub fn registration(&self) -> Option<Registration<'a>> {
        Registration::of(self)
    }

    /// The contacts of a REGISTER, as it asks for each of them.
    pub fn contacts(&self) -> impl Iterator<Item = Contact<'a>> + use<'a> {
        Contact::all(self)
    }
}

impl<'a> Registration<'a> {
    fn of(message: &Message<'a>) -> Option<Self> {
        if message.method() != Some(b"REGISTER") {
            return None;
        }
        let by_header = by_header(message);
        let (mut longest, mut uri, mut all) = (None, None, false);
        for contact in message.headers_named("Contact").flat_map(addresses) {
            all |= contact.uri() == b"*";
            uri = uri.or(Some(contact.uri()));
            longest = longest.max(Some(seconds_of(&contact, by_header)));
        }
        let expires = longest.filter(|_| !all).unwrap_or(by_header);
        let to = message.header("To").and_then(|value| addresses(value).next());
        Some(Self { expires, aor: to.map_or(&[], |to| to.uri()), contact: uri.unwrap_or_default(), all })
    }
}

impl<'a> Contact<'a> {
    /// The contacts of a REGISTER in their order.
    fn all(message: &Message<'a>) -> impl Iterator<Item = Self> + use<'a> {
        let by_header = by_header(message);
        let contacts = message.headers_named("Contact").flat_map(addresses);
        contacts.map(move |contact| Self {
            uri: contact.uri(),
            instance: contact.instance(),
            reg_id: contact.param("reg-id"),
            expires: seconds_of(&contact, by_header),
        })
    }
}

/// For how long a REGISTER asks that says nothing of a contact's own.
fn by_header(message: &Message<'_>) -> u32 {
    message.header("Expires").map_or(DEFAULT_EXPIRES, seconds)
}

fn seconds_of(contact: &Address<'_>, by_header: u32) -> u32 {
    contact.param("expires").map_or(by_header, |value| seconds(&value))
}

/// A malformed value counts as the default (RFC 3261, 20.19), and so does one that 32 bits don't hold.
fn seconds(value: &[u8]) -> u32 {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|value| value.parse().ok())
        .unwrap_or(DEFAULT_EXPIRES)
}

/// The default without any: RFC 3261, 10.3 leaves it to the registrar, and this is the number that 20.19 falls back to.
pub(crate) const DEFAULT_EXPIRES: u32 = 3600;

#[cfg(test)]
mod tests;
