//! Another configuration for a running gate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use crate::common::commands::{objects, says, sipknock, socket, stats};
use crate::common::gate::{Gate, SECRET, World, register, trusting, wait_until};
use crate::control::{start, two_knocks};

/// Gives a running gate another configuration, in the same file.
pub(crate) fn rewrite(world: &World, config: &str, inspect: &str, queue: &str, knocks: &str) {
    let other = world.config_with_knocks(&trusting(inspect), queue, knocks);
    let text = fs::read_to_string(&other).unwrap();
    fs::write(config, text.replace(&other.replace(".toml", ""), &config.replace(".toml", ""))).unwrap();
}

pub(crate) fn a_reload_closes_doors_whose_knock_is_gone(world: &World) {
    let (mut gate, config) = start(world, "", &two_knocks());
    let [alice, bob, guest] = [7, 8, 9].map(|n| world.client(&format!("198.51.100.{n}")));
    alice.send(&register(SECRET));
    bob.send(&register("another-long-one"));
    says(world, &config, &["doors", "open", "198.51.100.9"]);
    assert_eq!(world.delivered().len(), 2);

    // Alice's secret is another one and she comes second; bob is gone.
    let knocks = "[[knock]]\nname = \"carol\"\nsecret = \"carols-own-secret\"\n\
        [[knock]]\nname = \"alice\"\nsecret = \"alices-new-secret\"\n";
    rewrite(world, &config, "", "", knocks);
    let said = format!("the configuration is in force, read from {config}, 1 door closed\n");
    assert_eq!(says(world, &config, &["reload"]), said);
    for (phone, text) in [(&alice, "alice"), (&bob, "bob"), (&guest, "guest")] {
        phone.send(text);
    }
    assert_eq!(world.delivered(), ["alice", "guest"]);
    let closed = gate.wait_for("closed", |_| true);
    assert_eq!(
        (&closed["why"], &closed["knock"], &closed["src"]),
        (&"revoked".into(), &"bob".into(), &"198.51.100.8".into())
    );
    let reloaded = gate.wait_for("reloaded", |_| true);
    assert_eq!((&reloaded["knocks"], &reloaded["closed"]), (&2.into(), &1.into()));

    // The new secrets count, the old ones don't, and names are the right ones.
    let [old, new, third] = [17, 18, 19].map(|n| world.client(&format!("198.51.100.{n}")));
    old.send(&register(SECRET));
    new.send(&register("alices-new-secret"));
    third.send(&register("carols-own-secret"));
    assert_eq!(world.delivered(), [register("alices-new-secret"), register("carols-own-secret")]);
    let doors = objects(world, &config, &["doors", "--json"]);
    let knocks: Vec<_> = doors.iter().map(|door| door["knock"].as_str().unwrap()).collect();
    assert_eq!(knocks, ["alice", "manual", "alice", "carol"]);
    let stats = stats(world, &config);
    assert_eq!(stats["doors"]["by_knock"], serde_json::json!({"alice": 2, "carol": 1, "manual": 1}));
    assert!(gate.stop().0.success());
}

pub(crate) fn a_reload_of_another_file_is_refused(world: &World) {
    let (mut gate, config) = start(world, "", &two_knocks());
    let other = world.path("other.toml");
    fs::write(&other, fs::read_to_string(&config).unwrap().replace("[inspect]", "[inspect]\nmax_doors = 7"))
        .unwrap();
    for args in [&["reload"][..], &["reload", "--control", &socket(&config)]] {
        let (status, out, err) = sipknock(world, &other, args);
        assert_eq!((status, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(&format!("runs with {config} and not with {other}")), "{err}");
        assert!(err.contains(&format!("'sipknock --config {config} reload'")), "{err}");
    }
    // Another name of the same file is no other file, and none at all is whichever the gate has.
    let link = world.path("link.toml");
    std::os::unix::fs::symlink(&config, &link).unwrap();
    let said = format!("the configuration is in force, read from {config}\n");
    assert!(says(world, &link, &["reload"]).starts_with(&said));
    let output = world.sipknock(&["reload", "--json", "--control", &socket(&config)]).output().unwrap();
    let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["file"], config.as_str());
    let told = &stats(world, &config)["config"];
    assert_eq!((&told["file"], &told["flags"]), (&config.as_str().into(), &false.into()), "{told}");
    gate.wait_for("reloaded", |_| true);
    let reloads = wait_until(|| (gate.events("reloaded").len() == 2).then_some(()));
    reloads.expect("two reloads, and no third one");
    assert!(gate.stop().0.success());
}

pub(crate) fn sighup_with_a_broken_config_changes_nothing(world: &World) {
    let (mut gate, config) = start(world, "", &two_knocks());
    let phone = world.client("198.51.100.7");
    phone.send(&register(SECRET));
    world.delivered();
    let good = fs::read_to_string(&config).unwrap();
    for (broken, part) in [
        (good.replace("[inspect]", "[inspect]\nprots = [5060]"), "prots"),
        (good.replace("[inspect]", "[inspect"), "unclosed table"),
        (good.split("[[knock]]").next().unwrap().to_owned(), "no knock is configured"),
    ] {
        fs::write(&config, broken).unwrap();
        let (status, _, err) = sipknock(world, &config, &["reload", "--control", &socket(&config)]);
        assert!(status == 1 && err.contains("all is as it was") && err.contains(part), "{err}");
        assert!(!err.contains(SECRET));
        gate.signal(rustix::process::Signal::HUP);
        wait_until(|| {
            // One warning for the command, and one for the signal.
            let seen = gate.warnings().iter().filter(|text| text.contains(part)).count();
            (seen == 2).then_some(())
        })
        .unwrap_or_else(|| panic!("{part:?} twice in {:#?}", gate.warnings()));
        phone.send("open");
        assert_eq!(world.delivered(), ["open"]);
    }
    fs::write(&config, good.replace(SECRET, "a-new-secret-of-hers")).unwrap();
    gate.signal(rustix::process::Signal::HUP);
    gate.wait_for("reloaded", |_| true);
    world.client("198.51.100.8").send(&register("a-new-secret-of-hers"));
    phone.send("open");
    assert_eq!(world.delivered().len(), 2);
}

pub(crate) fn a_reload_says_what_it_does_not_change(world: &World) {
    let (gate, config) = start(world, "", &two_knocks());
    rewrite(
        world,
        &config,
        "ipv6_prefix = 48\nports = [5070]",
        "numbers = \"3\"\nmax_len = 100",
        &two_knocks(),
    );
    let said = says(world, &config, &["reload"]);
    assert!(said.contains("note: queue.numbers, queue.max_len, inspect.ipv6_prefix can't change"), "{said}");
    assert!(said.contains("inspect.ports changed") && said.contains("sipknock firewall apply"), "{said}");
    // What did not change still differs; what was told about the rules is told.
    let said = says(world, &config, &["reload"]);
    assert!(said.contains("queue.numbers") && !said.contains("inspect.ports"), "{said}");
    // Monitor mode and the number of doors change at once.
    rewrite(world, &config, "mode = \"monitor\"\nmax_doors = 5", "", &two_knocks());
    let done = &objects(world, &config, &["reload", "--json"])[0];
    assert_eq!(
        done["notes"].as_array().map(|notes| notes.len()),
        Some(2),
        "the ports are back, and a knock is weak: {done}"
    );
    world.client("198.51.100.8").send("stranger");
    assert_eq!(world.delivered(), ["stranger"]);
    let stats = stats(world, &config);
    assert_eq!((&stats["mode"], &stats["doors"]["max"]), (&"monitor".into(), &5.into()));
    assert!(gate.stop().0.success());
}

pub(crate) fn outbound_that_was_off_at_the_start_stays_unread_and_says_so(world: &World) {
    let config = world.guarded("", "[firewall]\noutbound = \"off\"", &two_knocks());
    let gate = Gate::start(world, &["--config", &config]);
    rewrite(world, &config, "", "[firewall]\noutbound = \"1h\"", &two_knocks());
    for round in 1..=2 {
        let said = says(world, &config, &["reload"]);
        assert!(said.contains("firewall.outbound can't change"), "{round}: {said}");
        let stats = stats(world, &config);
        assert_eq!(stats["config"]["restart"], serde_json::json!(["firewall.outbound"]), "{round}");
        assert!(stats["outbound"]["off"].is_string(), "{round}: {}", stats["outbound"]);
    }
    assert!(gate.stop().0.success());
}

pub(crate) fn reloads_under_load_lose_nothing(world: &World) {
    let (gate, config) = start(world, "", &two_knocks());
    let phones: Vec<_> = (1..=4).map(|n| world.client(&format!("198.51.100.{n}"))).collect();
    phones.iter().for_each(|phone| phone.send(&register(SECRET)));
    assert_eq!(world.delivered().len(), 4);
    // To stop sending, and that nothing more is sent.
    let [stop, over] = [(); 2].map(|()| AtomicBool::new(false));
    let (sent, arrived) = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let stranger = world.client("198.51.100.99");
            let mut sent = 0u64;
            while !stop.load(Ordering::SeqCst) {
                for phone in &phones {
                    phone.send("open");
                    sent += 1;
                }
                stranger.send("stranger");
                thread::sleep(Duration::from_micros(200));
            }
            sent
        });
        let receiving = scope.spawn(|| {
            let mut arrived = 0u64;
            loop {
                match world.receive() {
                    Some(text) => {
                        assert_eq!(text, "open");
                        arrived += 1;
                    }
                    None if over.load(Ordering::SeqCst) => return arrived,
                    None => {}
                }
            }
        });
        // A thousand knocks come and go; alice stays, now first and now last.
        let many: String = (0..1000)
            .map(|n| format!("[[knock]]\nname = \"{n}\"\nsecret = \"secret-number-{n}\"\n"))
            .collect();
        for round in 0..ROUNDS {
            let knocks = if round % 2 == 0 { format!("{many}{}", two_knocks()) } else { two_knocks() };
            rewrite(world, &config, "", "", &knocks);
            says(world, &config, &["reload"]);
            assert_eq!(objects(world, &config, &["doors", "--json"]).len(), 4);
        }
        stop.store(true, Ordering::SeqCst);
        let sent = sending.join().unwrap();
        over.store(true, Ordering::SeqCst);
        (sent, receiving.join().unwrap())
    });
    assert!(sent > 1000, "{sent}");
    assert_eq!(arrived, sent);
    let (status, stopped, log) = gate.stop();
    assert!(status.success());
    assert_eq!((&stopped["waiting"], &stopped["stale"]), (&0.into(), &0.into()));
    assert_eq!(log.iter().filter(|line| line["event"] == "reloaded").count(), ROUNDS);
}

/// Each is a reload and a list.
const ROUNDS: usize = 100;
