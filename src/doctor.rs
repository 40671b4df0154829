//! Whether the gate works on this machine: what is wrong, in plain words, and the command that mends it.
//!
//! `gather` looks, [`checks`] decides by what was seen and asks nothing further; so judgements are tested on tables of
//! facts. [`path`](crate::firewall::path) of the firewall and [`nft`] read the rules of others, and
//! `unmatched` lists sockets of transports that no rule matches. [`probe`] sends real packets
//! through a gate of its own, in a network namespace that is gone afterwards.

pub mod checks;
pub mod facts;
mod finding;
mod gather;
pub mod nft;
pub mod probe;
mod unmatched;

use crate::config::Config;
pub(crate) use crate::doctor::checks::{is_pbx, is_tls, may_be_sip};
pub use crate::doctor::finding::{Finding, Severity, Subject};
use crate::firewall::Plan;

/// The sockets of this machine that take packets from elsewhere, and whose they are.
pub fn listeners() -> Vec<facts::Listener> {
    gather::all_listeners()
}

/// Whether systemd runs here and has a unit for the gate.
pub(crate) fn has_unit() -> bool {
    gather::has_unit()
}

/// Looks at this machine and judges what it sees. Nothing is changed.
pub fn examine(config: &Config, plan: &Plan) -> Vec<Finding> {
    let facts = gather::gather(config, plan);
    checks::all(Subject { config, plan }, &facts)
}
