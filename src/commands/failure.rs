//! Why a command failed, and the exit status that follows.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

#[cfg(feature = "bench")]
use crate::bench::BenchError;
use crate::config::ConfigError;
use crate::control::client::ClientError;
use crate::daemon::DaemonError;
use crate::firewall::{ConfirmError, FirewallError, PlanError};
use crate::setup::dialog::DialogError;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The words or the configuration were wrong: status 2.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The rules that follow from the configuration can't be: status 2.
    #[error(transparent)]
    Plan(PlanError),
    /// This build can't do what was asked: status 2.
    #[error("{0}")]
    Usage(String),
    /// It failed while working: status 1.
    #[error(transparent)]
    Work(WorkError),
}

/// A failure of the work itself.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The gate.
    #[error(transparent)]
    Daemon(DaemonError),
    /// iptables.
    #[error(transparent)]
    Firewall(FirewallError),
    /// The engines of a bench.
    #[cfg(feature = "bench")]
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
    /// Writes the error to stderr, and with `--json` to stdout as well. A closed stderr is no reason to panic.
    pub fn report(&self, json: bool) {
        let text = self.to_string();
        for line in text.lines() {
            let _ = writeln!(io::stderr(), "sipknock: {line}");
        }
        if json {
            let errors = match self {
                Self::Config(error) => error.each().iter().map(Problem::of).collect(),
                _ => Vec::new(),
            };
            let _ = write_json(&Failed { error: text, errors, status: self.code() });
        }
    }

    /// The exit status: 1 failed while working, 2 wrong words or configuration.
    pub fn status(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Plan(_) | Self::Usage(_) => 2,
            Self::Work(_) => 1,
        }
    }
}

/// An error as `--json` prints it.
#[derive(Serialize)]
struct Failed {
    error: String,
    /// Those of the configuration, each with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Problem>,
    /// The exit status.
    status: u8,
}

/// An error of the configuration.
#[derive(Serialize)]
struct Problem {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    text: String,
}

impl Problem {
    fn of(error: &ConfigError) -> Self {
        match error {
            ConfigError::Value { place, text } => Self {
                file: place.file.as_ref().map(|file| file.display().to_string()),
                line: place.line,
                key: Some(place.key.clone()),
                text: text.clone(),
            },
            other => Self { file: None, line: None, key: None, text: other.to_string() },
        }
    }
}

/// Writes wrong words as `--json` prints errors.
pub fn report_words(text: &str, status: u8) {
    let _ = write_json(&Failed { error: text.trim_end().to_owned(), errors: Vec::new(), status });
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Work(WorkError::Output(error))
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Config(error) => Self::Config(error),
            error => Self::Work(WorkError::Daemon(error)),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Output(error) => error.into(),
            error => Self::Work(WorkError::Control(error)),
        }
    }
}

impl From<FirewallError> for Failure {
    fn from(error: FirewallError) -> Self {
        match error {
            FirewallError::Plan(error) => Self::Plan(error),
            error => Self::Work(WorkError::Firewall(error)),
        }
    }
}

impl From<DialogError> for Failure {
    /// An end of the answers is no failure of the words; a wrong answer is.
    fn from(error: DialogError) -> Self {
        match error {
            DialogError::End => Self::Work(WorkError::Other(error.to_string())),
            DialogError::Wrong { .. } => Self::Usage(error.to_string()),
            DialogError::Io(error) => error.into(),
        }
    }
}

impl From<ConfirmError> for Failure {
    fn from(error: ConfirmError) -> Self {
        Self::Work(WorkError::Confirm(error))
    }
}

/// Writes one JSON object and a line end.
pub(super) fn write_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
