//! The metrics, the health check and the status page of the running gate.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::control::protocol::Stats;
use crate::control::server::ClientCounts;
use crate::control::watch::{Watch, WatchedEvent};
use crate::daemon::endpoints::control_service::{ControlService, lines, outbound};
use crate::daemon::endpoints::history::{KnockHistory, PacketHistory, SPAN, Totals};
use crate::daemon::workers::watchdog::QueueStatus;
use crate::event::{Event, KnockOutcome};
use crate::http::server::TICK;
use crate::http::{PageQuery, PageService, Sort};
use crate::inspect::{Inspector, MANUAL, OUTBOUND};
use crate::knock::KnockId;
use crate::metrics::counts::HistogramTotal;
use crate::metrics::{ProcessMetrics, Snapshot};
use crate::queue::{Fault, kernel};
use crate::verdict::{ReasonCounts, Verdict};

/// Looks at the gate for the server, on the server's thread.
pub(in crate::daemon) struct HttpService {
    service: Arc<ControlService>,
    /// The gate is ending.
    stopping: Arc<AtomicBool>,
    /// Of the control socket, where there is one.
    control: Option<ClientCounts>,
    watch: Watch,
    /// Newest first, as JSON.
    events: VecDeque<Value>,
    flow: PacketHistory,
    knocks: KnockHistory,
}

impl HttpService {
    pub(in crate::daemon) fn new(
        service: Arc<ControlService>,
        stopping: Arc<AtomicBool>,
        control: Option<ClientCounts>,
    ) -> Self {
        let watch = service.watchers().add_ours();
        let (flow, knocks) = (PacketHistory::default(), KnockHistory::default());
        Self { service, stopping, control, watch, events: VecDeque::new(), flow, knocks }
    }

    /// Takes in the events that there were. Not more than may wait, so that a flood of them ends.
    fn take_events(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            match self.watch.next(Duration::ZERO) {
                WatchedEvent::Event(time, event) => {
                    self.events.truncate(EVENTS - 1);
                    self.events.push_front(event.to_json(time));
                }
                // The page shows the last ones, and lists no others.
                WatchedEvent::Lost(_) => {}
                WatchedEvent::Nothing | WatchedEvent::End => return,
            }
        }
    }

    fn counts(&self) -> (ReasonCounts, ReasonCounts) {
        let mut sums = (ReasonCounts::default(), ReasonCounts::default());
        for worker in self.service.workers() {
            sums.0.merge(&worker.decided());
            sums.1.merge(&worker.spared());
        }
        sums
    }

    /// The counts of a knock so far.
    fn knock(&self, id: KnockId) -> [u64; KnockOutcome::ALL.len()] {
        let mut sums = [0; KnockOutcome::ALL.len()];
        for worker in self.service.workers() {
            sums.iter_mut().zip(worker.knocks().of(id)).for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    /// How often each knock came, by id.
    fn knocked(&self, gate: &Inspector) -> Vec<u64> {
        let ids = (0u32..).zip(gate.names()).map(|(id, _)| KnockId::from(id));
        ids.map(|id| self.knock(id).iter().sum()).collect()
    }

    /// Whether each queue is bound to this process; nothing where the kernel does not tell.
    fn bound(&self) -> Vec<(u16, bool)> {
        let Ok(rows) = kernel::readable_queues() else { return Vec::new() };
        let bound = self.service.health().into_iter().map(|QueueStatus { binding: ours, .. }| {
            let is_ours = |row: &kernel::QueueRow| (row.queue, row.port_id) == (ours.queue, ours.port_id);
            (ours.queue, rows.iter().any(is_ours))
        });
        bound.collect()
    }

    /// When each queue last gave packets their verdicts, in seconds since 1970, as [`Snapshot`] has it. Whoever scrapes
    /// holds it against the wall clock, which may have been set since the gate's own was started by it.
    fn last_verdicts(&self) -> Vec<(u16, f64)> {
        let (wall, now) = (Clock::start().now(), self.service.now());
        let seconds = |time| (wall.before(now.since(time)).as_nanos() / 1_000_000) as f64 / 1e3;
        let queues = self.service.health().into_iter().map(|health| health.binding.queue);
        queues.map(|queue| (queue, self.service.last_verdict(queue).map_or(0.0, seconds))).collect()
    }

    fn faults_with(&self, bound: &[(u16, bool)]) -> Vec<String> {
        let stopping = self.stopping.load(Ordering::Relaxed);
        let mut faults: Vec<_> = stopping.then(|| "the gate: it is ending".to_owned()).into_iter().collect();
        faults.extend(self.service.rules().faults());
        faults.extend(self.service.outbound_fault());
        for (number, _) in bound.iter().filter(|(_, bound)| !bound) {
            faults.push(format!(
                "queue {number}: it is not bound to this process, and is bound again as soon as that is possible"
            ));
        }
        for QueueStatus { binding, fault, .. } in self.service.health() {
            if matches!(fault, Some((Fault::Stuck, _))) {
                faults.push(format!("queue {}: packets wait in it, and none is decided", binding.queue));
            }
        }
        faults
    }

    fn doors(&self, gate: &Inspector, wanted: &PageQuery) -> Value {
        let now = self.service.now();
        let filter = RowFilter::new(gate, &wanted.filter);
        let (matching, rows) = gate.doors().top(
            DOORS,
            now,
            |source, knocks| filter.passes(knocks, || source.network(gate.cut())),
            |door| match wanted.sort {
                Sort::Recent => door.last_knock.as_nanos(),
                Sort::Expires => u64::MAX - door.door.expires.as_nanos(),
                Sort::Packets => door.packets,
            },
        );
        let mut rows: Vec<_> = rows.iter().map(|door| lines::line(gate, door, now)).collect();
        let mut called = gate.outbound().listed(now);
        called.retain(|(source, _)| filter.passes_outbound(|| source.network(gate.cut())));
        // As much room as the others leave, for those whom the PBX has called last.
        called.sort_by_key(|(_, door)| Reverse(door.requested));
        let matching = matching + called.len() as u64;
        let room = DOORS.saturating_sub(rows.len());
        rows.extend(called.iter().take(room).map(|(source, door)| outbound::line(gate, *source, door, now)));
        json!({"matching": matching, "rows": rows})
    }

    /// The knocks that came most within the last hour, then those that came most ever, then in the configuration's order.
    fn knock_rows(&self, gate: &Inspector) -> Value {
        let totals = self.knocked(gate);
        let sums = self.knocks.sums(&totals);
        let of = |all: &[u64], id: KnockId| all.get(id.index()).copied().unwrap_or(0);
        let mut ids: Vec<_> = gate.knocks_by_id().map(|(id, _)| id).collect();
        let all = ids.len();
        ids.sort_by_key(|id| Reverse((of(&sums, *id), of(&totals, *id))));
        ids.truncate(KNOCKS);
        let spans = self.knocks.of(&ids, &totals);
        let rows = ids.iter().zip(spans).map(|(&id, spans)| {
            let [opened, renewed, refused] = self.knock(id);
            json!({
                "knock": gate.name(id), "doors": gate.doors().held_by(id), "opened": opened, "renewed": renewed,
                "refused": refused, "recent": spans,
            })
        });
        json!({"every_s": SPAN.as_secs(), "all": all, "rows": rows.collect::<Vec<_>>()})
    }
}

impl PageService for HttpService {
    fn listening(&mut self, address: SocketAddr, outcome: Result<(), &io::Error>) {
        match outcome {
            Ok(()) => {
                self.service.send(Event::Note(format!("metrics and status page are at http://{address}/")));
                if !address.ip().to_canonical().is_loopback() {
                    self.service.send(Event::Warning(format!(
                        "the status page at {address} has no login: everybody who reaches it sees the phones' \
                         addresses and the knocks' names; let the firewall or a proxy keep others out, or listen on \
                         127.0.0.1"
                    )));
                }
            }
            Err(error) => self.service.send(Event::Warning(format!(
                "no metrics and no status page yet: {address} can't be had: {error}; it is tried again every {} s, or give \
                 --http or http.listen another address",
                TICK.as_secs()
            ))),
        }
    }

    fn tick(&mut self) {
        self.take_events();
        let now = self.service.now();
        let (decided, spared) = self.counts();
        let mut totals = Totals { spared: spared.total(), ..Totals::default() };
        for (reason, count) in decided.occurred() {
            match reason.verdict() {
                Verdict::Accept => totals.accepted += count,
                Verdict::Drop => totals.dropped += count,
            }
        }
        let queues = self.service.queues();
        totals.lost = queues.iter().map(|queue| queue.kernel_dropped + queue.socket_dropped).sum();
        self.flow.look(now, totals);
        let knocked = self.knocked(&self.service.gate());
        self.knocks.look(now, &knocked);
    }

    fn faults(&mut self) -> Vec<String> {
        self.faults_with(&self.bound())
    }

    fn metrics(&mut self, evicted: u64) -> String {
        let (decided, spared) = self.counts();
        let mut inspected = HistogramTotal::default();
        self.service.workers().for_each(|worker| worker.add_inspected(&mut inspected));
        let gate = self.service.gate();
        let knocks = gate.knocks_by_id().map(|(id, knock)| (knock.name.clone(), self.knock(id)));
        let bound = self.bound();
        let snapshot = Snapshot {
            stats: self.service.stats(),
            started_s: self.service.started().as_nanos() as f64 / 1e9,
            decided,
            spared,
            knocks: knocks.collect(),
            inspected,
            healthy: self.faults_with(&bound).is_empty(),
            bound,
            last_verdicts: self.last_verdicts(),
            control: self.control.as_ref().map(|counts| (counts.seated() as u64, counts.refused())),
            reloads: self.service.reloads(),
            evicted,
            process: ProcessMetrics::now(),
        };
        snapshot.to_text()
    }

    fn status(&mut self, wanted: &PageQuery) -> Value {
        self.take_events();
        let gate = self.service.gate();
        let (done, failed) = self.service.reloads();
        json!({
            "now": self.service.now().to_string(),
            // The page has no login: how strangers would fare inside the process is nothing for them.
            "stats": Stats { protection: None, ..self.service.stats() },
            "faults": self.faults(),
            "reloads": {"done": done, "failed": failed},
            "flow": self.flow.to_json(TICK),
            "doors": self.doors(&gate, wanted),
            "knocks": self.knock_rows(&gate),
            "events": self.events,
        })
    }
}

/// Which doors are wanted: those of a network, where the text is one or the beginning of an address, and those of knocks
/// that have it in their names.
struct RowFilter {
    net: Option<IpNet>,
    /// By id; `None`: all are.
    knocks: Option<Vec<bool>>,
    manual: bool,
    outbound: bool,
}

impl RowFilter {
    fn new(gate: &Inspector, text: &str) -> Self {
        if text.is_empty() {
            return Self { net: None, knocks: None, manual: true, outbound: true };
        }
        let text = text.to_lowercase();
        let has = |name: &str| name.to_lowercase().contains(&text);
        Self {
            net: network(&text),
            knocks: Some(gate.names().map(has).collect()),
            manual: has(MANUAL),
            outbound: has(OUTBOUND),
        }
    }

    /// This runs where a part of the table is locked: nothing is written down, and nothing searched.
    fn passes(&self, mut held_by: impl Iterator<Item = KnockId>, source: impl FnOnce() -> IpNet) -> bool {
        let Some(knocks) = &self.knocks else { return true };
        held_by.any(|knock| knocks.get(knock.index()).copied().unwrap_or(self.manual)) || self.covers(source)
    }

    fn passes_outbound(&self, source: impl FnOnce() -> IpNet) -> bool {
        self.outbound || self.covers(source)
    }

    fn covers(&self, source: impl FnOnce() -> IpNet) -> bool {
        self.net.is_some_and(|net| {
            let source = source();
            net.contains(&source) || source.contains(&net)
        })
    }
}

/// A network, an address, or the beginning of one as people type it: `198.51.`, `2001:db8:`.
fn network(text: &str) -> Option<IpNet> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(net.trunc());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.into());
    }
    if let Some(groups) = text.strip_suffix(':').filter(|groups| !groups.is_empty() && !groups.contains("::"))
    {
        let count = groups.split(':').count();
        let address: Ipv6Addr = format!("{groups}::").parse().ok()?;
        return Ipv6Net::new(address, u8::try_from(16 * count).ok()?).ok().map(IpNet::V6);
    }
    let octets: Vec<u8> = text
        .strip_suffix('.')
        .unwrap_or(text)
        .split('.')
        .map(|octet| octet.parse().ok())
        .collect::<Option<_>>()?;
    // One number alone may as well be a part of a name.
    let whole = matches!(octets.len(), 2 | 3) || (octets.len() == 1 && text.ends_with('.'));
    let length = u8::try_from(8 * octets.len()).ok().filter(|_| whole)?;
    let mut address = [0; 4];
    address.iter_mut().zip(octets).for_each(|(place, octet)| *place = octet);
    Ipv4Net::new(Ipv4Addr::from(address), length).ok().map(IpNet::V4)
}

/// Rows that somebody reads on one page.
const DOORS: usize = 100;
const KNOCKS: usize = 50;
const EVENTS: usize = 50;

/// As many as may wait to be taken in, and some.
const MOST_AT_ONCE: usize = 2048;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use arc_swap::ArcSwap;

    use super::*;
    use crate::config::{Config, ConfigError, Flags, values};
    use crate::daemon::context::Context;
    use crate::daemon::event_log::EventSender;
    use crate::daemon::signals::Waker;
    use crate::daemon::systemd::Systemd;
    use crate::daemon::takeover::outgoing::TakeoverListener;
    use crate::daemon::workers::watchdog;
    use crate::daemon::workers::worker::WorkerCounters;
    use crate::door::Door;
    use crate::inspect::Policy;
    use crate::knock::{Knock, KnockSet, Secret};
    use crate::queue::QueueBinding;

    /// The service of a gate whose queue is bound to nobody.
    fn http_service(stopping: &Arc<AtomicBool>) -> HttpService {
        let flags =
            Flags { knocks: vec![values::name_and_secret("a=some-secret").unwrap()], ..Flags::default() };
        let config = Config::parse("", Path::new("x.toml"), &flags).unwrap();
        let gate = Arc::new(ArcSwap::from_pointee(config.inspector().unwrap()));
        let clock = Clock::start();
        let (sink, _writer) = EventSender::start(clock).unwrap();
        let workers = vec![(65_000, Arc::new(WorkerCounters::new(Arc::default(), Arc::default(), true)))];
        let queues = watchdog::QueueHealth::default();
        queues.serve(QueueBinding { queue: 65_000, port_id: 1, receive_buffer: 0 });
        queues.set(65_000, Some(Fault::Stuck), clock.now());
        let load = Box::new(|| Err(ConfigError::NoKnock { file: "x.toml".into() }));
        let waker = Waker(UnixStream::pair().unwrap().0);
        let (exit, _errands) = TakeoverListener::new(waker, None, false);
        let manager = Systemd::from_env();
        let service = ControlService::new(
            Context { gate, clock, sink },
            workers,
            queues,
            Arc::new(exit),
            manager,
            &config,
            load,
        );
        HttpService::new(Arc::new(service), Arc::clone(stopping), None)
    }

    #[test]
    fn what_is_wrong_is_told_everywhere() {
        let stopping = Arc::<AtomicBool>::default();
        let mut service = http_service(&stopping);
        stopping.store(true, Ordering::Relaxed);
        let mut expected = vec!["the gate: it is ending".to_owned()];
        // Where the kernel has no queues to list, nothing is said of them.
        if kernel::readable_queues().is_ok() {
            expected.push(
                "queue 65000: it is not bound to this process, and is bound again as soon as that is possible"
                    .to_owned(),
            );
        }
        expected.push("queue 65000: packets wait in it, and none is decided".to_owned());
        assert_eq!(service.faults(), expected);
        service.tick();
        let status = service.status(&PageQuery::default());
        assert_eq!(status["faults"], json!(expected));
        assert!(service.metrics(0).contains("\nsipknock_healthy 0\n"));
        stopping.store(false, Ordering::Relaxed);
        assert_eq!(service.faults(), expected[1..]);
    }

    #[test]
    fn filters_by_network_and_by_name() {
        let knock =
            |name, secret: &[u8]| Knock::new(name, Secret::new(secret).unwrap(), Duration::from_secs(60));
        let knocks =
            KnockSet::new(vec![knock("Front-Desk", b"secret-one"), knock("10.0.0.0", b"secret-two")]);
        let gate = Inspector::new(Policy::default(), knocks.unwrap(), 10);
        let both = [KnockId::from(0), KnockId::from(1)];
        let filter = RowFilter::new(&gate, "10.0.0.0");
        assert!(filter.passes(both.into_iter(), || "192.0.2.7/32".parse().unwrap()), "one of several knocks");
        for (text, knock, source, passes) in [
            ("", Door::by_hand(), "192.0.2.7/32", true),
            ("desk", KnockId::from(0), "192.0.2.7/32", true),
            ("desk", KnockId::from(1), "192.0.2.7/32", false),
            ("MANU", Door::by_hand(), "192.0.2.7/32", true),
            ("desk", Door::by_hand(), "192.0.2.7/32", false),
            ("192.0.2.", KnockId::from(1), "192.0.2.7/32", true),
            ("192.0.3.", KnockId::from(1), "192.0.2.7/32", false),
            // A source that is a network has the address in it.
            ("2001:db8:0:2::7", KnockId::from(0), "2001:db8:0:2::/64", true),
            // A name that looks like an address is no less a name.
            ("10.0.", KnockId::from(1), "192.0.2.7/32", true),
        ] {
            let filter = RowFilter::new(&gate, text);
            assert_eq!(
                filter.passes([knock].into_iter(), || source.parse().unwrap()),
                passes,
                "{text:?} {source}"
            );
        }
    }

    #[test]
    fn networks_as_people_begin_to_type_them() {
        for (text, expected) in [
            ("198.51.100.7", Some("198.51.100.7/32")),
            ("198.51.100.7/24", Some("198.51.100.0/24")),
            ("198.51.100.", Some("198.51.100.0/24")),
            ("198.51.100", Some("198.51.100.0/24")),
            ("198.51", Some("198.51.0.0/16")),
            ("198.", Some("198.0.0.0/8")),
            ("2001:db8:0:1::/64", Some("2001:db8:0:1::/64")),
            ("2001:db8:", Some("2001:db8::/32")),
            ("2001:db8::", Some("2001:db8::/128")),
            ("198", None),
            ("300.1.", None),
            ("alice", None),
            ("a.b.c", None),
            (".", None),
            (":", None),
            ("1:2:3:4:5:6:7:8:", None),
        ] {
            assert_eq!(network(text).map(|net| net.to_string()).as_deref(), expected, "{text:?}");
        }
    }
}
