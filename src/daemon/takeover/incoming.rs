//! Queues and doors from one process to the next, so that no packet is lost on the way.
//!
//! Either the next one asks for them over the control socket ([`crate::control::takeover`]), or the service manager has
//! kept them. Both ways the sockets that hold the queues stay open throughout, and what comes meanwhile waits in the
//! kernel.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{RwLock, RwLockReadGuard};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags};

use crate::clock::Clock;
use crate::config::Config;
use crate::control::protocol::{Kind, Refusal, Request};
use crate::control::server::Server;
use crate::control::takeover::{self, FIRST_FORMAT, FORMAT, Line, Offer, Word};
use crate::daemon::error::DaemonError;
use crate::daemon::event_log::EventSink;
use crate::daemon::outbound::{self, OutboundReader};
use crate::daemon::signals::Alarm;
use crate::daemon::snapshot::write_doors;
use crate::daemon::systemd::Manager;
use crate::daemon::workers::{Crew, stored_queue};
use crate::event::Event;
use crate::inspect::Inspector;
use crate::net::Prefixes;
use crate::queue;
use crate::state::format::{self, Saved};

/// What another process has left.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Legacy {
    /// The process that has handed this over; `None` where it is gone.
    pub(in crate::daemon) from: Option<u32>,
    /// Sockets that hold queues.
    pub(in crate::daemon) sockets: Vec<(u16, OwnedFd)>,
    /// The socket that has the NFLOG group.
    pub(in crate::daemon) outbound: Option<OwnedFd>,
    /// Doors.
    pub(in crate::daemon) doors: Option<Saved>,
    /// The rules are now ours to take out.
    pub(in crate::daemon) rules: bool,
    /// The control socket, listening.
    pub(in crate::daemon) listener: Option<OwnedFd>,
    /// What can't be used of it, and why.
    pub(in crate::daemon) warnings: Vec<String>,
}

impl Legacy {
    /// What the service manager has kept.
    pub(in crate::daemon) fn kept(manager: Manager) -> Self {
        let mut legacy = Self::default();
        for (name, descriptor) in queue::inherited() {
            if let Some(number) = stored_queue(&name) {
                legacy.sockets.push((number, descriptor));
                continue;
            }
            if name == outbound::STORE_NAME {
                legacy.outbound = Some(descriptor);
                continue;
            }
            // Doors are as they were at one moment, and good for one start.
            manager.forget(&name);
            if name == DOORS {
                match read_doors(descriptor) {
                    Ok(doors) => legacy.doors = Some(doors),
                    Err(error) => legacy
                        .warnings
                        .push(format!("the doors that the service manager has kept can't be used: {error}")),
                }
            }
        }
        legacy
    }
}

/// A running gate that would make way. Nothing has changed yet.
pub(in crate::daemon) struct Asked {
    line: Line,
    pub(in crate::daemon) offer: Offer,
}

/// What a running gate hands over. It receives no packets any more, and would go on if this came to nothing.
pub(in crate::daemon) struct Taking {
    line: Line,
}

impl Asked {
    /// Asks the gate that serves the control socket; `None` where none does.
    /// With `grace` this one begins with a safe start itself.
    pub(in crate::daemon) fn ask(config: &Config, grace: bool) -> Result<Option<Self>, DaemonError> {
        let Some(path) = &config.control.socket else {
            return Err(refused("it goes through the control socket, and that is off: see [control] socket"));
        };
        let stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) if is_nobody(&error) => return Ok(None),
            Err(error) => return Err(refused(format!("{}: {error}", path.display()))),
        };
        if !config.queue.backend.hands_over() {
            let text = "backend nfq can't go on with another process's queues: use backend batched, or stop the \
                        running gate and start this one without --takeover";
            return Err(refused(text));
        }
        let mut line = ask(stream, FORMAT)?;
        let mut heard = line.hear(PATIENCE);
        // A gate of before hands over doors without their claims, and hands over only to who asks for that.
        if let Ok(Word::Error(Refusal { kind: Kind::Version, .. })) = heard {
            let stream = UnixStream::connect(path).map_err(|error| refused(error.to_string()))?;
            line = ask(stream, FIRST_FORMAT)?;
            heard = line.hear(PATIENCE);
        }
        let offer = match heard {
            Ok(Word::Offer(offer)) => offer,
            Ok(Word::Error(Refusal { kind: Kind::BadRequest, .. })) => {
                return Err(refused("the running sipknock is of a version that can't hand over: restart it"));
            }
            other => return Err(unexpected(other)),
        };
        let theirs = Prefixes { v4: offer.ipv4_prefix, v6: offer.ipv6_prefix };
        if theirs != config.inspect.prefixes {
            let text = format!(
                "ipv4_prefix and ipv6_prefix are {} and {} in the running gate, and doors are for sources of these: \
                 leave them as they are, or restart, which shuts all doors",
                theirs.v4, theirs.v6
            );
            return Err(refused(text));
        }
        if offer.grace && !grace {
            let text = "everything passes in the running gate while its --grace lasts, and with this one phones that have \
                        not knocked would be shut out: say 'sipknock enforce' first, or --grace again";
            return Err(refused(text));
        }
        if offer.rules && !rustix::process::geteuid().is_root() {
            let text = "the running gate has put the firewall rules in, and whoever comes after it has to take them out: \
                        do it as root";
            return Err(refused(text));
        }
        Ok(Some(Self { line, offer }))
    }

    /// Has the running gate stop receiving, and takes what it hands over.
    pub(in crate::daemon) fn go(mut self) -> Result<(Legacy, Taking), DaemonError> {
        self.line.say(&Word::Go {}).map_err(|error| refused(error.to_string()))?;
        let (queues, outbound) = match self.line.hear(PATIENCE) {
            Ok(Word::Handed { queues, outbound }) => (queues, outbound),
            other => return Err(unexpected(other)),
        };
        let mut descriptors = self.line.descriptors();
        let outbound = if outbound { descriptors.pop() } else { None };
        if descriptors.len() != queues.len() + 2 {
            return Err(refused(format!(
                "{} descriptors came for {} queues",
                descriptors.len(),
                queues.len()
            )));
        }
        let mut descriptors = descriptors.into_iter();
        let (listener, doors) = (descriptors.next(), descriptors.next());
        let doors =
            doors.map(read_doors).transpose().map_err(|error| refused(format!("the doors: {error}")))?;
        let sockets = queues.into_iter().zip(descriptors).collect();
        let (from, rules) = (Some(self.offer.pid), self.offer.rules);
        let legacy = Legacy { from, sockets, outbound, doors, rules, listener, warnings: Vec::new() };
        Ok((legacy, Taking { line: self.line }))
    }
}

impl Taking {
    /// From here on all is ours: the other one ends.
    pub(in crate::daemon) fn taken(mut self) -> Result<(), DaemonError> {
        self.line.say(&Word::Taken {}).map_err(|error| refused(error.to_string()))?;
        match self.line.hear(PATIENCE) {
            Ok(Word::Done {}) => Ok(()),
            // It would have said so if it went on. It is gone, and only we have the queues.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// It came to nothing: the other one goes on.
    pub(in crate::daemon) fn give_back(&self, error: &DaemonError) {
        // If it does not hear this, it sees the connection end.
        let _ = self.line.say(&Word::Error(Refusal::failed(error.to_string())));
    }
}

/// Makes way for others, on behalf of the gate's main thread.
pub(in crate::daemon) struct Exit {
    errands: SyncSender<Errand>,
    alarm: Alarm,
    /// Why this gate can't hand over at all.
    obstacle: Option<&'static str>,
    rules: bool,
    /// Doors are on their way to another process: whatever was changed here would be lost.
    closed: RwLock<bool>,
}

/// Somebody wants to take over, and waits for the main thread to hand over.
pub(in crate::daemon) struct Errand {
    line: Line,
    pub(in crate::daemon) pid: u32,
    /// Dropped when it is over.
    _over: SyncSender<()>,
}

impl Exit {
    /// What the main thread gets its [`Errand`]s from comes with it.
    pub(in crate::daemon) fn new(
        alarm: Alarm,
        obstacle: Option<&'static str>,
        rules: bool,
    ) -> (Self, mpsc::Receiver<Errand>) {
        let (errands, receiver) = mpsc::sync_channel(1);
        (Self { errands, alarm, obstacle, rules, closed: RwLock::new(false) }, receiver)
    }

    /// Held while something is changed that goes along; `None` where it is too late for that.
    pub(in crate::daemon) fn changing(&self) -> Option<RwLockReadGuard<'_, bool>> {
        let guard = self.closed.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        (!*guard).then_some(guard)
    }

    fn close(&self, closed: bool) {
        *self.closed.write().unwrap_or_else(std::sync::PoisonError::into_inner) = closed;
    }

    /// Talks to whoever wants to take over until he says `go`, and then leaves him to the main thread.
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
            return Ok(Refusal { kind: Kind::Version, text });
        }
        if let Some(obstacle) = self.obstacle {
            return Ok(Refusal::failed(obstacle));
        }
        let mut line = Line::new(stream.try_clone()?);
        line.say(&Word::Offer(Offer {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            queues,
            ipv4_prefix: prefixes.v4,
            ipv6_prefix: prefixes.v6,
            rules: self.rules,
            grace,
            outbound,
        }))?;
        if line.hear(PATIENCE)? != (Word::Go {}) {
            return Ok(Refusal::bad("the word is \"go\""));
        }
        let (over, finished) = mpsc::sync_channel(0);
        match self.errands.try_send(Errand { line, pid, _over: over }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Ok(Refusal { kind: Kind::Full, text: "somebody else is taking over".to_owned() });
            }
            Err(TrySendError::Disconnected(_)) => return Ok(Refusal::failed("the gate is ending")),
        }
        self.alarm.call();
        // Ends when the errand is dropped, whatever became of it; all that is to be said has been said by then.
        let _ = finished.recv();
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// What is handed over, and by whom.
pub(in crate::daemon) struct Estate<'a> {
    pub(in crate::daemon) crew: &'a mut Crew,
    pub(in crate::daemon) outbound: &'a OutboundReader,
    pub(in crate::daemon) gate: &'a Inspector,
    pub(in crate::daemon) clock: Clock,
    pub(in crate::daemon) server: &'a Server,
    pub(in crate::daemon) exit: &'a Exit,
    pub(in crate::daemon) sink: &'a EventSink,
}

impl Estate<'_> {
    /// Hands all over. Whether that came to its end; if not, this gate goes on, or has an error.
    pub(in crate::daemon) fn hand_over(&mut self, errand: &mut Errand) -> Result<bool, DaemonError> {
        self.exit.close(true);
        let why = match self.crew.release() {
            // With all that the PBX has sent so far in the doors that are written down.
            Ok(()) => match self.give_once_paused(errand) {
                Ok(()) => return Ok(true),
                Err(why) => why,
            },
            Err(error @ DaemonError::Stuck { .. }) => error.to_string(),
            Err(error) => {
                let _ = errand.line.say(&Word::Error(Refusal::failed(error.to_string())));
                return Err(error);
            }
        };
        // First he must know, so that never two receive.
        let _ = errand.line.say(&Word::Error(Refusal::failed(format!("not handed over: {why}"))));
        self.outbound.resume();
        self.crew.resume()?;
        self.exit.close(false);
        let text = format!("process {} could not take over, and this gate goes on: {why}", errand.pid);
        self.sink.send(Event::Warning(text));
        Ok(false)
    }

    fn give_once_paused(&self, errand: &mut Errand) -> Result<(), String> {
        self.outbound.pause();
        self.give(errand)
    }

    fn give(&self, errand: &mut Errand) -> Result<(), String> {
        let doors = doors(self.gate, self.clock).map_err(|error| format!("the doors: {error}"))?;
        let listener = self.server.listener().map_err(|error| format!("the control socket: {error}"))?;
        let sockets = self.crew.sockets();
        let mut descriptors = vec![listener.as_fd(), doors.as_fd()];
        descriptors.extend(sockets.iter().map(|(_, socket)| socket));
        let outbound = self.outbound.socket();
        descriptors.extend(outbound.iter().map(|(_, socket)| socket.as_fd()));
        let queues = sockets.iter().map(|(number, _)| *number).collect();
        let handed = Word::Handed { queues, outbound: outbound.is_some() };
        errand.line.say_with(&handed, &descriptors).map_err(|error| error.to_string())?;
        match errand.line.hear(TAKING) {
            Ok(Word::Taken {}) => {}
            Ok(Word::Error(refusal)) => return Err(refusal.text),
            Ok(_) => return Err("it said something else than was its turn".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err("it has ended".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        }
        // Where it has not waited for this, it will not receive either.
        errand.line.say(&Word::Done {}).map_err(|_| "it has ended".to_owned())?;
        self.server.disown();
        Ok(())
    }
}

/// All doors in a file that is nowhere, and that nobody can change.
pub(in crate::daemon) fn doors(gate: &Inspector, clock: Clock) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("sipknock doors", flags)?);
    let mut out = write_doors(gate, clock, BufWriter::with_capacity(BUFFER, file))?;
    out.flush()?;
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    Ok(file.into())
}

fn read_doors(descriptor: OwnedFd) -> Result<Saved, format::Damage> {
    let mut file = File::from(descriptor);
    file.rewind().map_err(format::Damage::Io)?;
    format::read(BufReader::with_capacity(BUFFER, file))
}

fn ask(stream: UnixStream, format: u64) -> Result<Line, DaemonError> {
    let line = Request::Takeover { format }.line().map_err(|error| refused(error.to_string()))?;
    (&stream).write_all(&line).map_err(|error| refused(error.to_string()))?;
    Ok(Line::new(stream))
}

/// Nobody serves the socket, or there is none.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn refused(text: impl Into<String>) -> DaemonError {
    DaemonError::Takeover(text.into())
}

fn unexpected(heard: io::Result<Word>) -> DaemonError {
    refused(match heard {
        Ok(Word::Error(refusal)) => refusal.text,
        Ok(_) => "the running gate said something else than was its turn".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "the running gate broke off".to_owned(),
        Err(error) => format!("the running gate does not answer: {error}"),
    })
}

/// What the service manager calls the doors.
pub(in crate::daemon) const DOORS: &str = "doors";

/// How long one side waits for the other: longer than it takes to write or read a million doors.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a gate that receives no packets waits for its successor to be ready. A million doors take a second.
const TAKING: Duration = Duration::from_secs(5);

/// A thousand doors at a time.
const BUFFER: usize = 64 * 1024;
