//! Captures: the same decisions as on a live queue, over packets that somebody recorded.
//!
//! A packet's way through this module: [`capture`] takes it out of a pcap or pcapng file together with the
//! time at which it was seen. [`Intake`] makes of it what a netfilter hook sees: [`link`] finds the IP packet in the
//! link-layer frame, [`defrag`] puts fragments together, [`tunnel`] finds packets in packets, and [`gaps`] counts what can't
//! be seen. [`Replay`] decides it, and [`report`] writes down what came of it.

pub mod capture;
pub mod defrag;
pub mod gaps;
mod inspected;
mod intake;
pub mod link;
pub mod report;
pub mod tunnel;

pub use inspected::{Inspected, PacketFate};
pub use intake::{Hook, Intake};

use std::collections::HashMap;
use std::net::IpAddr;

use crate::inspect::{Inspector, Scope};
use crate::net::NetSet;
use crate::packet::{Body, Flow, Fragment, Packet};
use crate::time::Time;

/// Decides recorded packets as `run` would have, with the capture's clock.
#[derive(Debug)]
pub struct Replay {
    gate: Inspector,
    scope: Scope,
    pbx: NetSet,
    /// The ports of the PBX's packets that are copied, either way.
    outbound: Scope,
    fragments: HashMap<DatagramId, Flow>,
}

/// The id that ties fragments to their first (RFC 791, 3.2; RFC 8200, 4.5).
type DatagramId = (IpAddr, IpAddr, Fragment);

impl Replay {
    /// With all doors shut, and with no address known to be the PBX's.
    pub fn new(gate: Inspector, scope: Scope) -> Self {
        let (pbx, outbound) = (NetSet::default(), scope.clone());
        Self { gate, scope, pbx, outbound, fragments: HashMap::new() }
    }

    /// The same with the PBX's addresses. Its packets from or to the ports of `outbound` are those that are copied.
    pub fn with_pbx(self, pbx: NetSet, outbound: Scope) -> Self {
        Self { pbx, outbound, ..self }
    }

    /// The inspector, with its knocks and doors.
    pub fn gate(&self) -> &Inspector {
        &self.gate
    }

    /// Decides a packet that starts with its IP header; `None` if the firewall would neither have queued nor copied it.
    ///
    /// A later fragment, which is seen in FORWARD only, has no ports. It counts as bound for the ports of its datagram, if
    /// that one's first fragment was seen.
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
        let fate = if self.pbx.contains(packet.source) {
            (self.outbound.covers(flow) || self.outbound.covers(flow.reversed())).then(|| {
                self.gate.sent(time, &packet);
                PacketFate::Outgoing
            })
        } else {
            self.scope.covers(flow).then(|| PacketFate::Decided(self.gate.decide(time, &packet)))
        };
        Some(Inspected { source: packet.source, destination: packet.destination, flow, fate: fate? })
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

    fn reason_of(inspected: &Inspected) -> Reason {
        match &inspected.fate {
            PacketFate::Decided(decision) => decision.reason,
            PacketFate::Outgoing => panic!("it is no packet to the PBX"),
        }
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
            assert_eq!(inspected.map(|inspected| reason_of(&inspected)), reason, "{packet:02x?}");
        }
    }

    #[test]
    fn later_fragments_follow_their_first() {
        let mut replay = replay("ports = [5060]");
        let mut decide = |packet: &[u8]| {
            replay
                .packet(Time::default(), packet)
                .map(|inspected| (reason_of(&inspected), inspected.flow.destination_port))
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

    #[test]
    fn packets_of_the_pbx_open_doors_and_are_never_dropped() {
        let plain = replay("ports = [5060]");
        let outbound = Scope { ports: vec![5060..=5060, 5080..=5080], ..plain.scope.clone() };
        let pbx = NetSet::new(&["192.0.2.7/32".parse().unwrap()]);
        let mut replay = plain.with_pbx(pbx, outbound);
        let from_port = |port: u16, body: &[u8]| [&port.to_be_bytes()[..], &udp(body)[2..]].concat();
        let to_port =
            |port: u16, body: &[u8]| [&udp(body)[..2], &port.to_be_bytes(), &udp(body)[4..]].concat();
        let call = b"OPTIONS sip:x SIP/2.0\r\nTo: <sip:x>\r\n\r\n";
        let fate = |replay: &mut Replay, from: &str, transport: &[u8]| {
            replay.packet(Time::default(), &ipv4(from, transport)).map(|inspected| inspected.fate)
        };
        // To 192.0.2.1, which is where all packets here go; from there it answers.
        let answer = |replay: &mut Replay| match fate(replay, "192.0.2.1", &udp(b"SIP/2.0 200 OK\r\n\r\n")) {
            Some(PacketFate::Decided(decision)) => decision.reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(answer(&mut replay), Reason::NoKnock);
        assert_eq!(fate(&mut replay, "192.0.2.7", &to_port(6000, call)), None, "neither port is copied");
        assert_eq!(answer(&mut replay), Reason::NoKnock);
        assert_eq!(
            fate(&mut replay, "192.0.2.7", &udp(b"SIP/2.0 200 OK\r\n\r\n")),
            Some(PacketFate::Outgoing)
        );
        assert_eq!(answer(&mut replay), Reason::NoKnock, "an answer opens nothing");
        let from_5060 = [&from_port(5060, call)[..2], &to_port(6000, call)[2..]].concat();
        assert_eq!(fate(&mut replay, "192.0.2.7", &from_5060), Some(PacketFate::Outgoing));
        assert_eq!(answer(&mut replay), Reason::Outbound);
        assert_eq!(fate(&mut replay, "192.0.2.7", &to_port(5080, call)), Some(PacketFate::Outgoing));
    }
}
