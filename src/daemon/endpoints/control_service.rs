//! Answers to requests that come through the control socket.

pub(super) mod lines;
pub(super) mod outbound;
mod selection;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLockReadGuard, Weak};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, DEFAULT_DOOR};
use crate::control::protocol::{
    BusiestStats, ControlRequest, Done, DoorLine, ProtectionStats, QueueStats, Refusal, RefusalKind, Reply,
    StateStats, Stats, reasons,
};
use crate::control::server::{RequestHandler, Say};
use crate::control::watch::{Watch, Watchers};
use crate::daemon::busiest::Vote;
use crate::daemon::context::{Context, Live};
use crate::daemon::endpoints::control_service::lines::{door_stats, line};
use crate::daemon::endpoints::control_service::selection::{DoorSelection, knock_named, source};
use crate::daemon::event_log::{ClosedDoors, EventSender};
use crate::daemon::firewall_helper::RulesState;
use crate::daemon::maintenance::WatchedQueue;
use crate::daemon::observers::grace::Grace;
use crate::daemon::outbound::{OutboundReader, tell_closed};
use crate::daemon::persistence::WriteCounts;
use crate::daemon::reload::{LoadConfig, ReloadOutcome, Reloader};
use crate::daemon::systemd::Systemd;
use crate::daemon::takeover::outgoing::TakeoverListener;
use crate::daemon::trunks::RefusedTrunks;
use crate::daemon::workers::watchdog::{QueueHealth, QueueStatus};
use crate::daemon::workers::worker::WorkerCounters;
use crate::door::{Door, DoorChange, Grant, Limit, Listed};
use crate::event::{EXPIRED, Event, FLUSHED, REVOKED};
use crate::harden::Protection;
use crate::inspect::Inspector;
use crate::knock::{KnockId, Life};
use crate::queue::kernel::{self, QueueRow};
use crate::time::Time;
use crate::verdict::ReasonCounts;

/// Answers requests about a running gate.
pub(in crate::daemon) struct ControlService {
    gate: Live,
    reloader: Reloader,
    clock: Clock,
    watchers: Watchers,
    /// Gone once the gate ends, so that the log can end.
    sink: Mutex<Option<EventSender>>,
    workers: Vec<WatchedQueue>,
    trunks: Arc<RefusedTrunks>,
    outbound: Weak<OutboundReader>,
    health: QueueHealth,
    backend: &'static str,
    started: Time,
    /// Reloads that took effect, and that did not.
    reloads: [AtomicU64; 2],
    /// The file of doors, and what became of it.
    kept: Option<(PathBuf, Arc<WriteCounts>)>,
    protection: Option<ProtectionStats>,
    exit: Arc<TakeoverListener>,
    manager: Systemd,
    rules: Arc<RulesState>,
}

impl ControlService {
    pub(in crate::daemon) fn new(
        context: Context,
        workers: Vec<WatchedQueue>,
        health: QueueHealth,
        exit: Arc<TakeoverListener>,
        manager: Systemd,
        config: &Config,
        load: LoadConfig,
    ) -> Self {
        let Context { gate, clock, sink } = context;
        Self {
            rules: Arc::new(RulesState::new(clock, sink.clone())),
            reloader: Reloader::new(Arc::clone(&gate), clock, load, config.clone()),
            gate,
            clock,
            watchers: sink.watchers(),
            sink: Mutex::new(Some(sink)),
            workers,
            trunks: Arc::default(),
            health,
            backend: config.queue.backend.name(),
            started: clock.now(),
            reloads: Default::default(),
            kept: None,
            protection: None,
            outbound: Weak::new(),
            exit,
            manager,
        }
    }

    /// The same with a safe start.
    pub(in crate::daemon) fn beginning_with(self, grace: Option<Grace>) -> Self {
        Self { reloader: self.reloader.beginning_with(grace), ..self }
    }

    /// The same with the calls that queue threads drop and that may be a provider's.
    pub(in crate::daemon) fn seeing(self, trunks: Arc<RefusedTrunks>) -> Self {
        Self { trunks, ..self }
    }

    /// The same with a memory.
    pub(in crate::daemon) fn keeping(self, file: Option<PathBuf>, counts: Option<Arc<WriteCounts>>) -> Self {
        Self { kept: file.zip(counts), ..self }
    }

    /// The same with this knowledge of the firewall's rules.
    pub(in crate::daemon) fn knowing_of(self, rules: Arc<RulesState>) -> Self {
        Self { rules, ..self }
    }

    /// How the firewall's rules are.
    pub(in crate::daemon) fn rules(&self) -> &RulesState {
        &self.rules
    }

    /// The same in a process that is held so.
    pub(in crate::daemon) fn held_by(self, protection: &Protection) -> Self {
        let Protection { user, capabilities, seccomp, landlock, warnings: _ } = protection.clone();
        Self { protection: Some(ProtectionStats { user, capabilities, seccomp, landlock }), ..self }
    }

    /// Lets go of the log, and tells those who watch that there is no more to see.
    pub(in crate::daemon) fn close(&self) {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.rules.close();
        self.watchers.end();
    }

    /// Puts what the configuration says now in force, and tells how it went.
    pub(in crate::daemon) fn reload(&self) -> Result<Done, Refusal> {
        let _changing = self.changing()?;
        self.manager.reloading();
        let outcome = self.reloader.reload(&|event| self.send(event));
        self.manager.ready(if outcome.is_ok() { "reloaded" } else { "not reloaded, all is as it was" });
        self.reloads[usize::from(outcome.is_err())].fetch_add(1, Ordering::Relaxed);
        match outcome {
            Ok(ReloadOutcome { closed, notes }) => {
                if let Some(outbound) = self.outbound.upgrade() {
                    outbound.behind(self.reloader.pbx());
                }
                let file = self.reloader.told().file.clone();
                Ok(Done { doors: Some(closed), file, notes, ..Done::default() })
            }
            Err(error) => Err(Refusal::failed(format!("not reloaded, all is as it was: {error}"))),
        }
    }

    /// Reloads that took effect, and that did not.
    pub(in crate::daemon) fn reloads(&self) -> (u64, u64) {
        let [done, failed] = self.reloads.each_ref().map(|count| count.load(Ordering::Relaxed));
        (done, failed)
    }

    /// The gate as it is now.
    pub(in crate::daemon) fn gate(&self) -> Arc<Inspector> {
        self.gate.load_full()
    }

    pub(in crate::daemon) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(in crate::daemon) fn started(&self) -> Time {
        self.started
    }

    /// The counters of the queue threads.
    pub(in crate::daemon) fn workers(&self) -> impl Iterator<Item = &WorkerCounters> {
        self.workers.iter().map(|(_, shared)| shared.as_ref())
    }

    /// How the queues are, in the order of their numbers.
    pub(in crate::daemon) fn health(&self) -> Vec<QueueStatus> {
        self.health.queues()
    }

    /// The queues as the kernel counts them, those of them that are ours.
    pub(in crate::daemon) fn queues(&self) -> Vec<QueueStats> {
        let (rows, now) = (kernel::queues(), self.now());
        let stats = self.health().into_iter().map(|QueueStatus { binding, fault, faults }| {
            let ours = |row: &&QueueRow| (row.queue, row.port_id) == (binding.queue, binding.port_id);
            let row = rows.iter().find(ours).copied().unwrap_or_default();
            let last = self.last_verdict(binding.queue);
            QueueStats {
                queue: binding.queue,
                waiting: row.waiting,
                kernel_dropped: row.queue_dropped,
                socket_dropped: row.user_dropped,
                stale: self.stale(binding.queue),
                fault: fault.map(|(fault, _)| fault.to_string()),
                faults,
                last_verdict: last.map(|time| time.to_string()),
                since_verdict_s: Some(now.since(last.unwrap_or(self.started)).as_secs()),
            }
        });
        stats.collect()
    }

    /// When packets of a queue last had their verdicts.
    pub(in crate::daemon) fn last_verdict(&self, queue: u16) -> Option<Time> {
        let threads = self.workers.iter().filter(|(number, _)| *number == queue);
        threads.filter_map(|(_, shared)| shared.last_verdict()).max()
    }

    /// Packets of a queue whose verdicts came too late.
    fn stale(&self, queue: u16) -> u64 {
        let threads = self.workers.iter().filter(|(number, _)| *number == queue);
        threads.map(|(_, shared)| shared.stale()).sum()
    }

    /// Those who get to see each event.
    pub(in crate::daemon) fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// Has the gate drop strangers although its grace lasts.
    fn enforce(&self) -> Result<Done, Refusal> {
        let _changing = self.changing()?;
        let notes = self.reloader.enforce(&|event| self.send(event));
        notes
            .map(|notes| Done { notes, ..Done::default() })
            .map_err(|error| Refusal::failed(error.to_string()))
    }

    /// Ends the grace where its time is up and all phones have knocked.
    pub(in crate::daemon) fn look_at_grace(&self) {
        if let Some(grace) = self.reloader.grace() {
            grace.look(|| _ = self.enforce(), &|event| self.send(event));
        }
    }

    /// Held while doors or knocks are changed, which is not done while they go to another process.
    fn changing(&self) -> Result<RwLockReadGuard<'_, bool>, Refusal> {
        let text = "another process is taking over: try again in a moment";
        self.exit.changing().ok_or_else(|| Refusal::failed(text))
    }

    pub(in crate::daemon) fn send(&self, event: Event) {
        if let Some(sink) = &*self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            sink.send(event);
        }
    }

    /// The fault of the reader of the PBX's packets.
    pub(in crate::daemon) fn outbound_fault(&self) -> Option<String> {
        self.outbound.upgrade()?.fault()
    }

    /// The same with the reader of what the PBX sends. It has to be gone when the gate is.
    pub(in crate::daemon) fn counting(self, outbound: &Arc<OutboundReader>) -> Self {
        Self { outbound: Arc::downgrade(outbound), ..self }
    }

    fn list(&self, wanted: &DoorSelection, say: Say<'_>) -> io::Result<Done> {
        let (parts, mut count) = (self.gate.load().doors().parts(PART), 0);
        for part in 0..parts {
            for door in self.lines(wanted, part, parts) {
                count += 1;
                say(Reply::Door(door))?;
            }
        }
        let outbound = outbound::lines(&self.gate.load(), wanted, self.clock.now());
        for door in outbound {
            count += 1;
            say(Reply::Door(door))?;
        }
        Ok(Done { doors: Some(count), ..Done::default() })
    }

    /// A part of the list. The gate is let go of before anything is said, so that a reload does not wait for a listener.
    fn lines(&self, wanted: &DoorSelection, part: u64, parts: u64) -> Vec<DoorLine> {
        let (gate, now) = (self.gate.load(), self.clock.now());
        let listed = gate.doors().listed(part, parts, now);
        listed
            .iter()
            .filter(|listed| wanted.includes(&gate, listed, now))
            .map(|door| line(&gate, door, now))
            .collect()
    }

    fn open(
        &self,
        address: &str,
        for_s: Option<u64>,
        knock: Option<&str>,
    ) -> Result<(DoorLine, Done), Refusal> {
        let _changing = self.changing()?;
        let gate = self.gate.load();
        let source = source(&gate, address)?;
        let knock = knock.map_or(Ok(Door::by_hand()), |name| knock_named(&gate, name))?;
        let life = match for_s {
            Some(0) => return Err(Refusal::bad("a door of no time would never be open")),
            Some(seconds) => Duration::from_secs(seconds),
            None => self.usual_life(&gate, knock),
        };
        let now = self.clock.now();
        let (door, event) =
            match gate.doors().knock(source, now, &[Grant { knock, life, registration: None }]) {
                DoorChange::Opened { door, ran_out } => {
                    if let Some(earlier) = ran_out {
                        self.send(Event::closed(&gate, source, earlier, EXPIRED));
                    }
                    (door, "opened")
                }
                DoorChange::Renewed(door) => (door, "renewed"),
                DoorChange::Refused(limit) => {
                    let what = match limit {
                        Limit::Table => "inspect.max_doors doors are open: close one, or raise it",
                        Limit::Knock(_) => "the knock's max_doors are open: close one, or raise it",
                        Limit::Claims => "256 knocks and registrations hold this door already",
                    };
                    return Err(Refusal { kind: RefusalKind::Full, text: format!("no room: {what}") });
                }
            };
        self.send(Event::by_hand(&gate, source, knock, door, event));
        let mut notes = Vec::new();
        if gate.outbound().unmark(source, now) {
            notes.push(
                "its mark is taken away: a request of the PBX may open an outbound door again".to_owned(),
            );
        }
        if door.expires > now.after(life) {
            notes.push("it was open for longer already, and stays so".to_owned());
        }
        // It may be closed again by now.
        let fresh = || Listed { source, door, claims: Box::default(), last_knock: now, packets: 0, bytes: 0 };
        let listed = gate.doors().look(source, now).unwrap_or_else(fresh);
        Ok((
            line(&gate, &listed, now),
            Done { doors: Some(1), event: Some(event.to_owned()), notes, ..Done::default() },
        ))
    }

    fn close_door(&self, address: &str, mark: bool) -> Result<Done, Refusal> {
        let _changing = self.changing()?;
        let gate = self.gate.load();
        let source = source(&gate, address)?;
        let now = self.clock.now();
        let revoked = gate.doors().revoke(source, now);
        let door = revoked.and_then(|revoked| revoked.door);
        let by_knock = revoked.and_then(|revoked| revoked.by_knock);
        let outbound = match mark || by_knock.is_some() {
            true => gate.outbound().mark(source, now, gate.mark_life(by_knock.unwrap_or_default())),
            false => gate.outbound().close(source, now),
        };
        if door.is_none() && outbound.is_none() && by_knock.is_none() && !mark {
            let shown = source.display(gate.cut());
            return Err(Refusal::not_found(format!(
                "no door is open for {shown}: 'sipknock doors' lists those that are"
            )));
        }
        let doors = u64::from(door.is_some()) + u64::from(outbound.is_some());
        if let Some(door) = door {
            self.send(Event::closed(&gate, source, door, REVOKED));
        }
        tell_closed(&gate, outbound.map(|outbound| (source, outbound)), REVOKED, &|event| self.send(event));
        let mut notes = Vec::new();
        if door.is_none() && by_knock.is_some() {
            notes.push("a door of before had run out, and is forgotten".to_owned());
        }
        if gate.outbound_life().is_some() {
            notes.push(match gate.outbound().is_marked(source, now) {
                true => "it is marked: a request of the PBX opens no outbound door for it, until 'sipknock doors open'",
                false => "a request of the PBX opens an outbound door for it again: 'sipknock doors close --mark' prevents that",
            }.to_owned());
        }
        Ok(Done { doors: Some(doors), notes, ..Done::default() })
    }

    fn flush(&self) -> Result<Done, Refusal> {
        let _changing = self.changing()?;
        let gate = self.gate.load();
        let mut shut = ClosedDoors::default();
        let doors = gate.doors().flush(|source, door| shut.add(source, door));
        shut.tell(&gate, FLUSHED, &|event| self.send(event));
        let outbound = gate.outbound().flush(self.clock.now());
        let outbound = tell_closed(&gate, outbound, FLUSHED, &|event| self.send(event));
        Ok(Done { doors: Some(doors + outbound), ..Done::default() })
    }

    /// All that there is to say, for those who may ask at the control socket.
    fn all_stats(&self) -> Stats {
        let busiest = Vote::winner(self.workers().map(WorkerCounters::vote)).map(|winner| BusiestStats {
            address: winner.address.to_canonical().to_string(),
            percent: winner.percent,
            of: winner.packets,
        });
        Stats { config: Some(Box::new(self.reloader.told().as_ref().clone())), busiest, ..self.stats() }
    }

    /// The part for the pages, which have no login.
    pub(in crate::daemon) fn stats(&self) -> Stats {
        let mut totals = ReasonCounts::default();
        self.workers().for_each(|worker| totals.merge(&worker.reasons()));
        let gate = self.gate.load();
        let sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mode: if gate.monitors() { "monitor" } else { "enforce" }.to_owned(),
            backend: self.backend.to_owned(),
            started: self.started.to_string(),
            uptime_s: self.clock.now().since(self.started).as_secs(),
            packets: totals.total(),
            reasons: reasons(&totals),
            doors: door_stats(&gate, self.clock.now()),
            queues: self.queues(),
            state: self.kept.as_ref().map(|(file, counts)| StateStats {
                file: file.display().to_string(),
                writes: counts.writes.load(Ordering::Relaxed),
                failures: counts.failures.load(Ordering::Relaxed),
            }),
            protection: self.protection.clone(),
            grace: self.reloader.grace().and_then(Grace::stats),
            config: None,
            busiest: None,
            rules: self.rules.stats(),
            events_lost: sink.as_ref().map_or(0, EventSender::lost),
            refused_trunks: self.trunks.list(),
            outbound: self.outbound.upgrade().map(|outbound| outbound.stats(&gate)),
        }
    }

    fn usual_life(&self, gate: &Inspector, knock: KnockId) -> Duration {
        match gate.knock_of(knock).map_or_else(|| self.reloader.usual_door(), |knock| knock.door) {
            Life::Span(life) => life,
            Life::Registration => DEFAULT_DOOR,
        }
    }
}

impl RequestHandler for ControlService {
    fn carry_out(&self, request: ControlRequest, say: Say<'_>) -> io::Result<Result<Done, Refusal>> {
        Ok(match request {
            ControlRequest::Doors { knock, source } => {
                let wanted = DoorSelection::new(&self.gate.load(), knock.as_deref(), source.as_deref());
                match wanted {
                    Ok(wanted) => Ok(self.list(&wanted, say)?),
                    Err(refusal) => Err(refusal),
                }
            }
            ControlRequest::Open { address, for_s, knock } => {
                match self.open(&address, for_s, knock.as_deref()) {
                    Ok((door, done)) => {
                        say(Reply::Door(door))?;
                        Ok(done)
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            ControlRequest::Close { address, mark } => self.close_door(&address, mark),
            ControlRequest::Flush {} => self.flush(),
            ControlRequest::Stats {} => {
                say(Reply::Stats(Box::new(self.all_stats())))?;
                Ok(Done::default())
            }
            ControlRequest::Reload {} => self.reload(),
            ControlRequest::Enforce {} => self.enforce(),
            ControlRequest::Rules { report } => {
                self.rules.take(*report);
                Ok(Done::default())
            }
            // The server's own.
            ControlRequest::Watch {} | ControlRequest::Takeover { .. } => Ok(Done::default()),
        })
    }

    fn hand_over(&self, stream: &UnixStream, format: u64) -> io::Result<Refusal> {
        let queues = self.health.bindings().iter().map(|binding| binding.queue).collect();
        let prefixes = self.gate.load().cut().prefixes();
        let grace = self.reloader.grace().is_some_and(Grace::lasts);
        let group = self.outbound.upgrade().and_then(|outbound| outbound.group());
        self.exit.receive(stream, format, prefixes, queues, grace, group)
    }

    fn watch(&self) -> Option<Watch> {
        self.watchers.add()
    }
}

/// Doors that are made lines of at once: a few megabytes for each client.
const PART: usize = 16_384;

#[cfg(test)]
mod tests;
