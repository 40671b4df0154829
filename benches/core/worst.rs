//! The dearest packets that were found: how many instructions their decisions take beside those of a plain REGISTER.
//!
//! Costs are callgrind's counts. A process under callgrind has one configuration, decides what it is sent, and dumps its
//! count after each decision, so that a trial takes a millisecond or two.

#[path = "attacks.rs"]
mod attacks;
#[path = "search.rs"]
mod search;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use sipknock::inspect::Inspector;
use sipknock::verdict::Reason;
use tempfile::TempDir;

use super::cases::PSH_ACK;
use super::cases::{NOW, STRANGER, SYN, gate_of, register, tcp4_with, udp4};
use super::configurations::{CONFIGURATIONS, Configuration, LENGTH, SEGMENTS, configuration};
use super::instructions;
use search::Search;

/// The argument with which this program decides what comes in for one configuration.
pub(crate) const SERVE: &str = "--serve";

/// One payload. That of a flow begins with the places of its cuts, two bytes each.
struct Trial {
    gate: Rc<Inspector>,
    packets: Vec<Vec<u8>>,
    /// The source of the next flow; of a datagram it stays as it is.
    flow: Option<u32>,
}

impl Trial {
    fn new(gate: &Rc<Inspector>, configuration: &Configuration, payload: &[u8]) -> Self {
        let packets = if configuration.flow { segments(payload) } else { vec![udp4(STRANGER, payload)] };
        Self { gate: Rc::clone(gate), packets, flow: configuration.flow.then_some(FIRST_SOURCE) }
    }

    /// Whether a whole secret is in it. Who knows one can open a door, and has no need of dear packets.
    fn holds_secret(&self, text: &[u8]) -> bool {
        !self.gate.knocks().secret_ranges(text).is_empty()
    }

    /// Decides it. Whether it knocks.
    fn run(&mut self) -> bool {
        let source = self.flow.as_mut().map(|source| {
            *source = FIRST_SOURCE | (*source + 1) & 0xffff;
            Ipv4Addr::from(*source)
        });
        let mut knocks = false;
        for packet in &mut self.packets {
            if let Some(source) = source {
                packet[12..16].copy_from_slice(&source.octets());
            }
            knocks |= self.gate.inspect(NOW, packet).reason == Reason::Knock;
        }
        knocks
    }
}

/// A SYN and the segments of a flow.
fn segments(payload: &[u8]) -> Vec<Vec<u8>> {
    let (cuts, text) = payload.split_at(CUTS);
    let mut ends: Vec<_> =
        cuts.chunks_exact(2).map(|cut| usize::from(u16::from_be_bytes([cut[0], cut[1]]))).collect();
    ends.push(text.len());
    let (mut packets, mut start) = (vec![tcp4_with(STRANGER, 0, SYN, b"")], 0);
    for end in ends {
        packets.push(tcp4_with(STRANGER, 1 + u32::try_from(start).unwrap(), PSH_ACK, &text[start..end]));
        start = end;
    }
    packets
}

/// A payload of one configuration's kind, a flow's cut evenly.
fn payload(configuration: &Configuration, text: &[u8]) -> Vec<u8> {
    if !configuration.flow {
        return text.to_vec();
    }
    let cut = |number: usize| u16::try_from(number * text.len() / SEGMENTS).unwrap().to_be_bytes();
    (1..SEGMENTS).flat_map(cut).chain(text.iter().copied()).collect()
}

fn gate(configuration: &Configuration) -> Rc<Inspector> {
    gate_of(&(configuration.knocks)()).into()
}

/// Decides a plain REGISTER.
pub(crate) fn plain(name: &str) -> Box<dyn FnMut()> {
    let configuration = configuration(name);
    let mut trial = Trial::new(&gate(configuration), configuration, &payload(configuration, &register()));
    Box::new(move || assert!(!trial.run()))
}

/// Decides the payloads that are kept, in turn.
pub(crate) fn worst(name: &str) -> Box<dyn FnMut()> {
    let configuration = configuration(name);
    let gate = gate(configuration);
    let mut trials: Vec<_> =
        configuration.kept().iter().map(|payload| Trial::new(&gate, configuration, payload)).collect();
    let mut next = 0;
    Box::new(move || {
        let count = trials.len();
        if let Some(trial) = trials.get_mut(next) {
            assert!(!trial.run());
            next = (next + 1) % count;
        }
    })
}

/// Decides what comes from standard input, each payload with its length before it. Each is answered with a byte: whether it
/// knocks, or could with what is in it.
pub(crate) fn serve(name: &str) {
    let configuration = configuration(name);
    let gate = gate(configuration);
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut length = [0; 4];
    while input.read_exact(&mut length).is_ok() {
        let mut payload = vec![0; u32::from_ne_bytes(length) as usize];
        input.read_exact(&mut payload).unwrap();
        let mut trial = Trial::new(&gate, configuration, &payload);
        // What the first one has to get from the allocator is not counted.
        let cuts = if configuration.flow { CUTS } else { 0 };
        let knocks = trial.run() | trial.holds_secret(&payload[cuts..]);
        instructions::measured(&mut || _ = trial.run(), 1);
        output.write_all(&[knocks.into()]).unwrap();
        output.flush().unwrap();
    }
}

/// A process of one configuration under callgrind.
struct Meter {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    folder: TempDir,
    dumps: usize,
}

impl Meter {
    fn start(configuration: &Configuration) -> Self {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("out");
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--toggle-collect=*instructions::measured*"]);
        command.args(["--dump-after=*::measured", "--dump-line=no"]);
        command.arg(format!("--callgrind-out-file={}", out.display())).arg(std::env::current_exe().unwrap());
        command
            .args([SERVE, configuration.name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("valgrind runs: install the package of that name");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output, folder, dumps: 0 }
    }

    /// The instructions of a payload's decision; `None` if it knocks.
    fn cost(&mut self, payload: &[u8]) -> Option<u64> {
        self.input.write_all(&u32::try_from(payload.len()).unwrap().to_ne_bytes()).unwrap();
        self.input.write_all(payload).unwrap();
        self.input.flush().unwrap();
        let mut knocks = [0];
        self.output.read_exact(&mut knocks).expect("the process under callgrind answers");
        self.dumps += 1;
        let dump = self.dump();
        let text = fs::read_to_string(&dump).unwrap();
        fs::remove_file(dump).unwrap();
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
        (knocks == [0]).then(|| total.trim().parse().unwrap())
    }

    fn dump(&self) -> PathBuf {
        self.folder.path().join(format!("out.{}", self.dumps))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Counts the listed attacks and what is kept. With a time it looks for worse for so long, and keeps the dearest. It fails if
/// one costs more than [`MOST`] times a plain REGISTER.
pub(crate) fn run(time: Option<Duration>, only: Option<&str>) -> ExitCode {
    let wanted =
        CONFIGURATIONS.iter().filter(|configuration| only.is_none_or(|name| name == configuration.name));
    let mut searches: Vec<_> = wanted.map(Search::start).collect();
    if let Some(time) = time {
        search::go_on(&mut searches, time);
        searches.iter().for_each(Search::keep);
    }
    println!("{:<20} {:>8} {:>8} {:>7}  {:>9}  dearest", "instructions", "plain", "worst", "ratio", "trials");
    let mut held = true;
    for search in &searches {
        let (plain, worst) = (search.plain, search.worst());
        let ratio = worst.cost as f64 / plain as f64;
        let mark = if ratio > MOST { " !" } else { "" };
        held &= mark.is_empty();
        let shown = &worst.origin;
        println!(
            "{:<20} {plain:>8} {:>8} {ratio:>7.2}  {:>9}  {shown}{mark}",
            search.name(),
            worst.cost,
            search.trials
        );
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Bytes of the cuts in front of a flow's text.
const CUTS: usize = 2 * (SEGMENTS - 1);

/// Times a plain REGISTER.
const MOST: f64 = 3.0;

/// 198.18.0.0: each flow has a source of its own.
const FIRST_SOURCE: u32 = 0xc612_0000;
