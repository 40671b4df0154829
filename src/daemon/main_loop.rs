//! The main thread of a gate that runs.

mod timers;

use crate::daemon::endpoints::Endpoints;
use crate::daemon::error::DaemonError;
use crate::daemon::main_loop::timers::Timers;
use crate::daemon::runtime::{Daemon, EndReason};
use crate::daemon::signals::Wake;
use crate::daemon::takeover::outgoing::Handover;
use crate::event::Event;

impl Daemon {
    /// Serves signals, timers and requests to take over until the gate is to end.
    ///
    /// # Errors
    /// If packets can't be decided any more.
    pub(in crate::daemon) fn run(&mut self, endpoints: &Endpoints) -> Result<EndReason, DaemonError> {
        let queues = self.workers.health();
        let mut timers = Timers::new(self.context.clock, self.manager);
        loop {
            if timers.is_time() {
                self.maintenance.run();
                endpoints.service.look_at_grace();
                endpoints.service.rules().look();
                // A thread rings a moment before it has ended, and may not have by the time we looked.
                self.workers.join_ended()?;
                self.workers.check()?;
                timers.done(|| self.status());
            }
            timers.report(&queues);
            match self.signals.wait(timers.pause())? {
                Wake::Tick => {}
                Wake::Signal => return Ok(EndReason::Signal),
                // How it went is in the log.
                Wake::Hangup => _ = endpoints.service.reload(),
                Wake::User => self.write_what_is_learned(),
                Wake::ThreadEnded => self.workers.join_ended()?,
                Wake::TakeoverRequest => {
                    if let Some(successor) = self.serve_requests(endpoints)? {
                        return Ok(EndReason::TakenOver(successor));
                    }
                }
            }
        }
    }

    fn write_what_is_learned(&self) {
        match &self.learner {
            Some(learner) => learner.write(),
            None => self.context.sink.send(Event::Warning("SIGUSR1 is for 'run --learn' only".to_owned())),
        }
    }

    /// Hands over to those who want to take over, until one of them has. Queues go to nobody else then.
    fn serve_requests(&mut self, endpoints: &Endpoints) -> Result<Option<u32>, DaemonError> {
        for mut request in endpoints.requests.try_iter() {
            let Some(server) = &endpoints.control else { continue };
            let gate = self.context.gate.load_full();
            let mut handover = Handover {
                workers: &mut self.workers,
                outbound: &self.outbound,
                gate: &gate,
                clock: self.context.clock,
                server,
                exit: &endpoints.exit,
                sink: &self.context.sink,
            };
            if handover.hand_over(&mut request)? {
                return Ok(Some(request.pid));
            }
        }
        Ok(None)
    }
}
