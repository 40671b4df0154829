//! What setup does, once it is agreed on.

use std::env;
use std::fmt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::SystemTime;

use serde::Serialize;

use super::{NewFile, Setup};
use crate::cli::SetupArgs;
use crate::commands::failure::{Failure, WorkError};
use crate::config::{Config, DEFAULT_PATH, DEFAULT_USER, shell_word};
use crate::control::DEFAULT_SOCKET;
use crate::control::client::Client;
use crate::inspect::Mode;
use crate::setup::files;
use crate::setup::proposal::span;
use crate::state::file::has_enforced;

/// A step that was taken.
#[derive(Serialize)]
pub(super) struct Done {
    step: &'static str,
    /// It was refused by an answer or a flag.
    refused: bool,
    pub(super) failed: bool,
    text: String,
}

impl Done {
    fn new(step: &'static str, text: impl Into<String>) -> Self {
        Self { step, refused: false, failed: false, text: text.into() }
    }

    pub(super) fn refused(step: &'static str, text: impl Into<String>) -> Self {
        Self { refused: true, ..Self::new(step, text) }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.failed { "failed: " } else { "" };
        write!(f, "{mark}{}", self.text)
    }
}

/// How the gate comes to run.
pub(super) enum Start {
    /// systemd has a unit for it.
    Unit,
    /// One runs that systemd knows nothing of.
    Running,
    /// By hand, with this command.
    ByHand(&'static str),
    /// It is refused; the command to do it later.
    Refused(Box<Start>),
}

impl Start {
    pub(super) fn of(setup: &Setup, args: &SetupArgs) -> Self {
        let default = setup.path == Path::new(DEFAULT_PATH);
        let start = if setup.machine.unit && default {
            Self::Unit
        } else if setup.socket().is_some_and(|socket| Client::connect(Path::new(&socket)).is_ok()) {
            Self::Running
        } else if !setup.machine.systemd {
            Self::ByHand("no systemd runs here")
        } else if default {
            Self::ByHand("systemd has no unit for the gate")
        } else {
            Self::ByHand("the unit's configuration is another one")
        };
        if args.no_start { start.refused() } else { start }
    }

    /// The question before it, if it does something.
    pub(super) fn question(&self) -> Option<String> {
        match self {
            Self::Unit => Some(format!("Enable and start the service ('{ENABLE}')")),
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
        matches!(self, Self::Unit | Self::Running)
    }

    /// What it would do.
    pub(super) fn would(&self) -> Vec<String> {
        match self {
            Self::Unit => vec![format!("would enable and start the service: {ENABLE}")],
            Self::Running => {
                vec!["would have the running gate read it, and bring its rules up to date".to_owned()]
            }
            Self::ByHand(why) => vec![format!("would start nothing: {why}")],
            Self::Refused(_) => vec!["would start nothing".to_owned()],
        }
    }

    fn later(&self, setup: &Setup) -> String {
        match self {
            Self::Unit => ENABLE.to_owned(),
            Self::Running => format!("{} && {}", setup.command("reload"), setup.command("firewall apply")),
            Self::ByHand(_) => setup.command("run --firewall"),
            Self::Refused(start) => start.later(setup),
        }
    }

    pub(super) fn carry_out(&self, setup: &Setup) -> Result<Vec<Done>, Failure> {
        match self {
            Self::Unit => {
                let active = output("systemctl", &["is-active", "--quiet", UNIT])?.status.success();
                let mut steps = vec![did("enable", "systemctl", &["enable", "--now", UNIT])?];
                if active {
                    steps.push(did("reload", "systemctl", &["reload", UNIT])?);
                }
                Ok(steps)
            }
            Self::Running => {
                let own = env::current_exe().map_err(|error| other(format!("its own path: {error}")))?;
                let (own, config) = (own.display().to_string(), setup.path.display().to_string());
                let run = |step, words: &[&str]| did(step, &own, &[&["--config", &config], words].concat());
                Ok(vec![run("reload", &["reload"])?, run("rules", &["firewall", "apply"])?])
            }
            Self::ByHand(why) => {
                let text = format!("{why}: start the gate with '{}'", self.later(setup));
                Ok(vec![Done::refused("start", text)])
            }
            Self::Refused(_) => Ok(vec![Done::refused(
                "start",
                format!("nothing is started: '{}' does it", self.later(setup)),
            )]),
        }
    }
}

impl Setup {
    /// A command of ours for this configuration.
    fn command(&self, words: &str) -> String {
        match self.path == Path::new(DEFAULT_PATH) {
            true => format!("sipknock {words}"),
            false => format!("sipknock --config {} {words}", shell_word(&self.path)),
        }
    }

    fn socket(&self) -> Option<String> {
        match &self.config {
            Some(config) => config.control.socket.as_ref().map(|path| path.display().to_string()),
            None => Some(DEFAULT_SOCKET.to_owned()),
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
pub(super) fn make_user() -> Result<Done, Failure> {
    let words = words_for_user();
    let [program, args @ ..] = &words[..] else { return Ok(Done::new("user", "")) };
    let output = Command::new(program).args(args).output();
    let failed = match &output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    match failed {
        None => Ok(Done::new("user", format!("made the user {DEFAULT_USER}"))),
        Some(text) => Err(other(format!(
            "user and group {DEFAULT_USER} can't be made, so nothing is changed: '{}': {text}; make them by hand, or say --user \
             root for a gate that runs as root",
            words.join(" ")
        ))),
    }
}

/// Writes a file, with its folder.
pub(super) fn write(file: &NewFile, group: Option<u32>) -> Result<Done, Failure> {
    let NewFile { path, text, .. } = file;
    let now =
        jiff::Timestamp::try_from(SystemTime::now()).map(|now| now.strftime("%Y%m%dT%H%M%SZ").to_string());
    let written = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or(Ok(false), |folder| files::make_folder(folder, group))
        .and_then(|_| files::write(path, text, group, &now.unwrap_or_default()));
    let copy = written.map_err(|error| other(format!("{}: {error}", path.display())))?;
    let kept = copy.map_or_else(String::new, |copy| format!("; what was there is {}", copy.display()));
    Ok(Done::new("file", format!("wrote {}{kept}", path.display())))
}

/// What to do next.
pub(super) fn how_to_follow(setup: &Setup, config: &Config, start: &Start) -> Vec<String> {
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
            setup.command("stats"),
            setup.command("enforce")
        ));
    }
    lines.push(format!(
        "knocks as they come: '{}'; doors: '{}'",
        setup.command("watch"),
        setup.command("doors")
    ));
    if !start.starts() {
        lines.push(format!("once the gate runs: '{}'", setup.command("doctor")));
    }
    lines
}

/// Runs a command, and says how it went.
fn did(step: &'static str, program: &str, args: &[&str]) -> Result<Done, Failure> {
    let output = output(program, args)?;
    let name = Path::new(program).file_name().map_or_else(|| program.into(), |name| name.to_string_lossy());
    let words = args.iter().map(shell_word).collect::<Vec<_>>().join(" ");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let mut done = Done::new(step, format!("{name} {words}"));
    if !output.status.success() {
        done.failed = true;
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

const ENABLE: &str = "systemctl enable --now sipknock.service";

/// Where systemd-sysusers finds the user (sysusers.d(5)).
const SYSUSERS: [&str; 3] =
    ["/usr/lib/sysusers.d/sipknock.conf", "/etc/sysusers.d/sipknock.conf", "/run/sysusers.d/sipknock.conf"];
