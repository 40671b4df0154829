//! What the test binaries share. Each of them uses a part.
#![allow(dead_code)]

pub(crate) mod iptables;
pub(crate) mod netns;
