use std::time::Duration;

use proptest::prelude::*;

use super::layout::{MAGIC, OUTBOUND, OUTBOUND_BY_WALL, VERSION};
use super::sum::Summed;
use super::*;
use crate::door::RegistrationId;
use crate::inspect::Identities;
use crate::net::{Prefixes, Source};
use crate::outbound::{ContactBinding, Method};
use crate::state::stamp::Stamp;
use crate::time::Time;

fn write(saved: &Saved) -> Vec<u8> {
    let names = saved.names.iter().map(String::as_str);
    let mut writer = Writer::new(Vec::new(), &saved.stamp, saved.prefixes, names).unwrap();
    saved.identities.iter().for_each(|identities| writer.identities(identities).unwrap());
    saved.doors.iter().for_each(|door| writer.door(door).unwrap());
    saved.outbound.iter().for_each(|door| writer.outbound(door).unwrap());
    saved.marks.iter().for_each(|mark| writer.mark(mark).unwrap());
    writer.finish().unwrap()
}

fn span() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn claim(names: u32) -> impl Strategy<Value = ClaimRecord> {
    let knock = prop_oneof![Just(BY_HAND), 0..names.max(1)];
    let knock = knock.prop_map(move |knock| if names == 0 { BY_HAND } else { knock });
    let registration = prop::option::of(any::<[u64; 2]>());
    (knock, registration, span(), span(), any::<[bool; 2]>()).prop_map(
        |(knock, registration, left, life, [closing, ran_out])| ClaimRecord {
            knock,
            registration: registration.map(|[user, phone]| RegistrationId { user, phone }),
            left,
            life,
            closing,
            ran_out,
        },
    )
}

fn record(names: u32) -> impl Strategy<Value = DoorRecord> {
    let claims = prop::collection::vec(claim(names), 0..4);
    (any::<[u64; 2]>(), any::<[u64; 2]>(), any::<[u64; 2]>(), claim(names), claims).prop_map(
        |(source, times, counts, claim, claims)| DoorRecord {
            source: Source::from_bits(source),
            opened: Time::from_nanos(times[0]),
            last_knock: Time::from_nanos(times[1]),
            packets: counts[0],
            bytes: counts[1],
            claim: ClaimRecord { registration: None, ..claim },
            claims,
        },
    )
}

fn identities(names: usize) -> impl Strategy<Value = Option<Identities>> {
    let digests = prop::collection::vec(any::<u32>(), names);
    prop::option::of((any::<[u8; 16]>(), digests).prop_map(|(salt, digests)| Identities { salt, digests }))
}

fn outbound() -> impl Strategy<Value = OutboundRecord> {
    let binding = (any::<u64>(), any::<[u64; 2]>(), span());
    let binding = binding.prop_map(|(aor, users, left)| (ContactBinding { aor, users }, left));
    let method = prop_oneof![Just(Method::Other), prop::sample::select(Method::OPENING.to_vec())];
    let bindings = prop::collection::vec(binding, 0..4);
    (any::<[u64; 2]>(), any::<[u64; 2]>(), span(), method, bindings).prop_map(
        |(source, times, left, method, bindings)| OutboundRecord {
            source: Source::from_bits(source),
            opened: Time::from_nanos(times[0]),
            requested: Duration::from_nanos(times[1]),
            left,
            method,
            bindings,
        },
    )
}

fn mark() -> impl Strategy<Value = MarkRecord> {
    any::<[u64; 4]>().prop_map(|[high, low, left, life]| MarkRecord {
        source: Source::from_bits([high, low]),
        left: Duration::from_nanos(left),
        life: Duration::from_nanos(life),
    })
}

fn saved() -> impl Strategy<Value = Saved> {
    let names = prop::collection::vec(".{1,20}", 0..5);
    names
        .prop_flat_map(|names| {
            let doors = prop::collection::vec(record(names.len() as u32), 0..6);
            let more = (prop::collection::vec(outbound(), 0..3), prop::collection::vec(mark(), 0..3));
            let identities = identities(names.len());
            (Just(names), identities, doors, more, any::<(u64, u64, u128)>(), any::<[u8; 2]>())
        })
        .prop_map(|(names, identities, doors, (outbound, marks), (wall, since_boot, boot), [v4, v6])| Saved {
            stamp: Stamp { wall: Time::from_nanos(wall), since_boot: Duration::from_nanos(since_boot), boot },
            prefixes: Prefixes { v4, v6 },
            names,
            identities,
            doors,
            outbound,
            marks,
        })
}

#[test]
fn the_checksum_is_the_well_known_one() {
    let mut summed = Summed::new(());
    summed.sum.update(b"1234");
    summed.sum.update(b"56789");
    assert_eq!(summed.sum(), 0xcbf4_3926);
}

#[test]
fn what_is_no_file_of_doors_is_told_so() {
    assert!(matches!(read(&b""[..]), Err(Damage::Foreign)));
    assert!(matches!(read(&b"[inspect]\nports = [5060]\n"[..]), Err(Damage::Foreign)));
    let later = [&MAGIC[..], &3u32.to_le_bytes(), b"whatever"].concat();
    assert!(matches!(read(&*later), Err(Damage::Version(3))));
    assert!(matches!(read(&*[&MAGIC[..], &[0; 4]].concat()), Err(Damage::Version(0))));
}

/// The same bytes as another version, with the checksum that they then have.
fn as_version(file: &[u8], version: u32) -> Vec<u8> {
    let mut file = file[..file.len() - 4].to_vec();
    file[16..20].copy_from_slice(&version.to_le_bytes());
    file.extend(crc32fast::hash(&file).to_le_bytes());
    file
}

/// As it was written for a while: the PBX's last request by the wall clock, and no claims.
#[test]
fn an_outbound_door_by_the_wall_clock_is_read() {
    let stamp = Stamp { wall: Time::from_parts(1000, 0), ..Stamp::default() };
    let door = OutboundRecord {
        source: Source::from_bits([1, 2]),
        opened: Time::from_parts(900, 0),
        requested: Duration::from_secs(960),
        left: Duration::from_secs(5),
        method: Method::Invite,
        bindings: Vec::new(),
    };
    let mut writer = Writer::new(Vec::new(), &stamp, Prefixes::default(), std::iter::empty()).unwrap();
    writer.outbound(&door).unwrap();
    let mut file = writer.finish().unwrap();
    let kind = file.iter().rposition(|byte| *byte == OUTBOUND).unwrap();
    file[kind] = OUTBOUND_BY_WALL;
    let saved = read(&*as_version(&file, 2)).unwrap();
    assert_eq!(saved.outbound, [OutboundRecord { requested: Duration::from_secs(40), ..door }]);
}

#[test]
fn no_door_has_more_claims_than_there_may_be() {
    let claim = ClaimRecord {
        knock: BY_HAND,
        registration: None,
        left: Duration::ZERO,
        life: Duration::ZERO,
        closing: false,
        ran_out: false,
    };
    let record = |claims| DoorRecord {
        source: Source::from_bits([1, 2]),
        opened: Time::default(),
        last_knock: Time::default(),
        packets: 0,
        bytes: 0,
        claim,
        claims: vec![claim; claims],
    };
    let file = |doors: &[DoorRecord]| {
        let mut writer =
            Writer::new(Vec::new(), &Stamp::default(), Prefixes::default(), std::iter::empty()).unwrap();
        doors.iter().for_each(|door| writer.door(door).unwrap());
        writer.finish().unwrap()
    };
    assert_eq!(read(&*file(&[record(256)])).unwrap().doors[0].claims.len(), 256);
    assert_eq!(read(&*file(&[record(300)])).unwrap().doors[0].claims.len(), 256, "no more are written");
    // One more than that, put in behind the others.
    let full = file(&[record(256)]);
    let (body, end) = full.split_at(full.len() - 1 - 8 - 4);
    let one = &body[body.len() - 38..];
    let mut longer = [body, one, &end[..1], &258u64.to_le_bytes(), &[0; 4]].concat();
    longer = as_version(&longer, 2);
    assert!(matches!(read(&*longer), Err(Damage::Broken("a claim has no door"))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn survives_the_round_trip(saved in saved()) {
        prop_assert_eq!(read(&*write(&saved)).unwrap(), saved);
    }

    #[test]
    fn files_of_the_first_version_are_read(saved in saved()) {
        let sole = |door: &DoorRecord| DoorRecord { claims: Vec::new(), ..door.clone() };
        let only_doors = Saved {
            identities: None,
            doors: saved.doors.iter().map(sole).collect(),
            outbound: Vec::new(),
            marks: Vec::new(),
            ..saved.clone()
        };
        prop_assert_eq!(read(&*as_version(&write(&only_doors), 1)).unwrap(), only_doors);
        let has_claims = saved.doors.iter().any(|door| !door.claims.is_empty());
        let has_more = !saved.outbound.is_empty() || !saved.marks.is_empty() || has_claims || saved.identities.is_some();
        prop_assert_eq!(read(&*as_version(&write(&saved), 1)).is_err(), has_more);
    }

    #[test]
    fn damage_at_every_byte_is_noticed(saved in saved(), flip in 1u8..) {
        let whole = write(&saved);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            prop_assert!(read(&*damaged).is_err(), "byte {} of {}", at, whole.len());
            prop_assert!(read(&whole[..at]).is_err(), "cut at {} of {}", at, whole.len());
        }
        let mut longer = whole;
        longer.push(0);
        prop_assert!(read(&*longer).is_err());
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), valid_start in any::<bool>()) {
        let mut file = if valid_start { [&MAGIC[..], &VERSION.to_le_bytes()].concat() } else { Vec::new() };
        file.extend(bytes);
        let _ = read(&*file);
    }
}
