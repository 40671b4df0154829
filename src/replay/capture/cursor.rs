//! Where the reader is in its input, and the bytes from there on.

use std::io::{ErrorKind, Read};
use std::ops::Range;

use super::error::CaptureError;
use crate::replay::link::LinkType;
use crate::time::Time;

/// A place in the input, with as many bytes behind it in memory as were asked for.
///
/// Memory is bounded: it grows only while bytes arrive, and only up to [`MAX_RECORD`] (and what a `Vec` keeps
/// in reserve).
#[derive(Debug)]
pub(super) struct Cursor<R> {
    input: R,
    /// What was read is in front of `end`; behind it is room for more, cleared once and not for every read.
    bytes: Vec<u8>,
    end: usize,
    /// How many of `bytes` lie behind the cursor. They stay until the next read, so that a packet that was
    /// passed can still be lent out.
    start: usize,
    /// How many bytes of the input lie behind the cursor.
    offset: u64,
    /// How many packets lie behind the cursor.
    packets: u64,
}

impl<R: Read> Cursor<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, bytes: Vec::new(), end: 0, start: 0, offset: 0, packets: 0 }
    }

    /// The next `wanted` bytes, or fewer where the input ends.
    pub(super) fn peek(&mut self, wanted: usize) -> Result<&[u8], CaptureError> {
        if self.ahead().len() < wanted {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            while self.end < wanted && self.read_more()? {}
        }
        let ahead = self.ahead();
        Ok(ahead.get(..wanted).unwrap_or(ahead))
    }

    /// The next record, of exactly `len` bytes.
    pub(super) fn whole(&mut self, len: u64) -> Result<&[u8], CaptureError> {
        let after = self.packets;
        let wanted = match usize::try_from(len) {
            Ok(wanted) if len <= MAX_RECORD => wanted,
            _ => return Err(CaptureError::TooLarge { after, len, max: MAX_RECORD }),
        };
        self.peek(wanted)?.get(..wanted).ok_or(CaptureError::Truncated { after })
    }

    /// Moves on over `len` bytes that were peeked at. [`Self::passed`] still has them until the next peek.
    pub(super) fn pass(&mut self, len: usize) -> Range<usize> {
        let passed = self.start..self.end.min(self.start.saturating_add(len));
        self.start = passed.end;
        self.offset += passed.len() as u64;
        passed
    }

    /// Moves on over `len` bytes of no interest, however many, without keeping them.
    pub(super) fn skip(&mut self, len: u64) -> Result<(), CaptureError> {
        let mut left = len;
        while left > 0 {
            if self.peek(1)?.is_empty() {
                return Err(self.truncated());
            }
            left -= self.pass(usize::try_from(left).unwrap_or(usize::MAX)).len() as u64;
        }
        Ok(())
    }

    /// One more packet lies behind; its number.
    pub(super) fn count_packet(&mut self) -> u64 {
        self.packets += 1;
        self.packets
    }

    /// One read, as much as the input has ready. `false` at its end.
    fn read_more(&mut self) -> Result<bool, CaptureError> {
        if self.bytes.len() < self.end + CHUNK {
            self.bytes.resize(self.end + CHUNK, 0);
        }
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        let got = loop {
            match self.input.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(CaptureError::Io { after: self.packets, source }),
                Ok(got) => break got.min(room.len()),
            }
        };
        self.end += got;
        Ok(got > 0)
    }
}

impl<R> Cursor<R> {
    /// Bytes that [`Self::pass`] has gone over.
    pub(super) fn passed(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// How many packets lie behind the cursor.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// The input ends inside the record at the cursor.
    pub(super) fn truncated(&self) -> CaptureError {
        CaptureError::Truncated { after: self.packets }
    }

    /// The record at the cursor is wrong.
    pub(super) fn malformed(&self, what: &'static str) -> CaptureError {
        CaptureError::Malformed { after: self.packets, offset: self.offset, what }
    }

    fn ahead(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }
}

/// A packet that the cursor has just passed.
#[derive(Debug)]
pub(super) struct RecordFound {
    pub(super) time: Time,
    pub(super) link: LinkType,
    /// The place of its bytes, see [`Cursor::passed`].
    pub(super) data: Range<usize>,
    pub(super) wire_len: u32,
}

/// The longest record that is read. tcpdump and Wireshark have a snap length of 262,144 by default; 16 MiB is
/// far above any frame with an IP packet in it.
pub(super) const MAX_RECORD: u64 = 16 << 20;

/// How much is asked of the input at a time: what a Linux pipe holds.
const CHUNK: usize = 64 << 10;
