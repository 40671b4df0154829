//! `sipknock learn`

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::captures::{Outcome, complain, each_packet_of, open, unreadable};
use super::failure::Failure;
use crate::cli::{Cli, LearnArgs};
use crate::learn::{Format, Report, Roster, asterisk};
use crate::packet::Packet;
use crate::replay::Intake;
use crate::replay::gaps::Gaps;
use crate::sip::Message;

pub(super) fn run(cli: &Cli, args: &LearnArgs) -> Result<ExitCode, Failure> {
    let config = cli.configuration_of(&args.flags())?;
    let mut intake = Intake::new(config.inspect.scope.clone()).into_tunnels(args.tunnels);
    let mut roster = Roster::new(config.inspect.scope);
    let mut status = ExitCode::SUCCESS;
    for path in &args.files {
        if read(path, &mut intake, &mut roster)?.failed {
            status = ExitCode::from(1);
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let report = roster.report();
    write(&mut out, &report, &intake.gaps(), args.format())?;
    out.flush()?;
    let refused = if args.weak { report.refused() } else { 0 };
    if refused > 0 {
        let phones = if refused == 1 { "1 phone sends" } else { &format!("{refused} phones send") };
        return Err(Failure::Usage(format!(
            "{phones} nothing but what is guessed within a minute, which --weak does not write either: set the display \
             name to what 'sipknock keygen' makes"
        )));
    }
    Ok(status)
}

/// Writes what was learned, and what the captures do not show.
fn write(out: &mut impl Write, report: &Report, gaps: &Gaps, format: Format) -> io::Result<()> {
    if format == Format::Json {
        serde_json::to_writer(&mut *out, &Learned { report, gaps })?;
        return out.write_all(b"\n");
    }
    report.write(out, format)?;
    let start = if format == Format::Text { "" } else { "# " };
    gaps.sentences(true).iter().try_for_each(|sentence| writeln!(out, "{start}{sentence}"))
}

#[derive(Serialize)]
struct Learned<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(flatten)]
    gaps: &'a Gaps,
}

/// Reads a capture or an Asterisk log, whichever it is.
fn read(path: &Path, intake: &mut Intake, roster: &mut Roster) -> io::Result<Outcome> {
    let mut input = match open(path) {
        Ok(input) => BufReader::with_capacity(BUFFER, input),
        Err(error) => return Ok(unreadable(path, error)),
    };
    let start = match input.fill_buf() {
        Ok(start) => start,
        Err(error) => return Ok(unreadable(path, error)),
    };
    if asterisk::looks_like(start) {
        let problem = read_log(input, roster).err();
        problem.iter().for_each(|problem| complain(path, problem));
        return Ok(Outcome { packets: 0, failed: problem.is_some() });
    }
    each_packet_of(path, input, intake, |packet| {
        if let Ok(packet) = Packet::parse(packet.bytes) {
            roster.observe(&packet);
        }
        Ok(())
    })
}

fn read_log(input: impl BufRead, roster: &mut Roster) -> Result<(), LogError> {
    let mut after = 0;
    for logged in asterisk::messages(input) {
        let logged = logged.map_err(|source| LogError::Io { after, source })?;
        after += 1;
        let Some(message) = Message::parse(&logged.bytes) else { continue };
        match logged.received {
            true => roster.request(logged.peer, None, logged.transport, &message),
            false => roster.response(logged.peer, &message),
        }
    }
    if after == 0 { Err(LogError::NoMessages) } else { Ok(()) }
}

/// Why a log can't be learned from.
#[derive(Debug, thiserror::Error)]
enum LogError {
    #[error("cannot read on after message {after}: {source}")]
    Io { after: u64, source: io::Error },
    #[error(
        "neither a capture nor an Asterisk log with SIP messages in it: let Asterisk write them with 'pjsip set \
         logger on' (chan_sip: 'sip set debug on'), or record with 'tcpdump -w capture.pcap port 5060'"
    )]
    NoMessages,
}

/// Enough of a log to tell it by.
const BUFFER: usize = 64 * 1024;
