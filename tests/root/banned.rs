//! Who is banned by the log: a real fail2ban reads the log of a real gate, in a namespace of their own. A scanner that speaks
//! TCP is banned, on the ports for SIP alone, and nobody in whose name others send.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::gate::{Gate, PORT, SECRET, SERVER4, World};
use crate::common::netns::Netns;
use crate::common::program::{Program, patiently};
use crate::common::raw::RawFlow;
use crate::common::tcp::Server;
use crate::trials::{self, NetnsTrial, trials};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::Signal;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    let missing = trials::missing_program(&["fail2ban-server", "fail2ban-client", "sipp"]);
    let by_fail2ban =
        BY_FAIL2BAN.iter().map(|&(name, case)| trials::in_netns_with(missing.clone(), name, case));
    by_fail2ban.chain(CASES.iter().map(|&(name, case)| trials::in_netns(name, case))).collect()
}

type Case = fn();

/// With a real fail2ban.
const BY_FAIL2BAN: &[(&str, Case)] = &trials![fail2ban_bans_scanners_and_nobody_in_whose_name_others_send];

const CASES: &[(&str, Case)] = &trials![
    a_line_says_who_sent_and_whether_that_is_proven,
    nobody_is_proven_in_front_of_a_pbx_behind_this_machine,
];

fn fail2ban_bans_scanners_and_nobody_in_whose_name_others_send() {
    let world = World::new("banned");
    let _pbx = Server::listen(&world, PORT);
    let ssh = world.server.run(|| TcpListener::bind((SERVER4, SSH)).unwrap());
    let config = world.guarded("", "", &crate::common::gate::alice());
    let log = PathBuf::from(world.path("sipknock.log"));
    let _gate = text_gate(&world, &config, &log);
    let banning = Fail2ban::start(&world, &log);

    // The PBX has called this one, which speaks TCP with it. So it has a door, by which no REGISTER passes.
    world.reply(OPTIONS, &format!("{CALLED}:{PORT}"));
    let opened = format!("knock=\"outbound\" src={CALLED} ");
    patiently(|| lines(&log, &opened).pop()).expect("the PBX's request opens a door");
    let trunk = world.connect(CALLED.parse().unwrap());

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| forge(&world, &trunk, &done));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for victim in [TRUNK, CALLED] {
                let told = format!("event=\"dropped\" src={victim} ");
                let enough = || (lines(&log, &told).len() > MAX_RETRY).then_some(());
                patiently(enough).unwrap_or_else(|| panic!("no lines of {victim}: {}", read(&log)));
            }
            let _scanner = scanner(&world);
            let banned = patiently(|| Some(banning.banned()).filter(|banned| !banned.is_empty()));
            banned.unwrap_or_else(|| panic!("nobody is banned: {:#?}\n{}", banning.server.log(), read(&log)))
        }));
        done.store(true, Ordering::Relaxed);
        assert_eq!(outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), [SCANNER]);
    });
    let of = |source: &str| lines(&log, &format!("event=\"dropped\" src={source} "));
    for line in [of(TRUNK), of(CALLED)].concat() {
        assert!(!line.contains("established"), "{line}");
    }
    let words = " established=true user=\"200\" user_agent=\"SIPp phone\"";
    assert!(of(SCANNER).iter().any(|line| line.ends_with(words)), "{:#?}", of(SCANNER));

    assert!(!reaches(&world, SCANNER, PORT), "{}", banning.rules(&world));
    assert!(reaches(&world, SCANNER, SSH), "{}", banning.rules(&world));
    assert!(reaches(&world, TRUNK, PORT) && reaches(&world, CALLED, PORT));
    let rules = banning.rules(&world);
    for transport in ["tcp", "udp"] {
        let jump =
            format!("-A INPUT -p {transport} -m multiport --dports 5060,5061 -j f2b-sipknock-{transport}");
        assert!(rules.contains(&jump), "{rules}");
    }
    drop(ssh);
}

/// Sends in the names of two trunks, as somebody does who sees none of the answers: datagrams, segments of connections
/// that there are not and of one that there is, and SYNs with data.
fn forge(world: &World, trunk: &TcpStream, done: &AtomicBool) {
    let SocketAddr::V4(connected) = trunk.local_addr().unwrap() else { unreachable!() };
    let clients = [TRUNK, CALLED].map(|address| world.client(address));
    let flow =
        |address: &str, port| RawFlow::forged(world, SocketAddrV4::new(address.parse().unwrap(), port));
    let flows = [flow(TRUNK, 40_001), flow(CALLED, 40_002), flow(CALLED, connected.port())];
    let request = crate::common::gate::register("stranger");
    while !done.load(Ordering::Relaxed) {
        for client in &clients {
            client.send(&request);
        }
        for flow in &flows {
            flow.send(0, request.as_bytes());
            flow.send(100, request.as_bytes());
            if flow.from() != trunk.local_addr().unwrap() {
                flow.send_syn_with(0, request.as_bytes());
            }
        }
        thread::sleep(Duration::from_millis(300));
    }
}

/// SIPp, which asks over a new connection each time, and waits for answers.
fn scanner(world: &World) -> Program {
    let mut command = world.clients.command("sipp");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sipp/options.xml");
    command
        .args(["-sf", scenario, "-t", "tn", "-max_socket", "500", "-i", SCANNER, "-s", "200", "-r", "1"])
        .args(["-m", "400", "-nostdin", &format!("{SERVER4}:{PORT}")])
        .current_dir(world.folder())
        .env("TERM", "dumb");
    Program::start(command, Signal::KILL)
}

/// A gate that logs text to a file, as the service does for fail2ban.
fn text_gate(world: &World, config: &str, log: &Path) -> Program {
    let file = File::create(log).unwrap();
    let mut command = world.server.command("sh");
    let script = "exec \"$0\" --log-format text --config \"$1\" run --user root 2>>\"$2\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_sipknock"), config]).arg(log);
    let gate = Program::start(command, Signal::TERM);
    drop(file);
    patiently(|| lines(log, "event=\"started\"").pop()).unwrap_or_else(|| panic!("{}", read(log)));
    gate
}

struct Fail2ban {
    server: Program,
    socket: PathBuf,
}

impl Fail2ban {
    /// With the shipped filter and jail, and a smaller number of lines that it takes.
    fn start(world: &World, log: &Path) -> Self {
        let folder = world.folder().join("fail2ban");
        let copied = Command::new("cp").args(["-rL", "/etc/fail2ban"]).arg(&folder).status().unwrap();
        assert!(copied.success());
        // Of this machine's own jails none is to run.
        for own in ["jail.d", "fail2ban.d"] {
            let _ = fs::remove_dir_all(folder.join(own));
        }
        for own in ["jail.local", "fail2ban.local"] {
            let _ = fs::remove_file(folder.join(own));
        }
        fs::create_dir(folder.join("jail.d")).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/fail2ban");
        for file in ["filter.d/sipknock.conf", "jail.d/sipknock.conf"] {
            fs::copy(shipped.join(file), folder.join(file)).unwrap();
        }
        let jail = format!(
            "[sipknock]\nenabled = true\nbackend = polling\nlogpath = {}\nmaxretry = {MAX_RETRY}\n",
            log.display()
        );
        fs::write(folder.join("jail.local"), jail).unwrap();
        fs::write(folder.join("fail2ban.local"), "[Definition]\ndbfile = None\nlogtarget = STDOUT\n")
            .unwrap();
        let socket = folder.join("socket");
        let mut command = world.server.command("fail2ban-server");
        command
            .args(["-f", "-x", "-c"])
            .arg(&folder)
            .arg("-s")
            .arg(&socket)
            .arg("-p")
            .arg(folder.join("pid"));
        let server = Program::start(command, Signal::TERM);
        server.wait_for("Jail 'sipknock' started");
        Self { server, socket }
    }

    fn banned(&self) -> Vec<String> {
        let mut command = Command::new("fail2ban-client");
        let output = command.arg("-s").arg(&self.socket).args(["get", "sipknock", "banip"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
    }

    fn rules(&self, world: &World) -> String {
        let output = world.server.command("iptables").arg("-S").output().unwrap();
        format!("{}\n{:#?}", String::from_utf8(output.stdout).unwrap(), self.server.log())
    }
}

/// Whether a connection from an address to a port of the server comes about.
fn reaches(world: &World, from: &str, port: u16) -> bool {
    let from = SocketAddrV4::new(from.parse().unwrap(), 0);
    let server = SocketAddrV4::new(SERVER4.parse().unwrap(), port);
    world.clients.run(|| {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_timeout(&socket, Timeout::Send, Some(Duration::from_secs(5))).unwrap();
        rustix::net::bind(&socket, &from).unwrap();
        rustix::net::connect(&socket, &server).is_ok()
    })
}

fn a_line_says_who_sent_and_whether_that_is_proven() {
    let world = World::new("whosent");
    let _pbx = Server::listen(&world, PORT);
    let knock = format!("[[knock]]\nname = \"alice\"\nsecret = \"{SECRET}\"\nin = \"header:X-Door\"\n");
    let config = world.guarded("", "", &knock);
    let mut gate = Gate::start(&world, &["--config", &config]);
    let request = |user: &str, agent: &str| {
        format!("OPTIONS sip:pbx SIP/2.0\r\nFrom: <sip:{user}@pbx>;tag=1\r\nUser-Agent: {agent}\r\n\r\n")
    };
    // Each first packet and what it is followed by.
    let (datagrams, segments, nobody) = ("198.51.100.20", "198.51.100.21", "198.51.100.22");
    let client = world.client(datagrams);
    client.send(&request("100", &format!("friendly {SECRET}\u{1b}[31m")));
    client.send(&request("later", "later"));
    world.client(nobody).send("no message");
    let connection = world.connect(segments.parse().unwrap());
    (&connection).write_all(request(SECRET, &"x".repeat(500)).as_bytes()).unwrap();

    let line = |gate: &mut Gate, source: &str| gate.wait_for("dropped", |event| event["src"] == source);
    let told = line(&mut gate, datagrams);
    assert_eq!((&told["user"], &told["established"]), (&"100".into(), &serde_json::Value::Null), "{told}");
    assert_eq!(told["user_agent"], "friendly [secret]\\u{1b}[31m");
    let told = line(&mut gate, nobody);
    assert!(["user", "user_agent", "established"].iter().all(|field| told[field].is_null()), "{told}");
    let told = line(&mut gate, segments);
    assert_eq!((&told["user"], &told["established"]), (&"[secret]".into(), &true.into()), "{told}");
    assert!(told["user_agent"].as_str().unwrap().chars().count() <= 129, "{told}");
    drop(connection);
    assert!(gate.stop().0.success());
}

/// The connection is the PBX's, and not in the list of the machine that drops its segments.
fn nobody_is_proven_in_front_of_a_pbx_behind_this_machine() {
    let world = World::without_receiver("forwarded");
    let pbx = Netns::new("behind");
    let script = format!(
        "set -e; ip link add lan type veth peer name eth0 netns {name}; ip address add 10.20.0.1/24 dev lan; ip link set lan up
         echo 1 > /proc/sys/net/ipv4/ip_forward
         ip netns exec {name} sh -ec 'ip address add {BEHIND}/24 dev eth0; ip link set eth0 up; ip route add default via 10.20.0.1'",
        name = pbx.name()
    );
    let sh = |netns: &Netns, script: &str| {
        assert!(netns.command("sh").args(["-ec", script]).status().unwrap().success(), "{script}");
    };
    sh(&world.server, &script);
    sh(&world.clients, &format!("ip route add {BEHIND} via {SERVER4}"));
    let firewall = format!("[firewall]\nchains = [\"FORWARD\"]\npbx = [\"{BEHIND}\", \"lan\"]");
    let config = world.config_with_knocks(&firewall, "", &crate::common::gate::alice());
    world.apply_rules(&config);
    let mut gate = Gate::start(&world, &["--config", &config]);
    let listener = pbx.run(|| TcpListener::bind((BEHIND, PORT)).unwrap());
    let source = "198.51.100.30";
    let mut connection = world.clients.run(|| {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrV4::new(source.parse().unwrap(), 0)).unwrap();
        rustix::net::connect(&socket, &SocketAddrV4::new(BEHIND.parse().unwrap(), PORT)).unwrap();
        TcpStream::from(socket)
    });
    let (_accepted, peer) = listener.accept().unwrap();
    assert_eq!(peer, connection.local_addr().unwrap(), "it is established");
    connection.write_all(crate::common::gate::register("stranger").as_bytes()).unwrap();
    let told = gate.wait_for("dropped", |event| event["src"] == source);
    assert_eq!((&told["user"], &told["established"]), (&"100".into(), &serde_json::Value::Null), "{told}");
    assert!(gate.stop().0.success());
}

/// Lines of a log with a text in each.
fn lines(log: &Path, text: &str) -> Vec<String> {
    read(log).lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).unwrap()
}

/// Lines after which somebody is banned here. The shipped jail has 30, which take five minutes.
const MAX_RETRY: usize = 2;

/// The address of a PBX behind the machine.
const BEHIND: &str = "10.20.0.2";

/// A port of the machine that is none of the gate's.
const SSH: u16 = 22;

const SCANNER: &str = "198.51.100.66";

/// In whose name others send, and that has no door and no connection.
const TRUNK: &str = "198.51.100.9";

/// The same for one that the PBX has called, and that is connected.
const CALLED: &str = "198.51.100.10";

const OPTIONS: &str =
    "OPTIONS sip:trunk SIP/2.0\r\nFrom: <sip:pbx@pbx>;tag=1\r\nTo: <sip:trunk@trunk>\r\nCall-ID: 1\r\n\r\n";
