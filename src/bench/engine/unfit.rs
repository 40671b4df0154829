//! The reasons for which an engine can't take part.

/// Why an engine does not take part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It knows capitals and small letters only as different letters.
    #[error("it can't ignore case")]
    Case,
    /// It holds no more.
    #[error("so many knocks are too many for it")]
    TooMany,
    /// Nobody would wait for it.
    #[error("it would take too long")]
    TooSlow,
    /// They are too short for it, or of another kind that it leaves to others.
    #[error("it leaves knocks like these to others")]
    Kind,
    /// Its tables would be too large.
    #[error("its tables would be too large")]
    TooLarge,
    /// The feature is off.
    #[error("this build has no vectorscan: build with 'cargo build --release --features vectorscan' for it")]
    Absent,
    /// Its own message.
    #[error("{0}")]
    Failed(String),
}

impl Unfit {
    pub(super) fn failed(error: impl std::error::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
