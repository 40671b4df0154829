//! Packets that come together, and queues that decide at the same time.

use std::sync::{Arc, mpsc};
use std::thread;

use proptest::prelude::*;

use super::*;

/// Datagrams and segments with and without knocks, whole and in pieces, from a few sources.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        Just(udp(KNOCK)),
        Just(udp(LONELY)),
        Just(udp(PLAIN)),
        Just(udp(b"")),
        Just(tcp(KNOCK)),
        Just(tcp(PLAIN)),
        Just(tcp(b"")),
        Just(udp(PLAIN)[..7].to_vec()),
        Just(tcp_at(99, SYN, b"")),
        Just(tcp_at(150, FIN, b"")),
        (prop::sample::select(&[KNOCK, PLAIN][..]), 1..50usize, any::<bool>()).prop_map(
            |(text, cut, first)| {
                let (half, rest) = text.split_at(cut);
                if first { tcp_at(100, 0, half) } else { tcp_at(100 + u32::try_from(cut).unwrap(), 0, rest) }
            }
        ),
    ];
    let whole = (any_source(), body).prop_map(|(from, body)| ipv4(from, &body));
    let fragment = any_source().prop_map(|from| ipv4_fragment(from, 100, false, KNOCK));
    prop_oneof![20 => whole, 1 => fragment, 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

/// Packets that change no door: they are looked at together, up to the first that may.
fn plain_packet() -> impl Strategy<Value = Vec<u8>> {
    let bodies = || prop::sample::select(vec![udp(PLAIN), udp(b""), udp(PLAIN)[..7].to_vec()]);
    prop_oneof![
        9 => (any_source(), bodies()).prop_map(|(from, body)| ipv4(from, &body)),
        1 => Just(vec![0; 3]),
    ]
}

fn any_source() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["203.0.113.7", "203.0.113.8", "203.0.113.9", "10.10.1.9"][..])
}

fn any_batch() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let plain = prop::collection::vec(plain_packet(), 0..40);
    let any = prop::collection::vec(any_packet(), 0..40);
    (plain, any).prop_map(|(plain, any)| [plain, any].concat())
}

proptest! {
    #[test]
    fn a_batch_is_decided_as_its_packets_are(
        batches in prop::collection::vec((0u64..60, any_batch()), 1..8),
        mode in prop::sample::select(&[Mode::Enforce, Mode::Monitor][..]),
        renew in prop::sample::select(&[Renew::Knock, Renew::Packet][..]),
        // Where there are many doors, those of a batch are fetched first.
        others in prop::sample::select(&[0u8, 100][..]),
    ) {
        let [together, alone] = [(); 2].map(|()| {
            let gate = inspector(mode, renew, usize::from(others) + 2);
            (0..others).for_each(|n| _ = gate.inspect(at(0), &ipv4(&format!("192.0.2.{n}"), &udp(KNOCK))));
            gate
        });
        let (mut now, mut batch) = (at(0), Batch::default());
        for (pause, packets) in batches {
            now = now.after(Duration::from_secs(pause));
            together.inspect_all(now, packets.iter().map(Vec::as_slice), &mut batch, || {});
            let expected: Vec<_> = packets.iter().map(|packet| alone.inspect(now, packet)).collect();
            prop_assert_eq!(batch.decisions(), expected);
            let listed = |gate: &Inspector| {
                let mut listed = gate.doors().listed(0, 1, now);
                listed.sort_by_key(|listed| listed.source);
                listed
            };
            prop_assert_eq!(listed(&together), listed(&alone));
            prop_assert_eq!(together.streams().kept(), alone.streams().kept());
        }
    }
}

/// Flows and doors have locks of their own, and each needs the other's at times.
#[test]
fn queues_that_decide_the_same_flows_never_wait_for_each_other_for_good() {
    let gate = Arc::new(inspector(Mode::Enforce, Renew::Packet, 200));
    let (done, finished) = mpsc::channel();
    for queue in 0..3u32 {
        let (gate, done) = (Arc::clone(&gate), done.clone());
        thread::spawn(move || {
            let (half, rest) = KNOCK.split_at(50);
            let mut batch = Batch::default();
            for round in 0..1000u32 {
                let packets: Vec<_> = (0..32u32)
                    .map(|n| {
                        let from = format!("203.0.113.{}", (n + 7 * round + 50 * queue) % 251);
                        ipv4(
                            &from,
                            // In every third batch the first ones, or all, are looked at together.
                            &match if round % 3 == 0 && n < round % 36 { 4 } else { (n + round) % 5 } {
                                0 => tcp_at(99, SYN, b""),
                                1 => tcp_at(100, 0, half),
                                2 => tcp_at(150, 0, rest),
                                3 => tcp_at(100, 0, KNOCK),
                                _ => udp(PLAIN),
                            },
                        )
                    })
                    .collect();
                let now = at(u64::from(round / 10));
                gate.inspect_all(now, packets.iter().map(Vec::as_slice), &mut batch, || {});
                assert_eq!(batch.decisions().len(), packets.len());
            }
            done.send(()).unwrap();
        });
    }
    let keeper = thread::spawn({
        let gate = Arc::clone(&gate);
        move || {
            for round in 0..1000 {
                gate.doors().sweep(at(round / 10));
                gate.streams().sweep(at(round / 10));
                gate.doors().flush(|_, _| {});
            }
            done.send(()).unwrap();
        }
    });
    (0..4).for_each(|_| finished.recv_timeout(Duration::from_secs(600)).expect("all get on"));
    keeper.join().unwrap();
    gate.doors().flush(|_, _| {});
    assert_eq!(gate.doors().open_count(), 0);
}
