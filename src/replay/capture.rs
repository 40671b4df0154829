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
mod pcap;
mod pcapng;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::ops::Range;

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
/// # Ok::<(), sipknock::replay::capture::Error>(())
/// ```
#[derive(Debug)]
pub struct Capture<R> {
    cursor: Cursor<R>,
    format: Format,
    /// Set at the end and after an error: there is no next packet to be found behind a broken one.
    done: bool,
}

impl<R: Read> Capture<R> {
    /// Reads as far as it takes to know the format. `input` needs no buffer of its own.
    ///
    /// # Errors
    /// Where this is not a capture, ends before it says what it is, or cannot be read.
    pub fn open(input: R) -> Result<Self, Error> {
        let mut cursor = Cursor::new(input);
        let format = Format::of(&mut cursor)?;
        Ok(Self { cursor, format, done: false })
    }

    /// The next packet; `None` at a clean end.
    ///
    /// # Errors
    /// Whatever is wrong with the file, once: after an error there are no more packets. The packets before it
    /// were whole, so a caller can report [`Error::Truncated`] and still count on them.
    #[expect(
        clippy::should_implement_trait,
        reason = "the packet borrows from the reader, an Iterator's cannot"
    )]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Error> {
        if self.done {
            return Ok(None);
        }
        let found = match &mut self.format {
            Format::Pcap(frames) => frames.advance(&mut self.cursor),
            Format::Pcapng(blocks) => blocks.advance(&mut self.cursor),
        };
        self.done = !matches!(found, Ok(Some(_)));
        let Some(found) = found? else { return Ok(None) };
        Ok(Some(Record {
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
pub struct Record<'a> {
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

/// Why a capture cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input failed.
    #[error("cannot read {}: {source}", match after { 0 => "it".to_owned(), _ => format!("on after packet {after}") })]
    Io {
        /// How many packets were read before.
        after: u64,
        /// What the system says.
        source: io::Error,
    },
    /// Not a single byte.
    #[error("the file is empty: it was created, but no capture was written to it")]
    Empty,
    /// A compressed file, whatever is in it.
    #[error("compressed with {format}: {tool} it first")]
    Compressed {
        /// The compression's name.
        format: &'static str,
        /// The program that undoes it.
        tool: &'static str,
    },
    /// Some other kind of file.
    #[error("neither pcap nor pcapng (begins with {0:02x?}): convert it with `editcap -F pcap`")]
    NotACapture(Vec<u8>),
    /// The file ends inside a record.
    #[error(
        "the file ends in the middle of a record, after {after} whole packets: \
         was it copied while being written?"
    )]
    Truncated {
        /// How many whole packets came before.
        after: u64,
    },
    /// A record beyond any snap length in use.
    #[error(
        "a record of {len} bytes after packet {after}, more than {max}: the file is damaged from here on"
    )]
    TooLarge {
        /// How many packets were read before.
        after: u64,
        /// What the record says is its length.
        len: u64,
        /// The longest that is read.
        max: u64,
    },
    /// A record that contradicts itself.
    #[error("{what} at byte {offset}, after packet {after}: the file is damaged from here on")]
    Malformed {
        /// How many packets were read before.
        after: u64,
        /// Where in the file the record begins.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A packet of an interface that the section has not described.
    #[error(
        "packet {packet} is of interface {id}, but only {known} are described before it: the file is damaged"
    )]
    Interface {
        /// The packet's number.
        packet: u64,
        /// The interface it names, from 0.
        id: u32,
        /// How many interfaces the section has described by then.
        known: usize,
    },
    /// More interfaces than any capture has.
    #[error(
        "more than {max} interfaces in one section, after packet {after}: split the file with `editcap -c`"
    )]
    Interfaces {
        /// How many packets were read before.
        after: u64,
        /// How many are kept.
        max: usize,
    },
}

#[derive(Debug)]
enum Format {
    Pcap(pcap::Frames),
    Pcapng(pcapng::Blocks),
}

impl Format {
    fn of<R: Read>(cursor: &mut Cursor<R>) -> Result<Self, Error> {
        let start = cursor.peek(MAGIC_LEN)?;
        if start.is_empty() {
            return Err(Error::Empty);
        }
        if let Some(&(_, format, tool)) = COMPRESSIONS.iter().find(|(magic, ..)| start.starts_with(magic)) {
            return Err(Error::Compressed { format, tool });
        }
        let magic = start.to_vec();
        if magic == pcapng::MAGIC {
            return Ok(Self::Pcapng(pcapng::Blocks::open(cursor)?));
        }
        match pcap::Frames::open(cursor)? {
            Some(frames) => Ok(Self::Pcap(frames)),
            None => Err(Error::NotACapture(magic)),
        }
    }
}

/// A packet that the cursor has just passed.
#[derive(Debug)]
struct Found {
    time: Time,
    link: LinkType,
    /// Where its bytes are, see [`Cursor::passed`].
    data: Range<usize>,
    wire_len: u32,
}

/// In which order a file, or a section of it, has the bytes of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endian {
    Little,
    Big,
}

impl Endian {
    /// The number at `offset`; `None` where the bytes end before.
    fn u32_at(self, bytes: &[u8], offset: usize) -> Option<u32> {
        let &number = bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(number),
            Self::Big => u32::from_be_bytes(number),
        })
    }

    fn u16_at(self, bytes: &[u8], offset: usize) -> Option<u16> {
        let &number = bytes.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(number),
            Self::Big => u16::from_be_bytes(number),
        })
    }
}

/// Both formats announce themselves in four bytes.
const MAGIC_LEN: usize = 4;

/// What people compress captures with: `tcpdump -z gzip`, Wireshark's "compress with", logrotate.
const COMPRESSIONS: [(&[u8], &str, &str); 4] = [
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"\x04\x22\x4d\x18", "lz4", "unlz4"),
    (b"\xfd7zX", "xz", "unxz"),
];
