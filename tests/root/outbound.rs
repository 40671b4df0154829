//! Doors that the PBX opens by requests of its own, in network namespaces with real packets: what opens and closes them, what
//! they survive, and what the gate shows of them.

mod survival;

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use crate::common::commands::{doors, objects, says, sipknock, stats};
use crate::common::gate::{CLIENTS6, Gate, PORT, SECRET, SENTINEL6, World, alice, register, wait_until};
use crate::common::tcp::Server;
use crate::trials::{self, NetnsTrial, trials};
use rustix::process::Signal;
use serde_json::Value;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    CASES.iter().map(|&(name, case)| trials::in_netns(name, move || case(&World::new("outbound")))).collect()
}

type Case = fn(&World);

const CASES: &[(&str, Case)] = &trials![
    a_request_of_the_pbx_opens_a_door_and_an_answer_passes,
    lists_and_counters_show_it,
    a_closed_door_stays_closed_while_the_pbx_goes_on,
    a_knock_taken_out_marks_whom_it_held,
    over_tcp_and_ipv6,
    copies_that_are_lost_are_counted,
    a_taken_group_is_a_warning,
    a_confined_gate_reads_and_knows_its_own_addresses,
    a_pbx_named_by_a_reload_has_no_door,
    survival::doors_and_marks_survive_a_restart_and_a_kill,
    survival::a_takeover_hands_over_copies_doors_and_marks,
];

const TRUNK: &str = "198.51.100.77";
const PHONE: &str = "198.51.100.7";
const NEIGHBOUR: &str = "198.51.100.8";

/// A gate with its rules.
fn start(world: &World) -> (Gate, String) {
    let config = world.guarded("", "", &alice());
    (Gate::start(world, &["--config", &config]), config)
}

/// A request of the PBX without a tag in To.
fn request(method: &str) -> String {
    format!(
        "{method} sip:a@b SIP/2.0\r\nFrom: <sip:pbx@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: {method}@pbx\r\n\
         CSeq: 1 {method}\r\n\r\n"
    )
}

/// An answer to it, as a client sends it.
fn answer(text: &str) -> String {
    format!("SIP/2.0 200 OK\r\nTo: <sip:a@b>;tag=2\r\nX: {text}\r\n\r\n")
}

/// The PBX calls somebody at port 5060.
fn call(world: &World, method: &str, address: &str) {
    world.reply(&request(method), &format!("{address}:{PORT}"));
}

fn of_knock<'a>(events: &'a [Value], source: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["knock"] == "outbound" && event["src"] == source).collect()
}

fn a_request_of_the_pbx_opens_a_door_and_an_answer_passes(world: &World) {
    let (mut gate, config) = start(world);
    let (trunk, stranger) = (world.client(TRUNK), world.client("198.51.100.66"));
    trunk.send(&answer("before"));
    assert_eq!(world.delivered(), [""; 0]);
    // An answer opens nothing, and the request's own answer is in time however fast it comes.
    world.reply("SIP/2.0 200 OK\r\nTo: <sip:a@b>;tag=2\r\n\r\n", &format!("{TRUNK}:{PORT}"));
    trunk.send(&answer("unasked"));
    assert_eq!(world.delivered(), [""; 0]);
    for round in 0..200 {
        let address = world.fresh_address().to_string();
        let client = world.client(&address);
        call(world, "OPTIONS", &address);
        client.send(&answer(&round.to_string()));
        assert_eq!(world.delivered(), [answer(&round.to_string())], "{round}");
    }
    call(world, "INVITE", TRUNK);
    for text in [answer("now"), request("OPTIONS")] {
        trunk.send(&text);
        stranger.send(&text);
        assert_eq!(world.delivered(), [text]);
    }
    // Neither a REGISTER nor a request that begins no dialog of its own.
    trunk.send(&register("stranger"));
    trunk.send("INVITE sip:1@pbx SIP/2.0\r\nFrom: <sip:x@y>\r\nTo: <sip:1@pbx>\r\n\r\n");
    assert_eq!(world.delivered(), [""; 0]);
    let opened = gate.wait_for("opened", |event| event["src"] == TRUNK);
    for (field, value) in [("by", "pbx"), ("knock", "outbound"), ("method", "INVITE")] {
        assert_eq!(opened[field], value, "{opened}");
    }
    assert_eq!(opened["door_s"], 4 * 3600);
    call(world, "OPTIONS", TRUNK);
    wait_until(|| (stats(world, &config)["outbound"]["copies"] == 202).then_some(())).expect("it is read");
    assert_eq!(of_knock(&gate.events("opened"), TRUNK).len(), 1, "a door is logged once");
    let (status, last, log) = gate.stop();
    assert!(status.success() && last["reasons"].as_str().unwrap().contains("outbound:202"), "{log:#?}");
}

fn lists_and_counters_show_it(world: &World) {
    let (mut gate, config) = start(world);
    world.client(PHONE).send(&register(SECRET));
    world.delivered();
    call(world, "SUBSCRIBE", TRUNK);
    let (trunk, phone) = (world.client(TRUNK), world.client(PHONE));
    trunk.send(&answer("1"));
    phone.send("a");
    assert_eq!(world.delivered().len(), 2);
    let listed = doors(world, &config);
    assert_eq!(listed.keys().collect::<Vec<_>>(), [PHONE, TRUNK]);
    let door = &listed[TRUNK];
    assert_eq!((&door["knock"], &door["method"]), (&"outbound".into(), &"SUBSCRIBE".into()));
    assert_eq!(door["request"], door["last_knock"]);
    assert!(listed[PHONE].get("method").is_none() && listed[PHONE]["knock"] == "alice");
    let of = |args: &[&str]| objects(world, &config, &[&["doors"], args, &["--json"]].concat());
    assert_eq!(of(&["--knock", "outbound"]), std::slice::from_ref(door));
    assert_eq!(of(&["--knock", "alice"]).len(), 1);
    assert_eq!(of(&["--source", "198.51.100.64/26"]), std::slice::from_ref(door));
    let stats = stats(world, &config);
    for (field, value) in
        [("open", 1), ("max", 16_384), ("marks", 0), ("copies", 1), ("lost", 0), ("group", 5060)]
    {
        assert_eq!(stats["outbound"][field], value, "{field} of {stats}");
    }
    assert_eq!((&stats["doors"]["open"], &stats["doors"]["by_knock"]["outbound"]), (&1.into(), &1.into()));
    let text = says(world, &config, &["stats"]);
    assert!(
        text.contains("\noutbound doors: 1 open of at most 16384, 0 sources kept from one by a mark\n"),
        "{text}"
    );
    assert!(
        text.contains("\n  1 packet of the PBX read by NFLOG group 5060, 0 lost to a full socket\n"),
        "{text}"
    );

    assert_eq!(says(world, &config, &["doors", "flush"]), "2 doors closed\n");
    let closed = gate.wait_for("closed", |event| event["src"] == TRUNK);
    assert_eq!((&closed["why"], &closed["knock"]), (&"flushed".into(), &"outbound".into()));
    // A flush marks nobody.
    for address in [TRUNK, PHONE] {
        call(world, "OPTIONS", address);
    }
    trunk.send(&answer("2"));
    phone.send(&answer("3"));
    assert_eq!(world.delivered(), [answer("2"), answer("3")]);
    gate.wait_for("opened", |event| event["src"] == PHONE && event["by"] == "pbx");
}

fn a_closed_door_stays_closed_while_the_pbx_goes_on(world: &World) {
    let (mut gate, config) = start(world);
    let (phone, neighbour, trunk) = (world.client(PHONE), world.client(NEIGHBOUR), world.client(TRUNK));
    for client in [&phone, &neighbour] {
        client.send(&register(SECRET));
    }
    assert_eq!(world.delivered().len(), 2);
    let ping_all = || [PHONE, NEIGHBOUR, TRUNK].iter().for_each(|address| call(world, "OPTIONS", address));
    let answer_all = || {
        [&phone, &neighbour, &trunk].iter().zip(["phone", "neighbour", "trunk"]).for_each(
            |(client, name)| {
                client.send(&answer(name));
            },
        );
        world
            .delivered()
            .iter()
            .map(|text| text.split("X: ").nth(1).unwrap().trim().to_owned())
            .collect::<Vec<_>>()
    };
    ping_all();
    assert_eq!(answer_all(), ["phone", "neighbour", "trunk"]);
    // Of a phone: the knock's door, and the one that the PBX opened beside it.
    let (status, notes, _) = sipknock(world, &config, &["doors", "close", PHONE]);
    assert!(status == 0 && notes.contains("it is marked"), "{notes}");
    let closed = gate.wait_for("closed", |event| event["src"] == PHONE && event["knock"] == "alice");
    assert_eq!(closed["why"], "revoked");
    for _ in 0..3 {
        ping_all();
        assert_eq!(answer_all(), ["neighbour", "trunk"]);
    }
    assert_eq!(stats(world, &config)["outbound"]["marks"], 1);
    // A knock opens its own door, and does not lift the mark.
    phone.send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    assert_eq!(answer_all(), ["phone", "neighbour", "trunk"]);
    assert_eq!(stats(world, &config)["outbound"]["marks"], 1);

    // An outbound door closed by hand is open again when the PBX calls, unless it is marked.
    let (status, notes, _) = sipknock(world, &config, &["doors", "close", TRUNK]);
    assert!(status == 0 && notes.contains("--mark"), "{notes}");
    assert_eq!(answer_all(), ["phone", "neighbour"]);
    ping_all();
    assert_eq!(answer_all(), ["phone", "neighbour", "trunk"]);
    says(world, &config, &["doors", "close", "--mark", TRUNK]);
    ping_all();
    assert_eq!(answer_all(), ["phone", "neighbour"]);
    let (status, _, err) = sipknock(world, &config, &["doors", "close", TRUNK]);
    assert!(status == 1 && err.contains("no door is open"), "{err}");
    // Opened by hand the mark is gone, also once that door is closed.
    let (status, notes, _) = sipknock(world, &config, &["doors", "open", TRUNK]);
    assert!(status == 0 && notes.contains("its mark is taken away"), "{notes}");
    says(world, &config, &["doors", "close", TRUNK]);
    assert_eq!(answer_all(), ["phone", "neighbour"]);
    ping_all();
    assert_eq!(answer_all(), ["phone", "neighbour", "trunk"]);
}

fn a_knock_taken_out_marks_whom_it_held(world: &World) {
    let bob = "[[knock]]\nname = \"bob\"\nsecret = \"an0ther-l0ng-secret\"\ndoor = \"5s\"\n";
    let config = world.guarded("", "", &format!("{}{bob}", alice()));
    let mut gate = Gate::start(world, &["--config", &config]);
    let (phone, neighbour, late) =
        (world.client(PHONE), world.client(NEIGHBOUR), world.client("198.51.100.9"));
    late.send(&register("an0ther-l0ng-secret"));
    neighbour.send(&register("an0ther-l0ng-secret"));
    phone.send(&register(SECRET));
    assert_eq!(world.delivered().len(), 3);
    says(world, &config, &["doors", "open", NEIGHBOUR, "--for", "1h"]);
    // One that has run out is remembered for as long again, and may not have been forgotten by the reload.
    gate.wait_for("closed", |event| event["src"] == "198.51.100.9");
    let text = fs::read_to_string(&config).unwrap();
    crate::common::write_secret(&config, &text.replace(bob, ""));
    says(world, &config, &["reload"]);
    let ping_all =
        || [PHONE, NEIGHBOUR, "198.51.100.9"].iter().for_each(|address| call(world, "OPTIONS", address));
    ping_all();
    let marks = stats(world, &config)["outbound"]["marks"].as_u64().unwrap();
    assert_eq!(marks, 2, "the remembered one, and the neighbour's, whose door is held by hand as well");
    for client in [&phone, &neighbour, &late] {
        client.send(&answer("x"));
    }
    assert_eq!(world.delivered().len(), 2);
    late.send(&answer("y"));
    assert_eq!(world.delivered(), [""; 0]);
    // And one that is open.
    crate::common::write_secret(&config, &text.replace(&alice(), "").replace("\"5s\"", "\"1h\""));
    says(world, &config, &["reload"]);
    gate.wait_for("closed", |event| event["src"] == PHONE && event["why"] == "revoked");
    ping_all();
    phone.send(&answer("z"));
    assert_eq!(world.delivered(), [""; 0]);
}

fn over_tcp_and_ipv6(world: &World) {
    let (gate, config) = start(world);
    let [trunk, stranger] = [CLIENTS6[0], SENTINEL6].map(|address| world.client(address));
    let receiver = world.server_socket();
    receiver.send_to(request("INVITE").as_bytes(), (CLIENTS6[0], PORT)).unwrap();
    stranger.send(&answer("stranger"));
    trunk.send(&answer("trunk"));
    assert_eq!(world.arrives(), answer("trunk"));
    let listed = doors(world, &config);
    assert_eq!(listed.keys().collect::<Vec<_>>(), ["2001:db8:0:2::/64"]);
    assert_eq!(world.delivered(), [""; 0]);

    // A PBX sends from a port of the kernel's choice, to the provider's 5060.
    let mut server = Server::listen(world, PORT);
    let provider = world.clients.run(|| TcpListener::bind((TRUNK, PORT)).unwrap());
    let [trunk, stranger] = [TRUNK, "198.51.100.66"].map(|address| world.connect(address.parse().unwrap()));
    let message = |method: &str| {
        format!("{method} sip:1@pbx SIP/2.0\r\nFrom: <sip:t@x>;tag=1\r\nContent-Length: 0\r\n\r\n")
    };
    (&stranger).write_all(message("INVITE").as_bytes()).unwrap();
    let pbx = world.server.run(|| TcpStream::connect((TRUNK, PORT)).unwrap());
    let (provider, _) = provider.accept().unwrap();
    (&pbx).write_all(request("OPTIONS").as_bytes()).unwrap();
    (&trunk).write_all(message("INVITE").as_bytes()).unwrap();
    server.wait_for(&trunk, message("INVITE").as_bytes());
    server.settle(world);
    assert_eq!(server.received(&stranger), b"", "nothing of a stranger's");
    // Nor a REGISTER of the provider's, whatever came before it.
    (&trunk).write_all(message("REGISTER").as_bytes()).unwrap();
    server.settle(world);
    assert_eq!(server.received(&trunk), message("INVITE").as_bytes());
    assert_eq!(doors(world, &config)[TRUNK]["method"], "OPTIONS");
    drop((pbx, provider));
    assert!(gate.stop().0.success());
}

fn copies_that_are_lost_are_counted(world: &World) {
    let (mut gate, config) = start(world);
    gate.halt();
    let padded = format!("{}{}", request("OPTIONS"), "x".repeat(1000));
    for _ in 0..12_000 {
        world.reply(&padded, &format!("{TRUNK}:{PORT}"));
    }
    gate.signal(Signal::CONT);
    let overload = gate.wait_for("overload", |event| event["place"] == "outbound");
    assert!(overload["count"].as_u64() >= Some(1) && overload["limit"] == 8 << 20, "{overload}");
    call(world, "OPTIONS", TRUNK);
    let count = |name: &str| stats(world, &config)["outbound"][name].as_u64().unwrap();
    wait_until(|| (count("lost") > 1).then_some(())).expect("the next one tells how many");
    assert_eq!(count("copies") + count("lost"), 12_001);
    let counted = || -> u64 {
        let events = gate.events("overload");
        events
            .iter()
            .filter(|event| event["place"] == "outbound")
            .map(|event| event["count"].as_u64().unwrap())
            .sum()
    };
    wait_until(|| (counted() == count("lost")).then_some(())).expect("and all are in the log");
}

fn a_taken_group_is_a_warning(world: &World) {
    let config = world.guarded("", "", &alice());
    let options = sipknock::nflog::NflogOptions::of(5060);
    let other = world.server.run(|| sipknock::nflog::NflogReader::open(&options).unwrap());
    let gate = Gate::start(world, &["--config", &config]);
    assert!(gate.says("outbound is off") && gate.says("NFLOG group 5060 is taken by"));
    let stats = stats(world, &config);
    assert!(stats["outbound"]["off"].as_str().unwrap().contains("is taken by"), "{stats}");
    call(world, "OPTIONS", TRUNK);
    world.client(TRUNK).send(&answer("x"));
    world.client(PHONE).send(&register(SECRET));
    assert_eq!(world.delivered(), [register(SECRET)]);
    drop(other);
    assert!(gate.stop().0.success());
}

fn a_confined_gate_reads_and_knows_its_own_addresses(world: &World) {
    let path = world.guarded("", "", &alice());
    let text = fs::read_to_string(&path).unwrap();
    crate::common::write_secret(&path, &format!("{text}[process]\nseccomp = \"kill\"\n"));
    let mut gate = Gate::start(world, &["--config", &path]);
    call(world, "OPTIONS", TRUNK);
    gate.wait_for("opened", |event| event["src"] == TRUNK);
    // The next hop. What goes to an address of this machine is not even copied.
    call(world, "OPTIONS", "192.0.2.2");
    call(world, "OPTIONS", "192.0.2.1");
    wait_until(|| (stats(world, &path)["outbound"]["copies"] == 2).then_some(())).expect("they are read");
    assert_eq!(doors(world, &path).keys().collect::<Vec<_>>(), [TRUNK]);
    let warned: Vec<_> = gate
        .warnings()
        .into_iter()
        .filter(|text| text.contains("outbound") || text.contains("/proc"))
        .collect();
    assert_eq!(warned, [""; 0]);
    assert!(gate.stop().0.success());
}

fn a_pbx_named_by_a_reload_has_no_door(world: &World) {
    let (mut gate, config) = start(world);
    call(world, "OPTIONS", TRUNK);
    call(world, "OPTIONS", PHONE);
    wait_until(|| (doors(world, &config).len() == 2).then_some(())).expect("both are called");
    let text = fs::read_to_string(&config).unwrap();
    let changed = format!("{text}[firewall]\nchains = [\"INPUT\", \"FORWARD\"]\npbx = [\"{TRUNK}\"]\n");
    crate::common::write_secret(&config, &changed);
    says(world, &config, &["reload"]);
    assert_eq!(doors(world, &config).keys().collect::<Vec<_>>(), [PHONE], "its door is closed");
    gate.wait_for("closed", |event| event["src"] == TRUNK && event["why"] == "revoked");
    call(world, "OPTIONS", TRUNK);
    call(world, "OPTIONS", NEIGHBOUR);
    wait_until(|| doors(world, &config).contains_key(NEIGHBOUR).then_some(())).expect("the copies are read");
    assert!(!doors(world, &config).contains_key(TRUNK), "and no other is opened");
    assert!(gate.stop().0.success());
}
