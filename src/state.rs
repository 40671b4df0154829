//! Doors on disk, so that they survive a restart and a reboot.
//!
//! [`mod@format`] says what stands in the file, [`mod@file`] where it stands and how it gets there whole, and [`stamp`]
//! how much time has passed since it was written. All claims to a door are kept, those of registrations among them, and
//! doors that have run out for as long as they are remembered.

pub mod file;
pub mod format;
pub mod stamp;

/// Where the file is, unless the configuration says otherwise.
pub const DEFAULT_FILE: &str = "/var/lib/sipknock/doors";
