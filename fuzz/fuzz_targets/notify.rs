//! Notifications of nf_tables: `firewall::notify`.
//!
//! - Arbitrary bytes give at most one notification for every 16 of them, and one error that is about lengths of messages;
//!   names are slices of them without a zero.
//! - A datagram like the kernel's (tables, chains, rules, sets, ends of transactions, attributes in any order) is read back
//!   as it was made; cut anywhere it gives the notifications before the cut, then at most one error.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use sipknock::firewall::notify::{Generation, Notification, Notifications, RulesetChange};

fuzz_target!(|bytes: &[u8]| {
    arbitrary_datagram(bytes);
    if let Ok(Datagram { messages, cut }) = Unstructured::new(bytes).arbitrary() {
        kernel_datagram(&messages, cut);
    }
});

fn arbitrary_datagram(bytes: &[u8]) {
    let mut count = 0;
    for notification in Notifications::new(bytes) {
        count += 1;
        if let Ok(Notification::Generation(Generation { name, .. })) = notification {
            let (part, whole) = (name.as_ptr_range(), bytes.as_ptr_range());
            assert!(part.is_empty() || (whole.start <= part.start && part.end <= whole.end));
            assert!(!name.contains(&0));
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
    RulesetChange {
        kind: ChangeKind,
        family: u8,
        port_id: u32,
        rest: Vec<u8>,
    },
    End {
        id: u32,
        port_id: u32,
        process: Option<(u32, [u8; 15])>,
        other: Option<(u8, Vec<u8>)>,
        backwards: bool,
    },
    Other {
        kind: u16,
        body: Vec<u8>,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum ChangeKind {
    NewTable = 0,
    DelTable = 2,
    NewChain = 3,
    DelChain = 5,
    NewRule = 6,
    DelRule = 8,
}

fn kernel_datagram(messages: &[FromKernel], cut: u16) {
    let mut datagram = Vec::new();
    let mut ends = Vec::new();
    for message in messages {
        message.write(&mut datagram);
        ends.push(datagram.len());
    }
    let expected: Vec<_> = messages.iter().map(FromKernel::expected).collect();
    let read: Vec<_> = Notifications::new(&datagram).map(|read| read.expect("it is well made")).collect();
    assert_eq!(read, expected);

    let cut = usize::from(cut).min(datagram.len());
    let whole = ends.iter().filter(|end| **end <= cut).count();
    let read: Vec<_> = Notifications::new(&datagram[..cut]).collect();
    assert!(read.len() >= whole && read.len() <= whole + 1);
    // The padding of the last one may be what is cut.
    let intact: Vec<_> = read.iter().take(whole).map(|read| read.expect("it was before the cut")).collect();
    assert_eq!(intact, expected[..whole]);
}

impl FromKernel {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::RulesetChange { kind, family, port_id, rest } => {
                write_message(
                    out,
                    0x0a00 | *kind as u16,
                    *port_id,
                    &[&[*family, 0, 0, 9], &rest[..]].concat(),
                );
            }
            Self::End { id, port_id, process, other, backwards } => {
                let mut attributes = vec![attribute(1, &id.to_be_bytes())];
                if let Some((pid, name)) = process {
                    attributes.push(attribute(2, &pid.to_be_bytes()));
                    attributes.push(attribute(3, &[&name[..], &[0]].concat()));
                }
                if let Some((kind, value)) = other {
                    let value = &value[..value.len().min(1000)];
                    attributes.push(attribute(u16::from(*kind).max(4), value));
                }
                if *backwards {
                    attributes.reverse();
                }
                write_message(out, 0x0a0f, *port_id, &[vec![0, 0, 0, 9], attributes.concat()].concat());
            }
            Self::Other { kind, body } => write_message(out, other_kind(*kind), 0, body),
        }
    }

    fn expected(&self) -> Notification<'_> {
        match self {
            Self::RulesetChange { family, port_id, .. } => {
                Notification::Change(RulesetChange { family: *family, port_id: *port_id })
            }
            Self::End { id, port_id, process, .. } => Notification::Generation(Generation {
                id: *id,
                port_id: *port_id,
                pid: process.map(|(pid, _)| pid),
                name: process.as_ref().map_or(&[], |(_, name)| name.split(|byte| *byte == 0).next().unwrap()),
            }),
            Self::Other { .. } => Notification::Other,
        }
    }
}

/// A type that is not one of those that matter.
fn other_kind(kind: u16) -> u16 {
    match kind {
        0x0a00 | 0x0a02 | 0x0a03 | 0x0a05 | 0x0a06 | 0x0a08 | 0x0a0f => 0x0a0c,
        other => other,
    }
}

fn write_message(out: &mut Vec<u8>, kind: u16, port_id: u32, body: &[u8]) {
    out.extend(u32::try_from(16 + body.len()).unwrap().to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend([0; 6]);
    out.extend(port_id.to_ne_bytes());
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}
