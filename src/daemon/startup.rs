//! The first steps, with full privileges: queues, sockets, the helper; then privileges are dropped.
//!
//! It is one thread until it is confined: rights, filters and Landlock's rules are a thread's, and go to those that it
//! starts ([`harden`]).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::control::socket::{Socket, SocketError};
use crate::daemon::context::Live;
use crate::daemon::error::{DaemonError, system};
use crate::daemon::firewall_helper::FirewallHelper;
use crate::daemon::options::RunOptions;
use crate::daemon::outbound;
use crate::daemon::signals::Signals;
use crate::daemon::systemd::Systemd;
use crate::daemon::takeover::PreviousProcess;
use crate::harden::{self, HardenPaths, Identity, Protection};
use crate::inspect::{Inspector, Mode};
use crate::nflog::{NflogError, NflogReader};
use crate::queue::{Queue, kernel};

/// The parts that the daemon is built of.
pub(super) struct Startup {
    pub(super) gate: Live,
    pub(super) clock: Clock,
    pub(super) signals: Signals,
    pub(super) previous: PreviousProcess,
    /// Queues that nobody hands over.
    pub(super) queues: Vec<Box<dyn Queue>>,
    /// The reader of what the PBX sends, if one is wanted and nobody hands it over.
    pub(super) outbound: Option<Result<NflogReader, NflogError>>,
    identity: Identity,
}

/// The parts that take root, for use once packets are decided.
pub(super) struct Privileged {
    /// The control socket, where one is wanted and nobody hands it over.
    pub(super) socket: Option<Result<Socket, SocketError>>,
    /// The helper that puts the firewall's rules in and takes them out.
    pub(super) rules: Option<FirewallHelper>,
    /// Why the kernel's counters can't be read.
    pub(super) unseen: Option<io::Error>,
    /// The limits of this process.
    pub(super) protection: Protection,
}

impl Startup {
    /// All that is most likely to fail. Queues come last, so that where one can't be had nothing has changed.
    ///
    /// # Errors
    /// Where there can be no gate.
    pub(super) fn prepare(
        config: &Config,
        options: &RunOptions,
        manager: Systemd,
    ) -> Result<Self, DaemonError> {
        let gate = Arc::new(ArcSwap::from_pointee(first_gate(config, options.grace)?));
        let identity = Identity::of(config)?;
        let clock = Clock::start();
        let previous = PreviousProcess::find(config, options, manager)?;
        let signals = Signals::listen()?;
        let held = previous.queues();
        let missing = config.queue.numbers.clone().filter(|number| !held.contains(number));
        let bind = |number| config.queue.backend.open(&config.queue.options(number));
        let queues = missing.map(bind).collect::<Result<Vec<_>, _>>()?;
        let wanted = outbound::options(config).filter(|options| !previous.reads(options.group));
        let outbound = wanted.map(|options| NflogReader::open(&options));
        Ok(Self { gate, clock, signals, previous, queues, outbound, identity })
    }

    /// Does the last that needs root, and gives up all rights but what a running gate needs. What makes threads comes
    /// after this.
    ///
    /// # Errors
    /// If the helper can't be started, or the process can't be confined.
    pub(super) fn drop_privileges(
        &self,
        config: &Config,
        options: &RunOptions,
    ) -> Result<Privileged, DaemonError> {
        let places = HardenPaths::new(config, options.learn.as_deref());
        places.prepare(&self.identity);
        // The one of a gate that hands over comes along.
        let wanted = config.control.socket.as_deref().filter(|_| !self.previous.is_running());
        let socket = wanted.map(Socket::make);
        let has_rules = options.rules || self.previous.has_rules();
        let watched = has_rules || options.watch && rustix::process::geteuid().is_root();
        let rules = watched.then(FirewallHelper::start).transpose();
        let rules = match rules {
            // Without rules of its own a gate goes on.
            Err(_) if !has_rules => None,
            rules => rules.map_err(system("start the rules' helper"))?,
        };
        let unseen = kernel::keep_readable().err();
        let protection = harden::confine(&self.identity, &places, &config.process)?;
        Ok(Privileged { socket, rules, unseen, protection })
    }
}

/// The gate that it begins with. With a grace everything passes.
fn first_gate(config: &Config, grace: Option<Duration>) -> Result<Inspector, ConfigError> {
    let (mut policy, knocks) = config.compile()?;
    if grace.is_some() {
        policy.mode = Mode::Monitor;
    }
    Ok(Inspector::new(policy, knocks, config.inspect.max_doors))
}
