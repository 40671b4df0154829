//! One thing about the rules that is not as it should be.

use std::fmt;

use serde::Serialize;

use super::names::CHAIN;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Difference {
    /// A rule that should be there and is not.
    Missing {
        /// The rule, as `iptables -S` prints it.
        rule: String,
    },
    /// A rule in a chain of ours, or a jump to it, that should not be there.
    Extra {
        /// The rule, as `iptables -S` prints it.
        rule: String,
    },
    /// All rules are there, in another order.
    Order {
        /// The chain.
        chain: String,
    },
    /// Rules before our jump can take packets that it is for.
    NotFirst {
        /// Our jump.
        rule: String,
        /// Its number in the chain, counted from 1.
        position: usize,
        /// Those other rules, in their order.
        before: Vec<String>,
    },
    /// Rules before our jump drop all packets for a port that it is for, so that no phone can knock.
    DroppedBefore {
        /// Our jump.
        rule: String,
        /// Its number in the chain, counted from 1.
        position: usize,
        /// Those other rules, in their order.
        by: Vec<String>,
    },
    /// Rules on the way to the chain that has our jumps can take packets that they are for.
    Bypassed {
        /// The chain that has our jumps.
        chain: String,
        /// Those rules.
        by: Vec<String>,
    },
    /// No packet comes to the chain that has our jumps.
    Unreached {
        /// The chain.
        chain: String,
    },
    /// Packets for an inspected port are sent to an address that is not in `pbx`, or to a port that is not inspected.
    Outside {
        /// The rule of table nat.
        rule: String,
        /// Their new destination.
        to: String,
    },
    /// The other variant of iptables has rules of ours, too.
    OtherVariant {
        /// Its program.
        program: String,
    },
}

impl Difference {
    /// Whether strangers may get by the gate because of it.
    pub fn lets_by(&self) -> bool {
        match self {
            Self::Missing { rule } => rule.ends_with(&format!("-j {CHAIN}")) || rule.contains("-j NFQUEUE "),
            Self::Extra { rule } => {
                let inside = rule.starts_with(&format!("-A {CHAIN} "));
                inside && !["-j DROP", "-j REJECT", "-j NFQUEUE"].iter().any(|end| rule.contains(end))
            }
            Self::Order { chain } => chain == CHAIN,
            Self::NotFirst { .. } | Self::Bypassed { .. } | Self::Unreached { .. } | Self::Outside { .. } => {
                true
            }
            Self::DroppedBefore { .. } | Self::OtherVariant { .. } => false,
        }
    }

    /// Whether an apply mends it. The rest is in rules of others.
    pub const fn is_mendable(&self) -> bool {
        !matches!(self, Self::Bypassed { .. } | Self::Unreached { .. } | Self::Outside { .. })
    }
}

/// One sentence each.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, rules: &[String]| {
            if let [first, rest @ ..] = rules {
                write!(f, ": {first}")?;
                if !rest.is_empty() {
                    write!(f, " and {} more", rest.len())?;
                }
            }
            Ok(())
        };
        match self {
            Self::Missing { rule } => write!(f, "missing: {rule}"),
            Self::Extra { rule } => write!(f, "should not be there: {rule}"),
            Self::Order { chain } => write!(f, "the rules in {chain} are in the wrong order"),
            Self::NotFirst { rule, position, before } => {
                write!(f, "number {position} and not first: {rule}; SIP can be taken before it")?;
                list(f, before)
            }
            Self::DroppedBefore { rule, position, by } => {
                write!(f, "number {position} and not first: {rule}; SIP is dropped before it")?;
                list(f, by)
            }
            Self::Bypassed { chain, by } => {
                write!(f, "SIP can be taken on the way to {chain}")?;
                list(f, by)
            }
            Self::Unreached { chain } => {
                write!(f, "no packet comes to {chain}: no rule of FORWARD or INPUT leads there")
            }
            Self::Outside { rule, to } => write!(
                f,
                "packets for an inspected port go to {to}, which is not among `pbx` and `ports`, and so by the gate: \
                 -t nat {rule}"
            ),
            Self::OtherVariant { program } => write!(f, "{program} has rules of ours as well"),
        }
    }
}
