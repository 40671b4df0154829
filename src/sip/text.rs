//! How a header field's text is written down: folded over lines, quoted, with escapes.

use std::borrow::Cow;

/// A text without its line folds (RFC 3261, 7.3.1): each of them, with the white space around it, is one space.
/// Other white space stays as it is, and so do line ends that fold nothing.
pub fn unfold(text: &[u8]) -> Cow<'_, [u8]> {
    let mut unfolded = Vec::new();
    let mut done = 0;
    for end in memchr::memchr_iter(b'\n', text) {
        let behind = text.get(end + 1..).unwrap_or_default();
        let blanks = behind.iter().take_while(|byte| is_blank(**byte)).count();
        if blanks > 0 {
            let line = text.get(done..end).unwrap_or_default();
            unfolded.extend_from_slice(without_blanks(without_line_end(line)));
            unfolded.push(b' ');
            done = end + 1 + blanks;
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    unfolded.extend_from_slice(text.get(done..).unwrap_or_default());
    Cow::Owned(unfolded)
}

/// What a text means that may be a quoted string (RFC 3261, 25.1): its contents with the escapes and folds undone.
/// What stands behind the closing quote is left out. Where none closes it, a quote is a character like others.
pub(super) fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    match quoted(text) {
        Some(contents) => unescape(unfold(contents)),
        None => unfold(text),
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
    if memchr::memchr(b'\\', &text).is_none() {
        return text;
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte });
    }
    Cow::Owned(plain)
}

/// Any CRs at the end belong to the line end.
pub(super) fn without_line_end(mut line: &[u8]) -> &[u8] {
    while let Some(shorter) = line.strip_suffix(b"\r") {
        line = shorter;
    }
    line
}

fn without_blanks(mut line: &[u8]) -> &[u8] {
    while let [shorter @ .., b' ' | b'\t'] = line {
        line = shorter;
    }
    line
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
            assert_eq!(unquote(text.as_bytes()), meant.as_bytes(), "{text:?}");
        }
        assert!(matches!(unquote(b"\"nothing escaped\""), Cow::Borrowed(b"nothing escaped")));
    }
}
