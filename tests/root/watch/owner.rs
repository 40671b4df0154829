//! The owner's own words: remove, apply on trial, and `keep = false`.

use std::time::Instant;

use super::{
    LISTEN, SLOWEST, get, in_place, looked, metric, other, restored, restores, start, start_with, told,
    watched,
};
use crate::common::commands::says;
use crate::common::gate::{Gate, World, wait_until};

pub(super) fn remove_is_obeyed(world: &World) {
    let (gate, config) = start(world);
    says(world, &config, &["firewall", "remove"]);
    let fault = wait_until(|| {
        let (status, body) = get(world, "/healthz");
        (status == 503).then_some(body)
    });
    assert!(fault.unwrap().contains("'sipknock firewall remove' took them out"));
    let told_of = told(&gate);
    assert!(
        told_of.iter().all(|(state, _, by)| state == "missing" && by == "sipknock firewall remove"),
        "{told_of:?}"
    );
    // Whatever else changes, and also for a gate that takes over.
    other(world, "iptables -A INPUT -p tcp --dport 22 -j ACCEPT");
    looked(world, &config);
    assert!(!in_place(world, &config));
    let (ended, ..) = gate.stop();
    assert!(ended.success());
    let gate = Gate::start(world, &["--config", &config, "--http", LISTEN]);
    watched(world, &config);
    assert!(!in_place(world, &config));
    says(world, &config, &["firewall", "apply"]);
    restored(&gate, 2);
    other(world, "iptables -F");
    restored(&gate, 3);
    assert!(in_place(world, &config), "apply ends it");
    // As does a gate that is told to put them in.
    says(world, &config, &["firewall", "remove"]);
    wait_until(|| (get(world, "/healthz").0 == 503).then_some(())).unwrap();
    assert!(gate.stop().0.success());
    let gate = Gate::start(world, &["--config", &config, "--http", LISTEN, "--firewall"]);
    assert!(in_place(world, &config));
    other(world, "iptables -F");
    restored(&gate, 1);
    assert!(in_place(world, &config));
    assert!(gate.stop().0.success());
    assert!(!in_place(world, &config), "its own rules go with it, and nobody puts them back");
}

pub(super) fn an_apply_that_fails_changes_no_word(world: &World) {
    let (gate, config) = start(world);
    let fails = || {
        let apply = ["--config", &config, "firewall", "apply", "--chain", "NOBODYS", "--pbx", "10.9.9.9"];
        let output = world.sipknock(&apply).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("no IPv4 chain NOBODYS"), "{said}");
    };
    fails();
    other(world, "iptables -F");
    restored(&gate, 1);
    says(world, &config, &["firewall", "remove"]);
    let taken_out = || (get(world, "/healthz").1.contains("took them out")).then_some(());
    wait_until(taken_out).unwrap();
    fails();
    // Something to look at.
    other(world, "iptables -A INPUT -p tcp --dport 22 -j ACCEPT");
    looked(world, &config);
    assert!(!in_place(world, &config), "the owner has taken them out");
    taken_out().unwrap_or_else(|| panic!("{:?}", get(world, "/healthz")));
    assert_eq!(restores(world, &config), 1);
    assert!(gate.stop().0.success());
}

pub(super) fn what_nobody_confirms_stays_out(world: &World) {
    let config = world.config("", "");
    let gate = Gate::start(world, &["--config", &config, "--http", LISTEN]);
    watched(world, &config);
    let apply = ["--config", &config, "firewall", "apply", "--confirm", "2s"];
    let output = world.sipknock(&apply).stdin(std::process::Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    looked(world, &config);
    assert!(!in_place(world, &config), "a lock-out is not put back");
    let fault = wait_until(|| {
        let (status, body) = get(world, "/healthz");
        (status == 503 && body.contains("was not confirmed")).then_some(())
    });
    fault.unwrap_or_else(|| panic!("{:?}", get(world, "/healthz")));
    drop(gate);
}

pub(super) fn without_keep_it_is_only_said(world: &World) {
    let (gate, config) = start_with(world, "[firewall]\nkeep = false");
    for _ in 0..3 {
        let began = Instant::now();
        other(world, "iptables -F");
        wait_until(|| (get(world, "/healthz").0 == 503).then_some(())).unwrap();
        let took = began.elapsed();
        eprintln!("503 after {took:?}");
        assert!(took < SLOWEST, "{took:?}");
        assert!(gate.says("the IPv4 firewall rules are not in place"));
        assert_eq!(metric(world, "sipknock_rules_in_place{family=\"ipv4\"}"), Some(0.0));
        assert_eq!(metric(world, "sipknock_rules_in_place{family=\"ipv6\"}"), Some(1.0));
        let missing = || metric(world, "sipknock_rules_missing_seconds_total").unwrap();
        let before = missing();
        wait_until(|| (missing() > before + 1.0).then_some(())).expect("every second counts");
        assert!(!in_place(world, &config));
        world.apply_rules(&config);
        wait_until(|| (get(world, "/healthz").0 == 200).then_some(())).unwrap();
    }
    assert_eq!(restores(world, &config), 0);
}
