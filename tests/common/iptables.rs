//! The firewall module and, beside it, the real iptables, in a network namespace of their own.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sipknock::firewall::{Family, FamilyChange, FamilyState, Firewall, FirewallError, Plan, Programs};

use super::netns::Netns;

/// A variant of iptables, under the names that Debian gives it.
#[derive(Clone, Copy)]
pub(crate) struct Variant {
    /// The IPv4 program.
    pub(crate) v4: &'static str,
    /// The IPv6 program.
    pub(crate) v6: &'static str,
}

/// What a case gets: a namespace, and the module set up for a variant.
pub(crate) struct World {
    /// Which programs it uses.
    pub(crate) variant: Variant,
    /// Where it is.
    pub(crate) netns: Netns,
    /// The module, to be run with [`Netns::run`].
    pub(crate) firewall: Firewall,
}

impl Variant {
    /// Why this variant cannot be tried here.
    pub(crate) fn missing(self) -> Option<String> {
        if let Some(reason) = Netns::missing() {
            return Some(reason);
        }
        let netns = Netns::new("probe");
        for program in [self.v4, self.v6] {
            let listing = netns.command(program).args(["-w", "-S"]).output().unwrap();
            if !listing.status.success() {
                let said = String::from_utf8_lossy(&listing.stderr);
                return Some(format!("needs {program}: {}", said.trim()));
            }
        }
        None
    }
}

impl World {
    pub(crate) fn new(variant: Variant) -> Self {
        let programs = Programs { v4: variant.v4.to_owned(), v6: variant.v6.to_owned() };
        Self { variant, netns: Netns::new("firewall"), firewall: Firewall::new(programs) }
    }

    /// The module with other programs.
    pub(crate) fn firewall_with(&self, edit: impl FnOnce(&mut Programs)) -> Firewall {
        let mut programs = self.firewall.programs().clone();
        edit(&mut programs);
        Firewall::new(programs)
    }

    /// Programs that list like the real ones, and run `restore` where they should write. Returns their name.
    pub(crate) fn stand_in(&self, directory: &Path, real: &str, restore: &str) -> String {
        let stem = directory.join("stand-in").to_str().unwrap().to_owned();
        let save = format!("exec {real}-save \"$@\"");
        for (suffix, body) in [("save", save.as_str()), ("restore", restore)] {
            let path = format!("{stem}-{suffix}");
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        stem
    }

    pub(crate) fn try_apply(&self, plan: &Plan) -> Result<Vec<FamilyChange>, FirewallError> {
        let report = self.netns.run(|| self.firewall.apply(plan))?;
        Ok(report.families.iter().map(|family| family.change).collect())
    }

    pub(crate) fn apply(&self, plan: &Plan) -> Vec<FamilyChange> {
        self.try_apply(plan).unwrap()
    }

    pub(crate) fn remove(&self) -> Vec<FamilyChange> {
        let report = self.netns.run(|| self.firewall.remove()).unwrap();
        report.families.iter().map(|family| family.change).collect()
    }

    pub(crate) fn states(&self, plan: &Plan) -> Vec<FamilyState> {
        let status = self.netns.run(|| self.firewall.status(plan)).unwrap();
        status.families.iter().map(|family| family.state).collect()
    }

    /// What the IPv4 rule with `word` in it has counted.
    pub(crate) fn packets(&self, plan: &Plan, word: &str) -> u64 {
        let status = self.netns.run(|| self.firewall.status(plan)).unwrap();
        let rule = status.families[0].rules.iter().find(|rule| rule.rule.contains(word));
        rule.unwrap().packets
    }

    /// `iptables -S` without the chains: an opinion other than the module's own.
    pub(crate) fn rules(&self, family: Family) -> Vec<String> {
        self.rules_of(family, "filter")
    }

    /// The same of another table.
    pub(crate) fn rules_of(&self, family: Family, table: &str) -> Vec<String> {
        let output =
            self.netns.command(self.program(family)).args(["-w", "-t", table, "-S"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.starts_with("-A")).map(str::to_owned).collect()
    }

    /// What iptables-save prints of both families, without comments and counters.
    pub(crate) fn saved(&self) -> String {
        self.save(&[]).lines().map(|line| format!("{}\n", line.split(" [").next().unwrap_or(line))).collect()
    }

    /// The rules with their counters.
    pub(crate) fn counters(&self) -> String {
        self.save(&["-c"])
            .lines()
            .filter(|line| line.starts_with('['))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    fn save(&self, args: &[&str]) -> String {
        let mut text = String::new();
        for family in Family::ALL {
            let program = format!("{}-save", self.program(family));
            let output = self.netns.command(&program).args(args).output().unwrap();
            assert!(output.status.success());
            text.push_str(&String::from_utf8(output.stdout).unwrap());
        }
        text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
    }

    pub(crate) fn load_foreign_rules(&self) {
        self.load(Family::V4, FOREIGN);
    }

    pub(crate) fn load(&self, family: Family, script: &str) {
        self.load_with(&format!("{}-restore", self.program(family)), script);
    }

    /// The same with a program of another variant.
    pub(crate) fn load_with(&self, program: &str, script: &str) {
        let mut command = self.netns.command(program);
        feed(command.args(["--noflush", "-w", "60"]), script);
    }

    /// The module with the programs of the other variant.
    pub(crate) fn other_firewall(&self) -> Firewall {
        let other = VARIANTS.into_iter().find(|variant| variant.v4 != self.variant.v4).unwrap();
        Firewall::new(Programs { v4: other.v4.to_owned(), v6: other.v6.to_owned() })
    }

    pub(crate) fn program(&self, family: Family) -> &'static str {
        match family {
            Family::V4 => self.variant.v4,
            Family::V6 => self.variant.v6,
        }
    }
}

fn feed(command: &mut Command, input: &str) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{input}");
}

pub(crate) const VARIANTS: [Variant; 2] = [
    Variant { v4: "iptables-nft", v6: "ip6tables-nft" },
    Variant { v4: "iptables-legacy", v6: "ip6tables-legacy" },
];

/// Rules such as a firewall script or fail2ban would have put in, some of them with words of ours, and an accounting's,
/// so that table mangle is there already.
pub(crate) const FOREIGN: &str = "*filter
:INPUT DROP [0:0]
:f2b-sshd - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p udp -m udp --dport 5060 -m comment --comment \"before -j SIPKNOCK\" -j ACCEPT
-A FORWARD -s 192.0.2.0/24 -j DROP
-A f2b-sshd -s 198.51.100.7/32 -j REJECT --reject-with icmp-port-unreachable
-A f2b-sshd -j RETURN
COMMIT
*mangle
-A INPUT -p udp -m multiport --dports 5060 -m comment --comment accounting
COMMIT
*nat
-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE
COMMIT
";

pub(crate) const FOREIGN_V6: &str = "*filter
-A INPUT -i lo -j ACCEPT
-A INPUT -p udp -m udp --dport 5060 -j DROP
COMMIT
*mangle
-A INPUT -p udp -m multiport --dports 5060 -m comment --comment accounting
COMMIT
";
