//! What a gate says of itself, and what the watch over its rules says to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The counters of a gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Of the program.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// `enforce` or `monitor`.
    pub mode: String,
    /// How packets are read.
    pub backend: String,
    /// When it was started.
    pub started: String,
    /// Since then.
    pub uptime_s: u64,
    /// All packets.
    pub packets: u64,
    /// By reason.
    pub reasons: serde_json::Map<String, Value>,
    /// Doors.
    pub doors: DoorStats,
    /// The queues, as the kernel counts them.
    pub queues: Vec<QueueStats>,
    /// What is kept on disk; `None` where nothing is.
    #[serde(default)]
    pub state: Option<StateStats>,
    /// What holds the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<ProtectionStats>,
    /// While everything passes because of `run --grace`; `None` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<GraceStats>,
    /// The configuration in force; `None` from a daemon that does not say, and where anybody may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<ConfigStats>>,
    /// The source that sends most of the packets; `None` from a daemon that does not say, and before the first packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busiest: Option<BusiestStats>,
    /// How the firewall's rules are; `None` if nobody watches over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesStats>,
    /// Events that were counted and not logged.
    pub events_lost: u64,
    /// Outbound doors; `None` from a daemon that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<OutboundStats>,
    /// Senders of INVITEs that were dropped although they are for a user that the PBX has registered somewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_trunks: Vec<RefusedTrunk>,
}

/// Outbound doors, and the copies of what the PBX sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundStats {
    /// Open ones.
    pub open: u64,
    /// The most there may be.
    pub max: u64,
    /// Open ones that had to go since there were too many.
    #[serde(default)]
    pub evicted: u64,
    /// Sources that are kept from having one.
    pub marks: u64,
    /// The configuration wants them.
    #[serde(default)]
    pub wanted: bool,
    /// Copies read.
    pub copies: u64,
    /// Copies lost because the receive buffer was full.
    pub lost: u64,
    /// The NFLOG group that copies are read from; `None` if none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u16>,
    /// Why nothing is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
}

/// A sender whose calls were dropped, and that may be a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedTrunk {
    /// Its address.
    pub source: String,
    /// The user part that it called last.
    pub user: String,
    /// INVITEs so far.
    pub calls: u64,
    /// The time of the last one, RFC 3339.
    pub last: String,
}

/// What a watch over the firewall's rules says of them, again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesReport {
    /// How the rules of each family are. Families that this machine does not have are not listed.
    pub families: Vec<RulesFamily>,
    /// Rules that somebody removes are put back.
    pub keep: bool,
    /// How often they were, since the watch began.
    pub restores: u64,
    /// For how many milliseconds some were not in place, in all, since the watch began.
    #[serde(default)]
    pub missing_ms: u64,
    /// How often the watch has looked at the rules, since it began.
    #[serde(default)]
    pub looks: u64,
    /// Why they are not put back, or what else is to be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The watch ends with this report.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// What has happened since the last report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<RulesChange>,
    /// What is to be logged as a warning since the last report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How the rules of a family are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesFamily {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// The chains that lead to them, as in `INPUT,FORWARD`.
    pub chain: String,
    /// `in-place`, `missing` or `foreign`.
    pub state: String,
    /// What is wrong, for people; empty if nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Something that has happened to the rules of a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesChange {
    /// `missing`, `foreign` or `restored`.
    pub state: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// The chains that lead to the rules.
    pub chain: String,
    /// Who did it, as far as that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// For how many milliseconds they were not in place: until now, or until they were again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_ms: Option<u64>,
    /// What is wrong, for people; empty if nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// How the firewall's rules are, as far as the gate knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesStats {
    /// Whether somebody watches over them now; if not, the rest is how they were last.
    pub watched: bool,
    /// How the rules of each family are.
    pub families: Vec<RulesFamily>,
    /// Rules that somebody removes are put back.
    pub keep: bool,
    /// How often they were, since the gate's start.
    pub restores: u64,
    /// For how many milliseconds some were not in place, since the gate's start.
    pub missing_ms: u64,
    /// How often they were looked at, since the gate's start.
    #[serde(default)]
    pub looks: u64,
    /// Why they are not put back, or what else is to be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// `in-place`, of [`RulesFamily::state`].
pub const IN_PLACE: &str = "in-place";
/// `missing`, of [`RulesFamily::state`] and [`RulesChange::state`].
pub const MISSING: &str = "missing";
/// `foreign`, of [`RulesFamily::state`] and [`RulesChange::state`].
pub const FOREIGN: &str = "foreign";
/// `restored`, of [`RulesChange::state`].
pub const RESTORED: &str = "restored";

/// What holds the daemon's process since its queues were bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectionStats {
    /// As whom it runs.
    pub user: String,
    /// The capabilities that it has kept, as capabilities(7) names them.
    pub capabilities: Vec<String>,
    /// System calls are filtered by the gate's own filter, whatever its unit has.
    pub seccomp: bool,
    /// Files are out of reach by the gate's own Landlock rules.
    pub landlock: bool,
}

/// The configuration that a daemon goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStats {
    /// The file that it read, with its whole path; `None` if there was none, so that flags say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// When it read it, RFC 3339.
    pub read: String,
    /// [`crate::config::Digests::meaning`] of what is in force.
    pub meaning: String,
    /// [`crate::config::Digests::files`] of what was read.
    pub files: String,
    /// Flags of `run` have a say in what it means.
    #[serde(default)]
    pub flags: bool,
    /// Ports that are inspected, as in `5060` and `5061-5063`.
    pub ports: Vec<String>,
    /// Transports that are inspected.
    pub transports: Vec<String>,
    /// Networks that pass without a knock.
    pub trusted: Vec<String>,
    /// Chains of table filter that its rules belong into.
    #[serde(default)]
    pub chains: Vec<String>,
    /// Keys that the files have changed since the start, and that only a restart puts in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
}

/// The source from which most of the recent packets came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusiestStats {
    /// Its address.
    pub address: String,
    /// Its share of the recent packets in percent, at least.
    pub percent: u64,
    /// How many packets are recent: some thousands at most.
    pub of: u64,
}

/// How a safe start is going.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraceStats {
    /// For how long everything passes; 0 where the time is up, and some phones had not knocked.
    pub left_s: u64,
    /// Phones that have registered.
    pub phones: u64,
    /// Those of them that have not knocked so far.
    pub unready: u64,
    /// Those of these that pass by a door that another one holds, or that the PBX opens by calling them.
    #[serde(default)]
    pub borrowed: u64,
    /// REGISTERs that came too fast to be looked at.
    pub overlooked: u64,
}

/// How the doors on disk are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateStats {
    /// The file.
    pub file: String,
    /// How often it was written since the start.
    pub writes: u64,
    /// How often it could not be.
    pub failures: u64,
}

/// How many doors there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorStats {
    /// Open, counting those that ran out within the last second.
    pub open: u64,
    /// The most there may be.
    pub max: u64,
    /// Known: open ones, and such as have run out and are remembered.
    pub known: u64,
    /// Open ones by knock, for knocks that hold any.
    pub by_knock: serde_json::Map<String, Value>,
}

/// What the kernel and the gate say of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// Its number.
    pub queue: u16,
    /// Packets that wait for a verdict.
    pub waiting: u64,
    /// Packets that found it full.
    pub kernel_dropped: u64,
    /// Packets that found the socket's buffer full.
    pub socket_dropped: u64,
    /// Packets that were decided too late: the kernel had dropped them while they waited, as it does if somebody deletes
    /// a base chain. Brought up to date with each batch of packets.
    #[serde(default)]
    pub stale: u64,
    /// What is wrong with it: `stuck` or `lost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// How often something was, since the start.
    #[serde(default)]
    pub faults: u64,
    /// When it last gave packets their verdicts, RFC 3339; `None` where it has not since the start.
    #[serde(default)]
    pub last_verdict: Option<String>,
    /// For how many seconds it has given none: since then, or since the start. `None` from a daemon that
    /// does not say.
    #[serde(default)]
    pub since_verdict_s: Option<u64>,
}

impl QueueStats {
    /// How long ago its last verdict was, for people; `None` where the daemon does not say.
    pub fn last_verdict_ago(&self) -> Option<String> {
        let span = humantime::format_duration(Duration::from_secs(self.since_verdict_s?));
        Some(match self.last_verdict {
            Some(_) => format!("last verdict {span} ago"),
            None => format!("no verdict yet since the start {span} ago"),
        })
    }
}
