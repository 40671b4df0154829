//! What becomes of a packet, and why.

use std::fmt;

/// The answer to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The packet goes on to the PBX (`NF_ACCEPT`).
    Accept,
    /// The packet is thrown away without an answer (`NF_DROP`): the sender sees a dead port.
    Drop,
}

names! { pub Verdict { Accept = "accept", Drop = "drop" } }

/// Why a packet was accepted or dropped. Every decision has exactly one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The source is in `trusted`.
    Trusted,
    /// A knock matched, and the door was opened or renewed.
    Knock,
    /// The source's door is open.
    Door,
    /// The PBX has called the source, and the packet is one that may come of that.
    Outbound,
    /// A knock matched, but the table or the knock's own `max_doors` is full.
    DoorLimit,
    /// A TCP segment without payload.
    Handshake,
    /// TCP payload that does not yet complete a SIP header block.
    Partial,
    /// The source had a door, and it has run out.
    Expired,
    /// None of the others: a stranger.
    NoKnock,
    /// A later IP fragment from a source without a door.
    Fragment,
    /// Not readable as IP with UDP or TCP.
    Malformed,
}

names! {
    /// The name in logs, JSON and metrics.
    pub Reason {
        Trusted = "trusted", Knock = "knock", Door = "door", Outbound = "outbound", DoorLimit = "door-limit",
        Handshake = "handshake", Partial = "partial", Expired = "expired", NoKnock = "no-knock",
        Fragment = "fragment", Malformed = "malformed",
    }
}

impl Reason {
    /// The verdict that goes with the reason where the gate enforces.
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Trusted | Self::Knock | Self::Door | Self::Outbound | Self::Handshake | Self::Partial => {
                Verdict::Accept
            }
            Self::Expired | Self::NoKnock | Self::Fragment | Self::Malformed | Self::DoorLimit => {
                Verdict::Drop
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A number for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReasonCounts([u64; Reason::ALL.len()]);

impl ReasonCounts {
    /// Counts that stand in the order of [`Reason::ALL`].
    pub const fn from_array(counts: [u64; Reason::ALL.len()]) -> Self {
        Self(counts)
    }

    /// Counts one more packet.
    pub fn add(&mut self, reason: Reason) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Adds another count to this one.
    pub fn merge(&mut self, other: &ReasonCounts) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The reasons that occurred, in the order of the checks, with their counts.
    pub fn occurred(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }

    /// All reasons, in the order of the checks, with their counts.
    pub fn all(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().zip(self.0)
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// As in `knock:1 no-knock:3`.
impl fmt::Display for ReasonCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (reason, count)) in self.occurred().enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{reason}:{count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stand_where_their_reason_does() {
        let mut counts = ReasonCounts::default();
        for (times, reason) in Reason::ALL.into_iter().enumerate() {
            for _ in 0..times {
                counts.add(reason);
            }
        }
        let expected: Vec<_> = Reason::ALL.into_iter().zip(0..).skip(1).collect();
        assert_eq!(counts.occurred().collect::<Vec<_>>(), expected);
        assert_eq!(counts.total(), 55);
    }
}
