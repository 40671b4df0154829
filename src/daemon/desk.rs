//! What the running gate does for those who come through the control socket.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Map;

use super::events::EventSink;
use super::worker::Shared;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::protocol::{
    Answer, Done, DoorLine, DoorStats, Kind, QueueStats, Refusal, Request, Stats, reasons,
};
use crate::control::server::{Say, Service};
use crate::control::watch::{Watch, Watchers};
use crate::door::{Change, Door, Grant, Limit, Listed};
use crate::event::{EXPIRED, Event, FLUSHED, REVOKED};
use crate::inspect::Inspector;
use crate::knock::{KnockId, Life};
use crate::net::Source;
use crate::queue::{Binding, kernel};
use crate::time::Time;
use crate::verdict::ReasonCounts;

/// Answers requests about a running gate.
pub(super) struct Desk {
    gate: Arc<Inspector>,
    clock: Clock,
    watchers: Watchers,
    /// Gone once the gate ends, so that the log can end.
    sink: Mutex<Option<EventSink>>,
    workers: Vec<Arc<Shared>>,
    bindings: Vec<Binding>,
    backend: &'static str,
    /// How long a door is opened for where nobody says.
    door: Life,
    started: Time,
}

impl Desk {
    pub(super) fn new(
        gate: Arc<Inspector>,
        clock: Clock,
        sink: EventSink,
        workers: Vec<Arc<Shared>>,
        bindings: Vec<Binding>,
        config: &Config,
    ) -> Self {
        Self {
            gate,
            clock,
            watchers: sink.watchers(),
            sink: Mutex::new(Some(sink)),
            workers,
            bindings,
            backend: config.queue.backend.name(),
            door: config.inspect.door,
            started: clock.now(),
        }
    }

    /// Lets go of the log, and tells those who watch that there is no more to see.
    pub(super) fn close(&self) {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.watchers.end();
    }

    fn send(&self, event: Event) {
        if let Some(sink) = &*self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            sink.send(event);
        }
    }

    fn list(
        &self,
        knock: Option<&str>,
        source: Option<&str>,
        say: Say<'_>,
    ) -> io::Result<Result<Done, Refusal>> {
        let knock = match knock.map(|name| self.knock(name)).transpose() {
            Ok(knock) => knock,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let net = match source.map(network).transpose() {
            Ok(net) => net,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let prefixes = self.gate.prefixes();
        let wanted = |listed: &Listed| {
            knock.is_none_or(|knock| listed.door.knock == knock)
                && net.is_none_or(|net| net.contains(&listed.source.network(prefixes)))
        };
        let (parts, mut doors) = (self.gate.doors().parts(), 0);
        for part in 0..parts {
            let now = self.clock.now();
            for listed in self.gate.doors().listed(part, parts, now).iter().filter(|listed| wanted(listed)) {
                doors += 1;
                say(Answer::Door(self.line(listed, now)))?;
            }
        }
        Ok(Ok(Done { doors: Some(doors), ..Done::default() }))
    }

    fn line(&self, listed: &Listed, now: Time) -> DoorLine {
        let Listed { source, door, last_knock, packets, bytes } = *listed;
        DoorLine {
            source: source.display(self.gate.prefixes()).to_string(),
            knock: self.gate.name(door.knock).to_owned(),
            opened: door.opened.to_string(),
            last_knock: last_knock.to_string(),
            expires: door.expires.to_string(),
            expires_in_s: door.expires.since(now).as_secs(),
            packets,
            bytes,
        }
    }

    fn open(
        &self,
        address: &str,
        for_s: Option<u64>,
        knock: Option<&str>,
    ) -> Result<(Listed, Done), Refusal> {
        let source = self.source(address)?;
        let knock = knock.map_or(Ok(Door::by_hand()), |name| self.knock(name))?;
        let life = match for_s {
            Some(0) => return Err(Refusal::bad("a door of no time would never be open")),
            Some(seconds) => Duration::from_secs(seconds),
            None => self.usual_life(knock),
        };
        let now = self.clock.now();
        let (door, event) =
            match self.gate.doors().knock(source, now, &[Grant { knock, life, registration: None }]) {
                Change::Opened { door, ran_out } => {
                    if let Some(earlier) = ran_out {
                        self.send(Event::closed(&self.gate, source, earlier, EXPIRED));
                    }
                    (door, "opened")
                }
                Change::Renewed(door) => (door, "renewed"),
                Change::Refused(limit) => {
                    let what = match limit {
                        Limit::Table => "inspect.max_doors doors are open: close one, or raise it",
                        Limit::Knock(_) => "the knock's max_doors are open: close one, or raise it",
                    };
                    return Err(Refusal { kind: Kind::Full, text: format!("no room: {what}") });
                }
            };
        self.send(Event::by_hand(&self.gate, source, door, event));
        let mut notes = Vec::new();
        if door.expires > now.after(life) {
            notes.push("it was open for longer already, and stays so".to_owned());
        }
        let listed = Listed { source, door, last_knock: now, packets: 0, bytes: 0 };
        Ok((listed, Done { doors: Some(1), event: Some(event.to_owned()), notes }))
    }

    fn close_door(&self, address: &str) -> Result<Done, Refusal> {
        let source = self.source(address)?;
        let Some(door) = self.gate.doors().close(source) else {
            let shown = source.display(self.gate.prefixes());
            return Err(Refusal::not_found(format!(
                "no door is open for {shown}: 'sipknock doors' lists those that are"
            )));
        };
        self.send(Event::closed(&self.gate, source, door, REVOKED));
        Ok(Done { doors: Some(1), ..Done::default() })
    }

    fn flush(&self) -> Done {
        let shut = self
            .gate
            .doors()
            .flush(|source, door| self.send(Event::closed(&self.gate, source, door, FLUSHED)));
        Done { doors: Some(shut), ..Done::default() }
    }

    fn stats(&self) -> Stats {
        let mut totals = ReasonCounts::default();
        self.workers.iter().for_each(|worker| totals.merge(&worker.reasons()));
        let doors = self.gate.doors();
        let by_hand = u64::from(doors.held_by(Door::by_hand()));
        let mut by_knock: Map<_, _> = (0u32..)
            .zip(self.gate.knocks().iter())
            .map(|(index, knock)| (knock.name.clone(), doors.held_by(KnockId::from(index)).into()))
            .filter(|(_, held)| *held != 0)
            .collect();
        if by_hand > 0 {
            by_knock.insert(crate::inspect::MANUAL.to_owned(), by_hand.into());
        }
        let rows = kernel::queues();
        let row = |binding: &Binding| {
            let row = rows.iter().find(|row| (row.queue, row.port_id) == (binding.queue, binding.port_id))?;
            Some(QueueStats {
                queue: row.queue,
                waiting: row.waiting,
                kernel_dropped: row.queue_dropped,
                socket_dropped: row.user_dropped,
            })
        };
        let lost =
            self.sink.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, EventSink::lost);
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mode: if self.gate.monitors() { "monitor" } else { "enforce" }.to_owned(),
            backend: self.backend.to_owned(),
            started: self.started.to_string(),
            uptime_s: self.clock.now().since(self.started).as_secs(),
            packets: totals.total(),
            reasons: reasons(&totals),
            doors: DoorStats {
                open: doors.open_count() as u64,
                max: doors.max_doors() as u64,
                known: doors.len() as u64,
                by_knock,
            },
            queues: self.bindings.iter().filter_map(row).collect(),
            events_lost: lost,
        }
    }

    fn knock(&self, name: &str) -> Result<KnockId, Refusal> {
        if name == crate::inspect::MANUAL {
            return Ok(self.gate.knock_named(name).unwrap_or_else(Door::by_hand));
        }
        self.gate.knock_named(name).ok_or_else(|| Refusal::not_found(format!("no knock is named {name:?}")))
    }

    /// An address, or a network that is a source.
    fn source(&self, address: &str) -> Result<Source, Refusal> {
        let prefixes = self.gate.prefixes();
        if let Ok(address) = address.parse::<IpAddr>() {
            return Ok(Source::new(address, prefixes));
        }
        let net = network(address)?;
        let source = Source::new(net.addr(), prefixes);
        let whole = source.network(prefixes);
        if whole.prefix_len() != net.prefix_len() {
            let text =
                format!("{net} is not what a door is for, which is a /{} as {whole}", whole.prefix_len());
            return Err(Refusal::bad(text));
        }
        Ok(source)
    }

    fn usual_life(&self, knock: KnockId) -> Duration {
        match self.gate.knocks().get(knock).map_or(self.door, |knock| knock.door) {
            Life::Span(life) => life,
            Life::Registration => crate::config::DEFAULT_DOOR,
        }
    }
}

impl Service for Desk {
    fn carry_out(&self, request: Request, say: Say<'_>) -> io::Result<Result<Done, Refusal>> {
        Ok(match request {
            Request::Doors { knock, source } => {
                return self.list(knock.as_deref(), source.as_deref(), say);
            }
            Request::Open { address, for_s, knock } => match self.open(&address, for_s, knock.as_deref()) {
                Ok((listed, done)) => {
                    say(Answer::Door(self.line(&listed, self.clock.now())))?;
                    Ok(done)
                }
                Err(refusal) => Err(refusal),
            },
            Request::Close { address } => self.close_door(&address),
            Request::Flush {} => Ok(self.flush()),
            Request::Stats {} => {
                say(Answer::Stats(Box::new(self.stats())))?;
                Ok(Done::default())
            }
            Request::Reload {} => Err(Refusal::failed("this version can't reload; restart it")),
            // The server's own.
            Request::Watch {} => Ok(Done::default()),
        })
    }

    fn watch(&self) -> Option<Watch> {
        self.watchers.add()
    }
}

fn network(text: &str) -> Result<IpNet, Refusal> {
    crate::config::values::network(text).map_err(Refusal::bad)
}
