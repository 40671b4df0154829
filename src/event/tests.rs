mod forms;

use super::text::{MAX_TEXT, merged};
use super::*;
use crate::inspect::Policy;
use crate::knock::{Knock, KnockSet, Part, Secret};
use crate::testing::{ipv4, tcp_at, udp};
use crate::time::Time;

fn gate() -> Inspector {
    let knock = |name: &str, secret: &str, ignore_case, max_doors| Knock {
        ignore_case,
        max_doors,
        ..Knock::new(name, Secret::new(secret.as_bytes()).unwrap(), Duration::from_secs(100))
    };
    let knocks = vec![
        knock("alice", "mykn0ckstr1ng", false, None),
        knock("folded", "Other-S3cret", true, None),
        knock("single", "only-one", false, Some(1)),
    ];
    Inspector::new(Policy::default(), KnockSet::new(knocks).unwrap(), 10)
}

fn events(gate: &Inspector, secs: u64, from: &str, payload: &[u8]) -> Vec<Event> {
    let packet = ipv4(from, &udp(payload));
    let decision = gate.inspect(Time::from_parts(secs, 0), &packet);
    Event::of_knocks(gate, 7, &decision, &packet)
}

fn knock_of(event: &Event) -> &KnockEvent {
    match event {
        Event::Knock(event) => event,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_knock_in_full() {
    let payload = b"REGISTER sip:pbx SIP/2.0\r\nf: \"mykn0ckstr1ng\" <sip:100@pbx>\r\n\
        i: abc@phone\r\nUser-Agent: Snom\x1b[31m\xff\r\n\r\n";
    let made = events(&gate(), 1000, "203.0.113.7", payload);
    let [event] = made.as_slice() else { panic!("{made:?}") };
    let event = knock_of(event);
    assert_eq!((event.event, event.knock.as_str(), event.queue), ("opened", "alice", 7));
    assert_eq!(
        (event.source, event.source_port, event.destination_port),
        ([203, 0, 113, 7].into(), 5061, 5060)
    );
    assert_eq!((event.transport, event.method.as_deref()), ("udp", Some("REGISTER")));
    assert_eq!(event.from.as_deref(), Some("\"[secret]\" <sip:100@pbx>"));
    assert_eq!(event.call_id.as_deref(), Some("abc@phone"));
    assert_eq!(event.user_agent.as_deref(), Some("Snom\\u{1b}[31m\\xff"));
    assert_eq!(event.door.unwrap().expires, Time::from_parts(1100, 0));
}

#[test]
fn kinds() {
    let gate = gate();
    for (secs, from, payload, expected) in [
        (0, "203.0.113.1", "nothing", &[][..]),
        (0, "203.0.113.1", "mykn0ckstr1ng", &["opened alice"]),
        (1, "203.0.113.1", "mykn0ckstr1ng", &["renewed alice"]),
        (2, "203.0.113.1", "nothing", &[]),
        (3, "203.0.113.2", "mykn0ckstr1ng only-one", &["opened alice", "renewed single"]),
        (4, "203.0.113.3", "only-one", &["refused single"]),
        (5, "203.0.113.4", "mykn0ckstr1ng only-one", &["opened alice", "refused single"]),
        (500, "203.0.113.1", "OTHER-s3CRET", &["closed alice", "opened folded"]),
    ] {
        let made = events(&gate, secs, from, payload.as_bytes());
        let seen: Vec<_> = made
            .iter()
            .map(|event| match event {
                Event::Closed { knock, .. } => format!("closed {knock}"),
                other => format!("{} {}", knock_of(other).event, knock_of(other).knock),
            })
            .collect();
        assert_eq!(seen, expected, "{from} at {secs}");
    }
}

#[test]
fn secrets_are_cut_out_wherever_they_stand() {
    let gate = gate();
    for (headers, from) in [
        ("From: mykn0ckstr1ngmykn0ckstr1ng x\r\n", "[secret] x"),
        ("From: a mykn0ckstr1ng b oTHER-s3cret c\r\n", "a [secret] b [secret] c"),
        ("Subject: mykn0ckstr1ng\r\nFrom: \"100\" <sip:100@pbx>\r\n", "\"100\" <sip:100@pbx>"),
        (
            "X: mykn0ckstr1ng\r\nFrom: \u{202e}Алиса\t<sip:a@b>\r\n\t;tag=1\r\n",
            "\\u{202e}Алиса\\t<sip:a@b>\\r\\n\\t;tag=1",
        ),
    ] {
        let payload = format!("REGISTER sip:pbx SIP/2.0\r\n{headers}\r\n");
        let made = events(&gate, 0, "203.0.113.1", payload.as_bytes());
        assert_eq!(knock_of(&made[0]).from.as_deref(), Some(from), "{headers:?}");
    }
}

#[test]
fn a_secret_across_two_header_fields_leaves_no_half_behind() {
    let secret = "first-half>\r\nUser-Agent: second-half";
    let knock = Knock::new("odd", Secret::new(secret.as_bytes()).unwrap(), Duration::from_secs(100));
    let gate = Inspector::new(Policy::default(), KnockSet::new(vec![knock]).unwrap(), 10);
    let payload = format!("REGISTER sip:pbx SIP/2.0\r\nFrom: <sip:{secret} 1.0\r\n\r\n");
    let made = events(&gate, 0, "203.0.113.1", payload.as_bytes());
    let event = knock_of(&made[0]);
    assert_eq!(event.from.as_deref(), Some("<sip:[secret]"));
    assert_eq!(event.user_agent.as_deref(), Some("[secret] 1.0"));
}

#[test]
fn long_text_is_cut_after_secrets_are() {
    let gate = gate();
    let filler = "x".repeat(MAX_TEXT - 4);
    let payload = format!("REGISTER sip:pbx SIP/2.0\r\nFrom: {filler}mykn0ckstr1ng{filler}\r\n\r\n");
    let made = events(&gate, 0, "203.0.113.1", payload.as_bytes());
    assert_eq!(knock_of(&made[0]).from.as_deref(), Some(format!("{filler}[sec…").as_str()));
}

#[test]
fn a_payload_full_of_secrets_takes_no_longer_than_one() {
    let gate = gate();
    let many = "mykn0ckstr1ng.".repeat(2200);
    let payload = format!("REGISTER sip:pbx SIP/2.0\r\nFrom: {many}\r\nUser-Agent: {many}x\r\n\r\n");
    let made = events(&gate, 0, "203.0.113.1", payload.as_bytes());
    let shown = "[secret].".repeat(15);
    let shown = format!("{}…", &shown[..MAX_TEXT]);
    let event = knock_of(&made[0]);
    assert_eq!((event.from.as_deref(), event.user_agent.as_deref()), (Some(&*shown), Some(&*shown)));
}

#[test]
#[expect(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
fn secrets_that_overlap_or_touch_are_one_gap() {
    for (ranges, expected) in [
        (vec![], vec![]),
        (vec![4..6, 0..2], vec![0..2, 4..6]),
        (vec![0..2, 2..4], vec![0..4]),
        (vec![0..9, 1..3, 5..7, 9..10, 12..13], vec![0..10, 12..13]),
        (vec![3..5, 3..8, 3..4], vec![3..8]),
    ] {
        assert_eq!(merged(ranges), expected);
    }
}

#[test]
fn a_secret_with_escapes_or_folds_in_it_does_not_show() {
    for (secret, from) in [
        ("my \"kn0ckstr1ng\"", "\"my \\\"kn0ckstr1ng\\\"\" <sip:1@a>"),
        ("my \"kn0ckstr1ng\"", "\"my\r\n \\\"kn0ckstr1ng\\\"\" <sip:1@a>"),
        ("my kn0ckstr1ng", "my\r\n kn0ckstr1ng <sip:1@a>"),
    ] {
        let secret = Secret::new(secret.as_bytes()).unwrap();
        let knock =
            Knock { part: Part::FromDisplayName, ..Knock::new("odd", secret, Duration::from_secs(100)) };
        let gate = Inspector::new(Policy::default(), KnockSet::new(vec![knock]).unwrap(), 10);
        let payload = format!("REGISTER sip:a SIP/2.0\r\nFrom: {from}\r\n\r\n");
        let made = events(&gate, 0, "203.0.113.1", payload.as_bytes());
        assert_eq!(knock_of(&made[0]).from.as_deref(), Some("[secret]"), "{from:?}");
    }
}

#[test]
fn a_knock_in_several_segments_tells_who_it_was() {
    let gate = gate();
    let payload = b"REGISTER sip:a SIP/2.0\r\nFrom: A <sip:1@a>\r\nCall-ID: 7\r\nX: mykn0ckstr1ng\r\n\r\n";
    let (first, second) = payload.split_at(70);
    let first = ipv4("203.0.113.1", &tcp_at(100, 0, first));
    assert!(gate.inspect(Time::from_parts(1, 0), &first).change().is_none());
    let second = ipv4("203.0.113.1", &tcp_at(170, 0, second));
    let decision = gate.inspect(Time::from_parts(1, 0), &second);
    let made = Event::of_knocks(&gate, 0, &decision, &second);
    let event = knock_of(&made[0]);
    assert_eq!((event.method.as_deref(), event.from.as_deref()), (Some("REGISTER"), Some("A <sip:1@a>")));
    assert_eq!((event.call_id.as_deref(), event.transport), (Some("7"), "tcp"));
}
