//! The iptables rules that hand the SIP ports to the queue: put in, taken out, compared.
//!
//! Each family has a chain `SIPKNOCK` in table filter, and jumps to it at the top of INPUT. Everything that
//! is changed is changed by one `iptables-restore` per family, which the kernel carries out as a whole or not
//! at all; what others have put there is neither touched nor reordered.
//!
//! ```no_run
//! use sipknock::firewall::{Firewall, Plan, Programs};
//! use sipknock::packet::Transport;
//!
//! let plan = Plan {
//!     ports: vec![5060..=5060, 5061..=5063],
//!     transports: vec![Transport::Udp, Transport::Tcp],
//!     trusted: vec!["10.10.1.0/24".parse()?],
//!     queues: 0..=3,
//!     bypass: false,
//!     replies: true,
//!     parent: "INPUT".to_owned(),
//! };
//! let firewall = Firewall::new(Programs::default());
//! let report = firewall.apply(&plan)?;
//! assert!(firewall.status(&plan)?.in_place());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod change;
mod confirm;
mod programs;
mod rules;
mod status;
mod table;

use std::fmt;

use serde::{Serialize, Serializer};

use self::change::Layout;
pub use self::confirm::{Answer, ConfirmError, Vigil, confirm, has_terminal};
use self::programs::{ATTEMPTS, Tool};
pub use self::programs::{Error, Ipv4State, Programs};
pub use self::rules::{CHAIN, DEFAULT_PARENT, Family, Plan, PlanError, Ruleset};
pub use self::status::{CountedRule, Difference, FamilyStatus, Queues, State, Status};

/// The rules of this machine, or rather of the calling thread's network namespace.
#[derive(Clone, Debug, Default)]
pub struct Firewall {
    programs: Programs,
}

/// Our rules as they were at one moment.
#[derive(Clone, Debug)]
pub struct Before {
    v4: Layout,
    /// `None` where there were no IPv6 programs to ask.
    v6: Option<Layout>,
}

/// What a change did, family by family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// IPv4, then IPv6.
    pub families: Vec<FamilyReport>,
}

/// What a change did to one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyReport {
    /// Which.
    pub family: Family,
    /// In one word.
    pub change: Change,
    /// What else there is to know.
    pub notes: Vec<Note>,
}

/// What a change did, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Nothing: all was as it should be, and the counters go on.
    Unchanged,
    /// The rules were written.
    Written,
    /// The rules were taken out.
    Removed,
    /// The rules are again what they were.
    PutBack,
    /// Nothing: this machine has no such family.
    Skipped,
}

/// Something that is no error, and that whoever relies on the rules wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The kernel does not speak IPv6.
    NoIpv6,
    /// The kernel speaks IPv6, and there is nothing to filter it with.
    NoProgram {
        /// What was looked for.
        program: String,
    },
    /// The kernel or iptables has no conntrack match.
    RepliesLeftOut,
}

impl Firewall {
    /// The rules as these programs show them. Default: [`Programs::default`].
    pub fn new(programs: Programs) -> Self {
        Self { programs }
    }

    /// The programs given.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Makes the rules exactly as planned, and changes nothing where they are.
    ///
    /// # Errors
    /// The change of a family is carried out as a whole or not at all. Where IPv6 fails, IPv4 is put back, and
    /// [`Error::Ipv6`] says so.
    pub fn apply(&self, plan: &Plan) -> Result<Report, Error> {
        self.apply_remembering(plan).map(|(report, _)| report)
    }

    /// The same, and what was there before, for [`Firewall::put_back`].
    ///
    /// # Errors
    /// As [`Firewall::apply`].
    pub fn apply_remembering(&self, plan: &Plan) -> Result<(Report, Before), Error> {
        let (v4, v6) = (plan.ruleset(Family::V4)?, plan.ruleset(Family::V6)?);
        let _lock = programs::lock();
        let tool = self.programs.tool(Family::V4);
        let before = Layout::found(&tool.read()?);
        let ipv4 = tool.apply(&v4)?;
        let mut before_v6 = None;
        let on_ipv6 = self.on_ipv6(|tool| {
            before_v6 = Some(Layout::found(&tool.read()?));
            tool.apply(&v6)
        });
        match on_ipv6 {
            Ok(ipv6) => Ok((Report { families: vec![ipv4, ipv6] }, Before { v4: before, v6: before_v6 })),
            Err(error) => {
                let state = match ipv4.change {
                    Change::Written => tool.put_back(&before),
                    _ => Ipv4State::Untouched,
                };
                Err(Error::Ipv6 { error: Box::new(error), ipv4: state })
            }
        }
    }

    /// Takes out our chain and every jump to it, wherever it is. Needs no plan; nothing there is fine.
    ///
    /// What stays on a machine that had no rules at all before is the empty table filter with its three
    /// chains, which iptables makes at the first rule and does not take away.
    ///
    /// # Errors
    /// Where a family could not be cleared. The other one is, as far as it can be.
    pub fn remove(&self) -> Result<Report, Error> {
        let _lock = programs::lock();
        let ipv4 = self.programs.tool(Family::V4).remove();
        let ipv6 = self.on_ipv6(|tool| tool.remove());
        Ok(Report { families: vec![ipv4?, ipv6?] })
    }

    /// Makes our rules what they were, wherever they were, with what they had counted.
    ///
    /// # Errors
    /// Where a family could not be put back. The other one is, as far as it can be.
    pub fn put_back(&self, before: &Before) -> Result<Report, Error> {
        let _lock = programs::lock();
        let ipv4 = self.programs.tool(Family::V4).reach(&before.v4, Change::PutBack);
        let ipv6 = match &before.v6 {
            Some(before) => self.programs.tool(Family::V6).reach(before, Change::PutBack).map(Some),
            None => Ok(None),
        };
        Ok(Report { families: std::iter::once(ipv4?).chain(ipv6?).collect() })
    }

    /// Compares the rules with the plan, and counts.
    ///
    /// # Errors
    /// Where they could not be read.
    pub fn status(&self, plan: &Plan) -> Result<Status, Error> {
        let (v4, v6) = (plan.ruleset(Family::V4)?, plan.ruleset(Family::V6)?);
        let ipv4 = FamilyStatus::of(Family::V4, &self.programs.tool(Family::V4).read()?, &v4);
        let ipv6 = match self.ipv6()? {
            Ok(tool) => FamilyStatus::of(Family::V6, &tool.read()?, &v6),
            Err(note) => FamilyStatus::skipped(Family::V6, note),
        };
        Ok(Status { families: vec![ipv4, ipv6] })
    }

    /// All tables of a family, as its `iptables-save -c` prints them.
    ///
    /// # Errors
    /// Where they could not be read.
    pub fn listing(&self, family: Family) -> Result<String, Error> {
        self.programs.tool(family).list()
    }

    /// Whether iptables and the kernel know what a rule asks for. Changes nothing.
    ///
    /// # Errors
    /// Where they don't; the error has their words.
    pub fn try_rule(&self, family: Family, spec: &str) -> Result<(), Error> {
        let script = format!("*filter\n:{CHAIN}-TRY - [0:0]\n-A {CHAIN}-TRY {spec}\nCOMMIT\n");
        self.programs.tool(family).test(&script)
    }

    fn on_ipv6(
        &self,
        work: impl FnOnce(Tool<'_>) -> Result<FamilyReport, Error>,
    ) -> Result<FamilyReport, Error> {
        match self.ipv6()? {
            Ok(tool) => work(tool),
            Err(note) => Ok(FamilyReport { family: Family::V6, change: Change::Skipped, notes: vec![note] }),
        }
    }

    /// The IPv6 programs, or why there is no use for them.
    fn ipv6(&self) -> Result<Result<Tool<'_>, Note>, Error> {
        if !programs::kernel_has_ipv6() {
            return Ok(Err(Note::NoIpv6));
        }
        let tool = self.programs.tool(Family::V6);
        match tool.read() {
            Ok(_) => Ok(Ok(tool)),
            Err(Error::NotInstalled { program }) => Ok(Err(Note::NoProgram { program })),
            Err(error) => Err(error),
        }
    }
}

impl Tool<'_> {
    /// Look, write, look again: iptables cannot tie a write to what was read before it, so a change that
    /// somebody else made in between shows only afterwards.
    fn apply(self, wanted: &Ruleset) -> Result<FamilyReport, Error> {
        let mut change = Change::Unchanged;
        for _ in 0..ATTEMPTS {
            let table = self.read()?;
            if !table.has_chain(wanted.parent()) {
                return Err(Error::ParentMissing {
                    program: self.name.to_owned(),
                    family: self.family,
                    chain: wanted.parent().to_owned(),
                });
            }
            if status::differences(&table, wanted).is_empty() {
                return Ok(self.report(change, None));
            }
            let now = Layout::found(&table);
            let target = Layout::wanted(wanted);
            match self.restore(&target.script(&now)) {
                Ok(()) => {
                    change = Change::Written;
                    if target.same_places(&Layout::found(&self.read()?)) {
                        return Ok(self.report(change, None));
                    }
                    continue;
                }
                Err(error @ Error::Rejected { .. }) => {
                    if !now.same_rules(&Layout::found(&self.read()?)) {
                        continue;
                    }
                    let Some(bare) = wanted.without_replies() else { return Err(error) };
                    if status::differences(&table, &bare).is_empty() {
                        return Ok(self.report(change, Some(Note::RepliesLeftOut)));
                    }
                    let target = Layout::wanted(&bare);
                    // The first error is the one to tell: it is about the rules as they were asked for.
                    self.restore(&target.script(&now)).map_err(|_| error)?;
                    change = Change::Written;
                    if target.same_places(&Layout::found(&self.read()?)) {
                        return Ok(self.report(change, Some(Note::RepliesLeftOut)));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unsettled { family: self.family })
    }

    fn remove(self) -> Result<FamilyReport, Error> {
        self.reach(&Layout::GONE, Change::Removed)
    }

    fn put_back(self, before: &Layout) -> Ipv4State {
        match self.reach(before, Change::Written) {
            Ok(_) => Ipv4State::PutBack,
            Err(error) => Ipv4State::Left(Box::new(error)),
        }
    }

    /// As [`Tool::apply`], for a layout that has nothing to give up.
    fn reach(self, target: &Layout, changed: Change) -> Result<FamilyReport, Error> {
        let mut change = Change::Unchanged;
        let mut now = Layout::found(&self.read()?);
        for _ in 0..ATTEMPTS {
            if target.same_rules(&now) {
                return Ok(self.report(change, None));
            }
            let restored = self.restore(&target.script(&now));
            let after = Layout::found(&self.read()?);
            match restored {
                Ok(()) => change = changed,
                Err(Error::Rejected { .. }) if !after.same_rules(&now) => {}
                Err(error) => return Err(error),
            }
            now = after;
        }
        if target.same_rules(&now) {
            Ok(self.report(change, None))
        } else {
            Err(Error::Unsettled { family: self.family })
        }
    }

    fn report(self, change: Change, note: Option<Note>) -> FamilyReport {
        FamilyReport { family: self.family, change, notes: note.into_iter().collect() }
    }
}

/// What it means, and what to do about it.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIpv6 => f.write_str("no IPv6 rules: this kernel does not speak IPv6"),
            Self::NoProgram { program } => write!(
                f,
                "no IPv6 rules, although this kernel speaks IPv6: {program} is not installed. Whoever \
                 reaches this machine over IPv6 reaches its SIP ports; install it, or keep the PBX off IPv6"
            ),
            Self::RepliesLeftOut => f.write_str(
                "without the rule for replies to what the PBX started: this kernel or iptables has no \
                 conntrack match. Providers whose trunks the PBX registers with must be listed in `trusted`",
            ),
        }
    }
}

/// As its sentence.
impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
