//! A REGISTER in two segments, cut at every place, and in more of them.

use std::io::Write as _;

use super::{INSTANCE, count, holds_block, pieces, register, start, start_with};
use crate::common::gate::{PORT, SECRET, World, wait_until};
use crate::common::tcp::Server;

pub(crate) fn a_knock_at_every_split(world: &World) {
    let mut server = Server::listen(world, PORT);
    for (part, door, secret, message) in [
        ("anywhere", "4000s", SECRET, register(SECRET)),
        ("from-display-name", "4000s", SECRET, register(SECRET)),
        // Known only when the header block is complete.
        ("contact-instance", "expires", INSTANCE, register("Alice")),
    ] {
        let knock = format!(
            "[[knock]]\nname = \"alice\"\nsecret = \"{secret}\"\nin = \"{part}\"\ndoor = \"{door}\"\n"
        );
        let gate = start_with(world, "", &knock);
        let cuts = all_cuts(message.len());
        let clients = world.connect_crowd(cuts.len());
        let senders: Vec<_> =
            clients.iter().zip(&cuts).map(|(client, cuts)| (client, pieces(&message, cuts))).collect();
        world.send_in_pieces(&senders);
        let mut rest = Vec::new();
        let whole = wait_until(|| {
            server.pump();
            rest = (0..cuts.len())
                .filter(|&n| server.received(&clients[n]) != message.as_bytes())
                .map(|n| &cuts[n])
                .collect();
            rest.is_empty().then_some(())
        });
        whole.unwrap_or_else(|| panic!("in = {part:?}: it did not arrive whole when cut at {rest:?}"));
        drop(clients);

        let (status, stopped, _) = gate.stop();
        assert!(status.success());
        // Cut before the secret's end it can't be known, so these are segments of their own.
        let known = message.find(secret).unwrap() + secret.len();
        let partial: usize = cuts.iter().map(|cuts| cuts.iter().filter(|cut| **cut < known).count()).sum();
        assert!(count(&stopped, "partial") >= partial as u64, "in = {part:?}: {stopped}");
        assert!(count(&stopped, "knock") >= cuts.len() as u64, "in = {part:?}: {stopped}");
        assert_eq!(count(&stopped, "no-knock"), 0, "in = {part:?}: {stopped}");
    }
}

pub(crate) fn a_stranger_at_every_split(world: &World) {
    let mut server = Server::listen(world, PORT);
    let gate = start(world, "");
    let message = register("Alice");
    let forms = [
        message.clone(),
        message.replace("\r\n", "\n"),
        message.replace("\r\n", "\r"),
        // Only the end is bare.
        format!("{}\n\n", message.trim_end()),
    ];
    let mut strangers = Vec::new();
    for form in &forms {
        let cuts = all_cuts(form.len());
        strangers.extend(world.connect_crowd(cuts.len()).into_iter().zip(cuts).map(|(client, cuts)| {
            let pieces = pieces(form, &cuts);
            // What is refused already is not acknowledged, and what follows it not waited for.
            let passes = |count: &usize| !holds_block(&pieces[..*count].concat());
            let passing = (1..=pieces.len()).take_while(passes).count();
            (client, pieces, passing)
        }));
    }
    let acknowledged: Vec<_> =
        strangers.iter().map(|(client, pieces, passing)| (client, pieces[..*passing].to_vec())).collect();
    world.send_in_pieces(&acknowledged);
    world.wait_for_sent(strangers.iter().map(|(client, ..)| client), |sent| sent.unacknowledged == 0);
    for (mut client, pieces, passing) in strangers.iter().map(|(client, pieces, n)| (client, pieces, *n)) {
        pieces[passing..].iter().for_each(|piece| client.write_all(piece).unwrap());
    }
    // TCP sends again what is not acknowledged, in pieces of its own choice.
    world.wait_for_sent(strangers.iter().map(|(client, ..)| client), |sent| sent.again >= 2);
    server.settle(world);
    for (client, pieces, passing) in &strangers {
        let (received, expected) = (server.received(client), pieces[..*passing].concat());
        assert!(!holds_block(received), "{pieces:?}");
        // It does get that far, or else this would show nothing.
        assert!(received == expected, "{:?} of {pieces:?}", String::from_utf8_lossy(received));
    }
    drop(strangers);

    let (status, stopped, log) = gate.stop();
    assert!(status.success());
    assert_eq!((count(&stopped, "knock"), count(&stopped, "door")), (0, 0), "{stopped}");
    assert!(log.iter().all(|line| line["event"] != "opened"));
}

/// Where to cut: everywhere once; and here and there into up to 16 segments, which is the limit.
fn all_cuts(length: usize) -> Vec<Vec<usize>> {
    let once = (1..length).map(|cut| vec![cut]);
    let shreds = [2, 5, 15].into_iter().flat_map(|cuts| {
        let starts = (1..length - cuts).step_by(13);
        starts.map(move |start| (start..start + cuts).collect())
    });
    let even = (2..16).map(|count| (1..count).map(|n| n * length / count).collect());
    once.chain(shreds).chain(even).collect()
}
