//! What each packet asks of the doors.

use dashmap::SharedValue;

use super::entry::Entry;
use super::state::DoorState;
use super::table::DoorTable;
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

/// A packet that passes where its source's door is open.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// Whose it is.
    pub key: Key,
    /// Its length, for the door's count; one of 0 is not counted.
    pub bytes: u32,
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
    /// near anyway. Nobody is waited for: what is locked for a change is left out.
    #[inline]
    pub fn prefetch(&self, keys: impl Iterator<Item = Key>) {
        if self.places.held() > CACHED {
            keys.for_each(|key| self.prefetch_one(key));
        }
    }

    #[inline]
    fn prefetch_one(&self, Key { hash, .. }: Key) {
        let shard = self.doors.shards().get(self.doors.determine_shard(hash as usize));
        if let Some(shard) = shard.and_then(|shard| shard.try_read()) {
            shard.get(hash, prefetch);
        }
    }

    /// What the source's door is at `now`.
    pub fn state(&self, source: Source, now: Time) -> DoorState {
        self.pass(self.key(source), now, 0)
    }

    /// What the source's door is to a packet of so many bytes, which is counted where it passes; one of 0 bytes is not.
    // Not compiled into its callers, so that the table's own search is compiled into it: as a function to call it costs
    // 15 instructions.
    #[inline(never)]
    pub fn pass(&self, Key { source, hash }: Key, now: Time, bytes: u32) -> DoorState {
        let shard =
            self.doors.shards().get(self.doors.determine_shard(hash as usize)).map(|shard| shard.read());
        let Some(shard) = shard else { return DoorState::None };
        let Some((_, entry)) = shard.get(hash, |(other, _)| *other == source) else { return DoorState::None };
        let (state, spills) = entry.get().pass(now, bytes);
        drop(shard);
        if spills {
            self.spill(source);
        }
        state
    }

    /// Tells packets that came together what [`DoorTable::pass`] says of each, where it has an [`Lookup`].
    ///
    /// While one door comes from memory so do others, and a shard is locked once for fetching and looking. Nobody is waited
    /// for: a packet whose shard is locked for a change is told nothing, and has to ask by itself. `ask` is called some
    /// times for each packet and has to say the same; doors are locked while it and `tell` run.
    #[inline]
    pub fn pass_together<P>(
        &self,
        packets: &mut [P],
        now: Time,
        ask: impl Fn(&P) -> Option<Lookup>,
        mut tell: impl FnMut(&mut P, DoorState),
    ) {
        for packets in packets.chunks_mut(TOGETHER) {
            let mut spilled = Vec::new();
            let mut shards = [const { None }; TOGETHER];
            for (packet, held) in packets.iter().zip(&mut shards) {
                let Some(Lookup { key, .. }) = ask(packet) else { continue };
                let shard = self.doors.shards().get(self.doors.determine_shard(key.hash as usize));
                *held = shard.and_then(|shard| shard.try_read());
            }
            if self.places.held() > CACHED {
                for (packet, shard) in packets.iter().zip(&shards) {
                    let (Some(shard), Some(Lookup { key, .. })) = (shard, ask(packet)) else { continue };
                    shard.get(key.hash, prefetch);
                }
            }
            for (packet, shard) in packets.iter_mut().zip(shards) {
                let (Some(shard), Some(Lookup { key, bytes })) = (shard, ask(packet)) else { continue };
                let entry = shard.get(key.hash, |(other, _)| *other == key.source);
                let (state, spills) =
                    entry.map_or((DoorState::None, false), |(_, entry)| entry.get().pass(now, bytes));
                tell(packet, state);
                if spills {
                    spilled.push(key.source);
                }
            }
            spilled.into_iter().for_each(|source| self.spill(source));
        }
    }

    #[cold]
    fn spill(&self, source: Source) {
        if let Some(mut entry) = self.doors.get_mut(&source) {
            entry.spill();
        }
    }
}

/// Asked of each entry that may be the one, it takes none, and so no entry is waited for.
#[inline(always)]
fn prefetch((source, entry): &(Source, SharedValue<Entry>)) -> bool {
    sys::prefetch(source);
    entry.get().prefetch();
    false
}

/// Looks that wait for memory together: as many as packets come at once, most often.
const TOGETHER: usize = 32;

/// So few entries stay in the cache while thousands of packets go through it, each with some kilobytes of the kernel's
/// memory.
const CACHED: usize = 64;
