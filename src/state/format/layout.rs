//! The words and numbers of the file format.

pub(super) const MAGIC: &[u8; 16] = b"sipknock doors\n\0";
pub(super) const VERSION: u32 = 2;
/// The one before outbound doors and claims.
pub(super) const FIRST_VERSION: u32 = 1;

/// The first byte of a record.
pub(super) const END: u8 = 0;
pub(super) const DOOR: u8 = 1;
/// With the time of the last request by a clock that can be set.
pub(super) const OUTBOUND_BY_WALL: u8 = 2;
pub(super) const MARK: u8 = 3;
pub(super) const CLAIM: u8 = 4;
pub(super) const IDENTITIES: u8 = 5;
pub(super) const OUTBOUND: u8 = 6;

/// Flags of doors and claims.
pub(super) const CLOSING: u8 = 1;
pub(super) const RAN_OUT: u8 = 2;
pub(super) const REGISTERED: u8 = 4;

/// Stands for a method that opens no door.
pub(super) const NO_METHOD: u8 = u8::MAX;
