//! What happens, as log events.
//!
//! Events are made from a decision after its verdict has left, and written by another thread than the one that
//! decides. No secret gets into one: text from a packet has every secret cut out before it is cut to length, also
//! one that stands half in the next header field. What is not printable is escaped.

mod form;
mod grace;
mod outbound;
mod rules;
mod text;
mod trunk;

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::display;

use crate::control::protocol::RulesChange;
use crate::door::{Door, DoorChange, Limit};
use crate::drops::{DropLine, Sender};
use crate::inspect::{Decision, Inspector, Knocked, OUTBOUND};
use crate::knock::KnockId;
use crate::net::Source;
use crate::outbound::user_of;
use crate::packet::{Body, Flow, Packet};
use crate::queue::Fault;
use crate::sip;
use crate::time::Time;
use crate::verdict::ReasonCounts;
use form::{Either, EventForm, line};
pub use grace::GraceEvent;
pub use outbound::OutboundEvent;
pub(crate) use text::printable_parts;
use text::{MAX_TEXT, Text};
pub use trunk::TrunkRefused;

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A knock matched: `opened`, `renewed` or `refused`.
    Knock(Box<KnockEvent>),
    /// Somebody opened or renewed a door by hand.
    ByHand {
        /// `opened` or `renewed`.
        event: &'static str,
        /// Whose.
        source: String,
        /// The knock whose claim that is.
        knock: String,
        /// The door.
        door: Door,
    },
    /// A door is shut.
    Closed {
        /// Whose.
        source: String,
        /// The knock whose claim was the last, or the longest of those that ended together.
        knock: String,
        /// Why: `expired`, `revoked` or `flushed`.
        why: &'static str,
        /// The door.
        door: Door,
    },
    /// Drops of one source in one interval.
    Dropped {
        /// Who; `others` for all that are not listed on their own.
        source: String,
        /// How many, by reason.
        reasons: ReasonCounts,
        /// Over how long.
        interval: Duration,
        /// In monitor mode they were not.
        would: bool,
        /// The kernel has a TCP connection to which a dropped segment belongs: nobody has forged this source.
        established: bool,
        /// The sender of the first one, by its own words.
        sender: Sender,
    },
    /// The kernel dropped packets that nobody looked at.
    Overload {
        /// The queue.
        queue: u16,
        /// `kernel`: the queue was full; `socket`: the receive buffer was.
        place: &'static str,
        /// How many since the last event.
        count: u64,
        /// What there was room for: packets, or bytes of the receive buffer.
        limit: u64,
    },
    /// A queue is not served. It is being bound anew.
    QueueFault {
        /// The queue.
        queue: u16,
        /// What is wrong.
        fault: Fault,
        /// Packets that wait in it.
        waiting: u64,
    },
    /// Events that were counted and not written: more than the budget, or than the log could take.
    EventsLost(u64),
    /// The gate is up.
    Started(Box<Started>),
    /// Another configuration is in force.
    Reloaded(Reloaded),
    /// The gate is down.
    Stopped {
        /// The queues that it had.
        queues: String,
        /// All packets, by reason.
        totals: ReasonCounts,
        /// Packets that wait for a verdict; there should be none.
        waiting: u64,
        /// Verdicts that came too late.
        stale: u64,
        /// Messages that could not be read.
        unreadable: u64,
        /// The process that the queues were handed over to.
        handed_to: Option<u32>,
    },
    /// The PBX has opened a door by a request, or such a door is shut.
    Outbound(Box<OutboundEvent>),
    /// Copies of what the PBX sends were lost, so that some doors may not have been opened.
    OutboundLost {
        /// How many since the last event.
        count: u64,
        /// The size of the receive buffer, in bytes.
        limit: u64,
    },
    /// The gate lets everything pass for a time, or does no more.
    Grace(GraceEvent),
    /// A provider's call was dropped, perhaps.
    TrunkRefused(Box<TrunkRefused>),
    /// The firewall's rules are gone, or are there again.
    Rules(Box<RulesChange>),
    /// Something else that is good to know for who wants to know more.
    Detail(String),
    /// Something else that is good to know.
    Note(String),
    /// Something else that is to be changed.
    Warning(String),
}

/// What a knock did to a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnockOutcome {
    /// It opened one.
    Opened,
    /// It found one open.
    Renewed,
    /// There was no room.
    Refused,
}

names! { pub KnockOutcome { Opened = "opened", Renewed = "renewed", Refused = "refused" } }

impl KnockOutcome {
    /// What a knock of a packet did.
    pub fn of(knock: KnockId, knocked: &Knocked) -> Self {
        match knocked.change {
            _ if knocked.refused.contains(&knock) => Self::Refused,
            // The knock that holds the door longest opened it; others in the same packet found it open.
            DoorChange::Opened { door, .. } if door.knock == knock => Self::Opened,
            DoorChange::Opened { .. } | DoorChange::Renewed(_) => Self::Renewed,
            DoorChange::Refused(_) => Self::Refused,
        }
    }
}

/// What a gate starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// It accepts everything.
    pub monitor: bool,
    /// How packets are read.
    pub backend: &'static str,
    /// The queues, as in `0-3`.
    pub queues: String,
    /// How many knocks there are.
    pub knocks: usize,
    /// How many trusted networks there are.
    pub trusted: usize,
    /// The smallest receive buffer that a queue was granted, in bytes.
    pub receive_buffer: usize,
}

/// What a gate goes on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// It accepts everything.
    pub monitor: bool,
    /// How many knocks there are.
    pub knocks: usize,
    /// How many trusted networks there are.
    pub trusted: usize,
    /// How many doors were shut because their knocks are gone.
    pub closed: u64,
}

/// One knock of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnockEvent {
    /// `opened`, `renewed` or `refused`.
    pub event: &'static str,
    /// The knock's name.
    pub knock: String,
    /// Who sent the packet.
    pub source: IpAddr,
    /// From which port.
    pub source_port: u16,
    /// To which port.
    pub destination_port: u16,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// The SIP method, where it is a request.
    pub method: Option<String>,
    /// The From header field.
    pub from: Option<String>,
    /// The User-Agent header field.
    pub user_agent: Option<String>,
    /// The Call-ID header field.
    pub call_id: Option<String>,
    /// The door that it opened or renewed; for `refused`: what was full.
    pub door: Result<Door, &'static str>,
    /// The queue that the packet came through.
    pub queue: u16,
}

impl Event {
    /// The events that a decision about a packet makes: one for each knock that matched, and one for an earlier
    /// door of the same source that had run out unnoticed.
    pub fn of_knocks(gate: &Inspector, queue: u16, decision: &Decision, bytes: &[u8]) -> Vec<Self> {
        let (Some(knocked), Ok(packet)) = (&decision.knocked, Packet::parse(bytes)) else {
            return Vec::new();
        };
        let mut events = Vec::new();
        if let DoorChange::Opened { ran_out: Some(door), .. } = knocked.change {
            events.push(Self::closed(gate, gate.cut().source(packet.source), door, EXPIRED));
        }
        let Body::Segment(segment) = packet.body else { return events };
        // Of a knock in several segments, all of them tell who knocked.
        let payload = knocked.gathered.as_deref().unwrap_or(segment.payload);
        let text = Text::new(gate.knocks(), payload);
        for &knock in &knocked.knocks {
            let event = knock_event(gate, queue, knock, knocked, packet.source, segment.flow, &text);
            events.push(Self::Knock(Box::new(event)));
        }
        events
    }

    /// A door that is shut, and why: [`EXPIRED`], [`REVOKED`] or [`FLUSHED`].
    pub fn closed(gate: &Inspector, source: Source, door: Door, why: &'static str) -> Self {
        Self::Closed {
            source: source.display(gate.cut()).to_string(),
            knock: gate.name(door.knock).to_owned(),
            why,
            door,
        }
    }

    /// A door that somebody opened or renewed by hand, in the name of a knock or in his own.
    pub fn by_hand(
        gate: &Inspector,
        source: Source,
        knock: KnockId,
        door: Door,
        event: &'static str,
    ) -> Self {
        Self::ByHand {
            event,
            source: source.display(gate.cut()).to_string(),
            knock: gate.name(knock).to_owned(),
            door,
        }
    }

    /// A line of the summary of drops.
    pub fn dropped(gate: &Inspector, line: DropLine, interval: Duration, established: bool) -> Self {
        let source = line.source.map(|source| source.display(gate.cut()).to_string());
        let source = source.unwrap_or_else(|| "others".to_owned());
        let sender = line.sender.unwrap_or_default();
        Self::Dropped { source, reasons: line.reasons, interval, would: gate.monitors(), established, sender }
    }

    /// What a dropped message says of its sender. `None` if that is nothing, or if its header block is not all there: a
    /// secret may be cut in two then.
    pub fn words_of_sender(gate: &Inspector, payload: &[u8]) -> Option<Sender> {
        let message = sip::Message::parse(payload)?;
        if message.block().len() == message.bytes().len() {
            return None;
        }
        let from = message.header("From").and_then(|value| sip::addresses(value).next());
        let user = from.map(|from| user_of(from.uri())).filter(|user| !user.is_empty());
        let user_agent = message.header("User-Agent");
        if user.is_none() && user_agent.is_none() {
            return None;
        }
        let [user, user_agent] = printable_parts(gate.knocks(), payload, [user, user_agent], MAX_TEXT);
        Some(Sender { user, user_agent })
    }

    /// Writes the event to the log.
    pub fn write(&self) {
        self.put(None);
    }

    /// The event as an object, with `time`, `level` and `target` as in the JSON log; the fields are those of the log.
    pub fn to_json(&self, time: Time) -> Value {
        let mut object = Map::from_iter([("time".to_owned(), time.to_string().into())]);
        self.put(Some(&mut object));
        Value::Object(object)
    }

    fn put(&self, form: EventForm<'_>) {
        match self {
            Self::Knock(knock) => knock.put(form),
            Self::ByHand { event, source, knock, door } => {
                line!(form, [INFO], "door", "door opened by hand", {
                    event, by: "control", knock, src: display(source), door_s: door.life().as_secs(),
                    expires_at: display(door.expires),
                })
            }
            Self::Closed { source, knock, why, door } => line!(form, [INFO], "door", "door closed", {
                event: "closed", why, knock, src: display(source), door_s: door.life().as_secs(),
                expires_at: display(door.expires),
            }),
            Self::Dropped { source, reasons, interval, would, established, sender } => {
                // The text of an event is a constant.
                macro_rules! dropped {
                    ($text:literal) => {
                        line!(form, [INFO], "drop", $text, {
                            event: "dropped", src: display(source), count: reasons.total(), reasons: reasons.to_string(),
                            interval_s: interval.as_secs(), established: established.then_some(true), user: &sender.user,
                            user_agent: &sender.user_agent, would: would.then_some(true),
                        })
                    };
                }
                if *would {
                    dropped!("packets that would be dropped");
                } else {
                    dropped!("packets dropped");
                }
            }
            Self::Overload { queue, place, count, limit } => {
                let advice = match *place {
                    "kernel" => format!(
                        "packets came faster than they were decided: raise queue.max_len beyond {limit}, or use more \
                         queues (queue.numbers)"
                    ),
                    _ => format!(
                        "the socket's buffer was full: raise queue.receive_buffer beyond {limit} bytes, and check \
                         that it is granted"
                    ),
                };
                line!(form, [WARN], "daemon", "packets lost before inspection", {
                    event: "overload", queue, place, count, limit: Either((), limit), advice: Either(advice, ()),
                });
            }
            Self::QueueFault { queue, fault, waiting } => {
                let text = match fault {
                    Fault::Stuck => "packets wait and none is decided: the queue is bound again",
                    Fault::Lost => "another program has unbound the queue or taken it: it is bound again",
                };
                line!(form, [ERROR], "daemon", text, { event: "fault", queue, fault: display(fault), waiting });
            }
            Self::EventsLost(count) => {
                let text = "events counted, not logged: too many in too short a time";
                line!(form, [WARN], "daemon", text, { event: "overload", place: "log", count });
            }
            Self::Started(started) => line!(form, [INFO], "daemon", "the gate is up", {
                event: "started", version: Either(env!("CARGO_PKG_VERSION"), ()), mode: mode(started.monitor),
                backend: started.backend, queues: display(&started.queues), knocks: started.knocks,
                trusted: started.trusted, receive_buffer: started.receive_buffer,
            }),
            Self::Reloaded(Reloaded { monitor, knocks, trusted, closed }) => {
                let text = "another configuration is in force";
                line!(form, [INFO], "daemon", text, { event: "reloaded", mode: mode(*monitor), knocks, trusted, closed });
            }
            Self::Stopped { queues, totals, waiting, stale, unreadable, handed_to } => {
                line!(form, [INFO], "daemon", "the gate is down", {
                    event: "stopped", queues: display(queues), packets: totals.total(), reasons: totals.to_string(),
                    waiting, stale, unreadable, handed_to,
                });
            }
            Self::Outbound(outbound) => outbound.put(form),
            Self::OutboundLost { count, limit } => {
                let text = "copies of the PBX's packets were lost: a provider that it has just called may count as a \
                stranger until the next call";
                line!(form, [WARN], "daemon", text, { event: "overload", place: OUTBOUND, count, limit });
            }
            Self::Grace(grace) => grace.put(form),
            Self::TrunkRefused(refused) => refused.put(form),
            Self::Rules(change) => rules::put(change, form),
            Self::Detail(text) => line!(form, [DEBUG], "daemon", message(text), {}),
            Self::Note(text) => line!(form, [INFO], "daemon", message(text), {}),
            Self::Warning(text) => line!(form, [WARN], "daemon", message(text), {}),
        }
    }
}

/// As the configuration has it.
fn mode(monitor: bool) -> &'static str {
    if monitor { "monitor" } else { "enforce" }
}

impl KnockEvent {
    fn put(&self, form: EventForm<'_>) {
        let Self { event, knock, source, transport, method, from, user_agent, call_id, queue, .. } = self;
        let door = self.door.ok();
        let text = match *event {
            "opened" => "door opened",
            "renewed" => "door renewed",
            _ => "knock refused",
        };
        line!(form, [WARN if door.is_none(), INFO], "knock", text, {
            event, knock, src: display(source), sport: self.source_port, dport: self.destination_port, transport, method,
            from, user_agent, call_id, door_s: door.map(|door| door.life().as_secs()),
            expires_at: door.map(|door| display(door.expires)), limit: self.door.err(), queue,
        });
    }
}

fn knock_event(
    gate: &Inspector,
    queue: u16,
    knock: KnockId,
    knocked: &Knocked,
    source: IpAddr,
    flow: Flow,
    text: &Text<'_>,
) -> KnockEvent {
    let outcome = KnockOutcome::of(knock, knocked);
    let event = outcome.name();
    let door = match knocked.change {
        // The others of its packet got a claim.
        DoorChange::Opened { .. } | DoorChange::Renewed(_) if outcome == KnockOutcome::Refused => {
            Err(FULL_KNOCK)
        }
        DoorChange::Opened { door, .. } | DoorChange::Renewed(door) => Ok(door),
        DoorChange::Refused(Limit::Table) => Err("inspect.max_doors"),
        DoorChange::Refused(Limit::Knock(_)) => Err(FULL_KNOCK),
        DoorChange::Refused(Limit::Claims) => Err("the door's 256 claims"),
    };
    let message = sip::Message::parse(text.payload);
    let printable = |part: &[u8]| text.printable(part);
    let header = |name| message.and_then(|message| message.header(name)).map(printable);
    KnockEvent {
        event,
        knock: gate.name(knock).to_owned(),
        source,
        source_port: flow.source_port,
        destination_port: flow.destination_port,
        transport: flow.transport.name(),
        method: message.and_then(|message| message.method()).map(printable),
        from: header("From"),
        user_agent: header("User-Agent"),
        call_id: header("Call-ID"),
        door,
        queue,
    }
}

/// What was full.
const FULL_KNOCK: &str = "the knock's max_doors";

/// Why a door is shut: its time was up.
pub const EXPIRED: &str = "expired";

/// Somebody shut it, or took its knock out of the configuration.
pub const REVOKED: &str = "revoked";

/// Somebody shut all of them.
pub const FLUSHED: &str = "flushed";

#[cfg(test)]
mod tests;
