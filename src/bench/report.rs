//! What was measured, as a table for people, as Markdown, as JSON and as plots.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::engine::BenchEngine;
use super::machine::Machine;
use super::measure::{Case, Measured, Measurements, Spread};
use super::style::Style;
use crate::plot::{Chart, NothingToPlot, PlotLine};

/// Measurements, and what is to be known about them.
#[derive(Clone, Debug)]
pub struct BenchReport {
    /// What they were made on.
    pub machine: Machine,
    /// What was searched.
    pub traffic: Traffic,
    /// How often each was made.
    pub rounds: usize,
    /// Letters matched in either case.
    pub ignore_case: bool,
    /// The measurements.
    pub measurements: Measurements,
}

/// What was searched.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Traffic {
    /// Recorded, or made.
    pub captured: bool,
    /// Packets.
    pub packets: usize,
    /// Bytes of their payloads.
    pub bytes: usize,
}

impl Traffic {
    /// That of these payloads.
    pub fn of(packets: &[Vec<u8>], captured: bool) -> Self {
        Self { captured, packets: packets.len(), bytes: packets.iter().map(Vec::len).sum() }
    }

    fn mean(&self) -> f64 {
        self.bytes as f64 / self.packets.max(1) as f64
    }
}

impl BenchReport {
    /// Writes a table for each style: what costs the least comes first.
    ///
    /// # Errors
    /// As the writer.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        self.preface(out)?;
        for style in self.styles() {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            table.set_header(["knocks", "engine", "ns/packet", "range", "GB/s", "memory", "build"]);
            for at in [0, 2, 3, 4, 5, 6] {
                if let Some(numbers) = table.column_mut(at) {
                    numbers.set_cell_alignment(CellAlignment::Right);
                }
            }
            for count in self.counts(style) {
                let mut rows: Vec<_> = self.of(style).filter(|one| one.case.knocks == count).collect();
                rows.sort_by(|one, other| one.ns.median.total_cmp(&other.ns.median));
                for one in rows {
                    table.add_row([
                        count.to_string(),
                        one.chosen.map_or_else(
                            || one.case.engine.name().to_owned(),
                            |chosen| format!("{} ({chosen})", one.case.engine.name()),
                        ),
                        number(one.ns.median),
                        format!("{} - {}", number(one.ns.min), number(one.ns.max)),
                        number(self.speed(one)),
                        size(one.memory),
                        time(one.build),
                    ]);
                }
            }
            writeln!(out, "\nKnocks of style {}; {}\n{}", style.name(), self.hits(style), table.trim_fmt())?;
            for line in self.left_out(style) {
                writeln!(out, " {line}")?;
            }
        }
        Ok(())
    }

    /// Writes a table for each style, of nanoseconds for a packet by engine and number of knocks. `plots` says in which
    /// file a style's plot is, if anywhere.
    ///
    /// # Errors
    /// As the writer.
    pub fn write_markdown(
        &self,
        out: &mut impl Write,
        plots: impl Fn(Style) -> Option<String>,
    ) -> io::Result<()> {
        self.preface(out)?;
        for style in self.styles() {
            let counts = self.counts(style);
            writeln!(
                out,
                "\n### Knocks of style {}\n\nNanoseconds per packet; {}.\n",
                style.name(),
                self.hits(style)
            )?;
            let most = counts.last().copied().unwrap_or_default();
            let header: String = counts.iter().map(|&count| format!(" {} |", thousands(count))).collect();
            let many = thousands(most);
            writeln!(out, "| knocks |{header} memory, {many} | build, {many} |")?;
            writeln!(out, "|---|{}", "---:|".repeat(counts.len() + 2))?;
            for engine in self.engines(style) {
                write!(out, "| {} |", engine.name())?;
                let find =
                    |count| self.of(style).find(|one| one.case.engine == engine && one.case.knocks == count);
                for &count in &counts {
                    write!(out, " {} |", find(count).map_or_else(none, |one| number(one.ns.median)))?;
                }
                let last = find(most);
                writeln!(
                    out,
                    " {} | {} |",
                    last.map_or_else(none, |one| size(one.memory)),
                    last.map_or_else(none, |one| time(one.build))
                )?;
            }
            if let Some(file) = plots(style) {
                writeln!(out, "\n![{}]({file})", self.title(style))?;
            }
        }
        Ok(())
    }

    /// Writes one object.
    ///
    /// # Errors
    /// As the writer.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let object = Object {
            machine: &self.machine,
            traffic: self.traffic,
            rounds: self.rounds,
            ignore_case: self.ignore_case,
            results: self.measurements.measured.iter().map(|one| self.result(one)).collect(),
            left_out: self
                .measurements
                .left_out
                .iter()
                .map(|(case, why)| LeftOut { case: (*case).into(), why: why.to_string() })
                .collect(),
        };
        serde_json::to_writer(&mut *out, &object)?;
        writeln!(out)
    }

    /// The styles, in their order.
    pub fn styles(&self) -> Vec<Style> {
        let mut styles = Vec::new();
        for Case { style, .. } in self.cases() {
            if !styles.contains(&style) {
                styles.push(style);
            }
        }
        styles
    }

    /// A plot of nanoseconds for a packet over the number of knocks, as SVG.
    ///
    /// # Errors
    /// Where nothing was measured.
    pub fn plot(&self, style: Style) -> Result<String, NothingToPlot> {
        let line = |engine: BenchEngine| PlotLine {
            name: engine.name().to_owned(),
            points: self
                .of(style)
                .filter(|one| one.case.engine == engine)
                .map(|one| (one.case.knocks as f64, one.ns.median))
                .collect(),
        };
        let lines = self.engines(style).into_iter().map(line).collect();
        Chart { title: &self.title(style), x: "knocks", y: "ns per packet", lines }.svg()
    }

    fn title(&self, style: Style) -> String {
        let case = if self.ignore_case { ", ignoring case" } else { "" };
        format!("Search of {:.0} bytes for knocks of style {}{case}", self.traffic.mean(), style.name())
    }

    fn preface(&self, out: &mut impl Write) -> io::Result<()> {
        let Machine { cpu, cores, features, kernel, pinned_to, sipknock, vectorscan } = &self.machine;
        let Traffic { captured, packets, .. } = self.traffic;
        let with: String = features.iter().map(|feature| format!(", {feature}")).collect();
        let plural = if *cores == 1 { "" } else { "s" };
        writeln!(out, "{cpu}, {cores} core{plural}{with}; on CPU {pinned_to}; Linux {kernel}")?;
        write!(out, "sipknock {sipknock}")?;
        if let Some(version) = vectorscan {
            // Behind the version it says when it was built, and for what.
            write!(out, ", vectorscan {}", version.split(' ').next().unwrap_or_default())?;
        }
        let what = if captured { "captured payloads" } else { "generated REGISTERs" };
        let case = if self.ignore_case { ", ignoring case" } else { "" };
        let mean = self.traffic.mean();
        let rounds = match self.rounds {
            1 => "1 round".to_owned(),
            rounds => format!("median of {rounds} interleaved rounds"),
        };
        writeln!(out, "; {} {what} of {mean:.0} bytes{case}; CPU time, {rounds}", thousands(packets))
    }

    /// Where knocks occur, a search takes longer.
    fn hits(&self, style: Style) -> String {
        match self.of(style).map(|one| one.hits).max().unwrap_or_default() {
            0 => "no packet has one".to_owned(),
            1 => "one packet has one".to_owned(),
            most => format!("up to {} packets have one", thousands(most)),
        }
    }

    /// Lines such as "left out: teddy with 100, 1000: so many knocks are too many for it".
    fn left_out(&self, style: Style) -> Vec<String> {
        let mut groups: Vec<(BenchEngine, String, Vec<String>)> = Vec::new();
        for (case, why) in self.measurements.left_out.iter().filter(|(case, _)| case.style == style) {
            let (why, count) = (why.to_string(), case.knocks.to_string());
            match groups.iter_mut().find(|(engine, other, _)| *engine == case.engine && *other == why) {
                Some((.., counts)) => counts.push(count),
                None => groups.push((case.engine, why, vec![count])),
            }
        }
        let line = |(engine, why, counts): (BenchEngine, String, Vec<String>)| {
            format!("left out: {} with {}: {why}", engine.name(), counts.join(", "))
        };
        groups.into_iter().map(line).collect()
    }

    fn of(&self, style: Style) -> impl Iterator<Item = &Measured> {
        self.measurements.measured.iter().filter(move |one| one.case.style == style)
    }

    fn cases(&self) -> impl Iterator<Item = Case> {
        let measured = self.measurements.measured.iter().map(|one| one.case);
        measured.chain(self.measurements.left_out.iter().map(|(case, _)| *case))
    }

    fn counts(&self, style: Style) -> Vec<usize> {
        let mut counts: Vec<_> =
            self.cases().filter(|case| case.style == style).map(|case| case.knocks).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    /// Those of which anything was measured.
    fn engines(&self, style: Style) -> Vec<BenchEngine> {
        let measured = |engine: &BenchEngine| self.of(style).any(|one| one.case.engine == *engine);
        BenchEngine::ALL.into_iter().filter(measured).collect()
    }

    /// Gigabytes per second, which is bytes per nanosecond.
    fn speed(&self, one: &Measured) -> f64 {
        self.traffic.mean() / one.ns.median
    }

    fn result(&self, one: &Measured) -> ResultLine {
        ResultLine {
            case: one.case.into(),
            chosen: one.chosen,
            ns_per_packet: one.ns,
            gb_per_second: self.speed(one),
            memory_bytes: one.memory,
            build_ms: one.build.as_secs_f64() * 1e3,
            packets_with_hits: one.hits,
        }
    }
}

#[derive(Serialize)]
struct Object<'a> {
    machine: &'a Machine,
    traffic: Traffic,
    rounds: usize,
    ignore_case: bool,
    results: Vec<ResultLine>,
    left_out: Vec<LeftOut>,
}

#[derive(Serialize)]
struct ResultLine {
    #[serde(flatten)]
    case: CaseLine,
    #[serde(skip_serializing_if = "Option::is_none")]
    chosen: Option<&'static str>,
    ns_per_packet: Spread,
    gb_per_second: f64,
    memory_bytes: usize,
    build_ms: f64,
    packets_with_hits: usize,
}

#[derive(Serialize)]
struct LeftOut {
    #[serde(flatten)]
    case: CaseLine,
    why: String,
}

#[derive(Serialize)]
struct CaseLine {
    style: &'static str,
    knocks: usize,
    engine: &'static str,
}

impl From<Case> for CaseLine {
    fn from(case: Case) -> Self {
        Self { style: case.style.name(), knocks: case.knocks, engine: case.engine.name() }
    }
}

fn none() -> String {
    "-".to_owned()
}

/// Three digits tell enough: "1,500", "120", "26.1", "0.42".
fn number(value: f64) -> String {
    match value {
        100.0.. => thousands(value.round() as usize),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// "10,000"
fn thousands(value: usize) -> String {
    let digits = value.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds @ 1.0.. => format!("{} s", number(seconds)),
        seconds @ 1e-3.. => format!("{} ms", number(seconds * 1e3)),
        seconds => format!("{} µs", number(seconds * 1e6)),
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", number(bytes as f64 / 1e3)),
        _ => format!("{} MB", number(bytes as f64 / 1e6)),
    }
}

#[cfg(test)]
mod tests;
