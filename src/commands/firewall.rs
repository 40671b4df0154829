//! `sipknock firewall`

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use humantime::format_duration;
use serde::Serialize;

use super::{Failure, write_json};
use crate::cli::{Cli, FamilyArg, FirewallAction, FirewallArgs, PrintArgs, RulesArgs};
use crate::config::{Config, Fallback};
use crate::firewall::{
    Answer, Change, DEFAULT_PARENT, Family, Firewall, Plan, Report, State, Status, Vigil, confirm,
    has_terminal,
};

pub(super) fn run(cli: &Cli, args: &FirewallArgs) -> Result<ExitCode, Failure> {
    let firewall = Firewall::default();
    match &args.action {
        FirewallAction::Print(args) => print(&plan(cli, &args.rules)?, &firewall, args),
        FirewallAction::Apply(args) => {
            let plan = plan(cli, &args.rules)?;
            match args.confirm {
                None => report(&firewall.apply(&plan)?, args.rules.json),
                Some(span) => apply_on_trial(&firewall, &plan, span, args.rules.json),
            }
        }
        FirewallAction::Confirm(args) => confirmed(args.json),
        FirewallAction::Remove(args) => report(&firewall.remove()?, args.json),
        FirewallAction::Status(args) => status(&firewall.status(&plan(cli, args)?)?, args.json),
    }
}

/// The rules that follow from a configuration.
pub(super) fn default_plan(config: &Config) -> Plan {
    Plan {
        ports: config.inspect.scope.ports.clone(),
        transports: config.inspect.scope.transports.clone(),
        trusted: config.inspect.trusted.clone(),
        queues: config.queue.numbers.clone(),
        bypass: config.queue.on_exit == Fallback::Open,
        replies: true,
        parent: DEFAULT_PARENT.to_owned(),
    }
}

fn plan(cli: &Cli, args: &RulesArgs) -> Result<Plan, Failure> {
    Ok(plan_of(&cli.configuration(&args.gate)?, args))
}

/// The rules that follow from a configuration and the firewall's flags.
pub(super) fn plan_of(config: &Config, args: &RulesArgs) -> Plan {
    Plan { replies: !args.no_replies, parent: args.chain.clone(), ..default_plan(config) }
}

fn print(plan: &Plan, firewall: &Firewall, args: &PrintArgs) -> Result<ExitCode, Failure> {
    if args.rules.json {
        let family = |family| {
            plan.ruleset(family).map(|rules| Printed {
                family,
                jumps: rules.jumps().to_vec(),
                rules: rules.rules().to_vec(),
            })
        };
        let printed: Result<Vec<_>, _> = Family::ALL.into_iter().map(family).collect();
        write_json(&printed.map_err(Failure::Plan)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match args.restore {
        None => plan.commands(firewall.programs()),
        Some(FamilyArg::Ipv4) => plan.ruleset(Family::V4).map(|rules| rules.restore_file()),
        Some(FamilyArg::Ipv6) => plan.ruleset(Family::V6).map(|rules| rules.restore_file()),
    };
    io::stdout().write_all(text.map_err(Failure::Plan)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Printed {
    family: Family,
    jumps: Vec<String>,
    rules: Vec<String>,
}

fn report(report: &Report, json: bool) -> Result<ExitCode, Failure> {
    if json {
        write_json(report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = io::stdout().lock();
    for family in &report.families {
        let what = match family.change {
            Change::Unchanged => "nothing to do",
            Change::Written => "the rules are in place",
            Change::Removed => "the rules are removed",
            Change::PutBack => "the rules are put back as they were",
            Change::Skipped => "skipped",
        };
        writeln!(out, "{}: {what}", family.family.name())?;
        for note in &family.notes {
            writeln!(out, "  note: {note}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts the rules in, and takes that back unless somebody says that it is well.
fn apply_on_trial(firewall: &Firewall, plan: &Plan, span: Duration, json: bool) -> Result<ExitCode, Failure> {
    // Before anything changes, so that no signal finds the rules changed and nobody to put them back.
    let vigil = Vigil::begin()?;
    let (applied, before) = firewall.apply_remembering(plan)?;
    if applied.families.iter().all(|family| family.change != Change::Written) {
        return report(&applied, json);
    }
    let from_terminal = has_terminal();
    let (how, within) = (if from_terminal { "type yes, and Enter, or " } else { "" }, format_duration(span));
    let prompt = format!(
        "the new rules are in. To keep them, {how}run 'sipknock firewall confirm' in another shell, within {within}; \
         otherwise they are put back as they were"
    );
    // To stderr, and without caring: where this can't be read, nobody will confirm.
    let _ = writeln!(io::stderr(), "{prompt}");
    let why = match vigil.wait(span, from_terminal) {
        Answer::Yes => return report(&applied, json),
        Answer::No => "not confirmed",
        Answer::TimeUp => "not confirmed in time",
        Answer::Interrupted => "interrupted",
    };
    let put_back = firewall.put_back(&before)?;
    // The terminal may be gone; what matters is done.
    let _ = writeln!(io::stderr(), "sipknock: {why}: the rules are as they were before");
    let _ = report(&put_back, json);
    Ok(ExitCode::from(1))
}

fn confirmed(json: bool) -> Result<ExitCode, Failure> {
    confirm()?;
    match json {
        true => write_json(&serde_json::json!({ "confirmed": true }))?,
        false => writeln!(io::stdout(), "the rules stay")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn status(status: &Status, json: bool) -> Result<ExitCode, Failure> {
    let exit = if status.in_place() { ExitCode::SUCCESS } else { ExitCode::from(1) };
    if json {
        write_json(status)?;
        return Ok(exit);
    }
    let mut out = io::stdout().lock();
    for family in &status.families {
        let what = match family.state {
            State::InPlace => "in place",
            State::Differs => "not as the configuration has it ('sipknock firewall apply' puts it right)",
            State::Absent => "absent ('sipknock firewall apply' puts them in)",
            State::Skipped => "skipped",
        };
        writeln!(out, "{}: {what}", family.family.name())?;
        for difference in &family.differences {
            writeln!(out, "  {difference}")?;
        }
        for note in &family.notes {
            writeln!(out, "  note: {note}")?;
        }
        for rule in &family.rules {
            writeln!(out, "  {:>12} packets {:>15} bytes  {}", rule.packets, rule.bytes, rule.rule)?;
        }
    }
    Ok(exit)
}
