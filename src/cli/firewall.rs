//! `firewall` and what its rules follow from.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::GateArgs;
use crate::config::values;

/// `firewall`
#[derive(Debug, Args)]
pub struct FirewallArgs {
    /// What to do with the rules
    #[command(subcommand)]
    pub action: FirewallAction,
}

/// What to do with the rules.
#[derive(Debug, Subcommand)]
pub enum FirewallAction {
    /// Print the rules as commands, without running them
    #[command(after_help = "Example:\n  sipknock firewall print --restore ipv4 | iptables-restore --noflush")]
    Print(PrintArgs),
    /// Put the rules in; what is there already is brought up to date
    #[command(after_help = "Example, where phones or your own way in are at stake:\n  \
        sipknock firewall apply --confirm 60s")]
    Apply(ApplyArgs),
    /// Keep what 'firewall apply --confirm' has put in, from another shell
    #[command(after_help = "Example:\n  sipknock firewall apply --confirm 60s   # in one shell\n  \
        sipknock firewall confirm               # in another")]
    Confirm(ConfirmArgs),
    /// Take the rules out, and leave no trace
    #[command(after_help = "Example, which also works without a configuration:\n  sipknock firewall remove")]
    Remove(RemoveArgs),
    /// Say whether the rules are in place, with their counters; exit status 1 where they are not
    #[command(after_help = "Example:\n  sipknock firewall status || sipknock doctor")]
    Status(RulesArgs),
}

/// What the rules follow from.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// Ports, networks and queues
    #[command(flatten)]
    pub gate: GateArgs,
    /// The chain that packets to the PBX pass: INPUT, or FORWARD or DOCKER-USER where it runs in a container
    #[arg(long, value_name = "CHAIN", default_value = crate::firewall::DEFAULT_PARENT)]
    pub chain: String,
    /// Leave out the rule for replies to what the PBX started, which needs conntrack
    #[arg(long)]
    pub no_replies: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `firewall apply`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// What the rules follow from
    #[command(flatten)]
    pub rules: RulesArgs,
    /// Put everything back as it was, unless somebody types yes or runs 'sipknock firewall confirm' in that time
    #[arg(long, value_name = "SPAN", value_parser = values::patience)]
    pub confirm: Option<Duration>,
}

/// `firewall confirm`
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `firewall print`
#[derive(Debug, Args)]
pub struct PrintArgs {
    /// What the rules follow from
    #[command(flatten)]
    pub rules: RulesArgs,
    /// Print a file for iptables-restore --noflush (ipv4) or ip6tables-restore --noflush (ipv6) instead
    #[arg(long, value_name = "FAMILY")]
    pub restore: Option<FamilyArg>,
}

/// `firewall remove`
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// An address family.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FamilyArg {
    /// iptables
    Ipv4,
    /// ip6tables
    Ipv6,
}
