//! A finding, and the configuration and plan that the machine is held against.

use serde::{Deserialize, Serialize};

use crate::config::{Config, DEFAULT_PATH, shell_word};
use crate::firewall::Plan;

/// Something that was found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name, for programs.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// The finding in words, for people.
    pub text: String,
    /// The command that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// For how many seconds it has been so, or how long ago it was, where that is what it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// It works, and may not for long, or not as meant.
    Warning,
    /// Strangers come in, phones don't, or it can't be told.
    Fault,
}

names! { pub Severity { Ok = "ok", Note = "note", Warning = "warning", Fault = "fault" } }

impl Finding {
    pub(super) fn new(name: &str, severity: Severity, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), severity, text: text.into(), mend: None, seconds: None }
    }

    pub(super) fn ok(name: &str, text: impl Into<String>) -> Self {
        Self::new(name, Severity::Ok, text)
    }

    pub(super) fn note(name: &str, text: impl Into<String>) -> Self {
        Self::new(name, Severity::Note, text)
    }

    pub(super) fn warning(name: &str, text: impl Into<String>) -> Self {
        Self::new(name, Severity::Warning, text)
    }

    pub(super) fn fault(name: &str, text: impl Into<String>) -> Self {
        Self::new(name, Severity::Fault, text)
    }

    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }

    pub(super) fn seconds(mut self, seconds: Option<u64>) -> Self {
        self.seconds = seconds;
        self
    }
}

/// The configuration and the plan that the machine is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The configuration of the gate.
    pub config: &'a Config,
    /// The rules that follow.
    pub plan: &'a Plan,
}

impl Subject<'_> {
    /// A command of ours as it is to be typed for this configuration.
    pub(super) fn command(&self, words: &str) -> String {
        match self.config.path.display().to_string().as_str() {
            DEFAULT_PATH => format!("sipknock {words}"),
            path => format!("sipknock --config {} {words}", shell_word(path)),
        }
    }

    /// Edits the configuration, and puts it in force: in the gate and in the rules.
    pub(super) fn edit(&self, what: &str) -> String {
        let file = self.config.path.display().to_string();
        format!(
            "$EDITOR {}   # {what}, then: {} && {}",
            shell_word(&file),
            self.command("reload"),
            self.apply()
        )
    }

    /// The command that puts the rules in, on top.
    pub(super) fn apply(&self) -> String {
        let mut words = "firewall apply".to_owned();
        if self.config.firewall.typed {
            let pbx = &self.plan.pbx;
            let addresses =
                pbx.networks.iter().map(ToString::to_string).chain(pbx.interfaces.iter().cloned());
            words.extend(self.plan.chains.iter().map(|chain| format!(" --chain {chain}")));
            words.extend(addresses.map(|address| format!(" --pbx {address}")));
        }
        self.command(&words)
    }
}
