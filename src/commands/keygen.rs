//! `sipknock keygen`

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::{Failure, Work, write_json};
use crate::cli::{Alphabet, KeygenArgs};

pub(super) fn run(args: &KeygenArgs) -> Result<ExitCode, Failure> {
    for number in 1..=args.count {
        let secret = generate(args.alphabet, args.bits).map_err(|error| {
            Failure::Work(Work::Other(format!("the kernel gives no random numbers, try again: {error}")))
        })?;
        let name = match (&args.name, args.count) {
            (Some(name), 1) => name.clone(),
            (Some(name), _) => format!("{name}-{number}"),
            (None, _) => format!("knock-{number}"),
        };
        if args.json {
            let bits = bits_per_secret(args.alphabet, secret.len());
            write_json(&Generated { name: args.name.as_ref().map(|_| name), secret, bits })?;
        } else if args.toml {
            writeln!(io::stdout(), "[[knock]]\nname = {}\nsecret = \"{secret}\"\n", quoted(&name))?;
        } else if args.name.is_some() {
            writeln!(io::stdout(), "{name}={secret}")?;
        } else {
            writeln!(io::stdout(), "{secret}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Generated {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    secret: String,
    bits: u32,
}

/// A basic string of TOML, whose escapes are those of JSON for all that a name can hold.
fn quoted(name: &str) -> serde_json::Value {
    serde_json::Value::from(name)
}

/// Draws characters until the secret is as hard to guess as asked for.
fn generate(alphabet: Alphabet, bits: u16) -> io::Result<String> {
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
    bits.floor() as u32
}

/// The letters of an alphabet.
const fn letters(alphabet: Alphabet) -> &'static str {
    match alphabet {
        // The first letter on each of the keys 2 to 9 (ITU-T E.161).
        Alphabet::Keypad => "adgjmptw",
        Alphabet::Digits => "0123456789",
        Alphabet::Alnum => "abcdefghjkmnpqrstuvwxyz23456789",
        Alphabet::Hex => "0123456789abcdef",
    }
}

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
            assert_eq!(generate(alphabet, bits).unwrap().len(), length, "{alphabet:?} {bits}");
        }
    }

    #[test]
    fn every_letter_comes_and_no_other() {
        for alphabet in ALPHABETS {
            let many: String = (0..100).map(|_| generate(alphabet, 64).unwrap()).collect();
            assert!(many.chars().all(|letter| letters(alphabet).contains(letter)));
            assert!(letters(alphabet).chars().all(|letter| many.contains(letter)), "{alphabet:?}");
        }
    }

    #[test]
    fn no_key_twice_in_a_row_on_a_keypad() {
        for _ in 0..100 {
            let secret = generate(Alphabet::Keypad, 256).unwrap();
            assert!(secret.as_bytes().windows(2).all(|pair| pair[0] != pair[1]), "{secret}");
        }
    }

    #[test]
    fn two_are_not_the_same() {
        assert!(
            ALPHABETS
                .iter()
                .all(|&alphabet| generate(alphabet, 64).unwrap() != generate(alphabet, 64).unwrap())
        );
    }
}
