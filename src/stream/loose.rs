//! Flows of which a receiver may have bytes that this table has not seen or has forgotten.
//!
//! Any SYN may be one that the receiver ignores (RFC 5961, 4), so it begins nothing on a connection that has such bytes.
//! One word for each place: a time, and a tag of the flow. Two flows at one place within [`HELD_LIFE`] make it stand for
//! all flows that belong there. So nothing is ever forgotten too early, nothing is evicted, and no lock is taken.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::flow::{FlowId, HELD_LIFE};
use crate::time::Time;

#[derive(Debug)]
pub(super) struct Loose {
    places: Box<[AtomicU64]>,
    seeds: [u64; 2],
    /// All flows that began until then; 0: none.
    everyone: AtomicU64,
}

impl Loose {
    pub(super) fn new() -> Self {
        let random = ahash::RandomState::new();
        Self {
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            seeds: [0u64, 1].map(|n| random.hash_one(n)),
            everyone: AtomicU64::new(0),
        }
    }

    /// Adds a flow, or renews it.
    #[inline]
    pub(super) fn add(&self, id: FlowId, now: Time) {
        let (place, tag) = self.place(id);
        let mut before = place.load(Ordering::Relaxed);
        loop {
            let same = before == 0 || before as u32 == tag || !is_live(before, now);
            let after = ticks(now) << 32 | u64::from(if same { tag } else { ANY });
            if before == after {
                return;
            }
            match place.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => before = changed,
            }
        }
    }

    /// Whether a receiver may have something of a flow.
    pub(super) fn has(&self, id: FlowId, now: Time) -> bool {
        let (place, tag) = self.place(id);
        let word = place.load(Ordering::Relaxed);
        (word as u32 == tag || word as u32 == ANY) && is_live(word, now)
    }

    /// Adds all flows that there may be.
    pub(super) fn add_everyone(&self, now: Time) {
        self.everyone.store(ticks(now) << 32, Ordering::Relaxed);
    }

    /// Whether all flows were added.
    pub(super) fn has_everyone(&self, now: Time) -> bool {
        is_live(self.everyone.load(Ordering::Relaxed), now)
    }

    /// A folded multiplication (as in ahash) is enough here: a sender that could find two of its flows at one place would
    /// have both held.
    #[inline]
    fn place(&self, id: FlowId) -> (&AtomicU64, u32) {
        let (address, port) = id.source;
        let (high, low) = match address {
            IpAddr::V4(v4) => (0, u64::from(v4.to_bits())),
            IpAddr::V6(v6) => ((v6.to_bits() >> 64) as u64, v6.to_bits() as u64),
        };
        let ports = u64::from(port) << 16 | u64::from(id.destination.1);
        let [first, second] = self.seeds;
        let hash = fold(low ^ first, fold(high ^ second, ports ^ first.rotate_left(32)) ^ second);
        // The remainder is less than there are places. No tag is ANY.
        (&self.places[(hash >> 32) as usize % PLACES], hash as u32 | 1)
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// Units of 2^30 nanoseconds since the epoch, and one more, so that it is never 0.
#[inline]
fn ticks(time: Time) -> u64 {
    (time.as_nanos() >> 30) + 1
}

#[inline]
fn is_live(word: u64, now: Time) -> bool {
    word != 0 && ticks(now).saturating_sub(word >> 32) <= LIFE_TICKS
}

/// Stands for all flows of a place.
const ANY: u32 = 0;

/// A megabyte. With 50,000 flows a day, one of twenty that begin is taken for another.
const PLACES: usize = 1 << 17;

const LIFE_TICKS: u64 = (HELD_LIFE.as_nanos() >> 30) as u64 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(host: u32, port: u16) -> FlowId {
        let address = IpAddr::from(host.to_be_bytes());
        FlowId { source: (address, port), destination: ([192, 0, 2, 1].into(), 5060) }
    }

    fn at(secs: u64) -> Time {
        Time::from_parts(secs, 0)
    }

    #[test]
    fn a_flow_is_known_for_a_day() {
        let day = HELD_LIFE.as_secs();
        for begin in [0, 1_800_000_000] {
            let loose = Loose::new();
            assert!(!loose.has(id(1, 1), at(begin)));
            loose.add(id(1, 1), at(begin));
            loose.add(id(1, 1), at(begin + 100));
            for (secs, known) in [(0, true), (100, true), (day + 100, true), (day + 105, false)] {
                assert_eq!(loose.has(id(1, 1), at(begin + secs)), known, "{secs} s after {begin}");
            }
            assert!(!loose.has(id(1, 2), at(begin)) && !loose.has(id(2, 1), at(begin)));
        }
    }

    #[test]
    fn none_is_forgotten_where_many_are() {
        let loose = Loose::new();
        let flows = || (0..300_000u32).map(|n| id(n / 60_000, (n % 60_000) as u16));
        flows().for_each(|flow| loose.add(flow, at(1000)));
        assert!(flows().all(|flow| loose.has(flow, at(1001))));
        // A day later only those count that are there.
        let later = at(1000 + HELD_LIFE.as_secs() + 10);
        assert!(!flows().any(|flow| loose.has(flow, later)));
        loose.add(id(7, 7), later);
        assert!(loose.has(id(7, 7), later));
        let taken = flows().filter(|flow| loose.has(*flow, later)).count();
        assert!(taken < 3, "{taken} others have the same tag at the same place");
    }

    #[test]
    fn everyone() {
        let loose = Loose::new();
        assert!(!loose.has_everyone(at(0)));
        loose.add_everyone(at(1000));
        assert!(loose.has_everyone(at(2000)) && !loose.has_everyone(at(1005 + HELD_LIFE.as_secs())));
    }
}
