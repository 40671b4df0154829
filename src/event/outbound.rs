//! Doors that the PBX opens by requests of its own.

use serde_json::{Value, json};
use tracing::info;

use crate::inspect::{Inspector, OUTBOUND, Outgoing};
use crate::net::Source;
use crate::outbound::OutboundDoor;
use crate::time::Time;

/// An outbound door that opens or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundEvent {
    /// The destination of the request, or the network that it is in.
    pub(super) source: String,
    /// The method of the request that opened the door.
    pub(super) method: &'static str,
    /// The time for which the last request held it, in seconds.
    pub(super) door_s: u64,
    /// The first moment at which it is no longer open.
    pub(super) expires: Time,
    /// The cause of its end; `None`: it opens.
    pub(super) why: Option<&'static str>,
}

impl OutboundEvent {
    /// A door that a request has opened just now.
    pub fn opened(gate: &Inspector, outgoing: &Outgoing, now: Time, expires: Time) -> Self {
        Self {
            source: outgoing.source.display(gate.cut()).to_string(),
            method: outgoing.method.name(),
            door_s: expires.since(now).as_secs(),
            expires,
            why: None,
        }
    }

    /// A door that is shut, and why: as [`super::Event::closed`] has it.
    pub fn closed(gate: &Inspector, source: Source, door: &OutboundDoor, why: &'static str) -> Self {
        Self {
            source: source.display(gate.cut()).to_string(),
            method: door.method.name(),
            door_s: door.expires().since(door.requested).as_secs(),
            expires: door.expires(),
            why: Some(why),
        }
    }

    pub(super) fn write(&self) {
        let Self { source, method, door_s, expires, why } = self;
        match why {
            None => info!(
                target: "sipknock::door",
                event = "opened",
                by = "pbx",
                knock = OUTBOUND,
                src = %source,
                method,
                door_s,
                expires_at = %expires,
                "door opened by a request of the PBX"
            ),
            Some(why) => info!(
                target: "sipknock::door",
                event = "closed",
                why,
                knock = OUTBOUND,
                src = %source,
                method,
                door_s,
                expires_at = %expires,
                "door closed"
            ),
        }
    }

    pub(super) fn fields(&self) -> Value {
        let Self { source, method, door_s, expires, why } = self;
        json!({
            "event": if why.is_some() { "closed" } else { "opened" }, "by": why.is_none().then_some("pbx"), "why": why,
            "knock": OUTBOUND, "src": source, "method": method, "door_s": door_s, "expires_at": expires.to_string(),
        })
    }
}
