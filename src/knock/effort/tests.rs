use std::time::Duration;

use super::*;
use crate::knock::{KnockSet, Part, Payload, Secret};

fn knock(secret: &str, part: &str, extent: Extent) -> Knock {
    let secret = Secret::new(secret.as_bytes()).unwrap();
    let part = Part::parse(part).unwrap();
    Knock { part, extent, ..Knock::new("a", secret, Duration::from_secs(100)) }
}

#[test]
fn seconds_and_grades_of_knocks() {
    use Extent::{Whole, Within};
    use Grade::{Guessable, Sound, Weak};
    for (secret, part, extent, seconds, grade) in [
        // Ten letters of the keypad, no key twice in a row.
        ("adgjmptwad", "anywhere", Within, 1.3, Guessable),
        // A message of 22 bytes for each guess, instead of a byte.
        ("adgjmptwad", "from-display-name", Whole, 28.0, Guessable),
        ("adgjmptwad", "header:X-Door", Whole, 33.6, Guessable),
        ("adgjmptwadga", "anywhere", Within, 63.0, Weak),
        ("4707183526", "anywhere", Within, 40.0, Guessable),
        ("4707183526", "from-display-name", Within, 40.0, Guessable),
        ("4707183526", "from-display-name", Whole, 880.0, Weak),
        ("470718352649", "anywhere", Within, 4000.0, Weak),
        ("k7q9xw2mfz", "anywhere", Within, 3.3e6, Sound),
        ("urn:uuid:00000000-0000-1000-8000-0004f2123456", "contact-instance", Whole, 4.8, Guessable),
        ("urn:uuid:9d1f2b60-4e0b-4c6b-8f1e-0f4c2f1a7e55", "contact-instance", Whole, 1.5e30, Sound),
    ] {
        let effort = Effort::of(&knock(secret, part, extent));
        let found = effort.seconds();
        assert!((found / seconds - 1.0).abs() < 0.05, "{secret} {part} {extent}: {found}");
        assert_eq!(effort.grade(), grade, "{secret} {part} {extent}");
    }
}

#[test]
fn many_knocks_are_guessed_sooner_than_one() {
    let one = Effort::of(&knock("470718352649", "anywhere", Extent::Within));
    let any = of_any(&[one; 100]).unwrap();
    assert!((any / one.seconds() * 100.0 - 1.0).abs() < 1e-9);
    assert_eq!((one.grade(), grade(any)), (Grade::Weak, Grade::Guessable));
    assert_eq!(of_any(&[]), None);
    // Beyond what a number can say.
    let long: String =
        (0u32..9000).map(|n| char::from(b"k7q9xw2mfzb3"[(n * n % 47 % 12) as usize])).collect();
    let long = Effort::of(&knock(&format!("{long}-"), "anywhere", Extent::Within));
    assert!(long.seconds().is_finite() && of_any(&[long]).is_some());
}

#[test]
fn times_in_words() {
    for (seconds, words) in [
        (0.0, "less than a second"),
        (1.2, "1 second"),
        (99.0, "99 seconds"),
        (150.0, "2 minutes"),
        (7200.0, "2 hours"),
        (2.6 * DAY, "3 days"),
        (40.0 * YEAR, "40 years"),
        (2345.0 * YEAR, "2 thousand years"),
        (1e30, "more than a million years"),
        (f64::INFINITY, "more than a million years"),
    ] {
        assert_eq!(in_words(seconds), words, "{seconds}");
    }
}

/// The shortest message that a guess may be is one that the gate counts, so that no sender is faster than is said.
#[test]
fn the_shortest_message_knocks() {
    for (part, message) in [
        ("from-display-name", "A SIP/\nf:k7q9xw2mfz<\n\n"),
        ("contact-instance", "A SIP/\nm:;+sip.instance=k7q9xw2mfz\n\n"),
        ("user-agent", "A SIP/\nUser-Agent:k7q9xw2mfz\n\n"),
        ("request-uri", "A k7q9xw2mfz SIP/\n\n"),
        ("header:X-Door", "A SIP/\nX-Door:k7q9xw2mfz\n\n"),
        ("header:Subject", "A SIP/\ns:k7q9xw2mfz\n\n"),
    ] {
        let knock = knock("k7q9xw2mfz", part, Extent::Whole);
        assert_eq!(knock.part.least_message() + knock.secret.expose().len(), message.len(), "{part}");
        let set = KnockSet::new(vec![knock]).unwrap();
        let found = |payload| set.matched([192, 0, 2, 1].into(), payload).len();
        assert_eq!(found(Payload::Datagram(message.as_bytes())), 1, "{part}");
        // Several in a TCP segment are several guesses.
        let many = ["A SIP/\nf:k7q9xw2mf<\n\n", message].concat();
        assert_eq!(found(Payload::Stream(many.as_bytes())), 1, "{part}");
    }
}
