//! What the test binaries share. Each of them uses a part.
#![allow(dead_code, clippy::disallowed_methods, clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

pub(crate) mod commands;
pub(crate) mod gate;
pub(crate) mod iptables;
pub(crate) mod log;
pub(crate) mod netns;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod raw;
pub(crate) mod saved;
pub(crate) mod tcp;

/// Writes a file that is for its owner alone, as those with secrets have to be.
pub(crate) fn write_secret(path: impl AsRef<Path>, text: &str) {
    // One that is there would keep its mode.
    let _ = fs::remove_file(&path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
