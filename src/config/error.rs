//! Why a configuration can't be used.

use std::path::PathBuf;

use crate::config::guard::Exposed;
use crate::config::place::Place;
use crate::knock::BuildError;

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: {error}: {}", file.display(), advice(error))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A value is wrong.
    #[error("{place}: {text}")]
    Value {
        /// Its place.
        place: Place,
        /// The fault, and a right value.
        text: String,
    },
    /// Several values are wrong.
    #[error("{}", listed(.0))]
    Several(Vec<ConfigError>),
    /// There is nothing to knock with.
    #[error(
        "no knock is configured, so no door could ever open: add a [[knock]] with a name and a secret to {}, \
         or give --knock NAME=SECRET ('sipknock keygen' makes a good secret)",
        file.display()
    )]
    NoKnock {
        /// The file to add it to.
        file: PathBuf,
    },
    /// Others can read the secrets.
    #[error("{0}, or let it be with --allow-readable-secrets")]
    Exposed(Exposed),
    /// The matcher can't hold the secrets.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl ConfigError {
    /// Errors of one file in the order of their lines.
    pub(super) fn sorted(mut errors: Vec<Self>) -> Vec<Self> {
        errors.sort_by_key(|error| match error {
            Self::Value { place, .. } => place.line,
            _ => None,
        });
        errors
    }

    /// One error of several; `None` if there are none.
    pub(super) fn all(mut errors: Vec<Self>) -> Option<Self> {
        match errors.len() {
            0 | 1 => errors.pop(),
            _ => Some(Self::Several(errors)),
        }
    }

    /// Each error for itself, owned.
    pub(super) fn into_each(self) -> Vec<Self> {
        match self {
            Self::Several(errors) => errors,
            one => vec![one],
        }
    }

    /// Each error for itself.
    pub fn each(&self) -> &[Self] {
        match self {
            Self::Several(errors) => errors,
            one => std::slice::from_ref(one),
        }
    }
}

/// A line for each error, for the first ones.
fn listed(errors: &[ConfigError]) -> String {
    let mut lines: Vec<_> = errors.iter().take(MAX_ERRORS).map(ToString::to_string).collect();
    if errors.len() > MAX_ERRORS {
        lines.push(format!("and {} more wrong values", errors.len() - MAX_ERRORS));
    }
    lines.join("\n")
}

/// The next step after a file that can't be read.
fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied if !rustix::process::geteuid().is_root() => {
            "it holds secrets, and only root may read it: run it with sudo"
        }
        _ => {
            "'sipknock setup' writes one; or give the right path with --config, or use flags, as in --knock NAME=SECRET"
        }
    }
}

/// Wrong values that are told at once.
const MAX_ERRORS: usize = 20;
