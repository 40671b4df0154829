//! Events as JSON objects, for those who watch: the fields are those of the log.

use serde_json::{Map, Value, json};

use super::{Event, KnockEvent, rules};
use crate::door::Door;
use crate::inspect::OUTBOUND;
use crate::time::Time;

impl Event {
    /// The event as an object, with `time`, `level` and `target` as in the JSON log.
    pub fn to_json(&self, time: Time) -> Value {
        let (level, target) = match self {
            Self::Knock(event) if event.event == "refused" => ("WARN", "knock"),
            Self::Knock(_) => ("INFO", "knock"),
            Self::ByHand { .. } | Self::Closed { .. } => ("INFO", "door"),
            Self::Outbound(_) => ("INFO", "door"),
            Self::Dropped { .. } => ("INFO", "drop"),
            Self::TrunkRefused(_) => ("WARN", "drop"),
            Self::Overload { .. } | Self::OutboundLost { .. } | Self::EventsLost(_) | Self::Warning(_) => {
                ("WARN", "daemon")
            }
            Self::Grace(grace) => (grace.level(), "daemon"),
            Self::Rules(change) => (rules::level(change), "daemon"),
            Self::QueueFault { .. } => ("ERROR", "daemon"),
            Self::Started(_) | Self::Reloaded(_) | Self::Stopped { .. } | Self::Note(_) => ("INFO", "daemon"),
            Self::Detail(_) => ("DEBUG", "daemon"),
        };
        let mut object = Map::new();
        object.insert("time".to_owned(), time.to_string().into());
        object.insert("level".to_owned(), level.into());
        object.insert("target".to_owned(), format!("sipknock::{target}").into());
        if let Value::Object(fields) = self.fields() {
            object.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
        }
        Value::Object(object)
    }

    fn fields(&self) -> Value {
        match self {
            Self::Knock(event) => event.fields(),
            Self::ByHand { event, source, knock, door } => json!({
                "event": event, "by": "control", "src": source, "knock": knock,
                "door_s": door.life().as_secs(), "expires_at": door.expires.to_string(),
            }),
            Self::Closed { source, knock, why, door } => json!({
                "event": "closed", "why": why, "src": source, "knock": knock,
                "door_s": door.life().as_secs(), "expires_at": door.expires.to_string(),
            }),
            Self::Dropped { source, reasons, interval, would, established, sender } => json!({
                "event": "dropped", "src": source, "count": reasons.total(), "reasons": reasons.to_string(),
                "interval_s": interval.as_secs(), "established": established.then_some(true), "user": sender.user,
                "user_agent": sender.user_agent, "would": would.then_some(true),
            }),
            Self::Overload { queue, place, count, limit } => {
                json!({"event": "overload", "queue": queue, "place": place, "count": count, "limit": limit})
            }
            Self::Outbound(outbound) => outbound.fields(),
            Self::OutboundLost { count, limit } => {
                json!({"event": "overload", "place": OUTBOUND, "count": count, "limit": limit})
            }
            Self::QueueFault { queue, fault, waiting } => {
                json!({"event": "fault", "queue": queue, "fault": fault.to_string(), "waiting": waiting})
            }
            Self::EventsLost(count) => json!({"event": "overload", "place": "log", "count": count}),
            Self::Started(started) => json!({
                "event": "started", "mode": if started.monitor { "monitor" } else { "enforce" },
                "backend": started.backend, "queues": started.queues, "knocks": started.knocks,
                "trusted": started.trusted, "receive_buffer": started.receive_buffer,
            }),
            Self::Reloaded(reloaded) => json!({
                "event": "reloaded", "mode": if reloaded.monitor { "monitor" } else { "enforce" },
                "knocks": reloaded.knocks, "trusted": reloaded.trusted, "closed": reloaded.closed,
            }),
            Self::Stopped { queues, totals, waiting, stale, unreadable, handed_to } => json!({
                "event": "stopped", "queues": queues, "packets": totals.total(), "reasons": totals.to_string(),
                "waiting": waiting, "stale": stale, "unreadable": unreadable, "handed_to": handed_to,
            }),
            Self::Grace(grace) => grace.fields(),
            Self::TrunkRefused(refused) => refused.fields(),
            Self::Rules(change) => rules::fields(change),
            Self::Detail(text) | Self::Note(text) | Self::Warning(text) => json!({"message": text}),
        }
    }
}

impl KnockEvent {
    fn fields(&self) -> Value {
        let door: Option<Door> = self.door.ok();
        json!({
            "event": self.event, "knock": self.knock, "src": self.source.to_string(), "sport": self.source_port,
            "dport": self.destination_port, "transport": self.transport, "method": self.method,
            "from": self.from, "user_agent": self.user_agent, "call_id": self.call_id,
            "door_s": door.map(|door| door.life().as_secs()),
            "expires_at": door.map(|door| door.expires.to_string()),
            "limit": self.door.err(), "queue": self.queue,
        })
    }
}
