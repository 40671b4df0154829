//! The compiled set of knocks: which secrets occur in a payload, and which of them count.

mod matcher;
pub mod weakness;

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

pub use matcher::BuildError;
use matcher::Matcher;

use crate::net::NetSet;
use crate::sip;

/// A string that opens a door. It never shows in logs, errors or debug output.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// A secret of any bytes and any length but 0.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Option<Self> {
        let bytes = bytes.into();
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// The bytes themselves, for those who match, weigh or write them on request. Not for printing.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// One `[[knock]]`, ready for use.
#[derive(Clone, Debug)]
pub struct Knock {
    /// What logs, doors and metrics call it.
    pub name: String,
    /// What must occur in the payload.
    pub secret: Secret,
    /// ASCII letters match in either case.
    pub ignore_case: bool,
    /// The request methods it counts in; empty: in any message, and in what is not SIP.
    pub methods: Vec<String>,
    /// The addresses it counts from; `None`: from anywhere.
    pub sources: Option<NetSet>,
    /// How long the door stays open after it.
    pub door: Duration,
    /// How many doors it may hold open at a time; `None`: as many as the table has room for.
    pub max_doors: Option<u32>,
}

/// A knock's place in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnockId(u32);

impl KnockId {
    /// The place, counted from 0 in the order of the config.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl From<u32> for KnockId {
    fn from(index: u32) -> Self {
        Self(index)
    }
}

/// All knocks, compiled into one matcher.
#[derive(Debug)]
pub struct KnockSet {
    knocks: Vec<Knock>,
    matcher: Matcher,
}

impl KnockSet {
    /// Compiles the knocks. Their order is kept: a [`KnockId`] is an index into it.
    ///
    /// # Errors
    /// Where the secrets together are larger than an automaton can hold.
    pub fn new(knocks: Vec<Knock>) -> Result<Self, BuildError> {
        let matcher = Matcher::new(knocks.iter().map(|knock| (knock.secret.expose(), knock.ignore_case)))?;
        Ok(Self { knocks, matcher })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.knocks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.knocks.is_empty()
    }

    /// The knocks in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Knock> {
        self.knocks.iter()
    }

    /// A knock of this set.
    pub fn get(&self, id: KnockId) -> Option<&Knock> {
        self.knocks.get(id.index())
    }

    /// A knock's name; empty for an id that is not of this set.
    pub fn name(&self, id: KnockId) -> &str {
        self.get(id).map_or("", |knock| &knock.name)
    }

    /// Every knock whose secret occurs in the payload and whose conditions hold: each once, in their order.
    ///
    /// One pass over the payload; nothing is allocated and the message is not parsed unless a secret occurs.
    pub fn matched(&self, source: IpAddr, payload: &[u8]) -> Vec<KnockId> {
        let mut found = self.matcher.occurring(payload);
        if !found.is_empty() {
            let method = sip::Message::parse(payload).and_then(|message| message.method());
            found.retain(|id| self.get(*id).is_some_and(|knock| knock.counts(source, method)));
        }
        found
    }

    /// Where secrets stand in a payload, whether or not their conditions hold, so that a log can leave them out.
    pub fn secret_ranges(&self, payload: &[u8]) -> Vec<Range<usize>> {
        self.matcher.ranges(payload)
    }
}

impl Knock {
    fn counts(&self, source: IpAddr, method: Option<&[u8]>) -> bool {
        let by_method = self.methods.is_empty()
            || method.is_some_and(|method| self.methods.iter().any(|wanted| wanted.as_bytes() == method));
        by_method && self.sources.as_ref().is_none_or(|sources| sources.contains(source))
    }
}

#[cfg(test)]
mod tests;
