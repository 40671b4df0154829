//! A value that a phone sends, held against those of all others.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aho_corasick::AhoCorasick;
use serde::Serialize;

use crate::knock::effort::{self, Effort, Grade};
use crate::knock::entropy::{Entropy, PieceKind as Form};
use crate::knock::{Extent, Knock, Secret, weakness};
use crate::learn::judge::{self, Judgement, Strength};
use crate::learn::roster::{Phone, PhoneId, SecretKind, Senders, Sent};

/// Every value of a part, and its senders.
pub(super) type Values = HashMap<(SecretKind, Box<[u8]>), Senders, ahash::RandomState>;

#[derive(Clone, Debug, Serialize)]
pub(super) struct Candidate {
    #[serde(rename = "in")]
    pub(super) within: String,
    pub(super) value: String,
    #[serde(skip)]
    pub(super) bytes: Box<[u8]>,
    #[serde(skip)]
    pub(super) kind: SecretKind,
    /// In how many of the phone's requests it stands, and in how many of its REGISTERs.
    pub(super) in_requests: u64,
    pub(super) in_registers: u64,
    /// It stands in each of them: in each REGISTER, where the phone registers at all.
    pub(super) constant: bool,
    /// Nobody else sends it.
    pub(super) unique: bool,
    /// The methods to which it must be bound, since somebody else sends it in others, as a PBX does that relays a call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) methods: Vec<&'static str>,
    pub(super) strength: &'static str,
    pub(super) why: String,
    /// How much of its part it is: `whole`, unless other values stand there, too.
    #[serde(rename = "match")]
    pub(super) extent: String,
    /// Random bits, to one decimal.
    pub(super) bits: f64,
    /// How long a sender at 1 Gbit/s takes to guess it.
    pub(super) guessed_in: String,
    #[serde(skip)]
    pub(super) judged: Strength,
    #[serde(skip)]
    pub(super) guessable: bool,
}

impl Candidate {
    pub(super) fn new(
        id: &PhoneId,
        phone: &Phone,
        kind: SecretKind,
        value: &[u8],
        sent: Sent,
        values: &Values,
        around: &Around<'_>,
    ) -> Self {
        let extent = if sent.beside == 0 { Extent::Whole } else { Extent::Within };
        let effort = effort_of(kind, value, extent);
        let Judgement { strength, why } = match kind {
            SecretKind::Instance => judge::instance(value, extent),
            SecretKind::DisplayName => judge::display_name(value, &id.aor, extent),
            SecretKind::UserAgent => judge::user_agent(value, &id.aor, extent),
        };
        let registers = phone.registers > 0;
        let senders =
            || values.get(&(kind, value.into())).into_iter().chain(around.of(kind, value).iter().copied());
        // A relay of a phone's call sends its name, too, but does not register with it.
        let relayed = |senders: &Senders| {
            let relays =
                |other: &&PhoneId| other.source != id.source && !senders.registering.contains(*other);
            senders.phones.iter().any(|other| relays(&other))
        };
        let everywhere = !around.is_common(kind, value)
            && !senders().any(|senders| senders.others(id, kind, false) || relayed(senders));
        let in_register = registers
            && sent.registers > 0
            && !around.is_common(kind, value)
            && !senders().any(|senders| senders.others(id, kind, true));
        Self {
            within: kind.part().to_string(),
            value: printable(value),
            bytes: value.into(),
            kind,
            in_requests: sent.requests,
            in_registers: sent.registers,
            constant: if registers {
                sent.registers == phone.registers
            } else {
                sent.requests == phone.requests
            },
            unique: everywhere || in_register,
            methods: if in_register && !everywhere { vec!["REGISTER"] } else { Vec::new() },
            strength: strength.name(),
            why,
            extent: extent.to_string(),
            bits: (effort.entropy.bits * 10.0).round() / 10.0,
            guessed_in: effort::in_words(effort.seconds()),
            judged: strength,
            guessable: effort.grade() == Grade::Guessable,
        }
    }

    /// Whether it tells the phone from others, whenever it comes, and not everybody guesses it.
    pub(super) fn is_usable(&self) -> bool {
        self.tells() && !self.guessable
    }

    /// Whether it tells the phone from others, whenever it comes.
    pub(super) fn tells(&self) -> bool {
        self.unique && self.constant && self.judged > Strength::Unusable && self.is_text()
    }

    fn is_text(&self) -> bool {
        std::str::from_utf8(&self.bytes).is_ok()
    }

    pub(super) fn against(&self) -> String {
        match self {
            Self { unique: false, .. } => "others send it, too".to_owned(),
            Self { constant: false, .. } => "the phone does not always send it".to_owned(),
            _ if !self.is_text() => {
                "it is not UTF-8, as this file has to be: write its bytes into a secret_file".to_owned()
            }
            Self { strength, why, guessable: true, guessed_in, .. } => {
                format!("{strength}, {why}; a sender at 1 Gbit/s guesses it in {guessed_in}")
            }
            Self { strength, why, .. } => format!("{strength}, {why}"),
        }
    }
}

/// The effort of guessing a value as a knock in its place.
fn effort_of(kind: SecretKind, value: &[u8], extent: Extent) -> Effort {
    let known = Secret::new(value).map(|secret| {
        let knock = Knock { part: kind.part(), extent, ..Knock::new("it", secret, Duration::ZERO) };
        let weighed = weakness::assess(std::slice::from_ref(&knock));
        weighed.efforts.first().copied().unwrap_or_else(|| Effort::of(&knock))
    });
    known.unwrap_or(Effort { entropy: Entropy { bits: 0.0, kind: Form::Plain }, rate: effort::LINE_RATE })
}

/// Which values stand inside others: whoever sends the longer one would knock with the shorter one.
pub(super) struct Around<'a> {
    inside: HashMap<(SecretKind, &'a [u8]), Vec<&'a Senders>>,
}

impl<'a> Around<'a> {
    pub(super) fn new(values: &'a Values) -> Self {
        let mut inside: HashMap<_, Vec<_>> = HashMap::new();
        for kind in SecretKind::ALL {
            let of_kind: Vec<_> = values
                .iter()
                .filter(|((of, _), _)| *of == kind)
                .map(|((_, value), who)| (&**value, who))
                .collect();
            // Too many to compile are too many to tell apart: then nothing stands inside another.
            let Ok(matcher) = AhoCorasick::new(of_kind.iter().map(|(value, _)| value)) else { continue };
            for &(outer, senders) in &of_kind {
                let mut found = BTreeSet::new();
                for hit in matcher.find_overlapping_iter(outer).take(MAX_HITS) {
                    found.insert(hit.pattern().as_usize());
                }
                for (inner, _) in found.into_iter().filter_map(|index| of_kind.get(index)) {
                    let around = inside.entry((kind, *inner)).or_default();
                    if *inner != outer && around.len() <= MAX_AROUND {
                        around.push(senders);
                    }
                }
            }
        }
        Self { inside }
    }

    fn of<'v>(&'v self, kind: SecretKind, value: &'v [u8]) -> &'v [&'v Senders] {
        self.inside.get(&(kind, value)).map_or(&[], Vec::as_slice)
    }

    /// It stands inside so many others that they are not all listed.
    fn is_common(&self, kind: SecretKind, value: &[u8]) -> bool {
        self.inside.get(&(kind, value)).is_some_and(|around| around.len() > MAX_AROUND)
    }
}

/// Text of a stranger, for a terminal or a comment.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' | '\'' | '\\' => text.push(char),
                _ => text.extend(char.escape_debug()),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Places in a value at which others stand that are looked at: a stranger may send many that nest.
const MAX_HITS: usize = 512;

/// Longer values listed for one that stands inside them.
const MAX_AROUND: usize = 32;
