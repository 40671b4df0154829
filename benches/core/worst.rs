//! The dearest packets that were found: how many instructions their decisions take beside those of a plain REGISTER.
//!
//! Costs are callgrind's counts. A process under callgrind has one configuration, decides what it is sent, and dumps its
//! count after each decision, so that a trial takes a millisecond or two.

#[path = "attacks.rs"]
mod attacks;
#[path = "search.rs"]
mod search;

use std::borrow::Cow;
use std::cell::Cell;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use sipknock::inspect::Inspector;
use sipknock::sip::{unescape, unfold};
use sipknock::time::Time;
use sipknock::verdict::Reason;
use tempfile::TempDir;

use super::cases::PSH_ACK;
use super::cases::{NOW, STRANGER, SYN, gate_of, register, tcp4_with, udp4};
use super::configurations::{CONFIGURATIONS, Configuration, LENGTH, SEGMENTS, configuration};
use super::instructions;
use search::Search;

/// The argument with which this program decides what comes in for one configuration.
pub(crate) const SERVE: &str = "--serve";

/// A gate, and the day: two days after a flow it has forgotten it.
struct Gate {
    inspector: Inspector,
    day: Cell<u64>,
}

/// One payload. That of a flow begins with the places of its cuts, two bytes each.
struct Trial {
    gate: Rc<Gate>,
    packets: Vec<Vec<u8>>,
}

impl Trial {
    fn new(gate: &Rc<Gate>, configuration: &Configuration, payload: &[u8]) -> Self {
        let packets = if configuration.flow { segments(payload) } else { vec![udp4(STRANGER, payload)] };
        Self { gate: Rc::clone(gate), packets }
    }

    /// Whether a whole secret is in it, as it stands or with its folds and quoted pairs undone. Anybody who knows one can open
    /// a door, and has no need of dear packets.
    fn holds_secret(&self, text: &[u8]) -> bool {
        let unfolded = unfold(text);
        let plain = unescape(Cow::Borrowed(&unfolded));
        let holds = |text: &[u8]| !self.gate.inspector.knocks().secret_ranges(text).is_empty();
        holds(text) || holds(&unfolded) || holds(&plain)
    }

    /// Has the gate forget the flow, if it is one.
    fn forget(&self) {
        if self.packets.len() == 1 {
            return;
        }
        self.gate.day.set(self.gate.day.get() + 2);
        self.gate.inspector.streams().sweep(self.gate.now());
    }

    /// Decides it. Whether it knocks.
    fn run(&self) -> bool {
        let (gate, now) = (&self.gate.inspector, self.gate.now());
        let knocks = |packet: &Vec<u8>| gate.inspect(now, packet).reason == Reason::Knock;
        self.packets.iter().filter(|packet| knocks(packet)).count() > 0
    }
}

impl Gate {
    fn now(&self) -> Time {
        NOW.after(Duration::from_secs(self.day.get() * 24 * 3600))
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

fn gate(configuration: &Configuration) -> Rc<Gate> {
    Gate { inspector: gate_of(&(configuration.knocks)()), day: Cell::default() }.into()
}

/// Decides a plain REGISTER.
pub(crate) fn plain(name: &str) -> Box<dyn FnMut()> {
    let configuration = configuration(name);
    let trial = Trial::new(&gate(configuration), configuration, &payload(configuration, &register()));
    Box::new(move || {
        trial.forget();
        assert!(!trial.run());
    })
}

/// Decides the payloads that are kept, in turn.
pub(crate) fn worst(name: &str) -> Box<dyn FnMut()> {
    let configuration = configuration(name);
    let gate = gate(configuration);
    let trials: Vec<_> =
        configuration.kept().iter().map(|payload| Trial::new(&gate, configuration, payload)).collect();
    let mut next = 0;
    Box::new(move || {
        let count = trials.len();
        if let Some(trial) = trials.get(next) {
            trial.forget();
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
        let trial = Trial::new(&gate, configuration, &payload);
        // What the first one has to get from the allocator is not counted.
        let cuts = if configuration.flow { CUTS } else { 0 };
        trial.forget();
        let knocks = trial.run() | trial.holds_secret(&payload[cuts..]);
        trial.forget();
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
