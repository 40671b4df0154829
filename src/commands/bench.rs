//! `sipknock bench`

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::captures::{each_packet, say};
use super::failure::{Failure, WorkError};
use crate::bench::machine::Machine;
use crate::bench::report::{BenchReport, Traffic};
use crate::bench::{BenchPattern, BenchPlan, Style, engine, measure, traffic};
use crate::cli::{BenchArgs, Cli};
use crate::config::{Config, ConfigError};
use crate::inspect::Scope;
use crate::packet::{Body, Packet};
use crate::replay::Intake;

pub(super) fn run(cli: &Cli, args: &BenchArgs) -> Result<ExitCode, Failure> {
    let plan = plan(cli, args)?;
    let plots = Plots::new(args.plot.as_deref(), &plan.styles)?;
    let (packets, status) = if args.capture.is_empty() {
        (traffic::registers(traffic::COUNT), ExitCode::SUCCESS)
    } else {
        captured(&args.capture, &cli.configuration_of(&args.flags())?.inspect.scope)?
    };
    let machine = Machine::pin(args.cpu).map_err(|error| other(&error))?;
    let bar = bar(plan.steps());
    let measurements = measure(&plan, &packets, |steps, what| {
        bar.set_message(what.to_owned());
        bar.inc(steps);
    })
    .map_err(WorkError::from)
    .map_err(Failure::Work);
    bar.finish_and_clear();
    let report = BenchReport {
        machine,
        traffic: Traffic::of(&packets, !args.capture.is_empty()),
        rounds: plan.rounds,
        ignore_case: plan.ignore_case,
        measurements: measurements?,
    };
    plots.write(&report)?;
    let mut out = BufWriter::new(io::stdout().lock());
    match (args.json, args.markdown) {
        (true, _) => report.write_json(&mut out)?,
        (_, true) => report.write_markdown(&mut out, |style| plots.name(style))?,
        _ => report.write_text(&mut out)?,
    }
    out.flush()?;
    Ok(status)
}

/// From what was typed to what is to be measured. The configuration need not be in order where nobody asks for it.
fn plan(cli: &Cli, args: &BenchArgs) -> Result<BenchPlan, Failure> {
    let engines = args.engines();
    if engines.iter().any(|engine| !engine.is_built_in()) {
        return Err(Failure::Usage(engine::Unfit::Absent.to_string()));
    }
    let (styles, mut own) = (args.styles(), Vec::new());
    if styles.contains(&Style::Config) {
        let config = cli.configuration_of(&args.flags())?;
        own = wanted(&config);
        if own.is_empty() {
            return Err(ConfigError::NoKnock { file: config.path }.into());
        }
    }
    let (rounds, sample) = if args.quick { (1, QUICK_SAMPLE) } else { (args.rounds.into(), SAMPLE) };
    Ok(BenchPlan {
        styles,
        counts: args.counts(),
        own,
        ignore_case: args.ignore_case,
        engines,
        rounds,
        sample,
    })
}

fn wanted(config: &Config) -> Vec<BenchPattern> {
    let knocks = config.knocks.iter();
    knocks
        .map(|knock| BenchPattern { bytes: knock.secret.expose().to_vec(), ignore_case: knock.ignore_case })
        .collect()
}

/// The payloads of captured packets that the firewall would queue.
fn captured(files: &[PathBuf], scope: &Scope) -> Result<(Vec<Vec<u8>>, ExitCode), Failure> {
    let (mut payloads, mut bytes, mut status) = (Vec::new(), 0, ExitCode::SUCCESS);
    let mut intake = Intake::new(scope.clone());
    for path in files {
        let outcome = each_packet(path, &mut intake, |recorded| {
            if let Ok(Packet { body: Body::Segment(segment), .. }) = Packet::parse(recorded.bytes)
                && scope.covers(segment.flow)
                && !segment.payload.is_empty()
                && bytes < MAX_BYTES
            {
                bytes += segment.payload.len();
                payloads.push(segment.payload.to_vec());
            }
            Ok(())
        })?;
        if outcome.failed {
            status = ExitCode::from(1);
        }
    }
    say(&intake.gaps());
    if payloads.is_empty() {
        let ports: Vec<_> = scope.ports.iter().map(ports).collect();
        return Err(Failure::Work(WorkError::Other(format!(
            "there is no packet to search: none of the captured ones has a payload and goes to an inspected port ({}); \
             --port names others",
            ports.join(", ")
        ))));
    }
    if bytes >= MAX_BYTES {
        let mega = MAX_BYTES >> 20;
        let _ = writeln!(io::stderr(), "sipknock: only the first {mega} MiB of payloads are searched");
    }
    Ok((payloads, status))
}

fn ports(range: &std::ops::RangeInclusive<u16>) -> String {
    let (first, last) = (range.start(), range.end());
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// On a terminal only.
fn bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left: {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Where plots go: a file for each style.
struct Plots(Vec<(Style, PathBuf)>);

impl Plots {
    /// A folder that is not there is found out before minutes of measuring.
    fn new(file: Option<&Path>, styles: &[Style]) -> Result<Self, Failure> {
        let Some(file) = file else { return Ok(Self(Vec::new())) };
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(Failure::Work(WorkError::Other(format!(
                "{}: there is no such folder",
                folder.display()
            ))));
        }
        if let [style] = styles {
            return Ok(Self(vec![(*style, file.to_owned())]));
        }
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let of_style = |&style: &Style| (style, file.with_file_name(format!("{stem}-{}.svg", style.name())));
        Ok(Self(styles.iter().map(of_style).collect()))
    }

    fn write(&self, report: &BenchReport) -> Result<(), Failure> {
        for (style, path) in &self.0 {
            let svg = report.plot(*style).map_err(|error| other(&error))?;
            fs::write(path, svg).map_err(|error| {
                Failure::Work(WorkError::Other(format!("write the plot to {}: {error}", path.display())))
            })?;
        }
        Ok(())
    }

    /// A file's name, for a text that lies beside it.
    fn name(&self, style: Style) -> Option<String> {
        let (_, path) = self.0.iter().find(|(of, _)| *of == style)?;
        Some(path.file_name()?.to_string_lossy().into_owned())
    }
}

fn other(error: &dyn std::error::Error) -> Failure {
    Failure::Work(WorkError::Other(error.to_string()))
}

/// Long enough to even out what disturbs for a moment, and short enough for a round to take some seconds.
const SAMPLE: Duration = Duration::from_millis(20);

const QUICK_SAMPLE: Duration = Duration::from_millis(1);

/// More payloads than any cache holds tell no more.
const MAX_BYTES: usize = 64 << 20;
