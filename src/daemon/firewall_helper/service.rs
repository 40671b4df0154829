//! The watch as a service of its own: `sipknock firewall watch`.
//!
//! It is root with CAP_NET_ADMIN and CAP_NET_RAW, and the gate that it serves is another process with less. It puts the
//! rules in at the start, unless the owner has taken them out, and leaves them in at its end. What happens is in its own
//! log and, through the control socket, in the gate's. Without a control socket the gate knows nothing of its rules; the
//! log says so once.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::clock::Clock;
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{ControlRequest, RulesReport};
use crate::daemon::firewall_helper::pacing::{HEARTBEAT, hurry, timespec};
use crate::daemon::systemd::Systemd;
use crate::event::Event;
use crate::firewall::{Firewall, Plan};
use crate::harden;
use crate::rules_watch::{LoadPlan, RulesWatcher};

/// Puts the rules in and watches over them until a signal ends it. `load` reads the plan again, on SIGHUP and when the
/// owner has applied one.
///
/// # Errors
/// If the system does not give what that needs.
pub fn watch(plan: Plan, keep: bool, load: LoadPlan, socket: Option<PathBuf>) -> io::Result<()> {
    let (ends, again) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for (signal, flag) in [(SIGTERM, &ends), (SIGINT, &ends), (SIGHUP, &again)] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    harden::keep_memory_to_itself()?;
    hurry();
    let manager = Systemd::from_env();
    let reporter = match socket {
        Some(socket) => Some(Reporter::start(socket)?),
        None => {
            let text = "[control] socket is \"off\", so the gate is not told how its rules are: its metrics and /healthz do \
                        not show it";
            Event::Warning(text.to_owned()).write();
            None
        }
    };
    let mut watcher = RulesWatcher::new(Firewall::default(), plan, keep, load);
    begin(&mut watcher);
    let _ = harden::keep_to_iptables();
    manager.ready("watching over the rules");

    let clock = Clock::start();
    let mut report = clock.now();
    while !ends.load(Ordering::Relaxed) {
        if again.swap(false, Ordering::Relaxed) {
            manager.reloading();
            watcher.load_again();
            begin(&mut watcher);
            manager.ready("watching over the rules");
        }
        let looked = watcher.turn();
        if looked || clock.now() >= report {
            tell(&mut watcher, manager, reporter.as_ref());
            report = clock.now().after(HEARTBEAT);
        }
        let pause = watcher.pause().min(report.since(clock.now()));
        wait(watcher.descriptor(), pause)?;
    }
    manager.stopping();
    if let Some(reporter) = reporter {
        reporter.send(RulesReport { ends: true, ..watcher.report() }, true);
        reporter.finish();
    }
    Ok(())
}

/// Puts the rules in, unless they are to be out. If that fails it is tried again, as with rules that somebody removed.
fn begin(watcher: &mut RulesWatcher) {
    if watcher.is_held() {
        let text =
            "'sipknock firewall remove' took the rules out: they stay out until 'sipknock firewall apply'";
        Event::Warning(text.to_owned()).write();
        return;
    }
    match watcher.put_in() {
        Ok(notes) => notes.into_iter().for_each(|note| Event::Note(note).write()),
        Err(error) => Event::Warning(format!("the firewall rules can't be put in: {error}")).write(),
    }
    watcher.trust();
}

fn tell(watcher: &mut RulesWatcher, manager: Systemd, reporter: Option<&Reporter>) {
    loop {
        let report = watcher.report();
        let news = !report.changes.is_empty() || !report.warnings.is_empty();
        report.changes.iter().for_each(|change| Event::Rules(Box::new(change.clone())).write());
        report.warnings.iter().for_each(|warning| Event::Warning(warning.clone()).write());
        manager.status(&status(&report));
        if let Some(reporter) = reporter {
            reporter.send(report, news);
        }
        if !watcher.has_news() {
            return;
        }
    }
}

/// A line for the service manager.
fn status(report: &RulesReport) -> String {
    let states: Vec<_> =
        report.families.iter().map(|family| format!("{} {}", family.family, family.state)).collect();
    if states.is_empty() {
        return report.note.clone().unwrap_or_else(|| "no family has rules here".to_owned());
    }
    let times = if report.restores == 1 { "once".to_owned() } else { format!("{} times", report.restores) };
    let note = report.note.iter().map(|note| format!("; {note}"));
    format!("{}; put back {times}{}", states.join(", "), note.collect::<String>())
}

/// Waits for a change, a signal, or for so long.
fn wait(changes: Option<BorrowedFd<'_>>, pause: Duration) -> io::Result<()> {
    let mut descriptors: Vec<_> =
        changes.iter().map(|changes| PollFd::from_borrowed_fd(changes.as_fd(), PollFlags::IN)).collect();
    match rustix::event::poll(&mut descriptors, Some(&timespec(pause))) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Carries reports to the gate, on a thread of its own: a gate that does not answer keeps nobody from the rules.
struct Reporter {
    reports: mpsc::Sender<RulesReport>,
    waiting: Arc<AtomicUsize>,
    /// Closed when all reports have been carried.
    done: mpsc::Receiver<()>,
}

impl Reporter {
    fn start(socket: PathBuf) -> io::Result<Self> {
        let (reports, received) = mpsc::channel::<RulesReport>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        let (carrying, done) = mpsc::channel();
        let carry = move || {
            let mut carrier = Carrier { socket, client: None, unsaid: Vec::new(), refused: false };
            for report in received {
                left.fetch_sub(1, Ordering::Relaxed);
                carrier.carry(report);
            }
            drop::<mpsc::Sender<()>>(carrying);
        };
        thread::Builder::new().name("reporter".to_owned()).spawn(carry)?;
        Ok(Self { reports, waiting, done })
    }

    /// Waits until the gate has all reports, or does not take them in time.
    fn finish(self) {
        drop(self.reports);
        let _ = self.done.recv_timeout(LAST_WORDS);
    }

    /// A report without news may be left out.
    fn send(&self, report: RulesReport, news: bool) {
        if news || self.waiting.load(Ordering::Relaxed) == 0 {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // The thread ends with this process.
            let _ = self.reports.send(report);
        }
    }
}

struct Carrier {
    socket: PathBuf,
    client: Option<Client>,
    /// Reports with news that no gate has heard, oldest first.
    unsaid: Vec<RulesReport>,
    /// The gate would not hear it, which is said once.
    refused: bool,
}

impl Carrier {
    fn carry(&mut self, report: RulesReport) {
        let late = std::mem::take(&mut self.unsaid);
        // News of before, in front of how it is now.
        for report in late.into_iter().chain([report]) {
            if let Err(error) = self.say(&report) {
                self.client = None;
                self.complain(&error);
                if !report.changes.is_empty() || !report.warnings.is_empty() {
                    self.unsaid.push(report);
                }
            }
        }
        let surplus = self.unsaid.len().saturating_sub(MOST_UNSAID);
        self.unsaid.drain(..surplus);
    }

    fn say(&mut self, report: &RulesReport) -> Result<(), ClientError> {
        if self.client.is_none() {
            self.client = Some(Client::connect(&self.socket)?);
        }
        let Some(client) = &mut self.client else { return Ok(()) };
        let request = ControlRequest::Rules { report: Box::new(report.clone()) };
        client.ask(&request, |_| Ok(())).map(|_| ())
    }

    /// A gate that is not there yet, or is being restarted, hears the next one.
    fn complain(&mut self, error: &ClientError) {
        if matches!(error, ClientError::Refused(_)) && !std::mem::replace(&mut self.refused, true) {
            Event::Warning(format!("the gate is not told how its rules are: {error}")).write();
        }
    }
}

/// A gate answers at once, or is being stopped, too.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A fight with another program makes no more within the time that a gate takes to start.
const MOST_UNSAID: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::{IN_PLACE, RulesFamily};

    #[test]
    fn a_line_for_the_service_manager() {
        let family = |family: &str| RulesFamily {
            family: family.to_owned(),
            chain: "INPUT".to_owned(),
            state: IN_PLACE.to_owned(),
            detail: String::new(),
        };
        let unreadable = "the rules can't be read: iptables-save is not installed";
        for (families, restores, note, expected) in [
            (vec!["ipv4", "ipv6"], 2, None, "ipv4 in-place, ipv6 in-place; put back 2 times"),
            (vec!["ipv4"], 1, None, "ipv4 in-place; put back once"),
            (vec!["ipv4"], 0, Some("they are old"), "ipv4 in-place; put back 0 times; they are old"),
            (vec![], 0, Some(unreadable), unreadable),
            (vec![], 0, None, "no family has rules here"),
        ] {
            let families = families.into_iter().map(family).collect();
            let note = note.map(str::to_owned);
            assert_eq!(status(&RulesReport { families, restores, note, ..RulesReport::default() }), expected);
        }
    }
}
