//! Tricks by which a request without a knock got through over TCP, each by its name.

use super::*;
use crate::testing::{ipv4_tcp_fragment, tcp_with};

/// A request but for its last line end: a receiver waits for two bytes more.
const HALF: &[u8] = b"REGISTER sip:pbx SIP/2.0\r\nFrom: \"Alice\" <sip:100@pbx>\r\n";
const START: u32 = 1000;
const END: u32 = START + HALF.len() as u32;

fn reasons(gate: &Inspector, secs: u64, segments: &[(u32, u8, &[u8])]) -> Vec<Reason> {
    let decide = |&(number, flags, payload): &(u32, u8, &[u8])| {
        gate.inspect(at(secs), &ipv4(PHONE, &tcp_at(number, flags, payload))).reason
    };
    segments.iter().map(decide).collect()
}

/// A gate that has let half a request pass.
fn half_sent() -> Inspector {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    let passed = reasons(&gate, 0, &[(START - 1, SYN, b""), (START, 0, HALF)]);
    assert_eq!(passed, [Reason::Handshake, Reason::Partial]);
    gate
}

/// Noise over bytes that the receiver has, and what completes its request behind them. With a SYN in front, too, which the
/// receiver ignores. A knock still passes.
fn completes_nothing(gate: &Inspector, secs: u64, name: &str) {
    for syn in [false, true] {
        let noise = b"AAAA\r\n";
        let mut segments =
            vec![(END - 4, 0, &noise[..]), (END, 0, b"\r\n"), (END, 0, b"\n"), (END, 0, b"X\r\n\r\n")];
        if syn {
            segments.insert(0, (END - 5, SYN, b""));
        }
        let given = reasons(gate, secs, &segments);
        let dropped = |reason: &Reason| reason.verdict() == Verdict::Drop;
        assert!(given[usize::from(syn)..].iter().all(dropped), "{name}, SYN {syn}: {given:?}");
        let ends = reasons(gate, secs, &[(END, FIN, b""), (END, RST, b"")]);
        assert!(ends.iter().all(dropped), "{name}, SYN {syn}: {ends:?}");
    }
    let knocks = reasons(gate, secs, &[(END, 0, KNOCK)]);
    assert_eq!(knocks, [Reason::Knock], "{name}");
}

const RST: u8 = 4;

#[test]
fn a_half_sent_request_is_not_completed_over_a_restart() {
    drop(half_sent());
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    let noise = reasons(&gate, 1, &[(END - 4, 0, b"AAAA\r\n"), (END, 0, b"\r\n"), (END, FIN, b"")]);
    assert_eq!(noise, [Reason::NoKnock; 3]);
}

/// Neither a killed gate nor one that hands over leaves its flows: the kernel lists connections.
#[test]
fn a_half_sent_request_is_not_completed_after_kill_9_or_a_takeover() {
    drop(half_sent());
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    gate.streams().loosen(at(0), flow_id());
    completes_nothing(&gate, 1, "listed");
    // If the kernel does not list them, as behind FORWARD.
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    gate.streams().doubt_all(at(0));
    let tricks = [(END - 5, SYN, &b""[..]), (END - 4, 0, b"AAAA\r\n"), (END, 0, b"\r\n")];
    assert_eq!(reasons(&gate, 1, &tricks)[1..], [Reason::NoKnock; 2]);
    assert_eq!(reasons(&gate, 1, &[(END, 0, KNOCK)]), [Reason::Knock]);
}

fn flow_id() -> crate::stream::FlowId {
    crate::stream::FlowId {
        source: (PHONE.parse().unwrap(), 5061),
        destination: ([192, 0, 2, 1].into(), crate::testing::PORT),
    }
}

#[test]
fn a_half_sent_request_is_not_completed_after_doors_close() {
    for odd in [&b""[..], b"\0", b"X"] {
        let gate = inspector(Mode::Enforce, Renew::Knock, 10);
        gate.inspect(at(0), &ipv4(PHONE, &udp(KNOCK)));
        reasons(&gate, 0, &[(START - 1, SYN, b""), (START, 0, HALF)]);
        // One byte that does not follow has the gate forget the flow.
        reasons(&gate, 0, &[(END + 1000, 0, odd)]);
        assert!(gate.doors().close(gate.cut().source(PHONE.parse().unwrap())).is_some());
        completes_nothing(&gate, 1, &format!("{odd:?}"));
    }
}

#[test]
fn a_half_sent_request_is_not_completed_when_its_door_runs_out() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    gate.inspect(at(0), &ipv4(PHONE, &udp(KNOCK)));
    reasons(&gate, 99, &[(START - 1, SYN, b""), (START, 0, HALF)]);
    completes_nothing(&gate, 100, "run out");
    // And long after the door is forgotten.
    reasons(&gate, 199, &[(START, 0, HALF)]);
    completes_nothing(&gate, 80_000, "forgotten");
}

/// A segment that is refused in monitor mode has passed all the same.
#[test]
fn a_half_sent_request_is_not_completed_when_monitor_becomes_enforce() {
    for (name, segments) in [
        (
            "the tail first",
            &[(START - 1, SYN, &b""[..]), (START + 10, 0, &HALF[10..]), (START, 0, &HALF[..10])][..],
        ),
        ("behind a refused request", &[(START - 200, SYN, b""), (START - 199, 0, PLAIN), (START, 0, HALF)]),
        ("without a start", &[(START, 0, HALF)]),
        ("urgent", &[(START - 1, SYN, b""), (START, URG, b""), (START, 0, HALF)]),
    ] {
        let monitor = inspector(Mode::Monitor, Renew::Knock, 10);
        reasons(&monitor, 0, segments);
        let knocks = vec![knock("alice", "mykn0ckstr1ng")];
        let gate = monitor.successor(Policy::default(), KnockSet::new(knocks).unwrap());
        completes_nothing(&gate, 1, name);
    }
}

const URG: u8 = 0x20;

#[test]
fn a_request_is_not_completed_over_two_connections_of_multipath_tcp() {
    // MP_CAPABLE and MP_JOIN (RFC 8684, 3.1 and 3.2), and one that says so only when the handshake ends.
    let capable = [30, 4, 0x01, 0x81];
    let join = [30, 12, 0x10, 1, 0, 0, 0, 1, 0, 0, 0, 2];
    for options in [&capable[..], &join, &[&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1][..], &capable].concat()] {
        for late in [false, true] {
            let gate = inspector(Mode::Enforce, Renew::Knock, 10);
            let segment = |number, flags, options: &[u8], payload: &[u8]| {
                gate.inspect(at(0), &ipv4_with(PHONE, 6, 0, &[], &tcp_with(number, flags, options, payload)))
                    .reason
            };
            assert_eq!(segment(START - 1, SYN, if late { &[] } else { options }, b""), Reason::Handshake);
            assert_eq!(segment(START, 0, options, b""), Reason::Handshake);
            assert_eq!(segment(START, 0, &[], HALF), Reason::NoKnock, "{options:?}, late {late}");
            assert_eq!(segment(START, FIN, &[], b""), Reason::NoKnock);
            assert_eq!(segment(START, 0, &[], KNOCK), Reason::Knock);
        }
    }
}

#[test]
fn a_request_does_not_pass_in_fragments() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    let segment = tcp_at(START, 0, PLAIN);
    let first = |gate: &Inspector, from: &str, length: usize, segment: &[u8]| {
        gate.inspect(at(0), &ipv4_tcp_fragment(from, 0, true, &segment[..length])).reason
    };
    reasons(&gate, 0, &[(START - 1, SYN, b"")]);
    // The header alone, with four bytes, with most of the request; and less than the header.
    for (length, reason) in [
        (20, Reason::Fragment),
        (24, Reason::Fragment),
        (64, Reason::Fragment),
        (8, Reason::Malformed),
        (16, Reason::Malformed),
    ] {
        assert_eq!(first(&gate, PHONE, length, &segment), reason, "{length}");
        // Nor to one that the PBX has called.
        let gate = Inspector::new(
            Policy { outbound: Some(Duration::from_secs(100)), ..Policy::default() },
            KnockSet::new(vec![]).unwrap(),
            10,
        );
        gate.outgoing(at(0), &outbound::options(PHONE)).unwrap();
        assert_eq!(first(&gate, PHONE, length, &segment), reason, "{length}, called");
    }
    // A knock in it, an open door and trust are what they are to others.
    let office = "10.10.1.9";
    assert_eq!(first(&gate, office, 24, &segment), Reason::Trusted);
    let knocking = tcp_at(START, 0, KNOCK);
    assert_eq!(first(&gate, PHONE, 72, &knocking), Reason::Knock);
    assert_eq!(first(&gate, PHONE, 24, &segment), Reason::Door);
    // Nobody knows what was in the rest.
    assert!(gate.doors().close(gate.cut().source(PHONE.parse().unwrap())).is_some());
    completes_nothing(&gate, 1, "fragments through a door");
}

/// A datagram's first fragment is decided as ever.
#[test]
fn a_datagrams_first_fragment_still_knocks() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    let datagram = udp(KNOCK);
    let first = |data: &[u8]| gate.inspect(at(0), &ipv4_fragment(PHONE, 0, true, data)).reason;
    assert_eq!(first(&datagram[..24]), Reason::NoKnock);
    assert_eq!(first(&datagram[..64]), Reason::Knock);
    assert_eq!(first(&datagram[..24]), Reason::Door);
}

/// A phone whose connection is older than the gate, or whose door has run out, is never locked out.
#[test]
fn a_phone_whose_flow_is_held_gets_in_with_a_knock() {
    let long = format!(
        "REGISTER sip:pbx SIP/2.0\r\nVia: SIP/2.0/TCP a;{}\r\nFrom: \"mykn0ckstr1ng\" <sip:1@a>\r\nTo: <sip:1@a>\r\n\r\n",
        "x".repeat(1400)
    );
    let long = long.as_bytes();
    let part = Knock { part: Part::FromDisplayName, ..knock("alice", "mykn0ckstr1ng") };
    let anywhere = knock("alice", "mykn0ckstr1ng");
    let secret = long.windows(13).position(|window| window == b"mykn0ckstr1ng").unwrap();
    for knock in [part, anywhere] {
        // Whole, cut behind the knock, before it, in it, and into three.
        for cuts in [&[][..], &[1440], &[100], &[secret + 5], &[100, secret + 5], &[1, 2, 3, 1000]] {
            let gate = Inspector::new(Policy::default(), KnockSet::new(vec![knock.clone()]).unwrap(), 10);
            let ends = cuts.iter().copied().chain([long.len()]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let pieces: Vec<_> =
                starts.zip(ends).map(|(from, to)| (START + from as u32, 0, &long[from..to])).collect();
            // Nothing is acknowledged before the knock. All that is sent comes, and then comes again.
            let first = reasons(&gate, 0, &pieces);
            let again = reasons(&gate, 1, &pieces);
            let name = format!("{:?} cut at {cuts:?}: {first:?}", knock.part);
            assert!(first.contains(&Reason::Knock), "{name}");
            assert!(again.iter().all(|reason| reason.verdict() == Verdict::Accept), "{name}, {again:?}");
            assert!(first.iter().all(|reason| *reason != Reason::Partial), "{name}");
        }
    }
}

/// Bytes that come in no order are kept in none, and what was the beginning stays it.
#[test]
fn a_held_flow_keeps_the_beginning_of_its_message() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    let piece = |from: usize, to: usize| (START + from as u32, 0, &KNOCK[from..to]);
    // 30 bytes, then those behind the next ten, then these.
    let (rest, end) = (40, KNOCK.len());
    let given =
        reasons(&gate, 0, &[piece(0, 30), piece(rest, end), piece(30, 40), piece(0, 30), piece(rest, end)]);
    assert_eq!(given[..4], [Reason::NoKnock; 4]);
    assert_eq!(given[4], Reason::Knock);
}

#[test]
fn a_phone_with_an_open_door_and_a_connection_older_than_the_gate_passes() {
    let gate = inspector(Mode::Enforce, Renew::Knock, 10);
    gate.inspect(at(0), &ipv4(PHONE, &udp(KNOCK)));
    gate.streams().loosen(at(0), flow_id());
    let given =
        reasons(&gate, 1, &[(START, 0, HALF), (END, 0, b"\r\n"), (END + 2, 0, PLAIN), (END + 90, FIN, b"")]);
    assert_eq!(given, [Reason::Door; 4]);
    // Its next connection is a new one, whatever became of the door.
    let given = reasons(&gate, 150, &[(END + 91, 0, b"")]);
    assert_eq!(given, [Reason::Handshake]);
    let other = |number, flags, payload: &[u8]| {
        let mut segment = tcp_at(number, flags, payload);
        segment[1] += 1;
        gate.inspect(at(150), &ipv4(PHONE, &segment)).reason
    };
    assert_eq!(other(7, SYN, b""), Reason::Handshake);
    assert_eq!(other(8, 0, &KNOCK[..40]), Reason::Partial);
    assert_eq!(other(48, 0, &KNOCK[40..]), Reason::Knock);
}

/// A flow that begins a new one on ports of which a receiver may have something has to knock.
#[test]
fn a_trunk_behind_forward_is_believed_after_a_restart() {
    let policy = Policy { outbound: Some(Duration::from_secs(100)), ..Policy::default() };
    let gate = Inspector::new(policy, KnockSet::new(vec![]).unwrap(), 10);
    gate.streams().doubt_all(at(0));
    let invite = b"INVITE sip:a@b SIP/2.0\r\nFrom: <sip:t@x>;tag=1\r\nl: 0\r\n\r\n";
    // Its connection begins before the PBX calls it, and its first segment comes too early.
    assert_eq!(reasons(&gate, 1, &[(START - 1, SYN, b""), (START, 0, invite)])[1], Reason::NoKnock);
    gate.outgoing(at(1), &outbound::options(PHONE)).unwrap();
    let end = START + invite.len() as u32;
    let given = reasons(&gate, 2, &[(START, 0, invite), (end, 0, PLAIN), (end, 0, invite)]);
    assert_eq!(given, [Reason::Outbound, Reason::NoKnock, Reason::NoKnock]);
}

/// A message with many values of a part is no guess at all, also if each of them comes in a segment of its own.
#[test]
fn values_in_several_segments_are_no_guesses() {
    let text =
        b"REGISTER sip:pbx SIP/2.0\r\nUser-Agent: mykn0ckstr1ng\r\nUser-Agent: another-guess\r\nl: 0\r\n\r\n";
    let knock = || {
        let alice = knock("alice", "mykn0ckstr1ng");
        vec![Knock { part: Part::UserAgent, extent: crate::knock::Extent::Whole, ..alice }]
    };
    for cut in 30..text.len() {
        let (begin, end) = text.split_at(cut);
        let pieces = [(START, 0, begin), (START + cut as u32, 0, end)];
        let gate = Inspector::new(Policy::default(), KnockSet::new(knock()).unwrap(), 10);
        assert_eq!(reasons(&gate, 0, &pieces), [Reason::NoKnock; 2], "held, cut at {cut}");
        let gate = Inspector::new(Policy::default(), KnockSet::new(knock()).unwrap(), 10);
        assert_eq!(reasons(&gate, 0, &[(START - 1, SYN, b"")]), [Reason::Handshake]);
        let [begin, end] = reasons(&gate, 0, &pieces)[..] else { unreachable!() };
        assert!(matches!(begin, Reason::Partial | Reason::NoKnock) && end == Reason::NoKnock, "cut at {cut}");
        let by_hand = crate::door::Grant {
            knock: crate::door::Door::by_hand(),
            life: Duration::from_secs(10),
            registration: None,
        };
        gate.doors().knock(gate.cut().source(PHONE.parse().unwrap()), at(0), &[by_hand]);
        let other = [(START + 500, 0, pieces[0].2), (START + 500 + cut as u32, 0, pieces[1].2)];
        assert_eq!(reasons(&gate, 0, &other), [Reason::Door; 2], "through a door, cut at {cut}");
    }
}
