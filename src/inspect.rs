//! The decision about one packet: bytes and the time in, a verdict with its reason out.
//!
//! The checks and their order are those of the table in docs/architecture.md, which `replay --json` shows:
//! `trusted`, `knock`, `door`, `handshake`, `expired`, and for the rest what kind of packet it was.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::door::{Change, DoorTable, Grant, State};
use crate::knock::{KnockId, KnockSet};
use crate::net::{NetSet, Prefixes, Source};
use crate::packet::{Body, Flow, Packet, Transport};
use crate::time::Time;
use crate::verdict::{Reason, Verdict};

/// What every packet is held against, beside the knocks and the doors.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Sources that pass without a knock.
    pub trusted: NetSet,
    /// Whether drops are carried out.
    pub mode: Mode,
    /// What renews an open door.
    pub renew: Renew,
    /// What makes a source out of an address.
    pub prefixes: Prefixes,
}

/// Whether drops are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Drop what is to be dropped.
    #[default]
    Enforce,
    /// Accept everything, and say what would have been dropped.
    Monitor,
}

/// What renews an open door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renew {
    /// A knock, and nothing else.
    #[default]
    Knock,
    /// Any packet that the door let through.
    Packet,
}

/// What the gate stands in front of. The firewall queues nothing else, and `replay` shows nothing else.
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

/// What becomes of a packet, why, and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer to the kernel.
    pub verdict: Verdict,
    /// Why. In monitor mode this is still the reason for which it would have been dropped.
    pub reason: Reason,
    /// The sender, where it could be read.
    pub source: Option<IpAddr>,
    /// Every knock that matched, each once, in the order of the config.
    pub knocks: Vec<KnockId>,
    /// What they did to the source's door.
    pub change: Option<Change>,
}

impl Decision {
    /// Accepted only because the gate runs in monitor mode.
    pub fn would_drop(&self) -> bool {
        self.verdict == Verdict::Accept && self.reason.verdict() == Verdict::Drop
    }
}

/// Policy, knocks and doors together: all that a decision needs. One serves all queue threads.
#[derive(Debug)]
pub struct Inspector {
    policy: Policy,
    knocks: KnockSet,
    doors: DoorTable,
}

impl Inspector {
    /// An inspector without any door open. `max_doors` bounds how many can be.
    pub fn new(policy: Policy, knocks: KnockSet, max_doors: usize) -> Self {
        let doors = DoorTable::new(max_doors, knocks.iter().map(|knock| knock.max_doors));
        Self { policy, knocks, doors }
    }

    /// The knocks it looks for.
    pub fn knocks(&self) -> &KnockSet {
        &self.knocks
    }

    /// The doors.
    pub fn doors(&self) -> &DoorTable {
        &self.doors
    }

    /// Whether it accepts everything, and only says what it would drop.
    pub fn monitors(&self) -> bool {
        self.policy.mode == Mode::Monitor
    }

    /// What makes a source out of an address.
    pub fn prefixes(&self) -> Prefixes {
        self.policy.prefixes
    }

    /// Decides a packet that starts with its IP header, as the kernel queues it.
    pub fn inspect(&self, now: Time, bytes: &[u8]) -> Decision {
        match Packet::parse(bytes) {
            Ok(packet) => self.decide(now, &packet),
            Err(_) => self.conclude(Reason::Malformed, None),
        }
    }

    /// Decides a packet that has been read already.
    pub fn decide(&self, now: Time, packet: &Packet<'_>) -> Decision {
        let address = packet.source;
        if self.policy.trusted.contains(address) {
            return self.conclude(Reason::Trusted, Some(address));
        }
        let source = Source::new(address, self.policy.prefixes);
        let mut knocks = Vec::new();
        let mut change = None;
        if let Body::Segment(segment) = packet.body {
            knocks = self.knocks.matched(address, segment.payload);
            if !knocks.is_empty() {
                change = Some(self.doors.knock(source, now, &self.grants(&knocks)));
            }
        }
        let reason = match change {
            Some(Change::Opened { .. } | Change::Renewed(_)) => Reason::Knock,
            _ => self.without_knock(now, source, packet, change),
        };
        Decision { knocks, change, ..self.conclude(reason, Some(address)) }
    }

    /// The reason for a packet that neither opens nor renews a door.
    fn without_knock(
        &self,
        now: Time,
        source: Source,
        packet: &Packet<'_>,
        change: Option<Change>,
    ) -> Reason {
        let state = self.doors.state(source, now);
        if state == State::Open {
            if self.policy.renew == Renew::Packet {
                self.doors.extend(source, now);
            }
            return Reason::Door;
        }
        match packet.body {
            _ if change.is_some() => Reason::DoorLimit,
            Body::Segment(segment)
                if segment.flow.transport == Transport::Tcp && segment.payload.is_empty() =>
            {
                Reason::Handshake
            }
            _ if state == State::RunOut => Reason::Expired,
            Body::Segment(_) => Reason::NoKnock,
            Body::LaterFragment(_) => Reason::Fragment,
            Body::Malformed(..) => Reason::Malformed,
        }
    }

    fn grants(&self, knocks: &[KnockId]) -> Vec<Grant> {
        let grant = |&id| self.knocks.get(id).map(|knock| Grant { knock: id, life: knock.door });
        knocks.iter().filter_map(grant).collect()
    }

    fn conclude(&self, reason: Reason, source: Option<IpAddr>) -> Decision {
        let verdict = match self.policy.mode {
            Mode::Enforce => reason.verdict(),
            Mode::Monitor => Verdict::Accept,
        };
        Decision { verdict, reason, source, knocks: Vec::new(), change: None }
    }
}

#[cfg(test)]
mod tests;
