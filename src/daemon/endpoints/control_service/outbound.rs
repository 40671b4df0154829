//! Outbound doors as people and programs get to see them.

use crate::control::protocol::DoorLine;
use crate::daemon::endpoints::control_service::selection::{DoorSelection, KnockSelection};
use crate::inspect::{Inspector, OUTBOUND};
use crate::net::Source;
use crate::outbound::OutboundDoor;
use crate::time::Time;

/// The open ones that are wanted, in the order of their sources.
pub(super) fn lines(gate: &Inspector, wanted: &DoorSelection, now: Time) -> Vec<DoorLine> {
    if matches!(wanted.knock, KnockSelection::This(_)) {
        return Vec::new();
    }
    let open = gate.outbound().listed(now);
    open.iter()
        .filter(|(source, _)| wanted.covers(gate, *source))
        .map(|(source, door)| line(gate, *source, door, now))
        .collect()
}

/// One of them.
pub(in crate::daemon) fn line(gate: &Inspector, source: Source, door: &OutboundDoor, now: Time) -> DoorLine {
    let (requested, expires) = (door.requested.to_string(), door.expires());
    DoorLine {
        source: source.display(gate.cut()).to_string(),
        knock: OUTBOUND.to_owned(),
        knocks: Vec::new(),
        opened: door.opened.to_string(),
        last_knock: requested.clone(),
        expires: expires.to_string(),
        expires_in_s: expires.since(now).as_secs(),
        packets: door.packets,
        bytes: door.bytes,
        method: Some(door.method.name().to_owned()),
        request: Some(requested),
    }
}
