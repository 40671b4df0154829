//! The table of flows, and the judgement of segments.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::block::{Progress, Scanner, ends_block};
use super::fate::{Fate, Gathered, SegmentFinding};
use super::flow::{FlowId, FlowPlace, FlowState, Look, Stream};
use super::loose::Loose;

use crate::packet::Sequence;
use crate::time::Time;

/// The bounded table of flows, shared by all queue threads.
#[derive(Debug)]
pub struct StreamTable {
    shards: Box<[Mutex<Shard>; SHARDS]>,
    hasher: ahash::RandomState,
    pub(super) limits: Limits,
    flows: AtomicUsize,
    loose: Loose,
}

/// The bounds of what may pass before the header block is complete, and of the flows at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes of a flow.
    pub bytes: usize,
    /// Segments of a flow that carry payload.
    pub segments: u32,
    /// Flows remembered at a time.
    pub flows: usize,
}

impl Default for Limits {
    /// Some ten times the header block of a phone's REGISTER, in more pieces than any phone makes of it, and the
    /// half-open flows of a busy hour.
    fn default() -> Self {
        Self { bytes: 8192, segments: 16, flows: 16_384 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) flows: HashMap<FlowId, Stream, ahash::RandomState>,
    /// Bytes kept by all of them.
    pub(super) kept: usize,
}

impl StreamTable {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Self {
            shards: Box::new(std::array::from_fn(|_| Mutex::default())),
            hasher: ahash::RandomState::new(),
            limits,
            flows: AtomicUsize::new(0),
            loose: Loose::new(),
        }
    }

    /// The number of flows that are remembered.
    pub fn len(&self) -> usize {
        self.flows.load(Ordering::Relaxed)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes kept of all flows together.
    pub fn kept(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).kept).sum()
    }

    /// A segment without payload: learns where a flow starts, and that one has ended. Whether it may pass.
    pub fn handshake(&self, now: Time, id: FlowId, sequence: Sequence) -> bool {
        let ends = sequence.fin || sequence.rst;
        // An urgent pointer may point to a byte that comes later, whatever else the segment is for (tcp_check_urg,
        // net/ipv4/tcp_input.c). Nobody begins and ends in one, either.
        if sequence.urgent || sequence.syn && ends {
            return false;
        }
        let mut shard = self.shard(id);
        if sequence.syn {
            self.begin(&mut shard, now, id, sequence.number.wrapping_add(1), true);
        }
        if sequence.multipath {
            self.hold(&mut shard, id);
        }
        !ends || self.end(&mut shard, now, id, sequence)
    }

    /// A segment with payload. `judge` is asked for knocks, if it comes to that, twice at most.
    pub fn segment(
        &self,
        now: Time,
        id: FlowId,
        sequence: Sequence,
        payload: &[u8],
        judge: impl FnMut(Gathered<'_>) -> SegmentFinding,
    ) -> Fate {
        // The receiver takes an urgent byte out of its place, so what it reads is not what stands here.
        if sequence.urgent {
            return Fate::Refused;
        }
        let mut shard = self.shard(id);
        self.meet(&mut shard, now, id, sequence);
        self.advance(&mut shard, now, id, FlowPlace::of(sequence), payload, judge)
    }

    /// A segment of a source whose door is open. It passes in any case; `judge` is asked if it goes on with a header
    /// block that earlier ones have begun, so that a knock in several segments renews the door. It is asked for the segment
    /// `itself`, too, unless the caller has looked at that.
    pub fn follow(
        &self,
        now: Time,
        id: FlowId,
        sequence: Sequence,
        payload: &[u8],
        itself: bool,
        mut judge: impl FnMut(Gathered<'_>) -> SegmentFinding,
    ) {
        let ends = sequence.fin || sequence.rst;
        if sequence.length > 0 || ends || sequence.urgent {
            self.loose.add(id, now);
        }
        // Nearly always a message comes whole.
        let whole = || ends_block(payload);
        if self.is_empty() && !itself && (sequence.length == 0 || whole()) {
            return;
        }
        let mut guard = self.shard(id);
        let shard = &mut *guard;
        if sequence.length == 0 {
            // A mere acknowledgement leaves the flow as it is.
            if sequence.syn || ends {
                self.drop_out(shard, now, id);
            }
            return;
        }
        // Segments that pass through a door are kept as those of a held flow, since the flow is one without the door.
        let known = shard.flows.get(&id).is_some_and(|stream| !stream.is_stale(now));
        if !known {
            if whole() {
                self.drop_out(shard, now, id);
                if itself {
                    judge(Gathered { bytes: payload, grows: false });
                }
                return;
            }
            self.meet(shard, now, id, sequence);
        }
        self.hold(shard, id);
        let look = Look { payload, itself, passes: true };
        match self.look(shard, now, id, FlowPlace::of(sequence), look, &mut judge) {
            Fate::Opened => _ = self.remove(shard, id),
            _ if shard.flows.get(&id).is_some_and(|stream| stream.kept.is_empty()) => {
                self.remove(shard, id);
            }
            _ => {}
        }
    }

    /// A segment of a source whose door is open has passed, with a knock in it.
    pub fn opened(&self, now: Time, id: FlowId) {
        self.loose.add(id, now);
        if !self.is_empty() {
            self.remove(&mut self.shard(id), id);
        }
    }

    /// Something of a flow has passed that is not known here, or that this table did not let pass: from here on it is held.
    pub fn loosen(&self, now: Time, id: FlowId) {
        self.loose.add(id, now);
        if !self.is_empty() {
            self.hold(&mut self.shard(id), id);
        }
    }

    /// A receiver may have something of any flow, since nobody knows which connections there are already. For a day each
    /// SYN may be one that it ignores. A source that the PBX has called is believed.
    pub fn doubt_all(&self, now: Time) {
        self.loose.add_everyone(now);
    }

    /// Frees what is not needed any more. Decisions are the same without it.
    pub fn sweep(&self, now: Time) {
        for shard in self.shards.iter() {
            let mut shard = lock(shard);
            let Shard { flows, kept } = &mut *shard;
            let before = flows.len();
            flows.retain(|_, stream| {
                if stream.is_stale(now) {
                    *kept -= stream.hold();
                }
                !stream.is_stale(now) || stream.is_held(now)
            });
            self.flows.fetch_sub(before - flows.len(), Ordering::Relaxed);
        }
    }

    /// Has a flow begin, if a segment with payload is the first of it, and holds it if the segment says so.
    pub(super) fn meet(&self, shard: &mut Shard, now: Time, id: FlowId, sequence: Sequence) {
        let known = shard.flows.get(&id).is_some_and(|stream| !stream.is_stale(now));
        if sequence.syn || !known {
            let number = sequence.number.wrapping_add(sequence.syn.into());
            self.begin(shard, now, id, number, sequence.syn);
        }
        if sequence.multipath {
            self.hold(shard, id);
        }
    }

    /// Starts a flow at a sequence number, or starts it again. If it is not `whole`, its start was not seen.
    fn begin(&self, shard: &mut Shard, now: Time, id: FlowId, start: u32, whole: bool) {
        let mut stream = Stream { whole, ..Stream::new(start, now) };
        if let Some(before) = shard.flows.get(&id) {
            if before.start == start && !before.is_stale(now) {
                return;
            }
            stream.anew = true;
            // A second SYN proves nothing: the receiver may have ignored it (RFC 5961, 4).
            if before.is_held(now) {
                (stream.passed, stream.ended) = (before.passed, before.ended);
            }
            self.remove(shard, id);
        }
        if shard.flows.len() >= self.limits.flows.div_ceil(SHARDS) {
            self.evict(shard, now);
        }
        stream.passed |= self.loose.has(id, now);
        stream.unsure = whole && self.loose.has_everyone(now);
        if !whole || stream.passed || stream.ended {
            stream.state = FlowState::Held;
        }
        shard.flows.insert(id, stream);
        self.flows.fetch_add(1, Ordering::Relaxed);
    }

    /// Judges a segment of a flow, and keeps what passes.
    pub(super) fn advance(
        &self,
        shard: &mut Shard,
        now: Time,
        id: FlowId,
        place: FlowPlace,
        payload: &[u8],
        mut judge: impl FnMut(Gathered<'_>) -> SegmentFinding,
    ) -> Fate {
        let FlowPlace { number, length, last } = place;
        let Some(stream) = shard.flows.get_mut(&id) else { return Fate::Refused };
        if stream.passage.take().is_some() {
            // Its source was one that the PBX had called, and is none any more.
            shard.kept -= stream.hold();
        }
        if stream.unsure && stream.state == FlowState::Gathering {
            shard.kept -= std::mem::take(&mut stream.kept).len();
            stream.state = FlowState::Held;
        }
        if stream.state == FlowState::Held {
            return self.held(shard, now, id, place, payload, judge);
        }
        let new = stream.new_bytes(number, payload);
        if new.is_some_and(<[u8]>::is_empty) && length as usize == payload.len() && !last {
            stream.seen = now;
            return Fate::Partial;
        }
        let Some(new) = new.filter(|_| stream.state == FlowState::Gathering) else { return Fate::Refused };
        let on_wire = length as usize - (payload.len() - new.len());
        let mut scanner = stream.scanner;
        let progress = scanner.read(new);
        let segments = stream.segments + 1;
        let gathered = stream.kept.len() + new.len();
        let grows = matches!(progress, Progress::Incomplete { .. })
            // Sofia takes what it has for a whole message when the connection ends (msg_extract).
            && !last
            && gathered <= self.limits.bytes
            && segments <= self.limits.segments
            // Of a truncated copy nobody knows what stood in the rest.
            && new.len() == on_wire;
        let due = !grows || stream.is_due(gathered, progress == Progress::Incomplete { field: true });
        let fate = match (due, stream.kept.is_empty()) {
            (false, _) => Fate::Refused,
            (true, true) => Fate::of(judge(Gathered { bytes: new, grows })),
            (true, false) => Fate::of(judge(Gathered { bytes: &[&stream.kept, new].concat(), grows })),
        };
        match fate {
            Fate::Refused if grows => {
                // Without room to grow, which the bound would not count.
                stream.kept.reserve_exact(new.len());
                stream.kept.extend_from_slice(new);
                (stream.scanner, stream.segments) = (scanner, segments);
                (stream.passed, stream.seen) = (true, now);
                shard.kept += new.len();
                shard.make_room(id);
                return Fate::Partial;
            }
            Fate::Refused => (stream.state, stream.seen) = (FlowState::Refused, now),
            Fate::Opened => self.open(shard, now, id),
            Fate::NoRoom | Fate::Partial | Fate::Admitted => {}
        }
        fate
    }

    /// A flow's sender ends it, without payload. Whether that may pass: not if the receiver may have part of a header
    /// block, which Sofia would take for a whole one (msg_extract with eos), and so not on a flow whose start was not seen.
    ///
    /// A FIN that comes before what stands in front of it waits at the receiver. From then on nothing may pass that does
    /// not knock.
    fn end(&self, shard: &mut Shard, now: Time, id: FlowId, sequence: Sequence) -> bool {
        let Some(stream) = shard.flows.get_mut(&id) else { return false };
        if stream.is_between_messages() && sequence.fin && sequence.number == stream.next() {
            self.remove(shard, id);
            return true;
        }
        if stream.state == FlowState::Held && (stream.passed || !stream.whole) {
            return false;
        }
        let blank = stream.scanner == Scanner::Blank && stream.state == FlowState::Gathering;
        if stream.passed && !blank {
            return false;
        }
        // Of what has passed the receiver need not have got all, and a beginning or a RST it may have ignored.
        let in_place = !stream.anew && stream.begin == sequence.number;
        if !stream.passed && stream.state != FlowState::Held && (sequence.rst || in_place) {
            self.remove(shard, id);
        } else if sequence.fin {
            (stream.ended, stream.seen) = (true, now);
            shard.kept -= stream.hold();
        }
        true
    }

    /// A segment with a knock passes, and all that follows through the door.
    pub(super) fn open(&self, shard: &mut Shard, now: Time, id: FlowId) {
        self.loose.add(id, now);
        self.remove(shard, id);
    }

    /// Takes a flow out whose receiver may have something of it.
    fn drop_out(&self, shard: &mut Shard, now: Time, id: FlowId) {
        if self.remove(shard, id).is_some_and(|stream| stream.is_held(now)) {
            self.loose.add(id, now);
        }
    }

    pub(super) fn remove(&self, shard: &mut Shard, id: FlowId) -> Option<Stream> {
        let stream = shard.flows.remove(&id)?;
        shard.kept -= stream.kept.len();
        self.flows.fetch_sub(1, Ordering::Relaxed);
        Some(stream)
    }

    /// Makes room for a newcomer.
    fn evict(&self, shard: &mut Shard, now: Time) {
        let rank = |stream: &Stream| {
            let (judged, passed) = (stream.is_between_messages(), stream.passed || stream.ended);
            (judged, passed, stream.seen)
        };
        let longest_idle = shard.flows.iter().min_by_key(|(_, stream)| rank(stream));
        if let Some((&id, _)) = longest_idle {
            self.drop_out(shard, now, id);
        }
    }

    pub(super) fn shard(&self, id: FlowId) -> MutexGuard<'_, Shard> {
        // The remainder is less than there are shards.
        lock(&self.shards[self.hasher.hash_one(id) as usize % SHARDS])
    }
}

impl Shard {
    /// Takes the bytes from flows longest idle, but not from this one, until what is left is within the bound.
    pub(super) fn make_room(&mut self, but: FlowId) {
        while self.kept > MAX_KEPT / SHARDS {
            let others = self.flows.iter_mut().filter(|(id, stream)| **id != but && !stream.kept.is_empty());
            let Some((_, stream)) = others.min_by_key(|(_, stream)| stream.seen) else { return };
            self.kept -= stream.hold();
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes kept of all flows, at most: as many as 4,096 header blocks of the default bound.
pub const MAX_KEPT: usize = 32 * 1024 * 1024;

/// Flows of different shards are not in each other's way.
pub(super) const SHARDS: usize = 64;
