//! A checksum of all that passes.

/// A stream of bytes and the checksum of all that has passed.
pub(super) struct Summed<T> {
    pub(super) inner: T,
    pub(super) sum: crc32fast::Hasher,
}

impl<T> Summed<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, sum: crc32fast::Hasher::new() }
    }

    pub(super) fn sum(&self) -> u32 {
        self.sum.clone().finalize()
    }
}
