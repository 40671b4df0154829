//! What is left to the gate's process once its queues are bound: one user's rights, one capability, the system calls and
//! the files that it needs.
//!
//! All of it is done before the first thread starts, since rights belong to threads (credentials(7)) and each thread
//! gets those of the one that made it. Anything that needs more than that is done before, or by [`crate::daemon`]'s
//! helper for the rules.

mod error;
mod files;
mod paths;
mod privileges;
mod seccomp;
mod user;

use std::fmt;
use std::fs;

use crate::config::{ProcessSection, Seccomp};

pub use error::HardenError;
pub use paths::HardenPaths;
pub use privileges::{keep_memory_to_itself, keep_to_iptables};
pub use user::{Identity, trusted_groups, user_name};

/// The confinement of the process from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// As whom it runs.
    pub user: String,
    /// The capabilities that it has, as capabilities(7) names them.
    pub capabilities: Vec<String>,
    /// System calls are filtered.
    pub seccomp: bool,
    /// Files are out of reach.
    pub landlock: bool,
    /// For the log: what could not be had, and what will not work.
    pub warnings: Vec<String>,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |on| if on { "on" } else { "off" };
        let Self { user, capabilities, seccomp, landlock, .. } = self;
        write!(
            f,
            "runs as {user} with {} alone and no new privileges; seccomp is {}, landlock is {}",
            capabilities.join(" and "),
            on(*seccomp),
            on(*landlock)
        )
    }
}

/// The threads of this process. One that was joined a moment ago may still be listed: it gets some time to leave.
fn threads_left() -> usize {
    let count = || fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    for _ in 0..LEAVING.as_millis() {
        if count() == 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    count()
}

/// Much longer than the kernel takes to end a thread, also on a busy machine.
const LEAVING: std::time::Duration = std::time::Duration::from_secs(1);

/// Takes everything from this process that a running gate does not need.
///
/// # Errors
/// If it can't become the user that it should, or threads run already. A feature that the kernel lacks is a warning.
pub fn confine(
    identity: &Identity,
    places: &HardenPaths,
    process: &ProcessSection,
) -> Result<Protection, HardenError> {
    let threads = threads_left();
    if threads != 1 {
        return Err(HardenError::Threads(threads));
    }
    privileges::reduce(identity)?;
    let (user, capabilities) = (identity.name().to_owned(), privileges::capabilities_left()?);
    let mut protection = Protection { user, capabilities, ..Protection::default() };
    protection.warnings.extend(identity.warning().map(str::to_owned));
    protection.warnings.extend(places.problems(identity));
    if process.landlock {
        // Kernels before 5.13 have none, and many are built without: what the others keep up is enough to go on.
        protection.landlock = files::restrict(places).unwrap_or(false);
    }
    if process.seccomp != Seccomp::Off {
        match seccomp::install(process.seccomp, places.port.is_some()) {
            Ok(()) => protection.seccomp = true,
            Err(error) => protection.warnings.push(format!(
                "system calls are not filtered: {error}; [process] seccomp = \"off\" silences this"
            )),
        }
    }
    Ok(protection)
}
