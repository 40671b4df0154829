//! Whether the rules of a family do their work, judged from what is there. Pure.

use crate::doctor::path::{Action, Listing, Stranger};
use crate::firewall::{CHAIN, Difference, FamilyStatus, Plan, State};

/// How the rules of a family are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All that comes to the ports goes through them.
    InPlace,
    /// Not one of them is there.
    Absent,
    /// Some are missing, or changed.
    Changed {
        /// The first difference, and how many more, as a sentence.
        detail: String,
    },
    /// They are there, and another rule that can accept SIP comes first.
    Behind {
        /// That rule.
        rule: String,
    },
    /// This machine has no such family.
    Skipped,
}

/// Judges a family. `tolerated` are differences that were there when the watch began and that take no packet past the
/// gate. `tables` are all tables of the family; they are asked for only if rules of others come first.
///
/// # Errors
/// Those of `tables`.
pub fn judge<E>(
    plan: &Plan,
    family: &FamilyStatus,
    tolerated: &[Difference],
    tables: impl FnOnce() -> Result<Listing, E>,
) -> Result<Condition, E> {
    match family.state {
        State::Skipped => return Ok(Condition::Skipped),
        State::InPlace => return Ok(Condition::InPlace),
        State::Absent => return Ok(Condition::Absent),
        State::Differs => {}
    }
    let (first, others): (Vec<_>, Vec<_>) = named(&family.differences)
        .into_iter()
        .filter(|difference| !tolerated.contains(difference))
        .partition(|difference| matches!(difference, Difference::NotFirst { .. }));
    if let Some(difference) = others.first() {
        let more = others.len() - 1;
        let detail = if more == 0 { difference.to_string() } else { format!("{difference}; {more} more") };
        return Ok(Condition::Changed { detail });
    }
    if first.is_empty() {
        return Ok(Condition::InPlace);
    }
    let rule = accepts_before(plan, &tables()?);
    Ok(rule.map_or(Condition::InPlace, |rule| Condition::Behind { rule }))
}

/// Differences that take no packet past the gate: of networks that are accepted in the kernel, which the gate accepts as
/// well, or would not.
pub fn tolerable(differences: &[Difference]) -> Vec<Difference> {
    let of_network = |difference: &&Difference| match difference {
        Difference::Missing { rule } | Difference::Extra { rule } => is_of_network(rule),
        Difference::Order { .. } | Difference::NotFirst { .. } => false,
    };
    differences.iter().filter(of_network).cloned().collect()
}

/// Whether rules of ours are there that the plan does not have, beside those of networks.
pub fn has_others(differences: &[Difference]) -> bool {
    differences
        .iter()
        .any(|difference| matches!(difference, Difference::Extra { rule } if !is_of_network(rule)))
}

/// `-A SIPKNOCK -s NET -j ACCEPT` and `-A SIPKNOCK-OUT -d NET -j RETURN`.
fn is_of_network(rule: &str) -> bool {
    let words: Vec<_> = rule.split(' ').collect();
    matches!(words.as_slice(), ["-A", chain, "-s" | "-d", _, "-j", "ACCEPT" | "RETURN"] if chain.starts_with(CHAIN))
}

/// The differences without those that are none but for a comment: a firewall of another's may want one in each rule that
/// it loads for us.
fn named(differences: &[Difference]) -> Vec<Difference> {
    let mut missing: Vec<_> = differences
        .iter()
        .filter_map(|difference| match difference {
            Difference::Missing { rule } => Some(rule.clone()),
            _ => None,
        })
        .collect();
    let mut commented = Vec::new();
    for difference in differences {
        if let Difference::Extra { rule } = difference
            && let Some(bare) = without_comment(rule)
            && let Some(place) = missing.iter().position(|missing| *missing == bare)
        {
            missing.swap_remove(place);
            commented.extend([Difference::Missing { rule: bare }, difference.clone()]);
        }
    }
    let mut rest = differences.to_vec();
    for done in commented {
        if let Some(place) = rest.iter().position(|difference| *difference == done) {
            rest.remove(place);
        }
    }
    rest
}

/// A rule without its comment; `None` if it has none.
fn without_comment(rule: &str) -> Option<String> {
    const OPTION: &str = " -m comment --comment ";
    let (before, comment) = rule.split_once(OPTION)?;
    let end = match comment.strip_prefix('"') {
        // Quotes within are escaped.
        Some(quoted) => {
            let mut escaped = false;
            let end = quoted.find(|letter| {
                let ends = letter == '"' && !escaped;
                escaped = letter == '\\' && !escaped;
                ends
            })?;
            end + 2
        }
        None => comment.find(' ').unwrap_or(comment.len()),
    };
    Some(format!("{before}{}", comment.get(end..)?))
}

/// A rule of others that can accept a stranger's SIP before ours see it.
fn accepts_before(plan: &Plan, tables: &Listing) -> Option<String> {
    let strangers = plan.transports.iter().flat_map(|&transport| {
        plan.ports.iter().map(move |ports| Stranger { transport, port: *ports.start() })
    });
    let mut met = strangers.flat_map(|stranger| {
        let way = chains(plan).into_iter().flat_map(|chain| tables.walk("filter", chain, stranger));
        way.take_while(|met| met.action != Action::Ours).collect::<Vec<_>>()
    });
    met.find(|met| met.action == Action::Accept).map(|met| format!("-A {} {}", met.chain, met.spec))
}

/// The chains that jump to ours.
pub fn chains(plan: &Plan) -> Vec<&str> {
    vec![plan.parent.as_str()]
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::firewall::Family;
    use crate::packet::Transport;

    fn plan() -> Plan {
        Plan {
            ports: vec![5060..=5060],
            transports: vec![Transport::Udp, Transport::Tcp],
            trusted: vec![],
            queues: 0..=0,
            bypass: false,
            replies: false,
            parent: "INPUT".to_owned(),
        }
    }

    const UDP: &str = "-A INPUT -p udp -m multiport --dports 5060 -j SIPKNOCK";
    const TCP: &str = "-A INPUT -p tcp -m multiport --dports 5060 -j SIPKNOCK";

    fn status(differences: Vec<Difference>) -> FamilyStatus {
        let state = if differences.is_empty() { State::InPlace } else { State::Differs };
        let (queues, rules, notes) = (None, vec![], vec![]);
        FamilyStatus { family: Family::V4, state, differences, queues, rules, notes }
    }

    fn judged(differences: Vec<Difference>, tolerated: &[Difference], rules: &[&str]) -> Condition {
        let text = format!("*filter\n:INPUT ACCEPT [0:0]\n{}\nCOMMIT\n", rules.join("\n"));
        let tables = || Ok::<_, Infallible>(Listing::parse(&text));
        judge(&plan(), &status(differences), tolerated, tables).unwrap()
    }

    #[test]
    fn rules_of_others_that_come_first() {
        let not_first = || {
            vec![Difference::NotFirst {
                rule: UDP.to_owned(),
                position: 2,
                before: vec!["-A INPUT".to_owned()],
            }]
        };
        for (name, before, accepts) in [
            ("an ACCEPT of the port", "-A INPUT -p udp -m udp --dport 5060 -j ACCEPT", true),
            ("an ACCEPT of all", "-A INPUT -j ACCEPT", true),
            ("an ACCEPT of some", "-A INPUT -s 192.0.2.0/24 -j ACCEPT", true),
            ("an ACCEPT of TCP alone", "-A INPUT -p tcp -m tcp --dport 5060:5070 -j ACCEPT", true),
            (
                "an ACCEPT of known flows",
                "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                true,
            ),
            ("an ACCEPT of another port", "-A INPUT -p udp -m udp --dport 53 -j ACCEPT", false),
            ("an ACCEPT of loopback", "-A INPUT -i lo -j ACCEPT", false),
            ("a DROP", "-A INPUT -s 192.0.2.0/24 -j DROP", false),
            (
                "a jail of SIP",
                "-A INPUT -p udp -m multiport --dports 5060 -j f2b-asterisk\n-A f2b-asterisk -s 192.0.2.9/32 -j REJECT\n\
                 -A f2b-asterisk -j RETURN",
                false,
            ),
            (
                "a jail of SSH",
                "-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd\n-A f2b-sshd -j RETURN",
                false,
            ),
            ("a chain that accepts", "-A INPUT -j mine\n-A mine -p udp -j ACCEPT", true),
        ] {
            let condition = judged(not_first(), &[], &[before, UDP, TCP]);
            assert_eq!(matches!(condition, Condition::Behind { .. }), accepts, "{name}: {condition:?}");
            assert!(accepts || condition == Condition::InPlace, "{name}: {condition:?}");
        }
    }

    #[test]
    fn differences_that_count() {
        let missing = |rule: &str| Difference::Missing { rule: rule.to_owned() };
        let extra = |rule: &str| Difference::Extra { rule: rule.to_owned() };
        let trusted = "-A SIPKNOCK -s 192.0.2.0/24 -j ACCEPT";
        let commented = "-A INPUT -p udp -m multiport --dports 5060 -m comment --comment \"not \\\"fail2ban\\\"\" -j SIPKNOCK";
        let changed = |detail: &str| Condition::Changed { detail: detail.to_owned() };
        for (name, differences, tolerated, expected) in [
            ("none", vec![], vec![], Condition::InPlace),
            ("a jump is gone", vec![missing(UDP)], vec![], changed(&format!("missing: {UDP}"))),
            (
                "two are",
                vec![missing(UDP), missing(TCP)],
                vec![],
                changed(&format!("missing: {UDP}; 1 more")),
            ),
            (
                "a network more",
                vec![extra(trusted)],
                vec![],
                changed(&format!("should not be there: {trusted}")),
            ),
            ("one that was there before", vec![extra(trusted)], vec![extra(trusted)], Condition::InPlace),
            ("a comment", vec![missing(UDP), extra(commented)], vec![], Condition::InPlace),
        ] {
            assert_eq!(judged(differences, &tolerated, &[UDP, TCP]), expected, "{name}");
        }
        let all =
            [missing(UDP), extra(trusted), extra("-A SIPKNOCK -j ACCEPT"), missing("-A SIPKNOCK -j NFQUEUE")];
        assert_eq!(tolerable(&all), [extra(trusted)]);
        assert!(has_others(&all) && !has_others(&all[..2]));
    }

    #[test]
    fn comments() {
        for (rule, bare) in [
            ("-A INPUT -m comment --comment fail2ban -j SIPKNOCK", Some("-A INPUT -j SIPKNOCK")),
            ("-A INPUT -m comment --comment \"a b\" -j SIPKNOCK", Some("-A INPUT -j SIPKNOCK")),
            ("-A INPUT -j SIPKNOCK -m comment --comment x", Some("-A INPUT -j SIPKNOCK")),
            ("-A INPUT -m comment --comment \"a", None),
            ("-A INPUT -j SIPKNOCK", None),
        ] {
            assert_eq!(without_comment(rule).as_deref(), bare, "{rule}");
        }
    }
}
