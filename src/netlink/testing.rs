//! Netlink messages for tests, written and read back by rules of their own.

use super::{u16_ne, u32_ne};

/// A message from the kernel.
pub(crate) fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend([0, 0]);
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// The body of an nfnetlink message about a queue or group.
pub(crate) fn nfnetlink(number: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = [&[2, 0][..], &number.to_be_bytes()].concat();
    for (kind, value) in attributes {
        body.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    body
}

/// Type, flags, sequence, number of the queue or group, attributes.
pub(crate) type Written = (u16, u16, u32, u16, Vec<(u16, Vec<u8>)>);

/// The meaning of a message of ours.
pub(crate) fn read_back(bytes: &[u8]) -> Written {
    assert_eq!(u32_ne(bytes, 0) as usize, bytes.len());
    let mut attributes = Vec::new();
    let mut rest = &bytes[20..];
    while !rest.is_empty() {
        let length = usize::from(u16_ne(rest, 0));
        attributes.push((u16_ne(rest, 2), rest[4..length].to_vec()));
        rest = &rest[length.next_multiple_of(4)..];
    }
    let number = u16::from_be_bytes([bytes[18], bytes[19]]);
    (u16_ne(bytes, 4), u16_ne(bytes, 6), u32_ne(bytes, 8), number, attributes)
}
