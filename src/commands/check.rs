//! `sipknock check`

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::{Failure, write_json};
use crate::cli::{CheckArgs, Cli};
use crate::knock::weakness;

pub(super) fn run(cli: &Cli, args: &CheckArgs) -> Result<ExitCode, Failure> {
    let config = cli.configuration(&args.gate)?;
    // Compiling the knocks is part of the proof.
    config.inspector()?;
    let mut warnings: Vec<_> = config
        .notes
        .iter()
        .map(|note| Warning { place: note.place.to_string(), knock: None, warning: note.text.clone() })
        .collect();
    warnings.extend(weakness::of(&config.knocks).into_iter().filter_map(|weak| {
        let name = &config.knocks.get(weak.knock)?.name;
        Some(Warning {
            place: config.path.display().to_string(),
            knock: Some(name.clone()),
            warning: weak.why,
        })
    }));
    if args.json {
        write_json(&Checked { ok: true, knocks: config.knocks.len(), warnings })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = io::stdout().lock();
    for warning in &warnings {
        match &warning.knock {
            Some(knock) => writeln!(out, "warning: knock {knock:?}: {}", warning.warning)?,
            None => writeln!(out, "warning: {}: {}", warning.place, warning.warning)?,
        }
    }
    let knocks = config.knocks.len();
    writeln!(
        out,
        "the configuration is valid: {knocks} knock{}, {} warning{}",
        plural(knocks),
        warnings.len(),
        plural(warnings.len())
    )?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Checked {
    ok: bool,
    knocks: usize,
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct Warning {
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    knock: Option<String>,
    warning: String,
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
