//! The firewall module against the real iptables, each trial in a network namespace of its own, once with the
//! nf_tables variant and once with the legacy variant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod common;

use std::net::UdpSocket;
use std::process::ExitCode;
use std::{fs, thread};

use common::iptables::{FOREIGN_V6, VARIANTS, World};
use common::trials;
use sipknock::firewall::{Change, Difference, Error, Family, Ipv4State, Note, Plan, State};
use sipknock::packet::Transport;

fn main() -> ExitCode {
    trials::run(VARIANTS.into_iter().flat_map(|variant| {
        let missing = variant.missing();
        CASES.map(|(name, case)| {
            let name = format!("{}::{name}", variant.v4);
            trials::in_netns_with(missing.clone(), name, move || case(&World::new(variant)))
        })
    }))
}

type Case = fn(&World);

const CASES: [(&str, Case); 22] = [
    ("apply_on_empty", apply_on_empty),
    ("apply_among_foreign_rules", apply_among_foreign_rules),
    ("apply_twice_changes_nothing", apply_twice_changes_nothing),
    ("changed_plan_is_rewritten", changed_plan_is_rewritten),
    ("changed_parent_moves_the_jumps", changed_parent_moves_the_jumps),
    ("missing_parent_is_an_error", missing_parent_is_an_error),
    ("rule_inserted_above_ours", rule_inserted_above_ours),
    ("remove_leaves_no_trace", remove_leaves_no_trace),
    ("remove_twice", remove_twice),
    ("remove_a_stray_jump", remove_a_stray_jump),
    ("remove_a_chain_alone", remove_a_chain_alone),
    ("no_ip6tables", no_ip6tables),
    ("no_iptables", no_iptables),
    ("ipv6_fails", ipv6_fails),
    ("not_root", not_root),
    ("lock_is_held", lock_is_held),
    ("no_conntrack_match", no_conntrack_match),
    ("status_as_json", status_as_json),
    ("thousands_of_trusted_nets", thousands_of_trusted_nets),
    ("two_applies_at_once", two_applies_at_once),
    ("traffic_is_counted", traffic_is_counted),
    ("printed_commands_and_files_work", printed_commands_and_files_work),
];

fn apply_on_empty(world: &World) {
    assert_eq!(world.states(&plan()), [State::Absent; 2]);
    assert_eq!(world.apply(&plan()), [Change::Written; 2]);
    assert_eq!(world.states(&plan()), [State::InPlace; 2]);
    assert_eq!(
        world.rules(Family::V4),
        [
            "-A INPUT -p udp -m multiport --dports 5060,5061:5063 -j SIPKNOCK",
            "-A INPUT -p tcp -m multiport --dports 5060,5061:5063 -j SIPKNOCK",
            "-A SIPKNOCK -s 10.10.1.0/24 -j ACCEPT",
            "-A SIPKNOCK -p udp -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT",
            "-A SIPKNOCK -j NFQUEUE --queue-balance 0:3",
        ]
    );
    assert_eq!(
        world.rules(Family::V6),
        [
            "-A INPUT -p udp -m multiport --dports 5060,5061:5063 -j SIPKNOCK",
            "-A INPUT -p tcp -m multiport --dports 5060,5061:5063 -j SIPKNOCK",
            "-A SIPKNOCK -s 2001:db8:1::/48 -j ACCEPT",
            "-A SIPKNOCK -p udp -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT",
            "-A SIPKNOCK -j NFQUEUE --queue-balance 0:3",
        ]
    );
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
    assert_eq!(world.apply(&plan), [Change::Written; 2]);
    world.netns.run(|| send_udp("127.0.0.1:6001"));
    let counted = world.packets(&plan, "NFQUEUE");
    assert_eq!(world.apply(&plan), [Change::Unchanged; 2]);
    assert_eq!(world.states(&plan), [State::InPlace; 2]);
    assert_eq!((counted, world.packets(&plan, "NFQUEUE")), (1, 1));
    for odd in ["0.0.0.0/0", "::/0"] {
        let plan = Plan { trusted: nets(&[odd]), queues: 7..=7, bypass: true, ..plan.clone() };
        assert!(world.apply(&plan).contains(&Change::Written));
        assert_eq!(world.apply(&plan), [Change::Unchanged; 2], "{odd}");
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
        replies: false,
        ..plan()
    };
    assert_eq!(world.states(&changed), [State::Differs; 2]);
    assert_eq!(world.apply(&changed), [Change::Written; 2]);
    for family in Family::ALL {
        assert_eq!(
            world.rules(family),
            [
                "-A INPUT -p udp -m multiport --dports 5070 -j SIPKNOCK",
                "-A SIPKNOCK -j NFQUEUE --queue-num 9 --queue-bypass",
            ]
        );
    }
}

fn changed_parent_moves_the_jumps(world: &World) {
    world.apply(&plan());
    let stray = "-A OUTPUT -m comment --comment \"a \\\"stray\\\" one\" -g SIPKNOCK\n";
    world.load(Family::V4, &format!("*filter\n{stray}COMMIT\n"));
    let plan = Plan { parent: "FORWARD".to_owned(), ..plan() };
    assert_eq!(world.apply(&plan), [Change::Written; 2]);
    let rules = world.rules(Family::V4);
    assert!(
        rules.iter().all(|rule| !rule.starts_with("-A INPUT") && !rule.starts_with("-A OUTPUT")),
        "{rules:#?}"
    );
    assert_eq!(rules.iter().filter(|rule| rule.starts_with("-A FORWARD")).count(), 2);
}

fn missing_parent_is_an_error(world: &World) {
    let plan = Plan { parent: "DOCKER-USER".to_owned(), ..plan() };
    match world.try_apply(&plan) {
        Err(Error::ParentMissing { family: Family::V4, chain, .. }) => assert_eq!(chain, "DOCKER-USER"),
        other => panic!("{other:?}"),
    }
    world.load(Family::V4, "*filter\n:DOCKER-USER - [0:0]\nCOMMIT\n");
    let before = world.saved();
    match world.try_apply(&plan) {
        Err(Error::Ipv6 { error, ipv4: Ipv4State::PutBack }) => {
            assert!(matches!(*error, Error::ParentMissing { family: Family::V6, .. }), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.saved(), before);
    world.load(Family::V6, "*filter\n:DOCKER-USER - [0:0]\nCOMMIT\n");
    assert_eq!(world.apply(&plan), [Change::Written; 2]);
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
    assert_eq!(world.apply(&plan()), [Change::Written, Change::Unchanged]);
    assert_eq!(world.states(&plan()), [State::InPlace; 2]);
    assert_eq!(world.rules(Family::V4)[2], "-A INPUT -s 192.0.2.1/32 -j ACCEPT");
}

fn remove_leaves_no_trace(world: &World) {
    world.load_foreign_rules();
    world.load(Family::V6, FOREIGN_V6);
    let before = world.saved();
    world.apply(&plan());
    world.apply(&Plan { parent: "FORWARD".to_owned(), ..plan() });
    assert_ne!(world.saved(), before);
    assert_eq!(world.remove(), [Change::Removed; 2]);
    assert_eq!(world.saved(), before);
}

fn remove_twice(world: &World) {
    let untouched = world.saved();
    assert_eq!(world.remove(), [Change::Unchanged; 2]);
    // Not even the empty table that the legacy variant makes for whoever asks.
    assert_eq!(world.saved(), untouched);
    world.apply(&plan());
    assert_eq!(world.remove(), [Change::Removed; 2]);
    assert_eq!(world.remove(), [Change::Unchanged; 2]);
    assert_eq!(world.states(&plan()), [State::Absent; 2]);
}

fn remove_a_stray_jump(world: &World) {
    // The chain cannot be missing while something jumps to it: the kernel does not let it go.
    world.load(
        Family::V4,
        "*filter\n:SIPKNOCK - [0:0]\n:MINE - [0:0]\n-A MINE -p udp -m udp --dport 5060 -m limit \
         --limit 3/sec -m comment --comment \"it's -j SIPKNOCK\" -j SIPKNOCK\n-A MINE -j RETURN\nCOMMIT\n",
    );
    assert_eq!(world.states(&plan()), [State::Differs, State::Absent]);
    assert_eq!(world.remove(), [Change::Removed, Change::Unchanged]);
    assert_eq!(world.rules(Family::V4), ["-A MINE -j RETURN"]);
}

fn remove_a_chain_alone(world: &World) {
    for family in Family::ALL {
        world.load(family, "*filter\n:SIPKNOCK - [0:0]\n-A SIPKNOCK -j DROP\nCOMMIT\n");
    }
    assert_eq!(world.remove(), [Change::Removed; 2]);
    assert_eq!(world.states(&plan()), [State::Absent; 2]);
    assert!(!world.saved().contains("SIPKNOCK"));
}

fn no_ip6tables(world: &World) {
    let firewall = world.firewall_with(|programs| programs.v6 = "no-such-ip6tables".to_owned());
    let report = world.netns.run(|| firewall.apply(&plan())).unwrap();
    assert_eq!(report.families[0].change, Change::Written);
    assert_eq!(report.families[1].change, Change::Skipped);
    assert_eq!(report.families[1].notes, [Note::NoProgram { program: "no-such-ip6tables-save".to_owned() }]);
    let status = world.netns.run(|| firewall.status(&plan())).unwrap();
    assert_eq!(
        status.families.iter().map(|family| family.state).collect::<Vec<_>>(),
        [State::InPlace, State::Skipped,]
    );
    assert!(status.in_place());
    let report = world.netns.run(|| firewall.remove()).unwrap();
    assert_eq!(report.families[0].change, Change::Removed);
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
            Err(error @ Error::Ipv6 { ipv4: Ipv4State::PutBack, .. }) => {
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
        assert!(matches!(error, Error::NotRoot { .. }), "{error}");
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
        assert!(matches!(error, Error::Locked { .. }), "{error}");
        assert_eq!(world.states(&plan()), [State::Absent; 2]);
    } else {
        // The nf_tables variant needs no lock: the kernel's transactions are enough.
        assert_eq!(result.unwrap().families[0].change, Change::Written);
    }
}

fn no_conntrack_match(world: &World) {
    let directory = tempfile::tempdir().unwrap();
    let restore = format!(
        "script=$(cat); case $script in *conntrack*) echo \"Couldn't load match conntrack\" >&2; exit 2;; \
         esac; printf '%s\\n' \"$script\" | {}-restore \"$@\"",
        world.variant.v4
    );
    let v4 = world.stand_in(directory.path(), world.variant.v4, &restore);
    let firewall = world.firewall_with(|programs| programs.v4 = v4);
    for change in [Change::Written, Change::Unchanged] {
        let report = world.netns.run(|| firewall.apply(&plan())).unwrap();
        assert_eq!(report.families[0].change, change);
        assert_eq!(report.families[0].notes, [Note::RepliesLeftOut]);
        assert_eq!(report.families[1].notes, []);
    }
    let status = world.netns.run(|| firewall.status(&plan())).unwrap();
    assert!(status.in_place());
    assert_eq!(status.families[0].notes, [Note::RepliesLeftOut]);
    assert!(!world.rules(Family::V4).iter().any(|rule| rule.contains("conntrack")));

    // Where the rest fails as well, the first error is told.
    let v4 = world.stand_in(
        directory.path(),
        world.variant.v4,
        "case $(cat) in *conntrack*) echo first >&2;; *) echo second >&2;; esac; exit 2",
    );
    let firewall = world.firewall_with(|programs| programs.v4 = v4);
    let error = world.netns.run(|| firewall.apply(&Plan { queues: 8..=8, ..plan() })).unwrap_err();
    assert!(error.to_string().contains("first"), "{error}");
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
    assert_eq!(
        v4["rules"][4],
        serde_json::json!({
            "rule": "-A SIPKNOCK -j NFQUEUE --queue-balance 0:3", "position": 3, "packets": 0, "bytes": 0
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
    assert_eq!(world.apply(&plan), [Change::Written; 2]);
    assert_eq!(world.apply(&plan), [Change::Unchanged; 2]);
    assert_eq!(world.rules(Family::V6).len(), 2 + 3000 + 2);
    assert_eq!(world.remove(), [Change::Removed; 2]);
}

fn two_applies_at_once(world: &World) {
    for round in 0..5 {
        let plan = Plan { queues: round..=round + 1, ..plan() };
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| world.apply(&plan));
            }
        });
        assert_eq!(world.states(&plan), [State::InPlace; 2]);
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
    let commands = plan().commands(world.firewall.programs()).unwrap();
    for line in commands.lines() {
        let mut words = line.split(' ');
        let status = world.netns.command(words.next().unwrap()).args(words).status().unwrap();
        assert!(status.success(), "{line}");
    }
    assert_eq!(world.apply(&plan()), [Change::Unchanged; 2]);
    world.remove();
    for family in Family::ALL {
        world.load(family, &plan().ruleset(family).unwrap().restore_file());
    }
    assert_eq!(world.apply(&plan()), [Change::Unchanged; 2]);
}

fn plan() -> Plan {
    Plan {
        ports: vec![5060..=5060, 5061..=5063],
        transports: vec![Transport::Udp, Transport::Tcp],
        trusted: nets(&["10.10.1.0/24", "2001:db8:1::/48"]),
        queues: 0..=3,
        bypass: false,
        replies: true,
        parent: "INPUT".to_owned(),
    }
}

fn nets(texts: &[&str]) -> Vec<ipnet::IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn send_udp(target: &str) {
    let local = if target.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
    UdpSocket::bind(local).unwrap().send_to(PAYLOAD, target).unwrap();
}

const PAYLOAD: &[u8] = b"REGISTER sip:example.com SIP/2.0\r\n\r\n";
