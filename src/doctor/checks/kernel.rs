//! What the kernel has, what it has room for, and what passes around its rules.

use crate::doctor::facts::{Facts, Need};
use crate::doctor::finding::{Finding, Subject};
use crate::firewall::{Family, FamilyState};

pub(super) fn check(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if !facts.queue_table {
        let text = "the kernel has no nfnetlink_queue (/proc/net/netfilter/nfnetlink_queue is missing): no packet can be \
                    handed to the gate";
        found.push(Finding::fault("no-nfnetlink-queue", text).mend("modprobe nfnetlink_queue"));
    }
    found.extend(facts.refused.iter().map(|(need, said)| refused(subject, facts, *need, said)));
    found.extend(room(subject, facts));
    found.extend(offloaded(subject, facts));
    found
}

fn refused(subject: Subject<'_>, facts: &Facts, need: Need, said: &str) -> Finding {
    match need {
        Need::Nfqueue => Finding::fault("no-nfqueue", format!("NFQUEUE rules are refused: {said}"))
            .mend("modprobe xt_NFQUEUE"),
        Need::Multiport => Finding::fault("no-multiport", format!("multiport rules are refused: {said}"))
            .mend("modprobe xt_multiport"),
        Need::Conntrack => {
            let text = format!(
                "conntrack rules are refused, so nothing reassembles IPv6 fragments: a knock behind the first \
                 fragment of a \
                 datagram is not found, and TCP segments in fragments are dropped: {said}"
            );
            let mend = format!("modprobe xt_conntrack && {}", subject.apply());
            // Without IPv6 there is nothing to put together.
            let finding = if has_ipv6(facts) { Finding::warning } else { Finding::note };
            finding("no-conntrack", text).mend(mend)
        }
        Need::Set => Finding::note(
            "no-set",
            format!("there is no set match, which only long lists kept in the kernel need: {said}"),
        )
        .mend("modprobe xt_set"),
        Need::Hashlimit => Finding::note(
            "no-hashlimit",
            format!("there is no hashlimit match, which only limits per address need: {said}"),
        )
        .mend("modprobe xt_hashlimit"),
    }
}

fn has_ipv6(facts: &Facts) -> bool {
    let Some(Ok(status)) = &facts.status else { return true };
    status.families.iter().any(|family| family.family == Family::V6 && family.state != FamilyState::Skipped)
}

/// Each packet of a new flow that waits in a queue has an entry in conntrack's table already.
fn room(subject: Subject<'_>, facts: &Facts) -> Option<Finding> {
    let queue = &subject.config.queue;
    let waiting = u64::from(queue.max_len) * queue.numbers.len() as u64;
    let entries = facts.conntrack_max.filter(|entries| *entries > 0 && waiting > entries / 2)?;
    let wanted = (waiting * 4).next_power_of_two();
    let text = format!(
        "{waiting} packets may wait in the queues (max_len {} in each), and conntrack has room for {entries} flows \
         (net.netfilter.nf_conntrack_max): a flood over IPv6, or if a rule of another program tracks IPv4, fills its \
         table, and then the kernel drops all new flows",
        queue.max_len
    );
    // At once, and at the next start: the key is there only once the module is.
    let mend = format!(
        "echo nf_conntrack > /etc/modules-load.d/sipknock.conf && echo net.netfilter.nf_conntrack_max={wanted} > /etc/sysctl.d/90-sipknock.conf && sysctl -p \
         /etc/sysctl.d/90-sipknock.conf"
    );
    Some(Finding::warning("conntrack-room", text).mend(mend))
}

/// Flows that were handed to a flowtable pass chain FORWARD no more.
fn offloaded(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let plan = subject.plan;
    if plan.chains_to_others().next().is_none() {
        return Vec::new();
    }
    let finding = |offload: &super::super::nft::Offload| {
        let text = format!(
            "`{}` hands flows past our rules once they have begun: a door that closes shuts no source out, and knocks \
             in them renew nothing",
            offload.rule
        );
        Finding::fault("flow-offload", text).mend(&offload.mend)
    };
    facts.offloads.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Flags};
    use crate::doctor::nft::Offload;
    use crate::firewall::Plan;

    #[test]
    fn room_for_what_waits() {
        for (queue, entries, expected) in [
            ("", Some(262_144), None),
            ("", Some(32_768), None),
            ("", Some(32_767), Some("nf_conntrack_max=65536")),
            ("", Some(15_360), Some("nf_conntrack_max=65536")),
            ("numbers = \"0-3\"", Some(65_536), Some("nf_conntrack_max=262144")),
            ("max_len = 1024", Some(15_360), None),
            ("max_len = 4294967295", None, None),
        ] {
            let config =
                Config::parse(&format!("[queue]\n{queue}"), Path::new("x.toml"), &Flags::default()).unwrap();
            let plan = Plan::default();
            let facts = Facts { conntrack_max: entries, ..Facts::default() };
            let found = room(Subject { config: &config, plan: &plan }, &facts);
            assert_eq!(found.is_some(), expected.is_some(), "{queue} {entries:?}: {found:?}");
            if let (Some(found), Some(expected)) = (found, expected) {
                assert!(found.mend.as_deref().unwrap_or_default().contains(expected), "{queue}: {found:?}");
            }
        }
    }

    #[test]
    fn flows_are_offloaded_in_forward_alone() {
        let config = Config::parse("", Path::new("x.toml"), &Flags::default()).unwrap();
        let offloads = vec![Offload { rule: "flow add @f".to_owned(), mend: "uci".to_owned() }];
        let facts = Facts { offloads, ..Facts::default() };
        for (chains, count) in [(&["INPUT"][..], 0), (&["FORWARD"], 1), (&["INPUT", "DOCKER-USER"], 1)] {
            let chains = chains.iter().map(|chain| (*chain).to_owned()).collect();
            let plan = Plan { chains, ..Plan::default() };
            let found = offloaded(Subject { config: &config, plan: &plan }, &facts);
            assert_eq!(found.len(), count, "{:?}", plan.chains);
        }
    }
}
