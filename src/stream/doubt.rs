//! Sources of which nobody knows any more what a receiver has from them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::HELD_LIFE;
use crate::net::{Prefixes, Source};
use crate::time::Time;

/// Sources whose flow was forgotten although something of it has passed.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    inner: Mutex<Inner>,
    /// How many there are, so that nobody needs the lock where there is none.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    sources: HashMap<Source, Time, ahash::RandomState>,
    /// When there was no room for one more.
    overflowed: Option<Time>,
}

impl Doubts {
    /// Whether a source is in doubt.
    pub(super) fn about(&self, address: IpAddr, now: Time) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let since = inner.sources.get(&source(address)).max(inner.overflowed.as_ref());
            since.is_some_and(|since| now.since(*since) < HELD_LIFE)
        }
    }

    /// Puts a source in doubt for a day; everyone, where there are too many.
    pub(super) fn add(&self, address: IpAddr, now: Time) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let source = source(address);
        if inner.sources.len() < MAX_DOUBTS || inner.sources.contains_key(&source) {
            inner.sources.insert(source, now);
        } else {
            inner.overflowed = Some(now);
        }
        self.count.store(inner.len(), Ordering::Relaxed);
    }

    /// Frees those that are over.
    pub(super) fn sweep(&self, now: Time) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.sources.retain(|_, since| now.since(*since) < HELD_LIFE);
            inner.overflowed = inner.overflowed.filter(|since| now.since(*since) < HELD_LIFE);
            self.count.store(inner.len(), Ordering::Relaxed);
        }
    }
}

impl Inner {
    fn len(&self) -> usize {
        self.sources.len() + usize::from(self.overflowed.is_some())
    }
}

/// Whoever has an IPv6 address has a whole /64 of them.
fn source(address: IpAddr) -> Source {
    Source::new(address, Prefixes::default())
}

/// Sources in doubt, at most: less than a megabyte.
pub const MAX_DOUBTS: usize = 16_384;
