//! The way of a stranger's packet through iptables, read from what `iptables-save` prints.
//!
//! It asks what may decide the packet before our jump, and what may drop it behind the gate. Matches it does not
//! know make a rule one that *perhaps* applies, so that no unknown word passes for a certainty.

use crate::packet::Transport;

/// All tables of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    chains: Vec<Chain>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    table: String,
    name: String,
    /// The built-in chain drops what comes to its end.
    drops: bool,
    rules: Vec<String>,
}

/// A stranger's packet: of a new flow, from an address that nothing is known about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Over what.
    pub transport: Transport,
    /// Bound for which port.
    pub port: u16,
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
    /// Reads what `iptables-save` prints, with counters or without. What is no rule is passed over.
    pub fn parse(text: &str) -> Self {
        let mut listing = Self::default();
        let mut table = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name;
            } else if let Some(chain) = line.strip_prefix(':') {
                let mut words = chain.split(' ');
                let name = words.next().unwrap_or_default();
                let drops = words.next() == Some("DROP");
                listing.chain(table, name).drops = drops;
            } else {
                let rule =
                    line.split_once("] ").filter(|_| line.starts_with('[')).map_or(line, |(_, rule)| rule);
                let Some(rule) = rule.strip_prefix("-A ") else { continue };
                let (chain, spec) = rule.split_once(' ').unwrap_or((rule, ""));
                listing.chain(table, chain).rules.push(spec.to_owned());
            }
        }
        listing
    }

    /// Whether there is such a chain in any table.
    pub fn has_chain(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.chains.iter().any(|chain| wanted(&chain.name))
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
        for spec in &chain.rules {
            let rule = Rule::read(spec, stranger);
            let Fit { applies: true, certain: surely } = rule.fit else { continue };
            let certain = certain && surely;
            let action = match rule.target.as_str() {
                "RETURN" if surely => return false,
                "ACCEPT" => Action::Accept,
                "DROP" | "REJECT" | "TARPIT" => Action::Drop,
                "NFQUEUE" | "QUEUE" => Action::Queue,
                crate::firewall::CHAIN => Action::Ours,
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

    fn find(&self, table: &str, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.table == table && chain.name == name)
    }

    fn chain(&mut self, table: &str, name: &str) -> &mut Chain {
        let place = self.chains.iter().position(|chain| chain.table == table && chain.name == name);
        let place = place.unwrap_or_else(|| {
            let (table, name) = (table.to_owned(), name.to_owned());
            self.chains.push(Chain { table, name, drops: false, rules: Vec::new() });
            self.chains.len() - 1
        });
        &mut self.chains[place]
    }
}

/// Whether a rule applies to the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fit {
    applies: bool,
    certain: bool,
}

/// A rule, as far as it matters.
#[derive(Debug)]
struct Rule {
    fit: Fit,
    target: String,
    goes: bool,
    to: String,
    notrack: bool,
    established: bool,
    names_port: bool,
}

impl Rule {
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

/// The words of a line, where quotes hold several together, as `xs_print` writes them (iptables/xshared.c).
pub(super) fn words(spec: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut escaped, mut some) = (String::new(), false, false, false);
    for letter in spec.chars() {
        match letter {
            _ if escaped => {
                word.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => {
                quoted = !quoted;
                some = true;
            }
            ' ' if !quoted => {
                if some || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                some = false;
            }
            _ => word.push(letter),
        }
    }
    if some || !word.is_empty() {
        words.push(word);
    }
    words
}

/// Stands for the policy of a built-in chain.
pub const POLICY: &str = "policy DROP";

/// The kernel refuses loops; this is for listings that are none.
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: Stranger = Stranger { transport: Transport::Udp, port: 5060 };

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
            let rule = Rule::read(spec, UDP);
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
