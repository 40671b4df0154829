//! The firewall module against the real iptables, each trial in a network namespace of its own, once with the
//! nf_tables variant and once with the legacy variant.

mod copies;
mod moves;
mod words;

use std::net::UdpSocket;
use std::{fs, thread};

use crate::common::iptables::{FOREIGN_V6, VARIANTS, Variant, World};
use crate::trials::{self, NetnsTrial, trials};
use sipknock::firewall::{
    Counted, Difference, Family, FamilyChange, FamilyState, Firewall, FirewallError, FirewallNote, Ipv4State,
    Pbx, Plan, Routes,
};
use sipknock::packet::Transport;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    let of_variant = |variant: Variant| {
        let missing = variant.missing();
        let no_reader = missing.clone().or(trials::missing_program(&["tcpdump"]));
        let cases = CASES.iter().map(move |case| (missing.clone(), case));
        let copies = COPIES.iter().map(move |case| (no_reader.clone(), case));
        cases.chain(copies).map(move |(missing, &(name, case))| {
            let name = format!("{}::{name}", variant.v4);
            trials::in_netns_with(missing, name, move || case(&World::new(variant)))
        })
    };
    // The program takes the iptables that there is, which is the first one here.
    let [variant, _] = VARIANTS;
    let of_the_program = WORDS.iter().map(|&(name, case)| {
        trials::in_netns_with(variant.missing(), name, move || case(&World::new(variant)))
    });
    VARIANTS.into_iter().flat_map(of_variant).chain(of_the_program).collect()
}

type Case = fn(&World);

const CASES: &[(&str, Case)] = &trials![
    apply_on_empty,
    apply_among_foreign_rules,
    apply_twice_changes_nothing,
    changed_plan_is_rewritten,
    moves::changed_chains_move_the_jumps,
    moves::several_chains_at_once,
    moves::missing_parent_is_an_error,
    moves::a_docker_user_of_ipv4_alone,
    moves::rules_of_the_other_variant_are_removed,
    moves::what_the_other_variant_had_is_put_back,
    rule_inserted_above_ours,
    a_jump_of_fail2ban_above_ours,
    packets_that_others_take_are_counted,
    remove_leaves_no_trace,
    remove_twice,
    remove_a_stray_jump,
    remove_a_chain_alone,
    no_ip6tables,
    no_iptables,
    ipv6_fails,
    not_root,
    lock_is_held,
    no_conntrack_match,
    no_nflog_target,
    no_u32_match,
    no_table_mangle,
    status_as_json,
    thousands_of_trusted_nets,
    two_applies_at_once,
    traffic_is_counted,
    printed_commands_and_files_work,
    copies::ipv6_fragments_are_put_together,
    moves::a_container_that_came_back_elsewhere,
];

/// Cases with tcpdump as the reader of copies.
const COPIES: &[(&str, Case)] = &trials![
    copies::what_the_pbx_sends_is_copied,
    copies::what_the_pbx_sends_over_tcp_is_copied,
    copies::a_pbx_behind_forward,
];

/// Cases of the program's output.
const WORDS: &[(&str, Case)] =
    &trials![words::rules_from_the_file, words::what_there_is_to_do_after_an_apply,];

fn apply_on_empty(world: &World) {
    assert_eq!(world.states(&plan()), [FamilyState::Absent; 2]);
    assert_eq!(world.apply(&plan()), [FamilyChange::Written; 2]);
    assert_eq!(world.states(&plan()), [FamilyState::InPlace; 2]);
    for (family, net, answer, fragments) in [
        (Family::V4, "10.10.1.0/24", "0x0>>0x16&0x3c@0x8=0x5349502f", None),
        (
            Family::V6,
            "2001:db8:1::/48",
            "0x3&0xff=0x11&&0x30=0x5349502f",
            Some("-A SIPKNOCK -m conntrack --ctstate INVALID -j DROP".to_owned()),
        ),
    ] {
        let ports = "5060,5061:5063";
        let mut rules: Vec<_> = ["udp", "tcp"]
            .into_iter()
            .map(|proto| format!("-A INPUT -p {proto} -m multiport --dports {ports} -j SIPKNOCK"))
            .collect();
        rules.extend(
            ["udp", "tcp"]
                .map(|proto| format!("-A OUTPUT -p {proto} -m multiport --ports {ports} -j SIPKNOCK-OUT")),
        );
        rules.push(format!("-A SIPKNOCK -s {net} -j ACCEPT"));
        rules.push("-A SIPKNOCK -j NFQUEUE --queue-balance 0:3".to_owned());
        rules.extend(fragments);
        rules.push("-A SIPKNOCK-OUT -o lo -j RETURN".to_owned());
        rules.push(format!("-A SIPKNOCK-OUT -d {net} -j RETURN"));
        rules.push(format!("-A SIPKNOCK-OUT -p udp -m u32 --u32 \"{answer}\" -j RETURN"));
        rules.push("-A SIPKNOCK-OUT -p tcp -m tcp ! --tcp-flags PSH PSH -j RETURN".to_owned());
        rules.push(
            "-A SIPKNOCK-OUT -j NFLOG --nflog-group 5060 --nflog-size 2048 --nflog-threshold 1".to_owned(),
        );
        assert_eq!(world.rules(family), rules);
        let counters: Vec<_> = ["udp", "tcp"]
            .into_iter()
            .map(|proto| {
                format!(
                    "-A INPUT -p {proto} -m multiport --dports {ports} -m comment --comment sipknock-counter"
                )
            })
            .collect();
        assert_eq!(world.rules_of(family, "mangle"), counters);
    }
}

fn apply_among_foreign_rules(world: &World) {
    world.load_foreign_rules();
    let before = world.rules(Family::V4);
    world.apply(&plan());
    let after = world.rules(Family::V4);
    assert!(after.iter().take(2).all(|rule| rule.ends_with("-j SIPKNOCK")), "{after:#?}");
    let others: Vec<_> = after.into_iter().filter(|rule| !rule.contains("SIPKNOCK")).collect();
    let foreign: Vec<_> = before.into_iter().filter(|rule| !rule.contains("SIPKNOCK")).collect();
    assert_eq!(others, foreign);
}

fn apply_twice_changes_nothing(world: &World) {
    // Nets in every spelling: what iptables prints back must still be what was asked for.
    let odd =
        ["10.1.2.3/8", "192.0.2.1/32", "::1.2.3.4/128", "::ffff:1.2.3.4/128", "::/96", "2001:DB8:0:1::/64"];
    let many = (6000..6020).map(|port| port..=port);
    let plan = Plan { trusted: nets(&odd), ports: many.chain([7000..=7010]).collect(), ..plan() };
    assert_eq!(world.apply(&plan), [FamilyChange::Written; 2]);
    world.netns.run(|| send_udp("127.0.0.1:6001"));
    let counted = world.packets(&plan, "NFQUEUE");
    assert_eq!(world.apply(&plan), [FamilyChange::Unchanged; 2]);
    assert_eq!(world.states(&plan), [FamilyState::InPlace; 2]);
    assert_eq!((counted, world.packets(&plan, "NFQUEUE")), (1, 1));
    assert_eq!(world.packets(&plan, "mangle"), 1);
    for odd in ["0.0.0.0/0", "::/0"] {
        let plan = Plan { trusted: nets(&[odd]), queues: 7..=7, bypass: true, ..plan.clone() };
        assert!(world.apply(&plan).contains(&FamilyChange::Written));
        assert_eq!(world.apply(&plan), [FamilyChange::Unchanged; 2], "{odd}");
    }
}

fn changed_plan_is_rewritten(world: &World) {
    world.apply(&plan());
    let changed = Plan {
        ports: vec![5070..=5070],
        transports: vec![Transport::Udp],
        trusted: vec![],
        queues: 9..=9,
        bypass: true,
        outbound: false,
        ..plan()
    };
    assert_eq!(world.states(&changed), [FamilyState::Differs; 2]);
    assert_eq!(world.apply(&changed), [FamilyChange::Written; 2]);
    assert_eq!(
        world.rules(Family::V4),
        [
            "-A INPUT -p udp -m multiport --dports 5070 -j SIPKNOCK",
            "-A SIPKNOCK -j NFQUEUE --queue-num 9 --queue-bypass",
        ]
    );
    let counter = "-A INPUT -p udp -m multiport --dports 5070 -m comment --comment sipknock-counter";
    assert_eq!(world.rules_of(Family::V6, "mangle"), [counter]);
}

fn rule_inserted_above_ours(world: &World) {
    world.apply(&plan());
    world.load(Family::V4, "*filter\n-I INPUT 2 -s 192.0.2.1/32 -j ACCEPT\nCOMMIT\n");
    let status = world.netns.run(|| world.firewall.status(&plan())).unwrap();
    assert_eq!(
        status.families[0].differences,
        [Difference::NotFirst {
            rule: "-A INPUT -p tcp -m multiport --dports 5060,5061:5063 -j SIPKNOCK".to_owned(),
            position: 3,
            before: vec!["-A INPUT -s 192.0.2.1/32 -j ACCEPT".to_owned()],
        }]
    );
    assert!(!status.in_place());
    assert_eq!(world.apply(&plan()), [FamilyChange::Written, FamilyChange::Unchanged]);
    assert_eq!(world.states(&plan()), [FamilyState::InPlace; 2]);
    assert_eq!(world.rules(Family::V4)[2], "-A INPUT -s 192.0.2.1/32 -j ACCEPT");
}

/// fail2ban puts jumps first at each start: they are for other ports, or their chain only drops.
fn a_jump_of_fail2ban_above_ours(world: &World) {
    world.apply(&plan());
    let jail = |name: &str, ports: &str| {
        format!(
            "*filter\n:{name} - [0:0]\n-I INPUT 1 -p tcp -m multiport --dports {ports} -j {name}\n\
             -A {name} -s 198.51.100.7/32 -j REJECT --reject-with icmp-port-unreachable\n-A {name} -j RETURN\nCOMMIT\n"
        )
    };
    world.load(Family::V4, &jail("f2b-sshd", "22"));
    world.load(Family::V4, &jail("f2b-asterisk", "5060,5061"));
    assert_eq!(world.states(&plan()), [FamilyState::InPlace; 2]);
    assert_eq!(world.apply(&plan()), [FamilyChange::Unchanged; 2]);
    assert!(world.rules(Family::V4)[0].contains("f2b-asterisk"));
    // A chain that accepts is a difference.
    world.load(Family::V4, "*filter\n-I f2b-asterisk 1 -s 198.51.100.8/32 -j ACCEPT\nCOMMIT\n");
    assert_eq!(world.states(&plan()), [FamilyState::Differs, FamilyState::InPlace]);
    assert_eq!(world.apply(&plan()), [FamilyChange::Written, FamilyChange::Unchanged]);
    assert!(world.rules(Family::V4)[2].contains("f2b-asterisk"));
}

fn packets_that_others_take_are_counted(world: &World) {
    let counted = || {
        let status = world.netns.run(|| world.firewall.status(&plan())).unwrap();
        status.families.iter().map(|family| family.counted.unwrap()).collect::<Vec<_>>()
    };
    let send = |times: usize| world.netns.run(|| (0..times).for_each(|_| send_udp("127.0.0.1:5060")));
    world.apply(&plan());
    send(3);
    let of_v4 = |arrived, reached| Counted { arrived, reached, taken_before: arrived - reached };
    assert_eq!(counted(), [of_v4(3, 3), of_v4(0, 0)]);
    let accept = "-p udp -m udp --dport 5060 -j ACCEPT";
    world.load(Family::V4, &format!("*filter\n-I INPUT 1 {accept}\nCOMMIT\n"));
    send(2);
    assert_eq!(counted()[0], of_v4(5, 3));
    // Rewritten rules begin at 0.
    assert_eq!(world.apply(&plan()), [FamilyChange::Written, FamilyChange::Unchanged]);
    assert_eq!(counted()[0], of_v4(0, 0));
    // Table mangle alone is flushed: the jumps go on counting, so the new rules there begin with the jumps' counters.
    send(4);
    for variant in [Family::V4, Family::V6] {
        world.load(variant, "*mangle\n-F INPUT\nCOMMIT\n");
    }
    assert_eq!(world.states(&plan()), [FamilyState::Differs; 2]);
    assert_eq!(world.apply(&plan()), [FamilyChange::Written; 2]);
    send(1);
    assert_eq!(counted()[0], of_v4(5, 5));
    let rule = "-t mangle -A INPUT -p udp -m multiport --dports 5060,5061:5063 -m comment --comment sipknock-counter";
    let status = world.netns.run(|| world.firewall.status(&plan())).unwrap();
    assert!(status.families[0].rules.iter().any(|counted| counted.rule == rule && counted.packets == 5));
}

fn remove_leaves_no_trace(world: &World) {
    world.load_foreign_rules();
    world.load(Family::V6, FOREIGN_V6);
    let before = world.saved();
    world.apply(&plan());
    world.load(Family::V4, "*filter\n-A FORWARD -p udp -j SIPKNOCK\nCOMMIT\n");
    assert_ne!(world.saved(), before);
    assert_eq!(world.remove(), [FamilyChange::Removed; 2]);
    assert_eq!(world.saved(), before);
}

fn remove_twice(world: &World) {
    let untouched = world.saved();
    assert_eq!(world.remove(), [FamilyChange::Unchanged; 2]);
    // Not even the empty table that the legacy variant makes for whoever asks.
    assert_eq!(world.saved(), untouched);
    world.apply(&plan());
    assert_eq!(world.remove(), [FamilyChange::Removed; 2]);
    assert_eq!(world.remove(), [FamilyChange::Unchanged; 2]);
    assert_eq!(world.states(&plan()), [FamilyState::Absent; 2]);
}

fn remove_a_stray_jump(world: &World) {
    // The chain cannot be missing while something jumps to it: the kernel does not let it go.
    world.load(
        Family::V4,
        "*filter\n:SIPKNOCK - [0:0]\n:MINE - [0:0]\n-A MINE -p udp -m udp --dport 5060 -m limit \
         --limit 3/sec -m comment --comment \"it's -j SIPKNOCK\" -j SIPKNOCK\n-A MINE -j RETURN\nCOMMIT\n",
    );
    assert_eq!(world.states(&plan()), [FamilyState::Differs, FamilyState::Absent]);
    assert_eq!(world.remove(), [FamilyChange::Removed, FamilyChange::Unchanged]);
    assert_eq!(world.rules(Family::V4), ["-A MINE -j RETURN"]);
}

fn remove_a_chain_alone(world: &World) {
    for family in Family::ALL {
        world.load(family, "*filter\n:SIPKNOCK - [0:0]\n-A SIPKNOCK -j DROP\nCOMMIT\n");
    }
    assert_eq!(world.remove(), [FamilyChange::Removed; 2]);
    assert_eq!(world.states(&plan()), [FamilyState::Absent; 2]);
    assert!(!world.saved().contains("SIPKNOCK"));
}

fn no_ip6tables(world: &World) {
    let firewall = world.firewall_with(|programs| programs.v6 = "no-such-ip6tables".to_owned());
    let report = world.netns.run(|| firewall.apply(&plan())).unwrap();
    assert_eq!(report.families[0].change, FamilyChange::Written);
    assert_eq!(report.families[1].change, FamilyChange::Skipped);
    assert_eq!(
        report.families[1].notes,
        [FirewallNote::NoProgram { program: "no-such-ip6tables-save".to_owned() }]
    );
    let status = world.netns.run(|| firewall.status(&plan())).unwrap();
    assert_eq!(
        status.families.iter().map(|family| family.state).collect::<Vec<_>>(),
        [FamilyState::InPlace, FamilyState::Skipped,]
    );
    assert!(status.in_place());
    let report = world.netns.run(|| firewall.remove()).unwrap();
    assert_eq!(report.families[0].change, FamilyChange::Removed);
}

fn no_iptables(world: &World) {
    let firewall = world.firewall_with(|programs| programs.v4 = "no-such-iptables".to_owned());
    let error = world.netns.run(|| firewall.apply(&plan())).unwrap_err();
    assert!(error.to_string().contains("apt install iptables"), "{error}");
}

fn ipv6_fails(world: &World) {
    let directory = tempfile::tempdir().unwrap();
    let v6 = world.stand_in(directory.path(), world.variant.v6, "echo 'out of order' >&2; exit 1");
    let firewall = world.firewall_with(|programs| programs.v6 = v6);
    world.load_foreign_rules();
    for before in [None, Some(Plan { queues: 5..=5, ..plan() })] {
        if let Some(before) = before {
            world.apply(&before);
            world.load(Family::V4, "*filter\n-I INPUT 1 -s 192.0.2.1/32 -j ACCEPT\nCOMMIT\n");
            world.netns.run(|| send_udp("127.0.0.1:5060"));
        }
        let before = (world.saved(), world.counters());
        match world.netns.run(|| firewall.apply(&plan())) {
            Err(error @ FirewallError::Ipv6 { ipv4: Ipv4State::PutBack, .. }) => {
                assert!(error.to_string().contains("out of order"), "{error}");
                assert!(error.to_string().contains("put back"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((world.saved(), world.counters()), before);
    }
}

fn not_root(world: &World) {
    world.apply(&plan());
    let directory = tempfile::tempdir().unwrap();
    let demoted = format!("setpriv --reuid 65534 --clear-groups {}", world.variant.v4);
    let v4 = world.stand_in(directory.path(), &demoted, &format!("exec {demoted}-restore \"$@\""));
    let firewall = world.firewall_with(|programs| programs.v4 = v4);
    for result in [
        world.netns.run(|| firewall.apply(&plan())).map(drop),
        world.netns.run(|| firewall.remove()).map(drop),
        world.netns.run(|| firewall.status(&plan())).map(drop),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, FirewallError::NotRoot { .. }), "{error}");
    }
}

fn lock_is_held(world: &World) {
    let directory = tempfile::tempdir().unwrap();
    let lock = directory.path().join("lock");
    // A lock file of the trial's own, so that nobody else waits; and a second is enough to see that it waits.
    let restore = format!(
        "export XTABLES_LOCKFILE={}; exec {}-restore --noflush -w 1",
        lock.display(),
        world.variant.v4
    );
    let v4 = world.stand_in(directory.path(), world.variant.v4, &restore);
    let firewall = world.firewall_with(|programs| programs.v4 = v4);
    let holder = fs::File::create(lock).unwrap();
    holder.lock().unwrap();
    let result = world.netns.run(|| firewall.apply(&plan()));
    if world.variant.v4.contains("legacy") {
        let error = result.unwrap_err();
        assert!(matches!(error, FirewallError::Locked { .. }), "{error}");
        assert_eq!(world.states(&plan()), [FamilyState::Absent; 2]);
    } else {
        // The nf_tables variant needs no lock: the kernel's transactions are enough.
        assert_eq!(result.unwrap().families[0].change, FamilyChange::Written);
    }
}

/// iptables without a match or target: its rules are left out and noted, are no difference, and a second apply changes
/// nothing.
fn without(world: &World, word: &str, notes: &[FirewallNote]) -> Firewall {
    let directory = tempfile::tempdir().unwrap();
    let restore = format!(
        "script=$(cat); case $script in *{word}*) echo \"Couldn't load {word}\" >&2; exit 2;; \
         esac; printf '%s\\n' \"$script\" | {}-restore \"$@\"",
        world.variant.v6
    );
    let v6 = world.stand_in(directory.path(), world.variant.v6, &restore);
    let firewall = world.firewall_with(|programs| programs.v6 = v6);
    for change in [FamilyChange::Written, FamilyChange::Unchanged] {
        let report = world.netns.run(|| firewall.apply(&plan())).unwrap();
        assert_eq!(report.families[1].change, change);
        assert_eq!(report.families[1].notes, notes);
        assert_eq!(report.families[0].notes, []);
    }
    let status = world.netns.run(|| firewall.status(&plan())).unwrap();
    assert!(status.in_place(), "{status:?}");
    assert_eq!(status.families[1].notes, notes);
    for rules in [world.rules(Family::V6), world.rules_of(Family::V6, "mangle")] {
        assert!(!rules.iter().any(|rule| rule.contains(word)), "{rules:?}");
    }
    // With the real programs the same rules are a difference.
    assert_eq!(world.states(&plan()), [FamilyState::InPlace, FamilyState::Differs]);
    assert_eq!(world.apply(&plan()), [FamilyChange::Unchanged, FamilyChange::Written]);
    assert_eq!(world.states(&plan()), [FamilyState::InPlace; 2]);
    firewall
}

fn no_conntrack_match(world: &World) {
    without(world, "conntrack", &[FirewallNote::ReassemblyLeftOut]);

    // If the rest fails as well, the first error is told.
    let directory = tempfile::tempdir().unwrap();
    let v4 = world.stand_in(
        directory.path(),
        world.variant.v4,
        "case $(cat) in *OUTPUT*) echo first >&2;; *) echo second >&2;; esac; exit 2",
    );
    let firewall = world.firewall_with(|programs| programs.v4 = v4);
    let error = world.netns.run(|| firewall.apply(&Plan { queues: 8..=8, ..plan() })).unwrap_err();
    assert!(error.to_string().contains("first"), "{error}");
}

fn no_nflog_target(world: &World) {
    without(world, "NFLOG", &[FirewallNote::OutboundLeftOut]);
}

fn no_u32_match(world: &World) {
    without(world, "u32", &[FirewallNote::AnswersCopied]);
}

fn no_table_mangle(world: &World) {
    without(world, "mangle", &[FirewallNote::CounterLeftOut]);
}

fn status_as_json(world: &World) {
    world.apply(&plan());
    world.load(Family::V6, "*filter\n-I INPUT 1 -j ACCEPT\n-A SIPKNOCK -j DROP\nCOMMIT\n");
    let status = world.netns.run(|| world.firewall.status(&plan())).unwrap();
    let json = serde_json::to_value(&status).unwrap();
    let v4 = &json["families"][0];
    assert_eq!(v4["family"], "ipv4");
    assert_eq!(v4["state"], "in-place");
    assert_eq!(v4["queues"], serde_json::json!({"first": 0, "last": 3, "bypass": false}));
    assert_eq!(v4["counted"], serde_json::json!({"arrived": 0, "reached": 0, "taken_before": 0}));
    assert_eq!(
        v4["rules"][5],
        serde_json::json!({
            "rule": "-A SIPKNOCK -j NFQUEUE --queue-balance 0:3", "position": 2, "packets": 0, "bytes": 0
        })
    );
    let v6 = &json["families"][1];
    assert_eq!(v6["state"], "differs");
    assert_eq!(
        v6["differences"],
        serde_json::json!([
            {"kind": "extra", "rule": "-A SIPKNOCK -j DROP"},
            {
                "kind": "not-first",
                "rule": "-A INPUT -p udp -m multiport --dports 5060,5061:5063 -j SIPKNOCK",
                "position": 2,
                "before": ["-A INPUT -j ACCEPT"]
            }
        ])
    );
}

fn thousands_of_trusted_nets(world: &World) {
    let v4 = (0..3000).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256));
    let v6 = (0..3000).map(|n| format!("2001:db8:{n:x}::/48"));
    let trusted = v4.chain(v6).map(|net| net.parse().unwrap()).collect();
    let plan = Plan { trusted, ..plan() };
    assert_eq!(world.apply(&plan), [FamilyChange::Written; 2]);
    assert_eq!(world.apply(&plan), [FamilyChange::Unchanged; 2]);
    assert_eq!(world.rules(Family::V6).len(), 4 + 3000 + 2 + 3000 + 4);
    assert_eq!(world.remove(), [FamilyChange::Removed; 2]);
}

fn two_applies_at_once(world: &World) {
    for round in 0..5 {
        let plan = Plan { queues: round..=round + 1, ..plan() };
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| world.apply(&plan));
            }
        });
        assert_eq!(world.states(&plan), [FamilyState::InPlace; 2]);
    }
}

fn traffic_is_counted(world: &World) {
    world.apply(&plan());
    world.netns.run(|| {
        for target in ["127.0.0.1:5060", "127.0.0.1:5062", "127.0.0.1:5064", "[::1]:5060"] {
            send_udp(target);
        }
    });
    let status = world.netns.run(|| world.firewall.status(&plan())).unwrap();
    for (family, packets, headers) in [(&status.families[0], 2, 28), (&status.families[1], 1, 48)] {
        let rule = family.rules.iter().find(|rule| rule.rule.contains("NFQUEUE")).unwrap();
        assert_eq!((rule.packets, rule.bytes), (packets, packets * (headers + PAYLOAD.len() as u64)));
    }
}

fn printed_commands_and_files_work(world: &World) {
    let commands = plan().commands(world.firewall.programs(), &Routes::default()).unwrap();
    for line in commands.lines() {
        let status = world.netns.command("sh").args(["-c", line]).status().unwrap();
        assert!(status.success(), "{line}");
    }
    assert_eq!(world.apply(&plan()), [FamilyChange::Unchanged; 2]);
    world.remove();
    for family in Family::ALL {
        world.load(family, &plan().ruleset(family, &Routes::default()).unwrap().restore_file());
    }
    assert_eq!(world.apply(&plan()), [FamilyChange::Unchanged; 2]);
}

fn plan() -> Plan {
    Plan {
        ports: vec![5060..=5060, 5061..=5063],
        trusted: nets(&["10.10.1.0/24", "2001:db8:1::/48"]),
        queues: 0..=3,
        ..Plan::default()
    }
}

fn pbx(networks: &[&str], interfaces: &[&str]) -> Pbx {
    Pbx { networks: nets(networks), interfaces: interfaces.iter().map(|&name| name.to_owned()).collect() }
}

fn nets(texts: &[&str]) -> Vec<ipnet::IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn send_udp(target: &str) {
    let local = if target.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
    UdpSocket::bind(local).unwrap().send_to(PAYLOAD, target).unwrap();
}

const PAYLOAD: &[u8] = b"REGISTER sip:example.com SIP/2.0\r\n\r\n";
