//! The same software without a gate: whatever fails here is not the gate's fault.

use super::site::Site;
use super::software::{LONG, Pbx, Phone, Trunk, WAYS};

pub(crate) fn without_a_gate() {
    all_works(&Site::new());
}

pub(crate) fn without_a_gate_behind_a_router() {
    all_works(&Site::with_router());
}

/// Phones register and are pinged, the PBX registers with the trunk, and calls come in, before and after a restart.
fn all_works(site: &Site) {
    let trunk = Trunk::start(site, 20);
    let mut pbx = Pbx::start_with(site, &WAYS.map(|way| (&trunk.host, way)));
    let phones = Phone::start_all(site, &pbx);
    trunk.wait_for_registrations(&WAYS);
    Phone::wait_for_pings(&phones, 2);
    trunk.call_all(site, &phones, LONG);
    pbx.wait_for_next_registrations(&phones);
    pbx.stop();
    pbx.go_on();
    Phone::wait_for_pings(&phones, 1);
    pbx.wait_for_next_registrations(&phones);
}
