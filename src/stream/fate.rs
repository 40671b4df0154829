//! Findings in the bytes of a flow, and the fate of a segment.

/// A flow's bytes so far, the segment in question included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gathered<'a> {
    /// From the start of the flow.
    pub bytes: &'a [u8],
    /// The header block is not complete, and may still become so.
    pub grows: bool,
}

/// The caller's finding in [`Gathered`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentFinding {
    /// No knock.
    Nothing,
    /// A knock, and the door is open now.
    Opened,
    /// A knock, and no room for a door.
    NoRoom,
}

/// The fate of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It passes: no header block is complete yet.
    Partial,
    /// A knock was found, and the door is open now.
    Opened,
    /// A knock was found, and there is no room for a door.
    NoRoom,
    /// It passes as part of a message that may, see [`StreamTable::called`](super::StreamTable::called).
    Admitted,
    /// It does not pass.
    Refused,
}

impl Fate {
    pub(super) fn of(finding: SegmentFinding) -> Self {
        match finding {
            SegmentFinding::Nothing => Self::Refused,
            SegmentFinding::Opened => Self::Opened,
            SegmentFinding::NoRoom => Self::NoRoom,
        }
    }
}
