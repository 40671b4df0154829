//! `sipknock keygen`

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::failure::{Failure, WorkError, write_json};
use crate::cli::{Alphabet, KeygenArgs};
use crate::knock::effort::{self, Effort, Grade};
use crate::knock::entropy::{self, Entropy, PieceKind};
use crate::knock::{Extent, Knock, Part, Secret};

pub(super) fn run(args: &KeygenArgs) -> Result<ExitCode, Failure> {
    // A phone with a keypad writes "Hgtj" as well as "hgtj", and sends its display name.
    let typed = args.toml && args.alphabet == Alphabet::Keypad;
    let by_default = if typed { Part::FromDisplayName } else { Part::default() };
    let part = args.within.clone().unwrap_or(by_default);
    // The other parts hold more than a secret that somebody types.
    let sole = matches!(part, Part::FromDisplayName | Part::ContactInstance | Part::Header(_));
    let extent = if sole { Extent::Whole } else { Extent::Within };
    refuse_what_is_guessed(args, &part, extent)?;
    for number in 1..=args.count {
        let knock = generate(args, &part, extent).map_err(|error| {
            Failure::Work(WorkError::Other(format!("the kernel gives no random numbers, try again: {error}")))
        })?;
        let name = match (&args.name, args.count) {
            (Some(name), 1) => name.clone(),
            (Some(name), _) => format!("{name}-{number}"),
            (None, _) => format!("knock-{number}"),
        };
        let secret = String::from_utf8_lossy(knock.secret.expose()).into_owned();
        let effort = Effort::of(&knock);
        let (bits, guessed_in) = (whole_bits(&effort), effort::in_words(effort.seconds()));
        let cost = format!("{bits} bits, guessed in {guessed_in} at 1 Gbit/s");
        if args.json {
            let within = args.within.as_ref().map(ToString::to_string);
            let extent = within.as_ref().map(|_| extent.to_string());
            let name = args.name.as_ref().map(|_| name);
            let seconds = effort.seconds();
            write_json(&Generated { name, secret, within, extent, bits, seconds, guessed_in })?;
        } else if args.toml {
            let mut out = io::stdout().lock();
            writeln!(out, "# {cost}\n[[knock]]\nname = {}\nsecret = \"{secret}\"", quoted(&name))?;
            if args.within.is_some() || part != Part::default() {
                writeln!(out, "in = \"{part}\"")?;
            }
            if extent == Extent::Whole {
                writeln!(out, "match = \"{extent}\"")?;
            }
            if typed {
                writeln!(out, "ignore_case = true")?;
            }
            writeln!(out)?;
        } else {
            let before = args.name.as_ref().map(|_| format!("{name}=")).unwrap_or_default();
            writeln!(io::stdout(), "{before}{secret}")?;
            // For a person, and not for a script that takes the secret.
            if number == args.count && io::stdout().is_terminal() {
                let _ = writeln!(io::stderr(), "{cost}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Generated {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    secret: String,
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    within: Option<String>,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    extent: Option<String>,
    bits: u32,
    /// After which the chances are even that a sender at 1 Gbit/s has guessed it.
    seconds: f64,
    guessed_in: String,
}

/// A basic string of TOML, whose escapes are those of JSON for all that a name can hold.
fn quoted(name: &str) -> serde_json::Value {
    serde_json::Value::from(name)
}

/// Refuses bits that a sender guesses within a minute, and warns of those that fall within a day.
fn refuse_what_is_guessed(args: &KeygenArgs, part: &Part, extent: Extent) -> Result<(), Failure> {
    let of_bits = |bits: u16| {
        let length = (0..).find(|length| bits_per_secret(args.alphabet, *length) >= u32::from(bits));
        let filler = vec![b'.'; length.unwrap_or(0).max(1)];
        let knock = knock(filler, part, extent)?;
        let entropy = Entropy { bits: f64::from(bits), kind: PieceKind::Plain };
        Some(Effort { entropy, ..Effort::of(&knock) })
    };
    let least =
        |grade| (args.bits..=MAX_BITS).find(|bits| of_bits(*bits).is_some_and(|of| of.grade() > grade));
    let Some(effort) = of_bits(args.bits) else { return Ok(()) };
    let time = effort::in_words(effort.seconds());
    let text = format!("{} bits, which a sender at 1 Gbit/s guesses in {time}", args.bits);
    match effort.grade() {
        Grade::Guessable => {
            let least = least(Grade::Guessable).unwrap_or(MAX_BITS);
            Err(Failure::Usage(format!("--bits {}: {text}: take --bits {least} or more", args.bits)))
        }
        Grade::Weak => {
            let least = least(Grade::Weak).unwrap_or(MAX_BITS);
            let _ = writeln!(io::stderr(), "warning: {text}: --bits {least} or more take longer than a day");
            Ok(())
        }
        Grade::Sound => Ok(()),
    }
}

/// A knock whose secret is as hard to guess as asked for. One that looks like a date, a MAC address or a row of keys by
/// chance is thrown away.
fn generate(args: &KeygenArgs, part: &Part, extent: Extent) -> io::Result<Knock> {
    loop {
        let secret = draw_secret(args.alphabet, args.bits)?;
        if let Some(knock) = knock(secret.into_bytes(), part, extent)
            && whole_bits(&Effort::of(&knock)) >= u32::from(args.bits)
        {
            return Ok(knock);
        }
    }
}

fn knock(secret: Vec<u8>, part: &Part, extent: Extent) -> Option<Knock> {
    let secret = Secret::new(secret)?;
    Some(Knock { part: part.clone(), extent, ..Knock::new("it", secret, Duration::ZERO) })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive numbers")]
fn whole_bits(effort: &Effort) -> u32 {
    // A sum of logarithms may fall short of a whole number by its last digit.
    (effort.entropy.bits + 1e-6).floor() as u32
}

/// Draws characters until the secret is as hard to guess as asked for.
fn draw_secret(alphabet: Alphabet, bits: u16) -> io::Result<String> {
    let mut secret = String::new();
    while bits_per_secret(alphabet, secret.len()) < u32::from(bits) {
        let letter = draw(letters(alphabet))?;
        let again = secret.ends_with(letter);
        if !(again && alphabet == Alphabet::Keypad) {
            secret.push(letter);
        }
    }
    Ok(secret)
}

/// A letter, each as likely as any other.
fn draw(letters: &str) -> io::Result<char> {
    let count = letters.len();
    loop {
        let mut byte = [0u8];
        rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::empty())?;
        let index = usize::from(byte[0]);
        // Bytes beyond the last whole round of letters would favour the first ones.
        if index < 256 / count * count
            && let Some(letter) = letters.chars().nth(index % count)
        {
            return Ok(letter);
        }
    }
}

/// How many bits a secret of this length has, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small positive numbers"
)]
fn bits_per_secret(alphabet: Alphabet, length: usize) -> u32 {
    let count = letters(alphabet).len() as f64;
    let bits = match alphabet {
        // After the first letter, one of the others.
        Alphabet::Keypad if length > 0 => count.log2() + (length - 1) as f64 * (count - 1.0).log2(),
        _ => length as f64 * count.log2(),
    };
    (bits + 1e-6).floor() as u32
}

/// A secret that a keypad can type, as hard to guess as by default.
pub(super) fn typed_secret() -> io::Result<String> {
    draw_secret(Alphabet::Keypad, DEFAULT_BITS)
}

/// The letters of an alphabet.
const fn letters(alphabet: Alphabet) -> &'static str {
    match alphabet {
        Alphabet::Keypad => entropy::KEYPAD,
        Alphabet::Digits => "0123456789",
        Alphabet::Alnum => entropy::ALNUM,
        Alphabet::Hex => entropy::HEX,
    }
}

/// The default of `--bits`.
const DEFAULT_BITS: u16 = 64;

/// What `--bits` takes at most.
const MAX_BITS: u16 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHABETS: [Alphabet; 4] = [Alphabet::Keypad, Alphabet::Digits, Alphabet::Alnum, Alphabet::Hex];

    #[test]
    fn as_long_as_the_bits_ask_for() {
        for (alphabet, bits, length) in [
            (Alphabet::Keypad, 64, 23),
            (Alphabet::Digits, 64, 20),
            (Alphabet::Alnum, 64, 13),
            (Alphabet::Hex, 64, 16),
            (Alphabet::Hex, 256, 64),
            (Alphabet::Digits, 32, 10),
        ] {
            assert_eq!(draw_secret(alphabet, bits).unwrap().len(), length, "{alphabet:?} {bits}");
        }
    }

    #[test]
    fn every_letter_comes_and_no_other() {
        for alphabet in ALPHABETS {
            let many: String = (0..100).map(|_| draw_secret(alphabet, 64).unwrap()).collect();
            assert!(many.chars().all(|letter| letters(alphabet).contains(letter)));
            assert!(letters(alphabet).chars().all(|letter| many.contains(letter)), "{alphabet:?}");
        }
    }

    #[test]
    fn no_key_twice_in_a_row_on_a_keypad() {
        for _ in 0..100 {
            let secret = draw_secret(Alphabet::Keypad, 256).unwrap();
            assert!(secret.as_bytes().windows(2).all(|pair| pair[0] != pair[1]), "{secret}");
        }
    }

    #[test]
    fn two_are_not_the_same() {
        assert!(
            ALPHABETS
                .iter()
                .all(|&alphabet| draw_secret(alphabet, 64).unwrap() != draw_secret(alphabet, 64).unwrap())
        );
    }

    /// What was drawn is judged as `check` judges it.
    #[test]
    fn bits_are_those_that_check_counts() {
        for (alphabet, bits) in ALPHABETS.into_iter().zip([33, 64, 80, 256]).chain([(Alphabet::Hex, 48)]) {
            let args =
                KeygenArgs { alphabet, bits, count: 1, name: None, within: None, toml: false, json: false };
            for _ in 0..20 {
                let knock = generate(&args, &Part::Anywhere, Extent::Within).unwrap();
                let found = whole_bits(&Effort::of(&knock));
                let drawn = bits_per_secret(alphabet, knock.secret.expose().len());
                assert!((u32::from(bits)..=drawn).contains(&found), "{alphabet:?} {bits}: {found}");
            }
        }
    }
}
