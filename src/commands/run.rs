//! `sipknock run`

use std::process::ExitCode;
use std::time::Duration;

use super::failure::{Failure, WorkError};
use crate::cli::{Cli, RunArgs};
use crate::config::readable_secrets;
use crate::config::{Config, ConfigError, shell_word};
use crate::control::client::Client;
use crate::daemon::{self, DaemonError, RunOptions};
use crate::firewall::{FamilyState, Firewall};
use crate::harden::trusted_groups;
use crate::inspect::Mode;
use crate::knock::weakness;
use crate::log;
use crate::queue::QueueError;
use crate::state::file::{grace, has_enforced};

pub(super) fn run(cli: &Cli, args: &RunArgs) -> Result<ExitCode, Failure> {
    let config = cli.configuration_of(&args.flags())?;
    if daemon::is_rules_keeper() {
        let read = cli.again(args.flags());
        let load = move || {
            let config = read().map_err(|error| error.to_string())?;
            Ok((config.firewall_plan(), config.firewall.keep))
        };
        daemon::keep_rules(&config.firewall_plan(), config.firewall.keep, Box::new(load))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.grace.is_some() && config.inspect.mode == Mode::Monitor {
        let text = "--grace ends with strangers dropped, and the configuration says mode = \"monitor\": take one of them out";
        return Err(Failure::Usage(text.to_owned()));
    }
    let allowed = args.files.allow_readable_secrets;
    // Asked once: who else is there is out of the gate's reach later.
    let groups = trusted_groups(&config);
    let readable = readable_secrets(&config, allowed, &groups)?;
    log::start(cli.log_format, cli.verbose).map_err(|error| {
        Failure::Work(WorkError::Other(format!(
            "the journal can't be reached, try --log-format text: {error}"
        )))
    })?;
    let mut first = warnings(&config, readable);
    if args.grace.is_none() && config.inspect.grace > Duration::ZERO && config.state.file.is_none() {
        let text = "[inspect] grace is left out: without [state] file its end would not be remembered; 'run --grace' does it once";
        first.push(text.to_owned());
    }
    let rules_lead_here = if args.firewall || args.takeover { None } else { rules_lead_here(&config) };
    if rules_lead_here == Some(false) {
        let apply = match cli.named_config() {
            Some(path) => format!("sipknock --config {} firewall apply", shell_word(path)),
            None => "sipknock firewall apply".to_owned(),
        };
        first.push(format!(
            "no firewall rules lead packets here, so all of them pass: '{apply}' puts the rules in"
        ));
    }
    let read = cli.again(args.flags());
    let load = move || {
        let config = read().map_err(out_of_reach)?;
        let readable = readable_secrets(&config, allowed, &groups)?;
        let warnings = warnings(&config, readable);
        Ok((config, warnings))
    };
    let extras = RunOptions {
        rules: args.firewall,
        watch: true,
        learn: args.learn.clone(),
        grace: args.grace.or_else(|| first_grace(&config)),
        // One of the flag begins with each start.
        grace_file: config.state.file.as_deref().filter(|_| args.grace.is_none()).map(grace),
        takeover: args.takeover,
        warnings: first,
        rules_lead_here,
    };
    daemon::run(&config, extras, Box::new(load)).map_err(|error| beside_another(error, &config))?;
    Ok(ExitCode::SUCCESS)
}

/// Says how to go on if a queue is taken and a sipknock answers at the control socket.
fn beside_another(error: DaemonError, config: &Config) -> Failure {
    let socket = config.control.socket.as_deref();
    match (error, socket) {
        (error @ DaemonError::Queue(QueueError::Taken { .. }), Some(path))
            if Client::connect(path).is_ok() =>
        {
            Failure::Work(WorkError::Other(format!(
                "{error}. A sipknock runs already and answers at {}: 'sipknock reload' makes it read its \
                 configuration again, 'sipknock run --takeover' takes its place without losing a packet",
                path.display()
            )))
        }
        (error, _) => error.into(),
    }
}

/// How long everything passes at first, as the configuration has it: only until the gate has dropped strangers once.
fn first_grace(config: &Config) -> Option<Duration> {
    let file = config.state.file.as_deref()?;
    let wanted = config.inspect.grace > Duration::ZERO && config.inspect.mode == Mode::Enforce;
    (wanted && !has_enforced(file)).then_some(config.inspect.grace)
}

/// Whether any rules of ours are in place. Only root can see that, and a gate under systemd is not root.
fn rules_lead_here(config: &Config) -> Option<bool> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let status = Firewall::default().status(&config.firewall_plan()).ok()?;
    Some(
        status
            .families
            .iter()
            .any(|family| matches!(family.state, FamilyState::InPlace | FamilyState::Differs)),
    )
}

/// Says why a gate that runs can't read what it could read as it started: a folder that it did not know then.
fn out_of_reach(error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Value { place, text }
            if (place.key.ends_with("secret_file") || place.key == "include")
                && text.contains("Permission denied") =>
        {
            let text = format!(
                "{text}; a gate that runs reads only as its user, and only in the folders that it knew at its start: \
                 restart it for another one"
            );
            ConfigError::Value { place, text }
        }
        ConfigError::Several(errors) => ConfigError::Several(errors.into_iter().map(out_of_reach).collect()),
        error => error,
    }
}

/// What is valid and yet worth a line in the log, behind what is known already.
fn warnings(config: &Config, readable: Vec<String>) -> Vec<String> {
    let notes = config.notes.iter().map(|note| format!("{}: {}", note.place, note.text));
    // A knock that was in force stays so, however weak: phones depend on it. One that a reload adds is no exception, since
    // a reload that fails keeps the other phones of the new configuration out. Those that anybody guesses come first.
    let mut weak = weakness::of(&config.knocks);
    weak.sort_by_key(|weak| !weak.guessable);
    let weak = weak.into_iter().filter_map(|weak| {
        let name = &config.knocks.get(weak.knock)?.name;
        let in_force = if weak.guessable { "; it stays in force, so that no phone is shut out" } else { "" };
        Some(format!("weak knock {name:?}: {}{in_force}", weak.why))
    });
    let mut warnings: Vec<_> = readable.into_iter().chain(notes).chain(weak).collect();
    if warnings.len() > MAX_WARNINGS {
        let more = warnings.len() - MAX_WARNINGS;
        warnings.truncate(MAX_WARNINGS);
        warnings.push(format!("{more} more warnings: 'sipknock check' shows them all"));
    }
    warnings
}

/// As many as somebody reads in a log.
const MAX_WARNINGS: usize = 20;
