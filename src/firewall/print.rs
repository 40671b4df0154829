//! The rules as text for people: commands, and files for iptables-restore.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::names::REASSEMBLY;
use super::plan::{Family, Plan, PlanError};
use super::programs::Programs;
use super::routes::Routes;
use super::rules::{Placed, Ruleset};

impl Plan {
    /// The commands a person would type to put the rules in, IPv4 first, one a line.
    ///
    /// A chain is filled before anything jumps to it, so that no packet meets half of it.
    ///
    /// # Errors
    /// As [`Plan::check`].
    pub fn commands(&self, programs: &Programs, routes: &Routes) -> Result<String, PlanError> {
        let mut text = String::new();
        for family in Family::ALL {
            self.ruleset(family, routes)?.write_commands(programs.of(family), &mut text);
        }
        Ok(text)
    }
}

impl Ruleset {
    /// A file to be loaded with `iptables-restore --noflush`.
    ///
    /// It is for tables without our rules: loaded a second time, it would put the jumps in a second time.
    pub fn restore_file(&self) -> String {
        let mut text = String::new();
        if self.is_empty() {
            return text;
        }
        text.push_str("*filter\n");
        for (chain, _) in self.chains() {
            put_line(&mut text, format_args!(":{chain} - [0:0]"));
        }
        for (chain, rules) in self.chains() {
            for rule in rules {
                put_remark(&mut text, rule);
                put_line(&mut text, format_args!("-A {chain} {rule}"));
            }
        }
        for (rule, position) in numbered(self.jumps()) {
            put_line(&mut text, format_args!("-I {} {position} {}", rule.chain, rule.spec));
        }
        text.push_str("COMMIT\n");
        if !self.counters().is_empty() {
            text.push_str("*mangle\n");
            for (rule, position) in numbered(self.counters()) {
                put_line(&mut text, format_args!("-I {} {position} {}", rule.chain, rule.spec));
            }
            text.push_str("COMMIT\n");
        }
        text
    }

    fn write_commands(&self, program: &str, text: &mut String) {
        for (chain, rules) in self.chains() {
            put_line(text, format_args!("{program} -w -N {chain}"));
            for rule in rules {
                put_remark(text, rule);
                put_line(text, format_args!("{program} -w -A {chain} {rule}"));
            }
        }
        for (rule, position) in numbered(self.counters()) {
            put_line(text, format_args!("{program} -w -t mangle -I {} {position} {}", rule.chain, rule.spec));
        }
        for (rule, position) in numbered(self.jumps()) {
            put_line(text, format_args!("{program} -w -I {} {position} {}", rule.chain, rule.spec));
        }
    }
}

/// Rules with their places at the top of their chains.
pub(super) fn numbered(rules: &[Placed]) -> impl Iterator<Item = (&Placed, usize)> {
    let mut lengths: HashMap<&str, usize> = HashMap::new();
    rules.iter().map(move |rule| {
        let length = lengths.entry(&rule.chain).or_default();
        *length += 1;
        (rule, *length)
    })
}

/// A comment on a rule that does not speak for itself; both the shell and iptables-restore skip it.
fn put_remark(text: &mut String, rule: &str) {
    if rule == REASSEMBLY {
        put_line(text, format_args!("{REASSEMBLY_REMARK}"));
    }
}

fn put_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line}");
}

const REASSEMBLY_REMARK: &str =
    "# Never reached: it makes the kernel reassemble IP fragments before any rule sees them.";
