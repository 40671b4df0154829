//! The ways in which a file is unusable.

use std::io;

use super::layout::VERSION;

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
