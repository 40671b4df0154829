//! Instruction counts, which are the same on a machine however busy it is.
//!
//! Each case runs in a process of its own under callgrind, which counts inside of [`measured`] only: preparations differ
//! from run to run with the seeds of hash tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::{env, fs};

use super::cases::CASES;

/// The argument with which this program does one case so many times.
pub(crate) const WORK: &str = "--work";

/// Does a case so many times.
pub(crate) fn work(name: &str, times: usize) {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    let mut work = (case.prepare)();
    measured(&mut work, times);
}

/// What callgrind knows by this name.
#[inline(never)]
pub(crate) fn measured(work: &mut dyn FnMut(), times: usize) {
    (0..times).for_each(|_| work());
}

/// Counts all cases and says what has changed. Nothing here fails but valgrind.
pub(crate) fn compare(record: bool) {
    let known = read(&fs::read_to_string(FILE).unwrap_or_default());
    let (mut text, mut changed) = (String::new(), 0);
    println!("{:<24} {:>12} {:>12} {:>8}", "instructions", "committed", "now", "");
    for case in &CASES {
        let now = count(case.name, case.times) as f64 / case.times as f64;
        writeln!(text, "{} {now:.0}", case.name).unwrap();
        match known.get(case.name) {
            Some(&before) => {
                let change = (now / before - 1.0) * 100.0;
                let mark = if change.abs() >= WORTH_SAYING { " !" } else { "" };
                changed += usize::from(!mark.is_empty());
                println!("{:<24} {before:>12.0} {now:>12.0} {change:>+7.1}%{mark}", case.name);
            }
            None => println!("{:<24} {:>12} {now:>12.0}", case.name, "-"),
        }
    }
    println!(
        "{changed} of {} differ by {WORTH_SAYING} % or more from benches/core/instructions.txt",
        CASES.len()
    );
    if record {
        fs::write(FILE, text).unwrap();
    }
}

fn count(name: &str, times: usize) -> u64 {
    let mut command = Command::new("valgrind");
    command.args([
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--toggle-collect=*instructions::measured*",
    ]);
    let output = command.arg(env::current_exe().unwrap()).args([WORK, name, &times.to_string()]).output();
    let output = output.expect("valgrind runs: install the package of that name");
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split_once("Collected : "));
    count.unwrap_or_else(|| panic!("{name}: {said}")).1.trim().parse().unwrap()
}

fn read(text: &str) -> BTreeMap<String, f64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, count)| (name.to_owned(), count.parse().unwrap())).collect()
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/core/instructions.txt");

/// Percent. The seeds of hash tables make some counts differ by less from run to run.
const WORTH_SAYING: f64 = 3.0;
