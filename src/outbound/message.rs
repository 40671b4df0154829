//! What outbound doors need of a SIP message: the PBX's requests, and what may pass from those whom it called.

use std::time::Duration;

use crate::hash::stable_hash;
use crate::sip::{Message, Registration, StartLine, addresses, is_token};

/// A request of the PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboundRequest {
    /// A REGISTER, and the life that it asks for; 0 ends the registration.
    Register(ContactBinding, Duration),
    /// Another request that opens a door: it may begin a dialog, and it has no tag in To.
    Opening(Method),
    /// Any other request: it renews a door that is open.
    Other(Method),
}

/// A registration of the PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContactBinding {
    /// A hash of the address-of-record, the same in every process.
    pub aor: u64,
    /// Hashes of the user parts under which the registrar may call: that of the contact, and that of the address-of-record.
    pub users: [u64; 2],
}

/// The method of a request, as far as outbound doors tell methods apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// REGISTER.
    Register,
    /// OPTIONS.
    Options,
    /// INVITE.
    Invite,
    /// SUBSCRIBE.
    Subscribe,
    /// PUBLISH.
    Publish,
    /// MESSAGE.
    Message,
    /// One that opens no door: ACK, BYE, CANCEL, NOTIFY, REFER, INFO, and unknown ones.
    Other,
}

/// What a source with an outbound door sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// It passes: an answer, a request that begins something, a keepalive.
    Passes,
    /// A request inside a dialog. It passes, and renews the door.
    InDialog,
    /// It does not pass: a REGISTER, a request without a tag in From, or a piece of which that can't be told.
    Refused,
}

impl OutboundRequest {
    /// Reads what the PBX sent; `None` for an answer and for what is no SIP.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let message = Message::parse(payload)?;
        let method = Method::of(message.method()?);
        // Of a message that breaks off before its To nobody knows whether there is a tag.
        let begins = message.headers_named("To").next().is_some() && !has_tag(&message, "To", true);
        if method == Method::Other || !begins {
            return Some(Self::Other(method));
        }
        Some(match message.registration() {
            Some(registration) => {
                let asked = Duration::from_secs(registration.expires.into());
                Self::Register(ContactBinding::of(&registration), asked)
            }
            None => Self::Opening(method),
        })
    }

    /// Its method.
    pub fn method(&self) -> Method {
        match self {
            Self::Register(..) => Method::Register,
            Self::Opening(method) | Self::Other(method) => *method,
        }
    }

    /// Whether it opens a door where none is open.
    pub fn opens(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl ContactBinding {
    fn of(registration: &Registration<'_>) -> Self {
        let users = [registration.contact, registration.aor].map(|uri| registered_user(user_of(uri)));
        Self { aor: stable_hash(&registration.aor.to_ascii_lowercase()), users }
    }
}

impl Method {
    /// All methods that open doors.
    pub const OPENING: [Self; 6] =
        [Self::Register, Self::Options, Self::Invite, Self::Subscribe, Self::Publish, Self::Message];

    /// A method by its name, in any case: PBXs read `register` as REGISTER.
    pub fn of(name: &[u8]) -> Self {
        let known =
            Self::OPENING.into_iter().find(|known| name.eq_ignore_ascii_case(known.name().as_bytes()));
        known.unwrap_or(Self::Other)
    }

    /// Its name; `-` for [`Method::Other`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "REGISTER",
            Self::Options => "OPTIONS",
            Self::Invite => "INVITE",
            Self::Subscribe => "SUBSCRIBE",
            Self::Publish => "PUBLISH",
            Self::Message => "MESSAGE",
            Self::Other => "-",
        }
    }
}

impl Inbound {
    /// Judges a datagram. `cut`: it is the first fragment of one whose rest is not here.
    ///
    /// A request is whatever begins with a word and goes on behind it, since PBXs read more than RFC 3261 allows: chan_sip
    /// skips all bytes below 33 in front of a method and takes each of them for the blank behind it (`ast_skip_blanks`,
    /// `method_match`), and where `char` is signed those above 127, too.
    pub fn of_datagram(payload: &[u8], cut: bool) -> Self {
        if is_stun(payload) {
            return Self::Passes;
        }
        let start = payload.iter().position(u8::is_ascii_graphic).unwrap_or(payload.len());
        let text = payload.get(start..).unwrap_or_default();
        if starts_with(text, b"SIP/") {
            return Self::Passes;
        }
        if starts_with(text, b"REGISTER") {
            return Self::Refused;
        }
        let word = text.iter().take_while(|byte| is_token(**byte)).count();
        let is_request = word > 0 && text.get(word).is_some_and(|byte| !byte.is_ascii_graphic());
        match is_request {
            true => Message::parse(text).map_or(Self::Refused, |message| Self::of_request(&message)),
            // A keepalive (RFC 5626, 4.4), or noise.
            false if cut => Self::Refused,
            false => Self::Passes,
        }
    }

    /// Judges a message of a stream, which is whole up to the end of its header fields. Only methods that are known pass: a
    /// receiver that missed a byte must not read another one.
    pub fn of_message(message: &Message<'_>) -> Self {
        match message.start() {
            StartLine::Response { .. } => Self::Passes,
            StartLine::Request { method, .. } if STREAMED.contains(&method) => Self::of_request(message),
            StartLine::Request { .. } => Self::Refused,
        }
    }

    fn of_request(message: &Message<'_>) -> Self {
        if !has_tag(message, "From", false) {
            Self::Refused
        } else if has_tag(message, "To", true) {
            Self::InDialog
        } else {
            Self::Passes
        }
    }
}

/// Whether a header field of addresses has a tag (RFC 3261, 19.3), read by structure: one inside the URI or in a quoted
/// name is none. Of several fields of the name, and each of their addresses, either `any` suffices or all must have one.
fn has_tag(message: &Message<'_>, name: &str, any: bool) -> bool {
    let mut tags = message
        .headers_named(name)
        .flat_map(addresses)
        .map(|address| address.param("tag").map(|tag| !tag.is_empty()))
        .peekable();
    match any {
        // A tag without a value is one as well: the request is not known to begin a dialog.
        true => tags.any(|tag| tag.is_some()),
        false => tags.peek().is_some() && tags.all(|tag| tag == Some(true)),
    }
}

/// The user part of a SIP URI (RFC 3261, 19.1.1); empty where there is none.
pub fn user_of(uri: &[u8]) -> &[u8] {
    let behind = memchr::memchr(b':', uri).map_or(uri, |colon| uri.get(colon + 1..).unwrap_or_default());
    let Some(at) = memchr::memchr(b'@', behind) else { return &[] };
    let user = behind.get(..at).unwrap_or_default();
    let end = memchr::memchr2(b':', b';', user).unwrap_or(user.len());
    user.get(..end).unwrap_or_default()
}

/// The hash of a user part, as [`ContactBinding::users`] has it; 0 for none.
pub fn registered_user(user: &[u8]) -> u64 {
    if user.is_empty() { 0 } else { stable_hash(user) | 1 }
}

/// The user part of the Request-URI of an INVITE, and its hash; `None` for any other datagram.
pub(crate) fn called_user(payload: &[u8]) -> Option<(&[u8], u64)> {
    let StartLine::Request { method: b"INVITE", uri } = Message::parse(payload)?.start() else { return None };
    let user = user_of(uri);
    (!user.is_empty()).then(|| (user, registered_user(user)))
}

fn starts_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// A STUN keepalive (RFC 5626, 4.4.2; RFC 8489, 5): two zero bits, and the magic cookie. The cookie begins with a visible
/// sign, so that nobody who skips what is in front of a message skips it.
fn is_stun(payload: &[u8]) -> bool {
    payload.first().is_some_and(|first| *first < 0x40) && payload.get(4..8) == Some(STUN_COOKIE)
}

const STUN_COOKIE: &[u8] = b"\x21\x12\xa4\x42";

/// The methods that pass in a stream: RFC 3261 and its extensions, without REGISTER.
const STREAMED: [&[u8]; 13] = [
    b"INVITE",
    b"ACK",
    b"BYE",
    b"CANCEL",
    b"OPTIONS",
    b"PRACK",
    b"SUBSCRIBE",
    b"NOTIFY",
    b"PUBLISH",
    b"INFO",
    b"REFER",
    b"MESSAGE",
    b"UPDATE",
];

#[cfg(test)]
mod tests;
