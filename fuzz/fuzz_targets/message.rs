//! Netlink: `queue::message`, both ways.
//!
//! - Arbitrary bytes give at most one message for every 16 of them, and one error; payloads are slices of them.
//! - A datagram like the kernel's (packets, acknowledgements, errors, other messages, attributes in any order) is
//!   read back as it was made; cut anywhere it gives the messages before the cut, then at most one error.
//! - What we write has the length, type, flags, sequence, queue and attributes that were asked for, padded to four
//!   bytes, behind whatever was in the buffer before.

#![no_main]

mod netlink;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use netlink::{Attribute, ERROR, compare, put_answer, put_attribute, put_message};
use sipknock::queue::message::{self, QueueMessage, QueueMessages, Queued, Setup};
use sipknock::verdict::Verdict;

fuzz_target!(|bytes: &[u8]| {
    arbitrary_datagram(bytes);
    let mut structured = Unstructured::new(bytes);
    if let Ok(Datagram { messages, cut }) = structured.arbitrary() {
        kernel_datagram(&messages, cut);
    }
    if let Ok(requests) = Vec::<Request>::arbitrary_take_rest(Unstructured::new(bytes)) {
        our_messages(&requests);
    }
});

fn arbitrary_datagram(bytes: &[u8]) {
    let mut count = 0;
    for message in QueueMessages::new(bytes) {
        count += 1;
        if let Ok(QueueMessage::Packet(packet)) = message {
            let (part, whole) = (packet.payload.as_ptr_range(), bytes.as_ptr_range());
            assert!(part.is_empty() || (whole.start <= part.start && part.end <= whole.end));
        }
    }
    assert!(count <= bytes.len() / 16 + 1);
}

#[derive(Arbitrary, Debug)]
struct Datagram {
    messages: Vec<FromKernel>,
    cut: u16,
}

/// What the kernel may send.
#[derive(Arbitrary, Debug)]
enum FromKernel {
    Packet {
        queue: u16,
        id: u32,
        payload: Vec<u8>,
        before: Vec<Attribute>,
        between: Vec<Attribute>,
        payload_first: bool,
    },
    Answer {
        sequence: u32,
        errno: u16,
    },
    Other {
        kind: u16,
        body: Vec<u8>,
    },
}

impl FromKernel {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Packet { queue, id, payload, before, between, payload_first } => {
                let header = [&id.to_be_bytes()[..], &[8, 0, 1]].concat();
                let mut named = [(PACKET_HDR, &header), (PAYLOAD, payload)];
                if *payload_first {
                    named.reverse();
                }
                let mut body = vec![2, 0];
                body.extend(queue.to_be_bytes());
                before.iter().for_each(|attribute| attribute.write(&mut body, &[PACKET_HDR, PAYLOAD]));
                put_attribute(&mut body, named[0].0, named[0].1);
                between.iter().for_each(|attribute| attribute.write(&mut body, &[PACKET_HDR, PAYLOAD]));
                put_attribute(&mut body, named[1].0, named[1].1);
                put_message(out, PACKET, 0, &body);
            }
            Self::Answer { sequence, errno } => put_answer(out, *sequence, *errno),
            Self::Other { kind, body } => put_message(out, other_kind(*kind), 0, body),
        }
    }

    fn expected(&self) -> QueueMessage<'_> {
        match self {
            Self::Packet { queue, id, payload, .. } => {
                QueueMessage::Packet(Queued { queue: *queue, id: *id, payload })
            }
            Self::Answer { sequence, errno } => {
                QueueMessage::Answer { sequence: *sequence, errno: (*errno).into() }
            }
            Self::Other { .. } => QueueMessage::Other,
        }
    }
}

fn other_kind(kind: u16) -> u16 {
    if kind == PACKET || kind == ERROR { kind + 1 } else { kind }
}

fn kernel_datagram(messages: &[FromKernel], cut: u16) {
    let mut datagram = Vec::new();
    let mut ends = Vec::new();
    for message in messages {
        message.write(&mut datagram);
        ends.push(datagram.len());
    }
    let expected: Vec<_> = messages.iter().map(FromKernel::expected).collect();
    compare(&datagram, &ends, cut, &expected, QueueMessages::new);
}

/// What we may send.
#[derive(Arbitrary, Debug)]
enum Request {
    Bind { queue: u16, sequence: u32, copy_range: u32, max_len: u32, fail_open: bool },
    Shut { queue: u16, sequence: u32, fail_open: bool },
    Verdict { queue: u16, id: u32, accept: bool },
    UpTo { queue: u16, last: u32, accept: bool },
}

/// Type, flags, sequence, queue, attributes.
type Written = (u16, u16, u32, u16, Vec<(u16, Vec<u8>)>);

impl Request {
    fn write(&self, out: &mut Vec<u8>) {
        let verdict = |accept| if accept { Verdict::Accept } else { Verdict::Drop };
        match *self {
            Self::Bind { queue, sequence, copy_range, max_len, fail_open } => {
                message::bind(out, queue, sequence, Setup { copy_range, max_len, fail_open });
            }
            Self::Shut { queue, sequence, fail_open } => message::shut(out, queue, sequence, fail_open),
            Self::Verdict { queue, id, accept } => message::verdict(out, queue, id, verdict(accept)),
            Self::UpTo { queue, last, accept } => {
                message::verdict_up_to(out, queue, 0, last, verdict(accept))
            }
        }
    }

    fn expected(&self) -> Written {
        let flags = |open: bool| [(4, vec![0, 0, 0, 1]), (5, vec![0, 0, 0, open.into()])];
        let verdict = |id: u32, accept: bool| {
            vec![(2, [&u32::from(accept).to_be_bytes()[..], &id.to_be_bytes()].concat())]
        };
        match *self {
            Self::Bind { queue, sequence, copy_range, max_len, fail_open } => {
                let mut attributes = vec![
                    (1, vec![1, 0, 0, 0]),
                    (2, [&copy_range.to_be_bytes()[..], &[2]].concat()),
                    (3, max_len.to_be_bytes().to_vec()),
                ];
                attributes.extend(flags(fail_open));
                (0x0302, 5, sequence, queue, attributes)
            }
            Self::Shut { queue, sequence, fail_open } => {
                let mut attributes = vec![(3, vec![0; 4])];
                attributes.extend(flags(fail_open));
                (0x0302, 5, sequence, queue, attributes)
            }
            Self::Verdict { queue, id, accept } => (0x0301, 1, 0, queue, verdict(id, accept)),
            Self::UpTo { queue, last, accept } => (0x0303, 1, 0, queue, verdict(last, accept)),
        }
    }
}

fn our_messages(requests: &[Request]) {
    let mut out = Vec::new();
    for request in requests {
        let start = out.len();
        request.write(&mut out);
        assert_eq!(read_back(&out[start..]), request.expected());
    }
    assert!(QueueMessages::new(&out).eq(requests.iter().map(|_| Ok(QueueMessage::Other))));
}

/// Reads a message of ours by rules of its own.
fn read_back(bytes: &[u8]) -> Written {
    let u16_at = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let u32_at = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    assert_eq!((u32_at(0) as usize, bytes.len() % 4), (bytes.len(), 0));
    assert_eq!((u32_at(12), bytes[16], bytes[17]), (0, 0, 0));
    let mut attributes = Vec::new();
    let mut at = 20;
    while at < bytes.len() {
        let end = at + usize::from(u16_at(at));
        attributes.push((u16_at(at + 2), bytes[at + 4..end].to_vec()));
        assert!(bytes[end..end.next_multiple_of(4)].iter().all(|&byte| byte == 0));
        at = end.next_multiple_of(4);
    }
    (u16_at(4), u16_at(6), u32_at(8), u16::from_be_bytes([bytes[18], bytes[19]]), attributes)
}

const PACKET: u16 = 0x0300;
const PACKET_HDR: u16 = 1;
const PAYLOAD: u16 = 10;
