//! The control socket's lines: `control::protocol` over arbitrary bytes.
//!
//! - A line is a request or is refused, with a text that is a line itself, is JSON and no longer than a few lines.
//! - A request is written as one line, within the length that a daemon takes, and read back as it was; with another
//!   version, or with a field more, it is refused.
//! - What a daemon says is read as it was said.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sipknock::control::protocol::{Answer, Done, DoorKnock, DoorLine, Kind, Refusal, Request, VERSION};

fuzz_target!(|bytes: &[u8]| {
    for line in bytes.split(|byte| *byte == b'\n').take(8) {
        match Request::parse(line) {
            Ok(request) => survives(&request),
            Err(refusal) => {
                assert!(matches!(refusal.kind, Kind::BadRequest | Kind::Version), "{refusal:?}");
                // A refusal repeats what was said at most once, escaped.
                assert!(refusal.text.len() <= 7 * line.len() + 400, "{}", refusal.text);
                said(&Answer::Error(refusal));
            }
        }
    }
    let mut rest = Unstructured::new(bytes);
    while let Ok(wish) = Wish::arbitrary(&mut rest) {
        wish.check();
        if rest.is_empty() {
            break;
        }
    }
});

fn survives(request: &Request) {
    let line = request.line().expect("it can be written");
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    assert_eq!(Request::parse(&line).as_ref(), Ok(request));
    let mut object: Value = serde_json::from_slice(&line).expect("JSON");
    object["v"] = (VERSION + 1).into();
    let other = Request::parse(object.to_string().as_bytes());
    assert_eq!(other.expect_err("another version").kind, Kind::Version);
    object["v"] = VERSION.into();
    object["more"] = true.into();
    let other = Request::parse(object.to_string().as_bytes());
    assert_eq!(other.expect_err("a field more").kind, Kind::BadRequest);
}

fn said(answer: &Answer) {
    let line = serde_json::to_string(answer).expect("it can be written");
    assert!(!line.contains('\n'));
    assert_eq!(&serde_json::from_str::<Answer>(&line).expect("JSON"), answer);
    assert_eq!(answer.is_last(), matches!(answer, Answer::Done(_) | Answer::Error(_)));
}

#[derive(Arbitrary, Debug)]
enum Wish {
    Doors(Option<String>, Option<String>),
    Open(String, Option<u64>, Option<String>),
    Close(String, bool),
    Plain(u8),
    Door(String, String, [u64; 3], Option<String>, Vec<(String, [u64; 2])>),
    Done(Option<u64>, Option<String>, Option<String>, Vec<String>),
    Lost(u64),
}

impl Wish {
    fn check(self) {
        match self {
            Self::Doors(knock, source) => survives(&Request::Doors { knock, source }),
            Self::Open(address, for_s, knock) => survives(&Request::Open { address, for_s, knock }),
            Self::Close(address, mark) => survives(&Request::Close { address, mark }),
            Self::Plain(which) => survives(&match which % 5 {
                0 => Request::Flush {},
                1 => Request::Stats {},
                2 => Request::Watch {},
                3 => Request::Reload {},
                _ => Request::Enforce {},
            }),
            Self::Door(source, text, [expires_in_s, packets, bytes], method, knocks) => {
                let held = |(knock, [expires_in_s, registrations]): (String, [u64; 2])| DoorKnock {
                    knock,
                    until: text.clone(),
                    expires_in_s,
                    registrations,
                };
                said(&Answer::Door(DoorLine {
                    source,
                    knock: text.clone(),
                    knocks: knocks.into_iter().map(held).collect(),
                    opened: text.clone(),
                    last_knock: text.clone(),
                    request: method.as_ref().map(|_| text.clone()),
                    expires: text,
                    expires_in_s,
                    packets,
                    bytes,
                    method,
                }));
            }
            Self::Done(doors, event, file, notes) => {
                said(&Answer::Done(Done { doors, event: event.clone(), file, notes }));
                let text = event.unwrap_or_default();
                said(&Answer::Error(Refusal { kind: Kind::NotFound, text }));
            }
            Self::Lost(count) => said(&Answer::Lost(count)),
        }
    }
}
