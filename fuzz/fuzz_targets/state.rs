//! The file of doors: `state::format` over arbitrary bytes.
//!
//! - Arbitrary bytes end in doors or in damage, in memory that is bounded by the size of the file.
//! - So do those whose checksum is right, of either version. What is read from them is read again once it is written; of the
//!   first version it is written as the very same bytes, but for the version.
//! - What we write is read back; with one bit flipped, or cut anywhere, it is damaged.

#![no_main]

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use sipknock::door::{MAX_CLAIMS, RegistrationId};
use sipknock::inspect::Identities;
use sipknock::net::{Prefixes, Source};
use sipknock::outbound::{ContactBinding, MAX_BINDINGS, Method};
use sipknock::state::format::{
    BY_HAND, ClaimRecord, DoorRecord, MarkRecord, OutboundRecord, Saved, Writer, read,
};
use sipknock::state::stamp::Stamp;
use sipknock::time::Time;

fuzz_target!(|bytes: &[u8]| {
    _ = read(bytes);
    for version in [1u8, 2] {
        let mut file = [&b"sipknock doors\n\0"[..], &[version, 0, 0, 0], bytes].concat();
        file.extend(checksum(&file).to_le_bytes());
        let Ok(saved) = read(&*file) else { continue };
        let written = write(&saved);
        assert_eq!(read(&*written).expect("ours"), saved);
        if version == 1 {
            assert!(saved.outbound.is_empty() && saved.marks.is_empty() && saved.identities.is_none());
            assert!(saved.doors.iter().all(|door| door.claims.is_empty()));
            let end = written.len() - 4;
            let mut first = written[..end].to_vec();
            first[16] = version;
            first.extend(checksum(&first).to_le_bytes());
            assert_eq!(first, file);
        }
    }
    let mut rest = Unstructured::new(bytes);
    if let (Ok(doors), Ok(place), Ok(bit)) =
        (Doors::arbitrary(&mut rest), usize::arbitrary(&mut rest), u8::arbitrary(&mut rest))
    {
        ours(&doors.saved(), place, bit);
    }
});

fn ours(saved: &Saved, place: usize, bit: u8) {
    let mut file = write(saved);
    assert_eq!(&read(&*file).expect("ours"), saved);
    let place = place % file.len();
    assert!(read(&file[..place]).is_err());
    file[place] ^= 1 << (bit % 8);
    assert!(read(&*file).is_err());
}

fn write(saved: &Saved) -> Vec<u8> {
    let names = saved.names.iter().map(String::as_str);
    let mut out = Writer::new(Vec::new(), &saved.stamp, saved.prefixes, names).expect("a vector");
    saved.identities.iter().for_each(|identities| out.identities(identities).expect("a vector"));
    saved.doors.iter().for_each(|door| out.door(door).expect("a vector"));
    saved.outbound.iter().for_each(|door| out.outbound(door).expect("a vector"));
    saved.marks.iter().for_each(|mark| out.mark(mark).expect("a vector"));
    out.finish().expect("a vector")
}

#[derive(Arbitrary, Debug)]
struct Doors {
    wall: u64,
    since_boot: u64,
    boot: u128,
    prefixes: [u8; 2],
    names: Vec<String>,
    identities: Option<([u8; 16], Vec<u32>)>,
    doors: Vec<Door>,
    outbound: Vec<Outbound>,
    marks: Vec<[u64; 4]>,
}

#[derive(Arbitrary, Debug)]
struct Outbound {
    source: [u64; 2],
    times: [u64; 2],
    left: u64,
    method: u8,
    bindings: Vec<[u64; 4]>,
}

impl Outbound {
    fn record(&self) -> OutboundRecord {
        let binding = |&[aor, contact, user, left]: &[u64; 4]| {
            (ContactBinding { aor, users: [contact, user] }, Duration::from_nanos(left))
        };
        OutboundRecord {
            source: Source::from_bits(self.source),
            opened: Time::from_nanos(self.times[0]),
            requested: Duration::from_nanos(self.times[1]),
            left: Duration::from_nanos(self.left),
            method: Method::OPENING.get(usize::from(self.method)).copied().unwrap_or(Method::Other),
            bindings: self.bindings.iter().take(MAX_BINDINGS).map(binding).collect(),
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Door {
    source: [u64; 2],
    times: [u64; 2],
    counts: [u64; 2],
    claim: Claim,
    claims: Vec<Claim>,
}

#[derive(Arbitrary, Debug)]
struct Claim {
    knock: u32,
    registration: Option<[u64; 2]>,
    spans: [u64; 2],
    closing: bool,
    ran_out: bool,
}

impl Claim {
    fn record(&self, names: usize) -> ClaimRecord {
        ClaimRecord {
            knock: match u32::try_from(names) {
                Ok(known @ 1..) if self.knock != BY_HAND => self.knock % known,
                _ => BY_HAND,
            },
            registration: self.registration.map(|[user, phone]| RegistrationId { user, phone }),
            left: Duration::from_nanos(self.spans[0]),
            life: Duration::from_nanos(self.spans[1]),
            closing: self.closing,
            ran_out: self.ran_out,
        }
    }
}

impl Doors {
    fn saved(&self) -> Saved {
        let names: Vec<_> = self.names.iter().map(|name| name.chars().take(64).collect()).collect();
        let record = |door: &Door| DoorRecord {
            source: Source::from_bits(door.source),
            opened: Time::from_nanos(door.times[0]),
            last_knock: Time::from_nanos(door.times[1]),
            packets: door.counts[0],
            bytes: door.counts[1],
            claim: ClaimRecord { registration: None, ..door.claim.record(names.len()) },
            claims: door.claims.iter().take(MAX_CLAIMS).map(|claim| claim.record(names.len())).collect(),
        };
        let stamp = Stamp {
            wall: Time::from_nanos(self.wall),
            since_boot: Duration::from_nanos(self.since_boot),
            boot: self.boot,
        };
        let [v4, v6] = self.prefixes;
        let mark = |&[high, low, left, life]: &[u64; 4]| MarkRecord {
            source: Source::from_bits([high, low]),
            left: Duration::from_nanos(left),
            life: Duration::from_nanos(life),
        };
        Saved {
            stamp,
            prefixes: Prefixes { v4, v6 },
            doors: self.doors.iter().map(record).collect(),
            outbound: self.outbound.iter().map(Outbound::record).collect(),
            marks: self.marks.iter().map(mark).collect(),
            identities: self.identities.as_ref().map(|(salt, digests)| Identities {
                salt: *salt,
                digests: (0..names.len()).map(|n| digests.get(n).copied().unwrap_or(0)).collect(),
            }),
            names,
        }
    }
}

/// CRC-32 (ISO-HDLC), a bit at a time.
fn checksum(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 },
        )
    });
    !sum
}
