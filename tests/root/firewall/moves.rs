//! Rules in other chains, other families and the other variant's tables.

use sipknock::firewall::{
    Difference, Family, FamilyChange, FamilyState, Firewall, FirewallError, FirewallNote, Hold, Ipv4State,
    Plan, Routes,
};

use super::{pbx, plan};
use crate::common::iptables::World;

pub(super) fn changed_chains_move_the_jumps(world: &World) {
    world.apply(&plan());
    let stray = "-A OUTPUT -m comment --comment \"a \\\"stray\\\" one\" -g SIPKNOCK\n";
    world.load(Family::V4, &format!("*filter\n{stray}COMMIT\n"));
    let plan = Plan { chains: vec!["FORWARD".to_owned()], pbx: pbx(&[], &["eth1"]), ..plan() };
    // Packets for this machine would pass unseen.
    let before = world.saved();
    match world.try_apply(&plan) {
        Err(error @ FirewallError::WouldMove { .. }) => {
            let said = error.to_string();
            assert!(said.contains("INPUT") && said.contains("FORWARD") && said.contains("--move"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.saved(), before);
    let moving = world.firewall.clone().moving(true);
    let report = world.netns.run(|| moving.apply(&plan)).unwrap();
    assert!(report.families.iter().all(|family| family.change == FamilyChange::Written));
    let rules = world.rules(Family::V4);
    assert!(
        rules.iter().all(|rule| !rule.starts_with("-A INPUT") && !rule.starts_with("-A OUTPUT")),
        "{rules:#?}"
    );
    assert_eq!(rules.iter().filter(|rule| rule.starts_with("-A FORWARD")).count(), 4);
    assert_eq!(world.apply(&plan), [FamilyChange::Unchanged; 2]);
}

pub(super) fn several_chains_at_once(world: &World) {
    world.apply(&plan());
    for family in Family::ALL {
        world.load(family, "*filter\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n");
    }
    let chains = ["INPUT", "FORWARD", "DOCKER-USER"].map(str::to_owned).to_vec();
    let plan = Plan { chains, pbx: pbx(&["192.0.2.7/32", "2001:db8::7/128"], &["br-1"]), ..plan() };
    // An additional chain is no move.
    assert_eq!(world.apply(&plan), [FamilyChange::Written; 2]);
    assert_eq!(world.states(&plan), [FamilyState::InPlace; 2]);
    assert_eq!(world.apply(&plan), [FamilyChange::Unchanged; 2]);
    let rules = world.rules(Family::V4);
    for chain in ["FORWARD", "DOCKER-USER"] {
        let of_chain: Vec<_> =
            rules.iter().filter(|rule| rule.starts_with(&format!("-A {chain} "))).take(4).collect();
        let ports = "5060,5061:5063";
        assert_eq!(
            of_chain,
            [
                &format!("-A {chain} -d 192.0.2.7/32 -p udp -m multiport --dports {ports} -j SIPKNOCK"),
                &format!("-A {chain} -d 192.0.2.7/32 -p tcp -m multiport --dports {ports} -j SIPKNOCK"),
                &format!(
                    "-A {chain} -s 192.0.2.7/32 -i br-1 -p udp -m multiport --ports {ports} -j SIPKNOCK-OUT"
                ),
                &format!(
                    "-A {chain} -s 192.0.2.7/32 -i br-1 -p tcp -m multiport --ports {ports} -j SIPKNOCK-OUT"
                ),
            ]
        );
    }
    assert_eq!(world.rules_of(Family::V6, "mangle").len(), 4);
    // No packet comes to a chain without a jump to it.
    world.load(Family::V4, "*filter\n-D FORWARD -j DOCKER-USER\nCOMMIT\n");
    let status = world.netns.run(|| world.firewall.status(&plan)).unwrap();
    assert_eq!(status.families[0].differences, [Difference::Unreached { chain: "DOCKER-USER".to_owned() }]);
    assert!(status.lets_by() && !status.families[0].is_mendable());
    let report = world.netns.run(|| world.firewall.apply(&plan)).unwrap();
    assert_eq!(report.families[0].change, FamilyChange::Unchanged);
    assert!(
        matches!(report.families[0].notes[..], [FirewallNote::Amiss(Difference::Unreached { .. })]),
        "{report:?}"
    );
    assert_eq!(world.remove(), [FamilyChange::Removed; 2]);
    assert!(!world.saved().contains("SIPKNOCK") && !world.saved().contains("sipknock"), "{}", world.saved());
}

pub(super) fn missing_parent_is_an_error(world: &World) {
    let plan = Plan { chains: vec!["DOCKER-USER".to_owned()], pbx: pbx(&[], &["br-1"]), ..plan() };
    match world.try_apply(&plan) {
        Err(FirewallError::ParentMissing { family: Family::V4, chain, .. }) => {
            assert_eq!(chain, "DOCKER-USER")
        }
        other => panic!("{other:?}"),
    }
    world.load(Family::V4, "*filter\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n");
    let before = world.rules(Family::V4);
    match world.try_apply(&plan) {
        Err(FirewallError::Ipv6 { error, ipv4: Ipv4State::PutBack }) => {
            assert!(matches!(*error, FirewallError::ParentMissing { family: Family::V6, .. }), "{error}");
            assert!(error.to_string().contains("families = [\"ipv4\"]"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.rules(Family::V4), before);
    assert_eq!(world.rules_of(Family::V4, "mangle"), [""; 0]);
    world.load(Family::V6, "*filter\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n");
    assert_eq!(world.apply(&plan), [FamilyChange::Written; 2]);
    assert_eq!(world.states(&plan), [FamilyState::InPlace; 2]);
}

/// Docker makes the IPv4 chain alone unless it manages ip6tables as well.
pub(super) fn a_docker_user_of_ipv4_alone(world: &World) {
    world.load(Family::V4, "*filter\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n");
    let docker = Plan { chains: vec!["DOCKER-USER".to_owned()], ..plan() };
    // Either the PBX has no IPv6 address, or the family is left out.
    for (plan, note) in [
        (Plan { pbx: pbx(&["172.18.0.5/32"], &[]), ..docker.clone() }, FirewallNote::NoAddress),
        (Plan { pbx: pbx(&[], &["br-1"]), families: vec![Family::V4], ..docker }, FirewallNote::NotWanted),
    ] {
        let report = world.netns.run(|| world.firewall.apply(&plan)).unwrap();
        let changes: Vec<_> = report.families.iter().map(|family| family.change).collect();
        assert_eq!(changes, [FamilyChange::Written, FamilyChange::Skipped]);
        assert_eq!(report.families[1].notes, [note]);
        assert_eq!(world.states(&plan), [FamilyState::InPlace, FamilyState::Skipped]);
        assert_eq!(world.rules(Family::V6), [""; 0]);
    }
    // Rules of an earlier configuration in the other family are removed.
    world.netns.run(|| world.firewall.clone().moving(true).apply(&plan())).unwrap();
    assert!(!world.rules(Family::V6).is_empty());
    let only = Plan { families: vec![Family::V4], ..plan() };
    assert_eq!(world.apply(&only), [FamilyChange::Unchanged, FamilyChange::Removed]);
    assert_eq!(world.rules(Family::V6), [""; 0]);
    assert_eq!(world.rules_of(Family::V6, "mangle"), [""; 0]);
}

/// Rules from before a change of the alternative, or written with the other program by hand.
pub(super) fn rules_of_the_other_variant_are_removed(world: &World) {
    let other = world.other_firewall();
    let state = |firewall: &Firewall| world.netns.run(|| firewall.status(&plan())).unwrap();
    world.netns.run(|| other.apply(&plan())).unwrap();
    let status = state(&world.firewall);
    for family in &status.families {
        assert_eq!(family.state, FamilyState::Differs);
        let program = other.programs().of(family.family).to_owned();
        assert!(family.differences.contains(&Difference::OtherVariant { program }), "{family:?}");
    }
    let report = world.netns.run(|| world.firewall.apply(&plan())).unwrap();
    for family in &report.families {
        let program = other.programs().of(family.family).to_owned();
        assert_eq!(
            (family.change, &family.notes[..]),
            (FamilyChange::Written, &[FirewallNote::OtherRemoved { program }][..])
        );
    }
    assert!(state(&world.firewall).in_place());
    // Now the other variant has none.
    assert!(state(&other).families.iter().all(|family| family.rules.is_empty()));
    assert_eq!(world.apply(&plan()), [FamilyChange::Unchanged; 2]);
    // Both have them again, and both are cleared.
    for family in Family::ALL {
        let program = format!("{}-restore", other.programs().of(family));
        let rules = plan().ruleset(family, &Routes::default()).unwrap().restore_file();
        world.load_with(&program, &rules);
    }
    assert_eq!(world.states(&plan()), [FamilyState::Differs; 2]);
    assert_eq!(world.remove(), [FamilyChange::Removed; 2]);
    assert_eq!(world.remove(), [FamilyChange::Unchanged; 2]);
    assert!(state(&other).families.iter().all(|family| family.state == FamilyState::Absent));
}

pub(super) fn what_the_other_variant_had_is_put_back(world: &World) {
    let other = world.other_firewall();
    world.netns.run(|| other.apply(&plan())).unwrap();
    let (_, before) = world.netns.run(|| world.firewall.apply_within(&Hold::wait(), &plan())).unwrap();
    assert!(world.netns.run(|| world.firewall.status(&plan())).unwrap().in_place());
    world.netns.run(|| world.firewall.put_back(&before)).unwrap();
    assert!(!world.rules(Family::V4).iter().any(|rule| rule.contains("SIPKNOCK")));
    let status = world.netns.run(|| other.status(&plan())).unwrap();
    assert!(status.in_place(), "{status:?}");
}

/// Docker gives the container another address, and `pbx` still has the old one.
pub(super) fn a_container_that_came_back_elsewhere(world: &World) {
    world.load(Family::V4, "*filter\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n");
    let plan =
        Plan { chains: vec!["DOCKER-USER".to_owned()], pbx: pbx(&["172.18.0.5/32"], &["br-1"]), ..plan() };
    let plan = Plan { families: vec![Family::V4], ..plan };
    let publish = |flag: &str, address: &str| {
        let rule = format!("! -i br-1 -p udp -m udp --dport 5060 -j DNAT --to-destination {address}:5060");
        world.load(Family::V4, &format!("*nat\n{flag} DOCKER {rule}\nCOMMIT\n"));
    };
    let nat = "*nat\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\nCOMMIT\n";
    world.load(Family::V4, nat);
    publish("-A", "172.18.0.5");
    world.apply(&plan);
    assert_eq!(world.states(&plan), [FamilyState::InPlace, FamilyState::Skipped]);
    publish("-D", "172.18.0.5");
    publish("-A", "172.18.0.6");
    let status = world.netns.run(|| world.firewall.status(&plan)).unwrap();
    match &status.families[0].differences[..] {
        [Difference::Outside { to, .. }] => assert_eq!(to, "172.18.0.6:5060"),
        other => panic!("{other:?}"),
    }
    assert!(status.lets_by());
}
