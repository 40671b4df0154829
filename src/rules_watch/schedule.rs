//! When to look at the rules, and whether to put them back. Pure: the time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;

/// The times of looks and restores.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The first and the last change since the last look.
    changes: Option<(Time, Time)>,
    /// The next look, whatever happens.
    round: Time,
    /// A look to see whether all is as it was left.
    again: Option<Time>,
    /// Since when a look is held off, and until when.
    held: Option<(Time, Time)>,
    /// Restores of the last [`WINDOW`], oldest first.
    restores: VecDeque<Time>,
    pause: Option<Pause>,
    /// The length of the next pause.
    next_pause: Duration,
    /// The end of the last one.
    resumed: Time,
}

/// A time without restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause {
    began: Time,
    until: Time,
}

/// Whether to put rules back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Yes.
    Given,
    /// No: somebody removes them again and again. A pause begins here.
    Ends {
        /// Its length.
        pause: Duration,
    },
    /// No: the pause lasts.
    Waits,
}

impl Schedule {
    /// The first look is due at once.
    pub fn new(now: Time) -> Self {
        let (restores, next_pause) = (VecDeque::new(), FIRST_PAUSE);
        Self {
            changes: None,
            round: now,
            again: None,
            held: None,
            restores,
            pause: None,
            next_pause,
            resumed: now,
        }
    }

    /// Somebody has changed tables of iptables's.
    pub fn changed(&mut self, now: Time) {
        let first = self.changes.map_or(now, |(first, _)| first);
        self.changes = Some((first, now));
    }

    /// Rules were put back: somebody may have come in between, which the next look shows.
    pub fn look_again(&mut self, now: Time) {
        self.again = Some(now.after(QUIET));
    }

    /// The first change since the last look.
    pub fn first_change(&self) -> Option<Time> {
        self.changes.map(|(first, _)| first)
    }

    /// The time of the next look.
    pub fn due(&self) -> Time {
        let due = match self.changes {
            // Nothing else is looked for inside somebody's script.
            Some((first, last)) => last.after(QUIET).min(first.after(LATEST)),
            None => {
                // With the end of a pause the rules are put back.
                let resumed = self.pause.map(|pause| pause.until);
                resumed.into_iter().chain(self.again).fold(self.round, Time::min)
            }
        };
        self.held.map_or(due, |(_, until)| due.max(until))
    }

    /// A command of the owner's is changing the rules, and a look that is due waits for its end. Returns whether it does: not
    /// after [`HELD`].
    pub fn hold_off(&mut self, now: Time) -> bool {
        let began = self.held.map_or(now, |(began, _)| began);
        self.held = Some((began, now.after(HELD_STEP)));
        now.since(began) < HELD
    }

    /// There was a look.
    pub fn looked(&mut self, now: Time) {
        (self.changes, self.again, self.held) = (None, None, None);
        self.round = now.after(ROUND);
        self.pause = self.pause.filter(|pause| now < pause.until);
    }

    /// Rules are missing, and are to be put back. A restore that is given leave counts.
    pub fn ask(&mut self, now: Time) -> Leave {
        if self.pause.is_some_and(|pause| now < pause.until) {
            return Leave::Waits;
        }
        self.restores.retain(|restore| now.since(*restore) < WINDOW);
        if self.restores.len() < LIMIT {
            self.restores.push_back(now);
            return Leave::Given;
        }
        // After a day of peace it is another fight.
        let length = if now.since(self.resumed) < LONGEST_PAUSE { self.next_pause } else { FIRST_PAUSE };
        self.resumed = now.after(length);
        self.pause = Some(Pause { began: now, until: now.after(length) });
        self.next_pause = (2 * length).min(LONGEST_PAUSE);
        self.restores.clear();
        Leave::Ends { pause: length }
    }

    /// The owner has put the rules in: no pause any more, and the next one is short again.
    pub fn forgive(&mut self) {
        self.pause = None;
        self.restores.clear();
        self.next_pause = FIRST_PAUSE;
    }

    /// When the pause began and when it ends, if there is one.
    pub fn pause(&self) -> Option<(Time, Time)> {
        self.pause.map(|pause| (pause.began, pause.until))
    }
}

/// After so long without a change a script has most likely ended: restoring inside it breaks its `iptables -X`.
pub const QUIET: Duration = Duration::from_millis(300);

/// A script that takes longer is not waited for: packets pass, or are lost, all the while.
pub const LATEST: Duration = Duration::from_millis(900);

/// Longer than a command takes that does not wait for somebody else.
pub const HELD: Duration = Duration::from_secs(5);

/// Too short for anybody to notice.
const HELD_STEP: Duration = Duration::from_millis(50);

/// How often to look anyway: the legacy variant of iptables notifies nobody.
pub const ROUND: Duration = Duration::from_secs(10);

/// Restores within [`WINDOW`] after which somebody is taken to fight back.
pub const LIMIT: usize = 5;

/// See [`LIMIT`].
pub const WINDOW: Duration = Duration::from_secs(60);

/// The first time without restores; each further one is twice as long.
pub const FIRST_PAUSE: Duration = Duration::from_secs(10 * 60);

/// The longest time without restores.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Time {
        Time::from_nanos(1_000_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn looks_come_after_quiet_and_not_too_late() {
        for (name, changes, due) in [
            ("no change", vec![], 10_000),
            ("one", vec![50], 350),
            ("a script", vec![50, 150, 250], 550),
            ("two with a gap just short of quiet", vec![50, 349], 649),
            ("an endless script", (0..40).map(|n| 50 + n * 100).take(9).collect(), 950),
            ("a change just before a round", vec![9_900], 10_200),
        ] {
            let mut schedule = Schedule::new(at(0));
            assert_eq!(schedule.due(), at(0), "the first look is due at once");
            schedule.looked(at(0));
            changes.iter().for_each(|change| schedule.changed(at(*change)));
            assert_eq!(schedule.due(), at(due), "{name}");
            assert_eq!(schedule.first_change(), changes.first().map(|change| at(*change)), "{name}");
            schedule.look_again(at(due));
            assert_eq!(schedule.first_change(), changes.first().map(|change| at(*change)), "it is no change");
            schedule.looked(at(due));
            assert_eq!((schedule.due(), schedule.first_change()), (at(due + 10_000), None), "{name}");
        }
    }

    #[test]
    fn a_look_waits_for_the_owner_and_not_for_ever() {
        let mut schedule = Schedule::new(at(0));
        schedule.looked(at(0));
        schedule.changed(at(50));
        assert_eq!(schedule.due(), at(350));
        for now in (350..5350).step_by(50) {
            assert!(schedule.hold_off(at(now)), "at {now}");
            // The owner's changes go on.
            schedule.changed(at(now));
            let due = (now + 300).min(950).max(now + 50);
            assert_eq!((schedule.due(), schedule.first_change()), (at(due), Some(at(50))));
        }
        assert!(!schedule.hold_off(at(5350)));
        schedule.looked(at(5350));
        assert_eq!(schedule.due(), at(15_350));
        assert!(schedule.hold_off(at(15_350)), "the next one has the whole time again");
    }

    #[test]
    fn five_restores_within_a_minute_are_enough() {
        const MINUTE: u64 = 60_000;
        let (given, waits) = (Leave::Given, Leave::Waits);
        let ends = |minutes: u64| Leave::Ends { pause: Duration::from_secs(60 * minutes) };
        let burst =
            |from: u64, end| (0..5).map(move |n| (from + n * 1000, given)).chain([(from + 5000, end)]);
        let slow: Vec<_> = (0..20).map(|n| (n * 15_000, given)).collect();
        let first: Vec<_> =
            burst(0, ends(10)).chain([(6000, waits), (5000 + 10 * MINUTE - 1, waits)]).collect();
        let again = burst(5000 + 10 * MINUTE, ends(20)).chain([(10_000 + 30 * MINUTE - 1, waits)]);
        let third = burst(10_000 + 30 * MINUTE, ends(40));
        for (name, asked) in [
            ("slowly", slow),
            ("once", first.clone()),
            ("twice and thrice", first.into_iter().chain(again).chain(third).collect()),
        ] {
            let mut schedule = Schedule::new(at(0));
            for (time, leave) in asked {
                schedule.looked(at(time));
                assert_eq!(schedule.ask(at(time)), leave, "{name} at {time}");
            }
        }
    }

    #[test]
    fn pauses_grow_to_a_day_and_end_with_a_look() {
        let (mut schedule, mut now) = (Schedule::new(at(0)), at(0));
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let pause = loop {
                match schedule.ask(now) {
                    Leave::Ends { pause } => break pause,
                    leave => assert_eq!(leave, Leave::Given),
                }
            };
            pauses.push(pause.as_secs() / 60);
            schedule.looked(now);
            assert_eq!(schedule.pause(), Some((now, now.after(pause))));
            assert_eq!(schedule.due(), now.after(ROUND), "the state is looked at all the while");
            schedule.looked(now.after(pause - Duration::from_secs(1)));
            now = now.after(pause);
            assert_eq!(schedule.due(), now, "and at the end");
            schedule.looked(now);
            assert_eq!(schedule.pause(), None);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]);
        // A day of peace.
        now = now.after(LONGEST_PAUSE);
        while schedule.ask(now) == Leave::Given {}
        assert_eq!(schedule.pause(), Some((now, now.after(FIRST_PAUSE))));
    }

    #[test]
    fn the_owner_ends_a_pause() {
        let mut schedule = Schedule::new(at(0));
        while schedule.ask(at(0)) == Leave::Given {}
        assert_eq!(schedule.ask(at(1000)), Leave::Waits);
        schedule.forgive();
        assert_eq!(schedule.ask(at(2000)), Leave::Given);
        let pause = loop {
            if let Leave::Ends { pause } = schedule.ask(at(2000)) {
                break pause;
            }
        };
        assert_eq!(pause, FIRST_PAUSE);
    }
}
