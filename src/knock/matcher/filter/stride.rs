//! The bounds of the stride.

/// From here on a stride has a q-gram's bytes to itself, which makes for the faster loop.
pub(in super::super) const MIN_STRIDE: usize = 8;

/// A q-gram's possible places in a window are the bits of a `u32`.
pub(super) const MAX_STRIDE: usize = 32;
