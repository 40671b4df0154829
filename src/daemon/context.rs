//! The values that nearly every part of the daemon works with.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::inspect::Inspector;

/// The gate that decides. A batch of packets uses the one that is in place when the batch begins.
pub(super) type Live = Arc<ArcSwap<Inspector>>;
