//! `replay --json` over real captures, line by line against a model that was written from the design, not from the
//! program. `SIPKNOCK_CORPUS` names a folder with `pcap/` and `raw/`; the project's own captures are always tried.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "corpus/asterisk.rs"]
mod asterisk;
#[path = "corpus/datagrams.rs"]
mod datagrams;
#[path = "corpus/files.rs"]
mod files;
#[path = "corpus/gates.rs"]
mod gates;
#[path = "corpus/model.rs"]
mod model;
#[path = "corpus/packets.rs"]
mod packets;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::{Value, json};
use sipknock::replay::link::LinkType;

use files::{Contents, Frame};
use gates::{Lists, Random, Setup};
use model::{Body, Gate, Reader, Seen, WOULD_DROP};

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let corpus = env::var_os(CORPUS).map(PathBuf::from);
    let mut trials = vec![
        Trial::test("what_is_plain_to_see", what_is_plain_to_see),
        Trial::test("an_ipv6_net_holds_no_ipv4_source", an_ipv6_net_holds_no_ipv4_source),
    ];
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for (kind, folder) in [("own", Some(own)), ("corpus", corpus.as_ref().map(|corpus| corpus.join("pcap")))]
    {
        let Some(folder) = folder else { continue };
        for path in files_in(&folder) {
            if !path.extension().is_some_and(|end| end == "pcap" || end == "pcapng") {
                continue;
            }
            let name = name_of(&path);
            for (change, run) in RUNS {
                for hook in HOOKS {
                    let path = path.clone();
                    let name = format!("{kind}::{name}{change}::{hook}");
                    trials.push(Trial::test(name, move || run(&path, hook)));
                }
            }
        }
    }
    match corpus {
        Some(corpus) => {
            let asterisk = corpus.join("pcap/asterisk_qualify_trunk_tcp_gen.pcap");
            trials.push(Trial::test("asterisk", move || asterisk::replayed(&asterisk)));
            trials.push(Trial::test("raw_messages", move || compare_raw(&corpus.join("raw"))));
        }
        None => trials.extend(["corpus", "asterisk", "raw_messages"].map(|name| {
            Trial::ignorable_test(name, || Ok(Completion::ignored_with(format!("{CORPUS} is not set"))))
        })),
    }
    let conclusion = libtest_mimic::run(&args, trials);
    let [replays, lines] = [&REPLAYS, &LINES].map(|count| count.load(Ordering::Relaxed));
    println!("{replays} replays, {lines} lines compared: {:?}", REASONS.lock().unwrap());
    conclusion.exit_code()
}

/// What is tried with each capture.
const RUNS: [(&str, Run); 3] =
    [("", compare_file), ("::spoilt", compare_spoilt), ("::set_back", compare_set_back)];

type Run = fn(&Path, &'static str) -> Result<(), Failed>;

/// Fragments are put together in front of the first, and decided each by itself in the second.
const HOOKS: [&str; 2] = ["input", "forward"];

fn compare_file(path: &Path, hook: &'static str) -> Result<(), Failed> {
    compare(path, &name_of(path), &Contents::read(path), hook, |_| true)
}

/// The same capture, with most packets damaged and time passing faster.
fn compare_spoilt(path: &Path, hook: &'static str) -> Result<(), Failed> {
    compare_changed(path, hook, packets::spoil, |_| true)
}

/// The same capture, with a clock that is set back now and then. What is counted against a limit depends on when the
/// program tidies up then, which is its own affair.
fn compare_set_back(path: &Path, hook: &'static str) -> Result<(), Failed> {
    let unlimited = |knock: &model::Knock| knock.max_doors.is_none();
    compare_changed(path, hook, packets::set_back, |Setup { gate, .. }| {
        gate.max_doors > 2 && gate.knocks.iter().all(unlimited)
    })
}

fn compare_changed(
    path: &Path,
    hook: &'static str,
    change: impl Fn(&[Frame], &mut Random) -> Vec<Frame>,
    wanted: impl Fn(&Setup) -> bool,
) -> Result<(), Failed> {
    let contents = Contents::read(path);
    let seed = name_of(path);
    let mut random = Random::new(&seed);
    let frames = change(&contents.frames[..contents.frames.len().min(CHANGED_PACKETS)], &mut random);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.pcap");
    files::write(&path, LinkType::RAW, &frames);
    let contents = Contents { count: frames.len() as u64, frames, whole: true };
    compare(&path, &seed, &contents, hook, wanted)
}

/// `::/24` is numerically around `::ffff:0:0/96`, and still says nothing about IPv4: its firewall rule is one of
/// ip6tables, too.
fn an_ipv6_net_holds_no_ipv4_source() -> Result<(), Failed> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.pcap");
    let udp = packets::udp(5061, 5060, b"OPTIONS sip:x SIP/2.0\r\nUser-Agent: a-scanner\r\n\r\n");
    let ip = packets::ipv4(Ipv4Addr::new(203, 0, 113, 7), 1, 0, 17, &udp);
    let frames = vec![Frame { number: 1, nanos: 1_795_442_400_000_000_000, ip, cut_off: 0 }];
    files::write(&path, LinkType::RAW, &frames);
    let seen = read(&frames, "input");
    let net = |prefix| vec![model::Net(Ipv6Addr::UNSPECIFIED.into(), prefix)];
    let (secret, name) = ("a-scanner".to_owned(), "a".to_owned());
    let mut wrong = Vec::new();
    for (trusted, sources) in [(net(0), vec![]), (net(64), vec![]), (vec![], net(0)), (vec![], net(24))] {
        let (secret, name) = (secret.clone(), name.clone());
        let knock = model::Knock { name, secret, sources, ..model::Knock::default() };
        let gate = Gate { trusted, ..gate(&knock) };
        let forecast = model::forecast(&gate, &seen, &model::search(&seen.packets, &gate.knocks), 1);
        wrong.extend(replay(&gate, &path, "input", &forecast, true));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Each text alone in a capture: over Ethernet, as raw IPv4 and as raw IPv6.
fn compare_raw(folder: &Path) -> Result<(), Failed> {
    let temporary = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for path in files_in(folder) {
        let text = fs::read(&path).unwrap();
        let udp = packets::udp(5061, 5060, &text);
        let v4 = packets::ipv4(Ipv4Addr::new(203, 0, 113, 7), 1, 0, 17, &udp);
        let v6 = packets::ipv6("2001:db8:7::7".parse().unwrap(), 17, &udp);
        for (index, (link, ip)) in
            [(LinkType::ETHERNET, &v4), (LinkType::RAW, &v4), (LinkType::RAW, &v6)].into_iter().enumerate()
        {
            let frames = [Frame { number: 1, nanos: 1_795_442_400_000_000_000, ip: ip.clone(), cut_off: 0 }];
            let name = name_of(&path);
            let capture = temporary.path().join(format!("{name}.{index}.pcap"));
            files::write(&capture, link, &frames);
            let contents = Contents { count: 1, frames: frames.into(), whole: true };
            // One packet has nothing to do with time.
            let some = |setup: &Setup| setup.gate.door_ms == 4_000_000 && setup.gate.ports.len() == 1;
            if let Err(failed) = compare(&capture, &name, &contents, "input", some) {
                wrong.push(format!("{name}, link type {link}: {}", failed.message().unwrap_or_default()));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Replays a capture with every setup that is made from it, and holds each line against the model's.
fn compare(
    path: &Path,
    seed: &str,
    contents: &Contents,
    hook: &'static str,
    wanted: impl Fn(&Setup) -> bool,
) -> Result<(), Failed> {
    let seen = read(&contents.frames, hook);
    let lists = Lists::of(&seen.packets, seed);
    let hits: Vec<_> = lists.lists.iter().map(|(_, knocks)| model::search(&seen.packets, knocks)).collect();
    let mut wrong = Vec::new();
    for (list, setup) in lists.setups() {
        if wanted(&setup) {
            let forecast = model::forecast(&setup.gate, &seen, &hits[list], contents.count);
            let found = replay(&setup.gate, path, hook, &forecast, contents.whole);
            wrong.extend(found.map(|found| format!("{}: {found}", setup.name)));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Runs the program, and tells where it differs.
fn replay(gate: &Gate, path: &Path, hook: &str, forecast: &model::Forecast, whole: bool) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sipknock.toml");
    let text = gates::toml(gate);
    fs::write(&config, &text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sipknock"))
        .args(["replay", "--json", "--hook", hook, "--config"])
        .args([&config, path])
        .output()
        .unwrap();
    REPLAYS.fetch_add(1, Ordering::Relaxed);
    LINES.fetch_add(forecast.lines.len() as u64, Ordering::Relaxed);
    for (reason, count) in forecast.summary["summary"]["reasons"].as_object().unwrap() {
        *REASONS.lock().unwrap().entry(reason.clone()).or_default() += count.as_u64().unwrap();
    }
    let (status, expected) = (output.status.code(), if whole { 0 } else { 1 });
    if status != Some(expected) {
        return Some(format!("status {status:?}, {}", String::from_utf8_lossy(&output.stderr)));
    }
    let stdout = String::from_utf8(output.stdout).unwrap();
    let differences = differences(forecast, &stdout);
    let first = differences.first()?;
    Some(format!("{} differences, first {first}\n{text}", differences.len()))
}

fn differences(forecast: &model::Forecast, stdout: &str) -> Vec<String> {
    let mut printed: Vec<_> = stdout.lines().collect();
    let summary = printed.pop().unwrap_or_default();
    let mut differences = Vec::new();
    for (index, expected) in forecast.lines.iter().enumerate() {
        let found = printed.get(index).copied().unwrap_or("nothing");
        // The same fields in the same order; only the place of this one is open.
        let equal = found.replacen(WOULD_DROP, "", 1) == expected.replacen(WOULD_DROP, "", 1)
            && found.contains(WOULD_DROP) == expected.contains(WOULD_DROP);
        if !equal {
            differences.push(format!("line {}:\n  expected {expected}\n  found    {found}", index + 1));
        }
    }
    for extra in printed.iter().skip(forecast.lines.len()) {
        differences.push(format!("a line more:\n  found    {extra}"));
    }
    let found = serde_json::from_str(summary).map(without_zeros).unwrap_or(Value::Null);
    let keys = ["packets", "inspected", "accepted", "dropped", "would_drop", "reasons", "knocks"];
    let in_order = keys.map(|key| summary.find(&format!("\"{key}\":"))).into_iter().flatten().is_sorted();
    if found != forecast.summary || !in_order {
        differences.push(format!("summary:\n  expected {}\n  found    {summary}", forecast.summary));
    }
    differences
}

/// Whether what never happened is counted as 0 or left out, the design does not say. Tunnels and ports that are not
/// inspected are not in the model.
fn without_zeros(mut summary: Value) -> Value {
    if let Some(fields) = summary["summary"].as_object_mut() {
        fields.retain(|name, _| name != "tunnels" && name != "other_ports");
    }
    for key in ["reasons", "knocks"] {
        if let Some(counts) = summary["summary"][key].as_object_mut() {
            counts.retain(|_, count| *count != json!(0));
        }
    }
    summary
}

fn read(frames: &[Frame], hook: &str) -> Seen {
    let mut reader = Reader::at(hook);
    let packets =
        frames.iter().filter_map(|frame| reader.read(frame.number, frame.nanos, &frame.ip, frame.cut_off));
    Seen { packets: packets.collect(), ..reader.not_seen() }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// A model that agrees with everything proves nothing: here it is clear what it has to say, and the program too.
fn what_is_plain_to_see() -> Result<(), Failed> {
    let src = Ipv4Addr::new(203, 0, 113, 7);
    let native: Ipv6Addr = "2001:db8:7::7".parse().unwrap();
    let datagram = packets::udp(5061, 5060, b"REGISTER sip:x SIP/2.0\r\n\r\n");
    let payload = |len: usize| Body::Payload(datagram[8..8 + len].to_vec());
    let with = |at: usize, value: u8| {
        let mut datagram = datagram.clone();
        datagram[at] = value;
        packets::ipv4(src, 1, 0, 17, &datagram)
    };
    let mut padded = packets::ipv4(src, 1, 0, 17, &datagram);
    padded.extend([0; 9]);
    for (name, ip, body) in [
        ("whole", with(0, 0x13), Some(payload(26))),
        ("padded", padded, Some(payload(26))),
        ("UDP length 7", with(5, 7), Some(Body::Malformed)),
        ("UDP length 9", with(5, 9), Some(payload(1))),
        ("UDP length beyond", with(5, 35), Some(Body::Malformed)),
        ("four bytes", packets::ipv4(src, 1, 0, 17, &datagram[..4]), Some(Body::Malformed)),
        ("three bytes", packets::ipv4(src, 1, 0, 17, &datagram[..3]), None),
        ("TCP", packets::ipv4(src, 1, 0, 6, &datagram), None),
        ("first fragment", packets::ipv4(src, 1, 0x2000, 17, &datagram[..16]), Some(payload(8))),
        ("later alone", packets::ipv4(src, 1, 2, 17, &datagram[16..]), None),
        ("snapped", with(0, 0x13)[..38].to_vec(), Some(payload(10))),
        ("IPv6", packets::ipv6(native, 17, &datagram), Some(payload(26))),
        (
            "IPv6, atomic",
            packets::ipv6(native, 44, &[packets::fragment_header(17, 1, 0), datagram.clone()].concat()),
            Some(payload(26)),
        ),
        ("version 5", vec![0x55; 60], None),
    ] {
        let packet = Reader::at("forward").read(1, 0, &ip, 0);
        assert_eq!(packet.map(|packet| packet.body), body, "{name}");
    }
    let mapped = packets::ipv6(src.to_ipv6_mapped(), 17, &datagram);
    let mapped = Reader::at("input").read(1, 0, &mapped, 0).unwrap();
    assert_eq!((mapped.src, mapped.sport, mapped.dport), (IpAddr::V4(src), 5061, 5060));

    let knock = model::Knock { name: "a".to_owned(), secret: "sip:X".to_owned(), ..model::Knock::default() };
    let folded = model::Knock { ignore_case: true, ..knock.clone() };
    let invite = model::Knock { methods: vec!["INVITE".to_owned()], ..folded.clone() };
    let empty = packets::udp(5061, 5060, b"");
    let frame = |number: u64, millis: u64, inside: &[u8]| Frame {
        number,
        nanos: millis * 1_000_000,
        ip: packets::ipv4(src, 1, 0, 17, inside),
        cut_off: 0,
    };
    let frames = [
        frame(1, 0, &datagram),
        frame(2, 999, &empty),
        frame(3, 1000, &empty),
        frame(4, 1999, &empty),
        frame(5, 2000, &empty),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("five.pcap");
    files::write(&path, LinkType::ETHERNET, &frames);
    let seen = read(&frames, "input");
    for (name, gate, reasons) in [
        ("wrong case", gate(&knock), ["no-knock"; 5]),
        ("other method", gate(&invite), ["no-knock"; 5]),
        ("knock", gate(&folded), ["knock", "door", "expired", "expired", "no-knock"]),
        (
            "renewed",
            Gate { renew_by_packet: true, ..gate(&folded) },
            ["knock", "door", "door", "door", "door"],
        ),
        ("trusted", Gate { trusted: vec![model::Net(src.into(), 32)], ..gate(&folded) }, ["trusted"; 5]),
    ] {
        let forecast = model::forecast(&gate, &seen, &model::search(&seen.packets, &gate.knocks), 5);
        let found = forecast.lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert_eq!(found.map(|line| line["reason"].clone()).collect::<Vec<_>>(), reasons, "{name}");
        if let Some(found) = replay(&gate, &path, "input", &forecast, true) {
            return Err(format!("{name}: {found}").into());
        }
    }
    let line = model::forecast(&gate(&folded), &read(&frames[..1], "input"), &[vec![0]], 1).lines.remove(0);
    assert_eq!(
        line,
        r#"{"n":1,"time":"1970-01-01T00:00:00.000000Z","src":"203.0.113.7","sport":5061,"dst":"192.0.2.1","dport":5060,"transport":"udp","verdict":"accept","reason":"knock","knocks":["a"]}"#
    );
    Ok(())
}

fn gate(knock: &model::Knock) -> Gate {
    Gate {
        ports: vec![(5060, 5060)],
        door_ms: 1000,
        trusted: vec![],
        monitor: false,
        renew_by_packet: false,
        ipv4_prefix: 32,
        ipv6_prefix: 64,
        max_doors: 10,
        knocks: vec![knock.clone()],
    }
}

const CORPUS: &str = "SIPKNOCK_CORPUS";

/// Of each capture.
const CHANGED_PACKETS: usize = 700;

static REPLAYS: AtomicU64 = AtomicU64::new(0);
static LINES: AtomicU64 = AtomicU64::new(0);
static REASONS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
