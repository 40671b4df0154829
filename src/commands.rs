//! One module per command: each turns arguments into calls, and results into output.

#[cfg(feature = "bench")]
mod bench;
mod captures;
mod check;
mod complete;
mod doctor;
mod doors;
mod enforce;
mod failure;
mod firewall;
#[cfg(feature = "generate")]
mod generate;
mod keygen;
mod learn;
mod logs;
mod reload;
mod remote;
mod replay;
mod run;
mod setup;
mod stats;
mod strength;
mod watch;

use std::io;
use std::process::ExitCode;

use crate::cli::{Cli, Command};
pub use crate::commands::failure::{Failure, WorkError, report_words};

/// Runs the command.
///
/// # Errors
/// Whatever keeps it from doing its work.
pub fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let done = match &cli.command {
        Command::Run(args) => run::run(cli, args),
        Command::Replay(args) => replay::run(cli, args),
        Command::Learn(args) => learn::run(cli, args),
        Command::Check(args) => check::run(cli, args),
        Command::Firewall(args) => firewall::run(cli, args),
        Command::Doctor(args) => doctor::run(cli, args),
        Command::Doors(args) => doors::run(cli, args),
        Command::Stats(args) => stats::run(cli, args),
        Command::Watch(args) => watch::run(cli, args),
        Command::Reload(args) => reload::run(cli, args),
        Command::Enforce(args) => enforce::run(cli, args),
        Command::Keygen(args) => keygen::run(args),
        #[cfg(feature = "bench")]
        Command::Bench(args) => bench::run(cli, args),
        Command::Setup(args) => setup::run(cli, args),
        Command::Complete(args) => complete::run(cli, args),
        #[cfg(feature = "generate")]
        Command::Generate(args) => generate::run(args),
    };
    match done {
        // The reader of the output has seen enough, as `head` has.
        Err(Failure::Work(WorkError::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        done => done,
    }
}
