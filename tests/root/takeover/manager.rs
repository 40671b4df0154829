//! A service manager as systemd is one: it hears how the gate does, and keeps its queues from one process to the next
//! (sd_notify(3), sd_listen_fds(3)).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::Signal;

use crate::common::commands::{assert_same_doors, doors, sipknock, stats};
use crate::common::gate::{Gate, SECRET, World, register, wait_until};
use crate::takeover::config;
use crate::takeover::faults::socket_of;
use crate::takeover::traffic::Traffic;

/// What it has heard, and what it keeps.
#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    store: Vec<(String, OwnedFd)>,
}

struct Manager {
    path: String,
    heard: Arc<Mutex<Heard>>,
    listening: Option<JoinHandle<()>>,
}

impl Manager {
    fn new(world: &World) -> Self {
        let path = world.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let heard = Arc::<Mutex<Heard>>::default();
        let theirs = Arc::clone(&heard);
        let listening = thread::spawn(move || while hear(&socket, &theirs) {});
        Self { path, heard, listening: Some(listening) }
    }

    /// What starts a gate with all that is kept. Standard input and output are the only descriptors that a child gets and its
    /// siblings do not; the shell puts them where they belong. Sockets go by them, and files by their names in /proc.
    fn command(&self, world: &World, config: &str, flags: &[&str]) -> Command {
        let (mut names, mut sockets, mut files) = (Vec::new(), Vec::new(), Vec::new());
        {
            let mut heard = self.heard.lock().unwrap();
            let is_file = |name: &str| matches!(name, "doors" | "requeued");
            heard.store.sort_by_key(|(name, _)| is_file(name));
            for (name, file) in &heard.store {
                names.push(name.clone());
                match name.as_str() {
                    name if is_file(name) => {
                        files.push(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
                    }
                    _ => sockets.push(file.try_clone().unwrap()),
                }
            }
        }
        assert!(sockets.len() <= 2 && files.len() <= 2, "{names:?}");
        let moves = ["3<&0 ", "4<&1 "][..sockets.len()].concat();
        let opens: String =
            files.iter().zip(3 + sockets.len()..).map(|(path, at)| format!("{at}<{path} ")).collect();
        let pid = if names.is_empty() { "" } else { "export LISTEN_PID=$$; " };
        let script = format!("{pid}exec \"$@\" {moves}{opens}0</dev/null 1>&2");
        let mut command: Command = world.server.command("sh");
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_sipknock"), "--log-format", "json"]);
        command.args(["--config", config, "run"]).args(flags);
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", "400000");
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        let mut sockets = sockets.into_iter().map(Stdio::from);
        command.stdin(sockets.next().unwrap_or_else(Stdio::null));
        command.stdout(sockets.next().unwrap_or_else(Stdio::null));
        command
    }

    /// The same, once it is ready.
    fn started(&self, world: &World, config: &str, flags: &[&str]) -> Gate {
        let before = self.count("READY=1");
        let mut gate = Gate::of(&mut self.command(world, config, flags));
        gate.wait_for("started", |_| true);
        self.wait_for("READY=1", before + 1);
        gate
    }

    fn lines(&self) -> Vec<String> {
        self.heard.lock().unwrap().lines.clone()
    }

    fn count(&self, wanted: &str) -> usize {
        self.lines().iter().filter(|line| *line == wanted).count()
    }

    fn wait_for(&self, wanted: &str, times: usize) {
        let come = wait_until(|| (self.count(wanted) >= times).then_some(()));
        come.unwrap_or_else(|| panic!("{wanted} not {times} times: {:#?}", self.lines()));
    }

    /// Keeps what a gate leaves that has had packets queued again and has not proved itself.
    fn mark(&self) {
        let mark = rustix::fs::memfd_create("requeued", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        self.heard.lock().unwrap().store.push(("requeued".to_owned(), mark));
    }

    /// Waits until there is no such mark.
    fn wait_until_proved(&self) {
        wait_until(|| (self.names() == ["outbound", "queue-0"]).then_some(()))
            .expect("the mark is taken back");
    }

    /// What it keeps.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.heard.lock().unwrap().store.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = UnixDatagram::unbound().unwrap().send_to(b"END", &self.path);
        let _ = self.listening.take().map(JoinHandle::join);
    }
}

/// Takes a message, and does what it says.
fn hear(socket: &UnixDatagram, heard: &Mutex<Heard>) -> bool {
    let mut buffer = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut rights,
        RecvFlags::CMSG_CLOEXEC,
    );
    let length = message.unwrap().bytes;
    let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let name = lines.iter().find_map(|line| line.strip_prefix("FDNAME=")).map(str::to_owned);
    let mut heard = heard.lock().unwrap();
    for message in rights.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            assert!(lines.contains(&"FDSTORE=1".to_owned()), "{lines:?}");
            let name = name.clone().unwrap();
            heard.store.extend(descriptors.map(|descriptor| (name.clone(), descriptor)));
        }
    }
    if lines.contains(&"FDSTOREREMOVE=1".to_owned()) {
        heard.store.retain(|(kept, _)| Some(kept) != name.as_ref());
    }
    // As systemd does with a second descriptor of the same file.
    let mut seen = Vec::new();
    heard.store.retain(|(_, file)| {
        let file = rustix::fs::fstat(file).unwrap();
        !seen.contains(&(file.st_dev, file.st_ino)) && {
            seen.push((file.st_dev, file.st_ino));
            true
        }
    });
    heard.lines.extend(lines);
    text != "END"
}

pub(crate) fn restarts_by_a_service_manager_lose_nothing(world: &World) {
    let (manager, config) = (Manager::new(world), config(world, ""));
    world.apply_rules(&world.config("", ""));
    let flags = ["--state", &world.path("doors")];
    let mut gate = manager.started(world, &config, &flags);
    for n in 1..=9 {
        world.client(&format!("198.51.100.{n}")).send(&register(SECRET));
    }
    wait_until(|| (doors(world, &config).len() == 9).then_some(())).expect("they are open");
    let traffic = Traffic::start(world, "198.51.100.7", "198.51.100.66");
    let before = doors(world, &config);
    let mut passed = 0;
    for round in 0..10 {
        passed = traffic.wait_for_more_than(passed + 2000);
        assert_eq!(manager.names(), ["outbound", "queue-0"], "doors are kept for one start only");
        let (status, stopped, log) = gate.stop();
        assert!(status.success(), "{round}: {log:#?}");
        assert_eq!((&stopped["event"], &stopped["stale"]), (&"stopped".into(), &0.into()));
        wait_until(|| (manager.names() == ["doors", "outbound", "queue-0"]).then_some(()))
            .expect("doors are kept");
        gate = manager.started(world, &config, &flags);
    }
    traffic.wait_for_more_than(passed + 2000);
    let sent = traffic.finish();
    assert_eq!(world.queue_row(0).unwrap()[..3], [0, 0, 0], "waiting, dropped by queue, dropped by socket");
    let after = doors(world, &config);
    assert_same_doors(&before, &after, false);
    assert_eq!(after["198.51.100.7"]["packets"], 1 + sent);
    assert!(gate.stop().0.success());
}

/// With another queue the group is another one, too.
pub(crate) fn a_service_manager_keeps_one_group_only(world: &World) {
    let (manager, first) = (Manager::new(world), config(world, ""));
    manager.started(world, &first, &[]).stop();
    let second = config(world, "numbers = \"4\"");
    for round in 0..3 {
        let gate = manager.started(world, &second, &[]);
        assert_eq!(manager.names(), ["outbound", "queue-4"], "{round}");
        let outbound = &stats(world, &second)["outbound"];
        assert_eq!(
            (&outbound["group"], &outbound["off"]),
            (&5064.into(), &serde_json::Value::Null),
            "{round}"
        );
        assert!(gate.stop().0.success());
    }
}

pub(crate) fn a_killed_gate_loses_nothing(world: &World) {
    let (manager, config) = (Manager::new(world), config(world, ""));
    world.apply_rules(&world.config("", ""));
    let flags = ["--state", &world.path("doors")];
    let gate = manager.started(world, &config, &flags);
    let phone = world.client("198.51.100.7");
    phone.send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    let written = || (stats(world, &config)["state"]["writes"].as_u64() > Some(0)).then_some(());
    wait_until(written).expect("the door is on disk");
    // With nothing in hand, nothing is lost: what comes waits.
    gate.signal(Signal::KILL);
    drop(gate);
    (0..500).for_each(|n| phone.send(&format!("waits {n}")));
    world.wait_for_row(0, |row| row[0] == 500);
    // So does what the PBX sends, and the answer that waits behind it passes.
    let options = "OPTIONS sip:a@b SIP/2.0\r\nFrom: <sip:p@b>;tag=1\r\nTo: <sip:a@b>\r\n\r\n";
    world.reply(options, "198.51.100.77:5060");
    world.client("198.51.100.77").send("SIP/2.0 200 OK\r\n\r\n");
    world.client("198.51.100.78").send("SIP/2.0 200 OK\r\n\r\n");
    world.wait_for_row(0, |row| row[0] == 502);
    let mut gate = manager.started(world, &config, &flags);
    assert_eq!(world.delivered().len(), 501);
    assert_eq!(doors(world, &config)["198.51.100.77"]["knock"], "outbound");

    // In the midst of traffic neither: what it had in hand comes again, and nothing is left in the queue for good.
    let traffic = Traffic::start(world, "198.51.100.7", "198.51.100.66");
    let mut passed = 0;
    const KILLS: usize = 5;
    for _ in 0..KILLS {
        manager.wait_until_proved();
        passed = traffic.wait_for_more_than(passed + 1000);
        gate.signal(Signal::KILL);
        drop(gate);
        gate = manager.started(world, &config, &flags);
    }
    traffic.wait_for_more_than(passed + 1000);
    traffic.finish();
    world.wait_for_row(0, |row| row[..3] == [0, 0, 0]);
    // Neither where no packet comes after them.
    gate.halt();
    phone.send("in hand, or not yet");
    gate.signal(Signal::KILL);
    drop(gate);
    let gate = manager.started(world, &config, &flags);
    world.wait_for_row(0, |row| row[0] == 0);
    assert!(gate.stop().0.success());
}

/// A packet may be why a gate ended, and it is not to end every gate that comes after it.
pub(crate) fn packets_in_hand_come_again_once(world: &World) {
    let (manager, config) = (Manager::new(world), config(world, ""));
    world.apply_rules(&world.config("", ""));
    let flags = ["--state", &world.path("doors")];
    let mut gate = manager.started(world, &config, &flags);
    let phone = world.client("198.51.100.7");
    phone.send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    let written = || (stats(world, &config)["state"]["writes"].as_u64() > Some(0)).then_some(());
    wait_until(written).expect("the door is on disk");
    for (marked, expected) in [(false, "in hand"), (true, "the next one")] {
        gate.halt();
        phone.send("in hand");
        let socket = socket_of(world, &gate);
        let receive = || rustix::net::recv(&socket, &mut [0; 65_536][..], RecvFlags::empty()).ok();
        wait_until(receive).expect("it is received");
        gate.signal(Signal::KILL);
        drop(gate);
        if marked {
            manager.mark();
        }
        phone.send("the next one");
        gate = manager.started(world, &config, &flags);
        let mut arrived = world.delivered();
        arrived.sort();
        assert_eq!(arrived.first().map(String::as_str), Some(expected), "{arrived:?}");
        assert_eq!(arrived.len(), if marked { 1 } else { 2 }, "{arrived:?}");
        assert_eq!(manager.names(), ["outbound", "queue-0", "requeued"]);
        manager.wait_until_proved();
    }
    world.wait_for_row(0, |row| row[..3] == [0, 0, 0]);
    assert!(gate.stop().0.success());
}

pub(crate) fn a_service_manager_hears_how_it_goes(world: &World) {
    let (manager, config) = (Manager::new(world), config(world, ""));
    world.apply_rules(&world.config("", ""));
    let gate = manager.started(world, &config, &[]);
    let lines = manager.lines();
    let ready = lines.iter().position(|line| line == "READY=1").unwrap();
    assert!(lines[ready + 1].starts_with("STATUS=deciding packets"), "{lines:?}");
    // Two of five hundred milliseconds each, had it none to hear of but the first.
    manager.wait_for("WATCHDOG=1", 4);
    assert_eq!(sipknock(world, &config, &["reload"]).0, 0);
    manager.wait_for("RELOADING=1", 1);
    manager.wait_for("READY=1", 2);
    gate.signal(Signal::HUP);
    manager.wait_for("READY=1", 3);
    // Whoever is kept by a service manager is restarted by it.
    let (code, _, err) = sipknock(world, &config, &["run", "--takeover"]);
    assert!(code == 1 && err.contains("systemctl restart"), "{err}");
    assert!(gate.stop().0.success());
    manager.wait_for("STOPPING=1", 1);
}

pub(crate) fn a_failing_start_gives_the_queues_up(world: &World) {
    let (manager, config) = (Manager::new(world), config(world, "on_exit = \"open\""));
    world.apply_rules(&world.config("", "on_exit = \"open\""));
    let gate = manager.started(world, &config, &[]);
    gate.signal(Signal::KILL);
    drop(gate);
    assert_eq!(manager.names(), ["outbound", "queue-0"]);
    // Two that can't have the same queue number: the second one fails.
    let other = world.config("", "numbers = \"0-1\"");
    let taken = Gate::start(world, &["--config", &other, "--queue", "1"]);
    let failed = manager.command(world, &other, &[]).output().unwrap();
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(failed.status.code() == Some(1) && said.contains("queue 1 is taken"), "{said}");
    wait_until(|| manager.names().is_empty().then_some(())).expect("it is kept no longer");
    wait_until(|| world.queue_row(0).is_none().then_some(())).expect("and nobody has the queue");
    world.client("198.51.100.8").send("unchecked, as on_exit says");
    assert_eq!(world.arrives(), "unchecked, as on_exit says");
    drop(taken);
    // A kept socket that another backend can't use is bound again.
    let gate = manager.started(world, &config, &[]);
    assert!(gate.stop().0.success());
    let gate = manager.started(world, &config, &["--backend", "nfq"]);
    world.client("198.51.100.7").send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    gate.wait_for_warning("bound again");
    assert!(gate.stop().0.success());
}
