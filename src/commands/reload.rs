//! `sipknock reload`

use std::process::ExitCode;

use super::Failure;
use super::remote::{ask, counted, report};
use crate::cli::{Cli, ReloadArgs};
use crate::control::protocol::Request;

pub(super) fn run(cli: &Cli, args: &ReloadArgs) -> Result<ExitCode, Failure> {
    let done = ask(cli, &args.gate, &Request::Reload {}, |_| Ok(()))?;
    let closed = match done.doors.unwrap_or(0) {
        0 => String::new(),
        doors => format!(", {} closed", counted(doors, "door")),
    };
    report(&done, args.json, &format!("the configuration is in force{closed}"))?;
    Ok(ExitCode::SUCCESS)
}
