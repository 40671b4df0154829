//! How a header field's text is written down: folded over lines, quoted, with escapes.

use std::borrow::Cow;
use std::slice;

/// A text without its line folds (RFC 3261, 7.3.1): each of them, with the white space around it, is one space.
/// Other white space stays as it is, and so do line ends that fold nothing.
pub fn unfold(text: &[u8]) -> Cow<'_, [u8]> {
    unfold_first(text, usize::MAX, usize::MAX)
}

/// The same for the first folds of a text, so many at most, among so many lines near them. What
/// follows stays as it is.
pub fn unfold_first(text: &[u8], folds: usize, lines: usize) -> Cow<'_, [u8]> {
    let mut unfolded = Vec::new();
    let (mut done, mut left) = (0, folds);
    let mut ends = Folds::of(text);
    for _ in 0..lines {
        let Some(end) = ends.next() else { break };
        let behind = text.get(end + 1..).unwrap_or_default();
        if !behind.first().is_some_and(|byte| is_blank(*byte)) {
            continue;
        }
        if left == 0 {
            break;
        }
        left -= 1;
        let line = text.get(done..end).unwrap_or_default();
        if done == 0 {
            unfolded.reserve_exact(text.len());
        }
        unfolded.extend_from_slice(without_last(without_last(line, but_line_end), but_blanks));
        unfolded.push(b' ');
        done = end + 1 + first_blanks(behind);
        ends.go_on_from(done);
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    unfolded.extend_from_slice(text.get(done..).unwrap_or_default());
    Cow::Owned(unfolded)
}

/// Where line feeds stand that may fold a line, in blocks of a text that have a fold: most texts have none.
struct Folds<'a> {
    text: &'a [u8],
    /// Where the next block begins.
    next: usize,
    /// Words of the block that are still to be looked at.
    words: slice::Iter<'a, [u8; WORD]>,
    /// The bytes behind the last of them, in a text's last block, and zeros.
    tail: Option<[u8; WORD]>,
    /// The end of the word that is looked at.
    end: usize,
    /// The high bit of each byte of it that is a line feed, and was not shown.
    found: u64,
}

impl<'a> Folds<'a> {
    fn of(text: &'a [u8]) -> Self {
        Self { text, next: 0, words: [].iter(), tail: None, end: 0, found: 0 }
    }

    /// Whether a line feed with a blank behind it begins in this block. A loop that compilers make SIMD of.
    fn has_fold(block: &[u8; BLOCK], behind: &[u8; BLOCK]) -> bool {
        let mut found = 0;
        for (byte, next) in block.iter().zip(behind) {
            // Not a call that has a branch in it.
            found |= u8::from(*byte == b'\n') & (u8::from(*next == b' ') | u8::from(*next == b'\t'));
        }
        found != 0
    }

    /// The block that begins here, as far as there is one, may have a fold.
    fn is_worth(&self, at: usize) -> bool {
        let block = |at: usize| self.text.get(at..).and_then(|rest| rest.first_chunk());
        block(at).zip(block(at + 1)).is_none_or(|(block, behind)| Self::has_fold(block, behind))
    }

    /// Leaves out what stands before this place, if that is behind the block that is looked at.
    #[inline(always)]
    fn go_on_from(&mut self, to: usize) {
        if to > self.next {
            *self = Self { next: to, ..Self::of(self.text) };
        }
    }

    /// Begins with the next block that may have a fold; `None` behind the last one.
    fn turn(&mut self) -> Option<()> {
        while self.next < self.text.len() && !self.is_worth(self.next) {
            self.next += BLOCK;
        }
        let rest = self.text.get(self.next..).filter(|rest| !rest.is_empty())?;
        let (words, tail) = rest.get(..BLOCK).unwrap_or(rest).as_chunks();
        let mut padded = [0; WORD];
        padded.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
        (self.words, self.tail) = (words.iter(), Some(padded).filter(|_| !tail.is_empty()));
        self.end = self.next;
        self.next += BLOCK;
        Some(())
    }
}

impl Iterator for Folds<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            let word = match self.words.next() {
                Some(word) => *word,
                None => match self.tail.take() {
                    Some(tail) => tail,
                    None => {
                        self.turn()?;
                        continue;
                    }
                },
            };
            self.end += WORD;
            self.found = line_feeds(word);
        }
        let at = self.end - WORD + self.found.trailing_zeros() as usize / 8;
        self.found &= self.found - 1;
        Some(at)
    }
}

/// The line feeds of eight bytes, the high bit of each (Hacker's Delight, 6-1).
#[inline(always)]
fn line_feeds(word: [u8; WORD]) -> u64 {
    let word = u64::from_le_bytes(word);
    let zeros = word ^ spread(b'\n');
    !(((zeros & LOW) + LOW) | zeros | LOW)
}

/// Bytes that are looked at between two branches.
const BLOCK: usize = 64;
const WORD: usize = 8;

/// Whether quoted pairs (RFC 3261, 25.1) are read as the byte that they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotedPairs {
    /// They are.
    Undone,
    /// They stay as they stand.
    Kept,
}

/// What a text means that may be a quoted string (RFC 3261, 25.1): its contents with folds undone, and pairs as told. What
/// stands behind the closing quote is left out. If none closes it, a quote is a character like others.
pub(super) fn unquote(text: &[u8], pairs: QuotedPairs) -> Cow<'_, [u8]> {
    match (quoted(text), pairs) {
        (Some(contents), QuotedPairs::Undone) => unescape(unfold(contents)),
        (Some(contents), QuotedPairs::Kept) => unfold(contents),
        (None, _) => unfold(text),
    }
}

/// The contents of the quoted string that the text begins with.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let behind = text.strip_prefix(b"\"")?;
    behind.get(..closing_quote(behind)?)
}

/// Where the first quote stands that no backslash escapes.
pub(super) fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// A backslash stands for the byte behind it (RFC 3261, 25.1: `quoted-pair`).
pub fn unescape(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    unescape_first(text, usize::MAX)
}

/// The same for the first pairs of a text, so many at most. What follows stays as it is.
pub fn unescape_first(text: Cow<'_, [u8]>, pairs: usize) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', &text) else { return text };
    let mut plain = Vec::with_capacity(text.len());
    let (mut done, mut next, mut left) = (0, Some(first), pairs);
    while let Some(backslash) = next.filter(|_| left > 0) {
        // The byte behind it is text, whatever it is; a backslash at the end stands for itself.
        let Some(&byte) = text.get(backslash + 1) else { break };
        plain.extend_from_slice(text.get(done..backslash).unwrap_or_default());
        plain.push(byte);
        done = backslash + 2;
        next = memchr::memchr(b'\\', text.get(done..).unwrap_or_default()).map(|at| done + at);
        left -= 1;
    }
    plain.extend_from_slice(text.get(done..).unwrap_or_default());
    Cow::Owned(plain)
}

/// Any CRs at the end belong to the line end.
pub(super) fn without_line_end(mut line: &[u8]) -> &[u8] {
    while let Some(shorter) = line.strip_suffix(b"\r") {
        line = shorter;
    }
    line
}

/// A text without those of its last bytes of which `but` leaves nothing. A stranger's may be many, and so it goes by words.
#[inline(always)]
fn without_last(mut text: &[u8], but: fn(u64) -> u64) -> &[u8] {
    while let Some(word) = text.last_chunk() {
        let left = but(u64::from_le_bytes(*word));
        let kept = text.len() - left.leading_zeros() as usize / 8;
        text = text.get(..kept).unwrap_or_default();
        if left != 0 {
            return text;
        }
    }
    while let Some((last, shorter)) = text.split_last()
        && but(spread(*last)) == 0
    {
        text = shorter;
    }
    text
}

/// How many of the first bytes are blanks.
fn first_blanks(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks();
    let but = |word: &[u8; WORD]| but_blanks(u64::from_le_bytes(*word));
    match words.iter().position(|word| but(word) != 0) {
        Some(at) => at * WORD + words.get(at).map_or(0, |word| but(word).trailing_zeros() as usize / 8),
        None => words.len() * WORD + rest.iter().take_while(|byte| is_blank(**byte)).count(),
    }
}

/// Zeros in place of those bytes of a word that are blanks, and others in place of other bytes.
#[inline(always)]
fn but_blanks(word: u64) -> u64 {
    let spaces = word & spread(b' ');
    // In bytes with that bit a space, and a tab in the others.
    let tabs = (spaces ^ spread(b' ')) / u64::from(b' ') * u64::from(b'\t');
    word ^ spaces ^ tabs
}

/// The same for CRs. Any at the end belong to the line end.
#[inline(always)]
fn but_line_end(word: u64) -> u64 {
    word ^ spread(b'\r')
}

/// A word of one byte.
const fn spread(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD])
}

/// All bits of each byte of a word but the high one.
const LOW: u64 = spread(0x7f);

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_become_one_space() {
        for (text, unfolded) in [
            ("a b", "a b"),
            ("a  \t b", "a  \t b"),
            ("a\r\n b", "a b"),
            ("a\n b", "a b"),
            ("a\r\r\n\tb", "a b"),
            ("a \t\r\n \t b", "a b"),
            ("a\r\n b\r\n\tc", "a b c"),
            ("a\r\n \r\n b", "a  b"),
            ("\r\n a", " a"),
            ("a\r\n ", "a "),
            ("a\r\nb", "a\r\nb"),
            ("a\r\nb\r\n c", "a\r\nb c"),
            ("a\r b", "a\r b"),
            ("a\r\n", "a\r\n"),
            ("", ""),
        ] {
            assert_eq!(unfold(text.as_bytes()), unfolded.as_bytes(), "{text:?}");
        }
        assert!(matches!(unfold(b"not folded\r\n"), Cow::Borrowed(_)));
    }

    /// Line ends and white space are told from other bytes wherever they stand in a word.
    #[test]
    fn folds_of_any_width_become_one_space() {
        for byte in [b'a', 0, 0x0b, 0x0c, 0x21, 0x89, 0x8d, 0xa0, 0xff] {
            for before in 0..20 {
                for (ends, blanks) in
                    (0..20).flat_map(|ends| [0, 1, 2, 6, 7, 8, 9, 25].map(|blanks| (ends, blanks)))
                {
                    let blanks = b" \t\t ".iter().copied().cycle().take(blanks);
                    let mut text = vec![byte; before];
                    text.extend(blanks.clone());
                    text.extend(vec![b'\r'; ends]);
                    text.extend(b"\n ");
                    text.extend(blanks);
                    text.push(byte);
                    let unfolded = [&vec![byte; before][..], b" ", &[byte]].concat();
                    assert_eq!(unfold(&text), unfolded, "{text:?}");
                }
            }
        }
        assert_eq!(*unfold(b"a\r \r\n b"), b"a\r b"[..]);
        assert_eq!(*unfold(&[&b"\n"[..], &[b' '; 40]].concat()), b" "[..]);
    }

    #[test]
    fn folds_are_found_wherever_they_stand() {
        let odd = [0x0a, 0x0b, 0x8a, 0x0a, 0x0a, b' ', 0xff, 0x0a, 0x0a, 0x09, 0x0a];
        for before in 0..140 {
            for after in [0, 1, 7, 8, 63, 64, 65, 200] {
                let text = [&vec![b'\n'; before][..], &odd, &vec![b'x'; after]].concat();
                let fold =
                    |at: &usize| text[*at] == b'\n' && text.get(at + 1).is_some_and(|next| is_blank(*next));
                let expected: Vec<_> = (0..text.len()).filter(fold).collect();
                let found: Vec<_> = Folds::of(&text).collect();
                assert!(found.is_sorted() && found.iter().all(|at| text[*at] == b'\n'), "{before} {after}");
                assert_eq!(found.into_iter().filter(fold).collect::<Vec<_>>(), expected, "{before} {after}");
            }
        }
        assert_eq!(Folds::of(b"").count(), 0);
        assert_eq!(Folds::of(&[b'\n'; 128]).count(), 64);
    }

    #[test]
    fn quoted_strings() {
        for (text, meant) in [
            (r#""a b""#, "a b"),
            (r#""a\"b\\c\d""#, r#"a"b\cd"#),
            ("\"a\r\n b\"", "a b"),
            (r#""a" b"#, "a"),
            (r#""""#, ""),
            (r#""a"#, r#""a"#),
            (r#""a\""#, r#""a\""#),
            (r#"a\"b"#, r#"a\"b"#),
            (r#"a "b""#, r#"a "b""#),
            ("a\r\n b", "a b"),
            ("", ""),
        ] {
            assert_eq!(unquote(text.as_bytes(), QuotedPairs::Undone), meant.as_bytes(), "{text:?}");
        }
        let plain = unquote(b"\"nothing escaped\"", QuotedPairs::Undone);
        assert!(matches!(plain, Cow::Borrowed(b"nothing escaped")));
        let kept = unquote(br#""a\"b\\c" d"#, QuotedPairs::Kept);
        assert!(matches!(kept, Cow::Borrowed(br#"a\"b\\c"#)));
    }

    #[test]
    fn the_first_folds_and_pairs_are_undone() {
        for (text, folds, lines, unfolded) in [
            ("a\n b\n c", 1, 9, "a b\n c"),
            ("a\n b\n c", 9, 1, "a b\n c"),
            ("a\nb\n c", 9, 1, "a\nb\n c"),
            ("a\nb\n c", 1, 9, "a\nb c"),
            ("a\n b", 0, 9, "a\n b"),
        ] {
            assert_eq!(unfold_first(text.as_bytes(), folds, lines), unfolded.as_bytes(), "{text:?}");
        }
        for (text, pairs, plain) in [
            (r"\a\b\c", 2, r"ab\c"),
            (r"\\\", 1, r"\\"),
            (r"\\\", 2, r"\\"),
            (r"a\", 5, r"a\"),
            (r"\a", 0, r"\a"),
        ] {
            assert_eq!(unescape_first(text.as_bytes().into(), pairs), plain.as_bytes(), "{text:?}");
        }
    }
}
