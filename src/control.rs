//! The running gate, seen and turned from outside: a unix socket with a line of JSON for each thing.
//!
//! [`protocol`] has what is said, as docs/control.md describes it. [`server`] takes clients in and keeps them within
//! bounds; what they ask for is done by a [`server::RequestHandler`], which the daemon is. [`client`] is what the commands use.
//! [`takeover`] hands the queues of one daemon to the next. Watching clients get events through [`watch`], which never
//! waits for any of them.

pub mod client;
pub mod protocol;
pub mod server;
pub mod socket;
pub mod takeover;
pub mod watch;

/// The path of the socket, unless the configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/sipknock/control.sock";
