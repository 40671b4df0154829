//! The running gate as its owner sees and turns it: the control socket, reloads, and doors that
//! survive, in network namespaces with real packets.

mod claims;
mod grace;
mod reload;
mod state;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use crate::common::commands::{objects, says, sipknock, socket, stats};
use crate::common::gate::{DEADLINE, Gate, SECRET, World, register, trusting, wait_until};
use crate::trials::{self, NetnsTrial, trials};
use serde_json::Value;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    CASES.iter().map(|&(name, case)| trials::in_netns(name, move || case(&World::new("control")))).collect()
}

type Case = fn(&World);

const CASES: &[(&str, Case)] = &trials![
    doors_are_listed_with_what_they_were_used_for,
    a_door_opened_by_hand,
    closing_bites_at_the_next_packet,
    stats_count_what_passed,
    watch_shows_what_happens,
    clients_that_never_read_hold_up_nothing,
    a_thousand_control_clients,
    a_socket_that_cannot_be_made_is_a_warning,
    the_socket_is_for_its_group_and_goes_with_the_gate,
    reload::a_reload_closes_doors_whose_knock_is_gone,
    reload::a_reload_of_another_file_is_refused,
    reload::sighup_with_a_broken_config_changes_nothing,
    reload::a_reload_says_what_it_does_not_change,
    reload::outbound_that_was_off_at_the_start_stays_unread_and_says_so,
    reload::reloads_under_load_lose_nothing,
    state::doors_survive_kill_9_and_restart,
    state::nothing_older_than_a_second_is_lost,
    state::doors_of_networks_that_are_no_sources,
    state::a_reboot_counts_the_time_down,
    state::damaged_state_is_set_aside,
    state::disk_full,
    state::read_only_state,
    state::two_gates_and_one_file,
    claims::two_knocks_behind_one_address,
    claims::forty_colleagues_behind_one_address,
    claims::a_knock_with_another_name_keeps_its_doors,
    claims::an_entry_of_format_1_opens_as_it_did,
    claims::a_door_that_had_run_out_is_marked_after_a_restart,
    claims::closing_marks_whom_a_knock_held,
    claims::a_full_knock_gets_no_claim,
    claims::registrations_outlive_a_restart,
    grace::a_grace_ends_when_all_phones_have_knocked,
    grace::a_grace_lists_phones_that_have_not_knocked,
    grace::a_grace_without_phones_stays,
    grace::a_grace_tells_by_what_a_phone_passes,
    grace::a_configured_grace_does_not_come_back,
    grace::a_reload_does_not_end_a_grace,
    grace::a_grace_begins_again_with_the_gate,
    grace::phones_over_tcp_and_strangers_in_a_grace,
];

/// A gate with its rules, and the configuration that it runs with.
fn start(world: &World, inspect: &str, knocks: &str) -> (Gate, String) {
    let config = world.guarded(inspect, "", knocks);
    (Gate::start(world, &["--config", &config]), config)
}

fn two_knocks() -> String {
    format!(
        "[[knock]]\nname = \"alice\"\nsecret = \"{SECRET}\"\n\
         [[knock]]\nname = \"bob\"\nsecret = \"another-long-one\"\ndoor = \"100s\"\nmax_doors = 1\n"
    )
}

fn doors_are_listed_with_what_they_were_used_for(world: &World) {
    let (_gate, config) = start(world, "", &two_knocks());
    let began = Instant::now();
    assert_eq!(says(world, &config, &["doors"]), "no door is open\n");
    let (alice, bob) = (world.client("198.51.100.7"), world.client("198.51.100.10"));
    alice.send(&register(SECRET));
    bob.send(&register("another-long-one"));
    alice.send("twelve bytes");
    alice.send("twelve bytes");
    assert_eq!(world.delivered().len(), 4);

    let doors = objects(world, &config, &["doors", "list", "--json"]);
    let of = |name: &str| doors.iter().map(|door| door[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("source"), ["198.51.100.7", "198.51.100.10"]);
    assert_eq!(of("knock"), ["alice", "bob"]);
    assert_eq!(of("packets"), [3, 1]);
    let header = 20 + 8;
    assert_eq!(doors[0]["bytes"], register(SECRET).len() + header + 2 * (12 + header));
    let left = doors[0]["expires_in_s"].as_u64().unwrap();
    let passed = began.elapsed().as_secs() + 1;
    assert!((4000 - passed..=4000).contains(&left), "{left} after {passed} s");
    assert!(doors[1]["expires"].as_str() < doors[0]["expires"].as_str());
    assert_eq!(doors[0]["opened"].as_str().unwrap().len(), "2026-11-22T14:00:00.000000Z".len());

    let sources = |args: &[&str]| -> Vec<String> {
        let doors = objects(world, &config, &[args, &["--json"]].concat());
        doors.iter().map(|door| door["source"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(sources(&["doors", "--sort", "expires"]), ["198.51.100.10", "198.51.100.7"]);
    assert_eq!(sources(&["doors", "--knock", "bob"]), ["198.51.100.10"]);
    assert_eq!(sources(&["doors", "list", "--source", "198.51.100.0/29"]), ["198.51.100.7"]);
    let table = says(world, &config, &["doors"]);
    assert!(table.contains("last knock") && table.lines().count() == 3, "{table}");

    let (status, _, err) = sipknock(world, &config, &["doors", "--knock", "carol"]);
    assert!(status == 1 && err.contains("no knock is named \"carol\""), "{err}");
}

fn a_door_opened_by_hand(world: &World) {
    let (mut gate, config) = start(world, "", &two_knocks());
    let phone = world.client("198.51.100.7");
    phone.send("before");
    assert_eq!(world.delivered(), [""; 0]);
    let said = says(world, &config, &["doors", "open", "198.51.100.7", "--for", "1h"]);
    assert!(said.starts_with("opened: 198.51.100.7 (manual) until "), "{said}");
    phone.send("after");
    assert_eq!(world.delivered(), ["after"]);
    let opened = gate.wait_for("opened", |_| true);
    assert_eq!(
        (&opened["knock"], &opened["door_s"], &opened["by"]),
        (&"manual".into(), &3600.into(), &"control".into())
    );

    // A knock takes it over where it opens for longer.
    phone.send(&register(SECRET));
    world.delivered();
    assert_eq!(objects(world, &config, &["doors", "--json"])[0]["knock"], "alice");
    let said = says(world, &config, &["doors", "open", "198.51.100.7", "--for", "1s"]);
    assert!(said.starts_with("renewed: ") && said.contains("open for longer already"), "{said}");

    // As a knock's door it counts against the knock.
    let opened = &objects(world, &config, &["doors", "open", "198.51.100.20", "--knock", "bob", "--json"])[0];
    assert_eq!((&opened["knock"], &opened["source"]), (&"bob".into(), &"198.51.100.20".into()));
    assert!(opened["expires_in_s"].as_u64() <= Some(100), "{opened}");
    let (status, _, err) = sipknock(world, &config, &["doors", "open", "198.51.100.21", "--knock", "bob"]);
    assert!(status == 1 && err.contains("max_doors"), "{err}");
    says(world, &config, &["doors", "close", "198.51.100.20"]);
    says(world, &config, &["doors", "open", "198.51.100.21", "--knock", "bob"]);
    for (words, part) in [
        (&["doors", "open", "nowhere"][..], "not a network"),
        (&["doors", "open", "198.51.100.0/24"], "a door is for a /32"),
        (&["doors", "open", "198.51.100.0/24"], "put it into `trusted`"),
        (&["doors", "open", "198.51.100.9", "--knock", "carol"], "no knock is named"),
    ] {
        let (status, _, err) = sipknock(world, &config, words);
        assert!(status == 1 && err.contains(part), "{words:?}: {err}");
    }
    // IPv6 by its prefix, written either way.
    for address in ["2001:db8:0:2::7", "2001:db8:0:2::/64"] {
        let opened = &objects(world, &config, &["doors", "open", address, "--json"])[0];
        assert_eq!(opened["source"], "2001:db8:0:2::/64");
    }
    assert!(gate.stop().0.success());
}

fn closing_bites_at_the_next_packet(world: &World) {
    let (mut gate, config) = start(world, "", &two_knocks());
    let phones: Vec<_> = (1..=5).map(|n| world.client(&format!("198.51.100.{n}"))).collect();
    for phone in &phones {
        phone.send(&register(SECRET));
        phone.send("open");
    }
    assert_eq!(world.delivered().len(), 10);
    says(world, &config, &["doors", "close", "198.51.100.1"]);
    phones[0].send("closed");
    phones[1].send("open");
    assert_eq!(world.delivered(), ["open"]);
    let closed = gate.wait_for("closed", |_| true);
    assert_eq!(
        (&closed["why"], &closed["src"], &closed["knock"]),
        (&"revoked".into(), &"198.51.100.1".into(), &"alice".into())
    );
    let (status, _, err) = sipknock(world, &config, &["doors", "close", "198.51.100.1"]);
    assert!(status == 1 && err.contains("no door is open for 198.51.100.1"), "{err}");

    assert_eq!(says(world, &config, &["doors", "flush"]), "4 doors closed\n");
    phones.iter().for_each(|phone| phone.send("flushed"));
    assert_eq!(world.delivered(), [""; 0]);
    assert_eq!(gate.wait_for_events("closed", 5).iter().filter(|event| event["why"] == "flushed").count(), 4);
    assert_eq!(objects(world, &config, &["doors", "--json"]), [""; 0]);
    // Whoever knows the knock may come again.
    phones[0].send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    assert_eq!(gate.stop().1["reasons"].as_str().map(|reasons| reasons.contains("no-knock:6")), Some(true));
}

fn stats_count_what_passed(world: &World) {
    let (gate, config) = start(world, "max_doors = 10", &two_knocks());
    let queue = |stats: &Value, name: &str| stats["queues"][0][name].clone();
    let before = stats(world, &config);
    assert_eq!(queue(&before, "last_verdict"), Value::Null);
    assert!(queue(&before, "since_verdict_s").as_u64() <= before["uptime_s"].as_u64(), "{before}");
    assert!(says(world, &config, &["stats"]).contains("\n  no verdict yet since the start "));
    let (phone, stranger) = (world.client("198.51.100.7"), world.client("198.51.100.8"));
    phone.send(&register(SECRET));
    (0..5).for_each(|_| phone.send("open"));
    (0..3).for_each(|_| stranger.send("let me in"));
    world.delivered();
    says(world, &config, &["doors", "open", "198.51.100.9"]);
    let stats = stats(world, &config);
    for (pointer, expected) in [
        ("/reasons/knock", Value::from(1)),
        ("/reasons/door", 5.into()),
        ("/reasons/no-knock", 3.into()),
        ("/packets", 10.into()),
        ("/doors/open", 2.into()),
        ("/doors/max", 10.into()),
        ("/doors/by_knock/alice", 1.into()),
        ("/mode", "enforce".into()),
        ("/queues/0/queue", 0.into()),
        ("/queues/0/waiting", 0.into()),
        ("/events_lost", 0.into()),
    ] {
        assert_eq!(stats.pointer(pointer), Some(&expected), "{pointer} in {stats}");
    }
    // As text that is written the same way it sorts as time does.
    let last = queue(&stats, "last_verdict");
    assert!(
        stats["started"].as_str() < last.as_str() && last.as_str().is_some_and(|time| time.ends_with('Z')),
        "{stats}"
    );
    assert!(queue(&stats, "since_verdict_s").as_u64() <= stats["uptime_s"].as_u64(), "{stats}");
    let text = says(world, &config, &["stats"]);
    assert!(text.contains("doors: 2 open of at most 10") && text.contains("  no-knock: 3"), "{text}");
    assert!(text.contains("\n  last verdict "), "{text}");
    drop(gate);
    let (status, _, err) = sipknock(world, &config, &["stats"]);
    assert!(status == 1 && err.contains("is 'sipknock run' running?"), "{err}");
}

/// A `sipknock watch`, and the lines that it prints.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(world: &World, config: &str, args: &[&str]) -> Self {
        let mut command = world.sipknock(&[&["--config", config, "watch"], args].concat());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        // Until it is there, nothing is to be seen.
        wait_until(|| {
            says(world, config, &["doors", "open", "198.51.100.200"]);
            lines.try_recv().ok()
        })
        .expect("it sees something");
        Self { child, lines }
    }

    /// The next line with this in it.
    fn find(&self, part: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("no line with {part:?}: {error}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Waits for its end, which is a good one and comes without another line.
    fn ends(mut self) {
        let rest = self.lines.recv_timeout(DEADLINE);
        assert_eq!(rest, Err(RecvTimeoutError::Disconnected), "nothing is left to be seen");
        let status = wait_until(|| self.child.try_wait().unwrap()).expect("it ends within the deadline");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn watch_shows_what_happens(world: &World) {
    let (gate, config) = start(world, "", &two_knocks());
    let json = Watching::start(world, &config, &["--json"]);
    let text = Watching::start(world, &config, &[]);
    let phone = world.client("198.51.100.7");
    phone.send(&register(SECRET));
    world.delivered();
    let event: Value = serde_json::from_str(&json.find("REGISTER")).unwrap();
    for (field, expected) in [
        ("event", "opened"),
        ("knock", "alice"),
        ("src", "198.51.100.7"),
        ("from", "\"[secret]\" <sip:100@pbx>;tag=1"),
        ("level", "INFO"),
        ("target", "sipknock::knock"),
    ] {
        assert_eq!(event[field], expected, "{field} in {event}");
    }
    assert!(text.find("REGISTER").contains("opened     198.51.100.7:"));
    says(world, &config, &["doors", "close", "198.51.100.7"]);
    assert!(text.find("closed").contains("198.51.100.7  alice  revoked"));
    // The end of the gate is the last thing to be seen, and no failure.
    assert!(gate.stop().0.success());
    assert!(json.find("\"stopped\"").contains("\"waiting\":0"));
    text.find("stopped");
    json.ends();
    text.ends();
}

fn clients_that_never_read_hold_up_nothing(world: &World) {
    let (gate, config) = start(world, "", &two_knocks());
    // Some watch, some ask for lists over and over, some say nothing; none of them ever reads.
    let mut silent: Vec<_> = (0..20).map(|_| UnixStream::connect(socket(&config)).unwrap()).collect();
    for (n, stream) in silent.iter_mut().enumerate() {
        stream.set_nonblocking(true).unwrap();
        let _ = match n % 3 {
            0 => stream.write_all(b"{\"v\":1,\"do\":\"watch\"}\n"),
            1 => stream.write_all("{\"v\":1,\"do\":\"doors\"}\n".repeat(50).as_bytes()),
            _ => stream.write_all(b"{\"v\":1,"),
        };
    }
    let phones: Vec<_> = (1..=200).map(|n| world.client(&format!("198.51.100.{n}"))).collect();
    let start = Instant::now();
    // More events than sockets and watchers hold.
    for _ in 0..20 {
        for phone in &phones {
            phone.send(&register(SECRET));
            phone.send("open");
        }
        assert_eq!(world.delivered().len(), 400, "nothing is lost");
    }
    eprintln!("8,000 packets in {:?}, with clients that never read", start.elapsed());
    assert_eq!(objects(world, &config, &["doors", "--json"]).len(), 200, "others are served");
    let (status, stopped, _) = gate.stop();
    assert!(status.success());
    assert_eq!((&stopped["waiting"], &stopped["stale"]), (&0.into(), &0.into()));
}

fn a_thousand_control_clients(world: &World) {
    let (gate, config) = start(world, "", &two_knocks());
    let phone = world.client("198.51.100.7");
    phone.send(&register(SECRET));
    let clients: Vec<_> = (0..1000).filter_map(|_| UnixStream::connect(socket(&config)).ok()).collect();
    assert!(clients.len() > 500, "{}", clients.len());
    phone.send("open");
    assert_eq!(world.delivered().len(), 2);
    let threads = gate.threads().iter().filter(|name| name.starts_with("control")).count();
    assert!(threads <= 33, "{threads}");
    // Whoever says nothing is shown the door, and then there is room again.
    let answered = wait_until(|| (sipknock(world, &config, &["stats"]).0 == 0).then_some(()));
    answered.expect("seats come free");
    drop(clients);
    assert!(gate.stop().0.success());
}

fn a_socket_that_cannot_be_made_is_a_warning(world: &World) {
    world.apply_rules(&world.config("", ""));
    let config = world.config(&trusting(""), "");
    for path in ["/proc/no/such/place", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
        let gate = Gate::start(world, &["--config", &config, "--control", path]);
        world.client("198.51.100.7").send(&register(SECRET));
        assert_eq!(world.delivered().len(), 1);
        let (status, _, log) = gate.stop();
        assert!(status.success());
        let warned = log.iter().any(|line| {
            line["level"] == "WARN" && line["message"].as_str().unwrap().contains("no control socket")
        });
        assert!(warned, "{log:#?}");
    }
    assert!(
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap().contains("[package]")
    );
    let gate = Gate::start(world, &["--config", &config, "--control", "off"]);
    assert!(!gate.threads().iter().any(|name| name == "control"));
    assert!(!fs::exists(socket(&config)).unwrap());
}

fn the_socket_is_for_its_group_and_goes_with_the_gate(world: &World) {
    let (gate, config) = start(world, "", &two_knocks());
    let mode = fs::metadata(socket(&config)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
    // A second gate on another queue does not take it away.
    let other = Gate::start(world, &["--config", &config, "--queue", "7"]);
    let (_, _, log) = other.stop();
    assert!(
        log.iter().any(|line| line["message"]
            .as_str()
            .is_some_and(|text| text.contains("serves another sipknock")))
    );
    says(world, &config, &["stats"]);
    // What a killed one leaves behind is replaced.
    gate.signal(rustix::process::Signal::KILL);
    drop(gate);
    assert!(fs::exists(socket(&config)).unwrap());
    let gate = Gate::start(world, &["--config", &config]);
    says(world, &config, &["stats"]);
    assert!(gate.stop().0.success());
    assert!(!fs::exists(socket(&config)).unwrap());
}
