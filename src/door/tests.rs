mod books;
mod look;
mod places;

use std::collections::HashMap;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::net::Prefixes;

fn at(secs: u64) -> Time {
    Time::from_parts(secs, 0)
}

fn source(n: u8) -> Source {
    Source::new(IpAddr::from([192, 0, 2, n]), Prefixes::default())
}

fn grant(knock: u32, secs: u64) -> Grant {
    Grant { knock: KnockId::from(knock), life: Duration::from_secs(secs), registration: None }
}

fn opened(change: Change) -> Door {
    match change {
        Change::Opened { door, .. } => door,
        other => panic!("{other:?}"),
    }
}

#[test]
fn opens_runs_out_is_remembered_and_forgotten() {
    for swept in [false, true] {
        let doors = DoorTable::new(10, [None]);
        opened(doors.knock(source(1), at(1000), &[grant(0, 100)]));
        for (secs, state) in [
            (1000, State::Open),
            (1099, State::Open),
            (1100, State::RunOut),
            (1199, State::RunOut),
            (1200, State::None),
            (9999, State::None),
        ] {
            if swept {
                doors.sweep(at(secs));
            }
            assert_eq!(doors.state(source(1), at(secs)), state, "at {secs}, swept: {swept}");
        }
        assert_eq!(doors.state(source(2), at(1000)), State::None);
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
            Change::Renewed(door) => {
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
    assert_eq!(doors.state(source(1), at(159)), State::Open);
    doors.extend(source(1), at(160));
    assert_eq!(doors.state(source(1), at(160)), State::RunOut);
}

#[test]
fn a_full_table_refuses_the_newcomer_and_evicts_nobody() {
    let doors = DoorTable::new(2, [None]);
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    opened(doors.knock(source(2), at(10), &[grant(0, 100)]));
    assert_eq!(doors.knock(source(3), at(20), &[grant(0, 100)]), Change::Refused(Limit::Table));
    assert!(matches!(doors.knock(source(1), at(30), &[grant(0, 100)]), Change::Renewed(_)));
    // At 110 the second has run out; no sweep is needed to notice.
    opened(doors.knock(source(3), at(110), &[grant(0, 100)]));
    assert_eq!(doors.state(source(1), at(110)), State::Open);
    assert_eq!(doors.state(source(2), at(110)), State::RunOut);
    assert_eq!(doors.knock(source(2), at(111), &[grant(0, 100)]), Change::Refused(Limit::Table));
    let reported: Vec<_> = doors.sweep(at(112)).into_iter().map(|(source, _)| source).collect();
    assert_eq!(reported, [source(2)], "what made room is reported by the next sweep");
}

#[test]
fn a_knock_has_its_own_limit() {
    let doors = DoorTable::new(10, [Some(1), None]);
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    assert_eq!(
        doors.knock(source(2), at(0), &[grant(0, 100)]),
        Change::Refused(Limit::Knock(KnockId::from(0)))
    );
    assert_eq!(doors.open_count(), 1, "a refusal holds no place");
    // Of two knocks the one that has room opens, though the other would open for longer.
    assert_eq!(opened(doors.knock(source(2), at(0), &[grant(0, 500), grant(1, 50)])).knock, KnockId::from(1));
    // The first source's door passes to the knock that keeps it open longer, which frees the place of the other.
    assert!(matches!(doors.knock(source(1), at(1), &[grant(1, 500)]), Change::Renewed(_)));
    opened(doors.knock(source(3), at(2), &[grant(0, 100)]));
    assert_eq!(doors.open_count(), 3);
}

#[test]
fn closing_is_at_once_and_frees_the_place() {
    let doors = DoorTable::new(1, [Some(1)]);
    let door = opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    assert_eq!(doors.close(source(1)), Some(door));
    assert_eq!(doors.state(source(1), at(1)), State::None);
    assert_eq!(doors.close(source(1)), None);
    opened(doors.knock(source(2), at(1), &[grant(0, 100)]));
}

#[test]
fn a_door_that_ran_out_unnoticed_is_handed_out_when_it_opens_again() {
    let doors = DoorTable::new(1, [Some(1)]);
    let first = opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    match doors.knock(source(1), at(150), &[grant(0, 100)]) {
        Change::Opened { ran_out, .. } => assert!(ran_out.is_none(), "making room had noticed it"),
        other => panic!("{other:?}"),
    }
    assert_eq!(doors.sweep(at(150)).len(), 1);

    let doors = DoorTable::new(2, [None]);
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    match doors.knock(source(1), at(150), &[grant(0, 100)]) {
        Change::Opened { ran_out, .. } => assert_eq!(ran_out, Some(first)),
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
    assert_eq!(doors.knock(source(3), at(99), &[grant(0, 100)]), Change::Refused(Limit::Table));
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

    fn state(&self, source: Source, now: Time) -> State {
        match self.0.get(&source) {
            Some(&(expires, _)) if now < expires => State::Open,
            Some(&(expires, life)) if now < expires.after(life) => State::RunOut,
            _ => State::None,
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
                        (State::Open, _) => {
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
                        Change::Opened { .. } => "opened",
                        Change::Renewed(_) => "renewed",
                        Change::Refused(_) => "refused",
                    };
                    prop_assert_eq!(change, expected);
                }
                Step::Extend(n) => {
                    doors.extend(source(n), now);
                    if model.state(source(n), now) == State::Open {
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
                prop_assert!(ours == theirs || (ours, theirs) == (State::None, State::RunOut), "{:?} {:?}", ours, theirs);
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
    assert_eq!(doors.state(source(1), at(u64::MAX / 2_000_000_000)), State::Open);
}

fn registers(knock: u32, user: u64, phone: u64, secs: u64) -> Grant {
    let registration = Some(Registration { user, phone, end: None });
    Grant { registration, ..grant(knock, secs) }
}

fn leaves(knock: u32, user: u64, phone: u64, end: End) -> Grant {
    let registration = Some(Registration { user, phone, end: Some(end) });
    Grant { registration, ..grant(knock, 32) }
}

/// When a door shuts that was knocked on with these, each at its second.
fn shuts(grants: &[(u64, Grant)]) -> (Time, DoorTable) {
    let doors = DoorTable::new(10, [None, None, Some(1)]);
    let mut expires = Time::default();
    for &(now, grant) in grants {
        match doors.knock(source(1), at(now), &[grant]) {
            Change::Opened { door, .. } | Change::Renewed(door) => expires = door.expires,
            Change::Refused(limit) => panic!("{limit:?}"),
        }
    }
    (expires, doors)
}

#[test]
fn the_end_of_a_registration_closes_for_nobody_else() {
    use End::{All, One};
    for (name, grants, expires) in [
        ("alone", vec![(0, registers(0, 1, 1, 4000)), (10, leaves(0, 1, 1, One))], 42),
        (
            "comes back",
            vec![(0, registers(0, 1, 1, 100)), (10, leaves(0, 1, 1, One)), (20, registers(0, 1, 1, 100))],
            120,
        ),
        (
            "twice",
            vec![(0, registers(0, 1, 1, 4000)), (10, leaves(0, 1, 1, One)), (20, leaves(0, 1, 1, One))],
            42,
        ),
        ("shortly before its end", vec![(0, registers(0, 1, 1, 100)), (90, leaves(0, 1, 1, One))], 100),
        ("from a shut door", vec![(10, leaves(0, 1, 1, One))], 42),
        (
            "another user's",
            vec![(0, registers(0, 1, 1, 4000)), (5, registers(0, 2, 1, 500)), (10, leaves(0, 1, 1, One))],
            505,
        ),
        (
            "another phone",
            vec![(0, registers(0, 1, 1, 4000)), (5, registers(0, 1, 2, 500)), (10, leaves(0, 1, 1, One))],
            505,
        ),
        (
            "another phone, all",
            vec![(0, registers(0, 1, 1, 4000)), (5, registers(0, 1, 2, 500)), (10, leaves(0, 1, 9, All))],
            42,
        ),
        (
            "another knock's",
            vec![(0, registers(0, 1, 1, 4000)), (5, registers(1, 1, 1, 500)), (10, leaves(0, 1, 1, All))],
            505,
        ),
        (
            "a knock without one, before",
            vec![(0, grant(1, 300)), (5, registers(0, 1, 1, 4000)), (10, leaves(0, 1, 1, One))],
            300,
        ),
        (
            "a knock without one, after",
            vec![(0, registers(0, 1, 1, 4000)), (5, grant(1, 300)), (10, leaves(0, 1, 1, One))],
            305,
        ),
        (
            "the other one's has run out",
            vec![(0, registers(0, 1, 1, 4000)), (5, registers(0, 2, 1, 60)), (100, leaves(0, 1, 1, One))],
            132,
        ),
        ("shorter than before", vec![(0, registers(0, 1, 1, 4000)), (5, registers(0, 1, 1, 60))], 4000),
        ("not its knock", vec![(0, registers(0, 1, 1, 4000)), (5, leaves(1, 1, 1, One))], 4000),
    ] {
        assert_eq!(shuts(&grants).0, at(expires), "{name}");
    }
}

#[test]
fn packets_do_not_hold_a_door_that_is_closing() {
    let (_, doors) = shuts(&[(0, registers(0, 1, 1, 4000)), (10, leaves(0, 1, 1, End::One))]);
    doors.extend(source(1), at(40));
    assert_eq!(doors.state(source(1), at(41)), State::Open);
    assert_eq!(doors.state(source(1), at(42)), State::RunOut);
    doors.knock(source(1), at(41), &[registers(0, 1, 1, 100)]);
    doors.extend(source(1), at(100));
    assert_eq!(doors.state(source(1), at(199)), State::Open);
}

#[test]
fn a_place_goes_to_who_still_holds_the_door() {
    let (_, doors) =
        shuts(&[(0, registers(2, 1, 1, 4000)), (1, registers(0, 2, 1, 500)), (2, leaves(2, 1, 1, End::One))]);
    opened(doors.knock(source(2), at(3), &[grant(2, 100)]));
    assert_eq!(doors.open_count(), 2);
}

#[test]
fn more_registrations_than_are_told_apart_hold_the_door_still() {
    let many = (0..200).map(|user| (user, registers(0, user, 1, 4000)));
    let ends = (0..MAX_REGISTRATIONS as u64).map(|user| (300, leaves(0, user, 1, End::One)));
    assert_eq!(shuts(&many.chain(ends).collect::<Vec<_>>()).0, at(4199));
}

#[test]
fn the_top_of_many_is_that_of_all() {
    let doors = DoorTable::new(100_000, [None, None]);
    for n in 0..5000u32 {
        // Neither in the order of the addresses nor of the time.
        let address = IpAddr::from(n.wrapping_mul(2_654_435_761).to_be_bytes());
        let now = at(u64::from(n * 7919 % 5000));
        opened(doors.knock(Source::new(address, Prefixes::default()), now, &[grant(n % 2, 10_000)]));
    }
    for (many, wanted) in [(0, 2500), (1, 2500), (10, 2500), (2500, 2500), (9999, 2500)] {
        let odd = |_, knock: KnockId| knock.index() == 1;
        let (count, top) = doors.top(many, at(6000), odd, |door| door.last_knock.as_nanos());
        let mut all = doors.listed(0, 1, at(6000));
        all.retain(|listed| listed.door.knock.index() == 1);
        all.sort_by_key(|listed| (std::cmp::Reverse(listed.last_knock), listed.source));
        all.truncate(many);
        assert_eq!((count, top), (wanted, all), "the first {many}");
    }
    let (count, top) = doors.top(10, at(20_000), |_, _| true, |_| 0);
    assert_eq!((count, top.len()), (0, 0), "what has run out is not open");
}

#[test]
fn what_passes_is_counted_and_listed() {
    let doors = DoorTable::new(100_000, [None]);
    opened(doors.knock(source(1), at(1000), &[grant(0, 100)]));
    for (secs, state) in
        [(1001, State::Open), (1099, State::Open), (1100, State::RunOut), (1200, State::None)]
    {
        assert_eq!(doors.pass(doors.key(source(1)), at(secs), 700), state, "at {secs}");
    }
    assert_eq!(doors.pass(doors.key(source(2)), at(1000), 700), State::None);
    opened(doors.knock(source(3), at(1000), &[Grant { knock: Door::by_hand(), ..grant(0, 50) }]));
    doors.knock(source(1), at(1010), &[grant(0, 20)]);
    let mut listed = doors.listed(0, 1, at(1020));
    listed.sort_by_key(|listed| listed.source);
    let shown: Vec<_> = listed
        .iter()
        .map(|listed| (listed.source, listed.door.knock, listed.last_knock, listed.packets, listed.bytes))
        .collect();
    assert_eq!(
        shown,
        [(source(1), KnockId::FIRST, at(1010), 2, 1400), (source(3), Door::by_hand(), at(1000), 0, 0),]
    );
    assert_eq!(doors.listed(0, 1, at(1060)).len(), 1, "what has run out is not open");
    assert_eq!(doors.held_by(KnockId::FIRST), 1);
}

#[test]
fn parts_make_the_whole() {
    let doors = DoorTable::new(1000, [None]);
    (0..=255).for_each(|n| _ = doors.knock(source(n), at(0), &[grant(0, 100)]));
    assert_eq!([1000, 256, 255, 100, 0].map(|most| doors.parts(most)), [1, 1, 2, 3, 256]);
    assert_eq!(DoorTable::new(10, [None]).parts(100), 1);
    let mut seen: Vec<_> =
        (0..7).flat_map(|part| doors.listed(part, 7, at(1))).map(|listed| listed.source).collect();
    seen.sort();
    assert_eq!(seen, (0..=255).map(source).collect::<Vec<_>>());
}

#[test]
fn flushing_gives_all_places_back() {
    let doors = DoorTable::new(3, [Some(2), None]);
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    opened(doors.knock(source(2), at(0), &[grant(0, 10)]));
    opened(doors.knock(source(3), at(0), &[Grant { knock: Door::by_hand(), ..grant(0, 50) }]));
    doors.sweep(at(20));
    let mut seen = Vec::new();
    assert_eq!(doors.flush(|source, _| seen.push(source)), 2);
    seen.sort();
    assert_eq!(seen, [source(1), source(3)]);
    assert_eq!((doors.open_count(), doors.len(), doors.held_by(KnockId::FIRST)), (0, 0, 0));
    (1..=2).for_each(|n| _ = opened(doors.knock(source(n), at(20), &[grant(0, 100)])));
}

#[test]
fn limits_change_under_open_doors() {
    let doors = DoorTable::new(2, [Some(1)]);
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    opened(doors.knock(source(2), at(0), &[grant(1, 100)]));
    doors.limit(3, [Some(2), None]);
    opened(doors.knock(source(3), at(1), &[grant(0, 100)]));
    // One that was not known when it opened a door is not counted for it.
    doors.limit(1, [Some(1), Some(1)]);
    assert_eq!(doors.open_count(), 3, "nobody loses a door");
    assert_eq!(doors.knock(source(4), at(2), &[grant(0, 100)]), Change::Refused(Limit::Table));
    assert!(matches!(doors.knock(source(1), at(2), &[grant(0, 100)]), Change::Renewed(_)));
}

#[test]
fn retiring_a_knock_closes_its_doors_and_leaves_others_theirs() {
    let doors = DoorTable::new(10, [None, Some(5), None]);
    doors.knock(source(1), at(0), &[grant(0, 100)]);
    doors.knock(source(2), at(0), &[grant(1, 100)]);
    // Two registrations hold this one, by different knocks; the one that goes holds it for longer.
    doors.knock(source(3), at(0), &[registers(0, 1, 1, 500)]);
    doors.knock(source(3), at(0), &[registers(1, 2, 1, 80)]);
    // And this one ran out before.
    doors.knock(source(4), at(0), &[grant(0, 5)]);
    doors.sweep(at(6));
    doors.knock(source(5), at(0), &[Grant { knock: Door::by_hand(), ..grant(0, 50) }]);
    let mut closed = Vec::new();
    let gone = |knock: KnockId| knock == KnockId::FIRST;
    assert_eq!(
        doors.retire(gone, at(10), |source, _, shut| if shut {
            closed.push(source)
        }),
        1
    );
    assert_eq!(closed, [source(1)]);
    let state = |n, secs| doors.state(source(n), at(secs));
    assert_eq!(
        [1, 2, 3, 4, 5].map(|n| state(n, 10)),
        [State::None, State::Open, State::Open, State::None, State::Open]
    );
    assert_eq!(
        (state(3, 79), state(3, 80)),
        (State::Open, State::RunOut),
        "for as long as the other one holds it"
    );
    assert_eq!(
        (doors.open_count(), doors.held_by(KnockId::FIRST), doors.held_by(KnockId::from(1))),
        (3, 0, 2)
    );
}

#[test]
fn a_door_of_before_a_restart() {
    let before = DoorTable::new(10, [None]);
    doors_of_before(&before);
    let listed = before.listed(0, 1, at(20));
    let after = DoorTable::new(2, [Some(1)]);
    assert!(after.restore(&listed[0]));
    assert!(!after.restore(&listed[0]), "it is there already");
    assert_eq!(after.listed(0, 1, at(20)), listed);
    let other = |n, knock| Listed { source: source(n), door: Door { knock, ..listed[0].door }, ..listed[0] };
    assert!(!after.restore(&other(2, KnockId::FIRST)), "the knock has no more room");
    assert!(after.restore(&other(3, Door::by_hand())));
    assert!(!after.restore(&other(4, Door::by_hand())), "the table has no more room");
    assert_eq!((after.open_count(), after.held_by(KnockId::FIRST)), (2, 1));
    // It runs out as it would have.
    assert_eq!(after.sweep(at(100)).len(), 2);
    opened(after.knock(source(1), at(101), &[grant(0, 100)]));
}

fn doors_of_before(doors: &DoorTable) {
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    doors.pass(doors.key(source(1)), at(10), 500);
}

#[test]
fn changes_are_noticed_once() {
    let doors = DoorTable::new(10, [Some(1)]);
    assert!(!doors.take_changed());
    let done: [(&str, &dyn Fn()); 6] = [
        ("opened", &|| _ = doors.knock(source(1), at(0), &[grant(0, 100)])),
        ("renewed", &|| _ = doors.knock(source(1), at(5), &[grant(0, 100)])),
        ("extended", &|| doors.extend(source(1), at(10))),
        ("closed", &|| _ = doors.close(source(1))),
        ("flushed", &|| _ = doors.flush(|_, _| {})),
        ("told so", &|| doors.set_changed()),
    ];
    for (what, change) in done {
        change();
        assert!(doors.take_changed(), "{what}");
        assert!(!doors.take_changed(), "{what}");
    }
    doors.knock(source(1), at(20), &[grant(0, 100)]);
    doors.take_changed();
    doors.knock(source(2), at(20), &[grant(0, 100)]);
    doors.close(source(3));
    doors.pass(doors.key(source(1)), at(21), 100);
    assert!(!doors.take_changed(), "refused, not there, and not kept");
}
