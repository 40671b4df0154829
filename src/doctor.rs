//! Whether the gate works on this machine: what is wrong, in plain words, and the command that mends it.
//!
//! `gather` looks, [`judge`] decides by what was seen and asks nothing further; so judgements are tested on tables of
//! facts. [`path`] of the firewall and [`nft`] read the rules of others, and
//! `addresses` lists those of this machine and of its routers, `unmatched`
//! sockets of transports that no rule matches. [`probe`] sends real packets
//! through a gate of its own, in a network namespace that is gone afterwards.

mod addresses;
pub mod facts;
mod gather;
pub mod judge;
pub mod nft;
pub mod probe;
mod unmatched;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::config::{Config, DEFAULT_PATH};
use crate::firewall::{Plan, path};

/// Something that was found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is called, for programs.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, for people.
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

impl Severity {
    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

impl Finding {
    fn new(name: &str, severity: Severity, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), severity, text: text.into(), mend: None, seconds: None }
    }

    fn ok(name: &str, text: impl Into<String>) -> Self {
        Self::new(name, Severity::Ok, text)
    }

    fn note(name: &str, text: impl Into<String>) -> Self {
        Self::new(name, Severity::Note, text)
    }

    fn warning(name: &str, text: impl Into<String>) -> Self {
        Self::new(name, Severity::Warning, text)
    }

    fn fault(name: &str, text: impl Into<String>) -> Self {
        Self::new(name, Severity::Fault, text)
    }

    fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }

    fn seconds(mut self, seconds: Option<u64>) -> Self {
        self.seconds = seconds;
        self
    }
}

/// What the machine is held against.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What the gate is told.
    pub config: &'a Config,
    /// The rules that follow.
    pub plan: &'a Plan,
}

impl Subject<'_> {
    /// A command of ours as it is to be typed for this configuration.
    fn command(&self, words: &str) -> String {
        match self.config.path.display().to_string().as_str() {
            DEFAULT_PATH => format!("sipknock {words}"),
            path => format!("sipknock --config {} {words}", quoted(path)),
        }
    }

    /// Edits the configuration, and puts it in force: in the gate and in the rules.
    fn edit(&self, what: &str) -> String {
        let file = self.config.path.display().to_string();
        format!("$EDITOR {}   # {what}, then: {} && {}", quoted(&file), self.command("reload"), self.apply())
    }

    /// What puts the rules in, on top.
    fn apply(&self) -> String {
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

/// A word as a shell takes it for one.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:,=+@%".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => Cow::Borrowed(word),
        false => Cow::Owned(format!("'{}'", word.replace('\'', r"'\''"))),
    }
}

/// The sockets of this machine that take packets from elsewhere, and whose they are.
pub fn listeners() -> Vec<facts::Listener> {
    gather::all_listeners()
}

/// Looks at this machine and judges what it sees. Nothing is changed.
pub fn examine(config: &Config, plan: &Plan) -> Vec<Finding> {
    let facts = gather::gather(config, plan);
    judge::all(Subject { config, plan }, &facts)
}
