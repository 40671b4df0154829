//! Counting drops per source, so that a flood makes one log line per source and interval.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::net::{Connection, Source};
use crate::packet::{Body, Packet, Transport};
use crate::time::Time;
use crate::verdict::{Reason, ReasonCounts};

/// Drops since the last summary.
///
/// The first [`MAX_SOURCES`] sources of an interval are counted one by one, the rest together: whoever sends
/// from many addresses can fill the table, but neither memory nor the log.
#[derive(Debug, Default)]
pub struct Drops {
    sources: HashMap<Source, Dropped, ahash::RandomState>,
    others: ReasonCounts,
    names: Names,
}

/// Of one source.
#[derive(Debug, Default)]
struct Dropped {
    reasons: ReasonCounts,
    connections: Vec<Connection>,
    sender: Option<Sender>,
}

/// One line of a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropLine {
    /// Who sent; `None` for all beyond the table, and for what had no readable sender.
    pub source: Option<Source>,
    /// How many, by reason.
    pub reasons: ReasonCounts,
    /// The TCP connections that the last dropped segments name, [`MAX_CONNECTIONS`] at most. Whether there are such
    /// connections, the segments don't prove.
    pub connections: Vec<Connection>,
    /// The sender by its own words, if the first packet has some and the budget was not spent.
    pub sender: Option<Sender>,
}

/// The words of a packet by which its sender may be recognised, as a log may show them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The user part of From.
    pub user: Option<String>,
    /// User-Agent.
    pub user_agent: Option<String>,
}

impl Drops {
    /// Counts a dropped packet, given from its IP header on. Of a source's first packet `words` are asked for as well, as
    /// long as lines with such words are not more than the budget.
    pub fn add(
        &mut self,
        now: Time,
        source: Option<Source>,
        reason: Reason,
        bytes: &[u8],
        words: impl FnOnce(&[u8]) -> Option<Sender>,
    ) {
        let full = self.sources.len() >= MAX_SOURCES;
        let dropped = match source.map(|source| self.sources.entry(source)) {
            Some(Entry::Occupied(known)) => known.into_mut(),
            Some(Entry::Vacant(unknown)) if !full => {
                let sender = self.names.take(now, || words(payload(bytes)?));
                unknown.insert(Dropped { sender, ..Dropped::default() })
            }
            _ => return self.others.add(reason),
        };
        dropped.reasons.add(reason);
        if let Some(connection) = connection(bytes)
            && !dropped.connections.contains(&connection)
        {
            if dropped.connections.len() >= MAX_CONNECTIONS {
                dropped.connections.remove(0);
            }
            dropped.connections.push(connection);
        }
    }

    /// Whether nothing was dropped.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.others.total() == 0
    }

    /// The summary, most drops first, those without a source of their own last. Starts a new interval.
    pub fn take(&mut self) -> Vec<DropLine> {
        let line = |(source, Dropped { reasons, connections, sender })| DropLine {
            source: Some(source),
            reasons,
            connections,
            sender,
        };
        let mut lines: Vec<_> = self.sources.drain().map(line).collect();
        lines.sort_unstable_by_key(|line| (std::cmp::Reverse(line.reasons.total()), line.source));
        let others = std::mem::take(&mut self.others);
        if others.total() > 0 {
            lines.push(DropLine { source: None, reasons: others, connections: Vec::new(), sender: None });
        }
        lines
    }
}

/// Lines that may still have words of their senders: [`NAMES_AT_ONCE`] at first, and [`NAMES_A_DAY`] more each day, evenly.
/// A flood from forged addresses fills no log with what it says of itself, and keeps nobody else's words out for long.
#[derive(Debug)]
struct Names {
    left: u64,
    /// The time up to which lines were earned.
    as_of: Time,
}

impl Default for Names {
    fn default() -> Self {
        Self { left: NAMES_AT_ONCE, as_of: Time::default() }
    }
}

impl Names {
    /// The words, if there are some and one more line may have them.
    fn take(&mut self, now: Time, words: impl FnOnce() -> Option<Sender>) -> Option<Sender> {
        let passed = now.since(self.as_of);
        let earned = u64::try_from(passed.as_nanos() / NAME_EVERY.as_nanos()).unwrap_or(u64::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(NAMES_AT_ONCE);
            self.as_of = now;
        }
        self.left.checked_sub(1).and_then(|left| {
            let sender = words()?;
            self.left = left;
            Some(sender)
        })
    }
}

fn payload(bytes: &[u8]) -> Option<&[u8]> {
    match Packet::parse(bytes).ok()?.body {
        Body::Segment(segment) => Some(segment.payload),
        _ => None,
    }
}

/// The connection that a TCP segment names. Datagrams are told by one byte: there may be a flood of them.
fn connection(bytes: &[u8]) -> Option<Connection> {
    let protocol = match bytes.first()? >> 4 {
        4 => bytes.get(9)?,
        _ => bytes.get(6)?,
    };
    if *protocol == UDP {
        return None;
    }
    let packet = Packet::parse(bytes).ok()?;
    let flow = packet.flow().filter(|flow| flow.transport == Transport::Tcp)?;
    let (peer, local) = ((packet.source, flow.source_port), (packet.destination, flow.destination_port));
    Some(Connection::new(peer, local))
}

/// Sources listed in one interval: more than anyone reads, and less than a megabyte.
pub const MAX_SOURCES: usize = 1024;

/// Connections of a source that are kept: the last ones, since those before may be closed.
pub const MAX_CONNECTIONS: usize = 4;

/// Lines a day that say who sent: some 200 KiB of text.
pub const NAMES_A_DAY: u32 = 2000;

/// The number of them that may come together: as many scanners as a public address sees in hours.
pub const NAMES_AT_ONCE: u64 = 200;

/// The time in which one line is earned.
const NAME_EVERY: Duration = Duration::from_secs(24 * 3600 / NAMES_A_DAY as u64);

/// IANA's number of the protocol.
const UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ipv4, tcp_at, udp};

    fn source(n: usize) -> Option<Source> {
        let address = std::net::IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        Some(Source::new(address, crate::net::Prefixes::default()))
    }

    fn add(drops: &mut Drops, source: Option<Source>, reason: Reason) {
        drops.add(Time::default(), source, reason, &[], |_| None);
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
            add(&mut drops, source, reason);
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
            add(&mut drops, source(n), Reason::NoKnock);
            add(&mut drops, source(0), Reason::NoKnock);
        }
        let lines = drops.take();
        assert_eq!(lines.len(), MAX_SOURCES + 1);
        assert_eq!(lines.iter().map(|line| line.reasons.total()).sum::<u64>(), 20_000);
        assert_eq!((lines[0].source, lines[0].reasons.total()), (source(0), 10_001));
        assert_eq!(lines.last().unwrap().source, None);
    }

    #[test]
    fn connections_are_those_of_the_last_segments() {
        let mut drops = Drops::default();
        let mut drop = |bytes: &[u8]| drops.add(Time::default(), source(1), Reason::NoKnock, bytes, |_| None);
        drop(&ipv4("203.0.113.7", &udp(b"OPTIONS")));
        drop(b"");
        drop(b"\x45");
        for port in 1..=9_u16 {
            let mut segment = tcp_at(1, 0, b"OPTIONS");
            segment[..2].copy_from_slice(&port.to_be_bytes());
            let packet = ipv4("203.0.113.7", &segment);
            drop(&packet);
            drop(&packet);
        }
        let lines = drops.take();
        let ports: Vec<_> = lines[0].connections.iter().map(|connection| connection.peer.port()).collect();
        assert_eq!(ports, [6, 7, 8, 9]);
        assert_eq!(lines[0].connections[0].local.port(), 5060);
        assert_eq!(lines[0].reasons.total(), 21);
    }

    #[test]
    fn words_are_the_first_packets_and_a_days_budget() {
        let sender = |user: &str| Sender { user: Some(user.to_owned()), user_agent: None };
        let mut drops = Drops::default();
        let bytes = ipv4("203.0.113.7", &udp(b"OPTIONS"));
        let start = Time::from_parts(1_000_000, 0);
        for user in ["first", "second"] {
            drops.add(start, source(1), Reason::NoKnock, &bytes, |payload| {
                assert_eq!(payload, b"OPTIONS");
                Some(sender(user))
            });
        }
        // One that says nothing of itself takes nothing of the budget.
        drops.add(start, source(2), Reason::NoKnock, &bytes, |_| None);
        let lines = drops.take();
        assert_eq!((&lines[0].sender, &lines[1].sender), (&Some(sender("first")), &None));

        let mut named = |from: Time, seconds: u64| {
            let mut named = 0;
            for second in 0..seconds {
                for n in 0..3 {
                    let now = from.after(Duration::from_secs(second));
                    drops.add(now, source(n), Reason::NoKnock, &bytes, |_| Some(sender("x")));
                }
                named += drops.take().iter().filter(|line| line.sender.is_some()).count() as u64;
            }
            named
        };
        assert_eq!(named(start, 200), NAMES_AT_ONCE - 1 + 4, "and one for each 43 seconds");
        let day = 24 * 3600;
        let later = start.after(Duration::from_secs(10 * day));
        let most = NAMES_AT_ONCE + u64::from(NAMES_A_DAY) + 10;
        let least = u64::from(NAMES_A_DAY);
        let over_a_day = named(later, day);
        assert!((least..=most).contains(&over_a_day), "{over_a_day}");
    }
}
