//! The configuration: from what was typed, in the file and in flags, to what is ready to use.
//!
//! [`file`] reads TOML, [`values`] reads single values (for flags just the same), and [`Config`] is only ever made
//! whole and valid. Errors name file, line and key.

mod digest;
mod doubts;
mod draft;
mod file;
mod firewall;
mod guard;
pub mod values;

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::control::DEFAULT_SOCKET;
use crate::inspect::{Bounds, Inspector, Mode, Policy, Renew, Scope};
use crate::knock::{BuildError, Knock, KnockSet, Life, Secret};
use crate::net::{Cut, NAT64, NetSet, Prefixes};
use crate::packet::Transport;
use crate::queue::{Backend, Options};
use crate::state::DEFAULT_FILE;
use crate::stream::Limits;
pub use digest::{Digests, SALT};
pub use doubts::{Doubt, DoubtKind, everybody_trusted};
pub use firewall::{FirewallBackend, FirewallRules};
pub(crate) use guard::shell_word;
pub use guard::{Exposed, SecretFile};

/// Everything the gate is told, checked and ready to use.
///
/// It may be without a knock, which is enough for the firewall's rules; an inspector is not to be had from it then.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[inspect]`
    pub inspect: Inspect,
    /// `[queue]`
    pub queue: Queue,
    /// `[firewall]`
    pub firewall: FirewallRules,
    /// `[control]`
    pub control: Control,
    /// `[state]`
    pub state: State,
    /// `[http]`
    pub http: Http,
    /// `[process]`
    pub process: Process,
    /// `[[knock]]`, in their order.
    pub knocks: Vec<Knock>,
    /// The files that were read, as far as they hold secrets or are the configuration.
    pub files: Vec<SecretFile>,
    /// What is valid and yet perhaps not what was meant.
    pub notes: Vec<Note>,
    /// Where it was looked for.
    pub path: PathBuf,
    /// Flags have a say in what it means, as [`Digests::meaning`] has it.
    pub flagged: bool,
}

/// `[inspect]`: what is looked at, and what opens.
#[derive(Clone, Debug)]
pub struct Inspect {
    /// Ports and transports that are inspected.
    pub scope: Scope,
    /// How long a door stays open after a knock that does not say otherwise.
    pub door: Life,
    /// Networks that pass without a knock.
    pub trusted: Vec<IpNet>,
    /// Enforce or monitor.
    pub mode: Mode,
    /// What renews a door.
    pub renew: Renew,
    /// The lengths of the prefixes that make a source out of an address.
    pub prefixes: Prefixes,
    /// IPv6 networks of translators, in which each address is a source of its own.
    pub nat64: Vec<IpNet>,
    /// How many doors may be open at a time.
    pub max_doors: usize,
    /// The shortest and longest life of a door that goes by a registration's.
    pub registrations: Bounds,
    /// How much of a TCP flow passes before its knock, and how many flows are remembered.
    pub streams: Limits,
    /// Time at the start in which everything passes; zero: none.
    pub grace: Duration,
}

/// `[queue]`: how packets come in.
#[derive(Clone, Debug)]
pub struct Queue {
    /// NFQUEUE numbers; one thread each.
    pub numbers: RangeInclusive<u16>,
    /// Which implementation reads them.
    pub backend: Backend,
    /// How many packets may wait for a verdict in each.
    pub max_len: u32,
    /// The receive buffer to ask for, in bytes.
    pub receive_buffer: usize,
    /// What happens to packets that find the queue full.
    pub on_overload: Fallback,
    /// What happens to packets while no daemon listens.
    pub on_exit: Fallback,
    /// How long to look for the next packet without sleeping.
    pub busy_poll: Duration,
}

impl Queue {
    /// How to bind the queue of this number.
    pub fn options(&self, number: u16) -> Options {
        Options {
            queue: number,
            max_len: self.max_len,
            receive_buffer: self.receive_buffer,
            overload_open: self.on_overload == Fallback::Open,
            exit_open: self.on_exit == Fallback::Open,
            busy_poll: self.busy_poll,
        }
    }
}

/// `[control]`: how a running gate is seen and turned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The unix socket; `None`: there is none.
    pub socket: Option<PathBuf>,
}

/// `[state]`: what outlives the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The file that keeps the doors; `None`: they are gone with the gate.
    pub file: Option<PathBuf>,
}

/// `[http]`: how a running gate is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Where metrics and the status page are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Names of hosts that it answers to, beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// `[process]`: what the process of the gate may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// As whom it runs where root starts it.
    pub user: String,
    /// Somebody wrote that name down, so that it has to exist.
    pub user_named: bool,
    /// What becomes of system calls that the gate does not need.
    pub seccomp: Seccomp,
    /// Whether files that the gate does not need are out of its reach.
    pub landlock: bool,
}

/// What becomes of system calls that the gate does not need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// They fail, as if the kernel had no such call. Those that only an intruder makes end the process.
    #[default]
    Deny,
    /// Any of them ends the process.
    Kill,
    /// Nothing is filtered.
    Off,
}

/// What becomes of packets that can't be inspected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// They are dropped.
    #[default]
    Closed,
    /// They pass unchecked.
    Open,
}

/// What flags say. A flag wins over the file; knocks and trusted networks add to it.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--knock NAME=SECRET`
    pub knocks: Vec<(String, Secret)>,
    /// `--port`
    pub ports: Option<Vec<RangeInclusive<u16>>>,
    /// `--door`
    pub door: Option<Life>,
    /// `--trust`
    pub trusted: Vec<IpNet>,
    /// `--queue`
    pub queues: Option<RangeInclusive<u16>>,
    /// `--backend`
    pub backend: Option<Backend>,
    /// `--monitor`
    pub monitor: bool,
    /// `--control`; `Some(None)` is `off`.
    pub control: Option<Option<PathBuf>>,
    /// `--state`; `Some(None)` is `off`.
    pub state: Option<Option<PathBuf>>,
    /// `--http`; `Some(None)` is `off`.
    pub http: Option<Option<SocketAddr>>,
    /// `--user`
    pub user: Option<String>,
    /// `--chain`; none: as the file has it.
    pub chains: Vec<String>,
    /// `--pbx`; none: as the file has it.
    pub pbx: Vec<values::PbxEntry>,
}

impl Flags {
    /// Whether any of them is about what decides packets or makes rules.
    fn change_the_meaning(&self) -> bool {
        let Self {
            knocks,
            ports,
            door,
            trusted,
            queues,
            backend,
            monitor,
            control: _,
            state: _,
            http: _,
            user: _,
            chains,
            pbx,
        } = self;
        let some = [ports.is_some(), door.is_some(), queues.is_some(), backend.is_some(), *monitor];
        !knocks.is_empty()
            || !trusted.is_empty()
            || !chains.is_empty()
            || !pbx.is_empty()
            || some.contains(&true)
    }
}

/// Something valid that its writer should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it stands.
    pub place: Place,
    /// What about it.
    pub text: String,
}

/// A place in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file; `None` for flags.
    pub file: Option<PathBuf>,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The key, as in `inspect.ports`, or the flag.
    pub key: String,
}

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

impl Config {
    /// Reads a file, and lets flags have their say. `required` is false for the default path, which need not exist.
    ///
    /// # Errors
    /// Where something is unreadable, unknown, out of range, contradictory or missing.
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

    /// The file that it was read from, with its whole path; `None` if it was not there.
    pub fn file(&self) -> Option<PathBuf> {
        let file = self.files.iter().find(|file| file.path == self.path)?;
        Some(whole_path(&file.path))
    }

    /// What the packets are held against, with no door open.
    ///
    /// # Errors
    /// Where there is no knock, or the secrets are too many or too long to compile.
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

impl Default for Inspect {
    fn default() -> Self {
        Self {
            scope: Scope {
                ports: vec![DEFAULT_PORT..=DEFAULT_PORT],
                transports: vec![Transport::Udp, Transport::Tcp],
            },
            door: Life::Span(DEFAULT_DOOR),
            trusted: Vec::new(),
            mode: Mode::default(),
            renew: Renew::default(),
            prefixes: Prefixes::default(),
            nat64: NAT64.map(IpNet::V6).to_vec(),
            max_doors: DEFAULT_MAX_DOORS,
            registrations: Bounds::default(),
            streams: Limits::default(),
            grace: Duration::ZERO,
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            numbers: 0..=0,
            backend: Backend::default(),
            max_len: DEFAULT_MAX_LEN,
            receive_buffer: DEFAULT_RECEIVE_BUFFER,
            on_overload: Fallback::default(),
            on_exit: Fallback::default(),
            busy_poll: Duration::ZERO,
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: Some(DEFAULT_SOCKET.into()) }
    }
}

impl Default for State {
    fn default() -> Self {
        Self { file: Some(DEFAULT_FILE.into()) }
    }
}

impl Default for Process {
    fn default() -> Self {
        Self { user: DEFAULT_USER.to_owned(), user_named: false, seccomp: Seccomp::default(), landlock: true }
    }
}

impl Place {
    /// A key below this one.
    fn with(&self, key: &str) -> Self {
        let key = if self.file.is_none() { self.key.clone() } else { format!("{}.{key}", self.key) };
        Self { key, ..self.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.key)
    }
}

/// A path from the root on, without links as far as they can be followed, so that two names of one file are the same.
pub fn whole_path(path: &Path) -> PathBuf {
    let whole = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.canonicalize().unwrap_or_else(|_| whole())
}

/// Where the configuration is looked for.
pub const DEFAULT_PATH: &str = "/etc/sipknock/sipknock.toml";

/// As whom the gate runs; dist/systemd has the line that makes this user.
pub const DEFAULT_USER: &str = "sipknock";

/// RFC 3261, 19.1.2: the port of `sip` over UDP and TCP.
const DEFAULT_PORT: u16 = 5060;

/// A little more than the hour for which most phones register, so that the next REGISTER renews in time.
pub const DEFAULT_DOOR: Duration = Duration::from_secs(4000);

/// Far more phones than a PBX has, and a few megabytes.
const DEFAULT_MAX_DOORS: usize = 65_536;

/// Room for a third of a second at 50,000 packets per second, should the process not get to run.
const DEFAULT_MAX_LEN: u32 = 16_384;

/// Room for as many packets of the usual 700 bytes, which the kernel accounts at some 2 KiB each.
const DEFAULT_RECEIVE_BUFFER: usize = 32 * 1024 * 1024;

#[cfg(test)]
mod tests;
