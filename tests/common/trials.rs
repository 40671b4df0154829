//! Test programs whose trials need what not every machine has.

use std::env;
use std::process::ExitCode;
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Completion, Trial};

use super::netns::Netns;

/// How a trial ended that did not fail.
pub(crate) enum Outcome {
    /// What must hold did.
    Held,
    /// What it is about can't be made here.
    Impossible(&'static str),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Held
    }
}

/// Runs trials, two at a time unless the command line says otherwise: each runs a dozen processes, and such as time out
/// on each other's locks prove nothing.
pub(crate) fn run(trials: impl IntoIterator<Item = Trial>) -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads.get_or_insert(2);
    libtest_mimic::run(&args, trials.into_iter().collect()).exit_code()
}

/// A trial in network namespaces. It is ignored where there can be none.
pub(crate) fn in_netns<R: Into<Outcome>>(
    name: impl Into<String>,
    case: impl FnOnce() -> R + Send + 'static,
) -> Trial {
    in_netns_with(None, name, case)
}

/// The same for one that needs something else besides, and is ignored where that is missing.
pub(crate) fn in_netns_with<R: Into<Outcome>>(
    missing: Option<String>,
    name: impl Into<String>,
    case: impl FnOnce() -> R + Send + 'static,
) -> Trial {
    let missing = no_netns().or(missing);
    Trial::ignorable_test(name, move || {
        if let Some(reason) = missing {
            return Ok(Completion::ignored_with(reason));
        }
        Ok(match case().into() {
            Outcome::Held => Completion::Completed,
            Outcome::Impossible(why) => Completion::ignored_with(why),
        })
    })
}

/// [`Netns::missing`], tried once.
pub(crate) fn no_netns() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(Netns::missing).clone()
}

/// Which of these programs there isn't.
pub(crate) fn missing_program(programs: &[&str]) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    programs.iter().find(|program| !there(program)).map(|program| format!("needs {program}"))
}
