//! The file of doors: `state::format` over arbitrary bytes.
//!
//! - Arbitrary bytes end in doors or in damage, in memory that is bounded by the size of the file.
//! - So do those whose checksum is right. What is read from them is written as the very same bytes.
//! - What we write is read back; with one bit flipped, or cut anywhere, it is damaged.

#![no_main]

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use sipknock::net::{Prefixes, Source};
use sipknock::state::format::{BY_HAND, Record, Saved, Writer, read};
use sipknock::state::stamp::Stamp;
use sipknock::time::Time;

fuzz_target!(|bytes: &[u8]| {
    _ = read(bytes);
    let mut file = [&b"sipknock doors\n\0\x01\0\0\0"[..], bytes].concat();
    file.extend(checksum(&file).to_le_bytes());
    if let Ok(saved) = read(&*file) {
        assert_eq!(write(&saved), file);
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
    saved.doors.iter().for_each(|door| out.door(door).expect("a vector"));
    out.finish().expect("a vector")
}

#[derive(Arbitrary, Debug)]
struct Doors {
    wall: u64,
    since_boot: u64,
    boot: u128,
    prefixes: [u8; 2],
    names: Vec<String>,
    doors: Vec<Door>,
}

#[derive(Arbitrary, Debug)]
struct Door {
    source: [u64; 2],
    knock: u32,
    times: [u64; 2],
    spans: [u64; 2],
    counts: [u64; 2],
    closing: bool,
    ran_out: bool,
}

impl Doors {
    fn saved(&self) -> Saved {
        let names: Vec<_> = self.names.iter().map(|name| name.chars().take(64).collect()).collect();
        let record = |door: &Door| Record {
            source: Source::from_bits(door.source),
            knock: match u32::try_from(names.len()) {
                Ok(known @ 1..) if door.knock != BY_HAND => door.knock % known,
                _ => BY_HAND,
            },
            opened: Time::from_nanos(door.times[0]),
            last_knock: Time::from_nanos(door.times[1]),
            left: Duration::from_nanos(door.spans[0]),
            life: Duration::from_nanos(door.spans[1]),
            closing: door.closing,
            ran_out: door.ran_out,
            packets: door.counts[0],
            bytes: door.counts[1],
        };
        let stamp = Stamp {
            wall: Time::from_nanos(self.wall),
            since_boot: Duration::from_nanos(self.since_boot),
            boot: self.boot,
        };
        let [v4, v6] = self.prefixes;
        Saved { stamp, prefixes: Prefixes { v4, v6 }, doors: self.doors.iter().map(record).collect(), names }
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
