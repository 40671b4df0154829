//! Netlink messages as the kernel writes them, and how a reader must take them, for the targets that read such.

use std::fmt::Debug;

use arbitrary::Arbitrary;

/// An attribute that nobody here reads.
#[derive(Arbitrary, Debug)]
pub(crate) struct Attribute {
    kind: u8,
    nested: bool,
    value: Vec<u8>,
}

impl Attribute {
    /// Writes it, with another type where its own is one of those `read`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, read: &[u16]) {
        let kind = u16::from(self.kind);
        let kind = if read.contains(&kind) { 5 } else { kind };
        put_attribute(out, kind | if self.nested { 0x8000 } else { 0 }, &self.value);
    }
}

/// Writes a message.
pub(crate) fn put_message(out: &mut Vec<u8>, kind: u16, sequence: u32, body: &[u8]) {
    out.extend((16 + body.len() as u32).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend([0, 0]);
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]);
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Writes an attribute.
pub(crate) fn put_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend((4 + value.len() as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Writes the answer to a message of ours.
pub(crate) fn put_answer(out: &mut Vec<u8>, sequence: u32, errno: u16) {
    let body = [&(-i32::from(errno)).to_ne_bytes()[..], &[0; 16]].concat();
    put_message(out, ERROR, sequence, &body);
}

/// Reads a datagram whose messages end at `ends`: whole it gives what is `expected`; cut anywhere the messages before the cut,
/// then at most one error.
pub(crate) fn compare<'a, M: Debug + PartialEq, E: Debug, R: Iterator<Item = Result<M, E>>>(
    datagram: &'a [u8],
    ends: &[usize],
    cut: u16,
    expected: &[M],
    read: impl Fn(&'a [u8]) -> R,
) {
    let whole: Vec<_> = read(datagram).map(|read| read.expect("it is well made")).collect();
    assert_eq!(whole, expected);

    let cut = usize::from(cut) % (datagram.len() + 1);
    let read: Vec<_> = read(&datagram[..cut]).collect();
    let whole = ends.iter().filter(|&&end| end <= cut).count();
    for (read, expected) in read.iter().zip(expected).take(whole) {
        assert_eq!(read.as_ref().expect("it was before the cut"), expected);
    }
    match read.get(whole..) {
        Some([] | [Err(_)]) => {}
        // Nothing but padding was cut away, of the last message or of its last attribute.
        Some([Ok(last)]) => assert_eq!((last, ends[whole] - cut < 4), (&expected[whole], true)),
        other => panic!("{other:?}"),
    }
}

/// Type of an answer (NLMSG_ERROR).
pub(crate) const ERROR: u16 = 2;
