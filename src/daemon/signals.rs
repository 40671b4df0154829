//! Signals and alarms, as something to wait for.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use crate::daemon::error::{DaemonError, system};

/// All that the main thread is woken by.
pub(super) struct Signals {
    incoming: UnixStream,
    outgoing: UnixStream,
    hangup: Arc<AtomicBool>,
    user: Arc<AtomicBool>,
    end_at_once: Arc<AtomicBool>,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The time was up.
    Tick,
    /// A signal to end.
    Signal,
    /// SIGHUP where it is no end.
    Hangup,
    /// SIGUSR1.
    User,
    /// A queue thread has ended by itself.
    ThreadEnded,
    /// Somebody wants to take over.
    TakeoverRequest,
}

impl Signals {
    /// From here on SIGTERM and SIGINT end the process in order; so does SIGHUP where the log is a terminal, for then
    /// the terminal was closed.
    pub(super) fn listen() -> Result<Self, DaemonError> {
        let (incoming, outgoing) = UnixStream::pair().map_err(system("make a socket pair"))?;
        let (hangup, user, end_at_once) = (Arc::default(), Arc::default(), Arc::default());
        let mut ends = vec![SIGTERM, SIGINT];
        let mut flags = vec![(SIGUSR1, &user)];
        match io::stderr().is_terminal() {
            true => ends.push(SIGHUP),
            false => flags.push((SIGHUP, &hangup)),
        }
        for (signal, flag) in flags {
            signal_hook::flag::register(signal, Arc::clone(flag)).map_err(system("listen for signals"))?;
        }
        for signal in ends {
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&end_at_once))
                .map_err(system("listen for signals"))?;
            let outgoing = outgoing.try_clone().map_err(system("copy a socket"))?;
            signal_hook::low_level::pipe::register(signal, outgoing).map_err(system("listen for signals"))?;
        }
        Ok(Self { incoming, outgoing, hangup, user, end_at_once })
    }

    /// Something that a queue thread wakes us with.
    pub(super) fn waker(&self) -> Result<Waker, DaemonError> {
        self.outgoing.try_clone().map(Waker).map_err(system("copy a socket"))
    }

    /// The next signal does not wait for an orderly end.
    pub(super) fn end_at_once_from_now_on(&self) {
        self.end_at_once.store(true, Ordering::Relaxed);
    }

    pub(super) fn wait(&mut self, span: Duration) -> Result<Wake, DaemonError> {
        let timeout =
            Timespec { tv_sec: span.as_secs().try_into().unwrap_or(1), tv_nsec: span.subsec_nanos().into() };
        let mut descriptors = [PollFd::from_borrowed_fd(self.incoming.as_fd(), PollFlags::IN)];
        let woken = rustix::event::poll(&mut descriptors, Some(&timeout));
        if self.hangup.swap(false, Ordering::Relaxed) {
            return Ok(Wake::Hangup);
        }
        if self.user.swap(false, Ordering::Relaxed) {
            return Ok(Wake::User);
        }
        match woken {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(Wake::Tick),
            Ok(_) => {
                let mut byte = [0];
                self.incoming.read_exact(&mut byte).map_err(system("read a signal"))?;
                Ok(match byte {
                    [Waker::BYTE] => Wake::ThreadEnded,
                    [Waker::CALL] => Wake::TakeoverRequest,
                    _ => Wake::Signal,
                })
            }
            Err(error) => Err(system("wait for signals")(error.into())),
        }
    }
}

/// Rings when a queue thread ends.
pub(super) struct Waker(pub(super) UnixStream);

impl Waker {
    /// Another one than signals write.
    const BYTE: u8 = b'!';

    /// A request to take over.
    const CALL: u8 = b'?';

    /// Another one like it.
    pub(super) fn another(&self) -> Result<Self, DaemonError> {
        self.0.try_clone().map(Self).map_err(system("copy a socket"))
    }

    /// Wakes the main thread for a request to take over.
    pub(super) fn call(&self) {
        let _ = (&self.0).write(&[Self::CALL]);
    }

    pub(super) fn ring(mut self) {
        // If the other end is gone, nobody is left to be told.
        let _ = self.0.write(&[Self::BYTE]);
    }
}
