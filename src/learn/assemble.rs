//! Header blocks out of TCP segments, for a roster that only wants to read.

use std::collections::HashMap;

use crate::packet::{Body, Packet, Segment, Sequence};
use crate::sip::{self, Message};
use crate::stream::FlowId;

/// Puts together what comes in several segments, in their order. What is lost or out of order is left out.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Flows in the middle of a header block, with the sequence number that comes next.
    begun: HashMap<FlowId, (u32, Vec<u8>), ahash::RandomState>,
}

impl Assembler {
    /// The message of a datagram, or the header blocks that a segment holds or completes.
    pub fn visit(&mut self, packet: &Packet<'_>, visit: impl FnMut(Message<'_>)) {
        let Body::Segment(segment) = packet.body else { return };
        match segment.sequence {
            None => Message::parse(segment.payload).into_iter().for_each(visit),
            Some(sequence) => self.messages(packet, segment, sequence, visit),
        }
    }

    /// The header blocks that a segment holds or completes.
    pub(super) fn messages(
        &mut self,
        packet: &Packet<'_>,
        segment: Segment<'_>,
        sequence: Sequence,
        mut visit: impl FnMut(Message<'_>),
    ) {
        if sequence.length == 0 {
            return;
        }
        let id = FlowId::of(packet, segment.flow);
        let before = self.begun.remove(&id).filter(|(next, _)| *next == sequence.number);
        let mut bytes = before.map(|(_, bytes)| bytes).unwrap_or_default();
        bytes.extend_from_slice(segment.payload);
        let mut messages = sip::messages(&bytes).peekable();
        while let Some(message) = messages.next() {
            // The last one may go on in the next segment.
            let broken_off = messages.peek().is_none() && message.block().len() == message.bytes().len();
            if !broken_off {
                visit(message);
                continue;
            }
            let unread = message.bytes().to_vec();
            if unread.len() <= MAX_BLOCK && self.begun.len() < MAX_FLOWS {
                self.begun.insert(id, (sequence.number.wrapping_add(sequence.length), unread));
            }
            return;
        }
        drop(messages);
        if sip::may_begin(&bytes) && Message::parse(&bytes).is_none() && bytes.len() <= MAX_BLOCK {
            // Not even the start line is whole.
            if self.begun.len() < MAX_FLOWS {
                self.begun.insert(id, (sequence.number.wrapping_add(sequence.length), bytes));
            }
        }
    }
}

/// Longer header blocks than any phone's.
const MAX_BLOCK: usize = 16 * 1024;

/// Flows in the middle of a header block, at a time. Where there are more, blocks in several segments go unread.
const MAX_FLOWS: usize = 1024;
