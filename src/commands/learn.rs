//! `sipknock learn`

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::captures::{CaptureOutcome, config_or_flags, each_packet_of, say_left_out};
use super::failure::Failure;
use super::logs::{self, Input};
use crate::cli::{Cli, LearnArgs};
use crate::learn::{LearnReport, ReportFormat, Roster};
use crate::packet::Packet;
use crate::replay::Intake;
use crate::replay::gaps::Gaps;

pub(super) fn run(cli: &Cli, args: &LearnArgs) -> Result<ExitCode, Failure> {
    let (config, unread) = config_or_flags(cli, &args.flags())?;
    if unread.is_some() {
        say_left_out();
    }
    let mut intake = Intake::new(config.inspect.scope.clone()).into_tunnels(args.tunnels);
    let mut roster = Roster::new(config.inspect.scope);
    let mut failed = false;
    for path in &args.files {
        failed |= read(path, &mut intake, &mut roster)?.failed;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let report = roster.report();
    // Of files that could not be read the error says all; an object is printed all the same.
    if failed && report.is_empty() && !args.json {
        return Ok(ExitCode::from(1));
    }
    write(&mut out, &report, &intake.gaps(), args.format())?;
    out.flush()?;
    let refused = if args.weak { report.refused() } else { 0 };
    if refused > 0 {
        let phones = if refused == 1 { "1 phone sends" } else { &format!("{refused} phones send") };
        return Err(Failure::Usage(format!(
            "{phones} nothing but what is guessed within a minute, which --weak does not write either: set the \
             display name to a secret of 'sipknock keygen'"
        )));
    }
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Writes what was learned, and what the captures do not show.
fn write(out: &mut impl Write, report: &LearnReport, gaps: &Gaps, format: ReportFormat) -> io::Result<()> {
    if format == ReportFormat::Json {
        serde_json::to_writer(&mut *out, &Learned { report, gaps })?;
        return out.write_all(b"\n");
    }
    report.write(out, format)?;
    let start = if matches!(format, ReportFormat::Toml { .. }) { "# " } else { "" };
    gaps.sentences(true).iter().try_for_each(|sentence| writeln!(out, "{start}{sentence}"))
}

#[derive(Serialize)]
struct Learned<'a> {
    #[serde(flatten)]
    report: &'a LearnReport,
    #[serde(flatten)]
    gaps: &'a Gaps,
}

/// Reads a capture or an Asterisk log, whichever it is.
fn read(path: &Path, intake: &mut Intake, roster: &mut Roster) -> io::Result<CaptureOutcome> {
    match logs::either(path) {
        Ok(Input::Log(log)) => {
            Ok(logs::each_message(path, log, |_, logged, message| match logged.received {
                true => roster.request(logged.peer, None, logged.transport, message),
                false => roster.response(logged.peer, message),
            }))
        }
        Ok(Input::Other(input)) => each_packet_of(path, input, intake, |packet| {
            if let Ok(packet) = Packet::parse(packet.bytes) {
                roster.observe(&packet);
            }
            Ok(())
        }),
        Err(outcome) => Ok(outcome),
    }
}
