//! The proof by real packets: a network namespace of its own, the rules that follow from the configuration, this very
//! program's gate, a stranger and a phone.
//!
//! Three processes: the *caller* (`doctor --probe`) starts itself anew in a namespace without a name, as *witness*, and
//! that starts the *gate*. Each ends with the one that started it, and the namespace with them, so that nothing is left
//! behind even by `kill -9`.

mod message;
mod traffic;

use std::io::Read;
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};

use super::{Finding, Severity};
use crate::clock::Clock;
use crate::config::Config;
use crate::daemon::{self, DaemonError, RunOptions};
use crate::firewall::{DEFAULT_PARENT, Family, Firewall, Plan};
use crate::inspect::Mode;
use crate::net::NetSet;
use crate::packet::Transport;
use crate::queue::kernel;
use message::ProbePhone;
use traffic::{Arrival, PATIENCE, PAUSE, Target};

/// What this process is in a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeRole {
    /// Sends packets, and watches what arrives.
    Witness,
    /// The gate between.
    Gate,
}

names! { ProbeRole { Witness = "witness", Gate = "gate" } }

/// Runs a witness in a namespace of its own, with the words that this process was called with, and returns what it found.
pub fn call() -> Vec<Finding> {
    let this = format!("/proc/{}/exe", std::process::id());
    let mut command = Command::new("unshare");
    let command = again(command.args(["--net", "--", &this]), ProbeRole::Witness);
    let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            let text = format!("the probe needs the program unshare, to make a network namespace: {error}");
            return vec![Finding::fault("probe-impossible", text).mend("apt install util-linux")];
        }
    };
    let out = read_aside(child.stdout.take());
    let said = read_aside(child.stderr.take());
    if !ends_within(&mut child, LONGEST) {
        kill(&mut child);
        let text = format!("the probe was not done after {} s, and was ended", LONGEST.as_secs());
        return vec![Finding::fault("probe-slow", text)];
    }
    let (out, said) = (out.join().unwrap_or_default(), said.join().unwrap_or_default());
    serde_json::from_str(out.trim()).unwrap_or_else(|_| {
        let said = said.trim().escape_debug();
        let text = format!(
            "the probe did not reach its end; it needs root and the right to make a network namespace: {said}"
        );
        vec![Finding::fault("probe-impossible", text).mend("sudo sipknock doctor --probe")]
    })
}

/// The gate of a probe: as configured, except that it enforces and keeps nothing.
///
/// # Errors
/// As [`daemon::run`].
pub fn gate(config: &Config) -> Result<(), DaemonError> {
    let mut config = config.clone();
    config.inspect.mode = Mode::Enforce;
    (config.control.socket, config.state.file) = (None, None);
    let again = config.clone();
    daemon::run(&config, RunOptions::default(), Box::new(move || Ok((again.clone(), Vec::new()))))
}

/// What the witness sees. It must be in a namespace that nobody else uses.
pub fn witness(config: &Config, plan: &Plan) -> Vec<Finding> {
    match Stage::set(config, plan) {
        Ok(stage) => stage.play(config),
        Err(finding) => vec![finding],
    }
}

/// The namespace with rules and a gate in it.
struct Stage {
    gate: Child,
    phones: Vec<(Scene, ProbePhone)>,
    notes: Vec<Finding>,
}

/// One kind of packets to be sent.
#[derive(Clone, Copy, Debug)]
struct Scene {
    transport: Transport,
    target: Target,
    stranger: IpAddr,
}

impl Stage {
    fn set(config: &Config, plan: &Plan) -> Result<Self, Finding> {
        traffic::ip(&["link", "set", "lo", "up"])?;
        let mut notes = Vec::new();
        let phones = cast(config, plan, &mut notes);
        for (scene, phone) in &phones {
            for address in [scene.target.address, scene.stranger, phone.address] {
                traffic::own(address)?;
            }
        }
        // Whatever the PBX is behind on this machine, here it is at home.
        let plan = Plan { chains: vec![DEFAULT_PARENT.to_owned()], ..plan.clone() };
        let report = Firewall::default().apply(&plan).map_err(|error| {
            Finding::fault(
                "probe-rules",
                format!("the rules that follow from the configuration are refused: {error}"),
            )
        })?;
        for note in report.families.iter().flat_map(|family| &family.notes) {
            notes.push(Finding::note("probe-note", note.to_string()));
        }
        let mut gate = again(&mut Command::new("/proc/self/exe"), ProbeRole::Gate)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Finding::fault("probe-gate", format!("the gate can't be started: {error}")))?;
        let said = read_aside(gate.stderr.take());
        let bound = || config.queue.numbers.clone().all(|number| kernel::queue(number).is_some());
        if !traffic::comes_true(|| bound() || gate.try_wait().is_ok_and(|ended| ended.is_some())) || !bound()
        {
            kill(&mut gate);
            let said = said.join().unwrap_or_default();
            let text = format!("the gate does not start: {}", said.trim().escape_debug());
            return Err(Finding::fault("probe-gate", text));
        }
        Ok(Self { gate, phones, notes })
    }

    /// Sends in each scene what a stranger sends, and then what a phone sends.
    fn play(mut self, config: &Config) -> Vec<Finding> {
        let mut found = std::mem::take(&mut self.notes);
        for (scene, phone) in &self.phones {
            let Scene { transport, target, stranger } = scene;
            let what = format!("{}, {}", if stranger.is_ipv4() { "IPv4" } else { "IPv6" }, transport.name());
            found.push(
                match traffic::send(
                    *transport,
                    *stranger,
                    *target,
                    message::STRANGER,
                    Arrival::Unwanted,
                    config,
                ) {
                    Ok(false) => {
                        Finding::ok("probe-stranger", format!("{what}: a stranger's packet was dropped"))
                    }
                    Ok(true) => Finding::fault(
                        "probe-stranger",
                        format!("{what}: a stranger's packet reached the PBX's port"),
                    ),
                    Err(error) => {
                        Finding::fault("probe-stranger", format!("{what}: nothing can be sent: {error}"))
                    }
                },
            );
            let knock = &phone.knock;
            found.push(
                match traffic::send(
                    *transport,
                    phone.address,
                    *target,
                    &phone.message,
                    Arrival::Wanted,
                    config,
                ) {
                    Ok(true) => Finding::ok("probe-knock", format!("{what}: knock {knock:?} passed")),
                    Ok(false) => {
                        Finding::fault("probe-knock", format!("{what}: knock {knock:?} did not get through"))
                    }
                    Err(error) => Finding::fault(
                        "probe-knock",
                        format!("{what}: knock {knock:?} can't be sent: {error}"),
                    ),
                },
            );
        }
        if self.phones.is_empty() && !found.iter().any(|finding| finding.severity == Severity::Fault) {
            let text = "no packet was sent: there is no knock and no address that would show anything";
            found.push(Finding::fault("probe-nothing", text));
        }
        found
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.gate), Signal::TERM);
        if !ends_within(&mut self.gate, PATIENCE) {
            kill(&mut self.gate);
        }
    }
}

/// Who takes part, over each family and transport; and why some do not.
fn cast(config: &Config, plan: &Plan, notes: &mut Vec<Finding>) -> Vec<(Scene, ProbePhone)> {
    let trusted = NetSet::new(&config.inspect.trusted);
    let mut cast = Vec::new();
    let Some(port) = plan.ports.first().map(|ports| *ports.start()) else { return cast };
    let v6 = std::path::Path::new("/proc/thread-self/net/if_inet6").exists();
    for (family, v4) in [(Family::V4, true), (Family::V6, false)] {
        if !plan.families.contains(&family) {
            continue;
        }
        let family = family.name();
        if !v4 && !v6 {
            notes.push(Finding::note("probe-note", "no IPv6 in this kernel"));
            continue;
        }
        let own: Vec<IpAddr> = addresses(v4).filter(|address| !trusted.contains(*address)).collect();
        let [server, stranger, own @ ..] = own.as_slice() else {
            let text = format!(
                "{family}: `trusted` holds the addresses that strangers have in a probe; it can't be made"
            );
            notes.push(Finding::warning("probe-trusted", text));
            continue;
        };
        for (transport, own) in plan.transports.iter().zip(own.chunks(1).cycle()) {
            let phone =
                config.knocks.iter().find_map(|knock| ProbePhone::of(config, knock, v4, own, &trusted));
            let Some(phone) = phone else {
                let text =
                    format!("{family}: no knock counts from an address that is not in `trusted`; not probed");
                notes.push(Finding::note("probe-note", text));
                break;
            };
            let target = Target { address: *server, port };
            cast.push((Scene { transport: *transport, target, stranger: *stranger }, phone));
        }
    }
    cast
}

/// Addresses to play with, each of a network of its own, that are nobody's: for benches (RFC 2544, RFC 5180) and for
/// documentation (RFC 5737, RFC 3849).
fn addresses(v4: bool) -> impl Iterator<Item = IpAddr> {
    let texts = match v4 {
        true => ["198.18.0.1", "198.19.0.1", "198.18.100.1", "203.0.113.1", "192.0.2.1", "198.51.100.1"],
        false => [
            "2001:2:0:1::1",
            "2001:2:0:2::1",
            "2001:2:0:3::1",
            "2001:db8:5060:1::1",
            "2001:db8:5060:2::1",
            "2001:db8:5060:3::1",
        ],
    };
    texts.into_iter().filter_map(|text| text.parse().ok())
}

/// What this process was started for by another one of a probe; `None` for one that a person started. From here on it ends
/// with its parent.
pub fn role() -> Option<ProbeRole> {
    let told = std::env::var(ROLE).ok()?;
    let (name, parent) = told.split_once(' ')?;
    let role = ProbeRole::ALL.into_iter().find(|role| role.name() == name)?;
    // Without it, a caller that is killed would leave its gate in the namespace; nothing else depends on it.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // The parent may have died before that (PR_SET_PDEATHSIG(2const)).
    if getppid().map(|pid| pid.as_raw_pid().to_string()).as_deref() != Some(parent) {
        std::process::exit(1);
    }
    Some(role)
}

/// Has a command start this program with the words of this process, for another role.
fn again(command: &mut Command, role: ProbeRole) -> &mut Command {
    let told = format!("{} {}", role.name(), std::process::id());
    command.args(std::env::args_os().skip(1)).env(ROLE, told).stdin(Stdio::null())
}

fn read_aside(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        let _ = pipe.map(|pipe| pipe.take(MOST).read_to_string(&mut text));
        text
    })
}

fn ends_within(child: &mut Child, span: Duration) -> bool {
    let clock = Clock::start();
    let deadline = clock.now().after(span);
    loop {
        match child.try_wait() {
            Ok(None) if clock.now() < deadline => thread::sleep(PAUSE),
            Ok(ended) => return ended.is_some(),
            Err(_) => return true,
        }
    }
}

fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The environment variable that tells a process of a probe its role and who started it.
const ROLE: &str = "SIPKNOCK_PROBE";

/// More than everything takes where each single step takes as long as it may.
const LONGEST: Duration = Duration::from_secs(60);

/// More than a probe has to say, in bytes.
const MOST: u64 = 1 << 20;
