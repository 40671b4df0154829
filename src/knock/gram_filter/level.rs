//! Knocks that are searched at one stride.

use super::tables::{First, Second};
use crate::knock::matcher::{Grams, Rarity};

/// The q-grams of the windows of some knocks.
#[derive(Debug)]
pub struct Level {
    grams: Grams,
    q: usize,
    stride: usize,
    first: First,
    second: Second,
}

impl Level {
    /// A level for pieces of [`MIN_LONG`] bytes and more; `None` if there are none.
    pub(super) fn long(pieces: &[&[u8]]) -> Option<Self> {
        let shortest = pieces.iter().map(|piece| piece.len()).min()?;
        let room = |stride: usize| (shortest + 1).saturating_sub(stride).min(MAX_Q);
        let fits = |stride: &usize| {
            let least = if pieces.len() <= FEW { FEW_Q } else { MAX_Q };
            room(*stride) >= least && pieces.len().saturating_mul(*stride) <= MAX_GRAMS
        };
        let stride = LONG_STRIDES.into_iter().find(fits).unwrap_or(MIN_LONG_STRIDE);
        Some(Self::new(pieces, room(stride), stride))
    }

    /// A level for pieces of [`MIN_SHORT`] bytes and more; `None` if there are none.
    pub(super) fn short(pieces: &[&[u8]]) -> Option<Self> {
        let shortest = pieces.iter().map(|piece| piece.len()).min()?;
        Some(Self::new(pieces, (shortest + 1).saturating_sub(SHORT_STRIDE).clamp(1, MAX_Q), SHORT_STRIDE))
    }

    fn new(pieces: &[&[u8]], q: usize, stride: usize) -> Self {
        let grams = Grams::new(q);
        let rarity = Rarity::new(grams, pieces.iter().copied());
        let mut hashes = Vec::with_capacity(pieces.len().saturating_mul(stride));
        for piece in pieces {
            let lead = rarity.rarest_window(piece, stride);
            hashes.extend((lead..lead + stride).filter_map(|at| grams.hash_at(piece, at)));
        }
        let mut first = First::for_knocks(pieces.len(), stride);
        let mut second = Second::for_grams(hashes.len());
        for hash in hashes {
            first.insert(hash);
            second.insert(hash);
        }
        Self { grams, q, stride, first, second }
    }

    /// Bytes of a q-gram, 1 to 8.
    pub fn q(&self) -> usize {
        self.q
    }

    /// Bytes from one q-gram that is looked up to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The hash of a q-gram is its bytes, letters in one case, as a little-endian number, times this, modulo 2^64.
    pub fn multiplier(&self) -> u64 {
        self.grams.multiplier()
    }

    /// The table of the first look-up.
    pub fn first(&self) -> &First {
        &self.first
    }

    /// The table of the second look-up.
    pub fn second(&self) -> &Second {
        &self.second
    }

    /// Whether a payload may hold one of the knocks: a q-gram at a multiple of the stride is in both tables.
    pub fn may_hold(&self, payload: &[u8]) -> bool {
        let mut looked_up = (0..).step_by(self.stride).map_while(|at| self.grams.hash_at(payload, at));
        looked_up.any(|hash| self.first.may_contain(hash) && self.second.may_contain(hash))
    }
}

/// From here on a piece has a q-gram of 6 bytes at each place of a window at stride 8.
pub(super) const MIN_LONG: usize = 13;

/// Multiples of a word, so that each q-gram that is looked up begins at a word of what was read. The longest that fits is
/// taken.
const LONG_STRIDES: [usize; 3] = [32, 16, MIN_LONG_STRIDE];
const MIN_LONG_STRIDE: usize = 8;

/// Pieces of so many bytes have a q-gram of 5 bytes at each place of a window at stride 4. Shorter ones are not looked for: at a
/// stride of 1 a packet takes 700 look-ups, and the kernel's verifier would need more than it has for one more stride.
pub(super) const MIN_SHORT: usize = 8;
const SHORT_STRIDE: usize = 4;

/// A q-gram is one word at most.
const MAX_Q: usize = 8;

/// Of so few pieces five bytes tell enough, and leave a longer stride. With more of them short q-grams stand in the packets
/// of strangers by chance: at 10,000 UUIDs one packet in 100 has a known q-gram of six bytes, and one in 3,000 one of eight.
const FEW: usize = 256;
const FEW_Q: usize = 5;

/// With more a longer stride saves less, by fewer look-ups, than a fuller first table costs: 10,000 UUIDs are searched faster at
/// stride 32 than at 16, with as many false hits.
const MAX_GRAMS: usize = 400_000;
