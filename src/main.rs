//! The command line: dispatches, and maps what went wrong to an exit status.

use std::process::ExitCode;

use sipknock::cli::Cli;
use sipknock::commands;

fn main() -> ExitCode {
    let cli = Cli::from_args();
    match commands::run(&cli) {
        Ok(status) => status,
        Err(failure) => {
            // Written by hand: a closed stderr is no reason to panic.
            failure.report();
            failure.status()
        }
    }
}
