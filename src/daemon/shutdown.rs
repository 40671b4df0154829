//! The end of a gate.

use std::os::fd::AsFd as _;

use crate::config::Fallback;
use crate::daemon::endpoints::Front;
use crate::daemon::error::DaemonError;
use crate::daemon::firewall_helper::InstalledRules;
use crate::daemon::outbound;
use crate::daemon::runtime::{End, House, queue_names};
use crate::daemon::takeover::doors;
use crate::event::Event;

/// Who has the queues after this gate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// This process.
    Heir(u32),
    /// The service manager, for the process that it starts next.
    Manager,
    /// Nobody.
    Nobody,
}

impl House {
    /// Ends the gate, as it comes after a good end or after a fault. Where it was never opened there is no `front`.
    ///
    /// # Errors
    /// What it ended for, or what went wrong at the end. After a fault the rules stay, so that it opens nothing.
    pub(in crate::daemon) fn close(
        mut self,
        mut front: Option<Front>,
        end: Result<End, DaemonError>,
    ) -> Result<(), DaemonError> {
        self.signals.end_at_once_from_now_on();
        front.iter().for_each(Front::is_ending);
        self.manager.stopping();

        // The helper ends with the rules, which is no loss.
        self.rules_state.close();

        let clean = end.is_ok();
        let (next, mut outcome) = match end {
            Ok(End::Heir(pid)) => (Next::Heir(pid), Ok(())),
            Ok(End::Signal) => self.leave_to_manager(),
            Err(error) => (Next::Nobody, Err(error)),
        };
        let mut rules_out = Ok(());
        match next {
            // The next one waits for the address.
            Next::Heir(_) => front.iter_mut().for_each(Front::free_address),
            Next::Manager => {}
            // New packets stop coming before anything else stops: first the rules go, then each queue is shut and drained.
            Next::Nobody => {
                self.say_what_stays(clean);
                rules_out = self.rules.take().map_or(Ok(()), |rules| rules.take_out(clean, &self.sink));
                outcome = outcome.and(self.crew.shut());
                self.manager.forget(outbound::STORE_NAME);
            }
        }
        // Whoever comes next reads the copies that come from here on.
        self.outbound.pause();
        if let Some(thread) = self.outbound_thread.take() {
            thread.finish();
        }
        self.crew.stop_copying();
        self.housekeeping.finish();
        // Whoever comes next waits for the doors' file, and for nothing else.
        if let Some(keeper) = self.keeper.take() {
            keeper.finish();
        }
        if let Some(learner) = self.learner.take() {
            learner.finish();
        }
        if next == Next::Manager {
            self.leave_doors();
        }
        self.say_what_it_was(next);
        if let Some(front) = front {
            front.close();
        }
        let Self { housekeeping, crew, outbound, sink, log, .. } = self;
        // With the last sink gone the log ends.
        drop((housekeeping, crew, outbound, sink));
        log.finish();
        outcome.and(rules_out)
    }

    /// Where the service manager keeps the queues, they stay as they are, for the process that comes next. Rules that are
    /// ours go with us, so that nothing comes any more.
    fn leave_to_manager(&mut self) -> (Next, Result<(), DaemonError>) {
        let ours = self.rules.as_ref().is_some_and(InstalledRules::are_ours);
        if !self.crew.is_stored() || ours {
            return (Next::Nobody, Ok(()));
        }
        match self.crew.release() {
            Ok(()) => (Next::Manager, Ok(())),
            // Some threads have stopped, and what waits in their queues is to be decided.
            Err(_) => (Next::Nobody, self.crew.resume()),
        }
    }

    /// Rules that are not ours to take out lead to queues that nobody reads from here on.
    fn say_what_stays(&self, clean: bool) {
        let packets = self.housekeeping.totals().total();
        let lead_here = self.rules_lead_here == Some(true) || packets > 0;
        let ours = self.rules.as_ref().is_some_and(InstalledRules::are_ours);
        if clean && !ours && lead_here && self.on_exit == Fallback::Closed {
            let text = "the firewall rules stay and the port is shut: 'sipknock firewall remove' opens it";
            self.sink.send(Event::Note(text.to_owned()));
        }
    }

    fn leave_doors(&self) {
        match doors::doors(&self.gate.load(), self.clock) {
            Ok(doors) => self.manager.keep(doors::DOORS, doors.as_fd()),
            Err(error) => {
                let text = format!("the service manager can't keep the doors: {error}");
                self.sink.send(Event::Warning(text));
            }
        }
    }

    /// The last line of the log.
    fn say_what_it_was(&mut self, next: Next) {
        let (waiting, counters) = self.crew.finish();
        let (waiting, handed_to) = match next {
            // They are somebody else's now.
            Next::Heir(pid) => (0, Some(pid)),
            Next::Manager => (0, None),
            Next::Nobody => (waiting, None),
        };
        self.sink.send(Event::Stopped {
            queues: queue_names(&self.crew.bindings()),
            totals: self.housekeeping.totals(),
            waiting,
            stale: counters.stale,
            unreadable: counters.unreadable,
            handed_to,
        });
    }
}
