use proptest::prelude::*;

use super::filter::work;
use super::*;

/// Bytes, and whether case is ignored.
type Owned = (Vec<u8>, bool);

fn patterns(owned: &[Owned]) -> impl Iterator<Item = Pattern<'_>> + Clone {
    owned.iter().map(|(bytes, ignore_case)| Pattern { bytes, ignore_case: *ignore_case })
}

fn exact(secrets: &[&[u8]]) -> Vec<Owned> {
    secrets.iter().map(|secret| (secret.to_vec(), false)).collect()
}

/// The matcher's own choice, and each engine.
fn matchers(owned: &[Owned]) -> Vec<(String, Matcher)> {
    let forced = Engine::ALL
        .map(|engine| (engine.name().to_owned(), Matcher::with_engine(patterns(owned), engine).unwrap()));
    std::iter::once(("own choice".to_owned(), Matcher::new(patterns(owned)).unwrap())).chain(forced).collect()
}

/// Where each pattern occurs.
fn naive(owned: &[Owned], payload: &[u8]) -> Vec<(usize, Range<usize>)> {
    let mut found = Vec::new();
    for (index, (secret, ignore_case)) in owned.iter().enumerate() {
        let same =
            |text: &[u8]| if *ignore_case { text.eq_ignore_ascii_case(secret) } else { text == secret };
        let starts = (0..).zip(payload.windows(secret.len())).filter(|(_, text)| same(text));
        found.extend(starts.map(|(start, _)| (index, start..start + secret.len())));
    }
    found
}

fn check(owned: &[Owned], matchers: &[(String, Matcher)], payload: &[u8]) {
    let expected = naive(owned, payload);
    let mut ids: Vec<_> = expected.iter().map(|(index, _)| *index).collect();
    ids.dedup();
    let sorted = |mut ranges: Vec<Range<usize>>| {
        ranges.sort_unstable_by_key(|range| (range.start, range.end));
        ranges
    };
    let half = owned.len() / 2;
    for (name, matcher) in matchers {
        let found: Vec<_> = matcher.occurring(payload).into_iter().map(KnockId::index).collect();
        assert_eq!(found, ids, "{name}: {payload:?}");
        for count in [half, owned.len()] {
            let some = expected.iter().filter(|(index, _)| *index < count).map(|(_, range)| range.clone());
            let ranges = sorted(matcher.ranges(payload, count));
            assert_eq!(ranges, sorted(some.collect()), "{name}: {payload:?}");
        }
    }
}

#[test]
fn every_engine_on_a_table() {
    let long = [b'x'; 1000];
    let nearly = [&long[..999], b"y"].concat();
    let nested: Vec<_> = (1..40).map(|n| (vec![b'a'; n], n % 2 == 0)).collect();
    let spellings: Vec<_> = (0..40u32)
        .map(|n| {
            let letter = |(at, byte): (usize, &u8)| if n >> at & 1 == 1 { byte ^ 0x20 } else { *byte };
            (b"door-keeper-of-the-house".iter().enumerate().map(letter).collect(), n % 5 == 0)
        })
        .collect();
    let prefixed: Vec<_> = (0..300)
        .map(|n| (format!("urn:uuid:00000000-0000-4000-8000-{n:012}").into_bytes(), n % 3 == 0))
        .collect();
    for (owned, payloads) in [
        (Vec::new(), &[&b""[..], b"anything"][..]),
        (exact(&[b"mykn0ckstr1ng"]), &[b"", b"mykn0ckstr1n", b"mykn0ckstr1ng", b"mykn0ckmykn0ckstr1ng--"]),
        (exact(&[b"a", b"ab", b"b"]), &[b"", b"a", b"ab", b"xyz", b"bab"]),
        (
            exact(&[b"\0", b"\0\0\0\0", b"\xff\xfe\xfd\xfc\xfb\0\x01\x02"]),
            &[b"\0\0\0\0\0", b"\xff\xfe\xfd\xfc\xfb\0\x01\x02"],
        ),
        // Bytes that are the same but for the bit that tells small letters from capitals.
        (exact(&[b"@[\\]^_`{|}~@[\\]"]), &[b"`{|}~_@[\\]^_`{|", b"@[\\]^_`{|}~@[\\]", b"`{|}~\x7f`{|}~`{|}"]),
        (exact(&[&long, &nearly]), &[&long, &nearly, &[&long[..], &nearly].concat(), &long[..999]]),
        (
            vec![(b"Blue-Window-Teacher-42".to_vec(), false), (b"blue-window-TEACHER-42".to_vec(), true)],
            &[b"Blue-Window-Teacher-42", b"..bLUE-wINDOW-tEACHER-42", b"Blue-Window-Teacher-4"],
        ),
        (nested, &[&[b'a'; 64], &[b'A'; 64], b"aaaaaaaaaaaaaaaaaaaabaaaaaaaaaaaaaaaaaaaaaaa"]),
        (
            spellings,
            &[b"door-keeper-of-the-house", b"DOOR-KEEPER-OF-THE-HOUSE", b"dOoR-keeper-of-the-house!"],
        ),
        (
            prefixed,
            &[
                b"urn:uuid:00000000-0000-4000-8000-000000000299",
                b"URN:UUID:00000000-0000-4000-8000-000000000297urn:uuid:00000000-0000-4000-8000-00000000029",
                b"urn:uuid:urn:uuid:00000000-0000-4000-8000-",
            ],
        ),
    ] {
        let matchers = matchers(&owned);
        for payload in payloads {
            check(&owned, &matchers, payload);
        }
    }
}

#[test]
fn at_every_place_of_a_payload() {
    let secrets: Vec<&[u8]> = vec![b"k7h2", b"k7h2m9x4q3w", b"m9x4q3w8z5v1", b"z5v1k7h2m9x4q3w8b6n0d3f1g2j4"];
    for count in 1..=secrets.len() {
        let owned = exact(&secrets[secrets.len() - count..]);
        let matchers = matchers(&owned);
        for (secret, _) in &owned {
            for before in 0..40 {
                for after in [0, 1, 7, 8, 31] {
                    check(
                        &owned,
                        &matchers,
                        &[&vec![b'-'; before], &secret[..], &vec![b'-'; after]].concat(),
                    );
                }
            }
        }
    }
}

#[test]
fn sets_of_every_size() {
    for style in STYLES {
        // The largest has a filter of its own kind.
        for count in [1, 5, 60, 300, 1_000, 22_000] {
            let owned: Vec<_> =
                style(count).into_iter().enumerate().map(|(n, text)| (text, n % 4 == 1)).collect();
            let matcher = Matcher::new(patterns(&owned)).unwrap();
            for (n, (secret, ignore_case)) in owned.iter().enumerate().step_by(1 + count / 50) {
                let other = secret.to_ascii_uppercase();
                let payload = [b"From: \"", &secret[..], b"\" <sip:100@pbx>\r\nX: ", &other].concat();
                let found: Vec<_> = matcher.occurring(&payload).into_iter().map(KnockId::index).collect();
                assert_eq!(found, [n]);
                assert_eq!(matcher.ranges(&payload, count).len(), 1 + usize::from(*ignore_case));
            }
            assert_eq!(matcher.occurring(&register()).capacity(), 0);
        }
    }
}

#[test]
fn the_engine_follows_number_length_and_kind() {
    let folded =
        |count| [vec![(b"k7h2m9x4q3w8".to_vec(), true)], vec![(b"z5".to_vec(), true); count]].concat();
    for (owned, expected) in [
        (Vec::new(), Engine::Memmem),
        (exact(&[b"mykn0ckstr1ng"]), Engine::Memmem),
        (exact(&[b"k"]), Engine::Memmem),
        (exact(&[b"k7h2", b"m9x4q3"]), Engine::Teddy),
        (vec![(b"mykn0ckstr1ng".to_vec(), true)], Engine::Memmem),
        (vec![(b"urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55".to_vec(), true)], Engine::Filter),
        (vec![(b"123123123123".to_vec(), true)], Engine::Memmem),
        (vec![(b"aaaaaaaaaaaaaaaaaaaa".to_vec(), true)], Engine::Automaton),
        (exact(&[b"mykn0ckstr1ng", b"k7h2m9x4q3w8"]), Engine::Filter),
        (exact(&[b"k7h2", b"m9x4", b"q3w8", b"z5v1", b"b6n0"]), Engine::Filter),
        // Too short, and without letters that would make a difference.
        (folded(2), Engine::Automaton),
        // Repetitions would make the filter slow.
        (exact(&[&[b'7'; 20], &[b'8'; 20]]), Engine::Memmem),
        ((0..9).map(|n| (vec![b'0' + n; 20], n > 0)).collect(), Engine::Automaton),
    ] {
        assert_eq!(Matcher::new(patterns(&owned)).unwrap().engine(), expected, "{owned:?}");
    }
}

#[test]
fn ten_thousand_fit_into_few_megabytes() {
    for style in STYLES {
        let owned: Vec<_> = style(10_000).into_iter().map(|text| (text, false)).collect();
        let matcher = Matcher::new(patterns(&owned)).unwrap();
        assert_eq!(matcher.engine(), Engine::Filter);
        assert!(matcher.memory_usage() < 4 << 20, "{matcher:?}");
    }
}

#[test]
fn nothing_of_a_pattern_shows() {
    let owned = exact(&[b"mykn0ckstr1ng", b"k7h2m9x4q3w8", b"k7h2"]);
    for (_, matcher) in matchers(&owned) {
        let shown = format!("{matcher:?} {:?}", patterns(&owned).next());
        assert!(shown.starts_with("Matcher(") && shown.len() < 90, "{shown}");
        assert!(!shown.contains("kn0ck") && !shown.contains(&format!("{:?}", b"kn0ck")), "{shown}");
    }
}

/// Packets that are made to be slow: of parts of knocks, which a stranger knows only where all knocks share them.
///
/// A step of the automaton for each byte takes 1.6 ns at its best; here a q-gram takes 0.9 ns, and a window or a
/// comparison some 4 ns. So with half as many of them as there are bytes the filter takes no more than a third longer.
#[test]
fn near_matches_cost_no_more_than_the_automaton() {
    let most = |owned: &[Owned], payload: &[u8]| {
        let matcher = Matcher::new(patterns(owned)).unwrap();
        work::reset();
        let found = matcher.occurring(payload);
        assert!(found.is_empty(), "{found:?} in {:?}", String::from_utf8_lossy(payload));
        let (windows, compared) = (work::WINDOWS.get(), work::COMPARED.get());
        assert!(windows + compared <= payload.len() / 2, "{windows} windows, {compared} compared");
    };
    let repeat = |text: &[u8]| text.iter().copied().cycle().take(700).collect::<Vec<_>>();
    for style in STYLES {
        for count in [2, 10, 100, 1_000, 10_000] {
            let texts = style(count);
            let owned: Vec<_> =
                texts.iter().enumerate().map(|(n, text)| (text.clone(), n % 2 == 0)).collect();
            let joined = |part: &dyn Fn(&[u8]) -> Vec<u8>| {
                repeat(&texts.iter().take(40).flat_map(|text| part(text)).collect::<Vec<_>>())
            };
            most(&owned, &joined(&|text| text[..9].to_vec()));
            most(&owned, &joined(&|text| text[..text.len() * 3 / 4].to_vec()));
            most(&owned, &joined(&|text| [&text[..text.len() - 1], b"~"].concat()));
            most(&owned, &joined(&|text| [b"~", &text[1..]].concat()));
            most(
                &owned,
                &joined(&|text| [&text[..text.len() / 2], b"~", &text[text.len() / 2 + 1..]].concat()),
            );
            for text in
                [&b"urn:uuid:"[..], b"-", b"Teacher-", b"-Window-Teacher-", b"Blue-Window-", b"aaaaaaaaab"]
            {
                most(&owned, &repeat(text));
            }
        }
    }
    // Repetitions, alone and in company.
    let mut owned: Vec<_> =
        (0..18).map(|n| ([vec![b'a'; 20 - n], vec![b'b'], vec![b'a'; n]].concat(), n > 9)).collect();
    most(&owned, &repeat(b"aaaaaaaaaaaaaaaaaaa"));
    owned.extend(random(50).into_iter().map(|text| (text, false)));
    most(&owned, &repeat(b"aaaaaaaaaaaaaaaaaaa"));
}

/// A single pattern that ignores case has a search of its own.
#[test]
fn near_matches_of_a_folded_pattern_cost_no_more_than_the_automaton() {
    for pattern in
        [&b"Blue-Window-Teacher-42"[..], b"urn:uuid:9d1f2b60", b"aaaaaaaaaaaaaaaaaaab", b"k7h2m9x4q3w8"]
    {
        let matcher = Matcher::with_engine(patterns(&[(pattern.to_vec(), true)]), Engine::Memmem).unwrap();
        assert_eq!(matcher.engine(), Engine::Memmem);
        let (short, last) = pattern.split_at(pattern.len() - 1);
        let flipped = [short, &[last[0] ^ 1]].concat();
        for part in [short, &pattern[1..], &flipped, &pattern[..9], &pattern[4..], &[last[0]], &pattern[..1]]
        {
            folded::COMPARED.set(0);
            let payload: Vec<_> = part.iter().copied().cycle().take(700).collect();
            assert_eq!(matcher.occurring(&payload), []);
            assert!(folded::COMPARED.get() <= payload.len() / 2, "{}", folded::COMPARED.get());
        }
    }
}

/// Of ten thousand patterns many share a window, whichever they are of: no handful of them may cost an automaton.
#[cfg(feature = "bench")]
#[test]
fn words_leave_nothing_to_the_automaton() {
    for count in [1_000, 10_000] {
        let owned: Vec<_> =
            crate::bench::Style::Words.knocks(count).into_iter().map(|text| (text, true)).collect();
        let (_, aside) = Filter::new(&numbered(patterns(&owned)).collect::<Vec<_>>()).unwrap();
        assert_eq!(aside.len(), 0);
    }
}

/// A payload may hold a pattern of its own at every byte, and each of these is looked at.
#[test]
fn no_window_is_looked_up_twice() {
    let owned = exact(&[b"k7h2m9x4q3w8z5v1b6n0", b"0n6b1v5z8w3q4x9m2h7k", b"k7h2k7h2k7h2m9x4k7h2"]);
    let matcher = Matcher::new(patterns(&owned)).unwrap();
    for (secret, _) in &owned {
        let payload = secret.repeat(100);
        work::reset();
        assert_eq!(matcher.ranges(&payload, owned.len()).len(), 100);
        assert!(work::WINDOWS.get() <= payload.len());
        assert_eq!(work::COMPARED.get(), 100);
    }
}

proptest! {
    /// Over a small alphabet, so that they overlap, nest and nearly match all the time.
    #[test]
    fn short_patterns_agree_with_a_naive_search(
        owned in prop::collection::vec((prop::collection::vec(prop::sample::select(b"aAbB1".to_vec()), 1..6), any::<bool>()), 0..90),
        payload in prop::collection::vec(prop::sample::select(b"aAbB12".to_vec()), 0..200),
    ) {
        check(&owned, &matchers(&owned), &payload);
    }

    /// Patterns and payloads of the same few pieces, cut anywhere.
    #[test]
    fn long_patterns_agree_with_a_naive_search(
        owned in prop::collection::vec((pieces(2..5), any::<bool>()), 1..80),
        payload in pieces(0..40),
        cut in 0..8usize,
    ) {
        check(&owned, &matchers(&owned), payload.get(cut..).unwrap_or_default());
    }

    /// Nothing but the patterns themselves, with whatever bytes.
    #[test]
    fn any_bytes_agree_with_a_naive_search(
        owned in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..60), any::<bool>()), 1..40),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        swap in any::<bool>(),
    ) {
        let mut payload: Vec<_> = order.iter().flat_map(|index| index.get(&owned).0.clone()).collect();
        if swap {
            payload.make_ascii_uppercase();
        }
        check(&owned, &matchers(&owned), &payload);
    }
}

fn pieces(count: Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "urn:uuid:",
        "Window-",
        "WINDOW-",
        "k7h2m9x4",
        "q3w8",
        "aaaaaaaa",
        "-",
        "\0",
    ]);
    prop::collection::vec(piece, count).prop_map(|pieces| pieces.concat().into_bytes())
}

type Style = fn(usize) -> Vec<Vec<u8>>;

/// The styles that knocks come in.
const STYLES: [Style; 3] = [random, uuid, words];

/// 20 small letters.
fn random(count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(1);
    (0..count).map(|_| (0..20).map(|_| dice.of(b"abcdefghijklmnopqrstuvwxyz")).collect()).collect()
}

/// What phones say of themselves (RFC 5626, 4.1).
fn uuid(count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(2);
    let mut hex =
        |count: usize| String::from_utf8((0..count).map(|_| dice.of(b"0123456789abcdef")).collect()).unwrap();
    let mut uuid = || format!("urn:uuid:{}-{}-4{}-8{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12));
    (0..count).map(|_| uuid().into_bytes()).collect()
}

/// What people remember.
fn words(count: usize) -> Vec<Vec<u8>> {
    let text = |n: usize| {
        let pick = |from: &[&'static str], by: usize| from[n / by % from.len()];
        let (first, second, third) = (pick(&FIRST, 1), pick(&SECOND, FIRST.len()), pick(&THIRD, 7));
        format!("{first}-{second}-{third}-{:05}", n * 7_919 % 99_991).into_bytes()
    };
    (0..count).map(text).collect()
}

const FIRST: [&str; 8] = ["Blue", "Quiet", "Golden", "Rapid", "Amber", "Frozen", "Noble", "Sunny"];
const SECOND: [&str; 8] = ["Window", "Garden", "River", "Lantern", "Bridge", "Harbor", "Kettle", "Umbrella"];
const THIRD: [&str; 8] = ["Teacher", "Doctor", "Farmer", "Pilot", "Singer", "Baker", "Sailor", "Gardener"];

/// Numbers that are the same in every run (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn of(&mut self, from: &[u8]) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        from[(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % from.len()]
    }
}

fn register() -> Vec<u8> {
    b"REGISTER sip:pbx.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.5:5060;branch=z9hG4bK5f1c9e0a7b3d;rport\r\n\
      Max-Forwards: 70\r\nFrom: \"Desk 7\" <sip:100@pbx.example.com>;tag=8c2a41f09e\r\nTo: <sip:100@pbx.example.com>\r\n\
      Call-ID: 1d0f7a6e5c4b3928@192.168.1.5\r\nCSeq: 2 REGISTER\r\nContact: <sip:100@192.168.1.5:5060>;+sip.instance=\
      \"<urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55>\";expires=3600\r\nUser-Agent: Yealink SIP-T46S 66.85.0.5\r\n\
      Content-Length: 0\r\n\r\n"
        .to_vec()
}
