//! Captures: the same decisions as on a live queue, over packets that somebody recorded.
//!
//! A packet's way through this module: [`capture`] takes it out of a pcap or pcapng file together with the
//! time at which it was seen, [`link`] finds the IP packet in the link-layer frame, [`Replay`] decides it, and
//! [`report`] writes down what came of it.

pub mod capture;
pub mod link;
pub mod report;

use std::collections::HashMap;
use std::net::IpAddr;

use crate::inspect::{Decision, Inspector, Scope};
use crate::packet::{Body, Flow, Fragment, Packet};
use crate::time::Time;

/// Decides recorded packets as `run` would have, with the capture's clock.
#[derive(Debug)]
pub struct Replay {
    gate: Inspector,
    scope: Scope,
    fragments: HashMap<DatagramId, Flow>,
}

/// What ties fragments to their first (RFC 791, 3.2; RFC 8200, 4.5).
type DatagramId = (IpAddr, IpAddr, Fragment);

/// A packet that the firewall would have queued, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The sender.
    pub source: IpAddr,
    /// The receiver.
    pub destination: IpAddr,
    /// Transport and ports; of a later fragment, those of its datagram.
    pub flow: Flow,
    /// The decision.
    pub decision: Decision,
}

impl Replay {
    /// With all doors shut.
    pub fn new(gate: Inspector, scope: Scope) -> Self {
        Self { gate, scope, fragments: HashMap::new() }
    }

    /// What is being knocked with, and where the doors are.
    pub fn gate(&self) -> &Inspector {
        &self.gate
    }

    /// Decides a packet that starts with its IP header; `None` where the firewall would not have queued it.
    ///
    /// A later fragment has no ports. It counts as bound for the ports of its datagram, where that one's first
    /// fragment was seen.
    pub fn packet(&mut self, time: Time, bytes: &[u8]) -> Option<Inspected> {
        let packet = Packet::parse(bytes).ok()?;
        let flow = match packet.body {
            Body::LaterFragment(fragment) => {
                *self.fragments.get(&(packet.source, packet.destination, fragment))?
            }
            _ => packet.flow()?,
        };
        if let Body::Segment(segment) = packet.body
            && let Some(fragment) = segment.fragment
        {
            if self.fragments.len() >= MAX_DATAGRAMS {
                self.fragments.clear();
            }
            self.fragments.insert((packet.source, packet.destination, fragment), flow);
        }
        self.scope.covers(flow).then(|| Inspected {
            source: packet.source,
            destination: packet.destination,
            flow,
            decision: self.gate.decide(time, &packet),
        })
    }
}

/// Fragmented datagrams remembered at a time. Beyond that all are forgotten: fragments of one datagram follow each
/// other closely, so at most a handful of them is then left without a line.
const MAX_DATAGRAMS: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Flags};
    use crate::testing::{ipv4, ipv4_fragment, ipv4_with, tcp, udp};
    use crate::verdict::Reason;

    fn replay(inspect: &str) -> Replay {
        let text = format!("[inspect]\n{inspect}\n[[knock]]\nname = \"a\"\nsecret = \"mykn0ckstr1ng\"\n");
        let config = Config::parse(&text, Path::new("test.toml"), &Flags::default()).unwrap();
        Replay::new(config.inspector().unwrap(), config.inspect.scope)
    }

    #[test]
    fn only_what_the_firewall_would_queue() {
        let mut replay = replay("ports = [5060]\ntransports = [\"udp\"]");
        let mut other_port = udp(b"");
        other_port[3] = 0xc5;
        for (packet, reason) in [
            (ipv4("192.0.2.7", &udp(b"x")), Some(Reason::NoKnock)),
            (ipv4("192.0.2.7", &other_port), None),
            (ipv4("192.0.2.7", &tcp(b"x")), None),
            (ipv4_with("192.0.2.7", 1, 0, &[], &[8, 0, 0, 0]), None),
            (ipv4("192.0.2.7", b"\x13\xc5\x13\xc4"), Some(Reason::Malformed)),
            (ipv4("192.0.2.7", b"\x13\xc5"), None),
            (Vec::new(), None),
        ] {
            let inspected = replay.packet(Time::default(), &packet);
            assert_eq!(inspected.map(|inspected| inspected.decision.reason), reason, "{packet:02x?}");
        }
    }

    #[test]
    fn later_fragments_follow_their_first() {
        let mut replay = replay("ports = [5060]");
        let mut decide = |packet: &[u8]| {
            replay
                .packet(Time::default(), packet)
                .map(|inspected| (inspected.decision.reason, inspected.flow.destination_port))
        };
        let first = ipv4_fragment("192.0.2.7", 0, true, &udp(&[b'x'; 24]));
        let knocking = ipv4_fragment("192.0.2.7", 0, true, &udp(b"...mykn0ckstr1ng"));
        let later = ipv4_fragment("192.0.2.7", 4, false, b"the rest");
        assert_eq!(decide(&later), None, "of a datagram that nobody knows");
        assert_eq!(decide(&first), Some((Reason::NoKnock, 5060)));
        assert_eq!(decide(&later), Some((Reason::Fragment, 5060)));
        assert_eq!(decide(&knocking), Some((Reason::Knock, 5060)));
        assert_eq!(decide(&later), Some((Reason::Door, 5060)));
    }
}
