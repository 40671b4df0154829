//! `sipknock stats`

use std::io::{self, Write};
use std::process::ExitCode;

use super::failure::{Failure, write_json};
use super::remote;
use super::remote::{counted, moment, span};
use crate::cli::{Cli, StatsArgs};
use crate::control::protocol::{OutboundStats, ProtectionStats, RulesFamily, Stats};

pub(super) fn run(cli: &Cli, args: &StatsArgs) -> Result<ExitCode, Failure> {
    let stats = remote::stats(cli, &args.gate)?;
    match args.json {
        true => write_json(&stats)?,
        false => write_text(&stats, io::stdout().lock())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write_outbound(outbound: &OutboundStats, mut out: impl Write) -> io::Result<()> {
    let OutboundStats { open, max, evicted, marks, wanted: _, copies, lost, group, off } = outbound;
    writeln!(
        out,
        "outbound doors: {open} open of at most {max}, {} kept from one by a mark",
        counted(*marks, "source")
    )?;
    if *evicted > 0 {
        writeln!(out, "  {} closed early since there were too many", counted(*evicted, "door"))?;
    }
    match (group, off) {
        (Some(group), _) => writeln!(
            out,
            "  {} of the PBX read by NFLOG group {group}, {lost} lost to a full socket",
            counted(*copies, "packet")
        ),
        (None, why) => {
            writeln!(
                out,
                "  packets of the PBX are not read: {}",
                why.as_deref().unwrap_or("no reason was given")
            )
        }
    }
}

fn write_text(stats: &Stats, mut out: impl Write) -> io::Result<()> {
    let Stats { version, pid, mode, backend, doors, .. } = stats;
    writeln!(out, "sipknock {version}, process {pid}, mode {mode}, backend {backend}")?;
    writeln!(out, "running for {} since {}", span(stats.uptime_s), moment(&stats.started))?;
    if let Some(ProtectionStats { user, capabilities, seccomp, landlock }) = &stats.protection {
        let on = |on: &bool| if *on { "on" } else { "off" };
        let (capabilities, seccomp, landlock) = (capabilities.join(" and "), on(seccomp), on(landlock));
        writeln!(
            out,
            "runs as {user} with {capabilities} alone; seccomp is {seccomp}, landlock is {landlock}"
        )?;
    }
    if let Some(config) = &stats.config {
        let file = config.file.as_deref().unwrap_or("flags alone");
        let flags = if config.flags && config.file.is_some() { ", and flags" } else { "" };
        writeln!(out, "configuration: {file}{flags}, read {}", moment(&config.read))?;
    }
    if let Some(grace) = &stats.grace {
        let time = match grace.left_s {
            0 => "the time of --grace is up, and everything still passes".to_owned(),
            left => format!("everything passes for another {}", span(left)),
        };
        writeln!(
            out,
            "{time}: {} have registered, {} of them without a knock so far; 'sipknock enforce' ends it",
            counted(grace.phones, "phone"),
            grace.unready
        )?;
        if grace.borrowed > 0 {
            writeln!(out, "  {} of these pass by a door that is not their own", grace.borrowed)?;
        }
        if grace.overlooked > 0 {
            writeln!(out, "  {} REGISTERs came too fast to be read", grace.overlooked)?;
        }
    }
    writeln!(out, "doors: {} open of at most {}, {} known", doors.open, doors.max, doors.known)?;
    for (knock, held) in &doors.by_knock {
        writeln!(out, "  {knock}: {held}")?;
    }
    if let Some(outbound) = &stats.outbound {
        write_outbound(outbound, &mut out)?;
    }
    writeln!(out, "packets: {}", stats.packets)?;
    for (reason, count) in &stats.reasons {
        writeln!(out, "  {reason}: {count}")?;
    }
    for queue in &stats.queues {
        writeln!(
            out,
            "queue {}: {} waiting, lost {} to a full queue and {} to a full socket",
            queue.queue, queue.waiting, queue.kernel_dropped, queue.socket_dropped
        )?;
        if queue.stale > 0 {
            let text = "packets were dropped by the kernel while they waited: a base chain was deleted";
            writeln!(out, "  {} {text}, or an interface", queue.stale)?;
        }
        if let Some(ago) = queue.last_verdict_ago() {
            writeln!(out, "  {ago}")?;
        }
        if queue.faults > 0 {
            let now = queue.fault.as_deref().unwrap_or("fine");
            writeln!(out, "  not served {} times since the start, now {now}", queue.faults)?;
        }
    }
    if let Some(rules) = &stats.rules {
        let state = |family: &RulesFamily| match family.detail.as_str() {
            "" => format!("{} {}", family.family, family.state),
            detail => format!("{} {}, {detail}", family.family, family.state),
        };
        let families: Vec<_> = rules.families.iter().map(state).collect();
        let watched = if rules.watched { "" } else { " (their last state: no process watches them)" };
        writeln!(
            out,
            "firewall rules: {}{watched}; put back {} times, missing for {:.3} s since the start",
            families.join("; "),
            rules.restores,
            rules.missing_ms as f64 / 1e3
        )?;
        if let Some(note) = &rules.note {
            writeln!(out, "  {note}")?;
        }
    }
    if let Some(state) = &stats.state {
        writeln!(
            out,
            "doors are kept in {}: written {} times, failed {}",
            state.file, state.writes, state.failures
        )?;
    }
    match stats.events_lost {
        0 => Ok(()),
        lost => writeln!(out, "{lost} events were counted and not logged"),
    }
}
