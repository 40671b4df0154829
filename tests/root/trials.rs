//! Trials, which need what not every machine has, and their names.

use std::env;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Trial};

use crate::common::netns::Netns;

/// How a trial ended that did not fail.
pub(crate) enum Outcome {
    /// The assertion held.
    Held,
    /// The machine can't make the case.
    Impossible(&'static str),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Held
    }
}

/// A trial in network namespaces, with a name that is its own within its suite.
pub(crate) struct NetnsTrial {
    name: String,
    /// Why it can't be run here.
    missing: Option<String>,
    case: Box<dyn FnOnce() -> Outcome + Send>,
}

impl NetnsTrial {
    /// The same under its full name.
    pub(crate) fn of(self, suite: &str) -> Trial {
        let Self { name, missing, case } = self;
        let name = format!("{suite}::{name}");
        Trial::ignorable_test(name.clone(), move || {
            if let Some(reason) = missing {
                return Ok(Completion::ignored_with(reason));
            }
            // Rights, processors and namespaces belong to a thread: what a trial makes of its own ends with it.
            let (began, thread) = (Instant::now(), thread::Builder::new().name(name.clone()).spawn(case)?);
            let outcome = thread.join();
            TIMES.lock().unwrap().push((began.elapsed(), name));
            Ok(match outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Outcome::Held => Completion::Completed,
                Outcome::Impossible(why) => Completion::ignored_with(why),
            })
        })
    }
}

/// Runs trials, two at a time unless the command line says otherwise: each runs a dozen processes, and such as time out
/// on each other's locks prove nothing.
pub(crate) fn run(trials: Vec<Trial>) -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads.get_or_insert(2);
    let conclusion = libtest_mimic::run(&args, trials);
    let mut times = TIMES.lock().unwrap();
    times.sort_unstable_by(|a, b| b.cmp(a));
    let long = times.iter().filter(|(time, _)| *time >= LONG).take(MOST);
    long.for_each(|(time, name)| println!("{:>5} s {name}", time.as_secs()));
    conclusion.exit_code()
}

/// How long each trial took.
static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// Trials of at least this time are named at the end, with it.
const LONG: Duration = Duration::from_secs(5);

/// How many of them.
const MOST: usize = 20;

/// A trial in network namespaces. It is ignored where there can be none.
pub(crate) fn in_netns<R: Into<Outcome>>(
    name: impl Into<String>,
    case: impl FnOnce() -> R + Send + 'static,
) -> NetnsTrial {
    in_netns_with(None, name, case)
}

/// The same for one that needs something else besides, and is ignored where that is missing.
pub(crate) fn in_netns_with<R: Into<Outcome>>(
    missing: Option<String>,
    name: impl Into<String>,
    case: impl FnOnce() -> R + Send + 'static,
) -> NetnsTrial {
    NetnsTrial { name: name.into(), missing: Netns::missing().or(missing), case: Box::new(|| case().into()) }
}

/// Which of these programs there isn't.
pub(crate) fn missing_program(programs: &[&str]) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    programs.iter().find(|program| !there(program)).map(|program| format!("needs {program}"))
}

/// Functions with their names, as constants want them: `&trials![apply_twice, moves::several_chains]` has `several_chains`
/// for the second one.
macro_rules! trials {
    ($($case:path),+ $(,)?) => { [$(($crate::trials::last_name(stringify!($case)), $case)),+] };
}
pub(crate) use trials;

/// The part of a path behind its last `::`.
pub(crate) const fn last_name(path: &str) -> &str {
    let mut start = path.len();
    while start > 0 && path.as_bytes()[start - 1] != b':' {
        start -= 1;
    }
    path.split_at(start).1
}
