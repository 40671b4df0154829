//! The watch over the firewall's rules, with a running gate, the real iptables and nft, and others who change tables.

mod load;
mod others;
mod owner;
mod processes;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::commands::stats;
use crate::common::gate::{DEADLINE, Gate, World, alice, wait_until};
use crate::trials::{self, NetnsTrial, Outcome, trials};
use serde_json::Value;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    let cases = CASES.iter().map(|&(name, case)| trials::in_netns(name, move || case(&World::new("watch"))));
    let perhaps =
        PERHAPS.iter().map(|&(name, case)| trials::in_netns(name, move || case(&World::new("watch"))));
    cases.chain(perhaps).collect()
}

type Case = fn(&World);

/// One that may find that it can't be tried here.
type PerhapsCase = fn(&World) -> Outcome;

const CASES: &[(&str, Case)] = &trials![
    others::flushed_rules_come_back,
    others::rules_of_others_come_back_not,
    others::a_missing_jump_comes_back,
    others::a_jail_on_top_is_no_event,
    others::an_accept_on_top_is_foreign,
    others::a_fight_ends_after_five,
    others::a_script_runs_through,
    owner::remove_is_obeyed,
    owner::an_apply_that_fails_changes_no_word,
    owner::what_nobody_confirms_stays_out,
    owner::without_keep_it_is_only_said,
    others::freepbx_is_left_alone,
    processes::the_service_tells_the_gate,
    processes::a_frozen_gate_keeps_its_rules,
    processes::nobody_but_root_reports,
    load::flushes_under_load,
];

const PERHAPS: &[(&str, PerhapsCase)] = &trials![processes::legacy_is_looked_at];

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

/// Waits until the watch has looked at the rules as they are at this call, and the gate has its report. Somebody makes two
/// changes that are no matter to the gate: a look that had begun before this call comes of the first at the latest.
fn looked(world: &World, config: &str) {
    static CHANGES: AtomicU64 = AtomicU64::new(0);
    let looks = || stats(world, config)["rules"]["looks"].as_u64().unwrap();
    for _ in 0..2 {
        let before = looks();
        other(world, &format!("iptables -N look-{}", CHANGES.fetch_add(1, Ordering::Relaxed)));
        wait_until(|| (looks() > before).then_some(())).expect("a change leads to a look");
    }
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
