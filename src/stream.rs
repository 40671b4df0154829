//! TCP flows of sources without a door, until the header block of their first message ends.
//!
//! A segment of such a flow may pass only while what passed before and the segment together are no complete SIP
//! header block, so the PBX never reads a request of somebody who has not knocked, wherever the sender cuts it. What
//! has passed is kept, byte for byte: a knock is found however it is cut, and a retransmission with other content
//! than the first time does not pass.
//!
//! With a door open everything passes. A header block in several segments is put together here all the same, so that a
//! phone that writes its REGISTER in pieces renews its door.
//!
//! A receiver that was sent part of a block waits for the rest. Who can make this table forget what has passed could
//! send the rest as if it were a beginning. So a flow of which anything has passed is *held* when it ends, falls
//! silent, begins anew or loses its bytes: from then on each of its segments is judged alone, and only a knock passes.
//!
//! Bounds, for what a stranger can grow:
//! - one flow: [`Limits::bytes`] and [`Limits::segments`]. What exceeds them is *refused, with all that follows*.
//! - flows: [`Limits::flows`]. A newcomer takes the place of the *flow longest idle* in its shard, held ones after others
//!   and those between two judged messages of a source that the PBX has called last.
//! - kept bytes: [`MAX_KEPT`]. The *flow longest idle loses its bytes*.
//! - sources whose held flow had to go: [`MAX_DOUBTS`]. Their segments are judged alone for a day. Beyond that
//!   *everyone's are*.

mod block;
mod doubt;
mod flow;
mod passage;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use doubt::MAX_DOUBTS;
pub use flow::LIFE;

use block::{Progress, Scanner};
use doubt::Doubts;
use flow::{HELD_LIFE, State, Stream};
use passage::Step;

use crate::packet::{Packet, Segment, Sequence};
use crate::sip::{self, Message};
use crate::time::Time;

/// The bounded table of flows, shared by all queue threads.
#[derive(Debug)]
pub struct StreamTable {
    shards: Box<[Mutex<Shard>; SHARDS]>,
    hasher: ahash::RandomState,
    limits: Limits,
    flows: AtomicUsize,
    doubts: Doubts,
}

/// How much may pass before the header block is complete, and of how many flows at a time.
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

/// The two ends of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId {
    /// Who sends to the inspected port.
    pub source: (IpAddr, u16),
    /// The inspected end.
    pub destination: (IpAddr, u16),
}

/// A flow's bytes so far, the segment in question included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gathered<'a> {
    /// From the start of the flow.
    pub bytes: &'a [u8],
    /// The header block is not complete, and may still become so.
    pub grows: bool,
}

/// What the caller finds in [`Gathered`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// No knock.
    Nothing,
    /// A knock, and the door is open now.
    Opened,
    /// A knock, and no room for a door.
    NoRoom,
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It passes: no header block is complete yet.
    Partial,
    /// A knock was found, and the door is open now.
    Opened,
    /// A knock was found, and there is no room for a door.
    NoRoom,
    /// It passes as part of a message that may, see [`StreamTable::called`].
    Admitted,
    /// It does not pass.
    Refused,
}

#[derive(Debug, Default)]
struct Shard {
    flows: HashMap<FlowId, Stream, ahash::RandomState>,
    /// Bytes kept by all of them.
    kept: usize,
}

/// Where a segment stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The sequence number of its first byte.
    number: u32,
    /// Bytes on the wire.
    length: u32,
    /// The connection ends with it.
    last: bool,
}

impl FlowId {
    /// That of a segment.
    pub fn of(packet: &Packet<'_>, segment: Segment<'_>) -> Self {
        Self {
            source: (packet.source, segment.flow.source_port),
            destination: (packet.destination, segment.flow.destination_port),
        }
    }
}

impl StreamTable {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Self {
            shards: Box::new(std::array::from_fn(|_| Mutex::default())),
            hasher: ahash::RandomState::new(),
            limits,
            flows: AtomicUsize::new(0),
            doubts: Doubts::default(),
        }
    }

    /// How many flows are remembered.
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
        !ends || self.end(&mut shard, now, id, sequence)
    }

    /// A segment with payload. `judge` is asked for knocks, if it comes to that.
    pub fn segment(
        &self,
        now: Time,
        id: FlowId,
        sequence: Sequence,
        payload: &[u8],
        judge: impl FnOnce(Gathered<'_>) -> Finding,
    ) -> Fate {
        // The receiver takes an urgent byte out of its place, so what it reads is not what stands here.
        if sequence.urgent {
            return Fate::Refused;
        }
        let number = sequence.number.wrapping_add(sequence.syn.into());
        let mut shard = self.shard(id);
        // Without its SYN, or after a long silence, a flow starts where it is picked up.
        let known = shard.flows.get(&id).is_some_and(|stream| !stream.is_stale(now));
        if sequence.syn || !known {
            self.begin(&mut shard, now, id, number, sequence.syn);
        }
        let place = Place { number, length: sequence.length, last: sequence.fin || sequence.rst };
        self.advance(&mut shard, now, id, place, payload, judge)
    }

    /// A segment with payload of a source that the PBX has called. A message of the flow passes if `allows` says so of its
    /// header block, and then its body does. `judge` is asked for knocks as by [`StreamTable::segment`].
    ///
    /// Only a flow that was seen from its start is judged so: of any other, a receiver may have half a message already.
    pub fn called(
        &self,
        now: Time,
        id: FlowId,
        sequence: Sequence,
        payload: &[u8],
        judge: impl FnOnce(Gathered<'_>) -> Finding,
        allows: impl FnMut(&Message<'_>) -> bool,
    ) -> Fate {
        if sequence.urgent {
            return Fate::Refused;
        }
        let number = sequence.number.wrapping_add(sequence.syn.into());
        let mut guard = self.shard(id);
        let shard = &mut *guard;
        let known = shard.flows.get(&id).is_some_and(|stream| !stream.is_stale(now));
        if sequence.syn || !known {
            self.begin(shard, now, id, number, sequence.syn);
        }
        let last = sequence.fin || sequence.rst;
        let Some(stream) = shard.flows.get_mut(&id) else { return Fate::Refused };
        if stream.whole && stream.state == State::Refused && stream.passage.is_none() {
            // Refused to a stranger, who is none any more: it has not passed, and is sent again.
            stream.state = State::Gathering;
        }
        if stream.state != State::Gathering || !stream.whole {
            let place = Place { number, length: sequence.length, last };
            return self.advance(shard, now, id, place, payload, judge);
        }
        // Of a truncated copy nobody knows what stood in the rest.
        let whole = sequence.length as usize == payload.len();
        let Some(new) = stream.new_bytes(number, payload).filter(|_| whole) else { return Fate::Refused };
        if new.is_empty() && !last {
            stream.seen = now;
            return Fate::Admitted;
        }
        let bytes = [&stream.kept, new].concat();
        let mut passage = stream.passage.unwrap_or_default();
        let begun = stream.kept.len() - passage.unjudged(&stream.kept).len();
        let step = passage.advance(&bytes, self.limits.bytes, allows);
        let grows = step == Step::Passes && !passage.unjudged(&bytes).is_empty();
        // A knock in this message, however it was cut.
        let fate = Fate::of(judge(Gathered { bytes: bytes.get(begun..).unwrap_or_default(), grows }));
        if fate != Fate::Refused {
            if fate == Fate::Opened {
                self.remove(shard, id);
            }
            return fate;
        }
        let segments = if grows { stream.segments + 1 } else { 0 };
        let partial = !passage.is_at_start(&bytes);
        if step == Step::Refused || segments > self.limits.segments || last && partial {
            (stream.state, stream.seen) = (State::Refused, now);
            stream.passage.get_or_insert_default();
            return Fate::Refused;
        }
        if last {
            // The connection is over, and the receiver has whole messages only.
            self.remove(shard, id);
            return Fate::Admitted;
        }
        let before = stream.kept.len();
        // What may be sent again: the last segment at least, which can be longer than the bound.
        let forgotten = passage.forget(bytes.len(), self.limits.bytes.max(new.len()));
        stream.kept = bytes.get(forgotten..).unwrap_or_default().to_vec();
        stream.start = stream.start.wrapping_add(u32::try_from(forgotten).unwrap_or(0));
        stream.scanner = if partial { Scanner::InLine } else { Scanner::Blank };
        (stream.passage, stream.segments) = (Some(passage), segments);
        (stream.passed, stream.seen) = (true, now);
        shard.kept = shard.kept + stream.kept.len() - before;
        shard.make_room(id);
        Fate::Admitted
    }

    /// A segment of a source whose door is open. It passes in any case; `judge` is asked where it goes on with a header
    /// block that earlier ones have begun, so that a knock in several segments renews the door. The caller has looked
    /// at the segment itself.
    pub fn follow(
        &self,
        now: Time,
        id: FlowId,
        sequence: Sequence,
        payload: &[u8],
        judge: impl FnOnce(Gathered<'_>) -> Finding,
    ) {
        // Nearly always a message comes whole.
        let whole = || memchr::memmem::find(payload, b"\r\n\r\n").is_some();
        if self.is_empty() && (sequence.length == 0 || whole()) {
            return;
        }
        let mut shard = self.shard(id);
        let begun = shard.flows.get(&id).is_some_and(|stream| {
            let known = stream.state == State::Gathering && !stream.kept.is_empty();
            known && stream.next() == sequence.number && !stream.is_stale(now)
        });
        if sequence.length == 0 {
            // What only acknowledges leaves the flow as it is.
            if sequence.syn || sequence.fin || sequence.rst {
                self.remove(&mut shard, id);
            }
            return;
        }
        if !begun {
            self.remove(&mut shard, id);
            if sip::may_begin(payload) {
                let number = sequence.number.wrapping_add(sequence.syn.into());
                self.begin(&mut shard, now, id, number, sequence.syn);
            }
        }
        let Some(stream) = shard.flows.get_mut(&id) else { return };
        if !begun {
            // Who may pass may end what it has begun.
            stream.scanner = Scanner::Blank;
        }
        let number = sequence.number.wrapping_add(sequence.syn.into());
        let place = Place { number, length: sequence.length, last: sequence.fin || sequence.rst };
        let fate = match begun {
            true => self.advance(&mut shard, now, id, place, payload, judge),
            false => self.advance(&mut shard, now, id, place, payload, |_| Finding::Nothing),
        };
        match (fate, shard.flows.get_mut(&id)) {
            // The door let it pass, not this table.
            (Fate::Partial, Some(stream)) => stream.passed = false,
            _ => _ = self.remove(&mut shard, id),
        }
    }

    /// Forgets a flow whose source has an open door.
    pub fn forget(&self, id: FlowId) {
        if !self.is_empty() {
            self.remove(&mut self.shard(id), id);
        }
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
        self.doubts.sweep(now);
    }

    /// Starts a flow at a sequence number, or starts it anew.
    fn begin(&self, shard: &mut Shard, now: Time, id: FlowId, start: u32, whole: bool) {
        let (mut passed, mut ended, mut anew) = (false, false, false);
        if let Some(stream) = shard.flows.get(&id) {
            if stream.start == start && !stream.is_stale(now) {
                return;
            }
            anew = true;
            // A second SYN proves nothing: the receiver may have ignored it (RFC 5961, 4).
            if stream.is_held(now) {
                (passed, ended) = (stream.passed, stream.ended);
            }
            self.remove(shard, id);
        }
        if shard.flows.len() >= self.limits.flows.div_ceil(SHARDS) {
            self.evict(shard, now);
        }
        passed |= self.doubts.about(id.source.0, now);
        let held = passed || ended;
        let stream = Stream {
            start,
            kept: Vec::new(),
            scanner: if whole { Scanner::Blank } else { Scanner::PickedUp },
            segments: 0,
            state: if held { State::Held } else { State::Gathering },
            whole,
            anew,
            passed,
            ended,
            seen: now,
            passage: None,
        };
        shard.flows.insert(id, stream);
        self.flows.fetch_add(1, Ordering::Relaxed);
    }

    /// Judges a segment of a flow, and keeps what passes.
    fn advance(
        &self,
        shard: &mut Shard,
        now: Time,
        id: FlowId,
        Place { number, length, last }: Place,
        payload: &[u8],
        judge: impl FnOnce(Gathered<'_>) -> Finding,
    ) -> Fate {
        let Some(stream) = shard.flows.get_mut(&id) else { return Fate::Refused };
        if stream.passage.take().is_some() {
            // Its source was one that the PBX had called, and is none any more.
            shard.kept -= stream.hold();
        }
        let Some(stream) = shard.flows.get_mut(&id) else { return Fate::Refused };
        let new = stream.new_bytes(number, payload).filter(|_| stream.state != State::Held);
        if new.is_some_and(<[u8]>::is_empty) && length as usize == payload.len() && !last {
            stream.seen = now;
            return Fate::Partial;
        }
        // A phone that has been connected for long may send something else before it knocks: the gate was started, or
        // its door has run out. What was refused is sent again, and finds the door open.
        if stream.state == State::Held || stream.state == State::Refused && !stream.whole {
            let fate = Fate::of(judge(Gathered { bytes: payload, grows: false }));
            if fate == Fate::Opened {
                self.remove(shard, id);
            }
            return fate;
        }
        let Some(new) = new.filter(|_| stream.state == State::Gathering) else { return Fate::Refused };
        if stream.scanner == Scanner::PickedUp && new.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            // The blank line that a receiver waits for since before the gate was there, or a keepalive. What follows
            // may be picked up all the same.
            self.remove(shard, id);
            return Fate::Refused;
        }
        let on_wire = length as usize - (payload.len() - new.len());
        let mut scanner = stream.scanner;
        let progress = scanner.read(new);
        let segments = stream.segments + 1;
        let grows = progress == Progress::Incomplete
            // Sofia takes what it has for a whole message when the connection ends (msg_extract).
            && !last
            && stream.kept.len() + new.len() <= self.limits.bytes
            && segments <= self.limits.segments
            // Of a truncated copy nobody knows what stood in the rest.
            && new.len() == on_wire;
        let fate = match stream.kept.is_empty() {
            true => Fate::of(judge(Gathered { bytes: new, grows })),
            false => Fate::of(judge(Gathered { bytes: &[&stream.kept, new].concat(), grows })),
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
            Fate::Refused => (stream.state, stream.seen) = (State::Refused, now),
            Fate::Opened => _ = self.remove(shard, id),
            Fate::NoRoom | Fate::Partial | Fate::Admitted => {}
        }
        fate
    }

    /// A flow's sender ends it, without payload. Whether that may pass: not where the receiver may have part of a header
    /// block, which Sofia would take for a whole one (msg_extract with eos).
    ///
    /// A FIN that comes before what stands in front of it waits at the receiver. So does, for all that is known, one of a
    /// flow that was not seen from its start. From then on nothing may pass that does not knock.
    fn end(&self, shard: &mut Shard, now: Time, id: FlowId, sequence: Sequence) -> bool {
        if !shard.flows.contains_key(&id) {
            if self.doubts.about(id.source.0, now) {
                return false;
            }
            if sequence.fin {
                self.begin(shard, now, id, sequence.number, false);
            }
        }
        let Some(stream) = shard.flows.get_mut(&id) else { return true };
        if stream.is_between_messages() && sequence.fin && sequence.number == stream.next() {
            self.remove(shard, id);
            return true;
        }
        let blank = stream.scanner == Scanner::Blank && stream.state == State::Gathering;
        if stream.passed && !blank {
            return false;
        }
        // Of what has passed the receiver need not have got all, and a beginning or a RST it may have ignored.
        let in_place = stream.whole && !stream.anew && stream.start == sequence.number;
        if !stream.passed && stream.state != State::Held && (sequence.rst || in_place) {
            self.remove(shard, id);
        } else if sequence.fin {
            (stream.ended, stream.seen) = (true, now);
            shard.kept -= stream.hold();
        }
        true
    }

    fn remove(&self, shard: &mut Shard, id: FlowId) -> Option<Stream> {
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
        if let Some((&id, stream)) = longest_idle {
            if stream.is_held(now) {
                self.doubts.add(id.source.0, now);
            }
            self.remove(shard, id);
        }
    }

    fn shard(&self, id: FlowId) -> MutexGuard<'_, Shard> {
        // The remainder is less than there are shards.
        lock(&self.shards[self.hasher.hash_one(id) as usize % SHARDS])
    }
}

impl Shard {
    /// Takes the bytes from flows longest idle, but not from this one, until what is left is within the bound.
    fn make_room(&mut self, but: FlowId) {
        while self.kept > MAX_KEPT / SHARDS {
            let others = self.flows.iter_mut().filter(|(id, stream)| **id != but && !stream.kept.is_empty());
            let Some((_, stream)) = others.min_by_key(|(_, stream)| stream.seen) else { return };
            self.kept -= stream.hold();
        }
    }
}

impl Fate {
    fn of(finding: Finding) -> Self {
        match finding {
            Finding::Nothing => Self::Refused,
            Finding::Opened => Self::Opened,
            Finding::NoRoom => Self::NoRoom,
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes kept of all flows, at most: as many as 4,096 header blocks of the default bound.
pub const MAX_KEPT: usize = 32 * 1024 * 1024;

/// Flows of different shards are not in each other's way.
const SHARDS: usize = 64;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
