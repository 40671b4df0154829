//! The copies of what the PBX sends, and the doors that they open.
//!
//! One socket has the copies, and two kinds of threads read it: a thread of its own, so that doors open soon, and a queue
//! thread before it drops a packet that may answer a request of the PBX. A copy lies in the socket before its packet
//! leaves, so that the request is always seen before the answer is decided.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ipnet::IpNet;

use crate::clock::Clock;
use crate::config::Config;
use crate::control::protocol::OutboundStats;
use crate::daemon::context::{Context, Live};
use crate::daemon::event_log::{EventSender, RateLimit};
use crate::daemon::systemd::Systemd;
use crate::event::{Event, OutboundEvent, REVOKED};
use crate::firewall::outbound_group;
use crate::inspect::Inspector;
use crate::nflog::{CopyCounters, NflogError, NflogOptions, NflogReader, Waiter};
use crate::outbound::Effect;
use crate::own_addresses;

/// The reader of what the PBX sends, for all threads.
pub(super) struct OutboundReader {
    gate: Live,
    clock: Clock,
    sink: EventSender,
    /// Networks of a PBX behind this machine: a request to it is none of its own.
    pbx: Mutex<Vec<IpNet>>,
    state: Mutex<ReaderState>,
    /// The thread is to end.
    ended: AtomicBool,
}

#[derive(Default)]
struct ReaderState {
    reader: Option<NflogReader>,
    /// The reader is left as it is: another process is about to read its socket.
    paused: bool,
    /// The cause, if there is no reader.
    off: Option<String>,
    /// There was one, and it has failed.
    failed: bool,
    budget: RateLimit,
    /// Counts of readers that have failed.
    before: CopyCounters,
    /// Losses that the log has.
    told: u64,
}

/// The thread that reads while no queue thread does.
pub(super) struct OutboundThread {
    shared: Arc<OutboundReader>,
    thread: JoinHandle<()>,
}

impl OutboundReader {
    /// One that has nothing to read yet.
    pub(super) fn new(context: Context, pbx: Vec<IpNet>) -> Self {
        let Context { gate, clock, sink } = context;
        Self {
            gate,
            clock,
            sink,
            pbx: Mutex::new(pbx),
            state: Mutex::default(),
            ended: AtomicBool::new(false),
        }
    }

    /// Reads from here on. An error is said in the log: the gate does without.
    pub(super) fn attach(&self, reader: Result<NflogReader, NflogError>) {
        self.exclude_own_addresses();
        let mut state = self.lock();
        match reader {
            Ok(reader) => (state.reader, state.off) = (Some(reader), None),
            Err(error) => {
                let text = format!(
                    "outbound is off, so a source that the PBX calls gets no door by that and needs a knock or \
                     `trusted`: {error}"
                );
                state.off = Some(error.to_string());
                drop(state);
                self.sink.send(Event::Warning(text));
            }
        }
    }

    /// Starts the thread, if there is something to read.
    ///
    /// # Errors
    /// If the process has no room for a thread or a descriptor.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<Option<OutboundThread>> {
        let state = self.lock();
        let Some(reader) = &state.reader else { return Ok(None) };
        let waiter = reader.waiter().map_err(io::Error::other)?;
        drop(state);
        let shared = Arc::clone(self);
        let run = move || shared.run(&waiter);
        let thread = thread::Builder::new().name("outbound".to_owned()).spawn(run)?;
        Ok(Some(OutboundThread { shared: Arc::clone(self), thread }))
    }

    /// Reads all copies that there are. Returns when the socket is empty, whoever has read it.
    pub(super) fn catch_up(&self) {
        self.drain(&mut self.lock());
    }

    /// Stops reading, so that another process can. All copies so far have been read.
    pub(super) fn pause(&self) {
        let mut state = self.lock();
        self.drain(&mut state);
        state.paused = true;
    }

    /// After a [`OutboundReader::pause`]: reads again.
    pub(super) fn resume(&self) {
        self.lock().paused = false;
    }

    /// The group, and a second descriptor of the socket that holds it; `None` if there is none.
    pub(super) fn socket(&self) -> Option<(u16, OwnedFd)> {
        let state = self.lock();
        let reader = state.reader.as_ref()?;
        Some((reader.group(), reader.socket().try_clone_to_owned().ok()?))
    }

    /// The group that is read.
    pub(super) fn group(&self) -> Option<u16> {
        self.lock().reader.as_ref().map(NflogReader::group)
    }

    /// Whether nobody has tried to read yet.
    pub(super) fn is_untried(&self) -> bool {
        let state = self.lock();
        state.reader.is_none() && state.off.is_none()
    }

    /// Has the service manager keep the socket, and let go of one of before: two of a name would go to the next process
    /// in no certain order, and the kept copy of either holds its group.
    pub(super) fn store(&self, manager: Systemd) {
        if let Some((_, socket)) = self.socket() {
            manager.forget(STORE_NAME);
            manager.keep(STORE_NAME, socket.as_fd());
        }
    }

    /// The fault of a reader that worked and does no more: calls of trunks are dropped by and by. One that never was is for
    /// doctor.
    pub(super) fn fault(&self) -> Option<String> {
        let state = self.lock();
        let error = state.off.as_ref().filter(|_| state.failed)?;
        Some(format!("outbound: the PBX's packets are not read until the gate is restarted: {error}"))
    }

    /// Doors, marks and the counts of the reader.
    pub(super) fn stats(&self, gate: &Inspector) -> OutboundStats {
        let now = self.clock.now();
        let table = gate.outbound();
        let state = self.lock();
        let counters = state.counters();
        OutboundStats {
            open: table.open_count(now) as u64,
            max: table.max() as u64,
            evicted: table.evicted(),
            wanted: gate.outbound_life().is_some(),
            marks: table.mark_count() as u64,
            copies: counters.packets,
            lost: counters.lost,
            group: state.reader.as_ref().map(NflogReader::group),
            off: state.off.clone().or_else(|| match gate.outbound_life() {
                None => Some(OFF.to_owned()),
                Some(_) => state.reader.is_none().then(|| UNREAD.to_owned()),
            }),
        }
    }

    fn run(&self, waiter: &Waiter) {
        let mut refresh = self.clock.now().after(REFRESH);
        while !self.ended.load(Ordering::SeqCst) {
            match waiter.wait(LOOK_UP) {
                Ok(true) => {
                    let mut state = self.lock();
                    if state.reader.is_none() {
                        return;
                    }
                    if state.paused {
                        drop(state);
                        thread::sleep(LOOK_UP);
                    } else {
                        self.drain(&mut state);
                    }
                }
                Ok(false) => {}
                // Reading says what is wrong with the socket.
                Err(_) => {
                    self.catch_up();
                    thread::sleep(LOOK_UP);
                }
            }
            if self.clock.now() >= refresh {
                self.exclude_own_addresses();
                refresh = self.clock.now().after(REFRESH);
            }
        }
    }

    fn drain(&self, state: &mut ReaderState) {
        let ReaderState { reader: Some(reader), paused: false, budget, .. } = state else { return };
        let gate = self.gate.load();
        let outcome = reader.drain(|packet| {
            let now = self.clock.now();
            if let Some(outgoing) = gate.outgoing(now, packet)
                && let Effect::Opened { expires } = outgoing.effect
            {
                match budget.take(now, 1) {
                    true => self.sink.send(Event::Outbound(Box::new(OutboundEvent::opened(
                        &gate, &outgoing, now, expires,
                    )))),
                    false => self.sink.skip(1),
                }
            }
        });
        let limit = reader.receive_buffer() as u64;
        if let Err(error) = outcome {
            state.before = state.counters();
            state.reader = None;
            (state.off, state.failed) = (Some(error.to_string()), true);
            let text = format!("outbound is off until the gate is restarted: {error}");
            self.sink.send(Event::Warning(text));
        }
        let lost = state.counters().lost;
        let count = lost.saturating_sub(state.told);
        if count > 0 {
            state.told = lost;
            self.sink.send(Event::OutboundLost { count, limit });
        }
    }

    /// Goes by another `[firewall] pbx` from here on.
    pub(super) fn behind(&self, pbx: Vec<IpNet>) {
        *self.pbx.lock().unwrap_or_else(PoisonError::into_inner) = pbx;
        self.exclude_own_addresses();
    }

    fn exclude_own_addresses(&self) {
        // Held until they are in force, so that they are the last ones set.
        let pbx = self.pbx.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses = match own_addresses::read(&pbx) {
            Ok(addresses) => addresses,
            Err(error) => {
                return self.sink.send(Event::Warning(format!(
                    "the machine's own addresses can't be read from /proc, so that a request of the PBX to one of them opens \
                     a door: {error}"
                )));
            }
        };
        let gate = self.gate.load();
        let closed = gate.outbound().exclude(addresses, self.clock.now());
        drop(pbx);
        tell_closed(&gate, closed, REVOKED, &|event| self.sink.send(event));
    }

    fn lock(&self) -> MutexGuard<'_, ReaderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReaderState {
    fn counters(&self) -> CopyCounters {
        let now = self.reader.as_ref().map(NflogReader::counters).unwrap_or_default();
        CopyCounters {
            packets: self.before.packets + now.packets,
            lost: self.before.lost + now.lost,
            unreadable: self.before.unreadable + now.unreadable,
        }
    }
}

impl OutboundThread {
    /// Ends the thread, and waits for that.
    pub(super) fn finish(self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // It has nothing to return, and a panic ends the process.
        let _ = self.thread.join();
    }
}

/// The group that the firewall copies to, and how to bind it; `None` if the configuration wants no outbound doors.
pub(super) fn options(config: &Config) -> Option<NflogOptions> {
    config.firewall.outbound.map(|_| NflogOptions::of(outbound_group(*config.queue.numbers.start())))
}

/// Adopts a socket of another process, or binds the group again if it is of no use.
pub(super) fn adopt_or_open(socket: OwnedFd, options: &NflogOptions) -> Result<NflogReader, NflogError> {
    NflogReader::adopt(socket, options).or_else(|_| NflogReader::open(options))
}

/// Tells of outbound doors that are shut. How many they are.
pub(super) fn tell_closed(
    gate: &Inspector,
    doors: impl IntoIterator<Item = (crate::net::Source, crate::outbound::OutboundDoor)>,
    why: &'static str,
    tell: &dyn Fn(Event),
) -> u64 {
    let mut count = 0;
    for (source, door) in doors {
        count += 1;
        tell(Event::Outbound(Box::new(OutboundEvent::closed(gate, source, &door, why))));
    }
    count
}

/// The name of the socket in the service manager's store.
pub(super) const STORE_NAME: &str = "outbound";

/// The reason of a gate that is configured so.
const OFF: &str = "the configuration says so";

/// The reason of a gate that was started so, and reloaded since.
const UNREAD: &str = "the configuration said so when the gate was started";

/// How often addresses of the machine are read again.
const REFRESH: Duration = Duration::from_secs(60);

/// How long the end waits for the thread.
const LOOK_UP: Duration = Duration::from_millis(100);
