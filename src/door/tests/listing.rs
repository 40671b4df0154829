//! Looking at doors, and shutting them.

use super::*;

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
        let odd = |_, mut knocks: &mut dyn Iterator<Item = KnockId>| {
            Iterator::any(&mut knocks, |knock| knock.index() == 1)
        };
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
    for (secs, state) in [
        (1001, DoorState::Open),
        (1099, DoorState::Open),
        (1100, DoorState::Expired),
        (1200, DoorState::None),
    ] {
        assert_eq!(doors.pass(doors.key(source(1)), at(secs), 700), state, "at {secs}");
    }
    assert_eq!(doors.pass(doors.key(source(2)), at(1000), 700), DoorState::None);
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
    assert_eq!(doors.knock(source(4), at(2), &[grant(0, 100)]), DoorChange::Refused(Limit::Table));
    assert!(matches!(doors.knock(source(1), at(2), &[grant(0, 100)]), DoorChange::Renewed(_)));
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
    let retired = doors.retire(gone, at(10), |source, _, shut| {
        if shut {
            closed.push(source)
        }
    });
    assert_eq!(retired, RetiredClaims { shut: 1, kept: 1 });
    assert_eq!(closed, [source(1)]);
    let state = |n, secs| doors.state(source(n), at(secs));
    assert_eq!(
        [1, 2, 3, 4, 5].map(|n| state(n, 10)),
        [DoorState::None, DoorState::Open, DoorState::Open, DoorState::None, DoorState::Open]
    );
    assert_eq!(
        (state(3, 79), state(3, 80)),
        (DoorState::Open, DoorState::Expired),
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
    assert!(after.restore(&listed[0], at(20)));
    assert!(!after.restore(&listed[0], at(20)), "it is there already");
    assert_eq!(after.listed(0, 1, at(20)), listed);
    let other = |n, knock| {
        let door = Door { knock, ..listed[0].door };
        Listed { source: source(n), door, ..listed[0].clone() }
    };
    assert!(!after.restore(&other(2, KnockId::FIRST), at(20)), "the knock has no more room");
    assert!(after.restore(&other(3, Door::by_hand()), at(20)));
    assert!(!after.restore(&other(4, Door::by_hand()), at(20)), "the table has no more room");
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
