//! From what is there to what should be there: the one restore script that leads from one to the other.

use std::fmt::Write as _;

use super::rules::{CHAIN, Ruleset};
use super::table::{Rule, Table};

/// Where our rules are, or shall be: our chain, and the jumps to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The rules of our chain; `None` where the chain does not exist.
    chain: Option<Vec<Rule>>,
    /// The jumps, wherever they are, each chain's in their order.
    jumps: Vec<Rule>,
}

impl Layout {
    /// No trace of us.
    pub(super) const GONE: Self = Self { chain: None, jumps: Vec::new() };

    /// The rules in their proper places.
    pub(super) fn wanted(ruleset: &Ruleset) -> Self {
        let place = |chain: &str, specs: &[String]| {
            let rule = |(spec, position): (&String, usize)| Rule {
                chain: chain.to_owned(),
                position,
                spec: spec.clone(),
                packets: 0,
                bytes: 0,
            };
            specs.iter().zip(1..).map(rule).collect::<Vec<_>>()
        };
        Self { chain: Some(place(CHAIN, ruleset.rules())), jumps: place(ruleset.parent(), ruleset.jumps()) }
    }

    /// What is there of ours.
    pub(super) fn found(table: &Table) -> Self {
        let chain = table.has_chain(CHAIN).then(|| table.rules_in(CHAIN).cloned().collect());
        Self { chain, jumps: table.jumps().cloned().collect() }
    }

    /// Whether both have as many rules in the same places.
    ///
    /// The check after a write, and so not of the text: a restore that succeeded has written what it was
    /// told, and all that can have gone wrong is that somebody else wrote between our look and our write. An
    /// iptables that prints a rule in a form of its own is for `status` to report, not a reason to write
    /// again and again.
    pub(super) fn same_places(&self, other: &Self) -> bool {
        let places =
            |jumps: &[Rule]| jumps.iter().map(|jump| (jump.chain.clone(), jump.position)).collect::<Vec<_>>();
        self.chain.as_ref().map(Vec::len) == other.chain.as_ref().map(Vec::len)
            && places(&self.jumps) == places(&other.jumps)
    }

    /// Whether both are the same rules in the same places, whatever their counters.
    pub(super) fn same_rules(&self, other: &Self) -> bool {
        let specs = |rules: &[Rule]| rules.iter().map(|rule| rule.spec.clone()).collect::<Vec<_>>();
        self.same_places(other)
            && specs(&self.jumps) == specs(&other.jumps)
            && self.chain.as_deref().map(specs) == other.chain.as_deref().map(specs)
    }

    /// The input of `iptables-restore --noflush` that makes this of `now`, as one transaction.
    ///
    /// Stale jumps are deleted by what they say and never by number: where somebody inserted a rule since
    /// `now` was read, a number would delete a rule of theirs. A jump that is no longer there fails the
    /// restore, which then changes nothing.
    pub(super) fn script(&self, now: &Self) -> String {
        let mut script = Script("*filter\n".to_owned());
        if self.chain.is_some() {
            // With --noflush this creates the chain, or empties it where it exists (iptables-restore(8)).
            script.line(format_args!(":{CHAIN} - [0:0]"));
        }
        for stale in &now.jumps {
            script.line(format_args!("-D {} {}", stale.chain, stale.spec));
        }
        for rule in self.chain.iter().flatten() {
            script.line(format_args!("-A {CHAIN}{} {}", counters(rule), rule.spec));
        }
        // In rising order, so that each position counts the jumps that were inserted before it.
        for jump in &self.jumps {
            script.line(format_args!("-I {} {}{} {}", jump.chain, jump.position, counters(jump), jump.spec));
        }
        if self.chain.is_none() && now.chain.is_some() {
            script.line(format_args!("-F {CHAIN}"));
            script.line(format_args!("-X {CHAIN}"));
        }
        script.line(format_args!("COMMIT"));
        script.0
    }
}

struct Script(String);

impl Script {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{line}");
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
    use super::super::rules::{DEFAULT_PARENT, Family, Plan};
    use super::*;
    use crate::packet::Transport;

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
        let chain_only = "*filter\n:SIPKNOCK - [0:0]\nCOMMIT\n";
        let (wanted, found) =
            (Layout::wanted(&ruleset()), |text| Layout::found(&Table::parse(text).unwrap()));
        for (name, from, to, script) in [
            ("apply on nothing", found(""), wanted.clone(), fresh.to_owned()),
            ("apply on stale rules", found(stale), wanted.clone(), {
                fresh.replacen('\n', &format!("\n{deleted}"), 1)
            }),
            ("remove", found(stale), Layout::GONE, format!("{deleted}-F SIPKNOCK\n-X SIPKNOCK\n")),
            ("remove a chain", found(chain_only), Layout::GONE, "-F SIPKNOCK\n-X SIPKNOCK\n".to_owned()),
            ("put back", found(""), found(stale), put_back.to_owned()),
        ] {
            assert_eq!(to.script(&from), format!("*filter\n{script}COMMIT\n"), "{name}");
        }
    }

    #[test]
    fn comparisons() {
        let parse = |text: &str| Layout::found(&Table::parse(text).unwrap());
        let base =
            "*filter\n:SIPKNOCK - [0:0]\n[1:1] -A INPUT -p udp -j SIPKNOCK\n[1:1] -A SIPKNOCK -j DROP\n";
        for (name, other, places, rules) in [
            ("counters", base.replace("[1:1]", "[2:2]"), true, true),
            ("text", base.replace("-p udp", "-p tcp"), true, false),
            (
                "position",
                base.replace("[1:1] -A INPUT", "[0:0] -A INPUT -j LOG\n[1:1] -A INPUT"),
                false,
                false,
            ),
            ("chain", base.replace("INPUT", "FORWARD"), false, false),
            ("a rule more", format!("{base}[0:0] -A SIPKNOCK -j DROP\n"), false, false),
            ("no chain", "*filter\n[0:0] -A INPUT -p udp -j SIPKNOCK\n".to_owned(), false, false),
        ] {
            assert_eq!(parse(base).same_places(&parse(&other)), places, "{name}");
            assert_eq!(parse(base).same_rules(&parse(&other)), rules, "{name}");
        }
    }

    fn ruleset() -> Ruleset {
        let plan = Plan {
            ports: vec![5060..=5060],
            transports: vec![Transport::Udp, Transport::Tcp],
            trusted: vec![],
            queues: 0..=0,
            bypass: false,
            replies: false,
            parent: DEFAULT_PARENT.to_owned(),
        };
        plan.ruleset(Family::V4).unwrap()
    }
}
