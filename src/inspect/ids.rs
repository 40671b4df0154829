//! Ids of knocks that outlive their set: doors keep them when the configuration changes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::knock::{KnockId, KnockSet};

/// Which id each knock of a set has. A knock is told by its name: it keeps the id that it once had.
///
/// An id is never given to another name, so their number grows with each new one. Names come from the configuration alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    /// All names that ever were, by their ids.
    names: Vec<Arc<str>>,
    /// The id of each knock of the set, in the order of the configuration.
    by_place: Vec<KnockId>,
    /// Where each id stands in the set; `None`: it is gone.
    places: Vec<Option<KnockId>>,
}

impl Ids {
    /// The ids of the next set, which keep what these are.
    pub(super) fn next(&self, knocks: &KnockSet) -> Self {
        let mut names = self.names.clone();
        let known: HashMap<Arc<str>, u32> = names.iter().cloned().zip(0..).collect();
        let mut new = (0u32..).skip(names.len());
        let mut by_place = Vec::with_capacity(knocks.len());
        for knock in knocks.iter() {
            let id = known.get(knock.name.as_str()).copied().or_else(|| {
                names.push(knock.name.as_str().into());
                new.next()
            });
            by_place.push(KnockId::from(id.unwrap_or(u32::MAX)));
        }
        let mut places = vec![None; names.len()];
        for (place, id) in (0u32..).zip(&by_place) {
            if let Some(entry) = places.get_mut(id.index()) {
                *entry = Some(KnockId::from(place));
            }
        }
        Self { names, by_place, places }
    }

    /// The id of a knock that stands at a place in its set.
    pub(super) fn of_place(&self, place: KnockId) -> KnockId {
        self.by_place.get(place.index()).copied().unwrap_or(place)
    }

    /// The place of an id; `None` where the set has no such knock any more.
    pub(super) fn place(&self, id: KnockId) -> Option<KnockId> {
        self.places.get(id.index()).copied().flatten()
    }

    /// The name of an id, of one that is gone as well.
    pub(super) fn name(&self, id: KnockId) -> &str {
        self.names.get(id.index()).map_or("", |name| name)
    }

    /// All names that ever were, by their ids.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The places of all ids in their order.
    pub(super) fn places(&self) -> &[Option<KnockId>] {
        &self.places
    }
}
