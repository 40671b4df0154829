//! What is there: table filter of one family, as `iptables-save -c` prints it.

use std::borrow::Cow;
use std::collections::HashMap;

use ipnet::IpNet;

use super::rules::CHAIN;

/// Table filter of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    chains: Vec<String>,
    rules: Vec<Rule>,
}

/// A rule in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The chain it is in.
    pub(super) chain: String,
    /// Its number there, counted from 1.
    pub(super) position: usize,
    /// What follows `-A CHAIN `, word for word.
    pub(super) spec: String,
    /// Packets that matched it.
    pub(super) packets: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

/// Why a listing could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Somebody put rules into table filter with nft that iptables has no words for.
    Incompatible,
    /// A line that is none of those iptables-save prints.
    Line {
        /// Its number, counted from 1.
        number: usize,
        /// What it says.
        text: String,
    },
}

impl Table {
    /// Reads a listing. No table filter in it, which is how a machine without rules looks, is an empty table.
    pub(super) fn parse(listing: &str) -> Result<Self, Unreadable> {
        let mut table = Self::default();
        let mut lengths = HashMap::new();
        let mut in_filter = false;
        for (line, number) in listing.lines().zip(1..) {
            if line.starts_with(INCOMPATIBLE) {
                return Err(Unreadable::Incompatible);
            }
            if let Some(name) = line.strip_prefix('*') {
                in_filter = name == "filter";
            }
            if !in_filter || line.is_empty() || line.starts_with(['*', '#']) || line == "COMMIT" {
                continue;
            }
            let bad = || Unreadable::Line { number, text: line.to_owned() };
            if let Some(chain) = line.strip_prefix(':') {
                table.chains.push(chain.split(' ').next().unwrap_or(chain).to_owned());
                continue;
            }
            let mut rule = Rule::parse(line).ok_or_else(bad)?;
            let length = lengths.entry(rule.chain.clone()).or_insert(0);
            *length += 1;
            rule.position = *length;
            table.rules.push(rule);
        }
        Ok(table)
    }

    /// Whether a jump to `chain` or a rule in it would be accepted. The three that the kernel makes count
    /// even where nothing is listed yet.
    pub(super) fn has_chain(&self, chain: &str) -> bool {
        BUILT_IN.contains(&chain) || self.chains.iter().any(|other| other == chain)
    }

    /// The rules of a chain, in their order.
    pub(super) fn rules_in(&self, chain: &str) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.chain == chain)
    }

    /// The rules that lead to our chain, wherever they are.
    pub(super) fn jumps(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.is_jump())
    }
}

impl Rule {
    /// Reads `[PACKETS:BYTES] -A CHAIN SPEC`; the position is for the caller to fill in.
    fn parse(line: &str) -> Option<Self> {
        let (counters, rest) = line.strip_prefix('[')?.split_once("] -A ")?;
        let (packets, bytes) = counters.split_once(':')?;
        let (chain, spec) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Self {
            chain: chain.to_owned(),
            position: 0,
            spec: spec.to_owned(),
            packets: packets.parse().ok()?,
            bytes: bytes.parse().ok()?,
        })
    }

    /// The rule as `iptables -S` prints it.
    pub(super) fn line(&self) -> String {
        format!("-A {} {}", self.chain, self.spec)
    }

    /// The spec in our spelling of addresses: how iptables writes an IPv6 address such as `::1.2.3.4` depends
    /// on the C library (glibc so, musl `::102:304`).
    pub(super) fn canonical(&self) -> Cow<'_, str> {
        let respelled = self.spec.strip_prefix("-s ").and_then(|rest| {
            let (net, rest) = rest.split_once(' ')?;
            let net: IpNet = net.parse().ok()?;
            Some(format!("-s {net} {rest}"))
        });
        respelled.map_or(Cow::Borrowed(&self.spec), Cow::Owned)
    }

    /// Whether it jumps or goes to our chain. The target is printed last, and one without options of its own
    /// ends the line; inside a comment the words are followed by a closing quote.
    fn is_jump(&self) -> bool {
        let flag = self.spec.strip_suffix(CHAIN).and_then(|rest| rest.strip_suffix(' '));
        flag.is_some_and(|rest| ["-j", "-g"].iter().any(|flag| rest == *flag || ends_in_word(rest, flag)))
    }
}

fn ends_in_word(text: &str, word: &str) -> bool {
    text.strip_suffix(word).is_some_and(|rest| rest.ends_with(' '))
}

/// The chains that table filter has from the start (iptables(8), TABLES).
const BUILT_IN: [&str; 3] = ["INPUT", "FORWARD", "OUTPUT"];

/// What the nf_tables variant prints instead of a table that it cannot show (iptables/xtables-save.c).
const INCOMPATIBLE: &str = "# Table `filter' is incompatible";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_table_filter_only() {
        let table = Table::parse(
            "# Generated by iptables-save v1.8.9 (nf_tables) on Sun Nov 22 14:00:00 2026\n\
             *nat\n:INPUT ACCEPT [0:0]\n:OTHER - [0:0]\n[1:2] -A INPUT -j SIPKNOCK\nCOMMIT\n\
             *filter\n:INPUT DROP [3:4]\n:SIPKNOCK - [0:0]\n:odd.name - [0:0]\n\
             [5:6] -A INPUT -i lo -j ACCEPT\n\
             [7:8] -A INPUT -p udp -m multiport --dports 5060 -j SIPKNOCK\n\
             [18446744073709551615:9] -A SIPKNOCK -j NFQUEUE --queue-num 0\n\
             [0:0] -A odd.name\n\
             COMMIT\n# Completed\n",
        )
        .unwrap();
        assert!(table.has_chain("SIPKNOCK") && table.has_chain("odd.name") && table.has_chain("FORWARD"));
        assert!(!table.has_chain("OTHER"));
        assert_eq!(
            table.jumps().cloned().collect::<Vec<_>>(),
            [Rule {
                chain: "INPUT".to_owned(),
                position: 2,
                spec: "-p udp -m multiport --dports 5060 -j SIPKNOCK".to_owned(),
                packets: 7,
                bytes: 8,
            }]
        );
        let own: Vec<_> = table.rules_in(CHAIN).map(|rule| (rule.position, rule.packets)).collect();
        assert_eq!(own, [(1, u64::MAX)]);
    }

    #[test]
    fn listings_without_rules_and_listings_that_are_none() {
        let line = |text: &str| Err(Unreadable::Line { number: 2, text: text.to_owned() });
        for (listing, expected) in [
            ("", Ok(())),
            ("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", Ok(())),
            ("# Table `filter' is incompatible, use 'nft' tool.\n", Err(Unreadable::Incompatible)),
            ("# Table `nat' is incompatible, use 'nft' tool.\n", Ok(())),
            ("*filter\nnonsense\n", line("nonsense")),
            ("*filter\n[1:x] -A INPUT -j DROP\n", line("[1:x] -A INPUT -j DROP")),
            ("*filter\n-A INPUT -j DROP\n", line("-A INPUT -j DROP")),
        ] {
            assert_eq!(Table::parse(listing).map(|_| ()), expected, "{listing:?}");
        }
    }

    #[test]
    fn jumps_in_any_form() {
        for (spec, jump) in [
            ("-j SIPKNOCK", true),
            ("-g SIPKNOCK", true),
            ("-p udp -m udp --dport 5060 -j SIPKNOCK", true),
            ("-p udp -g SIPKNOCK", true),
            ("-m comment --comment -j -j SIPKNOCK", true),
            ("-m comment --comment \"mine -j SIPKNOCK\" -j SIPKNOCK", true),
            ("-m comment --comment \"mine -j SIPKNOCK\"", false),
            ("-m comment --comment \"mine -j SIPKNOCK\" -j ACCEPT", false),
            ("-j SIPKNOCK2", false),
            ("-j MYSIPKNOCK", false),
            ("-j LOG --log-prefix SIPKNOCK", false),
            ("-x-j SIPKNOCK", false),
            ("SIPKNOCK", false),
            ("", false),
        ] {
            let line = format!("*filter\n[0:0] -A INPUT {spec}\nCOMMIT\n");
            assert_eq!(Table::parse(&line).unwrap().jumps().count(), usize::from(jump), "{spec}");
        }
    }

    #[test]
    fn addresses_in_one_spelling() {
        for (listed, ours) in [
            ("-s ::1.2.3.4/128 -j ACCEPT", "-s ::102:304/128 -j ACCEPT"),
            ("-s ::102:304/128 -j ACCEPT", "-s ::102:304/128 -j ACCEPT"),
            ("-s 10.0.0.0/8 -j ACCEPT", "-s 10.0.0.0/8 -j ACCEPT"),
            ("-s 10.0.0.0/255.0.255.0 -j ACCEPT", "-s 10.0.0.0/255.0.255.0 -j ACCEPT"),
            ("! -s 10.0.0.0/8 -j ACCEPT", "! -s 10.0.0.0/8 -j ACCEPT"),
            ("-j ACCEPT", "-j ACCEPT"),
        ] {
            let table = Table::parse(&format!("*filter\n[0:0] -A SIPKNOCK {listed}\nCOMMIT\n")).unwrap();
            let spelled: Vec<_> = table.rules_in(CHAIN).map(Rule::canonical).collect();
            assert_eq!(spelled, [ours]);
        }
    }
}
