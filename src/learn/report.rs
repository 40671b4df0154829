//! What a roster comes to: for people, for programs, and as configuration.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use aho_corasick::AhoCorasick;
use serde::Serialize;

use super::judge::{self, Judgement, Strength};
use super::roster::{Kind, MAX_PHONES, Phone, PhoneId, Roster, Senders, Sent};
use crate::knock::effort::{self, Effort, Grade};
use crate::knock::entropy::{Entropy, Kind as Form};
use crate::knock::{Extent, Knock, Secret, weakness};

/// The phones, with what each of them could knock with.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    phones: Vec<Entry>,
    /// Answers to REGISTERs were seen, which tell phones from strangers.
    answers_seen: bool,
    /// Requests that were read.
    requests: u64,
    /// Requests of phones beyond those that are told apart.
    overlooked: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Entry {
    aor: String,
    source: IpAddr,
    transports: BTreeSet<&'static str>,
    requests: u64,
    registers: u64,
    /// The PBX has accepted a registration of it; `None` where no answers were seen.
    registered: Option<bool>,
    methods: BTreeMap<String, u64>,
    candidates: Vec<Candidate>,
    /// The `in` of the one to take.
    recommended: Option<String>,
    /// What to do where there is none.
    advice: Option<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
struct Candidate {
    #[serde(rename = "in")]
    within: String,
    value: String,
    #[serde(skip)]
    bytes: Box<[u8]>,
    #[serde(skip)]
    kind: Kind,
    /// In how many of the phone's requests it stands, and in how many of its REGISTERs.
    in_requests: u64,
    in_registers: u64,
    /// It stands in each of them: in each REGISTER, where the phone registers at all.
    constant: bool,
    /// Nobody else sends it.
    unique: bool,
    /// The methods to which it must be bound, since somebody else sends it in others, as a PBX does that relays a call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<&'static str>,
    strength: &'static str,
    why: String,
    /// How much of its part it is: `whole`, unless other values stand there, too.
    #[serde(rename = "match")]
    extent: String,
    /// Random bits, to one decimal.
    bits: f64,
    /// How long a sender at 1 Gbit/s takes to guess it.
    guessed_in: String,
    #[serde(skip)]
    judged: Strength,
    #[serde(skip)]
    guessable: bool,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table for each phone.
    Text,
    /// One JSON object.
    Json,
    /// `[[knock]]` tables: of what is recommended, and where `weak` is set also of what is unique and constant, if weak.
    Toml {
        /// Weak ones, too.
        weak: bool,
    },
}

type Values = HashMap<(Kind, Box<[u8]>), Senders, ahash::RandomState>;

impl Roster {
    /// The report on the phones.
    pub fn report(&self) -> Report {
        // The PBX's own requests come from where REGISTERs go to.
        let phones = self
            .phones
            .iter()
            .filter(|(id, phone)| phone.registers > 0 || !self.registrars.contains(&id.source));
        Report::new(phones, &self.values, self.answers, self.requests, self.overlooked)
    }
}

impl Report {
    fn new<'a>(
        phones: impl Iterator<Item = (&'a PhoneId, &'a Phone)>,
        values: &Values,
        answers_seen: bool,
        requests: u64,
        overlooked: u64,
    ) -> Self {
        let around = Around::new(values);
        let phones = phones.map(|(id, phone)| Entry::new(id, phone, answers_seen, values, &around)).collect();
        Self { phones, answers_seen, requests, overlooked }
    }

    /// Writes it.
    ///
    /// # Errors
    /// As the writer.
    pub fn write(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        match format {
            Format::Text => self.write_text(out),
            Format::Toml { weak } => self.write_toml(out, weak),
            Format::Json => {
                serde_json::to_writer(&mut *out, self)?;
                out.write_all(b"\n")
            }
        }
    }

    /// Phones for which no table is written since all that tells them from others is guessed within a minute.
    pub fn refused(&self) -> usize {
        let refused = |phone: &&Entry| {
            let guessed = phone.candidates.iter().any(|candidate| candidate.tells() && candidate.guessable);
            guessed && phone.best(Strength::Weak).is_none() && phone.may_knock()
        };
        self.phones.iter().filter(refused).count()
    }

    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        for phone in &self.phones {
            phone.write_text(out)?;
        }
        let recommended = self.phones.iter().filter(|phone| phone.recommended.is_some()).count();
        let (phones, requests) = (self.phones.len(), self.requests);
        writeln!(out, "{phones} phone{} in {requests} request{}", plural(phones as u64), plural(requests))?;
        if recommended > 0 {
            writeln!(
                out,
                "{recommended} of them send what is good to knock with: --toml writes it as configuration"
            )?;
            self.write_doubt(out, "")?;
        }
        self.write_overlooked(out, "")
    }

    fn write_toml(&self, out: &mut impl Write, weak: bool) -> io::Result<()> {
        let (mut names, mut secrets) = (HashSet::new(), HashSet::new());
        self.write_doubt(out, "# ")?;
        for phone in &self.phones {
            writeln!(out, "# {} at {}: {}", phone.aor, phone.source, phone.in_short())?;
            let least = if weak { Strength::Weak } else { Strength::Fair };
            match phone.best(least) {
                Some(candidate) if !secrets.insert((candidate.kind, &candidate.bytes)) => {
                    writeln!(out, "# knocks with what has a table already\n")?;
                }
                Some(candidate) => candidate.write_toml(out, &phone.knock_name(&mut names))?,
                None => {
                    for candidate in &phone.candidates {
                        writeln!(out, "# not {}: {}", candidate.within, candidate.against())?;
                    }
                    writeln!(out, "# {}\n", phone.advice.unwrap_or(GIVE_A_NAME))?;
                }
            }
        }
        self.write_overlooked(out, "# ")
    }

    /// Where only one direction was seen, a stranger looks like a phone.
    fn write_doubt(&self, out: &mut impl Write, start: &str) -> io::Result<()> {
        if !self.answers_seen && self.phones.iter().any(|phone| phone.recommended.is_some()) {
            writeln!(
                out,
                "{start}No answers to REGISTERs were seen, so a stranger looks like a phone here: take only what is yours"
            )?;
        }
        Ok(())
    }

    fn write_overlooked(&self, out: &mut impl Write, start: &str) -> io::Result<()> {
        if self.overlooked > 0 {
            let most = MAX_PHONES;
            writeln!(out, "{start}{} more requests are of phones beyond the first {most}", self.overlooked)?;
        }
        Ok(())
    }
}

impl Entry {
    fn new(id: &PhoneId, phone: &Phone, answers_seen: bool, values: &Values, around: &Around<'_>) -> Self {
        let mut candidates: Vec<_> = phone
            .sent
            .iter()
            .map(|((kind, value), &sent)| Candidate::new(id, phone, *kind, value, sent, values, around))
            .collect();
        // The best first, and what comes from RFC 5626 before what a person has typed.
        candidates.sort_by_key(|candidate| {
            (std::cmp::Reverse((candidate.is_usable(), candidate.judged)), candidate.kind)
        });
        let scanner = phone.sent.keys().any(|(_, value)| judge::is_scanner(value));
        let mut entry = Self {
            aor: printable(&id.aor),
            source: id.source,
            transports: phone.transports.clone(),
            requests: phone.requests,
            registers: phone.registers,
            registered: answers_seen.then_some(phone.registered > 0),
            methods: phone.methods.iter().map(|(name, count)| (printable(name.as_bytes()), *count)).collect(),
            candidates,
            recommended: None,
            advice: None,
        };
        entry.recommended = entry.best(Strength::Fair).map(|best| best.within.clone());
        if entry.recommended.is_none() {
            entry.advice = Some(match phone.registers {
                _ if scanner => "this is a scanner: leave it outside",
                _ if entry.is_hidden() => {
                    "no knock can be seen in TLS and WebSockets: trust its network, or let it knock over UDP or TCP \
                     first, from the same address"
                }
                0 => "it never registers: if it is a trunk or a gateway, put its address into `trusted`",
                _ if entry.registered == Some(false) => {
                    "no registration of it was accepted: a stranger, or a phone with a wrong password"
                }
                _ => GIVE_A_NAME,
            });
        }
        entry
    }

    fn best(&self, least: Strength) -> Option<&Candidate> {
        let usable = |best: &&Candidate| best.is_usable() && best.judged >= least;
        self.candidates.first().filter(usable).filter(|_| self.may_knock())
    }

    /// Whether it is no stranger, and sends something that a gate can read.
    fn may_knock(&self) -> bool {
        let stranger = self.registers > 0 && self.registered == Some(false);
        !stranger && !self.is_hidden()
    }

    /// Whether all that it sends is encrypted or masked (RFC 6455, 5.3).
    fn is_hidden(&self) -> bool {
        self.transports.iter().all(|transport| !matches!(*transport, "udp" | "tcp"))
    }

    fn in_short(&self) -> String {
        let Self { requests, registers, .. } = self;
        let refused = if *registers > 0 && self.registered == Some(false) { ", none accepted" } else { "" };
        format!("{requests} request{}, {registers} of them REGISTER{refused}", plural(*requests))
    }

    /// Named after the user, with a number where others are, too.
    fn knock_name(&self, taken: &mut HashSet<String>) -> String {
        let plain = |c: char| if c.is_alphanumeric() || "-_.@+".contains(c) { c } else { '_' };
        let base: String = self.aor.chars().map(plain).take(50).collect();
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let mut names = std::iter::once(base.clone()).chain(numbered);
        // There is always a next number.
        names.find(|name| taken.insert(name.clone())).unwrap_or(base)
    }

    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let transports: Vec<_> = self.transports.iter().copied().collect();
        writeln!(out, "{} at {} ({}): {}", self.aor, self.source, transports.join(", "), self.in_short())?;
        if !self.candidates.is_empty() {
            let mut table = comfy_table::Table::new();
            table.load_style(comfy_table::presets::NOTHING);
            table.set_header(["  in", "value", "always", "nobody else", "strength"]);
            for candidate in &self.candidates {
                let (sent, of) = match self.registers {
                    0 => (candidate.in_requests, self.requests),
                    registers => (candidate.in_registers, registers),
                };
                let always = if candidate.constant { "yes".to_owned() } else { format!("{sent} of {of}") };
                let unique = match (candidate.unique, candidate.methods.first()) {
                    (true, Some(method)) => format!("in {method}"),
                    (true, None) => "yes".to_owned(),
                    (false, _) => "no".to_owned(),
                };
                table.add_row([
                    format!("  {}", candidate.within),
                    candidate.value.chars().take(MAX_SHOWN).collect(),
                    always,
                    unique,
                    format!("{}: {}", candidate.strength, candidate.why),
                ]);
            }
            writeln!(out, "{table}")?;
        }
        match (&self.recommended, self.advice) {
            (Some(within), _) => writeln!(out, "  -> knock with its {within}\n"),
            (None, advice) => writeln!(out, "  -> {}\n", advice.unwrap_or(GIVE_A_NAME)),
        }
    }
}

impl Candidate {
    fn new(
        id: &PhoneId,
        phone: &Phone,
        kind: Kind,
        value: &[u8],
        sent: Sent,
        values: &Values,
        around: &Around<'_>,
    ) -> Self {
        let extent = if sent.beside == 0 { Extent::Whole } else { Extent::Within };
        let effort = effort_of(kind, value, extent);
        let Judgement { strength, why } = match kind {
            Kind::Instance => judge::instance(value, extent),
            Kind::DisplayName => judge::display_name(value, &id.aor, extent),
            Kind::UserAgent => judge::user_agent(value, &id.aor, extent),
        };
        let registers = phone.registers > 0;
        let senders =
            || values.get(&(kind, value.into())).into_iter().chain(around.of(kind, value).iter().copied());
        // Whoever relays a phone's call sends its name, too, but does not register with it.
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
    fn is_usable(&self) -> bool {
        self.tells() && !self.guessable
    }

    /// Whether it tells the phone from others, whenever it comes.
    fn tells(&self) -> bool {
        self.unique
            && self.constant
            && self.judged > Strength::Unusable
            && std::str::from_utf8(&self.bytes).is_ok()
    }

    fn against(&self) -> String {
        match self {
            Self { unique: false, .. } => "others send it, too".to_owned(),
            Self { constant: false, .. } => "the phone does not always send it".to_owned(),
            Self { strength, why, guessable: true, guessed_in, .. } => {
                format!("{strength}, {why}; a sender at 1 Gbit/s guesses it in {guessed_in}")
            }
            Self { strength, why, .. } => format!("{strength}, {why}"),
        }
    }

    fn write_toml(&self, out: &mut impl Write, name: &str) -> io::Result<()> {
        let Self { strength, why, bits, guessed_in, .. } = self;
        writeln!(out, "# {strength}: {why}; {bits:.0} bits, guessed in {guessed_in} at 1 Gbit/s")?;
        writeln!(out, "[[knock]]")?;
        writeln!(out, "name = {}", quoted(name))?;
        writeln!(out, "secret = {}", quoted(&String::from_utf8_lossy(&self.bytes)))?;
        writeln!(out, "in = {}", quoted(&self.within))?;
        if self.extent == Extent::Whole.to_string() {
            writeln!(out, "match = {}", quoted(&self.extent))?;
        }
        if !self.methods.is_empty() {
            writeln!(out, "methods = {:?}", self.methods)?;
        }
        writeln!(out)
    }
}

/// What it takes to guess a value as a knock in its place.
fn effort_of(kind: Kind, value: &[u8], extent: Extent) -> Effort {
    let known = Secret::new(value).map(|secret| {
        let knock = Knock { part: kind.part(), extent, ..Knock::new("it", secret, Duration::ZERO) };
        let weighed = weakness::assess(std::slice::from_ref(&knock));
        weighed.efforts.first().copied().unwrap_or_else(|| Effort::of(&knock))
    });
    known.unwrap_or(Effort { entropy: Entropy { bits: 0.0, kind: Form::Plain }, rate: effort::LINE_RATE })
}

/// Which values stand inside others: whoever sends the longer one would knock with the shorter one.
struct Around<'a> {
    inside: HashMap<(Kind, &'a [u8]), Vec<&'a Senders>>,
}

impl<'a> Around<'a> {
    fn new(values: &'a Values) -> Self {
        let mut inside: HashMap<_, Vec<_>> = HashMap::new();
        for kind in Kind::ALL {
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

    fn of<'v>(&'v self, kind: Kind, value: &'v [u8]) -> &'v [&'v Senders] {
        self.inside.get(&(kind, value)).map_or(&[], Vec::as_slice)
    }

    /// It stands inside so many others that they are not all listed.
    fn is_common(&self, kind: Kind, value: &[u8]) -> bool {
        self.inside.get(&(kind, value)).is_some_and(|around| around.len() > MAX_AROUND)
    }
}

/// Text of a stranger, for a terminal or a comment.
fn printable(bytes: &[u8]) -> String {
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

/// A basic string of TOML. What a terminal would take for an order, or would not show, is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            _ if char.is_control() || char.escape_debug().len() > 2 => {
                let code = u32::from(char);
                quoted += &if code <= 0xffff { format!("\\u{code:04x}") } else { format!("\\U{code:08x}") };
            }
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

const GIVE_A_NAME: &str =
    "it sends nothing that is good to knock with: set its display name to what 'sipknock keygen' makes";

/// Characters of a value in a table.
const MAX_SHOWN: usize = 60;

/// Places in a value at which others stand that are looked at: a stranger may send many that nest.
const MAX_HITS: usize = 512;

/// Longer values listed for one that stands inside them.
const MAX_AROUND: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_says_nothing_to_a_terminal() {
        for (text, expected) in [
            ("a'b c", "\"a'b c\""),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\nb\u{1b}[31m\u{7f}", r#""a\u000ab\u001b[31m\u007f""#),
            ("a\u{9b}31m\u{202e}b", r#""a\u009b31m\u202eb""#),
            ("Müller 📞\u{e0001}", "\"Müller 📞\\U000e0001\""),
        ] {
            let quoted = quoted(text);
            assert_eq!(quoted, expected);
            let read: toml::Table = format!("a = {quoted}").parse().unwrap();
            assert_eq!(read["a"].as_str(), Some(text));
        }
    }
}
