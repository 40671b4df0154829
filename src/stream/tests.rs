use super::block::{Progress, Scanner};
use super::flow::HELD_LIFE;
use super::table::SHARDS;
use super::*;
use crate::packet::Sequence;
use crate::time::Time;

const SEGMENTS: Limits = Limits { bytes: 100, segments: 4, flows: 64 };

fn id(port: u16) -> FlowId {
    FlowId { source: ([192, 0, 2, 7].into(), port), destination: ([192, 0, 2, 1].into(), 5060) }
}

fn at(secs: u64) -> Time {
    Time::from_parts(1_000_000 + secs, 0)
}

fn sequence(number: u32, payload: &[u8]) -> Sequence {
    let length = u32::try_from(payload.len()).unwrap();
    Sequence { number, length, ..Sequence::default() }
}

/// What a table does with one segment; the knock is the word KNOCK.
fn send(table: &StreamTable, secs: u64, number: u32, payload: &str) -> (Fate, String) {
    let mut seen = String::new();
    let fate = table.segment(
        at(secs),
        id(1),
        sequence(number, payload.as_bytes()),
        payload.as_bytes(),
        |gathered| {
            seen = String::from_utf8(gathered.bytes.to_vec()).unwrap();
            if seen.contains("KNOCK") { SegmentFinding::Opened } else { SegmentFinding::Nothing }
        },
    );
    (fate, seen)
}

fn fates(table: &StreamTable, segments: &[(u32, &str)]) -> Vec<Fate> {
    segments.iter().map(|&(number, payload)| send(table, 0, number, payload).0).collect()
}

fn syn(table: &StreamTable, secs: u64, number: u32) {
    table.handshake(at(secs), id(1), Sequence { syn: true, ..sequence(number, b"") });
}

fn fin(table: &StreamTable, secs: u64, number: u32) {
    table.handshake(at(secs), id(1), Sequence { fin: true, ..sequence(number, b"") });
}

use Fate::{Opened, Partial, Refused};

const MORE: Progress = Progress::Incomplete { field: false };

#[test]
fn a_block_is_complete_for_whoever_would_think_so() {
    for (bytes, progress) in [
        ("", MORE),
        ("\r\n\r\n\r\n", MORE),
        ("\r\n\r\nREGISTER", MORE),
        ("REGISTER sip:a SIP/2.0\r\nVia: b\r\n", MORE),
        ("REGISTER sip:a SIP/2.0\r\nVia: b\r\n c\r\n", MORE),
        ("REGISTER sip:a SIP/2.0\r\nVia: b\r\n\r", Progress::Complete),
        ("REGISTER sip:a SIP/2.0\r\nVia: b\r\n\r\n", Progress::Complete),
        ("REGISTER sip:a SIP/2.0\nVia: b\n\n", Progress::Complete),
        ("REGISTER sip:a SIP/2.0\rVia: b\r\r", Progress::Complete),
        ("REGISTER sip:a SIP/2.0\r\nVia: b\n\r\n", Progress::Complete),
        ("REGISTER sip:a SIP/2.0\r\n\r\n", Progress::Complete),
        ("\r\nSIP/2.0 200 OK\n\n", Progress::Complete),
        ("\x16\x03\x01\x02", Progress::NotSip),
        ("\r\n\x00", Progress::NotSip),
        (" REGISTER", Progress::NotSip),
    ] {
        for cut in 0..=bytes.len() {
            let mut scanner = Scanner::Blank;
            let (first, second) = bytes.as_bytes().split_at(cut);
            let read = match scanner.read(first) {
                Progress::Incomplete { .. } => scanner.read(second),
                early => early,
            };
            let read = if matches!(read, Progress::Incomplete { .. }) { MORE } else { read };
            assert_eq!(read, progress, "{bytes:?} cut at {cut}");
        }
    }
}

#[test]
fn segments_in_order() {
    for (name, segments, expected) in [
        ("no knock", &[(1, "REG"), (4, "ISTER\r\n"), (11, "\r\n")][..], &[Partial, Partial, Refused][..]),
        ("a knock in two", &[(1, "REGISTER KNO"), (13, "CK\nX: yz")], &[Partial, Opened]),
        ("a knock in two, up to the end", &[(1, "REGISTER KNO"), (13, "CK"), (15, "\n\n")], {
            &[Partial, Partial, Opened]
        }),
        ("a knock in a line that folds", &[(1, "REGISTER KNO"), (13, "CK\n"), (16, " X"), (18, "\n\n")], {
            &[Partial, Partial, Partial, Opened]
        }),
        ("all that follows", &[(1, "A\n\n"), (4, "KNOCK"), (1, "A\n\n"), (1, "A")], &[Refused; 4]),
        ("keepalives first", &[(1, "\r\n\r\n"), (5, "\r\n"), (7, "A\r\n"), (10, "\r\n")], {
            &[Partial, Partial, Partial, Refused]
        }),
        ("a retransmission", &[(1, "REG"), (1, "REG"), (2, "E"), (4, "KNOCK\nX")], {
            &[Partial, Partial, Partial, Opened]
        }),
        ("one of what was refused", &[(1, "REG"), (4, "\n\n"), (1, "REG"), (4, "\n\n"), (4, "X")], {
            &[Partial, Refused, Partial, Refused, Refused]
        }),
        ("a different one", &[(1, "REG"), (1, "REX"), (4, "I"), (5, "KNOCK\nX")], {
            &[Partial, Refused, Partial, Opened]
        }),
        ("out of order", &[(1, "REG"), (7, "KNOCK\nX"), (4, "IST"), (7, "KNOCK\nX")], {
            &[Partial, Refused, Partial, Opened]
        }),
        ("before the start", &[(10, "REG"), (1, "KNOCK"), (9, "XREG"), (13, "KNOCK\nX")], {
            &[Partial, Refused, Refused, Opened]
        }),
        ("collapsed with what is new", &[(1, "REG"), (1, "REGIST"), (3, "GISTER KNOCK\nX")], {
            &[Partial, Partial, Opened]
        }),
        ("collapsed, and different", &[(1, "REG"), (2, "XGIST")], &[Partial, Refused]),
        ("round the end of the numbers", &[(u32::MAX - 1, "REG"), (1, "IST"), (4, "KNOCK\nX")], {
            &[Partial, Partial, Opened]
        }),
        ("too many", &[(1, "A"), (2, "B"), (3, "C"), (4, "D"), (5, "E"), (6, "KNOCK")], {
            &[Partial, Partial, Partial, Partial, Refused, Refused]
        }),
        ("not SIP", &[(1, "\x16\x03\x01"), (4, "KNOCK")], &[Refused, Refused]),
    ] {
        let table = StreamTable::new(SEGMENTS);
        syn(&table, 0, segments[0].0.wrapping_sub(1));
        assert_eq!(fates(&table, segments), expected, "{name}");
    }
}

#[test]
fn a_flow_that_is_older_than_the_gate_can_still_knock() {
    let table = StreamTable::new(SEGMENTS);
    let segments = [(1, "ia: x\r\n"), (8, "\r\nOPTIONS"), (1, "ia: x\r\n"), (17, " sip"), (17, " KNOCK")];
    assert_eq!(fates(&table, &segments), [Refused, Refused, Refused, Refused, Opened]);
    assert!(table.is_empty() && table.kept() == 0);
}

/// Nothing of it passes before, and what was refused is sent again.
#[test]
fn a_held_flow_can_knock_in_several_segments() {
    for (name, segments, last) in [
        ("in two", &[(1, "REGISTER KNO"), (13, "CK\nX: yz")][..], Opened),
        ("one of them twice", &[(1, "REGISTER KNO"), (1, "REGISTER KNO"), (13, "CK\nX: yz")], Opened),
        ("the second one first", &[(13, "CK"), (1, "REGISTER KNO"), (13, "CK\n\n")], Opened),
        ("behind something else", &[(1, "A\n\n"), (4, "REGISTER KNO"), (16, "CK\n\n")], Opened),
        ("with the first one changed", &[(1, "REGISTER KNO"), (1, "REGISTER XXX"), (13, "CK\n\n")], Opened),
        ("behind the end of another message", &[(1, "REGISTER KNO"), (13, "\n\n"), (15, "CK\n\n")], Refused),
        ("with a hole", &[(1, "REGISTER KNO"), (14, "CK\n\n")], Refused),
        ("in too many", &[(1, "A"), (2, "B"), (3, "C"), (4, "D"), (5, "KNO"), (8, "CK")], Refused),
    ] {
        let table = StreamTable::new(SEGMENTS);
        let fates = fates(&table, segments);
        let (end, before) = fates.split_last().unwrap();
        assert_eq!((*end, before), (last, &vec![Refused; before.len()][..]), "{name}");
        assert!(table.kept() <= SEGMENTS.bytes, "{name}");
    }
}

/// A block is searched for a few times its length, whatever its segments.
#[test]
fn a_block_is_not_searched_again_with_each_segment() {
    let limits = Limits { bytes: 100_000, segments: 10_000, flows: 64 };
    let field = format!("X: {}\r\n", "y".repeat(91));
    for (name, block, piece) in [
        ("a field in each segment", field.repeat(40), field.len()),
        ("byte by byte", field.repeat(40), 1),
        ("folds", format!("A: b{}", "\r\n c".repeat(1000)), 5),
        ("line ends that are none to a knock", format!("A: b{}", "\rc".repeat(1000)), 2),
    ] {
        for seen in [true, false] {
            let table = StreamTable::new(limits);
            if seen {
                syn(&table, 0, 0);
            }
            let (mut searched, mut at_once) = (0, 0);
            for (n, bytes) in block.as_bytes().chunks(piece).enumerate() {
                let number = u32::try_from(1 + n * piece).unwrap();
                table.segment(at(0), id(1), sequence(number, bytes), bytes, |gathered| {
                    searched += gathered.bytes.len();
                    at_once = at_once.max(gathered.bytes.len());
                    SegmentFinding::Nothing
                });
            }
            // Of a held flow each segment is also searched by itself.
            let most = if seen { 3 } else { 4 } * block.len();
            assert!(searched <= most, "{name}, start seen: {seen}: {searched} bytes of {}", block.len());
            assert!(at_once > 0, "{name}");
        }
    }
}

#[test]
fn the_bound_in_bytes_counts_what_passed_and_what_is_to() {
    let (half, rest) = ("A".repeat(60), "B".repeat(41));
    let begun = || {
        let table = StreamTable::new(SEGMENTS);
        syn(&table, 0, 0);
        table
    };
    assert_eq!(fates(&begun(), &[(1, &half), (61, &rest[1..]), (101, "C")]), [Partial, Partial, Refused]);
    assert_eq!(fates(&begun(), &[(1, &half), (61, &rest)]), [Partial, Refused]);
    let knocking = format!("{rest}KNOCK");
    assert_eq!(fates(&begun(), &[(1, &half), (61, &knocking)]), [Partial, Opened]);
}

#[test]
fn a_flow_starts_behind_its_syn() {
    let table = StreamTable::new(SEGMENTS);
    syn(&table, 0, 99);
    assert_eq!(fates(&table, &[(103, "STER"), (100, "REG"), (103, "KNOCK\nX")]), [Refused, Partial, Opened]);
    assert!(table.is_empty());
    // With data on it (RFC 7413), and sent twice.
    let table = StreamTable::new(SEGMENTS);
    for _ in 0..2 {
        let payload = b"REG";
        let sequence = Sequence { syn: true, ..sequence(99, payload) };
        let fate = table.segment(at(0), id(1), sequence, payload, |_| SegmentFinding::Nothing);
        assert_eq!(fate, Partial);
    }
    assert_eq!(fates(&table, &[(103, "ISTER\r\n\r\n")]), [Refused]);
}

/// All of this is meant to make the table take the end of a block for the beginning of another.
#[test]
fn the_end_of_a_block_is_never_taken_for_a_beginning() {
    type Trick = fn(&StreamTable);
    for (name, trick) in [
        ("another SYN", (|table| syn(table, 1, 110)) as Trick),
        ("two of them", |table| {
            syn(table, 1, 50);
            syn(table, 2, 110);
        }),
        ("FIN in its place", |table| fin(table, 1, 111)),
        ("FIN, then SYN", |table| {
            fin(table, 1, 111);
            syn(table, 2, 110);
        }),
        ("silence", |table| table.sweep(at(LIFE.as_secs()))),
        ("more silence", |table| {
            table.sweep(at(3 * LIFE.as_secs()));
            syn(table, 3 * LIFE.as_secs(), 110);
        }),
        ("flows enough to be forgotten", |table| {
            for port in 2..2000 {
                let sequence = sequence(1, b"X");
                table.segment(at(1), id(port), sequence, b"X", |_| SegmentFinding::Nothing);
            }
            syn(table, 2, 110);
        }),
    ] {
        let table = StreamTable::new(SEGMENTS);
        syn(&table, 0, 99);
        assert_eq!(fates(&table, &[(100, "REGISTER \r\n")]), [Partial], "{name}");
        trick(&table);
        let later = 4 * LIFE.as_secs();
        assert_eq!(send(&table, later, 111, "\r\n").0, Refused, "{name}");
        assert_eq!(send(&table, later, 111, "A").0, Refused, "{name}");
        assert_eq!(send(&table, later, 112, "KNOCK"), (Opened, "KNOCK".to_owned()), "{name}");
    }
}

#[test]
fn who_has_sent_nothing_is_not_held() {
    let table = StreamTable::new(SEGMENTS);
    syn(&table, 0, 99);
    assert_eq!(table.len(), 1);
    fin(&table, 0, 100);
    assert!(table.is_empty());
    syn(&table, 0, 199);
    assert_eq!(fates(&table, &[(200, "A\n\n"), (203, "B")]), [Refused, Refused]);
    fin(&table, 0, 200);
    assert!(table.is_empty());
    assert_eq!(fates(&table, &[(200, "\r\n"), (202, "KNOCK")]), [Refused, Opened]);
    // Silence before the first byte means nothing: a trunk may connect long before it calls.
    let table = StreamTable::new(SEGMENTS);
    syn(&table, 0, 99);
    table.sweep(at(HELD_LIFE.as_secs() - 1));
    assert_eq!(send(&table, HELD_LIFE.as_secs() - 1, 100, "REG").0, Partial);
    let table = StreamTable::new(SEGMENTS);
    syn(&table, 0, 99);
    table.sweep(at(HELD_LIFE.as_secs()));
    assert!(table.is_empty());
}

#[test]
fn an_urgent_byte_is_not_read_where_it_stands() {
    let table = StreamTable::new(SEGMENTS);
    syn(&table, 0, 0);
    assert_eq!(fates(&table, &[(1, "REGISTER\r\n")]), [Partial]);
    let urgent = Sequence { urgent: true, ..sequence(11, b"X\r\n") };
    assert_eq!(table.segment(at(0), id(1), urgent, b"X\r\n", |_| SegmentFinding::Nothing), Refused);
    assert_eq!(fates(&table, &[(11, "X\r\n"), (14, "\r\n")]), [Partial, Refused]);
}

/// The receiver remembers an urgent pointer that is ahead of the stream, whatever the gate is told of the flow later.
#[test]
fn no_urgent_pointer_passes_on_a_segment_without_payload() {
    let table = StreamTable::new(SEGMENTS);
    let ack = Sequence { urgent: true, ..sequence(1, b"") };
    for urgent in
        [ack, Sequence { fin: true, ..ack }, Sequence { rst: true, ..ack }, Sequence { syn: true, ..ack }]
    {
        assert!(!table.handshake(at(0), id(1), urgent), "{urgent:?}");
    }
}

/// Sofia reads what it has as a whole request then, blank line or not.
#[test]
fn no_connection_ends_inside_a_header_block() {
    for (name, segments, passes) in [
        ("nothing passed", &[][..], true),
        ("a keepalive", &[(100, "\r\n\r\n")], true),
        ("part of a block", &[(100, "REGISTER \r\n")], false),
        ("all of it, refused", &[(100, "A\n\n")], true),
        ("part, and the rest refused", &[(100, "A\n"), (102, "\n")], false),
    ] {
        let next = match name {
            "a keepalive" => 104,
            "part of a block" => 111,
            "part, and the rest refused" => 102,
            _ => 100,
        };
        for flag in
            [Sequence { fin: true, ..sequence(next, b"") }, Sequence { rst: true, ..sequence(next, b"") }]
        {
            let table = StreamTable::new(SEGMENTS);
            syn(&table, 0, 99);
            fates(&table, segments);
            assert_eq!(table.handshake(at(0), id(1), flag), passes, "{name}, {flag:?}");
            let nothing_there = matches!(name, "nothing passed" | "all of it, refused");
            assert_eq!(table.is_empty(), nothing_there, "{name}: what may have to be remembered is, no more");
        }
    }
}

/// A receiver keeps an end until the bytes in front of it have come.
#[test]
fn behind_an_end_that_came_early_only_a_knock_passes() {
    for whole in [true, false] {
        for tricks in 0..4 {
            let table = StreamTable::new(SEGMENTS);
            match whole {
                true => syn(&table, 0, 99),
                false => table.loosen(at(0), id(1)),
            }
            let fin = Sequence { fin: true, ..sequence(110, b"") };
            // The receiver may have half a block of a flow whose start was not seen.
            for _ in 0..2 {
                assert_eq!(table.handshake(at(0), id(1), fin), whole);
            }
            match tricks {
                1 => syn(&table, 1, 99),
                2 => {
                    let rst = Sequence { rst: true, ..sequence(110, b"") };
                    assert_eq!(table.handshake(at(1), id(1), rst), whole);
                }
                3 => table.sweep(at(2 * LIFE.as_secs())),
                _ => {}
            }
            let later = 3 * LIFE.as_secs();
            assert_eq!(send(&table, later, 100, "REGISTER\r\n").0, Refused, "whole: {whole}, trick {tricks}");
            assert_eq!(
                send(&table, later, 100, "REGISTER KNOCK").0,
                Opened,
                "whole: {whole}, trick {tricks}"
            );
        }
    }
}

#[test]
fn no_connection_ends_with_part_of_a_block() {
    let table = StreamTable::new(SEGMENTS);
    syn(&table, 0, 99);
    assert_eq!(fates(&table, &[(100, "REGISTER\r\n")]), [Partial]);
    for (number, payload) in [(100, "REGISTER\r\n"), (110, "Via")] {
        let fin = Sequence { fin: true, ..sequence(number, payload.as_bytes()) };
        assert_eq!(
            table.segment(at(0), id(1), fin, payload.as_bytes(), |_| SegmentFinding::Nothing),
            Refused
        );
    }
    // Another beginning, which the receiver may not have taken for one.
    syn(&table, 1, 199);
    assert!(!table.handshake(at(1), id(1), Sequence { fin: true, ..sequence(200, b"") }));
}

/// The gate was started anew when a stranger had half a block at the receiver.
#[test]
fn no_blank_line_passes_on_a_flow_that_is_older_than_the_gate() {
    for segments in
        [&[(1, "\r\n\r\n"), (1, "\r"), (1, "\n")][..], &[(1, "\r\n"), (3, "\r\n"), (1, "\nVia: a\r\n")]]
    {
        let table = StreamTable::new(SEGMENTS);
        assert_eq!(fates(&table, segments), vec![Refused; segments.len()]);
        // A phone's keepalive does not keep it from knocking in two.
        let table = StreamTable::new(SEGMENTS);
        assert_eq!(
            fates(&table, &[(1, "\r\n"), (3, "REGISTER KNO"), (15, "CK")]),
            [Refused, Refused, Refused]
        );
        assert_eq!(fates(&table, &[(17, "\r\nX: y")]), [Opened]);
    }
}

/// chan_sip adds what it reads up to the first NUL to what it has.
#[test]
fn a_nul_hides_nothing() {
    let table = StreamTable::new(SEGMENTS);
    syn(&table, 0, 0);
    assert_eq!(fates(&table, &[(1, "REGISTER\r\n\0X"), (13, "\r\n")]), [Refused, Refused]);
}

#[test]
fn no_room_for_a_door_leaves_the_flow_as_it_is() {
    let table = StreamTable::new(SEGMENTS);
    let payload = b"KNOCK\r\n";
    let judge = |_: Gathered<'_>| SegmentFinding::NoRoom;
    assert_eq!(table.segment(at(0), id(1), sequence(1, payload), payload, judge), Fate::NoRoom);
    assert_eq!(fates(&table, &[(1, "KNOCK\r\n")]), [Opened]);
}

#[test]
fn flows_and_bytes_are_bounded() {
    let limits = Limits { bytes: 8192, segments: 16, flows: 4096 };
    let table = StreamTable::new(limits);
    let payload = vec![b'x'; 8192];
    for port in 1..=20_000 {
        let fate =
            table.segment(at(0), id(port), sequence(1, &payload), &payload, |_| SegmentFinding::Nothing);
        // In the end the source is in doubt, and nothing of it passes.
        assert!(matches!(fate, Partial | Refused), "{fate:?}");
        assert!(table.len() <= limits.flows + SHARDS && table.kept() <= MAX_KEPT);
    }
    table.sweep(at(HELD_LIFE.as_secs()));
    assert_eq!((table.len(), table.kept()), (0, 0));
}

#[test]
fn a_truncated_copy_is_never_partial() {
    let table = StreamTable::new(SEGMENTS);
    let cut = Sequence { length: 20, ..sequence(1, b"") };
    assert_eq!(table.segment(at(0), id(1), cut, b"REG", |_| SegmentFinding::Nothing), Refused);
}
