//! The language of NFLOG: netlink messages to and from `nfnetlink_log`, as bytes.
//!
//! Written after include/uapi/linux/netfilter/nfnetlink_log.h and net/netfilter/nfnetlink_log.c. Nothing here talks to a
//! socket, and no bytes from outside can make it panic.

pub use crate::netlink::FrameError;
use crate::netlink::{self, Frame, NLM_F_ACK, NLM_F_REQUEST, NetlinkPayload, NetlinkWriter, nfnetlink_kind};

/// Writes the message that binds a group and configures it: at most `copy_range` bytes of each packet, each copy sent at
/// once, numbered from 0. The kernel acknowledges it under `sequence`.
///
/// The kernel carries the whole message out under one lock, but makes the group visible first (`nfulnl_recv_config`): a
/// copy that is sent in that moment has no number.
pub fn bind(out: &mut Vec<u8>, group: u16, sequence: u32, copy_range: u32) {
    let message = begin(out, NLM_F_REQUEST | NLM_F_ACK, sequence, group)
        .attribute(NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND]);
    configure(message, copy_range).end();
}

/// Writes the message that configures a bound group as [`bind`] does. The numbers go on. The kernel acknowledges it under
/// `sequence`, and refuses it if another socket or none has the group.
pub fn change(out: &mut Vec<u8>, group: u16, sequence: u32, copy_range: u32) {
    configure(begin(out, NLM_F_REQUEST | NLM_F_ACK, sequence, group), copy_range).end();
}

/// One message of a datagram that came from the kernel.
pub type NflogMessage<'a> = netlink::NetlinkMessage<Copied<'a>>;

/// The messages of one datagram.
pub type NflogMessages<'a> = netlink::Messages<'a, Copied<'a>>;

/// The copy of a packet that has met an NFLOG rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied<'a> {
    /// The group of the rule.
    pub group: u16,
    /// The copy's number within the group (`NFULA_SEQ`); `None` before the group is configured.
    pub number: Option<u32>,
    /// The packet from its IP header on, as far as the copy range reaches.
    pub payload: &'a [u8],
}

impl<'a> NetlinkPayload<'a> for Copied<'a> {
    const KIND: u16 = nfnetlink_kind(NFNL_SUBSYS_ULOG, NFULNL_MSG_PACKET);

    fn read(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let (group, attributes) = frame.nfnetlink()?;
        let mut number = None;
        let mut payload = &[][..];
        for attribute in attributes {
            match attribute? {
                (NFULA_SEQ, value) => {
                    number = value.first_chunk::<4>().map(|&number| u32::from_be_bytes(number))
                }
                (NFULA_PAYLOAD, value) => payload = value,
                _ => {}
            }
        }
        Ok(Self { group, number, payload })
    }
}

fn begin(out: &mut Vec<u8>, flags: u16, sequence: u32, group: u16) -> NetlinkWriter<'_> {
    NetlinkWriter::begin(out, nfnetlink_kind(NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG), flags, sequence, group)
}

/// The size of the kernel's buffer for a datagram (`NFULA_CFG_NLBUFSIZ`) stays at its least, a page: each datagram holds
/// one copy.
fn configure(message: NetlinkWriter<'_>, copy_range: u32) -> NetlinkWriter<'_> {
    let [a, b, c, d] = copy_range.to_be_bytes();
    message
        // `struct nfulnl_msg_config_mode`, which is packed.
        .attribute(NFULA_CFG_MODE, &[a, b, c, d, NFULNL_COPY_PACKET, 0])
        .attribute(NFULA_CFG_QTHRESH, &1u32.to_be_bytes())
        .attribute(NFULA_CFG_FLAGS, &NFULNL_CFG_F_SEQ.to_be_bytes())
}

const NFNL_SUBSYS_ULOG: u16 = 4;

const NFULNL_MSG_PACKET: u16 = 0;
const NFULNL_MSG_CONFIG: u16 = 1;

const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;

const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_QTHRESH: u16 = 5;
const NFULA_CFG_FLAGS: u16 = 6;
const NFULNL_CFG_F_SEQ: u16 = 1;

const NFULA_PAYLOAD: u16 = 9;
const NFULA_SEQ: u16 = 12;

#[cfg(test)]
mod tests;
