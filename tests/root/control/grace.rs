//! A gate that lets everything pass at first.

use std::fs;
use std::io::Write as _;

use rustix::process::Signal;

use crate::common::commands::{says, sipknock, stats};
use crate::common::gate::{Gate, SECRET, World, trusting, wait_until};
use crate::control::two_knocks;

/// A REGISTER of a user, with credentials or before they were asked for.
fn register(user: &str, name: &str, agent: &str, credentials: bool) -> String {
    let answer = if credentials {
        "Authorization: Digest username=\"u\", realm=\"pbx\", nonce=\"4f2\", uri=\"sip:pbx\", response=\"a1\"\r\n"
    } else {
        ""
    };
    format!(
        "REGISTER sip:pbx SIP/2.0\r\nFrom: \"{name}\" <sip:{user}@pbx>;tag=1\r\nTo: <sip:{user}@pbx>\r\n\
         Call-ID: {user}\r\nCSeq: {} REGISTER\r\nUser-Agent: {agent}\r\n{answer}\r\n",
        if credentials { 2 } else { 1 },
    )
}

/// A challenge that the PBX sends, and its answer.
fn registers(world: &World, address: &str, user: &str, name: &str) {
    let phone = world.client(address);
    phone.send(&register(user, name, "Phone 1", false));
    phone.send(&register(user, name, "Phone 1", true));
}

fn start(world: &World, span: &str) -> (Gate, String) {
    let config = world.guarded("", "", &two_knocks());
    (Gate::start(world, &["--config", &config, "--grace", span]), config)
}

fn mode(world: &World, config: &str) -> String {
    stats(world, config)["mode"].as_str().unwrap().to_owned()
}

/// What is known of the phones, once so many have been seen.
fn sees(world: &World, config: &str, phones: u64) -> serde_json::Value {
    let seen = wait_until(|| {
        let grace = stats(world, config)["grace"].clone();
        (grace["phones"].as_u64() == Some(phones)).then_some(grace)
    });
    seen.unwrap_or_else(|| panic!("{phones} phones in {}", says(world, config, &["stats", "--json"])))
}

pub(crate) fn a_grace_ends_when_all_phones_have_knocked(world: &World) {
    // Some commands are to be answered before it ends.
    let (mut gate, config) = start(world, "20s");
    assert_eq!(gate.wait_for("started", |_| true)["mode"], "monitor");
    assert_eq!(gate.wait_for("grace", |_| true)["grace_s"], 20);
    registers(world, "198.51.100.7", "100", SECRET);
    registers(world, "198.51.100.8", "101", "another-long-one");
    let stranger = world.client("198.51.100.9");
    // Before it is asked for credentials a scanner looks like a phone, and afterwards it has none.
    stranger.send(&register("200", "Bob", "Phone 1", false));
    world.client("198.51.100.10").send(&register("201", "Bob", "friendly-scanner", true));
    assert_eq!(world.delivered().len(), 6, "everything passes");
    let grace = sees(world, &config, 2);
    assert_eq!((&grace["unready"], &grace["overlooked"]), (&0.into(), &0.into()), "{grace}");
    assert_eq!(mode(world, &config), "monitor");
    let said = says(world, &config, &["stats"]);
    assert!(
        said.contains("everything passes for another") && said.contains("2 phones have registered"),
        "{said}"
    );

    let ended = gate.wait_for("grace", |event| event["mode"] == "enforce");
    assert_eq!((&ended["phones"], &ended["unready"]), (&2.into(), &0.into()));
    assert_eq!(mode(world, &config), "enforce");
    stranger.send("stranger");
    world.client("198.51.100.7").send("phone");
    assert_eq!(world.delivered(), ["phone"]);
    let stats = stats(world, &config);
    assert_eq!(stats["grace"], serde_json::Value::Null);
    assert!(gate.stop().0.success());
}

pub(crate) fn a_grace_lists_phones_that_have_not_knocked(world: &World) {
    let (mut gate, config) = start(world, "10s");
    registers(world, "198.51.100.7", "100", SECRET);
    registers(world, "198.51.100.8", "101", "Bob");
    let odd = format!("<b>\u{202e}{}", "x".repeat(100));
    world.client("198.51.100.9").send(&register("102", "Carol", &odd, true));
    let held = gate.wait_for("grace", |event| event["phones"] == 3);
    assert_eq!(
        (&held["mode"], &held["unready"], &held["unlisted"], &held["level"]),
        (&"monitor".into(), &2.into(), &0.into(), &"WARN".into())
    );
    assert!(held["advice"].as_str().unwrap().contains("sipknock enforce"), "{held}");
    let unready = gate.wait_for_events("unready", 2);
    let of = |name: &str| unready.iter().map(|phone| phone[name].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(of("src"), ["198.51.100.8", "198.51.100.9"]);
    assert_eq!(of("user"), ["101@pbx", "102@pbx"]);
    let agent = of("user_agent")[1];
    assert!(agent.starts_with("<b>\\u{202e}xxx") && agent.ends_with('…'), "{agent}");
    assert!(agent.chars().count() <= 65, "{agent}");
    world.client("198.51.100.99").send("stranger");
    assert_eq!(world.delivered().last().map(String::as_str), Some("stranger"), "everything still passes");
    let said = says(world, &config, &["stats"]);
    assert!(said.contains("the time of --grace is up"), "{said}");

    // One gets a knock, the other is let down.
    registers(world, "198.51.100.8", "101", SECRET);
    let one = wait_until(|| (sees(world, &config, 3)["unready"] == 1).then_some(()));
    one.expect("it is seen that he has knocked now");
    let said = says(world, &config, &["enforce"]);
    assert!(
        said.starts_with("strangers are dropped from here on\nnote: 198.51.100.9 (102@pbx, <b>"),
        "{said}"
    );
    world.delivered();
    for (host, text) in [(7, "alice"), (8, "bob"), (9, "carol"), (99, "stranger")] {
        world.client(&format!("198.51.100.{host}")).send(text);
    }
    assert_eq!(world.delivered(), ["alice", "bob"]);
    assert_eq!(gate.wait_for("grace", |event| event["mode"] == "enforce")["unready"], 1);
    let said = says(world, &config, &["enforce"]);
    assert!(said.contains("it did so already"), "{said}");
    assert!(gate.stop().0.success());
}

/// A phone that passes by another one's door has not knocked, and neither has one that the PBX calls.
pub(crate) fn a_grace_tells_by_what_a_phone_passes(world: &World) {
    let (mut gate, config) = start(world, "6s");
    registers(world, "198.51.100.7", "100", SECRET);
    registers(world, "198.51.100.7", "101", "Bob");
    registers(world, "198.51.100.8", "102", "Carol");
    // Whose knock comes with a call before it registers.
    let invite = register("103", "another-long-one", "Phone 1", false).replace("REGISTER", "INVITE");
    world.client("198.51.100.9").send(&invite);
    registers(world, "198.51.100.9", "103", "Dave");
    says(world, &config, &["doors", "open", "198.51.100.10"]);
    registers(world, "198.51.100.10", "104", "Eve");
    // Whom the PBX calls may answer and call, and not register.
    let options = "OPTIONS sip:105@phone SIP/2.0\r\nFrom: <sip:pbx>;tag=1\r\nTo: <sip:105@phone>\r\n\
                   Call-ID: q\r\nCSeq: 1 OPTIONS\r\n\r\n";
    world.reply(options, "198.51.100.11:5060");
    registers(world, "198.51.100.11", "105", "Frank");
    let seen = wait_until(|| {
        let grace = sees(world, &config, 6);
        (grace["unready"] == 4 && grace["borrowed"] == 3).then_some(())
    });
    seen.expect("four have not knocked, and three of these pass by something else");
    let said = says(world, &config, &["stats"]);
    assert!(said.contains("3 of these pass by a door that is not their own"), "{said}");
    gate.wait_for("grace", |event| event["phones"] == 6);
    let unready = gate.events("unready");
    let told: Vec<_> = unready
        .iter()
        .map(|phone| ["user", "passes", "door"].map(|field| phone[field].as_str().unwrap_or_default()))
        .collect();
    let expected = [
        ["101@pbx", "another-door", "alice"],
        ["102@pbx", "", ""],
        ["104@pbx", "another-door", "manual"],
        ["105@pbx", "outbound", ""],
    ];
    assert_eq!(told, expected, "{unready:#?}");
    let said = says(world, &config, &["enforce"]);
    assert!(
        said.contains(
            "198.51.100.7 (101@pbx, Phone 1) has registered and not knocked; it passes by a door of alice"
        ),
        "{said}"
    );
    assert!(gate.stop().0.success());
}

/// `[inspect] grace` is over for good once strangers were dropped.
pub(crate) fn a_configured_grace_does_not_come_back(world: &World) {
    world.apply_rules(&world.config("", ""));
    let config = world.config_with_knocks(&trusting("grace = \"5s\""), "", &two_knocks());
    let doors = world.path("doors");
    let run = ["--config", &config, "--state", &doors];
    // Until its end each start has what the one before has left.
    let mut left = 6;
    for _ in 0..2 {
        let mut gate = Gate::start(world, &run);
        let now = gate.wait_for("grace", |_| true)["grace_s"].as_u64().unwrap();
        assert!(now < left && (left < 6 || now == 5), "{now} of {left}");
        left = now;
        assert!(gate.stop().0.success());
    }
    let mut gate = Gate::start(world, &run);
    registers(world, "198.51.100.7", "100", SECRET);
    gate.wait_for("grace", |event| event["mode"] == "enforce");
    let noted = wait_until(|| fs::metadata(format!("{doors}.enforced")).ok());
    noted.expect("its end is kept");
    assert!(gate.stop().0.success());
    let mut gate = Gate::start(world, &run);
    assert_eq!(gate.wait_for("started", |_| true)["mode"], "enforce");
    assert_eq!(mode(world, &config), "enforce");
    assert_eq!(gate.events("grace").len(), 0);
    assert!(gate.stop().0.success());
    // Whoever says so may have another one.
    let mut gate = Gate::start(world, &[&run[..], &["--grace", "1h"]].concat());
    assert_eq!(gate.wait_for("grace", |_| true)["grace_s"], 3600);
    assert!(gate.stop().0.success());
    // Without a place to keep its end there is none.
    let gate = Gate::start(world, &["--config", &config]);
    assert!(gate.says("[inspect] grace is left out"));
    assert_eq!(mode(world, &config), "enforce");
    assert!(gate.stop().0.success());
}

pub(crate) fn a_grace_without_phones_stays(world: &World) {
    let (mut gate, config) = start(world, "1s");
    let held = gate.wait_for("grace", |event| event["phones"] == 0);
    assert!(held["advice"].as_str().unwrap().contains("no phone has registered"), "{held}");
    world.client("198.51.100.99").send("stranger");
    assert_eq!(world.delivered(), ["stranger"]);
    assert_eq!(mode(world, &config), "monitor");
    says(world, &config, &["enforce", "--json"]);
    world.client("198.51.100.99").send("stranger");
    assert_eq!(world.delivered(), [""; 0]);
    let (status, _, log) = gate.stop();
    assert!(status.success());
    let told = log.iter().filter(|line| line["event"] == "grace").count();
    assert_eq!(told, 3, "its begin, that it is held, and its end, once each: {log:#?}");

    // Two that contradict each other.
    let (status, _, err) = sipknock(world, &config, &["run", "--grace", "1h", "--monitor"]);
    assert!(status == 2 && err.contains("cannot be used with"), "{err}");
    let monitors = world.config("mode = \"monitor\"", "");
    let (status, _, err) = sipknock(world, &monitors, &["run", "--grace", "1h"]);
    assert!(status == 2 && err.contains("take one of them out"), "{err}");
    let (status, _, err) = sipknock(world, &config, &["run", "--grace", "forever"]);
    assert!(status == 2 && err.contains("as in \"1h\""), "{err}");
    // What the configuration says, the configuration has to say otherwise.
    let gate = Gate::start(world, &["--config", &monitors]);
    let (status, _, err) = sipknock(world, &monitors, &["enforce"]);
    assert!(status == 1 && err.contains("sipknock reload"), "{err}");
    assert!(gate.stop().0.success());
}

pub(crate) fn a_reload_does_not_end_a_grace(world: &World) {
    let (mut gate, config) = start(world, "1h");
    registers(world, "198.51.100.7", "100", "Bob");
    sees(world, &config, 1);
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good.replace("[inspect]", "[inspect]\nmax_doors = 7")).unwrap();
    let said = says(world, &config, &["reload"]);
    assert!(said.contains("--grace continues"), "{said}");
    assert_eq!(gate.wait_for("reloaded", |_| true)["mode"], "monitor");
    let grace = sees(world, &config, 1);
    assert!((3500..3600).contains(&grace["left_s"].as_u64().unwrap()), "{grace}");
    // Whoever is trusted by now needs no knock.
    let trusts = good.replace("trusted = [", "trusted = [\"198.51.100.7\", ");
    fs::write(&config, &trusts).unwrap();
    gate.signal(Signal::HUP);
    wait_until(|| (sees(world, &config, 1)["unready"] == 0).then_some(())).expect("it is excused");
    fs::write(&config, trusts.replace("[inspect]", "[inspect]\nmode = \"monitor\"")).unwrap();
    let said = says(world, &config, &["reload"]);
    assert!(said.contains("--grace is over"), "{said}");
    fs::write(&config, trusts).unwrap();
    says(world, &config, &["reload"]);
    assert_eq!(mode(world, &config), "enforce");
    assert!(gate.stop().0.success());
}

pub(crate) fn a_grace_begins_again_with_the_gate(world: &World) {
    world.apply_rules(&world.config("", ""));
    let config = world.config_with_knocks(&trusting(""), "", &two_knocks());
    let run = ["--config", &config, "--state", &world.path("doors"), "--grace", "20s"];
    let gate = Gate::start(world, &run);
    registers(world, "198.51.100.7", "100", SECRET);
    sees(world, &config, 1);
    assert!(gate.stop().0.success());
    let mut gate = Gate::start(world, &run);
    assert_eq!(gate.wait_for("grace", |_| true)["grace_s"], 20);
    // His door is of before; that he has knocked is known by it.
    world.client("198.51.100.7").send(&register("100", "Alice", "Phone 1", true));
    assert_eq!(sees(world, &config, 1)["unready"], 0);
    gate.wait_for("grace", |event| event["mode"] == "enforce");
    assert!(gate.stop().0.success());
}

pub(crate) fn phones_over_tcp_and_strangers_in_a_grace(world: &World) {
    let (gate, config) = start(world, "1h");
    let _server = crate::common::tcp::Server::listen(world, crate::common::gate::PORT);
    let request = register("100", SECRET, "Phone 1", true);
    let (first, second) = request.split_at(request.find("Call-ID").unwrap());
    let [knocking, plain] = [SECRET, "Bob"].map(|name| {
        let mut phone = world.connect(world.fresh_address());
        let text = request.replace(SECRET, name);
        if name == SECRET {
            world.send_in_pieces(&[(&phone, vec![first.as_bytes(), second.as_bytes()])]);
        } else {
            phone.write_all(text.as_bytes()).unwrap();
        }
        phone
    });
    let grace = sees(world, &config, 2);
    assert_eq!(grace["unready"], 1, "{grace}");
    // A guesser is no phone, however hard he tries.
    let guesser = world.client("198.51.100.66");
    for n in 0..30 {
        guesser.send(&register("300", "Bob", "Phone 1", true).replace("Call-ID: ", &format!("Call-ID: {n}")));
    }
    // One that comes after him is seen after him.
    registers(world, "198.51.100.67", "301", "Carol");
    assert_eq!(sees(world, &config, 3)["unready"], 2);
    drop((knocking, plain));
    assert!(gate.stop().0.success());
}
