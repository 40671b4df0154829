//! How the firewall's rules are, as the gate hears it from the process that watches over them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::control::protocol::{IN_PLACE, RESTORED, RulesReport, RulesStats};
use crate::daemon::connections::Connections;
use crate::daemon::event_log::EventSender;
use crate::event::Event;
use crate::time::Time;

/// The last report, and the sums of all of them.
pub(in crate::daemon) struct RulesState {
    clock: Clock,
    heard: Mutex<ReportLog>,
    /// Gone once the gate ends, so that the log can end.
    sink: Mutex<Option<EventSender>>,
    /// Connections to hold once rules are back that were missing.
    connections: Option<Arc<Connections>>,
}

#[derive(Debug, Default)]
struct ReportLog {
    /// The last report, and when it came.
    last: Option<(Time, RulesReport)>,
    /// Somebody watches.
    watched: bool,
    /// It has said that it ends, and the log does not have that yet.
    ended: Option<Time>,
    /// A watch is to report from then on; `None`: nobody has said that there is one.
    expected: Option<Time>,
    restores: u64,
    missing_ms: u64,
    looks: u64,
}

impl RulesState {
    pub(in crate::daemon) fn new(clock: Clock, sink: EventSender) -> Self {
        Self { clock, heard: Mutex::default(), sink: Mutex::new(Some(sink)), connections: None }
    }

    /// The same that has connections held once rules are back.
    pub(in crate::daemon) fn holding(self, connections: Arc<Connections>) -> Self {
        Self { connections: Some(connections), ..self }
    }

    /// Expects reports from now on, if the unit says that a watch is there: one that never reports is a fault as well.
    pub(in crate::daemon) fn expect_reports(&self) {
        if std::env::var_os(SERVICE).is_some() {
            self.heard().expect(self.clock.now());
        }
    }

    /// Takes a report in. Its news go to the log before the state shows them, so that the log is never behind the state.
    pub(in crate::daemon) fn take(&self, mut report: RulesReport) {
        let changes = std::mem::take(&mut report.changes);
        let warnings = std::mem::take(&mut report.warnings);
        let now = self.clock.now();
        if let Some(connections) = &self.connections
            && changes.iter().any(|change| change.state == RESTORED)
        {
            connections.hold().into_iter().for_each(|warning| self.send(warning));
        }
        for change in changes {
            self.send(Event::Rules(Box::new(change)));
        }
        warnings.into_iter().map(Event::Warning).for_each(|warning| self.send(warning));
        self.heard().take(now, report);
    }

    /// The process that watched is gone, or was never there.
    pub(in crate::daemon) fn lost(&self, why: &str) {
        if std::mem::take(&mut self.heard().watched) {
            self.send(Event::Warning(format!("no process watches the firewall rules: {why}")));
        }
    }

    /// Sees whether the watch is still heard of.
    pub(in crate::daemon) fn look(&self) {
        let mut heard = self.heard();
        if heard.stays_away(self.clock.now()) {
            drop(heard);
            let text = "no process watches the firewall rules: the one that did was ended, and 'systemctl start \
            sipknock-rules' starts it again";
            return self.send(Event::Warning(text.to_owned()));
        }
        let last = heard.last.as_ref().map(|(time, _)| *time).or(heard.expected);
        let silent = last.is_some_and(|time| self.clock.now().since(time) > SILENCE);
        drop(heard);
        if silent {
            self.lost(&format!("it has sent nothing for {} s", SILENCE.as_secs()));
        }
    }

    /// As `sipknock stats` shows it; `None` if there was never a report.
    pub(in crate::daemon) fn stats(&self) -> Option<RulesStats> {
        self.heard().stats()
    }

    /// The fault, for people.
    pub(in crate::daemon) fn faults(&self) -> Vec<String> {
        self.stats().map(|stats| faults(&stats)).unwrap_or_default()
    }

    /// Lets go of the log.
    pub(in crate::daemon) fn close(&self) {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn send(&self, event: Event) {
        if let Some(sink) = &*self.sink.lock().unwrap_or_else(PoisonError::into_inner) {
            sink.send(event);
        }
    }

    fn heard(&self) -> MutexGuard<'_, ReportLog> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReportLog {
    fn expect(&mut self, now: Time) {
        (self.expected, self.watched) = (Some(now), true);
    }

    fn take(&mut self, now: Time, report: RulesReport) {
        let (restores, missing, looks) =
            self.last.as_ref().map_or((0, 0, 0), |(_, last)| (last.restores, last.missing_ms, last.looks));
        self.restores += since(report.restores, restores);
        self.missing_ms += since(report.missing_ms, missing);
        self.looks += since(report.looks, looks);
        self.watched = !report.ends;
        self.ended = report.ends.then_some(now);
        self.last = Some((now, report));
    }

    /// Whether a watch that has ended is not back by now: a restart of it is no news. Asked again, the answer is no.
    fn stays_away(&mut self, now: Time) -> bool {
        self.ended.take_if(|ended| now.since(*ended) > RESTART).is_some()
    }

    fn stats(&self) -> Option<RulesStats> {
        let Some((_, report)) = &self.last else {
            // Expected, and not heard of in time.
            return (self.expected.is_some() && !self.watched).then(RulesStats::default);
        };
        Some(RulesStats {
            watched: self.watched,
            families: report.families.clone(),
            keep: report.keep,
            restores: self.restores,
            missing_ms: self.missing_ms,
            looks: self.looks,
            note: report.note.clone(),
        })
    }
}

/// Set by a unit beside which sipknock-rules.service runs.
const SERVICE: &str = "SIPKNOCK_RULES_SERVICE";

/// The growth of a count. Another watch counts from 0.
fn since(count: u64, before: u64) -> u64 {
    count.checked_sub(before).unwrap_or(count)
}

fn faults(stats: &RulesStats) -> Vec<String> {
    if !stats.watched {
        let text = "rules: no process watches them, so their state is not known: restart sipknock-rules.service, or \
        the gate if there is none";
        return vec![text.to_owned()];
    }
    let lost = stats.families.iter().filter(|family| family.state != IN_PLACE);
    let mut faults: Vec<_> = lost
        .map(|family| {
            let (name, chain, state) = (&family.family, &family.chain, &family.state);
            format!("rules: {name}, chain {chain}: {state}: {}", family.detail)
        })
        .collect();
    if let (Some(last), Some(note)) = (faults.last_mut(), &stats.note) {
        last.push_str("; ");
        last.push_str(note);
    }
    // Rules that can't be read may be missing.
    if faults.is_empty()
        && let Some(note) = &stats.note
    {
        faults.push(format!("rules: {note}"));
    }
    faults
}

/// A watch that is started again is back by then.
const RESTART: Duration = Duration::from_secs(5);

/// A watch reports every [`crate::daemon::firewall_helper::HEARTBEAT`]; one that has iptables wait for its lock is late.
const SILENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{FOREIGN, MISSING, RulesFamily};

    fn report(states: [&str; 2], restores: u64, missing_ms: u64, note: Option<&str>) -> RulesReport {
        let family = |(family, state): (&str, &str)| RulesFamily {
            family: family.to_owned(),
            chain: "INPUT".to_owned(),
            state: state.to_owned(),
            detail: if state == IN_PLACE { String::new() } else { "why".to_owned() },
        };
        RulesReport {
            families: ["ipv4", "ipv6"].into_iter().zip(states).map(family).collect(),
            keep: true,
            restores,
            missing_ms,
            note: note.map(str::to_owned),
            ..RulesReport::default()
        }
    }

    #[test]
    fn a_watch_that_never_reports_is_a_fault_once_one_was_expected() {
        let mut heard = ReportLog::default();
        assert_eq!(heard.stats(), None, "nobody has said that there is one");
        heard.expect(Time::from_parts(1000, 0));
        assert_eq!(heard.stats(), None, "it has some time");
        heard.watched = false;
        let stats = heard.stats().unwrap();
        assert!(!stats.watched && faults(&stats).len() == 1);
        heard.take(Time::from_parts(1020, 0), RulesReport::default());
        assert!(heard.stats().unwrap().watched);
    }

    #[test]
    fn a_watch_that_ends_is_gone_at_once_and_in_the_log_if_it_stays_away() {
        let at = |secs: u64| Time::from_parts(1000 + secs, 0);
        let ends = || RulesReport { ends: true, ..report([IN_PLACE; 2], 0, 0, None) };
        let mut heard = ReportLog::default();
        heard.take(at(0), ends());
        let stats = heard.stats().unwrap();
        assert!(!stats.watched && faults(&stats).len() == 1);
        assert!(!heard.stays_away(at(5)) && heard.stays_away(at(6)) && !heard.stays_away(at(7)), "once");
        heard.take(at(8), ends());
        heard.take(at(10), RulesReport::default());
        assert!(heard.stats().unwrap().watched && !heard.stays_away(at(60)), "it was restarted");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (name, states, note, expected) in [
            ("all is well", [IN_PLACE, IN_PLACE], None, vec![]),
            ("one is missing", [IN_PLACE, MISSING], None, vec!["rules: ipv6, chain INPUT: missing: why"]),
            (
                "both are not well",
                [FOREIGN, MISSING],
                Some("do this"),
                vec![
                    "rules: ipv4, chain INPUT: foreign: why",
                    "rules: ipv6, chain INPUT: missing: why; do this",
                ],
            ),
            ("they can't be read", [IN_PLACE, IN_PLACE], Some("no iptables"), vec!["rules: no iptables"]),
        ] {
            let mut heard = ReportLog::default();
            heard.take(Time::default(), report(states, 0, 0, note));
            assert_eq!(faults(&heard.stats().unwrap()), expected, "{name}");
            heard.watched = false;
            assert_eq!(faults(&heard.stats().unwrap()).len(), 1, "{name}, unwatched");
        }
        assert_eq!(ReportLog::default().stats(), None);
    }

    #[test]
    fn sums_go_on_with_another_watch() {
        let mut heard = ReportLog::default();
        for (restores, missing_ms, looks, sums) in [
            (0, 10, 1, (0, 10, 1)),
            (2, 700, 9, (2, 700, 9)),
            (2, 700, 10, (2, 700, 10)),
            (0, 0, 1, (2, 700, 11)),
            (1, 400, 3, (3, 1100, 13)),
        ] {
            let report = RulesReport { looks, ..report([IN_PLACE; 2], restores, missing_ms, None) };
            heard.take(Time::default(), report);
            let stats = heard.stats().unwrap();
            assert_eq!((stats.restores, stats.missing_ms, stats.looks), sums);
        }
    }
}
