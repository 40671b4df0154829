//! Facts and what they mean, above all those that no namespace has.

use std::path::Path;

use super::*;
use crate::config::{Config, Flags};
use crate::doctor::Severity;
use crate::doctor::facts::{Listener, Process, QueueFacts, Rights, Tables};
use crate::doctor::nft::Nft;
use crate::doctor::path::Listing;
use crate::firewall::{Family, FamilyStatus, Note, Plan, State, Status};
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
    let rows: [(&str, Severity, &str, Edit); 25] = [
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
        ("ipv6-open", Severity::Fault, "apt install iptables", |facts| {
            let note = Note::NoProgram { program: "ip6tables-save".to_owned() };
            let skipped = FamilyStatus { notes: vec![note], ..family(Family::V6, State::Skipped) };
            facts.status = Some(Ok(Status { families: vec![family(Family::V4, State::InPlace), skipped] }));
        }),
        ("nobody-on-queue", Severity::Fault, "sipknock --config x.toml run", |facts| {
            facts.queues[0].row = None
        }),
        ("foreign-queue", Severity::Fault, "kill 7", |facts| {
            facts.queues[0].owner =
                Some(Process { pid: 7, name: "suricata".to_owned(), ..Process::default() });
        }),
        ("stopped", Severity::Fault, "kill -CONT 4", |facts| edit_owner(facts, |owner| owner.stopped = true)),
        ("rights", Severity::Warning, "systemctl restart sipknock", |facts| {
            let rights = Rights { capabilities: 1 << 21 | 1 << 12, ..Rights::default() };
            edit_owner(facts, |owner| owner.rights = Some(rights));
        }),
        ("monitor", Severity::Warning, "run", |facts| edit_owner(facts, |owner| owner.monitors = true)),
        ("quiet", Severity::Note, "doctor --probe", |facts| {
            facts.queues[0].row = Some(QueueRow { sequence: 0, ..row() });
            edit_owner(facts, |owner| owner.seconds = 10_000);
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
fn listeners_that_are_none_of_sip() {
    let (config, plan) = (config(""), plan());
    let mut facts = sound();
    for (transport, port) in [(Transport::Udp, 4569), (Transport::Tcp, 8088), (Transport::Udp, 10_000)] {
        facts.listeners.push(listener(transport, port, "asterisk"));
    }
    assert_eq!(ports(Subject { config: &config, plan: &plan }, &facts), []);
}

#[test]
fn configurations() {
    for (name, text) in [
        ("everybody-trusted", "trusted = [\"0.0.0.0/0\"]"),
        ("everybody-trusted", "trusted = [\"::/0\"]"),
        ("monitor", "mode = \"monitor\""),
        ("configuration-note", "trusted = [\"10.1.2.3/8\"]"),
    ] {
        let (config, plan) = (config(text), plan());
        let findings = configuration(Subject { config: &config, plan: &plan });
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
    let found = rules::behind(subject, &facts);
    assert_eq!(found[0].mend.as_deref(), Some("iptables-legacy -t filter -P INPUT ACCEPT"));

    let table = "{\"nftables\":[{\"chain\":{\"family\":\"inet\",\"table\":\"firewalld\",\"name\":\"filter_INPUT\",\
                 \"handle\":1,\"type\":\"filter\",\"hook\":\"input\",\"prio\":10,\"policy\":\"drop\"}}]}";
    let facts = Facts { nft: Nft::parse(table), ..sound() };
    let found = rules::behind(subject, &facts);
    let mend = "firewall-cmd --permanent --add-port=5060/udp && firewall-cmd --reload";
    assert_eq!((found.len(), found[0].mend.as_deref()), (2, Some(mend)));
    assert_eq!(rules::managers(subject, &facts).len(), 1);
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
        status: Some(Ok(Status { families: Family::ALL.map(|each| family(each, State::InPlace)).to_vec() })),
        tables: Family::ALL.map(tables).to_vec(),
        queues: vec![QueueFacts {
            number: 0,
            row: Some(row()),
            later: Some(row()),
            owner: Some(Process { pid: 4, name: "sipknock".to_owned(), ..Process::default() }),
            receive_buffer: Some(32 << 20),
        }],
        listeners: vec![listener(Transport::Udp, 5060, "asterisk")],
        ..Facts::default()
    }
}

fn row() -> QueueRow {
    QueueRow { port_id: 4, sequence: 9, ..QueueRow::default() }
}

fn family(family: Family, state: State) -> FamilyStatus {
    FamilyStatus { family, state, differences: vec![], queues: None, rules: vec![], notes: vec![] }
}

fn listener(transport: Transport, port: u16, process: &str) -> Listener {
    Listener { transport, port, process: Some(process.to_owned()) }
}

fn refused(need: Need) -> Vec<(Need, String)> {
    vec![(need, "no such module".to_owned())]
}

fn edit_owner(facts: &mut Facts, edit: impl FnOnce(&mut Process)) {
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
    Plan {
        ports: vec![5060..=5060],
        transports: vec![Transport::Udp, Transport::Tcp],
        trusted: vec![],
        queues: 0..=0,
        bypass: false,
        replies: true,
        parent: "INPUT".to_owned(),
    }
}
