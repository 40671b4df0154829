//! The outcome of a change of the rules.

use serde::Serialize;

use super::note::FirewallNote;
use super::plan::Family;

/// The outcome of a change, family by family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirewallReport {
    /// IPv4, then IPv6.
    pub families: Vec<FamilyReport>,
}

/// The outcome of a change for one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyReport {
    /// Which.
    pub family: Family,
    /// In one word.
    pub change: FamilyChange,
    /// Remarks.
    pub notes: Vec<FirewallNote>,
}

/// The outcome of a change, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FamilyChange {
    /// Nothing: all was as it should be, and the counters go on.
    Unchanged,
    /// The rules were written.
    Written,
    /// The rules were taken out.
    Removed,
    /// The rules are again what they were.
    PutBack,
    /// Nothing: this machine has no such family, or it is to have no rules.
    Skipped,
}
