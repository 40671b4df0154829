//! Rules that follow from plans, and differences between them and listings.

use super::change::Layout;
use super::names::COUNTER;
use super::path::Stranger;
use super::status::{differences, in_the_way, outside};
use super::*;
use crate::packet::Transport;
use ipnet::IpNet;

#[test]
fn rules_of_each_family() {
    let nets = ["10.10.1.0/24", "2001:db8:1::/48", "192.0.2.7/32"];
    let trusted = Plan { trusted: parsed(&nets), ..Plan::default() };
    for (name, plan, v4, v6) in [
        (
            "as configured",
            trusted.clone(),
            vec!["-s 10.10.1.0/24 -j ACCEPT", "-s 192.0.2.7/32 -j ACCEPT", "-j NFQUEUE --queue-num 0"],
            vec!["-s 2001:db8:1::/48 -j ACCEPT", "-j NFQUEUE --queue-num 0", REASSEMBLY],
        ),
        (
            "several queues",
            Plan { queues: 2..=5, ..Plan::default() },
            vec!["-j NFQUEUE --queue-balance 2:5"],
            vec!["-j NFQUEUE --queue-balance 2:5", REASSEMBLY],
        ),
        (
            "open on exit",
            Plan { queues: 0..=3, bypass: true, ..Plan::default() },
            vec!["-j NFQUEUE --queue-balance 0:3 --queue-bypass"],
            vec!["-j NFQUEUE --queue-balance 0:3 --queue-bypass", REASSEMBLY],
        ),
        (
            "IPv4 fragments are put together before INPUT, and not before FORWARD",
            Plan { chains: names(&["FORWARD"]), pbx: behind("eth1"), ..Plan::default() },
            vec!["-j NFQUEUE --queue-num 0", REASSEMBLY],
            vec!["-j NFQUEUE --queue-num 0", REASSEMBLY],
        ),
        (
            "nets as iptables prints them",
            Plan {
                trusted: parsed(&["10.1.2.3/8", "10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:DB8:0:0::1/64"]),
                ..Plan::default()
            },
            vec!["-s 10.0.0.0/8 -j ACCEPT", "-j ACCEPT", "-j NFQUEUE --queue-num 0"],
            vec!["-j ACCEPT", "-s 2001:db8::/64 -j ACCEPT", "-j NFQUEUE --queue-num 0", REASSEMBLY],
        ),
    ] {
        assert_eq!(rules(&plan, Family::V4).inbound(), v4, "{name}, IPv4");
        assert_eq!(rules(&plan, Family::V6).inbound(), v6, "{name}, IPv6");
    }
    let only = Plan { families: vec![Family::V4], ..trusted };
    assert!(!rules(&only, Family::V4).is_empty() && rules(&only, Family::V6).is_empty());
    assert_eq!(rules(&only, Family::V6).notes(), [FirewallNote::NotWanted]);
}

#[test]
fn copies_of_what_the_pbx_sends() {
    let nflog = "-j NFLOG --nflog-group 5067 --nflog-size 2048 --nflog-threshold 1";
    let no_push = "-p tcp -m tcp ! --tcp-flags PSH PSH -j RETURN";
    let plan = Plan { queues: 7..=9, trusted: parsed(&["10.0.0.0/8", "2001:db8::/32"]), ..Plan::default() };
    assert_eq!(
        rules(&plan, Family::V4).outbound(),
        [
            "-o lo -j RETURN",
            "-d 10.0.0.0/8 -j RETURN",
            "-p udp -m u32 --u32 \"0x0>>0x16&0x3c@0x8=0x5349502f\" -j RETURN",
            no_push,
            nflog,
        ]
    );
    assert_eq!(
        rules(&plan, Family::V6).outbound(),
        [
            "-o lo -j RETURN",
            "-d 2001:db8::/32 -j RETURN",
            "-p udp -m u32 --u32 \"0x3&0xff=0x11&&0x30=0x5349502f\" -j RETURN",
            no_push,
            nflog,
        ]
    );
    let off = rules(&Plan { outbound: false, ..plan.clone() }, Family::V4);
    assert!(off.outbound().is_empty() && off.jumps().iter().all(|jump| jump.chain == "INPUT"));
    let udp = rules(&Plan { transports: vec![Transport::Udp], ..plan }, Family::V4);
    assert!(!udp.outbound().iter().any(|rule| rule == no_push));
    assert_eq!(outbound_group(u16::MAX), 5059);
}

#[test]
fn jumps_in_several_chains() {
    let routes = Routes::parse(
        "br-1\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\neth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
        "",
    );
    let chains = names(&["INPUT", "FORWARD", "DOCKER-USER", "FORWARD"]);
    let pbx = Pbx { networks: parsed(&["172.18.0.5/32"]), interfaces: vec![] };
    let outbound_ports = vec![5070..=5072];
    let udp = vec![Transport::Udp];
    let base = Plan { chains, outbound_ports, transports: udp, ..Plan::default() };
    let (input, output) = (
        "-A INPUT -p udp -m multiport --dports 5060",
        "-A OUTPUT -p udp -m multiport --ports 5060,5070:5072",
    );
    let lines = |plan: &Plan, family| -> Vec<String> {
        let rules = plan.ruleset(family, &routes).unwrap();
        rules.jumps().iter().map(Placed::line).collect()
    };
    let jumps = |to: &str, from: &str| -> Vec<String> {
        let mut all = vec![format!("{input} -j SIPKNOCK"), format!("{output} -j SIPKNOCK-OUT")];
        for chain in ["FORWARD", "DOCKER-USER"] {
            all.push(format!("-A {chain} {to} -p udp -m multiport --dports 5060 -j SIPKNOCK"));
            all.push(format!("-A {chain} {from} -p udp -m multiport --ports 5060,5070:5072 -j SIPKNOCK-OUT"));
        }
        all
    };
    let plan = Plan { pbx: pbx.clone(), ..base.clone() };
    assert_eq!(lines(&plan, Family::V4), jumps("-d 172.18.0.5/32", "-s 172.18.0.5/32 -i br-1"));
    // No address of the PBX is an IPv6 one.
    assert_eq!(
        lines(&plan, Family::V6),
        [format!("{input} -j SIPKNOCK"), format!("{output} -j SIPKNOCK-OUT")]
    );
    // A packet that passes FORWARD and DOCKER-USER arrives once.
    let counters: Vec<_> =
        plan.ruleset(Family::V4, &routes).unwrap().counters().iter().map(Placed::line).collect();
    assert_eq!(
        counters,
        [
            format!("{input} {COUNTER}"),
            format!("-A FORWARD -d 172.18.0.5/32 -p udp -m multiport --dports 5060 {COUNTER}"),
        ]
    );

    let named = Plan { pbx: Pbx { interfaces: vec!["eth1".to_owned()], ..pbx }, ..base.clone() };
    assert_eq!(lines(&named, Family::V4), jumps("-d 172.18.0.5/32", "-s 172.18.0.5/32 -i eth1"));
    assert_eq!(lines(&named, Family::V6), jumps("-o eth1", "-i eth1"));

    // The default route leads to everybody, so nothing tells the PBX's packets from forged ones.
    let far = Pbx { networks: parsed(&["198.51.100.7/32"]), interfaces: vec![] };
    let far = Plan { pbx: far, chains: names(&["FORWARD"]), ..base };
    let rules = far.ruleset(Family::V4, &routes).unwrap();
    assert!(rules.outbound().is_empty() && rules.jumps().len() == 1, "{rules:?}");
    assert_eq!(rules.notes(), [FirewallNote::NoInterface { net: "198.51.100.7/32".parse().unwrap() }]);
    assert_eq!(far.ruleset(Family::V6, &routes).unwrap().notes(), [FirewallNote::NoAddress]);
}

#[test]
fn ports_in_lists_of_at_most_15() {
    for (name, ports, lists) in [
        ("one", vec![5060..=5060], vec!["5060"]),
        ("one and a range", vec![5060..=5060, 5061..=5063], vec!["5060,5061:5063"]),
        ("one twice", vec![5060..=5060, 5061..=5063, 5060..=5060], vec!["5060,5061:5063"]),
        ("15 single ports", singles(1, 15), vec!["1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"]),
        ("16 single ports", singles(1, 16), vec!["1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "16"]),
        (
            "13 and a range",
            [singles(1, 13), vec![20..=30]].concat(),
            vec!["1,2,3,4,5,6,7,8,9,10,11,12,13,20:30"],
        ),
        ("14 and a range", [singles(1, 14), vec![20..=30]].concat(), {
            vec!["1,2,3,4,5,6,7,8,9,10,11,12,13,14", "20:30"]
        }),
        ("8 ranges", (1..9).map(|n| n * 10..=n * 10 + 5).collect(), {
            vec!["10:15,20:25,30:35,40:45,50:55,60:65,70:75", "80:85"]
        }),
    ] {
        let plan = Plan { ports, outbound: false, ..Plan::default() };
        let expected: Vec<_> = ["udp", "tcp"]
            .iter()
            .flat_map(|transport| {
                lists.iter().map(move |list| {
                    format!("-A INPUT -p {transport} -m multiport --dports {list} -j SIPKNOCK")
                })
            })
            .collect();
        let jumps: Vec<_> = rules(&plan, Family::V4).jumps().iter().map(Placed::line).collect();
        assert_eq!(jumps, expected, "{name}");
    }
}

#[test]
fn written_as_commands_and_as_a_restore_file() {
    let plan = Plan {
        transports: vec![Transport::Udp],
        trusted: parsed(&["10.10.1.0/24"]),
        families: vec![Family::V4],
        outbound: false,
        ..Plan::default()
    };
    assert_eq!(
        plan.commands(&Programs::default(), &Routes::default()).unwrap(),
        "iptables -w -N SIPKNOCK\n\
         iptables -w -A SIPKNOCK -s 10.10.1.0/24 -j ACCEPT\n\
         iptables -w -A SIPKNOCK -j NFQUEUE --queue-num 0\n\
         iptables -w -t mangle -I INPUT 1 -p udp -m multiport --dports 5060 -m comment --comment sipknock-counter\n\
         iptables -w -I INPUT 1 -p udp -m multiport --dports 5060 -j SIPKNOCK\n"
    );
    assert_eq!(
        rules(&plan, Family::V4).restore_file(),
        "*filter\n\
         :SIPKNOCK - [0:0]\n\
         -A SIPKNOCK -s 10.10.1.0/24 -j ACCEPT\n\
         -A SIPKNOCK -j NFQUEUE --queue-num 0\n\
         -I INPUT 1 -p udp -m multiport --dports 5060 -j SIPKNOCK\n\
         COMMIT\n\
         *mangle\n\
         -I INPUT 1 -p udp -m multiport --dports 5060 -m comment --comment sipknock-counter\n\
         COMMIT\n"
    );
    assert_eq!(rules(&plan, Family::V6).restore_file(), "");
    // A rule that is never reached says what for it is there, on a line that a shell and iptables-restore skip.
    let plan = Plan { families: vec![Family::V6], ..plan };
    let text = plan.commands(&Programs::default(), &Routes::default()).unwrap();
    for text in [text, rules(&plan, Family::V6).restore_file()] {
        let lines: Vec<_> = text.lines().collect();
        let at = lines.iter().position(|line| line.ends_with(REASSEMBLY)).unwrap();
        assert!(lines[at - 1].starts_with("# ") && lines[at - 1].contains("fragments"), "{text}");
        assert_eq!(text.matches('#').count(), 1, "{text}");
    }
}

#[test]
fn states_and_differences() {
    let missing = |rule: &str| Difference::Missing { rule: rule.to_owned() };
    let extra = |rule: &str| Difference::Extra { rule: rule.to_owned() };
    let order = |chain: &str| Difference::Order { chain: chain.to_owned() };
    let (lo, forward) = ("-A INPUT -i lo -j ACCEPT", "-A FORWARD -j SIPKNOCK");
    let drop = "-A SIPKNOCK -j DROP";
    let all = [UDP, TCP, TRUSTED, QUEUE];
    for (name, found, state, expected, lets_by) in [
        ("in place", all.to_vec(), FamilyState::InPlace, vec![], false),
        ("rules behind ours", vec![UDP, TCP, lo, TRUSTED, QUEUE], FamilyState::InPlace, vec![], false),
        ("nothing", vec![], FamilyState::Absent, vec![], true),
        ("only others", vec![lo], FamilyState::Absent, vec![], true),
        (
            "a stray jump",
            vec![forward],
            FamilyState::Differs,
            vec![missing(UDP), missing(TCP), extra(forward), missing(TRUSTED), missing(QUEUE)],
            true,
        ),
        (
            "a rule added, a rule gone",
            vec![UDP, TCP, drop, QUEUE],
            FamilyState::Differs,
            vec![missing(TRUSTED), extra(drop)],
            false,
        ),
        (
            "an accept added",
            [&all[..], &["-A SIPKNOCK -j ACCEPT"]].concat(),
            FamilyState::Differs,
            vec![extra("-A SIPKNOCK -j ACCEPT")],
            true,
        ),
        ("a jump twice", [&all[..], &[UDP]].concat(), FamilyState::Differs, vec![extra(UDP)], false),
        (
            "shuffled chain",
            vec![UDP, TCP, QUEUE, TRUSTED],
            FamilyState::Differs,
            vec![order("SIPKNOCK")],
            true,
        ),
        ("shuffled jumps", vec![TCP, UDP, TRUSTED, QUEUE], FamilyState::Differs, vec![order("INPUT")], false),
        (
            "an old chain for copies",
            [&all[..], &["-A SIPKNOCK-OUT -o lo -j RETURN"]].concat(),
            FamilyState::Differs,
            vec![extra("-A SIPKNOCK-OUT -o lo -j RETURN")],
            false,
        ),
    ] {
        let listing = filter(&found);
        let plan = Plan { trusted: parsed(&["192.0.2.0/24"]), outbound: false, ..Plan::default() };
        let wanted = rules(&plan, Family::V4).without(super::rules::Feature::Counter);
        let status = FamilyStatus::of(&listing, &wanted, in_the_way(&listing, &wanted));
        assert_eq!(status.state, state, "{name}");
        assert_eq!(status.differences, expected, "{name}");
        assert_eq!(status.lets_by(), lets_by, "{name}");
        assert_eq!(status.is_mendable(), !status.in_place(), "{name}");
    }
}

#[test]
fn a_chain_alone_is_not_absence() {
    let wanted = rules(&Plan::default(), Family::V4);
    for text in ["*filter\n:SIPKNOCK - [0:0]\nCOMMIT\n", "*filter\n:SIPKNOCK-OUT - [0:0]\nCOMMIT\n"] {
        assert_eq!(
            FamilyStatus::of(&Listing::parse(text), &wanted, vec![]).state,
            FamilyState::Differs,
            "{text}"
        );
    }
    // A counting rule keeps nobody out.
    let counter = "*mangle\n-A INPUT -p udp -m comment --comment sipknock-counter\nCOMMIT\n";
    assert_eq!(FamilyStatus::of(&Listing::parse(counter), &wanted, vec![]).state, FamilyState::Absent);
}

/// Rules before our jump that can take SIP are a difference, and those that can't, or that drop it, are none.
#[test]
fn rules_before_ours() {
    for (name, before, taken) in [
        ("loopback", vec!["-A INPUT -i lo -j ACCEPT"], false),
        ("another port", vec!["-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"], false),
        ("another protocol", vec!["-A INPUT -p icmp -j ACCEPT"], false),
        ("a drop", vec!["-A INPUT -s 198.51.100.7/32 -j DROP"], false),
        (
            "fail2ban for SSH",
            vec![
                "-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd",
                "-A f2b-sshd -s 198.51.100.7/32 -j REJECT --reject-with icmp-port-unreachable",
                "-A f2b-sshd -j RETURN",
            ],
            false,
        ),
        (
            "fail2ban for everything",
            vec![
                "-A INPUT -p udp -j f2b-sip",
                "-A f2b-sip -s 198.51.100.7/32 -j DROP",
                "-A f2b-sip -j RETURN",
            ],
            false,
        ),
        ("a log", vec!["-A INPUT -j LOG --log-prefix \"ACCEPT -j ACCEPT\""], false),
        ("a counter", vec!["-A INPUT -p udp"], false),
        ("some address", vec!["-A INPUT -s 198.51.100.7/32 -j ACCEPT"], true),
        ("everything", vec!["-A INPUT -j ACCEPT"], true),
        ("known flows", vec!["-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"], true),
        ("a whole range", vec!["-A INPUT -p udp -m udp --dport 5000:6000 -j ACCEPT"], true),
        ("inside the range", vec!["-A INPUT -p udp -m udp --dport 5062 -j ACCEPT"], true),
        (
            "inside the range, in a chain",
            vec!["-A INPUT -j MINE", "-A MINE -p udp -m udp --dport 5062 -j ACCEPT"],
            true,
        ),
        (
            "all but one, which leaves the rest of the range",
            vec!["-A INPUT -p udp -m udp ! --dport 5061 -j ACCEPT"],
            true,
        ),
        (
            "by way of a chain",
            vec!["-A INPUT -j A", "-A A -p tcp -j DROP", "-A A -j B", "-A B -p udp -j ACCEPT"],
            true,
        ),
        ("behind a return", vec!["-A INPUT -j A", "-A A -j RETURN", "-A A -j ACCEPT"], false),
        ("a queue of somebody's", vec!["-A INPUT -p udp -j NFQUEUE --queue-num 9"], true),
        ("gone to", vec!["-A INPUT -g A", "-A A -p tcp -j ACCEPT"], true),
        (
            "gone to, and dropped there for some",
            vec!["-A INPUT -s 198.51.100.7/32 -g A", "-A A -j DROP"],
            false,
        ),
        ("a return in INPUT", vec!["-A INPUT -j RETURN"], true),
    ] {
        let plan = Plan {
            ports: vec![5060..=5065],
            transports: vec![Transport::Udp],
            outbound: false,
            ..Plan::default()
        };
        let wanted = rules(&plan, Family::V4);
        let jump = "-A INPUT -p udp -m multiport --dports 5060:5065 -j SIPKNOCK";
        let listing = filter(&[&before[..], &[jump, QUEUE]].concat());
        let here = before.iter().filter(|rule| rule.starts_with("-A INPUT")).count();
        let expected = Difference::NotFirst {
            rule: jump.to_owned(),
            position: here + 1,
            before: vec![before[0].to_owned()],
        };
        let found = in_the_way(&listing, &wanted);
        assert_eq!(found, if taken { vec![expected] } else { vec![] }, "{name}");
    }
}

/// No stranger gets by, and no phone gets in.
#[test]
fn rules_before_ours_that_drop_everything() {
    let wanted =
        rules(&Plan { transports: vec![Transport::Udp], outbound: false, ..Plan::default() }, Family::V4);
    for (before, all) in [
        (vec!["-A INPUT -p udp -j DROP"], true),
        (vec!["-A INPUT -p udp -m udp --dport 5000:6000 -j REJECT"], true),
        (vec!["-A INPUT -j A", "-A A -p udp -j DROP"], true),
        (vec!["-A INPUT -s 198.51.100.7/32 -j DROP"], false),
        (vec!["-A INPUT -i eth9 -j DROP"], false),
        (vec!["-A INPUT -p tcp -j DROP"], false),
        (vec!["-A INPUT -j A", "-A A -s 198.51.100.7/32 -j DROP"], false),
    ] {
        let found = in_the_way(&filter(&[&before[..], &[UDP, QUEUE]].concat()), &wanted);
        assert_eq!(found.len(), usize::from(all), "{before:?}: {found:?}");
        for difference in found {
            assert!(matches!(difference, Difference::DroppedBefore { position: 2, .. }), "{difference:?}");
            assert!(difference.is_mendable() && !difference.lets_by());
        }
    }
}

#[test]
fn rules_between_our_jumps_that_are_for_the_first_of_them() {
    let wanted = rules(&Plan { outbound: false, ..Plan::default() }, Family::V4);
    let udp = "-A INPUT -p udp -j ACCEPT";
    assert_eq!(in_the_way(&filter(&[UDP, udp, TCP, QUEUE]), &wanted), []);
    assert_eq!(in_the_way(&filter(&[TCP, udp, UDP, QUEUE]), &wanted).len(), 1);
}

#[test]
fn chains_that_are_on_nobodys_way() {
    let pbx = Pbx { networks: parsed(&["172.18.0.5/32"]), interfaces: vec!["br-1".to_owned()] };
    let plan =
        Plan { chains: names(&["DOCKER-USER"]), transports: vec![Transport::Udp], pbx, ..Plan::default() };
    let wanted = rules(&plan, Family::V4);
    let jump = "-A DOCKER-USER -d 172.18.0.5/32 -p udp -m multiport --dports 5060 -j SIPKNOCK";
    let chain = || "DOCKER-USER".to_owned();
    let accept = "-A FORWARD -p udp -j ACCEPT";
    for (found, expected) in [
        (vec!["-A FORWARD -j DOCKER-USER", jump, "-A DOCKER-USER -j RETURN"], vec![]),
        (vec!["-A FORWARD -j A", "-A A -j DOCKER-USER", jump], vec![]),
        (vec!["-A FORWARD -o eth9 -j DOCKER-USER", jump], vec![]),
        (vec![jump], vec![Difference::Unreached { chain: chain() }]),
        (
            vec![accept, "-A FORWARD -j DOCKER-USER", jump],
            vec![Difference::Bypassed { chain: chain(), by: vec![accept.to_owned()] }],
        ),
        (
            vec!["-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN", jump],
            vec![Difference::NotFirst {
                rule: jump.to_owned(),
                position: 2,
                before: vec!["-A DOCKER-USER -j RETURN".to_owned()],
            }],
        ),
    ] {
        assert_eq!(in_the_way(&filter(&found), &wanted), expected, "{found:?}");
    }
}

#[test]
fn containers_that_have_come_back_elsewhere() {
    let nat = |to: &str| {
        let rule = format!("-A DOCKER ! -i br-1 -p udp -m udp --dport 5060 -j DNAT --to-destination {to}");
        Listing::parse(&format!(
            "*nat\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n{rule}\nCOMMIT\n"
        ))
    };
    let pbx = Pbx { networks: parsed(&["172.18.0.5/32"]), interfaces: vec![] };
    let plan = Plan { chains: names(&["INPUT", "DOCKER-USER"]), pbx, ..Plan::default() };
    let input = Plan { chains: names(&["INPUT"]), ..plan.clone() };
    let by_interface = Plan { pbx: behind("br-+"), ..plan.clone() };
    let routes = Routes::parse("br-1\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n", "");
    for (name, plan, to, is_outside) in [
        ("at its place", &plan, "172.18.0.5:5060", false),
        ("without a port", &plan, "172.18.0.5", false),
        ("another address", &plan, "172.18.0.6:5060", true),
        ("another port", &plan, "172.18.0.5:5080", true),
        ("for doctor to say", &input, "172.18.0.6:5060", false),
        ("behind the interface", &by_interface, "172.18.0.6:5060", false),
        ("behind another one", &by_interface, "172.19.0.6:5060", true),
    ] {
        let wanted = plan.ruleset(Family::V4, &routes).unwrap();
        let found = outside(&nat(to), &wanted, plan, &routes);
        assert_eq!(found.len(), usize::from(is_outside), "{name}: {found:?}");
        if let Some(difference) = found.first() {
            assert!(difference.lets_by() && !difference.is_mendable());
            assert!(difference.to_string().contains(to), "{difference}");
        }
    }
}

#[test]
fn packets_that_others_took() {
    let count = |arrived: u64, reached: u64| {
        Counted::of(&Listing::parse(&format!(
            "*mangle\n[{arrived}:0] -A INPUT -p udp -m multiport --dports 5060 {COUNTER}\n\
             *filter\n[{reached}:0] {UDP}\n[9:0] -A OUTPUT -p udp -m multiport --ports 5060 -j SIPKNOCK-OUT\nCOMMIT\n"
        )))
        .unwrap()
    };
    assert_eq!(count(10, 7), Counted { arrived: 10, reached: 7, taken_before: 3 });
    assert_eq!(count(7, 10).taken_before, 0);
    assert_eq!(Counted::of(&filter(&[UDP])), None);
    // Two packets were on their way between the tables.
    let later =
        Listing::parse(&format!("*mangle\n[12:0] -A INPUT {COUNTER}\n*filter\n[9:0] {UDP}\nCOMMIT\n"));
    assert_eq!(count(10, 7).later(&later), Counted { arrived: 10, reached: 9, taken_before: 1 });
}

#[test]
fn features_that_can_be_done_without() {
    let wanted = rules(&Plan::default(), Family::V6);
    let features: Vec<_> = wanted.features().into_iter().map(|(feature, _)| feature).collect();
    assert_eq!(features.len(), 4);
    for feature in features {
        let without = wanted.clone().without(feature);
        assert_ne!(without, wanted);
        assert_eq!(without.notes(), [feature.note()]);
        assert_eq!(without.clone().without(feature), without);
        // A listing of the rest shows no use of it, and all use of the others.
        let text =
            without.restore_file().replace("-I ", "-A ").replace(" 1 -p", " -p").replace(" 2 -p", " -p");
        let listing = Listing::parse(&text);
        assert_eq!(differences(&listing, &without), []);
        assert!(!feature.is_used(&listing), "{feature:?}: {text}");
        assert!(!differences(&listing, &wanted).is_empty());
        assert!(Layout::found(&listing).same_places(&Layout::wanted(&without)));
    }
    // Without copies there is no answer to leave out of them.
    let bare = wanted.clone().without(super::rules::Feature::Outbound);
    let notes = bare.without(super::rules::Feature::SkipAnswers).notes().to_vec();
    assert_eq!(notes, [FirewallNote::OutboundLeftOut]);
}

#[test]
fn sentences() {
    let (rule, before) = ("-A INPUT -j SIPKNOCK".to_owned(), vec!["-A INPUT -j MINE".to_owned(); 3]);
    let difference = Difference::NotFirst { rule, position: 4, before };
    assert_eq!(
        difference.to_string(),
        "number 4 and not first: -A INPUT -j SIPKNOCK; SIP can be taken before it: -A INPUT -j MINE and 2 more"
    );
    assert!(FirewallNote::OutboundLeftOut.to_string().contains("kmod-nfnetlink-log"));
}

#[test]
fn strangers_stand_for_ranges() {
    let plan =
        Plan { ports: vec![5060..=5060, 5070..=5080], transports: vec![Transport::Tcp], ..Plan::default() };
    let tcp = |port| Stranger::one(Transport::Tcp, port);
    assert_eq!(
        rules(&plan, Family::V4).strangers(),
        [tcp(5060), Stranger { last: 5080, ..tcp(5070) }, tcp(5080)]
    );
}

fn rules(plan: &Plan, family: Family) -> Ruleset {
    plan.ruleset(family, &Routes::default()).unwrap()
}

fn filter(rules: &[&str]) -> Listing {
    Listing::parse(&format!("*filter\n{}\nCOMMIT\n", rules.join("\n")))
}

fn parsed(nets: &[&str]) -> Vec<IpNet> {
    nets.iter().map(|net| net.parse().unwrap()).collect()
}

fn names(chains: &[&str]) -> Vec<String> {
    chains.iter().map(|&chain| chain.to_owned()).collect()
}

fn behind(interface: &str) -> Pbx {
    Pbx { networks: vec![], interfaces: vec![interface.to_owned()] }
}

fn singles(first: u16, last: u16) -> Vec<std::ops::RangeInclusive<u16>> {
    (first..=last).map(|port| port..=port).collect()
}

const UDP: &str = "-A INPUT -p udp -m multiport --dports 5060 -j SIPKNOCK";
const TCP: &str = "-A INPUT -p tcp -m multiport --dports 5060 -j SIPKNOCK";
const TRUSTED: &str = "-A SIPKNOCK -s 192.0.2.0/24 -j ACCEPT";
const QUEUE: &str = "-A SIPKNOCK -j NFQUEUE --queue-num 0";
const REASSEMBLY: &str = "-m conntrack --ctstate INVALID -j DROP";
