//! `run`, and flags that other commands share with it.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;

use crate::config::{Flags, values};
use crate::knock::{Life, Secret};
use crate::queue::Backend;

/// Flags that stand for keys of the configuration file.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Gate (adds to the configuration file, or replaces its value)")]
pub struct GateArgs {
    /// A knock; repeatable
    #[arg(long, value_name = "NAME=SECRET", value_parser = NameAndSecret)]
    knock: Vec<(String, Secret)>,
    /// Ports to inspect, as in 5060,5061-5063
    #[arg(long, value_name = "PORTS", value_parser = Ports)]
    port: Option<PortList>,
    /// The time that a door stays open after a knock, as in 4000s; expires: as long as the registration lives
    #[arg(long, value_name = "SPAN", value_parser = values::life)]
    door: Option<Life>,
    /// A network that passes without a knock; repeatable
    #[arg(long, value_name = "CIDR", value_parser = values::network)]
    trust: Vec<IpNet>,
    /// NFQUEUE numbers, as in 0 or 0-3
    #[arg(long, value_name = "NUMBERS", value_parser = values::queues)]
    queue: Option<RangeInclusive<u16>>,
    /// The way to read packets from the kernel: batched or nfq
    #[arg(long, value_name = "BACKEND", value_parser = values::backend)]
    backend: Option<Backend>,
    /// Accept everything, and log what would be dropped
    #[arg(long)]
    monitor: bool,
}

impl GateArgs {
    /// The values of the flags.
    pub fn flags(&self) -> Flags {
        Flags {
            knocks: self.knock.clone(),
            ports: self.port.as_ref().map(|list| list.0.clone()),
            door: self.door,
            trusted: self.trust.clone(),
            queues: self.queue.clone(),
            backend: self.backend,
            monitor: self.monitor,
            ..Flags::default()
        }
    }
}

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Ports, knocks and doors
    #[command(flatten)]
    pub gate: GateArgs,
    /// Put the firewall rules in at the start, and take them out at a clean exit
    #[arg(long)]
    pub firewall: bool,
    /// Write the values that phones send and that would serve as a knock, at the end and on SIGUSR1: as configuration to a
    /// file whose name ends in .toml, as JSON for .json, else as text; - or nothing for standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub learn: Option<PathBuf>,
    /// Accept everything for that long at first, as in 1h. Then drop strangers, if all phones that have registered have
    /// knocked; otherwise list those that have not, and keep accepting everything until 'sipknock enforce'
    #[arg(long, value_name = "SPAN", value_parser = values::grace, conflicts_with = "monitor")]
    pub grace: Option<Duration>,
    /// Take queues and doors over from the gate with the same control socket, without losing a packet; that one ends once
    /// this one is ready. If none runs, start as usual
    #[arg(long)]
    pub takeover: bool,
    /// The control socket, through which 'sipknock doors' and others reach this gate; off: none
    #[arg(long, value_name = "PATH")]
    control: Option<String>,
    /// The file that keeps doors over a restart; off: none
    #[arg(long, value_name = "PATH")]
    state: Option<String>,
    /// The address of metrics and status page, as in 127.0.0.1:9470; off: none
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen)]
    http: Option<ListenAddress>,
    /// The user to become once the queues are bound, if root starts it; root: stay root
    #[arg(long, value_name = "NAME", value_parser = values::user)]
    user: Option<String>,
    /// Treatment of files that others can read
    #[command(flatten)]
    pub files: FilesArgs,
}

impl RunArgs {
    /// The values of the flags.
    pub fn flags(&self) -> Flags {
        let place = |flag: &Option<String>| flag.as_deref().map(values::place);
        Flags {
            control: place(&self.control),
            state: place(&self.state),
            http: self.http.map(|listen| listen.0),
            user: self.user.clone(),
            ..self.gate.flags()
        }
    }
}

/// Treatment of files with secrets that others can read.
#[derive(Clone, Copy, Debug, Args)]
pub struct FilesArgs {
    /// Only warn if others can read a file that holds secrets
    #[arg(long)]
    pub allow_readable_secrets: bool,
}

/// Ports and ranges of one flag. A type of its own, since clap takes a bare `Vec` for a repeatable flag.
#[derive(Clone, Debug)]
pub(super) struct PortList(pub(super) Vec<RangeInclusive<u16>>);

/// Reads [`PortList`].
#[derive(Clone)]
pub(super) struct Ports;

impl clap::builder::TypedValueParser for Ports {
    type Value = PortList;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<PortList, clap::Error> {
        let read = |text: &str| values::ports(text).map(PortList);
        clap::builder::TypedValueParser::parse_ref(&read, command, argument, value)
    }
}

/// The address to listen on, if any. A type of its own, since clap takes a bare `Option` for a flag that may be missing.
#[derive(Clone, Copy, Debug)]
struct ListenAddress(Option<SocketAddr>);

fn listen(text: &str) -> Result<ListenAddress, String> {
    values::listen(text).map(ListenAddress)
}

/// Reads `NAME=SECRET` without ever repeating it in an error, as clap's own parsers do.
#[derive(Clone)]
pub(super) struct NameAndSecret;

impl clap::builder::TypedValueParser for NameAndSecret {
    type Value = (String, Secret);

    fn parse_ref(
        &self,
        command: &clap::Command,
        _argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let text =
            value.to_str().ok_or_else(|| "not UTF-8: use a secret_file in the configuration file".to_owned());
        text.and_then(values::name_and_secret).map_err(|problem| {
            let text = format!("--knock: {problem}\n");
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, text).with_cmd(command)
        })
    }
}
