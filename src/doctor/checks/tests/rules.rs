//! What the rules' status says beside the rules themselves.

use super::*;
use crate::doctor::Finding;
use crate::doctor::facts::Fed;
use crate::firewall::{Counted, Difference};

type Edit = fn(&mut Facts);

fn find(edit: Edit) -> Vec<Finding> {
    let (config, plan) = (config(""), plan());
    let mut facts = sound();
    edit(&mut facts);
    let findings = all(Subject { config: &config, plan: &plan }, &facts);
    findings.into_iter().filter(|finding| finding.severity != Severity::Ok).collect()
}

/// Changes what is said of IPv4.
fn edit_family(facts: &mut Facts, edit: impl FnOnce(&mut FamilyStatus)) {
    if let Some(Ok(status)) = &mut facts.status {
        edit(&mut status.families[0]);
    }
}

fn counts(facts: &mut Facts, arrived: u64, taken_before: u64) {
    let reached = arrived - taken_before;
    edit_family(facts, |family| family.counted = Some(Counted { arrived, reached, taken_before }));
}

fn feeds(facts: &mut Facts, counted: u64, queued: u64) {
    facts.fed = Some(Fed { counted, queued, taken_before: 0 });
}

fn differs(facts: &mut Facts, difference: Difference) {
    edit_family(facts, |family| {
        family.state = FamilyState::Differs;
        family.differences = vec![difference];
    });
}

fn notes(facts: &mut Facts, note: FirewallNote) {
    edit_family(facts, |family| family.notes = vec![note]);
}

#[test]
fn what_the_status_tells() {
    let rows: [(&str, &str, Severity, &str, Edit); 17] = [
        ("packets that arrive", "", Severity::Ok, "", |facts| counts(facts, 5000, 0)),
        ("one that was counted while rules came in", "", Severity::Ok, "", |facts| counts(facts, 5000, 5)),
        ("packets that others take", "taken-before", Severity::Warning, "firewall apply", |facts| {
            counts(facts, 5000, 6)
        }),
        ("few packets, all taken", "taken-before", Severity::Warning, "firewall apply", |facts| {
            counts(facts, 5, 5)
        }),
        ("what fail2ban drops", "taken-before", Severity::Note, "firewall apply", |facts| {
            counts(facts, 5000, 4000);
            let listing = "*filter\n:INPUT ACCEPT [0:0]\n:f2b - [0:0]\n:SIPKNOCK - [0:0]\n-A INPUT -j f2b\n\
                           -A INPUT -p udp -m multiport --dports 5060 -j SIPKNOCK\n\
                           -A INPUT -p tcp -m multiport --dports 5060 -j SIPKNOCK\n\
                           -A f2b -s 203.0.113.9/32 -j REJECT\n-A f2b -j RETURN\nCOMMIT\n";
            facts.tables[0].ours = Listing::parse(listing);
        }),
        ("packets that come to the gate", "", Severity::Ok, "", |facts| feeds(facts, 7, 3)),
        ("no packets", "", Severity::Ok, "", |facts| feeds(facts, 0, 0)),
        (
            "packets that come to no queue of the gate",
            "unfed-queues",
            Severity::Fault,
            "firewall apply",
            |facts| {
                feeds(facts, 7, 0);
            },
        ),
        ("no gate at all", "nobody-on-queue", Severity::Fault, " run", |facts| {
            feeds(facts, 7, 0);
            facts.queues[0].row = None;
            facts.queues[0].owner = None;
        }),
        (
            "without NFLOG",
            "no-outbound",
            Severity::Warning,
            "modprobe -a nfnetlink_log xt_NFLOG && sipknock --config x.toml firewall apply",
            |facts| notes(facts, FirewallNote::OutboundLeftOut),
        ),
        ("without reassembly", "no-reassembly", Severity::Warning, "modprobe -a xt_conntrack &&", |facts| {
            notes(facts, FirewallNote::ReassemblyLeftOut);
        }),
        ("without conntrack", "no-conntrack", Severity::Warning, "modprobe xt_conntrack &&", |facts| {
            notes(facts, FirewallNote::ReassemblyLeftOut);
            facts.refused = refused(Need::Conntrack);
        }),
        ("without an interface", "no-interface", Severity::Warning, "[firewall] pbx", |facts| {
            notes(facts, FirewallNote::NoInterface { net: "192.0.2.0/24".parse().unwrap() });
        }),
        (
            "a container with another address",
            "dnat-outside",
            Severity::Fault,
            "add \"172.17.0.9\"",
            |facts| {
                differs(
                    facts,
                    Difference::Outside { rule: "-j DNAT".to_owned(), to: "172.17.0.9:5060".to_owned() },
                );
            },
        ),
        (
            "a chain that nothing jumps to",
            "unreached",
            Severity::Fault,
            "\"FORWARD\" in place of \"MINE\"",
            |facts| {
                differs(facts, Difference::Unreached { chain: "MINE".to_owned() });
            },
        ),
        (
            "no rules beside FreePBX's firewall",
            "rules-absent",
            Severity::Fault,
            "firewall print   # FreePBX",
            |facts| {
                edit_family(facts, |family| family.state = FamilyState::Absent);
                facts.tables[0].ours =
                    Listing::parse("*filter\n:INPUT ACCEPT [0:0]\n:fpbxfirewall - [0:0]\nCOMMIT\n");
            },
        ),
        ("rules of the other iptables", "rules-differ", Severity::Fault, "firewall apply", |facts| {
            differs(facts, Difference::OtherVariant { program: "iptables-legacy".to_owned() });
        }),
    ];
    for (case, name, severity, mend, edit) in rows {
        let found = find(edit);
        // Its manager is told of besides.
        let found: Vec<_> = found.into_iter().filter(|finding| finding.name != "manager").collect();
        assert_eq!(found.len(), usize::from(!name.is_empty()), "{case}: {found:#?}");
        for finding in found {
            assert_eq!((finding.name.as_str(), finding.severity), (name, severity), "{case}");
            assert!(finding.mend.as_deref().unwrap_or_default().contains(mend), "{case}: {finding:?}");
        }
    }
}
