//! Others change tables, and the rules come back.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{
    LISTEN, get, in_place, looked, metric, other, restored, restores, run, start, states, told, watched,
};
use crate::common::commands::{says, stats};
use crate::common::gate::{Gate, SECRET, World, register, wait_until};

pub(super) fn flushed_rules_come_back(world: &World) {
    let (gate, config) = start(world);
    let mut expected = 0;
    for (commands, families) in [
        (&["iptables -F", "iptables -X"][..], &["ipv4"][..]),
        (&["nft flush ruleset"], &["ipv4", "ipv6"]),
        (&["ip6tables -F"], &["ipv6"]),
    ] {
        let began = Instant::now();
        commands.iter().for_each(|command| other(world, command));
        expected += families.len();
        restored(&gate, expected);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(5), "{commands:?}: {took:?}");
        assert!(in_place(world, &config), "{commands:?}");
        wait_until(|| (states(world, &config) == ["in-place", "in-place"]).then_some(())).unwrap();
    }
    let (lost, back): (Vec<_>, Vec<_>) = told(&gate).into_iter().partition(|(state, ..)| state == "missing");
    let families = |told: &[(String, String, String)]| {
        told.iter().map(|(_, family, _)| family.clone()).collect::<Vec<_>>()
    };
    assert_eq!(families(&lost), ["ipv4", "ipv4", "ipv6", "ipv6"]);
    assert_eq!(families(&back), ["ipv4", "ipv4", "ipv6", "ipv6"]);
    for ((_, _, by), program) in lost.iter().zip(["iptables", "nft", "nft", "ip6tables"]) {
        assert!(by.starts_with(program), "{by} for {program}");
    }
    assert!(back.iter().all(|(_, _, by)| by == "sipknock"), "{back:?}");
    let rules = stats(world, &config)["rules"].clone();
    assert_eq!((rules["restores"].as_u64(), rules["keep"].as_bool()), (Some(3), Some(true)));
    // One count for both families, however many are missing: three times a third of a second at least.
    let missing = rules["missing_ms"].as_u64().unwrap();
    assert!((900..15_000).contains(&missing), "{missing}");
    assert_eq!(metric(world, "sipknock_rules_in_place{family=\"ipv4\"}"), Some(1.0));
    assert_eq!(metric(world, "sipknock_rules_restored_total"), Some(3.0));
    assert!(metric(world, "sipknock_rules_missing_seconds_total").unwrap() >= 0.9);
    assert_eq!(get(world, "/healthz"), (200, "ok\n".to_owned()));
    // And the gate is behind them.
    world.client("198.51.100.7").send(&register(SECRET));
    assert!(wait_until(|| world.receive()).is_some());
    // Nobody puts back what goes with the gate's own end.
    let (ended, ..) = gate.stop();
    assert!(ended.success() && in_place(world, &config), "rules of before stay");
}

pub(super) fn rules_of_others_come_back_not(world: &World) {
    let config = world.config("", "");
    let gate = Gate::start(world, &["--config", &config, "--http", LISTEN]);
    watched(world, &config);
    wait_until(|| (gate.events("rules").len() == 2).then_some(())).expect("both families are told");
    assert_eq!(states(world, &config), ["missing", "missing"]);
    let (status, body) = get(world, "/healthz");
    assert_eq!(status, 503);
    assert!(
        body.contains("rules: ipv4, chain INPUT: missing") && body.contains("sipknock firewall apply"),
        "{body}"
    );
    // Whatever changes.
    other(world, "iptables -A INPUT -p tcp --dport 22 -j ACCEPT");
    looked(world, &config);
    assert!(!in_place(world, &config) && restores(world, &config) == 0);
    world.apply_rules(&config);
    restored(&gate, 2);
    wait_until(|| (get(world, "/healthz").0 == 200).then_some(())).unwrap();
    // From then on they are kept.
    other(world, "iptables -F");
    restored(&gate, 3);
    assert!(in_place(world, &config));
}

pub(super) fn a_missing_jump_comes_back(world: &World) {
    let (gate, config) = start(world);
    for (count, command) in [
        "iptables -D INPUT 1",
        "iptables -F SIPKNOCK",
        "iptables -I SIPKNOCK -j ACCEPT",
        "iptables -D INPUT 1",
    ]
    .iter()
    .enumerate()
    {
        other(world, command);
        restored(&gate, count + 1);
        assert!(in_place(world, &config), "{command}");
    }
    let lost = told(&gate).into_iter().filter(|(state, ..)| state == "missing").count();
    assert_eq!(lost, 4);
}

pub(super) fn a_jail_on_top_is_no_event(world: &World) {
    let (gate, config) = start(world);
    for command in [
        "iptables -N f2b-asterisk",
        "iptables -A f2b-asterisk -s 198.51.100.9 -j REJECT",
        "iptables -A f2b-asterisk -j RETURN",
        "iptables -I INPUT -p udp -m multiport --dports 5060,5061 -j f2b-asterisk",
        "iptables -I INPUT -s 198.51.100.8 -j DROP",
        "iptables -I INPUT -i lo -j ACCEPT",
        "iptables -I INPUT -p tcp --dport 22 -j ACCEPT",
    ] {
        other(world, command);
    }
    looked(world, &config);
    assert_eq!(told(&gate), []);
    assert_eq!((states(world, &config), restores(world, &config)), (vec!["in-place".to_owned(); 2], 0));
    assert_eq!(get(world, "/healthz").0, 200);
    // A loss behind them is one all the same.
    other(world, "iptables -F SIPKNOCK");
    restored(&gate, 1);
    let listing = String::from_utf8(run(world, "iptables", &["-S", "f2b-asterisk"]).stdout).unwrap();
    assert!(listing.contains("198.51.100.9"), "what is another's stays: {listing}");
}

pub(super) fn an_accept_on_top_is_foreign(world: &World) {
    let (gate, config) = start(world);
    other(world, "iptables -I INPUT -p udp --dport 5060 -j ACCEPT");
    restored(&gate, 1);
    let told = told(&gate);
    assert_eq!((told[0].0.as_str(), told[0].1.as_str()), ("foreign", "ipv4"), "{told:?}");
    let listing = String::from_utf8(run(world, "iptables", &["-S", "INPUT"]).stdout).unwrap();
    let lines: Vec<_> = listing.lines().filter(|line| line.starts_with("-A")).collect();
    assert!(lines[0].contains("SIPKNOCK"), "{lines:?}");
    assert!(
        lines.last().unwrap().ends_with("--dport 5060 -j ACCEPT"),
        "it is behind ours, not gone: {lines:?}"
    );
    assert!(in_place(world, &config));
}

pub(super) fn a_fight_ends_after_five(world: &World) {
    let (gate, config) = start(world);
    other(world, "iptables -N ufw-before-input");
    let ends = AtomicBool::new(false);
    let flushed = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            // A keeper of its own: as soon as ours are there it throws them out.
            while !ends.load(Ordering::Relaxed) {
                if in_place(world, &config) {
                    other(world, "iptables -F INPUT");
                    flushed.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        let gave_up = wait_until(|| {
            let said = gate.warnings().into_iter().find(|text| text.contains("are not put back for 10m"))?;
            Some(said)
        });
        ends.store(true, Ordering::Relaxed);
        let said = gave_up.unwrap_or_else(|| panic!("{:#?} {:#?}", gate.events("rules"), gate.warnings()));
        assert!(
            said.contains("iptables") && said.contains("ufw") && said.contains("5 times within 1m"),
            "{said}"
        );
    });
    assert_eq!(restores(world, &config), 5);
    assert_eq!(flushed.load(Ordering::Relaxed), 6);
    let (status, body) = get(world, "/healthz");
    assert!(status == 503 && body.contains("are not put back for 10m"), "{body}");
    other(world, "iptables -A FORWARD -j ACCEPT");
    looked(world, &config);
    assert!(!in_place(world, &config), "there is peace now");
    // The owner ends it.
    world.apply_rules(&config);
    wait_until(|| (get(world, "/healthz").0 == 200).then_some(())).unwrap();
    other(world, "iptables -F INPUT");
    wait_until(|| (restores(world, &config) == 6).then_some(())).expect("they are put back again");
}

/// As scripts of old do it: all out, all anew, each by a program of its own, and an error ends it.
pub(super) fn a_script_runs_through(world: &World) {
    let (gate, config) = start(world);
    let script = world.path("firewall.sh");
    let lines = [
        "set -e",
        "iptables -P INPUT ACCEPT",
        "iptables -F",
        "sleep 0.1",
        "iptables -X",
        "iptables -N mine",
        "sleep 0.1",
        "iptables -A mine -p tcp --dport 22 -j ACCEPT",
        "iptables -A INPUT -j mine",
        "sleep 0.1",
        "iptables -F",
        "iptables -X",
        "iptables -A INPUT -p tcp --dport 22 -j ACCEPT",
    ];
    fs::write(&script, lines.join("\n")).unwrap();
    for _ in 0..3 {
        let output = run(world, "sh", &[&script]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        wait_until(|| in_place(world, &config).then_some(())).expect("ours are back");
        wait_until(|| (states(world, &config) == ["in-place", "in-place"]).then_some(())).unwrap();
    }
    let lost: Vec<_> = told(&gate).into_iter().filter(|(state, ..)| state == "missing").collect();
    assert_eq!(lost.len(), 3, "{lost:?}");
    // It is named, or at least what it runs.
    assert!(lost.iter().all(|(_, _, by)| by.starts_with("iptables")), "{lost:?}");
}

pub(super) fn freepbx_is_left_alone(world: &World) {
    let config = world.config("", "");
    other(world, "iptables -N fpbxfirewall");
    other(world, "iptables -A INPUT -j fpbxfirewall");
    let refused = world.sipknock(&["--config", &config, "firewall", "apply"]).output().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text.contains("Custom Rules") && text.contains("recipes/freepbx.md"), "{text}");
    // Another way in: the module is installed later.
    other(world, "iptables -F");
    other(world, "iptables -X");
    world.apply_rules(&config);
    let gate = Gate::start(world, &["--config", &config, "--http", LISTEN]);
    watched(world, &config);
    for command in ["-F", "-X", "-N fpbxfirewall", "-A INPUT -j fpbxfirewall"] {
        other(world, &format!("iptables {command}"));
    }
    assert!(gate.says("the firewall rules are not put back: FreePBX's firewall is here"));
    let (status, body) = get(world, "/healthz");
    assert!(status == 503 && body.contains("Custom Rules"), "{body}");
    assert_eq!(restores(world, &config), 0);
    // FreePBX does as it was told.
    let commands = says(world, &config, &["firewall", "print"]);
    for line in commands.lines().filter(|line| line.starts_with("iptables")) {
        other(world, &line.replace('"', ""));
    }
    wait_until(|| (get(world, "/healthz").0 == 200).then_some(()))
        .unwrap_or_else(|| panic!("{:?}", get(world, "/healthz")));
}
