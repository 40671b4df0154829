//! What makes a knock easy to guess, or makes it open for the wrong people.

use std::collections::{BTreeMap, BTreeSet};

use super::common_text::{DOCUMENTED, ORDINARY};
use super::effort::{self, Effort, Grade};
use super::extent::Extent;
use super::id::KnockId;
use super::matcher::Matcher;
use super::spec::Knock;

/// Something about a knock that its owner should change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weakness {
    /// The knock's place in the config, from 0.
    pub knock: usize,
    /// Anybody gets in who tries for a minute: `check` refuses the knock. A running gate never does.
    pub guessable: bool,
    /// What is weak about it, and what to do. Says nothing of the secret but its length and kind.
    pub why: String,
}

/// A set of knocks, weighed.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// What it takes to guess each of them, in their order.
    pub efforts: Vec<Effort>,
    /// Their weaknesses, in their order.
    pub weaknesses: Vec<Weakness>,
}

/// The weaknesses of a set of knocks, in its order.
pub fn of(knocks: &[Knock]) -> Vec<Weakness> {
    assess(knocks).weaknesses
}

/// Weighs a set of knocks.
pub fn assess(knocks: &[Knock]) -> Assessment {
    let mut efforts: Vec<_> = knocks.iter().map(Effort::of).collect();
    let mut weaknesses = Vec::new();
    // A set that can't be compiled can't be used either, and is refused elsewhere.
    let matcher = Matcher::new(knocks.iter().map(Knock::pattern)).ok();
    let mut known = BTreeSet::new();
    for weak in matcher.iter().flat_map(ordinary_text) {
        if let (true, Some(effort), Some(knock)) =
            (weak.guessable, efforts.get_mut(weak.knock), knocks.get(weak.knock))
        {
            *effort = Effort::of_known(knock);
            known.insert(weak.knock);
        }
        weaknesses.push(weak);
    }
    for (index, (knock, effort)) in knocks.iter().zip(&efforts).enumerate() {
        let secret = knock.secret.expose();
        let grade = effort.grade();
        let guessed = if known.contains(&index) { None } else { guessed(effort) };
        // A secret that is guessed by its bits alone needs no other word on its letters.
        let letters = if grade == Grade::Sound { length(secret).or_else(|| alphabet(secret)) } else { None };
        let found = [guessed, letters, ends(secret)].into_iter().flatten();
        weaknesses.extend(found.map(|why| Weakness {
            knock: index,
            guessable: grade == Grade::Guessable,
            why,
        }));
    }
    weaknesses.extend(matcher.iter().flat_map(|matcher| contained(matcher, knocks)));
    weaknesses.sort_by_key(|weak| weak.knock);
    Assessment { efforts, weaknesses }
}

/// A sender guesses it in less than a day.
fn guessed(effort: &Effort) -> Option<String> {
    if effort.grade() == Grade::Sound {
        return None;
    }
    let (bits, time) = (effort.entropy.bits, effort::in_words(effort.seconds()));
    let of_kind = effort.entropy.kind.what().map(|what| format!("it is {what}: ")).unwrap_or_default();
    Some(format!(
        "{of_kind}{bits:.0} bits, which a sender at 1 Gbit/s guesses in {time}; take another \
         ('sipknock keygen' makes a good one)"
    ))
}

fn length(secret: &[u8]) -> Option<String> {
    (secret.len() < MIN_LENGTH).then(|| {
        let length = secret.len();
        format!(
            "{length} bytes are short, and a word of that length is soon guessed; take {MIN_LENGTH} or more"
        )
    })
}

fn alphabet(secret: &[u8]) -> Option<String> {
    let mut distinct = secret.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < MIN_DISTINCT {
        return Some(format!("it is made of {} different bytes only; take a random one", distinct.len()));
    }
    let digits = secret.iter().all(u8::is_ascii_digit);
    (digits && secret.len() < MIN_DIGITS).then(|| {
        format!("{} digits look like an extension or a phone number, which scanners try; take {MIN_DIGITS} or letters too", secret.len())
    })
}

/// Scanners and everybody else's phones send such text all day.
fn ordinary_text(matcher: &Matcher) -> impl Iterator<Item = Weakness> {
    ORDINARY.iter().flat_map(|(what, text)| {
        let why = format!("it occurs in {what}, so it opens the door to strangers; take a random one");
        let knocks = matcher.occurring(text.as_bytes()).into_iter();
        let guessable = *text != DOCUMENTED;
        knocks.map(move |knock| Weakness { knock: knock.index(), guessable, why: why.clone() })
    })
}

/// Whoever sends the longer one sends the shorter one too.
fn contained(matcher: &Matcher, knocks: &[Knock]) -> impl Iterator<Item = Weakness> {
    let mut around: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (outer, knock) in knocks.iter().enumerate() {
        for inner in matcher.occurring(knock.secret.expose()).into_iter().map(KnockId::index) {
            // As a whole part, a secret is not another.
            if inner != outer && knocks.get(inner).is_some_and(|inner| inner.extent == Extent::Within) {
                around.entry(inner).or_insert((outer, 0)).1 += 1;
            }
        }
    }
    around.into_iter().filter_map(|(inner, (outer, count))| {
        let outer = &knocks.get(outer)?.name;
        let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let why = format!(
            "it stands inside the secret of knock {outer:?}{others}, whose phones always knock with both"
        );
        Some(Weakness { knock: inner, guessable: false, why })
    })
}

/// An editor's doing, most often.
fn ends(secret: &[u8]) -> Option<String> {
    let odd =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control());
    let bom = secret.starts_with(b"\xef\xbb\xbf");
    (bom || odd(secret.first()) || odd(secret.last())).then(|| {
        "it begins or ends with white space, a line end or a byte order mark; if that is not meant, no phone sends it".to_owned()
    })
}

/// Fewer letters are a name or a word more often than not.
const MIN_LENGTH: usize = 10;

/// Ten digits are a phone number, sixteen are not.
const MIN_DIGITS: usize = 16;

/// "aaaaaaaaaa" is long, too.
const MIN_DISTINCT: usize = 5;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::knock::{Part, Secret};

    fn knock(name: &str, secret: &str) -> Knock {
        Knock::new(name, Secret::new(secret.as_bytes()).unwrap(), Duration::from_secs(4000))
    }

    #[test]
    fn each_weakness() {
        for (secret, expected) in [
            ("gjdmtwapgjdtmwagptjd", None),
            ("urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55", None),
            ("3f9a81", Some("24 bits, which a sender at 1 Gbit/s guesses in less than a second")),
            ("adgjmptwad", Some("guesses in 1 second")),
            ("4707183526", Some("guesses in 40 seconds")),
            ("470718352649", Some("guesses in 67 minutes")),
            ("470718352649027", Some("15 digits look like")),
            ("k7Q$m!2?z", Some("9 bytes are short")),
            ("4707183526490271", None),
            ("abababababababab", Some("guesses in less than a second")),
            ("2026-11-22", Some("it is made of a date: 15 bits")),
            ("urn:dev:mac:0004f2123456", Some("it is made of the MAC address")),
            ("urn:uuid:00000000-0000-1000-8000-0004f2123456", Some("a UUID made of the MAC address")),
            ("urn:gsma:imei:90420156-025763-0", Some("it is the IMEI")),
            ("mykn0ckstr1ng", Some("it occurs in the documentation")),
            ("CHANGE-ME", Some("it occurs in the example configuration")),
            ("change-me-please", Some("guesses in ")),
            ("gjdmtwapgjdtmwagptjd\r\n", Some("begins or ends with white space")),
            ("\u{feff}gjdmtwapgjdtmwagptjd", Some("byte order mark")),
            ("User-Agent", Some("ordinary SIP text")),
            ("branch=z9hG4bK", Some("ordinary SIP text")),
            ("friendly-scanner", Some("text that SIP scanners send")),
            ("Grandstream", Some("every phone of its make")),
        ] {
            let weak = of(&[knock("a", secret)]);
            match expected {
                None => assert_eq!(weak, [], "{secret}"),
                Some(expected) => {
                    assert!(weak.iter().any(|weak| weak.why.contains(expected)), "{secret}: {weak:?}")
                }
            }
            assert!(weak.iter().all(|weak| !weak.why.contains(secret)));
        }
    }

    #[test]
    fn a_secret_inside_another() {
        let knocks = [
            knock("outer", "xx-gjdmtwapgjdtmwapmj-yy"),
            knock("inner", "gjdmtwapgjdtmwapmj"),
            knock("other", "zqkvbnwrtyplkj"),
        ];
        let weak = of(&knocks);
        assert_eq!(weak.len(), 1, "{weak:?}");
        assert_eq!((weak[0].knock, weak[0].guessable), (1, false));
        assert!(weak[0].why.contains("\"outer\""));
        // One that must be all of its part is not in the other's.
        let [outer, inner, other] = knocks;
        let inner = Knock { part: Part::FromDisplayName, extent: Extent::Whole, ..inner };
        assert_eq!(of(&[outer, inner, other]), []);
    }

    #[test]
    fn only_what_falls_within_a_minute_guessable() {
        for (secret, guessable) in [
            ("adgjmptwad", true),
            ("4707183526", true),
            ("friendly-scanner", true),
            ("CHANGE-ME", true),
            ("470718352649", false),
            ("k7Q$m!2?z", false),
            ("mykn0ckstr1ng", false),
        ] {
            let Assessment { efforts, weaknesses } = assess(&[knock("a", secret)]);
            assert!(
                weaknesses.len() == 1 && weaknesses[0].guessable == guessable,
                "{secret}: {weaknesses:?}"
            );
            assert_eq!(efforts[0].grade() == Grade::Guessable, guessable, "{secret}");
        }
    }
}
