//! Where in their windows q-grams stand, and in whose.

use super::grams::rehash;

/// What is known of q-grams, by their hashes.
pub(super) struct Marks {
    /// The mark of the q-grams whose hash has these first bits, or where in `more` theirs begin, if there are several.
    slots: Box<[Mark]>,
    shift: u32,
    /// How many there are of a slot, and these.
    more: Box<[Mark]>,
}

/// One place of one q-gram, from the highest bit on: whether this is none but says where several are, six more bits of the
/// hash, the place, and the pattern.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(u32);

/// A q-gram's hash, its place in a window, and the pattern that this is the window of.
pub(super) type Seen = (u64, usize, usize);

impl Marks {
    /// `None` if there are too many.
    pub(super) fn new(seen: &[Seen]) -> Option<Self> {
        let sparse = match seen.len() {
            few if few <= FEW => 8,
            many if many <= MANY => 4,
            _ => 1,
        };
        let slots = seen.len().saturating_mul(sparse).next_power_of_two().max(2);
        let shift = u64::BITS - slots.ilog2();
        let mut all: Vec<_> = seen
            .iter()
            .map(|&(hash, place, pattern)| {
                let hash = rehash(hash);
                ((hash >> shift) as usize, Mark::new(tag(hash), place, pattern))
            })
            .collect();
        all.sort_unstable();
        all.dedup_by(|(later_slot, later), (slot, kept)| {
            let same = slot == later_slot && kept.is_beside(*later);
            if same && kept != later {
                *kept = kept.of_several();
            }
            same
        });
        let mut marks = Self { slots: vec![EMPTY; slots].into(), shift, more: Box::default() };
        let mut more = Vec::new();
        for group in all.chunk_by(|(one, _), (other, _)| one == other) {
            let &(slot, mut mark) = group.first()?;
            if group.len() > 1 || mark == EMPTY {
                mark = Mark(MORE | u32::try_from(more.len()).ok().filter(|at| at & MORE == 0)?);
                more.push(Mark(u32::try_from(group.len()).ok()?));
                more.extend(group.iter().map(|(_, mark)| mark));
            }
            *marks.slots.get_mut(slot)? = mark;
        }
        marks.more = more.into();
        Some(marks)
    }

    /// Shows those of a q-gram, and few others.
    #[inline(always)]
    pub(super) fn each(&self, hash: u64, mut visit: impl FnMut(Mark)) {
        let hash = rehash(hash);
        let Some(&slot) = self.slots.get((hash >> self.shift) as usize) else { return };
        let is_same = |mark: Mark| mark.0 & TAG == tag(hash);
        if slot.0 & MORE == 0 {
            if is_same(slot) && slot != EMPTY {
                visit(slot);
            }
        } else {
            self.several(slot).iter().filter(|mark| is_same(**mark)).for_each(|mark| visit(*mark));
        }
    }

    #[inline]
    fn several(&self, slot: Mark) -> &[Mark] {
        let group = self.more.get((slot.0 & !MORE) as usize..).and_then(<[_]>::split_first);
        group.and_then(|(count, marks)| marks.get(..count.0 as usize)).unwrap_or_default()
    }

    pub(super) fn memory_usage(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.more)
    }
}

impl Mark {
    fn new(tag: u32, place: usize, pattern: usize) -> Self {
        let pattern = u32::try_from(pattern).unwrap_or(ALL).min(ALL);
        Self(tag | (place as u32 & MAX_PLACE) << PLACE_AT | pattern)
    }

    /// Where in its window the q-gram stands.
    #[inline(always)]
    pub(super) fn place(self) -> usize {
        (self.0 >> PLACE_AT & MAX_PLACE) as usize
    }

    /// The only pattern in whose window a q-gram like this has this place; [`SEVERAL`] if there are several.
    #[inline(always)]
    pub(super) fn pattern(self) -> usize {
        (self.0 & ALL) as usize
    }

    fn is_beside(self, other: Self) -> bool {
        self.0 >> PLACE_AT == other.0 >> PLACE_AT
    }

    fn of_several(self) -> Self {
        Self(self.0 | ALL)
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

/// Stands for several patterns, and for those beyond the first million.
pub(super) const SEVERAL: usize = ALL as usize;
const ALL: u32 = (1 << PLACE_AT) - 1;

/// None. One that is the same stands in a group.
const EMPTY: Mark = Mark(!MORE);

/// Up to so many places there are eight slots for each, and four up to so many more, so that few q-grams share one: a
/// stranger's packet that is full of those which do costs the more. Of yet more, the table would not stay in the cache.
const FEW: usize = 1 << 12;
const MANY: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(gram: usize) -> u64 {
        (gram as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn of(marks: &Marks, gram: usize) -> Vec<Mark> {
        let mut found = Vec::new();
        marks.each(hash(gram), |mark| found.push(mark));
        found
    }

    /// A mark that looks like none is one all the same.
    #[test]
    fn all_bits_set() {
        let gram = (0..1000).find(|gram| tag(rehash(hash(*gram))) == TAG).unwrap();
        let marks = Marks::new(&[(hash(gram), 31, SEVERAL)]).unwrap();
        assert_eq!(of(&marks, gram).len(), 1);
        assert!(of(&Marks::new(&[]).unwrap(), gram).is_empty());
    }

    #[test]
    fn each_place_is_found_again() {
        for places in 1..=32 {
            let seen: Vec<_> = (0..1000).map(|gram| (hash(gram), gram % places, gram)).collect();
            let marks = Marks::new(&seen).unwrap();
            for gram in 0..1000 {
                let found: Vec<_> = of(&marks, gram);
                let own =
                    |mark: &Mark| mark.place() == gram % places && [gram, SEVERAL].contains(&mark.pattern());
                assert!(found.iter().any(own), "{gram} of {places}");
            }
        }
    }

    #[test]
    fn a_place_of_several_patterns_is_one() {
        let seen: Vec<_> = (0..500).map(|pattern| (hash(7), 3, pattern)).chain([(hash(7), 4, 9)]).collect();
        let marks = Marks::new(&seen).unwrap();
        let mut found: Vec<_> = of(&marks, 7).iter().map(|mark| (mark.place(), mark.pattern())).collect();
        found.sort_unstable();
        assert_eq!(found, [(3, SEVERAL), (4, 9)]);
    }

    #[test]
    fn patterns_beyond_the_first_million_share_a_mark() {
        let seen = [(hash(1), 0, 1 << 20), (hash(2), 31, (1 << 20) - 2)];
        let marks = Marks::new(&seen).unwrap();
        let all =
            |gram| of(&marks, gram).iter().map(|mark| (mark.place(), mark.pattern())).collect::<Vec<_>>();
        assert!(all(1).contains(&(0, SEVERAL)));
        assert!(all(2).contains(&(31, (1 << 20) - 2)));
    }

    #[test]
    fn memory() {
        assert_eq!(Marks::new(&[]).unwrap().memory_usage(), 2 * 4);
        let seen: Vec<_> = (0..1000).map(|gram| (hash(gram), gram % 8, gram)).collect();
        assert!(Marks::new(&seen).unwrap().memory_usage() <= 8192 * 4 + 1500 * 4);
    }
}
