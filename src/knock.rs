//! The compiled set of knocks: which secrets occur in a payload, and which of them count.
//!
//! One pass of a matcher over the payload finds candidates. Only where there is one is the payload read as SIP, and
//! the same matcher run over the parts to which knocks are anchored. A part's text is not always what stands in the
//! packet: folds and quoted pairs are undone. So the matcher also looks for the longest word of an anchored secret
//! that has blanks, and where quoted pairs matter a packet with a backslash is a candidate.

pub mod effort;
pub mod entropy;
mod extent;
pub mod matcher;
pub mod part;
pub mod weakness;

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

pub use extent::Extent;
pub use matcher::BuildError;
use matcher::{Matcher, Pattern};
pub use part::Part;

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
    /// Where it must stand.
    pub part: Part,
    /// How much of that part it must be.
    pub extent: Extent,
    /// ASCII letters match in either case.
    pub ignore_case: bool,
    /// The request methods it counts in; empty: in any message, and in what is not SIP.
    pub methods: Vec<String>,
    /// The addresses it counts from; `None`: from anywhere.
    pub sources: Option<NetSet>,
    /// How long the door stays open after it.
    pub door: Life,
    /// How many doors it may hold open at a time; `None`: as many as the table has room for.
    pub max_doors: Option<u32>,
}

/// How long a knock opens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// For so long.
    Span(Duration),
    /// For as long as the registration lives that the knock came with.
    Registration,
}

/// A knock's place in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnockId(u32);

impl KnockId {
    /// That of the first knock.
    pub const FIRST: Self = Self(0);

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
    /// What each of the matcher's patterns is: first every knock's secret, then words.
    roles: Vec<Role>,
    /// The parts that knocks are anchored to, each once.
    parts: Vec<Part>,
    /// Quoted pairs may hide a secret.
    escapes: bool,
    /// A fold may hide a secret that has no word to look for.
    folds: bool,
}

/// What a pattern that occurs in a payload means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A knock, wherever it stands.
    Plain,
    /// A knock, if the message around it is as it should be.
    Conditional,
    /// A knock, if it stands in this part.
    Anchored(usize),
    /// A word of anchored secrets.
    Word,
}

/// What is searched for knocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A datagram: what follows its first message does not count as SIP (RFC 3261, 18.3).
    Datagram(&'a [u8]),
    /// Part of a TCP stream, which may hold several messages.
    Stream(&'a [u8]),
    /// A TCP stream from its beginning, up to somewhere in its first header block: what is not complete may still
    /// become something else.
    Growing(&'a [u8]),
}

/// A knock that counts.
#[derive(Clone, Copy, Debug)]
pub struct Match<'a> {
    /// Which knock.
    pub knock: KnockId,
    /// The message that holds it, where that was looked at.
    pub message: Option<sip::Message<'a>>,
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

    /// Whether the message around a secret matters.
    fn role(&self, parts: &mut Vec<Part>) -> Role {
        if self.part != Part::Anywhere {
            let known = parts.iter().position(|part| *part == self.part);
            return Role::Anchored(known.unwrap_or_else(|| {
                parts.push(self.part.clone());
                parts.len() - 1
            }));
        }
        let plain = self.methods.is_empty() && self.door != Life::Registration;
        if plain { Role::Plain } else { Role::Conditional }
    }

    fn pattern(&self) -> Pattern<'_> {
        Pattern { bytes: self.secret.expose(), ignore_case: self.ignores_case() }
    }

    /// Whether its ASCII letters match in either case.
    pub fn ignores_case(&self) -> bool {
        self.ignore_case || self.part.ignores_case()
    }

    /// Whether a text of its part, in which the secret occurs, is as much of it as is asked for.
    fn holds(&self, text: &[u8]) -> bool {
        self.extent.holds(text, self.secret.expose(), self.ignores_case())
    }

    /// A word to look for in a secret that a fold may break at its blanks; `None` where none is long enough.
    fn word(&self) -> Option<Pattern<'_>> {
        let words = self.secret.expose().split(|byte| matches!(byte, b' ' | b'\t'));
        let longest = words.max_by_key(|word| word.len()).filter(|word| word.len() >= MIN_WORD)?;
        Some(Pattern { bytes: longest, ..self.pattern() })
    }

    /// Whether a fold may hide it.
    fn has_blank(&self) -> bool {
        self.part != Part::Anywhere && self.secret.expose().iter().any(|byte| matches!(byte, b' ' | b'\t'))
    }

    fn counts_in(&self, message: Option<&sip::Message<'_>>) -> bool {
        let method = message.and_then(sip::Message::method);
        self.methods.is_empty()
            || method.is_some_and(|method| self.methods.iter().any(|wanted| wanted.as_bytes() == method))
    }

    fn counts_from(&self, source: IpAddr) -> bool {
        self.sources.as_ref().is_none_or(|sources| sources.contains(source))
    }
}

impl KnockSet {
    /// Compiles the knocks. Their order is kept: a [`KnockId`] is an index into it.
    ///
    /// # Errors
    /// Where the secrets together are larger than an automaton can hold.
    pub fn new(knocks: Vec<Knock>) -> Result<Self, BuildError> {
        let mut parts = Vec::new();
        let mut roles: Vec<_> = knocks.iter().map(|knock| knock.role(&mut parts)).collect();
        let breakable = || knocks.iter().filter(|knock| knock.has_blank());
        let words: HashSet<_> = breakable().filter_map(Knock::word).collect();
        roles.extend(words.iter().map(|_| Role::Word));
        let matcher = Matcher::new(knocks.iter().map(Knock::pattern).chain(words))?;
        let escapes = parts.iter().any(Part::unescapes);
        let folds = breakable().any(|knock| knock.word().is_none());
        Ok(Self { matcher, roles, parts, escapes, folds, knocks })
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

    /// Every knock whose secret occurs where it must and whose conditions hold: each once, in their order.
    ///
    /// One pass over the payload; nothing is allocated and no message is read unless a secret occurs.
    pub fn matched<'a>(&self, source: IpAddr, payload: Payload<'a>) -> Vec<Match<'a>> {
        let bytes = payload.bytes();
        let hits = self.matcher.occurring(bytes);
        let escaped = self.escapes && memchr::memchr(b'\\', bytes).is_some();
        if hits.is_empty() && !escaped && !self.folds {
            return Vec::new();
        }
        let mut found = self.candidates(payload, &hits, escaped);
        found.retain(|found| self.get(found.knock).is_some_and(|knock| knock.counts_from(source)));
        // Of several messages that hold the same knock the last one has the last word.
        found.sort_by_key(|found| found.knock);
        found.dedup_by(|later, kept| {
            let same = later.knock == kept.knock;
            if same {
                *kept = *later;
            }
            same
        });
        found
    }

    /// Where secrets stand in a payload, whether or not their conditions hold, so that a log can leave them out.
    pub fn secret_ranges(&self, payload: &[u8]) -> Vec<Range<usize>> {
        self.matcher.ranges(payload, self.knocks.len())
    }

    /// The knocks that hits lead to, once the messages are read: any number of times, in any order.
    fn candidates<'a>(&self, payload: Payload<'a>, hits: &[KnockId], escaped: bool) -> Vec<Match<'a>> {
        let mut found = Vec::new();
        let mut conditional = Vec::new();
        let mut wanted: Vec<_> =
            self.parts.iter().map(|part| self.folds || escaped && part.unescapes()).collect();
        for &knock in hits {
            match self.roles.get(knock.index()) {
                Some(Role::Plain) => found.push(Match { knock, message: None }),
                Some(Role::Conditional) => conditional.push(knock),
                Some(&Role::Anchored(part)) => wanted.get_mut(part).into_iter().for_each(|part| *part = true),
                Some(Role::Word) | None => wanted.fill(true),
            }
        }
        if conditional.is_empty() && !wanted.contains(&true) {
            return found;
        }
        // How long a registration lives may stand in what is still to come.
        let grows = matches!(payload, Payload::Growing(_));
        let in_time =
            |id: KnockId| !grows || self.get(id).is_some_and(|knock| knock.door != Life::Registration);
        conditional.retain(|&knock| in_time(knock));
        // What stands outside of any message can count only where no message is asked for.
        self.add_conditional(&mut found, &conditional, None);
        for message in payload.messages() {
            if !conditional.is_empty() {
                let text = if let Payload::Datagram(whole) = payload { whole } else { message.bytes() };
                let mut here = self.matcher.occurring(text);
                here.retain(|knock| conditional.contains(knock));
                self.add_conditional(&mut found, &here, Some(message));
            }
            for (index, part) in self.parts.iter().enumerate() {
                if wanted.get(index) == Some(&true) {
                    let (first, mut texts) = (found.len(), 0);
                    part.texts(&message, &mut |text| {
                        texts += 1;
                        self.add_anchored(&mut found, index, text, message);
                    });
                    self.keep_sole(&mut found, first, texts);
                }
            }
        }
        found.retain(|found| in_time(found.knock));
        found
    }

    fn add_conditional<'a>(
        &self,
        found: &mut Vec<Match<'a>>,
        hits: &[KnockId],
        message: Option<sip::Message<'a>>,
    ) {
        let counts = |id: &&KnockId| self.get(**id).is_some_and(|knock| knock.counts_in(message.as_ref()));
        found.extend(hits.iter().filter(counts).map(|&knock| Match { knock, message }));
    }

    fn add_anchored<'a>(
        &self,
        found: &mut Vec<Match<'a>>,
        part: usize,
        text: &[u8],
        message: sip::Message<'a>,
    ) {
        for knock in self.matcher.occurring(text) {
            if self.roles.get(knock.index()) == Some(&Role::Anchored(part))
                && self.get(knock).is_some_and(|knock| knock.holds(text) && knock.counts_in(Some(&message)))
            {
                found.push(Match { knock, message: Some(message) });
            }
        }
    }

    /// Of the matches of one part in one message, from `first` on, takes out those of [`Extent::Whole`] that are not all
    /// of its `texts`: a message with many values in it is no guess at all.
    fn keep_sole(&self, found: &mut Vec<Match<'_>>, first: usize, texts: usize) {
        let whole =
            |found: &Match<'_>| self.get(found.knock).is_some_and(|knock| knock.extent == Extent::Whole);
        if texts < 2 || !found.iter().skip(first).any(whole) {
            return;
        }
        let mut here = found.split_off(first);
        here.sort_by_key(|found| found.knock);
        for same in here.chunk_by(|one, other| one.knock == other.knock) {
            if same.len() == texts || !same.iter().any(whole) {
                found.extend_from_slice(same);
            }
        }
    }
}

impl<'a> Payload<'a> {
    /// All of it.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Datagram(bytes) | Self::Stream(bytes) | Self::Growing(bytes) => bytes,
        }
    }

    /// The messages in it.
    pub fn messages(self) -> impl Iterator<Item = sip::Message<'a>> {
        let (bytes, most) = match self {
            Self::Datagram(bytes) => (bytes, 1),
            Self::Stream(bytes) => (bytes, usize::MAX),
            Self::Growing(bytes) => {
                (bytes.get(..sip::complete_fields(bytes)).unwrap_or_default(), usize::MAX)
            }
        };
        sip::messages(bytes).take(most)
    }
}

/// Shorter words stand in every packet; rather is every packet read then.
const MIN_WORD: usize = 4;

#[cfg(test)]
mod tests;
