//! Connections that begin a request and never end it, more of them than anybody needs.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};

use super::{count, register, start};
use crate::common::gate::{PORT, SECRET, World};
use crate::common::tcp::Server;

/// Within the default limits nobody is forgotten: the phone's knock may come in two segments.
pub(crate) fn half_open_flows(world: &World) {
    let (partial, more) = flood(world, "", &register("Alice")[..300], 2);
    assert!(partial >= FLOWS as u64, "{partial} segments passed");
    assert!(more < 16 * 1024, "{more} KiB more");
}

/// With room for a few only, the knock has to come in one (docs/threat-model.md).
pub(crate) fn half_open_flows_in_a_small_table(world: &World) {
    let (_, more) = flood(world, "max_flows = 512", &register("Alice")[..300], 1);
    assert!(more < 3 * 1024, "{more} KiB more");
}

/// Some 70 MB are on offer, of which 32 MiB are kept.
pub(crate) fn half_open_flows_with_all_that_may_pass(world: &World) {
    let message = format!("{}\r\nX: {}", register("Alice").trim_end(), "x".repeat(6500));
    let (_, more) = flood(world, "", &message, 1);
    assert!((24 * 1024..44 * 1024).contains(&more), "{more} KiB more");
}

/// Begins that many connections from as many addresses, and sends each this much. A phone that begins its own in
/// between gets in, with a REGISTER in one or two pieces. Returns how many segments passed as `partial`, and the
/// memory in KiB that the gate has more than before.
fn flood(world: &World, inspect: &str, message: &str, pieces: usize) -> (u64, u64) {
    // Not two at a time: they need memory and file descriptors.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut server = Server::listen(world, PORT);
    // Here nobody even accepts.
    let _flooded = Server::listen(world, FLOODED);
    let mut gate = start(world, &format!("ports = [{PORT}, {FLOODED}]\n{inspect}"));
    let before = gate.resident_kib();
    let begin = || {
        let clients = world.connect_crowd_to(FLOWS / 2, FLOODED);
        for some in clients.chunks(256) {
            some.iter().for_each(|mut client| client.write_all(message.as_bytes()).unwrap());
            // A message is five segments at most, and the queue has room for 16,384.
            world.wait_for_row(0, |row| row[0] < 4096);
        }
        clients
    };
    let some = begin();
    let phone = world.connect(world.fresh_address());
    let request = register(SECRET);
    let (first, second) = request.split_at(request.find(SECRET).unwrap() + 5);
    if pieces == 2 {
        world.send_in_pieces(&[(&phone, vec![first.as_bytes()])]);
    }
    let others = begin();
    server.settle(world);
    let more = gate.resident_kib().saturating_sub(before);
    let rest = if pieces == 2 { second } else { &request };
    world.send_in_pieces(&[(&phone, vec![rest.as_bytes()])]);
    server.wait_for(&phone, request.as_bytes());
    let address = phone.local_addr().unwrap().ip().to_string();
    gate.wait_for("opened", |event| event["src"] == address.as_str());
    drop::<[Vec<TcpStream>; 2]>([some, others]);
    let (status, stopped, _) = gate.stop();
    assert!(status.success());
    (count(&stopped, "partial"), more)
}

/// More than a PBX has phones, and fewer than the table holds by default.
const FLOWS: usize = 10_000;

const FLOODED: u16 = 5061;

static ALONE: Mutex<()> = Mutex::new(());
