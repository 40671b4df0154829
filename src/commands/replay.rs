//! `sipknock replay`

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use super::captures::{CaptureOutcome, config_or_flags, each_packet, say_left_out};
use super::failure::Failure;
use crate::cli::{Cli, ReplayArgs};
use crate::net::NetSet;
use crate::replay::report::{Summary, write_packet};
use crate::replay::{Intake, Replay};

pub(super) fn run(cli: &Cli, args: &ReplayArgs) -> Result<ExitCode, Failure> {
    let (config, unread) = config_or_flags(cli, &args.gate.flags())?;
    match unread {
        // Nothing could ever open a door.
        Some(unread) if config.knocks.is_empty() => return Err(unread.into()),
        Some(_) => say_left_out(),
        None => {}
    }
    let pbx = NetSet::new(args.pbx.iter().chain(&config.firewall.pbx.networks));
    let mut outbound = config.inspect.scope.clone();
    outbound.ports.extend(config.firewall.outbound_ports.iter().cloned());
    let intake = Intake::new(config.inspect.scope.clone())
        .with_pbx(pbx.clone(), outbound.clone())
        .at(args.hook)
        .into_tunnels(args.tunnels);
    let mut run = Run {
        intake,
        replay: Replay::new(config.inspector()?, config.inspect.scope).with_pbx(pbx, outbound),
        summary: Summary::default(),
        out: BufWriter::new(io::stdout().lock()),
        json: args.json,
        several: args.files.len() > 1,
    };
    let mut status = ExitCode::SUCCESS;
    for path in &args.files {
        if run.file(path)?.failed {
            status = ExitCode::from(1);
        }
    }
    run.finish()?;
    Ok(status)
}

/// A replay of one or several files, and what is written about it.
struct Run<W> {
    intake: Intake,
    replay: Replay,
    summary: Summary,
    out: W,
    json: bool,
    several: bool,
}

impl<W: Write> Run<W> {
    /// Decides a file's packets.
    fn file(&mut self, path: &Path) -> io::Result<CaptureOutcome> {
        let Self { intake, replay, summary, out, json, several } = self;
        let name = path.to_string_lossy();
        let outcome = each_packet(path, intake, |packet| {
            let Some(inspected) = replay.packet(packet.time, packet.bytes) else { return Ok(()) };
            summary.add(&inspected);
            if *json {
                let file = several.then_some(&*name);
                write_packet(out, replay.gate().knocks(), file, packet.number, packet.time, &inspected)?;
            }
            Ok(())
        })?;
        summary.packets += outcome.packets;
        Ok(outcome)
    }

    fn finish(mut self) -> io::Result<()> {
        self.summary.gaps = self.intake.gaps();
        let knocks = self.replay.gate().knocks();
        match self.json {
            true => self.summary.write_json(knocks, &mut self.out)?,
            false => self.summary.write_text(knocks, &mut self.out)?,
        }
        self.out.flush()
    }
}
