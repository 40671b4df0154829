//! Doors that the PBX opens by requests of its own.

use tracing::field::display;

use super::form::{EventForm, line};
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

    pub(super) fn put(&self, form: EventForm<'_>) {
        let Self { source, method, door_s, expires, why } = self;
        let (event, by, text) = match why {
            None => ("opened", Some("pbx"), "door opened by a request of the PBX"),
            Some(_) => ("closed", None, "door closed"),
        };
        line!(form, [INFO], "door", text, {
            event, by, why, knock: OUTBOUND, src: display(source), method, door_s, expires_at: display(expires),
        });
    }
}
