//! The core against a reference that was written from the design: random packets, times, commands and configurations go
//! through both, and every verdict, reason, knock and door must be the same.
//!
//! `SIPKNOCK_MODEL_STEPS=200000 cargo test --test model -- --nocapture` runs so many steps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "model/doors.rs"]
mod doors;
#[path = "model/gate.rs"]
mod gate;
#[path = "model/knocks.rs"]
mod knocks;
#[path = "model/message.rs"]
mod message;
#[path = "model/packet.rs"]
mod packet;
#[path = "model/reference.rs"]
mod reference;

use std::env;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::test_runner::{Config as Runner, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use gate::Gate;
use knocks::palette;
use message::{Message, message};
use reference::{Body, Config, Reference, SECOND};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A datagram, or a fragment, from one of [`ADDRESSES`].
    Packet(usize, Body),
    /// A connection with one message, in so many segments at most, with or without the SYN that the gate sees.
    Stream {
        from: usize,
        message: Message,
        cuts: Vec<prop::sample::Index>,
        syn: bool,
    },
    /// The PBX sends a message to one of them.
    Sent(usize, Message),
    /// Nanoseconds pass.
    Wait(u64),
    Open(usize, u64),
    Close(usize, bool),
    Flush,
    Sweep,
    Reload(Config),
    /// The gate ends, and after so many nanoseconds another one has what it wrote down, perhaps with another configuration.
    /// The wall clock is set to some time meanwhile; `None`: the machine boots.
    Restart {
        passed: u64,
        clock: Option<u64>,
        config: Option<Config>,
    },
}

const ADDRESSES: [&str; 16] = [
    "203.0.113.1",
    "203.0.113.2",
    "203.0.113.3",
    "198.51.100.7",
    "10.10.1.9",
    "2001:db8:1:1::1",
    "2001:db8:1:1::2",
    "2001:db8:1:2::1",
    // Behind translators, link-local, of one of Teredo's servers.
    "64:ff9b::c000:201",
    "64:ff9b::c000:202",
    "2001:db8:64::c000:201",
    "2001:db8:64::c000:202",
    "2001:db8:64:0:1::5",
    "fe80::1:1",
    "fe80::1:2",
    "2001:0:7:8:9::1",
];

/// The networks of translators that a configuration may have.
const TRANSLATORS: [&str; 2] = ["64:ff9b::", "2001:db8:64::"];

fn address(index: usize) -> IpAddr {
    ADDRESSES[index].parse().unwrap()
}

#[test]
fn the_core_decides_as_the_reference_does() {
    let by_hand = env::var("SIPKNOCK_MODEL_STEPS").ok();
    let steps: u32 = by_hand.as_ref().map_or(8_000, |steps| steps.parse().unwrap());
    let cases = steps.div_ceil(STEPS_IN_A_CASE);
    let runner = Runner { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Runner::default() };
    // The suite goes the same ways each time; new ones are for who has the time to look into what they find.
    let mut runner = match by_hand {
        Some(_) => TestRunner::new(runner),
        None => TestRunner::new_with_rng(runner, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let script = (config(), prop::collection::vec(step(), STEPS_IN_A_CASE as usize));
    let outcome = runner.run(&script, |(config, steps)| run(config, &steps));
    if let Err(TestError::Fail(why, (config, steps))) = &outcome {
        let steps: Vec<_> = steps.iter().map(|step| format!("{step:?}")).collect();
        panic!("{why}\n{config:?}\n{}", steps.join("\n"));
    }
    outcome.unwrap();
    println!("{} steps in {cases} histories", cases * STEPS_IN_A_CASE);
}

fn run(config: Config, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut now = 1_795_356_000 * SECOND;
    let mut gate = Gate::new(&config);
    let mut reference = Reference::new(config);
    for (number, step) in steps.iter().enumerate() {
        let seconds = now / SECOND;
        let context = || format!("step {number} at {seconds}: {step:?}");
        match step {
            Step::Packet(from, body) => {
                let from = address(*from);
                let expected = reference.packet(now, from, body);
                prop_assert_eq!(gate.packet(now, from, body), expected, "{}", context());
            }
            Step::Stream { from, message, cuts, syn } => {
                let from = address(*from);
                let text = message.text();
                let cuts = cuts.iter().map(|cut| cut.index(text.len())).collect();
                let pieces = pieces(&text, cuts);
                let fates = gate.stream(now, from, &pieces, *syn);
                let verdict = reference.stream(now, from, message, &pieces, *syn, &fates);
                prop_assert!(verdict.is_ok(), "{}: {fates:?}: {}", context(), verdict.unwrap_err());
            }
            Step::Sent(to, message) => {
                gate.sent(now, address(*to), message);
                reference.sent(now, address(*to), message);
            }
            Step::Wait(nanos) => now += nanos,
            Step::Open(at, seconds) => {
                let opened = gate.open(now, address(*at), *seconds);
                prop_assert_eq!(opened, reference.open(now, address(*at), *seconds), "{}", context());
            }
            Step::Close(at, mark) => {
                gate.close(now, address(*at), *mark);
                reference.close(now, address(*at), *mark);
            }
            Step::Flush => {
                gate.flush(now);
                reference.flush();
            }
            Step::Sweep => gate.sweep(now),
            Step::Reload(config) => {
                gate.reload(now, config);
                reference.reload(now, config.clone());
            }
            Step::Restart { passed, clock, config } => {
                let config = config.clone().unwrap_or_else(|| reference.config().clone());
                let mut next = reference.clone();
                next.restart(now, now + passed, config.clone());
                // Beyond `max_doors`, as a reload may leave them, it is open which doors are restored.
                if next.has_room_for_all(now + passed) {
                    gate = gate.restarted(now, *passed, *clock, &config);
                    reference = next;
                    now += passed;
                }
            }
        }
        for at in 0..ADDRESSES.len() {
            let from = address(at);
            prop_assert_eq!(
                gate.open_until(from, now),
                reference.open_until(from, now),
                "the door of {} after {}",
                from,
                context()
            );
            prop_assert_eq!(
                gate.called_until(from, now),
                reference.called_until(from, now),
                "the outbound door of {} after {}",
                from,
                context()
            );
            prop_assert_eq!(
                gate.marked_until(from, now),
                reference.marked_until(from, now),
                "the mark of {} after {}",
                from,
                context()
            );
        }
    }
    Ok(())
}

/// A text in pieces that end at these places.
fn pieces(text: &[u8], mut cuts: Vec<usize>) -> Vec<Vec<u8>> {
    cuts.push(0);
    cuts.push(text.len());
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|ends| text[ends[0]..ends[1]].to_vec()).collect()
}

fn config() -> impl Strategy<Value = Config> {
    let knocks = prop::sample::subsequence((0..palette().len()).collect::<Vec<_>>(), 1..=palette().len());
    let outbound = prop_oneof![1 => Just(None), 4 => Just(Some(200)), 1 => Just(Some(30))];
    let nat64 = prop_oneof![
        6 => Just(vec![TRANSLATORS[0]]), 1 => Just(Vec::new()), 2 => Just(TRANSLATORS.to_vec()),
        1 => Just(vec![TRANSLATORS[1]]),
    ];
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    (knocks, 4usize..12, flags, outbound, 1usize..8, nat64).prop_map(
        |(knocks, max_doors, (renew_by_packet, monitor), outbound, max_outbound, nat64)| Config {
            knocks,
            max_doors,
            renew_by_packet,
            monitor,
            outbound,
            max_outbound,
            nat64,
        },
    )
}

fn step() -> BoxedStrategy<Step> {
    // Most of what happens concerns a few, so that doors are met again.
    let at = || prop_oneof![3 => 0usize..8, 2 => 0..ADDRESSES.len()];
    let body = prop_oneof![
        12 => message().prop_map(Body::Datagram),
        1 => message().prop_map(Body::First),
        1 => Just(Body::Later),
        2 => message().prop_map(Body::FirstOfSegment),
        1 => Just(Body::LaterOfSegment),
        1 => Just(Body::Malformed),
    ];
    let passed =
        prop_oneof![2 => Just(0), 2 => 0..70 * SECOND, 1 => 0..4000 * SECOND, 1 => 0..100_000 * SECOND];
    let restart = (
        passed,
        prop::option::weighted(0.7, 0..3_000_000_000 * SECOND),
        prop::option::weighted(0.4, config()),
    );
    let wait = prop_oneof![
        4 => 0..2 * SECOND,
        6 => 0..70 * SECOND,
        // To the second, where most doors run out.
        3 => (1u64..130).prop_map(|seconds| seconds * SECOND),
        1 => 0..4000 * SECOND,
        1 => 0..100_000 * SECOND,
    ];
    let cuts = || prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    prop_oneof![
        30 => (at(), body).prop_map(|(from, body)| Step::Packet(from, body)),
        10 => (at(), message(), cuts(), prop::bool::weighted(0.8))
            .prop_map(|(from, message, cuts, syn)| Step::Stream { from, message, cuts, syn }),
        10 => (at(), message()).prop_map(|(to, message)| Step::Sent(to, message)),
        14 => wait.prop_map(Step::Wait),
        1 => (at(), 1u64..300).prop_map(|(at, seconds)| Step::Open(at, seconds)),
        2 => (at(), any::<bool>()).prop_map(|(at, mark)| Step::Close(at, mark)),
        1 => Just(Step::Flush),
        2 => Just(Step::Sweep),
        2 => config().prop_map(Step::Reload),
        2 => restart.prop_map(|(passed, clock, config)| Step::Restart { passed, clock, config }),
    ]
    .boxed()
}

/// Long enough for doors to open, run out and be forgotten.
const STEPS_IN_A_CASE: u32 = 80;
