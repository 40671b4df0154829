//! Calls on a queue's socket.

use std::os::fd::AsFd;

use super::error::QueueError;
use crate::netlink::socket as netlink;

/// Sends messages to the kernel.
pub(super) fn send(socket: impl AsFd, messages: &[u8]) -> Result<(), QueueError> {
    netlink::send(socket, messages).map_err(|error| QueueError::io("send to the kernel", error))
}

/// Asks for a receive buffer, and returns what the socket has.
pub(super) fn size_receive_buffer(socket: impl AsFd, wanted: usize) -> Result<usize, QueueError> {
    netlink::size_receive_buffer(socket, wanted)
        .map_err(|error| QueueError::io("set the receive buffer", error))
}
