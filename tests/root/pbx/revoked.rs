//! Phones that are no longer wanted stay out, although the PBX goes on pinging them.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::guard::{Guard, Sentinel, Settings, options, source};
use super::site::Site;
use super::software::{Pbx, Phone, WAYS};

pub(crate) fn revoked_phones_stay_out() {
    let site = Site::new();
    let pbx = Pbx::start(&site);
    let settings = Settings {
        firewall: "[firewall]\noutbound = \"12s\"".to_owned(),
        door: "12s",
        phones: (201..=205).collect(),
        ..Settings::default()
    };
    let mut guard = Guard::start(&site, &settings);
    let sentinel = Sentinel::new(&site);
    let mut phones = Phone::start_all(&site, &pbx);
    phones.push(Phone::start(&site, 205, WAYS[0]));
    let (victims, neighbours) = ([&phones[0], &phones[2], &phones[3]], [&phones[1], &phones[4]]);
    phones.iter().for_each(|phone| site.watch(&phone.host));
    neighbours.iter().for_each(|phone| pbx.wait_for_registrations(1, phone));
    Phone::wait_for_pings(&phones, 1);

    // Two lose their knocks. The third keeps it and says nothing more: a knock would let it in.
    guard.reload(&site, &Settings { phones: vec![202, 203, 205], ..settings });
    let closed = &phones[2];
    closed.program.signal(Signal::STOP);
    guard.says(&["doors", "close", &source(closed)]);
    sentinel.settle(&pbx);
    let before = victims.map(|phone| (site.passed(&phone.host), phone.pings()));
    let neighbours_before = neighbours.map(|phone| pbx.registrations(phone));

    let start = Instant::now();
    let mut round = 0;
    // Longer than a door, and than an outbound one.
    while start.elapsed() < Duration::from_secs(16) {
        if round == 7 {
            guard.restart();
        }
        for (phone, way) in phones.iter().flat_map(|phone| WAYS.map(|way| (phone, way))) {
            if way.family == phone.way.family {
                let call_id = format!("{}-{round}-{}", phone.user, way.transport);
                phone.host.say(way, &options("A. Phone", &phone.host, way, &call_id));
            }
        }
        round += 1;
        thread::sleep(Duration::from_secs(1));
    }
    for phone in neighbours {
        let call_id = format!("{}-last", phone.user);
        phone.host.say(phone.way, &options("A. Phone", &phone.host, phone.way, &call_id));
    }
    sentinel.settle(&pbx);

    for (phone, (passed, pings)) in victims.iter().zip(before) {
        let more = phone.pings() - pings;
        assert!(more >= 6, "{} was pinged {more} times", phone.user);
        assert_eq!(site.passed(&phone.host), passed, "of {} something has passed", phone.user);
        eprintln!("{} ({:?}): pinged {more} times, and {round} rounds did not pass", phone.user, phone.way);
    }
    for (phone, registrations) in neighbours.iter().zip(neighbours_before) {
        assert!(pbx.registrations(phone) > registrations, "{} is out", phone.user);
        assert!(pbx.heard_call(&format!("{}-last", phone.user)), "{} is out", phone.user);
        // The gate's restart takes some of them, and no more.
        let heard = (0..round).filter(|round| pbx.heard_call(&format!("{}-{round}-udp", phone.user))).count();
        assert!(heard + 2 >= round, "of {round} packets of {} {heard} were heard", phone.user);
    }
    let registrations = pbx.registrations(closed);
    closed.program.signal(Signal::CONT);
    pbx.wait_for_registrations(registrations + 1, closed);
}
