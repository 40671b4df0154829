//! What was found on this machine, without any judgement.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::control::protocol::Stats;
use crate::firewall::{Family, Listing, Routes, Status};
use crate::packet::Transport;
use crate::queue::kernel::QueueRow;

use super::nft::{Nft, Offload};

/// All that the judgements go by.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// This process's effective capabilities, as in `CapEff` of /proc/self/status.
    pub capabilities: u64,
    /// The kernel's table of queues is there.
    pub queue_table: bool,
    /// The program that shows rules, if it is not installed: nothing can be said of rules and of what they need.
    pub no_iptables: Option<String>,
    /// The service manager has a unit for the gate.
    pub unit: bool,
    /// What iptables and the kernel said to each thing that was tried, and did not work.
    pub refused: Vec<(Need, String)>,
    /// Our rules against the plan, or why that can't be told.
    pub status: Option<Result<Status, String>>,
    /// All rules, family by family.
    pub tables: Vec<Tables>,
    /// What nft shows.
    pub nft: Nft,
    /// Rules that hand flows past chain FORWARD.
    pub offloads: Vec<Offload>,
    /// What the rules handed to the queues while this process looked, and what came to these.
    pub fed: Option<Fed>,
    /// The queues of the configuration.
    pub queues: Vec<QueueFacts>,
    /// What the gate says of itself at the control socket, or why it does not. `None` where nobody was asked: there is no
    /// such socket, or nobody on the queues who could answer.
    pub gate: Option<Result<Stats, String>>,
    /// The process that says so.
    pub gate_process: Option<ProcessFacts>,
    /// Queue numbers that somebody listens on.
    pub taken_queues: Vec<u16>,
    /// Addresses of this machine.
    pub own_addresses: Vec<IpAddr>,
    /// Routers that it sends through.
    pub gateways: Vec<IpAddr>,
    /// net.netfilter.nf_conntrack_max.
    pub conntrack_max: Option<u64>,
    /// Sockets that take packets.
    pub listeners: Vec<Listener>,
    /// The same over transports that our rules don't match.
    pub others: Vec<OtherListener>,
    /// Names of the configuration whose addresses are trusted, with those that they have now, or why that can't be told.
    pub resolved: Vec<(String, Result<Vec<IpAddr>, String>)>,
    /// Routes of the main tables.
    pub routes: Routes,
    /// Which packets each interface takes by their source, loopback aside.
    pub reverse_paths: Vec<ReversePath>,
    /// net.core.rmem_max.
    pub rmem_max: Option<usize>,
    /// SELinux refuses, and not only reports.
    pub selinux_enforcing: bool,
    /// What AppArmor confines the gate to, as in /proc/PID/attr/current.
    pub apparmor: Option<String>,
}

/// Packets within the time that looking takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// That our rules have counted on their way to a queue.
    pub counted: u64,
    /// That came to the queues of the configuration, or found them full.
    pub queued: u64,
    /// That rules of others took before ours.
    pub taken_before: u64,
}

/// The rules of one family.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Which.
    pub family: Family,
    /// What the program that we use shows.
    pub ours: Listing,
    /// What the program of the other variant shows, nf_tables or legacy, whose rules apply as well: its name, and they.
    pub other: Option<(String, Listing)>,
}

/// Something that rules may need of the kernel and of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Handing packets to a queue.
    Nfqueue,
    /// Several ports in a rule.
    Multiport,
    /// Following flows, by which IPv6 fragments are put together.
    Conntrack,
    /// Lists of addresses.
    Set,
    /// Limits per address.
    Hashlimit,
}

/// A queue of the configuration.
#[derive(Clone, Debug, Default)]
pub struct QueueFacts {
    /// Its number.
    pub number: u16,
    /// Its line in the kernel's table, where somebody listens.
    pub row: Option<QueueRow>,
    /// The same a moment later.
    pub later: Option<QueueRow>,
    /// Who listens, where that can be seen: of several processes that have the socket open, the gate.
    pub owner: Option<ProcessFacts>,
    /// The receive buffer of the listening socket, in the measure in which it was asked for.
    pub receive_buffer: Option<usize>,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Its id.
    pub pid: u32,
    /// Its name, as in /proc/PID/comm.
    pub name: String,
    /// A signal has stopped it.
    pub stopped: bool,
    /// `--monitor` is among its arguments.
    pub monitors: bool,
    /// What `--config` among its arguments names, with its whole path; the usual file if it names none.
    pub config: Option<PathBuf>,
    /// The unit of systemd that it belongs to, as in `sipknock.service`.
    pub unit: Option<String>,
    /// It is in another network namespace than this process.
    pub elsewhere: bool,
    /// How long it has been running, in seconds.
    pub seconds: u64,
    /// What it may do, where that can be seen.
    pub rights: Option<Rights>,
    /// The name of the user that it runs as, if it has one.
    pub user: Option<String>,
}

impl ProcessFacts {
    /// Whether it is a sipknock, by its name.
    pub fn is_gate(&self) -> bool {
        self.name == "sipknock" || self.name.starts_with("sipknock-") && self.name != RULES_HELPER
    }

    /// Whether it is a service manager, whose descriptor store keeps a copy of a gate's sockets (systemd.service(5),
    /// `FileDescriptorStoreMax=`).
    pub fn keeps_descriptors(&self) -> bool {
        self.pid == 1 || self.name == "systemd"
    }
}

/// The gate's helper that changes the firewall's rules, as its name is cut.
const RULES_HELPER: &str = "sipknock-rules";

/// What a process may do, as /proc/PID/status has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// The effective user.
    pub user: u32,
    /// Permitted capabilities.
    pub capabilities: u64,
    /// It can't gain any.
    pub no_new_privileges: bool,
    /// Its system calls are filtered.
    pub filtered: bool,
}

/// A transport beside those that the gate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// SCTP, RFC 9260; SIP over it is RFC 4168.
    Sctp,
    /// UDP-Lite, RFC 3828.
    UdpLite,
}

names! {
    /// For people.
    pub Other { Sctp = "SCTP", UdpLite = "UDP-Lite" }
}

impl Other {
    /// What iptables calls it, and its number.
    pub const fn protocol(self) -> [&'static str; 2] {
        match self {
            Self::Sctp => ["sctp", "132"],
            Self::UdpLite => ["udplite", "136"],
        }
    }
}

/// A socket of such a transport that takes packets from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherListener {
    /// Over what.
    pub protocol: Other,
    /// On which port.
    pub port: u16,
    /// Whose, where that can be seen.
    pub process: Option<String>,
    /// It is a socket for IPv6; most of these take packets of both families.
    pub v6: bool,
}

/// rp_filter of an interface (Documentation/networking/ip-sysctl.rst): 0 off, 1 strict, 2 loose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReversePath {
    /// The interface.
    pub interface: String,
    /// Its own value.
    pub own: u8,
    /// That of `all`.
    pub of_all: u8,
}

impl ReversePath {
    /// What is in force: the larger one.
    pub fn in_force(&self) -> u8 {
        self.own.max(self.of_all)
    }
}

/// A socket that takes packets from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Over what.
    pub transport: Transport,
    /// On which port.
    pub port: u16,
    /// Whose, where that can be seen.
    pub process: Option<String>,
    /// It is a socket for IPv6; most of these take packets of both families.
    pub v6: bool,
}
