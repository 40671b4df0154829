//! A door-keeper for SIP: opens the port to phones that carry a secret, and to nobody else.
//!
//! The modules, in the order in which a packet meets them:
//!
//! - [`queue`] takes it out of the kernel's NFQUEUE, [`replay`] out of a capture;
//! - [`inspect`] decides it: [`packet`] reads its headers, [`stream`] puts TCP segments together for as long as no
//!   door is open, [`knock`] finds the secrets, asking [`sip`] only on a hit, [`door`] keeps who may pass until
//!   when, and [`outbound`] whom the PBX has called; [`net`] says what a source is. The outcome is a [`verdict`] with its
//!   reason;
//! - [`nflog`] reads the copies of what the PBX itself sends, for the doors that it opens; never for those of
//!   [`own_addresses`];
//! - [`prefilter`] says in the kernel which packets need not come so far;
//! - [`connections`] lists those of TCP that are older than the gate, which has not seen all of them;
//! - the queue carries the verdict back, and then [`event`] and [`drops`] tell what happened, through [`log`].
//!
//! That much in the middle, `inspect` and what it names, is the core: it takes bytes and a [`time`] and returns a
//! value. It does no input or output, starts no threads, logs nothing and never asks for the time. The same core
//! serves the live queue, captures, tests, fuzzers and benches.
//!
//! [`learn`] looks at the same packets, to find out what phones already send that would serve as a knock. Module `bench`
//! measures how fast knocks are found, and `plot` draws that; both are behind the feature `bench`.
//!
//! Around it: [`config`] turns what was typed into what is ready to use, [`firewall`] keeps the rules that fill the
//! queue, [`control`] lets the running gate be seen and turned, [`http`] lets it be watched, with its numbers as [`metrics`],
//! `diag` asks the kernel which connections there are, `processes` and [`accounts`] read /proc and /etc, [`state`] keeps
//! doors on disk, [`harden`] leaves the process with what it needs, [`daemon`] wires it together, with its [`clock`], and
//! [`doctor`] finds out whether all of it works on this machine. [`setup`] proposes a configuration for this machine. On top, [`cli`] defines the words and [`commands`]
//! carries them out.

#[macro_use]
mod names;

#[cfg(feature = "cli")]
pub mod accounts;
#[cfg(feature = "bench")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod clock;
#[cfg(feature = "cli")]
pub mod commands;
#[cfg(feature = "cli")]
pub mod config;
#[cfg(feature = "cli")]
pub mod connections;
#[cfg(feature = "cli")]
pub mod control;
#[cfg(feature = "cli")]
pub mod daemon;
#[cfg(feature = "cli")]
mod diag;
#[cfg(feature = "cli")]
pub mod doctor;
pub mod door;
#[cfg(feature = "cli")]
pub mod drops;
#[cfg(feature = "cli")]
pub mod event;
#[cfg(feature = "cli")]
pub mod firewall;
#[cfg(feature = "cli")]
pub mod harden;
mod hash;
#[cfg(feature = "cli")]
pub mod http;
pub mod inspect;
pub mod knock;
#[cfg(feature = "cli")]
pub mod learn;
#[cfg(feature = "cli")]
pub mod log;
#[cfg(feature = "cli")]
pub mod metrics;
pub mod net;
#[cfg(feature = "cli")]
mod netlink;
#[cfg(feature = "cli")]
pub mod nflog;
pub mod outbound;
#[cfg(feature = "cli")]
pub mod own_addresses;
pub mod packet;
#[cfg(feature = "bench")]
pub mod plot;
#[cfg(feature = "cli")]
pub mod prefilter;
#[cfg(feature = "cli")]
mod processes;
#[cfg(feature = "cli")]
pub mod queue;
#[cfg(feature = "cli")]
pub mod replay;
#[cfg(feature = "cli")]
pub mod resolve;
#[cfg(feature = "cli")]
pub mod rules_watch;
#[cfg(feature = "cli")]
pub mod setup;
pub mod sip;
#[cfg(feature = "cli")]
pub mod state;
pub mod stream;
mod sys;
#[cfg(feature = "cli")]
mod terminal;
#[cfg(test)]
mod testing;
pub mod time;
pub mod verdict;
