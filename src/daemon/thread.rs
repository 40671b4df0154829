//! Threads that the end of the gate waits for, but not for good.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// A thread with an end that can be waited for.
#[derive(Debug)]
pub(super) struct BackgroundThread {
    finished: Receiver<()>,
}

impl BackgroundThread {
    /// Starts it under this name, which a list of threads shows.
    ///
    /// # Errors
    /// If the system has no room for a thread.
    pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (sender, finished) = mpsc::sync_channel(1);
        let run = move || {
            work();
            // The receiver may be gone; that is fine.
            let _ = sender.send(());
        };
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { finished })
    }

    /// Waits for its end, for `patience` at most: a disk or a reader of the log may have come to a halt.
    pub(super) fn wait(self, patience: Duration) {
        let _ = self.finished.recv_timeout(patience);
    }
}
