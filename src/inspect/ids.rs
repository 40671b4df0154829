//! Ids of knocks that outlive their set: doors keep them when the configuration changes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::knock::{Knock, KnockId, KnockSet, SALT};

/// Digests of knocks, with the salt that they are made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities {
    /// Random bytes.
    pub salt: [u8; SALT],
    /// A [`crate::knock::Knock::digest`] for each name of [`Inspector::names`](super::Inspector::names), in their order; 0 for a knock that is gone.
    pub digests: Vec<u32>,
}

/// Which id each knock of a set has. A knock keeps the id that it once had: it is told by its secret and its place in the
/// message, so that another name makes no difference, and by its name if one of these is another.
///
/// An id is never given to another knock, so their number grows with each new one. They come from the configuration alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    /// The name that each id had last.
    names: Vec<Arc<str>>,
    /// The id of each knock of the set, in the order of the configuration.
    by_place: Vec<KnockId>,
    /// Where each id stands in the set; `None`: it is gone.
    places: Vec<Option<KnockId>>,
}

impl Ids {
    /// The ids of the first set.
    pub(super) fn new(knocks: &KnockSet) -> Self {
        Self::default().assign(knocks, |_| None)
    }

    /// The ids of the next set, which keep what these are of the set before.
    pub(super) fn next(&self, before: &KnockSet, knocks: &KnockSet) -> Self {
        let known: HashMap<_, KnockId> =
            before.iter().map(Knock::identity).zip(self.by_place.iter().copied()).collect();
        self.assign(knocks, |knock| known.get(&knock.identity()).copied())
    }

    fn assign(&self, knocks: &KnockSet, same: impl Fn(&Knock) -> Option<KnockId>) -> Self {
        let mut names = self.names.clone();
        let mut taken = HashSet::new();
        let kept: Vec<_> = knocks.iter().map(|knock| same(knock).filter(|id| taken.insert(*id))).collect();
        let mut known: HashMap<Arc<str>, KnockId> =
            names.iter().cloned().zip((0u32..).map(KnockId::from)).collect();
        // An id that is gone may have had the name before.
        known.extend(self.by_place.iter().filter_map(|id| Some((Arc::clone(names.get(id.index())?), *id))));
        let mut by_place = Vec::with_capacity(knocks.len());
        for (knock, kept) in knocks.iter().zip(kept) {
            let name: Arc<str> = knock.name.as_str().into();
            let by_name = || known.get(&name).copied().filter(|id| taken.insert(*id));
            let id = kept.or_else(by_name).unwrap_or_else(|| {
                names.push(Arc::clone(&name));
                KnockId::from(u32::try_from(names.len() - 1).unwrap_or(u32::MAX))
            });
            if let Some(place) = names.get_mut(id.index()) {
                *place = name;
            }
            by_place.push(id);
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

    /// The name of an id, of one that is gone as well: the one that it had last.
    pub(super) fn name(&self, id: KnockId) -> &str {
        self.names.get(id.index()).map_or("", |name| name)
    }

    /// The names of all ids that ever were, in their order.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The places of all ids in their order.
    pub(super) fn places(&self) -> &[Option<KnockId>] {
        &self.places
    }
}
