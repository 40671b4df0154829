//! The main thread of a gate that runs.

mod timers;

use crate::daemon::endpoints::Front;
use crate::daemon::error::DaemonError;
use crate::daemon::main_loop::timers::Rounds;
use crate::daemon::runtime::{End, House};
use crate::daemon::signals::Wake;
use crate::daemon::takeover::outgoing::Estate;
use crate::event::Event;

impl House {
    /// Keeps house until the gate is to end.
    ///
    /// # Errors
    /// Where packets can't be decided any more.
    pub(in crate::daemon) fn run(&mut self, front: &Front) -> Result<End, DaemonError> {
        let queues = self.crew.health();
        let mut rounds = Rounds::new(self.clock, self.manager);
        loop {
            if rounds.is_time() {
                self.housekeeping.keep();
                front.desk.look_at_grace();
                front.desk.rules().look();
                // A thread rings a moment before it has ended, and may not have by the time we looked.
                self.crew.see_to_ended()?;
                self.crew.look()?;
                rounds.done(|| self.status());
            }
            rounds.report(&queues);
            match self.signals.wait(rounds.pause())? {
                Wake::Tick => {}
                Wake::Signal => return Ok(End::Signal),
                // How it went is in the log.
                Wake::Hangup => _ = front.desk.reload(),
                Wake::User => self.write_what_is_learned(),
                Wake::Alarm => self.crew.see_to_ended()?,
                Wake::Errand => {
                    if let Some(heir) = self.see_to_errands(front)? {
                        return Ok(End::Heir(heir));
                    }
                }
            }
        }
    }

    fn write_what_is_learned(&self) {
        match &self.learner {
            Some(learner) => learner.write(),
            None => self.sink.send(Event::Warning("SIGUSR1 is for 'run --learn' only".to_owned())),
        }
    }

    /// Hands over to those who want to take over, until one of them has. Queues go to nobody else then.
    fn see_to_errands(&mut self, front: &Front) -> Result<Option<u32>, DaemonError> {
        for mut errand in front.errands.try_iter() {
            let Some(server) = &front.control else { continue };
            let gate = self.gate.load_full();
            let mut estate = Estate {
                crew: &mut self.crew,
                outbound: &self.outbound,
                gate: &gate,
                clock: self.clock,
                server,
                exit: &front.exit,
                sink: &self.sink,
            };
            if estate.hand_over(&mut errand)? {
                return Ok(Some(errand.pid));
            }
        }
        Ok(None)
    }
}
