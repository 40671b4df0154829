//! `[firewall]`: the wanted rules of iptables.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Config, Fallback};
use crate::firewall::{DEFAULT_PARENT, Family, Pbx, Plan};

/// `[firewall]`: the wanted rules of iptables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallRules {
    /// The tool that writes them.
    pub backend: FirewallBackend,
    /// The chains of table filter that jump to ours.
    pub chains: Vec<String>,
    /// The chains come from flags, so that commands in messages need the same flags.
    pub typed: bool,
    /// The PBX behind this machine; needed for every chain but INPUT.
    pub pbx: Pbx,
    /// The families that get rules.
    pub families: Vec<Family>,
    /// Removed rules are put back.
    pub keep: bool,
    /// Life of a door that a request of the PBX opens for its destination; `None`: no such doors.
    pub outbound: Option<Duration>,
    /// Ports of providers beside those inspected.
    pub outbound_ports: Vec<RangeInclusive<u16>>,
    /// How many such doors may be open at a time.
    pub max_outbound: usize,
}

/// The tool that writes the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirewallBackend {
    /// The one that this machine has.
    #[default]
    Auto,
    /// iptables.
    Iptables,
}

impl Default for FirewallRules {
    fn default() -> Self {
        Self {
            backend: FirewallBackend::default(),
            chains: vec![DEFAULT_PARENT.to_owned()],
            typed: false,
            pbx: Pbx::default(),
            families: Family::ALL.to_vec(),
            keep: true,
            outbound: Some(DEFAULT_OUTBOUND),
            outbound_ports: Vec::new(),
            max_outbound: DEFAULT_MAX_OUTBOUND,
        }
    }
}

impl Config {
    /// The rules that follow from the configuration.
    pub fn firewall_plan(&self) -> Plan {
        let rules = &self.firewall;
        Plan {
            ports: self.inspect.scope.ports.clone(),
            transports: self.inspect.scope.transports.clone(),
            trusted: self.inspect.trusted.clone(),
            queues: self.queue.numbers.clone(),
            bypass: self.queue.on_exit == Fallback::Open,
            chains: rules.chains.clone(),
            pbx: rules.pbx.clone(),
            families: rules.families.clone(),
            outbound: rules.outbound.is_some(),
            outbound_ports: rules.outbound_ports.clone(),
        }
    }
}

/// Longer than a trunk without keepalives takes to register again (RFC 3261, 10.2: an hour by default).
const DEFAULT_OUTBOUND: Duration = Duration::from_secs(4 * 3600);

/// As many as a large PBX has trunks and calls, and a few megabytes.
const DEFAULT_MAX_OUTBOUND: usize = 16_384;
