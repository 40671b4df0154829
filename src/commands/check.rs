//! `sipknock check`

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::captures::each_packet_of;
use super::failure::{Failure, write_json};
use super::logs::{self, Input};
use super::strength::Strengths;
use crate::cli::{CheckArgs, Cli};
use crate::config::readable_secrets;
use crate::config::{Config, Doubt};
use crate::harden::trusted_groups;
use crate::knock::KnockSet;
use crate::knock::weakness::{self, Assessment, Weakness};
use crate::learn::{Against, At, Opens};
use crate::packet::Packet;
use crate::replay::Intake;
use crate::terminal::{RED, YELLOW, coloured, has_colours};

pub(super) fn run(cli: &Cli, args: &CheckArgs) -> Result<ExitCode, Failure> {
    let config = cli.configuration(&args.gate)?;
    let readable = readable_secrets(&config, args.files.allow_readable_secrets, &trusted_groups(&config))?;
    // Compiling the knocks is part of the proof.
    let gate = config.inspector()?;
    let mut warnings: Vec<_> = config
        .notes
        .iter()
        .map(|note| Warning { place: note.place.to_string(), knock: None, warning: note.text.clone() })
        .collect();
    let place = config.path.display().to_string();
    let of_knock = |knock: &str, warning| {
        let (place, knock) = (place.clone(), Some(knock.to_owned()));
        Warning { place, knock, warning }
    };
    warnings.extend(readable.into_iter().map(|warning| Warning {
        place: place.clone(),
        knock: None,
        warning,
    }));
    let Assessment { efforts, weaknesses } = weakness::assess(&config.knocks);
    let mut refused = Vec::new();
    for Weakness { knock, guessable, why } in weaknesses {
        let Some(knock) = config.knocks.get(knock) else { continue };
        let list = if guessable { &mut refused } else { &mut warnings };
        list.push(of_knock(&knock.name, why));
    }
    let strengths = Strengths::new(&config.knocks, &efforts);
    warnings.extend(strengths.together().map(|warning| Warning {
        place: place.clone(),
        knock: None,
        warning,
    }));
    warnings.extend(config.doubts().into_iter().map(|doubt| {
        let Doubt { knock, text, edit, .. } = doubt;
        Warning { place: place.clone(), knock, warning: format!("{text}: {edit}") }
    }));
    let (opens, unseen, status) = against(&config, gate.knocks(), args)?;
    let captures = args.against.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(", ");
    let of_captures = |warning| Warning { place: captures.clone(), knock: None, warning };
    warnings.extend(unseen.into_iter().map(of_captures));
    for opens in &opens {
        warnings.extend(opens.warnings().map(|warning| of_knock(&opens.knock, warning)));
    }
    let against = (!args.against.is_empty()).then_some(opens);
    let ok = refused.is_empty();
    let checked = Checked { ok, knocks: config.knocks.len(), strengths, refused, warnings, against };
    match args.json {
        true => write_json(&checked)?,
        false => checked.write_text(has_colours(&io::stdout()), io::stdout().lock())?,
    }
    Ok(if ok { status } else { ExitCode::from(2) })
}

/// Holds the knocks against captures. Gives what each would open for, and what the captures do not show.
fn against(
    config: &Config,
    knocks: &KnockSet,
    args: &CheckArgs,
) -> io::Result<(Vec<Opens>, Vec<String>, ExitCode)> {
    let mut intake = Intake::new(config.inspect.scope.clone());
    let mut against = Against::new(knocks, config.inspect.scope.clone());
    let mut status = ExitCode::SUCCESS;
    for path in &args.against {
        let file = (args.against.len() > 1).then(|| path.to_string_lossy().into_owned());
        let at = |n| At { file: file.clone(), n };
        let outcome = match logs::either(path) {
            Ok(Input::Log(log)) => logs::each_message(path, log, |n, logged, _| {
                if logged.received {
                    against.message(&at(n), logged.peer, &logged.bytes);
                }
            }),
            Ok(Input::Other(input)) => each_packet_of(path, input, &mut intake, |packet| {
                if let Ok(parsed) = Packet::parse(packet.bytes) {
                    against.observe(&at(packet.number), &parsed);
                }
                Ok(())
            })?,
            Err(outcome) => outcome,
        };
        if outcome.failed {
            status = ExitCode::from(1);
        }
    }
    let opens = if args.against.is_empty() { Vec::new() } else { against.opens().to_vec() };
    Ok((opens, intake.gaps().sentences(false), status))
}

#[derive(Serialize)]
struct Checked {
    ok: bool,
    knocks: usize,
    #[serde(flatten)]
    strengths: Strengths,
    /// Knocks that are guessed within a minute, with the reasons.
    refused: Vec<Warning>,
    warnings: Vec<Warning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Vec<Opens>>,
}

#[derive(Serialize)]
struct Warning {
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    knock: Option<String>,
    warning: String,
}

impl Checked {
    fn write_text(&self, colours: bool, mut out: impl Write) -> io::Result<()> {
        for opens in self.against.iter().flatten() {
            let Opens { knock, packets, .. } = opens;
            write!(out, "knock {knock:?} would open for {packets} packet{}", plural(*packets))?;
            list(&mut out, "number", opens.at.iter())?;
            list(&mut out, "from", opens.sources.iter())?;
            list(&mut out, "of", opens.aors.iter())?;
            writeln!(out)?;
        }
        self.strengths.write_text(&mut out)?;
        let level = |name: &str, colour| if colours { coloured(name, colour) } else { name.to_owned() };
        let (error, warning) = (level("error", RED), level("warning", YELLOW));
        let refused = self.refused.iter().map(|refused| (&error, refused));
        for (level, warning) in refused.chain(self.warnings.iter().map(|told| (&warning, told))) {
            match &warning.knock {
                Some(knock) => writeln!(out, "{level}: knock {knock:?}: {}", warning.warning)?,
                None => writeln!(out, "{level}: {}: {}", warning.place, warning.warning)?,
            }
        }
        let (knocks, warnings) = (self.knocks as u64, self.warnings.len() as u64);
        let counts = format!("{knocks} knock{}, {warnings} warning{}", plural(knocks), plural(warnings));
        if self.ok {
            return writeln!(out, "the configuration is valid: {counts}");
        }
        let mut names: Vec<_> = self.refused.iter().filter_map(|refused| refused.knock.as_deref()).collect();
        names.dedup();
        let (guessed, s) = (names.len(), plural(names.len() as u64));
        writeln!(
            out,
            "the configuration is refused for {guessed} knock{s} that anybody guesses: {counts}. 'run' and 'reload' \
             accept it, and warn"
        )
    }
}

/// A few of them, and how many more there are.
fn list<T: ToString>(
    out: &mut impl Write,
    before: &str,
    mut items: impl ExactSizeIterator<Item = T>,
) -> io::Result<()> {
    let more = items.len().saturating_sub(MAX_SHOWN);
    let shown: Vec<_> = items.by_ref().take(MAX_SHOWN).map(|item| item.to_string()).collect();
    match (shown.is_empty(), more) {
        (true, _) => Ok(()),
        (false, 0) => write!(out, ", {before} {}", shown.join(", ")),
        (false, more) => write!(out, ", {before} {} and {more} more", shown.join(", ")),
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Sources and users of a line; --json has up to a thousand.
const MAX_SHOWN: usize = 5;
