//! The digest of a file that was read.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// SHA-256 of a file's bytes. It may be that of one secret: it stays in this process, and out of its debug output.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct FileDigest(pub(super) [u8; 32]);

impl FileDigest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content")
    }
}
