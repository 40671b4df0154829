//! The older format: a header of 24 bytes, then frames, each with a small header (draft-ietf-opsawg-pcap).

use std::io::Read;

use pcap_parser::nom::IResult;
use pcap_parser::{
    LegacyPcapBlock, PcapError, PcapHeader, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified,
    parse_pcap_header,
};

use super::cursor::{Cursor, RecordFound};
use super::endian::Endian;
use super::error::CaptureError;
use crate::replay::link::LinkType;
use crate::time::Time;

/// How to read the frames of one file.
#[derive(Debug)]
pub(super) struct PcapFrames {
    parse: FrameParser,
    /// How long the header of a frame is.
    header: usize,
    endian: Endian,
    nanos_per_fraction: u64,
    link: LinkType,
}

impl PcapFrames {
    /// Reads the file header; `None` where it is not one.
    ///
    /// Its time zone field is not looked at: libpcap ignores it too, and every writer sets it to 0.
    pub(super) fn open<R: Read>(cursor: &mut Cursor<R>) -> Result<Option<Self>, CaptureError> {
        let bytes = cursor.peek(FILE_HEADER)?;
        let has_magic = bytes.len() >= MAGIC_LEN;
        let header = match parse_pcap_header(bytes) {
            Ok((_, header)) => Self::from(&header),
            Err(error) if error.is_incomplete() && has_magic => return Err(cursor.truncated()),
            Err(_) => return Ok(None),
        };
        cursor.pass(FILE_HEADER);
        Ok(Some(header))
    }

    /// Passes the next frame; `None` where the file ends.
    pub(super) fn advance<R: Read>(
        &self,
        cursor: &mut Cursor<R>,
    ) -> Result<Option<RecordFound>, CaptureError> {
        let header = cursor.peek(self.header)?;
        if header.is_empty() {
            return Ok(None);
        }
        let Some(kept) = self.endian.u32_at(header, KEPT_LEN) else { return Err(cursor.truncated()) };
        let whole = cursor.whole(self.header as u64 + u64::from(kept))?;
        let len = whole.len();
        let (time, wire_len) = match (self.parse)(whole) {
            Ok((_, frame)) => (self.time(&frame), frame.origlen),
            Err(_) => return Err(cursor.malformed("an unreadable frame header")),
        };
        let record = cursor.pass(len);
        Ok(Some(RecordFound {
            time,
            link: self.link,
            data: record.start + self.header..record.end,
            wire_len,
        }))
    }

    /// A fraction above a second comes with damaged files; it counts as the seconds it makes.
    fn time(&self, frame: &LegacyPcapBlock<'_>) -> Time {
        let fraction = u64::from(frame.ts_usec) * self.nanos_per_fraction;
        Time::from_nanos(u64::from(frame.ts_sec).saturating_mul(1_000_000_000).saturating_add(fraction))
    }
}

impl From<&PcapHeader> for PcapFrames {
    fn from(header: &PcapHeader) -> Self {
        let (parse, header_len, endian): (FrameParser, usize, Endian) = if header.is_modified_format() {
            (parse_pcap_frame_modified, MODIFIED_FRAME_HEADER, Endian::Little)
        } else if header.is_bigendian() {
            (parse_pcap_frame_be, FRAME_HEADER, Endian::Big)
        } else {
            (parse_pcap_frame, FRAME_HEADER, Endian::Little)
        };
        Self {
            parse,
            header: header_len,
            endian,
            nanos_per_fraction: if header.is_nanosecond_precision() { 1 } else { 1000 },
            link: LinkType((header.network.0 & LINK_TYPE_BITS) as u16),
        }
    }
}

type FrameParser = fn(&[u8]) -> IResult<&[u8], LegacyPcapBlock<'_>, PcapError<&[u8]>>;

/// Both formats announce themselves in four bytes.
pub(super) const MAGIC_LEN: usize = 4;

/// Magic number, version, time zone, accuracy, snap length, link type.
const FILE_HEADER: usize = 24;

/// Seconds, fraction, kept length, wire length.
const FRAME_HEADER: usize = 16;

/// The same with interface index, protocol and packet type behind it, as patched libpcaps of the nineties
/// wrote (magic number a1b2cd34).
const MODIFIED_FRAME_HEADER: usize = 24;

/// Where in a frame header the kept length is.
const KEPT_LEN: usize = 8;

/// The link type's part of its field. Above it are the length of the frame check sequence and reserved bits.
const LINK_TYPE_BITS: i32 = 0xffff;
