//! What becomes of the firewall's rules, in the log.

use super::form::{Either, EventForm, line};
use crate::control::protocol::{FOREIGN, RESTORED, RulesChange};

pub(super) fn put(change: &RulesChange, form: EventForm<'_>) {
    let RulesChange { state, family, chain, by, missing_ms, detail } = change;
    let bad = state != RESTORED;
    // For how long they were not in place.
    let seconds = missing_ms.map(|millis| millis as f64 / 1e3);
    let detail = Some(detail).filter(|detail| !detail.is_empty());
    line!(form, [WARN if bad, INFO], "daemon", message(text(change)), {
        event: "rules", state, family, chain, by, seconds, detail: Either(detail.filter(|_| bad), detail),
    });
}

/// With the family in it: of some logs one reads the message alone.
fn text(change: &RulesChange) -> String {
    let family = match change.family.as_str() {
        "ipv4" => "IPv4",
        "ipv6" => "IPv6",
        other => other,
    };
    match change.state.as_str() {
        RESTORED => format!("the {family} firewall rules are in place again"),
        FOREIGN => format!("a rule of others lets {family} packets past the gate"),
        _ => format!("the {family} firewall rules are not in place: packets pass the gate by"),
    }
}
