//! `firewall`, and the flags of its rules.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::run::GateArgs;
use crate::config::{Flags, values};

/// `firewall`
#[derive(Debug, Args)]
pub struct FirewallArgs {
    /// The action
    #[command(subcommand)]
    pub action: FirewallAction,
}

/// An action on the rules.
#[derive(Debug, Subcommand)]
pub enum FirewallAction {
    /// Print the rules as commands, without running them
    #[command(after_help = "Example:\n  sipknock firewall print --restore ipv4 | iptables-restore --noflush")]
    Print(PrintArgs),
    /// Put the rules in, or bring them up to date
    #[command(after_help = "Example, taken back without a confirmation:\n  \
        sipknock firewall apply --confirm 60s\n\n\
        For a PBX in a container, for a first try; in daily use, write it into [firewall] of the configuration file:\n  \
        sipknock firewall apply --chain INPUT --chain DOCKER-USER --pbx 172.18.0.5")]
    Apply(ApplyArgs),
    /// Keep the rules of 'firewall apply --confirm', from another shell
    #[command(after_help = "Example:\n  sipknock firewall apply --confirm 60s   # in one shell\n  \
        sipknock firewall confirm               # in another")]
    Confirm(ConfirmArgs),
    /// Take the rules out, and leave no trace
    #[command(after_help = "Example, which also works without a configuration:\n  sipknock firewall remove")]
    Remove(RemoveArgs),
    /// Say if the rules are in place, with their counters; exit status 1 if not
    #[command(after_help = "Example:\n  sipknock firewall status || sipknock doctor")]
    Status(RulesArgs),
    /// Put the rules in, and put them back if another program removes them, until a signal; the service sipknock-rules
    /// does this, since the gate has no right to
    #[command(after_help = "Example:\n  sipknock firewall watch")]
    Watch(WatchRulesArgs),
}

/// The flags of the rules.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// Ports, networks and queues
    #[command(flatten)]
    pub gate: GateArgs,
    /// A chain that packets to the PBX pass, instead of those of the configuration file: INPUT, or FORWARD or DOCKER-USER
    /// if it is behind this machine or in a container; repeatable
    #[arg(long, value_name = "CHAIN", value_parser = values::chain)]
    chain: Vec<String>,
    /// An address, network or interface of a PBX behind this machine, instead of those of the configuration file;
    /// repeatable
    #[arg(long, value_name = "ADDRESS", value_parser = values::pbx)]
    pbx: Vec<values::PbxEntry>,
    /// Without effect: no rule accepts replies without a decision
    #[arg(long, hide = true)]
    no_replies: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

impl RulesArgs {
    /// The values of all flags, those of the gate among them.
    pub fn flags(&self) -> Flags {
        Flags { chains: self.chain.clone(), pbx: self.pbx.clone(), ..self.gate.flags() }
    }
}

/// `firewall watch`
#[derive(Debug, Args)]
pub struct WatchRulesArgs {
    /// Ports, networks and chains
    #[command(flatten)]
    pub gate: GateArgs,
    /// The control socket of the gate, to report the state of the rules to; off: no report
    #[arg(long, value_name = "PATH")]
    control: Option<String>,
}

impl WatchRulesArgs {
    /// The values of the flags.
    pub fn flags(&self) -> Flags {
        let control = self.control.as_deref().map(values::place);
        Flags { control, ..self.gate.flags() }
    }
}

/// `firewall apply`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Ports, networks and chains
    #[command(flatten)]
    pub rules: RulesArgs,
    /// Put everything back as it was, unless 'yes' is typed or 'sipknock firewall confirm' runs in that time
    #[arg(long, value_name = "SPAN", value_parser = values::patience)]
    pub confirm: Option<Duration>,
    /// Take the rules out of chains that the configuration no longer names
    #[arg(long = "move")]
    pub moves: bool,
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
    /// Ports, networks and chains
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
