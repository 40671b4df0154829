//! Less than a gate wants.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::common::gate::{Gate, SECRET, World, register, wait_until};
use crate::faults::{Outcome, PHONE, Site, prepare};

/// A gate that `prlimit` has taken something from.
fn limited(world: &World, limit: &str, arguments: &[String]) -> Gate {
    let mut command = world.server.command("prlimit");
    command.args([limit, env!("CARGO_BIN_EXE_sipknock"), "--log-format", "json", "run"]).args(arguments);
    Gate::spawn_command(command)
}

/// Clients of the control socket take all descriptors: packets are decided, what needs a file says so and is mended.
pub(crate) fn descriptors_exhausted(world: &World) -> Outcome {
    let (config, arguments) = prepare(world, "", "");
    let mut gate = limited(world, "--nofile=30", &arguments);
    gate.wait_for("started", |_| true);
    let site = Site::around(world, gate, config);
    let usual = site.gate.descriptors();
    let socket = site.config.replace(".toml", ".sock");
    let mut clients: Vec<_> = (0..40).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    wait_until(|| (site.gate.descriptors() >= 30).then_some(())).expect("they take them all");
    site.holds("without a descriptor left");
    site.opens("198.51.100.8");
    // A client that keeps saying something keeps its place. Each round opens a door, which is to be written.
    let mut opened = 2;
    let failed = wait_until(|| {
        for client in &mut clients {
            if client.write_all(b"{\"v\":1,\"do\":\"stats\"}\n").is_err() {
                *client = UnixStream::connect(&socket).unwrap();
            }
        }
        world.client(&world.fresh_address().to_string()).send(&register(SECRET));
        opened += 1;
        (site.warned("can't be kept") > 0).then_some(())
    });
    failed.expect("the doors can't be written");
    drop(clients);
    world.delivered();
    let kept = wait_until(|| {
        let file = std::fs::read(world.path("state/doors")).ok()?;
        (sipknock::state::format::read(&*file).ok()?.doors.len() == opened).then_some(())
    });
    kept.expect("they are written once there is a descriptor");
    wait_until(|| (site.gate.descriptors() <= usual).then_some(())).expect("none is left open");
    site.holds("with descriptors again");
    site.ends();
    Outcome::Held
}

/// It does not start, or ends at once; the rules shut the port.
pub(crate) fn too_little_memory_to_start(world: &World) -> Outcome {
    let (_, arguments) = prepare(world, "", "");
    let mut command = world.server.command("prlimit");
    command.args(["--as=20000000", env!("CARGO_BIN_EXE_sipknock"), "run"]).args(&arguments);
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.client(PHONE).send(&register(SECRET));
    assert_eq!(world.arrived(), [""; 0], "a knock, and nobody to see it");
    Outcome::Held
}

/// With little more than it takes, a thousand clients and many doors are all the same to it.
pub(crate) fn memory_limited(world: &World) -> Outcome {
    let (config, arguments) = prepare(world, "", "");
    let mut gate = limited(world, "--as=400000000", &arguments);
    gate.wait_for("started", |_| true);
    let site = Site::around(world, gate, config);
    let socket = site.config.replace(".toml", ".sock");
    let clients: Vec<_> = (0..1000).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
    for n in 1..=200 {
        world.client(&format!("198.51.100.{n}")).send(&register(SECRET));
    }
    assert_eq!(world.delivered().len(), 200);
    drop(clients);
    let listed = wait_until(|| {
        let (status, said) = site.sipknock(&["doors", "--json"]);
        (status == 0 && said.lines().count() == 200).then_some(())
    });
    listed.expect("it answers");
    let stranger = world.client("198.51.100.240");
    stranger.send("stranger");
    assert_eq!(world.delivered(), [""; 0]);
    site.ends();
    Outcome::Held
}

/// In a container's user namespace the receive buffer can't be forced: it is as large as the system lets it be, and the log
/// says what to do.
pub(crate) fn receive_buffer_refused(world: &World) -> Outcome {
    let unshare = ["--user", "--map-root-user", "--net"];
    if !Command::new("unshare").args(unshare).arg("true").status().is_ok_and(|status| status.success()) {
        return Outcome::Impossible("needs user namespaces");
    }
    let config = world.config("", "");
    let mut command = Command::new("unshare");
    command.args(unshare).arg(env!("CARGO_BIN_EXE_sipknock"));
    // A user namespace has no user but root.
    command.args(["--log-format", "json", "run", "--config", &config, "--user", "root"]);
    let mut gate = Gate::spawn_command(command);
    let started = gate.wait_for("started", |_| true);
    assert!(started["receive_buffer"].as_u64().unwrap() < 32 << 20, "{started}");
    let warned = gate.wait_for_warning("smaller than asked for");
    assert!(warned.contains("net.core.rmem_max"), "{warned}");
    let (status, stopped, _) = gate.stop();
    assert!(status.success());
    assert_eq!(stopped["waiting"], 0);
    Outcome::Held
}

/// A journal that is not there is said at the start, before anything is bound.
pub(crate) fn journald_absent(world: &World) -> Outcome {
    let (_, arguments) = prepare(world, "", "");
    // `ip netns exec` has given it mounts of its own.
    let hide = "dir=/run/systemd/journal; test ! -d $dir || mount -t tmpfs none $dir || exit 77; exec \"$@\"";
    let output = world
        .server
        .command("sh")
        .args(["-c", hide, "sh", env!("CARGO_BIN_EXE_sipknock"), "--log-format", "journald", "run"])
        .args(&arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        return Outcome::Impossible("needs mounts");
    }
    assert!(output.status.code() == Some(1) && said.contains("try --log-format text"), "{said}");
    world.client(PHONE).send(&register(SECRET));
    assert_eq!(world.arrived(), [""; 0]);
    Outcome::Held
}

/// Nobody has given it a stderr: no other file may get what is meant for the log.
pub(crate) fn stderr_closed(world: &World) -> Outcome {
    let (config, arguments) = prepare(world, "", "");
    let mut command = world.server.command("sh");
    command.args(["-c", "exec \"$@\" 2>&-", "sh", env!("CARGO_BIN_EXE_sipknock"), "run"]).args(&arguments);
    let gate = Gate::spawn_command(command);
    wait_until(|| world.queue_row(0)).expect("the queue is bound");
    let socket = config.replace(".toml", ".sock");
    wait_until(|| UnixStream::connect(&socket).ok()).expect("it is up");
    let site = Site::around(world, gate, config);
    site.opens("198.51.100.8");
    site.holds("without a log");
    let kept = wait_until(|| (site.stats()["state"]["writes"].as_u64() > Some(0)).then_some(()));
    kept.expect("the doors are written");
    let file = std::fs::read(world.path("state/doors")).unwrap();
    assert!(sipknock::state::format::read(&*file).is_ok(), "and nothing else is in there");
    let Site { mut gate, .. } = site;
    gate.signal(rustix::process::Signal::TERM);
    assert!(gate.wait().success());
    Outcome::Held
}
