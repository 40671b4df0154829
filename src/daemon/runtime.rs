//! A gate with its threads, from the first of them to the last.
//!
//! [`Daemon::build`] and [`Daemon::inherit`] may fail while another process still has the queues. After that the daemon is
//! [opened](Daemon::open), [run](Daemon::run) and in any case [closed](Daemon::close).

use std::sync::Arc;

use crate::config::{Config, Fallback};
use crate::control::socket::Socket;
use crate::daemon::connections::Connections;
use crate::daemon::context::Context;
use crate::daemon::endpoints::{Endpoints, GateParts};
use crate::daemon::error::{DaemonError, system};
use crate::daemon::event_log::{EventSender, LogThread};
use crate::daemon::firewall_helper::{FirewallHelper, InstalledRules, RulesState};
use crate::daemon::maintenance::Maintenance;
use crate::daemon::observers::grace::Grace;
use crate::daemon::observers::learner::Learner;
use crate::daemon::options::RunOptions;
use crate::daemon::outbound::{self, OutboundReader, OutboundThread};
use crate::daemon::persistence::DoorPersister;
use crate::daemon::reload::LoadConfig;
use crate::daemon::signals::Signals;
use crate::daemon::snapshot;
use crate::daemon::startup::{Privileged, Startup};
use crate::daemon::systemd::Systemd;
use crate::daemon::takeover::PreviousProcess;
use crate::daemon::takeover::incoming::{Inherited, PendingTakeover};
use crate::daemon::workers::{WorkerContext, WorkerPool};
use crate::event::{self, Event, Started};
use crate::harden::Protection;
use crate::nflog::NflogReader;
use crate::queue::{QueueBinding, Unanswered};

/// All that a gate consists of, but for what others see of it.
pub(super) struct Daemon {
    pub(super) context: Context,
    pub(super) manager: Systemd,
    pub(super) signals: Signals,
    pub(super) log: LogThread,
    pub(super) maintenance: Maintenance,
    pub(super) workers: WorkerPool,
    pub(super) outbound: Arc<OutboundReader>,
    /// Once the gate is open, if there is something to read.
    pub(super) outbound_thread: Option<OutboundThread>,
    pub(super) learner: Option<Learner>,
    /// Moved into the control service when it starts.
    pub(super) grace: Option<Grace>,
    /// Of the doors.
    pub(super) persister: Option<DoorPersister>,
    /// The fate of packets once nobody reads the queues, and whether rules of others lead there.
    pub(super) on_exit: Fallback,
    pub(super) rules_lead_here: Option<bool>,
    pub(super) rules: Option<InstalledRules>,
    /// How they are.
    pub(super) rules_state: Arc<RulesState>,
    pub(super) connections: Arc<Connections>,
}

/// Why a gate ends that has no fault.
pub(super) enum EndReason {
    /// A signal wants it to.
    Signal,
    /// This process has taken over.
    TakenOver(u32),
}

impl Daemon {
    /// Starts the threads beside the queues, and adds each queue that was bound. The previous process is not touched yet.
    ///
    /// # Errors
    /// If the system has no room for another thread.
    pub(super) fn build(
        config: &Config,
        options: &RunOptions,
        startup: Startup,
        manager: Systemd,
    ) -> Result<(Self, PreviousProcess), DaemonError> {
        let Startup { gate, clock, signals, previous, queues, outbound: reader, .. } = startup;
        let (sink, log) = EventSender::start(clock).map_err(system("start the log thread"))?;
        let timed = config.http.listen.is_some();
        let context = Context { gate: Arc::clone(&gate), clock, sink: sink.clone() };
        let mut maintenance = Maintenance::new(context.clone(), timed);
        let learn = |file| Learner::start(config.inspect.scope.clone(), file, sink.clone());
        let learner = options.learn.clone().map(learn).transpose();
        let learner = learner.map_err(system("start the learning thread"))?;
        let grace_file = options.grace_file.clone();
        let grace = options.grace.map(|span| Grace::begin(span, grace_file, &gate, clock)).transpose();
        let (grace, grace_tap) = grace.map_err(system("start the thread for --grace"))?.unzip();
        let outbound = Arc::new(OutboundReader::new(context.clone(), config.firewall.pbx.networks.clone()));
        reader.into_iter().for_each(|reader| outbound.attach(reader));
        let worker_context = WorkerContext {
            common: context.clone(),
            queues: Box::new(config.queue.backend),
            taps: learner.as_ref().map(Learner::tap).into_iter().chain(grace_tap).collect(),
            outbound: Arc::clone(&outbound),
            waker: signals.waker()?,
        };
        let mut workers = WorkerPool::new(worker_context, manager);
        for queue in queues {
            let number = queue.binding().queue;
            workers.add(queue, &config.queue.options(number), maintenance.watch(number))?;
        }
        let (persister, rules) = (None, None);
        let connections = Arc::new(Connections::new(&gate, clock, config));
        let rules_state = RulesState::new(clock, sink).holding(Arc::clone(&connections));
        let rules_state = Arc::new(rules_state);
        rules_state.expect_reports();
        let daemon = Self {
            context,
            manager,
            signals,
            log,
            maintenance,
            workers,
            outbound,
            outbound_thread: None,
            learner,
            grace,
            persister,
            rules,
            on_exit: config.queue.on_exit,
            rules_lead_here: options.rules_lead_here,
            rules_state,
            connections,
        };
        Ok((daemon, previous))
    }

    /// Goes on with queues and doors of the gate before.
    ///
    /// # Errors
    /// If that is not possible. A gate that runs has heard so, and goes on.
    pub(super) fn inherit(
        &mut self,
        config: &Config,
        previous: PreviousProcess,
    ) -> Result<Inherited, DaemonError> {
        let (mut inherited, taking) = previous.hand_over()?;
        let sockets = std::mem::take(&mut inherited.sockets);
        // A process that ends in order leaves doors, and no packet unanswered.
        let unanswered = match taking.is_none() && inherited.doors.is_none() && !sockets.is_empty() {
            true => self.workers.unanswered(inherited.requeued),
            false => Unanswered::Drop,
        };
        let adopted =
            self.workers.inherit(sockets, config, taking.is_some(), unanswered, &mut self.maintenance);
        let surplus = adopted.inspect_err(|error| {
            // First it must know, so that never two receive.
            taking.iter().for_each(|taking| taking.give_back(error));
        })?;
        self.persister = self.keep_doors(config, &inherited);
        taking.map_or(Ok(()), PendingTakeover::taken)?;
        // Not before: the copies that wait would be lost to a process that has to go on with the socket.
        self.inherit_outbound(config, &mut inherited);
        if let Some(pid) = inherited.from {
            self.context
                .sink
                .send(Event::Note(format!("queues and doors are taken over from process {pid}")));
        }
        let warnings = std::mem::take(&mut inherited.warnings);
        warnings.into_iter().map(Event::Warning).for_each(|warning| self.context.sink.send(warning));
        inherited.doors = None;
        inherited.surplus = surplus;
        Ok(inherited)
    }

    /// Goes on with the socket that has the NFLOG group. Copies are read once the doors of before are open again.
    fn inherit_outbound(&self, config: &Config, inherited: &mut Inherited) {
        match (inherited.outbound.take(), outbound::options(config)) {
            (Some(socket), Some(options)) if self.outbound.group().is_none() => {
                self.outbound.attach(outbound::adopt_or_open(socket, &options));
            }
            // It was offered, and did not come along.
            (None, Some(options)) if self.outbound.is_untried() => {
                self.outbound.attach(NflogReader::open(&options));
            }
            // It is of no use any more, and what the service manager has of it neither.
            (Some(_), _) if inherited.from.is_none() => self.manager.forget(outbound::STORE_NAME),
            _ => {}
        }
    }

    /// Opens doors of before, and has all of them kept.
    fn keep_doors(&self, config: &Config, inherited: &Inherited) -> Option<DoorPersister> {
        let (context, doors) = (&self.context, inherited.doors.as_ref());
        let Context { gate, clock, sink } = context;
        match &config.state.file {
            Some(path) if inherited.from.is_none() => DoorPersister::start(path, doors, context),
            path => {
                doors.into_iter().for_each(|doors| snapshot::restore(&gate.load(), clock.now(), doors, sink));
                // The file is the other one's until that has ended.
                path.as_ref().and_then(|path| DoorPersister::follow(path, context))
            }
        }
    }

    /// Has packets decided, puts the rules in, and lets others in: in this order, so that no rule leads to a queue that
    /// nobody serves, and nobody sees a gate that is none yet.
    ///
    /// # Errors
    /// If packets can't be decided, or the rules can't be put in.
    pub(super) fn open(
        &mut self,
        config: &Config,
        options: RunOptions,
        load: LoadConfig,
        privileged: Privileged,
        inherited: Inherited,
    ) -> Result<Endpoints, DaemonError> {
        let Privileged { socket, rules: rules_keeper, unseen, protection } = privileged;
        let Inherited { from, rules: inherited_rules, listener, surplus, .. } = inherited;
        // Ours from here on: where the rest fails, it goes as well.
        let adopted = config.control.socket.as_deref().zip(listener);
        let socket = adopted.map(|(path, listener)| Socket::adopt(listener, path)).or(socket);
        if let Some(error) = unseen {
            self.context.sink.send(Event::Warning(format!(
                "the kernel's counters of its queues can't be read, so lost and stuck packets stay unnoticed: \
                 {error}; start as root, or as a member of the group root"
            )));
        }

        self.outbound_thread =
            self.outbound.start().map_err(system("start the thread that reads what the PBX sends"))?;
        if self.workers.is_stored() {
            self.outbound.store(self.manager);
        }
        // Nothing is decided yet, so what is not listed begins under this gate's eyes.
        self.connections.hold().into_iter().for_each(|warning| self.context.sink.send(warning));
        self.workers.start()?;
        self.rules = match rules_keeper {
            Some(persister) => {
                self.set_up_rules(persister, inherited_rules, options.rules, from.is_some())?
            }
            None => None,
        };
        if self.rules.as_ref().is_some_and(InstalledRules::are_ours) && from.is_none() {
            // Until the rules were in, all of it passed.
            self.connections.hold();
        }
        // No rule leads there any more.
        self.workers.retire(&surplus)?;
        let grace = self.grace.as_ref().map(Grace::length);
        let endpoints = Endpoints::open(self.parts(config)?, config, load, socket, &protection);

        self.announce(config, protection, options.warnings);
        if let Some(span) = grace {
            self.context.sink.send(Event::Grace(event::GraceEvent::Began(span)));
        }
        self.manager.ready(&self.status());
        Ok(endpoints)
    }

    /// The parts that the ways to the gate need. The grace is theirs from here on.
    fn parts(&mut self, config: &Config) -> Result<GateParts, DaemonError> {
        Ok(GateParts {
            context: self.context.clone(),
            manager: self.manager,
            workers: self.maintenance.workers(),
            health: self.workers.health(),
            outbound: Arc::clone(&self.outbound),
            trunks: self.maintenance.trunks(),
            grace: self.grace.take(),
            kept: self.persister.as_ref().map(DoorPersister::counts),
            rules_state: Arc::clone(&self.rules_state),
            rules_are_ours: self.rules.as_ref().is_some_and(InstalledRules::are_ours),
            waker: self.signals.waker()?,
            obstacle: self.obstacle(config),
        })
    }

    /// Why this gate can't be taken over.
    fn obstacle(&self, config: &Config) -> Option<&'static str> {
        if !config.queue.backend.hands_over() {
            return Some("it runs with backend nfq, whose queues can't be handed over: restart it");
        }
        self.workers.is_stored().then_some(
            "a service manager runs it, and keeps its queues: 'systemctl restart sipknock' loses no packet",
        )
    }

    /// Has the rules put in, taken over, or only watched over.
    fn set_up_rules(
        &self,
        persister: FirewallHelper,
        inherited: bool,
        wanted: bool,
        took_over: bool,
    ) -> Result<Option<InstalledRules>, DaemonError> {
        let (state, sink) = (&self.rules_state, &self.context.sink);
        Ok(match (inherited, wanted) {
            (true, update) => Some(persister.inherit(update, state, sink)?),
            (false, true) => Some(persister.put_in(took_over, state, sink)?),
            (false, false) => persister.watch(state, sink),
        })
    }

    /// A line for the service manager.
    pub(super) fn status(&self) -> String {
        let gate = self.context.gate.load();
        let mode = if gate.monitors() { "monitor: accepting everything" } else { "deciding packets" };
        let packets = self.maintenance.totals().total();
        format!("{mode}; {} doors open, {packets} packets so far", gate.doors().open_count())
    }

    /// Says in the log what has begun, and what there is to know about it.
    fn announce(&self, config: &Config, protection: Protection, warnings: Vec<String>) {
        let (sink, bindings) = (&self.context.sink, self.workers.bindings());
        let granted = bindings.iter().map(|binding| binding.receive_buffer).min().unwrap_or(0);
        sink.send(Event::Started(Box::new(Started {
            monitor: self.context.gate.load().monitors(),
            backend: config.queue.backend.name(),
            queues: queue_names(&bindings),
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
            let text = "on_overload is \"open\": packets that find a queue full pass unchecked, and no counter shows it";
            sink.send(Event::Warning(text.to_owned()));
        }
        sink.send(Event::Detail(format!("the gate {protection}")));
        let warnings = protection.warnings.into_iter().chain(warnings);
        warnings.map(Event::Warning).for_each(|warning| sink.send(warning));
    }
}

/// The numbers of queues as the log shows them.
pub(super) fn queue_names(bindings: &[QueueBinding]) -> String {
    match bindings {
        [first, .., last] => format!("{}-{}", first.queue, last.queue),
        [only] => only.queue.to_string(),
        [] => String::new(),
    }
}
