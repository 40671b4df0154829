//! What client and daemon say to each other: one JSON object a line.
//!
//! A client sends a [`ControlRequest`] with `"v":1` in it. The daemon answers with any number of lines and a last one, which is
//! [`Reply::Done`] or [`Reply::Error`]. Fields may be added to answers within a version; clients skip what they do not know.

mod stats;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use stats::*;

use crate::verdict::ReasonCounts;

/// The version that this program speaks.
pub const VERSION: u64 = 1;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ControlRequest {
    /// The open doors.
    Doors {
        /// Only those of this knock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        knock: Option<String>,
        /// Only those of sources that lie in this network.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
    },
    /// Open a door, or renew it, as a knock does.
    Open {
        /// For this address.
        address: String,
        /// For so many seconds; as long as `inspect.door` says where it is missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_s: Option<u64>,
        /// As if this knock had come; else by hand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        knock: Option<String>,
    },
    /// Shut a door.
    Close {
        /// Of this address.
        address: String,
        /// Mark the source, so that a request of the PBX opens no outbound door for it; `false`: only if a knock held its
        /// door, or is remembered for it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mark: bool,
    },
    /// Shut all doors.
    Flush {},
    /// Counters.
    Stats {},
    /// Events from now on, for as long as the client listens.
    Watch {},
    /// Read the configuration again.
    Reload {},
    /// Drop strangers although the time of `run --grace` is not up, or was up and some phones had not knocked.
    Enforce {},
    /// How the firewall's rules are, from the process that watches over them; from root alone.
    Rules {
        /// What it says.
        report: Box<RulesReport>,
    },
    /// Hand queues and doors over to the process that asks, see [`super::takeover`].
    Takeover {
        /// How it takes them over: [`super::takeover::FORMAT`].
        format: u64,
    },
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// An open door.
    Door(DoorLine),
    /// The counters.
    Stats(Box<Stats>),
    /// Something happened. The fields are those of the log.
    Event(Value),
    /// So many events happened that this client was too slow for.
    Lost(u64),
    /// All is said and done.
    Done(Done),
    /// It was not done.
    Error(Refusal),
}

/// An open door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorLine {
    /// An address, or a network where sources are wider.
    pub source: String,
    /// The knock that holds it longest; `manual` where it was opened by hand, `outbound` where the PBX has called the source.
    pub knock: String,
    /// All knocks that hold it, that one first; empty for outbound doors, and from a daemon that does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knocks: Vec<DoorKnock>,
    /// RFC 3339.
    pub opened: String,
    /// When it was last renewed, or opened.
    pub last_knock: String,
    /// When it will shut.
    pub expires: String,
    /// Until then.
    pub expires_in_s: u64,
    /// Packets that it let pass.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
    /// The method of the request of the PBX that opened it; for outbound doors, whose packets and bytes nobody counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The time of the PBX's last request to the source, RFC 3339; for outbound doors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// One of the knocks that hold a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorKnock {
    /// Its name; `manual` for what was opened by hand.
    pub knock: String,
    /// When it will hold the door no more, RFC 3339.
    pub until: String,
    /// Until then.
    pub expires_in_s: u64,
    /// The registrations by which it holds the door; 0 for a knock with a life of its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub registrations: u64,
}

/// How a request ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// How many doors were listed, opened or shut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doors: Option<u64>,
    /// `opened` or `renewed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The configuration file that was read, with its whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What else is good to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub kind: RefusalKind,
    /// For people.
    pub text: String,
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// Not a request of this version.
    BadRequest,
    /// Another version of the protocol.
    Version,
    /// There is no such door or knock.
    NotFound,
    /// There is no room for another door, or another client.
    Full,
    /// Whoever asks may not.
    NotAllowed,
    /// It was tried and failed.
    Failed,
}

impl ControlRequest {
    /// Reads a line.
    ///
    /// # Errors
    /// On what is no request of this version.
    pub fn parse(line: &[u8]) -> Result<Self, Refusal> {
        let mut object: serde_json::Map<String, Value> = serde_json::from_slice(line)
            .map_err(|error| Refusal::bad(format!("not a JSON object in a line: {error}")))?;
        match object.remove("v") {
            Some(Value::Number(version)) if version.as_u64() == Some(VERSION) => {}
            Some(_) => {
                let text =
                    format!("this daemon speaks version {VERSION} only: use the sipknock it came with");
                return Err(Refusal { kind: RefusalKind::Version, text });
            }
            None => return Err(Refusal::bad(format!("\"v\" is missing: send \"v\":{VERSION}"))),
        }
        serde_json::from_value(Value::Object(object)).map_err(|error| Refusal::bad(error.to_string()))
    }

    /// The line to send.
    ///
    /// # Errors
    /// On none that is known of.
    pub fn line(&self) -> serde_json::Result<Vec<u8>> {
        let mut value = serde_json::to_value(self)?;
        if let Value::Object(object) = &mut value {
            object.insert("v".to_owned(), VERSION.into());
        }
        let mut line = serde_json::to_vec(&value)?;
        line.push(b'\n');
        Ok(line)
    }
}

impl Refusal {
    /// What was said is no request.
    pub fn bad(text: impl Into<String>) -> Self {
        Self { kind: RefusalKind::BadRequest, text: text.into() }
    }

    /// It is not there.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self { kind: RefusalKind::NotFound, text: text.into() }
    }

    /// It went wrong.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Failed, text: text.into() }
    }
}

impl Reply {
    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Error(_))
    }
}

/// Reasons that occurred, as JSON has them.
pub fn reasons(counts: &ReasonCounts) -> serde_json::Map<String, Value> {
    counts.occurred().map(|(reason, count)| (reason.name().to_owned(), count.into())).collect()
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The longest line that a client may send.
pub const MAX_REQUEST: usize = 4096;

/// How long a client may take to say what it wants, and to read the answer's next piece.
pub const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_their_line() {
        for request in [
            ControlRequest::Doors { knock: Some("alice".into()), source: None },
            ControlRequest::Open { address: "203.0.113.7".into(), for_s: Some(60), knock: None },
            ControlRequest::Close { address: "::1".into(), mark: false },
            ControlRequest::Close { address: "::1".into(), mark: true },
            ControlRequest::Flush {},
            ControlRequest::Watch {},
            ControlRequest::Enforce {},
            ControlRequest::Rules { report: Box::default() },
            ControlRequest::Takeover { format: 1 },
        ] {
            let line = request.line().unwrap();
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(ControlRequest::parse(&line), Ok(request));
        }
    }

    #[test]
    fn what_is_no_request_is_told_so() {
        for (line, kind, part) in [
            ("", RefusalKind::BadRequest, "JSON"),
            ("[1]", RefusalKind::BadRequest, "JSON"),
            (r#"{"do":"stats"}"#, RefusalKind::BadRequest, "\"v\" is missing"),
            (r#"{"v":2,"do":"stats"}"#, RefusalKind::Version, "version 1"),
            (r#"{"v":"1","do":"stats"}"#, RefusalKind::Version, "version 1"),
            (r#"{"v":1,"do":"dance"}"#, RefusalKind::BadRequest, "dance"),
            (r#"{"v":1,"do":"close"}"#, RefusalKind::BadRequest, "address"),
            (r#"{"v":1,"do":"close","address":"x","now":1}"#, RefusalKind::BadRequest, "now"),
            (r#"{"v":1,"do":"flush","hard":true}"#, RefusalKind::BadRequest, "hard"),
        ] {
            let refusal = ControlRequest::parse(line.as_bytes()).unwrap_err();
            assert!(refusal.kind == kind && refusal.text.contains(part), "{line}: {refusal:?}");
        }
    }

    #[test]
    fn answers_are_as_documented() {
        let done = Reply::Done(Done { doors: Some(3), ..Done::default() });
        assert_eq!(serde_json::to_string(&done).unwrap(), r#"{"done":{"doors":3}}"#);
        let error = Reply::Error(Refusal::not_found("no"));
        assert_eq!(serde_json::to_string(&error).unwrap(), r#"{"error":{"kind":"not-found","text":"no"}}"#);
        assert_eq!(serde_json::to_string(&Reply::Lost(7)).unwrap(), r#"{"lost":7}"#);
    }
}
