//! A daemon's parts without a kernel, for tests: a clock that stands still, queues that are fakes, and the events told.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{Clock, ClockHand};
use crate::config::{Config, ConfigError, Flags};
use crate::control::watch::{Watch, WatchedEvent};
use crate::daemon::context::Context;
use crate::daemon::event_log::{EventSender, LogThread};
use crate::daemon::signals::Waker;
use crate::daemon::workers::provider::QueueProvider;
use crate::event::Event;
use crate::inspect::{Inspector, Policy};
use crate::knock::{Knock, KnockId, KnockSet, Secret};
use crate::net::{Prefixes, Source};
use crate::outbound::{Method, OutboundDoor};
use crate::queue::fake::{FakeQueue, FakeSide};
use crate::queue::kernel::QueueRow;
use crate::queue::{Queue, QueueBinding, QueueCounters, QueueError, QueueOptions, Unanswered};
use crate::testing::{ipv4, udp};
use crate::time::Time;

/// A gate, its time and its log, in the hands of a test.
pub(super) struct Stand {
    pub(super) context: Context,
    pub(super) hand: ClockHand,
    told: Watch,
    _log: LogThread,
}

impl Stand {
    /// One with this gate. The log goes nowhere.
    pub(super) fn new(gate: Inspector) -> Self {
        let (clock, hand) = Clock::by_hand(Time::from_parts(1_800_000_000, 0));
        let (sink, log) = EventSender::start(clock).unwrap();
        let told = sink.watchers().add_ours();
        let context = Context { gate: Arc::new(ArcSwap::from_pointee(gate)), clock, sink };
        Self { context, hand, told, _log: log }
    }

    /// One with the gate of a configuration.
    pub(super) fn of(text: &str) -> Self {
        Self::new(config(text).unwrap().inspector().unwrap())
    }

    pub(super) fn gate(&self) -> Arc<Inspector> {
        self.context.gate.load_full()
    }

    pub(super) fn now(&self) -> Time {
        self.context.clock.now()
    }

    /// The id of a knock.
    pub(super) fn knock(&self, name: &str) -> KnockId {
        self.gate().knock_named(name).unwrap()
    }

    /// Events since the last call. Those that this thread has caused are all there.
    pub(super) fn events(&self) -> Vec<Event> {
        let next = || match self.told.next(Duration::ZERO) {
            WatchedEvent::Event(_, event) => Some(event.as_ref().clone()),
            WatchedEvent::Nothing | WatchedEvent::End => None,
            WatchedEvent::Lost(count) => panic!("{count} events too many"),
        };
        std::iter::from_fn(next).collect()
    }

    /// The texts of warnings and notes since the last call, which drops all other events.
    pub(super) fn texts(&self) -> Vec<String> {
        let text = |event| match event {
            Event::Warning(text) | Event::Note(text) => Some(text),
            _ => None,
        };
        self.events().into_iter().filter_map(text).collect()
    }
}

/// A gate with these knocks, by name and secret. Their doors are open for 100 s.
pub(super) fn gate(knocks: &[(&str, &str)]) -> Inspector {
    let knock = |(name, secret): &(&str, &str)| {
        Knock::new(*name, Secret::new(secret.as_bytes()).unwrap(), Duration::from_secs(100))
    };
    let policy = Policy { outbound: Some(Duration::from_secs(4 * 3600)), ..Policy::default() };
    Inspector::new(policy, KnockSet::new(knocks.iter().map(knock).collect()).unwrap(), 10)
}

/// A configuration.
pub(super) fn config(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "/etc/sipknock/sipknock.toml".as_ref(), &Flags::default())
}

/// An outbound door that an INVITE of the PBX has opened now, for an hour.
pub(super) fn outbound_door(now: Time) -> OutboundDoor {
    OutboundDoor {
        opened: now,
        method: Method::Invite,
        requested: now,
        held_until: now.after(Duration::from_secs(3600)),
        bindings: Vec::new(),
        packets: 0,
        bytes: 0,
    }
}

/// The source 192.0.2.`n`.
pub(super) fn source(n: u8) -> Source {
    Source::new([192, 0, 2, n].into(), Prefixes::default())
}

/// A datagram from 192.0.2.`n`.
pub(super) fn datagram(n: u8, payload: &str) -> Vec<u8> {
    ipv4(&format!("192.0.2.{n}"), &udp(payload.as_bytes()))
}

/// A waker, and the socket that it writes to.
pub(super) fn waker() -> (Waker, UnixStream) {
    let (incoming, outgoing) = UnixStream::pair().unwrap();
    incoming.set_read_timeout(Some(DEADLINE)).unwrap();
    (Waker(outgoing), incoming)
}

/// Waits until a condition holds, which another thread brings about.
pub(super) fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..DEADLINE.as_millis() {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("it does not come to that");
}

/// The kernel's queues, without a kernel. Copies share them.
#[derive(Clone, Default)]
pub(super) struct FakeKernel(Arc<Mutex<FakeKernelState>>);

#[derive(Default)]
struct FakeKernelState {
    /// The queues that are bound, by number.
    bound: BTreeMap<u16, (QueueRow, Arc<FakeSide>)>,
    /// How many were ever bound.
    ever: u32,
    refuses: bool,
    hidden: bool,
}

impl FakeKernel {
    /// Binds a queue, as [`QueueProvider::open`] does.
    pub(super) fn bind(&self, number: u16) -> Box<dyn Queue> {
        self.open(&options(number)).unwrap()
    }

    /// The test's side of the queue that was bound last under this number.
    pub(super) fn side(&self, number: u16) -> Arc<FakeSide> {
        Arc::clone(&self.state().bound.get(&number).unwrap().1)
    }

    /// How many queues were ever bound.
    pub(super) fn ever(&self) -> u32 {
        self.state().ever
    }

    /// Somebody else has the queue now.
    pub(super) fn steal(&self, number: u16) {
        self.state().bound.get_mut(&number).unwrap().0.port_id = u32::MAX;
    }

    /// Whether queues can't be bound.
    pub(super) fn refuse(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// Whether the table of queues can't be read.
    pub(super) fn hide(&self, hidden: bool) {
        self.state().hidden = hidden;
    }

    /// Drops packets that find no room in the queue, and in the socket.
    pub(super) fn lose(&self, number: u16, in_queue: u64, in_socket: u64) {
        let mut state = self.state();
        let (row, _) = state.bound.get_mut(&number).unwrap();
        row.queue_dropped += in_queue;
        row.user_dropped += in_socket;
    }

    fn state(&self) -> MutexGuard<'_, FakeKernelState> {
        self.0.lock().unwrap()
    }
}

impl QueueProvider for FakeKernel {
    fn open(&self, options: &QueueOptions) -> Result<Box<dyn Queue>, QueueError> {
        let (mut state, number) = (self.state(), options.queue);
        if state.refuses {
            let owner = "process 9, thief".to_owned();
            return Err(QueueError::Taken { queue: number, port_id: u32::MAX, owner });
        }
        state.ever += 1;
        let port_id = state.ever;
        let (queue, side) =
            FakeQueue::new(QueueBinding { queue: number, port_id, receive_buffer: options.receive_buffer });
        let row = QueueRow { queue: number, port_id, ..QueueRow::default() };
        state.bound.insert(number, (row, side));
        Ok(Box::new(queue))
    }

    /// Any socket does, if queues can be bound at all.
    fn adopt(
        &self,
        socket: OwnedFd,
        options: &QueueOptions,
        _: Unanswered,
    ) -> Result<Box<dyn Queue>, QueueError> {
        drop(socket);
        match self.state().refuses {
            true => Err(QueueError::NotHeld { queue: options.queue, why: "as the test wants it" }),
            false => Ok(()),
        }?;
        self.open(options)
    }

    fn hands_over(&self) -> bool {
        true
    }

    fn rows(&self) -> io::Result<Vec<QueueRow>> {
        let state = self.state();
        if state.hidden {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let row = |(row, side): &(QueueRow, Arc<FakeSide>)| QueueRow { waiting: side.waiting(), ..*row };
        Ok(state.bound.values().map(row).collect())
    }
}

/// The settings of a queue.
pub(super) fn options(number: u16) -> QueueOptions {
    QueueOptions {
        queue: number,
        max_len: 1024,
        receive_buffer: 4096,
        overload_open: false,
        exit_open: false,
        busy_poll: Duration::ZERO,
    }
}

/// Counts of messages beside packets.
pub(super) fn counters(stale: u64, unreadable: u64) -> QueueCounters {
    QueueCounters { stale, unreadable }
}

const DEADLINE: Duration = Duration::from_secs(20);
