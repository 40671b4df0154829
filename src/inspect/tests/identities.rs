//! Knocks that are known again after a reload or a restart.

use super::*;

fn gate(knocks: &[(&str, &str)]) -> Inspector {
    let knocks = knocks.iter().map(|(name, secret)| knock(name, secret)).collect();
    Inspector::new(Policy::default(), KnockSet::new(knocks).unwrap(), 10)
}

const BEFORE: [(&str, &str); 3] = [("alice", "secret-one"), ("bob", "secret-two"), ("carol", "secret-three")];

/// Knocks, their ids after a reload, and the names that a restart finds for the ones before.
type Case =
    (&'static str, &'static [(&'static str, &'static str)], &'static [u32], [Option<&'static str>; 3]);

const CASES: [Case; 8] = [
    ("the same", &BEFORE, &[0, 1, 2], [Some("alice"), Some("bob"), Some("carol")]),
    (
        "another order",
        &[("carol", "secret-three"), ("alice", "secret-one")],
        &[2, 0],
        [Some("alice"), None, Some("carol")],
    ),
    (
        "another name",
        &[("alice-home", "secret-one"), ("bob", "secret-two")],
        &[0, 1],
        [Some("alice-home"), Some("bob"), None],
    ),
    (
        "another name, and the old one for somebody else",
        &[("alice", "secret-new"), ("alice-home", "secret-one")],
        &[3, 0],
        [Some("alice-home"), None, None],
    ),
    (
        "names exchanged",
        &[("alice", "secret-two"), ("bob", "secret-one")],
        &[1, 0],
        [Some("bob"), Some("alice"), None],
    ),
    ("another secret", &[("alice", "secret-new")], &[0], [Some("alice"), None, None]),
    ("both", &[("alice-home", "secret-new")], &[3], [None; 3]),
    ("the name of another", &[("bob", "secret-one")], &[0], [Some("bob"), None, None]),
];

#[test]
fn a_knock_is_told_by_its_secret_and_then_by_its_name() {
    for (name, after, ids, restarted) in CASES {
        let first = gate(&BEFORE);
        let knocks = after.iter().map(|(name, secret)| knock(name, secret)).collect();
        let second = first.successor(Policy::default(), KnockSet::new(knocks).unwrap());
        let found: Vec<_> = second.knocks_by_id().map(|(id, _)| id).collect();
        assert_eq!(found, ids.iter().copied().map(KnockId::from).collect::<Vec<_>>(), "{name}");
        for (id, knock) in second.knocks_by_id() {
            assert_eq!(second.name(id), knock.name, "{name}");
        }
        // And by another process, which has the file alone.
        let names: Vec<_> = first.names().map(str::to_owned).collect();
        let saved = first.identities(|| [7; 16]);
        let other = gate(after);
        let known = other.known_again(&names, Some(saved));
        let known: Vec<_> = known.into_iter().map(|id| id.map(|id| other.name(id))).collect();
        assert_eq!(known, restarted, "{name}");
    }
}

#[test]
fn a_name_alone_is_enough_for_files_that_have_no_more() {
    let other = gate(&[("alice", "secret-new"), ("alice-home", "secret-one")]);
    let names = ["alice", "bob"].map(str::to_owned);
    assert_eq!(other.known_again(&names, None), [Some(KnockId::FIRST), None]);
}

/// Of a knock that is gone and whose name another has, nothing is inherited.
#[test]
fn a_name_that_had_two_ids_is_that_of_the_one_which_is_there() {
    let first = gate(&BEFORE);
    let set = |knocks: &[(&str, &str)]| {
        KnockSet::new(knocks.iter().map(|(name, secret)| knock(name, secret)).collect()).unwrap()
    };
    // Bob goes, and alice takes his name; then her secret changes.
    let second = first.successor(Policy::default(), set(&[("bob", "secret-one")]));
    let third = second.successor(Policy::default(), set(&[("bob", "secret-new")]));
    assert_eq!(third.knock_named("bob"), Some(KnockId::FIRST));
}

#[test]
fn an_identity_says_nothing_of_the_name_and_little_of_the_secret() {
    let salt = [7; 16];
    let one = knock("alice", "secret-one");
    let same = Knock { door: Life::Registration, max_doors: Some(1), ..knock("bob", "secret-one") };
    assert_eq!((one.identity(), one.digest(&salt)), (same.identity(), same.digest(&salt)));
    let elsewhere = Knock { part: Part::UserAgent, ..one.clone() };
    for other in [elsewhere, knock("alice", "secret-two"), knock("alice", "secret-on")] {
        assert!(one.identity() != other.identity() && one.digest(&salt) != other.digest(&salt), "{other:?}");
    }
    assert_ne!(one.digest(&salt), one.digest(&[8; 16]));
}
