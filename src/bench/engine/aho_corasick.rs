//! The `aho-corasick` crate, in its kinds.

use std::collections::HashMap;
use std::time::Duration;

use aho_corasick::packed::Searcher;
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind, Span};

use super::compiled::{Compiled, Search, exact, timed};
use super::unfit::Unfit;
use crate::bench::style::BenchPattern;

/// Reports every match, and of its own accord chooses how to do that.
pub(super) fn standard(wanted: &[BenchPattern], kind: Option<AhoCorasickKind>) -> Result<Compiled, Unfit> {
    let (parts, took) = automata(split(wanted), MatchKind::Standard, kind)?;
    let memory = parts.iter().map(|(automaton, _)| automaton.memory_usage()).sum();
    Ok(Compiled::new(Standard(parts), memory, took))
}

pub(super) fn nfa(wanted: &[BenchPattern]) -> Result<Compiled, Unfit> {
    standard(wanted, Some(AhoCorasickKind::ContiguousNFA))
}

pub(super) fn dfa(wanted: &[BenchPattern]) -> Result<Compiled, Unfit> {
    // A row for each byte at most, and in it four bytes for each of so many kinds of bytes.
    let bytes: usize = wanted.iter().map(|knock| knock.bytes.len()).sum();
    let mut kinds = [false; 256];
    wanted.iter().flat_map(|knock| &knock.bytes).for_each(|&byte| {
        for byte in [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()] {
            if let Some(kind) = kinds.get_mut(usize::from(byte)) {
                *kind = true;
            }
        }
    });
    let row = 4 * (kinds.iter().filter(|kind| **kind).count() + 1).next_power_of_two();
    if bytes.saturating_mul(row) > MAX_DFA {
        return Err(Unfit::TooLarge);
    }
    standard(wanted, Some(AhoCorasickKind::DFA))
}

/// Reports one match after the other, none of which overlap, so it is asked again from the byte behind a match's first.
pub(super) fn leftmost_first(wanted: &[BenchPattern]) -> Result<Compiled, Unfit> {
    let mut parts = split(wanted);
    parts.iter_mut().for_each(|(_, knocks)| longest_first(knocks));
    let within: Vec<_> =
        parts.iter().map(|(ignore_case, knocks)| begins_with(knocks, *ignore_case)).collect();
    let (automata, took) = automata(parts, MatchKind::LeftmostFirst, None)?;
    let memory = automata.iter().map(|(automaton, _)| automaton.memory_usage()).sum();
    let parts = automata.into_iter().zip(within);
    let parts = parts.map(|((searcher, places), within)| Leftmost { searcher, places, within }).collect();
    Ok(Compiled::new(LeftmostParts(parts), memory, took))
}

/// SIMD over the beginnings of knocks, without an automaton.
pub(super) fn teddy(wanted: &[BenchPattern]) -> Result<Compiled, Unfit> {
    exact(wanted)?;
    let mut knocks: Vec<NumberedPattern<'_>> = (0..).zip(wanted).collect();
    longest_first(&mut knocks);
    let within = begins_with(&knocks, false);
    let (searcher, took) = timed(|| Searcher::new(knocks.iter().map(|(_, knock)| &knock.bytes)));
    let searcher = searcher.ok_or(Unfit::TooMany)?;
    let memory = searcher.memory_usage();
    let places = knocks.into_iter().map(|(place, _)| place).collect();
    Ok(Compiled::new(Leftmost { searcher, places, within }, memory, took))
}

/// A knock and its place.
type NumberedPattern<'a> = (usize, &'a BenchPattern);

/// Automata, each with its knocks' places.
type Automata = Vec<(AhoCorasick, Vec<usize>)>;

/// An automaton either ignores case or not: there may have to be two.
fn split(wanted: &[BenchPattern]) -> Vec<(bool, Vec<NumberedPattern<'_>>)> {
    let of = |ignore_case| {
        let knocks: Vec<_> =
            (0..).zip(wanted).filter(|(_, knock)| knock.ignore_case == ignore_case).collect();
        (ignore_case, knocks)
    };
    [false, true].map(of).into_iter().filter(|(_, knocks)| !knocks.is_empty()).collect()
}

fn automata(
    parts: Vec<(bool, Vec<NumberedPattern<'_>>)>,
    match_kind: MatchKind,
    kind: Option<AhoCorasickKind>,
) -> Result<(Automata, Duration), Unfit> {
    let (mut automata, mut all) = (Vec::new(), Duration::ZERO);
    for (ignore_case, knocks) in parts {
        let mut builder = AhoCorasick::builder();
        builder.match_kind(match_kind).kind(kind).ascii_case_insensitive(ignore_case);
        let (automaton, took) = timed(|| builder.build(knocks.iter().map(|(_, knock)| &knock.bytes)));
        all += took;
        automata
            .push((automaton.map_err(Unfit::failed)?, knocks.into_iter().map(|(place, _)| place).collect()));
    }
    Ok((automata, all))
}

struct Standard(Automata);

impl Search for Standard {
    fn find(&self, packet: &[u8], found: &mut Vec<usize>) {
        for (automaton, places) in &self.0 {
            let hits = automaton.find_overlapping_iter(packet);
            found.extend(hits.filter_map(|hit| places.get(hit.pattern().as_usize()).copied()));
        }
    }
}

/// A searcher that reports, of all that begins at a place, what comes first among its patterns: the longest.
struct Leftmost<S> {
    searcher: S,
    /// The knocks' places, by pattern.
    places: Vec<usize>,
    /// The longest of the other patterns with which each begins.
    within: Vec<Option<usize>>,
}

impl<S: FirstIn> Search for Leftmost<S> {
    fn find(&self, packet: &[u8], found: &mut Vec<usize>) {
        let mut from = 0;
        while let Some((pattern, start)) = self.searcher.first_in(packet, from) {
            let mut pattern = Some(pattern);
            while let Some(at) = pattern {
                found.extend(self.places.get(at));
                pattern = self.within.get(at).copied().flatten();
            }
            from = start + 1;
        }
    }
}

struct LeftmostParts(Vec<Leftmost<AhoCorasick>>);

impl Search for LeftmostParts {
    fn find(&self, packet: &[u8], found: &mut Vec<usize>) {
        self.0.iter().for_each(|part| part.find(packet, found));
    }
}

/// The first match at or behind a place: its pattern, and where it begins.
trait FirstIn {
    fn first_in(&self, packet: &[u8], from: usize) -> Option<(usize, usize)>;
}

impl FirstIn for AhoCorasick {
    fn first_in(&self, packet: &[u8], from: usize) -> Option<(usize, usize)> {
        let hit = self.find(Input::new(packet).range(from..))?;
        Some((hit.pattern().as_usize(), hit.start()))
    }
}

impl FirstIn for Searcher {
    fn first_in(&self, packet: &[u8], from: usize) -> Option<(usize, usize)> {
        let hit = self.find_in(packet, Span::from(from..packet.len()))?;
        Some((hit.pattern().as_usize(), hit.start()))
    }
}

fn longest_first(knocks: &mut [NumberedPattern<'_>]) {
    knocks.sort_by_key(|(_, knock)| std::cmp::Reverse(knock.bytes.len()));
}

/// For each of the patterns, longest first, the longest of those behind it with which it begins.
fn begins_with(knocks: &[NumberedPattern<'_>], ignore_case: bool) -> Vec<Option<usize>> {
    let bytes = |knock: &BenchPattern| {
        if ignore_case { knock.bytes.to_ascii_lowercase() } else { knock.bytes.clone() }
    };
    let (mut known, mut lengths) = (HashMap::new(), Vec::new());
    let mut within = vec![None; knocks.len()];
    for ((at, (_, knock)), within) in knocks.iter().enumerate().zip(&mut within).rev() {
        let bytes = bytes(knock);
        let prefixes = lengths.iter().rev().filter_map(|&length| bytes.get(..length));
        *within = prefixes.filter_map(|prefix| known.get(prefix)).next().copied();
        if lengths.last() != Some(&bytes.len()) {
            lengths.push(bytes.len());
        }
        known.insert(bytes, at);
    }
    within
}

/// Tables of more bytes than this fit no cache, and take longer to make than anybody wants to wait.
const MAX_DFA: usize = 64 << 20;
