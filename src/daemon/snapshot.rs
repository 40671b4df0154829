//! Doors as they are written down, and the way back.

use std::io::{self, Write};
use std::time::Duration;

use crate::clock::Clock;
use crate::daemon::event_log::EventSender;
use crate::door::{Claim, Door, Listed};
use crate::event::Event;
use crate::inspect::Inspector;
use crate::knock::{KnockId, SALT};
use crate::net::Source;
use crate::outbound::{Binding, HeldBinding, Mark, OutboundDoor};
use crate::state::format::{BY_HAND, ClaimRecord, MarkRecord, OutboundRecord, Record, Saved, Writer};
use crate::state::stamp::Stamp;
use crate::time::Time;

/// Writes doors as [`crate::state::format`] has them: those that are open, and those that have run out and are remembered.
pub(super) fn write_doors<W: Write>(gate: &Inspector, clock: Clock, out: W) -> io::Result<W> {
    let (stamp, names) = (Stamp::now(), gate.names());
    let known = names.len() as u64;
    let mut out = Writer::new(out, &stamp, gate.cut().prefixes(), names)?;
    out.identities(gate.identities(salt))?;
    // Whatever changes from here on is of after the stamp, and has the next one written.
    let (now, parts) = (clock.now(), gate.doors().parts(PART));
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

fn salt() -> [u8; SALT] {
    let mut salt = [0; SALT];
    // Without it the digests could be compared with those of another file, and still say little of a secret.
    let _ = rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty());
    salt
}

fn record(listed: &Listed, now: Time) -> Record {
    let claim = |claim: &Claim| claim_record(claim, now);
    Record {
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

/// What became of doors of before.
#[derive(Default)]
struct Tally {
    open: u64,
    ran_out: u64,
    gone: u64,
    no_room: u64,
    /// Doors of knocks that are gone, and that others hold as well.
    kept: u64,
}

/// Opens the doors again for as long as they would still be open, and remembers those that have run out.
pub(super) fn restore(gate: &Inspector, now: Time, saved: &Saved, sink: &EventSender) {
    if saved.prefixes != gate.cut().prefixes() {
        let text = "the doors of before are lost: they were for sources of other prefixes, see ipv4_prefix and ipv6_prefix";
        sink.send(Event::Warning(text.to_owned()));
        return;
    }
    let passed = Stamp::now().since(&saved.stamp);
    restore_outbound(gate, now, saved, passed);
    let ids = gate.known_again(&saved.names, saved.identities.as_ref());
    let mut tally = Tally::default();
    let (same, other): (Vec<_>, Vec<_>) =
        saved.doors.iter().partition(|record| gate.cut().makes(record.source));
    same.into_iter().for_each(|record| restore_door(gate, now, record, passed, &ids, &mut tally));
    let Tally { open, ran_out, gone, no_room, kept } = tally;
    let mut text = format!(
        "doors of before: {open} open again, {ran_out} have run out, {gone} are of knocks that are gone, {no_room} find no room"
    );
    if !other.is_empty() {
        text.push_str(&format!(
            ", {} are of networks in which each address is a source of its own now (see nat64): phones there open their own by \
             their next knock",
            other.len()
        ));
    }
    if kept > 0 {
        text.push_str(&format!("; {kept} of the open ones were held by knocks that are gone as well"));
    }
    sink.send(Event::Note(text));
}

fn restore_door(
    gate: &Inspector,
    now: Time,
    record: &Record,
    passed: Duration,
    ids: &[Option<KnockId>],
    tally: &mut Tally,
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
            true => tally.ran_out += 1,
            false => tally.gone += 1,
        }
        return;
    };
    let Record { last_knock, packets, bytes, .. } = *record;
    let door = Listed { last_knock, packets, bytes, ..door };
    if door.door.expires <= now {
        let was_open = gone.iter().any(|claim| now < claim.until);
        gate.doors().remember(&door);
        *(if was_open { &mut tally.gone } else { &mut tally.ran_out }) += 1;
    } else if gate.doors().restore(&door, now) {
        tally.open += 1;
        tally.kept += u64::from(gone.iter().any(|claim| now < claim.until));
    } else {
        tally.no_room += 1;
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
    records.sort_by_key(|record| record.requested);
    for record in records {
        let until = |left: Duration| now.after(left.saturating_sub(passed));
        let held =
            |(binding, left): &(Binding, Duration)| HeldBinding { binding: *binding, until: until(*left) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::{Grant, Registration, State};
    use crate::inspect::Policy;
    use crate::knock::{Knock, KnockSet, Secret};
    use crate::net::Prefixes;
    use crate::outbound::Method;
    use crate::state::format::read;

    fn gate(knocks: &[(&str, &str)]) -> Inspector {
        let knock = |(name, secret): &(&str, &str)| {
            Knock::new(*name, Secret::new(secret.as_bytes()).unwrap(), Duration::from_secs(100))
        };
        let policy = Policy { outbound: Some(Duration::from_secs(4 * 3600)), ..Policy::default() };
        Inspector::new(policy, KnockSet::new(knocks.iter().map(knock).collect()).unwrap(), 10)
    }

    fn source(n: u8) -> Source {
        Source::new([192, 0, 2, n].into(), Prefixes::default())
    }

    fn grant(knock: KnockId, secs: u64, phone: Option<u64>) -> Grant {
        let registration = phone.map(|phone| Registration { user: 1, phone, end: None });
        Grant { knock, life: Duration::from_secs(secs), registration }
    }

    /// The claims to a door by their knocks' names, each with its registration and the seconds that it has left.
    fn claims(gate: &Inspector, n: u8, now: Time) -> Vec<(String, Option<u64>, u64)> {
        let listed = gate.doors().look(source(n), now);
        let claim = |claim: Claim| {
            let left = claim.until.since(now).as_secs_f64().round() as u64;
            (gate.name(claim.knock).to_owned(), claim.registration.map(|id| id.phone), left)
        };
        listed.iter().flat_map(Listed::claims).map(claim).collect()
    }

    #[test]
    fn claims_go_to_the_file_and_come_back() {
        let clock = Clock::start();
        let (sink, _writer) = EventSender::start(clock).unwrap();
        let before = gate(&[("alice", "secret-one"), ("office", "secret-two"), ("bob", "secret-three")]);
        let [alice, office, bob] = ["alice", "office", "bob"].map(|name| before.knock_named(name).unwrap());
        let now = clock.now();
        let doors = before.doors();
        for grant in [
            grant(alice, 4000, None),
            grant(office, 500, Some(1)),
            grant(office, 300, Some(2)),
            grant(bob, 9000, None),
            grant(Door::by_hand(), 60, None),
        ] {
            doors.knock(source(1), now, &[grant]);
        }
        doors.knock(source(2), now, &[grant(bob, 9000, None)]);
        // These have run out: one of a knock that stays, and one of a knock that goes.
        doors.knock(source(3), now.before(Duration::from_secs(150)), &[grant(alice, 100, None)]);
        doors.knock(source(4), now.before(Duration::from_secs(150)), &[grant(bob, 100, None)]);
        let saved = read(&*write_doors(&before, clock, Vec::new()).unwrap()).unwrap();
        assert_eq!(saved.doors.len(), 4);

        let after = gate(&[("office", "secret-two"), ("alice-home", "secret-one")]);
        let now = clock.now();
        restore(&after, now, &saved, &sink);
        assert_eq!(
            claims(&after, 1, now),
            [
                ("alice-home".to_owned(), None, 4000),
                ("office".to_owned(), Some(1), 500),
                ("office".to_owned(), Some(2), 300),
                ("manual".to_owned(), None, 60),
            ]
        );
        let states = [1, 2, 3, 4].map(|n| after.doors().state(source(n), now));
        assert_eq!(states, [State::Open, State::None, State::RunOut, State::None]);
        let marked = [1, 2, 3, 4].map(|n| after.outbound().is_marked(source(n), now));
        assert_eq!(marked, [true, true, false, true], "of all sources that bob held or is remembered for");
    }

    /// The wall clock is set between two processes of the same boot.
    #[test]
    fn the_last_request_of_the_pbx_is_so_long_ago_whatever_the_clock_says() {
        let clock = Clock::start();
        let (sink, _writer) = EventSender::start(clock).unwrap();
        let before = gate(&[("alice", "secret-one")]);
        let (now, hours) = (clock.now(), |hours: u64| Duration::from_secs(hours * 3600));
        let door = OutboundDoor {
            opened: now.before(hours(20)),
            method: Method::Invite,
            requested: now.before(hours(20)),
            held_until: now.after(hours(1)),
            bindings: Vec::new(),
            packets: 0,
            bytes: 0,
        };
        assert!(before.outbound().restore(source(1), door, now));
        let saved = read(&*write_doors(&before, clock, Vec::new()).unwrap()).unwrap();
        for set in [hours(48), Duration::ZERO] {
            let (after, now) = (gate(&[("alice", "secret-one")]), clock.now().after(set));
            restore(&after, now, &saved, &sink);
            let [(_, door)] = &after.outbound().listed(now)[..] else { panic!("one door") };
            assert_eq!(now.since(door.requested).as_secs() / 3600, 20);
            // It may still be renewed by a dialog, as long as that is within a day of the request.
            after.outbound().in_dialog(source(1), now, hours(4));
            let [(_, door)] = &after.outbound().listed(now)[..] else { panic!("one door") };
            assert_eq!((door.held_until.since(now).as_secs_f64() / 3600.0).round() as u64, 4);
        }
    }
}
