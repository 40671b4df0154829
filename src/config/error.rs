//! Why a configuration can't be used.

use std::path::PathBuf;

use crate::config::guard::Exposed;
use crate::config::place::Place;
use crate::knock::BuildError;

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: {error}: give the right path with --config, or say it in flags, as in --knock NAME=SECRET", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A value is wrong.
    #[error("{place}: {text}")]
    Value {
        /// Where it stands.
        place: Place,
        /// What is wrong with it and what would be right.
        text: String,
    },
    /// There is nothing to knock with.
    #[error(
        "no knock is configured, so nobody could ever open a door: add a [[knock]] with a name and a secret to {}, \
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
