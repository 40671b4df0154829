//! The rules and real packets: those of the PBX are copied, those of others are not.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use sipknock::firewall::{Family, FamilyState, Plan};

use super::{pbx, plan};
use crate::common::gate::wait_until;
use crate::common::iptables::World;
use crate::common::netns::Netns;

/// A reader of NFLOG: libpcap, and no code of this project.
struct Copies {
    tcpdump: Child,
    lines: Receiver<String>,
}

impl Copies {
    fn listen(netns: &Netns) -> Self {
        let mut command = netns.command("tcpdump");
        command.args(["-l", "-n", "-t", "-q", "-i", "nflog:5060"]);
        let mut tcpdump = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(tcpdump.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "tcpdump does not listen");
        }
        // A full pipe would stop it.
        thread::spawn(move || said.read_to_end(&mut Vec::new()));
        let (sender, lines) = channel();
        let out = BufReader::new(tcpdump.stdout.take().unwrap());
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { tcpdump, lines }
    }

    /// Where copied packets go, up to and without the one to `last`.
    fn up_to(&self, last: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let line =
                self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no copy for {last}: {seen:?}"));
            let to = line.split(" > ").nth(1).and_then(|rest| rest.split(": ").next()).unwrap_or(&line);
            if to == last {
                return seen;
            }
            seen.push(to.to_owned());
        }
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        // `ip netns exec` becomes the program itself.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

pub(super) fn what_the_pbx_sends_is_copied(world: &World) {
    let (_peer, _) = link(&world.netns, "198.51.100.1/24", "2001:db8:9::1/64");
    let plan = Plan { outbound_ports: vec![7000..=7000], ..plan() };
    world.apply(&plan);
    let copies = Copies::listen(&world.netns);
    let request = b"OPTIONS sip:x SIP/2.0\r\n\r\n";
    world.netns.run(|| {
        let any = UdpSocket::bind("0.0.0.0:0").unwrap();
        let any6 = UdpSocket::bind("[::]:0").unwrap();
        let own = UdpSocket::bind("0.0.0.0:5061").unwrap();
        let send = |socket: &UdpSocket, payload: &[u8], to: &str| {
            socket.send_to(payload, to).unwrap();
        };
        send(&any, request, "198.51.100.2:5060");
        // From an inspected port to any, and to a port of providers.
        send(&own, request, "198.51.100.3:4000");
        send(&any, request, "198.51.100.4:7000");
        // Neither from one nor to one.
        send(&any, request, "198.51.100.5:4000");
        // Answers, and what only looks a little like one.
        send(&own, b"SIP/2.0 200 OK\r\n\r\n", "198.51.100.6:4000");
        send(&own, b"SIP/", "198.51.100.6:4001");
        for (port, payload) in
            [&b"SIP"[..], b"", b"sip/2.0 200 OK", b"SIP2.0", b"\r\nSIP/2.0 200 OK"].iter().enumerate()
        {
            send(&own, payload, &format!("198.51.100.7:{}", 4000 + port));
        }
        // To this machine, and to whom is trusted.
        send(&any, request, "127.0.0.1:5060");
        send(&any, request, "10.10.1.9:5060");
        for (to, payload) in [(2, &request[..]), (3, b"SIP/2.0 200 OK\r\n\r\n"), (4, b"SIP"), (5, b"sip/2.0")]
        {
            send(&any6, payload, &format!("[2001:db8:9::{to}]:5060"));
        }
        send(&any6, request, "[2001:db8:1::9]:5060");
        send(&any, request, "198.51.100.99:5060");
    });
    assert_eq!(
        copies.up_to("198.51.100.99.5060"),
        [
            "198.51.100.2.5060",
            "198.51.100.3.4000",
            "198.51.100.4.7000",
            "198.51.100.7.4000",
            "198.51.100.7.4001",
            "198.51.100.7.4002",
            "198.51.100.7.4003",
            "198.51.100.7.4004",
            "2001:db8:9::2.5060",
            "2001:db8:9::4.5060",
            "2001:db8:9::5.5060",
        ]
    );
}

pub(super) fn what_the_pbx_sends_over_tcp_is_copied(world: &World) {
    let (peer, address) = link(&world.netns, "198.51.100.1/24", "2001:db8:9::1/64");
    world.apply(&Plan { trusted: vec![], ..plan() });
    // The answers come to a port of no interest, and so by no gate.
    let copies = Copies::listen(&world.netns);
    let listener = peer.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 5060)).unwrap());
    let mut connection =
        world.netns.run(|| TcpStream::connect(SocketAddr::new(address.into(), 5060)).unwrap());
    let (mut accepted, _) = listener.accept().unwrap();
    for _ in 0..2 {
        connection.write_all(b"OPTIONS sip:x SIP/2.0\r\n\r\n").unwrap();
        let mut buffer = [0; 25];
        accepted.read_exact(&mut buffer).unwrap();
        // An answer, so that an acknowledgement without data goes out as well.
        accepted.write_all(b"SIP/2.0 200 OK\r\n\r\n").unwrap();
        connection.read_exact(&mut [0; 18]).unwrap();
    }
    drop((connection, accepted));
    world.netns.run(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", "198.51.100.99:5060").unwrap());
    // The handshake, acknowledgements and the end are none.
    assert_eq!(copies.up_to("198.51.100.99.5060"), ["198.51.100.2.5060"; 2]);
}

/// The gate's machine forwards between a PBX and the world.
pub(super) fn a_pbx_behind_forward(world: &World) {
    let (outside, _) = link(&world.netns, "198.51.100.1/24", "2001:db8:9::1/64");
    let inside = Netns::new("pbx");
    veth(&world.netns, &inside, "lan");
    for (netns, address) in [(&world.netns, "172.18.0.1/24"), (&inside, "172.18.0.5/24")] {
        ip(netns, &["addr", "add", address, "dev", "lan"]);
    }
    ip(&inside, &["route", "add", "default", "via", "172.18.0.1"]);
    ip(&outside, &["route", "add", "default", "via", "198.51.100.1"]);
    for (key, value) in
        [("net.ipv4.ip_forward", 1), ("net.ipv4.conf.all.rp_filter", 0), ("net.ipv4.conf.wan.rp_filter", 0)]
    {
        let set = format!("{key}={value}");
        assert!(world.netns.command("sysctl").args(["-q", "-w", &set]).status().unwrap().success());
    }
    // The interface comes from the kernel's routes.
    let chains = vec!["INPUT".to_owned(), "FORWARD".to_owned()];
    let plan = Plan { chains, pbx: pbx(&["172.18.0.5/32"], &[]), ..plan() };
    world.apply(&plan);
    assert_eq!(world.states(&plan), [FamilyState::InPlace; 2]);
    let rules = world.rules(Family::V4);
    assert!(rules.iter().any(|rule| rule.starts_with("-A FORWARD -s 172.18.0.5/32 -i lan ")), "{rules:#?}");

    let copies = Copies::listen(&world.netns);
    let request = b"INVITE sip:x SIP/2.0\r\n\r\n";
    let send = |netns: &Netns, from: &str, to: &str| {
        netns.run(|| UdpSocket::bind(from).unwrap().send_to(request, to).unwrap());
    };
    send(&inside, "172.18.0.5:5060", "198.51.100.2:5060");
    send(&inside, "172.18.0.5:0", "198.51.100.2:5062");
    send(&inside, "172.18.0.5:0", "198.51.100.2:4000");
    // From outside: to the PBX, and then with its address.
    send(&outside, "198.51.100.2:0", "172.18.0.5:5060");
    ip(&outside, &["addr", "add", "172.18.0.5/32", "dev", "lo"]);
    send(&outside, "172.18.0.5:5060", "198.51.100.1:4000");
    send(&outside, "172.18.0.5:5060", "172.18.0.9:5060");
    // From this machine itself.
    send(&world.netns, "0.0.0.0:0", "198.51.100.99:5060");
    assert_eq!(copies.up_to("198.51.100.99.5060"), ["198.51.100.2.5060", "198.51.100.2.5062"]);
    // Only the packet for the PBX waits for a gate.
    assert_eq!(world.packets(&plan, "NFQUEUE"), 1);
    let jump = "-A FORWARD -d 172.18.0.5/32 -p udp";
    assert_eq!(world.packets(&plan, jump), 1);
    assert_eq!(world.packets(&plan, &format!("-t mangle {jump}")), 1);
}

/// INPUT sees IPv6 fragments one by one unless a rule has the kernel put them together.
pub(super) fn ipv6_fragments_are_put_together(world: &World) {
    let (peer, _) = link(&world.netns, "198.51.100.1/24", "2001:db8:9::1/64");
    world.apply(&plan());
    peer.run(|| {
        let payload = [b'x'; 4000];
        UdpSocket::bind("[::]:0").unwrap().send_to(&payload, "[2001:db8:9::1]:5060").unwrap();
    });
    let length = 40 + 8 + 4000;
    let counted = || {
        let status = world.netns.run(|| world.firewall.status(&plan())).unwrap();
        let rules = status.families[1].rules.clone();
        let rule = rules.into_iter().find(|rule| rule.rule.contains("NFQUEUE")).unwrap();
        (rule.packets, rule.bytes)
    };
    let whole = wait_until(|| (counted() == (1, length)).then_some(()));
    whole.unwrap_or_else(|| panic!("{:?} for one of {length} bytes", counted()));
}

/// A neighbour with the addresses .2 to .9 and .99 of these networks, over an interface `wan`.
fn link(netns: &Netns, v4: &str, v6: &str) -> (Netns, Ipv4Addr) {
    let peer = Netns::new("peer");
    veth(netns, &peer, "wan");
    for (family, own) in [("-4", v4), ("-6", v6)] {
        let (address, length) = own.split_once('/').unwrap();
        let stem = address.strip_suffix('1').unwrap();
        let nodad = if family == "-6" { &["nodad"][..] } else { &[] };
        ip(netns, &[&["addr", "add", own, "dev", "wan"], nodad].concat());
        for last in [2, 3, 4, 5, 6, 7, 8, 9, 99] {
            let address = format!("{stem}{last}/{length}");
            ip(&peer, &[&["addr", "add", &address, "dev", "wan"], nodad].concat());
        }
    }
    // The trusted networks are behind the neighbour as well.
    ip(netns, &["route", "add", "10.10.1.0/24", "via", "198.51.100.2"]);
    ip(netns, &["-6", "route", "add", "2001:db8:1::/48", "via", "2001:db8:9::2"]);
    (peer, Ipv4Addr::new(198, 51, 100, 2))
}

fn veth(one: &Netns, other: &Netns, name: &str) {
    ip(one, &["link", "add", name, "type", "veth", "peer", "name", name, "netns", other.name()]);
    for netns in [one, other] {
        ip(netns, &["link", "set", name, "up"]);
    }
}

fn ip(netns: &Netns, args: &[&str]) {
    let output = netns.command("ip").args(args).output().unwrap();
    assert!(output.status.success(), "ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
}

/// Much longer than a copy takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
