//! The running gate: queues bound, a thread for each, and one that keeps house.
//!
//! A queue thread receives a batch, decides each packet, answers the batch, and only then looks at what there is to
//! tell. The main thread waits for signals, sweeps the doors, writes the summaries of drops, and watches the
//! kernel's counters. A third kind writes the log, so that a slow log never holds up a packet.

mod events;
mod housekeeping;
mod worker;

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::{Config, ConfigError, Fallback};
use crate::firewall::{self, Firewall, Plan};
use crate::inspect::Mode;
use crate::queue::{self, Binding, Options, Queue, QueueError, kernel};
use crate::verdict::ReasonCounts;
use events::EventSink;
use housekeeping::Housekeeping;
use worker::{Shared, Worker};

/// Why the gate could not run, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A queue can't be bound, or failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The rules could not be put in or taken out.
    #[error("the firewall rules: {0}")]
    Firewall(#[from] firewall::Error),
    /// The system would not give what a daemon needs.
    #[error("{what}: {error}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// Runs the gate until a signal ends it. With `rules`, they are put in once the queues are bound, and taken out at
/// a clean end.
///
/// # Errors
/// Where it can't start, or can't go on. What was bound and put in by then is given back.
pub fn run(config: &Config, rules: Option<&Plan>) -> Result<(), DaemonError> {
    let gate = Arc::new(config.inspector()?);
    let clock = Clock::start();
    let queues = bind(config)?;
    let shutters = queues.iter().map(|queue| queue.shutter()).collect::<Result<Vec<_>, _>>()?;
    let bindings: Vec<_> = queues.iter().map(|queue| queue.binding()).collect();
    let mut signals = Signals::listen()?;
    let (sink, writer) = EventSink::start().map_err(system("start the log thread"))?;
    let mut house = Housekeeping::new(Arc::clone(&gate), clock, sink.clone(), &bindings);

    let rules = rules.map(RulesInPlace::put_in).transpose()?;
    announce(config, &bindings);

    let mut workers = Vec::new();
    let mut outcome = Ok(());
    for queue in queues {
        let shared = Arc::new(Shared::default());
        house.watch(Arc::clone(&shared));
        let alarm = signals.alarm()?;
        let worker = Worker::new(queue, Arc::clone(&gate), clock, sink.clone(), shared);
        match worker.spawn(alarm) {
            Ok(handle) => workers.push(handle),
            Err(error) => outcome = Err(system("start a queue thread")(error)),
        }
    }
    while outcome.is_ok() && signals.wait(HOUSEKEEPING)? == Wake::Tick {
        house.keep();
    }

    // New packets stop coming before anything else stops: first the rules go, then each queue is shut and drained.
    let rules_out = rules.map_or(Ok(()), RulesInPlace::take_out);
    for shutter in &shutters {
        shutter.shut()?;
    }
    let mut left = Vec::new();
    for worker in workers {
        match worker.join() {
            Ok(Ok(queue)) => left.push(queue),
            Ok(Err(error)) => outcome = outcome.and(Err(error.into())),
            // Not with panic = "abort", which is how it is built for use.
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    house.finish();
    let totals = house.totals();
    drop((house, sink));
    // With the last sink gone the log ends, so that the farewell is its last line.
    writer.join();
    farewell(&totals, &left);
    outcome.and(rules_out)
}

/// Binds all queues or none.
fn bind(config: &Config) -> Result<Vec<Box<dyn Queue>>, QueueError> {
    let bound = config.queue.numbers.clone().map(|number| {
        let options = Options {
            queue: number,
            max_len: config.queue.max_len,
            receive_buffer: config.queue.receive_buffer,
            overload_open: config.queue.on_overload == Fallback::Open,
            exit_open: config.queue.on_exit == Fallback::Open,
        };
        let queue = config.queue.backend.open(&options)?;
        let granted = queue.binding().receive_buffer;
        if granted < options.receive_buffer {
            warn!(
                target: "sipknock::daemon",
                queue = number,
                asked = options.receive_buffer,
                granted,
                "the receive buffer is smaller than asked for: run with CAP_NET_ADMIN in the first user namespace, or raise net.core.rmem_max"
            );
        }
        Ok(queue)
    });
    bound.collect()
}

fn announce(config: &Config, bindings: &[Binding]) {
    let mode = match config.inspect.mode {
        Mode::Enforce => "enforce",
        Mode::Monitor => "monitor",
    };
    info!(
        target: "sipknock::daemon",
        event = "started",
        version = env!("CARGO_PKG_VERSION"),
        mode,
        backend = config.queue.backend.name(),
        queues = %queue_names(bindings),
        knocks = config.knocks.len(),
        trusted = config.inspect.trusted.len(),
        receive_buffer = bindings.iter().map(|binding| binding.receive_buffer).min(),
        "the gate is up"
    );
    if config.queue.on_overload == Fallback::Open {
        warn!(target: "sipknock::daemon", "on_overload = \"open\": packets that find a queue full pass unchecked, and no counter shows it");
    }
}

/// Says goodbye with what was done. `waiting` packets have got no verdict, and there should be none.
fn farewell(totals: &ReasonCounts, queues: &[Box<dyn queue::Queue>]) {
    let bindings: Vec<_> = queues.iter().map(|queue| queue.binding()).collect();
    let waiting: u64 =
        bindings.iter().filter_map(|binding| kernel::queue(binding.queue)).map(|row| row.waiting).sum();
    let counters = queues.iter().map(|queue| queue.counters());
    let (stale, unreadable) =
        counters.fold((0, 0), |sum, next| (sum.0 + next.stale, sum.1 + next.unreadable));
    let reasons: Vec<_> = totals.occurred().map(|(reason, count)| format!("{reason}:{count}")).collect();
    info!(
        target: "sipknock::daemon",
        event = "stopped",
        queues = %queue_names(&bindings),
        packets = totals.total(),
        reasons = reasons.join(" "),
        waiting,
        stale,
        unreadable,
        "the gate is down"
    );
}

fn queue_names(bindings: &[Binding]) -> String {
    match bindings {
        [first, .., last] => format!("{}-{}", first.queue, last.queue),
        [only] => only.queue.to_string(),
        [] => String::new(),
    }
}

/// Rules that this process put in, and takes out again.
struct RulesInPlace(Firewall);

impl RulesInPlace {
    fn put_in(plan: &Plan) -> Result<Self, firewall::Error> {
        let firewall = Firewall::default();
        for family in firewall.apply(plan)?.families {
            let notes: Vec<_> = family.notes.iter().map(ToString::to_string).collect();
            let notes = (!notes.is_empty()).then(|| notes.join("; "));
            info!(target: "sipknock::daemon", family = family.family.name(), notes, "firewall rules are in place");
        }
        Ok(Self(firewall))
    }

    fn take_out(self) -> Result<(), DaemonError> {
        self.0.remove()?;
        info!(target: "sipknock::daemon", "firewall rules are taken out: the ports are as they were without sipknock");
        Ok(())
    }
}

/// Signals and alarms, as something to wait for.
struct Signals {
    incoming: UnixStream,
    outgoing: UnixStream,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// The time was up.
    Tick,
    /// A signal to end, or a queue thread that did.
    End,
}

impl Signals {
    /// From here on SIGTERM, SIGINT and SIGHUP end the process in order. SIGHUP is what a closed terminal sends.
    fn listen() -> Result<Self, DaemonError> {
        let (incoming, outgoing) = UnixStream::pair().map_err(system("make a socket pair"))?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            let outgoing = outgoing.try_clone().map_err(system("copy a socket"))?;
            signal_hook::low_level::pipe::register(signal, outgoing).map_err(system("listen for signals"))?;
        }
        Ok(Self { incoming, outgoing })
    }

    /// Something that ends the wait when written to.
    fn alarm(&self) -> Result<UnixStream, DaemonError> {
        self.outgoing.try_clone().map_err(system("copy a socket"))
    }

    fn wait(&mut self, span: Duration) -> Result<Wake, DaemonError> {
        let timeout =
            Timespec { tv_sec: span.as_secs().try_into().unwrap_or(1), tv_nsec: span.subsec_nanos().into() };
        let mut descriptors = [PollFd::from_borrowed_fd(self.incoming.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut descriptors, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(Wake::Tick),
            Ok(_) => {
                let mut byte = [0];
                self.incoming.read_exact(&mut byte).map_err(system("read a signal"))?;
                Ok(Wake::End)
            }
            Err(error) => Err(system("wait for signals")(error.into())),
        }
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> DaemonError {
    move |error| DaemonError::System { what, error }
}

/// How often doors are swept and counters looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// What a queue thread comes back with: its queue, still bound, so that the last look at the kernel's counters
/// finds it.
type Handle = thread::JoinHandle<Result<Box<dyn Queue>, QueueError>>;
