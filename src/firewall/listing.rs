//! All tables of one family, as `iptables-save` prints them.

use std::borrow::Cow;

use ipnet::IpNet;

use super::names::{CHAIN, CHAIN_OUT, COUNTER};
use super::words::words;

/// All tables of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub(super) chains: Vec<Chain>,
}

/// A chain with its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) table: String,
    pub(super) name: String,
    /// A built-in chain whose policy is DROP.
    pub(super) drops: bool,
    pub(super) rules: Vec<Rule>,
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
    /// Table filter holds rules of nft that iptables has no words for.
    Incompatible,
    /// A line that is none of those iptables-save prints.
    Line {
        /// Its number, counted from 1.
        number: usize,
        /// What it says.
        text: String,
    },
}

/// A line of a listing.
enum ListingLine<'a> {
    Table(&'a str),
    Chain {
        name: &'a str,
        drops: bool,
    },
    Rule(Rule),
    /// A table that the nf_tables variant can't print.
    Incompatible(&'a str),
    /// Comments, COMMIT, and nothing.
    Other,
    Unknown,
}

impl Listing {
    /// Reads a listing, with counters or without. Unknown lines are skipped.
    pub fn parse(text: &str) -> Self {
        let mut listing = Self::default();
        let mut table = "";
        for line in text.lines() {
            listing.add(&mut table, ListingLine::read(line));
        }
        listing
    }

    /// The same for a listing that changes are made by. No table filter in it, as on a machine without rules, is an
    /// empty table.
    pub(super) fn read(text: &str) -> Result<Self, Unreadable> {
        let mut listing = Self::default();
        let mut table = "";
        for (text, number) in text.lines().zip(1..) {
            match ListingLine::read(text) {
                ListingLine::Incompatible("filter") => return Err(Unreadable::Incompatible),
                ListingLine::Unknown if table == "filter" => {
                    return Err(Unreadable::Line { number, text: text.to_owned() });
                }
                line => listing.add(&mut table, line),
            }
        }
        Ok(listing)
    }

    fn add<'a>(&mut self, table: &mut &'a str, line: ListingLine<'a>) {
        match line {
            ListingLine::Table(name) => *table = name,
            ListingLine::Chain { name, drops } => self.chain(table, name).drops = drops,
            ListingLine::Rule(mut rule) => {
                let chain = self.chain(table, &rule.chain);
                rule.position = chain.rules.len() + 1;
                chain.rules.push(rule);
            }
            ListingLine::Incompatible(_) | ListingLine::Other | ListingLine::Unknown => {}
        }
    }

    /// Whether there is such a chain in any table.
    pub fn has_chain(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.chains.iter().any(|chain| wanted(&chain.name))
    }

    /// Whether table filter takes a jump to `chain` or a rule in it. The three that the kernel makes count even if
    /// nothing is listed.
    pub(super) fn filter_has(&self, chain: &str) -> bool {
        BUILT_IN.contains(&chain) || self.find("filter", chain).is_some()
    }

    /// The rules of a chain, in their order.
    pub(super) fn rules_in(&self, table: &str, chain: &str) -> &[Rule] {
        self.find(table, chain).map_or(&[], |chain| &chain.rules)
    }

    /// The rules of table filter that lead to a chain of ours, wherever they are.
    pub(super) fn jumps(&self) -> impl Iterator<Item = &Rule> {
        self.rules_of("filter").filter(|rule| rule.leads_to(CHAIN) || rule.leads_to(CHAIN_OUT))
    }

    /// Our rules of table mangle that count.
    pub(super) fn counters(&self) -> impl Iterator<Item = &Rule> {
        self.rules_of("mangle").filter(|rule| rule.spec.ends_with(COUNTER))
    }

    fn rules_of(&self, table: &str) -> impl Iterator<Item = &Rule> {
        self.chains.iter().filter(move |chain| chain.table == table).flat_map(|chain| &chain.rules)
    }

    /// The same, as packets of a protocol meet it that has these names: rules for it are written as if they were for UDP, and
    /// those for UDP and TCP are left out.
    pub(super) fn as_udp(&self, names: &[&str]) -> Self {
        let mut listing = self.clone();
        for chain in &mut listing.chains {
            chain.rules.retain_mut(|rule| {
                let mut words = words(&rule.spec);
                let Some(named) = words.iter().position(|word| word == "-p").map(|at| at + 1) else {
                    return true;
                };
                let Some(name) = words.get_mut(named) else { return true };
                if names.contains(&name.as_str()) {
                    "udp".clone_into(name);
                } else if name != "all" {
                    return false;
                }
                rule.spec = words.join(" ");
                true
            });
        }
        listing
    }

    pub(super) fn find(&self, table: &str, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.table == table && chain.name == name)
    }

    fn chain(&mut self, table: &str, name: &str) -> &mut Chain {
        // From the end, since the rules of a chain are listed together.
        let place = self.chains.iter().rposition(|chain| chain.table == table && chain.name == name);
        let place = place.unwrap_or_else(|| {
            let (table, name) = (table.to_owned(), name.to_owned());
            self.chains.push(Chain { table, name, ..Chain::default() });
            self.chains.len() - 1
        });
        &mut self.chains[place]
    }
}

impl<'a> ListingLine<'a> {
    fn read(line: &'a str) -> Self {
        if let Some(name) = line.strip_prefix('*') {
            return Self::Table(name);
        }
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split(' ');
            let name = words.next().unwrap_or_default();
            return Self::Chain { name, drops: words.next() == Some("DROP") };
        }
        if let Some(name) = line.strip_prefix(TABLE).and_then(|rest| rest.split_once('\'')) {
            return if name.1.starts_with(INCOMPATIBLE) { Self::Incompatible(name.0) } else { Self::Other };
        }
        if line.is_empty() || line.starts_with('#') || line == "COMMIT" {
            return Self::Other;
        }
        Rule::parse(line).map_or(Self::Unknown, Self::Rule)
    }
}

impl Rule {
    /// A rule that has counted nothing.
    pub(super) fn new(chain: &str, position: usize, spec: &str) -> Self {
        Self { chain: chain.to_owned(), position, spec: spec.to_owned(), packets: 0, bytes: 0 }
    }

    /// Reads `[PACKETS:BYTES] -A CHAIN SPEC`; the position is for the caller to fill in.
    fn parse(line: &str) -> Option<Self> {
        let (counters, rest) = match line.strip_prefix('[') {
            Some(counted) => counted.split_once("] ")?,
            None => ("0:0", line),
        };
        let (packets, bytes) = counters.split_once(':')?;
        let rest = rest.strip_prefix("-A ")?;
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

    /// The spec in our spelling of addresses: how iptables writes an IPv6 address such as `::1.2.3.4` depends on the C
    /// library (glibc so, musl `::102:304`).
    pub(super) fn canonical(&self) -> Cow<'_, str> {
        let respelled = ["-s ", "-d "].iter().find_map(|flag| {
            let (net, rest) = self.spec.strip_prefix(flag)?.split_once(' ')?;
            let net: IpNet = net.parse().ok()?;
            Some(format!("{flag}{net} {rest}"))
        });
        respelled.map_or(Cow::Borrowed(&self.spec), Cow::Owned)
    }

    /// [`Rule::line`] with [`Rule::canonical`].
    pub(super) fn canonical_line(&self) -> String {
        format!("-A {} {}", self.chain, self.canonical())
    }

    /// Whether it jumps or goes to a chain of ours. The target is printed last, and one without options of its own ends
    /// the line; inside a comment the words are followed by a closing quote.
    pub(super) fn leads_to(&self, chain: &str) -> bool {
        let flag = self.spec.strip_suffix(chain).and_then(|rest| rest.strip_suffix(' '));
        flag.is_some_and(|rest| ["-j", "-g"].iter().any(|flag| rest == *flag || ends_in_word(rest, flag)))
    }
}

fn ends_in_word(text: &str, word: &str) -> bool {
    text.strip_suffix(word).is_some_and(|rest| rest.ends_with(' '))
}

/// The chains that table filter has from the start (iptables(8), TABLES).
const BUILT_IN: [&str; 3] = ["INPUT", "FORWARD", "OUTPUT"];

/// What the nf_tables variant prints instead of a table that it cannot show (iptables/xtables-save.c).
const TABLE: &str = "# Table `";
const INCOMPATIBLE: &str = " is incompatible";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tables_apart() {
        let listing = Listing::read(
            "# Generated by iptables-save v1.8.9 (nf_tables) on Sun Nov 22 14:00:00 2026\n\
             *nat\n:INPUT ACCEPT [0:0]\n:OTHER - [0:0]\n[1:2] -A INPUT -j SIPKNOCK\nCOMMIT\n\
             *mangle\n[3:4] -A INPUT -p udp -m comment --comment sipknock-counter\n\
             [3:4] -A INPUT -p udp -m comment --comment other\nCOMMIT\n\
             *filter\n:INPUT DROP [3:4]\n:SIPKNOCK - [0:0]\n:odd.name - [0:0]\n\
             [5:6] -A INPUT -i lo -j ACCEPT\n\
             [7:8] -A INPUT -p udp -m multiport --dports 5060 -j SIPKNOCK\n\
             [9:1] -A OUTPUT -p udp -m multiport --ports 5060 -j SIPKNOCK-OUT\n\
             [18446744073709551615:9] -A SIPKNOCK -j NFQUEUE --queue-num 0\n\
             [0:0] -A odd.name\n\
             COMMIT\n# Completed\n",
        )
        .unwrap();
        assert!(["SIPKNOCK", "odd.name", "FORWARD"].iter().all(|chain| listing.filter_has(chain)));
        assert!(!listing.filter_has("OTHER") && listing.has_chain(|chain| chain == "OTHER"));
        let places = |rules: Vec<&Rule>| -> Vec<_> {
            rules.into_iter().map(|rule| (rule.chain.clone(), rule.position, rule.packets)).collect()
        };
        assert_eq!(
            places(listing.jumps().collect()),
            [("INPUT".to_owned(), 2, 7), ("OUTPUT".to_owned(), 1, 9)]
        );
        assert_eq!(places(listing.counters().collect()), [("INPUT".to_owned(), 1, 3)]);
        assert_eq!(listing.rules_in("filter", CHAIN)[0].packets, u64::MAX);
        assert!(listing.find("filter", "INPUT").unwrap().drops);
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
            ("*nat\nnonsense\n", Ok(())),
            ("*filter\n[1:x] -A INPUT -j DROP\n", line("[1:x] -A INPUT -j DROP")),
            ("*filter\n-A INPUT -j DROP\n", Ok(())),
        ] {
            assert_eq!(Listing::read(listing).map(|_| ()), expected, "{listing:?}");
            Listing::parse(listing);
        }
    }

    #[test]
    fn jumps_in_any_form() {
        for (spec, jump) in [
            ("-j SIPKNOCK", true),
            ("-g SIPKNOCK", true),
            ("-j SIPKNOCK-OUT", true),
            ("-p udp -m udp --dport 5060 -j SIPKNOCK", true),
            ("-p udp -g SIPKNOCK", true),
            ("-m comment --comment -j -j SIPKNOCK", true),
            ("-m comment --comment \"mine -j SIPKNOCK\" -j SIPKNOCK", true),
            ("-m comment --comment \"mine -j SIPKNOCK\"", false),
            ("-m comment --comment \"mine -j SIPKNOCK\" -j ACCEPT", false),
            ("-j SIPKNOCK2", false),
            ("-j SIPKNOCK-TRY", false),
            ("-j MYSIPKNOCK", false),
            ("-j LOG --log-prefix SIPKNOCK", false),
            ("-x-j SIPKNOCK", false),
            ("SIPKNOCK", false),
            ("", false),
        ] {
            let line = format!("*filter\n[0:0] -A INPUT {spec}\nCOMMIT\n");
            assert_eq!(Listing::read(&line).unwrap().jumps().count(), usize::from(jump), "{spec}");
        }
    }

    #[test]
    fn addresses_in_one_spelling() {
        for (listed, ours) in [
            ("-s ::1.2.3.4/128 -j ACCEPT", "-s ::102:304/128 -j ACCEPT"),
            ("-d ::1.2.3.4/128 -j RETURN", "-d ::102:304/128 -j RETURN"),
            ("-s ::102:304/128 -j ACCEPT", "-s ::102:304/128 -j ACCEPT"),
            ("-s 10.0.0.0/8 -j ACCEPT", "-s 10.0.0.0/8 -j ACCEPT"),
            ("-s 10.0.0.0/255.0.255.0 -j ACCEPT", "-s 10.0.0.0/255.0.255.0 -j ACCEPT"),
            ("! -s 10.0.0.0/8 -j ACCEPT", "! -s 10.0.0.0/8 -j ACCEPT"),
            ("-j ACCEPT", "-j ACCEPT"),
        ] {
            let listing = Listing::read(&format!("*filter\n[0:0] -A SIPKNOCK {listed}\nCOMMIT\n")).unwrap();
            let spelled: Vec<_> = listing.rules_in("filter", CHAIN).iter().map(Rule::canonical).collect();
            assert_eq!(spelled, [ours]);
        }
    }
}
