//! `sipknock enforce`

use std::process::ExitCode;

use super::failure::Failure;
use super::remote::{ask, report};
use crate::cli::{Cli, EnforceArgs};
use crate::control::protocol::ControlRequest;

pub(super) fn run(cli: &Cli, args: &EnforceArgs) -> Result<ExitCode, Failure> {
    let done = ask(cli, &args.gate, &ControlRequest::Enforce {}, |_| Ok(()))?;
    report(&done, args.json, "strangers are dropped from here on")?;
    Ok(ExitCode::SUCCESS)
}
