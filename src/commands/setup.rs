//! `sipknock setup`

mod knocks;
mod questions;
mod steps;

use std::fs;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::failure::{Failure, WorkError, write_json};
use crate::accounts;
use crate::cli::{Cli, SetupArgs};
use crate::config::{Config, ConfigError, DEFAULT_PATH, DEFAULT_USER, Flags};
use crate::control::DEFAULT_SOCKET;
use crate::doctor::{self, Finding, Severity};
use crate::knock::Knock;
use crate::setup::dialog::Dialog;
use crate::setup::difference;
use crate::setup::edit;
use crate::setup::machine::FoundMachine;
use crate::setup::proposal::{self, KNOCK_FILES, Settings, SettingsOutput};
use crate::terminal::has_colours;
use knocks::NewKnocks;
use steps::{NewFile, SetupTarget, Start, StepReport, StepState};

pub(super) fn run(cli: &Cli, args: &SetupArgs) -> Result<ExitCode, Failure> {
    if !args.dry_run && !rustix::process::geteuid().is_root() {
        let text = "setup writes files of root and starts the gate: run it with sudo, or look at what it would do with --dry-run";
        return Err(Failure::Work(WorkError::Other(text.to_owned())));
    }
    let path = cli.named_config().unwrap_or(Path::new(DEFAULT_PATH));
    let terminal = io::stdin().is_terminal();
    // The output of --json is for a program.
    let out: Box<dyn Write> = if args.json { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    let yes = args.yes || args.dry_run;
    let mut dialog = Dialog::new(io::stdin().lock(), out, yes, terminal);
    let setup = GuidedSetup::look(path)?;
    let wanted = setup.decide(args, &mut dialog)?;
    let output = match setup.plan(args, wanted, &mut dialog)? {
        Some(plan) => plan.carry_out(&setup, &mut dialog)?,
        None => SetupOutput::unchanged(&setup),
    };
    if args.json {
        write_json(&output)?;
    }
    let sound = output.doctor.as_ref().is_none_or(|report| report.sound);
    let failed = output.done.iter().any(|done| done.state == StepState::Failed);
    Ok(if sound && !failed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The machine and its configuration before anything is changed.
struct GuidedSetup {
    machine: FoundMachine,
    path: PathBuf,
    /// The text of the configuration, if there is one.
    text: Option<String>,
    config: Option<Config>,
    proposal: proposal::Proposal,
}

/// The settings and knocks that are to be written.
struct Wanted {
    settings: Settings,
    knocks: NewKnocks,
}

/// The steps that are agreed on.
struct SetupPlan {
    files: Vec<NewFile>,
    make_user: bool,
    start: Start,
    wanted: Wanted,
    dry_run: bool,
    json: bool,
}

#[derive(Serialize)]
struct SetupOutput {
    found: FoundMachine,
    notes: Vec<String>,
    config: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<SettingsOutput>,
    /// Names of knocks that are new.
    knocks: Vec<String>,
    done: Vec<StepReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doctor: Option<DoctorReport>,
}

#[derive(Serialize)]
struct DoctorReport {
    sound: bool,
    findings: Vec<Finding>,
}

impl SetupOutput {
    fn unchanged(setup: &GuidedSetup) -> Self {
        Self {
            found: setup.machine.clone(),
            notes: setup.proposal.notes.clone(),
            config: setup.path.display().to_string(),
            settings: None,
            knocks: Vec::new(),
            done: vec![StepReport::left_out("files", "nothing is changed")],
            doctor: None,
        }
    }
}

impl GuidedSetup {
    fn look(path: &Path) -> Result<Self, Failure> {
        let (text, config) = match fs::read_to_string(path) {
            Ok(text) => (Some(text), Some(Config::load(path, true, &Flags::default())?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
            // It says what to do.
            Err(_) => (None, Some(Config::load(path, true, &Flags::default())?)),
        };
        let machine = FoundMachine::look();
        let proposal = proposal::propose(&machine, config.as_ref());
        Ok(Self { machine, path: path.to_owned(), text, config, proposal })
    }

    /// Settings and knocks, by flags and answers.
    fn decide<R: BufRead, W: Write>(
        &self,
        args: &SetupArgs,
        dialog: &mut Dialog<R, W>,
    ) -> Result<Wanted, Failure> {
        for note in &self.proposal.notes {
            dialog.say(&format!("found: {note}"))?;
        }
        match &self.text {
            Some(_) => dialog
                .say(&format!("{} is there: what is not asked for stays as it is", self.path.display()))?,
            None => dialog.say(&format!("{} is not there yet", self.path.display()))?,
        }
        let mut settings = questions::settings(&self.proposal, self.config.as_ref(), args, dialog)?;
        let knocks = knocks::new_knocks(&self.known()?, args, dialog)?;
        for warning in knocks.warnings()? {
            dialog.say(&format!("warning: {warning}"))?;
        }
        self.include(&mut settings, &knocks);
        settings.grace = questions::grace(&self.proposal, self.config.as_ref(), args, dialog)?;
        Ok(Wanted { settings, knocks })
    }

    /// Has the files of knocks included, if there are new ones and a configuration that does not do so.
    fn include(&self, settings: &mut Settings, knocks: &NewKnocks) {
        let without = self.config.as_ref().is_some_and(|config| config.knocks.is_empty());
        if self.config.is_some() && !self.includes_folder() && (without || !knocks.is_empty()) {
            let text = self.text.as_deref().unwrap_or_default();
            let table: toml::Table = toml::from_str(text).unwrap_or_default();
            let old = table.get("include").and_then(toml::Value::as_array).into_iter().flatten();
            let mut patterns: Vec<_> = old.filter_map(|item| item.as_str().map(str::to_owned)).collect();
            patterns.push(KNOCK_FILES.to_owned());
            settings.include = Some(patterns);
        }
    }

    /// Whether the configuration includes the files of knocks.
    fn includes_folder(&self) -> bool {
        let folder = self.knock_folder();
        self.config.as_ref().is_some_and(|config| config.include_folders.contains(&folder))
    }

    /// Knocks that are there: those of the configuration, and those of files that it will include.
    fn known(&self) -> Result<Vec<Knock>, Failure> {
        let mut known = self.config.as_ref().map_or_else(Vec::new, |config| config.knocks.clone());
        if !self.includes_folder() {
            let text = format!("include = [{KNOCK_FILES:?}]\n");
            known.extend(Config::parse(&text, &self.path, &Flags::default())?.knocks);
        }
        Ok(known)
    }

    fn knock_folder(&self) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        folder.join(KNOCK_FILES).parent().map(Path::to_owned).unwrap_or_default()
    }

    /// Shows what is to be done, and asks for each step. `None`: it is refused.
    fn plan<R: BufRead, W: Write>(
        &self,
        args: &SetupArgs,
        wanted: Wanted,
        dialog: &mut Dialog<R, W>,
    ) -> Result<Option<SetupPlan>, Failure> {
        let files = self.files(&wanted)?;
        self.check(&files, &wanted)?;
        let user = self.user(&wanted);
        // A configuration that is there was set up before, for whatever user there is.
        let make_user =
            self.text.is_none() && user == DEFAULT_USER && accounts::group_number(DEFAULT_USER).is_none();
        if user != DEFAULT_USER && user != ROOT && accounts::User::find(user).is_none() {
            let text = format!("there is no user {user:?}: make it first, or say --user root");
            return Err(Failure::Usage(text));
        }
        dialog.say("")?;
        if files.is_empty() {
            dialog.say("no file is to be changed")?;
        }
        for file in &files {
            let what = if file.before.is_some() {
                "changes, with a copy of what is there beside it"
            } else {
                "is new"
            };
            dialog.say(&format!("{} {what}:", file.path.display()))?;
            let shown = difference::lines(file.before.as_deref().unwrap_or_default(), &file.text);
            for line in shown.iter().map(|line| knocks::without_secret(line)) {
                dialog.say(&format!("  {line}"))?;
            }
        }
        let start = Start::of(&self.target(), args.no_start);
        let mut plan = SetupPlan { files, make_user, start, wanted, dry_run: args.dry_run, json: args.json };
        if args.dry_run {
            return Ok(Some(plan));
        }
        if make_user {
            let command = steps::user_command();
            if !dialog.agree(&format!("Make the user {DEFAULT_USER} ('{command}')"))? {
                let text = format!(
                    "without user and group {DEFAULT_USER} the gate can't run with few rights: say yes, or say --user root for \
                     one that runs as root; nothing is changed"
                );
                return Err(Failure::Work(WorkError::Other(text)));
            }
        }
        if !plan.files.is_empty() && !dialog.agree("Write these files")? {
            dialog.say("nothing is changed")?;
            return Ok(None);
        }
        if let Some(question) = plan.start.question()
            && !dialog.agree(&question)?
        {
            plan.start = plan.start.refused();
        }
        Ok(Some(plan))
    }

    /// The gate that is to be started.
    fn target(&self) -> SetupTarget {
        let socket = match &self.config {
            Some(config) => config.control.socket.clone(),
            None => Some(DEFAULT_SOCKET.into()),
        };
        let FoundMachine { systemd, unit, .. } = self.machine;
        SetupTarget { path: self.path.clone(), socket, systemd, unit }
    }

    /// As whom the gate is to run.
    fn user<'a>(&'a self, wanted: &'a Wanted) -> &'a str {
        let configured = self.config.as_ref().map_or(DEFAULT_USER, |config| &config.process.user);
        wanted.settings.user.as_deref().unwrap_or(configured)
    }

    /// The files that change.
    fn files(&self, wanted: &Wanted) -> Result<Vec<NewFile>, Failure> {
        let mut files = Vec::new();
        let text = match (&self.text, &self.config) {
            (Some(text), Some(config)) => {
                let edits = wanted.settings.edits(&Settings::of(config));
                edit::apply(text, &edits)
            }
            _ => wanted.settings.new_text(),
        };
        let text = text.map_err(|text| Failure::Usage(format!("{}: {text}", self.path.display())))?;
        if self.text.as_ref() != Some(&text) {
            files.push(NewFile { path: self.path.clone(), before: self.text.clone(), text });
        }
        if !wanted.knocks.is_empty() {
            let path = self.knock_folder().join(knocks::FILE);
            let before = match fs::read_to_string(&path) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => {
                    return Err(Failure::Work(WorkError::Other(format!("{}: {error}", path.display()))));
                }
            };
            let text = wanted.knocks.appended_to(before.as_deref());
            files.push(NewFile { path, before, text });
        }
        Ok(files)
    }

    /// Holds the new texts against what a configuration has to be, before any of them is written.
    fn check(&self, files: &[NewFile], wanted: &Wanted) -> Result<(), Failure> {
        let text = files.iter().find(|file| file.path == self.path).map(|file| &file.text);
        let Some(text) = text.or(self.text.as_ref()) else { return Ok(()) };
        let config = Config::parse(text, &self.path, &Flags::default())?;
        config.firewall_plan().check().map_err(Failure::Plan)?;
        if config.knocks.is_empty() && wanted.knocks.is_empty() {
            return Err(ConfigError::NoKnock { file: self.path.clone() }.into());
        }
        Ok(())
    }
}

impl SetupPlan {
    /// Does it, step by step. It stops at the first step that fails, and says what was done until then.
    fn carry_out<R: BufRead, W: Write>(
        self,
        setup: &GuidedSetup,
        dialog: &mut Dialog<R, W>,
    ) -> Result<SetupOutput, Failure> {
        let mut output = SetupOutput {
            settings: Some(SettingsOutput::from(&self.wanted.settings)),
            knocks: self.wanted.knocks.names(),
            done: Vec::new(),
            ..SetupOutput::unchanged(setup)
        };
        dialog.say("")?;
        if self.dry_run {
            if self.make_user {
                dialog.say(&format!("would make the user {DEFAULT_USER}: '{}'", steps::user_command()))?;
            }
            for line in self.start.would() {
                dialog.say(&line)?;
            }
            dialog.say("nothing is changed (--dry-run)")?;
            return Ok(output);
        }
        if self.make_user {
            output.done.push(steps::make_user()?);
        }
        let group = match setup.user(&self.wanted) {
            ROOT => None,
            user => {
                let found = accounts::User::find(user).map(|user| user.gid);
                found.or_else(|| accounts::group_number(DEFAULT_USER))
            }
        };
        // First the knocks: the configuration that includes them is none without.
        for file in self.files.iter().rev() {
            output.done.push(steps::write(file, group)?);
        }
        if let Some(line) = self.wanted.knocks.to_tell(io::stdout().is_terminal()) {
            dialog.say(&line)?;
        }
        let target = setup.target();
        output.done.extend(self.start.carry_out(&target)?);
        for done in &output.done {
            dialog.say(&done.to_string())?;
        }
        let config = Config::load(&setup.path, true, &Flags::default())?;
        for line in steps::how_to_follow(&target, &config, &self.start) {
            dialog.say(&line)?;
        }
        if self.start.starts() {
            let findings = doctor::examine(&config, &config.firewall_plan());
            let sound = findings.iter().all(|finding| finding.severity < Severity::Fault);
            let report = DoctorReport { sound, findings };
            dialog.say("")?;
            let colours = has_colours(&io::stdout()) && !self.json;
            super::doctor::write_findings(&report.findings, colours, |line| dialog.say(line))?;
            output.doctor = Some(report);
        }
        Ok(output)
    }
}

/// As whom a gate runs that keeps all its rights.
const ROOT: &str = "root";
