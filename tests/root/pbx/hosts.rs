//! Hosts, each in a network namespace of its own, and the wires between them.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::site::{PBX4, PBX6};
use super::software::Way;
use crate::common::gate::PORT;
use crate::common::netns::Netns;

/// A machine with an address of each family.
pub(crate) struct Host {
    pub(crate) netns: Netns,
    pub(crate) v4: String,
    pub(crate) v6: String,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn iptables(self) -> &'static str {
        if self == Self::V4 { "iptables" } else { "ip6tables" }
    }
}

impl Host {
    /// A namespace without wires.
    pub(crate) fn new(tag: &str, v4: &str, v6: &str) -> Self {
        let netns = Netns::new(tag);
        netns.run(|| {
            // While a link-local address is being checked for duplicates, no neighbour can be asked for.
            fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
            // A forged source is not the host's business.
            for scope in ["all", "default"] {
                fs::write(format!("/proc/sys/net/ipv4/conf/{scope}/rp_filter"), "0").unwrap();
            }
        });
        Self { netns, v4: v4.to_owned(), v6: v6.to_owned() }
    }

    /// The address of a family.
    pub(crate) fn address(&self, family: Family) -> IpAddr {
        let text = if family == Family::V4 { &self.v4 } else { &self.v6 };
        text.parse().unwrap()
    }

    /// Lets it pass on what is not for itself.
    pub(crate) fn forward(&self) {
        self.netns.run(|| {
            for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                fs::write(format!("/proc/sys/net/{switch}"), "1").unwrap();
            }
        });
    }

    /// For how long connection tracking remembers a UDP flow from now on.
    pub(crate) fn remember_flows_for(&self, seconds: u32) {
        self.netns.run(|| {
            for name in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
                fs::write(format!("/proc/sys/net/netfilter/{name}"), seconds.to_string()).unwrap();
            }
        });
    }

    /// Runs commands of ip(8), one a line.
    pub(crate) fn ip(&self, commands: &str) {
        self.ip_with(&[], commands);
    }

    /// The same with options of ip(8).
    pub(crate) fn ip_with(&self, options: &[&str], commands: &str) {
        let mut command = Command::new("ip");
        command.args(["-n", self.netns.name(), "-batch", "-"]).args(options);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip -batch with {commands:?}: {said}");
    }

    /// Joins an interface of this host with one of another's; each has a name and addresses.
    pub(crate) fn wire(&self, own: (&str, &[String]), other: &Self, others: (&str, &[String])) {
        let peer = format!("peer name {} netns {}", others.0, other.netns.name());
        self.ip(&format!("link add {} type veth {peer}\n{}", own.0, up(own.0, own.1)));
        other.ip(&up(others.0, others.1));
    }

    /// A UDP socket on one of its addresses.
    pub(crate) fn udp(&self, from: SocketAddr) -> UdpSocket {
        let socket = self.netns.run(|| UdpSocket::bind(from).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket
    }

    /// A UDP socket that sends with an address of somebody else.
    pub(crate) fn forged_udp(&self, from: SocketAddr) -> UdpSocket {
        self.netns.run(|| {
            let socket = Socket::new(Domain::for_address(from), Type::DGRAM, None).unwrap();
            if from.is_ipv4() {
                socket.set_ip_transparent_v4(true).unwrap();
            } else {
                socket.set_ip_transparent_v6(true).unwrap();
            }
            socket.bind(&from.into()).unwrap();
            socket.into()
        })
    }

    /// Sends the PBX one datagram from a port of the kernel's choice.
    pub(crate) fn send(&self, family: Family, payload: &str) {
        let socket = self.udp(SocketAddr::new(self.address(family), 0));
        socket.send_to(payload.as_bytes(), pbx(family)).unwrap();
    }

    /// Sends the PBX a message over a way. A connection lasts until the value is dropped.
    pub(crate) fn say(&self, way: Way, message: &str) -> Option<TcpStream> {
        if way.transport == "udp" {
            self.send(way.family, message);
            return None;
        }
        let mut stream = self.connect(way.family);
        stream.write_all(message.as_bytes()).unwrap();
        Some(stream)
    }

    /// A connection to the PBX.
    pub(crate) fn connect(&self, family: Family) -> TcpStream {
        self.netns.run(|| TcpStream::connect_timeout(&pbx(family), CONNECT).unwrap())
    }

    /// Its connections to port 5060 of others that are established.
    pub(crate) fn connections(&self) -> usize {
        let tables = self.netns.run(|| {
            ["tcp", "tcp6"].map(|it| fs::read_to_string(format!("/proc/thread-self/net/{it}")).unwrap())
        });
        let rows = tables.iter().flat_map(|table| table.lines().skip(1));
        // proc(5): "sl: local:port remote:port state ...", in hexadecimal.
        let established = rows.filter(|row| {
            let columns: Vec<_> = row.split_whitespace().collect();
            columns[2].ends_with(&format!(":{PORT:04X}")) && columns[3] == "01"
        });
        established.count()
    }

    /// Adds a rule: words of iptables, one of which may be quoted.
    pub(crate) fn iptables(&self, family: Family, rule: &str) {
        let mut words = Vec::new();
        for (index, part) in rule.split('\'').enumerate() {
            if index % 2 == 1 { words.push(part) } else { words.extend(part.split_whitespace()) }
        }
        let output = self.netns.command(family.iptables()).arg("-w").args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {rule}: {said}", family.iptables());
    }

    /// Packets that the rules of a chain have counted which `iptables-save` prints with this text in them.
    pub(crate) fn counted(&self, family: Family, table: &str, chain: &str, text: &str) -> u64 {
        let program = format!("{}-save", family.iptables());
        let output = self.netns.command(&program).args(["-c", "-t", table]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {said}");
        let begin = format!("-A {chain} ");
        let lines = String::from_utf8(output.stdout).unwrap();
        // "[packets:bytes] -A CHAIN ..."
        let rules = lines.lines().filter_map(|line| line.strip_prefix('[')?.split_once("] "));
        let wanted = rules.filter(|(_, rule)| rule.starts_with(&begin) && rule.contains(text));
        wanted.map(|(count, _)| count.split_once(':').unwrap().0.parse::<u64>().unwrap()).sum()
    }
}

/// Where the PBX listens.
pub(crate) fn pbx(family: Family) -> SocketAddr {
    let address = if family == Family::V4 { PBX4 } else { PBX6 };
    SocketAddr::new(address.parse().unwrap(), PORT)
}

/// Commands that give an interface its addresses and switch it on.
fn up(device: &str, addresses: &[String]) -> String {
    let mut commands = String::new();
    for address in addresses {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        writeln!(commands, "addr add {address} dev {device}{nodad}").unwrap();
    }
    writeln!(commands, "link set {device} up").unwrap();
    commands
}

/// Longer than a SYN takes that is sent again twice.
const CONNECT: Duration = Duration::from_secs(10);
