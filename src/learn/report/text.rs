//! A report for people.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::terminal;

use super::{GIVE_A_NAME, LearnReport, ReportEntry, plural};

impl LearnReport {
    pub(super) fn write_list(&self, out: &mut impl Write, all: bool, details: bool) -> io::Result<()> {
        let listed = || self.phones.iter().filter(|phone| all || !phone.stranger);
        if details {
            listed().try_for_each(|phone| phone.write_details(out))?;
        } else if listed().next().is_some() {
            let mut table = comfy_table::Table::new();
            table.load_style(comfy_table::presets::NOTHING);
            table.set_header(["phone", "address", "knock with", "value", "strength"]);
            terminal::fit(&mut table);
            listed().for_each(|phone| {
                table.add_row(phone.row());
            });
            table.lines().try_for_each(|line| writeln!(out, "{}", line.trim_end()))?;
            writeln!(out)?;
        }
        let phones = self.phones.iter().filter(|phone| !phone.stranger);
        let recommended = phones.clone().filter(|phone| phone.recommended.is_some()).count();
        let (phones, requests) = (phones.count() as u64, self.seen.requests);
        writeln!(out, "{phones} phone{} in {requests} request{}", plural(phones), plural(requests))?;
        if recommended > 0 {
            let more = if details { "" } else { ", --details shows all that each sends" };
            writeln!(
                out,
                "{recommended} of them send a value that is good to knock with: --toml writes it as configuration{more}"
            )?;
            self.write_doubt(out, "")?;
        }
        self.write_strangers(out, "", all)?;
        self.write_overlooked(out, "")
    }

    /// One line of all strangers.
    pub(super) fn write_strangers(&self, out: &mut impl Write, start: &str, all: bool) -> io::Result<()> {
        let strangers = || self.phones.iter().filter(|phone| phone.stranger);
        let refused = strangers().filter(|phone| phone.registers > 0).count() as u64 + self.seen.forgotten;
        let silent = strangers().filter(|phone| phone.registers == 0).count() as u64;
        if refused + silent == 0 {
            return Ok(());
        }
        let total = refused + silent;
        let addresses = strangers().map(|phone| phone.source).collect::<BTreeSet<_>>();
        let at = addresses.len() as u64;
        let (many, es) = (plural(total), if at == 1 { "" } else { "es" });
        // Addresses of those that made room are not known any more.
        let more = if self.seen.forgotten > 0 { " or more" } else { "" };
        write!(out, "{start}{total} stranger{many} at {at}{more} address{es}: ")?;
        let mut parts = Vec::new();
        if refused > 0 {
            let whose =
                if self.seen.answers { "without an accepted registration" } else { "that are scanners" };
            let perhaps = if self.seen.answers { " (or phones with a wrong password)" } else { "" };
            parts.push(format!("{refused} {whose}{perhaps}"));
        }
        if silent > 0 {
            let sources: BTreeSet<_> =
                strangers().filter(|phone| phone.registers == 0).map(|phone| phone.source).collect();
            let first: Vec<_> = sources.iter().take(MAX_SOURCES).map(ToString::to_string).collect();
            let more = if sources.len() > MAX_SOURCES { ", …" } else { "" };
            parts.push(format!(
                "{silent} that never register, from {}{more} (or a trunk, whose address belongs in `trusted`)",
                first.join(", ")
            ));
        }
        write!(out, "{}", parts.join(", "))?;
        if !all && start.is_empty() {
            write!(out, "; --all lists them")?;
        }
        if all && self.seen.forgotten > 0 {
            write!(out, "; {} of them are not listed, since they made room for others", self.seen.forgotten)?;
        }
        writeln!(out)
    }
}

impl ReportEntry {
    /// Its line in a table.
    fn row(&self) -> [String; 5] {
        let best = self.candidates.first().filter(|_| self.recommended.is_some());
        let (within, value, strength) = match best {
            Some(best) => (
                best.within.clone(),
                best.value.chars().take(MAX_SHOWN).collect(),
                format!("{}: {}", best.strength, best.why),
            ),
            None => ("-".to_owned(), String::new(), self.advice.unwrap_or(GIVE_A_NAME).to_owned()),
        };
        [self.aor.clone(), self.source.to_string(), within, value, strength]
    }

    fn write_details(&self, out: &mut impl Write) -> io::Result<()> {
        let transports: Vec<_> = self.transports.iter().copied().collect();
        writeln!(out, "{} at {} ({}): {}", self.aor, self.source, transports.join(", "), self.in_short())?;
        if !self.candidates.is_empty() {
            let mut table = comfy_table::Table::new();
            table.load_style(comfy_table::presets::NOTHING);
            table.set_header(["  in", "value", "always", "nobody else", "strength"]);
            terminal::fit(&mut table);
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

/// Addresses of strangers in their line.
const MAX_SOURCES: usize = 3;

/// Characters of a value in a table.
const MAX_SHOWN: usize = 60;
