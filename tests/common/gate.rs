//! Two namespaces with a gate between them: clients on one side, a server with sipknock in front on the other.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fs, thread};

use ipnet::Ipv4Net;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::log::Log;
use super::netns::Netns;
use super::write_secret;

/// The server's addresses.
pub(crate) const SERVER4: &str = "192.0.2.1";
pub(crate) const SERVER6: &str = "2001:db8:0:1::1";
/// Addresses that clients can send from: all of an IPv4 network, and some of IPv6.
pub(crate) const CLIENTS4: &str = "198.51.100.0/24";
pub(crate) const CLIENTS6: [&str; 3] = ["2001:db8:0:2::7", "2001:db8:0:2:aaaa::1", SENTINEL6];
/// A larger IPv4 network of clients, where each gets an address that nobody has had: [`World::fresh_address`].
const CROWD4: &str = "198.18.0.0/15";
/// A client that is always in `trusted`, to tell that what was sent before it has been decided.
pub(crate) const SENTINEL: &str = "198.51.100.250";
pub(crate) const SENTINEL6: &str = "2001:db8:0:3::1";
pub(crate) const PORT: u16 = 5060;
pub(crate) const SECRET: &str = "mykn0ckstr1ng";

/// Server and clients, joined by a veth pair.
pub(crate) struct World {
    pub(crate) server: Netns,
    pub(crate) clients: Netns,
    /// What listens at the server, where that is no program of its own.
    receiver: Option<UdpSocket>,
    folder: TempDir,
    configs: AtomicUsize,
    crowd: AtomicU32,
    /// A raw socket on the clients' side.
    forger: OnceLock<OwnedFd>,
}

impl World {
    pub(crate) fn new(tag: &str) -> Self {
        let mut world = Self::without_receiver(tag);
        world.receiver = Some(world.server.run(|| socket(&format!("[::]:{PORT}"))));
        world
    }

    /// With the server's port left to whoever wants to listen there.
    pub(crate) fn without_receiver(tag: &str) -> Self {
        let (server, clients) = (Netns::new(&format!("{tag}-s")), Netns::new(&format!("{tag}-c")));
        link(&server, &clients);
        let folder = tempfile::tempdir().unwrap();
        Self {
            server,
            clients,
            receiver: None,
            folder,
            configs: AtomicUsize::new(0),
            crowd: AtomicU32::new(0),
            forger: OnceLock::new(),
        }
    }

    /// An IPv4 address of a client that there has not been yet.
    pub(crate) fn fresh_address(&self) -> Ipv4Addr {
        let number = 1 + self.crowd.fetch_add(1, Ordering::Relaxed);
        let network: Ipv4Net = CROWD4.parse().unwrap();
        assert!(number < 1 << 17, "no address of {network} is left");
        Ipv4Addr::from(u32::from(network.addr()) + number)
    }

    /// A client's socket on an address of its own.
    pub(crate) fn client(&self, address: &str) -> Client {
        let address: IpAddr = address.parse().unwrap();
        let server = if address.is_ipv4() { SERVER4 } else { SERVER6 };
        let socket = self.clients.run(|| UdpSocket::bind(SocketAddr::new(address, 0)).unwrap());
        Client { socket, server: SocketAddr::new(server.parse().unwrap(), PORT) }
    }

    /// What has reached the server, up to and without the next sentinel: everything sent before this call is
    /// decided by then. For gates with one queue, which keeps the order.
    pub(crate) fn delivered(&self) -> Vec<String> {
        self.delivered_before(SENTINEL)
    }

    /// The same with another sentinel: families don't wait for each other.
    pub(crate) fn delivered_before(&self, sentinel: &str) -> Vec<String> {
        let sentinel = self.client(sentinel);
        sentinel.send("sentinel");
        let deadline = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        while Instant::now() < deadline {
            match self.receive() {
                Some(text) if text == "sentinel" => return seen,
                Some(text) => seen.push(text),
                None => {}
            }
        }
        panic!("the sentinel did not arrive; before it came {seen:?}");
    }

    /// The next datagram at the server. `None` once none is under way: no NFQUEUE of the server holds a packet, and
    /// nothing has come for a while before and after that was so.
    pub(crate) fn receive(&self) -> Option<String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(text) = self.next_datagram() {
                return Some(text);
            }
            if self.waiting() == 0 || Instant::now() >= deadline {
                return self.next_datagram();
            }
        }
    }

    /// The next datagram at the server, which has to come.
    pub(crate) fn arrives(&self) -> String {
        wait_until(|| self.next_datagram()).expect("a datagram arrives within the deadline")
    }

    /// All datagrams that reach the server of those sent before this call. A datagram to a port that is not inspected,
    /// sent behind them, proves that the kernel has handled them: for a server without a gate, where no sentinel passes.
    pub(crate) fn arrived(&self) -> Vec<String> {
        let bystander = self.server.run(|| UdpSocket::bind((SERVER4, 0)).unwrap());
        bystander.set_read_timeout(Some(DEADLINE)).unwrap();
        let address = bystander.local_addr().unwrap();
        let sender = self.clients.run(|| UdpSocket::bind((SENTINEL, 0)).unwrap());
        sender.send_to(b"behind all others", address).unwrap();
        bystander.recv(&mut [0; 64]).expect("an uninspected port is reached");
        std::iter::from_fn(|| self.receive()).collect()
    }

    /// The next datagram, if one comes within a fifth of a second.
    fn next_datagram(&self) -> Option<String> {
        let mut buffer = vec![0; 65_536];
        let (length, _) = self.receiver.as_ref()?.recv_from(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Packets that wait for a verdict in the server's queues.
    fn waiting(&self) -> u64 {
        self.queue_rows().iter().map(|(_, row)| row[0]).sum()
    }

    /// The server's socket, for those who wait in another way.
    pub(crate) fn server_socket(&self) -> &UdpSocket {
        self.receiver.as_ref().expect("there is a receiver")
    }

    /// Sends from the server's own port, as a PBX does that calls its provider.
    pub(crate) fn reply(&self, payload: &str, address: &str) {
        let address: std::net::SocketAddrV4 = address.parse().unwrap();
        let address = SocketAddr::new(address.ip().to_ipv6_mapped().into(), address.port());
        self.receiver.as_ref().unwrap().send_to(payload.as_bytes(), address).unwrap();
    }

    /// Sends a datagram whose UDP header says whatever length.
    pub(crate) fn send_udp_with_length(&self, source: &str, length: u16, payload: &[u8]) {
        let header = [5061, PORT, length, 0].map(u16::to_be_bytes).concat();
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        self.clients.run(|| {
            let socket =
                rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::UDP)).unwrap();
            rustix::net::bind(&socket, &address(source)).unwrap();
            let packet = [&header[..], payload].concat();
            rustix::net::sendto(&socket, &packet, SendFlags::empty(), &address(SERVER4)).unwrap();
        });
    }

    /// Sends a datagram from any IPv4 address, whether or not somebody has it.
    pub(crate) fn send_udp_from(&self, source: Ipv4Addr, payload: &[u8]) {
        let socket = self.forger.get_or_init(|| {
            // With this protocol the header is the sender's (raw(7)); the kernel adds length and checksum.
            let raw =
                || rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).unwrap();
            self.clients.run(raw)
        });
        let server: Ipv4Addr = SERVER4.parse().unwrap();
        let length = u16::try_from(8 + payload.len()).unwrap();
        let udp = [5061, PORT, length, 0].map(u16::to_be_bytes).concat();
        let ip = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
        let packet = [&ip[..], &source.octets(), &server.octets(), &udp, payload].concat();
        let to = SocketAddr::new(server.into(), 0);
        rustix::net::sendto(socket, &packet, SendFlags::empty(), &to).unwrap();
    }

    /// Writes a configuration with the usual knock, and returns its path.
    pub(crate) fn config(&self, inspect: &str, queue: &str) -> String {
        self.config_with_knocks(inspect, queue, &alice())
    }

    /// Puts in the rules for a gate, and returns the path of its configuration. The sentinel is trusted by the gate alone,
    /// so that it takes its turn in the queue.
    pub(crate) fn guarded(&self, inspect: &str, queue: &str, knocks: &str) -> String {
        self.apply_rules(&self.config_with_knocks(inspect, queue, knocks));
        self.config_with_knocks(&trusting(inspect), queue, knocks)
    }

    /// Writes a configuration, and returns its path.
    pub(crate) fn config_with_knocks(&self, inspect: &str, queue: &str, knocks: &str) -> String {
        let path = self.folder.path().join(format!("{}.toml", self.configs.fetch_add(1, Ordering::Relaxed)));
        let control = path.with_extension("sock");
        let control = format!("[control]\nsocket = {:?}\n[state]\nfile = \"off\"", control.to_str().unwrap());
        write_secret(&path, &format!("[inspect]\n{inspect}\n[queue]\n{queue}\n{control}\n{knocks}"));
        path.to_str().unwrap().to_owned()
    }

    /// A path in a folder of this world's own.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Puts in the rules that follow from a configuration.
    pub(crate) fn apply_rules(&self, config: &str) {
        self.apply_rules_with(config, &[]);
    }

    /// The same with arguments of `firewall apply`.
    pub(crate) fn apply_rules_with(&self, config: &str, args: &[&str]) {
        let all = [&["--config", config, "firewall", "apply"], args].concat();
        let output = self.sipknock(&all).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A folder for whatever a test writes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program inside the server's namespace.
    pub(crate) fn sipknock(&self, args: &[&str]) -> Command {
        let mut command = self.server.command(env!("CARGO_BIN_EXE_sipknock"));
        command.args(args);
        command
    }

    /// The line of a queue in the kernel's table: waiting, dropped by queue, dropped by socket, packets so far.
    pub(crate) fn queue_row(&self, number: u16) -> Option<[u64; 4]> {
        self.queue_rows().into_iter().find_map(|(queue, row)| (queue == number).then_some(row))
    }

    /// Waits until the line of a queue is as it should be.
    pub(crate) fn wait_for_row(&self, number: u16, wanted: impl Fn([u64; 4]) -> bool) -> [u64; 4] {
        let row = wait_until(|| self.queue_row(number).filter(|row| wanted(*row)));
        row.unwrap_or_else(|| panic!("queue {number}: {:?}", self.queue_row(number)))
    }

    /// All lines of that table, by queue.
    fn queue_rows(&self) -> Vec<(u16, [u64; 4])> {
        let table = self
            .server
            .run(|| fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_queue").unwrap());
        let rows = table.lines().map(|line| {
            let columns: Vec<u64> = line.split_whitespace().map(|column| column.parse().unwrap()).collect();
            (u16::try_from(columns[0]).unwrap(), [columns[2], columns[5], columns[6], columns[7]])
        });
        rows.collect()
    }
}

/// Lines of `[inspect]`, with the sentinel in `trusted`.
pub(crate) fn trusting(inspect: &str) -> String {
    format!("trusted = [\"{SENTINEL}\"]\n{inspect}")
}

/// The usual knock.
pub(crate) fn alice() -> String {
    format!("[[knock]]\nname = \"alice\"\nsecret = \"{SECRET}\"\n")
}

/// A REGISTER, with the secret as display name or with another one.
pub(crate) fn register(display_name: &str) -> String {
    format!(
        "REGISTER sip:pbx SIP/2.0\r\nFrom: \"{display_name}\" <sip:100@pbx>;tag=1\r\nCall-ID: 1@phone\r\n\r\n"
    )
}

/// A client's socket.
pub(crate) struct Client {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Client {
    pub(crate) fn send(&self, payload: &str) {
        self.socket.send_to(payload.as_bytes(), self.server).unwrap();
    }

    pub(crate) fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut buffer = [0; 2048];
        self.socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
    }
}

/// A running `sipknock run` with its log: [`super::log`] reads it, [`super::process`] looks at the process.
pub(crate) struct Gate {
    pub(super) child: Child,
    pub(super) log: Arc<Mutex<Log>>,
    pub(super) reader: Option<JoinHandle<()>>,
    /// Kept open, and never read.
    full_log: Option<OwnedFd>,
}

impl Gate {
    /// Starts it and waits until it is up.
    pub(crate) fn start(world: &World, args: &[&str]) -> Self {
        let mut gate = Self::spawn(world, args);
        gate.wait_for("started", |_| true);
        gate
    }

    /// Starts it, and does not wait.
    pub(crate) fn spawn(world: &World, args: &[&str]) -> Self {
        let mut command = world.sipknock(RUN);
        command.args(args);
        Self::spawn_command(command)
    }

    /// The same with a command of its own, that logs JSON to stderr.
    pub(crate) fn spawn_command(mut command: Command) -> Self {
        Self::of(command.stdin(Stdio::null()))
    }

    /// Whatever a command starts, with its log.
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::<Mutex<Log>>::default();
        let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(&log));
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let line = line.unwrap();
                assert!(!line.contains(SECRET), "the secret is in the log: {line}");
                // Why it could not go on is said to whoever started it, and not to the log.
                let value = match line.strip_prefix("sipknock: ") {
                    Some(text) => json!({"message": text}),
                    None => serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")),
                };
                lines.lock().unwrap().add(value);
            }
        });
        Self { child, log, reader: Some(reader), full_log: None }
    }

    /// Starts it with a log that nobody reads any more.
    pub(crate) fn spawn_with_closed_log(world: &World, args: &[&str]) -> Self {
        let mut command = world.sipknock(RUN);
        let mut child = command.args(args).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stderr.take());
        Self { child, log: Arc::default(), reader: Some(thread::spawn(|| {})), full_log: None }
    }

    /// Starts it with a log that is read no further: a pipe that is full.
    pub(crate) fn spawn_with_full_log(world: &World, args: &[&str]) -> Self {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while rustix::io::write(&writer, &[b'.'; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        let mut command = world.sipknock(RUN);
        let child = command.args(args).stdin(Stdio::null()).stderr(writer).spawn().unwrap();
        Self { child, log: Arc::default(), reader: Some(thread::spawn(|| {})), full_log: Some(reader) }
    }

    /// Waits until it ends.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_until(|| self.child.try_wait().unwrap()).expect("it ends within the deadline")
    }

    /// Its process: `ip netns exec` becomes it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGTERM, and the last event.
    pub(crate) fn stop(self) -> (ExitStatus, Value, Vec<Value>) {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Its end, and the last event.
    pub(crate) fn end(mut self) -> (ExitStatus, Value, Vec<Value>) {
        let status = self.wait();
        if let Some(Err(panic)) = self.reader.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        let log = std::mem::take(&mut self.log.lock().unwrap().lines);
        let last = log.last().cloned().unwrap_or_default();
        (status, last, log)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.reader.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Asks until there is an answer, or the deadline has passed.
pub(crate) fn wait_until<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Joins two namespaces, so that clients can send from every address of their networks.
fn link(server: &Netns, clients: &Netns) {
    // While a link-local address is being checked for duplicates, no neighbour can be asked for.
    for netns in [server, clients] {
        netns.run(|| fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap());
    }
    ip(server, &["link", "add", "up0", "type", "veth", "peer", "name", "down0", "netns", clients.name()]);
    for (netns, device, addresses, peer) in [
        (server, "up0", [format!("{SERVER4}/24"), format!("{SERVER6}/64")], [CLIENTS4, "2001:db8:0:2::/63"]),
        (clients, "down0", ["192.0.2.2/24".into(), "2001:db8:0:1::2/64".into()], ["", ""]),
    ] {
        for address in &addresses {
            ip(netns, &["addr", "add", address, "dev", device, "nodad"]);
        }
        ip(netns, &["link", "set", device, "up"]);
        if let [v4, v6] = peer
            && !v4.is_empty()
        {
            for network in [v4, CROWD4] {
                ip(netns, &["route", "add", network, "via", "192.0.2.2"]);
            }
            ip(netns, &["-6", "route", "add", v6, "via", "2001:db8:0:1::2"]);
        }
    }
    // AnyIP: every address of the networks is ours, without listing them.
    for network in [CLIENTS4, CROWD4] {
        ip(clients, &["route", "add", "local", network, "dev", "lo"]);
    }
    // IPv6 binds only to addresses that are listed.
    for address in CLIENTS6 {
        ip(clients, &["addr", "add", address, "dev", "lo"]);
    }
}

fn ip(netns: &Netns, args: &[&str]) {
    let output = Command::new("ip").args(["-n", netns.name()]).args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

/// A gate that stays root, since the folders of a test are root's; tests/root/harden.rs has the others.
const RUN: &[&str] = &["--log-format", "json", "run", "--user", "root"];

/// For all that has to happen: ten times what it takes on a machine with load on every core. It costs nothing where it
/// does happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
