//! What queue threads count in and others read, without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::event::KnockOutcome;
use crate::knock::KnockId;

/// How long deciding a packet takes.
///
/// A clock read for each packet would cost as much as a decision. So the time of a batch is taken, and each of its
/// packets counts with the mean: the sum is exact, the buckets are as good as batches are alike.
#[derive(Debug, Default)]
pub struct Histogram {
    /// As many as [`BOUNDS`], and one for what is beyond them.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Nanoseconds, of all packets together.
    sum: AtomicU64,
}

impl Histogram {
    /// Counts a batch of so many packets that took so long in all.
    pub fn observe(&self, took: Duration, packets: usize) {
        let packets = packets as u64;
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let Some(mean) = nanos.checked_div(packets) else { return };
        // Bounds are inclusive, as Prometheus has them.
        let place = BOUNDS.partition_point(|bound| *bound < mean);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(packets, Ordering::Relaxed);
        }
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Adds what was counted so far.
    pub fn add_to(&self, total: &mut HistogramTotal) {
        for (sum, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        total.nanos += self.sum.load(Ordering::Relaxed);
    }
}

/// [`Histogram`]s of several threads together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramTotal {
    /// Packets by [`BOUNDS`], those beyond them last. Each packet is in one bucket.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// What they took together.
    pub nanos: u64,
}

/// The buckets' upper bounds in nanoseconds: from less than the cheapest decision takes, in steps of 1, 2.5 and 5, to what
/// only a machine takes that has other things to do.
pub const BOUNDS: [u64; 16] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
];

/// What the knocks of one queue did, by their ids.
///
/// It grows by blocks, each twice as large as the one before, which never move: whoever counts waits for nobody.
#[derive(Debug, Default)]
pub struct KnockCounts {
    blocks: [OnceLock<Box<[Cells]>>; BLOCKS],
}

/// By [`Outcome`].
type Cells = [AtomicU64; KnockOutcome::ALL.len()];

impl KnockCounts {
    /// Counts a knock.
    pub fn add(&self, knock: KnockId, outcome: KnockOutcome) {
        let (block, offset) = Self::place(knock);
        let Some(block) = self.blocks.get(block) else { return };
        // Allocated once for a knock that was never seen before, from the configuration's and no stranger's names.
        let cells =
            block.get_or_init(|| (0..FIRST << Self::place(knock).0).map(|_| Cells::default()).collect());
        if let Some(cell) = cells.get(offset).and_then(|cells| cells.get(outcome as usize)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The effects of a knock so far, by [`KnockOutcome`].
    pub fn of(&self, knock: KnockId) -> [u64; KnockOutcome::ALL.len()] {
        let (block, offset) = Self::place(knock);
        let cells = self.blocks.get(block).and_then(OnceLock::get).and_then(|cells| cells.get(offset));
        cells.map_or_else(Default::default, |cells| cells.each_ref().map(|cell| cell.load(Ordering::Relaxed)))
    }

    /// In which block a knock is, and where: block n starts at `FIRST * (2^n - 1)`.
    fn place(knock: KnockId) -> (usize, usize) {
        let shifted = knock.index() + FIRST;
        let block = (shifted / FIRST).ilog2() as usize;
        (block, shifted - (FIRST << block))
    }
}

/// Knocks in the first block: more than most configurations have.
const FIRST: usize = 64;

/// Enough for every id that a configuration can have; that of doors opened by hand is beyond.
const BLOCKS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_counts_with_its_mean() {
        let histogram = Histogram::default();
        for (nanos, packets) in [(0, 0), (3_200, 32), (3_201, 32), (32_032, 32), (7, 1), (u64::MAX / 2, 1)] {
            histogram.observe(Duration::from_nanos(nanos), packets);
        }
        let mut total = HistogramTotal::default();
        histogram.add_to(&mut total);
        // 100 ns is within the first bucket; one nanosecond more in a whole batch does not leave it.
        assert_eq!(total.buckets[..4], [32 + 32 + 1, 0, 0, 0]);
        assert_eq!(total.buckets[4], 32);
        assert_eq!(total.buckets[BOUNDS.len()], 1);
        assert_eq!(total.buckets.iter().sum::<u64>(), 98);
        assert_eq!(total.nanos, 3_200 + 3_201 + 32_032 + 7 + u64::MAX / 2);
    }

    #[test]
    fn every_knock_has_a_place_of_its_own() {
        let counts = KnockCounts::default();
        let ids = (0..70_000).chain([1_000_000, 60_000_000]).map(KnockId::from);
        let mut places: Vec<_> = ids.clone().map(KnockCounts::place).collect();
        assert_eq!(places[..3], [(0, 0), (0, 1), (0, 2)]);
        assert_eq!((places[63], places[64], places[191], places[192]), ((0, 63), (1, 0), (1, 127), (2, 0)));
        assert!(places.iter().all(|(block, offset)| *block < BLOCKS && *offset < FIRST << block));
        let all = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), all);

        for id in [0, 63, 64, 10_000].map(KnockId::from) {
            counts.add(id, KnockOutcome::Opened);
            counts.add(id, KnockOutcome::Refused);
            counts.add(id, KnockOutcome::Refused);
            assert_eq!(counts.of(id), [1, 0, 2]);
        }
        assert_eq!(counts.of(KnockId::from(1)), [0, 0, 0]);
        counts.add(KnockId::from(u32::MAX), KnockOutcome::Opened);
        assert_eq!(counts.of(KnockId::from(u32::MAX)), [0, 0, 0], "no knock has that id");
    }
}
