//! Doors on disk, so that they survive a restart and a reboot.
//!
//! [`mod@format`] defines the content of the file, [`mod@records`] how doors get into it and out again, [`mod@file`] its
//! place and how it gets there whole, and [`stamp`] the time that has passed since it was written. All claims to a door
//! are kept, those of registrations among them, and doors that have run out for as long as they are remembered.

pub mod file;
pub mod format;
pub mod records;
pub mod stamp;

/// The path of the file, unless the configuration says otherwise.
pub const DEFAULT_FILE: &str = "/var/lib/sipknock/doors";
