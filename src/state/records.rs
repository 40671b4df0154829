//! Doors as they are written down, and the way back.

use std::cmp::Reverse;
use std::io::{self, Write};
use std::time::Duration;

use super::format::{BY_HAND, ClaimRecord, DoorRecord, MarkRecord, OutboundRecord, Saved, Writer};
use super::stamp::Stamp;
use crate::door::{Claim, Door, Listed};
use crate::inspect::Inspector;
use crate::knock::{KnockId, SALT};
use crate::net::Source;
use crate::outbound::{ContactBinding, HeldBinding, Mark, OutboundDoor};
use crate::time::Time;

/// Writes doors as [`super::format`] has them: those that are open, and those that have run out and are remembered.
///
/// The `stamp` is older than what `now` says: whatever changes later is of after the stamp, and has the next one written.
/// `salt` is for the knocks' identities.
///
/// # Errors
/// As writing has.
pub fn write<W: Write>(
    gate: &Inspector,
    stamp: &Stamp,
    now: impl FnOnce() -> Time,
    salt: impl FnOnce() -> [u8; SALT],
    out: W,
) -> io::Result<W> {
    let names = gate.names();
    let known = names.len() as u64;
    let mut out = Writer::new(out, stamp, gate.cut().prefixes(), names)?;
    out.identities(gate.identities(salt))?;
    let (now, parts) = (now(), gate.doors().parts(PART));
    // One that came with a reload a moment ago is for the next time.
    let is_named = |knock: KnockId| knock == Door::by_hand() || (knock.index() as u64) < known;
    for part in 0..parts {
        for mut listed in gate.doors().known(part, parts, now) {
            if !listed.claims.iter().all(|claim| is_named(claim.knock)) {
                listed.claims = listed.claims.into_iter().filter(|claim| is_named(claim.knock)).collect();
            }
            if is_named(listed.door.knock) {
                out.door(&record(&listed, now))?;
            }
        }
    }
    for (source, door) in gate.outbound().listed(now) {
        out.outbound(&outbound_record(source, &door, now))?;
    }
    for (source, Mark { until, life }) in gate.outbound().marks(now) {
        out.mark(&MarkRecord { source, left: until.since(now), life })?;
    }
    out.finish()
}

fn record(listed: &Listed, now: Time) -> DoorRecord {
    let claim = |claim: &Claim| claim_record(claim, now);
    DoorRecord {
        source: listed.source,
        opened: listed.door.opened,
        last_knock: listed.last_knock,
        packets: listed.packets,
        bytes: listed.bytes,
        claim: claim(&Claim::sole(&listed.door)),
        claims: listed.claims.iter().map(claim).collect(),
    }
}

fn claim_record(claim: &Claim, now: Time) -> ClaimRecord {
    let index = || u32::try_from(claim.knock.index()).unwrap_or(BY_HAND);
    ClaimRecord {
        knock: if claim.knock == Door::by_hand() { BY_HAND } else { index() },
        registration: claim.registration,
        left: claim.until.since(now).max(now.since(claim.until)),
        life: claim.life,
        closing: claim.closing,
        ran_out: claim.until <= now,
    }
}

fn outbound_record(source: Source, door: &OutboundDoor, now: Time) -> OutboundRecord {
    let OutboundDoor { opened, method, requested, held_until, bindings, packets: _, bytes: _ } = door;
    OutboundRecord {
        source,
        opened: *opened,
        requested: now.since(*requested),
        left: held_until.since(now),
        method: *method,
        bindings: bindings.iter().map(|held| (held.binding, held.until.since(now))).collect(),
    }
}

/// The outcome for doors of before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoredDoors {
    /// They are open again.
    pub open: u64,
    /// They have run out.
    pub ran_out: u64,
    /// Their knocks are gone.
    pub gone: u64,
    /// There is no room for them.
    pub no_room: u64,
    /// Doors of knocks that are gone, and that others hold as well. They count as open.
    pub kept: u64,
    /// They were for networks in which each address is a source of its own now, or the other way round.
    pub recut: u64,
}

/// Opens the doors again for as long as they would still be open, and remembers those that have run out. So much time has
/// `passed` since they were written. `None` if they were for sources of other prefixes, and all are lost.
pub fn restore(gate: &Inspector, now: Time, saved: &Saved, passed: Duration) -> Option<RestoredDoors> {
    if saved.prefixes != gate.cut().prefixes() {
        return None;
    }
    restore_outbound(gate, now, saved, passed);
    let ids = gate.known_again(&saved.names, saved.identities.as_ref());
    let mut restored = RestoredDoors::default();
    for record in &saved.doors {
        match gate.cut().makes(record.source) {
            true => restore_door(gate, now, record, passed, &ids, &mut restored),
            false => restored.recut += 1,
        }
    }
    Some(restored)
}

fn restore_door(
    gate: &Inspector,
    now: Time,
    record: &DoorRecord,
    passed: Duration,
    ids: &[Option<KnockId>],
    restored: &mut RestoredDoors,
) {
    let sole = record.claims.is_empty().then_some(&record.claim);
    let (mut claims, mut gone) = (Vec::new(), Vec::new());
    for claim in sole.into_iter().chain(&record.claims) {
        let knock = match claim.knock {
            BY_HAND => Some(Door::by_hand()),
            index => ids.get(index as usize).copied().flatten(),
        };
        let until = match claim.ran_out {
            true => now.before(claim.left.saturating_add(passed)),
            false => match claim.left.checked_sub(passed) {
                Some(left) => now.after(left),
                None => now.before(passed.saturating_sub(claim.left)),
            },
        };
        let ClaimRecord { registration, life, closing, .. } = *claim;
        let again = Claim { knock: knock.unwrap_or(KnockId::FIRST), registration, until, life, closing };
        match knock {
            Some(_) if again.is_known(now) => claims.push(again),
            Some(_) => {}
            None if again.is_known(now) || !claim.ran_out => gone.push(again),
            None => {}
        }
    }
    if let Some(life) = gone.iter().map(|claim| claim.life).max() {
        // As if the knock had been taken out of a gate that runs.
        gate.outbound().mark(record.source, now, gate.mark_life(life));
    }
    let Some(door) = Listed::again(record.source, record.opened, claims) else {
        match gone.is_empty() {
            true => restored.ran_out += 1,
            false => restored.gone += 1,
        }
        return;
    };
    let DoorRecord { last_knock, packets, bytes, .. } = *record;
    let door = Listed { last_knock, packets, bytes, ..door };
    if door.door.expires <= now {
        let was_open = gone.iter().any(|claim| now < claim.until);
        gate.doors().remember(&door);
        *(if was_open { &mut restored.gone } else { &mut restored.ran_out }) += 1;
    } else if gate.doors().restore(&door, now) {
        restored.open += 1;
        restored.kept += u64::from(gone.iter().any(|claim| now < claim.until));
    } else {
        restored.no_room += 1;
    }
}

/// Sets the marks of before, and opens the outbound doors of sources that have none.
fn restore_outbound(gate: &Inspector, now: Time, saved: &Saved, passed: Duration) {
    for MarkRecord { source, left, life } in &saved.marks {
        let mark = Mark { until: now.after(left.saturating_sub(passed)), life: *life };
        gate.outbound().restore_mark(*source, mark, now);
    }
    if gate.outbound_life().is_none() {
        return;
    }
    let mut records: Vec<_> =
        saved.outbound.iter().filter(|record| gate.cut().makes(record.source)).collect();
    // If there may be fewer of them now, those stay that were called last.
    records.sort_unstable_by_key(|record| (record.requested, Reverse(record.source)));
    for record in records {
        let until = |left: Duration| now.after(left.saturating_sub(passed));
        let held = |(binding, left): &(ContactBinding, Duration)| HeldBinding {
            binding: *binding,
            until: until(*left),
        };
        let door = OutboundDoor {
            opened: record.opened,
            method: record.method,
            requested: now.before(record.requested.saturating_add(passed)),
            held_until: until(record.left),
            bindings: record.bindings.iter().map(held).filter(|held| held.until > now).collect(),
            packets: 0,
            bytes: 0,
        };
        gate.outbound().restore(record.source, door, now);
    }
}

/// Doors that are copied at once: ten megabytes, and a million doors are written in half a second.
const PART: usize = 131_072;
