//! The commands that see and turn the running gate.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::config::values;

/// Which gate is meant.
#[derive(Clone, Debug, Args)]
pub struct ControlArgs {
    /// The control socket of the running gate, where it is not the one that the configuration names
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

/// `doors`
#[derive(Debug, Args)]
pub struct DoorsArgs {
    /// What to do with them; else they are listed
    #[command(subcommand)]
    pub action: Option<DoorsAction>,
    /// Which to list
    #[command(flatten)]
    pub list: ListArgs,
}

/// What to do with doors.
#[derive(Debug, Subcommand)]
pub enum DoorsAction {
    /// List the open ones
    #[command(after_help = "Example:\n  sipknock doors list --sort bytes")]
    List(ListArgs),
    /// Open one for an address, or keep it open for longer
    #[command(after_help = "Example:\n  sipknock doors open 198.51.100.7 --for 1h")]
    Open(OpenArgs),
    /// Close one; the next packet is dropped already
    #[command(after_help = "Example:\n  sipknock doors close 198.51.100.7")]
    Close(CloseArgs),
    /// Close all
    #[command(after_help = "Example:\n  sipknock doors flush --yes")]
    Flush(FlushArgs),
}

/// `doors list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those that this knock holds; manual: those opened by hand; outbound: those of whom the PBX has called
    #[arg(long, value_name = "NAME")]
    pub knock: Option<String>,
    /// Only those of sources in this network
    #[arg(long, value_name = "CIDR", value_parser = values::network)]
    pub source: Option<IpNet>,
    /// What to sort them by
    #[arg(long, value_name = "COLUMN", value_enum, default_value = "source")]
    pub sort: SortBy,
    /// Print a JSON object per door
    #[arg(long)]
    pub json: bool,
    /// Which gate
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// A column of the list of doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SortBy {
    /// By address
    Source,
    /// By the name of the knock
    Knock,
    /// Oldest first
    Opened,
    /// The one that has not knocked for longest first
    LastKnock,
    /// The one that closes next first
    Expires,
    /// The busiest first
    Packets,
    /// The busiest first
    Bytes,
}

/// `doors open`
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// For whom
    #[arg(value_name = "ADDR")]
    pub address: String,
    /// For how long, as in 1h or 90m; else as long as the configuration says
    #[arg(long = "for", value_name = "SPAN", value_parser = values::duration)]
    pub life: Option<Duration>,
    /// As if this knock had come
    #[arg(long, value_name = "NAME")]
    pub knock: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// Which gate
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `doors close`
#[derive(Debug, Args)]
pub struct CloseArgs {
    /// Whose
    #[arg(value_name = "ADDR")]
    pub address: String,
    /// Keep requests of the PBX from opening a door for it, too; done anyway if a knock holds the door
    #[arg(long)]
    pub mark: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// Which gate
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `doors flush`
#[derive(Debug, Args)]
pub struct FlushArgs {
    /// Do not ask; without a terminal nothing is asked
    #[arg(long, short)]
    pub yes: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// Which gate
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `stats`
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// Which gate
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `watch`
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Print a JSON object per event, with the fields of the log
    #[arg(long)]
    pub json: bool,
    /// Which gate
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `reload`
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// Which gate
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `enforce`
#[derive(Debug, Args)]
pub struct EnforceArgs {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// Which gate
    #[command(flatten)]
    pub gate: ControlArgs,
}
