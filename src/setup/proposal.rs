//! From what was found to settings, and from settings to the text of a configuration. Pure.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::edit::{self, Edit};
use super::machine::{FoundMachine, Manager, SipSocket};
use crate::config::{Config, TrustedName, values};
use crate::firewall::{DEFAULT_PARENT, Pbx};

/// The keys that setup decides on; all other keys keep their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `inspect.ports`
    pub ports: Vec<RangeInclusive<u16>>,
    /// `inspect.trusted`, without the addresses of names.
    pub trusted: Vec<IpNet>,
    /// `inspect.trusted_names`
    pub names: Vec<TrustedName>,
    /// `inspect.grace`
    pub grace: Duration,
    /// `firewall.chains`
    pub chains: Vec<String>,
    /// `firewall.pbx`
    pub pbx: Pbx,
    /// `process.user`; `None`: as it is.
    pub user: Option<String>,
    /// `include`; `None`: as it is.
    pub include: Option<Vec<String>>,
}

/// Settings, and remarks for people on why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The values to write.
    pub settings: Settings,
    /// Networks of this machine that might be trusted.
    pub own: Vec<IpNet>,
    /// Facts, and their meaning.
    pub notes: Vec<String>,
}

impl Settings {
    /// The settings of a configuration.
    pub fn of(config: &Config) -> Self {
        let of_names: Vec<IpNet> =
            config.trusted_names.iter().flat_map(|name| &name.addresses).copied().map(IpNet::from).collect();
        let mut trusted = config.inspect.trusted.clone();
        // The reader puts those of names behind the others.
        trusted.truncate(trusted.len().saturating_sub(of_names.len()));
        Self {
            ports: config.inspect.scope.ports.clone(),
            trusted,
            names: config.trusted_names.clone(),
            grace: config.inspect.grace,
            chains: config.firewall.chains.clone(),
            pbx: config.firewall.pbx.clone(),
            user: None,
            include: None,
        }
    }

    /// The values to set in a text, so that it has these settings, if it has those of `before`.
    pub fn edits(&self, before: &Self) -> Vec<Edit> {
        let mut edits = Vec::new();
        let mut set = |differs: bool, table, key, value: String| {
            if differs {
                edits.push(Edit { table, key, value });
            }
        };
        if let Some(include) = &self.include {
            set(true, "", "include", list(include));
        }
        set(self.ports != before.ports, "inspect", "ports", ports(&self.ports));
        set(self.trusted != before.trusted, "inspect", "trusted", list(&net_texts(&self.trusted)));
        set(self.names != before.names, "inspect", "trusted_names", names(&self.names));
        set(self.grace != before.grace, "inspect", "grace", quoted(&span(self.grace)));
        set(self.chains != before.chains, "firewall", "chains", list(&self.chains));
        set(self.pbx != before.pbx, "firewall", "pbx", list(&pbx(&self.pbx)));
        if let Some(user) = &self.user {
            set(true, "process", "user", quoted(user));
        }
        edits
    }

    /// The text of a new configuration.
    ///
    /// # Errors
    /// As [`edit::apply`].
    pub fn new_text(&self) -> Result<String, String> {
        let base = Config::parse("", std::path::Path::new(""), &crate::config::Flags::default());
        let before = Self::of(&base.map_err(|error| error.to_string())?);
        let include = Some(self.include.clone().unwrap_or_else(|| vec![KNOCK_FILES.to_owned()]));
        let mut text = edit::apply(TEMPLATE, &Self { include, ..self.clone() }.edits(&before))?;
        // A port that is the default is written down all the same.
        if self.ports == before.ports {
            let edit = Edit { table: "inspect", key: "ports", value: ports(&self.ports) };
            text = edit::apply(&text, &[edit])?;
        }
        Ok(text)
    }
}

/// Proposes settings: those of a configuration that is there, else what the machine shows.
pub fn propose(machine: &FoundMachine, current: Option<&Config>) -> Proposal {
    let mut notes = Vec::new();
    let own: Vec<IpNet> = machine.networks.iter().map(|own| own.net).filter(is_private).collect();
    let found = ports_of(&machine.sip);
    for sip in &machine.sip {
        notes.push(of_socket(sip));
    }
    if machine.sip.is_empty() && machine.contained.is_empty() {
        notes.push("nothing listens for SIP here: is the PBX up? Port 5060 is proposed".to_owned());
    }
    for pbx in &machine.contained {
        let addresses = texts(&pbx.addresses).join(", ");
        notes.push(format!("{} runs in a container or namespace of its own, at {addresses}", pbx.process));
    }
    if let Some(kind) = &machine.container {
        notes.push(format!(
            "this is a container ({kind}): rules are those of its own network, so the PBX has to be in the same one \
             (--network host for that of the machine)"
        ));
    }
    for net in &machine.networks {
        notes.push(format!("this machine is in network {} ({})", net.net, net.interface));
    }
    notes.extend(machine.managers.iter().map(|manager| format!("{}: {}", manager.name(), meaning(*manager))));
    let settings = match current {
        Some(config) => {
            let settings = Settings::of(config);
            for port in found.iter().filter(|port| !settings.ports.iter().any(|ports| ports.contains(port))) {
                notes.push(format!(
                    "port {port} is not among the inspected ones: add it to them if strangers reach it"
                ));
            }
            settings
        }
        None => first(machine, found),
    };
    Proposal { settings, own, notes }
}

fn first(machine: &FoundMachine, found: Vec<u16>) -> Settings {
    let ports = if found.is_empty() { vec![DEFAULT_PORT] } else { found };
    let elsewhere = !machine.contained.is_empty() && !machine.sip.iter().any(|sip| sip.pbx);
    let inner = if machine.docker_user { "DOCKER-USER" } else { "FORWARD" };
    let mut addresses: Vec<IpNet> =
        machine.contained.iter().flat_map(|pbx| &pbx.addresses).copied().map(IpNet::from).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let (chains, networks) = match elsewhere {
        // Docker's own listener takes packets in INPUT.
        true => (vec![DEFAULT_PARENT.to_owned(), inner.to_owned()], addresses),
        false => (vec![DEFAULT_PARENT.to_owned()], Vec::new()),
    };
    Settings {
        ports: ports.into_iter().map(|port| port..=port).collect(),
        trusted: Vec::new(),
        names: Vec::new(),
        grace: DEFAULT_GRACE,
        chains,
        pbx: Pbx { networks, ..Pbx::default() },
        user: None,
        include: None,
    }
}

/// Ports that belong into the configuration: those of PBXs, or of whatever listens for SIP if there is none.
fn ports_of(sip: &[SipSocket]) -> Vec<u16> {
    let known = sip.iter().any(|sip| sip.pbx);
    let mut ports: Vec<u16> =
        sip.iter().filter(|sip| !sip.tls && (sip.pbx || !known)).map(|sip| sip.port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn of_socket(sip: &SipSocket) -> String {
    let process = sip.process.as_deref().unwrap_or("a process that can't be seen");
    let tls = if sip.tls { ": TLS, in which no knock can be seen, so it is left out" } else { "" };
    format!("{process} listens on {} port {}{tls}", sip.transport, sip.port)
}

/// Addresses of nobody outside (RFC 1918, RFC 4193).
fn is_private(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.addr().is_private(),
        IpNet::V6(net) => net.addr().is_unique_local(),
    }
}

/// The meaning of a manager of rules for those of sipknock.
pub fn meaning(manager: Manager) -> &'static str {
    match manager {
        Manager::Ufw => {
            "it puts its rules first at each reload; those of sipknock are put back before them, and what the gate accepts needs \
             no rule there"
        }
        Manager::Firewalld => {
            "its table comes behind the gate: open the SIP ports there, too, as in 'firewall-cmd --permanent --add-port=5060/udp'"
        }
        Manager::Fail2ban | Manager::Crowdsec => "what it bans is dropped before the gate, and may be",
        Manager::NftablesService => "it flushes all rules at its start; those of sipknock are put back",
        Manager::NetfilterPersistent => {
            "it brings saved rules back at the boot: take those of sipknock out before you save ('sipknock firewall remove')"
        }
        Manager::Docker => {
            "its rules go first at its start; a PBX in a container needs chain DOCKER-USER and its address"
        }
        Manager::FreepbxFirewall => {
            "it takes rules of others for an intrusion, so none is put into INPUT while it is there: switch it off ('fwconsole \
             firewall disable'), or see the guide"
        }
        Manager::Freepbx => "it flushes all rules at 'fwconsole start'; those of sipknock are put back",
        Manager::Csf | Manager::Shorewall => {
            "it makes its rules again at each reload; those of sipknock are put back before them"
        }
    }
}

/// A list of ports as an answer has it, as in `5060,5061-5063`.
pub fn ports_answer(ports: &[RangeInclusive<u16>]) -> String {
    ports.iter().map(values::ports_text).collect::<Vec<_>>().join(",")
}

/// A span as it is written, as in `24h`.
pub fn span(span: Duration) -> String {
    match span.as_secs() {
        0 => "0s".to_owned(),
        seconds if seconds % 3600 == 0 && span.subsec_nanos() == 0 => format!("{}h", seconds / 3600),
        _ => humantime::format_duration(span).to_string(),
    }
}

/// Values as texts.
pub fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// Networks as texts, those of one address without a prefix length.
pub fn net_texts(nets: &[IpNet]) -> Vec<String> {
    let text = |net: &IpNet| match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    };
    nets.iter().map(text).collect()
}

/// The PBX's addresses and interfaces, as texts.
pub fn pbx(pbx: &Pbx) -> Vec<String> {
    net_texts(&pbx.networks).into_iter().chain(pbx.interfaces.iter().cloned()).collect()
}

/// A text as TOML has it: the escapes of JSON are among those of TOML.
pub fn quoted(text: &impl ToString) -> String {
    serde_json::Value::from(text.to_string()).to_string()
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}

fn ports(ports: &[RangeInclusive<u16>]) -> String {
    let items: Vec<_> = ports
        .iter()
        .map(|range| match range.start() == range.end() {
            true => range.start().to_string(),
            false => quoted(&values::ports_text(range)),
        })
        .collect();
    format!("[{}]", items.join(", "))
}

fn names(names: &[TrustedName]) -> String {
    let mut text = String::from("{");
    for (index, name) in names.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(text, "{comma} {} = {}", quoted(&name.name), list(&name.addresses));
    }
    text.push_str(if names.is_empty() { "}" } else { " }" });
    text
}

/// Settings as `--json` prints them.
#[derive(Serialize)]
pub struct SettingsOutput {
    ports: Vec<String>,
    trusted: Vec<String>,
    trusted_names: std::collections::BTreeMap<String, Vec<String>>,
    grace_s: u64,
    chains: Vec<String>,
    pbx: Vec<String>,
}

impl From<&Settings> for SettingsOutput {
    fn from(settings: &Settings) -> Self {
        Self {
            ports: settings.ports.iter().map(values::ports_text).collect(),
            trusted: net_texts(&settings.trusted),
            trusted_names: settings
                .names
                .iter()
                .map(|name| (name.name.clone(), texts(&name.addresses)))
                .collect(),
            grace_s: settings.grace.as_secs(),
            chains: settings.chains.clone(),
            pbx: pbx(&settings.pbx),
        }
    }
}

/// The files of knocks, beside the configuration.
pub const KNOCK_FILES: &str = "knocks.d/*.toml";

/// RFC 3261, 19.1.2.
const DEFAULT_PORT: u16 = 5060;

/// A day: phones register at least hourly, and people switch theirs on once a day.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 3600);

/// A new configuration: the keys that setup sets, in their places.
const TEMPLATE: &str = "\
# The configuration of sipknock; sipknock.toml(5) has all keys. 'sipknock setup' changes what it is asked to, and keeps the
# rest. After a change: sipknock check, then sipknock reload, and sipknock firewall apply if it concerns the rules.

# Files of [[knock]] tables, beside this one. They hold secrets.
#include = [\"knocks.d/*.toml\"]

[inspect]
# Ports on which the PBX takes SIP.
#ports = [5060]

# Networks that pass without a knock.
#trusted = []

# Names that pass, with the addresses that they had when they were written down; 'sipknock doctor' compares them.
#trusted_names = {}

# How long everything passes at first, while the gate sees which phones knock.
#grace = \"0s\"

[firewall]
# Chains that packets to the PBX pass, and for all but INPUT the addresses or interfaces of the PBX.
#chains = [\"INPUT\"]
#pbx = []
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Flags;
    use crate::setup::machine::{ContainedPbx, OwnNetwork};

    fn sip(process: &str, transport: &'static str, port: u16, pbx: bool, tls: bool) -> SipSocket {
        SipSocket { transport, port, process: Some(process.to_owned()), pbx, tls }
    }

    fn parse(text: &str) -> Config {
        Config::parse(text, Path::new("/no/such/x.toml"), &Flags::default()).unwrap()
    }

    #[test]
    fn a_machine_of_its_own() {
        let machine = FoundMachine {
            sip: vec![
                sip("asterisk", "tcp", 5061, true, true),
                sip("asterisk", "udp", 5060, true, false),
                sip("asterisk", "udp", 5160, true, false),
                sip("python3", "udp", 5070, false, false),
            ],
            networks: vec![
                OwnNetwork { net: "10.10.1.0/24".parse().unwrap(), interface: "eth1".to_owned() },
                OwnNetwork { net: "192.0.2.0/24".parse().unwrap(), interface: "eth0".to_owned() },
            ],
            managers: [Manager::Ufw].into(),
            ..FoundMachine::default()
        };
        let found = propose(&machine, None);
        assert_eq!(ports_answer(&found.settings.ports), "5060,5160");
        assert_eq!(texts(&found.own), ["10.10.1.0/24"], "a public network is nobody's own");
        assert!(found.settings.trusted.is_empty(), "it is proposed and not assumed");
        assert_eq!(found.settings.chains, ["INPUT"]);
        assert!(found.notes.iter().any(|note| note.starts_with("ufw: ")), "{:?}", found.notes);
        let config = parse(&found.settings.new_text().unwrap());
        assert_eq!(Settings::of(&config), found.settings);
    }

    #[test]
    fn a_pbx_in_a_container() {
        let address = "172.18.0.5".parse().unwrap();
        let machine = FoundMachine {
            sip: vec![sip("docker-proxy", "udp", 5060, false, false)],
            contained: vec![ContainedPbx { process: "asterisk".to_owned(), addresses: vec![address] }],
            docker_user: true,
            ..FoundMachine::default()
        };
        let found = propose(&machine, None).settings;
        assert_eq!(
            (&*found.chains.join(" "), pbx(&found.pbx)),
            ("INPUT DOCKER-USER", vec!["172.18.0.5".to_owned()])
        );
        assert_eq!(Settings::of(&parse(&found.new_text().unwrap())), found);
        let without = propose(&FoundMachine { docker_user: false, ..machine }, None).settings;
        assert_eq!(without.chains, ["INPUT", "FORWARD"]);
    }

    #[test]
    fn a_second_run_changes_what_is_asked() {
        let text = "# Mine\n[inspect]\nports = [5060] # one\ndoor = \"1h\"\ntrusted = [\"10.0.0.0/8\"]\n\n[firewall]\nkeep = false\n";
        let machine =
            FoundMachine { sip: vec![sip("kamailio", "udp", 5080, true, false)], ..FoundMachine::default() };
        let found = propose(&machine, Some(&parse(text)));
        assert_eq!(found.settings.edits(&found.settings), []);
        assert!(found.notes.iter().any(|note| note.contains("5080 is not among")), "{:?}", found.notes);
        let mut wanted = found.settings.clone();
        wanted.ports.push(5080..=5082);
        wanted.names.push(TrustedName {
            name: "sip.example".to_owned(),
            addresses: vec!["192.0.2.9".parse().unwrap()],
        });
        let new = edit::apply(text, &wanted.edits(&found.settings)).unwrap();
        assert_eq!(
            new,
            "# Mine\n[inspect]\ntrusted_names = { \"sip.example\" = [\"192.0.2.9\"] }\nports = [5060, \"5080-5082\"] # one\n\
             door = \"1h\"\ntrusted = [\"10.0.0.0/8\"]\n\n[firewall]\nkeep = false\n"
        );
        assert_eq!(Settings::of(&parse(&new)), wanted);
    }

    #[test]
    fn nothing_that_listens() {
        let found = propose(&FoundMachine::default(), None);
        assert_eq!(ports_answer(&found.settings.ports), "5060");
        assert!(found.notes[0].starts_with("nothing listens"), "{:?}", found.notes);
    }
}
