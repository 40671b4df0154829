//! `sipknock reload`

use std::path::Path;
use std::process::ExitCode;

use super::failure::Failure;
use super::remote::{ask, counted, report, stats};
use crate::cli::{Cli, ReloadArgs};
use crate::config::{DEFAULT_PATH, whole_path};
use crate::control::protocol::ControlRequest;

pub(super) fn run(cli: &Cli, args: &ReloadArgs) -> Result<ExitCode, Failure> {
    refuse_another(cli, args)?;
    let done = ask(cli, &args.gate, &ControlRequest::Reload {}, |_| Ok(()))?;
    let file = done.file.as_deref().map_or_else(String::new, |file| format!(", read from {file}"));
    let closed = match done.doors.unwrap_or(0) {
        0 => String::new(),
        doors => format!(", {} closed", counted(doors, "door")),
    };
    report(&done, args.json, &format!("the configuration is in force{file}{closed}"))?;
    Ok(ExitCode::SUCCESS)
}

/// A gate reads the file again that it was started with. If another one is named, it would not come in force.
fn refuse_another(cli: &Cli, args: &ReloadArgs) -> Result<(), Failure> {
    let Some(named) = cli.named_config() else { return Ok(()) };
    let stats = stats(cli, &args.gate)?;
    // An older gate does not say.
    let Some(config) = stats.config else { return Ok(()) };
    let named = whole_path(named);
    let Some(running) = config.file else {
        // It looks for the usual one each time.
        if named == whole_path(Path::new(DEFAULT_PATH)) {
            return Ok(());
        }
        let text = format!(
            "the gate, process {}, was started without a configuration file and can't read {}: restart it with it, as in \
             'sipknock --config {} run --takeover'",
            stats.pid,
            named.display(),
            named.display()
        );
        return Err(Failure::Usage(text));
    };
    if named.display().to_string() == running {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "the gate, process {}, runs with {running} and not with {}: nothing is reloaded. 'sipknock --config {running} reload' \
         reads its own file again",
        stats.pid,
        named.display()
    )))
}
