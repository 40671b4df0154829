//! A trunk at which the PBX registered, and which calls later.

use std::thread;
use std::time::{Duration, Instant};

use super::guard::{Guard, Sentinel, Settings, invite, options};
use super::hosts::{Family, Host};
use super::site::Site;
use super::software::{LONG, Pbx, Phone, Trunk, WAYS};
use crate::common::program::patiently;

pub(crate) fn a_trunk_calls_in() {
    let site = Site::new();
    let trunk = Trunk::start(&site, 20);
    let stranger = site.host(21);
    [&trunk.host, &stranger].iter().for_each(|host| site.watch(host));
    let mut guard = Guard::start(&site, &Settings::default());
    let pbx = Pbx::start_with(&site, &WAYS.map(|way| (&trunk.host, way)));
    let sentinel = Sentinel::new(&site);
    let phones = Phone::start_all(&site, &pbx);
    trunk.wait_for_registrations(&WAYS);
    site.gate().remember_flows_for(1);
    calls_come_in(&site, &guard, &trunk, &phones, 0);
    is_shut_out(&site, &pbx, &sentinel, &stranger);

    guard.take_over();
    guard.restart();
    calls_come_in(&site, &guard, &trunk, &phones, LONG);
    is_shut_out(&site, &pbx, &sentinel, &stranger);

    guard.kill_and_restart();
    calls_come_in(&site, &guard, &trunk, &phones, 0);
    is_shut_out(&site, &pbx, &sentinel, &stranger);
}

/// Each phone is called after a long silence of the trunk, and by that reason alone; `padding` makes the INVITEs longer.
pub(crate) fn calls_come_in(site: &Site, guard: &Guard, trunk: &Trunk, phones: &[Phone], padding: usize) {
    let silent = after_silence(site, &trunk.host);
    for family in Family::BOTH {
        let source = match family {
            Family::V4 => trunk.host.v4.clone(),
            Family::V6 => format!("{}/64", trunk.host.v6.strip_suffix('1').unwrap()),
        };
        let doors = guard.doors(&source);
        assert!(
            doors.len() == 1 && doors[0]["knock"] == "outbound" && doors[0]["method"] == "REGISTER",
            "{source}: {doors:?}"
        );
    }
    let before = guard.decided("outbound");
    trunk.call_all(site, phones, padding);
    let more = guard.decided("outbound") - before;
    // INVITE, ACK and BYE of each call, at least.
    assert!(more >= 3 * phones.len() as u64, "only {more} packets passed as outbound");
    eprintln!("{} calls came in after {silent:?} of silence; {more} packets as outbound", phones.len());
}

/// Waits until nothing has come from a host for several times as long as connection tracking remembers it, and its
/// connections are closed: its next call needs another one.
fn after_silence(site: &Site, host: &Host) -> Duration {
    let (mut last, mut count) = (Instant::now(), site.passed(host));
    let silent = patiently(|| {
        thread::sleep(Duration::from_millis(200));
        let now = site.passed(host);
        if now != count {
            (last, count) = (Instant::now(), now);
        }
        (last.elapsed() > Duration::from_secs(5) && host.connections() == 0).then(|| last.elapsed())
    });
    silent.unwrap_or_else(|| panic!("{} does not stop sending", host.v4))
}

/// Nothing of a watched host gets past the gate, whatever it sends.
pub(crate) fn is_shut_out(site: &Site, pbx: &Pbx, sentinel: &Sentinel, stranger: &Host) {
    let before = site.passed(stranger);
    let mut connections = Vec::new();
    for way in WAYS {
        connections.push(stranger.say(way, &options("stranger", stranger, way, "stranger")));
        connections.push(stranger.say(way, &invite(stranger, way, "stranger")));
    }
    sentinel.settle(pbx);
    assert_eq!(site.passed(stranger), before, "of {} something has passed", stranger.v4);
    assert!(!pbx.heard_call("stranger"), "{:#?}", pbx.log());
}
