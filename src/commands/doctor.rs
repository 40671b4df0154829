//! `sipknock doctor`

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::failure::{Failure, write_json};
use crate::cli::{Cli, DoctorArgs};
use crate::doctor::{self, Finding, Severity, probe};
use crate::terminal::{CYAN, GREEN, RED, YELLOW, coloured, has_colours};

pub(super) fn run(cli: &Cli, args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let config = cli.configuration_of(&args.rules.flags())?;
    let plan = config.firewall_plan();
    // Rules that can't be are wrong words, and not a fault of the machine.
    plan.check().map_err(Failure::Plan)?;
    match probe::role() {
        Some(probe::ProbeRole::Gate) => {
            probe::gate(&config)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(probe::ProbeRole::Witness) => {
            write_json(&probe::witness(&config, &plan))?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let mut findings = doctor::examine(&config, &plan);
    if args.probe {
        findings.extend(probe::call());
    }
    let worst = findings.iter().map(|finding| finding.severity).max();
    let report = DoctorOutput { sound: worst < Some(Severity::Fault), findings };
    match args.rules.json {
        true => write_json(&report)?,
        false => report.write_text(io::stdout().lock())?,
    }
    Ok(if report.sound { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[derive(Serialize)]
struct DoctorOutput {
    sound: bool,
    findings: Vec<Finding>,
}

impl DoctorOutput {
    fn write_text(&self, mut out: impl Write) -> io::Result<()> {
        write_findings(&self.findings, has_colours(&io::stdout()), |line| writeln!(out, "{line}"))
    }
}

/// Findings for people, and what they come to.
pub(super) fn write_findings(
    findings: &[Finding],
    colours: bool,
    mut write: impl FnMut(&str) -> io::Result<()>,
) -> io::Result<()> {
    for Finding { severity, text, mend, .. } in findings {
        let name = format!("{:<7}", severity.name());
        let name = if colours { coloured(&name, colour(*severity)) } else { name };
        write(&format!("{name}  {text}"))?;
        if let Some(mend) = mend {
            write(&format!("         mend it with: {mend}"))?;
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (faults, warnings) = (count(Severity::Fault), count(Severity::Warning));
    let verdict = if faults == 0 { "the gate is sound" } else { "the gate is not sound" };
    write(&format!("{verdict}: {faults} fault{}, {warnings} warning{}", plural(faults), plural(warnings)))
}

const fn colour(severity: Severity) -> u8 {
    match severity {
        Severity::Ok => GREEN,
        Severity::Note => CYAN,
        Severity::Warning => YELLOW,
        Severity::Fault => RED,
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
