//! A filter in the kernel: programs for `iptables -m bpf --object-pinned` that say which packets may hold a knock.
//!
//! Packets that hold none need not come to user space. The programs are written in C, in this folder, and their instructions
//! are kept beside them, so that a build needs no compiler for them: `scripts/make-prefilter` makes one from the other.
//! [`classify`] says what they say, in Rust, and tests compare the two.
//!
//! No rule uses them yet: `sipknock firewall` makes none, and so far they are measured by `sipknock bench` only.

mod class;
mod layout;
mod object;
mod programs;

pub use class::{Class, MAX_EXTENSIONS, MAX_PAYLOAD, classify};
pub use object::BadObject;
pub use programs::{LoadError, MAX_TRIAL, Prefilter, SEARCH_NAME, SearchRunner, Trial};
