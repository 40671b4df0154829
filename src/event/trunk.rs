//! A call that may be a provider's, in the log.

use tracing::field::display;

use super::form::{EventForm, line};

/// An INVITE from a source without a door, for a user that the PBX has registered somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkRefused {
    /// The sender's address.
    pub source: String,
    /// The user part of its Request-URI, escaped and cut.
    pub user: String,
    /// It passed, since the gate is in monitor mode.
    pub would: bool,
}

impl TrunkRefused {
    pub(super) fn put(&self, form: EventForm<'_>) {
        let text =
            "a call for a user that the PBX has registered comes from an address that it does not call";
        line!(form, [WARN], "drop", text, {
            event: "trunk-refused", src: display(&self.source), user: &self.user, would: self.would.then_some(true),
            advice: self.advice(),
        });
    }

    fn advice(&self) -> String {
        format!(
            "if it is your provider's: trusted += \"{}\", then 'sipknock firewall apply' and 'sipknock reload'",
            self.source
        )
    }
}
