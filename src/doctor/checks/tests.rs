//! Facts and what they mean, above all those that no namespace has.

mod gate;
mod rules;

use std::path::Path;

use super::*;
use crate::config::{Config, DEFAULT_PATH, Flags};
use crate::control::protocol::{QueueStats, Stats};
use crate::doctor::Severity;
use crate::doctor::facts::{Listener, Need, ProcessFacts, QueueFacts, Rights, Tables};
use crate::doctor::nft::Nft;
use crate::firewall::Listing;
use crate::firewall::{Family, FamilyState, FamilyStatus, FirewallNote, Plan, Status};
use crate::packet::Transport;
use crate::queue::kernel::QueueRow;

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let (config, plan) = (config(""), plan());
    let findings = all(Subject { config: &config, plan: &plan }, &sound());
    let bad: Vec<_> = findings.iter().filter(|finding| finding.severity != Severity::Ok).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(findings.len() >= 9);
}

#[test]
fn each_fact_has_its_finding() {
    type Edit = fn(&mut Facts);
    let rows: [(&str, Severity, &str, Edit); 32] = [
        ("no-nfnetlink-queue", Severity::Fault, "modprobe nfnetlink_queue", |facts| {
            facts.queue_table = false
        }),
        ("no-nfqueue", Severity::Fault, "modprobe xt_NFQUEUE", |facts| {
            facts.refused = refused(Need::Nfqueue)
        }),
        ("no-multiport", Severity::Fault, "modprobe xt_multiport", |facts| {
            facts.refused = refused(Need::Multiport);
        }),
        ("no-conntrack", Severity::Warning, "modprobe xt_conntrack", |facts| {
            facts.refused = refused(Need::Conntrack);
        }),
        ("no-set", Severity::Note, "modprobe xt_set", |facts| facts.refused = refused(Need::Set)),
        ("no-hashlimit", Severity::Note, "modprobe xt_hashlimit", |facts| {
            facts.refused = refused(Need::Hashlimit);
        }),
        ("capabilities", Severity::Fault, "sudo sipknock --config x.toml doctor", |facts| {
            facts.capabilities = 0
        }),
        ("rules-unreadable", Severity::Fault, "", |facts| facts.status = Some(Err("no".to_owned()))),
        (
            "no-iptables",
            Severity::Fault,
            "apt install iptables && sipknock --config x.toml firewall apply",
            |facts| {
                facts.status = Some(Err("iptables-save is not installed".to_owned()));
                facts.no_iptables = Some("iptables-save".to_owned());
                facts.tables.clear();
            },
        ),
        ("ipv6-open", Severity::Fault, "apt install iptables", |facts| {
            let note = FirewallNote::NoProgram { program: "ip6tables-save".to_owned() };
            let skipped = FamilyStatus { notes: vec![note], ..family(Family::V6, FamilyState::Skipped) };
            facts.status =
                Some(Ok(Status { families: vec![family(Family::V4, FamilyState::InPlace), skipped] }));
        }),
        ("nobody-on-queue", Severity::Fault, "sipknock --config x.toml run", |facts| {
            facts.queues[0].row = None
        }),
        ("foreign-queue", Severity::Fault, "numbers = \"2\"", |facts| {
            facts.taken_queues = vec![0, 1, 3];
            facts.gate = None;
            facts.queues[0].owner =
                Some(ProcessFacts { pid: 7, name: "suricata".to_owned(), ..ProcessFacts::default() });
        }),
        ("stored-queue", Severity::Fault, "systemctl restart sipknock", |facts| {
            facts.gate = Some(Err("nobody".to_owned()));
            facts.queues[0].owner =
                Some(ProcessFacts { pid: 1, name: "systemd".to_owned(), ..ProcessFacts::default() });
        }),
        ("other-namespace", Severity::Fault, "nsenter -t 4 -n sipknock --config x.toml doctor", |facts| {
            facts.queues[0].row = None;
            facts.queues[0].owner = None;
            facts.gate_process = Some(ProcessFacts { pid: 4, elsewhere: true, ..ProcessFacts::default() });
        }),
        ("stopped", Severity::Fault, "kill -CONT 4", |facts| edit_owner(facts, |owner| owner.stopped = true)),
        ("rights", Severity::Warning, "systemctl restart sipknock", |facts| {
            let rights = Rights { capabilities: 1 << 21 | 1 << 12, ..Rights::default() };
            edit_owner(facts, |owner| owner.rights = Some(rights));
        }),
        ("monitor", Severity::Fault, "run --takeover", |facts| {
            facts.gate = None;
            edit_owner(facts, |owner| owner.monitors = true);
        }),
        ("quiet", Severity::Note, "doctor --probe", |facts| {
            facts.queues[0].row = Some(QueueRow { sequence: 0, ..row() });
            facts.gate = None;
            edit_owner(facts, |owner| owner.seconds = 10_000);
        }),
        ("quiet", Severity::Note, "doctor --probe", |facts| facts.gate = says(&[verdict(0, Some(7200))])),
        ("quiet", Severity::Note, "doctor --probe", |facts| facts.gate = says(&[verdict(0, None)])),
        ("unasked", Severity::Note, "stats --control", |facts| {
            facts.gate = Some(Err("/run/x.sock: no".to_owned()));
        }),
        ("unasked", Severity::Note, "stats --control", |facts| {
            edit_owner(facts, |owner| owner.pid = 5);
        }),
        ("stuck", Severity::Fault, "systemctl restart sipknock", |facts| {
            facts.queues[0].row = Some(QueueRow { waiting: 3, sequence: 10, ..row() });
            facts.queues[0].later = Some(QueueRow { waiting: 5, sequence: 12, ..row() });
        }),
        ("queue-overflow", Severity::Warning, "max_len", |facts| {
            facts.queues[0].row = Some(QueueRow { queue_dropped: 3, ..row() });
        }),
        ("socket-overflow", Severity::Warning, "receive_buffer", |facts| {
            facts.queues[0].row = Some(QueueRow { user_dropped: 3, ..row() });
        }),
        ("receive-buffer", Severity::Warning, "sysctl -w net.core.rmem_max=33554432", |facts| {
            facts.queues[0].receive_buffer = Some(212_992);
            facts.rmem_max = Some(212_992);
        }),
        ("nobody-listens", Severity::Warning, "ss", |facts| facts.listeners.clear()),
        ("port-not-inspected", Severity::Fault, "add 5160 to `ports`", |facts| {
            facts.listeners.push(listener(Transport::Udp, 5160, "asterisk"));
        }),
        ("port-not-inspected", Severity::Warning, "add 5080 to `ports`", |facts| {
            facts.listeners.push(listener(Transport::Tcp, 5080, "python3"));
        }),
        ("tls-port", Severity::Note, "", |facts| {
            facts.listeners.push(listener(Transport::Tcp, 5061, "asterisk"));
        }),
        ("selinux", Severity::Note, "", |facts| facts.selinux_enforcing = true),
        ("apparmor", Severity::Note, "journalctl", |facts| {
            facts.apparmor = Some("/usr/sbin/sipknock (enforce)".to_owned());
        }),
    ];
    let (config, plan) = (config(""), plan());
    for (name, severity, mend, edit) in rows {
        let mut facts = sound();
        edit(&mut facts);
        let findings = all(Subject { config: &config, plan: &plan }, &facts);
        let bad: Vec<_> = findings.into_iter().filter(|finding| finding.severity != Severity::Ok).collect();
        assert_eq!(bad.len(), 1, "{name}: {bad:#?}");
        assert_eq!((bad[0].name.as_str(), bad[0].severity), (name, severity));
        assert!(bad[0].mend.clone().unwrap_or_default().contains(mend), "{name}: {bad:#?}");
    }
}

#[test]
fn a_unit_is_started_by_its_manager() {
    let text = "[[knock]]\nname = \"alice\"\nsecret = \"gwadjtpmagjwtdpmjgatwdm\"\n";
    for (path, unit, expected) in [
        (DEFAULT_PATH, true, "systemctl start sipknock"),
        (DEFAULT_PATH, false, "sipknock run"),
        ("x.toml", true, "sipknock --config x.toml run"),
    ] {
        let (config, plan) = (Config::parse(text, Path::new(path), &Flags::default()).unwrap(), plan());
        let mut facts = Facts { unit, ..sound() };
        facts.queues[0].row = None;
        let findings = all(Subject { config: &config, plan: &plan }, &facts);
        let nobody = findings.iter().find(|finding| finding.name == "nobody-on-queue").unwrap();
        assert_eq!(nobody.mend.as_deref(), Some(expected), "{path}");
    }
}

#[test]
fn nothing_is_said_of_rules_that_nobody_can_show() {
    let (config, plan) = (config(""), plan());
    let facts = Facts {
        status: Some(Err("iptables-save is not installed".to_owned())),
        no_iptables: Some("iptables-save".to_owned()),
        tables: Vec::new(),
        ..sound()
    };
    let findings = all(Subject { config: &config, plan: &plan }, &facts);
    let names: Vec<_> = findings.iter().map(|finding| finding.name.as_str()).collect();
    assert!(["kernel", "rules", "way", "managers"].iter().all(|name| !names.contains(name)), "{names:?}");
}

#[test]
fn the_gate_s_user_has_a_name() {
    let (config, plan) = (config(""), plan());
    for (user, expected) in [(Some("sipknock"), "as user sipknock with"), (None, "as user 996 with")] {
        let mut facts = sound();
        edit_owner(&mut facts, |owner| {
            owner.user = user.map(str::to_owned);
            owner.rights =
                Some(Rights { user: 996, capabilities: 1 << 12, no_new_privileges: true, filtered: true });
        });
        let findings = all(Subject { config: &config, plan: &plan }, &facts);
        assert!(findings.iter().any(|finding| finding.text.contains(expected)), "{findings:#?}");
    }
}

#[test]
fn the_last_verdict_is_told_with_what_it_means() {
    let waits = |facts: &mut Facts| {
        facts.queues[0].row = Some(QueueRow { waiting: 3, ..row() });
        facts.queues[0].later = facts.queues[0].row;
    };
    let more = |facts: &mut Facts, number| {
        let queue = QueueFacts { number, ..facts.queues[0].clone() };
        facts.queues.push(queue);
    };
    type Edit<'a> = &'a dyn Fn(&mut Facts);
    /// Its name, seconds, and how its text begins.
    type Told = (&'static str, Option<u64>, &'static str);
    let rows: [(&str, Edit<'_>, Option<Told>); 11] = [
        ("just now", &|_| {}, Some(("last-verdict", Some(3), "queue 0: last verdict 3s ago"))),
        (
            "none yet",
            &|facts| facts.gate = says(&[QueueStats { since_verdict_s: Some(60), ..verdict(0, None) }]),
            Some(("last-verdict", Some(60), "queue 0: no verdict yet since the start 1m ago")),
        ),
        (
            "for long",
            &|facts| facts.gate = says(&[verdict(0, Some(11_000))]),
            Some((
                "quiet",
                Some(11_000),
                "no packet has come to queue 0 in the 3 hours since the last verdict",
            )),
        ),
        (
            "never",
            &|facts| facts.gate = says(&[verdict(0, None)]),
            Some(("quiet", Some(8000), "no packet has come to queue 0 in the 2 hours since the gate began")),
        ),
        // One queue of several may see nobody; all of them together may not.
        (
            "one of two",
            &|facts| {
                more(facts, 1);
                facts.gate = says(&[verdict(0, Some(9000)), verdict(1, Some(5))]);
            },
            Some(("last-verdict", Some(5), "queues 0-1: last verdict 5s ago, in queue 1")),
        ),
        (
            "one of two that have just begun",
            &|facts| {
                more(facts, 1);
                let none = QueueStats { since_verdict_s: Some(1), ..verdict(0, None) };
                facts.gate = says(&[none, verdict(1, Some(1))]);
            },
            Some(("last-verdict", Some(1), "queues 0-1: last verdict 1s ago, in queue 1")),
        ),
        (
            "none of two that have just begun",
            &|facts| {
                more(facts, 1);
                let none = |queue| QueueStats { since_verdict_s: Some(1), ..verdict(queue, None) };
                facts.gate = says(&[none(0), none(1)]);
            },
            Some(("last-verdict", Some(1), "queues 0-1: no verdict yet since the start 1s ago")),
        ),
        (
            "both",
            &|facts| {
                more(facts, 1);
                facts.gate = says(&[verdict(0, Some(7500)), verdict(1, None)]);
            },
            Some((
                "quiet",
                Some(7500),
                "no packet has come to queues 0-1 in the 2 hours since the last verdict",
            )),
        ),
        (
            "packets wait",
            &|facts| {
                waits(facts);
                facts.gate = says(&[verdict(0, Some(41))]);
            },
            Some((
                "stuck",
                Some(41),
                "3 packets wait in queue 0, and none is decided (last verdict 41s ago)",
            )),
        ),
        (
            "packets wait, and nobody tells",
            &|facts| {
                waits(facts);
                facts.gate = None;
            },
            Some(("stuck", None, "3 packets wait in queue 0, and none is decided: ")),
        ),
        ("an older gate", &|facts| facts.gate = says(&[QueueStats::default()]), None),
    ];
    let (config, plan) = (config(""), plan());
    for (name, edit, expected) in rows {
        let mut facts = sound();
        edit(&mut facts);
        let findings = queues::check(Subject { config: &config, plan: &plan }, &facts);
        let found: Vec<_> = findings.iter().filter(|finding| finding.name != "queues").collect();
        assert_eq!(found.len(), usize::from(expected.is_some()), "{name}: {found:#?}");
        if let Some((called, seconds, text)) = expected {
            assert_eq!((found[0].name.as_str(), found[0].seconds), (called, seconds), "{name}");
            assert!(found[0].text.starts_with(text), "{name}: {}", found[0].text);
        }
    }
}

#[test]
fn listeners_that_are_none_of_sip() {
    let (config, plan) = (config(""), plan());
    let mut facts = sound();
    for (transport, port) in [(Transport::Udp, 4569), (Transport::Tcp, 8088), (Transport::Udp, 10_000)] {
        facts.listeners.push(listener(transport, port, "asterisk"));
    }
    assert_eq!(ports::check(Subject { config: &config, plan: &plan }, &facts), []);
}

#[test]
fn configurations() {
    for (name, text) in [
        ("everybody-trusted", "trusted = [\"0.0.0.0/0\"]"),
        ("everybody-trusted", "trusted = [\"::/0\"]"),
        ("monitor", "mode = \"monitor\""),
        ("configuration-note", "trusted = [\"10.1.2.3/8\"]"),
        ("http-everywhere", "[http]\nlisten = \"0.0.0.0:9470\""),
        (
            "unknown-method",
            "[[knock]]\nname = \"b\"\nsecret = \"pgjtmwdagjpamtwgdjatmpw\"\nmethods = [\"REGSTER\"]",
        ),
    ] {
        let (config, plan) = (config(text), plan());
        let findings = configuration(Subject { config: &config, plan: &plan }, &Facts::default());
        assert_eq!(
            findings.iter().map(|finding| finding.name.as_str()).collect::<Vec<_>>(),
            [name],
            "{text}"
        );
    }
}

#[test]
fn rules_of_others() {
    let drop_all = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n";
    let (config, plan) = (config(""), plan());
    let subject = Subject { config: &config, plan: &plan };
    let mut facts = sound();
    facts.tables[0].other = Some(("iptables-legacy".to_owned(), Listing::parse(drop_all)));
    let found = super::rules::behind(subject, &facts);
    assert_eq!(found[0].mend.as_deref(), Some("iptables-legacy -t filter -P INPUT ACCEPT"));

    let table = "{\"nftables\":[{\"chain\":{\"family\":\"inet\",\"table\":\"firewalld\",\"name\":\"filter_INPUT\",\
                 \"handle\":1,\"type\":\"filter\",\"hook\":\"input\",\"prio\":10,\"policy\":\"drop\"}}]}";
    let facts = Facts { nft: Nft::parse(table), ..sound() };
    let found = super::rules::behind(subject, &facts);
    let mend = "firewall-cmd --permanent --add-port=5060/udp && firewall-cmd --reload";
    assert_eq!((found.len(), found[0].mend.as_deref()), (2, Some(mend)));
    assert_eq!(super::rules::managers(subject, &facts).len(), 1);
}

/// What a machine looks like on which all is well.
fn sound() -> Facts {
    let listing = "*filter\n:INPUT ACCEPT [0:0]\n:SIPKNOCK - [0:0]\n\
                   -A INPUT -p udp -m multiport --dports 5060 -j SIPKNOCK\n\
                   -A INPUT -p tcp -m multiport --dports 5060 -j SIPKNOCK\n-A SIPKNOCK -j NFQUEUE --queue-num 0\nCOMMIT\n";
    let tables = |family| Tables { family, ours: Listing::parse(listing), other: None };
    Facts {
        capabilities: u64::MAX,
        queue_table: true,
        status: Some(Ok(Status {
            families: Family::ALL.map(|each| family(each, FamilyState::InPlace)).to_vec(),
        })),
        tables: Family::ALL.map(tables).to_vec(),
        queues: vec![QueueFacts {
            number: 0,
            row: Some(row()),
            later: Some(row()),
            owner: Some(ProcessFacts { pid: 4, name: "sipknock".to_owned(), ..ProcessFacts::default() }),
            receive_buffer: Some(32 << 20),
        }],
        gate: says(&[verdict(0, Some(3))]),
        listeners: vec![listener(Transport::Udp, 5060, "asterisk")],
        ..Facts::default()
    }
}

fn row() -> QueueRow {
    QueueRow { port_id: 4, sequence: 9, ..QueueRow::default() }
}

/// What the gate says of its queues.
#[expect(clippy::unnecessary_wraps, reason = "it is what the facts have")]
fn says(queues: &[QueueStats]) -> Option<Result<Stats, String>> {
    Some(Ok(Stats { pid: 4, queues: queues.to_vec(), ..Stats::default() }))
}

/// A queue with its last verdict so many seconds ago, or with none since a start that was long ago.
fn verdict(queue: u16, seconds: Option<u64>) -> QueueStats {
    QueueStats {
        queue,
        last_verdict: seconds.map(|_| "2026-11-22T14:00:00.000000Z".to_owned()),
        since_verdict_s: seconds.or(Some(8000)),
        ..QueueStats::default()
    }
}

fn family(family: Family, state: FamilyState) -> FamilyStatus {
    FamilyStatus::new(family, state)
}

fn listener(transport: Transport, port: u16, process: &str) -> Listener {
    Listener { transport, port, process: Some(process.to_owned()), v6: false }
}

fn refused(need: Need) -> Vec<(Need, String)> {
    vec![(need, "no such module".to_owned())]
}

fn edit_owner(facts: &mut Facts, edit: impl FnOnce(&mut ProcessFacts)) {
    if let Some(owner) = &mut facts.queues[0].owner {
        edit(owner);
    }
}

fn config(inspect: &str) -> Config {
    let text =
        format!("[inspect]\n{inspect}\n[[knock]]\nname = \"alice\"\nsecret = \"gwadjtpmagjwtdpmjgatwdm\"\n");
    Config::parse(&text, Path::new("x.toml"), &Flags::default()).unwrap()
}

fn plan() -> Plan {
    Plan::default()
}
