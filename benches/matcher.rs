//! The matcher's engines and others, on packets without a knock: what every packet of a scan costs.
//!
//! `cargo bench --bench matcher` goes through 1 to 10,000 knocks of three styles on REGISTERs of 700 bytes, each with a
//! `+sip.instance` as phones send it. The engines are the matcher's own choice and those that can be forced; beside
//! them stand the automata of the `aho-corasick` crate, its packed searcher (Teddy), daachorse and a loop of substring
//! searches. Of these, only the number of packets in which anything occurs is asked for, and it has to be 0.
//!
//! An argument is a part of the names wanted, such as `uuid/10000` or `chosen`.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Duration;

use aho_corasick::packed::Searcher;
use aho_corasick::{AhoCorasick, MatchKind};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use daachorse::DoubleArrayAhoCorasick;
use memchr::memmem;
use sipknock::knock::matcher::{Engine, Matcher, Pattern};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .without_plots()
        .configure_from_args();
    search(&mut criterion);
    build(&mut criterion);
    criterion.final_summary();
}

fn search(criterion: &mut Criterion) {
    let packets: Vec<_> = (1..=PACKETS).map(|seed| register(&mut Dice(seed))).collect();
    for (style, knocks) in STYLES {
        for count in COUNTS {
            let knocks = knocks(count);
            let mut group = criterion.benchmark_group(format!("search/{style}/{count}"));
            group.throughput(Throughput::Elements(PACKETS));
            engines(&mut group, &packets, &knocks);
            others(&mut group, &packets, &knocks);
            group.finish();
        }
    }
}

/// The matcher's own choice, and each engine that is not hopeless.
fn engines(group: &mut BenchmarkGroup<'_, WallTime>, packets: &[Vec<u8>], knocks: &[Vec<u8>]) {
    for ignore_case in [false, true] {
        let case = if ignore_case { "ignore-case" } else { "exact" };
        let patterns = || knocks.iter().map(|bytes| Pattern { bytes, ignore_case });
        let matcher = Matcher::new(patterns()).unwrap();
        pass(group, &format!("chosen-{}-{case}", matcher.engine().name()), packets, |packet| {
            !matcher.occurring(packet).is_empty()
        });
        for engine in Engine::ALL {
            let matcher = Matcher::with_engine(patterns(), engine).unwrap();
            // What it can't hold it leaves to the automaton.
            if matcher.engine() == engine && (engine != Engine::Memmem || knocks.len() <= MOST_LOOPS) {
                let name = format!("engine-{}-{case}", engine.name());
                pass(group, &name, packets, |packet| !matcher.occurring(packet).is_empty());
            }
        }
    }
}

fn others(group: &mut BenchmarkGroup<'_, WallTime>, packets: &[Vec<u8>], knocks: &[Vec<u8>]) {
    for (name, kind) in [("standard", MatchKind::Standard), ("leftmost-first", MatchKind::LeftmostFirst)] {
        let automaton = AhoCorasick::builder().match_kind(kind).build(knocks).unwrap();
        pass(group, &format!("aho-corasick-{name}"), packets, |packet| automaton.is_match(packet));
    }
    if let Some(teddy) = Searcher::new(knocks) {
        pass(group, "aho-corasick-packed", packets, |packet| teddy.find(packet).is_some());
    }
    let daachorse = DoubleArrayAhoCorasick::<u32>::new(knocks).unwrap();
    pass(group, "daachorse", packets, |packet| daachorse.find_overlapping_iter(packet).next().is_some());
    if knocks.len() <= MOST_LOOPS {
        let finders: Vec<_> = knocks.iter().map(memmem::Finder::new).collect();
        pass(group, "memmem-loop", packets, |packet| {
            finders.iter().any(|finder| finder.find(packet).is_some())
        });
    }
}

/// All packets, one after the other: the processor should not learn one by heart.
fn pass(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    packets: &[Vec<u8>],
    occurs: impl Fn(&[u8]) -> bool,
) {
    let hits = || packets.iter().filter(|packet| occurs(black_box(packet))).count();
    assert_eq!(hits(), 0, "{name}");
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| bencher.iter(hits));
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    for (style, knocks) in STYLES {
        let knocks = knocks(10_000);
        for (case, ignore_case) in [("exact", false), ("ignore-case", true)] {
            let build = || Matcher::new(knocks.iter().map(|bytes| Pattern { bytes, ignore_case })).unwrap();
            println!("build/{style}/10000/{case}: {} bytes", build().memory_usage());
            group.bench_function(format!("{style}/10000/{case}"), |bencher| {
                bencher.iter_with_large_drop(build)
            });
        }
    }
    group.finish();
}

type Style = (&'static str, fn(usize) -> Vec<Vec<u8>>);

const STYLES: [Style; 3] = [("random", random), ("uuid", uuids), ("words", words)];

const COUNTS: [usize; 6] = [1, 10, 30, 100, 1_000, 10_000];

const PACKETS: u64 = 256;

/// Beyond this a loop takes longer than anybody waits.
const MOST_LOOPS: usize = 1_000;

/// 20 small letters.
fn random(count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(1_001);
    (0..count).map(|_| dice.text("abcdefghijklmnopqrstuvwxyz", 20).into_bytes()).collect()
}

/// `urn:uuid:` and a random version 4.
fn uuids(count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(1_002);
    (0..count).map(|_| dice.uuid().into_bytes()).collect()
}

/// Such as "Blue-Window-Teacher-42".
fn words(count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(1_003);
    let mut knocks: Vec<_> = (0..2 * count)
        .map(|_| {
            let [first, second, third] = [FIRST, SECOND, THIRD].map(|words| words[dice.below(words.len())]);
            format!("{first}-{second}-{third}-{}", 10 + dice.below(90)).into_bytes()
        })
        .collect();
    knocks.sort_unstable();
    knocks.dedup();
    knocks.truncate(count);
    knocks
}

const FIRST: [&str; 16] = [
    "Blue", "Red", "Green", "Quiet", "Happy", "Silver", "Golden", "Rapid", "Gentle", "Brave", "Amber",
    "Cosmic", "Dusty", "Frozen", "Hidden", "Sunny",
];
const SECOND: [&str; 16] = [
    "Window", "Garden", "River", "Mountain", "Table", "Lantern", "Bridge", "Forest", "Harbor", "Island",
    "Jacket", "Kettle", "Ladder", "Mirror", "Needle", "Ocean",
];
const THIRD: [&str; 16] = [
    "Teacher", "Doctor", "Farmer", "Pilot", "Singer", "Baker", "Sailor", "Painter", "Writer", "Dancer",
    "Miner", "Tailor", "Lawyer", "Banker", "Hunter", "Gardener",
];

/// A phone's REGISTER of 700 bytes.
fn register(dice: &mut Dice) -> Vec<u8> {
    let user = 100 + dice.below(900);
    let host = format!("192.168.{}.{}", dice.below(256), dice.below(256));
    let (branch, tag, call, uuid) = (dice.hex(16), dice.hex(10), dice.hex(24), dice.uuid());
    let sequence = 1 + dice.below(60_000);
    let mut packet = format!(
        "REGISTER sip:pbx.example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{branch};rport\r\n\
         Max-Forwards: 70\r\n\
         From: \"Desk {user}\" <sip:{user}@pbx.example.com>;tag={tag}\r\n\
         To: \"Desk {user}\" <sip:{user}@pbx.example.com>\r\n\
         Call-ID: {call}@{host}\r\n\
         CSeq: {sequence} REGISTER\r\n\
         Contact: <sip:{user}@{host}:5060;transport=udp>;+sip.instance=\"<{uuid}>\";expires=3600\r\n\
         Allow: INVITE, ACK, OPTIONS, BYE, CANCEL, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE\r\n\
         User-Agent: Yealink SIP-T46S 66.85.0.5\r\n\
         Supported: path, replaces\r\n\
         Content-Length: 0\r\n\
         Allow-Events: talk, hold, conference, refer, check-sync"
    )
    .into_bytes();
    packet.resize(700 - 4, b' ');
    packet.extend(b"\r\n\r\n");
    packet
}

/// Numbers that are the same in every run (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn text(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet = alphabet.as_bytes();
        (0..length).map(|_| char::from(alphabet[self.below(alphabet.len())])).collect()
    }

    fn hex(&mut self, length: usize) -> String {
        self.text("0123456789abcdef", length)
    }

    fn uuid(&mut self) -> String {
        let variant = self.text("89ab", 1);
        let [a, b, c, d, e] = [8, 4, 3, 3, 12].map(|length| self.hex(length));
        format!("urn:uuid:{a}-{b}-4{c}-{variant}{d}-{e}")
    }
}
