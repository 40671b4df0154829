//! System calls that no safe library has, or not with what they need, a hint to the processor, and the only `unsafe` in
//! the crate but for calls to vectorscan, which only a build for benches has.

#![allow(unsafe_code)]

#[cfg(feature = "cli")]
pub(crate) mod bpf;
#[cfg(feature = "cli")]
mod calls;
mod prefetch;

#[cfg(feature = "cli")]
pub(crate) use calls::*;
pub(crate) use prefetch::prefetch;
