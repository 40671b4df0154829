//! The newer format: blocks, in sections, from several interfaces (draft-ietf-opsawg-pcapng).
//!
//! Only the blocks that matter are given to `pcap-parser`: its 0.17.0 panics on a Process Information Block
//! shorter than 12 bytes, and asks for more input for ever on a Name Resolution Block without an end. The
//! time options are read here, because that version takes every power of two for invalid, reads if_tsoffset
//! as little endian in big-endian sections too, and cuts seconds to 32 bits.

use std::io::Read;

use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{
    Block, EPB_MAGIC, IDB_MAGIC, InterfaceDescriptionBlock, OptionCode, SHB_MAGIC, SPB_MAGIC, parse_block_be,
    parse_block_le,
};

use super::cursor::{Cursor, RecordFound};
use super::endian::Endian;
use super::error::CaptureError;
use crate::replay::link::LinkType;
use crate::time::Time;

/// What has been said so far about the packets to come.
#[derive(Debug)]
pub(super) struct Blocks {
    endian: Endian,
    /// Those of this section, by the number that packets name them by.
    interfaces: Vec<Interface>,
    /// The time of the packet before, for the packets that have none.
    last: Time,
}

impl Blocks {
    /// Looks at the first section header, without passing it.
    pub(super) fn open<R: Read>(cursor: &mut Cursor<R>) -> Result<Self, CaptureError> {
        let endian = section_endian(cursor)?;
        Ok(Self { endian, interfaces: Vec::new(), last: Time::default() })
    }

    /// Passes blocks up to and including the next packet; `None` where the file ends.
    pub(super) fn advance<R: Read>(
        &mut self,
        cursor: &mut Cursor<R>,
    ) -> Result<Option<RecordFound>, CaptureError> {
        loop {
            let head = cursor.peek(BLOCK_HEAD)?;
            if head.is_empty() {
                return Ok(None);
            }
            // A section's header tells the byte order, of its own length too. Its type reads alike in both.
            if head.starts_with(&MAGIC) {
                self.endian = section_endian(cursor)?;
            }
            let head = cursor.peek(BLOCK_HEAD)?;
            let (Some(kind), Some(len)) = (self.endian.u32_at(head, 0), self.endian.u32_at(head, 4)) else {
                return Err(cursor.truncated());
            };
            if (len as usize) < BLOCK_HEAD + BLOCK_TAIL {
                return Err(cursor.malformed("a block shorter than its own frame"));
            }
            if ![SHB_MAGIC, IDB_MAGIC, EPB_MAGIC, SPB_MAGIC, OBSOLETE_PACKET].contains(&kind) {
                cursor.skip(len.into())?;
                continue;
            }
            if let Some(packet) = self.block(cursor, len)? {
                let block = cursor.pass(len as usize);
                let start = block.start + packet.offset;
                self.last = packet.time;
                return Ok(Some(RecordFound {
                    time: packet.time,
                    link: packet.link,
                    data: start..start + packet.kept,
                    wire_len: packet.wire_len,
                }));
            }
            cursor.pass(len as usize);
        }
    }

    /// Takes in what the block at the cursor says, and the packet that is in it.
    fn block<R: Read>(
        &mut self,
        cursor: &mut Cursor<R>,
        len: u32,
    ) -> Result<Option<PcapngPacket>, CaptureError> {
        let endian = self.endian;
        let block = cursor.whole(len.into())?;
        if endian.u32_at(block, block.len() - BLOCK_TAIL) != Some(len) {
            return Err(cursor.malformed("a block with two different lengths"));
        }
        let parsed = match endian {
            Endian::Little => parse_block_le(block),
            Endian::Big => parse_block_be(block),
        };
        // The block is there to its end: whoever asks for more of it has been misled by a length inside.
        let Ok((_, parsed)) = parsed else { return Err(cursor.malformed("an unreadable block")) };
        let packet = match parsed {
            Block::SectionHeader(_) => {
                self.interfaces.clear();
                return Ok(None);
            }
            Block::InterfaceDescription(described) => {
                if self.interfaces.len() >= MAX_INTERFACES {
                    return Err(CaptureError::Interfaces { after: cursor.packets(), max: MAX_INTERFACES });
                }
                self.interfaces.push(Interface::new(&described, endian));
                return Ok(None);
            }
            Block::EnhancedPacket(packet) => self.interface(packet.if_id).map(|interface| PcapngPacket {
                time: interface.time(packet.ts_high, packet.ts_low),
                link: interface.link,
                offset: PACKET_DATA,
                kept: packet.packet_data().len(),
                wire_len: packet.origlen,
            }),
            Block::SimplePacket(packet) => self.interface(0).map(|interface| PcapngPacket {
                time: self.last,
                link: interface.link,
                offset: SIMPLE_PACKET_DATA,
                kept: interface.snapped(packet.origlen).min(packet.data.len()),
                wire_len: packet.origlen,
            }),
            Block::Unknown(packet) => match ObsoletePacket::parse(packet.data, endian) {
                Some(packet) => self.interface(packet.interface.into()).map(|interface| PcapngPacket {
                    time: interface.time(packet.ts_high, packet.ts_low),
                    link: interface.link,
                    offset: PACKET_DATA,
                    kept: packet.kept,
                    wire_len: packet.wire_len,
                }),
                None => return Err(cursor.malformed("an unreadable packet block")),
            },
            _ => return Ok(None),
        };
        packet.map(Some).map_err(|UnknownInterface(id)| CaptureError::Interface {
            packet: cursor.packets() + 1,
            id,
            known: self.interfaces.len(),
        })
    }

    fn interface(&self, id: u32) -> Result<&Interface, UnknownInterface> {
        usize::try_from(id).ok().and_then(|id| self.interfaces.get(id)).ok_or(UnknownInterface(id))
    }
}

/// The byte order of the section whose header is at the cursor, from its byte-order magic.
fn section_endian<R: Read>(cursor: &mut Cursor<R>) -> Result<Endian, CaptureError> {
    let head = cursor.peek(BLOCK_HEAD + BYTE_ORDER.len())?;
    match head.get(BLOCK_HEAD..).and_then(<[u8]>::first_chunk::<4>) {
        None => Err(cursor.truncated()),
        Some(&[d, c, b, a]) if [a, b, c, d] == BYTE_ORDER => Ok(Endian::Little),
        Some(&order) if order == BYTE_ORDER => Ok(Endian::Big),
        Some(_) => Err(cursor.malformed("a section header of no byte order")),
    }
}

/// What an Interface Description Block says.
#[derive(Debug)]
struct Interface {
    link: LinkType,
    /// 0 stands for no limit.
    snap_len: u32,
    /// if_tsresol: below 0x80 a negative power of ten, else of two.
    resolution: u8,
    /// if_tsoffset: seconds to add to every time.
    offset: i64,
}

impl Interface {
    fn new(block: &InterfaceDescriptionBlock<'_>, endian: Endian) -> Self {
        let option = |code| {
            let mut options = block.options.iter().take_while(|option| option.code != OptionCode::EndOfOpt);
            options.find(|option| option.code == code).and_then(|option| option.as_bytes().ok())
        };
        let resolution = match option(OptionCode::IfTsresol) {
            Some(&[resolution]) => resolution,
            _ => MICROSECONDS,
        };
        let offset = match (option(OptionCode::IfTsoffset).map(<[u8; 8]>::try_from), endian) {
            (Some(Ok(seconds)), Endian::Little) => i64::from_le_bytes(seconds),
            (Some(Ok(seconds)), Endian::Big) => i64::from_be_bytes(seconds),
            _ => 0,
        };
        // The parser widened the field, which has 16 bits.
        Self { link: LinkType(block.linktype.0 as u16), snap_len: block.snaplen, resolution, offset }
    }

    /// The time of a packet, exact to the nanosecond, at the nearest end where it is out of range.
    fn time(&self, high: u32, low: u32) -> Time {
        let units = u128::from(high) << 32 | u128::from(low);
        let exponent = u32::from(self.resolution & !POWER_OF_TWO);
        // 2^64 units times 10^9 is below 2^94: neither product can overflow.
        let nanos = if self.resolution & POWER_OF_TWO != 0 {
            (units * NANOS_PER_SEC) >> exponent
        } else if let Some(finer) = exponent.checked_sub(NANO) {
            10u128.checked_pow(finer).map_or(0, |divisor| units / divisor)
        } else {
            units * 10u128.pow(NANO - exponent)
        };
        let nanos = nanos as i128 + i128::from(self.offset) * NANOS_PER_SEC as i128;
        Time::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }

    /// How much of a packet of this length the interface kept.
    fn snapped(&self, wire_len: u32) -> usize {
        let limit = if self.snap_len == 0 { u32::MAX } else { self.snap_len };
        usize::try_from(wire_len.min(limit)).unwrap_or(usize::MAX)
    }
}

/// A packet in a block.
struct PcapngPacket {
    time: Time,
    link: LinkType,
    /// Where in the block its bytes begin.
    offset: usize,
    kept: usize,
    wire_len: u32,
}

/// The Packet Block of 2004, which `pcap-parser` does not know: like the Enhanced Packet Block, but with an
/// interface number of 16 bits and a drop count beside it.
struct ObsoletePacket {
    interface: u16,
    ts_high: u32,
    ts_low: u32,
    kept: usize,
    wire_len: u32,
}

impl ObsoletePacket {
    /// Reads what is between the two lengths of the block.
    fn parse(content: &[u8], endian: Endian) -> Option<Self> {
        let kept = usize::try_from(endian.u32_at(content, 12)?).ok()?;
        content.get(PACKET_DATA - BLOCK_HEAD..)?.get(..kept)?;
        Some(Self {
            interface: endian.u16_at(content, 0)?,
            ts_high: endian.u32_at(content, 4)?,
            ts_low: endian.u32_at(content, 8)?,
            kept,
            wire_len: endian.u32_at(content, 16)?,
        })
    }
}

/// An interface that no block has described.
struct UnknownInterface(u32);

/// The first bytes of a file: the block type of a section header, which reads alike in both byte orders.
pub(super) const MAGIC: [u8; 4] = SHB_MAGIC.to_be_bytes();

/// The byte-order magic, in a big-endian section.
const BYTE_ORDER: [u8; 4] = pcap_parser::BOM_MAGIC.to_be_bytes();

/// Type and length, in front of a block's content.
const BLOCK_HEAD: usize = 8;

/// The length once more, behind it.
const BLOCK_TAIL: usize = 4;

/// Where the bytes of a packet begin in an Enhanced Packet Block, and in the obsolete Packet Block.
const PACKET_DATA: usize = 28;

/// Where they begin in a Simple Packet Block.
const SIMPLE_PACKET_DATA: usize = 12;

/// The block type of the obsolete Packet Block.
const OBSOLETE_PACKET: u32 = 2;

/// What a section may describe; merged captures have hundreds. Keeps a hostile file from filling the memory.
const MAX_INTERFACES: usize = 65_536;

/// if_tsresol where there is none.
const MICROSECONDS: u8 = 6;

/// The bit that makes if_tsresol a power of two.
const POWER_OF_TWO: u8 = 0x80;

/// The exponent of the nanosecond.
const NANO: u32 = 9;

const NANOS_PER_SEC: u128 = 1_000_000_000;
