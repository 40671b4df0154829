mod plain;

use super::*;
use crate::packet::Transport;
use crate::testing::{ipv4_with, ipv6_with, udp};

/// A fragment of a datagram for port 5060, before it is a packet.
#[derive(Clone, Debug)]
struct Part {
    is_ipv6: bool,
    id: u8,
    offset: u16,
    more: bool,
    ecn: u8,
    data: Vec<u8>,
}

impl Part {
    fn packet(&self) -> Vec<u8> {
        let Self { is_ipv6, id, offset, more, ecn, ref data } = *self;
        if is_ipv6 {
            let place = (offset | u16::from(more)).to_be_bytes();
            let header = [17, 0, place[0], place[1], 0, 0, 0, id];
            let mut packet = ipv6_with("2001:db8::7", 44, &[&header[..], data].concat());
            packet[1] |= ecn << 4;
            return packet;
        }
        let flags = (offset / 8) | if more { 0x2000 } else { 0 };
        let mut packet = ipv4_with("192.0.2.7", 17, flags, &[], data);
        packet[1] |= ecn;
        packet[5] = id;
        packet
    }
}

/// Cuts a datagram at the given places.
fn cut(is_ipv6: bool, id: u8, datagram: &[u8], places: &[usize]) -> Vec<Part> {
    let mut ends = places.to_vec();
    ends.push(datagram.len());
    let starts = [0].into_iter().chain(places.iter().copied());
    let part = |(start, end): (usize, usize)| Part {
        is_ipv6,
        id,
        offset: u16::try_from(start).unwrap(),
        more: end < datagram.len(),
        ecn: 0,
        data: datagram[start..end].to_vec(),
    };
    starts.zip(ends).map(part).collect()
}

fn defrag() -> Defrag {
    Defrag::new(Scope { ports: vec![5060..=5060], transports: vec![Transport::Udp] })
}

fn at(seconds: u64) -> Time {
    Time::from_parts(1_700_000_000 + seconds, 0)
}

/// The fate of each, all at the same time.
fn all(defrag: &mut Defrag, parts: &[Part]) -> Vec<Defragged> {
    parts.iter().map(|part| defrag.packet(at(0), &part.packet())).collect()
}

fn payload(packet: &[u8]) -> Vec<u8> {
    match Packet::parse(packet).unwrap().body {
        crate::packet::Body::Segment(segment) => segment.payload.to_vec(),
        other => panic!("{other:?}"),
    }
}

const TEXT: &[u8] = b"REGISTER sip:pbx SIP/2.0\r\nFrom: \"mykn0ckstr1ng\" <sip:a@b>\r\n\r\n";

#[test]
fn a_datagram_is_whole_in_any_order() {
    for is_ipv6 in [false, true] {
        let parts = cut(is_ipv6, 1, &udp(TEXT), &[16, 24, 64]);
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
            let mut defrag = defrag();
            let parts: Vec<_> = order.iter().map(|&index| parts[index].clone()).collect();
            let fates = all(&mut defrag, &parts);
            assert!(fates[..3].iter().all(|fate| *fate == Defragged::Withheld), "{order:?}");
            let Defragged::Whole(packet) = &fates[3] else { panic!("{order:?}: {fates:?}") };
            assert_eq!(payload(packet), TEXT, "{order:?}");
            let parsed = Packet::parse(packet).unwrap();
            assert_eq!(parsed.length as usize, packet.len());
            assert_eq!((defrag.incomplete(), defrag.charged), (0, [0; 2]));
            assert!(defrag.peers.is_empty());
        }
    }
}

#[test]
fn what_is_no_fragment_is_left_alone() {
    let atomic = Part { is_ipv6: true, id: 1, offset: 0, more: false, ecn: 0, data: udp(TEXT) }.packet();
    for packet in [
        ipv4_with("192.0.2.7", 17, 0, &[], &udp(TEXT)),
        ipv4_with("192.0.2.7", 17, 0x4000, &[], &udp(TEXT)),
        ipv6_with("2001:db8::7", 17, &udp(TEXT)),
        ipv6_with("2001:db8::7", 60, &[&[17, 0, 0, 0, 0, 0, 0, 0], &udp(TEXT)[..]].concat()),
        atomic[..46].to_vec(),
        Vec::new(),
        vec![0x55; 60],
    ] {
        assert_eq!(defrag().packet(at(0), &packet), Defragged::Alone, "{packet:02x?}");
    }
    // RFC 6946: one that is a datagram by itself loses its header.
    let Defragged::Whole(packet) = defrag().packet(at(0), &atomic) else { panic!("a datagram") };
    assert_eq!(packet, ipv6_with("2001:db8::7", 17, &udp(TEXT)));
}

#[test]
fn headers_in_front_of_an_ipv6_fragment_header_stay() {
    let mut defrag = defrag();
    let mut fates = Vec::new();
    for part in cut(true, 1, &udp(TEXT), &[32]) {
        let packet = part.packet();
        let behind = [&[44, 0, 1, 4, 0, 0, 0, 0], &packet[40..]].concat();
        fates.push(defrag.packet(at(0), &ipv6_with("2001:db8::7", 60, &behind)));
    }
    let Defragged::Whole(packet) = &fates[1] else { panic!("{fates:?}") };
    let expected = [&[17, 0, 1, 4, 0, 0, 0, 0], &udp(TEXT)[..]].concat();
    assert_eq!(*packet, ipv6_with("2001:db8::7", 60, &expected));
}

#[test]
fn an_overlap_ends_the_datagram_and_a_duplicate_does_not() {
    let whole = udp(TEXT);
    let part = |from: usize, to: usize| (from, to);
    for (name, parts, completes) in [
        ("a duplicate", vec![part(0, 16), part(0, 16), part(16, whole.len())], true),
        ("inside one run", vec![part(0, 16), part(16, 32), part(8, 24), part(32, whole.len())], true),
        ("an overlap with the first", vec![part(0, 24), part(16, whole.len())], false),
        ("around another", vec![part(16, 24), part(8, 32), part(0, 8), part(32, whole.len())], false),
        // A fragment before the last run is a run of its own, even if it touches another.
        ("inside two runs", vec![part(24, 32), part(8, 16), part(16, 24), part(8, 24)], false),
        ("a second end", vec![part(32, 64), part(24, 32), part(8, 32)], false),
    ] {
        for is_ipv6 in [false, true] {
            let mut defrag = defrag();
            let parts: Vec<_> = parts
                .iter()
                .map(|&(from, to)| Part {
                    is_ipv6,
                    id: 1,
                    offset: u16::try_from(from).unwrap(),
                    more: to < whole.len(),
                    ecn: 0,
                    data: whole[from..to].to_vec(),
                })
                .collect();
            let fates = all(&mut defrag, &parts);
            let is_whole = fates.iter().any(|fate| matches!(fate, Defragged::Whole(_)));
            assert_eq!(is_whole, completes, "{name}, IPv6: {is_ipv6}");
            let lost = if completes { 0 } else { parts.len() as u64 };
            assert_eq!(defrag.incomplete(), lost, "{name}, IPv6: {is_ipv6}");
        }
    }
}

#[test]
fn a_datagram_runs_out_by_the_capture_s_clock() {
    for (is_ipv6, life) in [(false, 30), (true, 60)] {
        let [one, two] = &cut(is_ipv6, 1, &udp(TEXT), &[32])[..] else { panic!("two parts") };
        // Forward, and where a clock was set back.
        for (begun, later) in [(100, 100 + life), (100 + life, 100)] {
            for (now, is_whole) in [(if later > begun { later - 1 } else { later + 1 }, true), (later, false)]
            {
                let mut defrag = defrag();
                assert_eq!(defrag.packet(at(begun), &one.packet()), Defragged::Withheld);
                let fate = defrag.packet(at(now), &two.packet());
                assert_eq!(matches!(fate, Defragged::Whole(_)), is_whole, "{begun} {now}");
                assert_eq!(defrag.incomplete(), if is_whole { 0 } else { 2 });
                assert_eq!(defrag.datagrams.len(), usize::from(!is_whole));
            }
        }
    }
}

#[test]
fn memory_is_bounded_and_newcomers_are_refused_until_others_have_run_out() {
    for is_ipv6 in [false, true] {
        let mut defrag = defrag();
        let [one, two] = &cut(is_ipv6, 1, &udp(&[b'x'; 1400]), &[1000])[..] else { panic!("two parts") };
        let with_id = |part: &Part, id: u32| {
            let mut packet = part.packet();
            let place = if is_ipv6 { 44..48 } else { 4..6 };
            let id = id.to_be_bytes();
            packet[place.clone()].copy_from_slice(&id[4 - place.len()..]);
            packet
        };
        for id in 0..60_000 {
            defrag.packet(at(0), &with_id(one, id));
        }
        let family = usize::from(is_ipv6);
        assert!(defrag.charged[family] <= MAX_BYTES + 2048, "{:?}", defrag.charged);
        assert!((1000..10_000).contains(&defrag.datagrams.len()), "{}", defrag.datagrams.len());
        assert!(defrag.begun.len() <= 2 * defrag.datagrams.len() + 64);
        assert_eq!(defrag.incomplete(), 60_000);
        assert_eq!(defrag.packet(at(1), &with_id(two, 7)), Defragged::Withheld, "refused as well");
        // The other family is not concerned.
        let other = cut(!is_ipv6, 1, &udp(TEXT), &[32]);
        assert!(matches!(all(&mut defrag, &other)[1], Defragged::Whole(_)));
        assert_eq!(defrag.packet(at(60), &with_id(one, 70_000)), Defragged::Withheld);
        assert!(matches!(defrag.packet(at(60), &with_id(two, 70_000)), Defragged::Whole(_)));
        assert_eq!((defrag.charged, defrag.datagrams.len()), ([0; 2], 0));
        assert!(defrag.begun.len() <= 64);
        assert_eq!(defrag.incomplete(), 60_001);
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_hold_the_room() {
    let mut defrag = defrag();
    let [one, two] = &cut(false, 1, &udp(&[b'x'; 1400]), &[1000])[..] else { panic!("two parts") };
    for second in [1000, 10] {
        for id in 0..10_000u16 {
            let mut packet = one.packet();
            packet[4..6].copy_from_slice(&id.to_be_bytes());
            defrag.packet(at(second), &packet);
        }
        assert!(defrag.datagrams.values().all(|datagram| datagram.begun == at(second)), "{second}");
    }
    let mut packets = [one.packet(), two.packet()];
    packets.iter_mut().for_each(|packet| packet[4..6].fill(0xff));
    let fates = packets.map(|packet| defrag.packet(at(41), &packet));
    assert!(matches!(fates[1], Defragged::Whole(_)));
}

#[test]
fn what_linux_drops_is_withheld() {
    let whole = udp(TEXT);
    let part = |is_ipv6, offset, more, data: &[u8]| Part {
        is_ipv6,
        id: 1,
        offset,
        more,
        ecn: 0,
        data: data.to_vec(),
    };
    let with_ecn = |part: Part, ecn| Part { ecn, ..part };
    for (name, parts, completes) in [
        ("an empty end", vec![part(false, 0, true, &whole[..32]), part(false, 32, false, b"")], false),
        (
            "an end before what is there",
            vec![part(false, 32, true, &whole[32..64]), part(false, 8, false, &whole[8..32])],
            false,
        ),
        (
            "the same of IPv6 ends nothing",
            vec![
                part(true, 0, true, &whole[..32]),
                part(true, 32, false, &whole[32..]),
                part(true, 0, true, &whole[..32]),
            ],
            true,
        ),
        (
            "longer than IP",
            vec![part(false, 65_528, false, &[1; 16]), part(false, 0, true, &whole[..64])],
            false,
        ),
        ("longer than IPv6", vec![part(true, 65_528, false, &[1; 16])], false),
        (
            "ECN and not",
            vec![with_ecn(part(false, 0, true, &whole[..32]), 2), part(false, 32, false, &whole[32..])],
            false,
        ),
        (
            "ECN in each",
            vec![
                with_ecn(part(true, 0, true, &whole[..32]), 2),
                with_ecn(part(true, 32, false, &whole[32..]), 3),
            ],
            true,
        ),
    ] {
        let fates = all(&mut defrag(), &parts);
        let is_whole = fates.iter().any(|fate| matches!(fate, Defragged::Whole(_)));
        assert_eq!(is_whole, completes, "{name}");
        assert!(!fates.contains(&Defragged::Alone), "{name}");
    }
}

#[test]
fn what_is_not_a_multiple_of_eight() {
    let whole = udp(TEXT);
    let odd = |is_ipv6, from: usize, to: usize| Part {
        is_ipv6,
        id: 1,
        offset: u16::try_from(from).unwrap(),
        more: to < whole.len(),
        ecn: 0,
        data: whole[from..to].to_vec(),
    };
    // IPv4: what is too much goes.
    let fates = all(&mut defrag(), &[odd(false, 0, 37), odd(false, 32, whole.len())]);
    assert!(matches!(&fates[1], Defragged::Whole(packet) if payload(packet) == TEXT), "{fates:?}");
    // IPv6: it goes on by itself, and all before it is lost.
    let mut defrag = defrag();
    let fates = all(&mut defrag, &[odd(true, 0, 32), odd(true, 32, 45), odd(true, 32, whole.len())]);
    assert_eq!(fates, [Defragged::Withheld, Defragged::Alone, Defragged::Withheld]);
    assert_eq!(defrag.incomplete(), 2);
}

#[test]
fn an_ipv6_header_chain_that_is_cut_goes_on_by_itself() {
    for (next, data, is_cut) in [
        (17, &[1; 8][..], false),
        (17, &[], true),
        (6, &[1; 16], true),
        (6, &[1; 24], false),
        (60, &[6, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], true),
        (60, &[17, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], false),
        (59, &[1; 8], false),
        (132, &[1; 8], false),
    ] {
        let mut packet =
            Part { is_ipv6: true, id: 1, offset: 0, more: true, ecn: 0, data: data.to_vec() }.packet();
        packet[40] = next;
        let fate = defrag().packet(at(0), &packet);
        assert_eq!(fate == Defragged::Alone, is_cut, "{next} {data:?}");
    }
}

#[test]
fn many_fragments_between_two_of_a_datagram_end_it() {
    let [one, two] = &cut(false, 1, &udp(TEXT), &[32])[..] else { panic!("two parts") };
    for (others, is_whole) in [(63, true), (64, false)] {
        let mut defrag = defrag();
        defrag.packet(at(0), &one.packet());
        for id in 0..others {
            defrag.packet(at(0), &Part { id: 100 + id, ..one.clone() }.packet());
        }
        let fate = defrag.packet(at(0), &two.packet());
        assert_eq!(matches!(fate, Defragged::Whole(_)), is_whole, "{others}");
        // From there on it is another datagram.
        let again = defrag.packet(at(0), &one.packet());
        assert_eq!(matches!(again, Defragged::Whole(_)), !is_whole, "{others}");
    }
}

#[test]
fn a_copy_that_was_cut_ends_where_it_was_cut() {
    for is_ipv6 in [false, true] {
        let mut fates = Vec::new();
        let mut defrag = defrag();
        for part in cut(is_ipv6, 1, &udp(TEXT), &[32]) {
            let packet = part.packet();
            fates.push(defrag.packet(at(0), &packet[..packet.len() - 5]));
        }
        let Defragged::Whole(packet) = &fates[1] else { panic!("{fates:?}") };
        assert_eq!(payload(packet), TEXT[..32 - 8 - 5]);
        let length = if is_ipv6 { 40 } else { 20 } + 8 + TEXT.len();
        assert_eq!(Packet::parse(packet).unwrap().length as usize, length);
    }
}

#[test]
fn only_what_may_be_for_inspected_ports_is_counted() {
    let mut other = udp(TEXT);
    other[3] = 53;
    for (datagram, first, count) in [(&other, true, 0), (&other, false, 1), (&udp(TEXT), true, 1)] {
        let parts = cut(false, 1, datagram, &[32]);
        let mut defrag = defrag();
        defrag.packet(at(0), &parts[usize::from(!first)].packet());
        assert_eq!(defrag.incomplete(), count);
    }
    let mut icmp = cut(false, 1, &udp(TEXT), &[32])[1].packet();
    icmp[9] = 1;
    let mut defrag = defrag();
    defrag.packet(at(0), &icmp);
    assert_eq!(defrag.incomplete(), 0);
}
