//! How much of its part a secret must be: what `match` says in the config.

use std::fmt;

use super::part::Part;

/// How much of its part a secret must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Extent {
    /// The secret stands somewhere within the part: each byte that is sent is a guess.
    #[default]
    Within,
    /// The part is the secret, apart from white space at its ends. A message whose part occurs several times counts
    /// only if each of them is the secret, so that a message is one guess.
    Whole,
}

impl Extent {
    /// Reads what `match` says: `within` or `whole`.
    ///
    /// # Errors
    /// On anything else, and on `whole` for what is no part of its own.
    pub fn parse(text: &str, part: &Part) -> Result<Self, String> {
        match text {
            "within" => Ok(Self::Within),
            "whole" if part.has_ends() => Ok(Self::Whole),
            "whole" => Err(format!(
                "\"whole\" compares the secret with one part of a message, and in = \"{part}\" is none: add \
                 in = \"from-display-name\", \"contact-instance\", \"user-agent\", \"request-uri\" or \
                 \"header:NAME\", or leave match out"
            )),
            _ => Err(format!("{text:?} is not a way to match: there are \"within\" and \"whole\"")),
        }
    }

    /// Whether a part's text, in which the secret occurs, is as much of it as is asked for.
    pub fn holds(self, text: &[u8], secret: &[u8], ignore_case: bool) -> bool {
        match self {
            Self::Within => true,
            Self::Whole if ignore_case => text.trim_ascii().eq_ignore_ascii_case(secret.trim_ascii()),
            Self::Whole => text.trim_ascii() == secret.trim_ascii(),
        }
    }
}

/// As the config has it.
impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Within => "within",
            Self::Whole => "whole",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_config() {
        let name = Part::FromDisplayName;
        for extent in [Extent::Within, Extent::Whole] {
            assert_eq!(Extent::parse(&extent.to_string(), &name), Ok(extent));
        }
        for (word, part, why) in [
            ("whole", Part::Anywhere, "in = \"anywhere\" is none"),
            ("whole", Part::Headers, "in = \"headers\" is none"),
            ("Whole", Part::UserAgent, "\"within\" and \"whole\""),
            ("", Part::UserAgent, "\"within\" and \"whole\""),
        ] {
            let error = Extent::parse(word, &part).unwrap_err();
            assert!(error.contains(why), "{word} {part}: {error}");
        }
        assert_eq!(Extent::parse("within", &Part::Anywhere), Ok(Extent::Within));
    }
}
