//! One gate after the other, and queues that are taken away from outside: nothing may be lost on the way. In network
//! namespaces with real packets.

mod faults;
mod formats;
mod manager;
mod traffic;
mod weak;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Instant;
use std::{fs, mem, thread};

use crate::common::commands::{assert_same_doors, doors, sipknock, socket, stats};
use crate::common::gate::{
    DEADLINE, Gate, PORT, SECRET, SERVER4, World, alice, register, trusting, wait_until,
};
use crate::common::log::warnings;
use crate::trials::{self, NetnsTrial, trials};
use serde_json::Value;
use traffic::Traffic;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    CASES.iter().map(|&(name, case)| trials::in_netns(name, move || case(&World::new("takeover")))).collect()
}

type Case = fn(&World);

const CASES: &[(&str, Case)] = &trials![
    twenty_takeovers_under_load_lose_nothing,
    a_door_that_has_run_out_is_remembered,
    a_phone_half_way_through_its_header_block,
    where_none_runs_it_starts_as_usual,
    what_can_not_take_over_leaves_the_old_one,
    who_breaks_off_half_way_leaves_the_old_one,
    nothing_is_changed_while_doors_are_on_their_way,
    other_queues_are_bound_and_shut,
    rules_pass_to_the_next_one,
    only_root_may_take_over,
    weak::a_weak_knock_stays_in_force_over_takeover_and_reload,
    manager::restarts_by_a_service_manager_lose_nothing,
    manager::a_service_manager_keeps_one_group_only,
    manager::a_killed_gate_loses_nothing,
    manager::packets_in_hand_come_again_once,
    manager::a_service_manager_hears_how_it_goes,
    manager::a_failing_start_gives_the_queues_up,
    formats::a_gate_of_format_1_hands_its_doors_over,
    faults::a_queue_unbound_from_outside_is_bound_again,
    faults::a_stolen_queue_is_bound_again_when_the_thief_is_gone,
    faults::packets_that_wait_and_are_not_decided,
    faults::a_queue_that_is_stuck_again_ends_the_gate,
];

fn config(world: &World, queue: &str) -> String {
    world.config(&trusting(""), queue)
}

/// The same with another `[queue]` and the control socket of the first.
fn config_like(world: &World, first: &str, inspect: &str, queue: &str) -> String {
    let path = world.config(&trusting(inspect), queue);
    let text = fs::read_to_string(&path).unwrap();
    crate::common::write_secret(&path, &text.replace(&socket(&path), &socket(first)));
    path
}

/// A gate with its rules, which do not go with it.
fn start(world: &World, queue: &str) -> (Gate, String) {
    let config = world.guarded("", queue, &alice());
    (Gate::start(world, &["--config", &config]), config)
}

fn take_over(world: &World, config: &str) -> Gate {
    Gate::start(world, &["--config", config, "--takeover"])
}

fn twenty_takeovers_under_load_lose_nothing(world: &World) {
    let (config, state) = (config(world, ""), world.path("doors"));
    let args = ["--config", &config, "--state", &state, "--firewall"];
    let mut gate = Gate::start(world, &args);
    gate.wait_for("started", |_| true);
    for n in 1..=9 {
        world.client(&format!("198.51.100.{n}")).send(&register(SECRET));
    }
    wait_until(|| (doors(world, &config).len() == 9).then_some(())).expect("they are open");
    let mut rules = world.server.command("iptables-save").output().unwrap().stdout;
    let traffic = Traffic::start(world, "198.51.100.7", "198.51.100.66");
    let (before, began) = (doors(world, &config), Instant::now());
    let mut passed = 0;
    for round in 0..20 {
        passed = traffic.wait_for_more_than(passed + 2000);
        let mut next = Gate::spawn(world, &[&args[..], &["--takeover"]].concat());
        let started = next.wait_for("started", |_| true);
        assert_eq!(started["queues"], "0");
        let old = gate.pid();
        let (status, stopped, log) = gate.end();
        assert!(status.success(), "{round}: {log:#?}");
        assert_eq!(
            (&stopped["event"], &stopped["handed_to"], &stopped["stale"], &stopped["unreadable"]),
            (&"stopped".into(), &next.pid().into(), &0.into(), &0.into()),
            "{round}"
        );
        let from = format!("queues and doors are taken over from process {old}");
        next.wait_for_note(&from);
        assert_eq!(stats(world, &config)["pid"], next.pid(), "the socket leads to the new one");
        gate = next;
    }
    passed = traffic.wait_for_more_than(passed + 2000);
    let span = began.elapsed();
    let sent = traffic.finish();
    assert!(sent >= passed);
    eprintln!("20 takeovers in {span:?}, while {sent} packets passed");
    let row = world.queue_row(0).unwrap();
    assert_eq!(row[..3], [0, 0, 0], "waiting, dropped by queue, dropped by socket");
    let after = doors(world, &config);
    assert_same_doors(&before, &after, false);
    // A knock before the traffic, and all of that.
    assert_eq!(after["198.51.100.7"]["packets"], 1 + sent);
    rules.retain(|byte| !byte.is_ascii_digit());
    let mut last = world.server.command("iptables-save").output().unwrap().stdout;
    last.retain(|byte| !byte.is_ascii_digit());
    assert_eq!(
        String::from_utf8(last),
        String::from_utf8(rules),
        "the rules are as they were, but for their counts"
    );
    let (status, _, log) = gate.stop();
    assert!(status.success());
    let warned: Vec<_> = warnings(&log).into_iter().filter(|text| !text.starts_with("weak knock")).collect();
    assert_eq!(warned, [""; 0]);
    let left = world.server.command("iptables-save").output().unwrap().stdout;
    assert!(!String::from_utf8(left).unwrap().contains("sipknock"), "and the last one takes them out");
    assert!(fs::exists(&state).unwrap() && !fs::exists(socket(&config)).unwrap());
}

fn a_door_that_has_run_out_is_remembered(world: &World) {
    let (old, config) = start(world, "");
    let phone = world.client("198.51.100.7");
    assert_eq!(sipknock(world, &config, &["doors", "open", "198.51.100.7", "--for", "15s"]).0, 0);
    phone.send("open");
    assert_eq!(world.delivered(), ["open"]);
    wait_until(|| doors(world, &config).is_empty().then_some(())).expect("it runs out");
    let new = take_over(world, &config);
    assert!(old.end().0.success());
    phone.send("late");
    assert_eq!(world.delivered(), [""; 0]);
    assert_eq!(stats(world, &config)["reasons"]["expired"], 1);
    assert!(new.stop().0.success());
}

fn a_phone_half_way_through_its_header_block(world: &World) {
    let (mut old, config) = start(world, "");
    let listener = world.server.run(|| TcpListener::bind(("::", PORT)).unwrap());
    let connect = || {
        let mut phone = world.clients.run(|| TcpStream::connect((SERVER4, PORT)).unwrap());
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(DEADLINE)).unwrap();
        phone.write_all(b"REGISTER sip:pbx SIP/2.0\r\nFrom: ").unwrap();
        let mut server = BufReader::new(server);
        let mut line = String::new();
        server.read_line(&mut line).unwrap();
        assert_eq!(line, "REGISTER sip:pbx SIP/2.0\r\n");
        (phone, server)
    };
    let (mut phone, mut server) = connect();
    let next = take_over(world, &config);
    assert!(mem::replace(&mut old, next).end().0.success());
    // The knock is in what the new one sees.
    write!(phone, "\"{SECRET}\" <sip:100@pbx>\r\nCall-ID: 1\r\n\r\n").unwrap();
    let mut line = String::new();
    while line != "Call-ID: 1\r\n" {
        line.clear();
        assert!(server.read_line(&mut line).unwrap() > 0);
    }
    // Without a knock the rest does not arrive; a connection of its own is all that a phone needs then.
    assert_eq!(sipknock(world, &config, &["doors", "flush"]).0, 0);
    let (mut stranger, mut server) = connect();
    let next = take_over(world, &config);
    assert!(mem::replace(&mut old, next).end().0.success());
    stranger.write_all(b"\"100\" <sip:100@pbx>\r\nCall-ID: 2\r\n\r\n").unwrap();
    wait_until(|| (stats(world, &config)["reasons"]["no-knock"].as_u64() > Some(0)).then_some(())).unwrap();
    server.get_ref().set_nonblocking(true).unwrap();
    let mut rest = Vec::new();
    assert!(server.read_to_end(&mut rest).is_err());
    assert_eq!(String::from_utf8(rest).unwrap(), "From: ");
    let (mut phone, mut server) = connect();
    write!(phone, "\"{SECRET}\" <sip:100@pbx>\r\n\r\n").unwrap();
    let mut line = String::new();
    server.read_line(&mut line).unwrap();
    assert!(line.contains(SECRET), "{line}");
    assert!(old.stop().0.success());
}

fn where_none_runs_it_starts_as_usual(world: &World) {
    world.apply_rules(&world.config("", ""));
    let config = config(world, "");
    let gate = take_over(world, &config);
    world.client("198.51.100.7").send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    // Neither does what a dead one has left keep it from that.
    gate.signal(rustix::process::Signal::KILL);
    drop(gate);
    assert!(fs::exists(socket(&config)).unwrap());
    let gate = take_over(world, &config);
    world.client("198.51.100.7").send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    assert!(gate.stop().0.success());
}

fn what_can_not_take_over_leaves_the_old_one(world: &World) {
    let (gate, first) = start(world, "");
    let phone = world.client("198.51.100.7");
    phone.send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    let broken = world.path("broken.toml");
    fs::write(&broken, "[inspect]\nports = [0]\n").unwrap();
    let off = world.path("off.toml");
    crate::common::write_secret(&off, &format!("[control]\nsocket = \"off\"\n{}", alice()));
    for (config, flags, status, part) in [
        (broken, &[][..], 2, "is not a port"),
        (off, &[], 1, "control"),
        (config_like(world, &first, "ipv4_prefix = 24", ""), &[], 1, "ipv4_prefix"),
        (first.clone(), &["--backend", "nfq"], 1, "nfq"),
        (first.clone(), &["--control", "/proc/version"], 1, "is taken by port id"),
    ] {
        let (code, _, err) = sipknock(world, &config, &[&["run", "--takeover"], flags].concat());
        assert!(code == status && err.contains(part), "{part}: {code} {err}");
    }
    // From another network namespace the socket can be reached, and the queues are of no use.
    let mut elsewhere = world.clients.command(env!("CARGO_BIN_EXE_sipknock"));
    let output = elsewhere.args(["--config", &first, "run", "--takeover"]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && err.contains("network namespace"), "{err}");
    phone.send("still open");
    world.client("198.51.100.8").send("still shut");
    assert_eq!(world.delivered(), ["still open"]);
    gate.wait_for_warning("this gate continues");
    let (status, stopped, _) = gate.stop();
    assert!(status.success());
    assert_eq!((&stopped["waiting"], &stopped["stale"]), (&0.into(), &0.into()));

    let (gate, nfq) = (Gate::start(world, &["--config", &first, "--backend", "nfq"]), &first);
    let (code, _, err) = sipknock(world, nfq, &["run", "--takeover"]);
    assert!(code == 1 && err.contains("backend nfq"), "{err}");
    phone.send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    assert!(gate.stop().0.success());
}

/// Speaks to a gate as a newcomer does, up to some word; what the gate said last.
fn newcomer(config: &str, words: &[&str]) -> (BufReader<UnixStream>, Value) {
    let mut lines = BufReader::new(UnixStream::connect(socket(config)).unwrap());
    let mut answer = Value::Null;
    for word in words {
        writeln!(lines.get_mut(), "{word}").unwrap();
        answer = next_line(&mut lines);
    }
    (lines, answer)
}

fn next_line(lines: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

const ASK: &str = r#"{"v":1,"do":"takeover","format":2}"#;
const GO: &str = r#"{"go":{}}"#;

fn who_breaks_off_half_way_leaves_the_old_one(world: &World) {
    let (gate, config) = start(world, "");
    let traffic = Traffic::start(world, "198.51.100.7", "198.51.100.66");
    let mut passed = traffic.wait_for_more_than(100);
    for format in [1, 3] {
        let (_, answer) = newcomer(&config, &[&format!(r#"{{"v":1,"do":"takeover","format":{format}}}"#)]);
        assert_eq!(answer["error"]["kind"], "version");
    }
    let offer = newcomer(&config, &[ASK]).1;
    assert_eq!((&offer["offer"]["queues"], &offer["offer"]["rules"]), (&vec![0].into(), &false.into()));
    passed = traffic.wait_for_more_than(passed + 100);
    for last in
        ["", r#"{"error":{"kind":"failed","text":"I have changed my mind"}}"#, r#"{"go":{}}"#, "nonsense"]
    {
        let (mut lines, handed) = newcomer(&config, &[ASK, GO]);
        assert_eq!(handed["handed"]["queues"], Value::from(vec![0]));
        if !last.is_empty() {
            writeln!(lines.get_mut(), "{last}").unwrap();
            assert!(next_line(&mut lines)["error"]["text"].as_str().unwrap().contains("not handed over"));
        }
        drop(lines);
        passed = traffic.wait_for_more_than(passed + 100);
    }
    // One that hangs is given up.
    let (mut lines, _) = newcomer(&config, &[ASK, GO]);
    assert!(next_line(&mut lines)["error"].is_object());
    // And one that has said that it is ready, and then does not wait to hear that all is its own, is not believed.
    traffic.wait_for_more_than(passed + 100);
    traffic.finish();
    assert_eq!(world.queue_row(0).unwrap()[..3], [0, 0, 0]);
    let (status, stopped, _) = gate.stop();
    assert!(status.success());
    assert_eq!((&stopped["waiting"], &stopped["stale"]), (&0.into(), &0.into()));
}

fn nothing_is_changed_while_doors_are_on_their_way(world: &World) {
    let (gate, config) = start(world, "");
    for request in [
        r#"{"v":1,"do":"open","address":"198.51.100.7"}"#,
        r#"{"v":1,"do":"flush"}"#,
        r#"{"v":1,"do":"reload"}"#,
    ] {
        // One that hangs is given up after five seconds, which a process of its own might take to start.
        let (lines, _) = newcomer(&config, &[ASK, GO]);
        let (_, answer) = newcomer(&config, &[request]);
        let text = answer["error"]["text"].as_str();
        assert!(text.is_some_and(|text| text.contains("try again in a moment")), "{request}: {answer}");
        drop(lines);
    }
    let opened = || (sipknock(world, &config, &["doors", "open", "198.51.100.7"]).0 == 0).then_some(());
    wait_until(opened).expect("it goes on");
    assert!(gate.stop().0.success());
}

fn other_queues_are_bound_and_shut(world: &World) {
    let (old, first) = start(world, "numbers = \"0-1\"\nmax_len = 64");
    let phones: Vec<_> = (1..=40).map(|n| world.client(&format!("198.51.100.{n}"))).collect();
    phones.iter().for_each(|phone| phone.send(&register(SECRET)));
    let arrived: Vec<_> = phones.iter().map(|_| world.arrives()).collect();
    assert_eq!(arrived, vec![register(SECRET); phones.len()]);
    let before = doors(world, &first);
    let second = config_like(world, &first, "", "numbers = \"1-2\"\nmax_len = 16384");
    let new = take_over(world, &second);
    assert!(old.end().0.success());
    wait_until(|| world.queue_row(0).is_none().then_some(())).expect("nobody has queue 0 any more");
    assert!(world.queue_row(1).is_some() && world.queue_row(2).is_some());
    new.wait_for_warning("queues [0]");
    assert_same_doors(&before, &doors(world, &second), true);
    // Its queue has the new length: more packets wait than the old one had room for.
    world.apply_rules(&world.config("", "numbers = \"1\""));
    new.halt();
    (0..100).for_each(|_| phones[0].send("hello"));
    world.wait_for_row(1, |row| row[..2] == [100, 0]);
    new.signal(rustix::process::Signal::CONT);
    assert_eq!(world.delivered(), ["hello"; 100]);
    assert!(new.stop().0.success());
}

fn rules_pass_to_the_next_one(world: &World) {
    let config = config(world, "");
    let rules = || {
        let rules = world.server.command("iptables-save").output().unwrap().stdout;
        String::from_utf8(rules).unwrap()
    };
    let first = Gate::start(world, &["--config", &config, "--firewall"]);
    assert!(rules().contains("NFQUEUE"));
    let second = take_over(world, &config);
    assert!(first.end().0.success() && rules().contains("NFQUEUE"));
    // Other ports: the rules follow.
    let third = Gate::start(world, &["--config", &config, "--takeover", "--firewall", "--port", "5060,5070"]);
    assert!(second.end().0.success());
    wait_until(|| rules().contains("5070").then_some(())).expect("the rules are brought up to date");
    assert!(third.stop().0.success());
    assert!(!rules().contains("NFQUEUE"), "{}", rules());
}

fn only_root_may_take_over(world: &World) {
    let (gate, config) = start(world, "");
    fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(socket(&config), fs::Permissions::from_mode(0o666)).unwrap();
    let answer = thread::scope(|scope| {
        let somebody = scope.spawn(|| {
            // A thread's own, as its credentials are (credentials(7)).
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
            newcomer(&config, &[ASK]).1
        });
        somebody.join().unwrap()
    });
    assert_eq!(answer["error"]["kind"], "not-allowed", "{answer}");
    assert!(gate.stop().0.success());
}
