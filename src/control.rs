//! The running gate, seen and turned from outside: a unix socket with a line of JSON for each thing.
//!
//! [`protocol`] has what is said, as docs/control.md describes it. [`server`] takes clients in and keeps them within
//! bounds; what they ask for is done by a [`server::Service`], which the daemon is. [`client`] is what the commands use.
//! [`takeover`] is how one daemon makes way for the next. Who watches gets events through [`watch`], which never waits for anybody.

pub mod client;
pub mod protocol;
pub mod server;
pub mod socket;
pub mod takeover;
pub mod watch;

/// Where the socket is, unless the configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/sipknock/control.sock";
