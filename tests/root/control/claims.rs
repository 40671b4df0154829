//! Several knocks that hold the door of one address.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use sipknock::state::format::{Saved, read};

use super::reload::rewrite;
use crate::common::commands::{assert_same_doors, doors, objects, says, stats};
use crate::common::gate::{Client, Gate, SECRET, World, register, wait_until};
use crate::common::saved;
use crate::control::two_knocks;

const ADDRESS: &str = "198.51.100.7";
const BOB: &str = "another-long-one";

fn run(world: &World, config: &str, file: &str) -> Gate {
    Gate::start(world, &["--config", config, "--state", file])
}

/// The names of the knocks that hold the only door, in their order.
fn held(world: &World, config: &str) -> Vec<String> {
    let doors = doors(world, config);
    let knocks = doors.get(ADDRESS).and_then(|door| door["knocks"].as_array()).cloned().unwrap_or_default();
    knocks.iter().map(|held| held["knock"].as_str().unwrap().to_owned()).collect()
}

/// Whether a packet of the phone arrives.
fn passes(world: &World, phone: &Client, text: &str) -> bool {
    phone.send(text);
    world.delivered() == [text]
}

/// Waits until the file has what is wanted.
fn on_disk(file: &str, wanted: impl Fn(&Saved) -> bool) {
    let saved = || read(&*fs::read(file).ok()?).ok().filter(&wanted);
    wait_until(saved).expect("it is on disk");
}

fn notes(done: &Value) -> String {
    done["notes"].as_array().unwrap().iter().map(Value::to_string).collect()
}

fn only_bob() -> String {
    format!("[[knock]]\nname = \"bob\"\nsecret = \"{BOB}\"\ndoor = \"100s\"\nmax_doors = 1\n")
}

pub(crate) fn two_knocks_behind_one_address(world: &World) {
    let (config, file) = (world.guarded("", "", &two_knocks()), world.path("doors"));
    let mut gate = run(world, &config, &file);
    let (alice, bob) = (world.client(ADDRESS), world.client(ADDRESS));
    alice.send(&register(SECRET));
    bob.send(&register(BOB));
    assert_eq!(world.delivered().len(), 2);
    // Each is an event by its name; the second finds the door open.
    let opened = gate.wait_for("opened", |_| true);
    let renewed = gate.wait_for("renewed", |_| true);
    assert_eq!((&opened["knock"], &renewed["knock"]), (&"alice".into(), &"bob".into()));
    assert_eq!(opened["expires_at"], renewed["expires_at"], "the door's");

    let door = &doors(world, &config)[ADDRESS];
    assert_eq!(door["knock"], "alice");
    let knocks = door["knocks"].as_array().unwrap();
    assert_eq!((&knocks[0]["knock"], &knocks[1]["knock"]), (&"alice".into(), &"bob".into()));
    assert_eq!(knocks[0]["until"], door["expires"]);
    assert!(knocks[1]["until"].as_str() < knocks[0]["until"].as_str(), "{door}");
    assert!(knocks[1]["expires_in_s"].as_u64() <= Some(100), "{door}");
    let table = says(world, &config, &["doors"]);
    assert!(table.lines().any(|line| line.trim_start().starts_with("bob ")), "{table}");
    for name in ["alice", "bob"] {
        assert_eq!(objects(world, &config, &["doors", "--knock", name, "--json"]).len(), 1, "{name}");
    }
    let by_knock = |gate: &Value| gate["doors"]["by_knock"].clone();
    assert_eq!(by_knock(&stats(world, &config)), serde_json::json!({"alice": 1, "bob": 1}));

    // A crash, and a start as usual.
    on_disk(&file, |saved| saved.doors.len() == 1 && saved.doors[0].claims.len() == 2);
    gate.signal(Signal::KILL);
    drop(gate);
    gate = run(world, &config, &file);
    assert_eq!(held(world, &config), ["alice", "bob"]);
    // A takeover.
    let next = Gate::start(world, &["--config", &config, "--state", &file, "--takeover"]);
    assert!(gate.end().0.success());
    gate = next;
    assert_eq!(held(world, &config), ["alice", "bob"]);
    assert_eq!(by_knock(&stats(world, &config)), serde_json::json!({"alice": 1, "bob": 1}));

    // Alice leaves: bob stays in, over a restart as well.
    rewrite(world, &config, "", "", &only_bob());
    let done = objects(world, &config, &["reload", "--json"]).remove(0);
    assert_eq!(done["doors"], 0);
    assert!(notes(&done).contains("1 door of knocks that are gone stays open"), "{done}");
    assert_eq!(held(world, &config), ["bob"]);
    assert!(passes(world, &bob, "still in") && gate.events("closed").is_empty());
    assert!(gate.stop().0.success());
    let gate = run(world, &config, &file);
    assert!(passes(world, &bob, "still in after a restart"));
    let left = doors(world, &config)[ADDRESS]["expires_in_s"].as_u64().unwrap();
    assert!(left <= 100, "bob's time and not alice's: {left}");
    // Bob leaves, too, while the gate is down.
    assert!(gate.stop().0.success());
    rewrite(world, &config, "", "", "[[knock]]\nname = \"carol\"\nsecret = \"carols-own-secret\"\n");
    let gate = run(world, &config, &file);
    assert!(!passes(world, &bob, "out") && doors(world, &config).is_empty());
    assert!(gate.stop().0.success());
}

fn colleagues(names: impl Iterator<Item = u32>) -> String {
    names
        .map(|n| format!("[[knock]]\nname = \"colleague-{n}\"\nsecret = \"secret-of-{n:02}-of-forty\"\n"))
        .collect()
}

pub(crate) fn forty_colleagues_behind_one_address(world: &World) {
    let (config, file) = (world.guarded("", "", &colleagues(0..40)), world.path("doors"));
    let gate = run(world, &config, &file);
    let phones: Vec<_> = (0..40).map(|_| world.client(ADDRESS)).collect();
    for (n, phone) in phones.iter().enumerate() {
        phone.send(&register(&format!("secret-of-{n:02}-of-forty")));
    }
    assert_eq!(world.delivered().len(), 40);
    assert_eq!(held(world, &config).len(), 40);
    // The one whose knock came last, so that the door is his, and the one that opened it.
    for (gone, left) in [(vec![39], 39), (vec![39, 0], 38)] {
        rewrite(world, &config, "", "", &colleagues((0..40).filter(|n| !gone.contains(n))));
        says(world, &config, &["reload"]);
        assert_eq!(held(world, &config).len(), left);
        phones.iter().skip(1).take(38).for_each(|phone| phone.send("one of the others"));
        assert_eq!(world.delivered().len(), 38);
    }
    assert!(gate.stop().0.success());
    let gate = run(world, &config, &file);
    phones.iter().skip(1).take(38).for_each(|phone| phone.send("one of the others"));
    assert_eq!((world.delivered().len(), held(world, &config).len()), (38, 38));
    // Closing shuts it to all of them.
    says(world, &config, &["doors", "close", ADDRESS]);
    assert!(!passes(world, &phones[5], "closed"));
    assert!(gate.stop().0.success());
}

pub(crate) fn a_knock_with_another_name_keeps_its_doors(world: &World) {
    let (config, file) = (world.guarded("", "", &two_knocks()), world.path("doors"));
    let gate = run(world, &config, &file);
    let phone = world.client(ADDRESS);
    phone.send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    // A new knock has the old name.
    let renamed = two_knocks().replace("\"alice\"", "\"alice-at-home\"")
        + "[[knock]]\nname = \"alice\"\nsecret = \"alices-second-phone\"\n";
    rewrite(world, &config, "", "", &renamed);
    says(world, &config, &["reload"]);
    assert_eq!(held(world, &config), ["alice-at-home"]);
    assert!(passes(world, &phone, "renamed"));
    assert!(gate.stop().0.success());
    rewrite(world, &config, "", "", &renamed.replace("alice-at-home", "alice-abroad"));
    let gate = run(world, &config, &file);
    assert_eq!(held(world, &config), ["alice-abroad"]);
    assert!(passes(world, &phone, "renamed again"));
    // The same name with another secret is the same knock, as it always was.
    assert!(gate.stop().0.success());
    rewrite(
        world,
        &config,
        "",
        "",
        &two_knocks().replace(SECRET, "alices-third-secret").replace("\"alice\"", "\"alice-abroad\""),
    );
    let gate = run(world, &config, &file);
    assert_eq!(held(world, &config), ["alice-abroad"]);
    // The file says of no secret what it is.
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
    assert!(gate.stop().0.success());
}

pub(crate) fn an_entry_of_format_1_opens_as_it_did(world: &World) {
    let (config, file) = (world.guarded("", "", &two_knocks()), world.path("doors"));
    let gate = run(world, &config, &file);
    let (phone, bob) = (world.client(ADDRESS), world.client("198.51.100.8"));
    phone.send(&register(SECRET));
    bob.send(&register(BOB));
    assert_eq!(world.delivered().len(), 2);
    let before = doors(world, &config);
    assert!(gate.stop().0.success());
    let saved = read(&*fs::read(&file).unwrap()).unwrap();
    fs::write(&file, saved::as_first_version(&saved)).unwrap();
    let gate = run(world, &config, &file);
    assert_same_doors(&before, &doors(world, &config), true);
    assert_eq!(held(world, &config), ["alice"]);
    assert!(passes(world, &phone, "as before"));
    // Its knock is known by name.
    bob.send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    rewrite(world, &config, "", "", &only_bob());
    says(world, &config, &["reload"]);
    assert!(!passes(world, &phone, "out") && passes(world, &bob, "bob is in"));
    assert!(gate.stop().0.success());
}

fn marks(world: &World, config: &str) -> u64 {
    stats(world, config)["outbound"]["marks"].as_u64().expect("outbound is on")
}

/// Its knock goes with a plain stop and start, and the PBX may go on calling it.
pub(crate) fn a_door_that_had_run_out_is_marked_after_a_restart(world: &World) {
    let brief = two_knocks().replace("100s", "20s");
    let (config, file) = (world.guarded("", "", &brief), world.path("doors"));
    let gate = run(world, &config, &file);
    let bob = world.client(ADDRESS);
    bob.send(&register(BOB));
    assert_eq!(world.delivered().len(), 1);
    wait_until(|| doors(world, &config).is_empty().then_some(())).expect("it runs out");
    assert!(!passes(world, &bob, "late"));
    assert!(gate.stop().0.success());
    // Its time is up, and that is still known.
    let gate = run(world, &config, &file);
    assert!(!passes(world, &bob, "later"));
    assert_eq!((&stats(world, &config)["reasons"]["expired"], marks(world, &config)), (&1.into(), 0));
    assert!(gate.stop().0.success());
    let only_alice = format!("[[knock]]\nname = \"alice\"\nsecret = \"{SECRET}\"\n");
    rewrite(world, &config, "", "", &only_alice);
    let gate = run(world, &config, &file);
    assert_eq!(marks(world, &config), 1);
    assert!(gate.stop().0.success());
}

/// Of all the ways to close a door, those that leave a mark.
pub(crate) fn closing_marks_whom_a_knock_held(world: &World) {
    let brief = two_knocks().replace("100s", "20s");
    let config = world.guarded("", "", &brief);
    let gate = Gate::start(world, &["--config", &config]);
    let close = |address: &str| objects(world, &config, &["doors", "close", address, "--json"]).remove(0);
    // By hand alone: none.
    says(world, &config, &["doors", "open", "198.51.100.9", "--for", "1h"]);
    assert!(!notes(&close("198.51.100.9")).contains("it is marked"));
    // By hand for longer than the knock.
    world.client(ADDRESS).send(&register(BOB));
    assert_eq!(world.delivered().len(), 1);
    says(world, &config, &["doors", "open", ADDRESS, "--for", "2h"]);
    assert_eq!(held(world, &config), ["manual", "bob"]);
    let done = close(ADDRESS);
    assert!(notes(&done).contains("it is marked") && done["doors"] == 1, "{done}");
    // Run out, and remembered.
    world.client("198.51.100.8").send(&register(BOB));
    assert_eq!(world.delivered().len(), 1);
    let open = || stats(world, &config)["doors"]["open"].as_u64();
    wait_until(|| (open() == Some(0)).then_some(())).expect("it runs out");
    let done = close("198.51.100.8");
    assert!(notes(&done).contains("it is marked") && done["doors"] == 0, "{done}");
    assert_eq!(marks(world, &config), 2);
    assert!(gate.stop().0.success());
}

/// What is told to the owner of a knock that is full.
pub(crate) fn a_full_knock_gets_no_claim(world: &World) {
    let config = world.guarded("", "", &two_knocks());
    let mut gate = Gate::start(world, &["--config", &config]);
    let (here, there) = (world.client(ADDRESS), world.client("198.51.100.8"));
    there.send(&register(BOB));
    here.send(&register(SECRET));
    assert_eq!(world.delivered().len(), 2);
    // Bob's only door is there. The packet passes by alice's door.
    here.send(&register(BOB));
    assert_eq!(world.delivered().len(), 1);
    assert_eq!(held(world, &config), ["alice"]);
    let refused = gate.wait_for("refused", |_| true);
    assert_eq!((&refused["knock"], &refused["limit"]), (&"bob".into(), &"the knock's max_doors".into()));
    assert_eq!(stats(world, &config)["reasons"]["door"], 1);
    assert!(gate.stop().0.success());
}

/// A registration ends by itself, after a restart as well.
pub(crate) fn registrations_outlive_a_restart(world: &World) {
    let knocks = format!("[[knock]]\nname = \"office\"\nsecret = \"{SECRET}\"\ndoor = \"expires\"\n");
    let (config, file) = (world.guarded("", "", &knocks), world.path("doors"));
    let gate = run(world, &config, &file);
    let phone = world.client(ADDRESS);
    let register = |user: u32, expires: u32| {
        format!(
            "REGISTER sip:pbx SIP/2.0\r\nFrom: \"{SECRET}\" <sip:{user}@pbx>\r\nTo: <sip:{user}@pbx>\r\n\
             Contact: <sip:{user}@{ADDRESS}>\r\nExpires: {expires}\r\n\r\n"
        )
    };
    phone.send(&register(1, 3600));
    phone.send(&register(2, 600));
    assert_eq!(world.delivered().len(), 2);
    let registrations = || doors(world, &config)[ADDRESS]["knocks"][0]["registrations"].clone();
    assert_eq!(registrations(), 2);
    assert!(gate.stop().0.success());
    let gate = run(world, &config, &file);
    assert_eq!(registrations(), 2);
    phone.send(&register(1, 0));
    assert_eq!(world.delivered().len(), 1);
    let left = || doors(world, &config)[ADDRESS]["expires_in_s"].as_u64().unwrap();
    assert!((100..=660).contains(&left()), "the other one's: {}", left());
    let next = Gate::start(world, &["--config", &config, "--state", &file, "--takeover"]);
    assert!(gate.end().0.success());
    phone.send(&register(2, 0));
    assert_eq!(world.delivered().len(), 1);
    assert!(left() <= 32, "for the answers: {}", left());
    assert!(next.stop().0.success());
}
