//! A PBX behind the gate's machine.

use std::net::SocketAddr;

use super::guard::{Guard, Sentinel, Settings, options};
use super::hosts::Family;
use super::site::{ROUTER4, ROUTER6, Site};
use super::software::{LONG, Pbx, Phone, Trunk, WAYS};
use super::trunk::{calls_come_in, is_shut_out};
use crate::common::gate::PORT;
use crate::common::program::patiently;

pub(crate) fn a_pbx_behind_a_router() {
    let site = Site::with_router();
    let firewall = "chains = [\"FORWARD\"]\npbx = [\"192.0.2.1\", \"2001:db8:1::1\"]";
    behind_a_router(&site, firewall, None);
}

pub(crate) fn a_pbx_on_a_router_and_one_behind_it() {
    let site = Site::with_router();
    let second = Pbx::start_on(&site, site.gate());
    // By its interface this time.
    behind_a_router(&site, "chains = [\"INPUT\", \"FORWARD\"]\npbx = [\"lan\"]", Some(&second));
}

fn behind_a_router(site: &Site, firewall: &str, second: Option<&Pbx>) {
    let trunk = Trunk::start(site, 20);
    let (stranger, attacker) = (site.host(21), site.host(66));
    [&trunk.host, &stranger, &attacker].iter().for_each(|host| site.watch(host));
    let firewall = format!("[firewall]\n{firewall}");
    let settings = Settings { firewall, phones: (201..=206).collect(), ..Settings::default() };
    let guard = Guard::start(site, &settings);
    let pbx = Pbx::start_with(site, &WAYS.map(|way| (&trunk.host, way)));
    let sentinel = Sentinel::new(site);
    let phones = Phone::start_all(site, &pbx);
    trunk.wait_for_registrations(&WAYS);
    site.gate().remember_flows_for(1);
    Phone::wait_for_pings(&phones, 1);
    calls_come_in(site, &guard, &trunk, &phones, 0);
    assert_eq!(guard.unaccounted(), 0);
    // The rules count a large TCP message once, and the kernel queues its segments.
    trunk.call_all(site, &phones, LONG);
    is_shut_out(site, &pbx, &sentinel, &stranger);
    if let Some(second) = second {
        for (user, way, at) in [(205, WAYS[0], ROUTER4.to_owned()), (206, WAYS[3], format!("[{ROUTER6}]"))] {
            let phone = Phone::start_at(site, user, way, &at);
            second.wait_for_registrations(1, &phone);
            Phone::wait_for_pings(&[phone], 1);
        }
        let before = site.passed(&stranger);
        for family in Family::BOTH {
            let socket = stranger.udp(SocketAddr::new(stranger.address(family), 0));
            let way = WAYS.into_iter().find(|way| way.family == family).unwrap();
            let router = SocketAddr::new(site.gate().address(family), PORT);
            socket.send_to(options("stranger", &stranger, way, "second").as_bytes(), router).unwrap();
        }
        // One queue keeps the order.
        is_shut_out(site, &pbx, &sentinel, &stranger);
        assert_eq!(site.passed(&stranger), before);
    }
    // It fails if it finds a fault.
    guard.says(&["doctor"]);
    a_forged_frame_opens_nothing(site, &guard, &attacker);
    is_shut_out(site, &pbx, &sentinel, &attacker);
    assert_eq!(site.passed(&attacker), 0);
}

/// From the world comes a request with the PBX's address, for the attacker. The router passes it on, and opens nothing.
fn a_forged_frame_opens_nothing(site: &Site, guard: &Guard, attacker: &super::hosts::Host) {
    // What the street itself sends goes to the router, wherever it is for.
    site.street.ip(&format!("rule add iif lo lookup 100\nroute add default via {ROUTER4} table 100\n"));
    site.street.ip_with(
        &["-6"],
        &format!("rule add iif lo lookup 100\nroute add default via {ROUTER6} table 100\n"),
    );
    for (family, way) in [(Family::V4, WAYS[0]), (Family::V6, WAYS[2])] {
        let to = SocketAddr::new(attacker.address(family), PORT);
        let (ear, mouth) = (attacker.udp(to), site.street.forged_udp(super::hosts::pbx(family)));
        let request = options("PBX", &site.pbx, way, "forged");
        let mut buffer = [0; 2048];
        let heard = patiently(|| {
            mouth.send_to(request.as_bytes(), to).unwrap();
            ear.recv_from(&mut buffer).ok()
        });
        let (length, from) = heard.expect("the router passes it on");
        assert_eq!((from, &buffer[..length]), (super::hosts::pbx(family), request.as_bytes()));
        let doors = [guard.doors(&attacker.v4), guard.doors("2001:db8:66::/64")].concat();
        assert!(doors.is_empty(), "{doors:?}");
    }
}
