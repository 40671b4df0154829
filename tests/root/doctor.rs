//! `sipknock doctor` on real machines in small: network namespaces with rules, a gate and a PBX's port. A sound one, on
//! which it must find nothing; the same with one fault planted, which it must name together with what mends it; and the
//! probe.

mod planted;
mod probe;

use std::io::Read as _;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Child, Command, ExitCode, Stdio};
use std::{env, fs};

use crate::common::gate::{Gate, World, wait_until};
use crate::trials::{self, NetnsTrial, Outcome, trials};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    let cases = CASES.iter().map(|&(name, case)| trials::in_netns(name, case));
    let probes = probe::CASES.iter().map(|&(name, case)| trials::in_netns(format!("probe::{name}"), case));
    let planted = planted::FAULTS
        .iter()
        .map(|fault| trials::in_netns(format!("planted::{}", fault.name), || planted::find(fault)));
    let perhaps = PERHAPS.iter().map(|&(name, case)| trials::in_netns(name, case));
    cases.chain(probes).chain(planted).chain(perhaps).collect()
}

/// What this program is under another name, which its first word says: a PBX, or a service manager that keeps a copy of a
/// gate's sockets.
pub(crate) fn as_another_program() -> Option<ExitCode> {
    let word = env::args().nth(1)?;
    let (role, number) = word.split_once('=')?;
    Some(match role {
        "listen-on" => listen(number.parse().ok()?),
        "lite-on" => keep(&udp_lite(number.parse().ok()?).unwrap()),
        "copy-of" => keep(&sockets_of(number.parse().ok()?)),
        _ => return None,
    })
}

type Case = fn();

/// One that may find that it can't be tried here.
type PerhapsCase = fn() -> Outcome;

const CASES: &[(&str, Case)] = &trials![
    nothing_on_a_sound_set_up,
    for_people,
    wrong_words_and_configs_end_with_2,
    looking_changes_nothing,
    a_queue_that_only_the_service_manager_has,
    forged_sources_that_come_in_as_trusted_ones,
];

const PERHAPS: &[(&str, PerhapsCase)] =
    &trials![a_copy_of_the_socket_is_not_the_gate, a_transport_that_no_rule_matches];

fn nothing_on_a_sound_set_up() {
    let mut patient = Patient::sound();
    // What takes nothing from the gate is none of its business.
    patient.sh("iptables -I INPUT 1 -i lo -j ACCEPT");
    for last in ["queue 0: no verdict yet since the start ", "queue 0: last verdict "] {
        let (status, findings) = patient.examine();
        assert_eq!(bad(&findings), [&Value::Null; 0]);
        assert_eq!(status, 0);
        let told = findings.iter().find(|finding| finding["name"] == "last-verdict").unwrap();
        assert!(told["text"].as_str().unwrap().starts_with(last), "{told}");
        // In minutes, on whatever machine.
        assert!(told["seconds"].as_u64() < Some(600), "{told}");
        // After packets it is as sound as before.
        for payload in ["stranger", SECRET] {
            patient.world.client("198.51.100.9").send(payload);
        }
        patient.gate.as_mut().unwrap().wait_for("opened", |_| true);
    }
}

fn for_people() {
    let patient = Patient::sound();
    patient.sh("ip6tables -I INPUT 1 -p udp -j ACCEPT");
    let output = patient.doctor(&[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let apply = format!("         mend it with: sipknock --config {} firewall apply\n", patient.config);
    assert!(
        text.contains("\nfault    IPv6, udp port 5060: `-A INPUT -p udp -j ACCEPT` accepts everything"),
        "{text}"
    );
    assert!(
        text.contains(&apply) && text.ends_with("the gate is not sound: 1 fault, 0 warnings\n"),
        "{text}"
    );
    assert!(!text.contains(SECRET));
}

fn wrong_words_and_configs_end_with_2() {
    let patient = Patient::sound();
    for args in [&["--chain", "-x"][..], &["--port", "0"], &["--such"]] {
        assert_eq!(patient.doctor(args).output().unwrap().status.code(), Some(2), "{args:?}");
    }
    fs::write(&patient.config, "[inspect]\nport = 1\n").unwrap();
    assert_eq!(patient.doctor(&[]).output().unwrap().status.code(), Some(2));
}

fn looking_changes_nothing() {
    let patient = Patient::sound();
    let before = patient.rules();
    patient.examine();
    assert_eq!(patient.rules(), before);
}

/// The holder of the copy comes first in the table of processes, as systemd does.
fn a_copy_of_the_socket_is_not_the_gate() -> Outcome {
    let patient = Patient::sound();
    let gate = patient.gate.as_ref().unwrap().pid();
    let _copies = sockets_of(gate);
    if std::process::id() > gate {
        return Outcome::Impossible("the numbers of processes have begun again");
    }
    let (status, findings) = patient.examine();
    assert_eq!((status, bad(&findings)), (0, vec![]));
    let listens = format!("queue 0: process {gate} (sipknock) listens");
    assert!(
        findings.iter().any(|finding| finding["text"].as_str().unwrap().starts_with(&listens)),
        "{findings:#?}"
    );
    Outcome::Held
}

fn a_queue_that_only_the_service_manager_has() {
    let mut patient = Patient::sound();
    let gate = patient.gate.as_ref().unwrap().pid();
    patient.child("systemd", &format!("copy-of={gate}"));
    assert_eq!(bad(&patient.examine().1), [&Value::Null; 0]);
    let gate = patient.gate.take().unwrap();
    gate.signal(rustix::process::Signal::KILL);
    gate.end();
    let (status, findings) = patient.examine();
    let found: Vec<_> = bad(&findings).into_iter().map(|finding| finding["name"].as_str().unwrap()).collect();
    assert_eq!((status, found.as_slice()), (1, &["stored-queue"][..]), "{findings:#?}");
    let mends: Vec<_> = findings.iter().filter_map(|finding| finding["mend"].as_str()).collect();
    assert!(mends.contains(&"systemctl restart sipknock"), "{mends:?}");
    assert!(mends.iter().all(|mend| !mend.contains("kill")), "{mends:?}");
}

fn a_transport_that_no_rule_matches() -> trials::Outcome {
    let mut patient = Patient::sound();
    if patient.world.server.run(|| udp_lite(5060)).is_err() {
        return trials::Outcome::Impossible("this kernel has no UDP-Lite");
    }
    // What is on loopback, or on another port, nobody reaches or takes for SIP.
    patient.child("media", "lite-on=30000");
    assert_eq!(bad(&patient.examine().1), [&Value::Null; 0]);
    for (name, severity) in [("kamailio", "fault"), ("python3", "warning")] {
        patient.child(name, "lite-on=5060");
        let (status, findings) = patient.examine();
        let found: Vec<_> = bad(&findings).iter().map(|finding| finding["severity"].clone()).collect();
        assert_eq!((status, found), (i32::from(severity == "fault"), vec![severity.into()]), "{findings:#?}");
        let finding = findings.iter().find(|finding| finding["name"] == "transport-not-matched").unwrap();
        assert!(finding["text"].as_str().unwrap().contains("UDP-Lite port 5060"), "{finding}");
        patient.sh(finding["mend"].as_str().unwrap());
        assert_eq!(bad(&patient.examine().1), [&Value::Null; 0]);
        patient.sh("iptables -D INPUT 1; ip6tables -D INPUT 1");
        let mut child = patient.children.pop().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    trials::Outcome::Held
}

/// By an interface that answers to them would not leave by.
fn forged_sources_that_come_in_as_trusted_ones() {
    let patient = Patient::with("trusted = [\"10.9.0.0/24\"]", "", &[]);
    let names = |findings: &[Value]| -> Vec<String> {
        bad(findings).iter().map(|finding| finding["name"].as_str().unwrap().to_owned()).collect()
    };
    // One way in alone: nothing tells forged sources there.
    patient.sh("for filter in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $filter; done");
    assert_eq!(names(&patient.examine().1), [""; 0]);
    patient.sh("ip link add lan type veth peer name lan-peer; ip address add 10.9.0.1/24 dev lan
         ip link set lan up; ip link set lan-peer up
         for filter in /proc/sys/net/ipv4/conf/lan*/rp_filter; do echo 0 > $filter; done");
    for (all, own) in [(0, 0), (2, 0), (0, 2), (2, 1)] {
        patient.sh(&format!(
            "cd /proc/sys/net/ipv4/conf; echo {all} > all/rp_filter
             for filter in */rp_filter; do case $filter in all/*|lo/*) ;; *) echo {own} > $filter; esac; done"
        ));
        let (status, findings) = patient.examine();
        assert_eq!((status, names(&findings)), (0, vec!["forged-trusted".to_owned()]), "{all} {own}");
        let finding = findings.iter().find(|finding| finding["name"] == "forged-trusted").unwrap();
        let text = finding["text"].as_str().unwrap();
        assert!(text.contains("the trusted 10.9.0.0/24 is not behind ") && !text.contains(" lan "), "{text}");
        // In a file of nobody's, and in the namespace's own values.
        let mend = finding["mend"].as_str().unwrap();
        patient.sh(&format!("mkdir -p /etc/sysctl.d; mount -t tmpfs none /etc/sysctl.d; {mend}"));
        assert_eq!(names(&patient.examine().1), [""; 0], "{mend}");
    }
}

/// A machine with a gate.
struct Patient {
    world: World,
    config: String,
    gate: Option<Gate>,
    /// A folder in front of PATH.
    folder: TempDir,
    children: Vec<Child>,
    /// A queue that another program has.
    queue: Option<Box<dyn sipknock::queue::Queue>>,
}

impl Patient {
    /// One that is sound, with the lines given in its configuration. Its gate mends no rules by itself.
    fn with(inspect: &str, queue: &str, gate: &[&str]) -> Self {
        let world = World::new("doctor");
        let firewall = if inspect.contains("[firewall]") { "" } else { "[firewall]\nkeep = false" };
        let config = world.config_with_knocks(&format!("{inspect}\n{firewall}"), queue, &knock());
        let folder = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_sipknock"), folder.path().join("sipknock")).unwrap();
        world.apply_rules(&config);
        let gate = Gate::start(&world, &[&["--config", &config], gate].concat());
        Self { world, config, gate: Some(gate), folder, children: Vec::new(), queue: None }
    }

    fn sound() -> Self {
        Self::with("", "", &[])
    }

    /// What doctor finds, and its exit status.
    fn examine(&self) -> (i32, Vec<Value>) {
        self.examine_with(&[])
    }

    fn examine_with(&self, args: &[&str]) -> (i32, Vec<Value>) {
        read_findings(self.doctor(&[&["--json"], args].concat()))
    }

    fn doctor(&self, args: &[&str]) -> Command {
        let mut command = self.world.sipknock(&["--config", &self.config, "doctor"]);
        command.args(args).env("PATH", self.path());
        command
    }

    fn path(&self) -> String {
        format!("{}:{}", self.folder.path().display(), env::var("PATH").unwrap())
    }

    /// Runs commands in the machine's namespace.
    fn sh(&self, script: &str) {
        let mut command = self.world.server.command("sh");
        let output = command.args(["-ec", script]).env("PATH", self.path()).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Puts a program in front of the real one of that name.
    fn stand_in(&self, name: &str, script: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A PBX of that name that listens on a port.
    fn pbx(&mut self, name: &str, port: u16) {
        self.child(name, &format!("listen-on={port}"));
    }

    /// This program under another name, with a word that says what it is to do. It is about it when this returns.
    fn child(&mut self, name: &str, word: &str) {
        let path = self.folder.path().join(name);
        symlink(env::current_exe().unwrap(), &path).unwrap();
        let mut command = Command::new(path);
        command.arg(word).stdout(Stdio::piped());
        let mut child = self.world.server.run(move || command.spawn().unwrap());
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        self.children.push(child);
    }

    fn rules(&self) -> String {
        let script = "iptables-save; ip6tables-save; ls -l /run/netns; cat /proc/net/ip_tables_names";
        let output = self.world.server.command("sh").args(["-c", script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter(|line| !line.starts_with(['#', ':', 'l', 't', '-', 'd', 'r']))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read_findings(mut command: Command) -> (i32, Vec<Value>) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(report["sound"], output.status.success());
    (output.status.code().unwrap(), report["findings"].as_array().unwrap().clone())
}

/// Whatever is not as it should be.
fn bad(findings: &[Value]) -> Vec<&Value> {
    findings.iter().filter(|finding| finding["severity"] != "ok").collect()
}

fn knock() -> String {
    format!("[[knock]]\nname = \"alice\"\nsecret = \"{SECRET}\"\n")
}

fn listen(port: u16) -> ExitCode {
    keep(&UdpSocket::bind(("::", port)).unwrap())
}

/// A socket of UDP-Lite (RFC 3828) on all addresses, which kernels may not have.
fn udp_lite(port: u16) -> std::io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketType, ipproto};
    let socket = rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, Some(ipproto::UDPLITE))?;
    rustix::net::bind(&socket, &std::net::SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)))?;
    Ok(socket)
}

/// Copies of all sockets that a process has open.
fn sockets_of(pid: u32) -> Vec<OwnedFd> {
    let process = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    let process = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).unwrap();
    let folder = format!("/proc/{pid}/fd");
    let descriptors = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    let sockets = descriptors.filter(|entry| {
        fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"))
    });
    let copy = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        rustix::process::pidfd_getfd(&process, number, rustix::process::PidfdGetfdFlags::empty()).unwrap()
    };
    sockets.map(copy).collect()
}

/// Keeps something until it is killed, and says when it has it.
fn keep<T>(kept: &T) -> ExitCode {
    use std::io::Write as _;
    std::io::stdout().write_all(b"!\n").unwrap();
    loop {
        std::hint::black_box(kept);
        std::thread::park();
    }
}

/// Not one of the documentation's.
const SECRET: &str = "gwadjtpmagjwtdpmjgatwdm";
