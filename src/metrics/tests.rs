use super::counts::BOUNDS;
use super::*;
use crate::control::protocol::{DoorStats, OutboundStats, QueueStats, RulesFamily, RulesStats};
use crate::verdict::Reason;

fn rules_of(family: &str, state: &str) -> RulesFamily {
    let (chain, detail) = ("INPUT".into(), String::new());
    RulesFamily { family: family.into(), chain, state: state.into(), detail }
}

fn snapshot() -> Snapshot {
    let mut decided = ReasonCounts::default();
    decided.add(Reason::Knock);
    decided.add(Reason::NoKnock);
    let mut spared = ReasonCounts::default();
    spared.add(Reason::NoKnock);
    let mut inspected = HistogramTotal { nanos: 400_000_000_500, ..HistogramTotal::default() };
    (inspected.buckets[0], inspected.buckets[2], inspected.buckets[BOUNDS.len()]) = (3, 1, 1);
    let by_knock = [("alice".to_owned(), 2.into()), ("outbound".to_owned(), 4.into())].into_iter().collect();
    Snapshot {
        stats: Stats {
            grace: None,
            config: None,
            busiest: None,
            protection: None,
            version: "1.2.3".into(),
            pid: 1,
            mode: "monitor".into(),
            backend: "batched".into(),
            started: String::new(),
            uptime_s: 0,
            packets: 3,
            reasons: serde_json::Map::new(),
            doors: DoorStats { open: 2, max: 10, known: 3, by_knock },
            queues: vec![QueueStats {
                queue: 7,
                waiting: 4,
                kernel_dropped: 5,
                socket_dropped: 6,
                stale: 9,
                fault: None,
                faults: 2,
                ..QueueStats::default()
            }],
            state: None,
            rules: Some(RulesStats {
                watched: true,
                families: vec![rules_of("ipv4", "in-place"), rules_of("ipv6", "missing")],
                restores: 3,
                missing_ms: 1250,
                ..RulesStats::default()
            }),
            events_lost: 8,
            refused_trunks: vec![],
            outbound: Some(OutboundStats {
                evicted: 7,
                wanted: true,
                open: 4,
                max: 100,
                marks: 3,
                copies: 50,
                lost: 6,
                group: Some(5060),
                off: None,
            }),
        },
        started_s: 1_795_356_000.5,
        decided,
        spared,
        knocks: vec![("alice".into(), [1, 2, 3]), ("a \"quoted\" \\ one".into(), [0; 3])],
        inspected,
        bound: vec![(7, true), (8, false)],
        last_verdicts: vec![(7, 1_795_356_001.25), (8, 0.0)],
        healthy: false,
        control: Some((1, 9)),
        reloads: (1, 2),
        evicted: 0,
        process: ProcessMetrics { cpu: std::time::Duration::from_millis(1500), ..ProcessMetrics::default() },
    }
}

#[test]
fn every_name_and_label() {
    let text = snapshot().to_text();
    for line in [
        "sipknock_packets_total{verdict=\"accept\",reason=\"knock\"} 1",
        "sipknock_packets_total{verdict=\"accept\",reason=\"door\"} 0",
        "sipknock_packets_total{verdict=\"drop\",reason=\"no-knock\"} 1",
        // What monitor mode let pass.
        "sipknock_packets_total{verdict=\"accept\",reason=\"no-knock\"} 1",
        "sipknock_knocks_total{knock=\"alice\",event=\"opened\"} 1",
        "sipknock_knocks_total{knock=\"alice\",event=\"renewed\"} 2",
        "sipknock_knocks_total{knock=\"alice\",event=\"refused\"} 3",
        r#"sipknock_knocks_total{knock="a \"quoted\" \\ one",event="opened"} 0"#,
        "# TYPE sipknock_inspect_seconds histogram",
        "sipknock_inspect_seconds_bucket{le=\"0.0000001\"} 3",
        "sipknock_inspect_seconds_bucket{le=\"0.00000025\"} 3",
        "sipknock_inspect_seconds_bucket{le=\"0.0000005\"} 4",
        "sipknock_inspect_seconds_bucket{le=\"1\"} 4",
        "sipknock_inspect_seconds_bucket{le=\"+Inf\"} 5",
        "sipknock_inspect_seconds_sum 400.0000005",
        "sipknock_inspect_seconds_count 5",
        "sipknock_doors_open 2",
        "sipknock_doors_max 10",
        "sipknock_doors_known 3",
        "sipknock_doors_held{knock=\"alice\"} 2",
        "sipknock_doors_held{knock=\"manual\"} 0",
        "sipknock_doors_held{knock=\"outbound\"} 4",
        "sipknock_outbound_doors_open 4",
        "sipknock_outbound_doors_max 100",
        "sipknock_outbound_evicted_total 7",
        "sipknock_outbound_marks 3",
        "sipknock_outbound_reading 1",
        "sipknock_outbound_copies_total 50",
        "sipknock_outbound_lost_total 6",
        "sipknock_queue_dropped_total{queue=\"7\",where=\"kernel\"} 5",
        "sipknock_queue_dropped_total{queue=\"7\",where=\"socket\"} 6",
        "sipknock_queue_stale_total{queue=\"7\"} 9",
        "sipknock_queue_waiting{queue=\"7\"} 4",
        "sipknock_queue_bound{queue=\"7\"} 1",
        "sipknock_queue_bound{queue=\"8\"} 0",
        "sipknock_queue_last_verdict_timestamp_seconds{queue=\"7\"} 1795356001.25",
        "sipknock_queue_last_verdict_timestamp_seconds{queue=\"8\"} 0",
        "sipknock_queue_faults_total{queue=\"7\"} 2",
        "sipknock_build_info{version=\"1.2.3\"} 1",
        "sipknock_healthy 0",
        "sipknock_monitor_mode 1",
        "sipknock_reloads_total{result=\"done\"} 1",
        "sipknock_reloads_total{result=\"failed\"} 2",
        "sipknock_events_lost_total 8",
        "sipknock_rules_watched 1",
        "sipknock_rules_in_place{family=\"ipv4\"} 1",
        "sipknock_rules_in_place{family=\"ipv6\"} 0",
        "sipknock_rules_restored_total 3",
        "sipknock_rules_missing_seconds_total 1.25",
        "sipknock_control_clients 1",
        "sipknock_control_refused_total 9",
        "process_cpu_seconds_total 1.5",
        "process_start_time_seconds 1795356000.5",
    ] {
        assert!(text.lines().any(|has| has == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("sipknock_state_"), "nothing is kept");
}

#[test]
fn the_process_is_there() {
    let process = ProcessMetrics::now();
    assert!(process.resident.is_some_and(|bytes| bytes > 100_000), "{process:?}");
    assert!(process.descriptors.is_some_and(|count| count >= 3), "{process:?}");
    assert!(process.max_descriptors >= process.descriptors);
}
