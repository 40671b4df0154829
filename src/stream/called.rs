//! Flows of sources that the PBX has called: message by message.

use super::block::Scanner;
use super::fate::{Fate, Gathered, SegmentFinding};
use super::flow::{FlowId, FlowPlace, FlowState};
use super::passage::Step;
use super::table::StreamTable;
use crate::packet::Sequence;
use crate::sip::Message;
use crate::time::Time;

impl StreamTable {
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
        mut judge: impl FnMut(Gathered<'_>) -> SegmentFinding,
        allows: impl FnMut(&Message<'_>) -> bool,
    ) -> Fate {
        if sequence.urgent {
            return Fate::Refused;
        }
        let mut guard = self.shard(id);
        let shard = &mut *guard;
        self.meet(shard, now, id, sequence);
        let place = FlowPlace::of(sequence);
        let Some(stream) = shard.flows.get_mut(&id) else { return Fate::Refused };
        if stream.whole && stream.state == FlowState::Refused && stream.passage.is_none() {
            // Refused while the source was a stranger: it has not passed, and is sent again.
            stream.state = FlowState::Gathering;
        }
        if stream.unsure && stream.state == FlowState::Held && !stream.passed && !stream.ended {
            // Its SYN is believed.
            shard.kept -= std::mem::take(&mut stream.kept).len();
            (stream.start, stream.scanner, stream.segments) = (stream.begin, Scanner::Blank, 0);
            stream.state = FlowState::Gathering;
        }
        if stream.state != FlowState::Gathering || !stream.whole {
            return self.advance(shard, now, id, place, payload, judge);
        }
        // Of a truncated copy nobody knows what stood in the rest.
        let whole = sequence.length as usize == payload.len();
        let Some(new) = stream.new_bytes(place.number, payload).filter(|_| whole) else {
            return Fate::Refused;
        };
        if new.is_empty() && !place.last {
            stream.seen = now;
            return Fate::Admitted;
        }
        let bytes = [&stream.kept, new].concat();
        let mut passage = stream.passage.unwrap_or_default();
        let begun = stream.kept.len() - passage.unjudged(&stream.kept).len();
        let step = passage.advance(&bytes, self.limits.bytes, allows);
        let unjudged = bytes.get(begun..).unwrap_or_default();
        let rest = passage.unjudged(&bytes).len();
        let grows = rest > 0;
        let segments = if grows { stream.segments + 1 } else { 0 };
        let partial = !passage.is_at_start(&bytes);
        if step == Step::Refused || segments > self.limits.segments || place.last && partial {
            // Only a knock passes from here on, also one that is in several segments of this message.
            shard.kept -= stream.kept.drain(..begun).len();
            stream.start = stream.start.wrapping_add(u32::try_from(begun).unwrap_or(0));
            (stream.state, stream.scanner) = (FlowState::Held, Scanner::Blank);
            stream.scanner.read(&stream.kept);
            (stream.passage, stream.unsure, stream.seen) = (None, false, now);
            return self.held(shard, now, id, place, payload, judge);
        }
        // A knock in this message, however it was cut. A line end may be the end of a header field.
        let judged = !grows || rest < unjudged.len();
        let due = judged || stream.is_due(unjudged.len(), memchr::memchr(b'\n', new).is_some());
        if judged {
            (stream.looked, stream.field) = (rest, false);
        }
        let fate = if due { Fate::of(judge(Gathered { bytes: unjudged, grows })) } else { Fate::Refused };
        if fate != Fate::Refused {
            if fate == Fate::Opened {
                self.open(shard, now, id);
            }
            return fate;
        }
        if place.last {
            // The connection is over, and the receiver has whole messages only.
            self.remove(shard, id);
            return Fate::Admitted;
        }
        let before = stream.kept.len();
        // Bytes that may be sent again stay: the last segment at least, which can be longer than the bound.
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
}
