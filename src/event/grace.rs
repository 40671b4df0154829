//! A safe start, in the log.

use std::time::Duration;

use tracing::field::display;

use super::form::{EventForm, line};
use crate::learn::{PassesBy, Unready};

/// What becomes of a gate that lets everything pass at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraceEvent {
    /// It lets everything pass, for so long.
    Began(Duration),
    /// A phone has registered and not knocked.
    Unready(Unready),
    /// The time is up, or was: some phones would be shut out, so that it goes on letting everything pass.
    Held {
        /// Phones that registered.
        phones: u64,
        /// Those of them that have not knocked.
        unready: u64,
        /// How many of those are not listed.
        unlisted: u64,
        /// REGISTERs that were not looked at.
        overlooked: u64,
    },
    /// From here on strangers are dropped.
    Enforced {
        /// Phones that registered.
        phones: u64,
        /// Those of them that have not knocked: none, unless somebody had it enforce.
        unready: u64,
    },
}

impl GraceEvent {
    pub(super) fn put(&self, form: EventForm<'_>) {
        match self {
            Self::Began(span) => {
                let text = "everything passes for now, so that phones can knock before strangers are dropped";
                line!(form, [INFO], "daemon", text, { event: "grace", mode: "monitor", grace_s: span.as_secs() });
            }
            Self::Unready(Unready { address, user, user_agent, passes }) => {
                let (passes, door) = told(passes.as_ref());
                line!(form, [WARN], "daemon", "a phone has registered and not knocked", {
                    event: "unready", src: display(address), user, user_agent, passes, door,
                });
            }
            Self::Held { phones, unready, unlisted, overlooked } => {
                line!(form, [WARN], "daemon", "the time is up, and everything still passes", {
                    event: "grace", mode: "monitor", phones, unready, unlisted, overlooked, advice: self.advice(),
                });
            }
            Self::Enforced { phones, unready } => {
                let text = "strangers are dropped from here on";
                line!(form, [INFO], "daemon", text, { event: "grace", mode: "enforce", phones, unready });
            }
        }
    }

    /// What to do where it goes on letting everything pass.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Held { unready: 1.., .. } => {
                "give these phones a knock or trust their networks, also those that pass by a door of another one, 'sipknock \
                 reload', then 'sipknock enforce'"
            }
            Self::Held { overlooked: 1.., .. } => {
                "REGISTERs came too fast to look at all of them, so a phone may be missing: see 'sipknock doors', then \
                 'sipknock enforce'"
            }
            Self::Held { .. } => {
                "no phone has registered: check with 'sipknock doctor' if the rules lead here, or give it more time; \
                 'sipknock enforce' makes it drop strangers"
            }
            Self::Began(_) | Self::Unready(_) | Self::Enforced { .. } => return None,
        })
    }
}

/// By what a phone passes without a knock of its own, and whose door that is.
fn told(passes: Option<&PassesBy>) -> (Option<&'static str>, Option<&str>) {
    match passes {
        Some(PassesBy::Door(name)) => (Some("another-door"), Some(name)),
        Some(PassesBy::Outbound) => (Some("outbound"), None),
        None => (None, None),
    }
}
