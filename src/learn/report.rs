//! A roster's account of phones: for people, for programs, and as configuration.

mod candidate;
mod text;
mod toml;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;

use super::judge::{self, Strength};
use super::roster::{MAX_PHONES, Phone, PhoneId, Roster};
use crate::learn::report::candidate::{Around, Candidate, Values, printable};

/// The phones, with what each of them could knock with.
#[derive(Clone, Debug, Serialize)]
pub struct LearnReport {
    phones: Vec<ReportEntry>,
    #[serde(flatten)]
    seen: Seen,
}

/// Counts of what was read.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Seen {
    /// Answers to REGISTERs were seen, which tell phones from strangers.
    #[serde(rename = "answers_seen")]
    pub(super) answers: bool,
    /// Requests that were read.
    pub(super) requests: u64,
    /// Requests of phones beyond those that are told apart.
    pub(super) overlooked: u64,
    /// Strangers that made room for others, and are not listed.
    pub(super) forgotten: u64,
}

#[derive(Clone, Debug, Serialize)]
struct ReportEntry {
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
    /// Nothing shows that it is one of the PBX's phones.
    stranger: bool,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// A line for each phone, and one for all strangers.
    Text,
    /// The same with more in it.
    List {
        /// A line for each stranger, too.
        all: bool,
        /// A table for each phone, with all that it sends.
        details: bool,
    },
    /// One JSON object.
    Json,
    /// `[[knock]]` tables: of what is recommended, and where `weak` is set also of what is unique and constant, if weak.
    Toml {
        /// Weak ones, too.
        weak: bool,
    },
}

impl Roster {
    /// The report on the phones.
    pub fn report(&self) -> LearnReport {
        // The PBX's own requests come from where REGISTERs go to.
        let phones = self
            .phones
            .iter()
            .filter(|(id, phone)| phone.registers > 0 || !self.registrars.contains(&id.source));
        let seen = Seen {
            answers: self.answers,
            requests: self.requests,
            overlooked: self.overlooked,
            forgotten: self.forgotten,
        };
        LearnReport::new(phones, &self.values, seen)
    }
}

impl LearnReport {
    fn new<'a>(phones: impl Iterator<Item = (&'a PhoneId, &'a Phone)>, values: &Values, seen: Seen) -> Self {
        let around = Around::new(values);
        let mut phones: Vec<_> =
            phones.map(|(id, phone)| ReportEntry::new(id, phone, seen.answers, values, &around)).collect();
        phones.sort_by_key(|phone| (phone.stranger, phone.registered != Some(true)));
        Self { phones, seen }
    }

    /// Writes it.
    ///
    /// # Errors
    /// As the writer.
    pub fn write(&self, out: &mut impl Write, format: ReportFormat) -> io::Result<()> {
        match format {
            ReportFormat::Text => self.write_list(out, false, false),
            ReportFormat::List { all, details } => self.write_list(out, all, details),
            ReportFormat::Toml { weak } => self.write_toml(out, weak),
            ReportFormat::Json => {
                serde_json::to_writer(&mut *out, self)?;
                out.write_all(b"\n")
            }
        }
    }

    /// Whether no SIP request was seen at all.
    pub const fn is_empty(&self) -> bool {
        self.seen.requests == 0
    }

    /// Phones for which no table is written since all that tells them from others is guessed within a minute.
    pub fn refused(&self) -> usize {
        let refused = |phone: &&ReportEntry| {
            let guessed = phone.candidates.iter().any(|candidate| candidate.tells() && candidate.guessable);
            guessed && phone.best(Strength::Weak).is_none() && phone.may_knock()
        };
        self.phones.iter().filter(refused).count()
    }

    /// Where only one direction was seen, a stranger looks like a phone.
    fn write_doubt(&self, out: &mut impl Write, start: &str) -> io::Result<()> {
        if !self.seen.answers && self.phones.iter().any(|phone| phone.recommended.is_some()) {
            writeln!(
                out,
                "{start}No answers to REGISTERs were seen, so a stranger looks like a phone here: take only lines of \
                 your own phones"
            )?;
        }
        Ok(())
    }

    fn write_overlooked(&self, out: &mut impl Write, start: &str) -> io::Result<()> {
        if self.seen.overlooked > 0 {
            let most = MAX_PHONES;
            writeln!(
                out,
                "{start}{} more requests are of phones beyond the first {most}",
                self.seen.overlooked
            )?;
        }
        Ok(())
    }
}

impl ReportEntry {
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
            stranger: scanner || answers_seen && phone.registered == 0,
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
            entry.stranger |= phone.registers == 0;
        }
        entry
    }

    fn best(&self, least: Strength) -> Option<&Candidate> {
        let usable = |best: &&Candidate| best.is_usable() && best.judged >= least;
        self.candidates.first().filter(usable).filter(|_| self.may_knock())
    }

    /// Whether it is no stranger, and sends something that a gate can read.
    fn may_knock(&self) -> bool {
        !self.stranger && !self.is_hidden()
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
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

const GIVE_A_NAME: &str =
    "it sends nothing that is good to knock with: set its display name to a secret of 'sipknock keygen'";
