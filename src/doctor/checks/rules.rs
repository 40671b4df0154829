//! Our rules, and those of others before and behind them.

use crate::config::shell_word;
use crate::firewall::{CHAIN, Difference, Family, FamilyState, FamilyStatus, FirewallNote};
use crate::rules_watch::managers;

use crate::doctor::facts::{Facts, Need, Tables};
use crate::doctor::finding::{Finding, Severity, Subject};
use crate::doctor::nft::Nft;
use crate::firewall::path::{Action, Met, POLICY, Stranger, words};

/// Whether our rules are there, and are reached.
pub(super) fn place(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let status = match &facts.status {
        None => return Vec::new(),
        Some(Err(_)) if facts.no_iptables.is_some() => {
            let program = facts.no_iptables.as_deref().unwrap_or_default();
            let text = format!(
                "iptables is not installed ({program} is missing): no rule hands packets to the gate, so everybody reaches the \
                 PBX"
            );
            let mend = format!("apt install iptables && {}", subject.apply());
            return vec![Finding::fault("no-iptables", text).mend(mend)];
        }
        Some(Err(error)) => {
            return vec![Finding::fault("rules-unreadable", format!("the rules can't be read: {error}"))];
        }
        Some(Ok(status)) => status,
    };
    let mut found = Vec::new();
    for family in &status.families {
        let tables = facts.tables.iter().find(|tables| tables.family == family.family);
        let before = tables.map_or_else(Vec::new, |tables| before(subject, tables, family.state));
        found.extend(of_family(subject, family, before.is_empty()));
        found.extend(before);
        found.extend(family.notes.iter().filter_map(|note| left_out(subject, facts, family, note)));
        // Of rules that are gone nobody took anything.
        if family.state != FamilyState::Absent {
            found.extend(taken(subject, facts, family, tables));
        }
    }
    found.extend(unfed(subject, facts, &found));
    found
}

/// Says what to do in place of an apply, where that would be refused.
pub(super) fn instead_of_apply(subject: Subject<'_>, facts: &Facts, found: &mut [Finding]) {
    let mut refusals =
        facts.tables.iter().filter_map(|tables| managers::refusal(&tables.ours, &subject.plan.chains));
    let Some(refusal) = refusals.next() else { return };
    let apply = subject.apply();
    let instead = format!("{}   # {refusal}", subject.command("firewall print"));
    for finding in found.iter_mut().filter(|finding| finding.mend.as_ref() == Some(&apply)) {
        finding.mend = Some(instead.clone());
    }
}

/// What had to be left out of the rules, and what that costs.
fn left_out(
    subject: Subject<'_>,
    facts: &Facts,
    family: &FamilyStatus,
    note: &FirewallNote,
) -> Option<Finding> {
    let text = format!("{}: {note}", family.family.name());
    let load = |modules: &str| format!("modprobe -a {modules} && {}", subject.apply());
    Some(match note {
        FirewallNote::OutboundLeftOut => {
            Finding::warning("no-outbound", text).mend(load("nfnetlink_log xt_NFLOG"))
        }
        // What was tried and refused is told already.
        FirewallNote::ReassemblyLeftOut if facts.refused.iter().any(|(need, _)| *need == Need::Conntrack) => {
            return None;
        }
        FirewallNote::ReassemblyLeftOut => Finding::warning("no-reassembly", text).mend(load("xt_conntrack")),
        FirewallNote::NoInterface { .. } => {
            Finding::warning("no-interface", text).mend(subject.edit("[firewall] pbx: add the interface"))
        }
        FirewallNote::CounterLeftOut => {
            Finding::note("not-counted", text).mend(load("iptable_mangle xt_comment"))
        }
        FirewallNote::AnswersCopied => Finding::note("answers-copied", text).mend(load("xt_u32")),
        _ => return None,
    })
}

/// Packets that came to this machine and never to our jumps. Where a rule that drops stands before them, as one of
/// fail2ban's does, that may be its work.
fn taken(
    subject: Subject<'_>,
    facts: &Facts,
    family: &FamilyStatus,
    tables: Option<&Tables>,
) -> Option<Finding> {
    let counted = family.counted.filter(|counted| counted.taken_before * TAKEN_SHARE > counted.arrived)?;
    let drops = tables.is_some_and(|tables| {
        strangers(subject).any(|stranger| {
            let way = tables.ours.walk("filter", hook(subject), stranger);
            way.iter().take_while(|met| met.action != Action::Ours).any(|met| met.action == Action::Drop)
        })
    });
    let now = match facts.fed {
        Some(fed) if fed.taken_before > 0 => format!(", {} of them just now", fed.taken_before),
        _ => String::new(),
    };
    let text = format!(
        "{}: of {} packets for the inspected ports {} were taken by rules of others before ours{now}: the gate saw none of \
         them",
        family.family.name(),
        counted.arrived,
        counted.taken_before
    );
    let finding = if drops { Finding::note } else { Finding::warning };
    Some(finding("taken-before", text).mend(subject.apply()))
}

/// The rules hand over packets, and none comes to the queues that the gate reads.
fn unfed(subject: Subject<'_>, facts: &Facts, found: &[Finding]) -> Option<Finding> {
    let fed = facts.fed.filter(|fed| fed.counted > 0 && fed.queued == 0)?;
    let known = |finding: &Finding| ["wrong-queue", "rules-differ"].contains(&finding.name.as_str());
    if found.iter().any(known) {
        return None;
    }
    // Of a queue that nobody reads that is told already.
    let read = facts.queues.iter().any(|queue| queue.row.is_some());
    let text = format!(
        "our rules have handed {} packets to a queue during this check, and none came to the queues that the gate reads",
        fed.counted
    );
    read.then(|| Finding::fault("unfed-queues", text).mend(subject.apply()))
}

fn of_family(subject: Subject<'_>, family: &FamilyStatus, first: bool) -> Vec<Finding> {
    let name = family.family.name();
    let plan = subject.plan;
    let mut found = Vec::new();
    match family.state {
        FamilyState::InPlace => {}
        FamilyState::Skipped => {
            if let Some(note @ FirewallNote::NoProgram { .. }) = family.notes.first() {
                found.push(Finding::fault("ipv6-open", note.to_string()).mend("apt install iptables"));
            }
        }
        FamilyState::Absent => {
            let text = format!("{name}: the rules are not there, so everybody reaches the PBX");
            found.push(Finding::fault("rules-absent", text).mend(subject.apply()));
        }
        FamilyState::Differs => {
            if let Some(queues) = family.queues
                && (queues.first, queues.last) != (*plan.queues.start(), *plan.queues.end())
            {
                let text = format!(
                    "{name}: the rules feed queue {}-{}, the gate of this configuration listens on {}-{}",
                    queues.first,
                    queues.last,
                    plan.queues.start(),
                    plan.queues.end()
                );
                found.push(Finding::fault("wrong-queue", text).mend(subject.apply()));
            }
            let not_first = |difference: &&Difference| {
                matches!(difference, Difference::NotFirst { .. } | Difference::DroppedBefore { .. })
            };
            found.extend(
                family.differences.iter().filter_map(|difference| not_ours(subject, name, difference)),
            );
            let differences: Vec<_> = family
                .differences
                .iter()
                .filter(|difference| !not_first(difference) && difference.is_mendable())
                .collect();
            if let (Some(difference), true) = (differences.first(), found.is_empty()) {
                let more = match differences.len() {
                    1 => String::new(),
                    more => format!(", and {} more", more - 1),
                };
                let text =
                    format!("{name}: the rules are not those of the configuration: {difference}{more}");
                found.push(Finding::fault("rules-differ", text).mend(subject.apply()));
            }
            if let (Some(difference), true) = (family.differences.iter().find(not_first), first) {
                let text = format!("{name}: rules of others come first: {difference}");
                found.push(Finding::warning("not-first", text).mend(subject.apply()));
            }
        }
    }
    found
}

/// What no apply mends, since it is in rules that are not ours.
fn not_ours(subject: Subject<'_>, name: &str, difference: &Difference) -> Option<Finding> {
    let text = format!("{name}: {difference}");
    Some(match difference {
        Difference::Outside { to, .. } => {
            let address = to.rsplit_once(':').map_or(to.as_str(), |(address, _)| address);
            let edit = format!("[firewall] pbx: add {address:?}, or a network in which the container stays");
            Finding::fault("dnat-outside", text).mend(subject.edit(&edit))
        }
        Difference::Bypassed { chain, .. } => {
            Finding::fault("bypassed", text).mend(subject.edit(&move_to_hook(chain)))
        }
        Difference::Unreached { chain } => {
            Finding::fault("unreached", text).mend(subject.edit(&move_to_hook(chain)))
        }
        _ => return None,
    })
}

/// A chain that others jump to is where they want it; FORWARD itself is passed by all.
fn move_to_hook(chain: &str) -> String {
    format!("[firewall] chains: \"FORWARD\" in place of {chain:?}")
}

/// What decides a stranger's packet before our chain.
fn before(subject: Subject<'_>, tables: &Tables, state: FamilyState) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let start = hook(subject);
    for stranger in strangers(subject) {
        let (name, proto, port) = (tables.family.name(), stranger.transport.name(), stranger.port);
        let ways =
            [("raw", "PREROUTING"), ("mangle", "PREROUTING"), ("nat", "PREROUTING"), ("mangle", start)];
        for met in ways.iter().flat_map(|(table, chain)| tables.ours.walk(table, chain, stranger)) {
            push(&mut found, earlier(subject, tables.family, stranger, &met));
        }
        if state == FamilyState::Absent {
            continue;
        }
        let way = tables.ours.walk("filter", start, stranger);
        for met in way.iter().take_while(|met| met.action != Action::Ours) {
            let rule = format!("-A {} {}", met.chain, met.spec);
            let finding = match (&met.action, met.certain) {
                (Action::Accept, true) => Finding::fault(
                    "accepted-before",
                    format!(
                        "{name}, {proto} port {port}: `{rule}` accepts everything before our rules: strangers reach the PBX"
                    ),
                ),
                (Action::Accept, false) if met.established => Finding::fault(
                    "established-before",
                    format!(
                        "{name}: `{rule}` comes before our rules: the gate does not see a phone once it is in, so a \
                         closed door does not shut it out and its knocks renew nothing"
                    ),
                ),
                (Action::Accept, false) => Finding::note(
                    "some-accepted-before",
                    format!("{name}, {proto} port {port}: `{rule}` lets some pass before our rules"),
                ),
                (Action::Drop, true) => Finding::fault(
                    "dropped-before",
                    format!(
                        "{name}, {proto} port {port}: `{rule}` drops everything before our rules: no phone can knock"
                    ),
                ),
                (Action::Queue, _) => Finding::fault(
                    "queued-before",
                    format!(
                        "{name}, {proto} port {port}: `{rule}` hands packets to a queue before our rules"
                    ),
                ),
                _ => continue,
            };
            push(&mut found, Some(finding.mend(subject.apply())));
        }
        if !way.iter().any(|met| met.action == Action::Ours) && !found.iter().any(is_fault) {
            let text = format!(
                "{name}, {proto} port {port}: no packet gets from {start} to the chain {CHAIN}: nothing jumps there for it"
            );
            push(&mut found, Some(Finding::fault("not-reached", text).mend(subject.apply())));
        }
    }
    found
}

fn is_fault(finding: &Finding) -> bool {
    finding.severity == Severity::Fault
}

/// Rules of other tables, which are asked before table filter.
fn earlier(subject: Subject<'_>, family: Family, stranger: Stranger, met: &Met) -> Option<Finding> {
    let (name, proto, port) = (family.name(), stranger.transport.name(), stranger.port);
    let rule = format!("-t {} -A {} {}", met.table, met.chain, met.spec);
    let delete = delete(family, met);
    Some(match &met.action {
        Action::Drop if met.certain => {
            let text = format!(
                "{name}, {proto} port {port}: `{rule}` drops everything before our rules: no phone can knock"
            );
            Finding::fault("dropped-before", text).mend(delete)
        }
        Action::Redirect(to) if !inspected(subject, *to) => {
            let text = format!(
                "{name}: `{rule}` sends packets to port {to}, which is not inspected: strangers reach it"
            );
            let mend = subject.edit(&format!("add {to} to `ports`"));
            Finding::fault("redirected", text).mend(mend)
        }
        Action::Elsewhere(to) if met.names_port && subject.plan.chains_to_others().next().is_none() => {
            let text = format!(
                "{name}, {proto} port {port}: `{rule}` sends packets to {to}, as Docker does for a published port: they \
                 pass FORWARD, and never our rules in INPUT"
            );
            let chain = if met.chain.contains("DOCKER") { "DOCKER-USER" } else { "FORWARD" };
            let address = to.rsplit_once(':').map_or(to.as_str(), |(address, _)| address);
            let mend = format!(
                "$EDITOR {}   # in [firewall]: chains = [\"INPUT\", {chain:?}], pbx = [{address:?}], then: {}",
                subject.config.path.display(),
                subject.apply()
            );
            Finding::fault("sent-elsewhere", text).mend(mend)
        }
        _ => return None,
    })
}

/// What drops a packet after the gate has accepted it.
pub(super) fn behind(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let start = hook(subject);
    for stranger in strangers(subject) {
        let (proto, port) = (stranger.transport.name(), stranger.port);
        for tables in &facts.tables {
            let name = tables.family.name();
            let mut ways: Vec<_> =
                tables.ours.walk("security", start, stranger).into_iter().map(|met| (met, None)).collect();
            if let Some((program, listing)) = &tables.other {
                for (table, chain) in [
                    ("raw", "PREROUTING"),
                    ("mangle", "PREROUTING"),
                    ("mangle", start),
                    ("filter", start),
                    ("security", start),
                ] {
                    ways.extend(
                        listing.walk(table, chain, stranger).into_iter().map(|met| (met, Some(program))),
                    );
                }
            }
            for (met, program) in
                ways.into_iter().filter(|(met, _)| met.action == Action::Drop && met.certain)
            {
                let rule = format!("-t {} {}", met.table, line(&met));
                let whose = program.map_or_else(String::new, |program| format!(", a rule of {program},"));
                let text = format!(
                    "{name}, {proto} port {port}: `{rule}`{whose} drops everything, also packets that the gate accepts"
                );
                let mend = delete(tables.family, &met);
                let mend = match program {
                    Some(program) => mend.replacen(tool(tables.family), program, 1),
                    None => mend,
                };
                push(&mut found, Some(Finding::fault("dropped-behind", text).mend(mend)));
            }
        }
        let Nft::Tables(tables) = &facts.nft else { continue };
        for table in tables {
            if let Some(command) = table.dropped_by(stranger.transport, port) {
                let text = format!(
                    "the nftables table {} drops {proto} port {port}, also packets that the gate accepts",
                    table.name
                );
                push(&mut found, Some(Finding::fault("dropped-behind", text).mend(command)));
            } else if table.drops_the_rest && !table.accepts(stranger.transport, port) {
                let text = format!(
                    "the nftables table {} drops by default, and does not accept {proto} port {port}: phones whose \
                     knock the gate accepts are dropped there",
                    table.name
                );
                let mend = match table.name.ends_with(" firewalld") {
                    true => {
                        format!("firewall-cmd --permanent --add-port={port}/{proto} && firewall-cmd --reload")
                    }
                    false => format!("nft list table {}   # let it accept {proto} dport {port}", table.name),
                };
                push(&mut found, Some(Finding::fault("dropped-behind", text).mend(mend)));
            }
        }
    }
    found
}

/// Programs that write rules as well, and may put theirs first at any time.
pub(super) fn managers(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let has = |wanted: &str| {
        facts.tables.iter().any(|tables| tables.ours.has_chain(|chain| chain.starts_with(wanted)))
    };
    let nft = |wanted: &str| matches!(&facts.nft, Nft::Tables(tables) if tables.iter().any(|table| table.name.ends_with(wanted)));
    let mut found = Vec::new();
    for (name, there, reload) in [
        ("ufw", has("ufw-before-input"), "ufw reload"),
        ("firewalld", has("IN_public") || has("INPUT_ZONES") || nft(" firewalld"), "firewall-cmd --reload"),
        ("FreePBX's firewall", has("fpbxfirewall") || has("fpbx"), "fwconsole firewall restart"),
        ("Docker", has("DOCKER-USER"), "systemctl restart docker"),
        ("CSF", has("LOCALINPUT"), "csf -r"),
        ("Shorewall", has("net-fw") || has("net2fw"), "shorewall reload"),
    ] {
        if there {
            let text = format!(
                "{name} writes rules here, too. It may put them before ours or flush ours: put ours in after it, and \
                 check again after each `{reload}`"
            );
            found.push(Finding::note("manager", text).mend(subject.apply()));
        }
    }
    found
}

/// A packet for each end of each range, over each transport.
fn strangers(subject: Subject<'_>) -> impl Iterator<Item = Stranger> {
    let plan = subject.plan;
    plan.transports.iter().flat_map(|&transport| {
        plan.ports.iter().flat_map(move |ports| {
            let last = (ports.start() != ports.end()).then_some(*ports.end());
            std::iter::once(*ports.start()).chain(last).map(move |port| Stranger::one(transport, port))
        })
    })
}

/// The built-in chain whose way leads to our jump.
fn hook(subject: Subject<'_>) -> &'static str {
    if subject.plan.guards_input() { "INPUT" } else { "FORWARD" }
}

fn inspected(subject: Subject<'_>, port: u16) -> bool {
    subject.plan.ports.iter().any(|ports| ports.contains(&port))
}

/// One rule is one finding, for however many ports.
fn push(found: &mut Vec<Finding>, finding: Option<Finding>) {
    let rule = |finding: &Finding| finding.text.split('`').nth(1).map(str::to_owned);
    if let Some(finding) = finding {
        let known = |other: &Finding| {
            other.name == finding.name && rule(other).is_some() && rule(other) == rule(&finding)
                || *other == finding
        };
        if !found.iter().any(known) {
            found.push(finding);
        }
    }
}

fn line(met: &Met) -> String {
    if met.spec == POLICY {
        format!("-P {} DROP", met.chain)
    } else {
        format!("-A {} {}", met.chain, met.spec)
    }
}

fn delete(family: Family, met: &Met) -> String {
    let (tool, table) = (tool(family), &met.table);
    match met.spec.as_str() {
        POLICY => format!("{tool} -t {table} -P {} ACCEPT", met.chain),
        // As a shell reads it, and not as iptables-restore does.
        spec => {
            let words: Vec<_> = words(spec).iter().map(shell_word).collect();
            format!("{tool} -t {table} -D {} {}", met.chain, words.join(" "))
        }
    }
}

fn tool(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

/// One packet in so many may be counted at one place and not at the other while rules are being put in.
const TAKEN_SHARE: u64 = 1000;
