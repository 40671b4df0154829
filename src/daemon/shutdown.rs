//! The end of a gate.

use std::os::fd::AsFd as _;

use crate::config::Fallback;
use crate::daemon::endpoints::Endpoints;
use crate::daemon::error::DaemonError;
use crate::daemon::firewall_helper::InstalledRules;
use crate::daemon::outbound;
use crate::daemon::runtime::{Daemon, EndReason, queue_names};
use crate::daemon::takeover::doors;
use crate::event::Event;

/// The holder of the queues after this gate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// This process.
    Process(u32),
    /// The service manager, for the process that it starts next.
    Systemd,
    /// Nobody.
    Nobody,
}

impl Daemon {
    /// Ends the gate, as it comes after a good end or after a fault. Where it was never opened there is no `front`.
    ///
    /// # Errors
    /// The fault that ended it, or a fault at the end. After a fault the rules stay, so that it opens nothing.
    pub(in crate::daemon) fn close(
        mut self,
        mut endpoints: Option<Endpoints>,
        end: Result<EndReason, DaemonError>,
    ) -> Result<(), DaemonError> {
        self.signals.end_at_once_from_now_on();
        endpoints.iter().for_each(Endpoints::set_stopping);
        self.manager.stopping();

        // The helper ends with the rules, which is no loss.
        self.rules_state.close();

        let clean = end.is_ok();
        let (next, mut outcome) = match end {
            Ok(EndReason::TakenOver(pid)) => (Next::Process(pid), Ok(())),
            Ok(EndReason::Signal) => self.leave_to_manager(),
            Err(error) => (Next::Nobody, Err(error)),
        };
        let mut rules_out = Ok(());
        match next {
            // The next one waits for the address.
            Next::Process(_) => endpoints.iter_mut().for_each(Endpoints::free_address),
            Next::Systemd => {}
            // New packets stop coming before anything else stops: first the rules go, then each queue is shut and drained.
            Next::Nobody => {
                self.log_rules_that_stay(clean);
                rules_out =
                    self.rules.take().map_or(Ok(()), |rules| rules.take_out(clean, &self.context.sink));
                outcome = outcome.and(self.workers.shut());
                self.manager.forget(outbound::STORE_NAME);
            }
        }
        // The next process reads the copies that come from here on.
        self.outbound.pause();
        if let Some(thread) = self.outbound_thread.take() {
            thread.finish();
        }
        self.workers.stop_copying();
        self.maintenance.finish();
        // The next process waits for the file of doors, and for nothing else.
        if let Some(persister) = self.persister.take() {
            persister.finish();
        }
        if let Some(learner) = self.learner.take() {
            learner.finish();
        }
        if next == Next::Systemd {
            self.leave_doors();
        }
        self.log_stopped(next);
        if let Some(endpoints) = endpoints {
            endpoints.close();
        }
        let Self { context, maintenance, workers, outbound, log, .. } = self;
        // The log ends with the last sender.
        drop((context, maintenance, workers, outbound));
        log.finish();
        outcome.and(rules_out)
    }

    /// Where the service manager keeps the queues, they stay as they are, for the process that comes next. Rules that are
    /// ours go with us, so that nothing comes any more.
    fn leave_to_manager(&mut self) -> (Next, Result<(), DaemonError>) {
        let ours = self.rules.as_ref().is_some_and(InstalledRules::are_ours);
        if !self.workers.is_stored() || ours {
            return (Next::Nobody, Ok(()));
        }
        match self.workers.release() {
            Ok(()) => (Next::Systemd, Ok(())),
            // Some threads have stopped, and what waits in their queues is to be decided.
            Err(_) => (Next::Nobody, self.workers.resume()),
        }
    }

    /// Rules that are not ours to take out lead to queues that nobody reads from here on.
    fn log_rules_that_stay(&self, clean: bool) {
        let packets = self.maintenance.totals().total();
        let lead_here = self.rules_lead_here == Some(true) || packets > 0;
        let ours = self.rules.as_ref().is_some_and(InstalledRules::are_ours);
        if clean && !ours && lead_here && self.on_exit == Fallback::Closed {
            let text = "the firewall rules stay and the port is shut: 'sipknock firewall remove' opens it";
            self.context.sink.send(Event::Note(text.to_owned()));
        }
    }

    fn leave_doors(&self) {
        match doors::doors(&self.context.gate.load(), self.context.clock) {
            Ok(doors) => self.manager.keep(doors::DOORS, doors.as_fd()),
            Err(error) => {
                let text = format!("the service manager can't keep the doors: {error}");
                self.context.sink.send(Event::Warning(text));
            }
        }
    }

    /// The last line of the log.
    fn log_stopped(&mut self, next: Next) {
        let (waiting, counters) = self.workers.finish();
        let (waiting, handed_to) = match next {
            // They are somebody else's now.
            Next::Process(pid) => (0, Some(pid)),
            Next::Systemd => (0, None),
            Next::Nobody => (waiting, None),
        };
        self.context.sink.send(Event::Stopped {
            queues: queue_names(&self.workers.bindings()),
            totals: self.maintenance.totals(),
            waiting,
            stale: counters.stale,
            unreadable: counters.unreadable,
            handed_to,
        });
    }
}
