//! The content of a file of doors.

use std::time::Duration;

use crate::door::RegistrationId;
use crate::inspect::Identities;
use crate::net::{Prefixes, Source};
use crate::outbound::{ContactBinding, Method};
use crate::state::stamp::Stamp;
use crate::time::Time;

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The time of writing.
    pub stamp: Stamp,
    /// The prefixes of sources at that time.
    pub prefixes: Prefixes,
    /// Names of knocks.
    pub names: Vec<String>,
    /// The digests that knocks are told by, beside names; `None` in a file that has names alone.
    pub identities: Option<Identities>,
    /// The doors.
    pub doors: Vec<DoorRecord>,
    /// The outbound doors.
    pub outbound: Vec<OutboundRecord>,
    /// The marks.
    pub marks: Vec<MarkRecord>,
}

/// An outbound door in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundRecord {
    /// The destination of the requests.
    pub source: Source,
    /// The time of the request that opened it.
    pub opened: Time,
    /// The time since the PBX's last request.
    pub requested: Duration,
    /// For how long requests hold it, registrations aside.
    pub left: Duration,
    /// The method of the request that opened it.
    pub method: Method,
    /// The registrations, each with what it has left; [`crate::outbound::MAX_BINDINGS`] at most.
    pub bindings: Vec<(ContactBinding, Duration)>,
}

/// A mark in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRecord {
    /// The source that is to have no outbound door.
    pub source: Source,
    /// The time that it has left.
    pub left: Duration,
    /// Its life, from the closing and from each later request of the PBX.
    pub life: Duration,
}

/// A door in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorRecord {
    /// The source that it is open for.
    pub source: Source,
    /// The time of its opening.
    pub opened: Time,
    /// The time of its last renewal.
    pub last_knock: Time,
    /// Packets that it let pass.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The claim that ends last, never as a registration's, even if that claim is.
    pub claim: ClaimRecord,
    /// All claims, [`crate::door::MAX_CLAIMS`] at most; empty if there is one only, and no registration's.
    pub claims: Vec<ClaimRecord>,
}

/// A claim in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimRecord {
    /// Its knock, as an index into the names; [`BY_HAND`] for none.
    pub knock: u32,
    /// Its registration, if it is one's.
    pub registration: Option<RegistrationId>,
    /// The time for which it still holds the door; the time since it ran out, if it did.
    pub left: Duration,
    /// The life that its knock opens for.
    pub life: Duration,
    /// The registration has ended.
    pub closing: bool,
    /// It has run out, and is remembered.
    pub ran_out: bool,
}

/// Stands for the knock of a claim that was made by hand.
pub const BY_HAND: u32 = u32::MAX;
