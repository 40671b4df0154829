//! Doors as people and programs get to see them.

use serde_json::Map;

use crate::control::protocol::{DoorKnock, DoorLine, DoorStats};
use crate::door::{Door, HeldClaim, Listed};
use crate::inspect::{Inspector, MANUAL, OUTBOUND};
use crate::time::Time;

/// A door as people and programs get to see it.
pub(in crate::daemon) fn line(gate: &Inspector, listed: &Listed, now: Time) -> DoorLine {
    let Listed { source, door, last_knock, packets, bytes, .. } = *listed;
    let knocks = listed.held_by(now);
    DoorLine {
        source: source.display(gate.cut()).to_string(),
        knock: gate.name(door.knock).to_owned(),
        knocks: knocks.iter().map(|held| door_knock(gate, held, now)).collect(),
        opened: door.opened.to_string(),
        last_knock: last_knock.to_string(),
        expires: door.expires.to_string(),
        expires_in_s: door.expires.since(now).as_secs(),
        packets,
        bytes,
        method: None,
        request: None,
    }
}

fn door_knock(gate: &Inspector, held: &HeldClaim, now: Time) -> DoorKnock {
    DoorKnock {
        knock: gate.name(held.knock).to_owned(),
        until: held.until.to_string(),
        expires_in_s: held.until.since(now).as_secs(),
        registrations: held.registrations,
    }
}

pub(super) fn door_stats(gate: &Inspector, now: Time) -> DoorStats {
    let doors = gate.doors();
    let open = doors.open_count() as u64;
    let held = gate.knocks_by_id().map(|(id, knock)| (&knock.name, u64::from(doors.held_by(id))));
    let mut by_knock: Map<_, _> =
        held.filter(|(_, held)| *held > 0).map(|(name, held)| (name.clone(), held.into())).collect();
    let by_hand = doors.held_by(Door::by_hand());
    if by_hand > 0 {
        by_knock.insert(MANUAL.to_owned(), by_hand.into());
    }
    let called = gate.outbound().open_count(now) as u64;
    if called > 0 {
        by_knock.insert(OUTBOUND.to_owned(), called.into());
    }
    DoorStats { open, max: doors.max_doors() as u64, known: doors.len() as u64, by_knock }
}
