//! Where in their windows q-grams stand, and in whose.

use std::cmp::Reverse;

use super::grams::rehash;

/// What is known of q-grams, by their hashes.
///
/// No two q-grams share a slot, so that a stranger's packet finds no q-gram that is dearer than others, but those that
/// stand in several windows.
pub(super) struct Marks {
    /// The seeds of the second hash, by the first bits of the first one.
    seeds: Box<[u32]>,
    seeds_shift: u32,
    /// The mark of the q-gram whose second hash has these first bits, or where in `more` its marks begin, if it has several.
    slots: Box<[GramMark]>,
    shift: u32,
    /// One after the other. The highest bit says whether another one of the same slot follows.
    more: Box<[GramMark]>,
}

/// One place of one q-gram, from the highest bit on: whether this is none but says where several are, six more bits of the
/// hash, the place, and the pattern.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GramMark(u32);

/// A q-gram's hash, its place in a window, and the pattern that this is the window of; [`SEVERAL`] if all windows that have
/// it there are to be looked up.
pub(super) type SeenGram = (u64, usize, usize);

impl Marks {
    /// `None` if there are too many.
    pub(super) fn new(mut seen: Vec<SeenGram>) -> Option<Self> {
        seen.sort_unstable();
        seen.dedup();
        let grams: Vec<_> = seen.chunk_by(|one, other| one.0 == other.0).collect();
        let slots = grams.len().saturating_mul(3).div_ceil(2).next_power_of_two().max(2);
        let seeds = (grams.len() / GRAMS_PER_SEED).next_power_of_two().max(2);
        let (shift, seeds_shift) = (u64::BITS - slots.ilog2(), u64::BITS - seeds.ilog2());
        let mut marks = Self {
            seeds: vec![FIRST_SEED; seeds].into(),
            seeds_shift,
            slots: vec![EMPTY; slots].into(),
            shift,
            more: Box::default(),
        };
        marks.choose_seeds(&grams);
        let mut all = Vec::with_capacity(seen.len());
        for gram in grams {
            for place in gram.chunk_by(|one, other| one.1 == other.1) {
                let &(hash, at, _) = place.first()?;
                let (slot, tag) = marks.slot(hash)?;
                let together =
                    place.len() > MOST_BESIDE || place.iter().any(|(.., pattern)| *pattern >= MOST);
                match together {
                    true => all.push((slot, GramMark::new(tag, at, SEVERAL))),
                    false => {
                        all.extend(place.iter().map(|&(.., pattern)| (slot, GramMark::new(tag, at, pattern))))
                    }
                }
            }
        }
        marks.fill(all)
    }

    /// Finds seeds by which each q-gram has a slot to itself: first for those whose seed is that of many.
    fn choose_seeds(&mut self, grams: &[&[SeenGram]]) {
        let hashes: Vec<_> = grams.iter().filter_map(|gram| gram.first()).map(|(hash, ..)| *hash).collect();
        let seed_of = |hash: u64| hash >> self.seeds_shift;
        let mut groups: Vec<_> = hashes.chunk_by(|one, other| seed_of(*one) == seed_of(*other)).collect();
        groups.sort_by_key(|group| Reverse(group.len()));
        let (mut taken, mut slots) = (vec![false; self.slots.len()], Vec::new());
        for group in groups {
            let free = |seed: &u32| {
                slots.clear();
                slots.extend(group.iter().map(|hash| (rehash(*hash, *seed) >> self.shift) as usize));
                slots.sort_unstable();
                slots.is_sorted_by(|one, other| one < other)
                    && slots.iter().all(|slot| taken.get(*slot) == Some(&false))
            };
            // If none is found, which is as good as never, some share a slot.
            let mut seeds = (0..TRIES).map(|number| FIRST_SEED.wrapping_mul(2 * number + 1));
            let Some(seed) = seeds.find(free) else { continue };
            slots.iter().for_each(|slot| taken.get_mut(*slot).into_iter().for_each(|taken| *taken = true));
            let place = group.first().map(|hash| seed_of(*hash) as usize);
            if let Some(known) = place.and_then(|place| self.seeds.get_mut(place)) {
                *known = seed;
            }
        }
    }

    /// Puts marks into their slots, and what a slot has no room for elsewhere.
    fn fill(mut self, mut all: Vec<(usize, GramMark)>) -> Option<Self> {
        all.sort_unstable();
        let mut more = Vec::new();
        for group in all.chunk_by(|(one, _), (other, _)| one == other) {
            let (&(slot, mut mark), before) = group.split_last()?;
            if !before.is_empty() {
                let begin = u32::try_from(more.len()).ok().filter(|at| at & MORE == 0)?;
                more.extend(before.iter().map(|(_, mark)| GramMark(mark.0 | MORE)));
                more.push(mark);
                mark = GramMark(begin | MORE);
            }
            *self.slots.get_mut(slot)? = mark;
        }
        self.more = more.into();
        Some(self)
    }

    /// A q-gram's slot, and what tells it from most of those that are none but have the same.
    #[inline(always)]
    fn slot(&self, hash: u64) -> Option<(usize, u32)> {
        let hash = rehash(hash, *self.seeds.get((hash >> self.seeds_shift) as usize)?);
        Some(((hash >> self.shift) as usize, tag(hash)))
    }

    /// Shows those of a q-gram, and few others.
    #[inline(always)]
    pub(super) fn each(&self, hash: u64, mut visit: impl FnMut(GramMark)) {
        let Some((slot, tag)) = self.slot(hash) else { return };
        let Some(&slot) = self.slots.get(slot) else { return };
        let is_same = |mark: GramMark| (mark.0 ^ tag) & TAG == 0;
        if slot.0 & MORE == 0 {
            if is_same(slot) {
                visit(slot);
            }
            return;
        }
        for &mark in self.more.get((slot.0 & !MORE) as usize..).unwrap_or_default() {
            if is_same(mark) {
                visit(mark);
            }
            if mark.0 & MORE == 0 {
                break;
            }
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        size_of_val(&*self.seeds) + size_of_val(&*self.slots) + size_of_val(&*self.more)
    }
}

impl GramMark {
    fn new(tag: u32, place: usize, pattern: usize) -> Self {
        let pattern = if pattern < MOST { pattern as u32 } else { ALL };
        Self(tag | (place as u32 & MAX_PLACE) << PLACE_AT | pattern)
    }

    /// Where in its window the q-gram stands.
    #[inline(always)]
    pub(super) fn place(self) -> usize {
        (self.0 >> PLACE_AT & MAX_PLACE) as usize
    }

    /// A pattern in whose window a q-gram like this has this place; [`SEVERAL`] if there are more of them than it has marks.
    #[inline(always)]
    pub(super) fn pattern(self) -> usize {
        (self.0 & ALL) as usize
    }
}

/// Six bits of a hash that are not those that tell its slot, in their place.
#[inline(always)]
fn tag(hash: u64) -> u32 {
    hash as u32 >> 1 & TAG
}

const MORE: u32 = 1 << 31;
const TAG: u32 = 0x3f << TAG_AT;
const TAG_AT: u32 = 25;

/// A window has up to 32 places.
const MAX_PLACE: u32 = 31;
const PLACE_AT: u32 = 20;

/// Stands for many patterns, and for those beyond the first million.
pub(super) const SEVERAL: usize = ALL as usize;
const ALL: u32 = (1 << PLACE_AT) - 1;

/// Patterns that have marks of their own.
pub(super) const MOST: usize = SEVERAL - 1;

/// None: that of no pattern.
const EMPTY: GramMark = GramMark(!MORE ^ 1);

/// A packet may be full of a q-gram that has the same place in several windows. Comparing with so many of them costs less
/// than looking one up.
const MOST_BESIDE: usize = 4;

/// So few that a seed is found soon by which none of their slots is taken: two thirds are at most.
const GRAMS_PER_SEED: usize = 4;

/// Seeds that are tried.
const TRIES: u32 = 1 << 12;

/// 2^32 divided by the golden ratio. All seeds are odd.
const FIRST_SEED: u32 = 0x9e37_79b9;

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(gram: usize) -> u64 {
        (gram as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn of(marks: &Marks, gram: usize) -> Vec<GramMark> {
        let mut found = Vec::new();
        marks.each(hash(gram), |mark| found.push(mark));
        found
    }

    #[test]
    fn each_place_is_found_again() {
        for places in 1..=32 {
            let seen: Vec<_> = (0..1000).map(|gram| (hash(gram), gram % places, gram)).collect();
            let marks = Marks::new(seen).unwrap();
            for gram in 0..1000 {
                let found: Vec<_> = of(&marks, gram);
                let own = |mark: &GramMark| {
                    mark.place() == gram % places && [gram, SEVERAL].contains(&mark.pattern())
                };
                assert!(found.iter().any(own), "{gram} of {places}");
            }
        }
    }

    #[test]
    fn a_place_of_several_patterns_is_one() {
        let seen: Vec<_> = (0..500).map(|pattern| (hash(7), 3, pattern)).chain([(hash(7), 4, 9)]).collect();
        let marks = Marks::new(seen).unwrap();
        let mut found: Vec<_> = of(&marks, 7).iter().map(|mark| (mark.place(), mark.pattern())).collect();
        found.sort_unstable();
        assert_eq!(found, [(3, SEVERAL), (4, 9)]);
    }

    /// Each of a few is shown by itself, and so is one that has another place.
    #[test]
    fn a_place_of_a_few_patterns_is_one_for_each() {
        for count in 1..=MOST_BESIDE + 1 {
            let seen = (0..count).map(|pattern| (hash(7), 3, pattern)).chain([(hash(7), 4, 9)]).collect();
            let mut found: Vec<_> =
                of(&Marks::new(seen).unwrap(), 7).iter().map(|mark| (mark.place(), mark.pattern())).collect();
            found.sort_unstable();
            let own: Vec<_> = (0..count).map(|pattern| (3, pattern)).collect();
            let expected = if count > MOST_BESIDE { vec![(3, SEVERAL)] } else { own };
            assert_eq!(found, [expected, vec![(4, 9)]].concat());
        }
    }

    /// However many there are, a q-gram's slot has no other one's marks.
    #[test]
    fn no_two_grams_share_a_slot() {
        for grams in [2, 3, 700, 8191, 100_000] {
            let seen = (1..=grams).map(|gram| (hash(gram), gram % 15, gram)).collect();
            let marks = Marks::new(seen).unwrap();
            assert!(marks.more.is_empty(), "{grams}");
            assert!(marks.slots.len() <= 3 * grams, "{grams}");
        }
    }

    #[test]
    fn patterns_beyond_the_first_million_share_a_mark() {
        let seen = vec![(hash(1), 0, MOST), (hash(2), 31, MOST - 1)];
        let marks = Marks::new(seen).unwrap();
        let all =
            |gram| of(&marks, gram).iter().map(|mark| (mark.place(), mark.pattern())).collect::<Vec<_>>();
        assert!(all(1).contains(&(0, SEVERAL)));
        assert!(all(2).contains(&(31, MOST - 1)));
    }

    #[test]
    fn memory() {
        assert!(of(&Marks::new(Vec::new()).unwrap(), 7).iter().all(|mark| mark.pattern() == MOST));
        assert_eq!(Marks::new(Vec::new()).unwrap().memory_usage(), 2 * 4 + 2 * 4);
        let seen: Vec<_> = (0..1000).map(|gram| (hash(gram), gram % 8, gram)).collect();
        assert!(Marks::new(seen).unwrap().memory_usage() <= 2048 * 4 + 256 * 4);
    }
}
