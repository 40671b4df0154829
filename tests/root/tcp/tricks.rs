//! What TCP, phones and strangers do beside sending one request from its beginning to its end.

use std::io::Write as _;
use std::net::SocketAddrV4;

use super::{count, holds_block, pieces, register, start};
use crate::common::gate::{PORT, SECRET, World, wait_until};
use crate::common::raw::{FIN, Odd, RST, RawFlow};
use crate::common::tcp::Server;

/// The acknowledgement of what has passed is lost, so that it is sent again.
pub(crate) fn retransmissions(world: &World) {
    let mut server = Server::listen(world, PORT);
    let gate = start(world, "");
    for (name, gets_in) in [(SECRET, true), ("Alice", false)] {
        let message = register(name);
        let (first, second) = message.split_at(message.find(name).unwrap() + 5);
        let client = world.connect(world.fresh_address());
        let address = client.local_addr().unwrap().ip().to_string();
        let rule = |change: &str| {
            let rule = [change, "INPUT", "-p", "tcp", "-d", &address, "-j", "DROP"];
            assert!(world.clients.command("iptables").args(rule).status().unwrap().success());
        };
        rule("-A");
        (&client).write_all(first.as_bytes()).unwrap();
        world.wait_for_sent([&client].into_iter(), |sent| sent.again >= 2);
        (&client).write_all(second.as_bytes()).unwrap();
        world.wait_for_sent([&client].into_iter(), |sent| sent.again >= 3);
        rule("-D");
        if gets_in {
            server.wait_for(&client, message.as_bytes());
        } else {
            server.wait_for(&client, first.as_bytes());
            // Now only what was refused is still sent.
            world.wait_for_sent([&client].into_iter(), |sent| sent.unacknowledged == second.len() as u64);
            let before = world.queue_row(0).unwrap()[3];
            wait_until(|| (world.queue_row(0).unwrap()[3] >= before + 2).then_some(())).unwrap();
            server.settle(world);
            assert_eq!(server.received(&client), first.as_bytes());
        }
    }
    let (_, stopped, _) = gate.stop();
    assert!(count(&stopped, "partial") >= 6, "first pieces, twice each again: {stopped}");
}

/// A connection ends, and another one begins on the same ports.
pub(crate) fn a_connection_begun_anew(world: &World) {
    let mut server = Server::listen(world, PORT);
    let _gate = start(world, "");
    let message = register(SECRET);
    let middle = message.find(SECRET).unwrap() + 5;
    let from = SocketAddrV4::new(world.fresh_address(), 5061);
    // By RST, which has arrived when the next SYN comes. Where both wait in the queue, the kernel has found the SYN's
    // socket already, and it is the old one: then the SYN is lost, and comes again after a second.
    drop(world.connect_from(from));
    server.settle(world);
    // Nothing was sent: it is as if there had been none.
    let client = world.connect_from(from);
    world.send_in_pieces(&[(&client, pieces(&message, &[middle]))]);
    server.wait_for(&client, message.as_bytes());
}

/// Some PBXs take what they have for a whole request then.
pub(crate) fn no_connection_ends_inside_a_block(world: &World) {
    let mut server = Server::listen(world, PORT);
    let gate = start(world, "");
    let plain = register("Alice");
    let part = &plain[..plain.len() - 2];
    let client = world.connect(world.fresh_address());
    (&client).write_all(part.as_bytes()).unwrap();
    server.wait_for(&client, part.as_bytes());
    let address = client.local_addr().unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    server.settle(world);
    assert!(!server.has_ended(address), "a FIN");
    drop(client);
    server.settle(world);
    assert!(!server.has_ended(address), "and what follows it");
    // A whole request is refused, and the end that follows passes.
    let other = world.connect(world.fresh_address());
    (&other).write_all(plain.as_bytes()).unwrap();
    world.wait_for_sent([&other].into_iter(), |sent| sent.again >= 1);
    drop(other);
    server.settle(world);
    let (_, stopped, _) = gate.stop();
    assert_eq!(count(&stopped, "knock"), 0);
}

/// RFC 5626, 3.5.1, and what some phones send when the connection is up.
pub(crate) fn keepalives_before_the_register(world: &World) {
    let mut server = Server::listen(world, PORT);
    let _gate = start(world, "");
    for keepalives in [&["\r\n\r\n"][..], &["\r\n"], &["\r\n\r\n", "\r\n\r\n", "\r\n"]] {
        let before = keepalives.concat();
        let message = register(SECRET);
        for cut in [0, 1, message.find(SECRET).unwrap() + 5, message.len() - 1] {
            let client = world.connect(world.fresh_address());
            let mut sent: Vec<_> = keepalives.iter().map(|text| text.as_bytes()).collect();
            sent.extend(pieces(&message, if cut == 0 { &[] } else { std::slice::from_ref(&cut) }));
            world.send_in_pieces(&[(&client, sent)]);
            server.wait_for(&client, format!("{before}{message}").as_bytes());
        }
        let stranger = world.connect(world.fresh_address());
        let plain = register("Alice");
        let mut sent: Vec<_> = keepalives.iter().map(|text| text.as_bytes()).collect();
        sent.push(plain.as_bytes());
        world.send_in_pieces(&[(&stranger, sent)]);
        world.wait_for_sent([&stranger].into_iter(), |sent| sent.again >= 2);
        server.settle(world);
        assert_eq!(server.received(&stranger), before.as_bytes());
    }
}

pub(crate) fn two_registers_in_a_row(world: &World) {
    let mut server = Server::listen(world, PORT);
    let gate = start(world, "");
    let (knocking, plain) = (register(SECRET), register("Alice"));
    let both = format!("{knocking}{plain}");
    let cuts: Vec<_> = (1..both.len()).step_by(11).collect();
    let clients = world.connect_crowd(cuts.len());
    let senders: Vec<_> = clients
        .iter()
        .zip(&cuts)
        .map(|(client, cut)| (client, pieces(&both, std::slice::from_ref(cut))))
        .collect();
    world.send_in_pieces(&senders);
    clients.iter().for_each(|client| server.wait_for(client, both.as_bytes()));

    // The other way round, too, as long as they come together.
    let together = format!("{plain}{knocking}");
    let client = world.connect(world.fresh_address());
    world.send_in_pieces(&[(&client, pieces(&together, &[]))]);
    server.wait_for(&client, together.as_bytes());

    // Whoever does not knock in the first one has lost the connection, also when both come together the next time.
    let [twice, late] = [0; 2].map(|_| world.connect(world.fresh_address()));
    (&twice).write_all(format!("{plain}{plain}").as_bytes()).unwrap();
    (&late).write_all(plain.as_bytes()).unwrap();
    (&late).write_all(knocking.as_bytes()).unwrap();
    world.wait_for_sent([&twice, &late].into_iter(), |sent| sent.again >= 2);
    server.settle(world);
    for client in [&twice, &late] {
        assert_eq!(server.received(client), b"");
    }
    let (_, stopped, _) = gate.stop();
    assert!(count(&stopped, "no-knock") >= 4, "{stopped}");
}

pub(crate) fn tls_is_dropped(world: &World) {
    let mut server = Server::listen(world, PORT);
    let gate = start(world, "");
    // A ClientHello (RFC 8446, 4.1.2), as far as it matters here.
    let mut hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03".to_vec();
    hello.extend([0x5a; 194]);
    let whole = world.connect(world.fresh_address());
    (&whole).write_all(&hello).unwrap();
    let byte = world.connect(world.fresh_address());
    (&byte).write_all(&hello[..1]).unwrap();
    world.wait_for_sent([&whole, &byte].into_iter(), |sent| sent.again >= 2);
    server.settle(world);
    for client in [&whole, &byte] {
        assert_eq!(server.received(client), b"");
    }
    let (_, stopped, _) = gate.stop();
    assert!(count(&stopped, "no-knock") >= 6 && count(&stopped, "partial") == 0, "{stopped}");
}

/// The gate that let the beginning pass is gone. The next one knows nothing of it, and is sent the end.
pub(crate) fn a_restart_completes_no_block(world: &World) {
    let mut server = Server::listen(world, PORT);
    let gate = start(world, "");
    let plain = register("Alice");
    let cuts = [plain.len() - 1, plain.len() - 2, plain.len() - 3, plain.len() - 4, plain.len() - 20, 100];
    let strangers = world.connect_crowd(cuts.len());
    for (mut stranger, cut) in strangers.iter().zip(cuts) {
        stranger.write_all(&plain.as_bytes()[..cut]).unwrap();
    }
    // The first one's end is an end already, for those who need no LF.
    world.wait_for_sent(strangers.iter().skip(1), |sent| sent.unacknowledged == 0);
    assert!(gate.stop().0.success());
    let _gate = start(world, "");
    for (mut stranger, cut) in strangers.iter().zip(cuts) {
        stranger.write_all(&plain.as_bytes()[cut..]).unwrap();
    }
    world.wait_for_sent(strangers.iter(), |sent| sent.again >= 2);
    server.settle(world);
    for (stranger, cut) in strangers.iter().zip(cuts) {
        let received = server.received(stranger);
        assert!(!holds_block(received), "cut at {cut}");
    }
}

/// Everything that might make a receiver see something else than the gate does.
pub(crate) fn no_trick_completes_a_block(world: &World) {
    let mut server = Server::listen(world, PORT);
    let gate = start(world, "");
    world.no_resets();
    let plain = register("Alice");
    let message = plain.as_bytes();
    let (end, middle) = (message.len(), message.len() / 2);
    let (first, second) = message.split_at(middle);
    let noise = vec![b'x'; end];
    type Trick<'a> = &'a dyn Fn(&RawFlow);
    let tricks: &[(&str, Trick<'_>)] = &[
        ("in one segment", &|flow| flow.send(0, message)),
        ("the second half first", &|flow| {
            flow.send(middle, second);
            flow.send(0, first);
            flow.send(middle, second);
        }),
        ("noise that is replaced", &|flow| {
            flow.send(0, &noise[..middle]);
            flow.send(0, first);
            flow.send(middle, second);
            flow.send(0, message);
        }),
        ("noise that does not arrive, and is replaced", &|flow| {
            flow.send_odd(0, Odd { bad_checksum: true, ..Odd::default() }, &noise[..middle]);
            flow.send(0, first);
            flow.send(middle, second);
            flow.send(0, message);
        }),
        ("an end that does not arrive, and comes again with another one", &|flow| {
            flow.send(0, &message[..end - 2]);
            flow.send_odd(end - 2, Odd { bad_checksum: true, ..Odd::default() }, b"X:");
            flow.send(end - 2, b"\r\n");
            flow.send(end - 4, b"\r\n\r\n");
        }),
        ("overlapping pieces", &|flow| {
            for at in (0..end).step_by(40) {
                flow.send(at, &message[at..end.min(at + 60)]);
            }
        }),
        ("overlapping pieces, the last one first", &|flow| {
            for at in (0..end).step_by(40).rev() {
                flow.send(at, &message[at..end.min(at + 60)]);
            }
            flow.send(0, first);
        }),
        ("byte by byte", &|flow| {
            (0..end).for_each(|at| flow.send(at, &message[at..=at]));
            (0..end).for_each(|at| flow.send(at, &message[at..=at]));
        }),
        ("another SYN in the middle", &|flow| {
            flow.send(0, &message[..end - 2]);
            flow.send_syn(end - 2);
            flow.send(end - 2, b"\r\n");
        }),
        ("another SYN before all", &|flow| {
            flow.send_syn(middle);
            flow.send(middle, second);
            flow.send(0, first);
            flow.send_syn(middle);
            flow.send(middle, second);
        }),
        ("RST where none is due", &|flow| {
            flow.send(0, &message[..end - 2]);
            flow.send_odd(100_000, Odd { flags: RST, ..Odd::default() }, b"");
            flow.send(end - 2, b"\r\n");
        }),
        ("FIN where none is due", &|flow| {
            flow.send(0, &message[..end - 2]);
            flow.send_odd(100_000, Odd { flags: FIN, ..Odd::default() }, b"");
            flow.send(end - 2, b"\r\n");
        }),
        ("RST and FIN that do not arrive", &|flow| {
            flow.send(0, &message[..end - 2]);
            for flags in [RST, FIN] {
                flow.send_odd(end - 2, Odd { flags, bad_checksum: true, ..Odd::default() }, b"");
            }
            flow.send_syn(end - 2);
            flow.send(end - 2, b"\r\n");
        }),
        ("FIN with the end", &|flow| flow.send_odd(0, Odd { flags: FIN, ..Odd::default() }, message)),
        ("an urgent byte between two line ends", &|flow| {
            flow.send(0, &message[..end - 2]);
            flow.send_odd(end - 2, Odd { urgent: 1, ..Odd::default() }, b"X\r\n");
            flow.send(end - 2, b"X\r\n");
        }),
        ("an urgent byte that is announced before", &|flow| {
            flow.send(0, &message[..end - 2]);
            flow.send_odd(end - 2, Odd { urgent: 1, ..Odd::default() }, b"");
            flow.send(end - 2, b"X\r\n");
        }),
        ("an urgent byte that is forgotten over a FIN that does not arrive", &|flow| {
            let urgent = u16::try_from(end - 1).unwrap();
            flow.send_odd(0, Odd { urgent, ..Odd::default() }, b"");
            flow.send_odd(0, Odd { flags: FIN, bad_checksum: true, ..Odd::default() }, b"");
            flow.send(0, &message[..end - 2]);
            flow.send(end - 2, b"X\r\n");
        }),
        ("an urgent byte that is forgotten over SYNs that are ignored", &|flow| {
            let urgent = u16::try_from(end - 1).unwrap();
            flow.send_odd(0, Odd { urgent, ..Odd::default() }, b"");
            flow.send_syn(1000);
            flow.send_syn(0);
            flow.send(0, &message[..end - 2]);
            flow.send(end - 2, b"X\r\n");
        }),
    ];
    let flows: Vec<_> = tricks
        .iter()
        .map(|(_, trick)| {
            let flow = RawFlow::open(world, SocketAddrV4::new(world.fresh_address(), 5061));
            trick(&flow);
            flow
        })
        .collect();
    server.settle(world);
    for ((name, _), flow) in tricks.iter().zip(&flows) {
        let received = server.received_from(flow.from());
        assert!(!holds_block(received), "{name}: {:?}", String::from_utf8_lossy(received));
    }
    let arrived = server.all().filter(|bytes| !bytes.is_empty()).count();
    assert!(arrived > tricks.len() / 2, "of {arrived} only something arrived, so this shows little");
    let (_, stopped, _) = gate.stop();
    assert_eq!((count(&stopped, "knock"), count(&stopped, "malformed")), (0, 0), "{stopped}");
}

/// What is sent out of its order is dropped, and gets in when its turn has come.
pub(crate) fn segments_in_any_order(world: &World) {
    let mut server = Server::listen(world, PORT);
    let _gate = start(world, "");
    world.no_resets();
    let message = register(SECRET);
    let secret = message.find(SECRET).unwrap();
    let cuts = [secret - 30, secret + 3, secret + 6, secret + 40];
    let mut places = vec![0];
    places.extend(cuts);
    let pieces: Vec<_> = places.into_iter().zip(pieces(&message, &cuts)).collect();
    // Each of them sends all pieces as often as it takes.
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [1, 0, 3, 2, 4], [3, 4, 0, 2, 1]] {
        let flow = RawFlow::open(world, SocketAddrV4::new(world.fresh_address(), 5061));
        for _ in 0..pieces.len() {
            order.iter().for_each(|&n| flow.send(pieces[n].0, pieces[n].1));
        }
        server.settle(world);
        assert!(server.received_from(flow.from()) == message.as_bytes(), "{order:?}");
    }
    // What is sent again may go further than at first (tcp_retrans_try_collapse, net/ipv4/tcp_output.c).
    let flow = RawFlow::open(world, SocketAddrV4::new(world.fresh_address(), 5061));
    flow.send(0, &message.as_bytes()[..cuts[0]]);
    flow.send(0, &message.as_bytes()[..cuts[1]]);
    flow.send(10, &message.as_bytes()[10..]);
    server.settle(world);
    assert!(server.received_from(flow.from()) == message.as_bytes());
}
