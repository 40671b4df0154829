//! The values that nearly every part of the daemon works with.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock::Clock;
use crate::daemon::event_log::EventSender;
use crate::inspect::Inspector;

/// The gate that decides. A batch of packets uses the one that is in place when the batch begins.
pub(super) type Live = Arc<ArcSwap<Inspector>>;

/// The gate, the time and the log.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) gate: Live,
    pub(super) clock: Clock,
    pub(super) sink: EventSender,
}
