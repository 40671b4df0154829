//! A filter in front of the matcher: it says of a payload that it holds no knock, or that it may hold one.
//!
//! It is the first half of the matcher's sampled q-gram filter (see `matcher::filter`), in tables that a program in the
//! kernel can read: see module `prefilter`. The search here is the reference that the program is tested against.
//!
//! Of each knock a window is chosen, and its q-grams go into a table; of a payload every n-th q-gram is looked up. The filter
//! never misses a knock that [`KnockSet::matched`](super::KnockSet::matched) finds in a datagram, if the datagram has no
//! backslash or [`GramFilter::escapes`] is false:
//!
//! - letters are compared in one case, so `ignore_case` makes no difference;
//! - a part is not looked for, so a knock may stand anywhere;
//! - a fold becomes a space, so the window of a knock that folds may hide is chosen among the bytes between its spaces;
//! - a quoted pair may stand in the place of any byte, so a knock that quoted pairs may hide sets [`GramFilter::escapes`].

mod level;
mod tables;

pub use level::Level;
pub use tables::{First, MAX_FIRST, MAX_SECOND, Second};

use super::spec::Knock;
use crate::sip::QuotedPairs;

/// A filter for a set of knocks.
#[derive(Debug, Default)]
pub struct GramFilter {
    long: Option<Level>,
    short: Option<Level>,
    escapes: bool,
    everything: bool,
}

/// The number of knocks by the cost of the search for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Knocks of the long level.
    pub long: usize,
    /// Knocks of the short level: one look-up in 4 bytes of a packet.
    pub short: usize,
    /// Knocks with nothing to look up, for which each packet comes to user space: those of less than 8 bytes, between spaces if
    /// folds may hide them.
    pub everything: usize,
}

impl GramFilter {
    /// A filter for these knocks.
    pub fn new<'a>(knocks: impl IntoIterator<Item = &'a Knock>) -> Self {
        let mut filter = Self::default();
        let (mut long, mut short) = (Vec::new(), Vec::new());
        for knock in knocks {
            filter.escapes |= knock.part.pairs(knock.secret.expose()) == QuotedPairs::Undone;
            match piece(knock) {
                piece if piece.len() < level::MIN_SHORT => filter.everything = true,
                piece if piece.len() >= level::MIN_LONG => long.push(piece),
                piece => short.push(piece),
            }
        }
        filter.long = Level::long(&long);
        filter.short = Level::short(&short);
        filter
    }

    /// How many of these knocks cost how much.
    pub fn costs<'a>(knocks: impl IntoIterator<Item = &'a Knock>) -> Costs {
        let mut costs = Costs::default();
        for knock in knocks {
            match piece(knock).len() {
                ..level::MIN_SHORT => costs.everything += 1,
                length if length >= level::MIN_LONG => costs.long += 1,
                _ => costs.short += 1,
            }
        }
        costs
    }

    /// The level of long knocks, searched at strides of 8 and more.
    pub fn long(&self) -> Option<&Level> {
        self.long.as_ref()
    }

    /// The level of short knocks, searched at a stride of 4.
    pub fn short(&self) -> Option<&Level> {
        self.short.as_ref()
    }

    /// Whether a payload with a backslash may hold a knock that the search misses.
    pub fn escapes(&self) -> bool {
        self.escapes
    }

    /// Whether each payload may hold a knock: one of them is too short to look for ([`Costs::everything`]).
    pub fn everything(&self) -> bool {
        self.everything
    }

    /// Whether a datagram's payload may hold a knock, backslashes aside.
    pub fn may_hold(&self, payload: &[u8]) -> bool {
        let levels = [&self.long, &self.short];
        self.everything || levels.into_iter().flatten().any(|level| level.may_hold(payload))
    }
}

/// The bytes of a knock that stand side by side in each payload that holds it without a quoted pair.
fn piece(knock: &Knock) -> &[u8] {
    let secret = knock.secret.expose();
    if !knock.part.unfolds(secret) {
        return secret;
    }
    // The first of the longest.
    secret.split(|byte| *byte == b' ').rev().max_by_key(|run| run.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
