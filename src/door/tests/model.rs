//! The table against one that is written without care for speed or memory: a list of claims for each source.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Knock(u8, Vec<Grant>),
    Extend(u8),
    Revoke(u8),
    Sweep,
    Flush,
    Retire(u32),
    Restart,
}

fn any_grant() -> impl Strategy<Value = Grant> {
    let knock = prop_oneof![8 => 0u32..4, 1 => Just(LAST_KNOCK)];
    let end = prop_oneof![3 => Just(None), 1 => Just(Some(ClaimEnd::One)), 1 => Just(Some(ClaimEnd::All))];
    (knock, 1u64..120, prop::option::of((0u64..2, 0u64..2, end))).prop_map(|(knock, life, registration)| {
        let registration = registration.map(|(user, phone, end)| ClaimRegistration { user, phone, end });
        Grant { registration, ..grant(knock, life) }
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let sources = || 0u8..4;
    prop_oneof![
        20 => (sources(), prop::collection::vec(any_grant(), 1..4)).prop_map(|(n, grants)| Step::Knock(n, grants)),
        3 => sources().prop_map(Step::Extend),
        2 => sources().prop_map(Step::Revoke),
        4 => Just(Step::Sweep),
        1 => Just(Step::Flush),
        2 => (0u32..4).prop_map(Step::Retire),
        2 => Just(Step::Restart),
    ]
}

#[derive(Clone, Debug)]
struct Model {
    max: usize,
    per_knock: Vec<Option<u32>>,
    /// By source.
    claims: BTreeMap<u8, Vec<Claim>>,
}

impl Model {
    fn live(&self, n: u8, now: Time) -> impl Iterator<Item = &Claim> {
        self.claims.get(&n).into_iter().flatten().filter(move |claim| now < claim.until)
    }

    fn state(&self, n: u8, now: Time) -> DoorState {
        if self.live(n, now).next().is_some() {
            return DoorState::Open;
        }
        match self.claims.get(&n).into_iter().flatten().any(|claim| claim.is_known(now)) {
            true => DoorState::Expired,
            false => DoorState::None,
        }
    }

    fn open(&self, now: Time) -> usize {
        (0..4).filter(|n| self.state(*n, now) == DoorState::Open).count()
    }

    fn held_by(&self, knock: KnockId, now: Time) -> u32 {
        (0..4).map(|n| u32::from(self.live(n, now).any(|claim| claim.knock == knock))).sum()
    }

    fn has_room(&self, n: u8, knock: KnockId, now: Time) -> bool {
        let max = self.per_knock.get(knock.index()).copied().flatten().unwrap_or(u32::MAX);
        self.live(n, now).any(|claim| claim.knock == knock) || self.held_by(knock, now) < max
    }

    fn knock(&mut self, n: u8, now: Time, grants: &[Grant]) -> (&'static str, Vec<KnockId>) {
        let was_open = self.state(n, now) == DoorState::Open;
        let mut refused: Vec<KnockId> = Vec::new();
        if !was_open && self.open(now) >= self.max {
            return ("refused", refused);
        }
        let mut done = false;
        for grant in grants.iter().filter(|grant| grant.ends() && was_open) {
            done = true;
            let ended = grant.registration.unwrap();
            for claim in self.claims.entry(n).or_default().iter_mut().filter(|claim| now < claim.until) {
                let same = claim.registration.is_some_and(|known| {
                    known.user == ended.user
                        && (ended.end == Some(ClaimEnd::All) || known.phone == ended.phone)
                });
                if claim.knock == grant.knock && same && !claim.closing {
                    claim.until = claim.until.min(now.after(grant.life));
                    claim.life = grant.life;
                    claim.closing = true;
                }
            }
        }
        let only_ends = grants.iter().all(Grant::ends);
        for grant in grants.iter().filter(|grant| !grant.ends() || (!was_open && only_ends)) {
            if !self.has_room(n, grant.knock, now) {
                if !refused.contains(&grant.knock) {
                    refused.push(grant.knock);
                }
                continue;
            }
            done = true;
            let new = Claim {
                knock: grant.knock,
                registration: grant.registration.map(|registration| registration.id()),
                until: now.after(grant.life),
                life: grant.life,
                closing: grant.ends(),
            };
            let claims = self.claims.entry(n).or_default();
            let same = |claim: &Claim| (claim.knock, claim.registration) == (new.knock, new.registration);
            match claims.iter_mut().find(|claim| same(claim) && now < claim.until) {
                Some(known) if new.until > known.until || known.closing => {
                    *known = Claim { until: known.until.max(new.until), ..new };
                }
                Some(_) => {}
                None => {
                    claims.retain(|claim| !same(claim));
                    claims.push(new);
                }
            }
        }
        if was_open {
            let claims = self.claims.entry(n).or_default();
            let last = claims
                .iter()
                .filter(|claim| now < claim.until && !claim.closing)
                .map(|claim| claim.until)
                .max();
            claims.retain(|claim| {
                claim.until <= now || !claim.closing || last.is_none_or(|last| last < claim.until)
            });
        }
        match (done, was_open) {
            (false, _) => ("refused", refused),
            (true, true) => ("renewed", refused),
            (true, false) => ("opened", refused),
        }
    }

    fn extend(&mut self, n: u8, now: Time) {
        for claim in self.claims.entry(n).or_default() {
            if now < claim.until && !claim.closing {
                claim.until = claim.until.max(now.after(claim.life));
            }
        }
    }

    /// The sources that are told of, and whether their doors were shut.
    fn retire(&mut self, knock: KnockId, now: Time) -> BTreeMap<u8, bool> {
        let mut told = BTreeMap::new();
        for n in 0..4 {
            let was_open = self.state(n, now) == DoorState::Open;
            let Some(claims) = self.claims.get_mut(&n) else { continue };
            if claims.iter().any(|claim| claim.knock == knock && claim.is_known(now)) {
                claims.retain(|claim| claim.knock != knock);
                told.insert(n, was_open && self.state(n, now) != DoorState::Open);
            }
        }
        told
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn claims_agree_with_a_plain_model(
        steps in prop::collection::vec((0u64..40, any_step()), 0..120),
        max_doors in 2usize..6,
        limits in prop::collection::vec(prop::option::of(0u32..4), 4),
    ) {
        let table = || DoorTable::new(max_doors, limits.clone());
        let mut model = Model { max: max_doors, per_knock: limits.clone(), claims: BTreeMap::new() };
        let (mut doors, mut now) = (table(), at(1000));
        for (pause, step) in steps {
            now = now.after(Duration::from_secs(pause));
            match step {
                Step::Knock(n, grants) => {
                    let expected = model.knock(n, now, &grants);
                    let mut refused = Vec::new();
                    let change = match doors.knock_and_pass(source(n), now, &grants, 100, &mut refused) {
                        DoorChange::Opened { .. } => "opened",
                        DoorChange::Renewed(_) => "renewed",
                        DoorChange::Refused(Limit::Table) => {
                            refused.clear();
                            "refused"
                        }
                        DoorChange::Refused(_) => "refused",
                    };
                    prop_assert_eq!((change, refused), expected, "{:?}", grants);
                }
                Step::Extend(n) => {
                    doors.extend(source(n), now);
                    model.extend(n, now);
                }
                Step::Revoke(n) => {
                    let state = model.state(n, now);
                    let claims = model.claims.remove(&n).unwrap_or_default();
                    let by_knock = claims.iter().filter(|claim| claim.knock != Door::by_hand() && claim.is_known(now));
                    let by_knock = by_knock.map(|claim| claim.life).max();
                    match doors.revoke(source(n), now) {
                        None => prop_assert_eq!(state, DoorState::None),
                        Some(revoked) => prop_assert_eq!(revoked.by_knock, by_knock),
                    }
                }
                Step::Sweep => {
                    doors.sweep(now);
                    prop_assert_eq!(doors.open_count(), model.open(now));
                    for knock in (0..4).map(KnockId::from).chain([Door::by_hand()]) {
                        prop_assert_eq!(doors.held_by(knock), model.held_by(knock, now), "{:?}", knock);
                    }
                }
                Step::Flush => {
                    doors.flush(|_, _| {});
                    model.claims.clear();
                }
                Step::Retire(knock) => {
                    let knock = KnockId::from(knock);
                    let mut told = BTreeMap::new();
                    doors.retire(|id| id == knock, now, |source, _, shut| _ = told.insert(source, shut));
                    // A door that had run out unnoticed is told of as shut, as it is for the first time.
                    for (n, shut) in model.retire(knock, now) {
                        let found = told.remove(&source(n));
                        prop_assert!(found == Some(shut) || found == Some(true) && !shut, "{} {:?}", n, found);
                    }
                    prop_assert!(told.is_empty(), "{:?}", told);
                }
                Step::Restart => {
                    let after = table();
                    for listed in doors.known(0, 1, now) {
                        let again = match now < listed.door.expires {
                            true => after.restore(&listed, now),
                            false => after.remember(&listed),
                        };
                        prop_assert!(again, "{:?}", listed);
                    }
                    doors = after;
                }
            }
            for n in 0..4 {
                prop_assert_eq!(doors.state(source(n), now), model.state(n, now), "{} at {:?}", n, now);
                let listed = doors.look(source(n), now);
                let mut ours: Vec<_> =
                    listed.iter().flat_map(Listed::claims).filter(|claim| now < claim.until).collect();
                let mut theirs: Vec<_> = model.live(n, now).copied().collect();
                let key = |claim: &Claim| (claim.knock, claim.registration.map(|id| (id.user, id.phone)));
                ours.sort_by_key(key);
                theirs.sort_by_key(key);
                prop_assert_eq!(&ours, &theirs, "{} at {:?}", n, now);
                if let Some(listed) = listed {
                    let longest = theirs.iter().map(|claim| claim.until).max();
                    prop_assert_eq!(Some(listed.door.expires), longest);
                    let holds = |claim: &Claim| claim.knock == listed.door.knock && Some(claim.until) == longest;
                    prop_assert!(theirs.iter().any(holds));
                }
            }
        }
    }
}
