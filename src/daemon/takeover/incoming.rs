//! Taking queues and doors over from another process.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use crate::config::Config;
use crate::control::protocol::{ControlRequest, Refusal, RefusalKind};
use crate::control::takeover::{FIRST_FORMAT, FORMAT, Offer, TakeoverConnection, TakeoverMessage};
use crate::daemon::error::DaemonError;
use crate::daemon::outbound;
use crate::daemon::systemd::Systemd;
use crate::daemon::takeover::doors::{DOORS, PATIENCE, read_doors};
use crate::daemon::workers::{REQUEUED, stored_queue};
use crate::net::Prefixes;
use crate::queue;
use crate::state::format::Saved;

/// Queues, doors and sockets of another process.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Inherited {
    /// The process that has handed this over; `None` where it is gone.
    pub(in crate::daemon) from: Option<u32>,
    /// Sockets that hold queues.
    pub(in crate::daemon) sockets: Vec<(u16, OwnedFd)>,
    /// Whether packets that a process had received when it ended were queued again, and the next one has ended, too.
    pub(in crate::daemon) requeued: bool,
    /// The socket that has the NFLOG group.
    pub(in crate::daemon) outbound: Option<OwnedFd>,
    /// Doors.
    pub(in crate::daemon) doors: Option<Saved>,
    /// The rules are now ours to take out.
    pub(in crate::daemon) rules: bool,
    /// The control socket, listening.
    pub(in crate::daemon) listener: Option<OwnedFd>,
    /// Queues that are served until no rule leads there any more: the configuration has them no longer.
    pub(in crate::daemon) surplus: Vec<u16>,
    /// The parts that can't be used, and why.
    pub(in crate::daemon) warnings: Vec<String>,
}

impl Inherited {
    /// The sockets and doors that the service manager has kept.
    pub(in crate::daemon) fn kept(manager: Systemd) -> Self {
        let mut inherited = Self::default();
        for (name, descriptor) in queue::inherited() {
            if let Some(number) = stored_queue(&name) {
                inherited.sockets.push((number, descriptor));
                continue;
            }
            if name == REQUEUED {
                inherited.requeued = true;
                continue;
            }
            if name == outbound::STORE_NAME {
                inherited.outbound = Some(descriptor);
                continue;
            }
            // Doors are as they were at one moment, and good for one start.
            manager.forget(&name);
            if name == DOORS {
                match read_doors(descriptor) {
                    Ok(doors) => inherited.doors = Some(doors),
                    Err(error) => inherited
                        .warnings
                        .push(format!("the doors that the service manager has kept can't be used: {error}")),
                }
            }
        }
        inherited
    }
}

/// A running gate that would make way. Nothing has changed yet.
pub(in crate::daemon) struct TakeoverOffer {
    line: TakeoverConnection,
    pub(in crate::daemon) offer: Offer,
}

/// A takeover under way: the running gate receives no packets any more, and goes on if this comes to nothing.
pub(in crate::daemon) struct PendingTakeover {
    line: TakeoverConnection,
}

impl TakeoverOffer {
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
            let text = "backend nfq can't continue with another process's queues: use backend batched, or stop the \
                        running gate and start this one without --takeover";
            return Err(refused(text));
        }
        let mut line = ask(stream, FORMAT)?;
        let mut heard = line.hear(PATIENCE);
        // A gate of before hands over doors without their claims, and hands over only to who asks for that.
        if let Ok(TakeoverMessage::Error(Refusal { kind: RefusalKind::Version, .. })) = heard {
            let stream = UnixStream::connect(path).map_err(|error| refused(error.to_string()))?;
            line = ask(stream, FIRST_FORMAT)?;
            heard = line.hear(PATIENCE);
        }
        let offer = match heard {
            Ok(TakeoverMessage::Offer(offer)) => offer,
            Ok(TakeoverMessage::Error(Refusal { kind: RefusalKind::BadRequest, .. })) => {
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
            let text = "everything passes in the running gate while its --grace lasts, and this one would shut out \
            phones that have not knocked: run 'sipknock enforce' first, or give --grace again";
            return Err(refused(text));
        }
        if offer.rules && !rustix::process::geteuid().is_root() {
            let text = "the running gate has put the firewall rules in, and the next one has to take them out: run it \
            as root";
            return Err(refused(text));
        }
        Ok(Some(Self { line, offer }))
    }

    /// Has the running gate stop receiving, and takes what it hands over.
    pub(in crate::daemon) fn go(mut self) -> Result<(Inherited, PendingTakeover), DaemonError> {
        self.line.say(&TakeoverMessage::Go {}).map_err(|error| refused(error.to_string()))?;
        let (queues, outbound) = match self.line.hear(PATIENCE) {
            Ok(TakeoverMessage::Handed { queues, outbound }) => (queues, outbound),
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
        let inherited = Inherited { from, sockets, outbound, doors, rules, listener, ..Inherited::default() };
        Ok((inherited, PendingTakeover { line: self.line }))
    }
}

impl PendingTakeover {
    /// From here on all is ours: the other one ends.
    pub(in crate::daemon) fn taken(mut self) -> Result<(), DaemonError> {
        self.line.say(&TakeoverMessage::Taken {}).map_err(|error| refused(error.to_string()))?;
        match self.line.hear(PATIENCE) {
            Ok(TakeoverMessage::Done {}) => Ok(()),
            // It would have said so if it went on. It is gone, and only we have the queues.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// It came to nothing: the other one goes on.
    pub(in crate::daemon) fn give_back(&self, error: &DaemonError) {
        // If it does not hear this, it sees the connection end.
        let _ = self.line.say(&TakeoverMessage::Error(Refusal::failed(error.to_string())));
    }
}

fn ask(stream: UnixStream, format: u64) -> Result<TakeoverConnection, DaemonError> {
    let line = ControlRequest::Takeover { format }.line().map_err(|error| refused(error.to_string()))?;
    (&stream).write_all(&line).map_err(|error| refused(error.to_string()))?;
    Ok(TakeoverConnection::new(stream))
}

/// Nobody serves the socket, or there is none.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn refused(text: impl Into<String>) -> DaemonError {
    DaemonError::Takeover(text.into())
}

fn unexpected(heard: io::Result<TakeoverMessage>) -> DaemonError {
    refused(match heard {
        Ok(TakeoverMessage::Error(refusal)) => refusal.text,
        Ok(_) => "the running gate said something else than was its turn".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "the running gate broke off".to_owned(),
        Err(error) => format!("the running gate does not answer: {error}"),
    })
}
