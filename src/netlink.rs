//! The framing that all netfilter subsystems share: netlink messages and their attributes, as bytes.
//!
//! Written after include/uapi/linux/netlink.h and include/uapi/linux/netfilter/nfnetlink.h. Netlink and attribute headers
//! are in the machine's byte order, everything inside nfnetlink in network order. Nothing here but [`socket`] talks to one,
//! and no bytes from outside can make it panic.

pub(crate) mod socket;
#[cfg(test)]
pub(crate) mod testing;

use std::marker::PhantomData;

/// A datagram from the kernel that is not what its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
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

/// A netlink message: the fields of its header that matter, and the bytes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of one datagram. It ends behind the first that can't be read, since where the next one would
/// begin is then unknown.
#[derive(Clone, Debug)]
pub(crate) struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    pub(crate) fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let header = self.rest.first_chunk::<NLMSG_HDRLEN>()?;
        let said = u32_ne(header, 0) as usize;
        let kind = u16_ne(header, 4);
        let sequence = u32_ne(header, 8);
        let Some(body) = self.rest.get(NLMSG_HDRLEN..said) else {
            let error = FrameError::Length { kind, said, got: self.rest.len() };
            self.rest = &[];
            return Some(Err(error));
        };
        self.rest = self.rest.get(align(said)..).unwrap_or_default();
        Some(Ok(Frame { kind, sequence, body }))
    }
}

impl<'a> Frame<'a> {
    /// The errno in a message of type [`NLMSG_ERROR`], as a positive number; 0 is an acknowledgement.
    pub(crate) fn errno(&self) -> Result<i32, FrameError> {
        match self.body.first_chunk::<4>() {
            // The kernel writes a negative errno.
            Some(&errno) => Ok(i32::from_ne_bytes(errno).saturating_neg()),
            None => Err(FrameError::Length { kind: self.kind, said: 4, got: self.body.len() }),
        }
    }

    /// The number of the queue or group that an nfnetlink message is about, and its attributes.
    #[inline(always)]
    pub(crate) fn nfnetlink(&self) -> Result<(u16, Attributes<'a>), FrameError> {
        let Some(&[_family, _version, high, low]) = self.body.first_chunk::<NFGEN_HDRLEN>() else {
            let (kind, got) = (self.kind, self.body.len());
            return Err(FrameError::Length { kind, said: NFGEN_HDRLEN, got });
        };
        let rest = self.body.get(NFGEN_HDRLEN..).unwrap_or_default();
        Ok((u16::from_be_bytes([high, low]), Attributes { rest }))
    }
}

/// One message of a datagram that came from the kernel, of a subsystem that sends packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetlinkMessage<P> {
    /// A packet, or the copy of one.
    Packet(P),
    /// The answer to a message of ours: `errno` 0 is an acknowledgement.
    Answer {
        /// The sequence number of the message that is answered; 0 for the verdict on one packet.
        sequence: u32,
        /// A positive errno, or 0.
        errno: i32,
    },
    /// Something else, to be skipped.
    Other,
}

/// A packet as a subsystem sends it.
pub trait NetlinkPayload<'a>: Sized {
    /// The type of its message, see [`nfnetlink_kind`].
    const KIND: u16;

    /// Reads one.
    ///
    /// # Errors
    /// If an attribute does not fit into the message, or one that is needed is missing.
    fn read(frame: &Frame<'a>) -> Result<Self, FrameError>;
}

/// The messages of one datagram. It ends behind the first that can't be read, since where the next one would
/// begin is then unknown.
#[derive(Clone, Debug)]
pub struct Messages<'a, P> {
    frames: Frames<'a>,
    packets: PhantomData<P>,
}

impl<'a, P> Messages<'a, P> {
    /// Reads a datagram.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { frames: Frames::new(datagram), packets: PhantomData }
    }
}

impl<'a, P: NetlinkPayload<'a>> Iterator for Messages<'a, P> {
    type Item = Result<NetlinkMessage<P>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.frames.next()?.and_then(|frame| match frame.kind {
            NLMSG_ERROR => Ok(NetlinkMessage::Answer { sequence: frame.sequence, errno: frame.errno()? }),
            kind if kind == P::KIND => P::read(&frame).map(NetlinkMessage::Packet),
            _ => Ok(NetlinkMessage::Other),
        }))
    }
}

/// The attributes of one message: type and value of each. It ends behind the first that can't be read.
#[derive(Clone, Debug)]
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Those that stand in these bytes.
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), FrameError>;

    // Compiled into its caller: a result of this size is written and read again for each attribute else.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let header = self.rest.first_chunk::<NLA_HDRLEN>()?;
        let said = usize::from(u16_ne(header, 0));
        let kind = u16_ne(header, 2) & NLA_TYPE_MASK;
        let Some(value) = self.rest.get(NLA_HDRLEN..said) else {
            let error = FrameError::Length { kind, said, got: self.rest.len() };
            self.rest = &[];
            return Some(Err(error));
        };
        self.rest = self.rest.get(align(said)..).unwrap_or_default();
        Some(Ok((kind, value)))
    }
}

/// Writes one nfnetlink message; its length is set when it ends.
pub(crate) struct NetlinkWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> NetlinkWriter<'a> {
    /// Begins a message about a queue or group. `kind`: subsystem and message, see [`nfnetlink_kind`].
    pub(crate) fn begin(out: &'a mut Vec<u8>, kind: u16, flags: u16, sequence: u32, number: u16) -> Self {
        let start = out.len();
        out.extend(0u32.to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend(flags.to_ne_bytes());
        out.extend(sequence.to_ne_bytes());
        out.extend(0u32.to_ne_bytes());
        let [high, low] = number.to_be_bytes();
        out.extend([AF_UNSPEC, NFNETLINK_V0, high, low]);
        Self { out, start }
    }

    /// Appends an attribute. Values here are short and of constant length.
    pub(crate) fn attribute<const N: usize>(self, kind: u16, value: &[u8; N]) -> Self {
        let length = const { (NLA_HDRLEN + N) as u16 };
        self.out.extend(length.to_ne_bytes());
        self.out.extend(kind.to_ne_bytes());
        self.out.extend(value);
        let padded = self.start + align(self.out.len() - self.start);
        self.out.resize(padded, 0);
        self
    }

    pub(crate) fn end(self) {
        let length = u32::try_from(self.out.len() - self.start).unwrap_or(u32::MAX);
        if let Some(field) = self.out.get_mut(self.start..self.start + 4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
    }
}

/// The type of an nfnetlink message.
pub(crate) const fn nfnetlink_kind(subsystem: u16, message: u16) -> u16 {
    subsystem << 8 | message
}

/// Netlink aligns messages and attributes to four bytes.
const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(crate) fn u16_ne(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&chunk| u16::from_ne_bytes(chunk))
}

pub(crate) fn u32_ne(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&chunk| u32::from_ne_bytes(chunk))
}

const NLMSG_HDRLEN: usize = 16;
const NFGEN_HDRLEN: usize = 4;
const NLA_HDRLEN: usize = 4;
/// Without the bits for nesting and byte order.
const NLA_TYPE_MASK: u16 = 0x3fff;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
const AF_UNSPEC: u8 = 0;
const NFNETLINK_V0: u8 = 0;
