//! Changing the rules: look, write, look again. iptables can't tie a write to what was read before it, so a change that
//! somebody else made in between shows only afterwards.

use super::change::{Layout, Places, counting, wanted_counters};
use super::difference::Difference;
use super::listing::Listing;
use super::machine::{BeforeFamily, Firewall};
use super::names::CHAIN;
use super::note::Note;
use super::plan::{Family, Plan};
use super::programs::{ATTEMPTS, Error, Ipv4State, Tool};
use super::report::{Change, FamilyReport};
use super::routes::Routes;
use super::rules::{Feature, Ruleset};
use super::status;

impl Firewall {
    /// Makes a family's rules as wanted, and returns those that were there; `None` if the family has no programs.
    pub(super) fn apply_family(
        &self,
        wanted: &Ruleset,
    ) -> Result<(FamilyReport, Option<BeforeFamily>), Error> {
        let family = wanted.family();
        let skipped = |notes: Vec<Note>| (FamilyReport { family, change: Change::Skipped, notes }, None);
        let notes = || wanted.notes().to_vec();
        let (tool, text) = match self.look(family) {
            Ok(Ok(found)) => found,
            Ok(Err(note)) => return Ok(skipped(if wanted.is_empty() { notes() } else { vec![note] })),
            Err(Error::NotInstalled { .. }) if wanted.is_empty() => return Ok(skipped(notes())),
            Err(error) => return Err(error),
        };
        let listing = tool.parse(&text)?;
        let before = Places::found(&listing);
        let report = if wanted.is_empty() {
            let report = tool.reach(&Places::default(), Change::Removed)?;
            let change = if report.change == Change::Unchanged { Change::Skipped } else { report.change };
            FamilyReport { change, notes: notes(), ..report }
        } else {
            tool.apply(wanted, listing, self.moves)?
        };
        Ok((report, Some(BeforeFamily { family, places: before, other: None })))
    }

    pub(super) fn remove_family(&self, family: Family) -> Result<FamilyReport, Error> {
        let (tool, text) = match self.look(family)? {
            Ok(found) => found,
            Err(note) => return Ok(FamilyReport { family, change: Change::Skipped, notes: vec![note] }),
        };
        let mut report = tool.reach(&Places::default(), Change::Removed)?;
        self.clear_other(&text, &mut report);
        if report.change == Change::Written {
            report.change = Change::Removed;
        }
        Ok(report)
    }

    pub(super) fn put_back_family(&self, before: &BeforeFamily) -> Result<FamilyReport, Error> {
        let report = self.programs.tool(before.family).reach(&before.places, Change::PutBack)?;
        if let Some((program, places)) = &before.other {
            Tool { family: before.family, name: program }.reach(places, Change::PutBack)?;
        }
        Ok(report)
    }

    pub(super) fn take_back(&self, before: &BeforeFamily) -> Ipv4State {
        match self.programs.tool(before.family).reach(&before.places, Change::Written) {
            Ok(_) => Ipv4State::PutBack,
            Err(error) => Ipv4State::Left(Box::new(error)),
        }
    }

    /// Removes our rules from the other variant's tables, notes it in the report, and returns them.
    /// `text` is the listing of the variant in use.
    pub(super) fn clear_other(&self, text: &str, report: &mut FamilyReport) -> Option<(String, Places)> {
        let family = report.family;
        let (program, places) = self.other_places(family, text)?;
        let cleared = Tool { family, name: &program }.reach(&Places::default(), Change::Removed);
        report.notes.push(match cleared {
            Ok(_) => Note::OtherRemoved { program: program.clone() },
            Err(error) => Note::OtherLeft { program: program.clone(), error: error.to_string() },
        });
        if matches!(report.change, Change::Unchanged | Change::Skipped) {
            report.change = Change::Written;
        }
        Some((program, places))
    }

    /// Our rules in the other variant's tables, if any. A program that fails counts as one without.
    pub(super) fn other_places(&self, family: Family, listing: &str) -> Option<(String, Places)> {
        let program = self.programs.other(family, listing)?;
        let places = Places::found(&Tool { family, name: &program }.read().ok()?);
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
    report.notes.extend(amiss.map(Note::Amiss));
}

impl Tool<'_> {
    /// `listing` is a first look.
    fn apply(self, wanted: &Ruleset, listing: Listing, moves: bool) -> Result<FamilyReport, Error> {
        let mut looked = Some(listing);
        let mut change = Change::Unchanged;
        let mut fitted: Option<(Ruleset, Error)> = None;
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
                        change = Change::Written;
                        counted = self.read()?;
                        if !target.same_places(&Layout::found(&counted)) {
                            continue;
                        }
                    }
                    Err(error @ Error::Rejected { .. }) => {
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
            let (wrote, fit) = self.count(&counted, fit, change == Change::Written)?;
            if wrote {
                change = Change::Written;
            }
            return Ok(FamilyReport { family: self.family, change, notes: fit.notes().to_vec() });
        }
        Err(Error::Unsettled { family: self.family })
    }

    /// Whether all chains are there that shall jump to ours, and none that does would lose that unasked.
    fn check_parents(self, listing: &Listing, wanted: &Ruleset, moves: bool) -> Result<(), Error> {
        let wanted_in = wanted.parents();
        if let Some(parent) = wanted_in.iter().find(|parent| !listing.filter_has(parent)) {
            return Err(Error::ParentMissing {
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
        Err(Error::WouldMove { family: self.family, from, to })
    }

    /// Makes the counting rules as wanted. They are no reason to fail: what keeps them out is noted.
    fn count(self, listing: &Listing, wanted: Ruleset, anew: bool) -> Result<(bool, Ruleset), Error> {
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
            Err(Error::Rejected { .. }) => Ok((false, wanted.without(Feature::Counter))),
            Err(error) => Err(error),
        }
    }

    /// The rules as far as they can be had. A feature that nothing is seen of may be one that an apply had to leave out.
    pub(super) fn fitting(self, listing: &Listing, wanted: Ruleset) -> Result<Ruleset, Error> {
        let unused = wanted.features().into_iter().filter(|(feature, _)| !feature.is_used(listing));
        let bare = unused.fold(wanted.clone(), |bare, (feature, _)| bare.without(feature));
        if bare == wanted || !status::differences(listing, &bare).is_empty() {
            return Ok(wanted);
        }
        self.without_missing(&wanted)
    }

    /// The rules without what this kernel or this iptables does not have.
    fn without_missing(self, wanted: &Ruleset) -> Result<Ruleset, Error> {
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
    fn knows(self, table: &str, rule: &str) -> Result<bool, Error> {
        let chain = format!("{CHAIN}-TRY");
        let script =
            format!("*{table}\n:{chain} - [0:0]\n-A {chain} {rule}\n-F {chain}\n-X {chain}\nCOMMIT\n");
        match self.restore(&script) {
            Ok(()) => Ok(true),
            Err(Error::Rejected { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// As [`Tool::apply`], for places that have nothing to give up.
    pub(super) fn reach(self, target: &Places, changed: Change) -> Result<FamilyReport, Error> {
        let done = |change| Ok(FamilyReport { family: self.family, change, notes: Vec::new() });
        let mut change = Change::Unchanged;
        let mut now = Places::found(&self.read()?);
        for _ in 0..ATTEMPTS {
            if target.same_rules(&now) {
                return done(change);
            }
            let restored = self.restore(&target.script(&now));
            let after = Places::found(&self.read()?);
            match restored {
                Ok(()) => change = changed,
                Err(Error::Rejected { .. }) if !after.same_rules(&now) => {}
                Err(error) => return Err(error),
            }
            now = after;
        }
        if target.same_rules(&now) { done(change) } else { Err(Error::Unsettled { family: self.family }) }
    }
}
