//! The running gate: queues bound, a thread for each, and one that keeps house.
//!
//! A queue thread receives a batch, decides each packet, answers the batch, and only then looks at what there is to
//! tell. The main thread waits for signals, sweeps the doors, writes the summaries of drops, and watches the
//! kernel's counters. A third kind writes the log, so that a slow log never holds up a packet.
//!
//! A gate's life is the few lines of `serve`: `groundwork` with all rights, `house` without them.

mod busiest;
mod connections;
mod crew;
mod desk;
mod error;
mod events;
mod genuine;
mod grace;
mod groundwork;
mod health;
mod history;
mod house;
mod housekeeping;
mod keeper;
mod learner;
mod manager;
mod outbound;
mod overview;
mod predecessor;
mod records;
mod reload;
mod rounds;
mod rules;
mod signals;
mod succession;
mod trunks;
mod watchdog;
mod worker;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::config::Config;
use crate::daemon::crew::store_name;
pub use crate::daemon::error::DaemonError;
use crate::daemon::error::system;
use crate::daemon::groundwork::Groundwork;
use crate::daemon::house::House;
use crate::daemon::manager::Manager;
pub use crate::daemon::reload::Load;
pub use crate::daemon::rules::service::watch as watch_rules;
pub use crate::daemon::rules::{is_keeper as is_rules_keeper, keep as keep_rules};
use crate::daemon::signals::Alarm;
use crate::queue::{Queue, QueueError};

/// What a gate does beside deciding packets.
#[derive(Debug, Default)]
pub struct Extras {
    /// Rules to put in once packets are being decided, and to take out at a clean end.
    pub rules: bool,
    /// Watch over the rules that are there, where this process is root's.
    pub watch: bool,
    /// Where to write what phones send that would serve as a knock, at the end and on SIGUSR1.
    pub learn: Option<PathBuf>,
    /// For how long everything passes at first.
    pub grace: Option<Duration>,
    /// Take over from the gate that serves the same control socket, where one does.
    pub takeover: bool,
    /// Rules that others have put in lead packets here; `None` if that can't be seen.
    pub rules_lead_here: Option<bool>,
    /// For the log, which nothing here waits for.
    pub warnings: Vec<String>,
}

/// Runs the gate until a signal ends it, or another process has taken over. `load` reads the configuration again, for a
/// reload.
///
/// # Errors
/// Where it can't start, or can't go on. Then rules that it had put in stay, so that a fault opens nothing.
pub fn run(config: &Config, extras: Extras, load: Load) -> Result<(), DaemonError> {
    let manager = Manager::from_env();
    let outcome = serve(config, extras, load, manager);
    if outcome.is_err() {
        // Nobody serves the queues: what then becomes of packets, 'on_exit' says.
        config.queue.numbers.clone().for_each(|number| manager.forget(&store_name(number)));
        manager.forget(outbound::STORE_NAME);
    }
    outcome
}

fn serve(config: &Config, extras: Extras, load: Load, manager: Manager) -> Result<(), DaemonError> {
    // With all rights, and before there is a second thread. The first half is what fails most, and changes nothing.
    let groundwork = Groundwork::lay(config, &extras, manager)?;
    let provisions = groundwork.confine(config, &extras)?;
    // Threads begin, and packets wait.
    let (mut house, predecessor) = House::build(config, &extras, groundwork, manager)?;
    // A gate that runs goes on where this fails.
    let inheritance = house.inherit(config, predecessor)?;
    // From here on all is ours, and comes to its end in order, whatever happens.
    match house.open(config, extras, load, provisions, inheritance) {
        Ok(front) => {
            let end = house.run(&front);
            house.close(Some(front), end)
        }
        Err(error) => house.close(None, Err(error)),
    }
}

/// How often doors are swept and counters looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// What a queue thread comes back with: its queue, still bound, so that the last look at the kernel's counters
/// finds it.
type Handle = thread::JoinHandle<Result<Box<dyn Queue>, QueueError>>;
