//! The gate's numbers for Prometheus.
//!
//! Queue threads count in [`counts`], each in its own; a scrape adds them up into a [`Snapshot`], and [`Snapshot::to_text`]
//! writes that down. No label holds an address, a secret, or anything else that came from the network.

pub mod counts;
mod family;
mod process;

use prometheus::TextEncoder;
use prometheus::proto::{MetricFamily, MetricType};

use crate::control::protocol::{IN_PLACE, Stats};
use crate::event::KnockOutcome;
use crate::inspect::{MANUAL, OUTBOUND};
use crate::verdict::{ReasonCounts, Verdict};
use counts::HistogramTotal;
use family::{Families, counted, measured};
pub use process::ProcessMetrics;

/// All that there is to tell at one time.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The content of `sipknock stats`, of the same moment.
    pub stats: Stats,
    /// When the gate was started, in seconds since 1970.
    pub started_s: f64,
    /// Packets that were decided as their reason says.
    pub decided: ReasonCounts,
    /// Packets that were accepted in monitor mode, and would have been dropped.
    pub spared: ReasonCounts,
    /// Knocks by name with what they did, by [`KnockOutcome`].
    pub knocks: Vec<(String, [u64; KnockOutcome::ALL.len()])>,
    /// The duration of decisions.
    pub inspected: HistogramTotal,
    /// Each queue, and whether it is bound to this process.
    pub bound: Vec<(u16, bool)>,
    /// Each queue, and when it last gave packets their verdicts, in seconds since 1970; 0 if it has not yet.
    pub last_verdicts: Vec<(u16, f64)>,
    /// Nothing is known to be wrong.
    pub healthy: bool,
    /// Clients of the control socket: those that are there, and those that found no place.
    pub control: Option<(u64, u64)>,
    /// Reloads that took effect, and that did not.
    pub reloads: (u64, u64),
    /// HTTP connections that had to make room for others.
    pub evicted: u64,
    /// The process itself.
    pub process: ProcessMetrics,
}

impl Snapshot {
    /// In Prometheus's text format, [`CONTENT_TYPE`].
    pub fn to_text(&self) -> String {
        // It fails on families without a name or a metric, and there is none.
        TextEncoder::new().encode_to_string(&self.families()).unwrap_or_default()
    }

    fn families(&self) -> Vec<MetricFamily> {
        let mut all = Families::default();
        self.packets(&mut all);
        self.doors(&mut all);
        self.queues(&mut all);
        self.rules(&mut all);
        self.gate(&mut all);
        self.process.add_to(&mut all, self.started_s);
        all.0
    }

    fn packets(&self, all: &mut Families) {
        let row = |verdict: Verdict, reason: &'static str, count| {
            ([("verdict", verdict.name()), ("reason", reason)], count)
        };
        let decided = self.decided.all().map(|(reason, count)| row(reason.verdict(), reason.name(), count));
        let spared = self.spared.occurred().map(|(reason, count)| row(Verdict::Accept, reason.name(), count));
        all.counters(
            "sipknock_packets_total",
            "Packets decided. In monitor mode all are accepted, and the reason is that of enforce mode.",
            decided.chain(spared),
        );
        let knocks = self.knocks.iter().flat_map(|(name, counts)| {
            let events = KnockOutcome::ALL.into_iter().zip(counts);
            events
                .map(move |(outcome, count)| ([("knock", name.as_str()), ("event", outcome.name())], *count))
        });
        all.counters("sipknock_knocks_total", "Knocks by name and outcome.", knocks);
        all.histogram(
            "sipknock_inspect_seconds",
            "Time to decide a packet; each packet of a batch counts with the batch's mean.",
            &self.inspected,
        );
    }

    fn doors(&self, all: &mut Families) {
        let doors = &self.stats.doors;
        all.gauge("sipknock_doors_open", "Open doors.", doors.open);
        all.gauge("sipknock_doors_max", "Doors that may be open at a time.", doors.max);
        all.gauge(
            "sipknock_doors_known",
            "Doors that are open, or have run out and are remembered.",
            doors.known,
        );
        let held = |name: &str| doors.by_knock.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let names = self.knocks.iter().map(|(name, _)| name.as_str()).chain([MANUAL, OUTBOUND]);
        let by_knock = names.map(|name| ([("knock", name)], held(name)));
        all.gauges("sipknock_doors_held", "Open doors by the knock that holds them.", by_knock);
        let Some(outbound) = &self.stats.outbound else { return };
        all.gauge(
            "sipknock_outbound_doors_open",
            "Open doors of sources that the PBX has called.",
            outbound.open,
        );
        all.gauge("sipknock_outbound_doors_max", "Such doors that may be open at a time.", outbound.max);
        all.counter(
            "sipknock_outbound_evicted_total",
            "Open outbound doors that were closed since there were too many.",
            outbound.evicted,
        );
        all.gauge(
            "sipknock_outbound_marks",
            "Sources that a request of the PBX opens no door for, since theirs was closed.",
            outbound.marks,
        );
        if outbound.wanted {
            all.gauge(
                "sipknock_outbound_reading",
                "Whether the PBX's packets are read, so that its requests open doors.",
                outbound.group.is_some().into(),
            );
        }
        all.counter("sipknock_outbound_copies_total", "Packets of the PBX that were read.", outbound.copies);
        all.counter(
            "sipknock_outbound_lost_total",
            "Packets of the PBX that could not be read, since the receive buffer was full.",
            outbound.lost,
        );
    }

    fn queues(&self, all: &mut Families) {
        let numbers: Vec<_> = self.stats.queues.iter().map(|queue| queue.queue.to_string()).collect();
        let lost = self.stats.queues.iter().zip(&numbers).flat_map(|(queue, number)| {
            let places = [("kernel", queue.kernel_dropped), ("socket", queue.socket_dropped)];
            places.map(|(place, count)| ([("queue", number.as_str()), ("where", place)], count))
        });
        all.counters(
            "sipknock_queue_dropped_total",
            "Packets lost before a decision: the queue was full (kernel), or its socket's buffer was (socket).",
            lost,
        );
        let stale = self.stats.queues.iter().zip(&numbers);
        let stale = stale.map(|(queue, number)| ([("queue", number.as_str())], queue.stale));
        all.counters(
            "sipknock_queue_stale_total",
            "Packets that the kernel dropped while they waited for a verdict: a base chain or an interface was deleted.",
            stale,
        );
        let waiting = self.stats.queues.iter().zip(&numbers);
        let waiting = waiting.map(|(queue, number)| ([("queue", number.as_str())], queue.waiting));
        all.gauges("sipknock_queue_waiting", "Packets that wait for a verdict.", waiting);
        let bound: Vec<_> = self.bound.iter().map(|(number, bound)| (number.to_string(), *bound)).collect();
        let bound = bound.iter().map(|(number, bound)| ([("queue", number.as_str())], u64::from(*bound)));
        all.gauges("sipknock_queue_bound", "Whether the queue is bound to this process.", bound);
        let last = self.last_verdicts.iter();
        let last = last.map(|(number, at)| measured([("queue", number.to_string().as_str())], *at));
        all.add(
            "sipknock_queue_last_verdict_timestamp_seconds",
            "When the queue last gave packets their verdicts, by the wall clock; 0 before the first ones.",
            MetricType::GAUGE,
            last.collect(),
        );
        let faults = self.stats.queues.iter().zip(&numbers);
        let faults = faults.map(|(queue, number)| ([("queue", number.as_str())], queue.faults));
        all.counters("sipknock_queue_faults_total", "How often the queue was not served.", faults);
    }

    /// Rules that nobody watches over any more are in no known state, and have no row.
    fn rules(&self, all: &mut Families) {
        let rules = self.stats.rules.as_ref();
        all.gauge(
            "sipknock_rules_watched",
            "Whether a process watches the firewall's rules.",
            rules.is_some_and(|rules| rules.watched).into(),
        );
        let Some(rules) = rules else { return };
        let families = rules.families.iter().filter(|_| rules.watched);
        let families = families
            .map(|family| ([("family", family.family.as_str())], u64::from(family.state == IN_PLACE)));
        all.gauges(
            "sipknock_rules_in_place",
            "Whether the firewall's rules are there, and nothing that can accept SIP comes before them.",
            families,
        );
        all.counter(
            "sipknock_rules_restored_total",
            "Times that the firewall's rules were put back.",
            rules.restores,
        );
        all.add(
            "sipknock_rules_missing_seconds_total",
            "Time without the firewall's rules in one family or both.",
            MetricType::COUNTER,
            vec![counted([], rules.missing_ms as f64 / 1e3)],
        );
    }

    fn gate(&self, all: &mut Families) {
        all.gauges("sipknock_build_info", "The program.", [([("version", self.stats.version.as_str())], 1)]);
        all.gauge(
            "sipknock_healthy",
            "Whether no fault is known; /healthz lists faults.",
            self.healthy.into(),
        );
        let monitors = self.stats.mode == "monitor";
        all.gauge("sipknock_monitor_mode", "Whether the gate accepts everything.", monitors.into());
        let (done, failed) = self.reloads;
        let reloads = [([("result", "done")], done), ([("result", "failed")], failed)];
        all.counters("sipknock_reloads_total", "Times that the configuration was read again.", reloads);
        all.counter(
            "sipknock_events_lost_total",
            "Events that were counted and not logged: too many, or the log too slow.",
            self.stats.events_lost,
        );
        if let Some(state) = &self.stats.state {
            all.counter(
                "sipknock_state_writes_total",
                "Times that the doors were written to disk.",
                state.writes,
            );
            all.counter(
                "sipknock_state_failures_total",
                "Times that the doors could not be written to disk.",
                state.failures,
            );
        }
        if let Some((seated, refused)) = self.control {
            all.gauge("sipknock_control_clients", "Clients of the control socket.", seated);
            all.counter(
                "sipknock_control_refused_total",
                "Clients of the control socket that found no place.",
                refused,
            );
        }
        all.counter(
            "sipknock_http_evicted_total",
            "HTTP connections that were closed to make room for others.",
            self.evicted,
        );
    }
}

/// Of [`Snapshot::to_text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests;
