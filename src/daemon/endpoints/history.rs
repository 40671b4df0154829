//! The last minutes, for the status page.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::knock::KnockId;
use crate::time::Time;

/// Packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Totals {
    /// Accepted for their own reason.
    pub(in crate::daemon) accepted: u64,
    /// Dropped.
    pub(in crate::daemon) dropped: u64,
    /// Accepted in monitor mode, where they would have been dropped.
    pub(in crate::daemon) spared: u64,
    /// Lost to a full queue or socket.
    pub(in crate::daemon) lost: u64,
}

/// Packets per second over the last [`SAMPLES`] looks.
#[derive(Debug, Default)]
pub(in crate::daemon) struct PacketHistory {
    /// Newest last, in packets per second.
    rates: VecDeque<[f64; 4]>,
    last: Option<(Time, Totals)>,
}

impl PacketHistory {
    /// Takes down what there was since the last look.
    pub(in crate::daemon) fn look(&mut self, now: Time, totals: Totals) {
        let Some((then, before)) = self.last.replace((now, totals)) else { return };
        let seconds = now.since(then).as_secs_f64();
        if seconds > 0.0 {
            let rate = |now: u64, before: u64| {
                // A queue that is bound again counts from 0.
                let count = now.checked_sub(before).unwrap_or(now);
                (count as f64 / seconds * 10.0).round() / 10.0
            };
            push(
                &mut self.rates,
                SAMPLES,
                [
                    rate(totals.accepted, before.accepted),
                    rate(totals.dropped, before.dropped),
                    rate(totals.spared, before.spared),
                    rate(totals.lost, before.lost),
                ],
            );
        }
    }

    pub(in crate::daemon) fn to_json(&self, every: Duration) -> Value {
        let [accepted, dropped, spared, lost] =
            [0, 1, 2, 3].map(|of| self.rates.iter().filter_map(|rates| rates.get(of)).collect::<Vec<_>>());
        json!({
            "every_s": every.as_secs(), "samples": SAMPLES,
            "accepted": accepted, "dropped": dropped, "would_drop": spared, "lost": lost,
        })
    }
}

/// Knocks in spans of [`SPAN`], over the last [`SPANS`] of them.
#[derive(Debug, Default)]
pub(in crate::daemon) struct KnockHistory {
    /// Newest last. Of each span the [`BUSIEST`] knocks.
    spans: VecDeque<Vec<(KnockId, u64)>>,
    /// How often each had knocked when the current span began, by its id.
    before: Vec<u64>,
    began: Option<Time>,
}

impl KnockHistory {
    /// Takes down what there was since the span began, where that is over. `totals`: by id.
    pub(in crate::daemon) fn look(&mut self, now: Time, totals: &[u64]) {
        match self.began {
            Some(began) if now.since(began) < SPAN => {}
            Some(_) => {
                let mut span = self.current(totals);
                span.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
                span.truncate(BUSIEST);
                push(&mut self.spans, SPANS - 1, span);
                self.begin(now, totals);
            }
            None => self.begin(now, totals),
        }
    }

    fn begin(&mut self, now: Time, totals: &[u64]) {
        self.began = Some(now);
        self.before = totals.to_vec();
    }

    /// Those who knocked in the span that is not over.
    fn current(&self, totals: &[u64]) -> Vec<(KnockId, u64)> {
        let counts = (0u32..).zip(totals).map(|(id, total)| {
            let before = self.before.get(id as usize).copied().unwrap_or(0);
            (KnockId::from(id), total.saturating_sub(before))
        });
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// For each knock of these how often it came, by span, newest last; the last one is not over.
    pub(in crate::daemon) fn of(&self, knocks: &[KnockId], totals: &[u64]) -> Vec<Vec<u64>> {
        let mut rows = vec![vec![0; self.spans.len() + 1]; knocks.len()];
        let current = self.current(totals);
        for (place, span) in self.spans.iter().chain([&current]).enumerate() {
            for (id, count) in span {
                let row = knocks.iter().position(|knock| knock == id).and_then(|row| rows.get_mut(row));
                if let Some(cell) = row.and_then(|row| row.get_mut(place)) {
                    *cell = *count;
                }
            }
        }
        rows
    }

    /// How often each knock came in all of these spans, by id.
    pub(in crate::daemon) fn sums(&self, totals: &[u64]) -> Vec<u64> {
        let mut sums = vec![0; totals.len()];
        let current = self.current(totals);
        for (id, count) in self.spans.iter().chain([&current]).flatten() {
            if let Some(sum) = sums.get_mut(id.index()) {
                *sum += count;
            }
        }
        sums
    }
}

fn push<T>(ring: &mut VecDeque<T>, most: usize, value: T) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(value);
}

/// Ten minutes of looks every two seconds.
pub(in crate::daemon) const SAMPLES: usize = 300;

/// A minute: phones register every few.
pub(in crate::daemon) const SPAN: Duration = Duration::from_secs(60);

/// An hour.
pub(in crate::daemon) const SPANS: usize = 60;

/// More than the page shows, so that one that was busy is seen although others are busier now.
const BUSIEST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Time {
        Time::from_parts(secs, 0)
    }

    #[test]
    fn rates_are_per_second_whatever_the_time_between() {
        let mut flow = PacketHistory::default();
        let totals = |accepted, lost| Totals { accepted, lost, ..Totals::default() };
        for (secs, totals) in [
            (100, totals(1000, 5)),
            (102, totals(1007, 5)),
            (112, totals(1007, 7)),
            // Bound again.
            (113, totals(1008, 1)),
            (113, totals(2000, 1)),
        ] {
            flow.look(at(secs), totals);
        }
        let json = flow.to_json(Duration::from_secs(2));
        assert_eq!(json["accepted"], json!([3.5, 0.0, 1.0]));
        assert_eq!(json["lost"], json!([0.0, 0.2, 1.0]));
        (0..2 * SAMPLES as u64).for_each(|n| flow.look(at(200 + n), totals(9999, 9)));
        assert_eq!(flow.to_json(Duration::from_secs(2))["dropped"].as_array().unwrap().len(), SAMPLES);
    }

    #[test]
    fn knocks_by_span() {
        let [alice, bob, carol] = [0, 1, 2].map(KnockId::from);
        let mut flow = KnockHistory::default();
        flow.look(at(0), &[10, 5]);
        assert_eq!(
            flow.of(&[alice, bob], &[10, 5]),
            [[0], [0]],
            "what was before the first look is not of now"
        );
        flow.look(at(59), &[12, 5]);
        assert_eq!(flow.of(&[alice], &[12, 5]), [[2]]);
        flow.look(at(60), &[13, 5]);
        // One more knock after a reload.
        flow.look(at(120), &[13, 9, 1]);
        assert_eq!(flow.of(&[bob, carol, alice], &[14, 9, 1]), [[0, 4, 0], [0, 1, 0], [3, 0, 1]]);
        assert_eq!(flow.sums(&[14, 9, 1]), [4, 4, 1]);
        for n in 1..200 {
            flow.look(at(120 + 60 * n), &[14 + n, 9, 1]);
        }
        assert_eq!(flow.of(&[alice], &[213, 9, 1])[0].len(), SPANS);
        assert_eq!(flow.sums(&[213, 9, 1]), [SPANS as u64 - 1, 0, 0], "and what is older is forgotten");
    }
}
