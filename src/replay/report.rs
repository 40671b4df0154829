//! What `replay` prints: a JSON object per packet and one at the end, or a summary for people.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::gaps::Gaps;
use super::inspected::{Inspected, PacketFate};
use crate::inspect::Decision;
use crate::knock::{KnockId, KnockSet};
use crate::terminal;
use crate::time::Time;
use crate::verdict::{ReasonCounts, Verdict};

/// Counts over all packets of a replay.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Packets in the files.
    pub packets: u64,
    /// Packets that the firewall would have dropped in monitor mode, had it not been for that.
    pub would_drop: u64,
    /// Packets that the files do not show.
    pub gaps: Gaps,
    reasons: ReasonCounts,
    accepted: u64,
    outgoing: u64,
    knocks: BTreeMap<KnockId, u64>,
    dropped_sources: BTreeMap<IpAddr, u64>,
}

impl Summary {
    /// Counts an inspected packet.
    pub fn add(&mut self, inspected: &Inspected) {
        let PacketFate::Decided(decision) = &inspected.fate else {
            self.outgoing += 1;
            self.accepted += 1;
            return;
        };
        self.reasons.add(decision.reason);
        self.accepted += u64::from(decision.verdict == Verdict::Accept);
        self.would_drop += u64::from(decision.would_drop());
        for knock in decision.knocks() {
            *self.knocks.entry(*knock).or_default() += 1;
        }
        if decision.reason.verdict() == Verdict::Drop {
            *self.dropped_sources.entry(inspected.source).or_default() += 1;
        }
    }

    /// Packets that the firewall would have queued, or copied as the PBX's own.
    pub fn inspected(&self) -> u64 {
        self.reasons.total() + self.outgoing
    }

    /// The reasons that occurred, with their counts. Those of the PBX's own packets come last.
    fn counted(&self) -> impl Iterator<Item = (Verdict, &'static str, u64)> + '_ {
        let decided = self.reasons.occurred().map(|(reason, count)| (reason.verdict(), reason.name(), count));
        let outgoing = (self.outgoing > 0).then_some((Verdict::Accept, OUTGOING, self.outgoing));
        decided.chain(outgoing)
    }

    /// Writes the last line of `--json`.
    ///
    /// # Errors
    /// As the writer.
    pub fn write_json(&self, knocks: &KnockSet, out: &mut impl Write) -> io::Result<()> {
        let last = LastLine {
            summary: SummaryLine {
                packets: self.packets,
                inspected: self.inspected(),
                accepted: self.accepted,
                dropped: self.inspected() - self.accepted,
                would_drop: (self.would_drop > 0).then_some(self.would_drop),
                reasons: ReplayCounts(self.counted().map(|(_, reason, count)| (reason, count)).collect()),
                knocks: ReplayCounts(
                    self.knocks.iter().map(|(&knock, &count)| (knocks.name(knock), count)).collect(),
                ),
                gaps: &self.gaps,
            },
        };
        write_line(out, &last)
    }

    /// Writes a summary for people.
    ///
    /// # Errors
    /// As the writer.
    pub fn write_text(&self, knocks: &KnockSet, out: &mut impl Write) -> io::Result<()> {
        let dropped = self.inspected() - self.accepted;
        writeln!(
            out,
            "{} packets, {} of them for inspected ports: {} accepted, {dropped} dropped",
            self.packets,
            self.inspected(),
            self.accepted
        )?;
        if self.would_drop > 0 {
            writeln!(out, "monitor mode: {} of the accepted would have been dropped", self.would_drop)?;
        }
        for sentence in self.gaps.sentences(true) {
            writeln!(out, "{sentence}")?;
        }
        if self.inspected() > 0 {
            let mut table = table(["verdict", "reason", "packets"]);
            for (verdict, reason, count) in self.counted() {
                table.add_row([verdict.name(), reason, &count.to_string()]);
            }
            writeln!(out, "\n{table}")?;
        }
        let mut table = table(["knock", "packets"]);
        for (index, knock) in (0..).map(KnockId::from).zip(knocks.iter()).take(MAX_ROWS) {
            let count = self.knocks.get(&index).copied().unwrap_or(0);
            table.add_row([knock.name.as_str(), &count.to_string()]);
        }
        writeln!(out, "\n{table}")?;
        more(out, knocks.len(), "knocks")?;
        if !self.dropped_sources.is_empty() {
            let mut sources: Vec<_> = self.dropped_sources.iter().collect();
            sources.sort_unstable_by_key(|&(source, count)| (std::cmp::Reverse(*count), *source));
            let mut table = self::table(["dropped source", "packets"]);
            for (source, count) in sources.iter().take(MAX_ROWS) {
                table.add_row([source.to_string(), count.to_string()]);
            }
            writeln!(out, "\n{table}")?;
            more(out, sources.len(), "sources")?;
        }
        Ok(())
    }
}

/// Writes a packet's line of `--json`. `file` is named where there are several.
///
/// # Errors
/// As the writer.
pub fn write_packet(
    out: &mut impl Write,
    knocks: &KnockSet,
    file: Option<&str>,
    number: u64,
    time: Time,
    inspected: &Inspected,
) -> io::Result<()> {
    let decision = match &inspected.fate {
        PacketFate::Decided(decision) => Some(decision),
        PacketFate::Outgoing => None,
    };
    let line = PacketLine {
        file,
        n: number,
        time: time.to_string(),
        src: inspected.source,
        sport: inspected.flow.source_port,
        dst: inspected.destination,
        dport: inspected.flow.destination_port,
        transport: inspected.flow.transport.name(),
        direction: decision.is_none().then_some("out"),
        verdict: decision.map_or(Verdict::Accept, |decision| decision.verdict).name(),
        would: decision.is_some_and(Decision::would_drop).then_some(Verdict::Drop.name()),
        reason: decision.map_or(OUTGOING, |decision| decision.reason.name()),
        knocks: decision.map_or(&[][..], Decision::knocks).iter().map(|&knock| knocks.name(knock)).collect(),
    };
    write_line(out, &line)
}

#[derive(Serialize)]
struct PacketLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    n: u64,
    time: String,
    src: IpAddr,
    sport: u16,
    dst: IpAddr,
    dport: u16,
    transport: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<&'static str>,
    reason: &'static str,
    knocks: Vec<&'a str>,
}

#[derive(Serialize)]
struct LastLine<'a> {
    summary: SummaryLine<'a>,
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    packets: u64,
    inspected: u64,
    accepted: u64,
    dropped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    would_drop: Option<u64>,
    reasons: ReplayCounts<'a>,
    knocks: ReplayCounts<'a>,
    #[serde(flatten)]
    gaps: &'a Gaps,
}

/// An object of numbers that keeps its order.
struct ReplayCounts<'a>(Vec<(&'a str, u64)>);

impl Serialize for ReplayCounts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, count) in &self.0 {
            map.serialize_entry(name, count)?;
        }
        map.end()
    }
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn table<const N: usize>(header: [&str; N]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    terminal::fit(&mut table);
    if let Some(numbers) = table.column_mut(N - 1) {
        numbers.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    table
}

fn more(out: &mut impl Write, rows: usize, what: &str) -> io::Result<()> {
    if rows > MAX_ROWS {
        writeln!(out, "... and {} more {what}; --json has them all", rows - MAX_ROWS)
    } else {
        Ok(())
    }
}

/// The reason of the PBX's own packets, which are never decided about.
const OUTGOING: &str = "outgoing";

/// Rows of a table that a person reads.
const MAX_ROWS: usize = 20;
