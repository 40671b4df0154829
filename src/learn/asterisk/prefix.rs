//! The part of a line that loggers put in front of Asterisk's own text.
//!
//! Known are Asterisk's files and its syslog form (main/logger.c), syslog and the journal, `docker logs --timestamps`,
//! `docker compose logs`, `kubectl logs --prefix`, and the log files of containerd and CRI-O. They can stand behind one
//! another.

/// A prefix of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix<'a> {
    /// Its bytes; 0 without one.
    pub(super) len: usize,
    /// Bytes of it that stand in front of those of Asterisk itself.
    pub(super) outer: usize,
    /// Name of the program or container that the line is of; empty if the prefix does not say it.
    pub(super) owner: &'a [u8],
}

/// Reads a line's prefix. No header field has a name like one.
pub(super) fn of(line: &[u8]) -> Prefix<'_> {
    let head = line.get(..MAX_PREFIX).unwrap_or(line);
    let mut found = Prefix::default();
    for _ in 0..MAX_PIECES {
        let rest = head.get(found.len..).unwrap_or_default();
        let named = container(rest).or_else(|| pod(rest)).or_else(|| syslog(rest));
        if let Some((len, owner)) = named {
            found = Prefix { len: found.len + len, outer: found.len + len, owner };
        } else if let Some(len) = stamp(rest) {
            found = Prefix { len: found.len + len, outer: found.len + len, ..found };
        } else {
            found.len += file(rest).or_else(|| level(rest)).unwrap_or(0);
            break;
        }
    }
    found
}

/// `asterisk-1  | `, as docker compose writes it.
fn container(text: &[u8]) -> Option<(usize, &[u8])> {
    let name = leading(text, |byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    let blanks = leading(text.get(name..)?, |byte| byte == b' ');
    let behind = text.get(name + blanks..)?.strip_prefix(b"|")?;
    (name > 0).then_some(())?;
    Some((name + blanks + 1 + gap(behind)?, text.get(..name)?))
}

/// `[pod/pbx-0/asterisk] `, as kubectl writes it.
fn pod(text: &[u8]) -> Option<(usize, &[u8])> {
    let close = memchr::memchr(b']', text.strip_prefix(b"[").filter(|text| text.starts_with(b"pod/"))?)? + 2;
    Some((close + gap(text.get(close..)?)?, text.get(..close)?))
}

/// `Nov 22 14:00:00 pbx asterisk[811]: `, or the same with a date as RFC 3339 has it.
fn syslog(text: &[u8]) -> Option<(usize, &[u8])> {
    let date = bsd_date(text).or_else(|| rfc3339(text))?;
    let host = leading(text.get(date..)?, |byte| byte.is_ascii_graphic());
    let host_end = date + host;
    (host > 0 && text.get(host_end - 1) != Some(&b':')).then_some(())?;
    let tag = text.get(host_end..)?.strip_prefix(b" ")?;
    let name = leading(tag, |byte| byte.is_ascii_alphanumeric() || b"_./@-".contains(&byte));
    let number =
        tag.get(name..)?.strip_prefix(b"[").map(|inside| leading(inside, |byte| byte.is_ascii_digit()));
    let number = match number {
        Some(digits) if tag.get(name + 1 + digits) == Some(&b']') => digits + 2,
        Some(_) => return None,
        None => 0,
    };
    (name > 0 && tag.get(name + number) == Some(&b':')).then_some(())?;
    let end = name + number + 1;
    Some((host_end + 1 + end + gap(tag.get(end..)?)?, tag.get(..name + number)?))
}

/// A date with a blank behind it, and perhaps `stdout F ` behind that, as container runtimes write it.
fn stamp(text: &[u8]) -> Option<usize> {
    let date = rfc3339(text)?;
    let behind = text.get(date..)?;
    let streams: [&[u8]; 2] = [b"stdout F ", b"stderr F "];
    Some(date + streams.iter().find(|name| behind.starts_with(name)).map_or(0, |name| name.len()))
}

/// `2026-11-22T14:00:00.123+01:00 `.
fn rfc3339(text: &[u8]) -> Option<usize> {
    let length = leading(text, |byte| byte.is_ascii_alphanumeric() || b"-:.+".contains(&byte));
    let stamp = text.get(..length)?;
    let shape = stamp.get(..19)?.iter().zip(b"dddd-dd-ddTdd:dd:dd");
    let fits = shape.into_iter().all(|(byte, wanted)| match wanted {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    });
    let zone = stamp.last().is_some_and(|last| *last == b'Z' || last.is_ascii_digit());
    (fits && zone).then_some(length + gap(text.get(length..)?)?)
}

/// `Nov 22 14:00:00 `, perhaps with a fraction.
fn bsd_date(text: &[u8]) -> Option<usize> {
    let fits = text.get(..15)?.iter().zip(b"aaa bd dd:dd:dd").all(|(byte, wanted)| match wanted {
        b'a' => byte.is_ascii_alphabetic(),
        b'b' => byte.is_ascii_digit() || *byte == b' ',
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    });
    let fraction = leading(text.get(15..)?, |byte| byte.is_ascii_digit() || byte == b'.');
    (fits && text.get(15 + fraction) == Some(&b' ')).then_some(16 + fraction)
}

/// Asterisk's own in a file: a date in brackets, then a level with a number in brackets, then a file's name.
/// `[2026-11-22 14:00:00] VERBOSE[811] res_pjsip_logger.c: `
fn file(text: &[u8]) -> Option<usize> {
    let date = text.strip_prefix(b"[")?.iter().position(|&byte| byte == b']')? + 2;
    let level = text.get(date..)?.strip_prefix(b" ")?;
    let name = leading(level, |byte| byte.is_ascii_uppercase());
    (name > 0 && level.get(name) == Some(&b'[')).then_some(())?;
    let colon = memchr::memchr(b':', level)?;
    memchr::memchr(b']', level).filter(|close| *close < colon)?;
    // `file.c: ` or `file.c:12 function: `: up to the last colon that a blank follows, before the text.
    let behind = level.get(colon + 1..)?;
    let function = match behind.first()? {
        b' ' => 1,
        _ => memchr::memmem::find(behind, b": ")? + 2,
    };
    Some(date + 1 + colon + 1 + function)
}

/// Asterisk's own in syslog: `VERBOSE[811]: res_pjsip_logger.c:229 in pjsip_log_tx: `, or without the last part.
fn level(text: &[u8]) -> Option<usize> {
    let name = leading(text, |byte| byte.is_ascii_uppercase());
    let brackets = leading(text.get(name..)?, |byte| byte.is_ascii_alphanumeric() || b"[]-".contains(&byte));
    let digits = text.get(name..)?.strip_prefix(b"[")?.first()?;
    (name > 0 && digits.is_ascii_digit()).then_some(())?;
    let start = name + brackets + 2;
    let behind = text.get(name + brackets..)?.strip_prefix(b": ")?;
    let source = leading(behind, |byte| byte.is_ascii_alphanumeric() || b"_./".contains(&byte));
    let ends_in_c = behind.get(..source)?.ends_with(b".c") && behind.get(source) == Some(&b':');
    Some(start + if ends_in_c { memchr::memmem::find(behind, b": ")? + 2 } else { 0 })
}

/// A blank, which an editor may have cut off at the end of a line.
fn gap(behind: &[u8]) -> Option<usize> {
    match behind.first() {
        Some(b' ') => Some(1),
        None | Some(b'\r' | b'\n') => Some(0),
        Some(_) => None,
    }
}

fn leading(text: &[u8], fits: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| fits(**byte)).count()
}

/// Loggers' prefixes are shorter, in bytes.
const MAX_PREFIX: usize = 240;

/// Prefixes behind one another: of a cluster, a container, a clock, and Asterisk.
const MAX_PIECES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (line, rest, owner) in [
            ("[2026-11-22 14:00:00] VERBOSE[811] res_pjsip_logger.c: REGISTER", "REGISTER", ""),
            ("[2026-11-22 14:00:00.123] VERBOSE[811][C-00000001] chan_sip.c: REGISTER", "REGISTER", ""),
            ("[Nov 22 14:00:00] NOTICE[811] chan_sip.c:123 handle_request: REGISTER: a", "REGISTER: a", ""),
            ("[Nov 22 14:00:00] DEBUG[811]: REGISTER", "REGISTER", ""),
            ("Nov 22 14:00:00 pbx asterisk[811]: REGISTER", "REGISTER", "asterisk[811]"),
            ("Nov  2 14:00:00 pbx pbx-asterisk[811]: ", "", "pbx-asterisk[811]"),
            ("Nov  2 14:00:00 pbx asterisk:\r\n", "\r\n", "asterisk"),
            (
                "2026-11-22T14:00:00+00:00 pbx asterisk[811]: [Nov 22 14:00:00] VERBOSE[8] a.c: REGISTER",
                "REGISTER",
                "asterisk[811]",
            ),
            (
                "Nov 22 14:00:00 pbx asterisk[811]: VERBOSE[8][C-1]: res_pjsip_logger.c:229 in pjsip_log_tx: <--- T",
                "<--- T",
                "asterisk[811]",
            ),
            ("asterisk-1  | Via: a", "Via: a", "asterisk-1"),
            ("asterisk-1  |", "", "asterisk-1"),
            ("asterisk-1  | 2026-11-22T14:00:00.1Z Via: a", "Via: a", "asterisk-1"),
            ("2026-11-22T14:00:00.123456789Z Via: SIP/2.0/UDP x: y", "Via: SIP/2.0/UDP x: y", ""),
            ("2026-11-22T14:00:00.1+01:00 stdout F To: a", "To: a", ""),
            ("[pod/pbx-0/asterisk] From: a", "From: a", "[pod/pbx-0/asterisk]"),
            ("REGISTER sip:a SIP/2.0", "REGISTER sip:a SIP/2.0", ""),
            ("From: \"a | b\" <sip:a@b>", "From: \"a | b\" <sip:a@b>", ""),
            ("a=x | y", "a=x | y", ""),
            ("[a] b: c", "[a] b: c", ""),
            ("2026-11-22 14:00:00 a", "2026-11-22 14:00:00 a", ""),
            ("", "", ""),
        ] {
            let found = of(line.as_bytes());
            assert_eq!((&line[found.len..], found.owner), (rest, owner.as_bytes()), "{line}");
        }
    }
}
