//! The commands that read and control the running gate.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::config::values;

/// The gate to reach.
#[derive(Clone, Debug, Args)]
pub struct ControlArgs {
    /// The control socket of the running gate, if it is not the one of the configuration
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

/// `doors`
#[derive(Debug, Args)]
pub struct DoorsArgs {
    /// An action; without one, the doors are listed
    #[command(subcommand)]
    pub action: Option<DoorsAction>,
    /// The doors to list
    #[command(flatten)]
    pub list: ListArgs,
}

/// An action on doors.
#[derive(Debug, Subcommand)]
pub enum DoorsAction {
    /// List the open doors
    #[command(after_help = "Example:\n  sipknock doors list --sort bytes")]
    List(ListArgs),
    /// Open a door for an address, or keep it open for longer
    #[command(after_help = "Example:\n  sipknock doors open 198.51.100.7 --for 1h")]
    Open(OpenArgs),
    /// Close a door: the next packet of that address is dropped
    #[command(after_help = "Example:\n  sipknock doors close 198.51.100.7")]
    Close(CloseArgs),
    /// Close all doors
    #[command(after_help = "Example:\n  sipknock doors flush --yes")]
    Flush(FlushArgs),
}

/// `doors list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only doors that this knock holds; manual: those opened by hand; outbound: those of sources that the PBX has called
    #[arg(long, value_name = "NAME")]
    pub knock: Option<String>,
    /// Only doors of sources in this network
    #[arg(long, value_name = "CIDR", value_parser = values::network)]
    pub source: Option<IpNet>,
    /// The column to sort by
    #[arg(long, value_name = "COLUMN", value_enum, default_value = "source")]
    pub sort: SortBy,
    /// Print a JSON object per door
    #[arg(long)]
    pub json: bool,
    /// The gate to reach
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
    /// The longest time since the last knock first
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
    /// The address
    #[arg(value_name = "ADDR")]
    pub address: String,
    /// The time that it stays open, as in 1h or 90m; the default is that of the configuration
    #[arg(long = "for", value_name = "SPAN", value_parser = values::duration)]
    pub life: Option<Duration>,
    /// The knock that holds it, as if it had come
    #[arg(long, value_name = "NAME")]
    pub knock: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// The gate to reach
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `doors close`
#[derive(Debug, Args)]
pub struct CloseArgs {
    /// The address
    #[arg(value_name = "ADDR")]
    pub address: String,
    /// Also keep requests of the PBX from opening a door for it; always done if a knock holds the door
    #[arg(long)]
    pub mark: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// The gate to reach
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `doors flush`
#[derive(Debug, Args)]
pub struct FlushArgs {
    /// Do not ask; without a terminal it does not ask either
    #[arg(long, short)]
    pub yes: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// The gate to reach
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `stats`
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// The gate to reach
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `watch`
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Print a JSON object per event, with the fields of the log
    #[arg(long)]
    pub json: bool,
    /// The gate to reach
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `reload`
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// The gate to reach
    #[command(flatten)]
    pub gate: ControlArgs,
}

/// `enforce`
#[derive(Debug, Args)]
pub struct EnforceArgs {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// The gate to reach
    #[command(flatten)]
    pub gate: ControlArgs,
}
