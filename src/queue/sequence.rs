//! Sequence numbers of messages, which the kernel's answers repeat.

/// Marks the kernel's answer to the set-up.
pub(super) const BIND_SEQUENCE: u32 = 1;

/// Marks its answer to the shutting.
pub(super) const SHUT_SEQUENCE: u32 = 2;

/// Marks answers that matter only by coming.
pub(super) const WAKE_SEQUENCE: u32 = 3;

/// Marks answers to the verdict on a run of packets; the number of these stands in the bits below.
pub(super) const RUN_SEQUENCE: u32 = 1 << 30;

/// From here on numbers are free for messages whose answers a process tells from those to others.
pub(super) const FIRST_UNUSED_SEQUENCE: u32 = 1 << 31;
