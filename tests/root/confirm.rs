//! `firewall apply --confirm`: kept on a clear yes, put back on everything else. Each trial in a network namespace of
//! its own, with the real iptables, and with a terminal of its own where one is needed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::common::gate::wait_until;
use crate::common::iptables::{FOREIGN_V6, Variant, World};
use crate::trials::{self, NetnsTrial, trials};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

pub(crate) fn trials() -> Vec<NetnsTrial> {
    let missing = VARIANT.missing();
    let trial = |&(name, case): &(&'static str, Case)| {
        trials::in_netns_with(missing.clone(), name, move || {
            let world = World::new(VARIANT);
            world.load_foreign_rules();
            world.load(sipknock::firewall::Family::V6, FOREIGN_V6);
            case(&world);
        })
    };
    CASES.iter().map(trial).collect()
}

type Case = fn(&World);

const CASES: &[(&str, Case)] = &trials![
    kept_when_confirmed_from_another_shell,
    kept_when_yes_is_typed,
    put_back_when_no_is_typed,
    put_back_when_nobody_answers,
    put_back_when_the_terminal_goes_away,
    put_back_on_signals,
    older_rules_of_ours_come_back_with_their_counters,
    a_second_one_is_told_to_wait,
    a_confirmation_without_anybody_waiting_is_an_error,
    what_a_killed_one_left_is_no_obstacle,
    nothing_to_do_is_nothing_to_confirm,
];

fn kept_when_confirmed_from_another_shell(world: &World) {
    let waiting = Waiting::start(world, "1h");
    let (status, out, _) = run(world, &["firewall", "confirm"]);
    assert_eq!((status, out.as_str()), (0, "the rules stay\n"));
    assert_eq!(waiting.end().0, 0);
    assert!(is_in(world));
}

fn kept_when_yes_is_typed(world: &World) {
    let mut terminal = Terminal::new();
    let mut waiting = Waiting::start_on(world, "1h", terminal.side());
    terminal.type_line("what?");
    terminal.wait_for("type yes, and Enter, to keep the new rules; or no");
    assert!(waiting.child.try_wait().unwrap().is_none() && is_in(world));
    terminal.type_line("yes");
    assert_eq!(waiting.end().0, 0);
    assert!(is_in(world));
}

fn put_back_when_no_is_typed(world: &World) {
    let before = world.saved();
    let mut terminal = Terminal::new();
    let waiting = Waiting::start_on(world, "1h", terminal.side());
    terminal.type_line("no");
    assert_eq!(waiting.end().0, 1);
    assert_eq!(world.saved(), before);
}

fn put_back_when_nobody_answers(world: &World) {
    let before = world.saved();
    // A second may be over before anybody has looked at the rules.
    let (status, _, said) = run(world, &["firewall", "apply", "--confirm", "1s"]);
    assert_eq!(status, 1);
    assert!(said.contains("not confirmed in time: the rules are as they were before"), "{said}");
    assert_eq!(world.saved(), before);
}

fn put_back_when_the_terminal_goes_away(world: &World) {
    let before = world.saved();
    let mut terminal = Terminal::new();
    let waiting = Waiting::start_on(world, "1h", terminal.side());
    // With the last descriptor of its other side a terminal hangs up, as sshd does.
    drop(terminal);
    assert_eq!(waiting.end().0, 1);
    assert_eq!(world.saved(), before);
}

fn put_back_on_signals(world: &World) {
    let before = world.saved();
    for signal in [Signal::HUP, Signal::INT, Signal::TERM, Signal::QUIT] {
        let waiting = Waiting::start(world, "1h");
        // Ctrl-Z must not stop it before that.
        for signal in [Signal::TSTP, signal] {
            kill_process(Pid::from_child(&waiting.child), signal).unwrap();
        }
        let (status, said) = waiting.end();
        assert_eq!(status, 1, "{signal:?}");
        assert!(said.contains("interrupted: the rules are as they were before"), "{said}");
        assert_eq!(world.saved(), before, "{signal:?}");
    }
}

fn older_rules_of_ours_come_back_with_their_counters(world: &World) {
    let args = ["firewall", "apply", "--port", "5070", "--queue", "7"];
    assert_eq!(run(world, &args).0, 0);
    world.load(sipknock::firewall::Family::V4, "*filter\n-I INPUT 1 -s 192.0.2.1/32 -j ACCEPT\nCOMMIT\n");
    world
        .netns
        .run(|| std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", "127.0.0.1:5070").unwrap());
    let before = (world.saved(), world.counters());
    let (status, _, said) = run(world, &["firewall", "apply", "--confirm", "1s"]);
    assert!(status == 1 && said.contains("not confirmed in time"), "{said}");
    assert_eq!((world.saved(), world.counters()), before);
}

fn a_second_one_is_told_to_wait(world: &World) {
    let waiting = Waiting::start(world, "1h");
    let (status, _, said) = run(world, &["firewall", "apply", "--port", "5080", "--confirm", "1h"]);
    assert_eq!(status, 1);
    assert!(said.contains("sipknock firewall confirm"), "{said}");
    assert_eq!(run(world, &["firewall", "confirm", "--json"]).1, "{\"confirmed\":true}\n");
    assert_eq!(waiting.end().0, 0);
    assert!(is_in(world));
}

fn a_confirmation_without_anybody_waiting_is_an_error(world: &World) {
    let (status, _, said) = run(world, &["firewall", "confirm"]);
    assert_eq!(status, 1);
    assert!(said.contains("no 'firewall apply --confirm' waits"), "{said}");
}

fn what_a_killed_one_left_is_no_obstacle(world: &World) {
    let mut killed = Waiting::start(world, "1h");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert_eq!(run(world, &["firewall", "confirm"]).0, 1);
    assert_eq!(run(world, &["firewall", "remove"]).0, 0);
    let waiting = Waiting::start(world, "1h");
    assert_eq!(run(world, &["firewall", "confirm"]).0, 0);
    assert_eq!(waiting.end().0, 0);
    assert!(is_in(world));
}

fn nothing_to_do_is_nothing_to_confirm(world: &World) {
    assert_eq!(run(world, &["firewall", "apply"]).0, 0);
    let (status, out, _) = run(world, &["firewall", "apply", "--confirm", "1h"]);
    assert_eq!((status, out.contains("nothing to do")), (0, true), "{out}");
}

/// A `firewall apply --confirm` that has put its rules in.
struct Waiting {
    child: Child,
}

impl Waiting {
    fn start(world: &World, span: &str) -> Self {
        Self::spawn(world, span, Stdio::null(), Stdio::piped(), false)
    }

    /// With a controlling terminal of its own.
    fn start_on(world: &World, span: &str, terminal: OwnedFd) -> Self {
        let stderr = terminal.try_clone().unwrap();
        Self::spawn(world, span, terminal.into(), stderr.into(), true)
    }

    fn spawn(world: &World, span: &str, stdin: Stdio, stderr: Stdio, session: bool) -> Self {
        let before = world.saved();
        let binary = env!("CARGO_BIN_EXE_sipknock");
        let mut command = Command::new(if session { "setsid" } else { binary });
        if session {
            command.args(["--ctty", binary]);
        }
        command.args(["firewall", "apply", "--confirm", span]);
        command.stdin(stdin).stdout(Stdio::null()).stderr(stderr);
        let child = world.netns.run(move || command.spawn().unwrap());
        wait_until(|| (world.saved() != before && is_in(world)).then_some(())).expect("the rules come in");
        Self { child }
    }

    /// Waits until it ends, and returns its status and what it said.
    fn end(mut self) -> (i32, String) {
        let status = wait_until(|| self.child.try_wait().unwrap()).expect("it ends within the deadline");
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).unwrap();
        }
        (status.code().unwrap(), said)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A terminal, seen from where a person sits.
struct Terminal {
    person: File,
    name: String,
}

impl Terminal {
    fn new() -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
        Self { person: person.into(), name }
    }

    /// The program's side of it.
    fn side(&mut self) -> OwnedFd {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = File::options();
        // Or the trials' own process would get it as its controlling terminal.
        options.read(true).write(true).custom_flags(0o400);
        options.open(&self.name).unwrap().into()
    }

    fn type_line(&mut self, text: &str) {
        self.person.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    /// Reads until a text has come; what is typed is echoed as well.
    fn wait_for(&mut self, text: &str) {
        let mut reader = self.person.try_clone().unwrap();
        let wanted = text.to_owned();
        let reading = thread::spawn(move || {
            let (mut seen, mut buffer) = (String::new(), [0; 1024]);
            while !seen.contains(&wanted) {
                let length = reader.read(&mut buffer).unwrap();
                seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        wait_until(|| reading.is_finished().then_some(())).expect("the text comes");
        reading.join().unwrap();
    }
}

/// Whether both families have the rules.
fn is_in(world: &World) -> bool {
    run(world, &["firewall", "status"]).0 == 0
}

fn run(world: &World, args: &[&str]) -> (i32, String, String) {
    let output = world.netns.command(env!("CARGO_BIN_EXE_sipknock")).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What the program calls.
const VARIANT: Variant = Variant { v4: "iptables", v6: "ip6tables" };
