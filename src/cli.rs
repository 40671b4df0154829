//! What can be typed: commands and their flags.
//!
//! Man pages and shell completions are made from these definitions.

#[cfg(feature = "bench")]
mod bench;
mod control;
mod firewall;
mod run;
mod setup;

use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

#[cfg(feature = "bench")]
pub use bench::BenchArgs;
pub use control::{
    CloseArgs, ControlArgs, DoorsAction, DoorsArgs, EnforceArgs, FlushArgs, ListArgs, OpenArgs, ReloadArgs,
    SortBy, StatsArgs, WatchArgs,
};
pub use firewall::{
    ApplyArgs, ConfirmArgs, FamilyArg, FirewallAction, FirewallArgs, PrintArgs, RemoveArgs, RulesArgs,
    WatchRulesArgs,
};
pub use run::{FilesArgs, GateArgs, RunArgs};
use run::{PortList, Ports};
pub use setup::{SetupArgs, Trust, grace, trust};

use crate::config::{Config, ConfigError, DEFAULT_PATH, Flags, Place, values};
use crate::control::DEFAULT_SOCKET;
use crate::knock::Part;
use crate::learn::ReportFormat as LearnFormat;
use crate::log::LogFormat;
use crate::replay::Hook;

/// Opens the SIP port to phones that send a secret, and drops everything else
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, infer_subcommands = false)]
#[command(after_help = "Try it on a capture, without root and without touching anything:\n  \
    sipknock replay --knock alice=mykn0ckstr1ng capture.pcap")]
pub struct Cli {
    /// The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// Format of the log
    #[arg(long, global = true, value_name = "FORM", default_value = "text", help_heading = "Global options")]
    pub log_format: LogFormat,
    /// More detail in the log; twice for all of it
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// The command to run
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads this process's arguments.
    ///
    /// # Errors
    /// If they are wrong, or ask for help. A word in the wrong place may be a secret whose `--knock` was forgotten, and errors
    /// go to logs: such a word is left out.
    pub fn from_args() -> Result<Self, clap::Error> {
        Self::try_parse().map_err(without_secrets)
    }

    /// Reads the configuration again each time, with the same flags.
    pub fn again(&self, flags: Flags) -> impl Fn() -> Result<Config, ConfigError> + Send + Sync + use<> {
        let (path, named) = (self.config.clone(), self.config.is_some());
        move || Config::load(path.as_deref().unwrap_or(Path::new(DEFAULT_PATH)), named, &flags)
    }

    /// The configuration file, if one was named.
    pub fn named_config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The path of the control socket: from the flag, else from the configuration, else the default. A configuration that
    /// only root may read counts as none.
    ///
    /// # Errors
    /// If a configuration was named that can't be used, or the socket is switched off.
    pub fn socket(&self, args: &ControlArgs) -> Result<PathBuf, ConfigError> {
        if let Some(path) = &args.control {
            return Ok(path.clone());
        }
        let configured = match self.configuration_of(&Flags::default()) {
            Err(_) if self.config.is_none() => Some(DEFAULT_SOCKET.into()),
            config => config?.control.socket,
        };
        configured.ok_or_else(|| {
            let place = Place { key: "control.socket".to_owned(), ..Place::default() };
            let text =
                "it is off, so the gate can't be reached: name the socket with --control PATH".to_owned();
            ConfigError::Value { place, text }
        })
    }

    /// The whole definition, for man pages and completions.
    pub fn definition() -> clap::Command {
        Self::command()
    }

    /// The configuration from file and flags.
    ///
    /// # Errors
    /// If it is not valid.
    pub fn configuration(&self, gate: &GateArgs) -> Result<Config, ConfigError> {
        self.configuration_of(&gate.flags())
    }

    /// The same with flags of a command that has few of them.
    ///
    /// # Errors
    /// If it is not valid.
    pub fn configuration_of(&self, flags: &Flags) -> Result<Config, ConfigError> {
        let path = self.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
        Config::load(path, self.config.is_some(), flags)
    }
}

/// Takes a word out of an error that may be a secret: whatever is no flag, and all behind a `=`.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
        && (!word.starts_with('-') || word.contains('='))
        && error.kind() == ErrorKind::UnknownArgument
    {
        let shown = word.split_once('=').map_or("(a word)", |_| "(a word with =)");
        error.insert(ContextKind::InvalidArg, ContextValue::String(shown.to_owned()));
    }
    error
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Decide queued packets: accept sources that knock, drop all others
    #[command(after_help = "Example, for a first try (needs root):\n  \
        sipknock run --knock alice-desk=mykn0ckstr1ng --port 5060 --monitor --firewall\n\n\
        Secrets given with --knock can be read by every user of this machine in the list of processes.\n\
        In daily use, write them into the configuration file.\n\n\
        After an upgrade, without a service manager:\n  \
        sipknock run --takeover\n\
        With systemd: systemctl restart sipknock")]
    Run(RunArgs),
    /// Decide every packet of a capture as 'run' would
    #[command(
        after_help = "Example:\n  sipknock replay --knock alice-desk=mykn0ckstr1ng --json capture.pcapng | jq .reason"
    )]
    Replay(ReplayArgs),
    /// List the values that each phone already sends and that would serve as a knock
    #[command(after_help = "Examples:\n  \
        sipknock learn capture.pcapng\n  \
        sipknock learn --details --all capture.pcapng\n  \
        sipknock learn --toml /var/log/asterisk/full >> /etc/sipknock/sipknock.toml\n\n\
        Reads pcap and pcapng, and the logs of Asterisk after 'pjsip set logger on' or 'sip set debug on', also as\n\
        docker compose, the journal and rsyslog write them. Phones that registered come first, a line each.\n\
        The output holds secrets.")]
    Learn(LearnArgs),
    /// Validate the configuration, and warn of weak knocks
    #[command(after_help = "Examples:\n  \
        sipknock check --config ./sipknock.toml\n  \
        sipknock check --against capture.pcapng\n  \
        sipknock check --against /var/log/asterisk/full\n\n\
        It prints how many bits of each knock are random, and how long a sender at 1 Gbit/s takes to guess them.\n\
        Exit status: 0 the configuration is valid, 1 failed while working, 2 it is not, or a knock is guessed within\n\
        a minute. 'run' and 'reload' warn of such a knock and go on with it.")]
    Check(CheckArgs),
    /// Print, put in or take out the iptables rules that queue SIP packets
    #[command(after_help = "Example:\n  sipknock firewall print\n  sipknock firewall apply")]
    Firewall(FirewallArgs),
    /// Prove that strangers are kept out and phones get in on this machine, or name the faults
    #[command(after_help = "Examples:\n  \
        sipknock doctor\n  \
        sipknock doctor --probe    # with real packets, in a network namespace of its own\n\n\
        Exit status: 0 the gate is sound, 1 faults were found, 2 wrong arguments or configuration.\n\
        It changes nothing.")]
    Doctor(DoctorArgs),
    /// List, open and close the doors of the running gate
    #[command(args_conflicts_with_subcommands = true)]
    #[command(after_help = "Examples:\n  \
        sipknock doors\n  \
        sipknock doors --sort expires --knock alice-desk --source 198.51.100.0/24\n  \
        sipknock doors open 198.51.100.7 --for 1h\n  \
        sipknock doors close 198.51.100.7")]
    Doors(DoorsArgs),
    /// Show the counters of the running gate
    #[command(after_help = "Example:\n  sipknock stats --json | jq .doors.open")]
    Stats(StatsArgs),
    /// Print the events of the running gate as they happen
    #[command(after_help = "Example:\n  sipknock watch --json | jq 'select(.event == \"opened\")'")]
    Watch(WatchArgs),
    /// Make the running gate read its configuration again, as SIGHUP does
    #[command(after_help = "Example:\n  sipknock check && sipknock reload\n\n\
        Doors stay open, except those that only removed knocks hold. A configuration that is not valid changes nothing.")]
    Reload(ReloadArgs),
    /// Make the running gate drop strangers now, before the end of its grace or after it
    #[command(after_help = "Example:\n  sipknock stats && sipknock enforce\n\n\
        It lists the phones that have registered and not knocked: these are shut out until they knock.")]
    Enforce(EnforceArgs),
    /// Make a strong knock that a phone's keypad can type
    #[command(after_help = "Examples:\n  \
        sipknock keygen --name alice-desk --toml >> /etc/sipknock/sipknock.toml\n  \
        sipknock keygen --alphabet hex --bits 128\n\n\
        Bits that a sender at 1 Gbit/s guesses within a minute are refused with status 2.")]
    Keygen(KeygenArgs),
    #[cfg(feature = "bench")]
    /// Measure how fast sipknock and other engines find knocks on this machine
    #[cfg(feature = "bench")]
    #[command(after_help = "Examples:\n  \
        sipknock bench\n  \
        sipknock bench --style config --capture capture.pcap --engine sipknock,aho-corasick-dfa\n  \
        sipknock bench --markdown --plot matcher.svg > matcher.md")]
    Bench(BenchArgs),
    /// Set this machine up: find the PBX, write the configuration, start the gate
    #[command(after_help = "Examples:\n  \
        sudo sipknock setup\n  \
        sudo sipknock setup --dry-run\n  \
        sudo sipknock setup --yes --port 5060 --trust 10.10.1.0/24 --grace 24h\n  \
        sudo sipknock setup --yes --from phones.csv\n\n\
        It asks for ports, trusted networks, chains, a first knock and the time of grace, one line each; an empty line takes\n\
        the proposal in brackets. Answers may come from a pipe. Before it writes files, and before it starts the gate, it asks\n\
        again. Until the last answer nothing is changed. A file that is there keeps its comments and other keys, and a copy of\n\
        it stays beside it. A second run changes nothing that it is not asked to.\n\n\
        Exit status: 0 done, or refused by an answer, 1 failed while working, or doctor found faults, 2 wrong words.")]
    Setup(SetupArgs),
    /// Print names for a shell to offer
    #[command(hide = true)]
    Complete(CompleteArgs),
    /// Write man pages and shell completions to a folder
    #[command(hide = true)]
    #[cfg(feature = "generate")]
    Generate(GenerateArgs),
}

/// `replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Ports, knocks and doors
    #[command(flatten)]
    pub gate: GateArgs,
    /// pcap or pcapng files, decided one after the other; - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// An address or network of the PBX: packets from there are its own, and its requests open doors; repeatable
    #[arg(long, value_name = "CIDR", value_parser = values::network)]
    pub pbx: Vec<IpNet>,
    /// The hook whose packets are decided
    #[arg(long, value_enum, value_name = "HOOK", default_value_t)]
    pub hook: Hook,
    /// Decode GRE, IPIP, VXLAN, Geneve and GTP, as if these tunnels ended at the gate
    #[arg(long)]
    pub tunnels: bool,
    /// Print a JSON object per inspected packet, and one at the end
    #[arg(long)]
    pub json: bool,
}

/// `learn`
#[derive(Debug, Args)]
pub struct LearnArgs {
    /// Ports that phones send to, as in 5060,5061-5063
    #[arg(long, value_name = "PORTS", value_parser = Ports)]
    port: Option<PortList>,
    /// Captures or Asterisk logs; - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Decode GRE, IPIP, VXLAN, Geneve and GTP, as a mirrored port may send them
    #[arg(long)]
    pub tunnels: bool,
    /// Print ready `[[knock]]` tables for the configuration file
    #[arg(long, conflicts_with = "json")]
    pub toml: bool,
    /// With --toml: also values that can be guessed, if a phone sends nothing better
    #[arg(long, requires = "toml")]
    pub weak: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// List strangers, too: senders without an accepted registration
    #[arg(long, conflicts_with_all = ["json", "toml"])]
    pub all: bool,
    /// Show all values that each phone sends, and the strength of each
    #[arg(long, conflicts_with_all = ["json", "toml"])]
    pub details: bool,
}

impl LearnArgs {
    /// The flags of a gate with these ports.
    pub fn flags(&self) -> Flags {
        Flags { ports: self.port.as_ref().map(|list| list.0.clone()), ..Flags::default() }
    }

    /// The form to print in.
    pub fn format(&self) -> LearnFormat {
        match (self.json, self.toml) {
            (true, _) => LearnFormat::Json,
            (_, true) => LearnFormat::Toml { weak: self.weak },
            _ => LearnFormat::List { all: self.all, details: self.details },
        }
    }
}

/// `check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Ports, knocks and doors
    #[command(flatten)]
    pub gate: GateArgs,
    /// Show for which packets of captures and messages of Asterisk logs each knock would open, and warn if that is not one
    /// phone
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub against: Vec<PathBuf>,
    /// Treatment of files that others can read
    #[command(flatten)]
    pub files: FilesArgs,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// `doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// What the rules follow from
    #[command(flatten)]
    pub rules: RulesArgs,
    /// Send real packets, too: a gate of its own must drop a stranger's and pass a knock
    #[arg(long)]
    pub probe: bool,
}

/// `keygen`
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// The characters of the secret
    #[arg(long, value_enum, default_value = "keypad")]
    pub alphabet: Alphabet,
    /// Its strength: 2 to the power of this many tries
    #[arg(long, value_name = "BITS", default_value_t = 64, value_parser = clap::value_parser!(u16).range(32..=256))]
    pub bits: u16,
    /// The number of secrets
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub count: u32,
    /// Name the knock; several are numbered
    #[arg(long, value_name = "NAME", value_parser = values::knock_name)]
    pub name: Option<String>,
    /// The place where the phone sends it, as `in` of the configuration: from-display-name, contact-instance, header:NAME
    /// and others. The default with --toml and the keypad's letters is the display name. A place that can be the secret
    /// alone is written with match = "whole"
    #[arg(long = "in", value_name = "PART", value_parser = Part::parse)]
    pub within: Option<Part>,
    /// Print ready `[[knock]]` tables for the configuration file
    #[arg(long, conflicts_with = "json")]
    pub toml: bool,
    /// Print a JSON object per knock
    #[arg(long)]
    pub json: bool,
}

/// The characters of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Alphabet {
    /// Letters that need one press each on a keypad, and never the same key twice in a row
    Keypad,
    /// Digits
    Digits,
    /// Small letters and digits, without those that look alike
    Alnum,
    /// Hexadecimal digits
    Hex,
}

/// `complete`
#[derive(Debug, Args)]
pub struct CompleteArgs {
    /// The kind of names
    #[arg(value_enum)]
    pub what: Completed,
}

/// Names that shells offer.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Completed {
    /// Names of knocks
    Knocks,
    /// Chains that can jump to ours
    Chains,
}

/// `generate`
#[cfg(feature = "generate")]
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The folder to write them to
    pub folder: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::definition().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn look(command: &clap::Command) {
            for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                let has_own = command.has_subcommands() || help.contains("Example");
                assert!(has_own, "{} --help has no example", command.get_name());
                look(command);
            }
        }
        look(&Cli::definition());
    }

    #[test]
    fn a_secret_is_not_repeated_in_errors() {
        for wrong in ["hush-hush", "=hush-hush", "a\tb=hush-hush"] {
            let error = Cli::try_parse_from(["sipknock", "run", "--knock", wrong]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(!error.to_string().contains("hush"), "{error}");
        }
        for words in [
            &["run", "a=hush-hush"][..],
            &["run", "--knock", "a", "hush-hush"],
            &["run", "--nock=a=hush-hush"],
        ] {
            let words = std::iter::once("sipknock").chain(words.iter().copied());
            let error = without_secrets(Cli::try_parse_from(words).unwrap_err());
            assert!(!error.render().to_string().contains("hush"), "{error}");
        }
    }
}
