//! The iptables rules that hand the SIP ports to the queue: put in, taken out, compared.
//!
//! Table filter of each family has a chain `SIPKNOCK`, for packets to the PBX, and `SIPKNOCK-OUT`, which copies those that
//! it sends; jumps at the top of INPUT, OUTPUT and of the configured chains lead there. Rules without a target in table
//! mangle count the packets that arrive for the same ports. Each change of a table is one `iptables-restore`, which the
//! kernel carries out as a whole or not at all; rules of others are neither touched nor reordered.
//!
//! [`Plan`] says what shall be, [`Ruleset`] is what follows for a family, [`Firewall`] makes it so and compares. `listing`
//! reads `iptables-save`, [`path`] walks it as a packet does, `change` writes the scripts.
//!
//! ```no_run
//! use sipknock::firewall::{Firewall, Plan, Programs};
//!
//! let plan = Plan {
//!     ports: vec![5060..=5060, 5061..=5063],
//!     trusted: vec!["10.10.1.0/24".parse()?],
//!     queues: 0..=3,
//!     ..Plan::default()
//! };
//! let firewall = Firewall::new(Programs::default());
//! let report = firewall.apply(&plan)?;
//! assert!(firewall.status(&plan)?.in_place());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod change;
mod confirm;
mod difference;
mod listing;
mod machine;
mod names;
mod note;
pub mod notify;
pub mod path;
mod plan;
mod print;
mod programs;
mod report;
mod routes;
mod rules;
mod status;
#[cfg(test)]
mod tests;
mod variants;
mod wish;
mod words;

use self::apply::note_surroundings;
pub use self::confirm::{ConfirmError, Confirmation, PendingConfirmation, confirm, has_terminal};
pub use self::difference::Difference;
pub use self::listing::Listing;
pub use self::machine::{Before, Firewall};
pub use self::names::{CHAIN, CHAIN_OUT};
pub use self::note::FirewallNote;
pub use self::plan::{DEFAULT_PARENT, Family, Pbx, Plan, PlanError};
pub(crate) use self::plan::{is_chain_name, is_interface_name};
use self::programs::Tool;
pub use self::programs::{FirewallError, Hold, Ipv4State, Programs};
pub use self::report::{FamilyChange, FamilyReport, FirewallReport};
pub use self::routes::Routes;
pub use self::rules::{Placed, Ruleset, outbound_group};
pub use self::status::{Counted, CountedRule, FamilyState, FamilyStatus, Queues, Status};
pub use self::wish::{RulesWish, Wish};

impl Firewall {
    /// Makes the rules exactly as planned, and changes nothing if they are. Rules of ours that the other variant of
    /// iptables has are taken out afterwards.
    ///
    /// # Errors
    /// The change of a family is carried out as a whole or not at all. If IPv6 fails, IPv4 is put back, and
    /// [`FirewallError::Ipv6`] says so.
    pub fn apply(&self, plan: &Plan) -> Result<FirewallReport, FirewallError> {
        self.apply_within(&Hold::wait(), plan).map(|(report, _)| report)
    }

    /// The same for who holds the rules already, and what was there before, for [`Firewall::put_back`].
    ///
    /// # Errors
    /// As [`Firewall::apply`].
    pub fn apply_within(&self, _hold: &Hold, plan: &Plan) -> Result<(FirewallReport, Before), FirewallError> {
        let routes = Routes::look();
        let (v4, v6) = (plan.ruleset(Family::V4, &routes)?, plan.ruleset(Family::V6, &routes)?);
        let (ipv4, before_v4) = self.apply_family(&v4)?;
        let (ipv6, before_v6) = match self.apply_family(&v6) {
            Ok(done) => done,
            Err(error) => {
                let state = match (ipv4.change, before_v4) {
                    (FamilyChange::Written | FamilyChange::Removed, Some(before)) => self.take_back(&before),
                    _ => Ipv4State::Untouched,
                };
                return Err(FirewallError::Ipv6 { error: Box::new(error), ipv4: state });
            }
        };
        let mut families = vec![ipv4, ipv6];
        let mut before: Vec<_> = [before_v4, before_v6].into_iter().flatten().collect();
        for (report, wanted) in families.iter_mut().zip([&v4, &v6]) {
            let Some(before) = before.iter_mut().find(|before| before.family == report.family) else {
                continue;
            };
            // The rules are in: failing to look once more is no reason to take them out.
            let tool = self.programs.tool(report.family);
            let Ok(text) = tool.list() else { continue };
            before.other = self.clear_other(&text, report);
            if let Ok(listing) = tool.parse(&text)
                && !wanted.is_empty()
            {
                note_surroundings(&listing, report, plan, wanted, &routes);
            }
        }
        Ok((FirewallReport { families }, Before(before)))
    }

    /// Takes out our chains and every jump to them, wherever they are, and our counting rules, from the tables of both
    /// variants of iptables. Needs no plan; nothing there is fine.
    ///
    /// On a machine without any rules before, empty tables filter and mangle stay, with their built-in chains: iptables
    /// makes these at the first rule. Removing a built-in chain would drop the packets that wait in every queue.
    ///
    /// # Errors
    /// Where a family could not be cleared. The other one is, as far as it can be.
    pub fn remove(&self) -> Result<FirewallReport, FirewallError> {
        let _hold = Hold::wait();
        let families = Family::ALL.map(|family| self.remove_family(family));
        Ok(FirewallReport { families: families.into_iter().collect::<Result<_, _>>()? })
    }

    /// Makes our rules what they were, wherever they were, with what they had counted.
    ///
    /// # Errors
    /// Where a family could not be put back. The other one is, as far as it can be.
    pub fn put_back(&self, before: &Before) -> Result<FirewallReport, FirewallError> {
        let _hold = Hold::wait();
        let reached: Vec<_> = before.0.iter().map(|before| self.put_back_family(before)).collect();
        Ok(FirewallReport { families: reached.into_iter().collect::<Result<_, _>>()? })
    }

    /// Compares the rules with the plan, and counts.
    ///
    /// # Errors
    /// Where they could not be read.
    pub fn status(&self, plan: &Plan) -> Result<Status, FirewallError> {
        let routes = Routes::look();
        let families = Family::ALL.map(|family| self.status_of(plan, family, &routes));
        Ok(Status { families: families.into_iter().collect::<Result<_, _>>()? })
    }

    /// All tables of a family, as its `iptables-save -c` prints them.
    ///
    /// # Errors
    /// Where they could not be read.
    pub fn listing(&self, family: Family) -> Result<String, FirewallError> {
        self.programs.tool(family).list()
    }

    /// The processes that the programs of this thread were, since the last call: their changes are our own.
    pub fn own_processes(&self) -> Vec<u32> {
        programs::started()
    }

    /// Whether iptables and the kernel know what a rule asks for. Changes nothing.
    ///
    /// # Errors
    /// Where they don't; the error has their words.
    pub fn try_rule(&self, family: Family, spec: &str) -> Result<(), FirewallError> {
        let script = format!("*filter\n:{CHAIN}-TRY - [0:0]\n-A {CHAIN}-TRY {spec}\nCOMMIT\n");
        self.programs.tool(family).test(&script)
    }

    fn status_of(&self, plan: &Plan, family: Family, routes: &Routes) -> Result<FamilyStatus, FirewallError> {
        let wanted = plan.ruleset(family, routes)?;
        if wanted.is_empty() {
            return Ok(FamilyStatus::skipped(family, wanted.notes().to_vec()));
        }
        let (tool, text) = match self.look(family)? {
            Ok(found) => found,
            Err(note) => return Ok(FamilyStatus::skipped(family, vec![note])),
        };
        let listing = tool.parse(&text)?;
        let wanted = tool.fitting(&listing, wanted)?;
        let mut around = status::in_the_way(&listing, &wanted);
        around.extend(status::outside(&listing, &wanted, plan, routes));
        if let Some((program, _)) = self.other_places(family, &text) {
            around.push(Difference::OtherVariant { program });
        }
        let mut found = FamilyStatus::of(&listing, &wanted, around);
        if let Some(counted) = found.counted.filter(|counted| counted.taken_before > 0) {
            found.counted = Some(counted.later(&tool.read_filter()?));
        }
        Ok(found)
    }

    /// A family's programs and its tables as they list them, or the reason why there are none.
    fn look(&self, family: Family) -> Result<Result<(Tool<'_>, String), FirewallNote>, FirewallError> {
        let tool = self.programs.tool(family);
        if family == Family::V6 && !programs::kernel_has_ipv6() {
            return Ok(Err(FirewallNote::NoIpv6));
        }
        match tool.list() {
            Ok(text) => Ok(Ok((tool, text))),
            Err(FirewallError::NotInstalled { program }) if family == Family::V6 => {
                Ok(Err(FirewallNote::NoProgram { program }))
            }
            Err(error) => Err(error),
        }
    }
}
