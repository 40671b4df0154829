//! `setup`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;

use super::run::{NameAndSecret, PortList, Ports};
use crate::config::values;
use crate::knock::Secret;

/// `setup`
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Ask nothing, and take what flags say and what is proposed; only networks of --trust are trusted
    #[arg(long, short)]
    pub yes: bool,
    /// Ports on which the PBX takes SIP, as in 5060,5061-5063; else those on which one listens
    #[arg(long, value_name = "PORTS", value_parser = Ports)]
    port: Option<PortList>,
    /// Lets a network pass without a knock, beside those that do so already; or a name, whose addresses are written down; own
    /// stands for the networks of this machine, none for nothing at all; repeatable
    #[arg(long, value_name = "CIDR|NAME|own|none", value_parser = trust)]
    pub trust: Vec<Trust>,
    /// A knock; repeatable. Else one is made, if there is none yet
    #[arg(long, value_name = "NAME=SECRET", value_parser = NameAndSecret)]
    pub knock: Vec<(String, Secret)>,
    /// A list of phones, one knock for each: lines of a name, or of a name and a secret, with a comma between
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// A file of knocks as 'sipknock learn --toml' prints it
    #[arg(long, value_name = "FILE")]
    pub learned: Option<PathBuf>,
    /// How long everything passes at first, as in 24h, while the gate sees which phones knock; 0s: strangers are dropped at
    /// once
    #[arg(long, value_name = "SPAN", value_parser = grace)]
    pub grace: Option<Duration>,
    /// A chain that packets to the PBX pass: INPUT, FORWARD, DOCKER-USER; repeatable
    #[arg(long, value_name = "CHAIN", value_parser = values::chain)]
    pub chain: Vec<String>,
    /// An address, network or interface of a PBX behind this machine or in a container; repeatable
    #[arg(long, value_name = "ADDRESS", value_parser = values::pbx)]
    pub pbx: Vec<values::PbxEntry>,
    /// As whom the gate runs; root: as root, with files that root alone reads
    #[arg(long, value_name = "NAME", value_parser = values::user)]
    pub user: Option<String>,
    /// Write the files, and start nothing
    #[arg(long)]
    pub no_start: bool,
    /// Show what --yes would do, and do nothing; it asks nothing
    #[arg(long, visible_alias = "print")]
    pub dry_run: bool,
    /// Print a JSON object at the end; questions go to stderr
    #[arg(long)]
    pub json: bool,
}

impl SetupArgs {
    /// The ports that flags name.
    pub fn ports(&self) -> Option<Vec<std::ops::RangeInclusive<u16>>> {
        self.port.as_ref().map(|list| list.0.clone())
    }
}

/// A source that passes without a knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A network.
    Network(IpNet),
    /// The addresses of a name.
    Name(String),
    /// The networks of this machine.
    Own,
    /// Nothing that did before.
    Nothing,
}

/// A network, a name, `own` or `none`.
///
/// # Errors
/// On anything else.
pub fn trust(text: &str) -> Result<Trust, String> {
    match text.trim() {
        "own" => Ok(Trust::Own),
        "none" => Ok(Trust::Nothing),
        text => match values::network(text) {
            Ok(net) if net.prefix_len() == 0 => Err(format!(
                "{net} holds every address, so that strangers would pass: name networks of your own"
            )),
            Ok(net) => Ok(Trust::Network(net.trunc())),
            // No top-level domain ends in a digit, and a mistyped address does.
            Err(_) if !text.contains('/') && !text.ends_with(|last: char| last.is_ascii_digit()) => {
                values::host(text).map(Trust::Name)
            }
            Err(error) => Err(error),
        },
    }
}

/// How long everything passes at first; `0s` for not at all.
///
/// # Errors
/// On anything else.
pub fn grace(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0s" | "0" | "none" => Ok(Duration::ZERO),
        text => values::grace(text),
    }
}
