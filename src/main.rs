//! The command line: dispatches, and maps what went wrong to an exit status.

use std::process::ExitCode;

use sipknock::cli::Cli;
use sipknock::commands;

fn main() -> ExitCode {
    let cli = match Cli::from_args() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and versions are no errors.
            if error.use_stderr() && wants_json() {
                commands::report_words(&error.render().to_string(), 2);
            }
            error.exit();
        }
    };
    match commands::run(&cli) {
        Ok(status) => status,
        Err(failure) => {
            // Written by hand: a closed stderr is no reason to panic.
            failure.report(wants_json());
            failure.status()
        }
    }
}

/// Whether the output is for a program. Asked of the words themselves, since wrong ones have no other form.
fn wants_json() -> bool {
    std::env::args_os().any(|word| word == "--json")
}
