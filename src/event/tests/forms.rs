//! Each event in its three forms: a line of the text log, one of the JSON log, and the object of `watch`.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;
use crate::learn::{PassesBy, Unready};
use crate::verdict::Reason;

/// The output of a subscriber.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// The output meanwhile, without the time.
    fn by(json: bool, write: impl FnOnce()) -> String {
        let written = Self::default();
        let out = written.clone();
        let builder = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || out.clone())
            .without_time();
        match json {
            true => tracing::subscriber::with_default(builder.json().flatten_event(true).finish(), write),
            false => tracing::subscriber::with_default(builder.finish(), write),
        }
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }
}

#[test]
fn each_event_in_its_three_forms() {
    let forms = all().into_iter().map(|event| {
        let (text, json) = (Written::by(false, || event.write()), Written::by(true, || event.write()));
        format!("{text}{json}{}\n", event.to_json(Time::from_parts(1_795_356_000, 0)))
    });
    let forms: Vec<_> = forms.map(|forms| forms.replace(env!("CARGO_PKG_VERSION"), "VERSION")).collect();
    let expected = include_str!("forms.txt");
    assert_eq!(forms.len(), expected.split("\n\n").count());
    for (forms, expected) in forms.iter().zip(expected.split("\n\n")) {
        assert_eq!(forms.trim_end(), expected.trim_end());
    }
}

fn all() -> Vec<Event> {
    let knocks = knocks();
    let Ok(door) = knock_of(&knocks[0]).door else { panic!() };
    let (source, knock) = ("203.0.113.7".to_owned(), "alice".to_owned());
    let mut reasons = ReasonCounts::default();
    reasons.add(Reason::NoKnock);
    reasons.add(Reason::NoKnock);
    reasons.add(Reason::Malformed);
    let sender =
        Sender { user: Some("100 \"x\"".to_owned()), user_agent: Some("friendly-scanner".to_owned()) };
    let dropped = |would, established, sender| Event::Dropped {
        source: "2001:db8::/64".to_owned(),
        reasons,
        interval: Duration::from_secs(10),
        would,
        established,
        sender,
    };
    let overload = |place| Event::Overload { queue: 3, place, count: 17, limit: 16384 };
    let fault = |fault| Event::QueueFault { queue: 2, fault, waiting: 5 };
    let stopped = |handed_to| Event::Stopped {
        queues: "0-3".to_owned(),
        totals: reasons,
        waiting: 1,
        stale: 2,
        unreadable: 4,
        handed_to,
    };
    let outbound = |why| {
        let expires = Time::from_parts(1_795_370_400, 0);
        let source = "198.51.100.9".to_owned();
        Event::Outbound(Box::new(OutboundEvent { source, method: "REGISTER", door_s: 14400, expires, why }))
    };
    let unready = |user_agent: Option<&str>, passes| {
        let (address, user) = ([192, 0, 2, 4].into(), "201".to_owned());
        Event::Grace(GraceEvent::Unready(Unready {
            address,
            user,
            user_agent: user_agent.map(str::to_owned),
            passes,
        }))
    };
    let held = |phones, unready, overlooked| {
        Event::Grace(GraceEvent::Held { phones, unready, unlisted: 0, overlooked })
    };
    let rules = |state: &str, family: &str, by: Option<&str>, missing_ms, detail: &str| {
        Event::Rules(Box::new(RulesChange {
            state: state.to_owned(),
            family: family.to_owned(),
            chain: "INPUT".to_owned(),
            by: by.map(str::to_owned),
            missing_ms,
            detail: detail.to_owned(),
        }))
    };
    let trunk = |would| {
        Event::TrunkRefused(Box::new(TrunkRefused { source: source.clone(), user: "200".to_owned(), would }))
    };
    let mut all = knocks;
    all.extend([
        Event::ByHand { event: "opened", source: source.clone(), knock: "manual".to_owned(), door },
        Event::Closed { source: source.clone(), knock, why: EXPIRED, door },
        dropped(false, true, sender),
        dropped(true, false, Sender::default()),
        overload("kernel"),
        overload("socket"),
        fault(Fault::Stuck),
        fault(Fault::Lost),
        Event::EventsLost(9),
        Event::Started(Box::new(Started {
            monitor: false,
            backend: "batched",
            queues: "0-3".to_owned(),
            knocks: 3,
            trusted: 1,
            receive_buffer: 33_554_432,
        })),
        Event::Reloaded(Reloaded { monitor: true, knocks: 4, trusted: 0, closed: 2 }),
        stopped(None),
        stopped(Some(4711)),
        outbound(None),
        outbound(Some(REVOKED)),
        Event::OutboundLost { count: 6, limit: 212_992 },
        Event::Grace(GraceEvent::Began(Duration::from_secs(86_400))),
        unready(Some("Snom 300"), Some(PassesBy::Door("bob".to_owned()))),
        unready(None, Some(PassesBy::Outbound)),
        unready(None, None),
        held(3, 1, 0),
        held(3, 0, 7),
        held(0, 0, 0),
        Event::Grace(GraceEvent::Enforced { phones: 12, unready: 0 }),
        trunk(true),
        trunk(false),
        rules("missing", "ipv4", None, None, "INPUT does not lead to SIPKNOCK"),
        rules("foreign", "ipv6", Some("iptables of fail2ban"), Some(1500), "a rule before ours"),
        rules("restored", "ipv4", None, Some(250), "nothing"),
        Event::Detail("a detail {x}".to_owned()),
        Event::Note("a note".to_owned()),
        Event::Warning("a \"warning\"".to_owned()),
    ]);
    all
}

/// Opened with all that a message can say, renewed with nothing of it, and refused.
fn knocks() -> Vec<Event> {
    let gate = gate();
    let register = "REGISTER sip:pbx SIP/2.0\r\nFrom: \"mykn0ckstr1ng\" <sip:100@pbx>\r\nCall-ID: abc@phone\r\n\
        User-Agent: Snom\r\n\r\n";
    let mut all = events(&gate, 1_795_356_000, "203.0.113.7", register.as_bytes());
    all.extend(events(&gate, 1_795_356_001, "203.0.113.7", b"mykn0ckstr1ng only-one"));
    all.extend(events(&gate, 1_795_356_002, "203.0.113.8", b"only-one"));
    assert_eq!(all.len(), 4);
    all
}
