//! Captures of every variant, written byte by byte.

use std::io;

use proptest::prelude::*;

use super::cursor::MAX_RECORD;
use super::endian::Endian::{self, Big, Little};
use super::pcap::MAGIC_LEN;
use super::*;

#[test]
fn every_variant_of_pcap() {
    for (name, endian, magic, extra, nanos) in [
        ("little endian", Little, 0xa1b2_c3d4, 0, 999_999_000),
        ("big endian", Big, 0xa1b2_c3d4, 0, 999_999_000),
        ("little endian, nanoseconds", Little, 0xa1b2_3c4d, 0, 999_999),
        ("big endian, nanoseconds", Big, 0xa1b2_3c4d, 0, 999_999),
        ("little endian, modified", Little, 0xa1b2_cd34, 8, 999_999_000),
    ] {
        let file = [
            pcap_header(endian, magic, 101),
            frame(endian, extra, (1_795_356_000, 999_999), b"first"),
            frame(endian, extra, (u32::MAX, 0), b""),
        ]
        .concat();
        let packets = [
            packet(1, Time::from_parts(1_795_356_000, nanos), 101, b"first"),
            packet(2, Time::from_parts(u32::MAX.into(), 0), 101, b""),
        ];
        assert_eq!(whole(&file), packets, "{name}");
    }
}

#[test]
fn the_link_type_field_also_tells_the_length_of_the_check_sequence() {
    for (field, link) in [(1, 1), (0x5400_0001, 1), (0xf400_0114, 276), (0x03ff_0071, 113)] {
        let file = [pcap_header(Little, 0xa1b2_c3d4, field), frame(Little, 0, (1, 0), b"x")].concat();
        assert_eq!(whole(&file), [packet(1, Time::from_parts(1, 0), link, b"x")], "{field:#x}");
    }
}

#[test]
fn a_damaged_fraction_of_a_second_counts_as_seconds() {
    let file = [pcap_header(Little, 0xa1b2_c3d4, 1), frame(Little, 0, (1, u32::MAX), b"")].concat();
    assert_eq!(whole(&file), [packet(1, Time::from_nanos(1_000_000_000 + 4_294_967_295_000), 1, b"")]);
}

#[test]
fn every_packet_block_of_pcapng() {
    for endian in [Little, Big] {
        let file = [
            section(endian),
            interface(endian, 113, 5, &[]),
            interface(endian, 276, 0, &[(9, &[9])]),
            enhanced(endian, 0, 1_000_001, b"one"),
            simple(endian, 3, b"two"),
            obsolete(endian, 1, 2_000_000_007, b"three"),
            simple(endian, 900, b"four, and cut"),
        ]
        .concat();
        let second = Time::from_parts(1, 1000);
        let fourth = Packet { wire_len: 900, ..packet(4, Time::from_parts(2, 7), 113, b"four,") };
        let packets = [
            packet(1, second, 113, b"one"),
            packet(2, second, 113, b"two"),
            packet(3, Time::from_parts(2, 7), 276, b"three"),
            fourth,
        ];
        assert_eq!(whole(&file), packets, "{endian:?}");
    }
}

#[test]
fn times_are_exact_and_saturate() {
    const MAX: u64 = u64::MAX;
    for (resolution, offset, units, nanos) in [
        (None, None, 1_795_356_000_999_999, 1_795_356_000_999_999_000),
        (Some(0), None, 1_795_356_000, 1_795_356_000_000_000_000),
        (Some(3), None, 1_795_356_000_123, 1_795_356_000_123_000_000),
        (Some(9), None, 1_795_356_000_123_456_789, 1_795_356_000_123_456_789),
        // A double has 53 bits; 2^53 + 1 is the first number it does not have.
        (Some(9), None, (1 << 53) + 1, (1 << 53) + 1),
        (Some(12), None, 1_795_356_000_123_456_789, 1_795_356_000_123_456),
        (Some(19), None, MAX, 1_844_674_407),
        (Some(127), None, MAX, 0),
        (Some(0x80), None, 3, 3_000_000_000),
        (Some(0x80 | 1), None, 3, 1_500_000_000),
        (Some(0x80 | 10), None, 1025, 1_000_976_562),
        (Some(0x80 | 32), None, (5 << 32) | (1 << 31), 5_500_000_000),
        (Some(0x80 | 63), None, MAX, 1_999_999_999),
        (Some(0xff), None, MAX, 0),
        (None, Some(3600), 1_000_000, 3_601_000_000_000),
        (None, Some(-1), 1_500_000, 500_000_000),
        (None, Some(-2), 1_500_000, 0),
        (None, Some(i64::MIN), MAX, 0),
        (None, Some(i64::MAX), 0, MAX),
        (Some(0), Some(i64::MAX), MAX, MAX),
        (Some(0), None, MAX, MAX),
    ] {
        for endian in [Little, Big] {
            let resolution: Option<[u8; 1]> = resolution.map(|resolution| [resolution]);
            let offset = offset.map(|offset: i64| u64_bytes(endian, offset as u64));
            let options: Vec<_> = [(9, resolution.as_ref().map(|bytes| &bytes[..])), (14, offset.as_deref())]
                .into_iter()
                .filter_map(|(code, value)| Some((code, value?)))
                .collect();
            let file = [section(endian), interface(endian, 1, 0, &options), enhanced(endian, 0, units, b"x")];
            let time = Time::from_nanos(nanos);
            assert_eq!(whole(&file.concat())[0].time, time, "{resolution:?} {offset:?} {units} {endian:?}");
        }
    }
}

#[test]
fn options_of_a_wrong_length_and_behind_the_last_are_not_read() {
    for options in [&[(9, &[9, 9][..])][..], &[(14, &[1, 0, 0, 0])], &[(0, &[]), (9, &[9])], &[(2, b"eth0")]]
    {
        let file = [section(Little), interface(Little, 1, 0, options), enhanced(Little, 0, 7, b"x")].concat();
        assert_eq!(whole(&file)[0].time, Time::from_nanos(7000), "{options:?}");
    }
}

#[test]
fn every_section_has_its_own_byte_order_and_interfaces() {
    let first = [section(Little), interface(Little, 1, 0, &[]), enhanced(Little, 0, 1, b"a")].concat();
    let second = [section(Big), interface(Big, 101, 0, &[]), enhanced(Big, 0, 2, b"b")].concat();
    let file = [&first[..], &second, &first].concat();
    let packets = [
        packet(1, Time::from_nanos(1000), 1, b"a"),
        packet(2, Time::from_nanos(2000), 101, b"b"),
        packet(3, Time::from_nanos(1000), 1, b"a"),
    ];
    assert_eq!(whole(&file), packets);

    let forgotten = [&first[..], &section(Big), &enhanced(Big, 0, 2, b"b")].concat();
    let (packets, error) = read(&forgotten[..]);
    assert_eq!(packets.len(), 1);
    assert!(matches!(error, Some(CaptureError::Interface { packet: 2, id: 0, known: 0 })), "{error:?}");
}

#[test]
fn other_blocks_are_skipped_whatever_is_in_them() {
    for (kind, content) in [
        (4, &[0, 1, 0, 4, 127, 0, 0, 1][..]), // names without an end
        (5, &[]),
        (10, &[1; 8]),
        (0xbad, &[]),
        (0x8000_0001, &[]),
        (0x7777_7777, &[0; 400]),
    ] {
        for endian in [Little, Big] {
            let other = block(endian, kind, content);
            let file = [section(endian), other.clone(), interface(endian, 1, 0, &[]), other.clone()].concat();
            let file = [file, enhanced(endian, 0, 0, b"x"), other].concat();
            assert_eq!(whole(&file), [packet(1, Time::default(), 1, b"x")], "{kind:#x} {endian:?}");
        }
    }
}

#[test]
fn a_large_block_is_skipped_without_being_kept() {
    let huge = [&u32_bytes(Little, 77)[..], &u32_bytes(Little, 200 << 20)].concat();
    let rest = [interface(Little, 1, 0, &[]), enhanced(Little, 0, 0, b"x")].concat();
    let input = io::Cursor::new([section(Little), huge].concat())
        .chain(io::repeat(0).take((200 << 20) - 8))
        .chain(io::Cursor::new(rest));
    let (packets, error) = read(input);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(packets, [packet(1, Time::default(), 1, b"x")]);
}

#[test]
fn packets_grow_up_to_a_bound() {
    let large = vec![7; MAX_RECORD as usize - 200];
    for data in [&large[..300_000], &large] {
        let pcap =
            [pcap_header(Big, 0xa1b2_c3d4, 1), frame(Big, 0, (0, 0), data), frame(Big, 0, (0, 0), b"x")];
        let pcapng =
            [section(Big), interface(Big, 1, 0, &[]), enhanced(Big, 0, 0, data), simple(Big, 1, b"x")];
        let packets = [packet(1, Time::default(), 1, data), packet(2, Time::default(), 1, b"x")];
        assert!(whole(&pcap.concat()) == packets);
        assert!(whole(&pcapng.concat()) == packets);
    }

    let mut frame = frame(Little, 0, (0, 0), b"");
    frame[8..12].copy_from_slice(&[0xff; 4]);
    let pcap = [pcap_header(Little, 0xa1b2_c3d4, 1), frame].concat();
    let enhanced = [u32_bytes(Little, 6), u32_bytes(Little, (16 << 20) + 4)].concat();
    let pcapng = [section(Little), interface(Little, 1, 0, &[]), enhanced].concat();
    for (file, said) in [(pcap, 0xffff_ffff + 16), (pcapng, (16 << 20) + 4)] {
        let (_, error) = read(&file[..]);
        assert!(
            matches!(error, Some(CaptureError::TooLarge { after: 0, len, max: MAX_RECORD }) if len == said),
            "{error:?}"
        );
    }
}

#[test]
fn a_file_cut_anywhere_gives_its_whole_packets() {
    for (name, parts) in [("pcap", small_pcap()), ("pcapng", small_pcapng())] {
        let file = parts.concat();
        let all = whole(&file);
        // Where records end, and how many packets lie before.
        let mut ends = Vec::new();
        let (mut end, mut packets) = (0, 0);
        for part in &parts {
            end += part.len();
            packets += usize::from(part.windows(3).any(|bytes| bytes == DATA));
            ends.push((end, packets));
        }
        for cut in 0..file.len() {
            let (got, error) = read(&file[..cut]);
            let expected = ends.iter().rfind(|(end, _)| *end <= cut).map_or(0, |&(_, packets)| packets);
            assert_eq!(got, all[..expected], "{name}, {cut} bytes");
            match error {
                None => assert!(ends.iter().any(|&(end, _)| end == cut), "{name}, {cut} bytes"),
                Some(CaptureError::Empty) => assert_eq!(cut, 0, "{name}"),
                Some(CaptureError::NotACapture(_)) => assert!(cut < MAGIC_LEN, "{name}, {cut} bytes"),
                Some(CaptureError::Truncated { after }) => {
                    assert_eq!(after, expected as u64, "{name}, {cut} bytes")
                }
                Some(error) => panic!("{name}, {cut} bytes: {error}"),
            }
            assert_eq!(read(Trickle::new(&file[..cut])).0, got, "{name}, {cut} bytes one at a time");
        }
    }
}

#[test]
fn other_files_are_refused_with_advice() {
    for (bytes, message) in [
        (&b""[..], "the file is empty: it was created, but no capture was written to it"),
        (b"\x1f\x8b\x08\0\0", "compressed with gzip: gunzip it first"),
        (b"\x28\xb5\x2f\xfd\0", "compressed with zstd: unzstd it first"),
        (
            b"REGISTER sip:example.com SIP/2.0",
            "neither pcap nor pcapng (begins with [52, 45, 47, 49]): convert it with `editcap -F pcap`",
        ),
        (b"x", "neither pcap nor pcapng (begins with [78]): convert it with `editcap -F pcap`"),
        (
            b"\n\r\r\n an empty line and more",
            "a section header of no byte order at byte 0, after packet 0: the file is damaged from here on",
        ),
    ] {
        assert_eq!(Capture::open(bytes).unwrap_err().to_string(), message);
    }
}

#[test]
fn damage_ends_the_file_once() {
    let start = [section(Little), interface(Little, 1, 0, &[]), enhanced(Little, 0, 0, b"good")].concat();
    let mut two_lengths = enhanced(Little, 0, 0, b"bad!");
    *two_lengths.last_mut().unwrap() = 1;
    let mut kept_beyond_block = enhanced(Little, 0, 0, b"bad!");
    kept_beyond_block[20] = 5;
    let mut obsolete_beyond_block = obsolete(Little, 0, 0, b"bad!");
    obsolete_beyond_block[20] = 5;
    for (block, message) in [
        (enhanced(Little, 3, 0, b"x"), "packet 2 is of interface 3, but only 1 are described"),
        (obsolete(Little, 0xffff, 0, b"x"), "packet 2 is of interface 65535, but only 1 are described"),
        (two_lengths, "a block with two different lengths at byte 84, after packet 1"),
        (kept_beyond_block, "an unreadable block at byte 84, after packet 1"),
        (obsolete_beyond_block, "an unreadable packet block at byte 84, after packet 1"),
        (block(Little, 6, b"short"), "an unreadable block at byte 84, after packet 1"),
        (block(Little, 2, b"short"), "an unreadable packet block at byte 84, after packet 1"),
        (vec![0; 12], "a block shorter than its own frame at byte 84, after packet 1"),
        // With this length, a debug build of pcap-parser 0.17.0 panics.
        (vec![1, 0, 0, 0x80, 8, 0, 0, 0], "a block shorter than its own frame at byte 84, after packet 1"),
    ] {
        let file = [&start[..], &block, &start].concat();
        let mut capture = Capture::open(&file[..]).unwrap();
        assert_eq!(capture.next().unwrap().unwrap().data, b"good");
        let error = capture.next().unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
        assert_eq!(capture.next().unwrap(), None);
    }
}

#[test]
fn the_number_of_interfaces_is_bounded() {
    let input = io::Cursor::new([section(Little), interface(Little, 1, 0, &[]).repeat(65_537)].concat());
    let (_, error) = read(input);
    assert!(matches!(error, Some(CaptureError::Interfaces { after: 0, max: 65_536 })), "{error:?}");
}

#[test]
fn an_input_that_fails_says_so() {
    let file = small_pcap().concat();
    let (packets, error) = read(io::Cursor::new(file).chain(Trickle { fails: true, ..Trickle::new(b"") }));
    assert_eq!(packets.len(), 2);
    let message = error.unwrap().to_string();
    assert_eq!(message, "cannot read on after packet 2: the cable is out");
}

proptest! {
    #[test]
    fn any_bytes_come_to_an_end(
        magic in prop::sample::select(vec![&b""[..], b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\n\r\r\n"]),
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        ends_in_bounds(&[magic, &bytes].concat())?;
    }

    #[test]
    fn a_damaged_file_comes_to_an_end(
        ng in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = if ng { small_pcapng().concat() } else { small_pcap().concat() };
        for (index, byte) in damage {
            let index = index.index(file.len());
            file[index] = byte;
        }
        ends_in_bounds(&file)?;
    }
}

/// No more packets than there is room for, and reading one byte at a time makes no difference.
fn ends_in_bounds(file: &[u8]) -> Result<(), TestCaseError> {
    let (packets, error) = read(file);
    let bytes: usize = packets.iter().map(|packet| packet.data.len() + 12).sum();
    prop_assert!(bytes <= file.len());
    let (again, same_error) = read(Trickle::new(file));
    prop_assert_eq!(packets, again);
    prop_assert_eq!(error.map(|error| error.to_string()), same_error.map(|error| error.to_string()));
    Ok(())
}

/// A record that outlives its capture.
#[derive(Clone, Debug, PartialEq)]
struct Packet {
    number: u64,
    time: Time,
    link: LinkType,
    data: Vec<u8>,
    wire_len: u32,
}

fn packet(number: u64, time: Time, link: u16, data: &[u8]) -> Packet {
    Packet { number, time, link: LinkType(link), data: data.to_vec(), wire_len: data.len() as u32 }
}

/// All packets, and what ended them if it was not the end.
fn read(input: impl Read) -> (Vec<Packet>, Option<CaptureError>) {
    let mut packets = Vec::new();
    let mut capture = match Capture::open(input) {
        Ok(capture) => capture,
        Err(error) => return (packets, Some(error)),
    };
    loop {
        match capture.next() {
            Ok(Some(CaptureRecord { number, time, link, data, wire_len })) => {
                packets.push(Packet { number, time, link, data: data.to_vec(), wire_len });
            }
            Ok(None) => return (packets, None),
            Err(error) => return (packets, Some(error)),
        }
    }
}

fn whole(file: &[u8]) -> Vec<Packet> {
    let (packets, error) = read(file);
    assert!(error.is_none(), "{error:?}");
    packets
}

/// An input that gives one byte at a time, each after an interruption, and may fail at its end.
struct Trickle<'a> {
    bytes: &'a [u8],
    interrupted: bool,
    fails: bool,
}

impl<'a> Trickle<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, interrupted: false, fails: false }
    }
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let Some((&first, rest)) = self.bytes.split_first() else {
            return if self.fails { Err(io::Error::other("the cable is out")) } else { Ok(0) };
        };
        buffer[0] = first;
        self.bytes = rest;
        Ok(1)
    }
}

/// What the packets of the small files have in them, and nothing else has.
const DATA: &[u8] = b"SIP";

fn small_pcap() -> Vec<Vec<u8>> {
    let packet = frame(Little, 0, (1, 2), DATA);
    vec![pcap_header(Little, 0xa1b2_c3d4, 1), packet.clone(), packet]
}

fn small_pcapng() -> Vec<Vec<u8>> {
    vec![
        section(Little),
        interface(Little, 1, 0, &[(9, &[9])]),
        enhanced(Little, 0, 1, DATA),
        block(Little, 0x7777_7777, &[0; 8]),
        simple(Little, 3, DATA),
        section(Big),
        interface(Big, 101, 0, &[]),
        obsolete(Big, 0, 2, DATA),
    ]
}

fn pcap_header(endian: Endian, magic: u32, link: u32) -> Vec<u8> {
    let version = [u16_bytes(endian, 2), u16_bytes(endian, 4)].concat();
    let numbers = [0, 0, 262_144, link].map(|number| u32_bytes(endian, number)).concat();
    [u32_bytes(endian, magic), version, numbers].concat()
}

fn frame(endian: Endian, extra: usize, (secs, fraction): (u32, u32), data: &[u8]) -> Vec<u8> {
    let len = data.len() as u32;
    let header = [secs, fraction, len, len].map(|number| u32_bytes(endian, number)).concat();
    [header, vec![0; extra], data.to_vec()].concat()
}

fn section(endian: Endian) -> Vec<u8> {
    let versions = [u16_bytes(endian, 1), u16_bytes(endian, 0)].concat();
    let content = [u32_bytes(endian, 0x1a2b_3c4d), versions, vec![0xff; 8]].concat();
    block(endian, 0x0a0d_0d0a, &content)
}

fn interface(endian: Endian, link: u16, snap_len: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut content = [u16_bytes(endian, link), vec![0; 2], u32_bytes(endian, snap_len)].concat();
    for (code, value) in options {
        content.extend([u16_bytes(endian, *code), u16_bytes(endian, value.len() as u16)].concat());
        content.extend(padded(value));
    }
    block(endian, 1, &content)
}

fn enhanced(endian: Endian, interface: u32, units: u64, data: &[u8]) -> Vec<u8> {
    block(endian, 6, &[u32_bytes(endian, interface), timed(endian, units, data)].concat())
}

fn obsolete(endian: Endian, interface: u16, units: u64, data: &[u8]) -> Vec<u8> {
    let drops = u16_bytes(endian, 9);
    block(endian, 2, &[u16_bytes(endian, interface), drops, timed(endian, units, data)].concat())
}

fn simple(endian: Endian, wire_len: u32, data: &[u8]) -> Vec<u8> {
    block(endian, 3, &[u32_bytes(endian, wire_len), padded(data)].concat())
}

fn timed(endian: Endian, units: u64, data: &[u8]) -> Vec<u8> {
    let len = data.len() as u32;
    let numbers = [(units >> 32) as u32, units as u32, len, len].map(|number| u32_bytes(endian, number));
    [numbers.concat(), padded(data)].concat()
}

fn block(endian: Endian, kind: u32, content: &[u8]) -> Vec<u8> {
    let len = u32_bytes(endian, content.len() as u32 + 12);
    [&u32_bytes(endian, kind)[..], &len, content, &len].concat()
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()]].concat()
}

fn u16_bytes(endian: Endian, number: u16) -> Vec<u8> {
    u64_bytes(endian, u64::from(number) << if endian == Big { 48 } else { 0 })[..2].to_vec()
}

fn u32_bytes(endian: Endian, number: u32) -> Vec<u8> {
    u64_bytes(endian, u64::from(number) << if endian == Big { 32 } else { 0 })[..4].to_vec()
}

fn u64_bytes(endian: Endian, number: u64) -> Vec<u8> {
    if endian == Big { number.to_be_bytes().to_vec() } else { number.to_le_bytes().to_vec() }
}
