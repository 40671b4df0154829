//! Held flows: only a knock passes, in one segment or with those before it.

use super::block::{Progress, Scanner};
use super::fate::{Fate, Finding, Gathered};
use super::flow::{FlowId, Place, State};
use super::table::{Shard, StreamTable};
use crate::sip::{self, Message};
use crate::time::Time;

impl StreamTable {
    /// Holds a flow from here on. What is kept of it stays, to look for knocks in.
    pub(super) fn hold(&self, shard: &mut Shard, id: FlowId) {
        let Some(stream) = shard.flows.get_mut(&id) else { return };
        if stream.passage.take().is_some() {
            shard.kept -= std::mem::take(&mut stream.kept).len();
        }
        (stream.state, stream.passed) = (State::Held, true);
    }

    /// Judges a segment of a held flow: by itself, as if it were a whole message, and then with those before it.
    ///
    /// A sender sends again what was refused. So a knock in several segments opens the door, and then all of them pass: a
    /// phone whose REGISTER is longer than a segment needs no other connection, unless it waits for the acknowledgement of
    /// the first part before it sends the part with the knock.
    pub(super) fn held(
        &self,
        shard: &mut Shard,
        now: Time,
        id: FlowId,
        place: Place,
        payload: &[u8],
        mut judge: impl FnMut(Gathered<'_>) -> Finding,
    ) -> Fate {
        let mut fate = Fate::of(judge(Gathered { bytes: payload, grows: false }));
        if fate == Fate::Refused {
            fate = self.add_to_held(shard, now, id, place, payload, &mut judge);
        }
        if fate == Fate::Opened {
            self.open(shard, now, id);
        }
        fate
    }

    /// Looks for knocks in a segment together with those before it, and keeps it if more may follow. The segment itself has
    /// been looked at.
    pub(super) fn add_to_held(
        &self,
        shard: &mut Shard,
        now: Time,
        id: FlowId,
        Place { number, length, last }: Place,
        payload: &[u8],
        judge: &mut impl FnMut(Gathered<'_>) -> Finding,
    ) -> Fate {
        let Some(stream) = shard.flows.get_mut(&id) else { return Fate::Refused };
        let may_grow = !last && length as usize == payload.len();
        let before = stream.kept.len();
        match stream.new_bytes(number, payload).filter(|_| before > 0) {
            Some([]) => stream.seen = now,
            Some(new) => {
                let progress = stream.scanner.read(new);
                stream.segments += 1;
                let gathered = before + new.len();
                let grows = may_grow
                    && matches!(progress, Progress::Incomplete { .. })
                    && gathered <= self.limits.bytes
                    && stream.segments <= self.limits.segments;
                if !grows || stream.is_due(gathered, progress == Progress::Incomplete { field: true }) {
                    let fate = Fate::of(judge(Gathered { bytes: &[&stream.kept, new].concat(), grows }));
                    if fate != Fate::Refused {
                        return fate;
                    }
                }
                if grows {
                    stream.kept.reserve_exact(new.len());
                    stream.kept.extend_from_slice(new);
                } else {
                    stream.kept = Vec::new();
                }
                stream.seen = now;
            }
            // Not the next one: it may be the first of a message.
            None => {
                let mut scanner = Scanner::Blank;
                let grows = may_grow
                    && begins(payload, before == 0 || is_before(number, stream.start))
                    && matches!(scanner.read(payload), Progress::Incomplete { .. })
                    && payload.len() <= self.limits.bytes;
                if grows {
                    (stream.start, stream.kept, stream.scanner) = (number, payload.to_vec(), scanner);
                    (stream.segments, stream.looked, stream.field) = (1, payload.len(), false);
                    stream.seen = now;
                }
            }
        }
        shard.kept = shard.kept + stream.kept.len() - before;
        shard.make_room(id);
        Fate::Refused
    }
}

/// Whether a message may begin with a segment; if not so `likely`, only one that shows it.
fn begins(payload: &[u8], likely: bool) -> bool {
    if likely { sip::may_begin(payload) } else { Message::parse(payload).is_some() }
}

/// Whether a sequence number comes before another one (RFC 9293, 3.4).
fn is_before(this: u32, other: u32) -> bool {
    other.wrapping_sub(this) as i32 > 0
}
