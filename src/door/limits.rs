//! How many doors there may be, in all and for each knock, and how many there are.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::state::Door;
use crate::knock::KnockId;

/// Places for doors. Only knocks ask here; packets without one never do.
#[derive(Debug)]
pub(super) struct DoorLimits {
    max: AtomicUsize,
    held: AtomicUsize,
    /// Doors that somebody holds by hand, who has no limit.
    by_hand: AtomicU32,
    by_knock: RwLock<Vec<KnockPlaces>>,
}

/// The places of one knock.
#[derive(Debug)]
struct KnockPlaces {
    held: AtomicU32,
    max: u32,
}

impl DoorLimits {
    pub(super) fn new(max: usize, per_knock: impl IntoIterator<Item = Option<u32>>) -> Self {
        let places = Self {
            max: AtomicUsize::new(max),
            held: AtomicUsize::new(0),
            by_hand: AtomicU32::new(0),
            by_knock: RwLock::default(),
        };
        places.limit(max, per_knock);
        places
    }

    /// Changes the limits. Who holds a place keeps it.
    pub(super) fn limit(&self, max: usize, per_knock: impl IntoIterator<Item = Option<u32>>) {
        self.max.store(max, Ordering::Relaxed);
        let mut by_knock = self.by_knock.write().unwrap_or_else(PoisonError::into_inner);
        for (index, max) in per_knock.into_iter().enumerate() {
            let max = max.unwrap_or(u32::MAX);
            match by_knock.get_mut(index) {
                Some(places) => places.max = max,
                None => by_knock.push(KnockPlaces { held: AtomicU32::new(0), max }),
            }
        }
    }

    pub(super) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn held_by(&self, knock: KnockId) -> u32 {
        if knock == Door::by_hand() {
            return self.by_hand.load(Ordering::Relaxed);
        }
        self.by_knock().get(knock.index()).map_or(0, |places| places.held.load(Ordering::Relaxed))
    }

    /// Takes a place in the table, where there is one.
    pub(super) fn take(&self) -> bool {
        let max = self.max();
        let more = |held| (held < max).then_some(held + 1);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn give_back(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes one of a knock's places. One that came with a reload may open doors before its limit is told, without any,
    /// and these count, too; for what is done by hand there is no limit.
    pub(super) fn take_knock(&self, knock: KnockId) -> bool {
        let take = |places: &KnockPlaces| {
            let more = |held| (held < places.max).then_some(held + 1);
            places.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
        };
        if knock == Door::by_hand() {
            self.by_hand.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let taken = self.by_knock().get(knock.index()).map(take);
        taken.unwrap_or_else(|| {
            let mut by_knock = self.by_knock.write().unwrap_or_else(PoisonError::into_inner);
            let places = by_knock.len().max(knock.index() + 1);
            by_knock.resize_with(places, || KnockPlaces { held: AtomicU32::new(0), max: u32::MAX });
            by_knock.get(knock.index()).is_none_or(take)
        })
    }

    pub(super) fn give_back_knock(&self, knock: KnockId) {
        if knock == Door::by_hand() {
            self.by_hand.fetch_sub(1, Ordering::Relaxed);
        } else if let Some(places) = self.by_knock().get(knock.index()) {
            places.held.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn by_knock(&self) -> RwLockReadGuard<'_, Vec<KnockPlaces>> {
        self.by_knock.read().unwrap_or_else(PoisonError::into_inner)
    }
}
