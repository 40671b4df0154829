//! What each packet asks of the doors.

use super::{DoorTable, State};
use crate::net::Source;
use crate::sys;
use crate::time::Time;

/// A source as the table that made it looks for it: it is looked for twice, and hashed once.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    source: Source,
    hash: u64,
}

impl Key {
    /// Whose door it is.
    pub fn source(&self) -> Source {
        self.source
    }
}

impl DoorTable {
    /// What finds the source in this table, and in no other.
    #[inline]
    pub fn key(&self, source: Source) -> Key {
        Key { source, hash: self.doors.hash_usize(&source) as u64 }
    }

    /// Has what is known of the sources of a batch brought near, for looks that come soon.
    ///
    /// One after the other, each look at one of many doors would wait for memory by itself. Where there are few, all are
    /// near anyway.
    #[inline]
    pub fn prefetch(&self, keys: impl Iterator<Item = Key>) {
        if self.places.held() > CACHED {
            keys.for_each(|key| self.prefetch_one(key));
        }
    }

    #[inline]
    fn prefetch_one(&self, Key { hash, .. }: Key) {
        let Some(shard) = self.doors.shards().get(self.doors.determine_shard(hash as usize)) else { return };
        // Asked of each entry that may be the one, it takes none, and so no entry is waited for.
        shard.read().get(hash, |(source, entry)| {
            sys::prefetch(source);
            entry.get().prefetch();
            false
        });
    }

    /// What the source's door is at `now`.
    pub fn state(&self, source: Source, now: Time) -> State {
        self.pass(self.key(source), now, 0)
    }

    /// What the source's door is to a packet of so many bytes, which is counted where it passes; one of 0 bytes is not.
    // Not compiled into its callers, so that the table's own search is compiled into it: as a function to call it costs
    // 15 instructions.
    #[inline(never)]
    pub fn pass(&self, Key { source, hash }: Key, now: Time, bytes: u32) -> State {
        let shard =
            self.doors.shards().get(self.doors.determine_shard(hash as usize)).map(|shard| shard.read());
        let Some(shard) = shard else { return State::None };
        let Some((_, entry)) = shard.get(hash, |(other, _)| *other == source) else { return State::None };
        let entry = entry.get();
        let state = entry.state(now);
        let spills = bytes > 0 && state == State::Open && entry.count(bytes);
        drop(shard);
        if spills {
            self.spill(source);
        }
        state
    }

    #[cold]
    fn spill(&self, source: Source) {
        if let Some(mut entry) = self.doors.get_mut(&source) {
            entry.spill();
        }
    }
}

/// So few entries stay in the cache while thousands of packets go through it, each with some kilobytes of the kernel's
/// memory.
const CACHED: usize = 64;
