//! For whom configured knocks would open.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::assemble::Assembler;
use super::judge;
use super::roster::aor;
use crate::inspect::Scope;
use crate::knock::{KnockSet, Payload};
use crate::packet::{Body, Packet};
use crate::sip::Message;

/// The knocks of a configuration, held against packets.
#[derive(Debug)]
pub struct Against<'a> {
    knocks: &'a KnockSet,
    scope: Scope,
    assembler: Assembler,
    opens: Vec<Opens>,
}

/// What a knock would open for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Opens {
    /// The knock's name.
    pub knock: String,
    /// Messages with the knock in its place.
    pub packets: u64,
    /// The packets that hold or complete them.
    pub at: Vec<At>,
    /// Who sent them.
    pub sources: BTreeSet<IpAddr>,
    /// Their users.
    pub aors: BTreeSet<String>,
    /// Those of a scanner among them.
    pub scanners: u64,
}

/// A packet's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct At {
    /// Its capture, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its number in that, from 1.
    pub n: u64,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{} of {file}", self.n),
            None => write!(f, "{}", self.n),
        }
    }
}

impl<'a> Against<'a> {
    /// Nothing seen yet.
    pub fn new(knocks: &'a KnockSet, scope: Scope) -> Self {
        let opens = knocks.iter().map(|knock| Opens { knock: knock.name.clone(), ..Opens::default() });
        Self { knocks, scope, assembler: Assembler::default(), opens: opens.collect() }
    }

    /// Looks at a capture's packet; only what goes to the inspected ports counts.
    pub fn observe(&mut self, at: &At, packet: &Packet<'_>) {
        let Body::Segment(segment) = packet.body else { return };
        if !self.scope.covers(segment.flow) {
            return;
        }
        let source = packet.source;
        match segment.sequence {
            None => self.payload(at, source, Payload::Datagram(segment.payload)),
            Some(sequence) => {
                let mut assembler = std::mem::take(&mut self.assembler);
                assembler.messages(packet, segment, sequence, |message| {
                    self.payload(at, source, Payload::Stream(message.bytes()));
                });
                self.assembler = assembler;
            }
        }
    }

    /// Looks at a message out of a log, sent by `source`; its transport is left out of account.
    pub fn message(&mut self, at: &At, source: IpAddr, message: &[u8]) {
        self.payload(at, source, Payload::Datagram(message));
    }

    fn payload(&mut self, at: &At, source: IpAddr, payload: Payload<'_>) {
        for found in self.knocks.matched(source, payload) {
            let Some(opens) = self.opens.get_mut(found.knock.index()) else { continue };
            opens.packets += 1;
            if opens.at.len() < MAX_LISTED {
                opens.at.push(at.clone());
            }
            if opens.sources.len() < MAX_LISTED {
                opens.sources.insert(source);
            }
            let Some(message) = Message::parse(payload.bytes()) else { continue };
            if opens.aors.len() < MAX_LISTED
                && let Some(aor) = aor(&message, message.method() == Some(b"REGISTER"))
            {
                opens.aors.insert(String::from_utf8_lossy(&aor).escape_debug().to_string());
            }
            let says = |name| message.header(name).is_some_and(judge::is_scanner);
            opens.scanners += u64::from(says("User-Agent") || says("From"));
        }
    }

    /// What was seen, knock by knock.
    pub fn opens(&self) -> &[Opens] {
        &self.opens
    }
}

impl Opens {
    /// What its owner should know of it.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let several = (self.aors.len() > 1 && self.sources.len() > 1).then(|| {
            let (aors, sources) = (self.aors.len(), self.sources.len());
            format!(
                "it stands in packets of {aors} users from {sources} addresses: it opens for all of them; give each \
                 its own"
            )
        });
        let scanners = (self.scanners > 0).then(|| {
            format!("{} packets with it are a scanner's: it opens to strangers; take another", self.scanners)
        });
        let nobody =
            (self.packets == 0).then(|| "it stands in no packet of the captures and logs".to_owned());
        [several, scanners, nobody].into_iter().flatten()
    }
}

/// Packets, sources and users listed for a knock.
const MAX_LISTED: usize = 1000;
