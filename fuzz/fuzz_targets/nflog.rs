//! Netlink: `nflog::message`, both ways.
//!
//! - Arbitrary bytes give at most one message for every 16 of them, and one error; payloads are slices of them.
//! - A datagram like the kernel's (copies with and without a number, acknowledgements, errors, other messages, attributes in
//!   any order) is read back as it was made; cut anywhere it gives the messages before the cut, then at most one error.
//! - A set-up message has the length, type, flags, sequence, group and attributes that were asked for, padded to four
//!   bytes, behind whatever was in the buffer before.

#![no_main]

mod netlink;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use netlink::{Attribute, ERROR, compare, put_answer, put_attribute, put_message};
use sipknock::nflog::message::{self, Copied, NflogMessage, NflogMessages};

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
    for message in NflogMessages::new(bytes) {
        count += 1;
        if let Ok(NflogMessage::Packet(packet)) = message {
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

/// The messages that the kernel may send.
#[derive(Arbitrary, Debug)]
enum FromKernel {
    Packet { group: u16, number: Option<u32>, payload: Vec<u8>, before: Vec<Attribute>, payload_first: bool },
    Answer { sequence: u32, errno: u16 },
    Other { kind: u16, body: Vec<u8> },
}

impl FromKernel {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Packet { group, number, payload, before, payload_first } => {
                let mut named = vec![(PAYLOAD, payload.clone())];
                if let Some(number) = number {
                    let at = usize::from(*payload_first);
                    named.insert(at, (SEQ, number.to_be_bytes().to_vec()));
                }
                let mut body = vec![2, 0];
                body.extend(group.to_be_bytes());
                before.iter().for_each(|attribute| attribute.write(&mut body, &[SEQ, PAYLOAD]));
                named.iter().for_each(|(kind, value)| put_attribute(&mut body, *kind, value));
                put_message(out, PACKET, 0, &body);
            }
            Self::Answer { sequence, errno } => put_answer(out, *sequence, *errno),
            Self::Other { kind, body } => put_message(out, other_kind(*kind), 0, body),
        }
    }

    fn expected(&self) -> NflogMessage<'_> {
        match self {
            Self::Packet { group, number, payload, .. } => {
                NflogMessage::Packet(Copied { group: *group, number: *number, payload })
            }
            Self::Answer { sequence, errno } => {
                NflogMessage::Answer { sequence: *sequence, errno: (*errno).into() }
            }
            Self::Other { .. } => NflogMessage::Other,
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
    compare(&datagram, &ends, cut, &expected, NflogMessages::new);
}

/// The messages that we may send.
#[derive(Arbitrary, Debug)]
struct Request {
    bind: bool,
    group: u16,
    sequence: u32,
    copy_range: u32,
}

/// Type, flags, sequence, group, attributes.
type Written = (u16, u16, u32, u16, Vec<(u16, Vec<u8>)>);

impl Request {
    fn write(&self, out: &mut Vec<u8>) {
        let write = if self.bind { message::bind } else { message::change };
        write(out, self.group, self.sequence, self.copy_range);
    }

    fn expected(&self) -> Written {
        let mode = [&self.copy_range.to_be_bytes()[..], &[2, 0]].concat();
        let mut attributes = vec![(2, mode), (5, vec![0, 0, 0, 1]), (6, vec![0, 1])];
        if self.bind {
            attributes.insert(0, (1, vec![1]));
        }
        (0x0401, 5, self.sequence, self.group, attributes)
    }
}

fn our_messages(requests: &[Request]) {
    let mut out = Vec::new();
    for request in requests {
        let start = out.len();
        request.write(&mut out);
        assert_eq!(read_back(&out[start..]), request.expected());
    }
    assert!(NflogMessages::new(&out).eq(requests.iter().map(|_| Ok(NflogMessage::Other))));
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

const PACKET: u16 = 0x0400;
const PAYLOAD: u16 = 9;
const SEQ: u16 = 12;
