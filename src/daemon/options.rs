//! The options of `sipknock run` that are not in the configuration.

use std::path::PathBuf;
use std::time::Duration;

/// The parts of a gate beside deciding packets.
#[derive(Debug, Default)]
pub struct RunOptions {
    /// Rules to put in once packets are being decided, and to take out at a clean end.
    pub rules: bool,
    /// Watch over the rules that are there, where this process is root's.
    pub watch: bool,
    /// The file for the report on values that would serve as knocks, written at the end and on SIGUSR1.
    pub learn: Option<PathBuf>,
    /// For how long everything passes at first.
    pub grace: Option<Duration>,
    /// The file in which a grace is remembered, so that it goes on after a restart with what is left of it.
    pub grace_file: Option<PathBuf>,
    /// Take over from the gate that serves the same control socket, where one does.
    pub takeover: bool,
    /// Rules that others have put in lead packets here; `None` if that can't be seen.
    pub rules_lead_here: Option<bool>,
    /// For the log, which nothing here waits for.
    pub warnings: Vec<String>,
}
