use super::*;

#[test]
fn a_full_table_notices_a_door_that_runs_out_sooner_than_it_was_to() {
    let doors = DoorTable::new(1, [None]);
    opened(doors.knock(source(1), at(0), &[registers(0, 1, 1, 4000)]));
    doors.knock(source(1), at(10), &[leaves(0, 1, 1, ClaimEnd::One)]);
    assert_eq!(doors.knock(source(2), at(41), &[grant(0, 100)]), DoorChange::Refused(Limit::Table));
    opened(doors.knock(source(2), at(42), &[grant(0, 100)]));
}

#[test]
fn making_room_goes_on_until_there_is_the_place_that_is_wanted() {
    // Doors of another knock have run out, too, and are spread over the table.
    let doors = DoorTable::new(1000, [None, Some(1)]);
    (0..=200).for_each(|n| _ = opened(doors.knock(source(n), at(0), &[grant(0, 50)])));
    opened(doors.knock(source(201), at(0), &[grant(1, 60)]));
    assert!(matches!(doors.knock(source(202), at(59), &[grant(1, 60)]), DoorChange::Refused(_)));
    opened(doors.knock(source(202), at(60), &[grant(1, 60)]));
    assert_eq!((doors.open_count(), doors.held_by(KnockId::from(1))), (1, 1));
    assert_eq!(doors.sweep(at(60)).len(), 202);
}

#[test]
fn a_crowded_table_forgets_all_that_has_run_out() {
    let doors = DoorTable::new(1, [None]);
    // Each runs out when the next one knocks, and all are remembered still.
    let mut entries = Vec::new();
    for (n, (secs, life)) in (0..).zip([(0, 100), (100, 10), (110, 9), (119, 9), (128, 9)]) {
        opened(doors.knock(source(n), at(secs), &[grant(0, life)]));
        entries.push(doors.len());
    }
    assert_eq!(entries, [1, 2, 3, 1, 2]);
    assert_eq!(doors.sweep(at(128)).len(), 4, "and reports them");
}

#[test]
fn a_knock_that_was_not_known_when_it_opened_is_counted_all_the_same() {
    let doors = DoorTable::new(10, [None]);
    (1..=2).for_each(|n| _ = opened(doors.knock(source(n), at(0), &[grant(1, 100)])));
    doors.limit(10, [None, Some(2)]);
    let limit = Limit::Knock(KnockId::from(1));
    assert_eq!(doors.knock(source(3), at(1), &[grant(1, 100)]), DoorChange::Refused(limit));
    assert!(doors.close(source(1)).is_some());
    opened(doors.knock(source(3), at(1), &[grant(1, 100)]));
    (2..=3).for_each(|n| assert!(doors.close(source(n)).is_some()));
    assert_eq!((doors.open_count(), doors.held_by(KnockId::from(1))), (0, 0));
}

#[test]
fn a_door_of_a_retired_knock_may_run_out_sooner() {
    let doors = DoorTable::new(1, [None, None]);
    doors.knock(source(1), at(0), &[registers(0, 1, 1, 500)]);
    doors.knock(source(1), at(0), &[registers(1, 2, 1, 80)]);
    assert_eq!(doors.retire(|knock| knock == KnockId::FIRST, at(10), |_, _, _| {}).shut, 0);
    opened(doors.knock(source(2), at(80), &[grant(1, 100)]));
}
