//! The sections of the configuration, and their defaults.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::control::DEFAULT_SOCKET;
use crate::inspect::{Bounds, Mode, Renew, Scope};
use crate::knock::Life;
use crate::net::{NAT64, Prefixes};
use crate::packet::Transport;
use crate::queue::{Backend, QueueOptions};
use crate::state::DEFAULT_FILE;
use crate::stream::Limits;

/// `[inspect]`: what is looked at, and what opens.
#[derive(Clone, Debug)]
pub struct InspectSection {
    /// Ports and transports that are inspected.
    pub scope: Scope,
    /// How long a door stays open after a knock that does not say otherwise.
    pub door: Life,
    /// Networks that pass without a knock.
    pub trusted: Vec<IpNet>,
    /// Enforce or monitor.
    pub mode: Mode,
    /// The packets that renew a door.
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
pub struct QueueSection {
    /// NFQUEUE numbers; one thread each.
    pub numbers: RangeInclusive<u16>,
    /// Which implementation reads them.
    pub backend: Backend,
    /// How many packets may wait for a verdict in each.
    pub max_len: u32,
    /// The receive buffer to ask for, in bytes.
    pub receive_buffer: usize,
    /// The fate of packets that find the queue full.
    pub on_overload: Fallback,
    /// The fate of packets while no daemon listens.
    pub on_exit: Fallback,
    /// How long to look for the next packet without sleeping.
    pub busy_poll: Duration,
}

impl QueueSection {
    /// How to bind the queue of this number.
    pub fn options(&self, number: u16) -> QueueOptions {
        QueueOptions {
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
pub struct ControlSection {
    /// The unix socket; `None`: there is none.
    pub socket: Option<PathBuf>,
}

/// `[state]`: what outlives the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSection {
    /// The file that keeps the doors; `None`: they are gone with the gate.
    pub file: Option<PathBuf>,
}

/// `[http]`: how a running gate is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSection {
    /// The address of metrics and the status page; `None`: they are not served.
    pub listen: Option<SocketAddr>,
    /// Names of hosts that it answers to, beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// `[process]`: what the process of the gate may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSection {
    /// As whom it runs where root starts it.
    pub user: String,
    /// Somebody wrote that name down, so that it has to exist.
    pub user_named: bool,
    /// The fate of system calls that the gate does not need.
    pub seccomp: Seccomp,
    /// Whether files that the gate does not need are out of its reach.
    pub landlock: bool,
}

/// The fate of system calls that the gate does not need.
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

/// The fate of packets that can't be inspected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// They are dropped.
    #[default]
    Closed,
    /// They pass unchecked.
    Open,
}

impl Default for InspectSection {
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

impl Default for QueueSection {
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

impl Default for ControlSection {
    fn default() -> Self {
        Self { socket: Some(DEFAULT_SOCKET.into()) }
    }
}

impl Default for StateSection {
    fn default() -> Self {
        Self { file: Some(DEFAULT_FILE.into()) }
    }
}

impl Default for ProcessSection {
    fn default() -> Self {
        Self { user: DEFAULT_USER.to_owned(), user_named: false, seccomp: Seccomp::default(), landlock: true }
    }
}

/// A name of `inspect.trusted_names`, with the addresses that it had when it was written down. These are in
/// [`InspectSection::trusted`], too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedName {
    /// The name of a host.
    pub name: String,
    /// Its addresses then.
    pub addresses: Vec<std::net::IpAddr>,
}

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
