//! Messages as TCP carries them: one behind the other, each as long as it says, cut anywhere.

use super::message::{Message, block};
use super::text::{is_blank, without_line_end};

/// The messages of a TCP payload: each with the body that its Content-Length counts (RFC 3261, 18.3; none if it is
/// missing), without the blank lines between them. Anything that does not begin with a start line ends them.
pub fn messages(payload: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut behind = payload;
    std::iter::from_fn(move || {
        let message = Message::parse(behind)?;
        let head = message.whole.len() - message.rest.len();
        let (_, body) = block(message.rest);
        let length =
            head.saturating_add(body).saturating_add(content_length(&message)).min(message.whole.len());
        let (whole, others) = message.whole.split_at(length);
        behind = others;
        Some(Message { whole, rest: whole.get(head..)?, ..message })
    })
}

/// How much of a header block that is still to grow cannot change any more: its start line and header fields up to
/// the last line end that the next byte shows not to be a fold, or up to the blank line, that included.
pub fn complete_fields(block: &[u8]) -> usize {
    let start = block.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let (mut at, mut complete) = (start, 0);
    for end in memchr::memchr_iter(b'\n', block).skip_while(|end| *end < start) {
        let line = block.get(at..end).unwrap_or_default();
        at = end + 1;
        if without_line_end(line).is_empty() {
            return at;
        }
        if block.get(at).is_some_and(|byte| !is_blank(*byte)) {
            complete = at;
        }
    }
    complete
}

/// Where the first header field begins that is complete now, and was not while only the first `known` bytes of a block were
/// there; `None` if there is none. The start line counts as one. By the measure of [`complete_fields`].
pub fn completed_field(block: &[u8], known: usize) -> Option<usize> {
    // The byte behind a line end shows that it folds nothing. Of the last known one it was not there.
    let ends = |at: &usize| block.get(at + 1).is_some_and(|byte| !is_blank(*byte));
    let from = known.saturating_sub(1);
    memchr::memchr_iter(b'\n', block.get(from..)?).map(|at| from + at).find(ends)?;
    let before = memchr::memrchr_iter(b'\n', block.get(..from)?).find(ends);
    Some(before.map_or(0, |at| at + 1))
}

/// A length that is no number makes all that follows the body: nothing says where it would end.
fn content_length(message: &Message<'_>) -> usize {
    let Some(value) = message.header("Content-Length") else { return 0 };
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|value| value.parse().ok());
    number.unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
