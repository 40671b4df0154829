//! The rules of this machine, and what they were before a change.

use super::change::RulePlaces;
use super::plan::Family;
use super::programs::Programs;

/// The rules of this machine, or rather of the calling thread's network namespace.
#[derive(Clone, Debug, Default)]
pub struct Firewall {
    pub(super) programs: Programs,
    pub(super) moves: bool,
}

/// Our rules as they were at one moment.
#[derive(Clone, Debug)]
pub struct Before(pub(super) Vec<BeforeFamily>);

#[derive(Clone, Debug)]
pub(super) struct BeforeFamily {
    pub(super) family: Family,
    pub(super) places: RulePlaces,
    /// The program of the other variant, and what it had.
    pub(super) other: Option<(String, RulePlaces)>,
}

impl Firewall {
    /// The rules as these programs show them. Default: [`Programs::default`].
    pub const fn new(programs: Programs) -> Self {
        Self { programs, moves: false }
    }

    /// With `moves` an apply may take our jumps out of chains that the plan does not name; otherwise it refuses
    /// ([`FirewallError::WouldMove`](crate::firewall::FirewallError::WouldMove)).
    #[must_use]
    pub fn moving(self, moves: bool) -> Self {
        Self { moves, ..self }
    }

    /// The programs given.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }
}
