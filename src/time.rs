//! Points in time, as the core is told them.

use std::fmt;
use std::time::Duration;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// The core never asks for the time; it is given one with each packet. `run` takes it from
/// [`crate::clock::Clock`], `replay` from the capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The largest representable time, in the year 2554.
    pub const MAX: Time = Time(u64::MAX);

    /// A time from nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A time from seconds and nanoseconds since the epoch. What does not fit becomes [`Time::MAX`].
    pub const fn from_parts(secs: u64, nanos: u32) -> Self {
        Self(secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos as u64))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This time and `span` more; [`Time::MAX`] where the sum does not fit.
    pub fn after(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// This time less `span`; the epoch where that would be before it.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero where it is not later.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in nanoseconds, up to 584 years: half as large as a [`Duration`], for where there are a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// What does not fit is as long as can be.
impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_nanos(span.0)
    }
}

/// RFC 3339 in UTC with microseconds, as in `2026-11-22T14:00:00.000000Z`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(timestamp) => write!(f, "{timestamp:.6}"),
            Err(_) => f.write_str("-"),
        }
    }
}

const NANOS_PER_SEC: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_rfc3339_with_six_digits() {
        for (secs, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (1_795_356_000, 0, "2026-11-22T14:00:00.000000Z"),
            (1_795_356_000, 123_456_789, "2026-11-22T14:00:00.123456Z"),
            (u64::MAX, 0, "2554-07-21T23:34:33.709551Z"),
        ] {
            assert_eq!(Time::from_parts(secs, nanos).to_string(), text);
        }
    }

    #[test]
    fn arithmetic_saturates() {
        let start = Time::from_parts(10, 0);
        assert_eq!(start.after(Duration::from_secs(5)), Time::from_parts(15, 0));
        assert_eq!(start.after(Duration::MAX), Time::MAX);
        assert_eq!(start.before(Duration::from_secs(4)), Time::from_parts(6, 0));
        assert_eq!(start.before(Duration::MAX), Time::default());
        assert_eq!(start.since(Time::from_parts(4, 0)), Duration::from_secs(6));
        assert_eq!(Time::from_parts(4, 0).since(start), Duration::ZERO);
    }
}
