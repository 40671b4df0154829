//! The running gate: queues bound, a thread for each, and one that keeps house.
//!
//! A queue thread receives a batch, decides each packet, answers the batch, and only then looks at what there is to
//! tell. The main thread waits for signals, sweeps the doors, writes the summaries of drops, and watches the
//! kernel's counters. A third kind writes the log, so that a slow log never holds up a packet.

mod crew;
mod desk;
mod events;
mod grace;
mod health;
mod history;
mod housekeeping;
mod keeper;
mod learner;
mod manager;
mod overview;
mod reload;
mod rounds;
mod rules;
mod signals;
mod succession;
mod watchdog;
mod worker;

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::Clock;
use crate::config::{Config, ConfigError, Fallback};
use crate::control::server::Server;
use crate::control::socket::Socket;
use crate::event::{self, Event, Started};
use crate::harden::{self, HardenError, Identity, Places, Protection};
use crate::http;
use crate::inspect::{Inspector, Mode};
use crate::queue::{Binding, Options, Queue, QueueError, kernel};
use crew::{Crew, Means, store_name};
use desk::Desk;
use events::EventSink;
use grace::Grace;
use health::Health;
use housekeeping::Housekeeping;
use keeper::Keeper;
use learner::Learner;
use manager::Manager;
use overview::Overview;
use reload::Live;
pub use reload::Load;
use rounds::Rounds;
use rules::{RulesInPlace, RulesKeeper};
pub use rules::{is_keeper as is_rules_keeper, keep as keep_rules};
use signals::{Alarm, Signals, Wake};
use succession::{Asked, Estate, Exit, Legacy, Taking};

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
        "queue {queue}: packets wait and are not decided, and binding it anew does not help: start sipknock again, and \
         report what the log has about it"
    )]
    Stuck {
        /// The queue.
        queue: u16,
    },
    /// A running gate does not hand over.
    #[error("not taken over, and the running gate goes on: {0}")]
    Takeover(String),
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
    /// Take over from the gate that serves the same control socket, where one does.
    pub takeover: bool,
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
    }
    outcome
}

fn serve(config: &Config, extras: Extras, load: Load, manager: Manager) -> Result<(), DaemonError> {
    let Extras { rules, learn, grace: span, takeover, warnings } = extras;
    let gate = Arc::new(ArcSwap::from_pointee(first_gate(config, span)?));
    let identity = Identity::of(config)?;
    let clock = Clock::start();
    let asked = if takeover { Asked::ask(config, span.is_some())? } else { None };
    let kept = Legacy::kept(manager);
    let mut signals = Signals::listen()?;
    // First queues that nobody hands over: where that fails, nothing has changed.
    let held: Vec<_> = match &asked {
        Some(asked) => asked.offer.queues.clone(),
        None => kept.sockets.iter().map(|(number, _)| *number).collect(),
    };
    let missing = config.queue.numbers.clone().filter(|number| !held.contains(number));
    let bind = |number| config.queue.backend.open(&options(config, number));
    let bound = missing.map(bind).collect::<Result<Vec<_>, _>>()?;

    // What needs root comes before this, and what makes threads behind it.
    let places = Places::new(config, learn.as_deref());
    places.prepare(&identity);
    // The one of a gate that hands over comes along.
    let socket = config.control.socket.as_deref().filter(|_| asked.is_none()).map(Socket::make);
    let inherits_rules = asked.as_ref().is_some_and(|asked| asked.offer.rules);
    let rules_keeper = (rules || inherits_rules).then(RulesKeeper::start).transpose();
    let rules_keeper = rules_keeper.map_err(system("start the rules' keeper"))?;
    let unseen = kernel::keep_readable().err();
    let protection = harden::confine(&identity, &places, &config.process)?;

    let (sink, writer) = EventSink::start(clock).map_err(system("start the log thread"))?;
    let mut house = Housekeeping::new(Arc::clone(&gate), clock, sink.clone(), config.http.listen.is_some());
    let start = |file| Learner::start(config.inspect.scope.clone(), file, sink.clone());
    let learner = learn.map(start).transpose().map_err(system("start the learning thread"))?;
    let grace = span.map(|span| Grace::begin(span, &gate, clock)).transpose();
    let (grace, looks) = grace.map_err(system("start the thread for --grace"))?.unzip();
    let means = Means {
        gate: Arc::clone(&gate),
        clock,
        sink: sink.clone(),
        copies: learner.as_ref().map(Learner::copies),
        looks,
        alarm: signals.alarm()?,
    };
    let mut crew = Crew::new(means, config.queue.backend, manager);
    for queue in bound {
        let options = options(config, queue.binding().queue);
        crew.enlist(queue, &options, house.watch())?;
    }
    let from = asked.as_ref().map(|asked| asked.offer.pid);
    let (mut legacy, taking) = match asked.map(Asked::go).transpose()? {
        Some((legacy, taking)) => (legacy, Some(taking)),
        None => (kept, None),
    };
    let sockets = std::mem::take(&mut legacy.sockets);
    let surplus = match crew.inherit(sockets, config, taking.is_some(), &mut house) {
        Ok(surplus) => surplus,
        Err(error) => {
            taking.inspect(|taking| taking.give_back(&error));
            return Err(error);
        }
    };
    let keeper = match (&config.state.file, &legacy.doors) {
        (Some(path), doors) if taking.is_none() => Keeper::start(path, doors.as_ref(), &gate, clock, &sink),
        (place, doors) => {
            doors.iter().for_each(|doors| keeper::restore(&gate.load(), clock.now(), doors, &sink));
            place
                .as_ref()
                .filter(|_| taking.is_some())
                .and_then(|path| Keeper::follow(path, &gate, clock, &sink))
        }
    };
    taking.map_or(Ok(()), Taking::taken)?;
    if let Some(pid) = from {
        sink.send(Event::Note(format!("queues and doors are taken over from process {pid}")));
    }
    legacy.warnings.drain(..).map(Event::Warning).for_each(|warning| sink.send(warning));

    let mut outcome = crew.start();
    let in_place = match outcome {
        Ok(()) => {
            let inherit = |keeper| RulesInPlace::inherit(keeper, rules, &sink);
            let put_in = |keeper: RulesKeeper| match (legacy.rules, from) {
                (true, _) => Ok(Some(inherit(keeper))),
                (false, None) => keeper.put_in(&sink),
                // Those that are in place lead here, and the gate before is gone: no reason to end.
                (false, Some(_)) => Ok(keeper.put_in(&sink).unwrap_or_else(|error| {
                    sink.send(Event::Warning(format!("the firewall rules stay as they are: {error}")));
                    None
                })),
            };
            rules_keeper.map_or(Ok(None), put_in).unwrap_or_else(|error| {
                outcome = Err(error);
                None
            })
        }
        Err(_) => None,
    };
    if outcome.is_ok() && !surplus.is_empty() {
        outcome = crew.leave(&surplus);
    }
    let mut clean = outcome.is_ok();
    let obstacle = match (crew.is_stored(), config.queue.backend.hands_over()) {
        (_, false) => Some("it runs with backend nfq, whose queues can't be handed over: restart it"),
        (true, _) => Some(
            "a service manager runs it, and keeps its queues: 'systemctl restart sipknock' loses no packet",
        ),
        _ => None,
    };
    let (exit, errands) = Exit::new(signals.alarm()?, obstacle, in_place.is_some());
    let exit = Arc::new(exit);
    let queues = crew.health();
    let desk = Desk::new(
        Arc::clone(&gate),
        clock,
        sink.clone(),
        house.workers(),
        queues.clone(),
        Arc::clone(&exit),
        manager,
        config,
        load,
    );
    let desk = desk.beginning_with(grace);
    let desk = Arc::new(desk.keeping(config.state.file.clone(), keeper.as_ref().map(Keeper::counts)));
    let listener = legacy.listener.take();
    let adopted = config.control.socket.as_deref().zip(listener);
    let socket = adopted.map(|(path, listener)| Socket::adopt(listener, path)).or(socket);
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
    if let Some(error) = unseen {
        sink.send(Event::Warning(format!(
            "what the kernel counts of its queues can't be read, so nobody sees packets that are lost or wait for good: \
             {error}; start as root, or as a member of the group root"
        )));
    }
    if clean {
        announce(config, &gate.load(), &crew.bindings(), protection, warnings, &sink);
        if let Some(span) = span {
            sink.send(Event::Grace(event::Grace::Began(span)));
        }
        manager.ready(&status(&house, &gate));
    }
    let mut rounds = Rounds::new(clock, manager);
    let mut heir = None;
    while clean && heir.is_none() {
        if rounds.is_time() {
            house.keep();
            desk.look_at_grace();
            if let Err(error) = crew.look() {
                (outcome, clean) = (Err(error), false);
                break;
            }
            rounds.done(|| status(&house, &gate));
        }
        rounds.report(&queues);
        match signals.wait(rounds.pause()) {
            Ok(Wake::Tick) => {}
            Ok(Wake::Signal) => break,
            // How it went is in the log.
            Ok(Wake::Hangup) => _ = desk.reload(),
            Ok(Wake::User) => match &learner {
                Some(learner) => learner.write(),
                None => sink.send(Event::Warning("SIGUSR1 is for 'run --learn' only".to_owned())),
            },
            Ok(Wake::Alarm) => {
                if let Err(error) = crew.see_to_ended() {
                    (outcome, clean) = (Err(error), false);
                }
            }
            Ok(Wake::Errand) => {
                for mut errand in errands.try_iter() {
                    let Some(server) = &control else { continue };
                    let gate = gate.load_full();
                    let mut estate =
                        Estate { crew: &mut crew, gate: &gate, clock, server, exit: &exit, sink: &sink };
                    match estate.hand_over(&mut errand) {
                        Ok(true) => heir = Some(errand.pid),
                        Ok(false) => {}
                        Err(error) => (outcome, clean) = (Err(error), false),
                    }
                }
            }
            Err(error) => (outcome, clean) = (Err(error), false),
        }
    }
    signals.end_at_once_from_now_on();
    health.say("the gate", Some("it is ending".to_owned()));
    manager.stopping();

    // Where the service manager keeps the queues, they stay as they are, for the process that comes next.
    let stays = heir.is_none() && clean && crew.is_stored() && in_place.is_none();
    let keeps = stays && crew.release().is_ok();
    if stays && !keeps {
        // Some threads have stopped, and what waits in their queues is to be decided.
        outcome = outcome.and(crew.resume());
    }
    let mut http = http;
    if let Some(http) = http.take_if(|_| heir.is_some()) {
        // The next one waits for its address.
        http.finish();
    }
    let mut rules_out = Ok(());
    if heir.is_none() && !keeps {
        // New packets stop coming before anything else stops: first the rules go, then each queue is shut and drained.
        rules_out = in_place.map_or(Ok(()), |rules| rules.take_out(clean, &sink));
        outcome = outcome.and(crew.shut());
    }
    crew.stop_copying();
    house.finish();
    // Whoever comes next waits for the doors' file, and for nothing else.
    if let Some(keeper) = keeper {
        keeper.finish();
    }
    if let Some(learner) = learner {
        learner.finish();
    }
    if keeps {
        match succession::doors(&gate.load(), clock) {
            Ok(doors) => manager.keep(succession::DOORS, doors.as_fd()),
            Err(error) => {
                sink.send(Event::Warning(format!("the service manager can't keep the doors: {error}")))
            }
        }
    }
    let (waiting, counters) = crew.finish();
    sink.send(Event::Stopped {
        queues: queue_names(&crew.bindings()),
        totals: house.totals(),
        // They are somebody else's now.
        waiting: if heir.is_some() || keeps { 0 } else { waiting },
        stale: counters.stale,
        unreadable: counters.unreadable,
        handed_to: heir,
    });
    desk.close();
    if let Some(control) = control {
        control.finish();
    }
    if let Some(http) = http {
        http.finish();
    }
    // With the last sink gone the log ends.
    drop((house, crew, sink));
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

/// How to bind a queue.
fn options(config: &Config, queue: u16) -> Options {
    Options {
        queue,
        max_len: config.queue.max_len,
        receive_buffer: config.queue.receive_buffer,
        overload_open: config.queue.on_overload == Fallback::Open,
        exit_open: config.queue.on_exit == Fallback::Open,
        busy_poll: config.queue.busy_poll,
    }
}

/// A line for the service manager.
fn status(house: &Housekeeping, gate: &Live) -> String {
    let gate = gate.load();
    let mode = if gate.monitors() { "monitor: accepting everything" } else { "deciding packets" };
    format!("{mode}; {} doors open, {} packets so far", gate.doors().open_count(), house.totals().total())
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

fn queue_names(bindings: &[Binding]) -> String {
    match bindings {
        [first, .., last] => format!("{}-{}", first.queue, last.queue),
        [only] => only.queue.to_string(),
        [] => String::new(),
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
