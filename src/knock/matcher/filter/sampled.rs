//! The filter and the tables behind it.

use std::collections::HashMap;
use std::ops::Range;

use super::bloom::Bloom;
use super::grams::{self, Grams};
use super::marks::{self, Marks, SeenGram};
use super::stride::{MAX_STRIDE, MIN_STRIDE};
use super::window::Rarity;
use crate::knock::id::KnockId;
use crate::knock::matcher::pattern::{BuildError, Numbered};

/// A filter with a Bloom filter of `WORDS` words.
pub(in super::super) struct Sampled<const WORDS: usize> {
    grams: Grams,
    /// How many q-grams a window has, and how far it is from one q-gram that is looked up to the next: 1 to 32.
    stride: usize,
    /// Bytes of a window.
    span: usize,
    /// The q-grams of all windows.
    known: Bloom<WORDS>,
    /// Where in a window the q-grams stand, and in whose.
    marks: Marks,
    /// Where in `entries` those begin whose window's hash has these first bits. One more says where the last ones end.
    buckets: Box<[u32]>,
    buckets_shift: u32,
    /// The patterns, in the order of their windows' hashes.
    entries: Box<[PatternEntry]>,
    /// The first and the last eight bytes of their windows, letters in one case. Empty if windows have fewer.
    ends: Box<[[u64; 2]]>,
    /// Their bytes, one after the other.
    secrets: Box<[u8]>,
}

/// A pattern.
#[derive(Clone, Copy)]
struct PatternEntry {
    /// Of its window.
    hash: u64,
    /// Where its window begins.
    lead: u32,
    /// Where in `secrets` it begins.
    start: u32,
    len: u32,
    id: KnockId,
    ignore_case: bool,
}

/// A pattern with its window's hash and place.
type Windowed<'a> = (u64, usize, Numbered<'a>);

impl<const WORDS: usize> Sampled<WORDS> {
    /// A filter, and the patterns that it would be too slow for.
    pub(super) fn new<'a>(
        patterns: &[Numbered<'a>],
        q: usize,
        stride: usize,
    ) -> Result<(Self, Vec<Numbered<'a>>), BuildError> {
        let error = || BuildError::new(patterns.iter().map(|(_, pattern)| pattern));
        let buckets = patterns.len().saturating_mul(BUCKETS_PER_PATTERN).next_power_of_two().max(2);
        let mut filter = Self {
            grams: Grams::new(q),
            stride,
            span: q + stride - 1,
            known: Bloom::new().ok_or_else(error)?,
            marks: Marks::new(Vec::new()).ok_or_else(error)?,
            buckets: Box::default(),
            buckets_shift: u64::BITS - buckets.ilog2(),
            entries: Box::default(),
            ends: Box::default(),
            secrets: Box::default(),
        };
        let (windows, aside) = filter.choose(patterns);
        filter.fill(&windows, buckets).ok_or_else(error)?;
        Ok((filter, aside))
    }

    /// A window for each pattern, in the order of their hashes; and the patterns that consist of repetitions, or whose
    /// windows are those of too many others.
    fn choose<'a>(&self, patterns: &[Numbered<'a>]) -> (Vec<Windowed<'a>>, Vec<Numbered<'a>>) {
        let rarity = Rarity::new(self.grams, patterns.iter().map(|(_, pattern)| pattern.bytes));
        let (mut windows, mut aside) = (Vec::with_capacity(patterns.len()), Vec::new());
        let mut taken = HashMap::with_capacity(patterns.len());
        for &numbered in patterns {
            let bytes = numbered.1.bytes;
            let last = self.grams.count(bytes.len()).saturating_sub(self.stride);
            let mut window =
                [rarity.rarest_window(bytes, self.stride), last, 0].into_iter().filter_map(|lead| {
                    let hash = self.grams.window_hash(bytes, lead, self.stride)?;
                    let taken: &mut usize = taken.entry(hash).or_default();
                    let free = *taken < MAX_SAME && !self.repeats(bytes, lead);
                    *taken += usize::from(free);
                    free.then_some((hash, lead, numbered))
                });
            match window.next() {
                Some(window) => windows.push(window),
                None => aside.push(numbered),
            }
        }
        windows.sort_by_key(|(hash, ..)| *hash);
        (windows, aside)
    }

    /// Whether a q-gram has so many places in a window that a packet made of it would be slow.
    fn repeats(&self, pattern: &[u8], lead: usize) -> bool {
        let mut hashes = [0; MAX_STRIDE];
        let hashes = hashes.get_mut(..self.stride).unwrap_or_default();
        for (place, hash) in hashes.iter_mut().enumerate() {
            *hash = self.grams.hash_at(pattern, lead + place).unwrap_or_default();
        }
        hashes.sort_unstable();
        hashes.chunk_by(|one, other| one == other).any(|same| same.len() > MIN_REPEATS.max(self.stride / 3))
    }

    /// Takes in patterns in the order of their windows. `None` where they are too large.
    fn fill(&mut self, windows: &[Windowed<'_>], buckets: usize) -> Option<()> {
        let (mut begins, mut entries, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ends, mut seen) = (Vec::new(), Vec::new());
        for &(hash, lead, (id, pattern)) in windows {
            // All windows are of one length, and so all have them or none, and are looked up.
            let window_ends = self.grams.window_ends(pattern.bytes, lead, self.stride);
            let index = window_ends.map_or(marks::SEVERAL, |_| entries.len());
            self.learn(pattern.bytes, lead, index, &mut seen);
            ends.extend(window_ends);
            let bucket = (hash >> self.buckets_shift) as usize;
            begins.resize(begins.len().max(bucket + 1), u32::try_from(entries.len()).ok()?);
            entries.push(PatternEntry {
                hash,
                lead: u32::try_from(lead).ok()?,
                start: u32::try_from(secrets.len()).ok()?,
                len: u32::try_from(pattern.bytes.len()).ok()?,
                id,
                ignore_case: pattern.ignore_case,
            });
            secrets.extend_from_slice(pattern.bytes);
        }
        begins.resize(buckets + 1, u32::try_from(entries.len()).ok()?);
        (self.buckets, self.entries, self.secrets) = (begins.into(), entries.into(), secrets.into());
        // Beyond those that a mark has room for, windows are looked up.
        ends.truncate(marks::MOST);
        (self.marks, self.ends) = (Marks::new(seen)?, ends.into());
        Some(())
    }

    /// Takes in the q-grams of a window.
    fn learn(&mut self, pattern: &[u8], lead: usize, index: usize, seen: &mut Vec<SeenGram>) {
        for place in 0..self.stride {
            let Some(hash) = self.grams.hash_at(pattern, lead + place) else { continue };
            self.known.insert(hash);
            seen.push((hash, place, index));
        }
    }

    #[inline(always)]
    pub(super) fn each(&self, payload: &[u8], mut visit: impl FnMut(KnockId, Range<usize>)) {
        if let Some(at) = self.first_known(payload) {
            self.each_from(payload, at, &mut visit);
        }
    }

    /// Where the first q-gram stands, of those that are looked up, that may be a known one.
    #[inline(always)]
    fn first_known(&self, payload: &[u8]) -> Option<usize> {
        let mut at = self.stride - 1;
        let body = payload.get(at..)?;
        if self.stride >= MIN_STRIDE {
            for chunk in body.chunks_exact(self.stride) {
                let Some(bytes) = chunk.first_chunk() else { break };
                if self.known.may_contain(self.grams.hash(*bytes)) {
                    return Some(at);
                }
                at += self.stride;
            }
        }
        while let Some(hash) = self.grams.hash_at(payload, at) {
            if self.known.may_contain(hash) {
                return Some(at);
            }
            at += self.stride;
        }
        None
    }

    /// The same loop from there on. It is one function with all that a known q-gram leads to, since a packet may be full of
    /// them.
    #[cold]
    #[inline(never)]
    fn each_from(&self, payload: &[u8], mut at: usize, visit: &mut impl FnMut(KnockId, Range<usize>)) {
        while let Some(hash) = self.grams.hash_at(payload, at) {
            if self.known.may_contain(hash) {
                self.windows(payload, at, hash, visit);
            }
            at += self.stride;
        }
    }

    /// Looks at the windows that may stand around a known q-gram.
    #[inline(always)]
    fn windows(&self, payload: &[u8], at: usize, hash: u64, visit: &mut impl FnMut(KnockId, Range<usize>)) {
        self.marks.each(hash, |mark| {
            #[cfg(test)]
            work::WINDOWS.set(work::WINDOWS.get() + 1);
            let Some(start) = at.checked_sub(mark.place()) else { return };
            let Some(ends) = self.ends.get(mark.pattern()) else {
                if mark.pattern() == marks::SEVERAL {
                    self.look_up(payload, start, visit);
                }
                return;
            };
            let Some(window) = payload.get(start..).and_then(|rest| rest.get(..self.span)) else { return };
            if let (Some(first), Some(last)) = (window.first_chunk(), window.last_chunk())
                && grams::folded(*first) == ends[0]
                && grams::folded(*last) == ends[1]
                && let Some(entry) = self.entries.get(mark.pattern())
            {
                self.compare(payload, start, entry, visit);
            }
        });
    }

    /// Looks up the patterns whose window stands here.
    #[inline(never)]
    fn look_up(&self, payload: &[u8], start: usize, visit: &mut impl FnMut(KnockId, Range<usize>)) {
        let Some(hash) = self.grams.window_hash(payload, start, self.stride) else { return };
        let bucket = self.buckets.get((hash >> self.buckets_shift) as usize..);
        let Some(&[begin, end]) = bucket.and_then(|rest| rest.first_chunk()) else { return };
        let entries = self.entries.get(begin as usize..end as usize).unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.hash == hash) {
            self.compare(payload, start, entry, visit);
        }
    }

    /// Compares a pattern whose window may stand here.
    #[inline(never)]
    fn compare(
        &self,
        payload: &[u8],
        at: usize,
        entry: &PatternEntry,
        visit: &mut impl FnMut(KnockId, Range<usize>),
    ) {
        #[cfg(test)]
        work::COMPARED.set(work::COMPARED.get() + 1);
        let secret = self.secrets.get(entry.start as usize..).and_then(|rest| rest.get(..entry.len as usize));
        let start = at.checked_sub(entry.lead as usize);
        if let (Some(secret), Some(start)) = (secret, start)
            && let Some(text) = payload.get(start..).and_then(|rest| rest.get(..secret.len()))
            && is_same(text, secret, entry.ignore_case)
        {
            visit(entry.id, start..start + secret.len());
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.known.memory_usage()
            + self.marks.memory_usage()
            + size_of_val(&*self.buckets)
            + size_of_val(&*self.entries)
            + size_of_val(&*self.ends)
            + self.secrets.len()
    }
}

/// Whether texts of one length are the same, case aside if that is ignored.
#[inline(always)]
fn is_same(text: &[u8], secret: &[u8], ignore_case: bool) -> bool {
    if !ignore_case {
        return text == secret;
    }
    // Most that differ do so in these words, which takes less than a look at each letter.
    let (words, secrets) = (text.as_chunks().0, secret.as_chunks().0);
    words.iter().zip(secrets).all(|(word, secret)| grams::folded(*word) == grams::folded(*secret))
        && text.eq_ignore_ascii_case(secret)
}

/// So that most lookups of a window that is of no pattern end at an empty bucket.
const BUCKETS_PER_PATTERN: usize = 4;

/// The patterns of one window are compared one after the other. More than these get another window, and are left to
/// others where they share that as well, as many spellings of one secret do.
pub(in super::super) const MAX_SAME: usize = 8;

/// Fewer places of one q-gram in a window cost nothing to speak of.
const MIN_REPEATS: usize = 2;

/// What searches cost, for tests.
#[cfg(test)]
pub(in super::super) mod work {
    use std::cell::Cell;

    thread_local! {
        /// Windows looked up.
        pub(in super::super::super) static WINDOWS: Cell<usize> = const { Cell::new(0) };
        /// Patterns compared.
        pub(in super::super::super) static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    pub(in super::super::super) fn reset() {
        WINDOWS.set(0);
        COMPARED.set(0);
    }
}
