//! Doors that go by registrations.

use super::*;

/// When a door shuts that was knocked on with these, each at its second.
fn shuts(grants: &[(u64, Grant)]) -> (Time, DoorTable) {
    let doors = DoorTable::new(10, [None, None, Some(1)]);
    let mut expires = Time::default();
    for &(now, grant) in grants {
        match doors.knock(source(1), at(now), &[grant]) {
            DoorChange::Opened { door, .. } | DoorChange::Renewed(door) => expires = door.expires,
            DoorChange::Refused(limit) => panic!("{limit:?}"),
        }
    }
    (expires, doors)
}

#[test]
fn the_end_of_a_registration_closes_for_nobody_else() {
    use ClaimEnd::{All, One};
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
    let (_, doors) = shuts(&[(0, registers(0, 1, 1, 4000)), (10, leaves(0, 1, 1, ClaimEnd::One))]);
    doors.extend(source(1), at(40));
    assert_eq!(doors.state(source(1), at(41)), DoorState::Open);
    assert_eq!(doors.state(source(1), at(42)), DoorState::Expired);
    doors.knock(source(1), at(41), &[registers(0, 1, 1, 100)]);
    doors.extend(source(1), at(100));
    assert_eq!(doors.state(source(1), at(199)), DoorState::Open);
}

#[test]
fn a_place_goes_to_who_still_holds_the_door() {
    let (_, doors) = shuts(&[
        (0, registers(2, 1, 1, 4000)),
        (1, registers(0, 2, 1, 500)),
        (2, leaves(2, 1, 1, ClaimEnd::One)),
    ]);
    opened(doors.knock(source(2), at(3), &[grant(2, 100)]));
    assert_eq!(doors.open_count(), 2);
}

#[test]
fn more_registrations_than_are_told_apart_hold_the_door_still() {
    let many = (0..300).map(|user| (user, registers(0, user, 1, 4000)));
    let ends = (0..MAX_CLAIMS as u64).map(|user| (400, leaves(0, user, 1, ClaimEnd::One)));
    assert_eq!(shuts(&many.chain(ends).collect::<Vec<_>>()).0, at(4299));
}
