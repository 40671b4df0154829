//! Handing queues and doors over to a process that takes over.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{RwLock, RwLockReadGuard};
use std::time::Duration;

use crate::clock::Clock;
use crate::control::protocol::{Refusal, RefusalKind};
use crate::control::server::ControlServer;
use crate::control::takeover::{self, FORMAT, Offer, TakeoverConnection, TakeoverMessage};
use crate::daemon::error::DaemonError;
use crate::daemon::event_log::EventSender;
use crate::daemon::outbound::OutboundReader;
use crate::daemon::signals::Waker;
use crate::daemon::takeover::doors::{PATIENCE, doors};
use crate::daemon::workers::WorkerPool;
use crate::event::Event;
use crate::inspect::Inspector;
use crate::net::Prefixes;

/// Hears processes that want to take over, on behalf of the main thread.
pub(in crate::daemon) struct TakeoverListener {
    requests: SyncSender<TakeoverRequest>,
    waker: Waker,
    /// Why this gate can't hand over at all.
    obstacle: Option<&'static str>,
    rules: bool,
    /// Doors are on their way to another process: whatever was changed here would be lost.
    closed: RwLock<bool>,
}

/// A process that wants to take over, and waits for the main thread to hand over.
pub(in crate::daemon) struct TakeoverRequest {
    line: TakeoverConnection,
    pub(in crate::daemon) pid: u32,
    /// Dropped when it is over.
    _over: SyncSender<()>,
}

impl TakeoverListener {
    /// A listener, and the channel of [`TakeoverRequest`]s for the main thread.
    pub(in crate::daemon) fn new(
        waker: Waker,
        obstacle: Option<&'static str>,
        rules: bool,
    ) -> (Self, mpsc::Receiver<TakeoverRequest>) {
        let (requests, receiver) = mpsc::sync_channel(1);
        (Self { requests, waker, obstacle, rules, closed: RwLock::new(false) }, receiver)
    }

    /// Held while something is changed that goes along; `None` where it is too late for that.
    pub(in crate::daemon) fn changing(&self) -> Option<RwLockReadGuard<'_, bool>> {
        let guard = self.closed.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        (!*guard).then_some(guard)
    }

    /// Refuses changes from here on, or allows them again.
    pub(in crate::daemon) fn close(&self, closed: bool) {
        *self.closed.write().unwrap_or_else(std::sync::PoisonError::into_inner) = closed;
    }

    /// Talks to a process that wants to take over until it says `go`, and then leaves it to the main thread.
    pub(in crate::daemon) fn receive(
        &self,
        stream: &UnixStream,
        format: u64,
        prefixes: Prefixes,
        queues: Vec<u16>,
        grace: bool,
        outbound: Option<u16>,
    ) -> io::Result<Refusal> {
        let pid = match takeover::entitled(stream) {
            Ok(pid) => pid,
            Err(refusal) => return Ok(refusal),
        };
        if format != FORMAT {
            let text = format!(
                "sipknock {} hands over in another form, {FORMAT}, than is asked for, {format}: restart it",
                env!("CARGO_PKG_VERSION")
            );
            return Ok(Refusal { kind: RefusalKind::Version, text });
        }
        if let Some(obstacle) = self.obstacle {
            return Ok(Refusal::failed(obstacle));
        }
        let mut line = TakeoverConnection::new(stream.try_clone()?);
        line.say(&TakeoverMessage::Offer(Offer {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            queues,
            ipv4_prefix: prefixes.v4,
            ipv6_prefix: prefixes.v6,
            rules: self.rules,
            grace,
            outbound,
        }))?;
        if line.hear(PATIENCE)? != (TakeoverMessage::Go {}) {
            return Ok(Refusal::bad("the word is \"go\""));
        }
        let (over, finished) = mpsc::sync_channel(0);
        match self.requests.try_send(TakeoverRequest { line, pid, _over: over }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Ok(Refusal {
                    kind: RefusalKind::Full,
                    text: "another process is taking over".to_owned(),
                });
            }
            Err(TrySendError::Disconnected(_)) => return Ok(Refusal::failed("the gate is ending")),
        }
        self.waker.call();
        // Ends when the request is dropped, whatever its outcome; the process has heard that by then.
        let _ = finished.recv();
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// The parts that are handed over.
pub(in crate::daemon) struct Handover<'a> {
    pub(in crate::daemon) workers: &'a mut WorkerPool,
    pub(in crate::daemon) outbound: &'a OutboundReader,
    pub(in crate::daemon) gate: &'a Inspector,
    pub(in crate::daemon) clock: Clock,
    pub(in crate::daemon) server: &'a ControlServer,
    pub(in crate::daemon) exit: &'a TakeoverListener,
    pub(in crate::daemon) sink: &'a EventSender,
}

impl Handover<'_> {
    /// Hands all over. Whether that came to its end; if not, this gate goes on, or has an error.
    pub(in crate::daemon) fn hand_over(
        &mut self,
        request: &mut TakeoverRequest,
    ) -> Result<bool, DaemonError> {
        self.exit.close(true);
        let why = match self.workers.release() {
            // With all that the PBX has sent so far in the doors that are written down.
            Ok(()) => match self.give_once_paused(request) {
                Ok(()) => return Ok(true),
                Err(why) => why,
            },
            Err(error @ DaemonError::Stuck { .. }) => error.to_string(),
            Err(error) => {
                let _ = request.line.say(&TakeoverMessage::Error(Refusal::failed(error.to_string())));
                return Err(error);
            }
        };
        // First he must know, so that never two receive.
        let _ = request.line.say(&TakeoverMessage::Error(Refusal::failed(format!("not handed over: {why}"))));
        self.outbound.resume();
        self.workers.resume()?;
        self.exit.close(false);
        let text = format!("process {} could not take over, and this gate continues: {why}", request.pid);
        self.sink.send(Event::Warning(text));
        Ok(false)
    }

    fn give_once_paused(&self, request: &mut TakeoverRequest) -> Result<(), String> {
        self.outbound.pause();
        self.give(request)
    }

    fn give(&self, request: &mut TakeoverRequest) -> Result<(), String> {
        let doors = doors(self.gate, self.clock).map_err(|error| format!("the doors: {error}"))?;
        let listener = self.server.listener().map_err(|error| format!("the control socket: {error}"))?;
        let sockets = self.workers.sockets();
        let mut descriptors = vec![listener.as_fd(), doors.as_fd()];
        descriptors.extend(sockets.iter().map(|(_, socket)| socket));
        let outbound = self.outbound.socket();
        descriptors.extend(outbound.iter().map(|(_, socket)| socket.as_fd()));
        let queues = sockets.iter().map(|(number, _)| *number).collect();
        let handed = TakeoverMessage::Handed { queues, outbound: outbound.is_some() };
        request.line.say_with(&handed, &descriptors).map_err(|error| error.to_string())?;
        match request.line.hear(TAKING) {
            Ok(TakeoverMessage::Taken {}) => {}
            Ok(TakeoverMessage::Error(refusal)) => return Err(refusal.text),
            Ok(_) => return Err("it said something else than was its turn".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err("it has ended".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        }
        // A process that has not waited for this will not receive either.
        request.line.say(&TakeoverMessage::Done {}).map_err(|_| "it has ended".to_owned())?;
        self.server.disown();
        Ok(())
    }
}

/// How long a gate that receives no packets waits for its successor to be ready. A million doors take a second.
const TAKING: Duration = Duration::from_secs(5);
