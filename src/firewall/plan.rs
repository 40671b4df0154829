//! The plan: the wanted rules, independent of address families and of iptables's words.

use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde::Serialize;

use super::names::{CHAIN, CHAIN_OUT, MAX_CHAIN_NAME, MAX_QUEUES};
use crate::packet::Transport;

/// The wanted rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The ports whose packets are queued.
    pub ports: Vec<RangeInclusive<u16>>,
    /// The transports whose packets are queued.
    pub transports: Vec<Transport>,
    /// Sources that are accepted in the kernel and never reach a queue. Both families, in any order.
    pub trusted: Vec<IpNet>,
    /// The NFQUEUE numbers.
    pub queues: RangeInclusive<u16>,
    /// Accept unchecked while nobody listens on the queue; without it the kernel drops.
    pub bypass: bool,
    /// The chains of table filter that jump to ours: [`DEFAULT_PARENT`] for a PBX on this machine, `FORWARD` or
    /// `DOCKER-USER` for one behind it.
    pub chains: Vec<String>,
    /// The PBX behind this machine; without meaning for [`DEFAULT_PARENT`].
    pub pbx: Pbx,
    /// The families that get rules.
    pub families: Vec<Family>,
    /// Copy what the PBX sends to the gate.
    pub outbound: bool,
    /// Ports of others to which the PBX sends SIP, beside `ports`.
    pub outbound_ports: Vec<RangeInclusive<u16>>,
}

/// Where the PBX is that stands behind this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pbx {
    /// Its addresses, or networks of it and nobody else.
    pub networks: Vec<IpNet>,
    /// The interfaces that lead to it.
    pub interfaces: Vec<String>,
}

/// An address family, which is to say: one of the two iptables programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Family {
    /// IPv4, `iptables`.
    #[serde(rename = "ipv4")]
    V4,
    /// IPv6, `ip6tables`.
    #[serde(rename = "ipv6")]
    V6,
}

/// Why a [`Plan`] does not make rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nothing to inspect.
    #[error("no ports to inspect: name at least one, as in `ports = [5060]`")]
    NoPorts,
    /// Nothing to inspect.
    #[error("no transports to inspect: name \"udp\", \"tcp\" or both in `transports`")]
    NoTransports,
    /// A range whose end comes before its start.
    #[error("port range {first}-{last} is the wrong way round: write it as {last}-{first}")]
    Ports {
        /// As given.
        first: u16,
        /// As given.
        last: u16,
    },
    /// A range whose end comes before its start, or one longer than the kernel counts.
    #[error("queues {first}-{last}: give one number or a range of at most {MAX_QUEUES}, lowest first")]
    Queues {
        /// As given.
        first: u16,
        /// As given.
        last: u16,
    },
    /// Nothing jumps to our chain.
    #[error("no chain to put the rules in: name at least one, as in `chains = [\"INPUT\"]`")]
    NoChains,
    /// Nothing gets rules.
    #[error("no address family: name \"ipv4\", \"ipv6\" or both in `families`")]
    NoFamilies,
    /// Not a chain that can jump to ours.
    #[error(
        "\"{0}\" cannot be the parent chain: it takes 1 to {MAX_CHAIN_NAME} letters, digits, `_`, `.` and \
         `-`, not `-` first, and not {CHAIN} itself; the usual ones are INPUT, FORWARD and DOCKER-USER"
    )]
    Parent(String),
    /// A chain that packets in both directions pass, and nothing to tell them by.
    #[error(
        "packets to the PBX and packets from it both pass {0}, and can't be told apart: name the PBX's \
         addresses, networks or interfaces in section [firewall], as in `pbx = [\"172.18.0.5\"]` or \
         `pbx = [\"192.168.10.0/24\", \"eth1\"]`"
    )]
    NoPbx(String),
}

/// The rules of a machine about which nothing is said.
impl Default for Plan {
    fn default() -> Self {
        Self {
            ports: vec![5060..=5060],
            transports: vec![Transport::Udp, Transport::Tcp],
            trusted: Vec::new(),
            queues: 0..=0,
            bypass: false,
            chains: vec![DEFAULT_PARENT.to_owned()],
            pbx: Pbx::default(),
            families: Family::ALL.to_vec(),
            outbound: true,
            outbound_ports: Vec::new(),
        }
    }
}

impl Plan {
    /// Whether rules follow from it.
    ///
    /// # Errors
    /// If it contradicts itself, or holds what iptables cannot express.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.ports.is_empty() {
            return Err(PlanError::NoPorts);
        }
        if self.transports.is_empty() {
            return Err(PlanError::NoTransports);
        }
        if let Some(range) = self.ports.iter().chain(&self.outbound_ports).find(|range| range.is_empty()) {
            return Err(PlanError::Ports { first: *range.start(), last: *range.end() });
        }
        if self.queues.is_empty() || self.queues.len() > MAX_QUEUES {
            return Err(PlanError::Queues { first: *self.queues.start(), last: *self.queues.end() });
        }
        if self.chains.is_empty() {
            return Err(PlanError::NoChains);
        }
        if self.families.is_empty() {
            return Err(PlanError::NoFamilies);
        }
        let ours = |chain: &str| chain == CHAIN || chain == CHAIN_OUT;
        if let Some(chain) = self.chains.iter().find(|chain| !is_chain_name(chain) || ours(chain)) {
            return Err(PlanError::Parent(chain.escape_debug().to_string()));
        }
        if let Some(chain) = self.chains_to_others().find(|_| self.pbx.is_empty()) {
            return Err(PlanError::NoPbx(chain.to_owned()));
        }
        Ok(())
    }

    /// The chains through which packets pass to a PBX behind this machine.
    pub fn chains_to_others(&self) -> impl Iterator<Item = &str> {
        self.chains.iter().map(String::as_str).filter(|chain| *chain != DEFAULT_PARENT)
    }

    /// Whether the PBX runs on this machine, or may.
    pub fn guards_input(&self) -> bool {
        self.chains.iter().any(|chain| chain == DEFAULT_PARENT)
    }

    /// Whether packets to this port are queued.
    pub fn inspects(&self, port: u16) -> bool {
        self.ports.iter().any(|ports| ports.contains(&port))
    }
}

impl Pbx {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.interfaces.is_empty()
    }
}

names! { pub Family { V4 = "IPv4", V6 = "IPv6" } }

impl Family {
    /// Whether a network is of this family.
    pub(super) fn has(self, net: &IpNet) -> bool {
        matches!((net, self), (IpNet::V4(_), Self::V4) | (IpNet::V6(_), Self::V6))
    }
}

/// Whether iptables takes `name` as a chain name and a restore file cannot read it as anything else.
pub(crate) fn is_chain_name(name: &str) -> bool {
    (1..=MAX_CHAIN_NAME).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Whether the kernel takes `name` for an interface (dev_valid_name, net/core/dev.c) and iptables for one word. A `+` at
/// its end stands for any rest (iptables(8), -i).
pub(crate) fn is_interface_name(name: &str) -> bool {
    (1..=MAX_INTERFACE_NAME).contains(&name.len())
        && !name.starts_with('-')
        && name != "."
        && name != ".."
        && name != "+"
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-@+".contains(&byte))
}

/// Where the jumps go unless told otherwise: what is bound for this machine itself.
pub const DEFAULT_PARENT: &str = "INPUT";

/// IFNAMSIZ without the closing zero (include/uapi/linux/if.h).
const MAX_INTERFACE_NAME: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_make_no_rules() {
        let wrong_way_round = RangeInclusive::new(5063, 5061);
        for (plan, error) in [
            (Plan { ports: vec![], ..Plan::default() }, PlanError::NoPorts),
            (Plan { transports: vec![], ..Plan::default() }, PlanError::NoTransports),
            (
                Plan { ports: vec![wrong_way_round.clone()], ..Plan::default() },
                PlanError::Ports { first: 5063, last: 5061 },
            ),
            (
                Plan { outbound_ports: vec![wrong_way_round], ..Plan::default() },
                PlanError::Ports { first: 5063, last: 5061 },
            ),
            (
                Plan { queues: RangeInclusive::new(3, 0), ..Plan::default() },
                PlanError::Queues { first: 3, last: 0 },
            ),
            (
                Plan { queues: 0..=u16::MAX, ..Plan::default() },
                PlanError::Queues { first: 0, last: u16::MAX },
            ),
            (Plan { chains: vec![], ..Plan::default() }, PlanError::NoChains),
            (Plan { families: vec![], ..Plan::default() }, PlanError::NoFamilies),
            (
                Plan { chains: vec!["INPUT".to_owned(), "FORWARD".to_owned()], ..Plan::default() },
                PlanError::NoPbx("FORWARD".to_owned()),
            ),
        ] {
            assert_eq!(plan.check(), Err(error));
        }
    }

    #[test]
    fn parent_chains() {
        for (name, fine) in [
            ("INPUT", true),
            ("DOCKER-USER", true),
            ("ufw.before_1", true),
            ("abcdefghijklmnopqrstuvwxyz12", true),
            ("abcdefghijklmnopqrstuvwxyz123", false),
            ("", false),
            ("-j", false),
            ("SIPKNOCK", false),
            ("SIPKNOCK-OUT", false),
            ("INPUT -j ACCEPT", false),
            ("INPUT\nCOMMIT", false),
            ("ÄRGER", false),
        ] {
            let pbx = Pbx { networks: vec![], interfaces: vec!["eth1".to_owned()] };
            let plan = Plan { chains: vec![name.to_owned()], pbx, ..Plan::default() };
            assert_eq!(plan.check().is_ok(), fine, "{name:?}");
        }
    }

    #[test]
    fn interfaces() {
        for (name, fine) in [
            ("eth1", true),
            ("br-0123456789ab", true),
            ("eth0.100", true),
            ("veth+", true),
            ("abcdefghijklmnop", false),
            ("", false),
            ("+", false),
            ("-i", false),
            ("a b", false),
            ("a/b", false),
            ("a\nb", false),
        ] {
            assert_eq!(is_interface_name(name), fine, "{name:?}");
        }
    }
}
