//! Several knocks that hold one door.

use super::*;

fn gone(knock: u32) -> impl Fn(KnockId) -> bool {
    move |id| id == KnockId::from(knock)
}

/// The knocks that hold a door and until when, in seconds.
fn held(doors: &DoorTable, n: u8, secs: u64) -> Vec<(usize, u64)> {
    let held = doors.look(source(n), at(secs)).map(|listed| listed.held_by(at(secs))).unwrap_or_default();
    let seconds = |until: Time| until.as_nanos() / 1_000_000_000;
    held.iter().map(|held| (held.knock.index(), seconds(held.until))).collect()
}

#[test]
fn taking_out_one_of_two_knocks_leaves_the_other_in() {
    let doors = DoorTable::new(10, [None, None]);
    opened(doors.knock(source(1), at(0), &[grant(0, 4000)]));
    assert!(matches!(doors.knock(source(1), at(5), &[grant(1, 300)]), DoorChange::Renewed(_)));
    assert_eq!(held(&doors, 1, 5), [(0, 4000), (1, 305)]);
    let mut seen = Vec::new();
    let retired = doors.retire(gone(0), at(10), |source, door, shut| seen.push((source, door.knock, shut)));
    assert_eq!(retired, RetiredClaims { shut: 0, kept: 1 });
    assert_eq!(seen, [(source(1), KnockId::FIRST, false)], "its source is to be marked all the same");
    assert_eq!(held(&doors, 1, 10), [(1, 305)]);
    assert_eq!(doors.state(source(1), at(304)), DoorState::Open);
    assert_eq!(doors.state(source(1), at(305)), DoorState::Expired);
}

#[test]
fn forty_colleagues_behind_one_address() {
    let doors = DoorTable::new(10, [None; 40]);
    for knock in 0..40 {
        doors.knock(source(1), at(knock.into()), &[grant(knock, 4000)]);
    }
    assert_eq!(held(&doors, 1, 40).len(), 40);
    let knocks =
        |doors: &DoorTable| (0..40).filter(|knock| doors.held_by(KnockId::from(*knock)) == 1).count();
    assert_eq!((doors.open_count(), knocks(&doors)), (1, 40));
    // One leaves the company: the others don't notice. Then one after the other.
    for (left, knock) in (0..40u32).rev().zip([17].into_iter().chain((0..40).filter(|knock| *knock != 17))) {
        let retired = doors.retire(gone(knock), at(100), |_, _, _| {});
        assert_eq!(retired.shut, u64::from(left == 0), "{knock}");
        let open = doors.state(source(1), at(101)) == DoorState::Open;
        assert_eq!((open, knocks(&doors)), (left > 0, left as usize), "{knock}");
    }
    assert_eq!((doors.open_count(), doors.len()), (0, 0));
}

#[test]
fn a_door_counts_against_the_max_doors_of_each_knock_that_holds_it() {
    let doors = DoorTable::new(10, [None, Some(1)]);
    opened(doors.knock(source(1), at(0), &[grant(1, 100)]));
    opened(doors.knock(source(2), at(0), &[grant(0, 100)]));
    let full = DoorChange::Refused(Limit::Knock(KnockId::from(1)));
    assert_eq!(doors.knock(source(2), at(1), &[grant(1, 500)]), full);
    assert_eq!(held(&doors, 2, 1), [(0, 100)], "it gets no claim");
    // With another knock in the packet it is refused alone.
    let mut refused = Vec::new();
    let change = doors.knock_and_pass(source(2), at(2), &[grant(0, 100), grant(1, 500)], 0, &mut refused);
    assert!(matches!(change, DoorChange::Renewed(door) if door.expires == at(102)), "{change:?}");
    assert_eq!(refused, [KnockId::from(1)]);
    let mut refused = Vec::new();
    let change = doors.knock_and_pass(source(3), at(2), &[grant(0, 100), grant(1, 500)], 0, &mut refused);
    assert_eq!((opened(change).knock, refused), (KnockId::FIRST, vec![KnockId::from(1)]));
    // A door that it holds as the second counts no less, and is given back though the door stays open.
    doors.knock(source(1), at(3), &[grant(0, 100)]);
    assert_eq!((doors.held_by(KnockId::from(1)), doors.held_by(KnockId::FIRST)), (1, 3));
    assert!(matches!(doors.knock(source(2), at(100), &[grant(1, 500)]), DoorChange::Renewed(_)));
    assert_eq!(held(&doors, 2, 100), [(1, 600), (0, 102)]);
    assert_eq!(held(&doors, 1, 100), [(0, 103)]);
    assert_eq!(doors.held_by(KnockId::from(1)), 1);
}

#[test]
fn several_registrations_of_a_knock_take_one_of_its_places() {
    let doors = DoorTable::new(10, [Some(1)]);
    doors.knock(source(1), at(0), &[registers(0, 1, 1, 100)]);
    doors.knock(source(1), at(0), &[registers(0, 2, 1, 200)]);
    assert_eq!(doors.held_by(KnockId::FIRST), 1);
    doors.knock(source(1), at(1), &[leaves(0, 2, 1, ClaimEnd::One)]);
    assert_eq!(doors.held_by(KnockId::FIRST), 1);
    let listed = doors.look(source(1), at(2)).unwrap();
    assert_eq!(
        listed.held_by(at(2)),
        [HeldClaim { knock: KnockId::FIRST, until: at(100), registrations: 1 }]
    );
    doors.sweep(at(100));
    assert_eq!(doors.held_by(KnockId::FIRST), 0);
}

#[test]
fn the_257th_claim() {
    let doors = DoorTable::new(10, [None; 300]);
    (0..256).for_each(|knock| _ = doors.knock(source(1), at(0), &[grant(knock, 100 + u64::from(knock))]));
    assert_eq!(held(&doors, 1, 1).len(), MAX_CLAIMS);
    let mut refused = Vec::new();
    let change = doors.knock_and_pass(source(1), at(1), &[grant(256, 4000)], 0, &mut refused);
    assert_eq!((change, refused), (DoorChange::Refused(Limit::Claims), vec![KnockId::from(256)]));
    assert_eq!((held(&doors, 1, 1).len(), doors.held_by(KnockId::from(256))), (MAX_CLAIMS, 0));
    // Those that hold it may go on, and one that has run out makes room, although it is remembered.
    assert!(matches!(doors.knock(source(1), at(2), &[grant(255, 4000)]), DoorChange::Renewed(_)));
    assert!(matches!(doors.knock(source(1), at(100), &[grant(256, 4000)]), DoorChange::Renewed(_)));
    assert_eq!((doors.held_by(KnockId::FIRST), doors.held_by(KnockId::from(256))), (0, 1));
}

#[test]
fn the_257th_registration_shares_the_claim_of_its_knock() {
    let doors = DoorTable::new(10, [None, None]);
    doors.knock(source(1), at(0), &[grant(1, 50)]);
    for user in 0..255 {
        doors.knock(source(1), at(0), &[registers(0, user, 1, 100 + user)]);
    }
    let claims = |secs| doors.look(source(1), at(secs)).unwrap().claims;
    assert_eq!(claims(1).len(), MAX_CLAIMS);
    // The one that ends first is that of user 0, and is one with the newcomer from here on.
    assert!(matches!(doors.knock(source(1), at(1), &[registers(0, 999, 1, 4000)]), DoorChange::Renewed(_)));
    assert_eq!(claims(1).len(), MAX_CLAIMS);
    let shared: Vec<_> =
        claims(1).iter().filter(|claim| claim.registration.is_none()).map(|c| c.until).collect();
    assert_eq!(shared, [at(50), at(4001)]);
    // The next one finds it.
    doors.knock(source(1), at(2), &[registers(0, 998, 1, 5000)]);
    assert_eq!(doors.door(source(1), at(2)).unwrap().expires, at(5002));
    // Nobody knows whose it is, so that it lasts.
    doors.knock(source(1), at(3), &[leaves(0, 998, 1, ClaimEnd::One)]);
    assert_eq!(doors.door(source(1), at(3)).unwrap().expires, at(5002));
    assert_eq!((doors.held_by(KnockId::FIRST), doors.held_by(KnockId::from(1))), (1, 1));
}

/// As a door that has run out is.
#[test]
fn a_claim_that_has_run_out_is_remembered_for_its_own_life() {
    for (retired, remembered) in [(90, true), (150, true), (199, true), (200, false)] {
        let doors = DoorTable::new(10, [None, None]);
        doors.knock(source(1), at(0), &[grant(0, 100)]);
        doors.knock(source(1), at(0), &[grant(1, 4000)]);
        (0..retired).for_each(|secs| _ = doors.sweep(at(secs)));
        let mut seen = Vec::new();
        doors.retire(gone(0), at(retired), |source, door, shut| seen.push((source, door.life(), shut)));
        let expected = (source(1), Duration::from_secs(100), false);
        assert_eq!(seen, if remembered { vec![expected] } else { Vec::new() }, "at {retired}");
        assert_eq!(doors.state(source(1), at(retired)), DoorState::Open);
    }
    // One that lasted shorter than the door, and is remembered for longer.
    let doors = DoorTable::new(10, [None, None]);
    doors.knock(source(1), at(0), &[grant(0, 100)]);
    doors.knock(source(1), at(95), &[grant(1, 10)]);
    doors.sweep(at(110));
    assert_eq!(
        [105, 199, 200].map(|secs| doors.state(source(1), at(secs))),
        [DoorState::Expired, DoorState::Expired, DoorState::None]
    );
    // A door that another knock opens keeps that in mind.
    opened(doors.knock(source(1), at(120), &[grant(1, 10)]));
    let mut seen = 0;
    doors.retire(gone(0), at(121), |_, _, _| seen += 1);
    assert_eq!((seen, doors.open_count()), (1, 1));
}

#[test]
fn closing_a_door_says_whether_a_knock_held_it() {
    let by_hand = Grant { knock: Door::by_hand(), ..grant(0, 9000) };
    let life = |secs| Some(Duration::from_secs(secs));
    for (name, grants, secs, was_open, by_knock) in [
        ("a knock", vec![grant(0, 100)], 10, true, life(100)),
        ("by hand", vec![by_hand], 10, true, None),
        ("by hand, and a knock before that", vec![grant(0, 100), by_hand], 10, true, life(100)),
        ("by hand, and a knock that is remembered", vec![grant(0, 100), by_hand], 150, true, life(100)),
        ("by hand, and a knock that is forgotten", vec![grant(0, 100), by_hand], 200, true, None),
        ("a knock that is remembered", vec![grant(0, 100)], 150, false, life(100)),
        ("two knocks", vec![grant(0, 100), grant(1, 200)], 250, false, life(200)),
    ] {
        let doors = DoorTable::new(10, [None, None]);
        grants.iter().for_each(|grant| _ = doors.knock(source(1), at(0), &[*grant]));
        doors.sweep(at(secs));
        let revoked = doors.revoke(source(1), at(secs)).unwrap();
        assert_eq!((revoked.door.is_some(), revoked.by_knock), (was_open, by_knock), "{name}");
        assert!(doors.is_empty() && doors.open_count() == 0, "{name}");
        let held = [KnockId::FIRST, KnockId::from(1), Door::by_hand()].map(|knock| doors.held_by(knock));
        assert_eq!(held, [0; 3], "{name}");
        assert_eq!(doors.revoke(source(1), at(secs)), None, "{name}");
    }
    let doors = DoorTable::new(10, [None]);
    doors.knock(source(1), at(0), &[grant(0, 100)]);
    doors.sweep(at(100));
    assert_eq!(doors.revoke(source(1), at(200)), None, "forgotten");
}

#[test]
fn packets_renew_the_claims_of_all_who_may_have_sent_them() {
    let doors = DoorTable::new(10, [None; 3]);
    doors.knock(source(1), at(0), &[grant(0, 100)]);
    doors.knock(source(1), at(0), &[grant(1, 60)]);
    doors.knock(source(1), at(0), &[registers(2, 1, 1, 30)]);
    doors.knock(source(1), at(1), &[leaves(2, 1, 1, ClaimEnd::One)]);
    doors.extend(source(1), at(50));
    assert_eq!(held(&doors, 1, 50), [(0, 150), (1, 110)]);
    doors.extend(source(1), at(120));
    assert_eq!(held(&doors, 1, 120), [(0, 220)], "one that has run out is not held by packets");
}

#[test]
fn claims_outlive_a_restart() {
    let before = DoorTable::new(10, [None, Some(1)]);
    before.knock(source(1), at(0), &[registers(0, 1, 1, 4000)]);
    before.knock(source(1), at(0), &[registers(0, 2, 1, 500)]);
    before.knock(source(1), at(0), &[grant(1, 300)]);
    before.knock(source(1), at(1), &[leaves(0, 1, 1, ClaimEnd::One)]);
    before.pass(before.key(source(1)), at(10), 500);
    let listed = before.known(0, 1, at(20));
    let after = DoorTable::new(10, [None, Some(1)]);
    assert!(after.restore(&listed[0], at(20)));
    assert_eq!(after.known(0, 1, at(20)), listed);
    assert_eq!((after.held_by(KnockId::FIRST), after.held_by(KnockId::from(1))), (1, 1));
    // The registration that is left ends as it would have.
    after.knock(source(1), at(30), &[leaves(0, 2, 1, ClaimEnd::One)]);
    assert_eq!(held(&after, 1, 30), [(1, 300)]);
    // A knock without room gets no claim, and the others hold the door.
    let after = DoorTable::new(10, [None, Some(0)]);
    assert!(after.restore(&listed[0], at(20)));
    assert_eq!(held(&after, 1, 20), [(0, 500)]);
    let after = DoorTable::new(10, [Some(0), Some(0)]);
    assert!(!after.restore(&listed[0], at(20)) && after.open_count() == 0);
}

#[test]
fn a_door_of_one_claim_needs_no_list() {
    let doors = DoorTable::new(10, [None, None]);
    let has_list = || doors.doors.get(&source(1)).unwrap().list().is_some();
    opened(doors.knock(source(1), at(0), &[grant(0, 100)]));
    assert!(!has_list());
    doors.knock(source(1), at(1), &[grant(1, 10)]);
    assert!(has_list());
    doors.sweep(at(15));
    assert!(has_list(), "the other one is remembered");
    doors.sweep(at(30));
    assert!(!has_list());
}
