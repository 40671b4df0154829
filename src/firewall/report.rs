//! What a change of the rules did.

use serde::Serialize;

use super::note::FirewallNote;
use super::plan::Family;

/// What a change did, family by family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirewallReport {
    /// IPv4, then IPv6.
    pub families: Vec<FamilyReport>,
}

/// What a change did to one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyReport {
    /// Which.
    pub family: Family,
    /// In one word.
    pub change: FamilyChange,
    /// What else there is to know.
    pub notes: Vec<FirewallNote>,
}

/// What a change did, in one word.
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
