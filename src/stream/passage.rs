//! The messages of a flow whose source the PBX has called: each passes or not, by its header block.
//!
//! What a receiver takes for the end of a header block or of a body must not be in doubt here. So lines end in CR LF, a
//! block has exactly one Content-Length, and nothing follows out of order. A sender that writes otherwise is refused.

use crate::sip::{self, Message};

/// Where a flow stands between its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passage {
    /// The first byte of what is kept that no judged message has. While a body goes on, that is the end.
    at: usize,
    /// Bytes of a body that are still to come.
    body: usize,
}

/// What new bytes have led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// They pass.
    Passes,
    /// They don't.
    Refused,
}

impl Passage {
    /// Whether nothing of a message is there that was not judged, and no body goes on.
    pub(super) fn is_at_start(self, kept: &[u8]) -> bool {
        self.body == 0 && kept.get(self.at..).is_none_or(<[u8]>::is_empty)
    }

    /// Goes on over all that is kept, new bytes included. `allows` judges each message by its header block; at most `limit`
    /// bytes may be there that are not judged yet.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        limit: usize,
        mut allows: impl FnMut(&Message<'_>) -> bool,
    ) -> Step {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let body = self.body.min(rest.len());
            (self.at, self.body) = (self.at + body, self.body - body);
            if self.body > 0 {
                return Step::Passes;
            }
            let rest = rest.get(body..).unwrap_or_default();
            // Line ends in front (RFC 3261, 7.5), which are keepalives as well (RFC 5626, 3.5.1).
            let blank = rest.chunks_exact(2).take_while(|pair| pair == b"\r\n").count() * 2;
            self.at += blank;
            let rest = rest.get(blank..).unwrap_or_default();
            // Some receivers take a CR alone for a line end: behind it the block is complete.
            let Some(end) = memchr::memmem::find(rest, b"\r\n\r") else {
                let begins = rest.is_empty() || rest == b"\r" || sip::may_begin(rest);
                let passes = begins && is_plain(rest) && rest.len() <= limit;
                return if passes { Step::Passes } else { Step::Refused };
            };
            let block = rest.get(..end + 4).unwrap_or(rest);
            let judged = Message::parse(block).filter(|_| is_plain(block) && block.len() <= limit);
            let Some(body) =
                judged.filter(|message| allows(message)).and_then(|message| body_length(&message))
            else {
                return Step::Refused;
            };
            if !block.ends_with(b"\n") {
                return Step::Passes;
            }
            self.at += block.len();
            self.body = body;
        }
    }

    /// Forgets judged bytes in front, up to `keep` of what is kept. How many.
    pub(super) fn forget(&mut self, kept: usize, keep: usize) -> usize {
        let forgotten = kept.saturating_sub(keep).min(self.at);
        self.at -= forgotten;
        forgotten
    }

    /// Bytes that are not judged yet, of all that is kept.
    pub(super) fn unjudged(self, kept: &[u8]) -> &[u8] {
        kept.get(self.at..).unwrap_or_default()
    }
}

/// Whether each CR has its LF and each LF its CR, as far as the bytes go, and no NUL is among them.
fn is_plain(bytes: &[u8]) -> bool {
    let bare = |(n, byte): (usize, &u8)| match byte {
        b'\r' => bytes.get(n + 1).is_some_and(|next| *next != b'\n'),
        b'\n' => n.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'\r'),
        0 => true,
        _ => false,
    };
    !bytes.iter().enumerate().any(bare)
}

/// The length of a message's body (RFC 3261, 18.3); `None` where receivers may differ about it.
fn body_length(message: &Message<'_>) -> Option<usize> {
    let mut lengths = message.headers_named("Content-Length");
    let length = lengths.next()?;
    let digits = (1..=MAX_DIGITS).contains(&length.len()) && length.iter().all(u8::is_ascii_digit);
    if !digits || lengths.next().is_some() {
        return None;
    }
    std::str::from_utf8(length).ok()?.parse().ok()
}

/// Digits of a Content-Length: a megabyte and more is no body of SIP.
const MAX_DIGITS: usize = 6;
