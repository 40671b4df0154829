//! Learning from the live queue what phones send, past the packets.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use crate::daemon::event_log::EventSender;
use crate::event::Event;
use crate::inspect::Scope;
use crate::learn::{Format, Roster};
use crate::packet::Packet;

/// Takes copies of packets from the queue threads without ever making them wait.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Copies {
    packets: SyncSender<Box<[u8]>>,
    missed: Arc<AtomicU64>,
}

/// The thread that looks at them. It ends when all copies are gone.
#[derive(Debug)]
pub(in crate::daemon) struct Learner {
    copies: Copies,
    wanted: Arc<AtomicBool>,
    finished: Receiver<()>,
}

impl Learner {
    /// Starts it. What it learns goes to `file`, `-` being standard output.
    pub(in crate::daemon) fn start(scope: Scope, file: PathBuf, sink: EventSender) -> io::Result<Self> {
        let (packets, receiver) = mpsc::sync_channel(CAPACITY);
        let (tell, finished) = mpsc::sync_channel(1);
        let copies = Copies { packets, missed: Arc::default() };
        let wanted = Arc::<AtomicBool>::default();
        let mut work = Work {
            roster: Roster::new(scope),
            file,
            missed: Arc::clone(&copies.missed),
            wanted: Arc::clone(&wanted),
            sink,
        };
        let look = move || {
            work.look(&receiver);
            // Who does not wait any more need not know.
            let _ = tell.send(());
        };
        thread::Builder::new().name("learn".to_owned()).spawn(look)?;
        Ok(Self { copies, wanted, finished })
    }

    /// What queue threads give their packets to.
    pub(in crate::daemon) fn copies(&self) -> Copies {
        self.copies.clone()
    }

    /// Has it write down what it knows, soon.
    pub(in crate::daemon) fn write(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Has it write down what it knows, and waits for that, but not for a disk or a reader that has come to a halt.
    pub(in crate::daemon) fn finish(self) {
        let Self { copies, finished, .. } = self;
        drop(copies);
        let _ = finished.recv_timeout(LAST_WORDS);
    }
}

impl Copies {
    /// Gives it a packet; where it is too far behind, the packet is only counted.
    pub(in crate::daemon) fn add(&self, packet: &[u8]) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.packets.try_send(packet.into())
        {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Work {
    roster: Roster,
    file: PathBuf,
    missed: Arc<AtomicU64>,
    wanted: Arc<AtomicBool>,
    sink: EventSender,
}

impl Work {
    fn look(&mut self, packets: &Receiver<Box<[u8]>>) {
        loop {
            match packets.recv_timeout(LOOK_UP) {
                Ok(bytes) => {
                    if let Ok(packet) = Packet::parse(&bytes) {
                        self.roster.observe(&packet);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.write(),
            }
            if self.wanted.swap(false, Ordering::Relaxed) {
                self.write();
            }
        }
    }

    fn write(&self) {
        let requests = self.roster.requests();
        let shown = self.file.display();
        self.sink.send(match write(&self.roster, &self.file) {
            Ok(()) => Event::Note(format!("learned from {requests} requests: written to {shown}")),
            Err(error) => Event::Warning(format!("what was learned can't be written to {shown}: {error}")),
        });
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            self.sink.send(Event::Warning(format!("{missed} packets came too fast to learn from")));
        }
    }
}

/// Writes a report whole or not at all, for its owner's eyes: it holds secrets.
fn write(roster: &Roster, file: &Path) -> io::Result<()> {
    let report = roster.report();
    let format = match file.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => Format::Toml { weak: false },
        Some("json") => Format::Json,
        _ => Format::Text,
    };
    if file == Path::new("-") {
        let mut out = io::stdout().lock();
        report.write(&mut out, format)?;
        return out.flush();
    }
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".new");
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
    let mut out = BufWriter::new(open?);
    report.write(&mut out, format)?;
    out.into_inner()?.sync_all()?;
    fs::rename(&unfinished, file)
}

/// Packets that wait to be looked at: a second of a busy box's.
const CAPACITY: usize = 4096;

/// How soon an order is seen where no packets come.
const LOOK_UP: Duration = Duration::from_millis(200);

/// How long the end of the gate waits for the last report.
const LAST_WORDS: Duration = Duration::from_secs(10);
