use super::*;
use crate::bench::Style;
use crate::bench::traffic::{knocking, registers};

fn wanted(knocks: &[(&str, bool)]) -> Vec<BenchPattern> {
    let owned =
        |&(text, ignore_case): &(&str, bool)| BenchPattern { bytes: text.as_bytes().to_vec(), ignore_case };
    knocks.iter().map(owned).collect()
}

/// Those that hold them, with their names.
fn compiled(wanted: &[BenchPattern]) -> Vec<(&'static str, Compiled)> {
    let compile = |engine: BenchEngine| Some((engine.name(), engine.compile(wanted).ok()?));
    BenchEngine::ALL.into_iter().filter_map(compile).collect()
}

#[test]
fn every_engine_finds_the_same() {
    let nested = ["urn", "urn:uuid:", "urn:uuid:12", "rn:u", "12", "1212", "absent"];
    let exact = wanted(&nested.map(|text| (text, false)));
    let folded = wanted(&nested.map(|text| (text, true)));
    let mixed =
        wanted(&[("urn", true), ("URN", false), ("urn:uuid:12", false), ("N:UUID", true), ("urn", false)]);
    for (wanted, packet, expected, engines) in [
        (&exact, "an urn:uuid:1212, an urn", &[0, 1, 2, 3, 4, 5][..], 12),
        (&exact, "an URN:UUID:1212", &[4, 5], 12),
        (&folded, "an URN:uuid:12", &[0, 1, 2, 3, 4], 6),
        (&mixed, "URN:UUID:12", &[0, 1, 3], 6),
        (&mixed, "urn:uuid:12", &[0, 2, 3, 4], 6),
        (&mixed, "", &[], 6),
    ] {
        let compiled = compiled(wanted);
        // The gate's filter leaves most of these to others, and daachorse refuses two of a kind.
        assert!(compiled.len() + 2 >= engines, "{}", compiled.len());
        for (name, compiled) in compiled {
            assert_eq!(compiled.occurring(packet.as_bytes()), expected, "{name}: {packet}");
        }
    }
}

#[test]
fn every_engine_agrees_on_knocks_of_each_style() {
    let packets = registers(4);
    for style in [Style::Random, Style::Uuid, Style::Words] {
        for (count, ignore_case) in [(1, false), (1, true), (40, false), (70, true), (70, false)] {
            let knocks = style.knocks(count).into_iter();
            let wanted: Vec<_> = knocks.map(|bytes| BenchPattern { bytes, ignore_case }).collect();
            let compiled = compiled(&wanted);
            assert!(compiled.len() >= if ignore_case { 6 } else { 10 });
            for packet in packets.iter().chain(&knocking(&packets, &wanted)).step_by(5) {
                let expected: Vec<_> = (0..count).filter(|&n| wanted[n].occurs_in(packet)).collect();
                for (name, compiled) in &compiled {
                    assert_eq!(compiled.occurring(packet), expected, "{name}, {count} of {style:?}");
                }
            }
        }
    }
}

#[test]
fn who_can_not_hold_knocks_says_why() {
    let of = |count, ignore_case| {
        let knocks = Style::Random.knocks(count).into_iter();
        knocks.map(|bytes| BenchPattern { bytes, ignore_case }).collect::<Vec<_>>()
    };
    let (many, folded) = (of(1_000, false), of(2, true));
    let forced = BenchEngine::Forced;
    for (engine, wanted, expected) in [
        (BenchEngine::Memmem, &many, Unfit::TooSlow),
        (forced(matcher::Engine::Memmem), &many, Unfit::TooSlow),
        (BenchEngine::Teddy, &many, Unfit::TooMany),
        (forced(matcher::Engine::Teddy), &many, Unfit::TooMany),
        (BenchEngine::AhoCorasickDfa, &of(40_000, false), Unfit::TooLarge),
        (BenchEngine::Memmem, &folded, Unfit::Case),
        (BenchEngine::Teddy, &folded, Unfit::Case),
        (forced(matcher::Engine::Teddy), &folded, Unfit::Case),
        (BenchEngine::Daachorse, &folded, Unfit::Case),
        (forced(matcher::Engine::Filter), &wanted(&[("abc", false)]), Unfit::Kind),
    ] {
        assert_eq!(engine.compile(wanted).err(), Some(expected), "{engine:?}");
    }
    assert_eq!(BenchEngine::Vectorscan.compile(&many).is_ok(), BenchEngine::Vectorscan.is_built_in());
}
