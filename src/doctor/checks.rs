//! What the facts mean.

mod forged;
mod gate;
mod kernel;
mod names;
mod ports;
mod queues;
mod rights;
mod rules;
#[cfg(test)]
mod tests;
mod verdicts;

pub(crate) use ports::{is_pbx, is_tls, may_be_sip};

use crate::config::{DoubtKind, Fallback};
use crate::knock::weakness;

use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Subject};
use crate::doctor::nft::Nft;

/// All judgements, in the order in which a packet meets what they are about.
pub fn all(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    // To those who may not, the kernel shows no rules and no queues, which would look like faults.
    let way = match facts.nft {
        Nft::Unknown => {
            "nothing in iptables drops what the gate accepts; nft shows nothing, so tables of nftables were not checked"
        }
        Nft::Tables(_) => "nothing in iptables and nftables drops what the gate accepts",
    };
    let blind = !may(facts, CAP_NET_ADMIN);
    for (name, all_is_well, found) in [
        ("configuration", "the configuration has knocks, and no other way in", configuration(subject, facts)),
        (
            "capabilities",
            "this process may look at rules and at other processes",
            capabilities(subject, facts),
        ),
        ("kernel", "the kernel has NFQUEUE, conntrack, set and hashlimit", kernel::check(subject, facts)),
        ("rules", "the rules are in place, and nothing decides before them", rules::place(subject, facts)),
        ("way", way, rules::behind(subject, facts)),
        ("managers", "no other firewall manager is at work", rules::managers(subject, facts)),
        (
            "gate",
            "the running gate drops strangers, and uses this configuration",
            gate::check(subject, facts),
        ),
        ("queues", "a gate listens on each queue, and has lost no packet", queues::check(subject, facts)),
        ("ports", "all SIP listeners of this machine are inspected", ports::check(subject, facts)),
        ("names", "trusted names resolve to the configured addresses", names::check(subject, facts)),
        (
            "sources",
            "no trusted source can be forged as far as the kernel can tell",
            forged::check(subject, facts),
        ),
        ("rights", "no gate has more rights than it needs", rights::check(subject, facts)),
        ("confinement", "neither SELinux nor AppArmor confines the gate", confinement(subject, facts)),
    ] {
        if blind && ["kernel", "rules", "way", "managers", "queues"].contains(&name) {
            continue;
        }
        // Of a gate that was not asked nothing is known, nor of rules that nobody can show.
        let unknown = match name {
            "gate" => gate::told(facts).is_none(),
            "names" => subject.config.trusted_names.is_empty(),
            "kernel" | "way" | "managers" => facts.no_iptables.is_some(),
            _ => false,
        };
        if found.is_empty() && !unknown {
            findings.push(Finding::ok(name, all_is_well));
        }
        findings.extend(found);
    }
    rules::instead_of_apply(subject, facts, &mut findings);
    findings
}

fn configuration(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let config = subject.config;
    let file = config.path.display();
    let mut found = Vec::new();
    if config.knocks.is_empty() {
        let text = format!("no knock is configured in {file}, so no phone can ever open a door");
        let mend = format!("sipknock keygen --name alice-desk --toml >> {file}");
        found.push(Finding::fault("no-knock", text).mend(mend));
    }
    for doubt in config.doubts() {
        let name = doubt.kind.name();
        let text = match &doubt.knock {
            Some(knock) => format!("knock {knock:?}: {}", doubt.text),
            None => doubt.text,
        };
        let edit = subject.edit(&doubt.edit);
        match doubt.kind {
            // A gate that runs says itself what it does.
            DoubtKind::Monitor if gate::told(facts).is_some() => {}
            DoubtKind::Monitor => found.push(Finding::warning(name, text).mend(gate::shut(subject, None))),
            DoubtKind::EverybodyTrusted => found.push(Finding::fault(name, text).mend(edit)),
            DoubtKind::NoKnownMethod => found.push(Finding::fault(name, text).mend(edit)),
            DoubtKind::UnknownMethod => found.push(Finding::warning(name, text).mend(edit)),
            // What is listened on changes with a restart alone.
            DoubtKind::HttpEverywhere => {
                let mend = format!("$EDITOR {file}   # {}, then: systemctl restart sipknock", doubt.edit);
                found.push(Finding::warning(name, text).mend(mend));
            }
        }
    }
    for weak in weakness::of(&config.knocks) {
        if let Some(knock) = config.knocks.get(weak.knock) {
            let text = format!("weak knock {:?}: {}", knock.name, weak.why);
            found.push(match weak.guessable {
                true => Finding::fault("guessable-knock", text).mend(subject.edit(&format!(
                    "give knock {:?} a secret of 'sipknock keygen', and its phones too",
                    knock.name
                ))),
                false => Finding::warning("weak-knock", text).mend(subject.command("check")),
            });
        }
    }
    for note in &config.notes {
        found.push(Finding::note("configuration-note", format!("{}: {}", note.place, note.text)));
    }
    if config.queue.on_overload == Fallback::Open {
        let text =
            "on_overload is \"open\": packets that find a queue full pass unchecked, and no counter shows it";
        found.push(Finding::note("unchecked-on-overload", text));
    }
    found
}

fn capabilities(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    if !may(facts, CAP_NET_ADMIN) {
        let text = "this process has no CAP_NET_ADMIN: rules and queues can't be seen, so nothing is proved";
        return vec![
            Finding::fault("capabilities", text).mend(format!("sudo {}", subject.command("doctor"))),
        ];
    }
    if !may(facts, CAP_SYS_PTRACE) {
        let text = "this process has no CAP_SYS_PTRACE: the owners of other processes' sockets can't be seen";
        return vec![Finding::note("capabilities", text)];
    }
    Vec::new()
}

/// A bit of capabilities(7).
fn may(facts: &Facts, capability: u32) -> bool {
    facts.capabilities & (1 << capability) != 0
}

fn confinement(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let listens = facts.queues.iter().any(|queue| queue.row.is_some());
    if facts.selinux_enforcing {
        let text = "SELinux is enforcing";
        found.push(match listens {
            true => Finding::note("selinux", format!("{text}; the gate runs under it")),
            false => {
                Finding::warning("selinux", format!("{text}, and no gate runs: it may have been refused"))
                    .mend("ausearch -m avc -ts recent -c sipknock")
            }
        });
    }
    if let Some(profile) = facts.apparmor.as_deref().filter(|profile| profile.contains("(enforce)")) {
        let file = subject.config.path.display();
        let text =
            format!("AppArmor confines the gate to {profile}: it must be allowed {file} and netlink sockets");
        found.push(
            Finding::note("apparmor", text).mend("journalctl -k --grep 'apparmor=\"DENIED\".*sipknock'"),
        );
    }
    found
}

/// Bits of capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_PTRACE: u32 = 19;
