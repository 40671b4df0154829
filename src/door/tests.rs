mod books;
mod claims;
mod limits;
mod listing;
mod lookup;
mod model;
mod registrations;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::packed::LAST_KNOCK;
use super::*;
use crate::knock::KnockId;
use crate::net::{Prefixes, Source};
use crate::time::Time;

fn at(secs: u64) -> Time {
    Time::from_parts(secs, 0)
}

fn source(n: u8) -> Source {
    Source::new(IpAddr::from([192, 0, 2, n]), Prefixes::default())
}

fn grant(knock: u32, secs: u64) -> Grant {
    Grant { knock: KnockId::from(knock), life: Duration::from_secs(secs), registration: None }
}

fn opened(change: DoorChange) -> Door {
    match change {
        DoorChange::Opened { door, .. } => door,
        other => panic!("{other:?}"),
    }
}

#[test]
fn opens_runs_out_is_remembered_and_forgotten() {
    for swept in [false, true] {
        let doors = DoorTable::new(10, [None]);
        opened(doors.knock(source(1), at(1000), &[grant(0, 100)]));
        for (secs, state) in [
            (1000, DoorState::Open),
            (1099, DoorState::Open),
            (1100, DoorState::Expired),
            (1199, DoorState::Expired),
            (1200, DoorState::None),
            (9999, DoorState::None),
        ] {
            if swept {
                doors.sweep(at(secs));
            }
            assert_eq!(doors.state(source(1), at(secs)), state, "at {secs}, swept: {swept}");
        }
        assert_eq!(doors.state(source(2), at(1000)), DoorState::None);
    }
}

#[test]
fn a_knock_renews_while_open_and_never_shortens() {
    let doors = DoorTable::new(10, [None, None]);
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    for (now, grant, expires, life) in [
        (50, grant(0, 100), 150, 100),
        (60, grant(1, 10), 150, 100),
        (70, grant(1, 500), 570, 500),
        (80, grant(0, 100), 570, 500),
    ] {
        match doors.knock(source(1), at(now), &[grant]) {
            DoorChange::Renewed(door) => {
                assert_eq!((door.expires, door.life()), (at(expires), Duration::from_secs(life)), "at {now}");
                assert_eq!(door.opened, at(0));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(doors.open_count(), 1);
}

#[test]
fn packets_extend_an_open_door_only() {
    let doors = DoorTable::new(10, [None]);
    doors.extend(source(1), at(0));
    assert!(doors.is_empty());
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    doors.extend(source(1), at(60));
    assert_eq!(doors.state(source(1), at(159)), DoorState::Open);
    doors.extend(source(1), at(160));
    assert_eq!(doors.state(source(1), at(160)), DoorState::Expired);
}

#[test]
fn a_full_table_refuses_the_newcomer_and_evicts_nobody() {
    let doors = DoorTable::new(2, [None]);
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    opened(doors.knock(source(2), at(10), &[grant(0, 100)]));
    assert_eq!(doors.knock(source(3), at(20), &[grant(0, 100)]), DoorChange::Refused(Limit::Table));
    assert!(matches!(doors.knock(source(1), at(30), &[grant(0, 100)]), DoorChange::Renewed(_)));
    // At 110 the second has run out; no sweep is needed to notice.
    opened(doors.knock(source(3), at(110), &[grant(0, 100)]));
    assert_eq!(doors.state(source(1), at(110)), DoorState::Open);
    assert_eq!(doors.state(source(2), at(110)), DoorState::Expired);
    assert_eq!(doors.knock(source(2), at(111), &[grant(0, 100)]), DoorChange::Refused(Limit::Table));
    let reported: Vec<_> = doors.sweep(at(112)).into_iter().map(|(source, _)| source).collect();
    assert_eq!(reported, [source(2)], "what made room is reported by the next sweep");
}

#[test]
fn a_knock_has_its_own_limit() {
    let doors = DoorTable::new(10, [Some(1), None]);
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    assert_eq!(
        doors.knock(source(2), at(0), &[grant(0, 100)]),
        DoorChange::Refused(Limit::Knock(KnockId::from(0)))
    );
    assert_eq!(doors.open_count(), 1, "a refusal holds no place");
    // Of two knocks the one that has room opens, though the other would open for longer.
    assert_eq!(opened(doors.knock(source(2), at(0), &[grant(0, 500), grant(1, 50)])).knock, KnockId::from(1));
    // Another knock keeps the first source's door open for longer. The place is free once the first one's claim has run out.
    assert!(matches!(doors.knock(source(1), at(1), &[grant(1, 500)]), DoorChange::Renewed(_)));
    assert_eq!(
        doors.knock(source(3), at(99), &[grant(0, 100)]),
        DoorChange::Refused(Limit::Knock(KnockId::from(0)))
    );
    opened(doors.knock(source(3), at(100), &[grant(0, 100)]));
    assert_eq!((doors.open_count(), doors.held_by(KnockId::from(0))), (2, 1));
    assert_eq!(doors.state(source(1), at(100)), DoorState::Open);
}

#[test]
fn closing_is_at_once_and_frees_the_place() {
    let doors = DoorTable::new(1, [Some(1)]);
    let door = opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    assert_eq!(doors.close(source(1)), Some(door));
    assert_eq!(doors.state(source(1), at(1)), DoorState::None);
    assert_eq!(doors.close(source(1)), None);
    opened(doors.knock(source(2), at(1), &[grant(0, 100)]));
}

#[test]
fn a_door_that_ran_out_unnoticed_is_handed_out_when_it_opens_again() {
    let doors = DoorTable::new(1, [Some(1)]);
    let first = opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    match doors.knock(source(1), at(150), &[grant(0, 100)]) {
        DoorChange::Opened { ran_out, .. } => assert!(ran_out.is_none(), "making room had noticed it"),
        other => panic!("{other:?}"),
    }
    assert_eq!(doors.sweep(at(150)).len(), 1);

    let doors = DoorTable::new(2, [None]);
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    match doors.knock(source(1), at(150), &[grant(0, 100)]) {
        DoorChange::Opened { ran_out, .. } => assert_eq!(ran_out, Some(first)),
        other => panic!("{other:?}"),
    }
    assert_eq!((doors.open_count(), doors.sweep(at(150)).len()), (1, 0));
}

#[test]
fn a_sweep_with_a_clock_that_is_ahead_loses_no_count() {
    let doors = DoorTable::new(2, [Some(2), Some(2)]);
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    assert_eq!(doors.sweep(at(100)).len(), 1);
    // A queue whose batch began earlier still takes the door for open, and knocks.
    opened(doors.knock(source(1), at(99), &[grant(1, 100)]));
    opened(doors.knock(source(2), at(99), &[grant(1, 100)]));
    assert_eq!(doors.open_count(), 2);
    assert_eq!(doors.knock(source(3), at(99), &[grant(0, 100)]), DoorChange::Refused(Limit::Table));
    assert_eq!(doors.sweep(at(1000)).len(), 2);
    assert_eq!(doors.open_count(), 0);
}

#[test]
fn remembered_doors_are_bounded() {
    let doors = DoorTable::new(4, [None]);
    for n in 0..=255u8 {
        opened(doors.knock(source(n), at(u64::from(n) * 30), &[grant(0, 100)]));
        assert!(doors.len() <= 12, "{} entries", doors.len());
    }
    // Long lives pile up memories: each door here runs out at once and would be remembered for 100 s.
    let doors = DoorTable::new(4, [None]);
    for n in 0..=255u8 {
        let now = Time::from_parts(1000 + u64::from(n) * 101 / 4, 0);
        doors.knock(source(n), now, &[grant(0, 100)]);
        assert!(doors.len() <= 12, "{} entries", doors.len());
    }
}

#[test]
fn many_threads_never_exceed_the_limits() {
    let doors = DoorTable::new(50, [Some(20), None]);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let doors = &doors;
            scope.spawn(move || {
                for step in 0..5000u64 {
                    let n = (step * 7 + thread * 13) % 200;
                    let knock = u32::try_from(n % 2).unwrap();
                    doors.knock(source(u8::try_from(n).unwrap()), at(step / 10), &[grant(knock, 30)]);
                    assert!(doors.open_count() <= 50);
                }
            });
        }
    });
    doors.sweep(at(10_000));
    assert_eq!(doors.open_count(), 0);
    assert!((0..2).all(|knock| doors.held_by(KnockId::from(knock)) == 0));
    assert!(doors.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Knock(u8, u64),
    Extend(u8),
    Close(u8),
    Sweep,
}

/// The same table, as one would write it without caring for speed or memory.
#[derive(Default)]
struct Model(HashMap<Source, (Time, Duration)>);

impl Model {
    fn open(&self, now: Time) -> usize {
        self.0.values().filter(|(expires, _)| now < *expires).count()
    }

    fn state(&self, source: Source, now: Time) -> DoorState {
        match self.0.get(&source) {
            Some(&(expires, _)) if now < expires => DoorState::Open,
            Some(&(expires, life)) if now < expires.after(life) => DoorState::Expired,
            _ => DoorState::None,
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_a_simple_model(
        steps in prop::collection::vec((0u64..40, prop_oneof![
            8 => (0u8..6, 1u64..120).prop_map(|(n, life)| Step::Knock(n, life)),
            2 => (0u8..6).prop_map(Step::Extend),
            1 => (0u8..6).prop_map(Step::Close),
            1 => Just(Step::Sweep),
        ]), 0..200),
        max_doors in 1usize..7,
    ) {
        let (doors, mut model) = (DoorTable::new(max_doors, [None]), Model::default());
        let mut now = at(0);
        for (pause, step) in steps {
            now = now.after(Duration::from_secs(pause));
            match step {
                Step::Knock(n, life) => {
                    let (source, life) = (source(n), Duration::from_secs(life));
                    let expires = now.after(life);
                    let expected = match (model.state(source, now), model.open(now) < max_doors) {
                        (DoorState::Open, _) => {
                            let door = model.0.get_mut(&source).unwrap();
                            if expires > door.0 {
                                *door = (expires, life);
                            }
                            "renewed"
                        }
                        (_, true) => {
                            model.0.insert(source, (expires, life));
                            "opened"
                        }
                        (_, false) => "refused",
                    };
                    let grant = Grant { knock: KnockId::from(0), life, registration: None };
                    let change = match doors.knock(source, now, &[grant]) {
                        DoorChange::Opened { .. } => "opened",
                        DoorChange::Renewed(_) => "renewed",
                        DoorChange::Refused(_) => "refused",
                    };
                    prop_assert_eq!(change, expected);
                }
                Step::Extend(n) => {
                    doors.extend(source(n), now);
                    if model.state(source(n), now) == DoorState::Open {
                        let door = model.0.get_mut(&source(n)).unwrap();
                        door.0 = door.0.max(now.after(door.1));
                    }
                }
                Step::Close(n) => {
                    doors.close(source(n));
                    model.0.remove(&source(n));
                }
                Step::Sweep => {
                    doors.sweep(now);
                    prop_assert_eq!(doors.open_count(), model.open(now));
                }
            }
            prop_assert!(doors.open_count() <= max_doors && doors.len() <= 3 * max_doors);
            for n in 0..6 {
                // Under pressure a door that ran out may be forgotten early; an open one never is.
                let (ours, theirs) = (doors.state(source(n), now), model.state(source(n), now));
                prop_assert!(ours == theirs || (ours, theirs) == (DoorState::None, DoorState::Expired), "{:?} {:?}", ours, theirs);
                if max_doors >= 6 {
                    prop_assert_eq!(ours, theirs);
                }
            }
        }
    }
}

#[test]
fn a_life_longer_than_time_itself() {
    let doors = DoorTable::new(1, [None]);
    opened(doors.knock(source(1), at(5), &[Grant { life: Duration::MAX, ..grant(0, 0) }]));
    assert_eq!(doors.state(source(1), at(u64::MAX / 2_000_000_000)), DoorState::Open);
}

fn registers(knock: u32, user: u64, phone: u64, secs: u64) -> Grant {
    let registration = Some(ClaimRegistration { user, phone, end: None });
    Grant { registration, ..grant(knock, secs) }
}

fn leaves(knock: u32, user: u64, phone: u64, end: ClaimEnd) -> Grant {
    let registration = Some(ClaimRegistration { user, phone, end: Some(end) });
    Grant { registration, ..grant(knock, 32) }
}
