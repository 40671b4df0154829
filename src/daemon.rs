//! The running gate: queues bound, a thread for each, and one that keeps house.
//!
//! A queue thread receives a batch, decides each packet, answers the batch, and only then looks at what there is to
//! tell. The main thread waits for signals, sweeps the doors, writes the summaries of drops, and watches the
//! kernel's counters. A third kind writes the log, so that a slow log never holds up a packet.

mod desk;
mod events;
mod grace;
mod health;
mod history;
mod housekeeping;
mod keeper;
mod learner;
mod overview;
mod reload;
mod rules;
mod worker;

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use crate::clock::Clock;
use crate::config::{Config, ConfigError, Fallback};
use crate::control::server::Server;
use crate::control::socket::Socket;
use crate::event::{self, Event, Started};
use crate::harden::{self, HardenError, Identity, Places, Protection};
use crate::http;
use crate::inspect::{Inspector, Mode};
use crate::queue::{Binding, Options, Queue, QueueError, kernel};
use crate::verdict::ReasonCounts;
use desk::Desk;
use events::EventSink;
use grace::Grace;
use health::Health;
use housekeeping::Housekeeping;
use keeper::Keeper;
use learner::Learner;
use overview::Overview;
pub use reload::Load;
use rules::RulesKeeper;
pub use rules::{is_keeper as is_rules_keeper, keep as keep_rules};
use worker::Worker;

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
    /// The system would not give what a daemon needs.
    #[error("{what}: {error}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// What a gate does beside deciding packets.
#[derive(Debug, Default)]
pub struct Extras {
    /// Rules to put in once packets are being decided, and to take out at a clean end.
    pub rules: bool,
    /// Where to write what phones send that would serve as a knock, at the end and on SIGUSR1.
    pub learn: Option<PathBuf>,
    /// For how long everything passes at first.
    pub grace: Option<Duration>,
    /// For the log, which nothing here waits for.
    pub warnings: Vec<String>,
}

/// Runs the gate until a signal ends it. `load` reads the configuration again, for a reload.
///
/// # Errors
/// Where it can't start, or can't go on. Then rules that it had put in stay, so that a fault opens nothing.
pub fn run(config: &Config, extras: Extras, load: Load) -> Result<(), DaemonError> {
    let Extras { rules, learn, grace: span, warnings } = extras;
    let gate = Arc::new(ArcSwap::from_pointee(first_gate(config, span)?));
    let identity = Identity::of(config)?;
    let clock = Clock::start();
    let queues = bind(config)?;
    let shutters = queues.iter().map(|queue| queue.shutter()).collect::<Result<Vec<_>, _>>()?;
    let bindings: Vec<_> = queues.iter().map(|queue| queue.binding()).collect();
    let mut signals = Signals::listen()?;
    let alarms = queues.iter().map(|_| signals.alarm()).collect::<Result<Vec<_>, _>>()?;

    // What needs root comes before this, and what makes threads behind it.
    let places = Places::new(config, learn.as_deref());
    places.prepare(&identity);
    let socket = config.control.socket.as_deref().map(Socket::make);
    let rules = rules.then(RulesKeeper::start).transpose().map_err(system("start the rules' keeper"))?;
    let protection = harden::confine(&identity, &places, &config.process)?;

    let (sink, writer) = EventSink::start(clock).map_err(system("start the log thread"))?;
    let start = |file| Learner::start(config.inspect.scope.clone(), file, sink.clone());
    let learner = learn.map(start).transpose().map_err(system("start the learning thread"))?;
    let grace = span.map(|span| Grace::begin(span, &gate, clock)).transpose();
    let (grace, looks) = grace.map_err(system("start the thread for --grace"))?.unzip();
    let keep = |path: &PathBuf| Keeper::start(path, &gate, clock, &sink);
    let keeper = config.state.file.as_ref().and_then(keep);
    let mut house = Housekeeping::new(Arc::clone(&gate), clock, sink.clone(), &bindings);

    let mut workers = Vec::new();
    let mut outcome = Ok(());
    for (queue, alarm) in queues.into_iter().zip(alarms) {
        let shared = house.watch(config.http.listen.is_some());
        let copies = learner.as_ref().map(Learner::copies);
        let worker = Worker::new(queue, Arc::clone(&gate), clock, sink.clone(), shared, copies);
        let worker = worker.shown_to(looks.clone());
        match worker.spawn(alarm) {
            Ok(handle) => workers.push(handle),
            Err(error) => outcome = Err(system("start a queue thread")(error)),
        }
    }
    let in_place = match rules.filter(|_| outcome.is_ok()).map(|keeper| keeper.put_in(&sink)) {
        Some(Ok(rules)) => rules,
        Some(Err(error)) => {
            outcome = Err(error);
            None
        }
        None => None,
    };
    drop(looks);
    let mut clean = outcome.is_ok();
    let desk =
        Desk::new(Arc::clone(&gate), clock, sink.clone(), house.workers(), bindings.clone(), config, load);
    let desk = desk.beginning_with(grace);
    let desk = Arc::new(desk.keeping(config.state.file.clone(), keeper.as_ref().map(Keeper::counts)));
    let control = socket.filter(|_| clean).and_then(|made| {
        let started = made.map_err(|error| error.to_string()).and_then(|socket| {
            Server::start(socket, clock, Arc::clone(&desk)).map_err(|error| error.to_string())
        });
        let warn = |error| {
            sink.send(Event::Warning(format!(
                "no control socket, so 'sipknock doors' and others can't reach this gate: {error}"
            )))
        };
        started.map_err(warn).ok()
    });
    let health = Health::default();
    let http = config.http.listen.filter(|_| clean).and_then(|address| {
        let overview = Overview::new(Arc::clone(&desk), health.clone(), control.as_ref().map(Server::counts));
        let warn = |error| sink.send(Event::Warning(format!("no metrics and no status page: {error}")));
        http::server::Server::start(address, config.http.hosts.clone(), clock, overview).map_err(warn).ok()
    });
    if clean {
        announce(config, &gate.load(), &bindings, protection, warnings, &sink);
        if let Some(span) = span {
            sink.send(Event::Grace(event::Grace::Began(span)));
        }
    }
    let mut due = clock.now().after(HOUSEKEEPING);
    while clean {
        // Also where signals come more often than that.
        if clock.now() >= due {
            house.keep();
            desk.look_at_grace();
            due = clock.now().after(HOUSEKEEPING);
        }
        match signals.wait(due.since(clock.now())) {
            Ok(Wake::Tick) => {}
            Ok(Wake::Signal) => break,
            // How it went is in the log.
            Ok(Wake::Hangup) => _ = desk.reload(),
            Ok(Wake::User) => match &learner {
                Some(learner) => learner.write(),
                None => sink.send(Event::Warning("SIGUSR1 is for 'run --learn' only".to_owned())),
            },
            Ok(Wake::Alarm) => clean = false,
            Err(error) => {
                outcome = Err(error);
                clean = false;
            }
        }
    }
    signals.end_at_once_from_now_on();
    health.say("the gate", Some("it is ending".to_owned()));

    // New packets stop coming before anything else stops: first the rules go, then each queue is shut and drained.
    let rules_out = in_place.map_or(Ok(()), |rules| rules.take_out(clean, &sink));
    for shutter in &shutters {
        outcome = outcome.and(shutter.shut().map_err(DaemonError::from));
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
    if let Some(learner) = learner {
        learner.finish();
    }
    house.finish();
    if let Some(keeper) = keeper {
        keeper.finish();
    }
    farewell(&house.totals(), &left, &sink);
    desk.close();
    if let Some(control) = control {
        control.finish();
    }
    if let Some(http) = http {
        http.finish();
    }
    // With the last sink gone the log ends.
    drop((house, sink));
    writer.finish();
    outcome.and(rules_out)
}

/// The gate that it begins with. With a grace everything passes.
fn first_gate(config: &Config, grace: Option<Duration>) -> Result<Inspector, ConfigError> {
    let (mut policy, knocks) = config.compile()?;
    if grace.is_some() {
        policy.mode = Mode::Monitor;
    }
    Ok(Inspector::new(policy, knocks, config.inspect.max_doors))
}

/// Binds all queues or none.
fn bind(config: &Config) -> Result<Vec<Box<dyn Queue>>, QueueError> {
    let bound = config.queue.numbers.clone().map(|number| {
        config.queue.backend.open(&Options {
            queue: number,
            max_len: config.queue.max_len,
            receive_buffer: config.queue.receive_buffer,
            overload_open: config.queue.on_overload == Fallback::Open,
            exit_open: config.queue.on_exit == Fallback::Open,
            busy_poll: config.queue.busy_poll,
        })
    });
    bound.collect()
}

fn announce(
    config: &Config,
    gate: &Inspector,
    bindings: &[Binding],
    protection: Protection,
    warnings: Vec<String>,
    sink: &EventSink,
) {
    let granted = bindings.iter().map(|binding| binding.receive_buffer).min().unwrap_or(0);
    sink.send(Event::Started(Box::new(Started {
        monitor: gate.monitors(),
        backend: config.queue.backend.name(),
        queues: queue_names(bindings),
        knocks: config.knocks.len(),
        trusted: config.inspect.trusted.len(),
        receive_buffer: granted,
    })));
    let asked = config.queue.receive_buffer;
    if granted < asked {
        sink.send(Event::Warning(format!(
            "the receive buffer is smaller than asked for, {granted} bytes and not {asked}: run with CAP_NET_ADMIN in \
             the first user namespace, or raise net.core.rmem_max"
        )));
    }
    if config.queue.on_overload == Fallback::Open {
        let text =
            "on_overload is \"open\": packets that find a queue full pass unchecked, and no counter shows it";
        sink.send(Event::Warning(text.to_owned()));
    }
    sink.send(Event::Detail(format!("the gate {protection}")));
    let warnings = protection.warnings.into_iter().chain(warnings);
    warnings.map(Event::Warning).for_each(|warning| sink.send(warning));
}

/// Says goodbye with what was done. `waiting` packets have got no verdict, and there should be none.
fn farewell(totals: &ReasonCounts, queues: &[Box<dyn Queue>], sink: &EventSink) {
    let bindings: Vec<_> = queues.iter().map(|queue| queue.binding()).collect();
    let waiting =
        bindings.iter().filter_map(|binding| kernel::queue(binding.queue)).map(|row| row.waiting).sum();
    let counters = queues.iter().map(|queue| queue.counters());
    let (stale, unreadable) =
        counters.fold((0, 0), |sum, next| (sum.0 + next.stale, sum.1 + next.unreadable));
    sink.send(Event::Stopped { queues: queue_names(&bindings), totals: *totals, waiting, stale, unreadable });
}

fn queue_names(bindings: &[Binding]) -> String {
    match bindings {
        [first, .., last] => format!("{}-{}", first.queue, last.queue),
        [only] => only.queue.to_string(),
        [] => String::new(),
    }
}

/// Signals and alarms, as something to wait for.
struct Signals {
    incoming: UnixStream,
    outgoing: UnixStream,
    hangup: Arc<AtomicBool>,
    user: Arc<AtomicBool>,
    end_at_once: Arc<AtomicBool>,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// The time was up.
    Tick,
    /// A signal to end.
    Signal,
    /// SIGHUP where it is no end.
    Hangup,
    /// SIGUSR1.
    User,
    /// A queue thread has ended by itself.
    Alarm,
}

impl Signals {
    /// From here on SIGTERM and SIGINT end the process in order; so does SIGHUP where the log is a terminal, for then
    /// the terminal was closed.
    fn listen() -> Result<Self, DaemonError> {
        let (incoming, outgoing) = UnixStream::pair().map_err(system("make a socket pair"))?;
        let (hangup, user, end_at_once) = (Arc::default(), Arc::default(), Arc::default());
        let mut ends = vec![SIGTERM, SIGINT];
        let mut flags = vec![(SIGUSR1, &user)];
        match io::stderr().is_terminal() {
            true => ends.push(SIGHUP),
            false => flags.push((SIGHUP, &hangup)),
        }
        for (signal, flag) in flags {
            signal_hook::flag::register(signal, Arc::clone(flag)).map_err(system("listen for signals"))?;
        }
        for signal in ends {
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&end_at_once))
                .map_err(system("listen for signals"))?;
            let outgoing = outgoing.try_clone().map_err(system("copy a socket"))?;
            signal_hook::low_level::pipe::register(signal, outgoing).map_err(system("listen for signals"))?;
        }
        Ok(Self { incoming, outgoing, hangup, user, end_at_once })
    }

    /// Something that a queue thread wakes us with.
    fn alarm(&self) -> Result<Alarm, DaemonError> {
        self.outgoing.try_clone().map(Alarm).map_err(system("copy a socket"))
    }

    /// The next signal does not wait for an orderly end.
    fn end_at_once_from_now_on(&self) {
        self.end_at_once.store(true, Ordering::Relaxed);
    }

    fn wait(&mut self, span: Duration) -> Result<Wake, DaemonError> {
        let timeout =
            Timespec { tv_sec: span.as_secs().try_into().unwrap_or(1), tv_nsec: span.subsec_nanos().into() };
        let mut descriptors = [PollFd::from_borrowed_fd(self.incoming.as_fd(), PollFlags::IN)];
        let woken = rustix::event::poll(&mut descriptors, Some(&timeout));
        if self.hangup.swap(false, Ordering::Relaxed) {
            return Ok(Wake::Hangup);
        }
        if self.user.swap(false, Ordering::Relaxed) {
            return Ok(Wake::User);
        }
        match woken {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(Wake::Tick),
            Ok(_) => {
                let mut byte = [0];
                self.incoming.read_exact(&mut byte).map_err(system("read a signal"))?;
                Ok(if byte == [Alarm::BYTE] { Wake::Alarm } else { Wake::Signal })
            }
            Err(error) => Err(system("wait for signals")(error.into())),
        }
    }
}

/// Rings when a queue thread ends.
struct Alarm(UnixStream);

impl Alarm {
    /// Another one than signals write.
    const BYTE: u8 = b'!';

    fn ring(mut self) {
        // If the other end is gone, nobody is left to be told.
        let _ = self.0.write(&[Self::BYTE]);
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
