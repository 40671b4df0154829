//! The filter in the kernel: its programs, run by the kernel on bytes without a network, against the same in Rust. It needs
//! the right to load programs.
//!
//! `SIPKNOCK_PREFILTER_PACKETS=100000 cargo test --test prefilter` compares so many packets in each configuration, and
//! `SIPKNOCK_PREFILTER_COSTS=5 cargo test --test prefilter cost` prints what a packet costs, the median of so many rounds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "prefilter/configurations.rs"]
mod configurations;
#[path = "prefilter/dice.rs"]
mod dice;
#[path = "prefilter/packets.rs"]
mod packets;

use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, thread};

use libtest_mimic::{Arguments, Completion, Trial};
use sipknock::knock::gram_filter::GramFilter;
use sipknock::knock::{Knock, KnockSet, Payload};
use sipknock::packet::{Body, Packet};
use sipknock::prefilter::{Class, MAX_EXTENSIONS, MAX_PAYLOAD, Prefilter, classify};

use configurations::{Configuration, configurations, knock};
use dice::Dice;
use packets::{ipv4, ipv4_with, ipv6, ipv6_with, register, tcp, udp};

fn main() -> ExitCode {
    let missing = missing();
    let same = configurations().into_iter().map(|configuration| {
        let name = format!("the_program_says_what_the_reference_says_{}", configuration.name);
        trial(name, missing.clone(), move || same(&configuration))
    });
    let cases = CASES.map(|(name, case)| trial(name.to_owned(), missing.clone(), case));
    let source = Trial::ignorable_test("the_programs_are_those_of_their_source", || {
        Ok(made_of_source().map_or(Completion::Completed, Completion::ignored_with))
    });
    let costs = env::var("SIPKNOCK_PREFILTER_COSTS").ok().map(|rounds| {
        trial("costs_are_printed".into(), missing.clone(), move || costs(rounds.parse().unwrap_or(5)))
    });
    libtest_mimic::run(&Arguments::from_args(), same.chain(cases).chain([source]).chain(costs).collect())
        .exit_code()
}

fn trial(name: String, missing: Option<String>, case: impl FnOnce() + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = missing {
            return Ok(Completion::ignored_with(reason));
        }
        case();
        Ok(Completion::Completed)
    })
}

const CASES: [(&str, fn()); 6] = [
    ("odd_packets_are_for_user_space", odd),
    ("each_length_of_a_payload_is_searched_to_its_end", lengths),
    ("strangers_are_seldom_hits", strangers),
    ("nothing_is_missed_while_knocks_are_exchanged", exchanged),
    ("everything_is_a_hit_before_the_first_filter_and_on_demand", everything),
    ("several_runs_at_a_time_do_not_disturb_each_other", together),
];

/// Why nothing can be loaded here.
fn missing() -> Option<String> {
    match Prefilter::load() {
        Ok(_) => None,
        Err(error) if error.is_for_want_of_rights() => Some("needs the right to load programs".into()),
        // Anything else is what the tests are to find.
        Err(_) => None,
    }
}

fn loaded(filter: &GramFilter) -> Prefilter {
    let mut prefilter = Prefilter::load().unwrap_or_else(|error| panic!("{error}"));
    prefilter.fill(filter);
    prefilter
}

fn class(prefilter: &Prefilter, packet: &[u8]) -> Class {
    prefilter.trial(packet, 1).unwrap().class
}

/// Random packets are of the same class to both, and no knock that the matcher finds is of none.
fn same(configuration: &Configuration) {
    let filter = GramFilter::new(&configuration.knocks);
    let prefilter = loaded(&filter);
    let set = KnockSet::new(configuration.knocks.clone()).unwrap();
    let by_hand = env::var("SIPKNOCK_PREFILTER_PACKETS").ok();
    let count: usize = by_hand.map_or(4_000, |count| count.parse().unwrap());
    let mut dice = Dice::new(configuration.name);
    let (mut classes, mut found) = ([0; 3], 0);
    for _ in 0..count {
        let packet = packets::random(&mut dice, &configuration.knocks);
        let expected = classify(&filter, &packet);
        let said = class(&prefilter, &packet);
        assert_eq!(said, expected, "{:?}: {}", Packet::parse(&packet), String::from_utf8_lossy(&packet));
        if holds(&set, &packet) {
            found += 1;
            assert_ne!(said, Class::None, "{}", String::from_utf8_lossy(&packet));
        }
        classes[said as usize] += 1;
    }
    assert!(classes.iter().all(|class| *class > count / 50), "all classes are tried: {classes:?}");
    assert!(found > 0, "and knocks");
}

/// Whether user space finds a knock in it.
fn holds(set: &KnockSet, packet: &[u8]) -> bool {
    let Ok(Packet { body: Body::Segment(segment), source, .. }) = Packet::parse(packet) else { return false };
    segment.sequence.is_none() && !set.matched(source, Payload::Datagram(segment.payload)).is_empty()
}

fn odd() {
    let plain = GramFilter::new(&[knock("anywhere", "mykn0ckstr1ng")]);
    let quoted = GramFilter::new(&[knock("from-display-name", "say \"mykn0ck\" to me")]);
    let long = |length: usize| vec![b'x'; length];
    let extensions = |count: usize| {
        let mut data = udp(&register("x"));
        for next in [17_u8].into_iter().chain([60; 20]).take(count) {
            data = [&[next, 0, 1, 4, 0, 0, 0, 0][..], &data].concat();
        }
        ipv6_with(60, &data)
    };
    let answer = |start: &str| ipv4(&udp(format!("{start}2.0 200 OK\r\n\r\n").as_bytes()));
    let mut huge = ipv4(&udp(&register("x")));
    huge[2..4].copy_from_slice(&65_535_u16.to_be_bytes());
    for (name, filter, packet, expected) in [
        ("a stranger", &plain, ipv4(&udp(&register("x"))), Class::None),
        ("a stranger over IPv6", &plain, ipv6(&udp(&register("x"))), Class::None),
        ("a knock", &plain, ipv4(&udp(&register("mykn0ckstr1ng"))), Class::Hit),
        ("a knock over IPv6", &plain, ipv6(&udp(&register("mykn0ckstr1ng"))), Class::Hit),
        ("a knock in another case", &plain, ipv4(&udp(&register("MyKn0ckStr1ng"))), Class::Hit),
        ("a first fragment", &plain, ipv4_with(17, 0x2000, &[], &udp(&register("x"))), Class::Odd),
        ("a later fragment", &plain, ipv4_with(17, 0x2001, &[], &udp(&register("x"))), Class::None),
        ("a TCP segment", &plain, ipv4(&tcp(&register("x"))), Class::Odd),
        ("a TCP segment over IPv6", &plain, ipv6_with(6, &tcp(b"")), Class::Odd),
        ("a TCP header cut short", &plain, ipv4_with(6, 0, &[], &tcp(b"")[..19]), Class::None),
        ("ICMP", &plain, ipv4_with(1, 0, &[], &udp(b"")), Class::None),
        ("a long payload", &plain, ipv4(&udp(&long(MAX_PAYLOAD + 1))), Class::Odd),
        ("one that is just not", &plain, ipv4(&udp(&long(MAX_PAYLOAD))), Class::None),
        ("an answer", &plain, answer("SIP/"), Class::Odd),
        ("an answer in small letters", &plain, answer("sip/"), Class::Odd),
        ("no answer", &plain, answer("SIQ/"), Class::None),
        ("no answer, but in bits of case", &plain, answer("SIP\x0f"), Class::None),
        ("nothing", &plain, ipv4(&udp(b"")), Class::None),
        ("three bytes", &plain, ipv4(&udp(b"SIP")), Class::None),
        ("a backslash that hides nothing", &plain, ipv4(&udp(&register(r"\x"))), Class::None),
        ("a backslash that may", &quoted, ipv4(&udp(&register(r"\x"))), Class::Odd),
        ("one in front", &quoted, ipv4(&udp(b"\\")), Class::Odd),
        ("one at the end", &quoted, ipv4(&udp(&[long(1499), b"\\".to_vec()].concat())), Class::Odd),
        ("none", &quoted, ipv4(&udp(&register("x"))), Class::None),
        ("many extension headers", &plain, extensions(MAX_EXTENSIONS), Class::None),
        ("too many", &plain, extensions(MAX_EXTENSIONS + 1), Class::Odd),
        ("a truncated copy", &plain, huge, Class::None),
        ("no IP", &plain, vec![0x50; 60], Class::None),
        ("one byte of IPv6", &plain, vec![0x60], Class::None),
    ] {
        assert_eq!(classify(filter, &packet), expected, "{name}, by the reference");
        // The kernel wants a whole header.
        if packet.len() >= 20 {
            assert_eq!(class(&loaded(filter), &packet), expected, "{name}");
        }
    }
}

/// A knock at the very beginning, and at the very end, of payloads of each length.
fn lengths() {
    for secret in ["k7h2m9x4", "k7h2m9x4q3w8t", "k7h2m9x4q3w8tz5b6n7c8d9f0g1h2j3k4l5m6n7p8q9r0"] {
        let filter = GramFilter::new(&[knock("anywhere", secret)]);
        let prefilter = loaded(&filter);
        for length in 0..=MAX_PAYLOAD {
            let filling: Vec<u8> = (0..length).map(|at| b"-+*/"[at % 4]).collect();
            let mut expected = Class::None;
            assert_eq!(class(&prefilter, &ipv4(&udp(&filling))), expected, "{secret} {length}");
            if length >= secret.len() {
                expected = Class::Hit;
            }
            let kept = secret.len().min(length);
            let (front, back) = (&secret.as_bytes()[..kept], &secret.as_bytes()[secret.len() - kept..]);
            let begins = [front, &filling[kept..]].concat();
            let ends = [&filling[kept..], back].concat();
            for payload in [begins, ends] {
                // A text without the whole knock may have one of its q-grams.
                let said = class(&prefilter, &ipv4(&udp(&payload)));
                assert!(said == expected || length < secret.len(), "{secret} {length}");
                assert_eq!(said, classify(&filter, &ipv4(&udp(&payload))), "{secret} {length}");
            }
        }
    }
}

/// Packets of strangers as they come, and of none of these knocks.
fn strangers() {
    let mut dice = Dice::new("strangers");
    for (name, knocks, most) in configurations::sizes() {
        let filter = GramFilter::new(&knocks);
        let prefilter = loaded(&filter);
        let count = 2_000;
        let hits = (0..count).filter(|_| {
            let packet = ipv4(&udp(&packets::stranger(&mut dice)));
            class(&prefilter, &packet) != Class::None
        });
        let hits = hits.count();
        assert!(hits * 1_000 <= count * most, "{name}: {hits} of {count}");
    }
}

/// Prints nanoseconds of the program for a packet of a stranger, and its hits among many of them.
fn costs(rounds: usize) {
    let mut dice = Dice::new("costs");
    let packets: Vec<_> = (0..200).map(|_| ipv4(&udp(&packets::stranger(&mut dice)))).collect();
    let bytes = packets.iter().map(Vec::len).sum::<usize>() / packets.len();
    println!("IPv4 packets of {bytes} bytes on average, nanoseconds of a run, hits in a thousand");
    let own = [knock("from-display-name", "say \"mykn0ck\" to me")];
    let extra = [
        ("1 of 8 bytes".to_owned(), vec![knock("anywhere", "k7h2m9x4")], 0),
        ("1 with quotes, which backslashes may hide".to_owned(), own.to_vec(), 0),
        ("none".to_owned(), Vec::new(), 0),
    ];
    for (name, knocks, _) in configurations::sizes().into_iter().chain(extra) {
        let filter = GramFilter::new(&knocks);
        let prefilter = loaded(&filter);
        let round = |_| {
            let ran = packets.iter().map(|packet| prefilter.trial(packet, 2_000).unwrap());
            let nanos: Vec<_> =
                ran.filter(|trial| trial.class == Class::None).map(|trial| u64::from(trial.nanos)).collect();
            nanos.iter().sum::<u64>() / (nanos.len() as u64).max(1)
        };
        let mut nanos: Vec<_> = (0..rounds).map(round).collect();
        nanos.sort_unstable();
        let many = (0..10_000).map(|_| ipv4(&udp(&packets::stranger(&mut dice))));
        let hits = many.filter(|packet| classify(&filter, packet) == Class::Hit).count();
        let level = filter.long().or(filter.short());
        let form = level.map(|level| (level.q(), level.stride(), level.first().bytes().len() >> 10));
        println!("{name}: {} ns, {:.1}, {form:?}", nanos[nanos.len() / 2], hits as f64 / 10.0);
    }
}

/// The knocks are exchanged again and again, and a packet that holds one of each set is always a hit.
fn exchanged() {
    let sets =
        ["mykn0ckstr1ng", "0therkn0ckstr1ng"].map(|secret| GramFilter::new(&[knock("anywhere", secret)]));
    let packet = ipv4(&udp(&register("mykn0ckstr1ng 0therkn0ckstr1ng")));
    let mut prefilter = loaded(&sets[0]);
    let runner = prefilter.runner().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut runs = 0_u32;
            while !done.load(Ordering::Relaxed) {
                assert_eq!(runner.trial(&packet, 1).unwrap().class, Class::Hit, "after {runs} runs");
                runs += 1;
            }
            runs
        });
        for filter in sets.iter().cycle().take(60) {
            prefilter.fill(filter);
        }
        done.store(true, Ordering::Relaxed);
        assert!(watching.join().unwrap() > 100, "it ran meanwhile");
    });
}

fn everything() {
    let mut prefilter = Prefilter::load().unwrap();
    let packets = [ipv4(&udp(&register("x"))), ipv4_with(1, 0, &[], &[0; 8]), vec![0x50; 60]];
    let all =
        |prefilter: &Prefilter, expected| packets.iter().all(|packet| class(prefilter, packet) == expected);
    assert!(all(&prefilter, Class::Hit));
    prefilter.fill(&GramFilter::new([]));
    assert!(all(&prefilter, Class::None));
    prefilter.set_everything(true);
    assert!(all(&prefilter, Class::Hit));
    prefilter.set_everything(false);
    assert!(all(&prefilter, Class::None));
    let blank: Knock = knock("headers", "  ");
    prefilter.fill(&GramFilter::new(&[blank]));
    assert_eq!(class(&prefilter, &packets[0]), Class::Hit, "a knock that a fold may stand for");
    prefilter.fill(&GramFilter::new(&[knock("anywhere", "7a!e")]));
    assert_eq!(class(&prefilter, &packets[0]), Class::Hit, "a knock that is too short to look for");
    assert_eq!(class(&prefilter, &packets[1]), Class::None);
}

/// Two threads run the program on different packets: the one's bytes are not searched in place of the other's.
fn together() {
    let prefilter = loaded(&GramFilter::new(&[knock("anywhere", "mykn0ckstr1ng")]));
    let packets = [("mykn0ckstr1ng", Class::Hit), ("x", Class::None)];
    thread::scope(|scope| {
        for (display, expected) in packets {
            let prefilter = &prefilter;
            scope.spawn(move || {
                let packet = ipv4(&udp(&register(display)));
                for _ in 0..20_000 {
                    assert_eq!(class(prefilter, &packet), expected);
                }
            });
        }
    });
}

/// Whether the instructions are those of the source; `Some` says why that can't be told.
fn made_of_source() -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_missing = |program: &&str| !env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if let Some(program) = ["clang-14", "llvm-objcopy-14", "llvm-readelf-14"].into_iter().find(is_missing) {
        return Some(format!("needs {program}"));
    }
    let version = Command::new("clang-14").arg("-dumpversion").output().unwrap();
    if version.stdout.trim_ascii() != b"14.0.6" {
        return Some("needs clang 14.0.6".into());
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/make-prefilter");
    let output = Command::new(script).arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    None
}
