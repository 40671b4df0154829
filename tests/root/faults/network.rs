//! The network around the gate, its queue and its rules.

use std::process::Command;

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};
use sipknock::queue::message::{self, QueueMessage, QueueMessages, Setup};
use sipknock::verdict::Verdict;

use crate::common::gate::{CLIENTS4, Gate, SECRET, SENTINEL, World, register, trusting, wait_until};
use crate::common::log::warnings;
use crate::common::netns::Netns;
use crate::faults::{Outcome, PHONE, STRANGER, Site};

fn ip(netns: &Netns, args: &[&str]) {
    assert!(Command::new("ip").args(["-n", netns.name()]).args(args).status().unwrap().success(), "{args:?}");
}

fn iptables(world: &World, args: &[&str]) {
    assert!(world.server.command("iptables").args(args).status().unwrap().success(), "iptables {args:?}");
}

pub(crate) fn interface_down_and_up(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    for _ in 0..3 {
        ip(&world.server, &["link", "set", "up0", "down"]);
        // They are lost on the wire.
        site.phone.send("unplugged");
        site.stranger.send("unplugged");
        ip(&world.server, &["link", "set", "up0", "up"]);
        // Routes go with the interface.
        ip(&world.server, &["route", "replace", CLIENTS4, "via", "192.0.2.2"]);
        let passes = wait_until(|| {
            world.client(SENTINEL).send("plugged");
            (world.receive().as_deref() == Some("plugged")).then_some(())
        });
        passes.expect("packets come again");
        // What waited for the neighbour's address comes before this.
        world.delivered();
        site.holds("with the interface up again");
    }
    let warned = warnings(&site.ends());
    assert!(warned.iter().all(|text| text.contains("weak knock")), "{warned:?}");
    Outcome::Held
}

/// Nothing comes any more, and that is all.
pub(crate) fn interface_gone(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    ip(&world.server, &["link", "del", "up0"]);
    let (status, said) = site.sipknock(&["doors", "--json"]);
    assert!(status == 0 && said.contains(PHONE), "{said}");
    assert!(world.queue_row(0).is_some(), "the queue is bound");
    let (status, said) = site.sipknock(&["reload"]);
    assert_eq!(status, 0, "{said}");
    site.ends();
    Outcome::Held
}

/// The name goes, the namespace lives for as long as somebody is in it. Who was in it goes on.
pub(crate) fn netns_deleted(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    // Another way to the same namespace, for those who look into it below.
    let (name, other) = (world.server.name(), format!("{}-again", world.server.name()));
    let pid = site.gate.pid().to_string();
    assert!(Command::new("ip").args(["netns", "del", name]).status().unwrap().success());
    site.holds("without the namespace's name");
    site.opens("198.51.100.8");
    assert!(Command::new("ip").args(["netns", "attach", &other, &pid]).status().unwrap().success());
    let status = Command::new("ip").args(["netns", "exec", &other, "iptables", "-nL", "SIPKNOCK"]).output();
    assert!(status.unwrap().status.success(), "the rules are there");
    // Under its old name it can be cleared away.
    assert!(Command::new("ip").args(["netns", "attach", name, &pid]).status().unwrap().success());
    assert!(Command::new("ip").args(["netns", "del", &other]).status().unwrap().success());
    site.ends();
    Outcome::Held
}

/// What another socket of the same namespace says of the queue is refused by the kernel, and the gate goes on.
pub(crate) fn queue_stolen(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    let thief = world.server.run(|| {
        let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, Some(NETFILTER)).unwrap();
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0)).unwrap();
        socket
    });
    let ask = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        // NLM_F_ACK, for those that don't ask for an answer of their own (linux/netlink.h).
        out[6] |= 4;
        rustix::net::sendto(&thief, &out, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).unwrap();
        let mut buffer = [0; 4096];
        let (length, _) = rustix::net::recv(&thief, &mut buffer[..], RecvFlags::empty()).unwrap();
        match QueueMessages::new(&buffer[..length]).next() {
            Some(Ok(QueueMessage::Answer { errno, .. })) => errno,
            other => panic!("{other:?}"),
        }
    };
    let setup = Setup { copy_range: 0xffff, max_len: 1, fail_open: true };
    for (name, write) in [
        ("bind", &(|out: &mut Vec<u8>| message::bind(out, 0, 1, setup)) as &dyn Fn(&mut Vec<u8>)),
        ("shut", &|out| message::shut(out, 0, 1, true)),
        ("verdict", &|out| message::verdict(out, 0, 1, Verdict::Accept)),
        ("verdicts", &|out| message::verdict_up_to(out, 0, 0, u32::MAX, Verdict::Accept)),
    ] {
        assert_eq!(ask(write), rustix::io::Errno::PERM.raw_os_error(), "{name}");
        site.holds(name);
    }
    // Nor does another sipknock get it, which says who has it.
    let (status, said) = site.sipknock(&["run", "--control", "off", "--state", "off"]);
    assert!(status == 1 && said.contains("queue 0 is taken by port id"), "{said}");
    site.holds("after another gate");
    site.ends();
    Outcome::Held
}

/// Nobody asks the gate then. It can't help that; doctor and `firewall status` say so, and rules that come back are obeyed.
pub(crate) fn rules_flushed(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    iptables(world, &["-F", "SIPKNOCK"]);
    site.stranger.send("stranger");
    assert_eq!(world.delivered(), ["stranger"]);
    let rules = world.config("", "");
    let status = world.sipknock(&["--config", &rules, "firewall", "status"]).output().unwrap();
    assert_eq!(status.status.code(), Some(1), "{}", String::from_utf8_lossy(&status.stdout));
    world.apply_rules(&rules);
    site.holds("with the rules back");
    iptables(world, &["-F"]);
    world.apply_rules(&rules);
    site.holds("and once more");
    site.ends();
    Outcome::Held
}

/// Rules that `run --firewall` put in are gone before it ends: it ends all the same, and leaves nothing.
pub(crate) fn rules_removed_by_others(world: &World) -> Outcome {
    let config = world.config(&trusting(""), "");
    let save = || {
        let output = world.server.command("iptables-save").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.starts_with('-')).map(str::to_owned).collect::<Vec<_>>()
    };
    type Removal = &'static [&'static [&'static str]];
    let removals: [Removal; 3] = [&[&["-F", "INPUT"]], &[&["-F"]], &[&["-F"], &["-X"]]];
    for removal in removals {
        let gate = Gate::start(world, &["--config", &config, "--firewall"]);
        world.client(STRANGER).send("stranger");
        world.client(PHONE).send(&register(SECRET));
        assert_eq!(world.arrives(), register(SECRET));
        removal.iter().for_each(|args| iptables(world, args));
        world.client(PHONE).send("open");
        assert_eq!(world.arrives(), "open");
        let (status, _, log) = gate.stop();
        assert!(status.success(), "{removal:?}: {log:#?}");
        assert_eq!(save(), [""; 0], "{removal:?}");
    }
    Outcome::Held
}
