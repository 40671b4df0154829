//! The ports and transports that the gate inspects.

use std::ops::RangeInclusive;

use crate::packet::{Flow, Transport};

/// The inspected ports and transports. The firewall queues nothing else, and `replay` shows nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Destination ports.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Transports.
    pub transports: Vec<Transport>,
}

impl Scope {
    /// Whether the firewall would queue a packet with these ports.
    pub fn covers(&self, flow: Flow) -> bool {
        self.transports.contains(&flow.transport)
            && self.ports.iter().any(|ports| ports.contains(&flow.destination_port))
    }
}
