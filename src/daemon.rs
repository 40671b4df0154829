//! The daemon: one worker thread per NFQUEUE, and a main thread for signals, timers and expiry.
//!
//! A queue thread receives a batch, decides each packet, answers the batch, and only then looks at what there is to
//! tell. The main thread waits for signals, sweeps the doors, writes the summaries of drops, and watches the
//! kernel's counters. A third kind writes the log, so that a slow log never holds up a packet.
//!
//! `serve` is the whole life cycle: `startup` runs with full privileges, `runtime` after they are dropped.

mod busiest;
mod connections;
mod context;
mod endpoints;
mod error;
mod event_log;
mod firewall_helper;
mod genuine;
mod main_loop;
mod maintenance;
mod observers;
mod options;
mod outbound;
mod persistence;
mod reload;
mod runtime;
mod shutdown;
mod signals;
mod snapshot;
mod startup;
mod systemd;
mod takeover;
#[cfg(test)]
mod testing;
mod thread;
mod trunks;
mod workers;

use crate::config::Config;
pub use crate::daemon::error::DaemonError;
pub use crate::daemon::firewall_helper::service::watch as watch_rules;
pub use crate::daemon::firewall_helper::{is_helper as is_rules_keeper, keep as keep_rules};
pub use crate::daemon::options::RunOptions;
pub use crate::daemon::reload::LoadConfig;
use crate::daemon::runtime::Daemon;
use crate::daemon::startup::Startup;
use crate::daemon::systemd::Systemd;
use crate::daemon::workers::store_name;

/// Runs the gate until a signal ends it, or another process has taken over. `load` reads the configuration again, for a
/// reload.
///
/// # Errors
/// Where it can't start, or can't go on. Then rules that it had put in stay, so that a fault opens nothing.
pub fn run(config: &Config, options: RunOptions, load: LoadConfig) -> Result<(), DaemonError> {
    let manager = Systemd::from_env();
    let outcome = serve(config, options, load, manager);
    if outcome.is_err() {
        // Nobody serves the queues: what then becomes of packets, 'on_exit' says.
        config.queue.numbers.clone().for_each(|number| manager.forget(&store_name(number)));
        manager.forget(outbound::STORE_NAME);
    }
    outcome
}

fn serve(
    config: &Config,
    options: RunOptions,
    load: LoadConfig,
    manager: Systemd,
) -> Result<(), DaemonError> {
    // With all rights, and before there is a second thread. The first half is what fails most, and changes nothing.
    let startup = Startup::prepare(config, &options, manager)?;
    let privileged = startup.drop_privileges(config, &options)?;
    // Threads begin, and packets wait.
    let (mut daemon, previous) = Daemon::build(config, &options, startup, manager)?;
    // A gate that runs goes on where this fails.
    let inheritance = daemon.inherit(config, previous)?;
    // From here on all is ours, and comes to its end in order, whatever happens.
    match daemon.open(config, options, load, privileged, inheritance) {
        Ok(endpoints) => {
            let end = daemon.run(&endpoints);
            daemon.close(Some(endpoints), end)
        }
        Err(error) => daemon.close(None, Err(error)),
    }
}
