//! Phones that register while the PBX pings them: the gate sees them, and they stay in.

use std::time::{Duration, Instant};
use std::{env, thread};

use super::guard::{Guard, Settings, options, source};
use super::site::Site;
use super::software::{Pbx, Phone, WAYS};
use crate::common::program::patiently;

/// Over restarts of the PBX and of the gate every door is open, every REGISTER is an event, and every packet that came to
/// the chain was decided for a reason.
pub(crate) fn phones_stay_in() {
    let site = Site::new();
    let mut pbx = Pbx::start(&site);
    let office = site.host(60);
    let inspect = format!("trusted = [\"{}\", \"{}\"]", office.v4, office.v6);
    let mut guard = Guard::start(&site, &Settings { inspect, ..Settings::default() });
    let phones = Phone::start_all(&site, &pbx);
    // A phone registers every nine seconds: at the end of each third it has just done so.
    let third = if env::var_os(LONG).is_some() { 45 } else { 9 };

    go_on_for(third, &pbx, &phones);
    for (index, way) in WAYS.iter().enumerate().filter(|(_, way)| way.transport == "udp") {
        office.send(way.family, &options("office", &office, *way, &format!("office-{index}")));
    }
    assert_eq!(guard.unaccounted(), 0, "before any restart");
    all_are_in(&guard, &pbx, &phones);

    restart_and_be_first(&site, &mut pbx, &phones);
    go_on_for(third, &pbx, &phones);
    assert_eq!(guard.unaccounted(), 0, "after a restart of the PBX");
    all_are_in(&guard, &pbx, &phones);

    guard.restart();
    let between = guard.unaccounted();
    go_on_for(third, &pbx, &phones);
    assert_eq!(guard.unaccounted(), between, "after a restart of the gate");
    all_are_in(&guard, &pbx, &phones);
    // It fails if it finds a fault.
    guard.says(&["doctor"]);
}

/// Restarts the PBX in a pause of the phones, and lets connection tracking forget them: afterwards the PBX pings them before
/// they register again, and so is the originator of each flow.
fn restart_and_be_first(site: &Site, pbx: &mut Pbx, phones: &[Phone]) {
    site.gate().remember_flows_for(1);
    // A flow has the new time-out from its next packet on.
    Phone::wait_for_pings(phones, 1);
    pbx.stop();
    thread::sleep(Duration::from_secs(2));
    site.gate().remember_flows_for(120);
    pbx.go_on();
}

/// Lets some seconds go by, and each phone register and be pinged meanwhile.
fn go_on_for(seconds: u64, pbx: &Pbx, phones: &[Phone]) {
    let start = Instant::now();
    let before: Vec<_> = phones.iter().map(|phone| (pbx.registrations(phone), phone.pings())).collect();
    thread::sleep(Duration::from_secs(seconds));
    for (phone, (registrations, pings)) in phones.iter().zip(before) {
        pbx.wait_for_registrations(registrations + 1, phone);
        let pinged = patiently(|| (phone.pings() >= pings + seconds / 4).then_some(()));
        pinged.unwrap_or_else(|| panic!("{} is not pinged: {:#?}", phone.user, pbx.log()));
    }
    eprintln!("every phone has registered again within {:?}", start.elapsed());
}

fn all_are_in(guard: &Guard, pbx: &Pbx, phones: &[Phone]) {
    for phone in phones {
        let doors = guard.doors(&source(phone));
        let knock = format!("desk-{}", phone.user);
        assert!(doors.iter().any(|door| door["knock"] == knock.as_str()), "{}: {doors:?}", phone.user);
        let logged = patiently(|| {
            let (heard, logged) = (pbx.heard("REGISTER", &phone.address), guard.knocks(phone));
            (heard == logged).then_some(heard)
        });
        let logged = logged.unwrap_or_else(|| {
            let (heard, logged) = (pbx.heard("REGISTER", &phone.address), guard.knocks(phone));
            panic!("{} of {} REGISTERs of {} are events", logged, heard, phone.user)
        });
        eprintln!("{} ({:?}): {logged} REGISTERs, all of them events", phone.user, phone.way);
    }
}

/// For the full two minutes.
const LONG: &str = "SIPKNOCK_LONG";
