//! `sipknock run`

use std::process::ExitCode;

use super::{Failure, Work, firewall};
use crate::cli::{Cli, RunArgs};
use crate::knock::weakness;
use crate::{daemon, log};

pub(super) fn run(cli: &Cli, args: &RunArgs) -> Result<ExitCode, Failure> {
    let config = cli.configuration(&args.gate)?;
    log::start(cli.log_format, cli.verbose).map_err(|error| {
        Failure::Work(Work::Other(format!("the journal can't be reached, try --log-format text: {error}")))
    })?;
    for note in &config.notes {
        tracing::warn!(target: "sipknock::daemon", place = %note.place, "{}", note.text);
    }
    for weak in weakness::of(&config.knocks) {
        tracing::warn!(target: "sipknock::daemon", knock = config.knocks[weak.knock].name, "weak knock: {}", weak.why);
    }
    let plan = firewall::default_plan(&config);
    daemon::run(&config, args.firewall.then_some(&plan))?;
    Ok(ExitCode::SUCCESS)
}
