//! `[firewall]`: the wanted rules of iptables.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::firewall::{DEFAULT_PARENT, Family, Pbx};

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

/// Longer than a trunk without keepalives takes to register again (RFC 3261, 10.2: an hour by default).
const DEFAULT_OUTBOUND: Duration = Duration::from_secs(4 * 3600);

/// As many as a large PBX has trunks and calls, and a few megabytes.
const DEFAULT_MAX_OUTBOUND: usize = 16_384;
