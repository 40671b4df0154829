//! The reasons for which a capture can't be read.

use std::io;

/// Why a capture cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The input failed.
    #[error("cannot read {}: {source}", match after { 0 => "it".to_owned(), _ => format!("on after packet {after}") })]
    Io {
        /// The number of packets read before.
        after: u64,
        /// The system's answer.
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
        /// The number of whole packets before.
        after: u64,
    },
    /// A record beyond any snap length in use.
    #[error(
        "a record of {len} bytes after packet {after}, more than {max}: the file is damaged from here on"
    )]
    TooLarge {
        /// The number of packets read before.
        after: u64,
        /// The length that the record says it has.
        len: u64,
        /// The longest that is read.
        max: u64,
    },
    /// A record that contradicts itself.
    #[error("{what} at byte {offset}, after packet {after}: the file is damaged from here on")]
    Malformed {
        /// The number of packets read before.
        after: u64,
        /// The offset of the record in the file.
        offset: u64,
        /// The fault.
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
        /// The number of interfaces that the section has described by then.
        known: usize,
    },
    /// More interfaces than any capture has.
    #[error(
        "more than {max} interfaces in one section, after packet {after}: split the file with `editcap -c`"
    )]
    Interfaces {
        /// The number of packets read before.
        after: u64,
        /// The number of interfaces kept.
        max: usize,
    },
}
