//! A report as configuration.

use std::collections::HashSet;
use std::io::{self, Write};

use super::candidate::Candidate;
use super::{GIVE_A_NAME, LearnReport, ReportEntry};
use crate::knock::Extent;
use crate::learn::judge::Strength;

impl LearnReport {
    pub(super) fn write_toml(&self, out: &mut impl Write, weak: bool) -> io::Result<()> {
        let (mut names, mut secrets) = (HashSet::new(), HashSet::new());
        self.write_doubt(out, "# ")?;
        for phone in self.phones.iter().filter(|phone| !phone.stranger) {
            writeln!(out, "# {} at {}: {}", phone.aor, phone.source, phone.in_short())?;
            let least = if weak { Strength::Weak } else { Strength::Fair };
            match phone.best(least) {
                Some(candidate) if !secrets.insert((candidate.kind, &candidate.bytes)) => {
                    writeln!(out, "# knocks with a value that has a table already\n")?;
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
        self.write_strangers(out, "# ", false)?;
        self.write_overlooked(out, "# ")
    }
}

impl ReportEntry {
    /// Named after the user, with a number where others are, too.
    fn knock_name(&self, taken: &mut HashSet<String>) -> String {
        let plain = |c: char| if c.is_alphanumeric() || "-_.@+".contains(c) { c } else { '_' };
        let base: String = self.aor.chars().map(plain).take(50).collect();
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let mut names = std::iter::once(base.clone()).chain(numbered);
        // There is always a next number.
        names.find(|name| taken.insert(name.clone())).unwrap_or(base)
    }
}

impl Candidate {
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
            let read: ::toml::Table = format!("a = {quoted}").parse().unwrap();
            assert_eq!(read["a"].as_str(), Some(text));
        }
    }
}
