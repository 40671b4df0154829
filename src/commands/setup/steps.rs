//! The steps of setup, once they are agreed on.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Serialize;

use crate::clock::Clock;
use crate::commands::failure::{Failure, WorkError};
use crate::config::{Config, DEFAULT_PATH, DEFAULT_USER, shell_word};
use crate::control::client::Client;
use crate::inspect::Mode;
use crate::setup::files;
use crate::setup::proposal::span;
use crate::state::file::has_enforced;

/// A step that was taken.
#[derive(Serialize)]
pub(super) struct StepReport {
    step: &'static str,
    pub(super) state: StepState,
    text: String,
}

/// The outcome of a step.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StepState {
    /// It is done.
    Done,
    /// It is left out: refused by an answer or a flag, or nothing that setup can do.
    LeftOut,
    /// It was tried.
    Failed,
}

impl StepReport {
    fn new(step: &'static str, text: impl Into<String>) -> Self {
        Self { step, state: StepState::Done, text: text.into() }
    }

    pub(super) fn left_out(step: &'static str, text: impl Into<String>) -> Self {
        Self { state: StepState::LeftOut, ..Self::new(step, text) }
    }
}

impl fmt::Display for StepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.state == StepState::Failed { "failed: " } else { "" };
        write!(f, "{mark}{}", self.text)
    }
}

/// A file, and its text.
pub(super) struct NewFile {
    pub(super) path: PathBuf,
    /// The text that it has; `None` if it is not there.
    pub(super) before: Option<String>,
    pub(super) text: String,
}

/// The gate that is to be started.
pub(super) struct SetupTarget {
    /// Its configuration.
    pub(super) path: PathBuf,
    /// The socket by which it is reached.
    pub(super) socket: Option<PathBuf>,
    /// systemd runs.
    pub(super) systemd: bool,
    /// And has a unit for it.
    pub(super) unit: bool,
}

/// How the gate comes to run.
pub(super) enum Start {
    /// systemd has a unit for it, that may run already.
    Unit {
        /// It runs.
        active: bool,
    },
    /// One runs that systemd knows nothing of.
    Running,
    /// By hand, with this command.
    ByHand(&'static str),
    /// It is refused; the command to do it later.
    Refused(Box<Start>),
}

impl Start {
    pub(super) fn of(target: &SetupTarget, no_start: bool) -> Self {
        let default = target.path == Path::new(DEFAULT_PATH);
        let start = if target.unit && default {
            Self::Unit { active: is_active() }
        } else if target.socket.as_ref().is_some_and(|socket| Client::connect(socket).is_ok()) {
            Self::Running
        } else if !target.systemd {
            Self::ByHand("no systemd runs here")
        } else if default {
            Self::ByHand("systemd has no unit for the gate")
        } else {
            Self::ByHand("the unit's configuration is another one")
        };
        if no_start { start.refused() } else { start }
    }

    /// The question before it, if it does something.
    pub(super) fn question(&self) -> Option<String> {
        match self {
            Self::Unit { active: true } => Some(format!(
                "Enable the service, which runs, and have it read this ('{ENABLE}', '{RELOAD}')"
            )),
            Self::Unit { active: false } => Some(format!("Enable and start the service ('{ENABLE}')")),
            Self::Running => {
                Some("Have the running gate read this, and bring its firewall rules up to date".to_owned())
            }
            Self::ByHand(_) | Self::Refused(_) => None,
        }
    }

    pub(super) fn refused(self) -> Self {
        match self {
            Self::Refused(_) => self,
            start => Self::Refused(Box::new(start)),
        }
    }

    /// Whether a gate runs after it.
    pub(super) const fn starts(&self) -> bool {
        matches!(self, Self::Unit { .. } | Self::Running)
    }

    /// Lines on the steps that it would take.
    pub(super) fn would(&self) -> Vec<String> {
        match self {
            Self::Unit { active: true } => vec![format!("would have the service read it: {RELOAD}")],
            Self::Unit { active: false } => vec![format!("would enable and start the service: {ENABLE}")],
            Self::Running => {
                vec!["would have the running gate read it, and bring its rules up to date".to_owned()]
            }
            Self::ByHand(why) => vec![format!("would start nothing: {why}")],
            Self::Refused(_) => vec!["would start nothing".to_owned()],
        }
    }

    fn later(&self, target: &SetupTarget) -> String {
        match self {
            Self::Unit { active: true } => RELOAD.to_owned(),
            Self::Unit { active: false } => ENABLE.to_owned(),
            Self::Running => format!("{} && {}", target.command("reload"), target.command("firewall apply")),
            Self::ByHand(_) => target.command("run --firewall"),
            Self::Refused(start) => start.later(target),
        }
    }

    pub(super) fn carry_out(&self, target: &SetupTarget) -> Result<Vec<StepReport>, Failure> {
        match self {
            Self::Unit { active } => {
                let mut steps = vec![did("enable", "systemctl", &["enable", "--now", UNIT])?];
                if *active {
                    steps.push(did("reload", "systemctl", &["reload", UNIT])?);
                }
                // The gate's unit does not wait for that of the rules, and doctor comes next.
                if output("systemctl", &["cat", RULES_UNIT]).is_ok_and(|output| output.status.success()) {
                    steps.push(did("rules", "systemctl", &["start", RULES_UNIT])?);
                }
                Ok(steps)
            }
            Self::Running => {
                let own = env::current_exe().map_err(|error| other(format!("its own path: {error}")))?;
                let (own, config) = (own.display().to_string(), target.path.display().to_string());
                let run = |step, words: &[&str]| did(step, &own, &[&["--config", &config], words].concat());
                Ok(vec![run("reload", &["reload"])?, run("rules", &["firewall", "apply"])?])
            }
            Self::ByHand(why) => {
                let text = format!("{why}: start the gate with '{}'", self.later(target));
                Ok(vec![StepReport::left_out("start", text)])
            }
            Self::Refused(_) => Ok(vec![StepReport::left_out(
                "start",
                format!("nothing is started: '{}' does it", self.later(target)),
            )]),
        }
    }
}

impl SetupTarget {
    /// A command of ours for this configuration.
    fn command(&self, words: &str) -> String {
        match self.path == Path::new(DEFAULT_PATH) {
            true => format!("sipknock {words}"),
            false => format!("sipknock --config {} {words}", shell_word(&self.path)),
        }
    }
}

/// The command that makes the user.
pub(super) fn user_command() -> String {
    let [program, args @ ..] = &words_for_user()[..] else { return String::new() };
    format!("{program} {}", args.join(" "))
}

fn words_for_user() -> Vec<&'static str> {
    let has = |path: &str| Path::new(path).exists();
    match SYSUSERS.iter().any(|path| has(path))
        && ["/usr/bin/systemd-sysusers", "/bin/systemd-sysusers"].iter().any(|path| has(path))
    {
        true => vec!["systemd-sysusers", "sipknock.conf"],
        false => vec![
            "useradd",
            "--system",
            "--user-group",
            "--home-dir",
            "/nonexistent",
            "--no-create-home",
            "--shell",
            "/usr/sbin/nologin",
            DEFAULT_USER,
        ],
    }
}

/// Makes the user and the group.
pub(super) fn make_user() -> Result<StepReport, Failure> {
    let words = words_for_user();
    let [program, args @ ..] = &words[..] else { return Ok(StepReport::new("user", "")) };
    let output = Command::new(program).args(args).output();
    let failed = match &output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    match failed {
        None => Ok(StepReport::new("user", format!("made the user {DEFAULT_USER}"))),
        Some(text) => Err(other(format!(
            "user and group {DEFAULT_USER} can't be made, so nothing is changed: '{}': {text}; make them by hand, or say --user \
             root for a gate that runs as root",
            words.join(" ")
        ))),
    }
}

/// Writes a file, with its folder.
pub(super) fn write(file: &NewFile, group: Option<u32>) -> Result<StepReport, Failure> {
    let NewFile { path, text, .. } = file;
    // To the second, as in 20261122T140000Z.
    let now: String =
        Clock::start().now().to_string().chars().take(19).filter(|c| !"-:".contains(*c)).collect();
    let now = now + "Z";
    let written = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or(Ok(false), |folder| files::make_folder(folder, group))
        .and_then(|_| files::write(path, text, group, &now));
    let copy = written.map_err(|error| other(format!("{}: {error}", path.display())))?;
    let kept = copy.map_or_else(String::new, |copy| format!("; what was there is {}", copy.display()));
    Ok(StepReport::new("file", format!("wrote {}{kept}", path.display())))
}

/// Lines on the next steps, for the owner.
pub(super) fn how_to_follow(target: &SetupTarget, config: &Config, start: &Start) -> Vec<String> {
    let mut lines = Vec::new();
    let enforced = config.state.file.as_deref().is_some_and(has_enforced);
    let grace = span(config.inspect.grace);
    if config.inspect.mode == Mode::Monitor {
        lines.push("mode = \"monitor\": nothing is dropped, whatever knocks".to_owned());
    } else if config.inspect.grace.is_zero() {
        lines.push("strangers are dropped from the start on: phones have to knock now".to_owned());
    } else if enforced {
        lines.push("this gate has dropped strangers before, so no grace begins again".to_owned());
    } else {
        lines.push(format!(
            "everything passes for {grace} from the start on; then strangers are dropped, if all phones that registered have knocked"
        ));
        lines.push(format!(
            "follow it with '{}': it lists phones that have not knocked; '{}' ends it at once",
            target.command("stats"),
            target.command("enforce")
        ));
    }
    lines.push(format!(
        "knocks as they come: '{}'; doors: '{}'",
        target.command("watch"),
        target.command("doors")
    ));
    if !start.starts() {
        lines.push(format!("once the gate runs: '{}'", target.command("doctor")));
    }
    lines
}

/// Runs a command, and says how it went.
fn did(step: &'static str, program: &str, args: &[&str]) -> Result<StepReport, Failure> {
    let output = output(program, args)?;
    let name = Path::new(program).file_name().map_or_else(|| program.into(), |name| name.to_string_lossy());
    let words = args.iter().map(shell_word).collect::<Vec<_>>().join(" ");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let mut done = StepReport::new(step, format!("{name} {words}"));
    if !output.status.success() {
        done.state = StepState::Failed;
        done.text = format!("{}: {}", done.text, said(&output.stderr));
    }
    Ok(done)
}

fn output(program: &str, args: &[&str]) -> Result<Output, Failure> {
    let run = Command::new(program).args(args).output();
    run.map_err(|error| other(format!("{program}: {error}")))
}

fn other(text: String) -> Failure {
    Failure::Work(WorkError::Other(text))
}

const UNIT: &str = "sipknock.service";

/// Its start ends when the rules are in.
const RULES_UNIT: &str = "sipknock-rules.service";

/// Whether systemd runs the gate.
fn is_active() -> bool {
    output("systemctl", &["is-active", "--quiet", UNIT]).is_ok_and(|output| output.status.success())
}

const RELOAD: &str = "systemctl reload sipknock.service";

const ENABLE: &str = "systemctl enable --now sipknock.service";

/// Files in which systemd-sysusers finds the user (sysusers.d(5)).
const SYSUSERS: [&str; 3] =
    ["/usr/lib/sysusers.d/sipknock.conf", "/etc/sysusers.d/sipknock.conf", "/run/sysusers.d/sipknock.conf"];
