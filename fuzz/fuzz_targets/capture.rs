//! Captures: `replay::capture`, `replay::link`, `Intake` and `Replay::packet` over arbitrary bytes as a file.
//!
//! - However the input comes, whole, byte by byte, in odd pieces or with interruptions, the records and the error at
//!   the end are the same. Numbers ascend by 1, the error counts the records before it, and nothing comes behind it.
//! - A file that is cut anywhere has the first records of the whole; one that can't be read on has them too.
//! - Memory is bounded by the size of the file, whatever lengths stand in it.
//! - The network layer is the end of a frame, every packet in scope gets one decision, and its line is JSON.
//! - Where nothing is put together or unpacked, a packet is as long as its frame leaves room for. What was not seen is counted once
//!   for each packet at most.

#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Read};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use libfuzzer_sys::fuzz_target;
use sipknock::config::{Config, Flags};
use sipknock::replay::capture::{self, Capture, CaptureError};
use sipknock::replay::link::{LinkType, network_layer};
use sipknock::replay::report::{Summary, write_packet};
use sipknock::replay::{Hook, Inspected, Intake, PacketFate, Replay};
use sipknock::time::Time;

fuzz_target!(|file: &[u8]| {
    memory(file);
    let whole = read(file);
    for pieces in [&[1][..], &[1, 0, 7, 2, 64, 3], &[4, 20, 8, 4096, 5]] {
        assert_eq!(read(Pieces { file, pieces, turn: 0, fail: false }), whole);
    }
    let seed = file.iter().fold(file.len(), |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let cut = &file[..seed % (file.len() + 1)];
    assert!(whole.records.starts_with(&read(cut).records));
    let failed = read(Pieces { file: cut, pieces: &[16, 9], turn: 0, fail: true });
    assert!(whole.records.starts_with(&failed.records));
    assert!(failed.error.is_some(), "the input failed, or something was wrong before that");
    for hook in [Hook::Input, Hook::Forward] {
        replay(&whole.records, hook, false);
        replay(&whole.records, hook, true);
    }
});

/// Number, time, link type, bytes, length on the wire.
type Record = (u64, Time, LinkType, Vec<u8>, u32);

#[derive(Debug, PartialEq)]
struct Outcome {
    records: Vec<Record>,
    error: Option<String>,
}

fn read(input: impl Read) -> Outcome {
    let mut records = Vec::new();
    let mut capture = match Capture::open(input) {
        Ok(capture) => capture,
        Err(error) => return Outcome { records, error: Some(error.to_string()) },
    };
    let error = loop {
        match capture.next() {
            Ok(Some(record)) => {
                assert_eq!(record.number, records.len() as u64 + 1);
                records.push((
                    record.number,
                    record.time,
                    record.link,
                    record.data.to_vec(),
                    record.wire_len,
                ));
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(matches!(capture.next(), Ok(None)), "nothing comes behind the end");
    if let Some(error) = &error {
        assert_eq!(records_before(error), Some(records.len() as u64), "{error}");
    }
    Outcome { records, error: error.map(|error| error.to_string()) }
}

/// How many records an error says were read before it.
fn records_before(error: &CaptureError) -> Option<u64> {
    match *error {
        CaptureError::Io { after, .. }
        | CaptureError::Truncated { after }
        | CaptureError::TooLarge { after, .. }
        | CaptureError::Malformed { after, .. }
        | CaptureError::Interfaces { after, .. } => Some(after),
        CaptureError::Interface { packet, .. } => Some(packet - 1),
        CaptureError::Empty | CaptureError::Compressed { .. } | CaptureError::NotACapture(_) => None,
    }
}

/// An input that comes in pieces of these sizes, over and over; 0 is an interruption.
struct Pieces<'a> {
    file: &'a [u8],
    pieces: &'static [usize],
    turn: usize,
    /// Whether it fails where the file ends.
    fail: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let piece = self.pieces[self.turn % self.pieces.len()];
        self.turn += 1;
        if piece == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.fail && self.file.is_empty() {
            return Err(io::Error::other("unplugged"));
        }
        let (now, later) = self.file.split_at(piece.min(room.len()).min(self.file.len()));
        room[..now.len()].copy_from_slice(now);
        self.file = later;
        Ok(now.len())
    }
}

/// Reads without keeping anything, and asks how much memory that took.
fn memory(file: &[u8]) {
    let before = USED.load(Relaxed);
    PEAK.store(before, Relaxed);
    if let Ok(mut capture) = Capture::open(file) {
        while let Ok(Some(_)) = capture.next() {}
    }
    let took = PEAK.load(Relaxed).saturating_sub(before);
    // Options of four bytes become some 32 in memory, and a growing vector is there three times for a moment.
    assert!(took <= (1 << 20) + 100 * file.len(), "{took} bytes of memory for a file of {}", file.len());
}

fn replay(records: &[Record], hook: Hook, into_tunnels: bool) {
    let mut intake = Intake::new(RULES.inspect.scope.clone()).at(hook).into_tunnels(into_tunnels);
    let mut replay = Replay::new(RULES.inspector().expect("valid rules"), RULES.inspect.scope.clone());
    let mut summary = Summary::default();
    summary.packets = records.len() as u64;
    let mut lines = Vec::new();
    for &(number, time, link, ref data, wire_len) in records {
        let in_frame = network_layer(link, data);
        let arrived = intake.packet(&capture::CaptureRecord { number, time, link, data, wire_len });
        assert_eq!(arrived.as_ref().err(), in_frame.as_ref().err());
        let (Ok(in_frame), Ok(arrived)) = (in_frame, arrived) else { continue };
        assert!(data.ends_with(in_frame));
        if hook == Hook::Forward && !into_tunnels {
            assert_eq!(arrived.as_ref().map(|packet| packet.len()), Some(in_frame.len()));
        }
        let Some(packet) = arrived else { continue };
        let Some(inspected) = replay.packet(time, &packet) else { continue };
        decision(&inspected);
        summary.add(&inspected);
        write_packet(&mut lines, replay.gate().knocks(), None, number, time, &inspected).expect("a vector");
    }
    let gaps = intake.gaps();
    for count in [gaps.truncated, gaps.incomplete, gaps.tunnels.values().sum()] {
        assert!(count <= records.len() as u64, "{gaps:?}");
    }
    assert!(hook == Hook::Input || gaps.incomplete == 0);
    summary.gaps = gaps;
    assert_eq!(lines.iter().filter(|&&byte| byte == b'\n').count() as u64, summary.inspected());
    assert!(lines.is_empty() || (lines.starts_with(b"{\"n\":") && lines.ends_with(b"]}\n")));
    summary.write_json(replay.gate().knocks(), &mut lines).expect("a vector");
    summary.write_text(replay.gate().knocks(), &mut lines).expect("a vector");
    assert!(std::str::from_utf8(&lines).is_ok());
}

fn decision(inspected: &Inspected) {
    let PacketFate::Decided(decision) = &inspected.fate else {
        panic!("no address is known to be the PBX's")
    };
    assert_eq!(decision.verdict, decision.reason.verdict());
    assert_eq!(decision.source, Some(inspected.source));
    assert!(RULES.inspect.scope.covers(inspected.flow));
}

static RULES: LazyLock<Config> = LazyLock::new(|| {
    let text = r#"
        [inspect]
        ports = ["5060-5063"]
        trusted = ["10.10.1.0/24"]
        max_doors = 4
        [[knock]]
        name = "alice \"desk\""
        secret = "mykn0ckstr1ng"
        max_doors = 2
        [[knock]]
        name = "phone"
        secret = "urn:uuid:"
        ignore_case = true
        door = "2s"
    "#;
    Config::parse(text, Path::new("rules.toml"), &Flags::default()).expect("valid rules")
});

/// Counts what is allocated.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(more: usize) {
    PEAK.fetch_max(USED.fetch_add(more, Relaxed) + more, Relaxed);
}

// SAFETY: all is done by the system's allocator, under the same conditions.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while the bytes move.
        count(size);
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(place, layout, size) }
    }
}
