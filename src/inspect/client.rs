//! The sender of a packet.

use std::net::IpAddr;

use crate::door::Key;
use crate::time::Time;

/// The sender of a packet, and the time.
#[derive(Clone, Copy)]
pub(super) struct PacketSender {
    pub(super) address: IpAddr,
    pub(super) key: Key,
    pub(super) now: Time,
    /// Of the packet, for the door's count.
    pub(super) bytes: u32,
}
