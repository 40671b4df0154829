//! What stands between the sender and the server, and what can be read off it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::SENDER_CPU;
use super::common::gate::{Gate, World, wait_until};
use super::traffic::secrets;

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// Nobody: no rules at all.
    Nobody,
    /// A rule with `-m string` for each knock, and `-m recent`, in the kernel.
    SeedRules,
    /// A process that takes packets from the queue as the batched backend does, and accepts all of them unseen.
    AcceptAll,
    /// sipknock on the nfq crate.
    Nfq,
    /// sipknock as it is used.
    Batched,
    /// The same with a queue thread that does not sleep while packets come.
    Polling,
}

impl Keeper {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "no gate",
            Self::SeedRules => "seed rules",
            Self::AcceptAll => "accept-all",
            Self::Nfq => "sipknock, nfq",
            Self::Batched => "sipknock",
            Self::Polling => "sipknock, busy_poll",
        }
    }
}

/// Two namespaces with a keeper between them.
pub(crate) struct Lab {
    pub(crate) world: World,
    process: Process,
    keeper: Keeper,
}

enum Process {
    None,
    Gate(Gate),
    AcceptAll(Child),
}

impl Lab {
    /// Sets everything up. With `count`, accepted packets are counted and then dropped, so that no receiver takes a
    /// share of the CPU.
    pub(crate) fn new(keeper: Keeper, knocks: usize, count: bool) -> Self {
        let lab = Self::with_knocks(keeper, &configured(knocks), count);
        if keeper == Keeper::SeedRules {
            seed_rules(&lab.world, knocks);
        }
        lab
    }

    /// The same with these `[[knock]]` tables, which the seed rules do not know.
    pub(crate) fn with_knocks(keeper: Keeper, knocks: &str, count: bool) -> Self {
        let world = World::new("bench");
        if count {
            count_accepted(&world);
        }
        let queue = if keeper == Keeper::Polling { "busy_poll = \"1ms\"" } else { "" };
        let config = world.config_with_knocks("max_doors = 200000", queue, knocks);
        pin(KEEPER_CPU);
        let process = match keeper {
            Keeper::Nobody | Keeper::SeedRules => Process::None,
            Keeper::AcceptAll => {
                world.apply_rules(&config);
                let itself = std::env::current_exe().unwrap();
                let mut command = world.server.command(itself.to_str().unwrap());
                let child = command.arg(ACCEPT_ALL).stdin(Stdio::null()).spawn().unwrap();
                assert!(wait_until(|| world.queue_row(0)).is_some(), "it binds the queue");
                Process::AcceptAll(child)
            }
            Keeper::Nfq | Keeper::Batched | Keeper::Polling => {
                world.apply_rules(&config);
                let backend = if keeper == Keeper::Nfq { "nfq" } else { "batched" };
                Process::Gate(Gate::start(&world, &["--config", &config, "--backend", backend]))
            }
        };
        pin_all(SENDER_CPU);
        Self { world, process, keeper }
    }

    /// Waits until nothing is on its way any more.
    pub(crate) fn settle(&self) {
        if matches!(self.process, Process::None) {
            return;
        }
        let mut before = None;
        let calm = wait_until(|| {
            let row = self.world.queue_row(0)?;
            std::thread::sleep(Duration::from_millis(20));
            (before.replace(row) == Some(row) && row[0] == 0).then_some(())
        });
        assert!(calm.is_some(), "{}: packets are stuck: {:?}", self.keeper.name(), self.world.queue_row(0));
    }

    /// Accepted packets of phones and of strangers so far.
    pub(crate) fn accepted(&self) -> [u64; 2] {
        accepted(&self.world)
    }

    /// Packets so far that were queued, and that were lost at a full queue or a full socket.
    pub(crate) fn queued_and_lost(&self) -> (u64, u64) {
        self.world.queue_row(0).map_or((0, 0), |[_, queue, socket, packets]| (packets, queue + socket))
    }

    /// CPU time of the keeper's process so far.
    pub(crate) fn cpu_of_process(&self) -> Duration {
        match &self.process {
            Process::None => Duration::ZERO,
            Process::Gate(gate) => gate.cpu_time(),
            Process::AcceptAll(child) => {
                let text = fs::read_to_string(format!("/proc/{}/schedstat", child.id())).unwrap();
                Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Process::AcceptAll(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Counts what is accepted, and drops it then.
pub(crate) fn count_accepted(world: &World) {
    for source in COUNTED {
        iptables(world, &["-t", "security", "-A", "INPUT", "-s", source, "-j", "DROP"]);
    }
}

/// Accepted packets of phones and of strangers so far.
pub(crate) fn accepted(world: &World) -> [u64; 2] {
    let list = ["-t", "security", "-nvxL", "INPUT"];
    let output = world.server.command("iptables").args(list).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    COUNTED.map(|source| {
        let line = text.lines().find(|line| line.contains(source)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    })
}

/// Keeps this thread, and what it starts from here on, on one core.
pub(crate) fn pin(cpu: usize) {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(cpu);
    // A machine with one core has no second; then all share the first.
    let _ = rustix::thread::sched_setaffinity(None, &cpus);
}

/// Moves all threads of this process to one core: also those that read what keepers write, each of which began on its
/// keeper's.
fn pin_all(cpu: usize) {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(cpu);
    for thread in fs::read_dir("/proc/self/task").unwrap() {
        let id = thread.unwrap().file_name().to_str().unwrap().parse().unwrap();
        let _ = rustix::thread::sched_setaffinity(rustix::thread::Pid::from_raw(id), &cpus);
    }
}

/// CPU time of the whole machine so far, interrupts included (proc(5), /proc/stat).
pub(crate) fn cpu_of_machine() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let line = stat.lines().next().unwrap();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
    // user, nice, system, then idle and iowait, then irq and softirq, in hundredths of a second.
    let busy: u64 = [0, 1, 2, 5, 6].iter().map(|column| ticks[*column]).sum();
    Duration::from_millis(busy * 10)
}

/// `[[knock]]` tables.
pub(crate) fn configured(knocks: usize) -> String {
    secrets(knocks).enumerate().fold(String::new(), |mut text, (number, secret)| {
        write!(text, "[[knock]]\nname = \"knock-{number}\"\nsecret = \"{secret}\"\n").unwrap();
        text
    })
}

/// The rules that people use without sipknock, put in in one go.
fn seed_rules(world: &World, knocks: usize) {
    let mut rules = "*filter\n:door - [0:0]\n".to_owned();
    for secret in secrets(knocks) {
        writeln!(
            rules,
            "-A door -p udp --dport 5060 -m string --string {secret} --algo bm -m recent --set --name portisnowopen"
        )
        .unwrap();
    }
    rules += "-A INPUT -p udp --dport 5060 -m recent --rcheck --seconds 4000 --name portisnowopen -j ACCEPT\n\
              -A INPUT -p udp --dport 5060 -j door\n\
              -A INPUT -p udp --dport 5060 -j DROP\n\
              COMMIT\n";
    let mut child =
        world.server.command("iptables-restore").arg("--noflush").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "iptables-restore takes the rules");
}

fn iptables(world: &World, args: &[&str]) {
    assert!(world.server.command("iptables").args(args).status().unwrap().success(), "iptables {args:?}");
}

/// The keeper's core; the sender has another.
pub(crate) const KEEPER_CPU: usize = SENDER_CPU + 1;

/// Where phones and strangers come from.
const COUNTED: [&str; 2] = ["198.18.0.0/16", "198.19.0.0/16"];

/// The argument with which this program is the one that accepts everything.
pub(crate) const ACCEPT_ALL: &str = "--accept-all";
