//! The watch over the firewall's rules: looks when somebody changed them, says what became of them, and puts them back.
//!
//! It needs the rights that iptables needs, CAP_NET_ADMIN and CAP_NET_RAW, and so runs in a process of its own, beside
//! the gate that has given them up: `daemon::rules` has both ways to start it. [`RulesWatcher`] does the work, as often as its
//! owner gives it a turn; [`schedule`], [`mod@judge`] and [`managers`] decide, and are pure. What is found is a
//! [`RulesReport`], which goes to the gate.
//!
//! The rules that count are those of the plan. If others of ours are there when the watch begins, they are not touched:
//! only what was in place once is put back. The exception are networks that are accepted in the kernel, which tests and
//! owners change on one side alone.

pub mod judge;
pub mod managers;
pub mod schedule;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use humantime::format_duration;

use self::judge::{Condition, has_others, judge, tolerable};
use self::schedule::{LIMIT, Leave, ROUND, Schedule, WINDOW};
use crate::clock::Clock;
use crate::control::protocol::{FOREIGN, IN_PLACE, MISSING, RESTORED, RulesChange, RulesFamily, RulesReport};
use crate::firewall::notify::socket::{Changes, NotifiedChange};
use crate::firewall::{
    Difference, Family, Firewall, FirewallError, Hold, Listing, Plan, RulesWish, Status, Wish,
};
use crate::time::Time;

/// Watches over the rules of this thread's network namespace.
pub struct RulesWatcher {
    firewall: Firewall,
    plan: Plan,
    keep: bool,
    /// The plan, read again after the owner has applied one.
    load: LoadPlan,
    clock: Clock,
    changes: Option<Changes>,
    schedule: Schedule,
    word: Option<RulesWish>,
    families: Vec<WatchedRules>,
    /// Who made changes since the last look, each once.
    authors: Vec<String>,
    /// Those whose changes the last look was for.
    by: Option<String>,
    /// Since when some rules are not in place.
    lost: Option<Time>,
    missing: Duration,
    restores: u64,
    looks: u64,
    note: Option<String>,
    news: VecDeque<RulesChange>,
    warnings: VecDeque<String>,
    /// The last warning, which is not repeated.
    warned: Option<String>,
}

/// Reads the plan again, and whether removed rules are put back; the error is for people.
pub type LoadPlan = Box<dyn FnMut() -> Result<(Plan, bool), String>>;

/// The rules of a family.
struct WatchedRules {
    family: Family,
    condition: Condition,
    /// They were in place once, and that is what is kept.
    kept: bool,
    /// The owner has put them in since the last look.
    applied: bool,
    tolerated: Vec<Difference>,
    lost: Option<Time>,
    /// The last state that was told.
    told: &'static str,
}

impl RulesWatcher {
    /// Begins to listen. The first look is due at once.
    pub fn new(firewall: Firewall, plan: Plan, keep: bool, load: LoadPlan) -> Self {
        let clock = Clock::start();
        let mut watcher = Self {
            firewall,
            plan,
            keep,
            load,
            clock,
            changes: None,
            schedule: Schedule::new(clock.now()),
            word: RulesWish::hear(),
            families: Family::ALL.map(WatchedRules::new).into(),
            authors: Vec::new(),
            by: None,
            lost: None,
            missing: Duration::ZERO,
            restores: 0,
            looks: 0,
            note: None,
            news: VecDeque::new(),
            warnings: VecDeque::new(),
            warned: None,
        };
        match Changes::listen() {
            Ok(changes) => watcher.changes = Some(changes),
            Err(error) => watcher.deaf(&error),
        }
        watcher
    }

    /// Whether the owner has said that the rules are to be out, or to stay as they are.
    pub fn is_held(&self) -> bool {
        self.word.as_ref().is_some_and(|word| word.wish != Wish::Applied)
    }

    /// Puts the rules in at the start, as `apply` does.
    ///
    /// # Errors
    /// The sentence says why they are not in.
    pub fn put_in(&mut self) -> Result<Vec<String>, String> {
        if let Some(refusal) = refusal(&self.firewall, &self.plan)? {
            return Err(refusal.to_owned());
        }
        let report = self.firewall.apply(&self.plan).map_err(|error| error.to_string())?;
        let notes = report.families.into_iter().map(|family| {
            let notes: String = family.notes.iter().map(|note| format!("; {note}")).collect();
            format!("{}: firewall rules are in place{notes}", family.family.name())
        });
        // A word that kept them out does so no more.
        let _ = Wish::Applied.say();
        self.word = RulesWish::hear();
        Ok(notes.collect())
    }

    /// What becomes readable as soon as somebody changes something; `None` if nobody tells.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.changes.as_ref().map(Changes::as_fd)
    }

    /// How long there is nothing to do.
    pub fn pause(&self) -> Duration {
        self.schedule.due().since(self.clock.now())
    }

    /// Takes in what [`RulesWatcher::descriptor`] has, and looks at the rules if it is time; puts them back if they are to be.
    /// Returns whether there was a look.
    pub fn turn(&mut self) -> bool {
        let own = self.firewall.own_processes();
        self.hear(&own);
        let now = self.clock.now();
        if now < self.schedule.due() {
            return false;
        }
        let Some(hold) = self.hold(now) else { return false };
        let since = self.schedule.first_change().unwrap_or(now);
        // What changes from here on is for the next look.
        self.schedule.looked(now);
        self.listen_to_owner();
        self.by = self.by_whom();
        self.authors.clear();
        if let Err(error) = self.look(since, &hold) {
            self.note = Some(format!("the rules can't be read: {error}"));
            self.warn(format!("the firewall rules can't be read: {error}"));
        }
        self.looks += 1;
        true
    }

    /// Whether a [`RulesWatcher::report`] would hold something that was not in the last one.
    pub fn has_news(&self) -> bool {
        !self.news.is_empty() || !self.warnings.is_empty()
    }

    /// How all is now, with a bounded number of the oldest news.
    pub fn report(&mut self) -> RulesReport {
        let chain = self.plan.chains.join(",");
        let shown = self.families.iter().filter(|watched| watched.condition != Condition::Skipped);
        let families = shown.map(|watched| RulesFamily {
            family: family_name(watched.family).to_owned(),
            chain: chain.clone(),
            state: watched.condition.state().to_owned(),
            detail: cut(&watched.condition.detail(), DETAIL),
        });
        let lost = self.lost.map_or(Duration::ZERO, |lost| self.clock.now().since(lost));
        RulesReport {
            families: families.collect(),
            keep: self.keep,
            restores: self.restores,
            missing_ms: millis(self.missing + lost),
            looks: self.looks,
            note: self.note.as_deref().map(|note| cut(note, TEXT)),
            ends: false,
            changes: self.news.drain(..self.news.len().min(CHANGES)).collect(),
            warnings: self.warnings.pop_front().into_iter().collect(),
        }
    }

    /// What a report said did not arrive: it is said again.
    pub fn say_again(&mut self, report: RulesReport) {
        report.changes.into_iter().rev().for_each(|change| self.news.push_front(change));
        report.warnings.into_iter().rev().for_each(|warning| self.warnings.push_front(warning));
        // Nobody listens for long: the oldest are in this process's own log, if anywhere.
        self.news.truncate(MOST_NEWS);
        self.warnings.truncate(MOST_NEWS);
    }

    /// The rules that are kept now are those of the plan, as they were put in just now.
    pub fn trust(&mut self) {
        self.families.iter_mut().for_each(|watched| watched.kept = true);
    }

    /// Reads the plan again. What is there is judged by it from the next look on, which is due at once.
    pub fn load_again(&mut self) {
        match (self.load)() {
            Ok((plan, keep)) => (self.plan, self.keep) = (plan, keep),
            Err(error) => self.warn(format!("the configuration can't be read again: {error}")),
        }
        for watched in &mut self.families {
            (watched.kept, watched.tolerated) = (false, Vec::new());
        }
        self.schedule.forgive();
        self.schedule.changed(self.clock.now());
    }

    fn hear(&mut self, own: &[u32]) {
        let Some(changes) = &mut self.changes else { return };
        let heard = match changes.heard() {
            Ok(heard) => heard,
            Err(error) => {
                self.changes = None;
                return self.deaf(&error);
            }
        };
        for one in heard {
            match one {
                NotifiedChange::By(author) if author.is_one_of(own) => continue,
                NotifiedChange::By(author) => {
                    if self.authors.len() < AUTHORS && !self.authors.contains(&author.name) {
                        self.authors.push(author.name);
                    }
                }
                NotifiedChange::Lost => {}
            }
            self.schedule.changed(self.clock.now());
        }
    }

    fn deaf(&mut self, error: &io::Error) {
        self.warn(format!(
            "notifications of changed rules can't be read ({error}): the rules are checked every {}",
            format_duration(ROUND)
        ));
    }

    /// What the owner has said since the last look.
    fn listen_to_owner(&mut self) {
        let word = RulesWish::hear();
        if word == self.word {
            return;
        }
        self.word = word;
        self.note = None;
        if !self.is_held() {
            // Perhaps with another configuration.
            self.load_again();
            self.families.iter_mut().for_each(|watched| watched.applied = true);
        }
    }

    /// Keeps the owner's commands out for a look. While one of them is at work the look waits: it would judge rules by the
    /// plan of before, and put those back.
    fn hold(&mut self, now: Time) -> Option<Hold> {
        match Hold::now() {
            None if self.schedule.hold_off(now) => None,
            hold => Some(hold.unwrap_or(Hold::none())),
        }
    }

    fn look(&mut self, since: Time, hold: &Hold) -> Result<(), FirewallError> {
        let status = self.firewall.status(&self.plan)?;
        self.judge(&status);
        let by = self.by.clone();
        for place in 0..self.families.len() {
            self.tell(place, since, by.as_deref());
        }
        if self.families.iter().any(WatchedRules::is_lost) {
            self.restore(hold)?;
        } else {
            self.note = None;
        }
        // Those of iptables-save are not among them, and make no change.
        let own = self.firewall.own_processes();
        self.hear(&own);
        Ok(())
    }

    fn judge(&mut self, status: &Status) {
        for (watched, family) in self.families.iter_mut().zip(&status.families) {
            if !watched.kept {
                watched.tolerated = tolerable(&family.differences);
            }
            watched.condition = judge(family, &watched.tolerated);
            watched.kept |= watched.condition == Condition::InPlace;
            // Somebody was faster than this look. If what is there is none of this plan, the owner has put in other rules.
            watched.kept |= std::mem::take(&mut watched.applied) && !has_others(&family.differences);
        }
    }

    /// The event that a family's condition makes, if it is another than before.
    fn tell(&mut self, place: usize, since: Time, by: Option<&str>) {
        let now = self.clock.now();
        let chain = self.plan.chains.join(",");
        let Some(watched) = self.families.get_mut(place) else { return };
        let state = watched.condition.state();
        if state == std::mem::replace(&mut watched.told, state) {
            return;
        }
        let lost = *watched.lost.get_or_insert(since);
        let first = *self.lost.get_or_insert(lost);
        let is_restored = state == IN_PLACE;
        if is_restored {
            watched.lost = None;
        }
        let change = RulesChange {
            state: if is_restored { RESTORED } else { state }.to_owned(),
            family: family_name(watched.family).to_owned(),
            chain,
            by: by.map(|by| cut(by, NAME)),
            missing_ms: Some(millis(now.since(lost))),
            detail: cut(&watched.condition.detail(), DETAIL),
        };
        if self.families.iter().all(|watched| watched.lost.is_none()) {
            self.missing += now.since(first);
            self.lost = None;
        }
        self.news.push_back(change);
        self.news.truncate(MOST_NEWS);
    }

    /// Puts back what is to be put back.
    fn restore(&mut self, hold: &Hold) -> Result<(), FirewallError> {
        if let Some(word) = self.word.as_ref().filter(|word| word.wish != Wish::Applied) {
            let text = match word.wish {
                Wish::PutBack => "'sipknock firewall apply --confirm' was not confirmed",
                _ => "'sipknock firewall remove' took them out",
            };
            self.note = Some(format!("{text}; 'sipknock firewall apply' puts them in"));
            return Ok(());
        }
        if !self.families.iter().any(|watched| watched.is_lost() && watched.kept) {
            let text = "they were not in place when the watch began: 'sipknock firewall status' shows how they differ, \
                        'sipknock firewall apply' puts them in";
            self.note = Some(text.to_owned());
            return Ok(());
        }
        let mendable = |watched: &WatchedRules| watched.is_lost() && watched.condition.is_mendable();
        if !self.families.iter().any(mendable) {
            self.note =
                Some("'sipknock firewall apply' does not correct that: see 'sipknock doctor'".to_owned());
            return Ok(());
        }
        if !self.keep {
            let text = "[firewall] keep is false: 'sipknock firewall apply' puts them in";
            self.note = Some(text.to_owned());
            return Ok(());
        }
        if let Ok(Some(refusal)) = refusal(&self.firewall, &self.plan) {
            self.note = Some(refusal.to_owned());
            self.warn(format!("the firewall rules are not put back: {refusal}"));
            return Ok(());
        }
        match self.schedule.ask(self.clock.now()) {
            Leave::Waits => Ok(()),
            Leave::Ends { pause } => {
                let text = self.fight(pause);
                self.note = Some(text.clone());
                self.warn(text);
                Ok(())
            }
            Leave::Given => self.put_back(hold),
        }
    }

    fn put_back(&mut self, hold: &Hold) -> Result<(), FirewallError> {
        if let Err(error) = self.firewall.apply_within(hold, &self.plan) {
            let text = format!("the firewall rules can't be put back: {error}");
            self.note = Some(text.clone());
            self.warn(text);
            return Ok(());
        }
        self.restores += 1;
        self.note = None;
        for watched in &mut self.families {
            watched.tolerated.clear();
            if watched.is_lost() && watched.condition.is_mendable() {
                watched.condition = Condition::InPlace;
            }
        }
        let now = self.clock.now();
        for place in 0..self.families.len() {
            self.tell(place, now, Some(OURSELVES));
        }
        self.schedule.look_again(now);
        Ok(())
    }

    /// Says why the rules are not put back, and who seems to remove them.
    fn fight(&self, pause: Duration) -> String {
        let tables = self.firewall.listing(Family::V4).map(|text| Listing::parse(&text));
        let known = tables.map(|tables| managers::known(&tables)).unwrap_or_default();
        let by = self.by.as_ref().map_or_else(|| "somebody".to_owned(), |by| format!("'{by}'"));
        let here = if known.is_empty() {
            String::new()
        } else {
            format!(" (firewall managers on this machine: {})", known.join(", "))
        };
        format!(
            "the firewall rules are not put back for {}: {by} has removed them {LIMIT} times within {}{here}; end that, and \
             'sipknock firewall apply' puts them in at once",
            format_duration(pause),
            format_duration(WINDOW)
        )
    }

    fn by_whom(&self) -> Option<String> {
        match &self.word {
            Some(word) if word.wish != Wish::Applied => Some(word.wish.command().to_owned()),
            _ => (!self.authors.is_empty()).then(|| self.authors.join(", ")),
        }
    }

    fn warn(&mut self, text: String) {
        if self.warned.as_ref() != Some(&text) {
            self.warnings.push_back(cut(&text, TEXT));
            self.warned = Some(text);
        }
    }
}

impl Drop for RulesWatcher {
    fn drop(&mut self) {
        RulesWish::forget();
    }
}

impl WatchedRules {
    fn new(family: Family) -> Self {
        let (condition, tolerated) = (Condition::Skipped, Vec::new());
        Self { family, condition, kept: false, tolerated, lost: None, told: IN_PLACE, applied: false }
    }

    fn is_lost(&self) -> bool {
        !matches!(self.condition, Condition::InPlace | Condition::Skipped)
    }
}

impl Condition {
    fn state(&self) -> &'static str {
        match self {
            Self::InPlace | Self::Skipped => IN_PLACE,
            Self::Absent | Self::Changed { .. } => MISSING,
            Self::Behind { .. } => FOREIGN,
        }
    }

    fn is_mendable(&self) -> bool {
        !matches!(self, Self::Behind { mendable: false, .. })
    }

    /// What is wrong, for people.
    fn detail(&self) -> String {
        match self {
            Self::InPlace | Self::Skipped => String::new(),
            Self::Absent => "all of them are gone".to_owned(),
            Self::Changed { detail } | Self::Behind { detail, .. } => detail.clone(),
        }
    }
}

/// Why the rules of this plan are not put in; `None` if nothing speaks against it.
///
/// # Errors
/// If the tables can't be read.
pub fn refusal(firewall: &Firewall, plan: &Plan) -> Result<Option<&'static str>, String> {
    let tables = firewall.listing(Family::V4).map_err(|error| error.to_string())?;
    Ok(managers::refusal(&Listing::parse(&tables), &plan.chains))
}

const fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Whoever put rules back, in [`RulesChange::by`].
const OURSELVES: &str = "sipknock";

// A report fits into one line of the control protocol, which is 4096 bytes.
const DETAIL: usize = 200;
const NAME: usize = 80;
const TEXT: usize = 1000;
const CHANGES: usize = 4;

/// Names that are told of at most.
const AUTHORS: usize = 4;

/// News that wait for somebody to hear them.
const MOST_NEWS: usize = 64;
