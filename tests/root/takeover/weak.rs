//! Knocks that `check` refuses, in a gate that has them in force.

use super::*;

/// Ten letters of a keypad, which a sender guesses in a second, and the placeholder of the example.
const OPEN: [&str; 2] = ["adgjmptwad", "CHANGE-ME"];

fn knocks(secrets: &[&str]) -> String {
    let table = |(n, secret)| format!("[[knock]]\nname = \"k{n}\"\nsecret = \"{secret}\"\n");
    secrets.iter().enumerate().map(table).collect()
}

/// Everybody who has a knock gets in, before and after an upgrade, a reload and a restart; the log warns each time, doctor
/// has a fault, and `check` refuses.
pub(super) fn a_weak_knock_stays_in_force_over_takeover_and_reload(world: &World) {
    let config = world.guarded("", "", &knocks(&OPEN[..1]));
    let check = |status: i32, knock: &str| {
        let (code, out, _) = sipknock(world, &config, &["check"]);
        assert_eq!(code, status, "{out}");
        assert!(out.contains(&format!("error: knock \"{knock}\": ")), "{out}");
        let (code, out, _) = sipknock(world, &config, &["doctor", "--json"]);
        let report: Value = serde_json::from_str(&out).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let faults = findings.iter().filter(|finding| finding["name"] == "guessable-knock");
        let named = faults
            .filter(|fault| fault["text"].as_str().unwrap().contains(&format!("weak knock \"{knock}\"")));
        let severities: Vec<_> = named.map(|fault| fault["severity"].as_str().unwrap()).collect();
        assert_eq!((code, &severities[..]), (1, &["fault"][..]), "{out}");
    };
    let knocks_by = |host: u8, secret: &str| {
        world.client(&format!("198.51.100.{host}")).send(&register(secret));
        assert_eq!(world.delivered(), [register(secret)], "{secret}");
    };
    let warns = |gate: &Gate, knock: &str| {
        let text = gate.wait_for_warning(&format!("weak knock \"{knock}\": "));
        assert!(text.contains("it stays in force, so that no phone is shut out"), "{text}");
    };

    // In force from the start.
    let mut gate = Gate::start(world, &["--config", &config]);
    warns(&gate, "k0");
    knocks_by(7, OPEN[0]);
    check(2, "k0");

    // An upgrade keeps the knock and its door.
    let next = take_over(world, &config);
    assert!(mem::replace(&mut gate, next).end().0.success());
    warns(&gate, "k0");
    world.client("198.51.100.7").send("open");
    assert_eq!(world.delivered(), ["open"]);
    knocks_by(8, OPEN[0]);

    // A reload brings a second one: the others of the file are not to wait for it.
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace(&knocks(&OPEN[..1]), &knocks(&[OPEN[0], OPEN[1], "a-third-one-k7q9xw2"])),
    )
    .unwrap();
    let (status, out, err) = sipknock(world, &config, &["reload"]);
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("weak knock \"k1\": it occurs in the example configuration"), "{out}");
    warns(&gate, "k1");
    knocks_by(9, OPEN[1]);
    knocks_by(10, "a-third-one-k7q9xw2");
    check(2, "k1");

    // A restart, as after a reboot.
    assert!(gate.stop().0.success());
    let gate = Gate::start(world, &["--config", &config]);
    warns(&gate, "k0");
    knocks_by(11, OPEN[0]);
    assert!(gate.stop().0.success());
}
