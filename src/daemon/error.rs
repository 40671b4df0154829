//! The faults of a gate.

use std::io;

use crate::config::ConfigError;
use crate::harden::HardenError;
use crate::queue::QueueError;

/// Why the gate could not run, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A queue can't be bound, or failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// It can't be confined to what it needs.
    #[error(transparent)]
    Harden(#[from] HardenError),
    /// The rules could not be put in.
    #[error("the firewall rules: {0}")]
    Rules(String),
    /// Rules of another configuration are there.
    #[error(
        "rules of another configuration are in place: 'sipknock firewall status' shows how they differ, 'sipknock \
         firewall apply' replaces them, 'sipknock firewall remove' takes them out"
    )]
    OtherRules,
    /// The gate has ended and its rules are still there.
    #[error(
        "the firewall rules can't be taken out, so the ports are shut: run 'sipknock firewall remove' ({0})"
    )]
    RulesLeft(String),
    /// A queue thread decides nothing, and another one in its place did not help.
    #[error(
        "queue {queue}: packets wait and are not decided, and rebinding it did not help: start sipknock again, and \
         report the lines of the log about it"
    )]
    Stuck {
        /// The queue.
        queue: u16,
    },
    /// A running gate does not hand over.
    #[error("not taken over, and the running gate continues: {0}")]
    Takeover(String),
    /// The system would not give what a daemon needs.
    #[error("{what}: {error}")]
    System {
        /// The call that failed.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// For what the system did not give.
pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> DaemonError {
    move |error| DaemonError::System { what, error }
}
