//! TCP connections that are older than what the gate knows of them: some of their bytes have passed by without it.

use std::ops::RangeInclusive;

use crate::clock::Clock;
use crate::config::Config;
use crate::connections;
use crate::daemon::context::Live;
use crate::event::Event;
use crate::firewall::DEFAULT_PARENT;

/// Finds connections that the gate has not seen from their start, and has it hold them.
pub(super) struct Connections {
    gate: Live,
    clock: Clock,
    ports: Vec<RangeInclusive<u16>>,
    /// The PBX, or one of them, is behind this machine, and its connections are not listed here.
    behind: bool,
}

impl Connections {
    pub(super) fn new(gate: &Live, clock: Clock, config: &Config) -> Self {
        let behind = config.firewall.chains.iter().any(|chain| chain != DEFAULT_PARENT);
        let ports = config.inspect.scope.ports.clone();
        Self { gate: gate.clone(), clock, ports, behind }
    }

    /// Packets have passed by without the gate until now: from here on, what is there is held. What the log is to have of
    /// it, if that can't be seen.
    pub(super) fn hold(&self) -> Option<Event> {
        let gate = self.gate.load();
        let (streams, now) = (gate.streams(), self.clock.now());
        if self.behind {
            streams.doubt_all(now);
        }
        match connections::read(&self.ports) {
            Ok(flows) => {
                flows.into_iter().for_each(|flow| streams.loosen(now, flow));
                None
            }
            Err(error) => {
                streams.doubt_all(now);
                Some(Event::Warning(format!(
                    "TCP connections that are there already can't be listed: {error}; for a day, nothing of a phone without \
                     an open door passes over TCP before its knock"
                )))
            }
        }
    }
}
