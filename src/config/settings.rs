//! The whole configuration, valid and ready to use.

use std::path::{Path, PathBuf};

use crate::config::error::ConfigError;
use crate::config::firewall::FirewallRules;
use crate::config::guard::SecretFile;
use crate::config::place::ConfigNote;
use crate::config::sections::{
    ControlSection, HttpSection, InspectSection, ProcessSection, QueueSection, StateSection, TrustedName,
};
use crate::inspect::{Inspector, Policy};
use crate::knock::{Knock, KnockSet};
use crate::net::{Cut, NetSet};

/// Everything the gate is told, checked and ready to use.
///
/// It may be without a knock, which is enough for the firewall's rules; an inspector is not to be had from it then.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[inspect]`
    pub inspect: InspectSection,
    /// `[inspect]` `trusted_names`
    pub trusted_names: Vec<TrustedName>,
    /// `[queue]`
    pub queue: QueueSection,
    /// `[firewall]`
    pub firewall: FirewallRules,
    /// `[control]`
    pub control: ControlSection,
    /// `[state]`
    pub state: StateSection,
    /// `[http]`
    pub http: HttpSection,
    /// `[process]`
    pub process: ProcessSection,
    /// `[[knock]]`, in their order.
    pub knocks: Vec<Knock>,
    /// The files that were read, as far as they hold secrets or are the configuration.
    pub files: Vec<SecretFile>,
    /// Folders in which `include` finds files: there may be others by the next reload.
    pub include_folders: Vec<PathBuf>,
    /// Remarks on values that are valid and perhaps not meant.
    pub notes: Vec<ConfigNote>,
    /// The path that it was read from, or would have been.
    pub path: PathBuf,
    /// Flags have a say in what it means, as [`Digests::meaning`](crate::config::Digests::meaning) has it.
    pub flagged: bool,
}

impl Config {
    /// The file that it was read from, with its whole path; `None` if it was not there.
    pub fn file(&self) -> Option<PathBuf> {
        let file = self.files.iter().find(|file| file.path == self.path)?;
        Some(whole_path(&file.path))
    }

    /// The inspector that follows, with no door open.
    ///
    /// # Errors
    /// If there is no knock, or the secrets are too many or too long to compile.
    pub fn inspector(&self) -> Result<Inspector, ConfigError> {
        let (policy, knocks) = self.compile()?;
        Ok(Inspector::new(policy, knocks, self.inspect.max_doors))
    }

    /// The same in its parts.
    ///
    /// # Errors
    /// As [`Config::inspector`].
    pub fn compile(&self) -> Result<(Policy, KnockSet), ConfigError> {
        if self.knocks.is_empty() {
            return Err(ConfigError::NoKnock { file: self.path.clone() });
        }
        let policy = Policy {
            trusted: NetSet::new(&self.inspect.trusted),
            mode: self.inspect.mode,
            renew: self.inspect.renew,
            cut: Cut::new(self.inspect.prefixes, self.inspect.nat64.clone()),
            registrations: self.inspect.registrations,
            streams: self.inspect.streams,
            outbound: self.firewall.outbound,
            max_outbound: Some(self.firewall.max_outbound),
        };
        Ok((policy, KnockSet::new(self.knocks.clone())?))
    }
}

/// A path from the root on, without links as far as they can be followed, so that two names of one file are the same.
pub fn whole_path(path: &Path) -> PathBuf {
    let whole = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.canonicalize().unwrap_or_else(|_| whole())
}
