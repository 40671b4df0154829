//! Doors as they are written down, and the way back: see [`crate::state::records`].

use std::io::{self, Write};

use crate::clock::Clock;
use crate::daemon::event_log::EventSender;
use crate::event::Event;
use crate::inspect::Inspector;
use crate::knock::SALT;
use crate::state::format::Saved;
use crate::state::records::{self, RestoredDoors};
use crate::state::stamp::Stamp;
use crate::time::Time;

/// Writes doors down as they are now.
pub(super) fn write_doors<W: Write>(gate: &Inspector, clock: Clock, out: W) -> io::Result<W> {
    let stamp = Stamp::now();
    records::write(gate, &stamp, || clock.now(), salt, out)
}

fn salt() -> [u8; SALT] {
    let mut salt = [0; SALT];
    // Without it the digests could be compared with those of another file, and still say little of a secret.
    let _ = rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty());
    salt
}

/// Opens the doors again for as long as they would still be open, remembers those that have run out, and says so.
pub(super) fn restore(gate: &Inspector, now: Time, saved: &Saved, sink: &EventSender) {
    let Some(restored) = records::restore(gate, now, saved, Stamp::now().since(&saved.stamp)) else {
        let text = "the doors of before are lost: they were for sources of other prefixes, see ipv4_prefix and ipv6_prefix";
        sink.send(Event::Warning(text.to_owned()));
        return;
    };
    let RestoredDoors { open, ran_out, gone, no_room, kept, recut } = restored;
    let mut text = format!(
        "doors of before: {open} open again, {ran_out} have run out, {gone} are of knocks that are gone, {no_room} find no room"
    );
    if recut > 0 {
        text.push_str(&format!(
            ", {recut} are of networks in which each address is a source of its own now (see nat64): phones there open their own by \
             their next knock"
        ));
    }
    if kept > 0 {
        text.push_str(&format!("; {kept} of the open ones were held by knocks that are gone as well"));
    }
    sink.send(Event::Note(text));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::testing::{gate, outbound_door, source};
    use crate::door::{Claim, ClaimRegistration, Door, DoorState, Grant, Listed};
    use crate::knock::KnockId;
    use crate::outbound::OutboundDoor;
    use crate::state::format::read;

    fn grant(knock: KnockId, secs: u64, phone: Option<u64>) -> Grant {
        let registration = phone.map(|phone| ClaimRegistration { user: 1, phone, end: None });
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
        assert_eq!(states, [DoorState::Open, DoorState::None, DoorState::Expired, DoorState::None]);
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
        let ago = now.before(hours(20));
        let door = OutboundDoor { opened: ago, requested: ago, ..outbound_door(now) };
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
