//! One module per command: each turns arguments into calls, and results into output.

mod bench;
mod captures;
mod check;
mod doctor;
mod doors;
mod enforce;
mod firewall;
mod generate;
mod keygen;
mod learn;
mod reload;
mod remote;
mod replay;
mod run;
mod stats;
mod strength;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::bench::Error as BenchError;
use crate::cli::{Cli, Command};
use crate::config::{Config, ConfigError};
use crate::control::client::ClientError;
use crate::daemon::DaemonError;
use crate::firewall::{ConfirmError, Error as FirewallError, PlanError};

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
        Command::Bench(args) => bench::run(cli, args),
        Command::Generate(args) => generate::run(args),
    };
    match done {
        // Whoever reads our output has seen enough, as `head` has.
        Err(Failure::Work(Work::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        done => done,
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The words or the configuration were wrong: status 2.
    Config(ConfigError),
    /// The rules that follow from the configuration can't be: status 2.
    Plan(PlanError),
    /// This build can't do what was asked: status 2.
    Words(String),
    /// It failed while working: status 1.
    Work(Work),
}

/// What failed while working.
#[derive(Debug, thiserror::Error)]
pub enum Work {
    /// The gate.
    #[error(transparent)]
    Daemon(DaemonError),
    /// iptables.
    #[error(transparent)]
    Firewall(FirewallError),
    /// The engines of a bench.
    #[error("{0}. Please report this")]
    Bench(#[from] BenchError),
    /// Waiting for a yes, or giving it.
    #[error(transparent)]
    Confirm(ConfirmError),
    /// The running gate.
    #[error(transparent)]
    Control(ClientError),
    /// Writing the result.
    #[error("write the output: {0}")]
    Output(io::Error),
    /// Anything else, with what was being done.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// Writes the error to stderr. A closed stderr is no reason to panic.
    pub fn report(&self) {
        let text = match self {
            Self::Config(error) => error.to_string(),
            Self::Plan(error) => error.to_string(),
            Self::Words(text) => text.clone(),
            Self::Work(error) => error.to_string(),
        };
        let _ = writeln!(io::stderr(), "sipknock: {text}");
    }

    /// The exit status: 1 failed while working, 2 wrong words or configuration.
    pub fn status(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Plan(_) | Self::Words(_) => ExitCode::from(2),
            Self::Work(_) => ExitCode::from(1),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Work(Work::Output(error))
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Config(error) => Self::Config(error),
            error => Self::Work(Work::Daemon(error)),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Output(error) => error.into(),
            error => Self::Work(Work::Control(error)),
        }
    }
}

impl From<FirewallError> for Failure {
    fn from(error: FirewallError) -> Self {
        match error {
            FirewallError::Plan(error) => Self::Plan(error),
            error => Self::Work(Work::Firewall(error)),
        }
    }
}

impl From<ConfirmError> for Failure {
    fn from(error: ConfirmError) -> Self {
        Self::Work(Work::Confirm(error))
    }
}

/// Files with secrets that others can read, which is an error where it is not allowed.
fn readable_secrets(config: &Config, allowed: bool, own_groups: &[u32]) -> Result<Vec<String>, ConfigError> {
    let exposed = config.files.iter().filter_map(|file| file.exposed(own_groups));
    exposed
        .map(|exposed| if allowed { Ok(exposed.to_string()) } else { Err(ConfigError::Exposed(exposed)) })
        .collect()
}

/// Writes one JSON object and a line end.
fn write_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
