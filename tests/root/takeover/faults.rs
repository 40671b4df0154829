//! Queues that are taken away from a running gate: through a copy of its own socket, as root may have it (pidfd_getfd(2)).

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use sipknock::queue::{Backend, QueueOptions, unbind};
use socket2::{SockFilter, SockRef};

use crate::common::commands::stats;
use crate::common::gate::{Gate, SECRET, World, register, wait_until};
use crate::takeover::start;

/// The port id of whoever has queue 0.
fn holder(world: &World) -> Option<u32> {
    world.server.run(|| sipknock::queue::kernel::queue(0)).map(|row| row.port_id)
}

/// A copy of the socket that holds queue 0.
pub(super) fn socket_of(world: &World, gate: &Gate) -> OwnedFd {
    let holder = holder(world).expect("the queue is bound");
    let pid = Pid::from_raw(gate.pid().try_into().unwrap()).unwrap();
    let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let entries = fs::read_dir(format!("/proc/{}/fd", gate.pid())).unwrap();
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut sockets =
        numbers.filter_map(|number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok());
    let found = sockets.find(|socket| {
        sockopt::socket_domain(socket) == Ok(AddressFamily::NETLINK)
            && sockopt::socket_protocol(socket) == Ok(Some(netlink::NETFILTER))
            && rustix::net::getsockname(socket)
                .and_then(SocketAddrNetlink::try_from)
                .is_ok_and(|address| address.pid() == holder)
    });
    found.expect("the gate has it")
}

fn opens(world: &World, address: &str) {
    world.client(address).send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1, "{address}");
}

pub(crate) fn a_queue_unbound_from_outside_is_bound_again(world: &World) {
    let (mut gate, config) = start(world, "");
    opens(world, "198.51.100.7");
    for round in 1..=2 {
        let before = holder(world);
        unbind(socket_of(world, &gate), 0).unwrap();
        wait_until(|| holder(world).filter(|holder| Some(*holder) != before)).expect("it is bound again");
        assert_eq!(gate.wait_for_events("fault", round).len(), round, "and told of");
        opens(world, "198.51.100.8");
    }
    let fault = gate.wait_for("fault", |_| true);
    assert_eq!(
        (&fault["fault"], &fault["queue"], &fault["level"]),
        (&"lost".into(), &0.into(), &"ERROR".into())
    );
    wait_until(|| stats(world, &config)["queues"][0]["fault"].is_null().then_some(())).expect("all is well");
    assert_eq!(stats(world, &config)["queues"][0]["faults"], 2);
    let queues = || gate.threads().iter().filter(|name| name.starts_with("queue")).count();
    wait_until(|| (queues() == 1).then_some(())).expect("the old threads are gone");
    let (status, stopped, _) = gate.stop();
    assert!(status.success());
    assert_eq!((&stopped["waiting"], &stopped["stale"]), (&0.into(), &0.into()));
}

pub(crate) fn a_stolen_queue_is_bound_again_when_the_thief_is_gone(world: &World) {
    let (gate, config) = start(world, "");
    opens(world, "198.51.100.7");
    let options = QueueOptions {
        queue: 0,
        max_len: 64,
        receive_buffer: 65_536,
        overload_open: false,
        exit_open: false,
        busy_poll: Duration::ZERO,
    };
    let socket = socket_of(world, &gate);
    // Until we are faster than the gate is.
    let thief = world.server.run(|| {
        let steal = || {
            unbind(&socket, 0).unwrap();
            Backend::Batched.open(&options).ok()
        };
        wait_until(steal).expect("it can be stolen")
    });
    wait_until(|| (stats(world, &config)["queues"][0]["fault"] == "lost").then_some(()))
        .expect("it is noticed");
    gate.wait_for_warning("is taken by port id");
    drop(thief);
    gate.wait_for_note("bound again");
    opens(world, "198.51.100.8");
    assert!(gate.stop().0.success());
}

/// Receives what is meant for the gate, so that its thread decides nothing, and lets nothing be decided.
fn eavesdrop(socket: &OwnedFd, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let _ = rustix::net::recv(socket, &mut [0; 65_536][..], RecvFlags::empty());
    }
}

pub(crate) fn packets_that_wait_and_are_not_decided(world: &World) {
    let (mut gate, config) = start(world, "");
    opens(world, "198.51.100.7");
    let phone = world.client("198.51.100.7");
    let (socket, stop, before) = (socket_of(world, &gate), AtomicBool::new(false), holder(world));
    let noticed = thread::scope(|scope| {
        scope.spawn(|| eavesdrop(&socket, &stop));
        // The gate's thread gets some of them; one that it does not get waits.
        let noticed = wait_until(|| {
            match world.queue_row(0) {
                Some(row) if row[0] == 0 => phone.send("is anybody there?"),
                _ => {}
            }
            Some(holder(world)).filter(|holder| holder.is_some() && *holder != before)
        });
        stop.store(true, Ordering::SeqCst);
        noticed
    });
    noticed.expect("the queue is bound again");
    let fault = gate.wait_for("fault", |_| true);
    assert_eq!((&fault["fault"], &fault["queue"]), (&"stuck".into(), &0.into()));
    world.delivered();
    opens(world, "198.51.100.8");
    wait_until(|| stats(world, &config)["queues"][0]["fault"].is_null().then_some(())).expect("all is well");
    assert_eq!(stats(world, &config)["queues"][0]["faults"], 1);
    let (status, stopped, _) = gate.stop();
    assert!(status.success());
    assert_eq!(stopped["waiting"], 0);
}

/// Has the kernel throw away all that it sends to this socket (`sk_filter` in netlink_unicast() of
/// net/netlink/af_netlink.c): packets are queued, and the gate's thread never gets one.
fn deafen(socket: &OwnedFd) {
    SockRef::from(socket).attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)]).unwrap();
}

pub(crate) fn a_queue_that_is_stuck_again_ends_the_gate(world: &World) {
    let (mut gate, config) = start(world, "");
    opens(world, "198.51.100.7");
    let (phone, first) = (world.client("198.51.100.7"), holder(world));
    deafen(&socket_of(world, &gate));
    phone.send("is anybody there?");
    assert!(gate.says("queue 0 is bound again"));
    assert_ne!(holder(world), first);
    deafen(&socket_of(world, &gate));
    phone.send("and now?");
    assert_eq!(gate.wait().code(), Some(1));
    let (_, last, log) = gate.end();
    let why = last["message"].as_str().unwrap();
    assert!(why.contains("queue 0") && why.contains("rebinding it did not help"), "{why}");
    let only = |event: &str| {
        let mut found = log.iter().filter(|line| line["event"] == event);
        let line = found.next().unwrap_or_else(|| panic!("no {event:?} in {log:#?}"));
        assert!(found.next().is_none(), "{event:?} is there twice: {log:#?}");
        line
    };
    let fault = only("fault");
    assert_eq!((&fault["fault"], &fault["waiting"]), (&"stuck".into(), &1.into()));
    assert_eq!(only("stopped")["waiting"], 1, "it does not hide what it could not decide");
    // Nobody has the queue any more, and the rules are still there.
    assert_eq!(holder(world), None);
    phone.send("open?");
    assert_eq!(world.arrived(), [""; 0]);
    let gate = Gate::start(world, &["--config", &config]);
    opens(world, "198.51.100.7");
    assert!(gate.stop().0.success());
}

/// The instruction of a filter that says how many bytes to keep (`BPF_RET | BPF_K` of linux/bpf_common.h).
const RETURN: u16 = 0x06;
