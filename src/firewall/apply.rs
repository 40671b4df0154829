//! Changing the rules: look, write, look again. iptables can't tie a write to what was read before it, so a change that
//! somebody else made in between shows only afterwards.

use super::change::{Layout, RulePlaces, counting, wanted_counters};
use super::difference::Difference;
use super::listing::Listing;
use super::machine::{BeforeFamily, Firewall};
use super::names::CHAIN;
use super::note::FirewallNote;
use super::plan::{Family, Plan};
use super::programs::{ATTEMPTS, FirewallError, Ipv4State, Tool};
use super::report::{FamilyChange, FamilyReport};
use super::routes::Routes;
use super::rules::{Feature, Ruleset};
use super::status;

impl Firewall {
    /// Makes a family's rules as wanted, and returns those that were there; `None` if the family has no programs.
    pub(super) fn apply_family(
        &self,
        wanted: &Ruleset,
    ) -> Result<(FamilyReport, Option<BeforeFamily>), FirewallError> {
        let family = wanted.family();
        let skipped =
            |notes: Vec<FirewallNote>| (FamilyReport { family, change: FamilyChange::Skipped, notes }, None);
        let notes = || wanted.notes().to_vec();
        let (tool, text) = match self.look(family) {
            Ok(Ok(found)) => found,
            Ok(Err(note)) => return Ok(skipped(if wanted.is_empty() { notes() } else { vec![note] })),
            Err(FirewallError::NotInstalled { .. }) if wanted.is_empty() => return Ok(skipped(notes())),
            Err(error) => return Err(error),
        };
        let listing = tool.parse(&text)?;
        let before = RulePlaces::found(&listing);
        let report = if wanted.is_empty() {
            let report = tool.reach(&RulePlaces::default(), FamilyChange::Removed)?;
            let change =
                if report.change == FamilyChange::Unchanged { FamilyChange::Skipped } else { report.change };
            FamilyReport { change, notes: notes(), ..report }
        } else {
            tool.apply(wanted, listing, self.moves)?
        };
        Ok((report, Some(BeforeFamily { family, places: before, other: None })))
    }

    pub(super) fn remove_family(&self, family: Family) -> Result<FamilyReport, FirewallError> {
        let (tool, text) = match self.look(family)? {
            Ok(found) => found,
            Err(note) => {
                return Ok(FamilyReport { family, change: FamilyChange::Skipped, notes: vec![note] });
            }
        };
        let mut report = tool.reach(&RulePlaces::default(), FamilyChange::Removed)?;
        self.clear_other(&text, &mut report);
        if report.change == FamilyChange::Written {
            report.change = FamilyChange::Removed;
        }
        Ok(report)
    }

    pub(super) fn put_back_family(&self, before: &BeforeFamily) -> Result<FamilyReport, FirewallError> {
        let report = self.programs.tool(before.family).reach(&before.places, FamilyChange::PutBack)?;
        if let Some((program, places)) = &before.other {
            Tool { family: before.family, name: program }.reach(places, FamilyChange::PutBack)?;
        }
        Ok(report)
    }

    pub(super) fn take_back(&self, before: &BeforeFamily) -> Ipv4State {
        match self.programs.tool(before.family).reach(&before.places, FamilyChange::Written) {
            Ok(_) => Ipv4State::PutBack,
            Err(error) => Ipv4State::Left(Box::new(error)),
        }
    }

    /// Removes our rules from the other variant's tables, notes it in the report, and returns them.
    /// `text` is the listing of the variant in use.
    pub(super) fn clear_other(&self, text: &str, report: &mut FamilyReport) -> Option<(String, RulePlaces)> {
        let family = report.family;
        let (program, places) = self.other_places(family, text)?;
        let cleared = Tool { family, name: &program }.reach(&RulePlaces::default(), FamilyChange::Removed);
        report.notes.push(match cleared {
            Ok(_) => FirewallNote::OtherRemoved { program: program.clone() },
            Err(error) => FirewallNote::OtherLeft { program: program.clone(), error: error.to_string() },
        });
        if matches!(report.change, FamilyChange::Unchanged | FamilyChange::Skipped) {
            report.change = FamilyChange::Written;
        }
        Some((program, places))
    }

    /// Our rules in the other variant's tables, if any. A program that fails counts as one without.
    pub(super) fn other_places(&self, family: Family, listing: &str) -> Option<(String, RulePlaces)> {
        let program = self.programs.other(family, listing)?;
        let places = RulePlaces::found(&Tool { family, name: &program }.read().ok()?);
        (!places.is_empty()).then_some((program, places))
    }
}

/// Adds the differences to a report that an apply can't mend.
pub(super) fn note_surroundings(
    listing: &Listing,
    report: &mut FamilyReport,
    plan: &Plan,
    wanted: &Ruleset,
    routes: &Routes,
) {
    let mut around = status::in_the_way(listing, wanted);
    around.extend(status::outside(listing, wanted, plan, routes));
    let amiss = around.into_iter().filter(|difference| !difference.is_mendable());
    report.notes.extend(amiss.map(FirewallNote::Amiss));
}

impl Tool<'_> {
    /// `listing` is a first look.
    fn apply(self, wanted: &Ruleset, listing: Listing, moves: bool) -> Result<FamilyReport, FirewallError> {
        let mut looked = Some(listing);
        let mut change = FamilyChange::Unchanged;
        let mut fitted: Option<(Ruleset, FirewallError)> = None;
        for _ in 0..ATTEMPTS {
            let listing = match looked.take() {
                Some(listing) => listing,
                None => self.read()?,
            };
            self.check_parents(&listing, wanted, moves)?;
            let fit = match &fitted {
                Some((fit, _)) => fit.clone(),
                None => self.fitting(&listing, wanted.clone())?,
            };
            let way = status::in_the_way(&listing, &fit).iter().any(Difference::is_mendable);
            let mut counted = listing;
            if way || !status::filter_differences(&counted, &fit).is_empty() {
                let now = Layout::found(&counted);
                let target = Layout::wanted(&fit);
                match self.restore(&target.script(&now)) {
                    Ok(()) => {
                        change = FamilyChange::Written;
                        counted = self.read()?;
                        if !target.same_places(&Layout::found(&counted)) {
                            continue;
                        }
                    }
                    Err(error @ FirewallError::Rejected { .. }) => {
                        if now.same_rules(&Layout::found(&self.read()?)) {
                            // The first error is the one to tell: it is about the rules as they were asked for.
                            if let Some((_, first)) = fitted {
                                return Err(first);
                            }
                            let lesser = self.without_missing(wanted)?;
                            if lesser == *wanted {
                                return Err(error);
                            }
                            fitted = Some((lesser, error));
                        }
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            let (wrote, fit) = self.count(&counted, fit, change == FamilyChange::Written)?;
            if wrote {
                change = FamilyChange::Written;
            }
            return Ok(FamilyReport { family: self.family, change, notes: fit.notes().to_vec() });
        }
        Err(FirewallError::Unsettled { family: self.family })
    }

    /// Whether all chains are there that shall jump to ours, and none that does would lose that unasked.
    fn check_parents(self, listing: &Listing, wanted: &Ruleset, moves: bool) -> Result<(), FirewallError> {
        let wanted_in = wanted.parents();
        if let Some(parent) = wanted_in.iter().find(|parent| !listing.filter_has(parent)) {
            return Err(FirewallError::ParentMissing {
                program: self.name.to_owned(),
                family: self.family,
                chain: (*parent).to_owned(),
            });
        }
        let mut from: Vec<String> = Vec::new();
        for jump in listing.jumps().filter(|jump| jump.leads_to(CHAIN)) {
            if !wanted_in.contains(&jump.chain.as_str()) && !from.contains(&jump.chain) {
                from.push(jump.chain.clone());
            }
        }
        if from.is_empty() || moves {
            return Ok(());
        }
        let mut to: Vec<String> = Vec::new();
        for jump in wanted.jumps().iter().filter(|jump| !jump.is_outbound()) {
            if !to.contains(&jump.chain) {
                to.push(jump.chain.clone());
            }
        }
        Err(FirewallError::WouldMove { family: self.family, from, to })
    }

    /// Makes the counting rules as wanted. They are no reason to fail: what keeps them out is noted.
    fn count(self, listing: &Listing, wanted: Ruleset, anew: bool) -> Result<(bool, Ruleset), FirewallError> {
        let now: Vec<_> = listing.counters().cloned().collect();
        let same = status::differences(listing, &wanted).iter().all(|difference| match difference {
            Difference::Missing { rule } | Difference::Extra { rule } => !rule.starts_with("-t mangle "),
            _ => true,
        });
        // With the jumps' counters at 0, theirs have to be as well.
        if same && (!anew || now.is_empty()) {
            return Ok((false, wanted));
        }
        match self.restore(&counting(&wanted_counters(&wanted, listing), &now)) {
            Ok(()) => Ok((true, wanted)),
            Err(FirewallError::Rejected { .. }) => Ok((false, wanted.without(Feature::Counter))),
            Err(error) => Err(error),
        }
    }

    /// The rules as far as they can be had. A feature that nothing is seen of may be one that an apply had to leave out.
    pub(super) fn fitting(self, listing: &Listing, wanted: Ruleset) -> Result<Ruleset, FirewallError> {
        let unused = wanted.features().into_iter().filter(|(feature, _)| !feature.is_used(listing));
        let bare = unused.fold(wanted.clone(), |bare, (feature, _)| bare.without(feature));
        if bare == wanted || !status::differences(listing, &bare).is_empty() {
            return Ok(wanted);
        }
        self.without_missing(&wanted)
    }

    /// The rules without what this kernel or this iptables does not have.
    fn without_missing(self, wanted: &Ruleset) -> Result<Ruleset, FirewallError> {
        let mut lesser = wanted.clone();
        for (feature, rule) in wanted.features() {
            if !self.knows(feature.table(), &rule)? {
                lesser = lesser.without(feature);
            }
        }
        Ok(lesser)
    }

    /// Has the kernel take a rule and give it back in one transaction, which leaves no trace. Only the kernel itself says
    /// what it knows: `iptables-restore --test` of the nf_tables variant does not ask it.
    fn knows(self, table: &str, rule: &str) -> Result<bool, FirewallError> {
        let chain = format!("{CHAIN}-TRY");
        let script =
            format!("*{table}\n:{chain} - [0:0]\n-A {chain} {rule}\n-F {chain}\n-X {chain}\nCOMMIT\n");
        match self.restore(&script) {
            Ok(()) => Ok(true),
            Err(FirewallError::Rejected { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// As [`Tool::apply`], for places that have nothing to give up.
    pub(super) fn reach(
        self,
        target: &RulePlaces,
        changed: FamilyChange,
    ) -> Result<FamilyReport, FirewallError> {
        let done = |change| Ok(FamilyReport { family: self.family, change, notes: Vec::new() });
        let mut change = FamilyChange::Unchanged;
        let mut now = RulePlaces::found(&self.read()?);
        for _ in 0..ATTEMPTS {
            if target.same_rules(&now) {
                return done(change);
            }
            let restored = self.restore(&target.script(&now));
            let after = RulePlaces::found(&self.read()?);
            match restored {
                Ok(()) => change = changed,
                Err(FirewallError::Rejected { .. }) if !after.same_rules(&now) => {}
                Err(error) => return Err(error),
            }
            now = after;
        }
        if target.same_rules(&now) {
            done(change)
        } else {
            Err(FirewallError::Unsettled { family: self.family })
        }
    }
}
