//! `sipknock firewall`

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use humantime::format_duration;
use serde::Serialize;

use super::failure::{Failure, WorkError, write_json};
use crate::cli::{Cli, FamilyArg, FirewallAction, FirewallArgs, PrintArgs, RulesArgs, WatchRulesArgs};
use crate::firewall::{
    Before, CHAIN, CHAIN_OUT, Confirmation, Counted, Family, FamilyChange, FamilyState, Firewall,
    FirewallNote, FirewallReport, Hold, PendingConfirmation, Placed, Plan, Routes, Ruleset, Status, Wish,
    confirm, has_terminal,
};
use crate::queue::kernel;
use crate::{daemon, doctor, log, rules_watch};

pub(super) fn run(cli: &Cli, args: &FirewallArgs) -> Result<ExitCode, Failure> {
    let firewall = Firewall::default();
    match &args.action {
        FirewallAction::Watch(args) => watch(cli, args),
        FirewallAction::Print(args) => print(&plan(cli, &args.rules)?, &firewall, args),
        FirewallAction::Apply(args) => {
            let plan = plan(cli, &args.rules)?;
            let firewall = firewall.moving(args.moves);
            if let Some(refusal) = rules_watch::refusal(&firewall, &plan).ok().flatten() {
                return Err(Failure::Work(WorkError::Other(refusal.to_owned())));
            }
            match args.confirm {
                None => applied(&apply(&firewall, &plan)?.0, &plan, args.rules.json),
                Some(span) => apply_on_trial(&firewall, &plan, span, args.rules.json),
            }
        }
        FirewallAction::Confirm(args) => confirmed(args.json),
        FirewallAction::Remove(args) => {
            // Before they go, so that a watch does not put them back.
            say(Wish::Removed);
            report(&firewall.remove()?, &[], args.json)
        }
        FirewallAction::Status(args) => status(&firewall.status(&plan(cli, args)?)?, args.json),
    }
}

/// Puts the rules in, and tells those who watch. They hear it before they look at the rules again; of a failure they hear
/// nothing, and go by the owner's word of before.
fn apply(firewall: &Firewall, plan: &Plan) -> Result<(FirewallReport, Before), Failure> {
    let hold = Hold::wait();
    let done = firewall.apply_within(&hold, plan)?;
    say(Wish::Applied);
    Ok(done)
}

/// The rules that follow from a configuration and the firewall's flags.
fn plan(cli: &Cli, args: &RulesArgs) -> Result<Plan, Failure> {
    Ok(cli.configuration_of(&args.flags())?.firewall_plan())
}

fn print(plan: &Plan, firewall: &Firewall, args: &PrintArgs) -> Result<ExitCode, Failure> {
    let routes = Routes::look();
    if args.rules.json {
        let family = |family| plan.ruleset(family, &routes).map(|rules| Printed::from(&rules));
        let printed: Result<Vec<_>, _> = Family::ALL.into_iter().map(family).collect();
        write_json(&printed.map_err(Failure::Plan)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match args.restore {
        None => plan.commands(firewall.programs(), &routes),
        Some(FamilyArg::Ipv4) => plan.ruleset(Family::V4, &routes).map(|rules| rules.restore_file()),
        Some(FamilyArg::Ipv6) => plan.ruleset(Family::V6, &routes).map(|rules| rules.restore_file()),
    };
    io::stdout().write_all(text.map_err(Failure::Plan)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Rules as `iptables -S` prints them.
#[derive(Serialize)]
struct Printed {
    family: Family,
    jumps: Vec<String>,
    rules: Vec<String>,
    counters: Vec<String>,
    notes: Vec<FirewallNote>,
}

impl From<&Ruleset> for Printed {
    fn from(rules: &Ruleset) -> Self {
        let own = |chain: &str, rules: &[String]| -> Vec<String> {
            rules.iter().map(|rule| format!("-A {chain} {rule}")).collect()
        };
        Self {
            family: rules.family(),
            jumps: rules.jumps().iter().map(Placed::line).collect(),
            rules: [own(CHAIN, rules.inbound()), own(CHAIN_OUT, rules.outbound())].concat(),
            counters: rules.counters().iter().map(|rule| format!("-t mangle {}", rule.line())).collect(),
            notes: rules.notes().to_vec(),
        }
    }
}

/// Prints the outcome of an apply, and the next steps.
fn applied(done: &FirewallReport, plan: &Plan, json: bool) -> Result<ExitCode, Failure> {
    let written = done.families.iter().any(|family| family.change == FamilyChange::Written);
    let copied = plan.outbound
        && !done
            .families
            .iter()
            .flat_map(|family| &family.notes)
            .any(|note| *note == FirewallNote::OutboundLeftOut);
    let register = (written && copied).then(|| register_again(plan));
    let hints: Vec<_> = unserved(plan).into_iter().chain(register).collect();
    report(done, &hints, json)
}

/// A sentence if no gate listens on a queue.
fn unserved(plan: &Plan) -> Option<String> {
    let numbers: Vec<_> = plan
        .queues
        .clone()
        .filter(|number| kernel::queue(*number).is_none())
        .map(|number| number.to_string())
        .collect();
    let fate = if plan.bypass { "pass unseen" } else { "are dropped" };
    let (queue, packets) = match (numbers.len(), numbers.len() == plan.queues.len()) {
        (0, _) => return None,
        (1, true) => ("queue", "packets for these ports"),
        (1, false) => ("queue", "its share of the packets for these ports"),
        (_, true) => ("queues", "packets for these ports"),
        (_, false) => ("queues", "their share of the packets for these ports"),
    };
    Some(format!(
        "no gate serves {queue} {}: {packets} {fate} until 'sipknock run' or 'systemctl start sipknock' starts one",
        numbers.join(", ")
    ))
}

/// A sentence with the command that has the PBX register with its providers again.
fn register_again(plan: &Plan) -> String {
    let listens = |name: &str| {
        doctor::listeners().iter().any(|listener| {
            plan.inspects(listener.port)
                && listener.process.as_deref().is_some_and(|process| process.starts_with(name))
        })
    };
    let why = "providers with which the PBX registered before are strangers until it registers again";
    match REGISTER_AGAIN.iter().find(|(name, _)| listens(name)) {
        Some((_, command)) => format!("{why}: {command}"),
        None => format!("{why}: let it register again, or restart it (Asterisk: {})", REGISTER_AGAIN[0].1),
    }
}

fn report(report: &FirewallReport, hints: &[String], json: bool) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct WithHints<'a> {
        #[serde(flatten)]
        report: &'a FirewallReport,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        hints: &'a [String],
    }
    if json {
        write_json(&WithHints { report, hints })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = io::stdout().lock();
    for family in &report.families {
        let what = match family.change {
            FamilyChange::Unchanged => "nothing to do",
            FamilyChange::Written => "the rules are in place",
            FamilyChange::Removed => "the rules are removed",
            FamilyChange::PutBack => "the rules are put back as they were",
            FamilyChange::Skipped => "skipped",
        };
        writeln!(out, "{}: {what}", family.family.name())?;
        for note in &family.notes {
            writeln!(out, "  note: {note}")?;
        }
    }
    for hint in hints {
        writeln!(out, "{hint}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts the rules in, and takes that back unless somebody says that it is well.
fn apply_on_trial(firewall: &Firewall, plan: &Plan, span: Duration, json: bool) -> Result<ExitCode, Failure> {
    // Before anything changes, so that no signal finds the rules changed and nobody to put them back.
    let vigil = PendingConfirmation::begin()?;
    let (applied, before) = apply(firewall, plan)?;
    if applied.families.iter().all(|family| family.change != FamilyChange::Written) {
        return self::applied(&applied, plan, json);
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
        Confirmation::Yes => return self::applied(&applied, plan, json),
        Confirmation::No => "not confirmed",
        Confirmation::TimeUp => "not confirmed in time",
        Confirmation::Interrupted => "interrupted",
    };
    say(Wish::PutBack);
    let put_back = firewall.put_back(&before)?;
    // The terminal may be gone; what matters is done.
    let _ = writeln!(io::stderr(), "sipknock: {why}: the rules are as they were before");
    let _ = report(&put_back, &[], json);
    Ok(ExitCode::from(1))
}

/// Tells those who watch over the rules what is wanted. If they can't be told, they act as if a stranger had done it.
fn say(wish: Wish) {
    if let Err(error) = wish.say() {
        let text = format!(
            "sipknock: the process that watches the rules can't be notified ({error}), and may undo this: run it as root"
        );
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Keeps the rules in place until a signal ends it.
fn watch(cli: &Cli, args: &WatchRulesArgs) -> Result<ExitCode, Failure> {
    let flags = args.flags();
    let config = cli.configuration_of(&flags)?;
    log::start(cli.log_format, cli.verbose).map_err(|error| {
        Failure::Work(WorkError::Other(format!(
            "the journal can't be reached, try --log-format text: {error}"
        )))
    })?;
    let read = cli.again(flags);
    let load = move || {
        let config = read().map_err(|error| error.to_string())?;
        Ok((config.firewall_plan(), config.firewall.keep))
    };
    let (plan, keep) = (config.firewall_plan(), config.firewall.keep);
    // What is no plan is told at once.
    plan.check().map_err(Failure::Plan)?;
    daemon::watch_rules(plan, keep, Box::new(load), config.control.socket)?;
    Ok(ExitCode::SUCCESS)
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
            FamilyState::InPlace => "in place",
            FamilyState::Differs if family.is_mendable() => {
                "different from the configuration ('sipknock firewall apply' corrects it)"
            }
            FamilyState::Differs => "as configured, but rules of another program lead packets past them",
            FamilyState::Absent => "absent ('sipknock firewall apply' puts them in)",
            FamilyState::Skipped => "skipped",
        };
        writeln!(out, "{}: {what}", family.family.name())?;
        for difference in &family.differences {
            writeln!(out, "  {difference}")?;
        }
        for note in &family.notes {
            writeln!(out, "  note: {note}")?;
        }
        if let Some(Counted { arrived, reached, taken_before }) = family.counted {
            writeln!(
                out,
                "  {arrived} packets for these ports arrived, {reached} came to the rules, {taken_before} were taken before"
            )?;
        }
        for rule in &family.rules {
            writeln!(out, "  {:>12} packets {:>15} bytes  {}", rule.packets, rule.bytes, rule.rule)?;
        }
    }
    Ok(exit)
}

/// Processes by their names, and what has them register with all their providers again: Asterisk's
/// res_pjsip_outbound_registration, tried; Kamailio's module uac, tried with 5.6 (at most every 150 s, and the REGISTERs leave
/// with the next round of its timer, `reg_timer_interval`); FreeSWITCH's mod_sofia, by its own usage text: `sofia profile
/// <profile_name> register [<gateway name>|all]`, where `external` is the profile of its default configuration.
const REGISTER_AGAIN: [(&str, &str); 3] = [
    ("asterisk", "asterisk -rx 'pjsip send register *all'"),
    ("kamailio", "kamcmd uac.reg_reload   # it does so within 90 s, or reg_timer_interval"),
    (
        "freeswitch",
        "fs_cli -x 'sofia profile external register all'   # and each other profile that has gateways",
    ),
];
