//! The gate on real NFQUEUEs with real iptables, in network namespaces, once with each backend.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::common::gate::{
    Client, Gate, SECRET, SENTINEL, SENTINEL6, World, alice, register, trusting, wait_until,
};
use crate::trials::{self, NetnsTrial, trials};
use rustix::process::Signal;
use serde_json::Value;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    let of = |backend: &'static str| {
        CASES.iter().map(move |&(name, case)| {
            trials::in_netns(format!("{backend}::{name}"), move || case(&World::new(backend), backend))
        })
    };
    ["batched", "nfq"].into_iter().flat_map(of).collect()
}

type Case = fn(&World, &str);

const CASES: &[(&str, Case)] = &trials![
    knock_opens_and_its_own_packet_arrives,
    door_expires,
    renewal_while_open_moves_the_expiry,
    trusted_passes_and_a_stranger_drops,
    ipv6_by_prefix,
    knock_across_a_fragment_boundary,
    several_queues_share_the_doors,
    second_binder_is_told_who_has_the_queue,
    sigterm_under_load_leaves_no_packet_undecided,
    sigterm_under_load_ends_busy_polling,
    on_exit_closed,
    on_exit_open,
    rules_that_are_missing_and_rules_that_stay,
    on_overload_closed,
    on_overload_open,
    monitor_lets_pass_and_tells,
    malformed_packets_get_verdicts_too,
    firewall_flag_leaves_no_trace,
    a_closed_log_does_not_end_the_gate,
    a_stalled_log_holds_up_nothing,
    sigterm_while_the_socket_overflows,
    firewall_flag_leaves_rules_of_others,
    a_fault_opens_nothing,
    it_learns_what_phones_send,
    knocks_from_many_addresses_do_not_flood_the_log,
];

/// Starts a gate with its rules.
fn start(world: &World, backend: &str, inspect: &str, queue: &str) -> Gate {
    let config = world.guarded(inspect, queue, &alice());
    Gate::start(world, &["--config", &config, "--backend", backend])
}

fn knock_opens_and_its_own_packet_arrives(world: &World, backend: &str) {
    let mut gate = start(world, backend, "", "");
    let (phone, stranger) = (world.client("198.51.100.7"), world.client("198.51.100.8"));
    phone.send("before");
    stranger.send("stranger");
    phone.send(&register(SECRET));
    phone.send("after");
    stranger.send("stranger again");
    assert_eq!(world.delivered(), [register(SECRET), "after".to_owned()]);

    let opened = gate.wait_for("opened", |_| true);
    for (field, expected) in [
        ("knock", "alice"),
        ("src", "198.51.100.7"),
        ("transport", "udp"),
        ("method", "REGISTER"),
        ("from", "\"[secret]\" <sip:100@pbx>;tag=1"),
        ("call_id", "1@phone"),
        ("target", "sipknock::knock"),
        ("level", "INFO"),
    ] {
        assert_eq!(opened[field], expected, "{field}");
    }
    assert_eq!((&opened["sport"], &opened["dport"]), (&phone.port().into(), &5060.into()));
    assert_eq!((&opened["door_s"], &opened["queue"]), (&4000.into(), &0.into()));

    let (status, stopped, log) = gate.stop();
    assert!(status.success());
    assert_eq!(stopped["reasons"], "trusted:1 knock:1 door:1 no-knock:3");
    // One line per source and summary, of which a slow machine may have several.
    let mut dropped = BTreeMap::new();
    for line in log.iter().filter(|line| line["event"] == "dropped") {
        *dropped.entry(line["src"].as_str().unwrap()).or_default() += line["count"].as_u64().unwrap();
    }
    assert_eq!(dropped, BTreeMap::from([("198.51.100.7", 1), ("198.51.100.8", 2)]));
}

fn door_expires(world: &World, backend: &str) {
    let mut gate = start(world, backend, "door = \"3s\"", "");
    let phone = world.client("198.51.100.7");
    phone.send(&register(SECRET));
    phone.send("open");
    assert_eq!(world.delivered().len(), 2);
    let closed = gate.wait_for("closed", |_| true);
    assert_eq!(
        (&closed["why"], &closed["knock"], &closed["src"]),
        (&"expired".into(), &"alice".into(), &"198.51.100.7".into())
    );
    phone.send("expired");
    assert_eq!(world.delivered(), [""; 0]);
    phone.send(&register(SECRET));
    phone.send("open again");
    assert_eq!(world.delivered().len(), 2);
    let (_, stopped, _) = gate.stop();
    let reasons = stopped["reasons"].as_str().unwrap();
    assert!(
        reasons.contains("knock:2")
            && reasons.contains("door:2")
            && (reasons.contains("expired:1") || reasons.contains("no-knock:1")),
        "{reasons}"
    );
}

fn renewal_while_open_moves_the_expiry(world: &World, backend: &str) {
    let mut gate = start(world, backend, "door = \"5s\"", "");
    let phone = world.client("198.51.100.7");
    phone.send(&register(SECRET));
    let first = gate.wait_for("opened", |_| true);
    // Renewed twice a second, the door outlives its first expiry.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        phone.send("in between");
        phone.send(&register(SECRET));
        assert_eq!(world.delivered().last(), Some(&register(SECRET)), "after {:?}", start.elapsed());
        thread::sleep(Duration::from_millis(500));
    }
    // RFC 3339 in one form sorts as time does.
    let later = |event: &Value| event["expires_at"].as_str() > first["expires_at"].as_str();
    assert_eq!(gate.wait_for("renewed", later)["knock"], "alice");
    let (_, _, log) = gate.stop();
    let count = |kind: &str| log.iter().filter(|line| line["event"] == kind).count();
    assert_eq!((count("opened"), count("closed")), (1, 0), "{log:#?}");
}

fn trusted_passes_and_a_stranger_drops(world: &World, backend: &str) {
    world.apply_rules(&world.config("", ""));
    let config = world.config(&format!("trusted = [\"198.51.100.0/28\", \"{SENTINEL}\"]"), "");
    let gate = Gate::start(world, &["--config", &config, "--backend", backend]);
    for (address, text) in
        [("198.51.100.3", "office"), ("198.51.100.16", "stranger"), ("198.51.100.15", "office too")]
    {
        world.client(address).send(text);
    }
    assert_eq!(world.delivered(), ["office", "office too"]);
    let (_, stopped, _) = gate.stop();
    assert_eq!(stopped["reasons"], "trusted:3 no-knock:1");
}

fn ipv6_by_prefix(world: &World, backend: &str) {
    world.apply_rules(&world.config("", ""));
    let config = world.config(&format!("trusted = [\"{SENTINEL6}\"]"), "");
    let _gate = Gate::start(world, &["--config", &config, "--backend", backend]);
    let (phone, neighbour) = (world.client("2001:db8:0:2::7"), world.client("2001:db8:0:2:aaaa::1"));
    neighbour.send("before");
    phone.send(&register(SECRET));
    neighbour.send("same prefix");
    world.client("198.51.100.7").send("other family");
    assert_eq!(world.delivered_before(SENTINEL6), [register(SECRET), "same prefix".to_owned()]);
}

fn knock_across_a_fragment_boundary(world: &World, backend: &str) {
    let mut gate = start(world, backend, "", "");
    // On a link of 1500 bytes a fragment has 1480 bytes of the datagram, 8 of them the UDP header in the first.
    let before = 1480 * 3 - 8 - SECRET.len() / 2;
    let message = |secret: &str| {
        format!("{}{secret}{}", "x".repeat(before), "y".repeat(20_000 - before - secret.len()))
    };
    let phone = world.client("198.51.100.7");
    phone.send(&message("not-the-secret"));
    phone.send(&message(SECRET));
    let delivered = world.delivered();
    assert_eq!(delivered.len(), 1);
    assert!(delivered[0] == message(SECRET), "the datagram arrives whole");
    gate.wait_for("opened", |_| true);
}

fn several_queues_share_the_doors(world: &World, backend: &str) {
    let gate = start(world, backend, "", "numbers = \"10-13\"");
    let addresses: Vec<_> = (1..=60).map(|n| format!("198.51.100.{n}")).collect();
    for address in &addresses {
        let phone = world.client(address);
        phone.send(&register(SECRET));
        phone.send(&format!("open {address}"));
        world.client(&address.replace("198.51.100.", "198.51.100.1")).send("no such knock");
    }
    let mut seen = HashSet::new();
    wait_until(|| {
        seen.extend(world.receive().filter(|text| text.starts_with("open")));
        (seen.len() == addresses.len()).then_some(())
    })
    .unwrap_or_else(|| panic!("only {} of {} phones came through", seen.len(), addresses.len()));
    let used = (10..=13).filter(|number| world.queue_row(*number).is_some_and(|row| row[3] > 0)).count();
    assert!(used >= 3, "packets came through {used} of 4 queues");
    let (status, stopped, _) = gate.stop();
    assert!(status.success());
    assert_eq!((&stopped["queues"], &stopped["waiting"]), (&"10-13".into(), &0.into()));
}

fn second_binder_is_told_who_has_the_queue(world: &World, backend: &str) {
    let gate = start(world, backend, "", "");
    let config = world.config("", "");
    for other in ["batched", "nfq"] {
        let output = world.sipknock(&["--config", &config, "run", "--backend", other]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("queue 0 is taken by port id")
                && said.contains(", sipknock)")
                && said.contains("--queue"),
            "{said}"
        );
    }
    world.client("198.51.100.7").send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1, "the first one is not disturbed");
    assert!(gate.stop().0.success());
}

fn sigterm_under_load_leaves_no_packet_undecided(world: &World, backend: &str) {
    sigterm_under_load(world, backend, "");
}

fn sigterm_under_load_ends_busy_polling(world: &World, backend: &str) {
    sigterm_under_load(world, backend, "busy_poll = \"1s\"");
}

fn sigterm_under_load(world: &World, backend: &str, queue: &str) {
    world.apply_rules(&world.config("", queue));
    let config = world.config("trusted = [\"198.51.100.0/28\"]", queue);
    let gate = Gate::start(world, &["--config", &config, "--backend", backend]);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let (office, stranger) = (world.client("198.51.100.3"), world.client("198.51.100.99"));
            while !stop.load(Ordering::Relaxed) {
                office.send("office");
                stranger.send("stranger");
                sent.fetch_add(2, Ordering::Relaxed);
            }
        });
        let receiver = scope.spawn(|| {
            let mut arrived = 0;
            loop {
                match world.receive() {
                    Some(_) => arrived += 1,
                    None if stop.load(Ordering::Relaxed) => return arrived,
                    None => {}
                }
            }
        });
        let more_than = |count| wait_until(|| (sent.load(Ordering::Relaxed) > count).then_some(())).unwrap();
        more_than(20_000);
        let (status, stopped, log) = gate.stop();
        more_than(sent.load(Ordering::Relaxed) + 100);
        stop.store(true, Ordering::Relaxed);
        assert!(status.success(), "{log:#?}");
        assert_eq!((&stopped["waiting"], &stopped["stale"]), (&0.into(), &0.into()), "{log:#?}");
        let reasons = stopped["reasons"].as_str().unwrap();
        let accepted: u64 =
            reasons.split(' ').find_map(|word| word.strip_prefix("trusted:")).unwrap().parse().unwrap();
        assert_eq!(receiver.join().unwrap(), accepted, "what was accepted arrives; {log:#?}");
    });
}

/// Every knock is counted, in its reason and as opened or as left out.
fn knocks_from_many_addresses_do_not_flood_the_log(world: &World, backend: &str) {
    let gate = start(world, backend, "", "");
    let knock = register(SECRET);
    for number in 0..KNOCKS {
        world.send_udp_from(world.fresh_address(), knock.as_bytes());
        // So that none is lost at a full queue.
        if number % 4000 == 3999 {
            world.wait_for_row(0, |row| row[0] == 0);
        }
    }
    world.wait_for_row(0, |row| row[0] == 0 && row[3] == KNOCKS);
    let (_, stopped, log) = gate.stop();
    assert_eq!(stopped["reasons"], format!("knock:{KNOCKS}"));
    let opened = log.iter().filter(|line| line["event"] == "opened").count() as u64;
    let left_out = log.iter().filter(|line| line["event"] == "overload" && line["place"] == "log");
    let left_out: u64 = left_out.map(|line| line["count"].as_u64().unwrap()).sum();
    assert_eq!(opened + left_out, KNOCKS, "opened {opened}");
    assert!(opened >= 8192 && left_out > 0, "opened {opened}, left out {left_out}");
}

/// So many that their lines take a minute to earn.
const KNOCKS: u64 = 60_000;

fn on_exit_closed(world: &World, backend: &str) {
    on_exit(world, backend, "closed");
}

fn on_exit_open(world: &World, backend: &str) {
    on_exit(world, backend, "open");
}

/// The rules stay, the daemon comes and goes.
fn on_exit(world: &World, backend: &str, fallback: &str) {
    // Here the sentinel passes by a rule, with or without a listener.
    let config = world.config(&trusting(""), &format!("on_exit = \"{fallback}\""));
    world.apply_rules(&config);
    let stranger = world.client("198.51.100.9");
    let expected: &[&str] = if fallback == "open" { &["stranger"] } else { &[] };
    stranger.send("stranger");
    assert_eq!(world.delivered(), expected, "before the daemon");
    let gate = Gate::start(world, &["--config", &config, "--backend", backend]);
    stranger.send("stranger");
    assert_eq!(delivered_by_row(world, 1), [""; 0], "with the daemon");
    assert!(gate.stop().0.success());
    stranger.send("stranger");
    assert_eq!(world.delivered(), expected, "after the daemon");
}

/// As [`World::delivered`], once the queue has seen this many packets and none waits.
fn delivered_by_row(world: &World, packets: u64) -> Vec<String> {
    world.wait_for_row(0, |row| row[0] == 0 && row[3] >= packets);
    world.delivered()
}

fn rules_that_are_missing_and_rules_that_stay(world: &World, backend: &str) {
    let closed = world.config("", "");
    let open = world.config("", "on_exit = \"open\"");
    // What a gate says of its rules at its start and at its end.
    let says = |config: &str, more: &[&str]| {
        let gate = Gate::start(world, &[&["--config", config, "--backend", backend], more].concat());
        let (status, last, log) = gate.stop();
        assert!(status.success() && last["event"] == "stopped", "{last}");
        let said = |text: &str| {
            log.iter().any(|line| line["message"].as_str().is_some_and(|said| said.contains(text)))
        };
        let apply = format!("'sipknock --config {config} firewall apply' puts the rules in");
        (said(&apply), said("the port is shut: 'sipknock firewall remove' opens it"))
    };
    assert_eq!(says(&closed, &[]), (true, false));
    assert_eq!(says(&closed, &["--firewall"]), (false, false), "they come and go with it");
    world.apply_rules(&closed);
    assert_eq!(says(&closed, &[]), (false, true));
    world.apply_rules(&open);
    assert_eq!(says(&open, &[]), (false, false), "it is open");
}

fn on_overload_closed(world: &World, backend: &str) {
    let mut gate = start(world, backend, "", "max_len = 4");
    let stranger = overload(world, &gate);
    // Waiting, dropped by the queue, dropped by the socket.
    world.wait_for_row(0, |row| row[..3] == [4, 16, 0]);
    gate.signal(Signal::CONT);
    assert_eq!(delivered_by_row(world, 4), [""; 0]);
    let overload = gate.wait_for("overload", |_| true);
    assert_eq!(
        (&overload["place"], &overload["count"], &overload["queue"]),
        (&"kernel".into(), &16.into(), &0.into())
    );
    stranger.send(&register(SECRET));
    assert_eq!(world.delivered(), [register(SECRET)], "it goes on");
}

fn on_overload_open(world: &World, backend: &str) {
    let gate = start(world, backend, "", "max_len = 4\non_overload = \"open\"");
    overload(world, &gate);
    // What finds the queue full passes.
    (0..16).for_each(|_| assert!(world.arrives().starts_with("stranger")));
    assert_eq!(world.queue_row(0).unwrap()[..2], [4, 0]);
    gate.signal(Signal::CONT);
    assert_eq!(delivered_by_row(world, 4), [""; 0], "what waited is decided");
}

/// Stops the gate in its tracks, and sends it 20 packets.
fn overload(world: &World, gate: &Gate) -> Client {
    gate.halt();
    let stranger = world.client("198.51.100.9");
    for n in 0..20 {
        stranger.send(&format!("stranger {n}"));
    }
    world.wait_for_row(0, |row| row[0] == 4);
    stranger
}

fn monitor_lets_pass_and_tells(world: &World, backend: &str) {
    let gate = start(world, backend, "mode = \"monitor\"", "");
    world.client("198.51.100.9").send("stranger");
    world.client("198.51.100.7").send(&register(SECRET));
    assert_eq!(world.delivered().len(), 2);
    let (_, stopped, log) = gate.stop();
    assert_eq!(stopped["reasons"], "trusted:1 knock:1 no-knock:1");
    let dropped = log.iter().find(|line| line["event"] == "dropped").unwrap();
    assert_eq!((&dropped["would"], &dropped["src"]), (&true.into(), &"198.51.100.9".into()));
}

fn malformed_packets_get_verdicts_too(world: &World, backend: &str) {
    let gate = start(world, backend, "", "");
    for length in [0, 7, 60_000] {
        world.send_udp_with_length("198.51.100.9", length, SECRET.as_bytes());
    }
    assert_eq!(world.delivered(), [""; 0]);
    assert_eq!(world.queue_row(0).unwrap()[0], 0, "none waits");
    let (_, stopped, _) = gate.stop();
    assert_eq!(stopped["reasons"], "trusted:1 malformed:3");
}

fn firewall_flag_leaves_no_trace(world: &World, backend: &str) {
    let save = || {
        let output = world.server.command("iptables-save").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.starts_with('-')).map(str::to_owned).collect::<Vec<_>>()
    };
    let foreign = ["-A", "INPUT", "-p", "icmp", "-j", "ACCEPT"];
    assert!(world.server.command("iptables").args(foreign).status().unwrap().success());
    let before = save();
    let gate = Gate::start(world, &["--config", &world.config("", ""), "--backend", backend, "--firewall"]);
    assert!(save().len() > before.len());
    assert!(gate.stop().0.success());
    assert_eq!(save(), before);
}

/// Whoever reads the log goes away, as `sipknock run 2>&1 | head -n 1` has it.
fn a_closed_log_does_not_end_the_gate(world: &World, backend: &str) {
    world.apply_rules(&world.config("", ""));
    let config = world.config(&trusting("door = \"1s\""), "");
    let gate = Gate::spawn_with_closed_log(world, &["--config", &config, "--backend", backend]);
    wait_until(|| world.queue_row(0)).expect("the queue is bound");
    for _ in 0..3 {
        world.client("198.51.100.7").send(&register(SECRET));
        assert_eq!(world.delivered(), [register(SECRET)]);
    }
    // In a release build a panic of any thread ends all.
    assert!(gate.threads().contains(&"log".to_owned()), "{:?}", gate.threads());
}

/// Whoever reads the log does not go away, but does not read either.
fn a_stalled_log_holds_up_nothing(world: &World, backend: &str) {
    world.apply_rules(&world.config("", ""));
    let config = world.config(&trusting("door = \"1s\""), "");
    let mut gate = Gate::spawn_with_full_log(world, &["--config", &config, "--backend", backend]);
    wait_until(|| world.queue_row(0)).expect("the queue is bound");
    for _ in 0..3 {
        world.client("198.51.100.7").send(&register(SECRET));
        assert_eq!(world.delivered(), [register(SECRET)]);
    }
    gate.signal(Signal::TERM);
    assert!(gate.wait().success());
}

/// Where packets are lost at the socket, so is the kernel's answer to the shutting.
fn sigterm_while_the_socket_overflows(world: &World, backend: &str) {
    for _ in 0..5 {
        let gate = start(world, backend, "", "receive_buffer = \"4KiB\"");
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let stranger = world.client("198.51.100.99");
                while !stop.load(Ordering::Relaxed) {
                    stranger.send(&"x".repeat(1400));
                }
            });
            world.wait_for_row(0, |row| row[3] > 1000);
            let (status, stopped, _) = gate.stop();
            stop.store(true, Ordering::Relaxed);
            assert!(status.success());
            assert_eq!(stopped["waiting"], 0);
        });
    }
}

fn firewall_flag_leaves_rules_of_others(world: &World, backend: &str) {
    let config = world.config("", "");
    world.apply_rules(&config);
    let rules =
        || world.sipknock(&["--config", &config, "firewall", "status"]).output().unwrap().status.success();
    let gate = Gate::start(world, &["--config", &config, "--backend", backend, "--firewall"]);
    let other = ["--config", &config, "run", "--backend", backend, "--queue", "1", "--firewall"];
    let output = world.sipknock(&other).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("rules of another configuration") && said.contains("firewall status"), "{said}");
    assert!(rules(), "as they were");
    assert!(gate.stop().0.success());
    assert!(rules(), "they were there before the gate, and are after it");
}

/// A gate that does not end in order leaves its rules, which shut the port.
fn a_fault_opens_nothing(world: &World, backend: &str) {
    let config = world.config("", "");
    let mut gate = Gate::start(world, &["--config", &config, "--backend", backend, "--firewall"]);
    gate.signal(Signal::KILL);
    assert!(!gate.wait().success());
    world.client("198.51.100.9").send("stranger");
    assert_eq!(world.arrived(), [""; 0]);
    // And the next one goes on with them.
    let gate = Gate::start(world, &["--config", &config, "--backend", backend, "--firewall"]);
    world.client("198.51.100.7").send(&register(SECRET));
    assert_eq!(world.arrives(), register(SECRET));
    assert!(gate.stop().0.success());
}

fn it_learns_what_phones_send(world: &World, backend: &str) {
    let config = world.config("mode = \"monitor\"", "");
    world.apply_rules(&config);
    let file = format!("{config}.learned.toml");
    let learn = format!("--learn={file}");
    let gate = Gate::start(world, &["--config", &config, "--backend", backend, &learn]);
    let phone = |address: &str, name: &str| {
        world.client(address).send(&register(name));
        world.client(address).send(&register(name));
    };
    phone("198.51.100.7", "gjdmtwapgjdtmwagptjd");
    phone("198.51.100.8", "Alice");
    assert_eq!(world.delivered().len(), 4);
    let knows = |text: &String| text.contains("gjdmtwapgjdtmwagptjd");
    let written = wait_until(|| {
        gate.signal(Signal::USR1);
        fs::read_to_string(&file).ok().filter(knows)
    });
    written.expect("it is written on SIGUSR1");
    let (status, _, log) = gate.stop();
    assert!(status.success());
    let learned = fs::read_to_string(&file).unwrap();
    assert!(learned.contains("secret = \"gjdmtwapgjdtmwagptjd\"\nin = \"from-display-name\""), "{learned}");
    assert_eq!(learned.matches("[[knock]]").count(), 1, "{learned}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let told =
        |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("learned from 4 requests"));
    assert!(log.iter().any(told), "{log:#?}");
    let config = world.config_with_knocks("", "", &learned);
    assert!(world.sipknock(&["--config", &config, "check"]).output().unwrap().status.success());
}
