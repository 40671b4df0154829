//! Copies of packets for an observer, taken once their verdicts have left.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};

use crate::door::DoorChange;
use crate::inspect::Decision;

/// Copies packets from the queue threads to an observer's thread, without ever making a queue thread wait.
#[derive(Clone)]
pub(in crate::daemon) struct PacketTap {
    packets: SyncSender<TappedPacket>,
    filter: Arc<dyn TapFilter>,
}

/// The observer's side that queue threads call.
pub(super) trait TapFilter: Send + Sync {
    /// Whether the observer wants a copy of this packet. `knocked`: it opened or renewed a door.
    fn wants(&self, decision: &Decision, packet: &[u8], knocked: bool) -> bool;

    /// The observer is too far behind for this packet.
    fn missed(&self, packet: &[u8]);
}

/// A packet, and whether it opened or renewed a door.
pub(super) struct TappedPacket {
    pub(super) bytes: Box<[u8]>,
    pub(super) knocked: bool,
}

impl PacketTap {
    /// A tap and the packets that come through it.
    pub(super) fn new(filter: Arc<dyn TapFilter>) -> (Self, Receiver<TappedPacket>) {
        let (packets, receiver) = mpsc::sync_channel(CAPACITY);
        (Self { packets, filter }, receiver)
    }

    /// Hands a packet over if the observer wants it. If the observer is too far behind, the packet is only counted.
    pub(in crate::daemon) fn add(&self, decision: &Decision, packet: &[u8]) {
        let knocked = matches!(decision.change(), Some(DoorChange::Opened { .. } | DoorChange::Renewed(_)));
        if !self.filter.wants(decision, packet, knocked) {
            return;
        }
        let copy = TappedPacket { bytes: packet.into(), knocked };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.packets.try_send(copy) {
            self.filter.missed(packet);
        }
    }
}

impl fmt::Debug for PacketTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PacketTap")
    }
}

/// Packets that wait to be looked at: a second of a busy box's.
const CAPACITY: usize = 4096;
