//! `sipknock replay`

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use super::Failure;
use crate::cli::{Cli, ReplayArgs};
use crate::replay::Replay;
use crate::replay::capture::{Capture, Error as CaptureError};
use crate::replay::link::{Skip, network_layer};
use crate::replay::report::{Summary, write_packet};

pub(super) fn run(cli: &Cli, args: &ReplayArgs) -> Result<ExitCode, Failure> {
    let config = cli.configuration(&args.gate)?;
    let mut run = Run {
        replay: Replay::new(config.inspector()?, config.inspect.scope),
        summary: Summary::default(),
        out: BufWriter::new(io::stdout().lock()),
        json: args.json,
        several: args.files.len() > 1,
    };
    let mut status = ExitCode::SUCCESS;
    for path in &args.files {
        let name = path.to_string_lossy();
        let problem = match open(path) {
            Ok(input) => run.file(&name, input)?.err(),
            Err(source) => Some(CaptureError::Io { after: 0, source }),
        };
        if let Some(problem) = problem {
            // What was recorded before somebody stopped tcpdump the hard way is whole, and decided.
            if !matches!(problem, CaptureError::Truncated { .. }) {
                status = ExitCode::from(1);
            }
            complain(&name, &problem);
        }
    }
    run.finish()?;
    Ok(status)
}

/// A replay of one or several files, and what is written about it.
struct Run<W> {
    replay: Replay,
    summary: Summary,
    out: W,
    json: bool,
    several: bool,
}

impl<W: Write> Run<W> {
    /// Decides a file's packets; the inner result is what was wrong with the file.
    fn file(&mut self, name: &str, input: impl Read) -> io::Result<Result<(), CaptureError>> {
        let mut capture = match Capture::open(input) {
            Ok(capture) => capture,
            Err(error) => return Ok(Err(error)),
        };
        let mut unknown_link = None;
        loop {
            let record = match capture.next() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            };
            self.summary.packets += 1;
            let packet = match network_layer(record.link, record.data) {
                Ok(packet) => packet,
                Err(skip @ Skip::UnknownLink(_)) => {
                    unknown_link = Some(skip);
                    continue;
                }
                Err(_) => continue,
            };
            let Some(inspected) = self.replay.packet(record.time, packet) else { continue };
            self.summary.add(&inspected);
            if self.json {
                let knocks = self.replay.gate().knocks();
                let file = self.several.then_some(name);
                write_packet(&mut self.out, knocks, file, record.number, record.time, &inspected)?;
            }
        }
        if let Some(skip) = unknown_link {
            complain(name, &skip);
        }
        Ok(Ok(()))
    }

    fn finish(mut self) -> io::Result<()> {
        let knocks = self.replay.gate().knocks();
        match self.json {
            true => self.summary.write_json(knocks, &mut self.out)?,
            false => self.summary.write_text(knocks, &mut self.out)?,
        }
        self.out.flush()
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path)?),
    })
}

/// Says on stderr what is wrong with a file. A closed stderr is no reason to stop.
fn complain(name: &str, problem: &dyn std::error::Error) {
    let _ = writeln!(io::stderr(), "sipknock: {name}: {problem}");
}
