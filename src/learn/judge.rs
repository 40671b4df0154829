//! How hard a value is to guess for somebody who knows phones and people.

use std::fmt;
use std::time::Duration;

use crate::knock::{Knock, Secret, weakness};

/// How well a value serves as a knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Strangers send it all day.
    Unusable,
    /// It can be guessed, or read off the phone.
    Weak,
    /// It takes somebody who wants to get into this very place.
    Fair,
    /// It is random.
    Strong,
}

/// A strength and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// How strong.
    pub strength: Strength,
    /// Why, in words that follow "it is …" or stand alone.
    pub why: String,
}

/// Judges a `+sip.instance` URN.
pub fn instance(urn: &[u8]) -> Judgement {
    let text = String::from_utf8_lossy(urn).to_ascii_lowercase();
    if let Some(uuid) = text.strip_prefix("urn:uuid:") {
        return self::uuid(uuid);
    }
    if text.starts_with("urn:gsma:imei:") {
        return Judgement::new(
            Strength::Weak,
            "the IMEI, which is printed on the phone and known to its network",
        );
    }
    if ["mac:", "urn:mac:", "urn:dev:mac:"].iter().any(|prefix| text.starts_with(prefix)) {
        return Judgement::new(Strength::Weak, "made of the MAC address, which is printed on the phone");
    }
    self::text(urn, b"")
}

/// Judges a UUID (RFC 9562).
fn uuid(uuid: &str) -> Judgement {
    let hex: String = uuid.chars().filter(char::is_ascii_hexdigit).collect();
    let digits = hex.as_bytes();
    if digits.len() != 32 || uuid.len() != 36 {
        return match distinct(digits) {
            10.. if digits.len() >= 24 => {
                Judgement::new(Strength::Fair, "no well-formed UUID, but long and mixed")
            }
            _ => Judgement::new(Strength::Weak, "no well-formed UUID, and short or monotonous"),
        };
    }
    if distinct(digits) < 4 {
        return Judgement::new(
            Strength::Unusable,
            "a UUID that is filled with the same digits: many phones have it",
        );
    }
    let zeros = digits.iter().take(20).filter(|digit| **digit == b'0').count();
    // As in 00000000-0000-1000-8000-0004f2123456.
    if zeros >= 14 {
        return Judgement::new(
            Strength::Weak,
            "a UUID made of the MAC address, which is printed on the phone and half the vendor's",
        );
    }
    match digits.get(12) {
        Some(b'4') => Judgement::new(Strength::Strong, "a random UUID"),
        Some(b'1' | b'2' | b'6') => Judgement::new(
            Strength::Fair,
            "a UUID made of the time and the MAC address: hard to guess, not random",
        ),
        Some(b'3' | b'5') => {
            Judgement::new(Strength::Fair, "a UUID made of a name: as hard to guess as that name")
        }
        _ if distinct(digits) >= 10 => {
            Judgement::new(Strength::Fair, "a UUID of no standard kind, well mixed")
        }
        _ => Judgement::new(Strength::Weak, "a UUID of no standard kind, with few different digits"),
    }
}

/// Judges a display name, or any other text. `user` is whom it belongs to, as in `100@pbx`.
pub fn text(value: &[u8], user: &[u8]) -> Judgement {
    let lower = String::from_utf8_lossy(value).to_lowercase();
    let user = String::from_utf8_lossy(user).to_lowercase();
    let extension = user.split('@').next().unwrap_or_default();
    if DEFAULTS.contains(&lower.trim()) {
        return Judgement::new(Strength::Unusable, "a factory setting, which strangers send too");
    }
    if let Some(scanner) = SCANNERS.iter().find(|scanner| lower.contains(**scanner)) {
        return Judgement::new(Strength::Unusable, format!("what SIP scanners send ({scanner})"));
    }
    if !extension.is_empty() && (lower == extension || lower == user) {
        return Judgement::new(
            Strength::Weak,
            "the user's name or extension, which is the first thing to try",
        );
    }
    let rest: String = match extension.len() {
        3.. => lower.replace(extension, ""),
        _ => lower.clone(),
    };
    if let Some(secret) = Secret::new(value)
        && let Some(weak) = weakness::of(&[Knock::new("it", secret, Duration::from_secs(1))]).first()
    {
        return Judgement::new(Strength::Weak, weak.why.clone());
    }
    if rest.split(|c: char| !c.is_alphanumeric()).all(is_plain) {
        return Judgement::new(
            Strength::Weak,
            "made of words, names or a few digits, which can be guessed by who knows your people",
        );
    }
    match rest.len() {
        16.. => Judgement::new(Strength::Strong, "long and made of no words"),
        12.. => {
            Judgement::new(Strength::Fair, "made of no words; a few more characters would make it strong")
        }
        _ => Judgement::new(Strength::Weak, "short"),
    }
}

/// Judges a User-Agent: what a make and version have in common is no secret.
pub fn user_agent(value: &[u8], user: &[u8]) -> Judgement {
    let judged = text(value, user);
    let own = String::from_utf8_lossy(value)
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word.len() >= 10 && !is_plain(&word.to_lowercase()));
    if judged.strength > Strength::Weak && !own {
        return Judgement::new(Strength::Weak, "the make and version, which every such phone sends");
    }
    judged
}

/// Whether a word looks like one of a language, or like a short number: vowels where vowels go, and digits at its end
/// only.
fn is_plain(word: &str) -> bool {
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = word.len() - letters.len();
    if digits > 6 || letters.contains(|c: char| c.is_ascii_digit()) {
        return word.chars().all(|c| c.is_ascii_digit()) && word.len() <= 15;
    }
    if !letters.is_ascii() {
        // Names in other alphabets are names.
        return true;
    }
    let vowel = |c: char| "aeiouy".contains(c);
    let vowels = letters.chars().filter(|c| vowel(*c)).count();
    let longest = letters.split(vowel).map(str::len).max().unwrap_or(0);
    letters.len() <= 3 || MAKES.contains(&letters) || (longest <= 4 && vowels * 5 >= letters.len())
}

fn distinct(bytes: &[u8]) -> usize {
    let mut sorted = bytes.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len()
}

impl Judgement {
    fn new(strength: Strength, why: impl Into<String>) -> Self {
        Self { strength, why: why.into() }
    }
}

impl Strength {
    /// `strong`, `fair`, `weak` or `unusable`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Fair => "fair",
            Self::Weak => "weak",
            Self::Unusable => "unusable",
        }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a text is what a known scanner says of itself.
pub fn is_scanner(text: &[u8]) -> bool {
    let lower = String::from_utf8_lossy(text).to_lowercase();
    SCANNERS.iter().any(|scanner| lower.contains(scanner))
}

/// How scanners call themselves, in User-Agent or From.
const SCANNERS: [&str; 16] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sundayddr",
    "sipcli",
    "vaxsipuseragent",
    "pplsip",
    "sip-scan",
    "sipscan",
    "smap ",
    "iwar",
    "sipptk",
    "sipsak",
    "voipmonitor probe",
    "eyebeam scanner",
    "siparmyknife",
];

/// Makers and programs whose names don't look like words.
const MAKES: [&str; 4] = ["grandstream", "htek", "linksys", "pjsip"];

/// Display names that phones and PBXs come with.
const DEFAULTS: [&str; 16] = [
    "anonymous",
    "unknown",
    "unavailable",
    "restricted",
    "private",
    "asterisk",
    "asterisk pbx",
    "freepbx",
    "fusionpbx",
    "freeswitch",
    "user",
    "phone",
    "sip",
    "test",
    "admin",
    "voip",
];

#[cfg(test)]
mod tests;
