//! Whether the running gate shuts strangers out, and goes by the configuration that all else is judged by.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::config::{Digests, everybody_trusted, shell_word, values};
use crate::control::protocol::{BusiestStats, ConfigStats, OutboundStats, Stats};
use crate::inspect::Mode;
use crate::net::NetSet;

use crate::doctor::facts::{Facts, ProcessFacts};
use crate::doctor::finding::{Finding, Subject};

/// What the gate says of itself; nothing if it says nothing.
pub(super) fn check(subject: Subject<'_>, facts: &Facts) -> Vec<Finding> {
    let mut found: Vec<_> = other_config(subject, facts).into_iter().collect();
    let Some(stats) = told(facts) else { return found };
    let gate = facts.gate_process.as_ref().filter(|process| process.pid == stats.pid);
    found.extend(open(subject, stats, gate));
    // What another file says is nothing to hold this gate against.
    if let Some(config) = stats.config.as_deref().filter(|_| !is_other(&found)) {
        found.extend(not_in_force(subject, stats, config, gate));
    }
    found.extend(outbound(subject, stats, gate));
    found.extend(evicted(subject, stats));
    found.extend(unwatched(subject, stats, gate));
    found.extend(trunks(subject, stats));
    found.extend(stats.busiest.as_ref().and_then(|busiest| one_source(facts, busiest)));
    found
}

/// What the gate says, if one was asked and answers.
pub(super) fn told(facts: &Facts) -> Option<&Stats> {
    facts.gate.as_ref()?.as_ref().ok()
}

/// The gate goes by another file than this command.
pub(super) fn other_config(subject: Subject<'_>, facts: &Facts) -> Option<Finding> {
    let ours = subject.config.file().map(|path| path.display().to_string());
    let (pid, theirs) = match told(facts) {
        Some(stats) => (stats.pid, stats.config.as_ref()?.file.clone()),
        None => {
            let owner = facts.queues.iter().find_map(|queue| queue.owner.as_ref())?;
            let config = owner.config.as_ref().filter(|config| owner.is_gate() && config.exists())?;
            (owner.pid, Some(config.display().to_string()))
        }
    };
    if ours == theirs {
        return None;
    }
    let here = ours.unwrap_or_else(|| "flags alone".to_owned());
    Some(match theirs {
        Some(theirs) => {
            let text = format!(
                "the gate, process {pid}, uses {theirs}, and this command {here}: these findings do not hold for that gate"
            );
            let mend = format!("sipknock --config {} doctor", shell_word(theirs));
            Finding::fault(OTHER_CONFIG, text).mend(mend)
        }
        None => {
            let text = format!(
                "the gate, process {pid}, uses flags alone, and not {here}: nothing in {here} is in force"
            );
            Finding::fault(OTHER_CONFIG, text).mend(subject.command("run --takeover"))
        }
    })
}

fn is_other(found: &[Finding]) -> bool {
    found.iter().any(|finding| finding.name == OTHER_CONFIG)
}

/// Everything passes, or will for a while.
fn open(subject: Subject<'_>, stats: &Stats, gate: Option<&ProcessFacts>) -> Option<Finding> {
    let pid = stats.pid;
    if let Some(grace) = &stats.grace {
        let phones = format!(
            "{} phones have registered, {} of them without a knock of their own",
            grace.phones, grace.unready
        );
        let mend = format!("{} && {}", subject.command("stats"), subject.command("enforce"));
        return Some(match grace.left_s {
            0 => {
                let text = format!(
                    "the time of the grace is up, and the gate, process {pid}, still lets everything pass: {phones}"
                );
                Finding::fault("grace", text).mend(mend)
            }
            left => {
                let span = humantime::format_duration(std::time::Duration::from_secs(left));
                let text =
                    format!("the gate, process {pid}, lets everything pass for another {span}: {phones}");
                Finding::warning("grace", text).mend(mend).seconds(Some(left))
            }
        });
    }
    (stats.mode == "monitor").then(|| {
        let text =
            format!("the gate, process {pid}, is in mode \"monitor\": strangers pass, and are only logged");
        Finding::fault("monitor", text).mend(shut(subject, gate))
    })
}

/// What ends monitor mode: in the words of the gate, or in the file.
pub(super) fn shut(subject: Subject<'_>, gate: Option<&ProcessFacts>) -> String {
    if gate.is_some_and(|gate| gate.monitors) {
        return match gate.and_then(|gate| gate.unit.as_deref()) {
            Some(unit) => format!(
                "systemctl edit --full {unit}   # take --monitor out of ExecStart, then: systemctl restart {unit}"
            ),
            None => subject.command("run --takeover"),
        };
    }
    let file = shell_word(&subject.config.path);
    let reload = subject.command("reload");
    if subject.config.inspect.mode == Mode::Monitor && !subject.config.flagged {
        let edit = r#"s/^([[:space:]]*mode[[:space:]]*=[[:space:]]*).monitor./\1"enforce"/"#;
        return format!("sed -E -i '{edit}' {file} && {reload}");
    }
    format!("$EDITOR {file}   # [inspect] mode = \"enforce\", then: {reload}")
}

/// What the file says and the gate does not go by.
fn not_in_force(
    subject: Subject<'_>,
    stats: &Stats,
    config: &ConfigStats,
    gate: Option<&ProcessFacts>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let (pid, file) = (stats.pid, subject.config.path.display());
    if let Some(Digests { meaning, files }) = subject.config.digests_like(&config.files) {
        // With flags on either side meanings differ anyway, and only bytes can be compared.
        let flags = config.flags || subject.config.flagged;
        if files != config.files && (flags || meaning != config.meaning) {
            let text = format!(
                "{file}, or a file with a secret that it names, has changed since the gate, process {pid}, read it at \
                 {}: its present text is not in force",
                config.read
            );
            return vec![Finding::fault("not-reloaded", text).mend(subject.command("reload"))];
        }
    }
    if !config.restart.is_empty() {
        let text = format!(
            "{file} has other values of {} than the gate, process {pid}, uses: only a restart puts them in force",
            config.restart.join(", ")
        );
        found.push(Finding::warning("restart-needed", text).mend(restart(subject, gate)));
    }
    found.extend(differs(subject, pid, config));
    let trusted: Vec<IpNet> = config.trusted.iter().filter_map(|net| net.parse().ok()).collect();
    if everybody_trusted(&subject.config.inspect.trusted).is_empty() {
        for family in everybody_trusted(&trusted) {
            let text = format!(
                "the gate, process {pid}, trusts every {family} address by a flag: strangers pass without a knock"
            );
            found.push(Finding::fault("everybody-trusted", text).mend(restart(subject, gate)));
        }
    }
    found
}

/// Ports, transports and trusted networks of the gate against those that the rules follow from.
fn differs(subject: Subject<'_>, pid: u32, config: &ConfigStats) -> Option<Finding> {
    let plan = subject.plan;
    let ports = values::ports(&config.ports.join(",")).unwrap_or_default();
    let mut differences = Vec::new();
    if merged(&ports) != merged(&plan.ports) {
        let rules: Vec<_> = plan.ports.iter().map(values::ports_text).collect();
        differences.push(format!("ports {} and not {}", config.ports.join(","), rules.join(",")));
    }
    let mut rules: Vec<_> = plan.transports.iter().map(|transport| transport.name()).collect();
    rules.sort_unstable();
    let mut gate: Vec<_> = config.transports.iter().map(String::as_str).collect();
    gate.sort_unstable();
    if gate != rules {
        differences.push(format!("transports {} and not {}", gate.join(","), rules.join(",")));
    }
    // A daemon that says nothing of them has none.
    if !config.chains.is_empty() && config.chains != plan.chains {
        differences.push(format!("chains {} and not {}", config.chains.join(","), plan.chains.join(",")));
    }
    let trusted: Vec<IpNet> = config.trusted.iter().filter_map(|net| net.parse().ok()).collect();
    if NetSet::new(&trusted) != NetSet::new(&plan.trusted) {
        let listed = |nets: &[IpNet]| match nets {
            [] => "none".to_owned(),
            [first] => first.to_string(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        differences.push(format!("trusted networks {} and not {}", listed(&trusted), listed(&plan.trusted)));
    }
    if differences.is_empty() {
        return None;
    }
    let text = format!(
        "the gate, process {pid}, uses {}, which the rules depend on: flags and {} differ",
        differences.join("; by "),
        subject.config.path.display()
    );
    let mend = format!(
        "$EDITOR {}   # write the values of the flags here; then: {}, and start the gate without these flags",
        shell_word(&subject.config.path),
        subject.apply()
    );
    Some(Finding::fault("gate-differs", text).mend(mend))
}

/// The gate does not see what the PBX sends, although it should.
fn outbound(subject: Subject<'_>, stats: &Stats, gate: Option<&ProcessFacts>) -> Option<Finding> {
    let off = stats.outbound.as_ref()?.off.as_ref()?;
    subject.config.firewall.outbound?;
    let text = format!(
        "outbound is off, so that a provider that the PBX registers with is dropped when it calls, unless it is in `trusted`: {off}"
    );
    let restart = restart(subject, gate);
    // The error names the module if the kernel has none.
    let mend = match off.contains("modprobe") {
        true => format!("modprobe -a nfnetlink_log xt_NFLOG && {restart}"),
        false => restart,
    };
    Some(Finding::warning("outbound-off", text).mend(mend))
}

/// Outbound doors went before their time, and there are still many.
fn evicted(subject: Subject<'_>, stats: &Stats) -> Option<Finding> {
    let OutboundStats { open, max, evicted, .. } =
        stats.outbound.as_ref().filter(|told| told.evicted > 0 && told.open > told.max / 2)?;
    let text = format!(
        "{evicted} open outbound doors were closed since there were too many, the ones called longest ago first: now {open} of \
         at most {max} are open"
    );
    let mend = format!(
        "$EDITOR {}   # [firewall] max_outbound = {}, then: {}",
        shell_word(&subject.config.path),
        max.saturating_mul(2),
        subject.command("reload")
    );
    Some(Finding::warning("outbound-full", text).mend(mend))
}

/// The process that puts rules back is gone, or was never there although the unit has one.
fn unwatched(subject: Subject<'_>, stats: &Stats, gate: Option<&ProcessFacts>) -> Option<Finding> {
    stats.rules.as_ref().filter(|rules| !rules.watched)?;
    let text = "no process watches the firewall's rules: if another program removes them, they stay away";
    let mend = match gate.and_then(|gate| gate.unit.as_ref()) {
        Some(_) => "systemctl restart sipknock-rules".to_owned(),
        None => restart(subject, gate),
    };
    Some(Finding::warning("unwatched", text).mend(mend))
}

/// Calls that were dropped and may be a provider's. Whether they are, only the owner knows.
fn trunks(subject: Subject<'_>, stats: &Stats) -> Option<Finding> {
    let [first, rest @ ..] = stats.refused_trunks.as_slice() else { return None };
    let others: Vec<_> = rest.iter().take(OTHERS).map(|trunk| trunk.source.as_str()).collect();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!("; others called so, too: {}", others.join(", "))
    };
    let text = format!(
        "{} calls from {} for {}, with which the PBX has registered somewhere, were dropped: if that is the provider, it \
         calls from another address than the one registered at{others}",
        first.calls, first.source, first.user
    );
    // The one that called last alone: a scanner that guesses the user is among them, perhaps.
    let edit = subject.edit(&format!("if it is: add {:?} to [inspect] trusted", first.source));
    Some(Finding::warning("trunk-refused", text).mend(edit))
}

/// Senders that are named beside the one that called last.
const OTHERS: usize = 5;

/// Most of the packets come from one address, so that one door is everybody's.
fn one_source(facts: &Facts, busiest: &BusiestStats) -> Option<Finding> {
    let BusiestStats { address, percent, of } = busiest;
    if *percent <= MOST || *of < ENOUGH {
        return None;
    }
    let parsed: Option<IpAddr> = address.parse().ok();
    let held = |addresses: &[IpAddr]| parsed.is_some_and(|address| addresses.contains(&address));
    let what = format!("{percent} of 100 packets come from {address}");
    let door = "one knock opens for everybody behind it";
    let mend = format!(
        "tcpdump -c 20 -ni any host {address}   # and have the SIP ports reach this machine without it"
    );
    Some(if held(&facts.own_addresses) {
        let text = format!(
            "{what}, an address of this machine: something here takes packets in and sends them on, as docker-proxy does, and \
             {door}"
        );
        Finding::fault(ONE_SOURCE, text).mend(mend)
    } else if held(&facts.gateways) {
        let text = format!("{what}, the router: it puts its own address in (SNAT), and {door}");
        Finding::fault(ONE_SOURCE, text).mend(mend)
    } else {
        let text = format!(
            "{what}: unless all phones are at that place, something in front puts its own address in (SNAT), and {door}"
        );
        Finding::warning(ONE_SOURCE, text).mend(mend)
    })
}

/// How the gate is started again.
fn restart(subject: Subject<'_>, gate: Option<&ProcessFacts>) -> String {
    match gate.and_then(|gate| gate.unit.as_deref()) {
        Some(unit) => format!("systemctl restart {unit}"),
        None => subject.command("run --takeover"),
    }
}

/// Ports in order, with none twice.
fn merged(ports: &[RangeInclusive<u16>]) -> Vec<(u16, u16)> {
    let mut ports: Vec<_> = ports.iter().map(|range| (*range.start(), *range.end())).collect();
    ports.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ports {
        match merged.last_mut() {
            Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

const OTHER_CONFIG: &str = "other-config";
const ONE_SOURCE: &str = "one-source";

/// A share in percent above which the rest may as well be strangers that gave up.
const MOST: u64 = 90;

/// Packets below which a share says nothing: one phone that registers hourly sends no more in a week.
const ENOUGH: u64 = 300;
