//! The way of a stranger's packet through iptables, read from what `iptables-save` prints.
//!
//! It asks what may decide the packet before our jump, and what may drop it behind the gate. Matches it does not
//! know make a rule one that *perhaps* applies, so that no unknown word passes for a certainty.

use super::listing::Listing;
use super::names::{CHAIN, CHAIN_OUT};
pub use super::words::words;
use crate::packet::Transport;

/// A stranger's packet: of a new flow, from an address that nothing is known about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Over what.
    pub transport: Transport,
    /// Bound for which port.
    pub port: u16,
    /// The last port of the range that this one stands for; the same for one that stands for itself.
    pub last: u16,
}

impl Stranger {
    /// One bound for this port.
    pub const fn one(transport: Transport, port: u16) -> Self {
        Self { transport, port, last: port }
    }

    /// Whether a rule may apply to its packet.
    pub(super) fn is_met_by(self, spec: &str) -> bool {
        PathRule::read(spec, self).fit.applies
    }
}

/// A rule on the packet's way that may decide it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// What follows `-A CHAIN `; [`POLICY`] where it is not a rule that decides.
    pub spec: String,
    /// What it does.
    pub action: Action,
    /// Whether it applies to every such packet, or to some.
    pub certain: bool,
    /// It applies to packets of flows that conntrack knows, in either direction.
    pub established: bool,
    /// It names the port.
    pub names_port: bool,
}

/// What a rule does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lets it pass this table.
    Accept,
    /// Drops or rejects it.
    Drop,
    /// Hands it to a queue.
    Queue,
    /// Hands it to our chain.
    Ours,
    /// Sends it to another port of this machine.
    Redirect(u16),
    /// Sends it to another address.
    Elsewhere(String),
    /// Keeps it from conntrack.
    Untrack,
}

impl Listing {
    /// Whether a packet of a protocol that has these names, none of ours, surely is dropped in chain INPUT on its way to a
    /// port.
    pub fn shuts_out(&self, names: &[&str], port: u16) -> bool {
        let met = self.as_udp(names).walk("filter", "INPUT", Stranger::one(Transport::Udp, port));
        let ends = |met: &Met| met.action != Action::Drop;
        !met.iter().any(ends) && met.last().is_some_and(|last| last.certain)
    }

    /// All that a stranger's packet meets in a chain and those it leads to, up to what surely decides it.
    pub fn walk(&self, table: &str, chain: &str, stranger: Stranger) -> Vec<Met> {
        let mut met = Vec::new();
        let ended = self.walk_chain(table, chain, stranger, true, 0, &mut met);
        let policy = self.find(table, chain).is_some_and(|chain| chain.drops);
        if !ended && policy {
            met.push(Met {
                table: table.to_owned(),
                chain: chain.to_owned(),
                spec: POLICY.to_owned(),
                action: Action::Drop,
                certain: true,
                established: false,
                names_port: false,
            });
        }
        met
    }

    /// Whether the packet was surely decided.
    fn walk_chain(
        &self,
        table: &str,
        name: &str,
        stranger: Stranger,
        certain: bool,
        depth: usize,
        met: &mut Vec<Met>,
    ) -> bool {
        let Some(chain) = self.find(table, name).filter(|_| depth < MAX_DEPTH) else { return false };
        for listed in &chain.rules {
            let spec = &listed.spec;
            let rule = PathRule::read(spec, stranger);
            let Fit { applies: true, certain: surely } = rule.fit else { continue };
            let certain = certain && surely;
            let action = match rule.target.as_str() {
                "RETURN" if surely => return false,
                "ACCEPT" => Action::Accept,
                target if DROPS.contains(&target) => Action::Drop,
                "NFQUEUE" | "QUEUE" => Action::Queue,
                CHAIN => Action::Ours,
                "REDIRECT" => Action::Redirect(
                    rule.to.rsplit(['-', ':']).next().and_then(|to| to.parse().ok()).unwrap_or(stranger.port),
                ),
                "DNAT" => Action::Elsewhere(rule.to),
                "NOTRACK" => Action::Untrack,
                "CT" if rule.notrack => Action::Untrack,
                other => {
                    if self.find(table, other).is_some()
                        && self.walk_chain(table, other, stranger, certain, depth + 1, met)
                    {
                        return true;
                    }
                    // A chain that is gone to does not come back.
                    if rule.goes && surely {
                        return false;
                    }
                    continue;
                }
            };
            let ends = action != Action::Untrack;
            met.push(Met {
                table: table.to_owned(),
                chain: name.to_owned(),
                spec: spec.clone(),
                action,
                certain,
                established: rule.established,
                names_port: rule.names_port,
            });
            if certain && ends {
                return true;
            }
        }
        false
    }

    /// The rules that may take packets for these strangers before the wanted jumps of `parent`, on the way from a
    /// built-in chain of table filter; `None` if no way leads to them.
    pub(super) fn ahead(
        &self,
        parent: &str,
        is_wanted: &dyn Fn(&str) -> bool,
        strangers: &[Stranger],
    ) -> Option<Ahead> {
        let hooks = if BUILT_IN.contains(&parent) { &[parent][..] } else { &BUILT_IN[..] };
        hooks.iter().find_map(|hook| {
            let mut ahead = Ahead::default();
            self.approach(hook, parent, is_wanted, strangers, 0, &mut ahead).then_some(ahead)
        })
    }

    fn approach(
        &self,
        chain: &str,
        parent: &str,
        is_wanted: &dyn Fn(&str) -> bool,
        strangers: &[Stranger],
        depth: usize,
        ahead: &mut Ahead,
    ) -> bool {
        if depth > MAX_DEPTH {
            return false;
        }
        for rule in self.rules_in("filter", chain) {
            if chain == parent && is_wanted(&rule.canonical_line()) {
                return true;
            }
            let target = target(&rule.spec);
            let leads_there =
                || target.as_deref() == Some(parent) || self.leads_to(target.as_deref(), parent, 0);
            if chain != parent && leads_there() {
                let target = target.unwrap_or_default();
                if self.approach(&target, parent, is_wanted, strangers, depth + 1, ahead) {
                    return true;
                }
            } else if self.takes(&rule.spec, strangers) {
                match chain == parent {
                    true => ahead.in_parent.push(rule.line()),
                    false => ahead.on_the_way.push(rule.line()),
                }
            } else if chain == parent && strangers.iter().any(|stranger| self.drops(&rule.spec, *stranger)) {
                ahead.dropping.push(rule.line());
            }
        }
        false
    }

    /// Whether a chain of table filter has a jump to `parent` in it, or in a chain that it jumps to.
    fn leads_to(&self, chain: Option<&str>, parent: &str, depth: usize) -> bool {
        let Some(chain) = chain.filter(|_| depth < MAX_DEPTH) else { return false };
        self.rules_in("filter", chain).iter().any(|rule| {
            let target = target(&rule.spec);
            target.as_deref() == Some(parent) || self.leads_to(target.as_deref(), parent, depth + 1)
        })
    }

    /// Whether a rule of table filter may keep one of these strangers' packets from the rules behind it in another way
    /// than by dropping it.
    fn takes(&self, spec: &str, strangers: &[Stranger]) -> bool {
        let nearby = self.ports_near(spec, strangers, 0);
        strangers.iter().chain(&nearby).any(|stranger| self.takes_one(spec, *stranger, true, 0))
    }

    /// `outermost`: the rule stands in the chain that has our jump, so that a RETURN keeps packets from it.
    fn takes_one(&self, spec: &str, stranger: Stranger, outermost: bool, depth: usize) -> bool {
        let rule = PathRule::read(spec, stranger);
        if !rule.fit.applies || depth > MAX_DEPTH {
            return false;
        }
        match rule.target.as_str() {
            "ACCEPT" | "NFQUEUE" | "QUEUE" => true,
            "RETURN" => outermost,
            CHAIN | CHAIN_OUT => false,
            // A packet does not come back from a chain that it goes to (-g), unless it is dropped there.
            chain if rule.goes => !self.drops_all(chain, stranger),
            chain => {
                for rule in self.rules_in("filter", chain) {
                    if self.takes_one(&rule.spec, stranger, false, depth + 1) {
                        return true;
                    }
                    let inner = PathRule::read(&rule.spec, stranger);
                    let ends = inner.target == "RETURN" || DROPS.contains(&inner.target.as_str());
                    if ends && inner.fit.applies && inner.fit.certain {
                        return false;
                    }
                }
                false
            }
        }
    }

    /// Whether a rule of table filter drops all of this stranger's packets.
    fn drops(&self, spec: &str, stranger: Stranger) -> bool {
        let rule = PathRule::read(spec, stranger);
        let surely = rule.fit.applies && rule.fit.certain;
        surely && (DROPS.contains(&rule.target.as_str()) || self.drops_all(&rule.target, stranger))
    }

    fn drops_all(&self, chain: &str, stranger: Stranger) -> bool {
        let met = self.walk("filter", chain, stranger);
        met.iter().all(|met| met.action == Action::Drop) && met.last().is_some_and(|met| met.certain)
    }

    /// Strangers for the ports that a rule and those behind it name, and for their neighbours, as far as these lie
    /// between the ports of two of `strangers`: what a rule says of a port inside a range shows there.
    fn ports_near(&self, spec: &str, strangers: &[Stranger], depth: usize) -> Vec<Stranger> {
        let words = words(spec);
        let lists = words.iter().zip(words.iter().skip(1));
        let lists = lists.filter(|(word, _)| ["--dport", "--dports", "--ports"].contains(&word.as_str()));
        let numbers: Vec<u16> = lists
            .flat_map(|(_, list)| list.split([',', ':']))
            .filter_map(|number| number.parse().ok())
            .collect();
        let near = |stranger: &Stranger| {
            let (transport, first, last) = (stranger.transport, stranger.port, stranger.last);
            let around = numbers
                .iter()
                .flat_map(|number| [number.saturating_sub(1), *number, number.saturating_add(1)]);
            around
                .filter(move |port| (first..=last).contains(port))
                .map(move |port| Stranger { transport, port, last: port })
                .collect::<Vec<_>>()
        };
        let mut found: Vec<_> = strangers.iter().flat_map(near).collect();
        if depth < MAX_DEPTH
            && let Some(chain) = target(spec)
        {
            for rule in self.rules_in("filter", &chain) {
                found.extend(self.ports_near(&rule.spec, strangers, depth + 1));
            }
        }
        found
    }
}

/// Rules before our jumps that may take their packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ahead {
    /// Rules of the chain that has the jumps.
    pub(super) in_parent: Vec<String>,
    /// Rules of chains that lead there.
    pub(super) on_the_way: Vec<String>,
    /// Rules of the chain that has the jumps that drop all packets for a port of theirs.
    pub(super) dropping: Vec<String>,
}

/// The target of a rule.
fn target(spec: &str) -> Option<String> {
    let words = words(spec);
    let at = words.iter().position(|word| word == "-j" || word == "-g")?;
    words.into_iter().nth(at + 1)
}

/// Whether a rule applies to the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fit {
    applies: bool,
    certain: bool,
}

/// A rule, as far as it matters.
#[derive(Debug)]
struct PathRule {
    fit: Fit,
    target: String,
    goes: bool,
    to: String,
    notrack: bool,
    established: bool,
    names_port: bool,
}

impl PathRule {
    fn read(spec: &str, stranger: Stranger) -> Self {
        let mut rule = Self {
            fit: Fit { applies: true, certain: true },
            target: String::new(),
            goes: false,
            to: String::new(),
            notrack: false,
            established: false,
            names_port: false,
        };
        let mut words = words(spec).into_iter().peekable();
        let mut negated = false;
        while let Some(word) = words.next() {
            // The value of an option that takes one; most of those that are not known do.
            let mut value = || words.next().unwrap_or_default();
            let holds = match word.as_str() {
                "!" => {
                    negated = true;
                    continue;
                }
                "-m" | "--comment" | "--reject-with" | "--log-prefix" | "--log-level" => {
                    value();
                    continue;
                }
                "-p" => {
                    let named = value();
                    Some(named == stranger.transport.name() || named == "all")
                }
                "--dport" | "--dports" | "--ports" => {
                    let named = holds_port(&value(), stranger.port);
                    rule.names_port |= named && !negated;
                    Some(named)
                }
                // From outside, which loopback is not; from which interface else is not known.
                "-i" => match value().as_str() {
                    "lo" => Some(false),
                    _ if negated => Some(false),
                    _ => None,
                },
                "-s" => match value().as_str() {
                    "127.0.0.0/8" | "127.0.0.1/32" | "::1/128" => Some(false),
                    _ if negated => Some(false),
                    _ => None,
                },
                "--dst-type" => match value().as_str() {
                    "LOCAL" => Some(true),
                    _ => Some(false),
                },
                "--ctstate" | "--state" => {
                    let states = value();
                    let has = |wanted: &str| states.split(',').any(|state| state == wanted);
                    match (has("NEW") || has("UNTRACKED") && !has("INVALID"), has("ESTABLISHED"), negated) {
                        (true, _, _) => Some(true),
                        (false, true, false) => {
                            rule.established = true;
                            None
                        }
                        _ => Some(false),
                    }
                }
                // What a stranger or phone sends goes in the direction in which the flow began.
                "--ctdir" => Some(value() == "ORIGINAL"),
                "-j" | "-g" => {
                    rule.goes = word == "-g";
                    rule.target = value();
                    continue;
                }
                "--to-ports" | "--to-destination" => {
                    rule.to = value();
                    continue;
                }
                "--notrack" => {
                    rule.notrack = true;
                    continue;
                }
                option if option.starts_with('-') && rule.target.is_empty() => {
                    // Its value is next, unless it has none.
                    None
                }
                _ => continue,
            };
            match holds.map(|holds| holds != negated) {
                Some(false) => rule.fit.applies = false,
                Some(true) => {}
                None => rule.fit.certain = false,
            }
            negated = false;
        }
        rule
    }
}

/// Whether `5060`, `5060:5070` or `5060,5070:5080` has a port in it.
fn holds_port(list: &str, port: u16) -> bool {
    list.split(',').any(|item| {
        let (first, last) = item.split_once(':').unwrap_or((item, item));
        let number = |text: &str, empty| if text.is_empty() { Ok(empty) } else { text.parse::<u16>() };
        number(first, 0).is_ok_and(|first| first <= port)
            && number(last, u16::MAX).is_ok_and(|last| port <= last)
    })
}

/// Stands for the policy of a built-in chain.
pub const POLICY: &str = "policy DROP";

/// Targets that end a packet.
const DROPS: [&str; 3] = ["DROP", "REJECT", "TARPIT"];

/// Where packets enter table filter.
const BUILT_IN: [&str; 3] = ["FORWARD", "INPUT", "OUTPUT"];

/// The kernel refuses loops; this is for listings that are none.
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: Stranger = Stranger::one(Transport::Udp, 5060);

    #[test]
    fn rules_that_apply_surely_perhaps_or_never() {
        for (spec, applies, certain) in [
            ("-j ACCEPT", true, true),
            ("-p udp -j ACCEPT", true, true),
            ("-p tcp -j ACCEPT", false, true),
            ("! -p tcp -j ACCEPT", true, true),
            ("-p udp -m udp --dport 5060 -j ACCEPT", true, true),
            ("-p udp -m udp --dport 5000:5100 -j ACCEPT", true, true),
            ("-p udp -m udp --dport 5061 -j ACCEPT", false, true),
            ("-p udp -m udp ! --dport 5061 -j ACCEPT", true, true),
            ("-p udp -m multiport --dports 22,5060:5070 -j ACCEPT", true, true),
            ("-i lo -j ACCEPT", false, true),
            ("! -i lo -j ACCEPT", true, true),
            ("-i eth0 -j ACCEPT", true, false),
            ("-s 192.0.2.0/24 -j ACCEPT", true, false),
            ("-s 127.0.0.0/8 -j ACCEPT", false, true),
            ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", true, false),
            ("-m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j ACCEPT", false, false),
            ("-m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT", true, true),
            ("-m conntrack --ctstate INVALID -j DROP", false, true),
            ("-m limit --limit 3/sec -j ACCEPT", true, false),
            ("-m comment --comment \"-p tcp -j DROP\" -j ACCEPT", true, true),
        ] {
            let rule = PathRule::read(spec, UDP);
            assert_eq!(rule.fit.applies, applies, "{spec}");
            if applies {
                assert_eq!(rule.fit.certain, certain, "{spec}");
            }
            assert!(["ACCEPT", "DROP"].contains(&rule.target.as_str()), "{spec}");
        }
    }

    #[test]
    fn ways() {
        let walk = |rules: &str| -> Vec<(Action, bool)> {
            let met = Listing::parse(rules).walk("filter", "INPUT", UDP);
            met.into_iter().map(|met| (met.action, met.certain)).collect()
        };
        let lines = |rules: &[&str]| format!("*filter\n:INPUT DROP [0:0]\n{}\nCOMMIT\n", rules.join("\n"));
        for (name, rules, met) in [
            ("nothing", vec![], vec![(Action::Drop, true)]),
            ("ours first", vec!["[1:2] -A INPUT -p udp -j SIPKNOCK"], vec![(Action::Ours, true)]),
            (
                "by way of a chain",
                vec![
                    "-A INPUT -j A",
                    "-A INPUT -j SIPKNOCK",
                    "-A A -p tcp -j DROP",
                    "-A A -j B",
                    "-A B -j ACCEPT",
                ],
                vec![(Action::Accept, true)],
            ),
            (
                "back from a chain",
                vec!["-A INPUT -j A", "-A INPUT -j SIPKNOCK", "-A A -j RETURN", "-A A -j ACCEPT"],
                vec![(Action::Ours, true)],
            ),
            (
                "perhaps in a chain",
                vec!["-A INPUT -i eth0 -j A", "-A INPUT -j SIPKNOCK", "-A A -j ACCEPT"],
                vec![(Action::Accept, false), (Action::Ours, true)],
            ),
            (
                "gone to a chain",
                vec!["-A INPUT -g A", "-A INPUT -j SIPKNOCK", "-A A -j LOG"],
                vec![(Action::Drop, true)],
            ),
        ] {
            assert_eq!(walk(&lines(&rules)), met, "{name}");
        }
    }

    #[test]
    fn redirections() {
        let nat = "*nat\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
                   -A DOCKER ! -i br-1 -p udp -m udp --dport 5060 -j DNAT --to-destination 172.17.0.2:5060\nCOMMIT\n";
        let met = Listing::parse(nat).walk("nat", "PREROUTING", UDP);
        assert_eq!(met[0].action, Action::Elsewhere("172.17.0.2:5060".to_owned()));
        assert!(met[0].names_port && met[0].certain);
        let nat = "*nat\n-A PREROUTING -p udp -m udp --dport 5060 -j REDIRECT --to-ports 5160\nCOMMIT\n";
        assert_eq!(Listing::parse(nat).walk("nat", "PREROUTING", UDP)[0].action, Action::Redirect(5160));
    }

    #[test]
    fn quoted_words() {
        assert_eq!(
            words("-m x --comment \"a \\\"b\\\" c\" -j Y"),
            ["-m", "x", "--comment", "a \"b\" c", "-j", "Y"]
        );
        assert_eq!(words("--a \"\""), ["--a", ""]);
    }
}
