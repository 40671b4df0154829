//! Doors, marks and copies from one process to the next.

use crate::common::commands::{doors, says, stats};
use crate::common::gate::{Gate, SECRET, World, alice, register, wait_until};
use crate::outbound::{NEIGHBOUR, PHONE, TRUNK, answer, call};
use rustix::process::Signal;

/// A phone that is marked, its neighbour that is not, and a trunk that the PBX has called.
fn prepare(world: &World, config: &str) {
    for address in [PHONE, NEIGHBOUR] {
        world.client(address).send(&register(SECRET));
    }
    assert_eq!(world.delivered().len(), 2);
    call(world, "INVITE", TRUNK);
    says(world, config, &["doors", "close", PHONE]);
    wait_until(|| (doors(world, config).len() == 2).then_some(())).expect("trunk and neighbour");
}

/// What holds whoever serves: the trunk's answers pass, the marked phone's do not although the PBX calls it.
fn holds(world: &World, config: &str) {
    let (trunk, phone) = (world.client(TRUNK), world.client(PHONE));
    call(world, "OPTIONS", PHONE);
    phone.send(&answer("phone"));
    trunk.send(&answer("trunk"));
    assert_eq!(world.delivered(), [answer("trunk")]);
    let listed = doors(world, config);
    assert_eq!(listed.keys().collect::<Vec<_>>(), [TRUNK, NEIGHBOUR]);
    assert_eq!((&listed[TRUNK]["knock"], &listed[TRUNK]["method"]), (&"outbound".into(), &"INVITE".into()));
    assert_eq!(stats(world, config)["outbound"]["marks"], 1);
}

pub(crate) fn doors_and_marks_survive_a_restart_and_a_kill(world: &World) {
    let (config, state) = (world.guarded("", "", &alice()), world.path("doors"));
    let args = ["--config", &config, "--state", &state];
    let gate = Gate::start(world, &args);
    prepare(world, &config);
    holds(world, &config);
    let before = doors(world, &config);
    assert!(gate.stop().0.success());
    let gate = Gate::start(world, &args);
    let after = doors(world, &config);
    for field in ["opened", "method"] {
        assert_eq!(before[TRUNK][field], after[TRUNK][field], "{field}");
    }
    // It is so long ago, whatever the wall clock says now.
    let request = |doors: &std::collections::BTreeMap<String, serde_json::Value>| {
        doors[TRUNK]["request"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap()
    };
    let moved = request(&before).duration_since(request(&after)).abs();
    assert!(moved < jiff::SignedDuration::from_secs(1), "{moved:?}");
    holds(world, &config);
    // Written within a second, and killed after that. Of two writes the second has begun after the door was open.
    let written = || stats(world, &config)["state"]["writes"].as_u64().unwrap();
    let call_it = || call(world, "OPTIONS", "198.51.100.99");
    call_it();
    wait_until(|| (doors(world, &config).len() == 3).then_some(())).expect("it is open");
    for _ in 0..2 {
        let already = written();
        call_it();
        wait_until(|| (written() > already).then_some(())).expect("it is written");
    }
    gate.signal(Signal::KILL);
    drop(gate);
    let gate = Gate::start(world, &args);
    assert_eq!(doors(world, &config).len(), 3);
    says(world, &config, &["doors", "close", "198.51.100.99"]);
    holds(world, &config);
    assert!(gate.stop().0.success());
}

pub(crate) fn a_takeover_hands_over_copies_doors_and_marks(world: &World) {
    let config = world.guarded("", "", &alice());
    let args = ["--config", &config, "--takeover"];
    let mut gate = Gate::start(world, &args);
    prepare(world, &config);
    holds(world, &config);
    let last = world.client("198.51.100.100");
    for round in 0..5 {
        let caller = {
            let mut next = Gate::spawn(world, &args);
            // Whatever the PBX sends meanwhile is seen by the one or the other.
            let address = format!("198.51.100.{}", 101 + round);
            call(world, "OPTIONS", &address);
            next.wait_for("started", |_| true);
            let (status, _, log) = gate.end();
            assert!(status.success(), "{log:#?}");
            gate = next;
            address
        };
        let client = world.client(&caller);
        client.send(&answer("late"));
        assert_eq!(world.delivered(), [answer("late")], "{round}");
        says(world, &config, &["doors", "close", &caller]);
        holds(world, &config);
        let warned: Vec<_> =
            gate.warnings().into_iter().filter(|text| !text.starts_with("weak knock")).collect();
        assert_eq!(warned, [""; 0]);
    }
    call(world, "OPTIONS", "198.51.100.100");
    last.send(&answer("last"));
    assert_eq!(world.delivered(), [answer("last")]);
    assert!(gate.stop().0.success());
}
