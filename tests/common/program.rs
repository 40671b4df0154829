//! Programs of others that run beside a test, with what they say.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A child process with the lines of its output, until it is dropped.
pub(crate) struct Program {
    child: Child,
    end: Signal,
    log: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Starts a command. `end`: the signal that ends it.
    pub(crate) fn start(mut command: Command, end: Signal) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
                lines.for_each(|line| log.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned()));
            });
        }
        Self { child, end, log }
    }

    /// All lines so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The number of lines so far that satisfy a condition.
    pub(crate) fn count(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.log.lock().unwrap().iter().filter(|line| wanted(line)).count()
    }

    /// Waits for a line with a text in it.
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_for_lines(1, text);
    }

    /// Waits for so many lines with a text in each.
    pub(crate) fn wait_for_lines(&self, lines: usize, text: &str) {
        let found = patiently(|| (self.count(|line| line.contains(text)) >= lines).then_some(()));
        found.unwrap_or_else(|| panic!("not {lines} times {text:?} in {:#?}", self.log()));
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), self.end);
        // A stopped process takes no other signal than SIGKILL.
        let _ = kill_process(Pid::from_child(&self.child), Signal::CONT);
        if patiently(|| self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Asks until there is an answer; `None` after the deadline for programs of others.
pub(crate) fn patiently<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Longer than a phone takes to try again.
const DEADLINE: Duration = Duration::from_secs(60);
