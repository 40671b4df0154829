//! The record of a grace, beside the file of doors: how much of it has passed, and the phones seen so far.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::learn::KnownPhone;
use crate::state::file;
use crate::time::Time;

/// The record of a grace.
#[derive(Debug)]
pub(super) struct GraceRecord {
    path: PathBuf,
    /// The time that had passed when this process began, and the beginning.
    before: Duration,
    began: Time,
    saved: SavedGrace,
    written: Option<Time>,
    removed: bool,
}

/// The file's content.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SavedGrace {
    /// Milliseconds in which a gate has run with this grace.
    spent_ms: u64,
    /// Somebody has sent credentials.
    challenged: bool,
    phones: Vec<KnownPhone>,
}

impl GraceRecord {
    /// The record in a file. One that is not there, or is damaged, is that of a grace which begins.
    pub(super) fn open(path: PathBuf, now: Time) -> Self {
        let saved: SavedGrace =
            fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let before = Duration::from_millis(saved.spent_ms);
        Self { path, before, began: now, saved, written: None, removed: false }
    }

    /// The time for which gates have run with this grace.
    pub(super) fn spent(&self, now: Time) -> Duration {
        self.before + now.since(self.began)
    }

    /// Whether somebody had sent credentials, and the phones of before.
    pub(super) fn take_phones(&mut self) -> (bool, Vec<KnownPhone>) {
        (self.saved.challenged, std::mem::take(&mut self.saved.phones))
    }

    /// Writes the record once in an [`INTERVAL`], and at the end; takes it away once nobody wants it any more. If it can't be
    /// written a restart begins the grace again, which shuts nobody out.
    pub(super) fn look(
        &mut self,
        wanted: bool,
        ended: bool,
        now: Time,
        known: impl FnOnce() -> (bool, Vec<KnownPhone>),
    ) {
        if !wanted {
            if !std::mem::replace(&mut self.removed, true) {
                let _ = fs::remove_file(&self.path);
            }
        } else if ended || self.written.is_none_or(|written| now.since(written) >= INTERVAL) {
            self.written = Some(now);
            let _ = self.write(now, known());
        }
    }

    fn write(&self, now: Time, (challenged, phones): (bool, Vec<KnownPhone>)) -> io::Result<()> {
        let spent_ms = u64::try_from(self.spent(now).as_millis()).unwrap_or(u64::MAX);
        let saved = SavedGrace { spent_ms, challenged, phones };
        file::replace(&self.path, |mut out| {
            serde_json::to_writer(&mut out, &saved)?;
            Ok(out)
        })
    }
}

/// How often it is written: a grace that goes on after a crash is longer by as much.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn phone(knocked: bool) -> KnownPhone {
        let address = "192.0.2.7".parse().unwrap();
        KnownPhone { address, user: "100@pbx".to_owned(), user_agent: Some("Phone 1".to_owned()), knocked }
    }

    #[test]
    fn it_goes_on_with_what_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doors.grace");
        let (first, second) = (Time::from_parts(1_000, 0), Time::from_parts(5_000_000, 0));
        let mut record = GraceRecord::open(path.clone(), first);
        assert_eq!((record.spent(first), record.take_phones()), (Duration::ZERO, (false, Vec::new())));
        let after = |seconds| first.after(Duration::from_secs(seconds));
        record.look(true, false, after(1), || (true, vec![phone(false)]));
        record.look(true, false, after(2), || panic!("too soon"));
        record.look(true, true, after(3), || (true, vec![phone(true)]));

        let mut record = GraceRecord::open(path.clone(), second);
        assert_eq!(record.spent(second.after(Duration::from_secs(4))), Duration::from_secs(7));
        assert_eq!(record.take_phones(), (true, vec![phone(true)]));
        record.look(false, false, second, || panic!("nobody wants it"));
        assert!(!path.exists());
        fs::write(&path, "{").unwrap();
        assert_eq!(GraceRecord::open(path, first).spent(first), Duration::ZERO, "a damaged one");
    }
}
