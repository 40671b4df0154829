//! The dashboard, the alert rules and the guide, against what a gate really exports.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{get, knocks, start};
use crate::common::gate::{World, wait_until};

const RULES: &str = "dist/prometheus/sipknock.rules.yml";
const DASHBOARD: &str = "dist/grafana/sipknock.json";

pub(super) fn what_is_shipped_asks_for_what_there_is(world: &World) {
    let (_gate, _) = start(world, "", &knocks());
    let mut exported = BTreeSet::new();
    // Those of the rules are there once the first look at them is done.
    let there =
        wait_until(|| Some(get(world, "/metrics")).filter(|text| text.contains("sipknock_rules_in_place{")));
    for line in there.expect("somebody watches over the rules").lines() {
        let words: Vec<_> = line.split(' ').collect();
        let &["#", "TYPE", name, kind] = words.as_slice() else { continue };
        exported.insert(name.to_owned());
        if kind == "histogram" {
            exported.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
        }
    }
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    assert!(queries.len() > 10, "{queries:?}");
    for query in &queries {
        let names = metrics_in(query);
        assert!(!names.is_empty(), "{query} asks for nothing of ours");
        let unknown: Vec<_> = names.difference(&exported).collect();
        assert!(unknown.is_empty(), "{DASHBOARD}: there is no {unknown:?}");
    }
    let unknown: Vec<_> =
        metrics_in(&read(RULES)).into_iter().filter(|name| !exported.contains(name)).collect();
    assert!(unknown.is_empty(), "{RULES}: there is no {unknown:?}");

    // The guide has them all, and no others.
    let guide = metrics_in(&read("docs/guide.md"));
    let unknown: Vec<_> = guide.difference(&exported).collect();
    assert!(unknown.is_empty(), "the guide: there is no {unknown:?}");
    let parts = ["_bucket", "_sum", "_count"].map(|part| format!("sipknock_inspect_seconds{part}"));
    let untold: Vec<_> = exported
        .iter()
        .filter(|name| name.starts_with("sipknock_") && !parts.contains(name) && !guide.contains(*name))
        .collect();
    assert!(untold.is_empty(), "the guide does not tell of {untold:?}");
}

pub(super) fn rules_and_queries_pass_promtool(world: &World) {
    check_rules(&root().join(RULES));
    // Queries as rules, so that it reads them.
    let mut queries = Vec::new();
    collect(&serde_json::from_str(&read(DASHBOARD)).unwrap(), &mut queries);
    queries.retain(|query| !query.starts_with("label_values("));
    let rules = queries.iter().enumerate().map(|(n, query)| {
        let query = ["$__rate_interval", "$__range"]
            .iter()
            .fold(query.clone(), |query, span| query.replace(span, "5m"));
        format!(
            "  - record: query_{n}\n    expr: {}\n",
            Value::from(query.replace("$job", ".*").replace("$instance", ".*"))
        )
    });
    let file = format!("groups:\n- name: dashboard\n  rules:\n{}", rules.collect::<String>());
    let path = world.folder().join("dashboard.yml");
    std::fs::write(&path, file).unwrap();
    check_rules(&path);
}

/// Alerts over time, in minutes: of a gate whose packets stop, of one that never had any, and of one that has just begun.
pub(super) fn alerts_fire_when_they_should(world: &World) {
    let start = "process_start_time_seconds{job=\"sipknock\", instance=\"gate\"}";
    let verdict =
        "sipknock_queue_last_verdict_timestamp_seconds{job=\"sipknock\", instance=\"gate\", queue=\"0\"}";
    // Time begins at 0, and so do gates; seconds of each minute follow.
    let (from_the_start, always_0) = ("0x600", "0x600");
    let quiet = "No packet has come to sipknock on gate for two hours, or none at all";
    let mut tests = String::new();
    for (start_values, verdict_values, minutes, fires) in [
        // A packet each minute.
        (from_the_start, "0+60x600", 300, false),
        // None after the first hour.
        (from_the_start, "0+60x60 3600x500", 170, false),
        (from_the_start, "0+60x60 3600x500", 190, true),
        // Never one.
        (from_the_start, always_0, 110, false),
        (from_the_start, always_0, 130, true),
        // Never one since a restart in the third hour.
        ("0x180 10800x400", always_0, 290, false),
        ("0x180 10800x400", always_0, 310, true),
    ] {
        let expected = match fires {
            true => format!(
                "[{{exp_labels: {{severity: warning, instance: gate}}, exp_annotations: {{summary: {quiet:?}, description: {}}}}}]",
                Value::from(description("SipknockQuiet"))
            ),
            false => "[]".to_owned(),
        };
        tests.push_str(&format!(
            "- interval: 1m\n  input_series:\n  - {{series: '{start}', values: '{start_values}'}}\n  - {{series: '{verdict}', \
             values: '{verdict_values}'}}\n  alert_rule_test:\n  - {{alertname: SipknockQuiet, eval_time: {minutes}m, \
             exp_alerts: {expected}}}\n"
        ));
    }
    // What the PBX sends is seen, not seen for a moment, not seen, or need not be seen.
    let reading = "sipknock_outbound_reading{job=\"sipknock\", instance=\"gate\"}";
    for (values, fires) in [("1x30", false), ("1x9 0 1x20", false), ("1x9 0x20", true), ("_x30", false)] {
        let expected = match fires {
            true => format!(
                "[{{exp_labels: {{severity: warning, job: sipknock, instance: gate}}, exp_annotations: {{summary: {:?}, \
                 description: {}}}}}]",
                "sipknock on gate does not read the PBX's packets",
                Value::from(description("SipknockOutboundUnread"))
            ),
            false => "[]".to_owned(),
        };
        tests.push_str(&format!(
            "- interval: 1m\n  input_series:\n  - {{series: '{reading}', values: '{values}'}}\n  alert_rule_test:\n  - \
             {{alertname: SipknockOutboundUnread, eval_time: 20m, exp_alerts: {expected}}}\n"
        ));
    }
    let rules = root().join(RULES);
    let file =
        format!("rule_files: [{:?}]\nevaluation_interval: 1m\ntests:\n{tests}", rules.to_str().unwrap());
    let path = world.folder().join("alerts.yml");
    std::fs::write(&path, file).unwrap();
    promtool(&["test", "rules"], &path);
}

/// What an alert says.
fn description(alert: &str) -> String {
    let rules = read(RULES);
    let from = rules.find(&format!("alert: {alert}\n")).unwrap();
    let line = rules[from..].lines().find_map(|line| line.trim().strip_prefix("description: ")).unwrap();
    line.trim_matches('"').to_owned()
}

fn check_rules(path: &Path) {
    promtool(&["check", "rules"], path);
}

fn promtool(words: &[&str], path: &Path) {
    let output = Command::new("promtool").args(words).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}

/// What panels and variables ask for.
fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(query) if name == "expr" || (name == "query" && query.contains("sipknock_")) => {
                        queries.push(query.to_owned());
                    }
                    _ => collect(field, queries),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, queries)),
        _ => {}
    }
}

/// Names of metrics in a query, or in any text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("sipknock_") || word.starts_with("process_"))
        // The beginning of a package's file name.
        .filter(|word| *word != "sipknock_")
        .map(str::to_owned)
        .collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
