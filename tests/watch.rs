//! The watch over the firewall's rules, with a running gate, the real iptables and nft, and others who change tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::commands::{says, socket, stats};
use common::gate::{DEADLINE, Gate, World, alice, register, wait_until};
use common::trials::{self, Outcome};
use rustix::process::{Signal, Uid};
use serde_json::Value;

fn main() -> ExitCode {
    let cases = CASES.map(|(name, case)| trials::in_netns(name, move || case(&World::new("watch"))));
    let legacy = trials::in_netns("legacy_is_looked_at", || legacy_is_looked_at(&World::new("watch")));
    trials::run(cases.into_iter().chain([legacy]))
}

/// A name, and what it does.
type Case = (&'static str, fn(&World));

const CASES: [Case; 15] = [
    ("flushed_rules_come_back", flushed_rules_come_back),
    ("rules_of_others_come_back_not", what_never_was_is_not_put_in),
    ("a_missing_jump_comes_back", a_missing_jump_comes_back),
    ("a_jail_on_top_is_no_event", a_jail_on_top_is_no_event),
    ("an_accept_on_top_is_foreign", an_accept_on_top_is_foreign),
    ("a_fight_ends_after_five", a_fight_ends_after_five),
    ("a_script_runs_through", a_script_runs_through),
    ("remove_is_obeyed", remove_is_obeyed),
    ("what_nobody_confirms_stays_out", what_nobody_confirms_stays_out),
    ("without_keep_it_is_only_said", without_keep_it_is_only_said),
    ("freepbx_is_left_alone", freepbx_is_left_alone),
    ("the_service_tells_the_gate", the_service_tells_the_gate),
    ("a_frozen_gate_keeps_its_rules", a_frozen_gate_keeps_its_rules),
    ("nobody_but_root_reports", nobody_but_root_reports),
    ("flushes_under_load", flushes_under_load),
];

const LISTEN: &str = "127.0.0.1:9471";

/// Ten times what is promised: how long it takes is printed, and a machine that is busy with something else fails no test.
const SLOWEST: Duration = Duration::from_secs(20);

/// A gate that watches over rules that were applied before, with its configuration.
fn start(world: &World) -> (Gate, String) {
    start_with(world, "")
}

fn start_with(world: &World, more: &str) -> (Gate, String) {
    let config = world.config_with_knocks("", "", &format!("{more}\n{}", alice()));
    world.apply_rules(&config);
    let gate = Gate::start(world, &["--config", &config, "--http", LISTEN]);
    watched(world, &config);
    (gate, config)
}

/// Waits until the first report of a watch is in.
fn watched(world: &World, config: &str) {
    let there = wait_until(|| stats(world, config)["rules"]["watched"].as_bool()?.then_some(()));
    there.unwrap_or_else(|| panic!("nobody watches: {}", stats(world, config)["rules"]));
}

fn run(world: &World, program: &str, args: &[&str]) -> Output {
    world.server.command(program).args(args).output().unwrap()
}

/// Somebody else's command, which works.
fn other(world: &World, line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    let output = run(world, words[0], &words[1..]);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn in_place(world: &World, config: &str) -> bool {
    world.sipknock(&["--config", config, "firewall", "status"]).output().unwrap().status.success()
}

/// The state of each family, as the gate has it.
fn states(world: &World, config: &str) -> Vec<String> {
    let stats = stats(world, config);
    let families = stats["rules"]["families"].as_array().cloned().unwrap_or_default();
    families.iter().map(|family| family["state"].as_str().unwrap().to_owned()).collect()
}

fn restores(world: &World, config: &str) -> u64 {
    stats(world, config)["rules"]["restores"].as_u64().unwrap()
}

/// `(state, family, by)` of all events so far.
fn told(gate: &Gate) -> Vec<(String, String, String)> {
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let events = gate.events("rules");
    events.iter().map(|event| (text(event, "state"), text(event, "family"), text(event, "by"))).collect()
}

fn get(world: &World, path: &str) -> (u16, String) {
    let mut stream = world.server.run(|| TcpStream::connect(LISTEN).unwrap());
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {LISTEN}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn metric(world: &World, series: &str) -> Option<f64> {
    let (_, metrics) = get(world, "/metrics");
    let line =
        metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
    line.map(|value| value.parse().unwrap())
}

/// Waits for a number of restored events, and returns for how long rules were missing.
fn restored(gate: &Gate, count: usize) -> Vec<f64> {
    let seconds = || {
        let events = gate.events("rules").into_iter().filter(|event| event["state"] == "restored");
        let seconds: Vec<_> = events.map(|event| event["seconds"].as_f64().unwrap()).collect();
        (seconds.len() >= count).then_some(seconds)
    };
    wait_until(seconds).unwrap_or_else(|| panic!("{:#?}", gate.events("rules")))
}

fn flushed_rules_come_back(world: &World) {
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
    world.client("198.51.100.7").send(&register(common::gate::SECRET));
    assert!(wait_until(|| world.receive()).is_some());
    // Nobody puts back what goes with the gate's own end.
    let (ended, ..) = gate.stop();
    assert!(ended.success() && in_place(world, &config), "rules of before stay");
}

fn what_never_was_is_not_put_in(world: &World) {
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
    thread::sleep(Duration::from_secs(1));
    assert!(!in_place(world, &config) && restores(world, &config) == 0);
    world.apply_rules(&config);
    restored(&gate, 2);
    wait_until(|| (get(world, "/healthz").0 == 200).then_some(())).unwrap();
    // From then on they are kept.
    other(world, "iptables -F");
    restored(&gate, 3);
    assert!(in_place(world, &config));
}

fn a_missing_jump_comes_back(world: &World) {
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

fn a_jail_on_top_is_no_event(world: &World) {
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
    // There was a look since: the watch tells at each end of quiet.
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(told(&gate), []);
    assert_eq!((states(world, &config), restores(world, &config)), (vec!["in-place".to_owned(); 2], 0));
    assert_eq!(get(world, "/healthz").0, 200);
    // A loss behind them is one all the same.
    other(world, "iptables -F SIPKNOCK");
    restored(&gate, 1);
    let listing = String::from_utf8(run(world, "iptables", &["-S", "f2b-asterisk"]).stdout).unwrap();
    assert!(listing.contains("198.51.100.9"), "what is another's stays: {listing}");
}

fn an_accept_on_top_is_foreign(world: &World) {
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

fn a_fight_ends_after_five(world: &World) {
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
    thread::sleep(Duration::from_millis(1500));
    assert!(!in_place(world, &config), "there is peace now");
    // The owner ends it.
    world.apply_rules(&config);
    wait_until(|| (get(world, "/healthz").0 == 200).then_some(())).unwrap();
    other(world, "iptables -F INPUT");
    wait_until(|| (restores(world, &config) == 6).then_some(())).expect("they are put back again");
}

/// As scripts of old do it: all out, all anew, each by a program of its own, and an error ends it.
fn a_script_runs_through(world: &World) {
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

fn remove_is_obeyed(world: &World) {
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
    thread::sleep(Duration::from_millis(1500));
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

fn what_nobody_confirms_stays_out(world: &World) {
    let config = world.config("", "");
    let gate = Gate::start(world, &["--config", &config, "--http", LISTEN]);
    watched(world, &config);
    let apply = ["--config", &config, "firewall", "apply", "--confirm", "2s"];
    let output = world.sipknock(&apply).stdin(std::process::Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    thread::sleep(Duration::from_millis(1500));
    assert!(!in_place(world, &config), "a lock-out is not put back");
    let fault = wait_until(|| {
        let (status, body) = get(world, "/healthz");
        (status == 503 && body.contains("was not confirmed")).then_some(())
    });
    fault.unwrap_or_else(|| panic!("{:?}", get(world, "/healthz")));
    drop(gate);
}

fn without_keep_it_is_only_said(world: &World) {
    let (gate, config) = start_with(world, "[firewall]\nkeep = false");
    for _ in 0..3 {
        let began = Instant::now();
        other(world, "iptables -F");
        wait_until(|| (get(world, "/healthz").0 == 503).then_some(())).unwrap();
        let took = began.elapsed();
        eprintln!("503 after {took:?}");
        assert!(took < SLOWEST, "{took:?}");
        assert!(gate.says("the firewall rules are not in place"));
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

fn freepbx_is_left_alone(world: &World) {
    let config = world.config("", "");
    other(world, "iptables -N fpbxfirewall");
    other(world, "iptables -A INPUT -j fpbxfirewall");
    let refused = world.sipknock(&["--config", &config, "firewall", "apply"]).output().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text.contains("Custom Rules") && text.contains("fail2ban"), "{text}");
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
    for line in commands.lines() {
        let line = match line.contains(" INPUT ") {
            true => line.replace(" -j ", " -m comment --comment fail2ban -j "),
            false => line.to_owned(),
        };
        if line.starts_with("iptables") {
            other(world, &line.replace('"', ""));
        }
    }
    wait_until(|| (get(world, "/healthz").0 == 200).then_some(()))
        .unwrap_or_else(|| panic!("{:?}", get(world, "/healthz")));
}

/// The service with the rights that dist/systemd/sipknock-rules.service gives it: root's, its two capabilities, and the
/// group of the gate's socket.
fn service_of(world: &World, config: &str) -> Gate {
    let mut command = world.server.command("setpriv");
    command.args(["--regid", "65534", "--clear-groups", "--no-new-privs", "--inh-caps", "-all"]);
    command.args(["--bounding-set", "-all,+net_admin,+net_raw", env!("CARGO_BIN_EXE_sipknock")]);
    command.args(["--log-format", "json", "--config", config, "firewall", "watch"]);
    Gate::spawn_command(command)
}

/// The service beside a gate that has no rights, as systemd starts both.
fn the_service_tells_the_gate(world: &World) {
    let config = world.config("", "");
    let permissions = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(world.folder(), permissions(0o777)).unwrap();
    std::os::unix::fs::chown(&config, Some(0), Some(65_534)).unwrap();
    fs::set_permissions(&config, permissions(0o640)).unwrap();
    let service = service_of(world, &config);
    wait_until(|| in_place(world, &config).then_some(())).expect("the service puts them in");
    // No right to a helper: not root's.
    let mut command = world.server.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--groups", "0", "--inh-caps", "+net_admin"]);
    command.args(["--ambient-caps", "+net_admin", env!("CARGO_BIN_EXE_sipknock"), "--log-format", "json"]);
    command.args(["--config", &config, "run"]);
    command.args(["--http", LISTEN]);
    let mut gate = Gate::spawn_command(command);
    gate.wait_for("started", |_| true);
    watched(world, &config);
    assert_eq!(states(world, &config), ["in-place", "in-place"]);
    other(world, "iptables -F");
    restored(&gate, 1);
    assert!(in_place(world, &config));
    assert_eq!(service.wait_for_events("rules", 2).len(), 2, "its own log has it, too");
    assert_eq!(restores(world, &config), 1);
    // It goes by the owner's word, also once it is started again.
    says(world, &config, &["firewall", "remove"]);
    wait_until(|| (get(world, "/healthz").0 == 503).then_some(())).unwrap();
    assert!(!in_place(world, &config));
    let (ended, ..) = service.stop();
    assert!(ended.success(), "{ended}");
    let unwatched =
        wait_until(|| get(world, "/healthz").1.contains("nobody watches over them").then_some(()));
    unwatched.unwrap_or_else(|| panic!("{:?}", get(world, "/healthz")));
    assert_eq!(metric(world, "sipknock_rules_watched"), Some(0.0));
    assert_eq!(metric(world, "sipknock_rules_in_place{family=\"ipv4\"}"), None);
    let service = service_of(world, &config);
    assert!(service.says("they stay out until 'sipknock firewall apply'"));
    assert!(!in_place(world, &config));
    says(world, &config, &["firewall", "apply"]);
    wait_until(|| (get(world, "/healthz").0 == 200).then_some(())).unwrap();
    service.signal(Signal::KILL);
    drop(service);
    other(world, "iptables -F");
    let _service = service_of(world, &config);
    wait_until(|| in_place(world, &config).then_some(())).expect("the next one puts them in");
}

fn a_frozen_gate_keeps_its_rules(world: &World) {
    let (gate, config) = start(world);
    gate.halt();
    for _ in 0..2 {
        other(world, "iptables -F");
        wait_until(|| in_place(world, &config).then_some(())).expect("the watch is another process");
    }
    gate.signal(Signal::CONT);
    restored(&gate, 2);
}

fn nobody_but_root_reports(world: &World) {
    let (gate, config) = start(world);
    let report = "{\"v\":1,\"do\":\"rules\",\"report\":{\"families\":[],\"keep\":true,\"restores\":9}}";
    let path = socket(&config);
    fs::set_permissions(world.folder(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    // Rights are a thread's, and end with it.
    let ask = move || {
        let nobody = Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let mut stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(format!("{report}\n").as_bytes()).unwrap();
        let mut said = [0; 4096];
        let length = stream.read(&mut said).unwrap();
        String::from_utf8_lossy(&said[..length]).into_owned()
    };
    let said = thread::spawn(ask).join().unwrap();
    assert!(said.contains("not-allowed"), "{said}");
    assert_eq!(restores(world, &config), 0);
    drop(gate);
}

/// iptables-legacy notifies nobody, so that a loss is seen by the next look.
fn legacy_is_looked_at(world: &World) -> Outcome {
    for program in ["iptables-legacy", "ip6tables-legacy"] {
        if !run(world, program, &["-w", "-S"]).status.success() {
            return Outcome::Impossible("this kernel has no iptables-legacy");
        }
    }
    // The programs of that name are the legacy ones.
    let folder = world.folder().join("legacy");
    fs::create_dir(&folder).unwrap();
    for name in ["iptables", "ip6tables"] {
        for ending in ["", "-save", "-restore"] {
            let real = format!("/usr/sbin/{name}-legacy{ending}");
            std::os::unix::fs::symlink(real, folder.join(format!("{name}{ending}"))).unwrap();
        }
    }
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let config = world.config("", "");
    let mut command =
        world.sipknock(&["--log-format", "json", "run", "--user", "root", "--config", &config, "--firewall"]);
    command.env("PATH", path);
    let mut gate = Gate::spawn_command(command);
    gate.wait_for("started", |_| true);
    watched(world, &config);
    let rules = || {
        let listing = String::from_utf8(run(world, "iptables-legacy", &["-w", "-S"]).stdout).unwrap();
        listing.contains("-j SIPKNOCK")
    };
    assert!(rules());
    other(world, "iptables-legacy -w -F");
    assert!(!rules());
    let began = Instant::now();
    wait_until(|| rules().then_some(())).expect("the next look finds it");
    eprintln!("legacy rules are back after {:?}", began.elapsed());
    assert!(began.elapsed() < 2 * SLOWEST, "{:?}", began.elapsed());
    restored(&gate, 1);
    Outcome::Held
}

/// Sets a flag when dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Packets of a stranger come all the while. Each flush lets some in, and is over within a second.
/// Ten flushes at some 5,000 packets a second; with SIPKNOCK_LONG=1 fifty at some 20,000.
fn flushes_under_load(world: &World) {
    let long = std::env::var_os("SIPKNOCK_LONG").is_some();
    let (rounds, burst) = if long { (50_u64, 80) } else { (10, 20) };
    let (gate, config) = start(world);
    let ends = AtomicBool::new(false);
    let (sent, passed) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut gaps = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let stranger = world.client("198.51.100.66");
            while !ends.load(Ordering::Relaxed) {
                for _ in 0..burst {
                    stranger.send("stranger");
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                if world.receive().is_some() {
                    passed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        // Also if an assertion fails.
        let _guard = Ends(&ends);
        for round in 0..rounds {
            // At a time that nothing else goes by; and less than five a minute are not a fight.
            thread::sleep(Duration::from_millis(100 + (round * 7919) % 400));
            says(world, &config, &["firewall", "apply"]);
            other(world, "iptables -F");
            let missing = restored(&gate, usize::try_from(round + 1).unwrap());
            gaps.push(*missing.last().unwrap());
        }
    });
    gaps.sort_by(f64::total_cmp);
    let (sent, passed) = (sent.into_inner(), passed.into_inner());
    eprintln!("without rules, s: {gaps:?}; sent {sent}, passed {passed}");
    let stats = stats(world, &config);
    let decided = stats["packets"].as_u64().unwrap();
    assert!(gaps.iter().all(|gap| *gap < SLOWEST.as_secs_f64()), "{gaps:?}");
    assert!(decided > 0 && passed > 0, "decided {decided}, passed {passed}");
    // What neither went past nor was decided waited while tables were changed, or was too much for the receiver.
    assert!(decided + passed <= sent, "{decided} + {passed} of {sent}");
}
