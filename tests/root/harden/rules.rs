//! What a gate does that needs more rights than it has: the keeper of its rules, and the probe's processes.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::common::gate::wait_until;
use crate::harden::{House, status};

fn in_place(house: &House, config: &str) -> bool {
    let status = house.world.sipknock(&["--config", config, "firewall", "status"]).output().unwrap().status;
    status.success()
}

/// The processes of this namespace with that name.
fn processes(house: &House, name: &str) -> Vec<u32> {
    let output =
        std::process::Command::new("ip").args(["netns", "pids", house.world.server.name()]).output().unwrap();
    let pids = String::from_utf8(output.stdout).unwrap();
    let pids = pids.lines().filter_map(|line| line.trim().parse().ok());
    pids.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name))
        .collect()
}

pub(crate) fn rules_are_taken_out_by_their_keeper() {
    let house = House::new(true);
    let config = house.config("");
    let mut gate = house.start(&["--config", &config, "--firewall"]);
    assert!(in_place(&house, &config));
    house.the_gate_works();
    let keepers = processes(&house, "sipknock-rules");
    let [keeper] = keepers.as_slice() else { panic!("{keepers:?}") };
    // CAP_NET_ADMIN and CAP_NET_RAW, which iptables asks for.
    let found = status(Path::new(&format!("/proc/{keeper}"))).unwrap();
    for (name, value) in [("CapEff", "0000000000003000"), ("CapBnd", "0000000000003000")] {
        assert!(found.contains(&(name.to_owned(), value.to_owned())), "{found:?}");
    }
    // The queue's socket is none of its own, or the queue would outlive the gate. One hears of changes of the rules.
    let sockets = |pid: u32| -> Vec<_> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).collect()
    };
    let theirs = sockets(*keeper);
    assert_eq!(theirs.len(), 1);
    assert!(!sockets(gate.pid()).contains(&theirs[0]));
    // What a service's end or Ctrl-C sends to all of them.
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        kill_process(Pid::from_raw((*keeper).cast_signed()).unwrap(), signal).unwrap();
    }
    gate.signal(Signal::INT);
    let ended = gate.wait();
    assert!(ended.success(), "{ended}");
    gate.wait_for("stopped", |_| true);
    assert!(!in_place(&house, &config));
    let gone = wait_until(|| processes(&house, "sipknock-rules").is_empty().then_some(()));
    gone.expect("the keeper ends with its gate");
}

pub(crate) fn rules_stay_after_a_fault_and_no_keeper_does() {
    let house = House::new(true);
    let config = house.config("");
    let mut gate = house.start(&["--config", &config, "--firewall"]);
    assert_eq!(processes(&house, "sipknock-rules").len(), 1);
    gate.signal(Signal::KILL);
    let _ = gate.wait();
    let gone = wait_until(|| processes(&house, "sipknock-rules").is_empty().then_some(()));
    gone.expect("the keeper ends with its gate");
    assert!(in_place(&house, &config), "a fault opens nothing");
    // They are there already for the next one, which leaves them.
    let gate = house.start(&["--config", &config, "--firewall"]);
    assert!(gate.stop().0.success());
    assert!(in_place(&house, &config));
}

/// The gate of a probe becomes another user, too, which makes the kernel forget that it is to end with its parent.
pub(crate) fn a_probe_ends_with_its_caller() {
    let house = House::new(true);
    let config = house.config("");
    let mut command = house.world.sipknock(&["--config", &config, "doctor", "--probe", "--json"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("probe-knock") && !said.contains("did not get through"), "{said}");

    use std::os::unix::process::CommandExt as _;
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut doctor = command.spawn().unwrap();
    wait_until(|| {
        // It may have come and gone between two looks.
        if doctor.try_wait().unwrap().is_some() {
            doctor = command.spawn().unwrap();
        }
        gate_of_a_probe(&config)
    })
    .expect("the probe starts a gate");
    doctor.kill().unwrap();
    doctor.wait().unwrap();
    let gone = wait_until(|| gate_of_a_probe(&config).is_none().then_some(()));
    if gone.is_none() {
        let _ = kill_process_group(Pid::from_child(&doctor), Signal::KILL);
    }
    gone.expect("its gate ends with it");
}

/// A process of the user's with the words of the probe.
fn gate_of_a_probe(config: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        words.contains(config)
            && words.contains("--probe")
            && status.contains(&format!("Uid:\t{}", crate::harden::USER))
    })
}
