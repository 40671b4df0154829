//! Waiting for somebody to say that new rules are fine: on the terminal, or from another shell.
//!
//! Whoever loses the machine with a change can't say anything, so everything but a clear yes means no: the time
//! that runs out, another word, the terminal that goes away (SIGHUP), Ctrl-C.

use std::fs::{self, DirBuilder};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

use crate::clock::Clock;

/// Why nothing can be waited for, or nobody waits.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// Somebody waits already.
    #[error(
        "another 'firewall apply --confirm' waits for its answer: give it with 'sipknock firewall confirm', or wait \
         until its time is up, and try again"
    )]
    Busy,
    /// Nobody waits.
    #[error(
        "no 'firewall apply --confirm' waits for an answer here: if it did, its time is up and the rules are as they \
         were before; 'sipknock firewall status' shows them"
    )]
    Nobody,
    /// The one that waited has decided already.
    #[error(
        "this came too late: the rules are put back as they were before; apply them again, with a longer time"
    )]
    Late,
    /// The system would not give what is needed.
    #[error("{what}: {error}; waiting for an answer needs root")]
    System {
        /// What was wanted.
        what: String,
        /// Why not.
        error: io::Error,
    },
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The rules shall stay.
    Yes,
    /// Somebody said something else on the terminal.
    No,
    /// Nobody said anything.
    TimeUp,
    /// A signal came: the terminal is gone, or somebody pressed Ctrl-C.
    Interrupted,
}

/// Ready to hear an answer. It is made before the rules change, so that no signal can come in between and leave
/// them changed.
#[derive(Debug)]
pub struct PendingConfirmation {
    path: PathBuf,
    listener: UnixListener,
    signals: UnixStream,
}

impl PendingConfirmation {
    /// Begins to listen, on a socket that is this network namespace's own, as its rules are.
    ///
    /// # Errors
    /// Where somebody else waits already, or without root.
    pub fn begin() -> Result<Self, ConfirmError> {
        let (incoming, outgoing) = UnixStream::pair().map_err(|error| system("make a socket pair", error))?;
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let outgoing = outgoing.try_clone().map_err(|error| system("copy a socket", error))?;
            signal_hook::low_level::pipe::register(signal, outgoing)
                .map_err(|error| system("listen for signals", error))?;
        }
        // Stopped by Ctrl-Z, it could not put anything back.
        signal_hook::flag::register(SIGTSTP, Arc::default())
            .map_err(|error| system("listen for signals", error))?;
        let path = socket_path()?;
        let listener = listen(&path)?;
        Ok(Self { path, listener, signals: incoming })
    }

    /// Waits for the answer. `from_terminal`: a line on standard input is one.
    pub fn wait(mut self, span: Duration, from_terminal: bool) -> Confirmation {
        let (answer, caller) = self.listen_for(span, from_terminal);
        if let (Confirmation::Yes, Some(mut caller)) = (answer, caller) {
            // It may have gone in the meantime; what it said counts.
            let _ = caller.write_all(HEARD);
        }
        answer
    }

    fn listen_for(&mut self, span: Duration, from_terminal: bool) -> (Confirmation, Option<UnixStream>) {
        let clock = Clock::start();
        let deadline = clock.now().after(span);
        let stdin = io::stdin();
        loop {
            let left = deadline.since(clock.now());
            if left.is_zero() {
                return (Confirmation::TimeUp, None);
            }
            let ready = {
                let mut descriptors = vec![
                    PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                    PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
                ];
                // Reading from a terminal in the background would stop this process (SIGTTIN).
                if from_terminal && in_foreground() {
                    descriptors.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
                }
                // Not for the whole time, since what was put into the background may come back.
                let _ = rustix::event::poll(&mut descriptors, Some(&timespec(left.min(LOOK_UP))));
                let ready = |index: usize| descriptors.get(index).is_some_and(|fd| !fd.revents().is_empty());
                [ready(0), ready(1), ready(2)]
            };
            match ready {
                [true, _, _] => return (Confirmation::Interrupted, None),
                [_, true, _] => {
                    if let Some(caller) = self.caller() {
                        return (Confirmation::Yes, Some(caller));
                    }
                }
                [_, _, true] => match line(&mut stdin.lock()) {
                    Some(answer) => return (answer, None),
                    None => say("type yes, and Enter, to keep the new rules; or no"),
                },
                _ => {}
            }
        }
    }

    /// Somebody who may say it, and does.
    fn caller(&self) -> Option<UnixStream> {
        let (mut caller, _) = self.listener.accept().ok()?;
        let peer = rustix::net::sockopt::socket_peercred(&caller).ok()?;
        if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
            return None;
        }
        // Nobody keeps this from its deadline by saying nothing.
        caller.set_read_timeout(Some(PATIENCE)).ok()?;
        caller.set_write_timeout(Some(PATIENCE)).ok()?;
        let mut word = [0; CONFIRM.len()];
        caller.read_exact(&mut word).ok()?;
        (word == *CONFIRM).then_some(caller)
    }
}

impl Drop for PendingConfirmation {
    fn drop(&mut self) {
        // What stays is recognised as stale by the next one.
        let _ = fs::remove_file(&self.path);
    }
}

/// Says yes to whoever waits in this network namespace.
///
/// # Errors
/// Where nobody waits, or not any more.
pub fn confirm() -> Result<(), ConfirmError> {
    let path = socket_path()?;
    let mut waiting = UnixStream::connect(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ConfirmError::Nobody,
        _ => system(&format!("open {}", path.display()), error),
    })?;
    let mut answer = [0; HEARD.len()];
    let said = waiting
        .write_all(CONFIRM)
        // Until now it may be busy with a caller that says nothing.
        .and_then(|()| waiting.set_read_timeout(Some(3 * PATIENCE)))
        .and_then(|()| waiting.read_exact(&mut answer));
    match said {
        Ok(()) if answer == *HEARD => Ok(()),
        _ => Err(ConfirmError::Late),
    }
}

/// Whether somebody can answer on standard input.
pub fn has_terminal() -> bool {
    io::stdin().is_terminal()
}

/// A line from the terminal; `None` for one that is neither yes nor no.
fn line(input: &mut impl Read) -> Option<Confirmation> {
    let mut line = [0; 64];
    // In a terminal a read gives a line. Its end is Ctrl-D, or the terminal is gone.
    let length = match input.read(&mut line) {
        Ok(0) | Err(_) => return Some(Confirmation::No),
        Ok(length) => length,
    };
    let line = String::from_utf8_lossy(line.get(..length).unwrap_or_default()).trim().to_lowercase();
    match line.as_str() {
        "yes" | "y" => Some(Confirmation::Yes),
        "no" | "n" => Some(Confirmation::No),
        _ => None,
    }
}

fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// One that nobody listens on was left by somebody who was killed.
fn listen(path: &Path) -> Result<UnixListener, ConfirmError> {
    let bind = || UnixListener::bind(path);
    let listener = match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).is_ok() {
                return Err(ConfirmError::Busy);
            }
            let _ = fs::remove_file(path);
            bind()
        }
        bound => bound,
    };
    listener.map_err(|error| system(&format!("listen on {}", path.display()), error))
}

/// In a folder that only root can write to; the namespace's inode tells two of them apart.
fn socket_path() -> Result<PathBuf, ConfirmError> {
    let folder = Path::new(FOLDER);
    if let Err(error) = DirBuilder::new().mode(0o755).recursive(true).create(folder) {
        return Err(system(&format!("make the folder {FOLDER}"), error));
    }
    let namespace =
        fs::metadata("/proc/thread-self/ns/net").map_err(|error| system("look at /proc", error))?;
    Ok(folder.join(format!("confirm-{}.sock", namespace.ino())))
}

/// A terminal that is gone takes no text, and that is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn timespec(span: Duration) -> Timespec {
    Timespec { tv_sec: span.as_secs().try_into().unwrap_or(1), tv_nsec: span.subsec_nanos().into() }
}

fn system(what: &str, error: io::Error) -> ConfirmError {
    ConfirmError::System { what: what.to_owned(), error }
}

/// What the caller says, and what it hears when that counts.
const CONFIRM: &[u8; 8] = b"confirm\n";
const HEARD: &[u8; 6] = b"heard\n";

/// Not the gate's own folder: that one belongs to the user it runs as, and goes when its service stops
/// (RuntimeDirectory=, systemd.exec(5)).
pub(super) const FOLDER: &str = "/run/sipknock-firewall";

/// How long a caller may take to say its word: local, so this is long.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often to see whether the terminal is ours.
const LOOK_UP: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        for (typed, answer) in [
            ("yes\n", Some(Confirmation::Yes)),
            (" YES \r\n", Some(Confirmation::Yes)),
            ("y\n", Some(Confirmation::Yes)),
            ("no\n", Some(Confirmation::No)),
            ("", Some(Confirmation::No)),
            ("\n", None),
            ("yesterday\n", None),
            ("iptables -F\n", None),
        ] {
            assert_eq!(line(&mut typed.as_bytes()), answer, "{typed:?}");
        }
    }
}
