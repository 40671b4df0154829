//! Held flows: only a knock passes, in one segment or with those before it.

use super::block::{Progress, Scanner};
use super::fate::{Fate, Gathered, SegmentFinding};
use super::flow::{FlowId, FlowPlace, FlowState, Look, Stream};
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
        (stream.state, stream.passed) = (FlowState::Held, true);
    }

    /// Judges a segment of a held flow: by itself, and with those before it.
    ///
    /// A sender sends again what was refused. So a knock in several segments opens the door, and then all of them pass: a
    /// phone whose REGISTER is longer than a segment needs no other connection, unless it waits for the acknowledgement of
    /// the first part before it sends the part with the knock.
    pub(super) fn held(
        &self,
        shard: &mut Shard,
        now: Time,
        id: FlowId,
        place: FlowPlace,
        payload: &[u8],
        mut judge: impl FnMut(Gathered<'_>) -> SegmentFinding,
    ) -> Fate {
        let fate =
            self.look(shard, now, id, place, Look { payload, itself: true, passes: false }, &mut judge);
        if fate == Fate::Opened {
            self.open(shard, now, id);
        }
        fate
    }

    /// Looks for knocks in a segment of a held flow alone, and with those before it. If more may follow it is the beginning of
    /// something, and else a whole message. With the last piece of a message it is the message that counts.
    pub(super) fn look(
        &self,
        shard: &mut Shard,
        now: Time,
        id: FlowId,
        place: FlowPlace,
        Look { payload, itself, passes }: Look<'_>,
        judge: &mut impl FnMut(Gathered<'_>) -> SegmentFinding,
    ) -> Fate {
        let joins = shard.flows.get(&id).map_or(Joins::Nothing, |stream| self.joins(stream, place, payload));
        let (completes, grows) = match joins {
            Joins::Begins(_) | Joins::Follows { grows: true, .. } => (false, true),
            Joins::Follows { grows: false, .. } => (true, false),
            // Its sender may wait for the acknowledgement, and send no more until then.
            Joins::Again => (false, passes),
            Joins::Nothing => (false, false),
        };
        let mut fate = Fate::Refused;
        if completes {
            fate = self.add_to_held(shard, now, id, place, payload, judge);
        }
        if fate == Fate::Refused && itself {
            fate = Fate::of(judge(Gathered { bytes: payload, grows }));
        }
        if fate == Fate::Refused && !completes {
            fate = self.add_to_held(shard, now, id, place, payload, judge);
        }
        fate
    }

    /// Looks for knocks in a segment together with those before it, and keeps it if more may follow.
    fn add_to_held(
        &self,
        shard: &mut Shard,
        now: Time,
        id: FlowId,
        place: FlowPlace,
        payload: &[u8],
        judge: &mut impl FnMut(Gathered<'_>) -> SegmentFinding,
    ) -> Fate {
        let Some(stream) = shard.flows.get_mut(&id) else { return Fate::Refused };
        let before = stream.kept.len();
        match self.joins(stream, place, payload) {
            Joins::Again => stream.seen = now,
            Joins::Follows { new, progress, scanner, grows } => {
                stream.scanner = scanner;
                stream.segments += 1;
                let gathered = before + new.len();
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
            Joins::Begins(scanner) => {
                (stream.start, stream.kept, stream.scanner) = (place.number, payload.to_vec(), scanner);
                (stream.segments, stream.looked, stream.field) = (1, payload.len(), false);
                stream.seen = now;
            }
            Joins::Nothing => {}
        }
        shard.kept = shard.kept + stream.kept.len() - before;
        shard.make_room(id);
        Fate::Refused
    }

    /// How a segment joins those that are kept of a held flow.
    fn joins<'a>(&self, stream: &Stream, place: FlowPlace, payload: &'a [u8]) -> Joins<'a> {
        let FlowPlace { number, length, last } = place;
        let may_grow = !last && length as usize == payload.len();
        let before = stream.kept.len();
        match stream.new_bytes(number, payload).filter(|_| before > 0) {
            Some([]) => Joins::Again,
            Some(new) => {
                let mut scanner = stream.scanner;
                let progress = scanner.read(new);
                let grows = may_grow
                    && matches!(progress, Progress::Incomplete { .. })
                    && before + new.len() <= self.limits.bytes
                    && stream.segments < self.limits.segments;
                Joins::Follows { new, progress, scanner, grows }
            }
            // Not the next one: it may be the first of a message.
            None => {
                let mut scanner = Scanner::Blank;
                let begins = may_grow
                    && begins(payload, before == 0 || is_before(number, stream.start))
                    && matches!(scanner.read(payload), Progress::Incomplete { .. })
                    && payload.len() <= self.limits.bytes;
                if begins { Joins::Begins(scanner) } else { Joins::Nothing }
            }
        }
    }
}

/// The relation of a segment to those that are kept of a held flow.
enum Joins<'a> {
    /// All of it is there.
    Again,
    /// It has these bytes more.
    Follows {
        new: &'a [u8],
        progress: Progress,
        scanner: Scanner,
        /// It completes nothing, and there is room for it.
        grows: bool,
    },
    /// A message may begin with it.
    Begins(Scanner),
    Nothing,
}

/// Whether a message may begin with a segment; if not so `likely`, only one that shows it.
fn begins(payload: &[u8], likely: bool) -> bool {
    if likely { sip::may_begin(payload) } else { Message::parse(payload).is_some() }
}

/// Whether a sequence number comes before another one (RFC 9293, 3.4).
fn is_before(this: u32, other: u32) -> bool {
    other.wrapping_sub(this) as i32 > 0
}
