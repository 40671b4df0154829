//! What stands in a file of doors. All numbers are little-endian.
//!
//! | bytes | |
//! |---|---|
//! | 16 | `sipknock doors\n` and a zero |
//! | 4 | the version, 2; files of version 1 have doors only, and none of what comes behind a 4 or more |
//! | 8, 8, 16 | when it was written: nanoseconds since 1970, since boot, and the boot's id |
//! | 1, 1 | the prefixes that make a source of an IPv4 and an IPv6 address |
//! | 4 | how many names of knocks follow, each as 2 bytes of length and UTF-8 |
//! | 16, and 4 for each name | the knocks' identities, after a 5 |
//! | 69 each | the doors, each after a 1 |
//! | 37 each | the claims to a door, each after a 4 and behind their door |
//! | 43 each and 32 for each registration | the outbound doors, each after a 6 |
//! | 32 each | the marks, each after a 3 |
//! | 1, 8 | a 0, and how many records there were, each of which begins with its number |
//! | 4 | CRC-32 (ISO-HDLC, as in Ethernet) of all before it |
//!
//! The identities: random bytes (16), and for each name a digest of the knock's secret and place with these (4), see
//! [`crate::knock::Knock::digest`]; 0 where the knock is gone. A file without them has names alone.
//!
//! A door: its source (16), the place of the knock that holds it longest among the names or 2^32 - 1 where that was by hand
//! (4); in nanoseconds since 1970 when it was opened and last renewed (8, 8), and in nanoseconds what it has left and how long
//! its knock opens for (8, 8); packets and bytes (8, 8); flags (1): 1 where the registration has ended, 2 where it has run out,
//! and then what it has left is how long ago that was.
//!
//! A claim: its knock (4), the hashes of its registration's address-of-record and phone (8, 8), what it has left and its life
//! (8, 8), and flags (1) as those of a door, and 4 where it is a registration's. A door without any has the claim that it is
//! itself, as all doors of version 1 have.
//!
//! An outbound door: its source (16); in nanoseconds since 1970 when it was opened (8); in nanoseconds how long ago it was last
//! requested (8), and for how long it is held (8); the place of its method among those that open doors (1), and how many
//! registrations follow (2), each with the hashes of its address-of-record and of two user parts (8, 8, 8) and what it has left
//! (8). After a 2 there is the same with the time of the last request in nanoseconds since 1970; it is read and not written. A
//! mark: its source (16), what it has left and its life (8, 8).

mod reader;
mod sum;
mod writer;

use std::io;
use std::time::Duration;

pub use reader::read;
pub use writer::Writer;

use super::stamp::Stamp;
use crate::door::RegistrationId;
use crate::inspect::Identities;
use crate::net::{Prefixes, Source};
use crate::outbound::{Binding, Method};
use crate::time::Time;

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// When it was written.
    pub stamp: Stamp,
    /// What a source was then.
    pub prefixes: Prefixes,
    /// Names of knocks.
    pub names: Vec<String>,
    /// What else the knocks are told by; `None` in a file that has names alone.
    pub identities: Option<Identities>,
    /// The doors.
    pub doors: Vec<Record>,
    /// The outbound doors.
    pub outbound: Vec<OutboundRecord>,
    /// The marks.
    pub marks: Vec<MarkRecord>,
}

/// An outbound door as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundRecord {
    /// The destination of the requests.
    pub source: Source,
    /// The time of the request that opened it.
    pub opened: Time,
    /// How long ago the PBX's last request was.
    pub requested: Duration,
    /// For how long requests hold it, registrations aside.
    pub left: Duration,
    /// The method of the request that opened it.
    pub method: Method,
    /// The registrations, each with what it has left; [`crate::outbound::MAX_BINDINGS`] at most.
    pub bindings: Vec<(Binding, Duration)>,
}

/// A mark as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRecord {
    /// The source that is to have no outbound door.
    pub source: Source,
    /// The time that it has left.
    pub left: Duration,
    /// Its life, from the closing and from each later request of the PBX.
    pub life: Duration,
}

/// A door as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub source: Source,
    /// When it was opened.
    pub opened: Time,
    /// When it was last renewed.
    pub last_knock: Time,
    /// Packets that it let pass.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is known of the claim that ends last. It is no registration's, even if that claim is.
    pub claim: ClaimRecord,
    /// All claims, [`crate::door::MAX_CLAIMS`] at most; empty if there is one only, and no registration's.
    pub claims: Vec<ClaimRecord>,
}

/// A claim as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimRecord {
    /// Its knock, as an index into the names; [`BY_HAND`] for none.
    pub knock: u32,
    /// Its registration, if it is one's.
    pub registration: Option<RegistrationId>,
    /// How long it still holds the door; how long ago it ran out, where it did.
    pub left: Duration,
    /// How long its knock opens for.
    pub life: Duration,
    /// The registration has ended.
    pub closing: bool,
    /// It has run out, and is remembered.
    pub ran_out: bool,
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It was never one.
    #[error("it is no file of doors")]
    Foreign,
    /// A later sipknock wrote it.
    #[error("it has version {0}, and this sipknock reads version {VERSION}")]
    Version(u32),
    /// It was one, and is broken.
    #[error("it is damaged: {0}")]
    Broken(&'static str),
    /// It can't be read.
    #[error(transparent)]
    Io(io::Error),
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Stands for the knock of a claim that was made by hand.
pub const BY_HAND: u32 = u32::MAX;

const MAGIC: &[u8; 16] = b"sipknock doors\n\0";
const VERSION: u32 = 2;
/// The one before outbound doors and claims.
const FIRST_VERSION: u32 = 1;

/// What a record begins with.
const END: u8 = 0;
const DOOR: u8 = 1;
/// With the time of the last request by a clock that can be set.
const OUTBOUND_BY_WALL: u8 = 2;
const MARK: u8 = 3;
const CLAIM: u8 = 4;
const IDENTITIES: u8 = 5;
const OUTBOUND: u8 = 6;

/// Flags of doors and claims.
const CLOSING: u8 = 1;
const RAN_OUT: u8 = 2;
const REGISTERED: u8 = 4;

/// Stands for a method that opens no door.
const NO_METHOD: u8 = u8::MAX;

#[cfg(test)]
mod tests;
