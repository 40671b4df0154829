//! Files that go away or are not what they were.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;
use sipknock::state::format::read;

use crate::common::gate::{Gate, SECRET, World, register, trusting, wait_until};
use crate::common::write_secret;
use crate::faults::{Outcome, PHONE, Site, prepare};

pub(crate) fn config_deleted_before_a_reload(world: &World) -> Outcome {
    let mut site = Site::new(world, "", "");
    let text = fs::read_to_string(&site.config).unwrap();
    fs::remove_file(&site.config).unwrap();
    site.gate.signal(Signal::HUP);
    site.gate.wait_for_warning("all is as it was");
    assert_eq!(site.warned("all is as it was"), 1);
    site.phone.send("open");
    site.stranger.send("stranger");
    assert_eq!(world.delivered(), ["open"]);
    write_secret(&site.config, &text);
    site.gate.signal(Signal::HUP);
    site.gate.wait_for("reloaded", |_| true);
    site.holds("with the configuration back");
    site.ends();
    Outcome::Held
}

pub(crate) fn secret_file_gone_at_a_reload(world: &World) -> Outcome {
    world.apply_rules(&world.config("", ""));
    let secret = world.path("secret");
    write_secret(&secret, &format!("{SECRET}\n"));
    let config = world.config_with_knocks(
        &trusting(""),
        "",
        &format!("[[knock]]\nname = \"alice\"\nsecret_file = {secret:?}\n"),
    );
    let gate = Gate::start(world, &["--config", &config]);
    let site = Site::around(world, gate, config);
    fs::remove_file(&secret).unwrap();
    let (status, said) = site.sipknock(&["reload", "--control", &site.config.replace(".toml", ".sock")]);
    assert!(status == 1 && said.contains("all is as it was") && said.contains(&secret), "{said}");
    site.holds("without the file");
    site.opens("198.51.100.8");
    assert!(site.ends().iter().all(|line| line["event"] != "reloaded"));
    Outcome::Held
}

/// The gate goes on, says so once, and keeps its doors again once it can.
pub(crate) fn state_directory_removed(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    let (folder, file) = (world.path("state"), world.path("state/doors"));
    wait_until(|| fs::exists(&file).unwrap().then_some(())).expect("the doors are written");
    fs::remove_dir_all(&folder).unwrap();
    site.opens("198.51.100.8");
    let warned = Instant::now();
    site.gate.wait_for_warning("can't be kept");
    let failures = || site.stats()["state"]["failures"].as_u64().unwrap();
    wait_until(|| (failures() >= 3).then_some(())).expect("it tries again");
    // Once a minute.
    let most = 1 + warned.elapsed().as_secs() / 60;
    assert!((1..=most).contains(&(site.warned("can't be kept") as u64)), "{:?}", site.gate.warnings());
    site.holds("without a place for the doors");
    fs::create_dir(&folder).unwrap();
    let doors = wait_until(|| {
        let saved = read(&*fs::read(&file).ok()?).ok()?;
        (saved.doors.len() == 2).then_some(())
    });
    doors.expect("they are kept again");
    site.ends();
    Outcome::Held
}

/// One that a later sipknock wrote is kept for it, and opens nothing.
pub(crate) fn state_of_a_later_version(world: &World) -> Outcome {
    other_state(world, |file| file[16] = 3, "version 3");
    Outcome::Held
}

/// Wherever a bit is another, no door is opened by it.
pub(crate) fn state_with_flipped_bits(world: &World) -> Outcome {
    // In the source of the door, its time, and the length of a name.
    for (place, bit) in [(70, 3), (100, 7), (54, 0)] {
        other_state(world, |file| file[place] ^= 1 << bit, "");
    }
    Outcome::Held
}

fn other_state(world: &World, spoil: impl Fn(&mut Vec<u8>), why: &str) {
    let (config, arguments) = prepare(world, "", "");
    let arguments = arguments.each_ref().map(String::as_str);
    let file = world.path("state/doors");
    let site = Site::around(world, Gate::start(world, &arguments), config);
    let config = site.config.clone();
    site.ends();
    let mut content = fs::read(&file).unwrap();
    spoil(&mut content);
    fs::write(&file, &content).unwrap();
    let gate = Gate::start(world, &arguments);
    let warnings = gate.warnings();
    let lost: Vec<_> = warnings.iter().filter(|text| text.contains("doors of before are lost")).collect();
    assert!(lost.len() == 1 && lost[0].contains(why), "{lost:?}");
    assert_eq!(fs::read(format!("{file}.damaged")).unwrap(), content, "it can be looked at");
    world.client(PHONE).send("shut");
    assert_eq!(world.delivered(), [""; 0]);
    let site = Site::around(world, gate, config);
    site.holds("after a knock");
    site.ends();
    fs::remove_file(&file).unwrap();
}

/// Who comes too late finds no gate; packets and signals are decided as before, and the next gate has a socket.
pub(crate) fn control_socket_removed(world: &World) -> Outcome {
    let mut site = Site::new(world, "", "");
    let socket = site.config.replace(".toml", ".sock");
    fs::remove_file(&socket).unwrap();
    let (status, said) = site.sipknock(&["stats"]);
    assert!(status == 1 && said.contains("is 'sipknock run' running?"), "{said}");
    site.holds("without a socket");
    site.gate.signal(Signal::HUP);
    site.gate.wait_for("reloaded", |_| true);
    // What is there in its place by now is somebody else's.
    fs::write(&socket, "mine").unwrap();
    let Site { config, .. } = {
        let config = site.config.clone();
        site.ends();
        let gate = Gate::start(world, &["--config", &config, "--state", &world.path("state/doors")]);
        gate.wait_for_warning("no control socket");
        let site = Site::around(world, gate, config);
        site.holds("with a file in the socket's place");
        assert_eq!(fs::read(&socket).unwrap(), b"mine");
        fs::remove_file(&socket).unwrap();
        site
    };
    let gate = Gate::start(world, &["--config", &config, "--queue", "7"]);
    let output = world.sipknock(&["--config", &config, "stats"]).output().unwrap();
    assert!(output.status.success());
    assert!(gate.stop().0.success());
    world.client(PHONE).send(&register(SECRET));
    Outcome::Held
}
