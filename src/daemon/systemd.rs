//! The service manager, where there is one: what it is told, and what it keeps for the next process.
//!
//! It is spoken to as sd_notify(3) has it. Without `NOTIFY_SOCKET` all of this does nothing.

use std::env;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use sd_notify::NotifyState;

/// Where to tell how the gate does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Systemd {
    present: bool,
    /// How often it wants to hear that all is well: at half of what it waits for.
    interval: Option<Duration>,
}

impl Systemd {
    pub(super) fn from_env() -> Self {
        let present = env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty());
        Self { present, interval: sd_notify::watchdog_enabled().map(|span| span / 2).filter(|_| present) }
    }

    /// One that listens to nobody.
    #[cfg(test)]
    pub(super) fn of(interval: Option<Duration>) -> Self {
        Self { present: false, interval }
    }

    /// Whether there is one.
    pub(super) fn is_present(self) -> bool {
        self.present
    }

    /// How often to [`Systemd::alive`].
    pub(super) fn interval(self) -> Option<Duration> {
        self.interval
    }

    /// Packets are being decided.
    pub(super) fn ready(self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Another configuration is being put in force; [`Systemd::ready`] comes after it.
    pub(super) fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// The gate is going down.
    pub(super) fn stopping(self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// A line about how it is.
    pub(super) fn status(self, status: &str) {
        self.tell(&[NotifyState::Status(status)]);
    }

    /// All queues are served.
    pub(super) fn alive(self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// Has a descriptor kept for the next process. Where it is not wanted (`FileDescriptorStoreMax=0`), nobody says so.
    pub(super) fn keep(self, name: &str, descriptor: BorrowedFd<'_>) {
        if self.present {
            // Kept whatever state it is in: a queue is a queue with its buffer full, too.
            let states = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
            // The manager may be gone by now, and then nothing is kept.
            let _ = sd_notify::notify_with_fds(&states, &[descriptor]);
        }
    }

    /// Has it let go of one.
    pub(super) fn forget(self, name: &str) {
        self.tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
    }

    fn tell(self, states: &[NotifyState<'_>]) {
        if self.present {
            // The receiver may be gone; that is fine.
            let _ = sd_notify::notify(states);
        }
    }
}
