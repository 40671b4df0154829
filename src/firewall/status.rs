//! How what is there differs from what should be there.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use super::Note;
use super::rules::{CHAIN, Family, Ruleset};
use super::table::{Rule, Table};

/// How the rules are, family by family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// IPv4, then IPv6.
    pub families: Vec<FamilyStatus>,
}

/// How the rules of one family are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyStatus {
    /// Which.
    pub family: Family,
    /// In one word.
    pub state: State,
    /// In detail, where the word is [`State::Differs`].
    pub differences: Vec<Difference>,
    /// The queues that our chain feeds.
    pub queues: Option<Queues>,
    /// Our jumps and the rules of our chain, as they are there, with what they have counted.
    pub rules: Vec<CountedRule>,
    /// What else there is to know.
    pub notes: Vec<Note>,
}

/// How the rules of one family are, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Exactly as configured, and first in the parent chain.
    InPlace,
    /// There, but otherwise.
    Differs,
    /// Neither the chain nor a jump.
    Absent,
    /// Not looked at: this machine has no such family.
    Skipped,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Difference {
    /// A rule that should be there and is not.
    Missing {
        /// The rule, as `iptables -S` prints it.
        rule: String,
    },
    /// A rule in our chain, or a jump to it, that should not be there.
    Extra {
        /// The rule, as `iptables -S` prints it.
        rule: String,
    },
    /// All rules are there, in another order.
    Order {
        /// The chain.
        chain: String,
    },
    /// Other rules stand before our jump, and decide before it.
    NotFirst {
        /// Our jump.
        rule: String,
        /// Its number in the chain, counted from 1.
        position: usize,
        /// Those other rules, in their order.
        before: Vec<String>,
    },
}

/// The queues that our chain feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Queues {
    /// The lowest number.
    pub first: u16,
    /// The highest; the same where there is one queue.
    pub last: u16,
    /// Whether packets are accepted unchecked while nobody listens.
    pub bypass: bool,
}

/// A rule with its counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CountedRule {
    /// The rule, as `iptables -S` prints it.
    pub rule: String,
    /// Its number in its chain, counted from 1.
    pub position: usize,
    /// Packets that matched it.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Status {
    /// Whether every family that this machine has is as configured.
    pub fn in_place(&self) -> bool {
        self.families.iter().all(|family| matches!(family.state, State::InPlace | State::Skipped))
    }
}

impl FamilyStatus {
    pub(super) fn skipped(family: Family, note: Note) -> Self {
        Self {
            family,
            state: State::Skipped,
            differences: vec![],
            queues: None,
            rules: vec![],
            notes: vec![note],
        }
    }

    pub(super) fn of(family: Family, table: &Table, wanted: &Ruleset) -> Self {
        let mut notes = Vec::new();
        let mut differences = differences(table, wanted);
        // Where apply had to leave the replies rule out, this is as good as it gets.
        let bare = wanted.without_replies();
        if !differences.is_empty() && bare.is_some_and(|bare| self::differences(table, &bare).is_empty()) {
            differences.clear();
            notes.push(Note::RepliesLeftOut);
        }
        let ours = || table.jumps().chain(table.rules_in(CHAIN));
        let state = if differences.is_empty() {
            State::InPlace
        } else if table.has_chain(CHAIN) || ours().next().is_some() {
            State::Differs
        } else {
            State::Absent
        };
        if state == State::Absent {
            differences.clear();
        }
        Self {
            family,
            state,
            differences,
            queues: table.rules_in(CHAIN).find_map(|rule| Queues::parse(&rule.spec)),
            rules: ours().map(CountedRule::from).collect(),
            notes,
        }
    }
}

impl Queues {
    /// Reads `-j NFQUEUE --queue-num 0`, `… --queue-balance 0:3 --queue-bypass`.
    fn parse(spec: &str) -> Option<Self> {
        let (_, options) = spec.split_once("-j NFQUEUE ")?;
        let mut words = options.split(' ');
        let (first, last) = match words.next()? {
            "--queue-num" => {
                let number = words.next()?;
                (number, number)
            }
            "--queue-balance" => words.next()?.split_once(':')?,
            _ => return None,
        };
        let bypass = words.any(|word| word == "--queue-bypass");
        Some(Self { first: first.parse().ok()?, last: last.parse().ok()?, bypass })
    }
}

impl From<&Rule> for CountedRule {
    fn from(rule: &Rule) -> Self {
        Self { rule: rule.line(), position: rule.position, packets: rule.packets, bytes: rule.bytes }
    }
}

/// One sentence each.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { rule } => write!(f, "missing: {rule}"),
            Self::Extra { rule } => write!(f, "should not be there: {rule}"),
            Self::Order { chain } => write!(f, "the rules in {chain} are in the wrong order"),
            Self::NotFirst { rule, position, before } => {
                write!(f, "not first but number {position}: {rule}")?;
                if let [first, rest @ ..] = before.as_slice() {
                    write!(f, "; before it: {first}")?;
                    if !rest.is_empty() {
                        write!(f, " and {} more", rest.len())?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// All that keeps `table` from being as `wanted`; nothing where it is.
pub(super) fn differences(table: &Table, wanted: &Ruleset) -> Vec<Difference> {
    let wanted_jumps = lines(wanted.parent(), wanted.jumps());
    let wanted_rules = lines(CHAIN, wanted.rules());
    let jumps: Vec<_> = table.jumps().map(Rule::line).collect();
    let rules: Vec<_> =
        table.rules_in(CHAIN).map(|rule| format!("-A {CHAIN} {}", rule.canonical())).collect();

    let mut differences = Vec::new();
    for (chain, wanted, found) in [(wanted.parent(), &wanted_jumps, &jumps), (CHAIN, &wanted_rules, &rules)] {
        let missing = left_over(wanted, found);
        let extra = left_over(found, wanted);
        if missing.is_empty() && extra.is_empty() && wanted != found {
            differences.push(Difference::Order { chain: chain.to_owned() });
        }
        differences.extend(missing.into_iter().map(|rule| Difference::Missing { rule }));
        differences.extend(extra.into_iter().map(|rule| Difference::Extra { rule }));
    }
    differences.extend(not_first(table, wanted.parent(), &wanted_jumps));
    differences
}

/// The first of our jumps that has rules of others before it.
fn not_first(table: &Table, parent: &str, wanted_jumps: &[String]) -> Option<Difference> {
    let mut before = Vec::new();
    for rule in table.rules_in(parent) {
        let line = rule.line();
        if !wanted_jumps.contains(&line) {
            before.push(line);
        } else if !before.is_empty() {
            return Some(Difference::NotFirst { rule: line, position: rule.position, before });
        }
    }
    None
}

fn lines(chain: &str, specs: &[String]) -> Vec<String> {
    specs.iter().map(|spec| format!("-A {chain} {spec}")).collect()
}

/// What is in `these` more often than in `those`.
fn left_over(these: &[String], those: &[String]) -> Vec<String> {
    let mut counts: HashMap<Cow<'_, str>, usize> = HashMap::new();
    for line in those {
        *counts.entry(Cow::from(line)).or_default() += 1;
    }
    let unmatched = |line: &&String| match counts.get_mut(line.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    these.iter().filter(unmatched).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::rules::{DEFAULT_PARENT, Plan};
    use super::*;
    use crate::packet::Transport;

    #[test]
    fn differences_by_name() {
        let missing = |rule: &str| Difference::Missing { rule: rule.to_owned() };
        let extra = |rule: &str| Difference::Extra { rule: rule.to_owned() };
        let order = |chain: &str| Difference::Order { chain: chain.to_owned() };
        let not_first = |rule: &str, position, before: &[&str]| Difference::NotFirst {
            rule: rule.to_owned(),
            position,
            before: before.iter().map(|&rule| rule.to_owned()).collect(),
        };
        let (lo, forward) = ("-A INPUT -i lo -j ACCEPT", "-A FORWARD -j SIPKNOCK");
        let drop = "-A SIPKNOCK -j DROP";
        for (name, rules, state, expected) in [
            ("in place", vec![UDP, TCP, TRUSTED, REPLIES, QUEUE], State::InPlace, vec![]),
            ("rules behind ours", vec![UDP, TCP, lo, TRUSTED, REPLIES, QUEUE], State::InPlace, vec![]),
            ("conntrack left out", vec![UDP, TCP, TRUSTED, QUEUE], State::InPlace, vec![]),
            ("nothing", vec![], State::Absent, vec![]),
            ("only others", vec![lo], State::Absent, vec![]),
            (
                "a stray jump",
                vec![forward],
                State::Differs,
                [UDP, TCP]
                    .map(missing)
                    .into_iter()
                    .chain([extra(forward)])
                    .chain([missing(TRUSTED), missing(REPLIES), missing(QUEUE)])
                    .collect(),
            ),
            (
                "a rule added, a rule gone",
                vec![UDP, TCP, drop, REPLIES, QUEUE],
                State::Differs,
                vec![missing(TRUSTED), extra(drop)],
            ),
            ("a jump twice", vec![UDP, TCP, UDP, TRUSTED, REPLIES, QUEUE], State::Differs, vec![extra(UDP)]),
            (
                "shuffled chain",
                vec![UDP, TCP, QUEUE, TRUSTED, REPLIES],
                State::Differs,
                vec![order("SIPKNOCK")],
            ),
            ("shuffled jumps", vec![TCP, UDP, TRUSTED, REPLIES, QUEUE], State::Differs, vec![order("INPUT")]),
            (
                "not first",
                vec![lo, UDP, TCP, TRUSTED, REPLIES, QUEUE],
                State::Differs,
                vec![not_first(UDP, 2, &[lo])],
            ),
            (
                "second jump not first",
                vec![UDP, lo, lo, TCP, TRUSTED, REPLIES, QUEUE],
                State::Differs,
                vec![not_first(TCP, 4, &[lo, lo])],
            ),
        ] {
            let rules: String = rules.iter().map(|rule| format!("[0:0] {rule}\n")).collect();
            let table = Table::parse(&format!("*filter\n{rules}COMMIT\n")).unwrap();
            let status = FamilyStatus::of(Family::V4, &table, &wanted());
            assert_eq!(status.state, state, "{name}");
            assert_eq!(status.differences, expected, "{name}");
            let noted = name == "conntrack left out";
            assert_eq!(status.notes.contains(&Note::RepliesLeftOut), noted, "{name}");
        }
    }

    #[test]
    fn a_chain_alone_is_not_absence() {
        let table = Table::parse("*filter\n:SIPKNOCK - [0:0]\nCOMMIT\n").unwrap();
        assert_eq!(FamilyStatus::of(Family::V4, &table, &wanted()).state, State::Differs);
    }

    #[test]
    fn queues() {
        let queues = |first, last, bypass| Some(Queues { first, last, bypass });
        for (spec, expected) in [
            ("-j NFQUEUE --queue-num 7", queues(7, 7, false)),
            ("-j NFQUEUE --queue-num 7 --queue-bypass", queues(7, 7, true)),
            ("-p udp -j NFQUEUE --queue-balance 0:3", queues(0, 3, false)),
            ("-j NFQUEUE --queue-balance 0:3 --queue-bypass", queues(0, 3, true)),
            ("-j NFQUEUE --queue-num x", None),
            ("-j ACCEPT", None),
        ] {
            assert_eq!(Queues::parse(spec), expected, "{spec}");
        }
    }

    #[test]
    fn sentences() {
        let (rule, before) = ("-A INPUT -j SIPKNOCK".to_owned(), vec!["-A INPUT -j LOG".to_owned(); 3]);
        let difference = Difference::NotFirst { rule, position: 4, before };
        assert_eq!(
            difference.to_string(),
            "not first but number 4: -A INPUT -j SIPKNOCK; before it: -A INPUT -j LOG and 2 more"
        );
    }

    const UDP: &str = "-A INPUT -p udp -m multiport --dports 5060 -j SIPKNOCK";
    const TCP: &str = "-A INPUT -p tcp -m multiport --dports 5060 -j SIPKNOCK";
    const TRUSTED: &str = "-A SIPKNOCK -s 192.0.2.0/24 -j ACCEPT";
    const REPLIES: &str =
        "-A SIPKNOCK -p udp -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT";
    const QUEUE: &str = "-A SIPKNOCK -j NFQUEUE --queue-num 0";

    fn wanted() -> Ruleset {
        let plan = Plan {
            ports: vec![5060..=5060],
            transports: vec![Transport::Udp, Transport::Tcp],
            trusted: vec!["192.0.2.0/24".parse().unwrap()],
            queues: 0..=0,
            bypass: false,
            replies: true,
            parent: DEFAULT_PARENT.to_owned(),
        };
        plan.ruleset(Family::V4).unwrap()
    }
}
