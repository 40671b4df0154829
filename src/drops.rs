//! Counting drops per source, so that a flood makes one log line per source and interval.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::net::Source;
use crate::verdict::{Reason, ReasonCounts};

/// Drops since the last summary.
///
/// The first [`MAX_SOURCES`] sources of an interval are counted one by one, the rest together: whoever sends
/// from many addresses can fill the table, but neither memory nor the log.
#[derive(Debug, Default)]
pub struct Drops {
    sources: HashMap<Source, ReasonCounts, ahash::RandomState>,
    others: ReasonCounts,
}

/// One line of a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropLine {
    /// Who sent; `None` for all beyond the table, and for what had no readable sender.
    pub source: Option<Source>,
    /// How many, by reason.
    pub reasons: ReasonCounts,
}

impl Drops {
    /// Counts a dropped packet.
    pub fn add(&mut self, source: Option<Source>, reason: Reason) {
        let full = self.sources.len() >= MAX_SOURCES;
        let counts = match source.map(|source| self.sources.entry(source)) {
            Some(Entry::Occupied(known)) => known.into_mut(),
            Some(Entry::Vacant(unknown)) if !full => unknown.insert(ReasonCounts::default()),
            _ => &mut self.others,
        };
        counts.add(reason);
    }

    /// Whether nothing was dropped.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.others.total() == 0
    }

    /// The summary, most drops first, those without a source of their own last. Starts a new interval.
    pub fn take(&mut self) -> Vec<DropLine> {
        let mut lines: Vec<_> = self
            .sources
            .drain()
            .map(|(source, reasons)| DropLine { source: Some(source), reasons })
            .collect();
        lines.sort_unstable_by_key(|line| (std::cmp::Reverse(line.reasons.total()), line.source));
        let others = std::mem::take(&mut self.others);
        if others.total() > 0 {
            lines.push(DropLine { source: None, reasons: others });
        }
        lines
    }
}

/// Sources listed in one interval: more than anyone reads, and less than 200 KiB.
pub const MAX_SOURCES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: usize) -> Option<Source> {
        let address = std::net::IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        Some(Source::new(address, crate::net::Prefixes::default()))
    }

    #[test]
    fn summed_by_source_and_reason() {
        let mut drops = Drops::default();
        assert!(drops.is_empty());
        for (source, reason) in [
            (source(1), Reason::NoKnock),
            (source(2), Reason::NoKnock),
            (source(2), Reason::Expired),
            (None, Reason::Malformed),
        ] {
            drops.add(source, reason);
        }
        let lines = drops.take();
        let seen: Vec<_> = lines.iter().map(|line| (line.source, line.reasons.total())).collect();
        assert_eq!(seen, [(source(2), 2), (source(1), 1), (None, 1)]);
        assert_eq!(
            lines[0].reasons.occurred().collect::<Vec<_>>(),
            [(Reason::Expired, 1), (Reason::NoKnock, 1)]
        );
        assert!(drops.is_empty() && drops.take().is_empty());
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_and_loses_no_count() {
        let mut drops = Drops::default();
        for n in 0..10_000 {
            drops.add(source(n), Reason::NoKnock);
            drops.add(source(0), Reason::NoKnock);
        }
        let lines = drops.take();
        assert_eq!(lines.len(), MAX_SOURCES + 1);
        assert_eq!(lines.iter().map(|line| line.reasons.total()).sum::<u64>(), 20_000);
        assert_eq!((lines[0].source, lines[0].reasons.total()), (source(0), 10_001));
        assert_eq!(lines.last().unwrap().source, None);
    }
}
