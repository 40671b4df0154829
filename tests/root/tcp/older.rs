//! Half a request that a server has, and a gate that does not know of it. The sender is not honest.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddrV4;

use rustix::process::Signal;

use super::{holds_block, register};
use crate::common::commands::says;
use crate::common::gate::{Gate, PORT, SECRET, World, alice, wait_until};
use crate::common::raw::{FIN, Odd, RST, RawFlow};
use crate::common::tcp::Server;
use crate::common::write_secret;

/// Connections of a stranger, each in the middle of a request that the server has, and of a phone.
struct Halves {
    flows: Vec<RawFlow>,
    phones: Vec<RawFlow>,
    half: String,
}

impl Halves {
    /// Has the server get them.
    fn send(world: &World, server: &mut Server) -> Self {
        let half = register("Alice");
        let half = half.strip_suffix("\r\n").unwrap().to_owned();
        let open = || {
            let flow = RawFlow::open(world, SocketAddrV4::new(world.fresh_address(), 5061));
            flow.send(0, half.as_bytes());
            flow
        };
        let halves = Self {
            flows: (0..TRICKS.len()).map(|_| open()).collect(),
            phones: (0..2).map(|_| open()).collect(),
            half: half.clone(),
        };
        server.settle(world);
        for flow in halves.flows.iter().chain(&halves.phones) {
            assert!(server.received_from(flow.from()) == half.as_bytes(), "half of it is there");
        }
        halves
    }

    /// Has each of them try another trick, and the phones knock.
    fn complete_nothing(&self, world: &World, server: &mut Server, name: &str) {
        let end = self.half.len();
        for ((_, trick), flow) in TRICKS.iter().zip(&self.flows) {
            trick(flow, end);
        }
        server.settle(world);
        for ((trick, _), flow) in TRICKS.iter().zip(&self.flows) {
            let received = server.received_from(flow.from());
            let text = String::from_utf8_lossy(&received[end.min(received.len())..]);
            assert!(!holds_block(received), "{name}, {trick}: {text:?}");
            assert!(!server.has_ended(flow.from()), "{name}, {trick}");
        }
        // A knock in one segment, and in two of which the first is not acknowledged.
        let message = register(SECRET);
        let cut = message.find(SECRET).unwrap() + 5;
        let [whole, cut_in_two] = &self.phones[..] else { panic!("two phones") };
        whole.send(end, message.as_bytes());
        for _ in 0..2 {
            cut_in_two.send(end, &message.as_bytes()[..cut]);
            cut_in_two.send(end + cut, &message.as_bytes()[cut..]);
        }
        server.settle(world);
        for phone in &self.phones {
            let received = server.received_from(phone.from());
            assert!(received[end..] == *message.as_bytes(), "{name}: a phone knocks");
        }
    }
}

type Trick = fn(&RawFlow, usize);

/// By name: what is done behind half a request, of this length.
const TRICKS: [(&str, Trick); 6] = [
    ("the rest", |flow, end| {
        flow.send(end, b"\r\n");
        flow.send(end, b"\r");
        flow.send(end + 1, b"\n");
    }),
    ("noise over what is there", |flow, end| {
        flow.send(end - 4, b"xxxx");
        flow.send(end, b"\r\n");
    }),
    ("noise with a line end", |flow, end| {
        flow.send(end - 2, b"xx\r");
        flow.send(end + 1, b"\n");
        flow.send(end - 4, b"xxxx\r\n");
    }),
    ("a SYN that is ignored, and noise", |flow, end| {
        flow.send_syn(end - 4);
        flow.send(end - 4, b"xxxx");
        flow.send(end, b"\r\n");
        flow.send(end - 4, b"xxxx\r\n");
    }),
    ("a SYN just there", |flow, end| {
        flow.send_syn(end);
        flow.send(end, b"\r\n");
    }),
    ("an end", |flow, end| {
        flow.send_odd(end, Odd { flags: FIN, ..Odd::default() }, b"");
        flow.send_odd(end, Odd { flags: RST, ..Odd::default() }, b"");
        flow.send_syn(end);
        flow.send_odd(end, Odd { flags: FIN, ..Odd::default() }, b"");
    }),
];

fn guarded(world: &World, inspect: &str) -> String {
    world.guarded(&format!("transports = [\"udp\", \"tcp\"]\n{inspect}"), "", &alice())
}

fn start(world: &World, config: &str, args: &[&str]) -> Gate {
    Gate::start(world, &[&["--config", config][..], args].concat())
}

pub(crate) fn half_a_request_over_a_restart(world: &World) {
    over_another_gate(world, "restart", |gate, config| {
        assert!(gate.stop().0.success());
        start(world, config, &[])
    });
}

pub(crate) fn half_a_request_over_kill_9(world: &World) {
    over_another_gate(world, "kill -9", |gate, config| {
        gate.signal(Signal::KILL);
        gate.end();
        start(world, config, &[])
    });
}

pub(crate) fn half_a_request_over_a_takeover(world: &World) {
    over_another_gate(world, "takeover", |gate, config| {
        let next = start(world, config, &["--takeover"]);
        assert!(gate.end().0.success());
        next
    });
}

fn over_another_gate(world: &World, name: &str, replace: impl FnOnce(Gate, &str) -> Gate) {
    let mut server = Server::listen(world, PORT);
    let config = guarded(world, "");
    let gate = start(world, &config, &[]);
    world.no_resets();
    let halves = Halves::send(world, &mut server);
    let _next = replace(gate, &config);
    halves.complete_nothing(world, &mut server, name);
    // A phone that comes now may send a request in pieces, each when the one before has been acknowledged.
    let phone = world.connect(world.fresh_address());
    let message = register(SECRET);
    let pieces = super::pieces(&message, &[message.find(SECRET).unwrap() + 5]);
    world.send_in_pieces(&[(&phone, pieces)]);
    server.wait_for(&phone, message.as_bytes());
}

pub(crate) fn half_a_request_after_doors_close(world: &World) {
    let mut server = Server::listen(world, PORT);
    let config = guarded(world, "");
    let _gate = start(world, &config, &[]);
    world.no_resets();
    let halves = Halves::send(world, &mut server);
    for flow in halves.flows.iter().chain(&halves.phones) {
        let address = flow.from().ip().to_string();
        world.client(&address).send(&register(SECRET));
        wait_until(|| says(world, &config, &["doors"]).contains(&address).then_some(())).unwrap();
        // An odd byte, out of the server's window.
        flow.send(3_000_000, b"x");
        says(world, &config, &["doors", "close", &address]);
    }
    halves.complete_nothing(world, &mut server, "doors close");
}

pub(crate) fn half_a_request_when_monitor_becomes_enforce(world: &World) {
    let mut server = Server::listen(world, PORT);
    let config = guarded(world, "mode = \"monitor\"");
    let mut gate = start(world, &config, &[]);
    world.no_resets();
    let half = register("Alice");
    let half = half.strip_suffix("\r\n").unwrap();
    let middle = half.len() / 2;
    let flow = RawFlow::open(world, SocketAddrV4::new(world.fresh_address(), 5061));
    // The tail first: the gate would drop it, and it waits at the server.
    flow.send(middle, &half.as_bytes()[middle..]);
    server.settle(world);
    let text = fs::read_to_string(&config).unwrap();
    write_secret(&config, &text.replace("mode = \"monitor\"", "mode = \"enforce\""));
    says(world, &config, &["reload"]);
    gate.wait_for("reloaded", |_| true);
    flow.send(0, &half.as_bytes()[..middle]);
    flow.send(middle, &vec![b'x'; half.len() - middle]);
    flow.send(half.len(), b"\r\n");
    server.settle(world);
    assert!(!holds_block(server.received_from(flow.from())));
    // A knock has to begin at the byte that the server waits for.
    let message = register(SECRET);
    let at = server.received_from(flow.from()).len();
    flow.send(at, message.as_bytes());
    server.settle(world);
    assert!(server.received_from(flow.from()).starts_with(&message.as_bytes()[..middle]));
}

/// A phone's connection is older than the gate, nothing was sent on it yet, and its door was lost.
pub(crate) fn a_connection_older_than_the_gate_can_knock(world: &World) {
    let mut server = Server::listen(world, PORT);
    let config = guarded(world, "");
    let gate = start(world, &config, &[]);
    let phones = world.connect_crowd(3);
    assert!(gate.stop().0.success());
    let _gate = start(world, &config, &[]);
    let long = register(SECRET).replace("Expires", &format!("X-Long: {}\r\nExpires", "x".repeat(3000)));
    let short = register(SECRET);
    let cut = short.find(SECRET).unwrap() + 5;
    for (mut phone, message, cut) in
        [(&phones[0], &short, 0), (&phones[1], &short, cut), (&phones[2], &long, 0)]
    {
        // It does not wait for the first piece to be acknowledged, which it will not be.
        phone.write_all(&message.as_bytes()[..cut]).unwrap();
        phone.write_all(&message.as_bytes()[cut..]).unwrap();
        server.wait_for(phone, message.as_bytes());
    }
}

/// A SYN with the option of Multipath TCP: the server may get the other bytes over another connection.
pub(crate) fn a_connection_that_offers_multipath_tcp_has_to_knock(world: &World) {
    let mut server = Server::listen(world, PORT);
    let config = guarded(world, "");
    let _gate = start(world, &config, &[]);
    world.no_resets();
    let [stranger, phone] = [0; 2].map(|_| {
        let from = SocketAddrV4::new(world.fresh_address(), 5061);
        // MP_CAPABLE (RFC 8684, 3.1).
        RawFlow::open_with(world, from, &[30, 4, 1, 1])
    });
    stranger.send(0, b"REGISTER sip:a SIP/2.0\r\n");
    let message = register(SECRET);
    phone.send(0, message.as_bytes());
    server.settle(world);
    assert_eq!(server.received_from(stranger.from()), b"");
    assert!(server.received_from(phone.from()) == message.as_bytes());
}
