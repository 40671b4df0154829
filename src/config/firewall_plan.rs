//! The plan of the firewall's rules that follows from a configuration.

use crate::config::sections::Fallback;
use crate::config::settings::Config;
use crate::firewall::Plan;

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
