//! How hard a value is to guess for somebody who knows phones and people.

use std::fmt;
use std::time::Duration;

use crate::knock::entropy::{self, PieceKind};
use crate::knock::{Extent, Knock, Part, Secret, weakness};

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

/// Judges a `+sip.instance` URN as a knock that matches so, by the forms that `check` knows.
pub fn instance(urn: &[u8], extent: Extent) -> Judgement {
    let kind = entropy::of(urn, true).kind;
    let digits: Vec<u8> = urn.iter().map(u8::to_ascii_lowercase).filter(u8::is_ascii_hexdigit).collect();
    let strength = match kind {
        PieceKind::Plain | PieceKind::Date => return plain_instance(urn, extent),
        PieceKind::RandomUuid => Strength::Strong,
        PieceKind::TimeUuid | PieceKind::NameUuid => Strength::Fair,
        PieceKind::OddUuid if distinct(&digits) >= 10 => {
            return Judgement::new(Strength::Fair, "a UUID of no standard kind, well mixed");
        }
        PieceKind::OddUuid => {
            return Judgement::new(Strength::Weak, "a UUID of no standard kind, with few different digits");
        }
        PieceKind::FilledUuid => Strength::Unusable,
        PieceKind::MacUuid | PieceKind::Mac | PieceKind::Imei => Strength::Weak,
    };
    Judgement::new(strength, kind.what().unwrap_or_default())
}

/// One that is no UUID as RFC 9562 writes them.
fn plain_instance(urn: &[u8], extent: Extent) -> Judgement {
    let text = String::from_utf8_lossy(urn).to_ascii_lowercase();
    let Some(uuid) = text.strip_prefix("urn:uuid:") else {
        return in_part(urn, b"", Part::ContactInstance, extent);
    };
    let digits: Vec<u8> = uuid.bytes().filter(u8::is_ascii_hexdigit).collect();
    match distinct(&digits) {
        10.. if digits.len() >= 24 => {
            Judgement::new(Strength::Fair, "no well-formed UUID, but long and mixed")
        }
        _ => Judgement::new(Strength::Weak, "no well-formed UUID, and short or monotonous"),
    }
}

/// Judges a display name as a knock that matches so. `user` is whom it belongs to, as in `100@pbx`.
pub fn display_name(value: &[u8], user: &[u8], extent: Extent) -> Judgement {
    in_part(value, user, Part::FromDisplayName, extent)
}

fn in_part(value: &[u8], user: &[u8], part: Part, extent: Extent) -> Judgement {
    let lower = String::from_utf8_lossy(value).to_lowercase();
    let user = String::from_utf8_lossy(user).to_lowercase();
    let extension = user.split('@').next().unwrap_or_default();
    if DEFAULTS.contains(&lower.trim()) {
        return Judgement::new(Strength::Unusable, "a factory setting, which strangers send too");
    }
    if let Some(scanner) = SCANNERS.iter().find(|scanner| lower.contains(**scanner)) {
        return Judgement::new(Strength::Unusable, format!("text that SIP scanners send ({scanner})"));
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
        && let Some(weak) =
            weakness::of(&[Knock { part, extent, ..Knock::new("it", secret, Duration::ZERO) }]).first()
    {
        return Judgement::new(Strength::Weak, weak.why.clone());
    }
    if rest.split(|c: char| !c.is_alphanumeric()).all(is_plain) {
        return Judgement::new(
            Strength::Weak,
            "made of words, names or a few digits, which can be guessed from names of your people",
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

/// Judges a User-Agent as a knock that matches so: what a make and version have in common is no secret.
pub fn user_agent(value: &[u8], user: &[u8], extent: Extent) -> Judgement {
    let judged = in_part(value, user, Part::UserAgent, extent);
    let own = String::from_utf8_lossy(value)
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word.len() >= 10 && !is_plain(&word.to_lowercase()));
    if judged.strength > Strength::Unusable && !own {
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

names! { pub Strength { Strong = "strong", Fair = "fair", Weak = "weak", Unusable = "unusable" } }

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
