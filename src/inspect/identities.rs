//! Knocks as another process knows them again: by secret and place, and then by name.

use std::collections::{HashMap, HashSet};

use super::ids::Identities;
use super::inspector::Inspector;
use crate::knock::{KnockId, SALT};

impl Inspector {
    /// The identities of all knocks that there ever were, by their ids. They are computed once, and only then `salt` is asked
    /// for.
    pub fn identities(&self, salt: impl FnOnce() -> [u8; SALT]) -> &Identities {
        self.identities.get_or_init(|| {
            let salt = salt();
            let knock = |place: &Option<KnockId>| place.and_then(|place| self.knocks.get(place));
            let digest = |place| knock(place).map_or(0, |knock| knock.digest(&salt));
            Identities { salt, digests: self.ids.places().iter().map(digest).collect() }
        })
    }

    /// The knocks that another process called by these names: of each the one with the same secret and place, else the one
    /// with the same name, unless that is known to be another. `None` for those that are gone.
    pub fn known_again(&self, names: &[String], identities: Option<&Identities>) -> Vec<Option<KnockId>> {
        let mut same: HashMap<u32, Option<KnockId>> = HashMap::new();
        if let Some(Identities { salt, .. }) = identities {
            for (id, knock) in self.knocks_by_id() {
                // Of two with the same digest neither is known.
                let twice = |place: &mut Option<KnockId>| *place = None;
                same.entry(knock.digest(salt)).and_modify(twice).or_insert(Some(id));
            }
        }
        let digests = identities.map_or(&[][..], |identities| &identities.digests);
        let mut taken = HashSet::new();
        let by_digest: Vec<_> = (0..names.len())
            .map(|index| same.get(digests.get(index)?).copied().flatten().filter(|id| taken.insert(*id)))
            .collect();
        let by_name: HashMap<&str, KnockId> =
            self.knocks_by_id().map(|(id, knock)| (knock.name.as_str(), id)).collect();
        let named = |name: &String| by_name.get(name.as_str()).copied().filter(|id| !taken.contains(id));
        by_digest.into_iter().zip(names).map(|(known, name)| known.or_else(|| named(name))).collect()
    }
}
