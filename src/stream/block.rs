//! Where a SIP header block ends, for every reader at once.
//!
//! SIP's line end is CR LF (RFC 3261, 7). Receivers differ in what else they take for one: most take a bare LF, Sofia
//! a bare CR too. A block counts as complete here as soon as any of them would think so.

use crate::sip::is_token;

/// How far a flow has got, byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scanner {
    /// Nothing yet but line ends, which a receiver skips (RFC 3261, 7.5).
    Blank,
    /// Inside a line.
    InLine,
    /// At the start of a line, the first one aside.
    LineStart {
        /// The line before ended with a CR, and an LF still belongs to it.
        after_cr: bool,
    },
}

/// What bytes have led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to come.
    Incomplete {
        /// A header field, or the start line, became complete: a line ended, and the next one is no fold.
        field: bool,
    },
    /// Some receiver takes what it has for a whole header block.
    Complete,
    /// Not a SIP message, which starts with a token (RFC 3261, 25.1; TLS starts otherwise) and has no NUL in its block.
    NotSip,
}

impl Scanner {
    /// Goes on over more bytes, up to where they lead to something.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Progress {
        let mut field = false;
        for &byte in bytes {
            *self = match (*self, byte) {
                (Self::Blank, b'\r' | b'\n') => Self::Blank,
                (Self::LineStart { after_cr: true }, b'\n') => Self::LineStart { after_cr: false },
                (Self::LineStart { .. }, b'\r' | b'\n') => return Progress::Complete,
                (Self::Blank, byte) if !is_token(byte) => return Progress::NotSip,
                // Where texts end at a NUL, as in chan_sip (sip_tcp_read), what follows it is not read.
                (_, 0) => return Progress::NotSip,
                (Self::InLine, b'\r') => Self::LineStart { after_cr: true },
                (Self::InLine, b'\n') => Self::LineStart { after_cr: false },
                (Self::LineStart { after_cr: false }, byte) => {
                    field |= !matches!(byte, b' ' | b'\t');
                    Self::InLine
                }
                _ => Self::InLine,
            };
        }
        Progress::Incomplete { field }
    }
}

/// Whether a header block ends in a payload: some receivers take a CR alone for the blank line, see [`Scanner`]. Line ends in
/// front of a message end nothing.
pub(super) fn ends_block(payload: &[u8]) -> bool {
    let text = payload.trim_ascii_start();
    [b"\n\r", b"\n\n"].into_iter().any(|end| memchr::memmem::find(text, end).is_some())
}
