//! The language of NFQUEUE: netlink messages to and from `nfnetlink_queue`, as bytes.
//!
//! Written after include/uapi/linux/netfilter/nfnetlink_queue.h and net/netfilter/nfnetlink_queue.c. Netlink and
//! attribute headers are in the machine's byte order, everything inside nfnetlink in network order. Nothing here
//! talks to a socket, and no bytes from outside can make it panic.

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
    Writer::begin(out, NFQNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, queue)
        .attribute(NFQA_CFG_CMD, &[NFQNL_CFG_CMD_BIND, 0, 0, 0])
        .attribute(NFQA_CFG_PARAMS, &copy_params(setup.copy_range))
        .attribute(NFQA_CFG_QUEUE_MAXLEN, &setup.max_len.to_be_bytes())
        .flags(setup.fail_open)
        .end();
}

/// Writes the message that closes a bound queue to newcomers: nothing more is queued, and what arrives is
/// accepted (`fail_open`) or dropped by the kernel, as without a listener. What waits keeps waiting for its verdict.
/// The kernel acknowledges it under `sequence`.
pub fn shut(out: &mut Vec<u8>, queue: u16, sequence: u32, fail_open: bool) {
    Writer::begin(out, NFQNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, queue)
        .attribute(NFQA_CFG_QUEUE_MAXLEN, &0u32.to_be_bytes())
        .flags(fail_open)
        .end();
}

/// Writes the message that changes a bound queue's length and fail-open. The kernel acknowledges it under `sequence`.
pub fn change(out: &mut Vec<u8>, queue: u16, sequence: u32, setup: Setup) {
    Writer::begin(out, NFQNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, queue)
        .attribute(NFQA_CFG_PARAMS, &copy_params(setup.copy_range))
        .attribute(NFQA_CFG_QUEUE_MAXLEN, &setup.max_len.to_be_bytes())
        .flags(setup.fail_open)
        .end();
}

/// Writes a message that changes nothing: the kernel's answer under `sequence` wakes whoever waits on the socket.
pub fn wake(out: &mut Vec<u8>, queue: u16, sequence: u32, copy_range: u32) {
    Writer::begin(out, NFQNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, queue)
        .attribute(NFQA_CFG_PARAMS, &copy_params(copy_range))
        .end();
}

/// Writes the message that gives a queue up. The kernel drops what waits in it.
pub fn unbind(out: &mut Vec<u8>, queue: u16, sequence: u32) {
    Writer::begin(out, NFQNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, sequence, queue)
        .attribute(NFQA_CFG_CMD, &[NFQNL_CFG_CMD_UNBIND, 0, 0, 0])
        .end();
}

/// Writes the verdict on one packet. The kernel answers only where it fails.
pub fn verdict(out: &mut Vec<u8>, queue: u16, id: u32, verdict: Verdict) {
    Writer::begin(out, NFQNL_MSG_VERDICT, NLM_F_REQUEST, 0, queue)
        .attribute(NFQA_VERDICT_HDR, &verdict_header(id, verdict))
        .end();
}

/// Writes one verdict on every packet that waits with an id up to `last`.
pub fn verdict_up_to(out: &mut Vec<u8>, queue: u16, last: u32, verdict: Verdict) {
    Writer::begin(out, NFQNL_MSG_VERDICT_BATCH, NLM_F_REQUEST, 0, queue)
        .attribute(NFQA_VERDICT_HDR, &verdict_header(last, verdict))
        .end();
}

/// Writes the dropping of every packet that waits with an id up to `last`. The kernel answers under `sequence` where
/// there is none.
pub fn drop_up_to(out: &mut Vec<u8>, queue: u16, sequence: u32, last: u32) {
    Writer::begin(out, NFQNL_MSG_VERDICT_BATCH, NLM_F_REQUEST, sequence, queue)
        .attribute(NFQA_VERDICT_HDR, &verdict_header(last, Verdict::Drop))
        .end();
}

/// One message of a datagram that came from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A packet that waits for a verdict.
    Packet(Queued<'a>),
    /// The answer to a message of ours: `errno` 0 is an acknowledgement.
    Answer {
        /// The sequence number of what is answered; 0 for verdicts.
        sequence: u32,
        /// A positive errno, or 0.
        errno: i32,
    },
    /// Something else, to be skipped.
    Other,
}

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

/// A datagram from the kernel that is not what its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A message or attribute claims a length that its surroundings don't have.
    #[error("netlink message of type {kind} says it has {said} bytes, there are {got}")]
    Length {
        /// The message's or attribute's type.
        kind: u16,
        /// Its length field.
        said: usize,
        /// What is there.
        got: usize,
    },
    /// A packet message without the header that holds its id, so that no verdict can name it.
    #[error("packet message without an id")]
    NoId,
}

/// The messages of one datagram. It ends behind the first that can't be read, since where the next one would
/// begin is then unknown.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Reads a datagram.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.rest.first_chunk::<NLMSG_HDRLEN>()?;
        let said = u32_ne(header, 0) as usize;
        let kind = u16_ne(header, 4);
        let Some(body) = self.rest.get(NLMSG_HDRLEN..said) else {
            let error = DecodeError::Length { kind, said, got: self.rest.len() };
            self.rest = &[];
            return Some(Err(error));
        };
        self.rest = self.rest.get(align(said)..).unwrap_or_default();
        Some(read_message(kind, header, body))
    }
}

fn read_message<'a>(kind: u16, header: &[u8], body: &'a [u8]) -> Result<Message<'a>, DecodeError> {
    const PACKET: u16 = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET;
    match kind {
        NLMSG_ERROR => match body.first_chunk::<4>() {
            // The kernel writes a negative errno.
            Some(&errno) => Ok(Message::Answer {
                sequence: u32_ne(header, 8),
                errno: i32::from_ne_bytes(errno).saturating_neg(),
            }),
            None => Err(DecodeError::Length { kind, said: 4, got: body.len() }),
        },
        PACKET => read_packet(kind, body).map(Message::Packet),
        _ => Ok(Message::Other),
    }
}

fn read_packet(kind: u16, body: &[u8]) -> Result<Queued<'_>, DecodeError> {
    let Some(&[_family, _version, high, low]) = body.first_chunk::<NFGEN_HDRLEN>() else {
        return Err(DecodeError::Length { kind, said: NFGEN_HDRLEN, got: body.len() });
    };
    let mut id = None;
    let mut payload = &[][..];
    let mut rest = body.get(NFGEN_HDRLEN..).unwrap_or_default();
    while let Some(header) = rest.first_chunk::<NLA_HDRLEN>() {
        let said = usize::from(u16_ne(header, 0));
        let kind = u16_ne(header, 2) & NLA_TYPE_MASK;
        let Some(value) = rest.get(NLA_HDRLEN..said) else {
            return Err(DecodeError::Length { kind, said, got: rest.len() });
        };
        match kind {
            NFQA_PACKET_HDR => id = value.first_chunk::<4>().map(|&id| u32::from_be_bytes(id)),
            NFQA_PAYLOAD => payload = value,
            _ => {}
        }
        rest = rest.get(align(said)..).unwrap_or_default();
    }
    let id = id.ok_or(DecodeError::NoId)?;
    Ok(Queued { queue: u16::from_be_bytes([high, low]), id, payload })
}

/// Writes one message; its length is set when it ends.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    fn begin(out: &'a mut Vec<u8>, kind: u16, flags: u16, sequence: u32, queue: u16) -> Self {
        let start = out.len();
        out.extend(0u32.to_ne_bytes());
        out.extend((NFNL_SUBSYS_QUEUE << 8 | kind).to_ne_bytes());
        out.extend(flags.to_ne_bytes());
        out.extend(sequence.to_ne_bytes());
        out.extend(0u32.to_ne_bytes());
        let [high, low] = queue.to_be_bytes();
        out.extend([AF_UNSPEC, NFNETLINK_V0, high, low]);
        Self { out, start }
    }

    /// Appends an attribute. Values here are short and of constant length.
    fn attribute<const N: usize>(self, kind: u16, value: &[u8; N]) -> Self {
        let length = const { (NLA_HDRLEN + N) as u16 };
        self.out.extend(length.to_ne_bytes());
        self.out.extend(kind.to_ne_bytes());
        self.out.extend(value);
        let padded = self.start + align(self.out.len() - self.start);
        self.out.resize(padded, 0);
        self
    }

    /// Sets or clears fail-open, and leaves the other flags as they are.
    fn flags(self, fail_open: bool) -> Self {
        let flags = if fail_open { NFQA_CFG_F_FAIL_OPEN } else { 0 };
        self.attribute(NFQA_CFG_MASK, &NFQA_CFG_F_FAIL_OPEN.to_be_bytes())
            .attribute(NFQA_CFG_FLAGS, &flags.to_be_bytes())
    }

    fn end(self) {
        let length = u32::try_from(self.out.len() - self.start).unwrap_or(u32::MAX);
        if let Some(field) = self.out.get_mut(self.start..self.start + 4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
    }
}

/// `struct nfqnl_msg_config_params`, which is packed.
fn copy_params(range: u32) -> [u8; 5] {
    let [a, b, c, d] = range.to_be_bytes();
    [a, b, c, d, NFQNL_COPY_PACKET]
}

/// `struct nfqnl_msg_verdict_hdr`.
fn verdict_header(id: u32, verdict: Verdict) -> [u8; 8] {
    let verdict = match verdict {
        Verdict::Drop => NF_DROP,
        Verdict::Accept => NF_ACCEPT,
    };
    let [a, b, c, d] = verdict.to_be_bytes();
    let [e, f, g, h] = id.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

/// Netlink aligns messages and attributes to four bytes.
const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn u16_ne(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&chunk| u16::from_ne_bytes(chunk))
}

fn u32_ne(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&chunk| u32::from_ne_bytes(chunk))
}

const NLMSG_HDRLEN: usize = 16;
const NFGEN_HDRLEN: usize = 4;
const NLA_HDRLEN: usize = 4;
/// Without the bits for nesting and byte order.
const NLA_TYPE_MASK: u16 = 0x3fff;

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const AF_UNSPEC: u8 = 0;
const NFNETLINK_V0: u8 = 0;
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

#[cfg(test)]
mod tests;
