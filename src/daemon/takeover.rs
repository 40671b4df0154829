//! Queues and doors from one process to the next, so that no packet is lost on the way.
//!
//! Either the next process asks for them over the control socket ([`crate::control::takeover`]), or the service manager
//! has kept them. Both ways the sockets that hold the queues stay open throughout, and packets that come meanwhile wait
//! in the kernel.

pub(super) mod doors;
pub(super) mod incoming;
pub(super) mod outgoing;

use crate::config::Config;
use crate::daemon::error::DaemonError;
use crate::daemon::options::RunOptions;
use crate::daemon::systemd::Systemd;
use crate::daemon::takeover::incoming::{Inherited, PendingTakeover, TakeoverOffer};

/// The gate before this one.
pub(super) enum PreviousProcess {
    /// It runs, and would make way. Nothing has changed yet.
    Running(TakeoverOffer),
    /// There is none any more. What the service manager has kept of it, perhaps nothing.
    Gone(Inherited),
}

impl PreviousProcess {
    /// Asks the running gate, where that is to be taken over.
    ///
    /// # Errors
    /// Where one runs and does not make way.
    pub(super) fn find(config: &Config, options: &RunOptions, manager: Systemd) -> Result<Self, DaemonError> {
        let asked =
            if options.takeover { TakeoverOffer::ask(config, options.grace.is_some())? } else { None };
        // Good for one start, whether it is of use or not.
        let kept = Inherited::kept(manager);
        Ok(asked.map_or(Self::Gone(kept), Self::Running))
    }

    /// Whether it runs.
    pub(super) fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// The numbers of queues that come from it.
    pub(super) fn queues(&self) -> Vec<u16> {
        match self {
            Self::Running(asked) => asked.offer.queues.clone(),
            Self::Gone(kept) => kept.sockets.iter().map(|(number, _)| *number).collect(),
        }
    }

    /// Whether the socket that has an NFLOG group comes from it.
    pub(super) fn reads(&self, group: u16) -> bool {
        match self {
            Self::Running(asked) => asked.offer.outbound == Some(group),
            Self::Gone(kept) => kept.outbound.is_some(),
        }
    }

    /// Whether it has put the firewall's rules in, so that they are ours to take out.
    pub(super) fn has_rules(&self) -> bool {
        matches!(self, Self::Running(asked) if asked.offer.rules)
    }

    /// Takes what there is from it. One that runs has then stopped to receive, and waits to hear that it was
    /// [`PendingTakeover::taken`] over.
    ///
    /// # Errors
    /// Where it does not hand over after all. It goes on, then.
    pub(super) fn hand_over(self) -> Result<(Inherited, Option<PendingTakeover>), DaemonError> {
        match self {
            Self::Running(asked) => asked.go().map(|(inherited, taking)| (inherited, Some(taking))),
            Self::Gone(kept) => Ok((kept, None)),
        }
    }
}

#[cfg(test)]
mod tests;
