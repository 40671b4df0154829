//! What the test binaries share. Each of them uses a part.
#![allow(dead_code, clippy::disallowed_methods)]

pub(crate) mod gate;
pub(crate) mod iptables;
pub(crate) mod netns;
pub(crate) mod raw;
pub(crate) mod tcp;
