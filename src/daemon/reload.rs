//! Another configuration for a gate that goes on deciding packets.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::clock::Clock;
use crate::config::{Config, ConfigError, Digests, SALT, values::ports_text};
use crate::control::protocol::ConfigStats;
use crate::daemon::context::Live;
use crate::daemon::event_log::ClosedDoors;
use crate::daemon::observers::grace::Grace;
use crate::daemon::outbound::tell_closed;
use crate::event::{Event, REVOKED, Reloaded};
use crate::inspect::{Mode, Policy};
use crate::knock::{KnockSet, Life};
use crate::time::Time;

/// Reads the configuration again, as it was read at the start, with warnings about it.
pub type LoadConfig = Box<dyn Fn() -> Result<(Config, Vec<String>), ConfigError> + Send + Sync>;

/// Puts a new gate in the place of the old one.
pub(super) struct Reloader {
    live: Live,
    clock: Clock,
    load: LoadConfig,
    /// The configuration in force. Its lock lets one reload run at a time.
    running: Mutex<Config>,
    /// The same for those who ask, who never wait for a reload.
    told: ArcSwap<ConfigStats>,
    /// While it lasts, everything passes, whatever the configuration says.
    grace: Option<Grace>,
    /// Copies of the PBX's packets are read: outbound was on when the gate was started.
    reads_outbound: bool,
}

/// Why strangers still pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unenforced {
    /// It is what the configuration says.
    #[error(
        "the configuration says that everything passes: take 'mode' or --monitor out, then 'sipknock reload'"
    )]
    Configured,
    /// The configuration in force can't be compiled again.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The outcome of a reload.
pub(super) struct ReloadOutcome {
    /// Doors that it shut.
    pub(super) closed: u64,
    /// Keys that a reload does not change, and other warnings.
    pub(super) notes: Vec<String>,
}

/// Doors of knocks that are gone.
struct Closings {
    /// Those that were shut.
    closed: u64,
    /// Those that others hold as well.
    kept: u64,
}

impl Reloader {
    pub(super) fn new(live: Live, clock: Clock, load: LoadConfig, running: Config) -> Self {
        let told = ArcSwap::from_pointee(told(&running, clock.now(), &[]));
        let reads_outbound = running.firewall.outbound.is_some();
        Self { live, clock, load, running: Mutex::new(running), told, grace: None, reads_outbound }
    }

    /// The configuration in force.
    pub(super) fn told(&self) -> Arc<ConfigStats> {
        self.told.load_full()
    }

    /// The same with a safe start.
    pub(super) fn beginning_with(self, grace: Option<Grace>) -> Self {
        Self { grace, ..self }
    }

    /// The safe start, if there is or was one.
    pub(super) fn grace(&self) -> Option<&Grace> {
        self.grace.as_ref()
    }

    /// How long a door is open that no knock says more about.
    pub(super) fn usual_door(&self) -> Life {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).inspect.door
    }

    /// Networks of a PBX behind this machine.
    pub(super) fn pbx(&self) -> Vec<IpNet> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).firewall.pbx.networks.clone()
    }

    /// Compiles what the configuration says now, puts it in force and tells. Where it is not valid, nothing changes.
    /// Packets are decided meanwhile, by the old one and then by the new one.
    pub(super) fn reload(&self, tell: &dyn Fn(Event)) -> Result<ReloadOutcome, ConfigError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.replace(&mut running, tell);
        if let Err(error) = &outcome {
            tell(Event::Warning(format!("not reloaded, all is as it was: {error}")));
        }
        outcome
    }

    fn replace(&self, running: &mut Config, tell: &dyn Fn(Event)) -> Result<ReloadOutcome, ConfigError> {
        let (config, warnings) = (self.load)()?;
        let (Closings { closed, kept }, monitor) = self.put(&config, tell)?;
        let restart = needs_restart(running, &config, self.reads_outbound);
        let mut notes = unchanged(running, &config, &restart);
        if kept > 0 {
            let (doors, stay) = if kept == 1 { ("door", "stays") } else { ("doors", "stay") };
            notes.push(format!(
                "{kept} {doors} of knocks that are gone {stay} open, since other knocks hold the same address: 'sipknock doors' \
                 names them, and 'sipknock doors close' shuts a door to all of them"
            ));
        }
        notes.extend(warnings);
        if let Some(grace) = self.lasting() {
            if config.inspect.mode == Mode::Monitor {
                grace.end();
                notes.push("the configuration says monitor, so that --grace is over".to_owned());
            } else {
                notes.push(
                    "--grace continues: everything passes until its end, or 'sipknock enforce'".to_owned(),
                );
            }
        }
        tell(Event::Reloaded(Reloaded {
            monitor,
            knocks: config.knocks.len(),
            trusted: config.inspect.trusted.len(),
            closed,
        }));
        notes.iter().cloned().map(Event::Warning).for_each(tell);
        // Keys that did not change are compared with their old values the next time.
        let Config { queue, control, state, http, process, mut inspect, .. } = running.clone();
        inspect = crate::config::InspectSection {
            prefixes: inspect.prefixes,
            streams: inspect.streams,
            ..config.inspect.clone()
        };
        *running = Config { queue, control, state, http, process, inspect, ..config };
        self.told.store(Arc::new(told(running, self.clock.now(), &restart)));
        Ok(ReloadOutcome { closed, notes })
    }

    /// Has the gate drop strangers although its grace lasts. What the owner should know of it: phones that are shut out.
    pub(super) fn enforce(&self, tell: &dyn Fn(Event)) -> Result<Vec<String>, Unenforced> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(grace) = self.lasting() else {
            return match running.inspect.mode {
                Mode::Enforce => Ok(vec!["it did so already".to_owned()]),
                Mode::Monitor => Err(Unenforced::Configured),
            };
        };
        let (policy, knocks) = running.compile()?;
        self.swap(policy, knocks, running.inspect.max_doors, tell);
        Ok(grace.enforced(tell))
    }

    /// The grace, for as long as it lasts.
    fn lasting(&self) -> Option<&Grace> {
        self.grace().filter(|grace| grace.lasts())
    }

    /// Puts a configuration in force. What became of doors, and whether everything passes.
    fn put(&self, config: &Config, tell: &dyn Fn(Event)) -> Result<(Closings, bool), ConfigError> {
        let (mut policy, knocks) = config.compile()?;
        if self.lasting().is_some() {
            policy.mode = Mode::Monitor;
        }
        let monitor = policy.mode == Mode::Monitor;
        Ok((self.swap(policy, knocks, config.inspect.max_doors, tell), monitor))
    }

    fn swap(&self, policy: Policy, knocks: KnockSet, max_doors: usize, tell: &dyn Fn(Event)) -> Closings {
        let next = Arc::new(self.live.load().successor(policy, knocks));
        let old = self.live.swap(Arc::clone(&next));
        // A thread half-way through a batch may still open a door for a knock that is gone.
        for _ in 0..LONGEST_BATCH.as_millis() {
            if Arc::strong_count(&old) == 1 {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let mut shut = ClosedDoors::default();
        let retired = next.take_over(max_doors, self.clock.now(), |source, door| shut.add(source, door));
        shut.tell(&next, REVOKED, tell);
        tell_closed(&next, retired.outbound, REVOKED, tell);
        if next.outbound_life().is_none() {
            tell_closed(&next, next.outbound().flush(self.clock.now()), REVOKED, tell);
        }
        Closings { closed: retired.closed, kept: retired.kept }
    }
}

/// The configuration as those get to see it who ask.
fn told(running: &Config, now: Time, restart: &[&str]) -> ConfigStats {
    let mut salt = [0; SALT];
    // Without it the digests could be compared with those of another time, and still with no secret alone.
    let _ = rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty());
    let Digests { meaning, files } = running.digests(salt);
    let scope = &running.inspect.scope;
    ConfigStats {
        file: running.file().map(|path| path.display().to_string()),
        read: now.to_string(),
        meaning,
        files,
        flags: running.flagged,
        ports: scope.ports.iter().map(ports_text).collect(),
        transports: scope.transports.iter().map(|transport| transport.name().to_owned()).collect(),
        trusted: running.inspect.trusted.iter().map(|net| net.trunc().to_string()).collect(),
        chains: running.firewall.chains.clone(),
        restart: restart.iter().map(|key| (*key).to_owned()).collect(),
    }
}

/// Keys in which the files and the running gate differ, and that a reload can't change.
fn needs_restart(running: &Config, wanted: &Config, reads_outbound: bool) -> Vec<&'static str> {
    let (was, is) = (&running.inspect, &wanted.inspect);
    let keys = [
        ("queue.numbers", running.queue.numbers != wanted.queue.numbers),
        ("queue.backend", running.queue.backend != wanted.queue.backend),
        ("queue.max_len", running.queue.max_len != wanted.queue.max_len),
        ("queue.receive_buffer", running.queue.receive_buffer != wanted.queue.receive_buffer),
        ("queue.on_overload", running.queue.on_overload != wanted.queue.on_overload),
        ("queue.on_exit", running.queue.on_exit != wanted.queue.on_exit),
        ("queue.busy_poll", running.queue.busy_poll != wanted.queue.busy_poll),
        ("inspect.ipv4_prefix", was.prefixes.v4 != is.prefixes.v4),
        ("inspect.ipv6_prefix", was.prefixes.v6 != is.prefixes.v6),
        ("inspect.partial_bytes", was.streams.bytes != is.streams.bytes),
        ("inspect.partial_segments", was.streams.segments != is.streams.segments),
        ("inspect.max_flows", was.streams.flows != is.streams.flows),
        ("firewall.outbound", !reads_outbound && wanted.firewall.outbound.is_some()),
        ("process.user", running.process.user != wanted.process.user),
        ("process.seccomp", running.process.seccomp != wanted.process.seccomp),
        ("process.landlock", running.process.landlock != wanted.process.landlock),
        ("control.socket", running.control != wanted.control),
        ("state.file", running.state != wanted.state),
        ("http.listen", running.http.listen != wanted.http.listen),
        ("http.hosts", running.http.hosts != wanted.http.hosts),
    ];
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// Keys that a reload does not change, or not alone.
fn unchanged(running: &Config, wanted: &Config, restart: &[&str]) -> Vec<String> {
    let (was, is) = (&running.inspect, &wanted.inspect);
    let mut notes = Vec::new();
    if !restart.is_empty() {
        notes.push(format!("{} can't change while the gate runs: restart it for that", restart.join(", ")));
    }
    let (rules_were, rules_are) = (&running.firewall, &wanted.firewall);
    let rules = [
        ("inspect.ports", was.scope.ports != is.scope.ports),
        ("inspect.transports", was.scope.transports != is.scope.transports),
        ("inspect.trusted", was.trusted != is.trusted),
        ("firewall.chains", rules_were.chains != rules_are.chains),
        ("firewall.pbx", rules_were.pbx != rules_are.pbx),
        ("firewall.families", rules_were.families != rules_are.families),
        ("firewall.outbound", rules_were.outbound.is_some() != rules_are.outbound.is_some()),
        ("firewall.outbound_ports", rules_were.outbound_ports != rules_are.outbound_ports),
    ];
    let rules: Vec<_> = rules.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect();
    if !rules.is_empty() {
        notes.push(format!(
            "{} changed, and the firewall's rules go by it, too: run 'sipknock firewall apply'",
            rules.join(", ")
        ));
    }
    notes
}

/// Longer than a queue thread takes for a batch, unless it is not let run.
const LONGEST_BATCH: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
