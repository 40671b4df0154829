//! What the filters do, each time in a process that is there for that: this test program, started anew.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::thread;

use rustix::net::{AddressFamily, SocketType, netlink};

use super::*;

/// Runs one of [`DEEDS`] in a process of its own, behind the filters.
fn outcome_of(deed: &str, strictness: &str) -> (ExitStatus, String) {
    let test = format!("{}::in_a_process_of_its_own", module_path!().split_once("::").unwrap().1);
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&test, "--exact", "--nocapture", "--test-threads=1"])
        .env(DEED, format!("{strictness} {deed}"))
        .output()
        .unwrap();
    (output.status, String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn in_a_process_of_its_own() {
    let Ok(told) = std::env::var(DEED) else { return };
    let (strictness, deed) = told.split_once(' ').unwrap();
    let (_, deed) = DEEDS.into_iter().find(|(name, _)| *name == deed).unwrap();
    rustix::thread::set_no_new_privs(true).unwrap();
    install(if strictness == "kill" { Seccomp::Kill } else { Seccomp::Deny }, false).unwrap();
    let outcome = deed().map_err(|error| error.raw_os_error());
    println!("outcome: {outcome:?}");
}

type Deed = fn() -> io::Result<()>;

const DEEDS: [(&str, Deed); 10] = [
    ("file", || fs::read("/proc/self/status").map(drop)),
    ("thread", || thread::spawn(|| ()).join().map_err(|_| io::ErrorKind::Other.into())),
    ("netfilter", || {
        let kind = Some(netlink::NETFILTER);
        Ok(rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, kind).map(drop)?)
    }),
    ("connections", || {
        let kind = Some(netlink::SOCK_DIAG);
        Ok(rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, kind).map(drop)?)
    }),
    ("unix", || Ok(rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).map(drop)?)),
    ("internet", || Ok(rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).map(drop)?)),
    ("route", || {
        // Number 0 of netlink's protocols.
        Ok(rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop)?)
    }),
    // Of no use to a gate, and to nobody else.
    ("niceness", || Ok(rustix::process::nice(0).map(drop)?)),
    ("program", || Command::new("/bin/true").spawn().map(drop)),
    ("another user", || {
        Ok(rustix::thread::set_thread_res_uid(
            rustix::process::getuid(),
            rustix::process::getuid(),
            rustix::process::getuid(),
        )?)
    }),
];

#[test]
fn what_a_gate_needs_passes() {
    for strictness in ["deny", "kill"] {
        for deed in ["file", "thread", "netfilter", "connections", "unix"] {
            let (status, said) = outcome_of(deed, strictness);
            assert!(status.success() && said.contains("outcome: Ok(())"), "{deed}: {status} {said}");
        }
    }
}

#[test]
fn what_nobody_foresaw_fails_and_the_process_goes_on() {
    for deed in ["internet", "route", "niceness"] {
        let (status, said) = outcome_of(deed, "deny");
        assert!(status.success() && said.contains("outcome: Err(Some(38))"), "{deed}: {status} {said}");
        assert_eq!(outcome_of(deed, "kill").0.signal(), Some(libc::SIGSYS), "{deed}");
    }
}

#[test]
fn an_intruder_ends_the_process() {
    for deed in ["program", "another user"] {
        let (status, said) = outcome_of(deed, "deny");
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{deed}: {said}");
    }
}

/// Tells a process what to do.
const DEED: &str = "SIPKNOCK_TEST_DEED";
