//! The reasons for which a process can't be confined.

use std::io;

/// Why the process could not be confined.
#[derive(Debug, thiserror::Error)]
pub enum HardenError {
    /// The system refused.
    #[error(
        "the process can't {what}: {error}; start it as a user with CAP_NET_ADMIN, as dist/systemd does, or give \
         --user root"
    )]
    System {
        /// The step that it refused.
        what: &'static str,
        /// Its answer.
        error: io::Error,
    },
    /// A thread has more rights than it should, and would keep them.
    #[error("{0} threads run before the process is confined, and not 1. Please report this")]
    Threads(usize),
}
