//! How a header field's text is written down: folded over lines, quoted, with escapes.

use std::borrow::Cow;

use memchr::memmem::Finder;

/// A text without its line folds (RFC 3261, 7.3.1): each of them, with the white space around it, is one space.
/// Other white space stays as it is, and so do line ends that fold nothing.
pub fn unfold(text: &[u8]) -> Cow<'_, [u8]> {
    FoldFinder::new().unfold_first(text, usize::MAX)
}

/// A search for line folds: a line feed with a space or a tab behind it.
#[derive(Debug)]
pub struct FoldFinder {
    spaces: Finder<'static>,
    tabs: Finder<'static>,
}

impl FoldFinder {
    /// Prepares the search.
    pub fn new() -> Self {
        Self { spaces: Finder::new(b"\n "), tabs: Finder::new(b"\n\t") }
    }

    /// [`unfold`] for the first folds of a text, so many at most. The rest of the text stays as it is.
    ///
    /// The cost is bounded by the text's length and the number of folds: a line feed that folds nothing costs nothing.
    pub fn unfold_first<'a>(&self, text: &'a [u8], most: usize) -> Cow<'a, [u8]> {
        let find = |finder: &Finder<'_>, from: usize| {
            finder.find(text.get(from..).unwrap_or_default()).map_or(usize::MAX, |at| from + at)
        };
        let (mut space, mut tab) = (find(&self.spaces, 0), find(&self.tabs, 0));
        if space.min(tab) == usize::MAX {
            return Cow::Borrowed(text);
        }
        let mut unfolded = Vec::with_capacity(text.len());
        let mut done = 0;
        for _ in 0..most {
            let end = space.min(tab);
            if end == usize::MAX {
                break;
            }
            let line = text.get(done..end).unwrap_or_default();
            let line = without_last(without_line_ends(line), but_blanks, all_blanks);
            unfolded.extend_from_slice(line);
            unfolded.push(b' ');
            done = text.len() - without_first_blanks(text.get(end + 1..).unwrap_or_default()).len();
            if space < done {
                space = find(&self.spaces, done);
            }
            if tab < done {
                tab = find(&self.tabs, done);
            }
        }
        unfolded.extend_from_slice(text.get(done..).unwrap_or_default());
        Cow::Owned(unfolded)
    }
}

impl Default for FoldFinder {
    fn default() -> Self {
        Self::new()
    }
}

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

/// A text without its last bytes, as far as `but` leaves nothing of a word of them and `all` holds for a part. A stranger's
/// may be many.
#[inline(always)]
fn without_last(mut text: &[u8], but: fn(u64) -> u64, all: fn(&[u8; PART]) -> bool) -> &[u8] {
    while let Some(word) = text.last_chunk() {
        let left = but(u64::from_le_bytes(*word));
        let kept = text.len() - left.leading_zeros() as usize / 8;
        text = text.get(..kept).unwrap_or_default();
        if left != 0 {
            return text;
        }
        while let Some((shorter, part)) = text.split_last_chunk()
            && all(part)
        {
            text = shorter;
        }
    }
    while let Some((last, shorter)) = text.split_last()
        && but(spread(*last)) == 0
    {
        text = shorter;
    }
    text
}

/// A text without the CRs at its end: one as a rule, and a stranger's many.
#[inline(always)]
fn without_line_ends(text: &[u8]) -> &[u8] {
    let shorter = text.strip_suffix(b"\r").unwrap_or(text);
    if shorter.last() == Some(&b'\r') { without_last(shorter, but_line_end, all_line_ends) } else { shorter }
}

/// A text without the blanks that it begins with.
#[inline(always)]
fn without_first_blanks(mut text: &[u8]) -> &[u8] {
    while let Some(word) = text.first_chunk() {
        let left = but_blanks(u64::from_le_bytes(*word));
        let gone = left.trailing_zeros() as usize / 8;
        text = text.get(gone..).unwrap_or_default();
        if left != 0 {
            return text;
        }
        while let Some((part, shorter)) = text.split_first_chunk()
            && all_blanks(part)
        {
            text = shorter;
        }
    }
    while let Some((first, shorter)) = text.split_first()
        && is_blank(*first)
    {
        text = shorter;
    }
    text
}

/// Whether all bytes are one of two. A loop that compilers make SIMD of.
#[inline(always)]
fn all(part: &[u8; PART], one: u8, other: u8) -> bool {
    part.iter().fold(true, |all, byte| all & ((*byte == one) | (*byte == other)))
}

fn all_blanks(part: &[u8; PART]) -> bool {
    all(part, b' ', b'\t')
}

fn all_line_ends(part: &[u8; PART]) -> bool {
    all(part, b'\r', b'\r')
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

/// Bytes that are compared at once.
const PART: usize = 32;

/// Bytes of a word.
const WORD: usize = 8;

/// A word of one byte.
const fn spread(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD])
}

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

    /// Against bytes taken one by one.
    #[test]
    fn folds_are_found_wherever_they_stand() {
        let odd = [0x0a, 0x0b, 0x8a, 0x0a, 0x0a, b' ', 0xff, 0x0a, 0x0a, 0x09, 0x0a];
        for before in 0..140 {
            for after in [0, 1, 7, 8, 63, 64, 65, 200] {
                let text = [&vec![b'\n'; before][..], &odd, &vec![b'x'; after]].concat();
                let unfolded =
                    [&vec![b'\n'; before][..], &odd[..4], b" \xff\n \n", &vec![b'x'; after]].concat();
                assert_eq!(unfold(&text), unfolded, "{before} {after}");
            }
        }
        assert!(matches!(unfold(&[b'\n'; 128]), Cow::Borrowed(_)));
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
        for (text, folds, unfolded) in [
            ("a\n b\n c", 1, "a b\n c"),
            ("a\n b\n\tc\n d", 2, "a b c\n d"),
            ("a\n\tb\n c\n\td", 3, "a b c d"),
            ("a\nb\n c", 1, "a\nb c"),
            ("a\n b", 0, "a\n b"),
        ] {
            assert_eq!(
                FoldFinder::new().unfold_first(text.as_bytes(), folds),
                unfolded.as_bytes(),
                "{text:?}"
            );
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
