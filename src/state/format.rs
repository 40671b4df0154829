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

mod damage;
mod layout;
mod reader;
mod record;
mod sum;
mod writer;

pub use damage::Damage;
pub use reader::read;
pub use record::{BY_HAND, ClaimRecord, DoorRecord, MarkRecord, OutboundRecord, Saved};
pub use writer::Writer;

#[cfg(test)]
mod tests;
