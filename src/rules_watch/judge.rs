//! Whether the rules of a family do their work, judged from how they differ from the plan. Pure.

use crate::firewall::{CHAIN, Difference, FamilyState, FamilyStatus};

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
    /// They are there, and other rules can take SIP past them.
    Behind {
        /// How, as a sentence.
        detail: String,
        /// Whether an apply ends that.
        mendable: bool,
    },
    /// This machine has no such family, or it is to have no rules.
    Skipped,
}

/// Judges a family. `tolerated` are differences that were there when the watch began and that take no packet past the
/// gate.
pub fn judge(family: &FamilyStatus, tolerated: &[Difference]) -> Condition {
    match family.state {
        FamilyState::Skipped => return Condition::Skipped,
        FamilyState::InPlace => return Condition::InPlace,
        FamilyState::Absent => return Condition::Absent,
        FamilyState::Differs => {}
    }
    let counts = |difference: &Difference| !tolerated.contains(difference) && !is_aside(difference);
    let (changed, behind): (Vec<_>, Vec<_>) =
        named(&family.differences).into_iter().filter(counts).partition(|difference| {
            matches!(
                difference,
                Difference::Missing { .. } | Difference::Extra { .. } | Difference::Order { .. }
            )
        });
    if let Some(difference) = changed.first() {
        return Condition::Changed { detail: first_of(difference, changed.len()) };
    }
    match behind.first() {
        None => Condition::InPlace,
        Some(difference) => Condition::Behind {
            detail: first_of(difference, behind.len()),
            mendable: behind.iter().any(Difference::is_mendable),
        },
    }
}

/// Differences that take no packet past the gate: of networks that are accepted in the kernel, which the gate accepts as
/// well, or would not.
pub fn tolerable(differences: &[Difference]) -> Vec<Difference> {
    let of_network = |difference: &&Difference| match difference {
        Difference::Missing { rule } | Difference::Extra { rule } => is_of_network(rule),
        _ => false,
    };
    differences.iter().filter(of_network).cloned().collect()
}

/// Whether rules of ours are there that the plan does not have, beside those of networks.
pub fn has_others(differences: &[Difference]) -> bool {
    differences.iter().any(
        |difference| matches!(difference, Difference::Extra { rule } if !is_of_network(rule) && !is_counter(rule)),
    )
}

fn first_of(difference: &Difference, all: usize) -> String {
    if all == 1 { difference.to_string() } else { format!("{difference}; {} more", all - 1) }
}

/// `-A SIPKNOCK -s NET -j ACCEPT` and `-A SIPKNOCK-OUT -d NET -j RETURN`.
fn is_of_network(rule: &str) -> bool {
    let words: Vec<_> = rule.split(' ').collect();
    matches!(words.as_slice(), ["-A", chain, "-s" | "-d", _, "-j", "ACCEPT" | "RETURN"] if chain.starts_with(CHAIN))
}

/// Whether it is of no matter to packets: a rule that only counts, or what the other variant of iptables still has.
fn is_aside(difference: &Difference) -> bool {
    match difference {
        Difference::Missing { rule } | Difference::Extra { rule } => is_counter(rule),
        Difference::OtherVariant { .. } => true,
        _ => false,
    }
}

fn is_counter(rule: &str) -> bool {
    rule.starts_with("-t mangle ")
}

/// The differences without those that are none but for a comment: a firewall of another's may want one in each rule that
/// it loads for us.
fn named(differences: &[Difference]) -> Vec<Difference> {
    let mut rest = differences.to_vec();
    for difference in differences {
        if let Difference::Extra { rule } = difference
            && let Some(bare) = without_comment(rule)
            && let Some(missing) =
                rest.iter().position(|other| *other == Difference::Missing { rule: bare.clone() })
        {
            rest.remove(missing);
            if let Some(extra) = rest.iter().position(|other| other == difference) {
                rest.remove(extra);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::Family;

    const UDP: &str = "-A INPUT -p udp -m multiport --dports 5060 -j SIPKNOCK";
    const TCP: &str = "-A INPUT -p tcp -m multiport --dports 5060 -j SIPKNOCK";

    fn judged(differences: Vec<Difference>, tolerated: &[Difference]) -> Condition {
        let state = if differences.is_empty() { FamilyState::InPlace } else { FamilyState::Differs };
        judge(&FamilyStatus { differences, ..FamilyStatus::new(Family::V4, state) }, tolerated)
    }

    #[test]
    fn states_of_a_family() {
        for (state, condition) in [
            (FamilyState::InPlace, Condition::InPlace),
            (FamilyState::Absent, Condition::Absent),
            (FamilyState::Skipped, Condition::Skipped),
        ] {
            assert_eq!(judge(&FamilyStatus::new(Family::V4, state), &[]), condition);
        }
    }

    #[test]
    fn differences_that_count() {
        let missing = |rule: &str| Difference::Missing { rule: rule.to_owned() };
        let extra = |rule: &str| Difference::Extra { rule: rule.to_owned() };
        let trusted = "-A SIPKNOCK -s 192.0.2.0/24 -j ACCEPT";
        let commented = "-A INPUT -p udp -m multiport --dports 5060 -m comment --comment \"not \\\"fail2ban\\\"\" -j SIPKNOCK";
        let counter = "-t mangle -A INPUT -p udp -m multiport --dports 5060";
        let changed = |detail: &str| Condition::Changed { detail: detail.to_owned() };
        let before = Difference::NotFirst { rule: UDP.to_owned(), position: 2, before: vec![TCP.to_owned()] };
        let outside = Difference::Outside { rule: "a rule".to_owned(), to: "192.0.2.9".to_owned() };
        let behind = |difference: &Difference, mendable| Condition::Behind {
            detail: difference.to_string(),
            mendable,
        };
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
            (
                "a comment, twice",
                vec![missing(UDP), extra(commented), extra(commented)],
                vec![],
                changed(&format!("should not be there: {commented}")),
            ),
            ("a counter is gone", vec![missing(counter)], vec![], Condition::InPlace),
            ("another's rule is first", vec![before.clone()], vec![], behind(&before, true)),
            ("packets go elsewhere", vec![outside.clone()], vec![], behind(&outside, false)),
            ("both", vec![before, missing(TCP)], vec![], changed(&format!("missing: {TCP}"))),
        ] {
            assert_eq!(judged(differences, &tolerated), expected, "{name}");
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
