//! From what is there to what should be there: the restore scripts that lead from one to the other.

use std::fmt::Write as _;

use super::listing::{Listing, Rule};
use super::names::{CHAIN, CHAIN_OUT};
use super::print::numbered;
use super::rules::{Placed, Ruleset, matched};

/// Where our rules are, or shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RulePlaces {
    pub(super) filter: Layout,
    /// The rules of table mangle that count.
    pub(super) counters: Vec<Rule>,
}

/// Our rules of table filter: our chains, and the jumps to them. Default: no trace of us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// Those of our chains that exist, with their rules.
    chains: Vec<(&'static str, Vec<Rule>)>,
    /// The jumps, wherever they are, each chain's in their order.
    jumps: Vec<Rule>,
}

impl RulePlaces {
    /// What is there of ours.
    pub(super) fn found(listing: &Listing) -> Self {
        Self { filter: Layout::found(listing), counters: listing.counters().cloned().collect() }
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether both are the same rules in the same places, whatever their counters.
    pub(super) fn same_rules(&self, other: &Self) -> bool {
        self.filter.same_rules(&other.filter) && lines(&self.counters) == lines(&other.counters)
    }

    /// The input of `iptables-restore --noflush` that makes this of `now`, as a transaction for each table.
    pub(super) fn script(&self, now: &Self) -> String {
        let mut script = String::new();
        let anew = !self.filter.same_rules(&now.filter);
        if anew {
            script.push_str(&self.filter.script(&now.filter));
        }
        // With the jumps' counters they have to be as well.
        if anew && self.counters != now.counters || lines(&self.counters) != lines(&now.counters) {
            script.push_str(&counting(&self.counters, &now.counters));
        }
        script
    }
}

impl Layout {
    /// The rules in their proper places.
    pub(super) fn wanted(ruleset: &Ruleset) -> Self {
        let rules = |chain: &str, specs: &[String]| {
            specs.iter().zip(1..).map(|(spec, position)| Rule::new(chain, position, spec)).collect()
        };
        Self {
            chains: ruleset.chains().map(|(chain, specs)| (chain, rules(chain, specs))).collect(),
            jumps: placed(ruleset.jumps()),
        }
    }

    /// What is there of ours.
    pub(super) fn found(listing: &Listing) -> Self {
        let chains = [CHAIN, CHAIN_OUT].into_iter().filter(|chain| listing.filter_has(chain));
        Self {
            chains: chains.map(|chain| (chain, listing.rules_in("filter", chain).to_vec())).collect(),
            jumps: listing.jumps().cloned().collect(),
        }
    }

    /// Whether both have as many rules in the same places.
    ///
    /// The check after a write, and so not of the text: a restore that succeeded has written what it was told, and all
    /// that can have gone wrong is that somebody else wrote between our look and our write. An iptables that prints a
    /// rule in a form of its own is for `status` to report, not a reason to write again and again.
    pub(super) fn same_places(&self, other: &Self) -> bool {
        let lengths = |layout: &Self| -> Vec<_> {
            layout.chains.iter().map(|(chain, rules)| (*chain, rules.len())).collect()
        };
        let places = |layout: &Self| {
            let mut places: Vec<_> =
                layout.jumps.iter().map(|jump| (jump.chain.clone(), jump.position)).collect();
            places.sort_unstable();
            places
        };
        lengths(self) == lengths(other) && places(self) == places(other)
    }

    /// Whether both are the same rules in the same places, whatever their counters.
    pub(super) fn same_rules(&self, other: &Self) -> bool {
        let chains = |layout: &Self| -> Vec<_> {
            layout.chains.iter().map(|(chain, rules)| (*chain, lines(rules))).collect()
        };
        self.same_places(other) && lines(&self.jumps) == lines(&other.jumps) && chains(self) == chains(other)
    }

    /// The input of `iptables-restore --noflush` that makes this of `now`, as one transaction.
    ///
    /// Stale jumps are deleted by what they say and never by number: where somebody inserted a rule since `now` was
    /// read, a number would delete a rule of theirs. A jump that is no longer there fails the restore, which then
    /// changes nothing.
    pub(super) fn script(&self, now: &Self) -> String {
        let mut script = Script("*filter\n".to_owned());
        for (chain, _) in &self.chains {
            // With --noflush this creates the chain, or empties it where it exists (iptables-restore(8)).
            script.line(format_args!(":{chain} - [0:0]"));
        }
        for stale in &now.jumps {
            script.line(format_args!("-D {} {}", stale.chain, stale.spec));
        }
        for (chain, rules) in &self.chains {
            for rule in rules {
                script.line(format_args!("-A {chain}{} {}", counters(rule), rule.spec));
            }
        }
        script.insert(&self.jumps);
        for (chain, _) in &now.chains {
            if !self.chains.iter().any(|(wanted, _)| wanted == chain) {
                script.line(format_args!("-F {chain}"));
                script.line(format_args!("-X {chain}"));
            }
        }
        script.end()
    }
}

/// The counting rules in their places, with what the jumps for the same packets have counted so far: what is more on
/// them from then on came to the machine and not to us.
pub(super) fn wanted_counters(ruleset: &Ruleset, listing: &Listing) -> Vec<Rule> {
    let mut rules = placed(ruleset.counters());
    for rule in &mut rules {
        for jump in listing.jumps().filter(|jump| jump.leads_to(CHAIN)) {
            if matched(&jump.canonical()) == matched(&rule.spec) {
                rule.packets = rule.packets.saturating_add(jump.packets);
                rule.bytes = rule.bytes.saturating_add(jump.bytes);
            }
        }
    }
    rules
}

/// The input of `iptables-restore --noflush` that makes counting rules these.
pub(super) fn counting(wanted: &[Rule], now: &[Rule]) -> String {
    let mut script = Script("*mangle\n".to_owned());
    for stale in now {
        script.line(format_args!("-D {} {}", stale.chain, stale.spec));
    }
    script.insert(wanted);
    script.end()
}

fn placed(rules: &[Placed]) -> Vec<Rule> {
    numbered(rules).map(|(rule, position)| Rule::new(&rule.chain, position, &rule.spec)).collect()
}

/// The rules without their counters, in an order of no meaning.
fn lines(rules: &[Rule]) -> Vec<(String, usize, String)> {
    let mut lines: Vec<_> =
        rules.iter().map(|rule| (rule.chain.clone(), rule.position, rule.spec.clone())).collect();
    lines.sort_unstable();
    lines
}

struct Script(String);

impl Script {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    /// In rising order, so that each position counts the rules that were inserted before it.
    fn insert(&mut self, rules: &[Rule]) {
        for rule in rules {
            self.line(format_args!("-I {} {}{} {}", rule.chain, rule.position, counters(rule), rule.spec));
        }
    }

    fn end(mut self) -> String {
        self.line(format_args!("COMMIT"));
        self.0
    }
}

/// The option that gives a rule its counters back; nothing for a new rule.
fn counters(rule: &Rule) -> String {
    match (rule.packets, rule.bytes) {
        (0, 0) => String::new(),
        (packets, bytes) => format!(" -c {packets} {bytes}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Family;
    use super::*;
    use crate::firewall::{Plan, Routes};

    #[test]
    fn scripts() {
        let fresh = ":SIPKNOCK - [0:0]\n\
                     -A SIPKNOCK -j NFQUEUE --queue-num 0\n\
                     -I INPUT 1 -p udp -m multiport --dports 5060 -j SIPKNOCK\n\
                     -I INPUT 2 -p tcp -m multiport --dports 5060 -j SIPKNOCK\n";
        let stale = "*filter\n:INPUT ACCEPT [0:0]\n:OLD - [0:0]\n:SIPKNOCK - [0:0]\n\
                     [1:2] -A INPUT -i lo -j ACCEPT\n\
                     [3:4] -A INPUT -p udp -j SIPKNOCK\n\
                     [5:6] -A OLD -m comment --comment \"by \\\"me\\\"\" -g SIPKNOCK\n\
                     [7:8] -A SIPKNOCK -j DROP\n\
                     COMMIT\n";
        let deleted = "-D INPUT -p udp -j SIPKNOCK\n\
                       -D OLD -m comment --comment \"by \\\"me\\\"\" -g SIPKNOCK\n";
        let put_back = ":SIPKNOCK - [0:0]\n\
                        -A SIPKNOCK -c 7 8 -j DROP\n\
                        -I INPUT 2 -c 3 4 -p udp -j SIPKNOCK\n\
                        -I OLD 1 -c 5 6 -m comment --comment \"by \\\"me\\\"\" -g SIPKNOCK\n";
        let chains_only = "*filter\n:SIPKNOCK - [0:0]\n:SIPKNOCK-OUT - [0:0]\nCOMMIT\n";
        let found = |text| Layout::found(&Listing::read(text).unwrap());
        let wanted = Layout::wanted(&ruleset(&Plan { outbound: false, ..Plan::default() }));
        for (name, from, to, script) in [
            ("apply on nothing", found(""), wanted.clone(), fresh.to_owned()),
            ("apply on stale rules", found(stale), wanted.clone(), {
                fresh.replacen('\n', &format!("\n{deleted}"), 1)
            }),
            ("remove", found(stale), Layout::default(), format!("{deleted}-F SIPKNOCK\n-X SIPKNOCK\n")),
            ("remove chains", found(chains_only), Layout::default(), {
                "-F SIPKNOCK\n-X SIPKNOCK\n-F SIPKNOCK-OUT\n-X SIPKNOCK-OUT\n".to_owned()
            }),
            (
                "outbound off",
                found(chains_only),
                wanted,
                format!("{fresh}-F SIPKNOCK-OUT\n-X SIPKNOCK-OUT\n"),
            ),
            ("put back", found(""), found(stale), put_back.to_owned()),
        ] {
            assert_eq!(to.script(&from), format!("*filter\n{script}COMMIT\n"), "{name}");
        }
    }

    #[test]
    fn chains_are_filled_before_anything_jumps_to_them() {
        let script = Layout::wanted(&ruleset(&Plan::default())).script(&Layout::default());
        let at = |text: &str| script.find(text).unwrap_or_else(|| panic!("{text}: {script}"));
        assert!(at("-A SIPKNOCK-OUT -j NFLOG") < at("-I OUTPUT 1 "));
        assert!(at("-A SIPKNOCK -j NFQUEUE") < at("-I INPUT 1 "));
        assert!(at("-I OUTPUT 1 -p udp") < at("-I OUTPUT 2 -p tcp"));
    }

    #[test]
    fn counters_begin_where_the_jumps_are() {
        let listing = Listing::read(
            "*filter\n[5:500] -A INPUT -p udp -m multiport --dports 5060 -j SIPKNOCK\n\
             [2:100] -A INPUT -p tcp -m multiport --dports 5060 -j SIPKNOCK\nCOMMIT\n",
        )
        .unwrap();
        assert_eq!(
            counting(&wanted_counters(&ruleset(&Plan::default()), &listing), &[]),
            "*mangle\n\
             -I INPUT 1 -c 5 500 -p udp -m multiport --dports 5060 -m comment --comment sipknock-counter\n\
             -I INPUT 2 -c 2 100 -p tcp -m multiport --dports 5060 -m comment --comment sipknock-counter\n\
             COMMIT\n"
        );
    }

    #[test]
    fn comparisons() {
        let parse = |text: &str| RulePlaces::found(&Listing::read(text).unwrap());
        let base = "*mangle\n[1:1] -A INPUT -m comment --comment sipknock-counter\n*filter\n:SIPKNOCK - [0:0]\n\
                    [1:1] -A INPUT -p udp -j SIPKNOCK\n[1:1] -A SIPKNOCK -j DROP\n";
        for (name, other, places, rules) in [
            ("counters", base.replace("[1:1]", "[2:2]"), true, true),
            ("text", base.replace("-p udp", "-p tcp"), true, false),
            ("a counting rule", base.replace("INPUT -m", "FORWARD -m"), true, false),
            (
                "position",
                base.replace("[1:1] -A INPUT -p", "[0:0] -A INPUT -j LOG\n[1:1] -A INPUT -p"),
                false,
                false,
            ),
            ("chain", base.replace("INPUT -p", "FORWARD -p"), false, false),
            ("a rule more", format!("{base}[0:0] -A SIPKNOCK -j DROP\n"), false, false),
            ("no chain", "*filter\n[0:0] -A INPUT -p udp -j SIPKNOCK\n".to_owned(), false, false),
        ] {
            assert_eq!(parse(base).filter.same_places(&parse(&other).filter), places, "{name}");
            assert_eq!(parse(base).same_rules(&parse(&other)), rules, "{name}");
        }
    }

    fn ruleset(plan: &Plan) -> Ruleset {
        plan.ruleset(Family::V4, &Routes::default()).unwrap()
    }
}
