//! What is counted is what there is, whatever happens to a table and in whatever order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Knock(u8, Vec<Grant>),
    Extend(u8),
    Close(u8),
    Sweep,
    Flush,
    Retire(u32),
    Limit(usize, Vec<Option<u32>>),
    Restore(u8, u32, u64),
    Remember(u8, u32, u64),
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
    let limits = || prop::collection::vec(prop::option::of(0u32..4), 0..5);
    prop_oneof![
        20 => (0u8..12, prop::collection::vec(any_grant(), 1..4)).prop_map(|(n, grants)| Step::Knock(n, grants)),
        3 => (0u8..12).prop_map(Step::Extend),
        3 => (0u8..12).prop_map(Step::Close),
        3 => Just(Step::Sweep),
        1 => Just(Step::Flush),
        2 => (0u32..4).prop_map(Step::Retire),
        2 => (1usize..9, limits()).prop_map(|(max, limits)| Step::Limit(max, limits)),
        2 => (0u8..12, 0u32..4, 1u64..120).prop_map(|(n, knock, life)| Step::Restore(n, knock, life)),
        2 => (0u8..12, 0u32..4, 1u64..120).prop_map(|(n, knock, life)| Step::Remember(n, knock, life)),
    ]
}

/// All entries: before the beginning of time none has run out.
fn entries(doors: &DoorTable) -> Vec<Listed> {
    doors.known(0, 1, Time::default())
}

/// Whether a knock holds one of its places for a door, which it may do by a claim that has run out unnoticed.
fn holds_place(doors: &DoorTable, listed: &Listed, knock: KnockId) -> bool {
    let entry = doors.doors.get(&listed.source).unwrap();
    match entry.list() {
        Some(claims) => claims.iter().any(|claim| claim.knock.id() == knock && claim.knock.holds_place()),
        None => listed.door.knock == knock,
    }
}

/// Holds what is counted against the entries, and those against what was told.
fn agree(doors: &DoorTable, untold: &BTreeMap<Source, u32>) {
    let all = entries(doors);
    let held: Vec<_> = all.iter().filter(|listed| listed.door.holds_place).collect();
    assert_eq!((doors.len(), doors.open_count()), (all.len(), held.len()));
    for knock in (0..4).map(KnockId::from).chain([Door::by_hand()]) {
        let by_knock = held.iter().filter(|listed| holds_place(doors, listed, knock)).count();
        assert_eq!(doors.held_by(knock) as usize, by_knock, "of {knock:?}");
    }
    for source in (0..12).map(source) {
        let is_held = held.iter().any(|listed| listed.source == source);
        assert_eq!(untold.get(&source).copied().unwrap_or(0), u32::from(is_held), "{source:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn places_are_those_of_doors_and_each_end_is_told_once(
        steps in prop::collection::vec((-2i64..40, any_step()), 0..120),
        max_doors in 1usize..9,
        limits in prop::collection::vec(prop::option::of(0u32..4), 0..5),
    ) {
        let doors = DoorTable::new(max_doors, limits);
        let mut now = at(1000);
        // Doors by their source that were opened and whose end was not told.
        let mut untold = BTreeMap::<Source, u32>::new();
        let told = |untold: &mut BTreeMap<Source, u32>, source| {
            let left = untold.get_mut(&source).filter(|count| **count > 0);
            *left.unwrap_or_else(|| panic!("{source:?} ends twice")) -= 1;
        };
        for (pause, step) in steps {
            now = match u64::try_from(pause) {
                Ok(secs) => now.after(Duration::from_secs(secs)),
                // Another queue's clock.
                Err(_) => now.before(Duration::from_secs(pause.unsigned_abs())),
            };
            let listed = |n: u8, knock: u32, expires, life| {
                let door = Door::again(KnockId::from(knock), at(1), expires, Duration::from_secs(life), false);
                let claims = Box::default();
                Listed { source: source(n), door, claims, last_knock: at(1), packets: 0, bytes: 0 }
            };
            match step {
                Step::Knock(n, grants) => match doors.knock(source(n), now, &grants) {
                    DoorChange::Opened { ran_out, door } => {
                        if ran_out.is_some() {
                            told(&mut untold, source(n));
                        }
                        prop_assert!(doors.open_count() <= doors.max_doors());
                        prop_assert!(now < door.expires);
                        *untold.entry(source(n)).or_default() += 1;
                    }
                    DoorChange::Renewed(door) => prop_assert!(now < door.expires),
                    DoorChange::Refused(limit) => {
                        let full = |listed: &&Listed| match limit {
                            Limit::Table => true,
                            Limit::Knock(knock) => holds_place(&doors, listed, knock),
                            Limit::Claims => false,
                        };
                        let all = entries(&doors);
                        for listed in all.iter().filter(full).filter(|listed| listed.door.holds_place) {
                            prop_assert!(now < listed.door.expires, "{:?} has the place", listed);
                        }
                        if limit == Limit::Table {
                            prop_assert!(doors.open_count() >= doors.max_doors());
                        }
                    }
                },
                Step::Extend(n) => doors.extend(source(n), now),
                Step::Close(n) => {
                    if doors.close(source(n)).is_some() {
                        told(&mut untold, source(n));
                    }
                }
                Step::Sweep => doors.sweep(now).into_iter().for_each(|(source, _)| told(&mut untold, source)),
                Step::Flush => _ = doors.flush(|source, _| told(&mut untold, source)),
                Step::Retire(knock) => {
                    doors.retire(|id| id == KnockId::from(knock), now, |source, _, shut| if shut { told(&mut untold, source) });
                }
                Step::Limit(max, limits) => doors.limit(max, limits),
                Step::Restore(n, knock, life) => {
                    if doors.restore(&listed(n, knock, now.after(Duration::from_secs(life)), life), now) {
                        *untold.entry(source(n)).or_default() += 1;
                    }
                }
                Step::Remember(n, knock, life) => {
                    doors.remember(&listed(n, knock, now.before(Duration::from_secs(life / 2)), life));
                }
            }
            let swept = std::mem::take(&mut *doors.unreported.lock().unwrap());
            swept.into_iter().for_each(|(source, _)| told(&mut untold, source));
            agree(&doors, &untold);
        }
    }
}
