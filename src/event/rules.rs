//! What becomes of the firewall's rules, in the log.

use serde_json::{Value, json};
use tracing::{info, warn};

use crate::control::protocol::{FOREIGN, RESTORED, RulesChange};

pub(super) fn write(change: &RulesChange) {
    let RulesChange { state, family, chain, by, .. } = change;
    let (by, detail) = (by.as_deref(), detail(change));
    let seconds = seconds(change);
    if is_good(change) {
        let message = message(change);
        info!(target: "sipknock::daemon", event = "rules", state, family, chain, by, seconds, "{message}");
    } else {
        let message = message(change);
        warn!(target: "sipknock::daemon", event = "rules", state, family, chain, by, seconds, detail, "{message}");
    }
}

pub(super) fn level(change: &RulesChange) -> &'static str {
    if is_good(change) { "INFO" } else { "WARN" }
}

pub(super) fn fields(change: &RulesChange) -> Value {
    json!({
        "event": "rules", "state": change.state, "family": change.family, "chain": change.chain,
        "by": change.by, "seconds": seconds(change), "detail": detail(change), "message": message(change),
    })
}

fn is_good(change: &RulesChange) -> bool {
    change.state == RESTORED
}

/// With the family in it: of some logs one reads the message alone.
fn message(change: &RulesChange) -> String {
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

/// For how long they were not in place.
fn seconds(change: &RulesChange) -> Option<f64> {
    change.missing_ms.map(|millis| millis as f64 / 1e3)
}

fn detail(change: &RulesChange) -> Option<&str> {
    Some(change.detail.as_str()).filter(|detail| !detail.is_empty())
}
