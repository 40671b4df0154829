//! The configuration: from what was typed, in the file and in flags, to what is ready to use.
//!
//! [`file`] reads TOML, [`values`] reads single values (for flags just the same), and [`Config`] is only ever made
//! whole and valid. Errors name file, line and key.

mod content;
mod digest;
mod doubts;
mod draft;
mod error;
mod file;
mod firewall;
mod firewall_plan;
mod flags;
mod guard;
mod place;
mod sections;
mod settings;
#[cfg(test)]
mod tests;
pub mod values;

use std::path::Path;

pub use digest::{Digests, SALT};
pub use doubts::{Doubt, DoubtKind, everybody_trusted};
pub use error::ConfigError;
pub use firewall::{FirewallBackend, FirewallRules};
pub use flags::Flags;
pub(crate) use guard::shell_word;
pub use guard::{Exposed, SecretFile};
pub use place::{ConfigNote, Place};
pub use sections::{
    ControlSection, DEFAULT_DOOR, DEFAULT_USER, Fallback, HttpSection, InspectSection, ProcessSection,
    QueueSection, Seccomp, StateSection, TrustedName,
};
pub use settings::{Config, whole_path};

impl Config {
    /// Reads a file, and lets flags have their say. `required` is false for the default path, which need not exist.
    ///
    /// # Errors
    /// If something is unreadable, unknown, out of range, contradictory or missing.
    pub fn load(path: &Path, required: bool, flags: &Flags) -> Result<Self, ConfigError> {
        match guard::read(path) {
            Ok((text, file)) => Self::parse_file(&text, path, Some(file), flags),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {
                Self::parse("", path, flags)
            }
            Err(error) => Err(ConfigError::Unreadable { file: path.to_owned(), error }),
        }
    }

    /// Reads a file's text. `path` names it in errors, and relative `secret_file`s are beside it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path, flags: &Flags) -> Result<Self, ConfigError> {
        Self::parse_file(text, path, None, flags)
    }

    fn parse_file(
        text: &str,
        path: &Path,
        file: Option<SecretFile>,
        flags: &Flags,
    ) -> Result<Self, ConfigError> {
        let mut draft = file::read(text, path, file)?;
        draft.apply(flags);
        draft.finish(path)
    }
}

/// Files with secrets that others can read, as warnings if that is `allowed`.
///
/// # Errors
/// On the first such file otherwise.
pub fn readable_secrets(
    config: &Config,
    allowed: bool,
    own_groups: &[u32],
) -> Result<Vec<String>, ConfigError> {
    let exposed = config.files.iter().filter_map(|file| file.exposed(own_groups));
    exposed
        .map(|exposed| if allowed { Ok(exposed.to_string()) } else { Err(ConfigError::Exposed(exposed)) })
        .collect()
}

/// The path of the configuration, unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/sipknock/sipknock.toml";
