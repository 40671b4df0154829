//! One knock, as the config defines it.

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::extent::Extent;
use super::matcher::Pattern;
use super::part::Part;
use super::secret::Secret;
use crate::net::NetSet;
use crate::sip;

/// One `[[knock]]`, ready for use.
#[derive(Clone, Debug)]
pub struct Knock {
    /// Its name in logs, doors and metrics.
    pub name: String,
    /// The bytes that must occur in the payload.
    pub secret: Secret,
    /// The part in which they must stand.
    pub part: Part,
    /// The share of that part that they must be.
    pub extent: Extent,
    /// ASCII letters match in either case.
    pub ignore_case: bool,
    /// The request methods it counts in; empty: in any message, and in payloads that are not SIP.
    pub methods: Vec<String>,
    /// The addresses it counts from; `None`: from anywhere.
    pub sources: Option<NetSet>,
    /// The life of its door.
    pub door: Life,
    /// The number of doors that it may hold open at a time; `None`: as many as the table has room for.
    pub max_doors: Option<u32>,
}

/// The life that a knock opens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// For so long.
    Span(Duration),
    /// For as long as the registration lives that the knock came with.
    Registration,
}

impl Knock {
    /// A knock that counts anywhere and opens for a time.
    pub fn new(name: impl Into<String>, secret: Secret, door: Duration) -> Self {
        Self {
            name: name.into(),
            secret,
            part: Part::Anywhere,
            extent: Extent::Within,
            ignore_case: false,
            methods: Vec::new(),
            sources: None,
            door: Life::Span(door),
            max_doors: None,
        }
    }

    /// The identity of a knock, whatever its name: its secret, and the place in the message.
    pub fn identity(&self) -> (&Secret, &Part) {
        (&self.secret, &self.part)
    }

    /// The identity as a number that says nothing of the secret without the salt, and little with it: 32 bits of SHA-256, never
    /// 0. Of two different knocks it is the same once in four thousand million times.
    pub fn digest(&self, salt: &[u8; SALT]) -> u32 {
        let mut hasher = Sha256::new();
        let part = self.part.to_string().to_ascii_lowercase();
        hasher.update(salt);
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
        hasher.update(self.secret.expose());
        let hash: [u8; 32] = hasher.finalize().into();
        let [a, b, c, d, ..] = hash;
        u32::from_be_bytes([a, b, c, d]).max(1)
    }

    pub(super) fn pattern(&self) -> Pattern<'_> {
        Pattern { bytes: self.secret.expose(), ignore_case: self.ignores_case() }
    }

    /// Whether its ASCII letters match in either case.
    pub fn ignores_case(&self) -> bool {
        self.ignore_case || self.part.ignores_case()
    }

    /// Whether a text of its part, in which the secret occurs, is as much of it as is asked for.
    pub(super) fn holds(&self, text: &[u8]) -> bool {
        self.extent.holds(text, self.secret.expose(), self.ignores_case())
    }

    /// Whether it counts only with the whole of its message: the life of a registration may stand behind it, and another
    /// value of the part that is to be the secret.
    pub(crate) fn needs_all(&self) -> bool {
        self.door == Life::Registration || self.extent == Extent::Whole
    }

    pub(super) fn counts_in(&self, message: Option<&sip::Message<'_>>) -> bool {
        let method = message.and_then(sip::Message::method);
        self.methods.is_empty()
            || method.is_some_and(|method| self.methods.iter().any(|wanted| wanted.as_bytes() == method))
    }

    pub(super) fn counts_from(&self, source: IpAddr) -> bool {
        self.sources.as_ref().is_none_or(|sources| sources.contains(source))
    }
}

/// Bytes of salt that a [digest](Knock::digest) takes.
pub const SALT: usize = 16;
