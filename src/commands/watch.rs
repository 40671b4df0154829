//! `sipknock watch`

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::failure::Failure;
use super::remote::{ask, moment, span};
use crate::cli::{Cli, WatchArgs};
use crate::control::protocol::{ControlRequest, Reply};
use crate::terminal::has_colours;

pub(super) fn run(cli: &Cli, args: &WatchArgs) -> Result<ExitCode, Failure> {
    let colours = has_colours(&io::stdout());
    ask(cli, &args.gate, &ControlRequest::Watch {}, |answer| {
        let mut out = io::stdout().lock();
        match answer {
            Reply::Event(event) if args.json => writeln!(out, "{event}"),
            Reply::Event(event) => writeln!(out, "{}", line(&event, colours)),
            Reply::Lost(count) if args.json => writeln!(out, "{}", json!({"lost": count})),
            Reply::Lost(count) => writeln!(out, "({count} events came too fast to be shown)"),
            _ => Ok(()),
        }?;
        out.flush()
    })?;
    Ok(ExitCode::SUCCESS)
}

/// An event as a line for people.
fn line(event: &Value, colours: bool) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let number = |name: &str| event.get(name).and_then(Value::as_u64);
    let warning = text("level") == Some("WARN");
    let kind = text("event").unwrap_or(if warning { "warning" } else { "note" });
    let mut parts = vec![text("time").map(moment).unwrap_or_default()];
    let padded = format!("{kind:<9}");
    parts.push(match (colours, colour(kind)) {
        (true, Some(colour)) => format!("\x1b[{colour}m{padded}\x1b[0m"),
        _ => padded,
    });
    match (text("src"), number("sport")) {
        (Some(source), Some(port)) if source.contains(':') => parts.push(format!("[{source}]:{port}")),
        (Some(source), Some(port)) => parts.push(format!("{source}:{port}")),
        (Some(source), None) => parts.push(source.to_owned()),
        _ => {}
    }
    for name in ["knock", "why", "limit", "method", "from", "place", "mode", "queues", "reasons", "message"] {
        parts.extend(text(name).map(str::to_owned));
    }
    match kind {
        "opened" | "renewed" => {
            parts.extend(number("door_s").map(|seconds| format!("for {}", span(seconds))));
            parts.extend(text("expires_at").map(|time| format!("until {}", moment(time))));
        }
        "dropped" => {
            parts.extend(number("interval_s").map(|seconds| format!("in {seconds}s")));
            parts.extend(event.get("established").map(|_| "connected".to_owned()));
            parts.extend(["user", "user_agent"].iter().filter_map(|name| text(name)).map(str::to_owned));
            parts.extend(event.get("would").map(|_| "(would be dropped)".to_owned()));
        }
        "rules" => {
            parts.extend(
                ["state", "family", "chain", "by", "detail"]
                    .iter()
                    .filter_map(|name| text(name))
                    .map(str::to_owned),
            );
            parts.extend(event.get("seconds").map(|seconds| format!("{seconds}s")));
        }
        "overload" => parts.extend(number("count").map(|count| format!("{count} lost"))),
        "unready" => {
            parts.extend(["user", "user_agent"].iter().filter_map(|name| text(name)).map(str::to_owned));
            parts.push("has not knocked".to_owned());
        }
        "trunk-refused" => {
            parts.extend(["user", "advice"].iter().filter_map(|name| text(name)).map(str::to_owned))
        }
        "grace" => {
            parts.extend(number("grace_s").map(|seconds| format!("for {}", span(seconds))));
            if let (Some(phones), Some(unready)) = (number("phones"), number("unready")) {
                parts.push(format!("phones: {phones}, without a knock: {unready}"));
            }
            parts.extend(text("advice").map(str::to_owned));
        }
        _ => {}
    }
    parts.join("  ")
}

/// What the eye is to find at once.
fn colour(kind: &str) -> Option<u8> {
    Some(match kind {
        "opened" => 32,
        "renewed" => 36,
        "closed" => 33,
        "dropped" => 90,
        "refused" | "overload" | "warning" | "unready" | "trunk-refused" => 31,
        "started" | "stopped" | "reloaded" | "grace" => 34,
        "rules" => 35,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_people() {
        for (event, colours, expected) in [
            (
                json!({"time": "2026-11-22T14:00:00.123456Z", "event": "opened", "src": "203.0.113.7", "sport": 5061,
                    "knock": "alice", "method": "REGISTER", "door_s": 4000, "expires_at": "2026-11-22T15:06:40.123456Z"}),
                false,
                "2026-11-22 14:00:00Z  opened     203.0.113.7:5061  alice  REGISTER  for 1h 6m 40s  until 2026-11-22 15:06:40Z",
            ),
            (
                json!({"time": "2026-11-22T14:00:00.123456Z", "event": "closed", "src": "2001:db8::/64", "knock": "bob",
                    "why": "revoked"}),
                true,
                "2026-11-22 14:00:00Z  \x1b[33mclosed   \x1b[0m  2001:db8::/64  bob  revoked",
            ),
            (
                json!({"time": "2026-11-22T14:00:00.123456Z", "event": "unready", "src": "203.0.113.7",
                    "user": "100@pbx", "user_agent": "Phone 1"}),
                false,
                "2026-11-22 14:00:00Z  unready    203.0.113.7  100@pbx  Phone 1  has not knocked",
            ),
            (
                json!({"time": "2026-11-22T14:00:00.123456Z", "event": "dropped", "src": "203.0.113.7", "count": 3,
                    "reasons": "no-knock:3", "interval_s": 10, "established": true, "user": "100", "user_agent": "scanner"}),
                false,
                "2026-11-22 14:00:00Z  dropped    203.0.113.7  no-knock:3  in 10s  connected  100  scanner",
            ),
            (
                json!({"time": "2026-11-22T14:00:00.123456Z", "event": "grace", "mode": "monitor", "phones": 3,
                    "unready": 1, "advice": "do something"}),
                false,
                "2026-11-22 14:00:00Z  grace      monitor  phones: 3, without a knock: 1  do something",
            ),
            (
                json!({"time": "2026-11-22T14:00:00.123456Z", "level": "WARN", "message": "mind the gap"}),
                false,
                "2026-11-22 14:00:00Z  warning    mind the gap",
            ),
        ] {
            assert_eq!(line(&event, colours), expected);
        }
    }
}
