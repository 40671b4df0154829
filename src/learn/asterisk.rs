//! SIP messages out of Asterisk's logs: `pjsip set logger on`, `sip set debug on`, the console or
//! /var/log/asterisk/full.
//!
//! Asterisk writes a message as it came, behind a line that says from or to whom:
//!
//! - `<--- Received SIP request (432 bytes) from UDP:192.0.2.7:5060 --->` and
//!   `<--- Transmitting SIP response (512 bytes) to UDP:192.0.2.7:5060 --->` (res/res_pjsip_logger.c),
//! - `<--- SIP read from UDP:192.0.2.7:5060 --->` and `<--- Transmitting (NAT) to 192.0.2.7:5060 --->`
//!   (channels/chan_sip.c), whose messages end where they end.
//!
//! Loggers put a prefix in front of the first line, or of each (main/logger.c; syslog and journald too). What a message
//! holds is a stranger's: where the length is known, nothing inside is ever taken for a line of the log.

use std::io::{self, BufRead, Read};
use std::net::{IpAddr, SocketAddr};

/// A message and whom it was exchanged with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The other end.
    pub peer: IpAddr,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub transport: &'static str,
    /// It came from the peer; else it went there.
    pub received: bool,
    /// The message, as much of it as the log has, up to `MAX_MESSAGE` bytes.
    pub bytes: Vec<u8>,
}

/// Whether a file that begins like this may be a log. A capture, of whatever format, has zeros in its header, but does
/// not begin with one; a log does that was cut while Asterisk had it open (logrotate's copytruncate).
pub fn looks_like(start: &[u8]) -> bool {
    let zeros = start.iter().take_while(|byte| **byte == 0).count();
    let start = start.get(zeros..).unwrap_or_default();
    !start.is_empty() && memchr::memchr(0, start).is_none() && !start.starts_with(GZIP)
}

/// The messages of a log, in their order.
pub fn messages<R: BufRead>(log: R) -> Messages<R> {
    Messages { log, line: Vec::new(), again: false }
}

/// Iterator over a log's messages. After an error it ends.
#[derive(Debug)]
pub struct Messages<R> {
    log: R,
    line: Vec<u8>,
    /// `line` is still to be looked at.
    again: bool,
}

impl<R: BufRead> Iterator for Messages<R> {
    type Item = io::Result<Logged>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
            let Some(heading) = Heading::parse(&self.line) else { continue };
            return match self.message(&heading) {
                Ok(bytes) if bytes.is_empty() => continue,
                Ok(bytes) => {
                    let Heading { peer, transport, received, .. } = heading;
                    Some(Ok(Logged { peer, transport, received, bytes }))
                }
                Err(error) => Some(Err(error)),
            };
        }
    }
}

impl<R: BufRead> Messages<R> {
    /// Goes to the next line; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.again) {
            return Ok(true);
        }
        self.line.clear();
        // A line without an end may be a whole disk of something else; what is over goes for lines of its own.
        let mut part = self.log.by_ref().take(MAX_MESSAGE as u64);
        Ok(part.read_until(b'\n', &mut self.line)? > 0)
    }

    /// The message behind a heading.
    fn message(&mut self, heading: &Heading) -> io::Result<Vec<u8>> {
        let most = heading.length.unwrap_or(MAX_MESSAGE).min(MAX_MESSAGE);
        let (mut bytes, mut left) = (Vec::new(), most);
        // Whether each line has a prefix of its own; the first one tells.
        let mut prefixed = None;
        while left > 0 && self.advance()? {
            let prefix = prefix(&self.line);
            let each = *prefixed.get_or_insert(prefix > 0);
            let other = each != (prefix > 0) && (each || heading.length.is_none());
            if other || heading.ends(&bytes, &self.line) {
                self.again = true;
                break;
            }
            let line = self.line.get(if each { prefix } else { 0 }..).unwrap_or_default();
            bytes.extend_from_slice(line.get(..left).unwrap_or(line));
            // Who prefixes each line has cut off its CR, which is counted in the length.
            let cut = usize::from(each && line.ends_with(b"\n") && !line.ends_with(b"\r\n"));
            left = left.saturating_sub(line.len() + cut);
        }
        Ok(bytes)
    }
}

/// The line in front of a message.
#[derive(Debug)]
struct Heading {
    peer: IpAddr,
    transport: &'static str,
    received: bool,
    /// The message's bytes, where the log says it.
    length: Option<usize>,
}

impl Heading {
    fn parse(line: &[u8]) -> Option<Self> {
        // Message lines have bytes of any kind, headings have not.
        let line = std::str::from_utf8(line).ok()?;
        let (_, behind) = line.split_once("<--- ").or_else(|| line.split_once("Reliably "))?;
        let (received, behind) =
            match behind.strip_prefix("Received SIP ").or(behind.strip_prefix("SIP read ")) {
                Some(behind) => (true, behind),
                None => (false, behind.trim_start_matches("Reliably ").strip_prefix("Transmitting ")?),
            };
        let length = behind
            .split_once(" bytes)")
            .and_then(|(before, _)| before.rsplit('(').next())
            .and_then(|number| number.parse().ok());
        let (_, peer) = behind.split_once(if received { "from " } else { " to " })?;
        // It ends the line: notices of refused requests quote a stranger's display name, and go on behind it.
        let peer = peer.trim_end();
        let peer = peer.strip_suffix("--->").or(peer.strip_suffix(':'))?.trim();
        let named = TRANSPORTS.iter().find_map(|transport| {
            let (name, address) = peer.split_at_checked(transport.len())?;
            let address = address.strip_prefix(':')?;
            // Asterisk 1.6 has it as in UDP://192.0.2.7:5060.
            let address = address.strip_prefix("//").unwrap_or(address);
            name.eq_ignore_ascii_case(transport).then_some((*transport, address))
        });
        // Before it knew others, it did not say UDP.
        let (transport, address) = named.unwrap_or(("udp", peer));
        let peer = address.parse::<SocketAddr>().ok()?.ip().to_canonical();
        Some(Self { peer, transport, received, length })
    }

    /// Whether a line stands behind the message, of which `before` has been read.
    fn ends(&self, before: &[u8], line: &[u8]) -> bool {
        let end_mark = || {
            let line = line.get(prefix(line)..).unwrap_or_default().trim_ascii();
            line == b"---" || line.starts_with(b"<---") && line.ends_with(b"--->")
        };
        self.length.is_none() && !before.is_empty() && end_mark()
    }
}

/// How long the part of a line is that a logger has put in front of it; 0 where there is none.
///
/// `[2026-11-22 14:00:00] VERBOSE[811] res_pjsip_logger.c: `, in front of it perhaps syslog's
/// `Nov 22 14:00:00 pbx asterisk[811]: `. No header field has a name like these.
fn prefix(line: &[u8]) -> usize {
    let syslog = memchr::memmem::find(line.get(..MAX_PREFIX).unwrap_or(line), b" asterisk[")
        .and_then(|at| Some(at + memchr::memmem::find(line.get(at..)?, b"]: ")? + 3))
        .filter(|_| line.first().is_some_and(u8::is_ascii_alphanumeric))
        .unwrap_or(0);
    syslog + line.get(syslog..).map_or(0, own_prefix)
}

/// That of Asterisk itself: a date in brackets, then a level with a number in brackets, then a file's name.
fn own_prefix(line: &[u8]) -> usize {
    let head = line.get(..MAX_PREFIX).unwrap_or(line);
    let length = || {
        let date = head.strip_prefix(b"[")?.iter().position(|&byte| byte == b']')? + 2;
        let level = head.get(date..)?.strip_prefix(b" ")?;
        let name = level.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
        (name > 0 && level.get(name) == Some(&b'[')).then_some(())?;
        let colon = memchr::memmem::find(level, b":")?;
        let digits = memchr::memchr(b']', level).filter(|close| *close < colon);
        digits?;
        // `file.c: ` or `file.c:12 function: `: up to the last colon that a blank follows, before the text.
        let behind = level.get(colon + 1..)?;
        let function = match behind.first()? {
            b' ' => 1,
            _ => memchr::memmem::find(behind, b": ")? + 2,
        };
        Some(date + 1 + colon + 1 + function)
    };
    length().unwrap_or(0)
}

/// Longer than any SIP message over UDP, and than any header block that counts.
const MAX_MESSAGE: usize = 64 * 1024;

/// Loggers' prefixes are shorter.
const MAX_PREFIX: usize = 200;

/// What Asterisk calls the ways that SIP takes.
const TRANSPORTS: [&str; 5] = ["udp", "tcp", "tls", "wss", "ws"];

const GZIP: &[u8] = b"\x1f\x8b";

#[cfg(test)]
mod tests;
