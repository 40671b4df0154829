//! Tables and plots of what was measured.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sipknock::plot::{Chart, PlotLine};

use super::doors;
use super::lab::Keeper;
use super::latency::Latency;
use super::load::{Case, Seen};
use super::traffic::Traffic;
use super::{KNOCKS, MANY_SOURCES, RATE_KNOCKS, RATE_SOURCES, RATES, SOURCES};

type Measured = [(Case, Vec<Seen>)];

/// Markdown, printed at the end, and written where there is a folder for it.
pub(crate) struct Report {
    folder: Option<PathBuf>,
    text: String,
}

impl Report {
    pub(crate) fn new(folder: Option<PathBuf>, rounds: usize, packets: usize) -> Self {
        let text = format!(
            "REGISTERs of 700 bytes, {packets} in a run (fewer with the seed rules), {rounds} interleaved rounds on {}. \
             Medians of the rounds; ratios are within a round.\n",
            machine()
        );
        Self { folder, text }
    }

    /// Packets per second at full speed, of strangers only: every packet is searched, whoever searches.
    pub(crate) fn strangers(&mut self, measured: &Measured) {
        let of = |keeper, knocks| find(measured, keeper, knocks, Traffic::Strangers, SOURCES, None);
        self.section("Strangers at full speed", &format!(
            "{SOURCES} sources that do not know a knock, as fast as one core sends. All packets are dropped; none should be lost before a decision. \
             Packets per second, and how many times those of the seed rules. *busy_poll* is sipknock with a queue thread \
             that does not sleep while packets come. The four take turns of up to 50,000 packets, in changing order."
        ));
        self.row(&[
            "knocks",
            "seed rules",
            "nfq backend",
            "sipknock",
            "busy_poll",
            "lost by nfq",
            "lost by sipknock",
        ]);
        self.rule(7);
        for knocks in KNOCKS {
            let seed = of(Keeper::SeedRules, knocks);
            let nfq = of(Keeper::Nfq, knocks);
            let ours = [Keeper::Batched, Keeper::Polling].map(|keeper| of(keeper, knocks));
            let [batched, polling] = ours.map(|ours| {
                let ratios = ours.iter().zip(seed).map(|(ours, theirs)| ours.per_second / theirs.per_second);
                format!("{} ({:.1} ×)", per_second(ours), median_of(ratios))
            });
            self.row(&[
                &thousands(knocks as f64),
                &per_second(seed),
                &per_second(nfq),
                &batched,
                &polling,
                &lost(nfq),
                &lost(&ours.concat()),
            ]);
        }
        let line = |keeper: Keeper| PlotLine {
            name: keeper.name().to_owned(),
            points: KNOCKS
                .iter()
                .map(|&knocks| {
                    (knocks as f64, median_of(of(keeper, knocks).iter().map(|seen| seen.per_second)))
                })
                .collect(),
        };
        self.plot(
            "strangers.svg",
            &Chart {
                title: "Packets per second at full speed, strangers",
                x: "knocks",
                y: "packets per second",
                lines: [Keeper::Polling, Keeper::Batched, Keeper::SeedRules].map(line).to_vec(),
            },
        );
    }

    /// What gets in and what is lost at full speed.
    pub(crate) fn losses(&mut self, measured: &Measured) {
        self.section(
            "Phones and strangers at full speed",
            "Every second source knocks, with each packet. The worst of the rounds.",
        );
        self.row(&["knocks", "sources", "packets per second", "lost", "accepted of phones", "of strangers"]);
        self.rule(6);
        for knocks in KNOCKS {
            for sources in [SOURCES, MANY_SOURCES] {
                let traffic = Traffic::Mixed { knocks };
                let seen = find(measured, Keeper::Batched, knocks, traffic, sources, None);
                let fewest =
                    seen.iter().map(|seen| (seen.phones_accepted, traffic.welcome(seen.sent))).min().unwrap();
                let most = seen.iter().map(|seen| seen.strangers_accepted).max().unwrap();
                self.row(&[
                    &thousands(knocks as f64),
                    &thousands(sources as f64),
                    &per_second(seen),
                    &lost(seen),
                    &format!("{} of {}", thousands(fewest.0 as f64), thousands(fewest.1 as f64)),
                    &most.to_string(),
                ]);
            }
        }
    }

    /// What looking costs, where everything is accepted.
    pub(crate) fn inspection(&mut self, measured: &Measured) {
        let of = |keeper, knocks| find(measured, keeper, knocks, Traffic::Phones, SOURCES, None);
        self.section("CPU per packet", &format!(
            "{SOURCES} phones whose doors are open, packets without a knock, full speed: all are searched and all are accepted, as by accept-all, \
             which takes them from the queue in the same way and reads nothing. Microseconds of the process's CPU time per packet, the kernel's \
             part of the queue in it; in brackets those of the whole machine, the sender included. They get twice as many packets as above, in turns of 10,000 and in changing order."
        ));
        self.row(&[
            "knocks",
            "accept-all",
            "sipknock",
            "sipknock, nfq",
            "sipknock / accept-all",
            "sipknock / nfq",
        ]);
        self.rule(6);
        for knocks in KNOCKS {
            let [floor, batched, nfq] =
                [Keeper::AcceptAll, Keeper::Batched, Keeper::Nfq].map(|keeper| of(keeper, knocks));
            let ratio = |to: &[Seen]| {
                let ratio = median_of(
                    batched.iter().zip(to).map(|(ours, theirs)| ours.process_micros / theirs.process_micros),
                );
                format!("{ratio:.2}")
            };
            self.row(&[
                &thousands(knocks as f64),
                &cpu(floor),
                &cpu(batched),
                &cpu(nfq),
                &ratio(floor),
                &ratio(nfq),
            ]);
        }
    }

    /// Losses and cost where the sender does not hurry.
    pub(crate) fn rates(&mut self, measured: &Measured) {
        self.section("At fixed rates", &format!(
            "{RATE_KNOCKS} knocks; {RATE_SOURCES} sources, of which every second one knocks: no more than `xt_recent` remembers by default. Microseconds of \
             the process's CPU time per packet; the kernel's rules have no process."
        ));
        self.row(&[
            "packets per second",
            "filter",
            "lost, at most",
            "accepted of phones",
            "of strangers",
            "CPU",
        ]);
        self.rule(6);
        for rate in RATES {
            for keeper in [Keeper::SeedRules, Keeper::Nfq, Keeper::Batched] {
                let traffic = Traffic::Mixed { knocks: RATE_KNOCKS };
                let seen = find(measured, keeper, RATE_KNOCKS, traffic, RATE_SOURCES, Some(rate));
                let fewest = seen
                    .iter()
                    .map(|seen| seen.phones_accepted as f64 / traffic.welcome(seen.sent) as f64)
                    .min_by(f64::total_cmp)
                    .unwrap();
                let most = seen.iter().map(|seen| seen.strangers_accepted).max().unwrap();
                self.row(&[
                    &thousands(f64::from(rate)),
                    keeper.name(),
                    &lost(seen),
                    &format!("{:.1} %", fewest * 100.0),
                    &most.to_string(),
                    &format!("{:.2}", median_of(seen.iter().map(|seen| seen.process_micros))),
                ]);
            }
        }
    }

    /// How much later packets arrive.
    pub(crate) fn latency(&mut self, measured: &[((Keeper, usize), Vec<Latency>)]) {
        self.section("Latency at 10,000 packets per second", "From send to the server's socket, one packet of a phone with an open door at a time, in microseconds.");
        self.row(&[
            "filter",
            "knocks",
            "p50",
            "p99",
            "p99.9",
            "added at p50",
            "added at p99",
            "added at p99.9",
            "lost",
        ]);
        self.rule(9);
        let quantiles = |rounds: &[Latency], permille| -> Vec<f64> {
            rounds.iter().map(|round| round.quantile(permille)).collect()
        };
        let floor = measured.first().map(|(_, rounds)| rounds.clone()).unwrap_or_default();
        for ((keeper, knocks), rounds) in measured {
            let each = [500, 990, 999].map(|permille| quantiles(rounds, permille));
            let added = [500, 990, 999].map(|permille| {
                let pairs = quantiles(rounds, permille).into_iter().zip(quantiles(&floor, permille));
                format!("{:.1}", median_of(pairs.map(|(with, without)| with - without)))
            });
            let shown = each.map(|values| format!("{:.1}", median_of(values.into_iter())));
            let lost = rounds.iter().map(|round| round.lost).max().unwrap();
            let knocks = if *keeper == Keeper::Nobody { String::new() } else { thousands(*knocks as f64) };
            let [a, b, c] = &shown;
            let [d, e, f] = &added;
            self.row(&[keeper.name(), &knocks, a, b, c, d, e, f, &lost.to_string()]);
        }
    }

    /// How soon it decides, and what it takes.
    pub(crate) fn start(&mut self, first_verdicts: &[Duration], memory: &[(usize, u64)]) {
        let first = median_of(first_verdicts.iter().map(|time| time.as_secs_f64() * 1000.0));
        self.section(
            "Start and memory",
            &format!("From the start of the process to the first verdict with 10,000 knocks: {first:.0} ms."),
        );
        for (knocks, kib) in memory {
            writeln!(
                self.text,
                "Resident, idle, with {} knocks: {:.1} MiB.",
                thousands(*knocks as f64),
                *kib as f64 / 1024.0
            )
            .unwrap();
        }
    }

    /// What doors take.
    pub(crate) fn doors(&mut self, rounds: &[Vec<doors::Seen>]) {
        self.section(
            "Doors",
            "Open doors of sources in random order. Nanoseconds for a door, looked up with the 31 others of its batch as queues do, and alone. \
             A shard is locked, and packets of its sources wait, while it is swept, or grows because of one more knock.",
        );
        self.row(&[
            "doors",
            "memory",
            "for each",
            "get, in a batch",
            "get, alone",
            "sweep of a shard",
            "longest knock",
        ]);
        self.rule(7);
        for (size, first) in rounds.iter().flatten().take(doors::SIZES.len()).enumerate() {
            let doors = f64::from(first.doors);
            let median = |of: fn(&doors::Seen) -> f64| median_of(rounds.iter().map(|round| of(&round[size])));
            let bytes = median(|seen| seen.bytes);
            self.row(&[
                &thousands(doors),
                &format!("{:.1} MB", bytes * doors / 1e6),
                &format!("{bytes:.0} B"),
                &format!("{:.0} ns", median(|seen| seen.get)),
                &format!("{:.0} ns", median(|seen| seen.get_alone)),
                &format!("{:.0} µs", 1e6 * median(|seen| seen.sweep.as_secs_f64())),
                &format!("{:.0} µs", 1e6 * median(|seen| seen.grow.as_secs_f64())),
            ]);
        }
    }

    pub(crate) fn finish(self) {
        print!("{}", self.text);
        if let Some(folder) = self.folder {
            fs::write(folder.join("gate.md"), self.text).unwrap();
        }
    }

    fn section(&mut self, title: &str, about: &str) {
        write!(self.text, "\n### {title}\n\n{about}\n\n").unwrap();
    }

    fn row(&mut self, cells: &[&str]) {
        writeln!(self.text, "| {} |", cells.join(" | ")).unwrap();
    }

    fn rule(&mut self, columns: usize) {
        writeln!(self.text, "|{}", "---|".repeat(columns)).unwrap();
    }

    fn plot(&mut self, name: &str, chart: &Chart<'_>) {
        if let Some(folder) = &self.folder {
            fs::write(folder.join(name), chart.svg().unwrap()).unwrap();
            write!(self.text, "\n![{}]({name})\n", chart.title).unwrap();
        }
    }
}

fn find(
    measured: &Measured,
    keeper: Keeper,
    knocks: usize,
    traffic: Traffic,
    sources: usize,
    rate: Option<u32>,
) -> &[Seen] {
    let wanted = Case { keeper, knocks, traffic, sources, rate };
    measured.iter().find(|(case, _)| *case == wanted).map(|(_, seen)| &seen[..]).unwrap()
}

fn per_second(seen: &[Seen]) -> String {
    thousands(median_of(seen.iter().map(|seen| seen.per_second)))
}

fn lost(seen: &[Seen]) -> String {
    let worst = seen.iter().max_by_key(|seen| seen.lost).unwrap();
    format!("{} of {}", worst.lost, thousands(worst.arrived as f64))
}

fn cpu(seen: &[Seen]) -> String {
    let [process, machine] = [|seen: &Seen| seen.process_micros, |seen: &Seen| seen.machine_micros]
        .map(|micros| median_of(seen.iter().map(micros)));
    format!("{process:.2} ({machine:.2})")
}

/// A whole number with commas.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn median_of(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": an unknown CPU");
    // Not those that this thread may use: it is pinned.
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let model = model.trim_start_matches(['\t', ':', ' ']);
    format!("{cores} cores of {model}, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}
