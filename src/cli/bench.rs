//! `bench`

use std::path::PathBuf;

use clap::{Args, ValueEnum as _};

use super::run::{PortList, Ports};
use crate::bench::{BenchEngine, Style};
use crate::config::Flags;

/// Subjects of the measurement, and the form of its output.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Search the payloads that these captures have for inspected ports, instead of generated REGISTERs; - for
    /// standard input
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub capture: Vec<PathBuf>,
    /// With --capture: ports that are inspected, as in 5060,5061-5063
    #[arg(long, value_name = "PORTS", value_parser = Ports, requires = "capture")]
    port: Option<PortList>,
    /// Numbers of knocks, up to 100000; several are measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,10,100,1000,10000",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    knocks: Vec<u32>,
    /// Styles of the knocks
    #[arg(long, value_name = "STYLE", value_delimiter = ',', default_value = "random,uuid,words")]
    style: Vec<Style>,
    /// Letters of all knocks match in either case
    #[arg(long)]
    pub ignore_case: bool,
    /// The engines to measure
    #[arg(long, value_name = "ENGINE", value_delimiter = ',', default_value = EVERY_ENGINE, value_parser = engine_names())]
    engine: Vec<String>,
    /// The number of rounds; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub rounds: u16,
    /// One short round, to see that it works: its figures mean nothing
    #[arg(long, conflicts_with = "rounds")]
    pub quick: bool,
    /// The core to run on; the default is the last one
    #[arg(long, value_name = "N")]
    pub cpu: Option<usize>,
    /// Print a Markdown table for each style
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// Draw nanoseconds per packet over the number of knocks; several styles have a file each, as in FILE-random.svg
    #[arg(long, value_name = "FILE.svg", value_parser = svg_file)]
    pub plot: Option<PathBuf>,
}

impl BenchArgs {
    /// The flags of a gate with these ports.
    pub fn flags(&self) -> Flags {
        Flags { ports: self.port.as_ref().map(|list| list.0.clone()), ..Flags::default() }
    }

    /// Numbers of knocks, ascending, each once.
    pub fn counts(&self) -> Vec<usize> {
        let counts: std::collections::BTreeSet<_> = self.knocks.iter().map(|&count| count as usize).collect();
        counts.into_iter().collect()
    }

    /// Their styles, each once.
    pub fn styles(&self) -> Vec<Style> {
        let chosen = |style: &Style| self.style.contains(style);
        Style::value_variants().iter().copied().filter(chosen).collect()
    }

    /// The engines to measure, each once. One that this build lacks is there only if it was named.
    pub fn engines(&self) -> Vec<BenchEngine> {
        let named = |name: &str| self.engine.iter().any(|engine| engine == name);
        let chosen =
            |engine: &BenchEngine| named(engine.name()) || named(EVERY_ENGINE) && engine.is_built_in();
        BenchEngine::ALL.into_iter().filter(chosen).collect()
    }
}

/// Stands for every engine that this build has.
const EVERY_ENGINE: &str = "all";

fn engine_names() -> clap::builder::PossibleValuesParser {
    let names = std::iter::once(EVERY_ENGINE).chain(BenchEngine::ALL.map(BenchEngine::name));
    names.collect::<Vec<_>>().into()
}

fn svg_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let svg = path.extension().is_some_and(|extension| extension == "svg");
    if svg { Ok(path) } else { Err("a plot is an SVG document: let its name end in .svg".to_owned()) }
}
