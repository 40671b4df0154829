//! The output of `sipknock firewall`.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::Value;
use sipknock::firewall::Family;

use crate::common::iptables::World;
use crate::common::netns::Netns;
use crate::common::write_secret;

/// The next steps: to start a gate, and to have the PBX register again.
pub(super) fn what_there_is_to_do_after_an_apply(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sipknock.toml");
    write_secret(&config, "[queue]\nnumbers = \"0-1\"\n");
    let apply = |args: &[&str]| {
        firewall(world, &[&["--config", config.to_str().unwrap(), "firewall", "apply"], args].concat())
    };
    let (status, out, _) = apply(&[]);
    assert_eq!(status, 0);
    assert!(
        out.contains("no gate serves queues 0, 1: packets for these ports are dropped until 'sipknock run'"),
        "{out}"
    );
    assert!(
        out.contains(
            "let it register again, or restart it (Asterisk: asterisk -rx 'pjsip send register *all')"
        ),
        "{out}"
    );
    // The command is that of the process that listens here.
    let pbx = Pbx::start(&world.netns, folder.path(), "kamailio");
    let (_, out, _) = apply(&["--port", "5060-5069"]);
    assert!(out.contains(": kamcmd uac.reg_reload   # "), "{out}");
    drop(pbx);
    // Nothing has changed, so that the PBX's trunks are as known as they were.
    let (_, out, _) = apply(&["--port", "5060-5069", "--json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["hints"].as_array().unwrap().len(), 1, "{out}");
    write_secret(&config, "[queue]\non_exit = \"open\"\n[firewall]\noutbound = \"off\"\n");
    let (_, out, _) = apply(&[]);
    assert!(out.contains("no gate serves queue 0: packets for these ports pass unseen until"), "{out}");
    assert!(!out.contains("register"), "{out}");
}

/// All commands go by the file.
pub(super) fn rules_from_the_file(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sipknock.toml");
    let said = |args: &[&str]| {
        firewall(world, &[&["--config", config.to_str().unwrap(), "firewall"], args].concat())
    };
    write_secret(&config, "");
    assert_eq!(said(&["apply"]).0, 0);
    write_secret(
        &config,
        "[firewall]\nchains = [\"FORWARD\"]\npbx = [\"192.0.2.5\", \"eth9\"]\nfamilies = [\"ipv4\"]\n",
    );
    let before = world.saved();
    let (status, _, err) = said(&["apply"]);
    assert!(status == 1 && err.contains("would move to FORWARD") && err.contains("--move"), "{err}");
    assert_eq!((said(&["status"]).0, world.saved()), (1, before));
    assert_eq!(said(&["apply", "--move"]).0, 0);
    let (status, out, _) = said(&["status"]);
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("IPv6: skipped\n  note: no rules: `families` leaves it out"), "{out}");
    assert!(world.rules(Family::V6).is_empty());
    let jump = "-A FORWARD -s 192.0.2.5/32 -i eth9 -p udp -m multiport --ports 5060 -j SIPKNOCK-OUT";
    assert!(out.contains(jump) && world.rules(Family::V4).iter().any(|rule| rule == jump), "{out}");
    // Flags of an older version are taken as they are.
    assert_eq!(said(&["apply", "--no-replies"]).0, 0);
    // A jump of fail2ban's at the top, as at each of its starts, is nothing to fail for.
    let jail = "*filter\n:f2b-x - [0:0]\n-I FORWARD 1 -p udp -m udp --dport 5060 -j f2b-x\n-A f2b-x -s 192.0.2.66/32 -j DROP\n-A f2b-x -j RETURN\nCOMMIT\n";
    world.load(Family::V4, jail);
    assert_eq!(said(&["status"]).0, 0);
    assert_eq!(said(&["remove"]).0, 0);
    assert_eq!(said(&["status"]).0, 1);
}

fn firewall(world: &World, args: &[&str]) -> (i32, String, String) {
    let output = world.netns.command(env!("CARGO_BIN_EXE_sipknock")).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A process with a PBX's name that has port 5060.
struct Pbx(std::process::Child);

impl Pbx {
    fn start(netns: &Netns, folder: &std::path::Path, name: &str) -> Self {
        let program = folder.join(name);
        symlink("/bin/sleep", &program).unwrap();
        let socket: OwnedFd = netns.run(|| UdpSocket::bind("0.0.0.0:5060").unwrap()).into();
        Self(Command::new(program).arg("600").stdin(Stdio::from(socket)).spawn().unwrap())
    }
}

impl Drop for Pbx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
