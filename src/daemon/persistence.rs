//! The thread that keeps the doors on disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use crate::daemon::context::Context;
use crate::daemon::snapshot::{restore, write_doors};
use crate::daemon::thread::BackgroundThread;
use crate::event::Event;
use crate::inspect::Inspector;
use crate::state::file::{SavedDoors, StateError, StateFile};
use crate::state::format::Saved;
use crate::time::Time;

/// Writes the doors down after they have changed, and at the end.
pub(super) struct DoorPersister {
    /// Closed to have it write for the last time.
    going_on: SyncSender<()>,
    thread: BackgroundThread,
    counts: Arc<WriteCounts>,
}

/// Counts of writes so far.
#[derive(Debug, Default)]
pub(super) struct WriteCounts {
    pub(super) writes: AtomicU64,
    pub(super) failures: AtomicU64,
}

impl DoorPersister {
    /// Opens the doors that are kept in the file, and starts to keep them there. Where the service manager has kept some as
    /// well, the younger ones count. Warnings go to the log; a gate without a memory is better than none.
    pub(super) fn start(path: &Path, kept: Option<&Saved>, context: &Context) -> Option<Self> {
        let Context { gate, clock, sink } = context;
        let open = |saved: &Saved| restore(&gate.load(), clock.now(), saved, sink);
        let warn = |text| sink.send(Event::Warning(format!("{FORGETS}: {text}")));
        let taken = StateFile::take(path).and_then(|file| Ok((file.read()?, file)));
        let (found, file) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                warn(error.to_string());
                kept.map(open);
                return None;
            }
        };
        match found {
            SavedDoors::Doors(saved) => open(match kept {
                Some(kept) if saved.stamp.since(&kept.stamp).is_zero() => kept,
                _ => &saved,
            }),
            SavedDoors::Nothing => _ = kept.map(open),
            SavedDoors::SetAside(damage, aside) => sink.send(Event::Warning(format!(
                "the doors of before are lost: {} can't be used, since {damage}; it is {} now",
                path.display(),
                aside.display()
            ))),
        }
        Self::begin(FileSource::Taken(file), context)
    }

    /// Starts to keep doors in the file of a gate that is about to end, as soon as it has.
    pub(super) fn follow(path: &Path, context: &Context) -> Option<Self> {
        Self::begin(FileSource::Wanted(path.to_owned()), context)
    }

    fn begin(place: FileSource, context: &Context) -> Option<Self> {
        let (going_on, ended) = mpsc::sync_channel(0);
        let counts = Arc::<WriteCounts>::default();
        let work = PersisterWork::new(context.clone(), Arc::clone(&counts));
        match BackgroundThread::spawn("state", move || work.take_and_keep(place, &ended)) {
            Ok(thread) => Some(Self { going_on, thread, counts }),
            Err(error) => {
                context.sink.send(Event::Warning(format!("{FORGETS}: {error}")));
                None
            }
        }
    }

    pub(super) fn counts(&self) -> Arc<WriteCounts> {
        Arc::clone(&self.counts)
    }

    /// Has it write for the last time, and waits for that, but not for a disk that has come to a halt.
    pub(super) fn finish(self) {
        drop(self.going_on);
        self.thread.wait(LAST_WORDS);
    }
}

/// Where to keep doors.
enum FileSource {
    Taken(StateFile),
    /// Another gate has it, and is about to let go of it.
    Wanted(PathBuf),
}

struct PersisterWork {
    context: Context,
    counts: Arc<WriteCounts>,
    /// When it last said that writing fails; `None` while it does not.
    failing: Option<Time>,
    /// When doors may be written again.
    next: Time,
    /// It is noted beside the file that this gate has dropped strangers.
    noted: bool,
}

impl PersisterWork {
    fn new(context: Context, counts: Arc<WriteCounts>) -> Self {
        Self { context, counts, failing: None, next: Time::default(), noted: false }
    }

    /// The work is gone at the end: the log waits for all who could still write to it.
    fn take_and_keep(mut self, place: FileSource, ended: &Receiver<()>) {
        let file = match place {
            FileSource::Taken(file) => file,
            FileSource::Wanted(path) => match self.wait_for(&path, ended) {
                Ok(Some(file)) => file,
                Ok(None) => return,
                Err(error) => return self.context.sink.send(Event::Warning(format!("{FORGETS}: {error}"))),
            },
        };
        self.keep(&file, ended);
    }

    /// Waits until another gate has let go of the file; `None` where this one ends before that, as it does when a third
    /// one takes over.
    fn wait_for(&self, path: &Path, ended: &Receiver<()>) -> Result<Option<StateFile>, StateError> {
        let mut until = Some(self.context.clock.now().after(LAST_WORDS));
        loop {
            match StateFile::take(path) {
                Err(error @ StateError::Taken(_)) => {
                    if until.take_if(|until| self.context.clock.now() >= *until).is_some() {
                        let text =
                            format!("doors are not kept yet, and are as soon as that is possible: {error}");
                        self.context.sink.send(Event::Warning(text));
                    }
                    if ended.recv_timeout(LOOK_UP) != Err(RecvTimeoutError::Timeout) {
                        return Ok(None);
                    }
                }
                taken => return taken.map(Some),
            }
        }
    }

    fn keep(&mut self, file: &StateFile, ended: &Receiver<()>) {
        loop {
            if !self.noted && !self.context.gate.load().monitors() {
                self.noted = true;
                self.note_enforced(file);
            }
            let end = ended.recv_timeout(LOOK_UP) != Err(RecvTimeoutError::Timeout);
            self.write_if_due(file, end);
            if end {
                return;
            }
        }
    }

    /// Writes doors that have changed, at most once in an [`INTERVAL`]; at the `end` in any case.
    fn write_if_due(&mut self, file: &StateFile, end: bool) {
        let began = self.context.clock.now();
        if end || (began >= self.next && take_changed(&self.context.gate.load())) {
            let outcome = self.write(file);
            let took = self.context.clock.now().since(began);
            self.next = began.after(INTERVAL.max(took * MOST_OF_THE_TIME));
            self.report(file, outcome, began);
        }
    }

    /// A gate that has dropped strangers does not go back to a grace by itself.
    fn note_enforced(&self, file: &StateFile) {
        if let Err(error) = file.note_enforced() {
            let text = format!(
                "{} can't be written, so [inspect] grace would begin again with a restart: {error}",
                crate::state::file::enforced(file.path()).display()
            );
            self.context.sink.send(Event::Warning(text));
        }
    }

    fn write(&self, file: &StateFile) -> io::Result<()> {
        let gate = self.context.gate.load_full();
        file.replace(|out| write_doors(&gate, self.context.clock, out))
    }

    /// Says once in a while that it fails, and that it does no more.
    fn report(&mut self, file: &StateFile, outcome: io::Result<()>, now: Time) {
        let shown = file.path().display();
        match outcome {
            Ok(()) => {
                self.counts.writes.fetch_add(1, Ordering::Relaxed);
                if self.failing.take().is_some() {
                    self.context.sink.send(Event::Note(format!("doors are kept in {shown} again")));
                }
            }
            Err(error) => {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                self.context.gate.load().doors().set_changed();
                if self.failing.is_none_or(|last| now.since(last) >= SAY_AGAIN) {
                    self.failing = Some(now);
                    self.context.sink.send(Event::Warning(format!(
                        "doors can't be kept in {shown}, and would not survive a restart: {error}; the gate \
                         continues, and tries again: free space, or name another file with --state PATH"
                    )));
                }
            }
        }
    }
}

/// Whether there is something to write. Of what has changed meanwhile the next call tells.
fn take_changed(gate: &Inspector) -> bool {
    let (doors, outbound) = (gate.doors().take_changed(), gate.outbound().take_changed());
    doors || outbound
}

/// The consequence of there being no file.
const FORGETS: &str = "doors will not survive a restart";

/// How often doors that change all the time are written: what is older than a second is on disk.
const INTERVAL: Duration = Duration::from_millis(700);

/// With very many doors: one part of the time for writing, and so many without.
const MOST_OF_THE_TIME: u32 = 8;

/// How soon a change is seen.
const LOOK_UP: Duration = Duration::from_millis(100);

/// How often the log says that the disk is full.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// How long the gate's end waits for the disk.
const LAST_WORDS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
