//! An inspected packet of a capture.

use std::net::IpAddr;

use crate::inspect::Decision;
use crate::packet::Flow;

/// A packet that the firewall would have queued or copied, and its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The sender.
    pub source: IpAddr,
    /// The receiver.
    pub destination: IpAddr,
    /// Transport and ports; of a later fragment, those of its datagram.
    pub flow: Flow,
    /// Its fate.
    pub fate: PacketFate,
}

/// The fate of a packet in a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketFate {
    /// The decision about a packet to the PBX.
    Decided(Decision),
    /// A packet of the PBX: it is never held, and its requests open doors.
    Outgoing,
}
