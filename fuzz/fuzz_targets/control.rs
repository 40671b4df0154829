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
use sipknock::control::protocol::{
    ControlRequest, Done, DoorKnock, DoorLine, Refusal, RefusalKind, Reply, VERSION,
};

fuzz_target!(|bytes: &[u8]| {
    for line in bytes.split(|byte| *byte == b'\n').take(8) {
        match ControlRequest::parse(line) {
            Ok(request) => survives(&request),
            Err(refusal) => {
                assert!(
                    matches!(refusal.kind, RefusalKind::BadRequest | RefusalKind::Version),
                    "{refusal:?}"
                );
                // A refusal repeats what was said at most once, escaped.
                assert!(refusal.text.len() <= 7 * line.len() + 400, "{}", refusal.text);
                said(&Reply::Error(refusal));
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

fn survives(request: &ControlRequest) {
    let line = request.line().expect("it can be written");
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    assert_eq!(ControlRequest::parse(&line).as_ref(), Ok(request));
    let mut object: Value = serde_json::from_slice(&line).expect("JSON");
    object["v"] = (VERSION + 1).into();
    let other = ControlRequest::parse(object.to_string().as_bytes());
    assert_eq!(other.expect_err("another version").kind, RefusalKind::Version);
    object["v"] = VERSION.into();
    object["more"] = true.into();
    let other = ControlRequest::parse(object.to_string().as_bytes());
    assert_eq!(other.expect_err("a field more").kind, RefusalKind::BadRequest);
}

fn said(answer: &Reply) {
    let line = serde_json::to_string(answer).expect("it can be written");
    assert!(!line.contains('\n'));
    assert_eq!(&serde_json::from_str::<Reply>(&line).expect("JSON"), answer);
    assert_eq!(answer.is_last(), matches!(answer, Reply::Done(_) | Reply::Error(_)));
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
            Self::Doors(knock, source) => survives(&ControlRequest::Doors { knock, source }),
            Self::Open(address, for_s, knock) => survives(&ControlRequest::Open { address, for_s, knock }),
            Self::Close(address, mark) => survives(&ControlRequest::Close { address, mark }),
            Self::Plain(which) => survives(&match which % 5 {
                0 => ControlRequest::Flush {},
                1 => ControlRequest::Stats {},
                2 => ControlRequest::Watch {},
                3 => ControlRequest::Reload {},
                _ => ControlRequest::Enforce {},
            }),
            Self::Door(source, text, [expires_in_s, packets, bytes], method, knocks) => {
                let held = |(knock, [expires_in_s, registrations]): (String, [u64; 2])| DoorKnock {
                    knock,
                    until: text.clone(),
                    expires_in_s,
                    registrations,
                };
                said(&Reply::Door(DoorLine {
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
                said(&Reply::Done(Done { doors, event: event.clone(), file, notes }));
                let text = event.unwrap_or_default();
                said(&Reply::Error(Refusal { kind: RefusalKind::NotFound, text }));
            }
            Self::Lost(count) => said(&Reply::Lost(count)),
        }
    }
}
