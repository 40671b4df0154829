//! How long it takes to guess a knock by sending packets.
//!
//! A secret counts wherever it stands in what is searched. So each byte of a packet begins another guess, and a sender
//! tries as many secrets a second as the line carries bytes. With [`Extent::Whole`] a message is one guess.

use super::entropy::{self, Entropy, PieceKind};
use super::extent::Extent;
use super::spec::Knock;

/// What it takes to guess a knock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// What is random in the secret.
    pub entropy: Entropy,
    /// Secrets that a sender at [`LINE_RATE`] tries in a second.
    pub rate: f64,
}

/// How soon a sender guesses a knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Guessed within [`MINUTE`].
    Guessable,
    /// Guessed within [`DAY`].
    Weak,
    /// Not guessed within a day.
    Sound,
}

impl Effort {
    /// What it takes to guess this knock.
    pub fn of(knock: &Knock) -> Self {
        let entropy = entropy::of(knock.secret.expose(), knock.ignores_case());
        let length = knock.secret.expose().len();
        let each = match knock.extent {
            Extent::Within => 1,
            Extent::Whole => length.saturating_add(knock.part.least_message()),
        };
        #[expect(clippy::cast_precision_loss, reason = "the length of a message, far below 2^52")]
        let rate = LINE_RATE / each as f64;
        Self { entropy, rate }
    }

    /// The same of a secret that everybody knows.
    pub fn of_known(knock: &Knock) -> Self {
        let entropy = Entropy { bits: 0.0, kind: PieceKind::Plain };
        Self { entropy, ..Self::of(knock) }
    }

    /// Seconds after which the chances are even that the secret was among those tried.
    pub fn seconds(&self) -> f64 {
        seconds(self.hits())
    }

    /// How soon the knock is guessed.
    pub fn grade(&self) -> Grade {
        grade(self.seconds())
    }

    /// Guesses a second that are right, on average.
    fn hits(&self) -> f64 {
        self.rate / self.entropy.bits.exp2()
    }
}

/// Seconds after which the chances are even that one of these knocks was guessed, by a sender who tries them all at
/// once; `None` for no knock.
pub fn of_any(efforts: &[Effort]) -> Option<f64> {
    let hits: f64 = efforts.iter().map(Effort::hits).sum();
    (!efforts.is_empty()).then(|| seconds(hits))
}

/// A number that JSON can have, however small the chances.
fn seconds(hits: f64) -> f64 {
    (0.5 / hits).min(f64::MAX)
}

/// The grade of what is guessed in so many seconds.
pub fn grade(seconds: f64) -> Grade {
    match seconds {
        _ if seconds <= MINUTE => Grade::Guessable,
        _ if seconds <= DAY => Grade::Weak,
        _ => Grade::Sound,
    }
}

/// A number of seconds as people say it: `less than a second`, `17 minutes`, `2 thousand years`.
pub fn in_words(seconds: f64) -> String {
    let (unit, length) = match seconds {
        _ if seconds < 1.0 => return "less than a second".to_owned(),
        _ if seconds < 100.0 => ("second", 1.0),
        _ if seconds < 100.0 * MINUTE => ("minute", MINUTE),
        _ if seconds < 2.0 * DAY => ("hour", 60.0 * MINUTE),
        _ if seconds < 2.0 * YEAR => ("day", DAY),
        _ if seconds < 1000.0 * YEAR => ("year", YEAR),
        _ if seconds < 1e6 * YEAR => return format!("{:.0} thousand years", seconds / YEAR / 1000.0),
        _ => return "more than a million years".to_owned(),
    };
    let number = format!("{:.0}", seconds / length);
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

names! { pub Grade { Guessable = "guessable", Weak = "weak", Sound = "sound" } }

/// Bytes a second of 1 Gbit/s, headers not taken off: what one rented server sends.
pub const LINE_RATE: f64 = 125e6;

/// Seconds. A knock that is guessed so soon keeps nobody out who tries, and `check` refuses it.
pub const MINUTE: f64 = 60.0;

/// Seconds. A knock that is guessed so soon is found by a sender who goes on overnight, and `check` warns of it.
pub const DAY: f64 = 86_400.0;

const YEAR: f64 = 365.0 * DAY;

#[cfg(test)]
mod tests;
