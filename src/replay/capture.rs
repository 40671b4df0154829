//! A streaming reader of pcap and pcapng files.
//!
//! The two formats are draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. Which of them a file is in, its
//! first four bytes say; its name does not matter.
//!
//! The fields are read by `pcap-parser`, the framing around them is read here: the parsers of that crate only
//! ever see a record that is there to its last byte and not too large. That keeps its streaming readers out,
//! which lose the `io::Error`, take a length that lies inside a whole block for a request for more input, and
//! read the time of pcapng files wrongly in three ways (see `capture/pcapng.rs`).

mod cursor;
mod endian;
mod error;
mod pcap;
mod pcapng;
#[cfg(test)]
mod tests;

use std::io::Read;

pub use self::error::CaptureError;

use self::cursor::Cursor;
use super::link::LinkType;
use crate::time::Time;

/// A capture file that is being read.
///
/// ```
/// use sipknock::replay::capture::Capture;
///
/// // A pcap header (little endian, microseconds, Ethernet), and no packet behind it.
/// let file: &[u8] = b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\x01\0\0\0";
/// let mut capture = Capture::open(file)?;
/// assert_eq!(capture.next()?, None);
/// # Ok::<(), sipknock::replay::capture::CaptureError>(())
/// ```
#[derive(Debug)]
pub struct Capture<R> {
    cursor: Cursor<R>,
    format: FileFormat,
    /// Set at the end and after an error: there is no next packet to be found behind a broken one.
    done: bool,
}

impl<R: Read> Capture<R> {
    /// Reads as far as it takes to know the format. `input` needs no buffer of its own.
    ///
    /// # Errors
    /// Where this is not a capture, ends before it says what it is, or cannot be read.
    pub fn open(input: R) -> Result<Self, CaptureError> {
        let mut cursor = Cursor::new(input);
        let format = FileFormat::of(&mut cursor)?;
        Ok(Self { cursor, format, done: false })
    }

    /// The next packet; `None` at a clean end.
    ///
    /// # Errors
    /// Whatever is wrong with the file, once: after an error there are no more packets. The packets before it
    /// were whole, so a caller can report [`CaptureError::Truncated`] and still count on them.
    #[expect(
        clippy::should_implement_trait,
        reason = "the packet borrows from the reader, an Iterator's cannot"
    )]
    pub fn next(&mut self) -> Result<Option<CaptureRecord<'_>>, CaptureError> {
        if self.done {
            return Ok(None);
        }
        let found = match &mut self.format {
            FileFormat::Pcap(frames) => frames.advance(&mut self.cursor),
            FileFormat::Pcapng(blocks) => blocks.advance(&mut self.cursor),
        };
        self.done = !matches!(found, Ok(Some(_)));
        let Some(found) = found? else { return Ok(None) };
        Ok(Some(CaptureRecord {
            number: self.cursor.count_packet(),
            time: found.time,
            link: found.link,
            data: self.cursor.passed(found.data),
            wire_len: found.wire_len,
        }))
    }
}

/// A packet, as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureRecord<'a> {
    /// Its place in the file, from 1 over every packet in it.
    pub number: u64,
    /// When it was seen.
    pub time: Time,
    /// What `data` begins with.
    pub link: LinkType,
    /// The frame, as much of it as was kept.
    pub data: &'a [u8],
    /// How long the frame was before a snap length cut it, as the file says.
    pub wire_len: u32,
}

#[derive(Debug)]
enum FileFormat {
    Pcap(pcap::PcapFrames),
    Pcapng(pcapng::Blocks),
}

impl FileFormat {
    fn of<R: Read>(cursor: &mut Cursor<R>) -> Result<Self, CaptureError> {
        let start = cursor.peek(pcap::MAGIC_LEN)?;
        if start.is_empty() {
            return Err(CaptureError::Empty);
        }
        if let Some(&(_, format, tool)) = COMPRESSIONS.iter().find(|(magic, ..)| start.starts_with(magic)) {
            return Err(CaptureError::Compressed { format, tool });
        }
        let magic = start.to_vec();
        if magic == pcapng::MAGIC {
            return Ok(Self::Pcapng(pcapng::Blocks::open(cursor)?));
        }
        match pcap::PcapFrames::open(cursor)? {
            Some(frames) => Ok(Self::Pcap(frames)),
            None => Err(CaptureError::NotACapture(magic)),
        }
    }
}

/// What people compress captures with: `tcpdump -z gzip`, Wireshark's "compress with", logrotate.
const COMPRESSIONS: [(&[u8], &str, &str); 4] = [
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"\x04\x22\x4d\x18", "lz4", "unlz4"),
    (b"\xfd7zX", "xz", "unxz"),
];
