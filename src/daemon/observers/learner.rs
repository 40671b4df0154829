//! Learning from the live queue what phones send, past the packets.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::daemon::event_log::EventSender;
use crate::daemon::observers::packet_tap::{PacketTap, TapFilter, TappedPacket};
use crate::daemon::thread::BackgroundThread;
use crate::event::Event;
use crate::inspect::{Decision, Scope};
use crate::learn::{ReportFormat, Roster};
use crate::packet::Packet;
use crate::state::file::replace;

/// The thread that learns from copies of packets. It ends when all taps are gone.
#[derive(Debug)]
pub(in crate::daemon) struct Learner {
    tap: PacketTap,
    wanted: Arc<AtomicBool>,
    thread: BackgroundThread,
}

/// Packets that came too fast.
struct Missed(AtomicU64);

impl TapFilter for Missed {
    fn wants(&self, _: &Decision, _: &[u8], _: bool) -> bool {
        true
    }

    fn missed(&self, _: &[u8]) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Learner {
    /// Starts it. The report goes to `file`, `-` being standard output.
    ///
    /// # Errors
    /// If the system has no room for a thread.
    pub(in crate::daemon) fn start(scope: Scope, file: PathBuf, sink: EventSender) -> io::Result<Self> {
        let missed = Arc::new(Missed(AtomicU64::default()));
        let (tap, packets) = PacketTap::new(Arc::clone(&missed) as Arc<dyn TapFilter>);
        let wanted = Arc::<AtomicBool>::default();
        let mut work =
            LearnerWork { roster: Roster::new(scope), file, missed, wanted: Arc::clone(&wanted), sink };
        let thread = BackgroundThread::spawn("learn", move || work.observe(&packets))?;
        Ok(Self { tap, wanted, thread })
    }

    /// The tap that queue threads give their packets to.
    pub(in crate::daemon) fn tap(&self) -> PacketTap {
        self.tap.clone()
    }

    /// Requests a report of what was learned so far.
    pub(in crate::daemon) fn write(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Writes the last report, and waits for that, but not for a disk or a reader that has come to a halt.
    pub(in crate::daemon) fn finish(self) {
        let Self { tap, thread, .. } = self;
        drop(tap);
        thread.wait(LAST_WORDS);
    }
}

struct LearnerWork {
    roster: Roster,
    file: PathBuf,
    missed: Arc<Missed>,
    wanted: Arc<AtomicBool>,
    sink: EventSender,
}

impl LearnerWork {
    fn observe(&mut self, packets: &Receiver<TappedPacket>) {
        loop {
            match packets.recv_timeout(LOOK_UP) {
                Ok(TappedPacket { bytes, .. }) => {
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
            Err(error) => Event::Warning(format!("the learned values can't be written to {shown}: {error}")),
        });
        let missed = self.missed.0.swap(0, Ordering::Relaxed);
        if missed > 0 {
            self.sink.send(Event::Warning(format!("{missed} packets came too fast to learn from")));
        }
    }
}

/// Writes a report whole or not at all, for its owner's eyes: it holds secrets.
fn write(roster: &Roster, file: &Path) -> io::Result<()> {
    let report = roster.report();
    let format = match file.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => ReportFormat::Toml { weak: false },
        Some("json") => ReportFormat::Json,
        _ => ReportFormat::Text,
    };
    if file == Path::new("-") {
        let mut out = io::stdout().lock();
        report.write(&mut out, format)?;
        return out.flush();
    }
    replace(file, |mut out| report.write(&mut out, format).map(|()| out))
}

/// How soon an order is seen where no packets come.
const LOOK_UP: Duration = Duration::from_millis(200);

/// How long the end of the gate waits for the last report.
const LAST_WORDS: Duration = Duration::from_secs(10);
