//! The processes: the service beside the gate, a gate that is halted, and reports of others.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

use rustix::process::{Signal, Uid};

use super::{LISTEN, SLOWEST, get, in_place, metric, other, restored, restores, run, start, states, watched};
use crate::common::commands::{says, socket, stats};
use crate::common::gate::{DEADLINE, Gate, World, wait_until};
use crate::trials::Outcome;

/// The service with the rights that dist/systemd/sipknock-rules.service gives it: root's, its two capabilities, and the
/// group of the gate's socket.
fn service_of(world: &World, config: &str) -> Gate {
    let mut command = world.server.command("setpriv");
    command.args(["--regid", "65534", "--clear-groups", "--no-new-privs", "--inh-caps", "-all"]);
    command.args(["--bounding-set", "-all,+net_admin,+net_raw", env!("CARGO_BIN_EXE_sipknock")]);
    command.args(["--log-format", "json", "--config", config, "firewall", "watch"]);
    Gate::spawn_command(command)
}

/// The service beside a gate that has no rights, as systemd starts both.
pub(super) fn the_service_tells_the_gate(world: &World) {
    let config = world.config("", "");
    let permissions = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(world.folder(), permissions(0o777)).unwrap();
    std::os::unix::fs::chown(&config, Some(0), Some(65_534)).unwrap();
    fs::set_permissions(&config, permissions(0o640)).unwrap();
    let service = service_of(world, &config);
    wait_until(|| in_place(world, &config).then_some(())).expect("the service puts them in");
    // No right to a helper: not root's.
    let mut command = world.server.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--groups", "0", "--inh-caps", "+net_admin"]);
    command.args(["--ambient-caps", "+net_admin", env!("CARGO_BIN_EXE_sipknock"), "--log-format", "json"]);
    command.args(["--config", &config, "run"]);
    command.args(["--http", LISTEN]);
    let mut gate = Gate::spawn_command(command);
    gate.wait_for("started", |_| true);
    watched(world, &config);
    assert_eq!(states(world, &config), ["in-place", "in-place"]);
    other(world, "iptables -F");
    restored(&gate, 1);
    assert!(in_place(world, &config));
    assert_eq!(service.wait_for_events("rules", 2).len(), 2, "its own log has it, too");
    assert_eq!(restores(world, &config), 1);
    // It goes by the owner's word, also once it is started again.
    says(world, &config, &["firewall", "remove"]);
    wait_until(|| (get(world, "/healthz").0 == 503).then_some(())).unwrap();
    assert!(!in_place(world, &config));
    let (ended, ..) = service.stop();
    assert!(ended.success(), "{ended}");
    // It has said so itself: nobody waits until its silence is noticed.
    let (status, body) = get(world, "/healthz");
    assert!(status == 503 && body.contains("no process watches them"), "{body}");
    assert_eq!(stats(world, &config)["rules"]["watched"], false);
    assert!(gate.says("no process watches the firewall rules: the one that did was ended"));
    assert_eq!(metric(world, "sipknock_rules_watched"), Some(0.0));
    assert_eq!(metric(world, "sipknock_rules_in_place{family=\"ipv4\"}"), None);
    let service = service_of(world, &config);
    assert!(service.says("they stay out until 'sipknock firewall apply'"));
    assert!(!in_place(world, &config));
    says(world, &config, &["firewall", "apply"]);
    wait_until(|| (get(world, "/healthz").0 == 200).then_some(())).unwrap();
    service.signal(Signal::KILL);
    drop(service);
    other(world, "iptables -F");
    let _service = service_of(world, &config);
    wait_until(|| in_place(world, &config).then_some(())).expect("the next one puts them in");
}

pub(super) fn a_frozen_gate_keeps_its_rules(world: &World) {
    let (gate, config) = start(world);
    gate.halt();
    for _ in 0..2 {
        other(world, "iptables -F");
        wait_until(|| in_place(world, &config).then_some(())).expect("the watch is another process");
    }
    gate.signal(Signal::CONT);
    restored(&gate, 2);
}

pub(super) fn nobody_but_root_reports(world: &World) {
    let (gate, config) = start(world);
    let report = "{\"v\":1,\"do\":\"rules\",\"report\":{\"families\":[],\"keep\":true,\"restores\":9}}";
    let path = socket(&config);
    fs::set_permissions(world.folder(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    // Rights are a thread's, and end with it.
    let ask = move || {
        let nobody = Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let mut stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(format!("{report}\n").as_bytes()).unwrap();
        let mut said = [0; 4096];
        let length = stream.read(&mut said).unwrap();
        String::from_utf8_lossy(&said[..length]).into_owned()
    };
    let said = thread::spawn(ask).join().unwrap();
    assert!(said.contains("not-allowed"), "{said}");
    assert_eq!(restores(world, &config), 0);
    drop(gate);
}

/// iptables-legacy notifies nobody, so that a loss is seen by the next look.
pub(super) fn legacy_is_looked_at(world: &World) -> Outcome {
    for program in ["iptables-legacy", "ip6tables-legacy"] {
        if !run(world, program, &["-w", "-S"]).status.success() {
            return Outcome::Impossible("this kernel has no iptables-legacy");
        }
    }
    // The programs of that name are the legacy ones.
    let folder = world.folder().join("legacy");
    fs::create_dir(&folder).unwrap();
    for name in ["iptables", "ip6tables"] {
        for ending in ["", "-save", "-restore"] {
            let real = format!("/usr/sbin/{name}-legacy{ending}");
            std::os::unix::fs::symlink(real, folder.join(format!("{name}{ending}"))).unwrap();
        }
    }
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let config = world.config("", "");
    let mut command =
        world.sipknock(&["--log-format", "json", "run", "--user", "root", "--config", &config, "--firewall"]);
    command.env("PATH", path);
    let mut gate = Gate::spawn_command(command);
    gate.wait_for("started", |_| true);
    watched(world, &config);
    let rules = || {
        let listing = String::from_utf8(run(world, "iptables-legacy", &["-w", "-S"]).stdout).unwrap();
        listing.contains("-j SIPKNOCK")
    };
    assert!(rules());
    other(world, "iptables-legacy -w -F");
    assert!(!rules());
    let began = Instant::now();
    wait_until(|| rules().then_some(())).expect("the next look finds it");
    eprintln!("legacy rules are back after {:?}", began.elapsed());
    assert!(began.elapsed() < 2 * SLOWEST, "{:?}", began.elapsed());
    restored(&gate, 1);
    Outcome::Held
}
