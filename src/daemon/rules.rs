//! The firewall's rules of a gate that has no right to touch them any more.
//!
//! `run --firewall` takes its rules out at the end, which is iptables' work and root's. So before the gate gives its rights
//! up it starts itself anew as *keeper of the rules*, which keeps them. The keeper makes the same plan from the same words,
//! and does three things, when it is told to: put the rules in, bring them up to date, take them out. Nothing that the gate says can make it do
//! anything else. It ends when the gate is gone, however that ended, and leaves the rules in unless it was told to take
//! them out: a fault opens nothing.
//!
//! A thread would not do, since the gate's filters and limits hold for all of them; nor would rules that are taken out by
//! a capability that the gate keeps, since iptables is a program to start, with files of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::DaemonError;
use super::events::EventSink;
use crate::event::Event;
use crate::firewall::{Firewall, Plan, State};
use crate::harden;

/// The gate's side: how it reaches its keeper.
pub(super) struct RulesKeeper {
    _process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What the keeper is told, as a line of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    PutIn,
    BringUpToDate,
    TakeOut,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// The rules are as ordered; for the log.
    Done(Vec<String>),
    /// They were in already, and are somebody else's to take out.
    InAlready,
    /// Those of another configuration are in.
    Others,
    /// That failed.
    Failed(String),
}

/// Rules that were put in for this gate, and are taken out again.
pub(super) struct RulesInPlace(RulesKeeper);

impl RulesKeeper {
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
        let (orders, answers) =
            process.stdin.take().zip(process.stdout.take()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { _process: process, orders, answers: BufReader::new(answers) })
    }

    /// Has the rules put in where there are none. Where the same are there already, they are somebody else's to take out.
    pub(super) fn put_in(mut self, sink: &EventSink) -> Result<Option<RulesInPlace>, DaemonError> {
        match self.ask(Order::PutIn).map_err(DaemonError::Rules)? {
            Answer::Done(notes) => {
                notes.into_iter().map(Event::Note).for_each(|note| sink.send(note));
                Ok(Some(RulesInPlace(self)))
            }
            Answer::InAlready => {
                let text = "firewall rules are in place already, and stay at the end";
                sink.send(Event::Note(text.to_owned()));
                Ok(None)
            }
            Answer::Others => Err(DaemonError::OtherRules),
            Answer::Failed(text) => Err(DaemonError::Rules(text)),
        }
    }

    fn ask(&mut self, order: Order) -> Result<Answer, String> {
        let mut ask = || -> io::Result<Answer> {
            serde_json::to_writer(&mut self.orders, &order)?;
            self.orders.write_all(b"\n")?;
            let mut line = String::new();
            self.answers.read_line(&mut line)?;
            Ok(serde_json::from_str(&line)?)
        };
        ask().map_err(|error| format!("the process that keeps them is gone ({error})"))
    }
}

impl RulesInPlace {
    /// Those of a gate that was taken over are ours to take out, also where none were asked for: nobody else would. With
    /// `update` they become those of this configuration first.
    pub(super) fn inherit(mut keeper: RulesKeeper, update: bool, sink: &EventSink) -> Self {
        let updated = update.then(|| keeper.ask(Order::BringUpToDate));
        sink.send(match updated {
            None | Some(Ok(Answer::InAlready)) => Event::Note(
                "firewall rules of the gate before are taken over, and taken out at the end".to_owned(),
            ),
            Some(Ok(Answer::Done(_))) => Event::Note("firewall rules are brought up to date".to_owned()),
            // What is in place still leads here, and the gate is up.
            Some(Ok(Answer::Failed(error)) | Err(error)) => {
                Event::Warning(format!("the firewall rules stay as the gate before had them: {error}"))
            }
            Some(Ok(Answer::Others)) => {
                Event::Warning("the firewall rules stay as the gate before had them".to_owned())
            }
        });
        Self(keeper)
    }

    /// Has them taken out at a clean end. After a fault they stay, and do what `on_exit` says.
    pub(super) fn take_out(mut self, clean: bool, sink: &EventSink) -> Result<(), DaemonError> {
        if !clean {
            let text = "this is no clean end: the firewall rules stay, until 'sipknock firewall remove' takes them out";
            sink.send(Event::Warning(text.to_owned()));
            return Ok(());
        }
        match self.0.ask(Order::TakeOut) {
            Ok(Answer::Done(notes)) => {
                notes.into_iter().map(Event::Note).for_each(|note| sink.send(note));
                Ok(())
            }
            Ok(Answer::Failed(text)) | Err(text) => Err(DaemonError::RulesLeft(text)),
            Ok(answer) => Err(DaemonError::RulesLeft(format!("an odd answer, {answer:?}"))),
        }
    }
}

/// Whether this process was started to keep the rules of another one.
pub fn is_keeper() -> bool {
    std::env::var(ROLE).is_ok_and(|parent| {
        rustix::process::getppid().is_some_and(|pid| pid.as_raw_pid().to_string() == parent)
    })
}

/// Keeps the rules of the gate that started this process, until that is gone.
///
/// # Errors
/// Where it can't hear or answer.
pub fn keep(plan: &Plan) -> io::Result<()> {
    // Signals that are sent to all processes of a service are no orders: the gate gets them as well, and then gives its own.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        signal_hook::flag::register(signal, std::sync::Arc::default())?;
    }
    harden::keep_memory_to_itself()?;
    // What a list of processes shows.
    let _ = rustix::thread::set_name(c"sipknock-rules");
    let mut out = io::stdout().lock();
    for order in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&order?)? {
            Order::PutIn => put_in(plan).unwrap_or_else(|error| Answer::Failed(error.to_string())),
            Order::BringUpToDate => {
                bring_up_to_date(plan).unwrap_or_else(|error| Answer::Failed(error.to_string()))
            }
            Order::TakeOut => take_out().unwrap_or_else(|error| Answer::Failed(error.to_string())),
        };
        // Modules of the kernel are there by now.
        let _ = harden::keep_to_iptables();
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

fn put_in(plan: &Plan) -> Result<Answer, crate::firewall::Error> {
    let firewall = Firewall::default();
    let before = firewall.status(plan)?;
    if before.in_place() {
        return Ok(Answer::InAlready);
    }
    if !before.families.iter().all(|family| matches!(family.state, State::Absent | State::Skipped)) {
        return Ok(Answer::Others);
    }
    apply(&firewall, plan)
}

fn bring_up_to_date(plan: &Plan) -> Result<Answer, crate::firewall::Error> {
    let firewall = Firewall::default();
    if firewall.status(plan)?.in_place() { Ok(Answer::InAlready) } else { apply(&firewall, plan) }
}

fn apply(firewall: &Firewall, plan: &Plan) -> Result<Answer, crate::firewall::Error> {
    let families = firewall.apply(plan)?.families;
    let notes = families.into_iter().map(|family| {
        let notes: String = family.notes.iter().map(|note| format!("; {note}")).collect();
        format!("{}: firewall rules are in place{notes}", family.family.name())
    });
    Ok(Answer::Done(notes.collect()))
}

fn take_out() -> Result<Answer, crate::firewall::Error> {
    Firewall::default().remove()?;
    let text = "firewall rules are taken out: the ports are as they were without sipknock";
    Ok(Answer::Done(vec![text.to_owned()]))
}

/// The environment variable that tells a keeper so, and who started it.
const ROLE: &str = "SIPKNOCK_RULES_OF";
