//! The firewall's rules of a gate that has no right to touch them any more.
//!
//! A gate gives up all rights but CAP_NET_ADMIN and may start no program, and iptables is a program. So rules are put in,
//! watched over, put back and taken out by another process. There are two ways to have one:
//!
//! | | started by | rights | is told | tells |
//! |---|---|---|---|---|
//! | the helper | a gate that root starts, before it gives its rights up | root, CAP_NET_ADMIN, CAP_NET_RAW | orders through a pipe ([`Order`]) | answers and reports through another ([`Line`]) |
//! | [`service`] | systemd, as `sipknock firewall watch` (dist/systemd/sipknock-rules.service) | root, the same two, sandboxed | signals | reports through the control socket |
//!
//! The helper makes the same plan from the same words as its gate. Nothing that the gate says can make it do anything
//! else. It ends with the gate, however that ended, and leaves the rules in unless it was told to take them out: a fault
//! opens nothing. Both do their watching with a [`Watcher`], and both report every [`HEARTBEAT`], so that a gate knows when
//! nobody watches any more ([`RulesState`]).
//!
//! A thread would not do, since the gate's filters and limits hold for all of them; nor would rules that are taken out by
//! a capability that the gate keeps, since iptables is a program to start, with files of its own.

mod pacing;
pub(super) mod service;
mod state;

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::clock::Clock;
use crate::control::protocol::RulesReport;
use crate::daemon::error::{DaemonError, system};
use crate::daemon::event_log::EventSender;
use crate::daemon::firewall_helper::pacing::{HEARTBEAT, hurry, timespec};
pub(super) use crate::daemon::firewall_helper::state::RulesState;
use crate::event::Event;
use crate::firewall::{FamilyState, Firewall, FirewallError, Plan};
use crate::harden;
use crate::rules_watch::{LoadPlan, RulesWatcher};
use crate::time::Time;

/// A helper that nobody talks to yet: it is started before there is a second thread.
pub(super) struct FirewallHelper {
    process: Child,
    orders: ChildStdin,
    lines: ChildStdout,
}

/// The gate's side: how it reaches its helper.
struct HelperClient {
    _process: Child,
    orders: ChildStdin,
    answers: mpsc::Receiver<HelperAnswer>,
}

/// An order to the helper, as a line of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HelperOrder {
    PutIn,
    BringUpToDate,
    /// Watch over what is there.
    Watch,
    TakeOut,
}

/// A line of JSON from the helper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HelperLine {
    /// One for each order.
    Answer(HelperAnswer),
    /// Unasked.
    Report(Box<RulesReport>),
}

/// The helper's answer to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HelperAnswer {
    /// The rules are as ordered; for the log.
    Done(Vec<String>),
    /// They were in already, and are somebody else's to take out.
    InAlready,
    /// Those of another configuration are in.
    Others,
    /// That failed.
    Failed(String),
}

/// The firewall's rules, with the process that watches over them.
pub(super) struct InstalledRules {
    helper: HelperClient,
    /// They were put in for this gate, and are taken out with it.
    ours: bool,
}

impl FirewallHelper {
    /// Starts it, with the words of this process.
    pub(super) fn start() -> io::Result<Self> {
        let mut process = Command::new("/proc/self/exe")
            .args(std::env::args_os().skip(1))
            .env(ROLE, std::process::id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C is for the gate, which then has the rules taken out.
            .process_group(0)
            .spawn()?;
        let (orders, lines) =
            process.stdin.take().zip(process.stdout.take()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { process, orders, lines })
    }

    /// Listens to it from here on: reports go to `state`.
    fn attend(self, state: Arc<RulesState>) -> io::Result<HelperClient> {
        let Self { process, orders, lines } = self;
        let (answers, received) = mpsc::channel();
        let listen = move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    // The gate may be ending, and wait for none.
                    Ok(HelperLine::Answer(answer)) => _ = answers.send(answer),
                    Ok(HelperLine::Report(report)) => state.take(*report),
                    Err(_) => break,
                }
            }
            state.lost("the process that does is gone: restart the gate");
        };
        thread::Builder::new().name("rules".to_owned()).spawn(listen)?;
        Ok(HelperClient { _process: process, orders, answers: received })
    }

    /// Has the rules put in if there are none, and watched over. If the same are there already, they are somebody else's
    /// to take out.
    pub(super) fn put_in(
        self,
        took_over: bool,
        state: &Arc<RulesState>,
        sink: &EventSender,
    ) -> Result<InstalledRules, DaemonError> {
        let mut helper = self.attend(Arc::clone(state)).map_err(system("start a thread for the rules"))?;
        let failed = match helper.ask(HelperOrder::PutIn).map_err(DaemonError::Rules)? {
            HelperAnswer::Done(notes) => {
                notes.into_iter().map(Event::Note).for_each(|note| sink.send(note));
                return Ok(InstalledRules { helper, ours: true });
            }
            HelperAnswer::InAlready => {
                let text = "firewall rules are in place already, and stay at the end";
                sink.send(Event::Note(text.to_owned()));
                return Ok(InstalledRules { helper, ours: false });
            }
            HelperAnswer::Others => DaemonError::OtherRules,
            HelperAnswer::Failed(text) => DaemonError::Rules(text),
        };
        if !took_over {
            return Err(failed);
        }
        // Those that are in place lead here, and the gate before is gone: no reason to end.
        sink.send(Event::Warning(format!("the firewall rules stay as they are: {failed}")));
        Ok(InstalledRules { helper, ours: false })
    }

    /// Has what is there watched over. A gate goes on without that.
    pub(super) fn watch(self, state: &Arc<RulesState>, sink: &EventSender) -> Option<InstalledRules> {
        let begin = || -> Result<InstalledRules, String> {
            let mut helper = self.attend(Arc::clone(state)).map_err(|error| error.to_string())?;
            helper.ask(HelperOrder::Watch)?;
            Ok(InstalledRules { helper, ours: false })
        };
        let failed = |error| sink.send(Event::Warning(format!("no process watches the rules: {error}")));
        begin().map_err(failed).ok()
    }

    /// Those of a gate that was taken over are ours to take out, also if none were asked for: nobody else would. With
    /// `update` they become those of this configuration first.
    pub(super) fn inherit(
        self,
        update: bool,
        state: &Arc<RulesState>,
        sink: &EventSender,
    ) -> Result<InstalledRules, DaemonError> {
        let mut helper = self.attend(Arc::clone(state)).map_err(system("start a thread for the rules"))?;
        let order = if update { HelperOrder::BringUpToDate } else { HelperOrder::Watch };
        let updated = helper.ask(order);
        sink.send(match updated {
            Ok(HelperAnswer::Done(_)) if update => {
                Event::Note("firewall rules are brought up to date".to_owned())
            }
            Ok(HelperAnswer::Done(_) | HelperAnswer::InAlready) => Event::Note(
                "firewall rules of the gate before are taken over, and taken out at the end".to_owned(),
            ),
            // The rules in place still lead here, and the gate is up.
            Ok(HelperAnswer::Failed(error)) | Err(error) => {
                Event::Warning(format!("the firewall rules stay as the gate before had them: {error}"))
            }
            Ok(HelperAnswer::Others) => {
                Event::Warning("the firewall rules stay as the gate before had them".to_owned())
            }
        });
        Ok(InstalledRules { helper, ours: true })
    }
}

impl HelperClient {
    fn ask(&mut self, order: HelperOrder) -> Result<HelperAnswer, String> {
        let mut ask = || -> io::Result<HelperAnswer> {
            serde_json::to_writer(&mut self.orders, &order)?;
            self.orders.write_all(b"\n")?;
            self.answers.recv().map_err(|_| io::ErrorKind::UnexpectedEof.into())
        };
        ask().map_err(|error| format!("the process that keeps them is gone ({error})"))
    }
}

impl InstalledRules {
    /// Whether they go with this gate.
    pub(super) fn are_ours(&self) -> bool {
        self.ours
    }

    /// Has them taken out at a clean end, if they are ours. After a fault they stay, and do what `on_exit` says.
    pub(super) fn take_out(mut self, clean: bool, sink: &EventSender) -> Result<(), DaemonError> {
        if !self.ours {
            return Ok(());
        }
        if !clean {
            let text = "this is no clean end: the firewall rules stay, until 'sipknock firewall remove' takes them out";
            sink.send(Event::Warning(text.to_owned()));
            return Ok(());
        }
        match self.helper.ask(HelperOrder::TakeOut) {
            Ok(HelperAnswer::Done(notes)) => {
                notes.into_iter().map(Event::Note).for_each(|note| sink.send(note));
                Ok(())
            }
            Ok(HelperAnswer::Failed(text)) | Err(text) => Err(DaemonError::RulesLeft(text)),
            Ok(answer) => Err(DaemonError::RulesLeft(format!("an odd answer, {answer:?}"))),
        }
    }
}

/// Whether this process was started to keep the rules of another one.
pub fn is_helper() -> bool {
    std::env::var(ROLE).is_ok_and(|parent| {
        rustix::process::getppid().is_some_and(|pid| pid.as_raw_pid().to_string() == parent)
    })
}

/// Keeps the rules of the gate that started this process, until that is gone. `load` reads the plan.
///
/// # Errors
/// If it can't hear or answer.
pub fn keep(plan: &Plan, restores: bool, load: LoadPlan) -> io::Result<()> {
    // Signals that are sent to all processes of a service are no orders: the gate gets them as well, and then gives its own.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    harden::keep_memory_to_itself()?;
    hurry();
    // The name in a list of processes.
    let _ = rustix::thread::set_name(c"sipknock-rules");
    // A gate that is stopped in its tracks reads nothing, and its rules are kept all the same.
    rustix::io::ioctl_fionbio(io::stdout(), true)?;
    let mut helper =
        Helper { plan: plan.clone(), restores, load: Some(load), watcher: None, unread: Vec::new() };
    helper.run()
}

/// The helper itself.
struct Helper {
    plan: Plan,
    restores: bool,
    /// The watcher's, once there is one.
    load: Option<LoadPlan>,
    watcher: Option<RulesWatcher>,
    /// The beginning of an order.
    unread: Vec<u8>,
}

impl Helper {
    fn run(&mut self) -> io::Result<()> {
        let clock = Clock::start();
        let mut report = Time::MAX;
        loop {
            let pause = self.watcher.as_ref().map_or(Duration::MAX, RulesWatcher::pause);
            let pause = pause.min(report.since(clock.now()));
            let changes = self.watcher.as_ref().and_then(RulesWatcher::descriptor);
            if wait_for(io::stdin().as_fd(), changes, pause)? {
                let mut buffer = [0; 512];
                match rustix::io::read(io::stdin(), &mut buffer) {
                    // The gate is gone.
                    Ok(0) => return Ok(()),
                    Ok(length) => self.unread.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            while let Some(order) = self.next_order()? {
                let answer = self.carry_out(order);
                // Modules of the kernel are there by now.
                let _ = harden::keep_to_iptables();
                say(&HelperLine::Answer(answer))?;
                report = clock.now();
            }
            let Some(watcher) = &mut self.watcher else { continue };
            let looked = watcher.turn();
            if looked || clock.now() >= report {
                offer(watcher)?;
                report = clock.now().after(HEARTBEAT);
            }
        }
    }

    fn next_order(&mut self) -> io::Result<Option<HelperOrder>> {
        let Some(end) = memchr::memchr(b'\n', &self.unread) else { return Ok(None) };
        let rest = self.unread.split_off(end + 1);
        let line = std::mem::replace(&mut self.unread, rest);
        Ok(Some(serde_json::from_slice(&line)?))
    }

    fn carry_out(&mut self, order: HelperOrder) -> HelperAnswer {
        let failed = |error: FirewallError| HelperAnswer::Failed(error.to_string());
        match order {
            HelperOrder::Watch => {
                self.watch();
                HelperAnswer::Done(Vec::new())
            }
            HelperOrder::PutIn => match self.obstacle() {
                Ok(None) => self.apply(),
                Ok(Some(answer)) => {
                    if answer == HelperAnswer::InAlready {
                        self.watch();
                    }
                    answer
                }
                Err(error) => failed(error),
            },
            HelperOrder::BringUpToDate => match Firewall::default().status(&self.plan) {
                Ok(status) if status.in_place() => {
                    self.watch();
                    HelperAnswer::InAlready
                }
                Ok(_) => self.apply(),
                Err(error) => failed(error),
            },
            HelperOrder::TakeOut => {
                // Before it would put them back.
                self.watcher = None;
                take_out().unwrap_or_else(failed)
            }
        }
    }

    /// Why rules are not put in.
    fn obstacle(&self) -> Result<Option<HelperAnswer>, FirewallError> {
        let before = Firewall::default().status(&self.plan)?;
        if before.in_place() {
            return Ok(Some(HelperAnswer::InAlready));
        }
        let none = before
            .families
            .iter()
            .all(|family| matches!(family.state, FamilyState::Absent | FamilyState::Skipped));
        Ok((!none).then_some(HelperAnswer::Others))
    }

    fn apply(&mut self) -> HelperAnswer {
        let watcher = self.watch();
        match watcher.put_in() {
            Ok(notes) => {
                watcher.trust();
                HelperAnswer::Done(notes)
            }
            Err(error) => HelperAnswer::Failed(error),
        }
    }

    fn watch(&mut self) -> &mut RulesWatcher {
        let (plan, restores, load) = (&self.plan, self.restores, &mut self.load);
        self.watcher.get_or_insert_with(|| {
            let load = load.take().unwrap_or_else(|| Box::new(|| Err("it was read once".to_owned())));
            RulesWatcher::new(Firewall::default(), plan.clone(), restores, load)
        })
    }
}

/// Waits for an order, for a change, or for so long. Returns whether there is an order, or the end of them.
fn wait_for(
    orders: std::os::fd::BorrowedFd<'_>,
    changes: Option<std::os::fd::BorrowedFd<'_>>,
    pause: Duration,
) -> io::Result<bool> {
    let mut descriptors: Vec<_> = std::iter::once(orders)
        .chain(changes)
        .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
        .collect();
    match rustix::event::poll(&mut descriptors, Some(&timespec(pause))) {
        Ok(_) => Ok(descriptors.first().is_some_and(|orders| !orders.revents().is_empty())),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes all of a line, however long the gate takes to read it.
fn say(line: &HelperLine) -> io::Result<()> {
    let text = text(line)?;
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        match rustix::io::write(io::stdout(), rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::AGAIN) => {
                let out = io::stdout();
                let mut descriptors = [PollFd::from_borrowed_fd(out.as_fd(), PollFlags::OUT)];
                let _ = rustix::event::poll(&mut descriptors, None);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Says how the rules are, as far as the gate reads it now.
fn offer(watcher: &mut RulesWatcher) -> io::Result<()> {
    loop {
        let line = HelperLine::Report(Box::new(watcher.report()));
        let text = text(&line)?;
        // A pipe takes as much as this whole or not at all (pipe(7), PIPE_BUF).
        match rustix::io::write(io::stdout(), &text) {
            Ok(_) if watcher.has_news() => {}
            Ok(_) => return Ok(()),
            Err(Errno::AGAIN | Errno::INTR) => {
                if let HelperLine::Report(report) = line {
                    watcher.say_again(*report);
                }
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn text(line: &HelperLine) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

fn take_out() -> Result<HelperAnswer, FirewallError> {
    Firewall::default().remove()?;
    let text = "firewall rules are taken out: the ports are as they were without sipknock";
    Ok(HelperAnswer::Done(vec![text.to_owned()]))
}

/// The environment variable that tells a helper so, and who started it.
const ROLE: &str = "SIPKNOCK_RULES_OF";
