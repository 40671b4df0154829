//! The language of NFQUEUE: netlink messages to and from `nfnetlink_queue`, as bytes.
//!
//! Written after include/uapi/linux/netfilter/nfnetlink_queue.h and net/netfilter/nfnetlink_queue.c. Nothing here
//! talks to a socket, and no bytes from outside can make it panic.

pub use crate::netlink::FrameError;
use crate::netlink::{self, Frame, NLM_F_ACK, NLM_F_REQUEST, NetlinkPayload, NetlinkWriter, nfnetlink_kind};
use crate::verdict::Verdict;

/// What a queue is set up with, in one message, so that it is never live and half configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// How many bytes of each packet to copy; the kernel itself stops at 65,531 (`nfqnl_set_mode`).
    pub copy_range: u32,
    /// How many packets may wait for a verdict.
    pub max_len: u32,
    /// Accept unchecked, instead of dropping, what finds the queue full (`NFQA_CFG_F_FAIL_OPEN`).
    pub fail_open: bool,
}

/// Writes the message that binds a queue number and configures it. The kernel acknowledges it under `sequence`.
pub fn bind(out: &mut Vec<u8>, queue: u16, sequence: u32, setup: Setup) {
    let message = begin(out, NFQNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, queue)
        .attribute(NFQA_CFG_CMD, &[NFQNL_CFG_CMD_BIND, 0, 0, 0])
        .attribute(NFQA_CFG_PARAMS, &copy_params(setup.copy_range))
        .attribute(NFQA_CFG_QUEUE_MAXLEN, &setup.max_len.to_be_bytes());
    flags(message, setup.fail_open).end();
}

/// Writes the message that closes a bound queue to newcomers: nothing more is queued, and what arrives is
/// accepted (`fail_open`) or dropped by the kernel, as without a listener. What waits keeps waiting for its verdict.
/// The kernel acknowledges it under `sequence`.
pub fn shut(out: &mut Vec<u8>, queue: u16, sequence: u32, fail_open: bool) {
    let message = begin(out, NFQNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, queue)
        .attribute(NFQA_CFG_QUEUE_MAXLEN, &0u32.to_be_bytes());
    flags(message, fail_open).end();
}

/// Writes the message that changes a bound queue's length and fail-open. The kernel acknowledges it under `sequence`.
pub fn change(out: &mut Vec<u8>, queue: u16, sequence: u32, setup: Setup) {
    let message = begin(out, NFQNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, queue)
        .attribute(NFQA_CFG_PARAMS, &copy_params(setup.copy_range))
        .attribute(NFQA_CFG_QUEUE_MAXLEN, &setup.max_len.to_be_bytes());
    flags(message, setup.fail_open).end();
}

/// Writes a message that changes nothing: the kernel's answer under `sequence` wakes whoever waits on the socket.
pub fn wake(out: &mut Vec<u8>, queue: u16, sequence: u32, copy_range: u32) {
    begin(out, NFQNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, queue)
        .attribute(NFQA_CFG_PARAMS, &copy_params(copy_range))
        .end();
}

/// Writes the message that gives a queue up. The kernel drops what waits in it.
pub fn unbind(out: &mut Vec<u8>, queue: u16, sequence: u32) {
    begin(out, NFQNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, queue)
        .attribute(NFQA_CFG_CMD, &[NFQNL_CFG_CMD_UNBIND, 0, 0, 0])
        .end();
}

/// Writes the verdict on one packet. The kernel answers only where it fails.
pub fn verdict(out: &mut Vec<u8>, queue: u16, id: u32, verdict: Verdict) {
    begin(out, NFQNL_MSG_VERDICT, NLM_F_REQUEST, 0, queue)
        .attribute(NFQA_VERDICT_HDR, &verdict_header(id, number(verdict)))
        .end();
}

/// Writes one verdict on every packet that waits with an id up to `last`. The kernel answers under `sequence` if it fails,
/// so if there is none.
pub fn verdict_up_to(out: &mut Vec<u8>, queue: u16, sequence: u32, last: u32, verdict: Verdict) {
    up_to(out, queue, sequence, last, number(verdict));
}

/// Writes the end of every packet that waits with an id up to `last` and was received by a process that is gone. The kernel
/// answers under `sequence` if there is none. A packet that is queued again gets an id of its own, behind all that wait.
pub fn settle_up_to(out: &mut Vec<u8>, queue: u16, sequence: u32, last: u32, unanswered: Unanswered) {
    let verdict = match unanswered {
        Unanswered::Requeue => NF_REPEAT,
        Unanswered::Drop => NF_DROP,
    };
    up_to(out, queue, sequence, last, verdict);
}

fn up_to(out: &mut Vec<u8>, queue: u16, sequence: u32, last: u32, verdict: u32) {
    begin(out, NFQNL_MSG_VERDICT_BATCH, NLM_F_REQUEST, sequence, queue)
        .attribute(NFQA_VERDICT_HDR, &verdict_header(last, verdict))
        .end();
}

/// The end of packets that a process has received and not answered before it was gone. The kernel hands over each packet once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// They pass the firewall's hook again, and so come again.
    Requeue,
    /// They are dropped.
    Drop,
}

/// One message of a datagram that came from the kernel.
pub type QueueMessage<'a> = netlink::NetlinkMessage<Queued<'a>>;

/// The messages of one datagram.
pub type QueueMessages<'a> = netlink::Messages<'a, Queued<'a>>;

/// A packet in the kernel's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued<'a> {
    /// The queue it waits in.
    pub queue: u16,
    /// What a verdict calls it.
    pub id: u32,
    /// The packet from its IP header on, as far as the copy range reaches.
    pub payload: &'a [u8],
}

impl<'a> NetlinkPayload<'a> for Queued<'a> {
    const KIND: u16 = nfnetlink_kind(NFNL_SUBSYS_QUEUE, NFQNL_MSG_PACKET);

    fn read(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let (queue, attributes) = frame.nfnetlink()?;
        let mut id = None;
        let mut payload = &[][..];
        for attribute in attributes {
            match attribute? {
                (NFQA_PACKET_HDR, value) => id = value.first_chunk::<4>().map(|&id| u32::from_be_bytes(id)),
                (NFQA_PAYLOAD, value) => payload = value,
                _ => {}
            }
        }
        let id = id.ok_or(FrameError::NoId)?;
        Ok(Self { queue, id, payload })
    }
}

/// Begins a message to the kernel.
fn begin(out: &mut Vec<u8>, message: u16, flags: u16, sequence: u32, queue: u16) -> NetlinkWriter<'_> {
    NetlinkWriter::begin(out, nfnetlink_kind(NFNL_SUBSYS_QUEUE, message), flags, sequence, queue)
}

/// Sets or clears fail-open, and leaves the other flags as they are.
fn flags(message: NetlinkWriter<'_>, fail_open: bool) -> NetlinkWriter<'_> {
    let flags = if fail_open { NFQA_CFG_F_FAIL_OPEN } else { 0 };
    message
        .attribute(NFQA_CFG_MASK, &NFQA_CFG_F_FAIL_OPEN.to_be_bytes())
        .attribute(NFQA_CFG_FLAGS, &flags.to_be_bytes())
}

/// `struct nfqnl_msg_config_params`, which is packed.
fn copy_params(range: u32) -> [u8; 5] {
    let [a, b, c, d] = range.to_be_bytes();
    [a, b, c, d, NFQNL_COPY_PACKET]
}

fn number(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Drop => NF_DROP,
        Verdict::Accept => NF_ACCEPT,
    }
}

/// `struct nfqnl_msg_verdict_hdr`.
fn verdict_header(id: u32, verdict: u32) -> [u8; 8] {
    let [a, b, c, d] = verdict.to_be_bytes();
    let [e, f, g, h] = id.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

const NFNL_SUBSYS_QUEUE: u16 = 3;

const NFQNL_MSG_PACKET: u16 = 0;
const NFQNL_MSG_VERDICT: u16 = 1;
const NFQNL_MSG_CONFIG: u16 = 2;
const NFQNL_MSG_VERDICT_BATCH: u16 = 3;

const NFQNL_CFG_CMD_BIND: u8 = 1;
const NFQNL_CFG_CMD_UNBIND: u8 = 2;
const NFQNL_COPY_PACKET: u8 = 2;

const NFQA_CFG_CMD: u16 = 1;
const NFQA_CFG_PARAMS: u16 = 2;
const NFQA_CFG_QUEUE_MAXLEN: u16 = 3;
const NFQA_CFG_MASK: u16 = 4;
const NFQA_CFG_FLAGS: u16 = 5;
const NFQA_CFG_F_FAIL_OPEN: u32 = 1;

const NFQA_PACKET_HDR: u16 = 1;
const NFQA_VERDICT_HDR: u16 = 2;
const NFQA_PAYLOAD: u16 = 10;

const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// The packet passes the hook again, from its first rule on (`nf_reinject` in net/netfilter/nf_queue.c).
const NF_REPEAT: u32 = 4;

#[cfg(test)]
mod tests;
