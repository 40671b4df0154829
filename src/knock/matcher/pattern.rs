//! Patterns, and the error of too many.

use std::fmt;

use crate::knock::id::KnockId;

/// The secrets are too many or too long for a matcher.
#[derive(Debug, thiserror::Error)]
#[error(
    "{patterns} secrets of {bytes} bytes in all can't be compiled into one matcher, take fewer or shorter ones"
)]
pub struct BuildError {
    patterns: usize,
    bytes: usize,
}

impl BuildError {
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a Pattern<'a>> + Clone) -> Self {
        Self { patterns: patterns.clone().count(), bytes: patterns.map(|pattern| pattern.bytes.len()).sum() }
    }
}

/// Something to look for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pattern<'a> {
    /// The bytes that must occur, at least one. A pattern without any never does.
    pub bytes: &'a [u8],
    /// ASCII letters match in either case.
    pub ignore_case: bool,
}

/// Lengths only: patterns are secrets.
impl fmt::Debug for Pattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({} bytes, ignore_case: {})", self.bytes.len(), self.ignore_case)
    }
}

/// A pattern and its id.
pub(super) type Numbered<'a> = (KnockId, Pattern<'a>);
