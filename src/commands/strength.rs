//! How hard each knock is to guess, for people and for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::knock::Knock;
use crate::knock::effort::{self, Effort, Grade};
use crate::terminal;

/// Each knock, and all of them together.
#[derive(Serialize)]
pub(super) struct Strengths {
    strengths: Vec<KnockStrength>,
    /// Seconds after which the chances are even that one of them was guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    any_seconds: Option<f64>,
}

#[derive(Serialize)]
struct KnockStrength {
    knock: String,
    #[serde(rename = "in")]
    within: String,
    #[serde(rename = "match")]
    extent: String,
    /// Random bits, to one decimal.
    bits: f64,
    /// After which the chances are even that a sender at 1 Gbit/s has guessed it.
    seconds: f64,
    guessed_in: String,
    grade: &'static str,
}

impl Strengths {
    /// `efforts` are those of the knocks, in their order.
    pub(super) fn new(knocks: &[Knock], efforts: &[Effort]) -> Self {
        let strengths = knocks.iter().zip(efforts).map(|(knock, effort)| KnockStrength {
            knock: knock.name.clone(),
            within: knock.part.to_string(),
            extent: knock.extent.to_string(),
            bits: (effort.entropy.bits * 10.0).round() / 10.0,
            seconds: effort.seconds(),
            guessed_in: effort::in_words(effort.seconds()),
            grade: effort.grade().name(),
        });
        Self { strengths: strengths.collect(), any_seconds: effort::of_any(efforts) }
    }

    /// A warning if each knock holds for a day and all of them together do not.
    pub(super) fn together(&self) -> Option<String> {
        let seconds = self.any_seconds.filter(|seconds| effort::grade(*seconds) != Grade::Sound)?;
        let each_holds =
            self.strengths.iter().all(|strength| effort::grade(strength.seconds) == Grade::Sound);
        let (knocks, time) = (self.strengths.len(), effort::in_words(seconds));
        each_holds.then(|| {
            format!(
                "one of the {knocks} knocks is guessed in {time} by a sender that tries all of them; give them more bits"
            )
        })
    }

    /// A table: all of them, or the weakest of many.
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        if self.strengths.is_empty() {
            return Ok(());
        }
        let mut shown: Vec<_> = self.strengths.iter().collect();
        if shown.len() > MAX_SHOWN {
            shown.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
            shown.truncate(MAX_SHOWN);
        }
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["knock", "in", "match", "bits", "guessed in, at 1 Gbit/s"]);
        terminal::fit(&mut table);
        for strength in &shown {
            let KnockStrength { knock, within, extent, bits, guessed_in, .. } = strength;
            table.add_row([knock, within, extent, &format!("{bits:.0}"), guessed_in]);
        }
        writeln!(out, "{table}")?;
        let more = self.strengths.len() - shown.len();
        if more > 0 {
            writeln!(out, "{more} more are harder to guess: --json has them all")?;
        }
        match self.any_seconds.filter(|_| self.strengths.len() > 1) {
            Some(seconds) => writeln!(out, "any of them: guessed in {}", effort::in_words(seconds)),
            None => Ok(()),
        }
    }
}

/// Knocks in the table; --json has all.
const MAX_SHOWN: usize = 50;
