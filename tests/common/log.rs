//! The log of a running gate, read so that load can't change what a test sees.
//!
//! Lines come late: a packet's verdict leaves before its event is made, a thread of its own writes the events, and the
//! test's own thread reads them. So a test either waits for a line ([`Gate::wait_for`] and its siblings), or takes all
//! lines once a mark behind them has come ([`Gate::lines`]), or reads the log of a gate that has ended.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use serde_json::Value;

use super::gate::{Gate, wait_until};

/// The lines that have been read so far.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(super) lines: Vec<Value>,
    /// Answers to SIGUSR1 among them.
    marks: usize,
}

impl Log {
    /// Takes in a line. A mark that [`Gate::lines`] has asked for is no line of the test's.
    pub(super) fn add(&mut self, line: Value) {
        let says = |text: &str| message(&line).starts_with(text);
        let (mark, learned) = (says("SIGUSR1 is for "), says("learned from "));
        self.marks += usize::from(mark || learned);
        if !mark {
            self.lines.push(line);
        }
    }

    fn find(&self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        self.lines.iter().find(|line| wanted(line)).cloned()
    }
}

impl Gate {
    /// Waits for an event of a kind.
    pub(crate) fn wait_for(&mut self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_line(&format!("event {kind:?}"), |line| line["event"] == kind && wanted(line))
    }

    /// Waits until there are that many events of a kind, and returns them. More may follow.
    pub(crate) fn wait_for_events(&self, kind: &str, count: usize) -> Vec<Value> {
        let events = || -> Vec<_> {
            let log = self.log.lock().unwrap();
            log.lines.iter().filter(|line| line["event"] == kind).cloned().collect()
        };
        let come = wait_until(|| Some(events()).filter(|events| events.len() >= count));
        come.unwrap_or_else(|| panic!("no {count} events {kind:?}: {:#?}", events()))
    }

    /// Waits for a warning with a text in it.
    pub(crate) fn wait_for_warning(&self, part: &str) -> String {
        self.wait_for_text("WARN", part)
    }

    /// Waits for a line with a text in it that is neither warning nor detail.
    pub(crate) fn wait_for_note(&self, part: &str) -> String {
        self.wait_for_text("INFO", part)
    }

    /// Waits for a detail with a text in it. A gate has them where it was started with `-v`.
    pub(crate) fn wait_for_detail(&self, part: &str) -> String {
        self.wait_for_text("DEBUG", part)
    }

    fn wait_for_text(&self, level: &str, part: &str) -> String {
        let wanted = |line: &Value| line["level"] == level && message(line).contains(part);
        message(&self.wait_for_line(&format!("{level} {part:?}"), wanted)).to_owned()
    }

    fn wait_for_line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = wait_until(|| self.log.lock().unwrap().find(&wanted));
        found.unwrap_or_else(|| panic!("no {what}; the log: {:#?}", self.log.lock().unwrap().lines))
    }

    /// Whether a line says this within the deadline.
    pub(crate) fn says(&self, text: &str) -> bool {
        let said = |line: &Value| message(line).contains(text);
        wait_until(|| self.log.lock().unwrap().find(said)).is_some()
    }

    /// All events of a kind that tell of what happened before this call.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["event"] == kind).collect()
    }

    /// The texts of all warnings of what happened before this call.
    pub(crate) fn warnings(&self) -> Vec<String> {
        warnings(&self.lines())
    }

    /// The texts of all that is good to know of what happened before this call.
    pub(crate) fn notes(&self) -> Vec<String> {
        texts(&self.lines(), "INFO")
    }

    /// All lines that tell of what happened before this call: of packets that were decided, of commands that were
    /// answered, and of all that the main thread did. The queue threads have told of their packets by then, and the main
    /// thread's answer to SIGUSR1, behind all those lines, has been read.
    ///
    /// # Panics
    /// Where the gate is halted, or logs nothing; and for processes that are no gates, which never say "started".
    pub(crate) fn lines(&self) -> Vec<Value> {
        wait_until(|| (self.has_started() || !self.is_running()).then_some(()))
            .expect("it is a gate, and starts or ends");
        self.settle();
        let before = self.log.lock().unwrap().marks;
        if self.is_running() {
            self.signal(Signal::USR1);
        }
        // The log of one that has ended is whole once it has been read to its end.
        let is_whole = || {
            let read = self.reader.as_ref().is_none_or(std::thread::JoinHandle::is_finished);
            read || self.log.lock().unwrap().marks > before
        };
        let whole = wait_until(|| is_whole().then_some(()));
        let log = self.log.lock().unwrap();
        assert!(whole.is_some(), "no answer to SIGUSR1 in the log: {:#?}", log.lines);
        log.lines.clone()
    }

    /// From then on SIGUSR1 does not end it.
    fn has_started(&self) -> bool {
        self.log.lock().unwrap().find(|line| line["event"] == "started").is_some()
    }

    fn is_running(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(Pid::from_child(&self.child)), options) {
            Ok(ended) => ended.is_none(),
            // Somebody has waited for it already.
            Err(Errno::CHILD) => false,
            Err(error) => panic!("waitid: {error}"),
        }
    }
}

/// The texts of all warnings in a log.
pub(crate) fn warnings(log: &[Value]) -> Vec<String> {
    texts(log, "WARN")
}

fn texts(log: &[Value], level: &str) -> Vec<String> {
    let lines = log.iter().filter(|line| line["level"] == level);
    lines.filter_map(|line| line["message"].as_str().map(str::to_owned)).collect()
}

fn message(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}
