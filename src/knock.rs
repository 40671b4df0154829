//! The compiled set of knocks: which secrets occur in a payload, and which of them count.
//!
//! One pass of a matcher over the payload finds candidates. Only if there is one is the payload read as SIP, and the same
//! matcher run over the parts to which knocks are anchored.
//!
//! A part's text is not always what stands in the packet. A fold becomes a space, and for secrets that hold a quote or a
//! backslash quoted pairs are undone. So if there are such secrets, and a packet has a fold or a pair, it is searched with
//! these undone, wherever they stand, without being read. That is done for as many as a phone may write, `MAX_FOLDS` and
//! `MAX_PAIRS`, so that a stranger's packet costs little more than another, whatever it is made of.

mod common_text;
pub mod effort;
pub mod entropy;
mod extent;
pub mod gram_filter;
mod id;
pub mod matcher;
pub mod part;
mod secret;
mod spec;
pub mod weakness;

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;

pub use extent::Extent;
pub use id::KnockId;
pub use matcher::BuildError;
pub use part::Part;
pub use secret::Secret;
pub use spec::{Knock, Life, SALT};

use matcher::Matcher;

use crate::sip::{self, QuotedPairs};

/// All knocks, compiled into one matcher.
#[derive(Debug)]
pub struct KnockSet {
    knocks: Vec<Knock>,
    matcher: Matcher,
    /// What each knock's secret is.
    roles: Vec<KnockRole>,
    /// What knocks are anchored to, each once.
    places: Vec<SearchPlace>,
    /// The longest secret, in bytes.
    longest: usize,
    /// The message around some secret matters.
    reads: bool,
    /// Quoted pairs may hide a secret.
    pairs: bool,
    /// The search for folds, if a fold may hide a secret.
    folds: Option<sip::FoldFinder>,
    /// Some secret may stand in a packet, and with its folds undone no more.
    straddle: bool,
}

/// A part, and how its texts are read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SearchPlace {
    part: Part,
    pairs: QuotedPairs,
}

/// What a pattern that occurs in a payload means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KnockRole {
    /// A knock, wherever it stands.
    Plain,
    /// A knock, if the message around it is as it should be.
    Conditional,
    /// A knock, if it stands in this place.
    Anchored(usize),
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
    Growing {
        /// All of it so far.
        bytes: &'a [u8],
        /// How many of them were looked at before, without a knock. They are looked at again once the block is complete.
        searched: usize,
    },
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
    /// Whether the message around a secret matters.
    fn role(&self, places: &mut Vec<SearchPlace>) -> KnockRole {
        if self.part != Part::Anywhere {
            let place = SearchPlace { part: self.part.clone(), pairs: self.part.pairs(self.secret.expose()) };
            let known = places.iter().position(|known| *known == place);
            return KnockRole::Anchored(known.unwrap_or_else(|| {
                places.push(place);
                places.len() - 1
            }));
        }
        let plain = self.methods.is_empty() && self.door != Life::Registration;
        if plain { KnockRole::Plain } else { KnockRole::Conditional }
    }
}

impl KnockSet {
    /// Compiles the knocks. Their order is kept: a [`KnockId`] is an index into it.
    ///
    /// # Errors
    /// Where the secrets together are larger than an automaton can hold.
    pub fn new(knocks: Vec<Knock>) -> Result<Self, BuildError> {
        let mut places = Vec::new();
        let roles: Vec<_> = knocks.iter().map(|knock| knock.role(&mut places)).collect();
        let matcher = Matcher::new(knocks.iter().map(Knock::pattern))?;
        Ok(Self {
            matcher,
            longest: knocks.iter().map(|knock| knock.secret.expose().len()).max().unwrap_or(0),
            reads: roles.iter().any(|role| *role != KnockRole::Plain),
            pairs: places.iter().any(|place| place.pairs == QuotedPairs::Undone),
            folds: knocks
                .iter()
                .any(|knock| knock.part.unfolds(knock.secret.expose()))
                .then(sip::FoldFinder::new),
            straddle: knocks.iter().any(|knock| straddles(knock.secret.expose())),
            roles,
            places,
            knocks,
        })
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
    /// One pass over the payload; no message is read unless a secret occurs, and nothing is allocated unless one does or folds or
    /// pairs are undone.
    pub fn matched<'a>(&self, source: IpAddr, payload: Payload<'a>) -> Vec<Match<'a>> {
        let (text, reads) = self.unsearched(payload);
        let (hits, hidden) = match reads && (self.folds.is_some() || self.pairs) {
            true => self.search_undone(text),
            false => (self.matcher.occurring(text), Vec::new()),
        };
        if hits.is_empty() && hidden.is_empty() {
            return Vec::new();
        }
        let mut found = self.candidates(payload, &hits, &hidden, reads);
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

    /// The bytes of a payload that a secret may stand in that was not found before, and whether its messages are to be read
    /// if one does. Those of a growing block are if a header field has become complete.
    #[inline]
    fn unsearched<'a>(&self, payload: Payload<'a>) -> (&'a [u8], bool) {
        let Payload::Growing { bytes, searched } = payload else { return (payload.bytes(), self.reads) };
        let straddling = (searched + 1).saturating_sub(self.longest);
        let field = if self.reads { sip::completed_field(bytes, searched) } else { None };
        (bytes.get(field.unwrap_or(straddling).min(straddling)..).unwrap_or_default(), field.is_some())
    }

    /// The secrets of a text, and those that folds and quoted pairs hide from the matcher.
    fn search_undone(&self, text: &[u8]) -> (Vec<KnockId>, Vec<KnockId>) {
        let unfolded = match &self.folds {
            Some(folds) => folds.unfold_first(text, MAX_FOLDS),
            None => Cow::Borrowed(text),
        };
        let (hits, mut hidden) = match &unfolded {
            Cow::Borrowed(_) => (self.matcher.occurring(text), Vec::new()),
            Cow::Owned(unfolded) => {
                let hidden = self.matcher.occurring(unfolded);
                // What stands in the text stands in the unfolded one as well. So most packets are searched once.
                let none = hidden.is_empty() && !self.straddle;
                (if none { Vec::new() } else { self.matcher.occurring(text) }, hidden)
            }
        };
        if self.pairs
            && let Cow::Owned(plain) = sip::unescape_first(Cow::Borrowed(&unfolded), MAX_PAIRS)
        {
            hidden.extend(self.matcher.occurring(&plain));
        }
        (hits, hidden)
    }

    /// Where secrets stand in a payload, whether or not their conditions hold, so that a log can leave them out.
    pub fn secret_ranges(&self, payload: &[u8]) -> Vec<Range<usize>> {
        self.matcher.ranges(payload, self.knocks.len())
    }

    /// The knocks that hits lead to, once the messages are read: any number of times, in any order. Those that are hidden
    /// count only in their parts' texts.
    fn candidates<'a>(
        &self,
        payload: Payload<'a>,
        hits: &[KnockId],
        hidden: &[KnockId],
        reads: bool,
    ) -> Vec<Match<'a>> {
        let mut found = Vec::new();
        let mut conditional = Vec::new();
        let mut wanted = vec![false; self.places.len()];
        let mut want = |place: usize| wanted.get_mut(place).into_iter().for_each(|place| *place = true);
        for &knock in hits {
            match self.roles.get(knock.index()) {
                Some(KnockRole::Plain) => found.push(Match { knock, message: None }),
                Some(KnockRole::Conditional) => conditional.push(knock),
                Some(&KnockRole::Anchored(place)) => want(place),
                None => {}
            }
        }
        for &knock in hidden {
            if let Some(&KnockRole::Anchored(place)) = self.roles.get(knock.index()) {
                want(place);
            }
        }
        if !reads || conditional.is_empty() && !wanted.contains(&true) {
            return found;
        }
        #[cfg(test)]
        work::READ.set(work::READ.get() + 1);
        let grows = matches!(payload, Payload::Growing { .. });
        let in_time = |id: KnockId| !grows || self.get(id).is_some_and(|knock| !knock.needs_all());
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
            for (index, SearchPlace { part, pairs }) in self.places.iter().enumerate() {
                if wanted.get(index) == Some(&true) {
                    let (first, mut texts) = (found.len(), 0);
                    part.texts(&message, *pairs, &mut |text| {
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
        place: usize,
        text: &[u8],
        message: sip::Message<'a>,
    ) {
        for knock in self.matcher.occurring(text) {
            if self.roles.get(knock.index()) == Some(&KnockRole::Anchored(place))
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
            Self::Datagram(bytes) | Self::Stream(bytes) | Self::Growing { bytes, .. } => bytes,
        }
    }

    /// The messages in it.
    pub fn messages(self) -> impl Iterator<Item = sip::Message<'a>> {
        let (bytes, most) = match self {
            Self::Datagram(bytes) => (bytes, 1),
            Self::Stream(bytes) => (bytes, usize::MAX),
            Self::Growing { bytes, .. } => {
                (bytes.get(..sip::complete_fields(bytes)).unwrap_or_default(), usize::MAX)
            }
        };
        sip::messages(bytes).take(most)
    }
}

/// Whether bytes of a secret may be part of a fold: line ends, and white space at its ends beyond one space.
fn straddles(secret: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let ends = [secret.first(), secret.last()];
    let second = [secret.get(1), secret.iter().nth_back(1)];
    let wide =
        |(end, second): (&Option<&u8>, &Option<&u8>)| *end == Some(&b'\t') || blank(*end) && blank(*second);
    memchr::memchr2(b'\r', b'\n', secret).is_some() || ends.iter().zip(&second).any(wide)
}

/// Folds of a packet that are undone: the first ones. Captured phones fold no line, and only a fold inside a secret hides it.
const MAX_FOLDS: usize = 3;

/// Quoted pairs of a packet that are undone: the first ones. A name has two quotes, or four.
const MAX_PAIRS: usize = 16;

/// What searches cost, for tests.
#[cfg(test)]
mod work {
    use std::cell::Cell;

    thread_local! {
        /// Payloads whose messages were read.
        pub(super) static READ: Cell<usize> = const { Cell::new(0) };
    }
}

#[cfg(test)]
mod tests;
