//! An outbound door.

use std::time::Duration;

use super::message::{ContactBinding, Method, OutboundRequest};
use crate::time::Time;

/// The permission of a source that the PBX has called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundDoor {
    /// The time of the request that opened it.
    pub opened: Time,
    /// The method of that request.
    pub method: Method,
    /// The time of the PBX's last request to the source.
    pub requested: Time,
    /// Held until then by requests of the PBX and by requests inside their dialogs.
    pub held_until: Time,
    /// The registrations of the PBX with the source.
    pub bindings: Vec<HeldBinding>,
    /// Packets that it let pass, since it was opened or the gate was started.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
}

/// A registration of the PBX, and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBinding {
    /// The registration.
    pub binding: ContactBinding,
    /// The first moment at which it no longer holds the door.
    pub until: Time,
}

impl OutboundDoor {
    pub(super) fn new(now: Time, method: Method) -> Self {
        Self {
            opened: now,
            method,
            requested: now,
            held_until: now,
            bindings: Vec::new(),
            packets: 0,
            bytes: 0,
        }
    }

    /// The first moment at which it is no longer open.
    pub fn expires(&self) -> Time {
        self.bindings.iter().map(|held| held.until).fold(self.held_until, Time::max)
    }

    /// Takes note of a request of the PBX.
    pub(super) fn requested_at(&mut self, now: Time, request: &OutboundRequest, life: Duration) {
        self.requested = now;
        match request {
            OutboundRequest::Register(binding, asked) => self.bind(*binding, now, *asked),
            OutboundRequest::Opening(_) | OutboundRequest::Other(_) => {
                self.held_until = self.held_until.max(now.after(life));
            }
        }
    }

    /// Holds the door for a registration. The end of one (0 seconds) leaves the door open for the answers.
    fn bind(&mut self, binding: ContactBinding, now: Time, asked: Duration) {
        let until = now.after(asked.max(ANSWERS));
        self.bindings.retain(|held| held.until > now && held.binding.aor != binding.aor);
        if self.bindings.len() >= MAX_BINDINGS
            && let Some(first) =
                (0..self.bindings.len()).min_by_key(|&n| self.bindings.get(n).map(|b| b.until))
        {
            self.bindings.swap_remove(first);
        }
        self.bindings.push(HeldBinding { binding, until });
    }
}

/// Registrations of one door that are told apart: more than a PBX has with one provider, most often.
pub const MAX_BINDINGS: usize = 64;

/// The time in which the last answer to a request may come: twice 64 * T1 (RFC 3261, 17.1.2.2), since a challenge costs a
/// second transaction.
const ANSWERS: Duration = Duration::from_secs(64);
