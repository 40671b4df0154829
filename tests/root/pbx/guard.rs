//! The gate: its configuration, its rules, its answers.

use std::cell::Cell;
use std::fmt::Write as _;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::hosts::{Family, Host};
use super::site::{Site, uri_host};
use super::software::{Pbx, Phone, WAYS, Way, instance};
use crate::common::gate::{Gate, SECRET};
use crate::common::program::patiently;
use crate::common::write_secret;

/// A running gate with its rules.
pub(crate) struct Guard {
    /// Between two gates there is none.
    gate: Option<Gate>,
    netns: String,
    config: String,
    /// The log of those that have ended.
    before: Vec<Value>,
}

/// What differs from test to test.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Lines of `[inspect]`.
    pub(crate) inspect: String,
    /// Section `[firewall]`, with its head.
    pub(crate) firewall: String,
    /// The life of a phone's door.
    pub(crate) door: &'static str,
    /// The phones whose instance is a knock.
    pub(crate) phones: Vec<u16>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            inspect: String::new(),
            firewall: String::new(),
            door: "60s",
            phones: (201..).take(WAYS.len()).collect(),
        }
    }
}

impl Settings {
    fn text(&self, site: &Site) -> String {
        let folder = site.folder().display();
        let Self { inspect, firewall, door, phones } = self;
        let mut text = format!(
            "[inspect]\ntransports = [\"udp\", \"tcp\"]\n{inspect}\n{firewall}\n\
             [control]\nsocket = \"{folder}/gate.sock\"\n[state]\nfile = \"{folder}/doors.state\"\n\
             [[knock]]\nname = \"sentinel\"\nsecret = \"{SECRET}\"\nin = \"from-display-name\"\n"
        );
        for user in phones {
            let secret = instance(*user);
            writeln!(
                text,
                "[[knock]]\nname = \"desk-{user}\"\nsecret = \"{secret}\"\nin = \"contact-instance\"\ndoor = \"{door}\""
            )
            .unwrap();
        }
        text
    }
}

impl Guard {
    /// Puts in the rules and starts the gate.
    pub(crate) fn start(site: &Site, settings: &Settings) -> Self {
        let config = site.folder().join("gate.toml").to_str().unwrap().to_owned();
        write_secret(&config, &settings.text(site));
        let netns = site.gate().netns.name().to_owned();
        let output = sipknock(&netns, &["--config", &config, "firewall", "apply"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let gate = Self::spawn(&netns, &config, &[]);
        Self { gate: Some(gate), netns, config, before: Vec::new() }
    }

    fn spawn(netns: &str, config: &str, more: &[&str]) -> Gate {
        let words = ["--config", config, "--log-format", "json", "run", "--user", "root"];
        let mut gate = Gate::spawn_command(sipknock(netns, &[&words[..], more].concat()));
        gate.wait_for("started", |_| true);
        gate
    }

    /// Ends the gate in an orderly way and starts the next one.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.gate = Some(Self::spawn(&self.netns, &self.config, &[]));
    }

    /// Ends the gate in an orderly way.
    pub(crate) fn stop(&mut self) {
        let (status, _, log) = self.gate.take().expect("it runs").stop();
        assert!(status.success(), "{log:#?}");
        self.before.extend(log);
    }

    /// Has the next gate take over from the running one.
    pub(crate) fn take_over(&mut self) {
        let next = Self::spawn(&self.netns, &self.config, &["--takeover"]);
        let old = self.gate.replace(next).expect("it runs");
        self.before.extend(old.end().2);
    }

    /// Writes another configuration and reloads it.
    pub(crate) fn reload(&self, site: &Site, settings: &Settings) {
        write_secret(&self.config, &settings.text(site));
        self.says(&["reload"]);
    }

    /// What it says, where it does what it is asked.
    pub(crate) fn says(&self, words: &[&str]) -> String {
        let output = sipknock(&self.netns, &[&["--config", &self.config], words].concat()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn objects(&self, words: &[&str]) -> Vec<Value> {
        self.says(words).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The open doors of a source; an outbound one may stand beside a knock's.
    pub(crate) fn doors(&self, source: &str) -> Vec<Value> {
        let mut doors = self.objects(&["doors", "--json"]);
        doors.retain(|door| door["source"] == source);
        doors
    }

    /// Packets that it has decided, by reason.
    pub(crate) fn decided(&self, reason: &str) -> u64 {
        let stats = self.objects(&["stats", "--json"]).remove(0);
        stats["reasons"][reason].as_u64().unwrap_or(0)
    }

    /// All packets that it has decided and those that its rules have accepted as trusted.
    fn accounted(&self) -> u64 {
        let stats = self.objects(&["stats", "--json"]).remove(0);
        let decided: u64 = stats["reasons"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        decided + self.rule_packets(|rule| rule.starts_with("-A SIPKNOCK -s "))
    }

    /// Packets that came to its chain.
    fn came(&self) -> u64 {
        self.rule_packets(|rule| rule.ends_with(" -j SIPKNOCK"))
    }

    fn rule_packets(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        let status = self.objects(&["firewall", "status", "--json"]).remove(0);
        let families = status["families"].as_array().unwrap();
        let rules = families.iter().flat_map(|family| family["rules"].as_array().unwrap());
        rules
            .filter(|rule| wanted(rule["rule"].as_str().unwrap()))
            .map(|rule| rule["packets"].as_u64().unwrap())
            .sum()
    }

    /// Waits for a moment at which no packet is under way, and returns how many packets came to the chain that this
    /// gate did not decide.
    pub(crate) fn unaccounted(&self) -> u64 {
        let quiet = patiently(|| {
            let came = self.came();
            let accounted = self.accounted();
            (self.came() == came && accounted == self.accounted()).then(|| came.checked_sub(accounted))
        });
        quiet.flatten().expect("a quiet moment, and no packet decided twice")
    }

    /// The running gate.
    pub(crate) fn gate(&self) -> &Gate {
        self.gate.as_ref().expect("it runs")
    }

    /// Kills the gate, and starts the next one when the queues are free.
    pub(crate) fn kill_and_restart(&mut self) {
        self.gate().signal(Signal::KILL);
        self.before.extend(self.gate.take().expect("it runs").end().2);
        self.gate = Some(Self::spawn(&self.netns, &self.config, &[]));
    }

    /// All events of a kind so far, of all gates.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        let before = self.before.iter().filter(|line| line["event"] == kind).cloned();
        before.chain(self.gate.iter().flat_map(|gate| gate.events(kind))).collect()
    }

    /// REGISTERs with the knock that were logged for a phone.
    pub(crate) fn knocks(&self, phone: &Phone) -> usize {
        let events = [self.events("opened"), self.events("renewed")].concat();
        let knock = format!("desk-{}", phone.user);
        let wanted = |event: &&Value| {
            event["src"] == phone.address && event["method"] == "REGISTER" && event["knock"] == knock
        };
        events.iter().filter(wanted).count()
    }
}

fn sipknock(netns: &str, words: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns, env!("CARGO_BIN_EXE_sipknock")]).args(words);
    command
}

/// The source of a phone's door.
pub(crate) fn source(phone: &Phone) -> String {
    if phone.way.family == Family::V4 {
        phone.address.clone()
    } else {
        format!("{}/64", phone.address.strip_suffix('1').unwrap())
    }
}

/// A client whose every request is a knock, to tell that what was sent before it has been decided and delivered.
pub(crate) struct Sentinel {
    host: Host,
    sent: Cell<u32>,
}

impl Sentinel {
    pub(crate) fn new(site: &Site) -> Self {
        Self { host: site.host(50), sent: Cell::new(0) }
    }

    /// Waits until a PBX has heard what is sent now, over each way, and with it all that came before.
    pub(crate) fn settle(&self, pbx: &Pbx) {
        let number = self.sent.get() + 1;
        self.sent.set(number);
        for (index, way) in WAYS.iter().enumerate() {
            let call_id = format!("settle-{number}-{index}");
            let request = options(SECRET, &self.host, *way, &call_id);
            let _connection = self.host.say(*way, &request);
            patiently(|| pbx.heard_call(&call_id).then_some(()))
                .unwrap_or_else(|| panic!("the sentinel is not heard over {way:?}: {:#?}", pbx.log()));
        }
    }
}

/// A request that a PBX answers whoever sends it.
pub(crate) fn options(display_name: &str, from: &Host, way: Way, call_id: &str) -> String {
    request("OPTIONS", "s", display_name, from, way, call_id)
}

/// A call for a phone, as the trunk makes it.
pub(crate) fn invite(from: &Host, way: Way, call_id: &str) -> String {
    request("INVITE", "line-201", "caller", from, way, call_id)
}

fn request(method: &str, user: &str, display_name: &str, from: &Host, way: Way, call_id: &str) -> String {
    let host = if way.family == Family::V4 { from.v4.clone() } else { format!("[{}]", from.v6) };
    let pbx = uri_host(way.family);
    format!(
        "{method} sip:{user}@{pbx} SIP/2.0\r\nVia: SIP/2.0/{} {host};branch=z9hG4bK{call_id};rport\r\n\
         From: \"{display_name}\" <sip:s@{host}>;tag=1\r\nTo: <sip:{user}@{pbx}>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:s@{host}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        way.transport.to_uppercase()
    )
}
