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
//! Loggers put a prefix in front of the first line, or of each (`prefix`), rsyslog writes a message in one line, and
//! terminals take the CRs away. Bytes of a message are a stranger's: if the length is known, nothing inside is ever
//! taken for a line of the log.

mod prefix;

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
pub fn is_log(start: &[u8]) -> bool {
    let zeros = start.iter().take_while(|byte| **byte == 0).count();
    let start = start.get(zeros..).unwrap_or_default();
    !start.is_empty() && memchr::memchr(0, start).is_none() && !start.starts_with(GZIP)
}

/// The messages of a log, in their order.
pub fn messages<R: BufRead>(log: R) -> LoggedMessages<R> {
    LoggedMessages { log, line: Vec::new(), again: false, obstacle: None }
}

/// Iterator over a log's messages. After an error it ends.
#[derive(Debug)]
pub struct LoggedMessages<R> {
    log: R,
    line: Vec<u8>,
    /// `line` is still to be looked at.
    again: bool,
    obstacle: Option<Obstacle>,
}

/// A form of log in which messages stand and can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Each line is a JSON object, as in the files of docker and in `journalctl -o json`.
    Json,
    /// The journal leaves out lines that have a CR in them.
    Blob,
}

impl<R: BufRead> Iterator for LoggedMessages<R> {
    type Item = io::Result<Logged>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
            let (heading, inline) = match escaped(&self.line) {
                Some((heading, body)) => (Heading::parse(heading), Some(body)),
                None => (Heading::parse(&self.line), None),
            };
            let Some(heading) = heading else {
                self.obstacle = self.obstacle.or_else(|| Obstacle::of(&self.line));
                continue;
            };
            let message = match inline {
                Some(body) => Ok(heading.cut(body)),
                None => self.message(&heading),
            };
            return match message {
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

impl<R: BufRead> LoggedMessages<R> {
    /// The reason for which messages could not be read so far, if there is one.
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle
    }

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
        let most = heading.most();
        let (mut bytes, mut left) = (Vec::new(), most);
        let mut form: Option<Form> = None;
        let mut spare = MAX_LOST;
        while left > 0 && self.advance()? {
            let (prefix, foreign) = heading.prefix_of(&self.line);
            if foreign && form.is_none_or(|form| form.prefixed) {
                // Lines of several programs or containers in one log.
                continue;
            }
            let no_cr = self.line.ends_with(b"\n") && !self.line.ends_with(b"\r\n");
            let Form { prefixed, lost } = *form.get_or_insert(Form { prefixed: prefix > 0, lost: no_cr });
            let other = prefixed != (prefix > 0) && (prefixed || heading.length.is_none());
            if other || heading.ends(&bytes, &self.line) {
                self.again = true;
                break;
            }
            let line = self.line.get(if prefixed { prefix } else { 0 }..).unwrap_or_default();
            bytes.extend_from_slice(line.get(..left).unwrap_or(line));
            // A CR that was lost on the way to the log is counted in the length.
            let cut = usize::from(lost && no_cr && spare > 0);
            spare -= cut;
            left = left.saturating_sub(line.len() + cut);
        }
        Ok(bytes)
    }
}

/// The form of a message's lines, as the first one tells it.
#[derive(Clone, Copy, Debug)]
struct Form {
    /// Each has a prefix of its own.
    prefixed: bool,
    /// Their CRs were lost.
    lost: bool,
}

impl Obstacle {
    fn of(line: &[u8]) -> Option<Self> {
        let holds = |text: &[u8]| memchr::memmem::find(line, text).is_some();
        if line.starts_with(b"{") && (holds(b"<--- ") || holds(b"\\u003c--- ")) {
            return Some(Self::Json);
        }
        line.trim_ascii_end().ends_with(b"B blob data]").then_some(Self::Blob)
    }
}

/// The heading and the message in a line of rsyslog's, which writes control characters as in `#015#012`.
///
/// The heading has to begin right behind the prefix: notices quote a stranger's display name, which may look like one.
fn escaped(line: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let end = memchr::memmem::find(line, b"--->#012")? + 4;
    let heading = line.get(..end)?;
    heading.get(prefix::of(line).len..)?.starts_with(b"<--- ").then_some(())?;
    let mut rest = line.get(end + 4..)?;
    let mut body = Vec::with_capacity(rest.len());
    while let Some((&first, behind)) = rest.split_first() {
        let octal = behind
            .get(..3)
            .filter(|digits| first == b'#' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code.filter(u8::is_ascii_control) {
            Some(code) => {
                body.push(code);
                rest = behind.get(3..)?;
            }
            None => {
                body.push(first);
                rest = behind;
            }
        }
    }
    Some((heading, body))
}

/// The line in front of a message.
#[derive(Debug)]
struct Heading {
    peer: IpAddr,
    transport: &'static str,
    received: bool,
    /// The message's bytes, if the log says it.
    length: Option<usize>,
    /// Bytes in front of it.
    before: Vec<u8>,
}

impl Heading {
    fn parse(line: &[u8]) -> Option<Self> {
        // Message lines have bytes of any kind, headings have not.
        let line = std::str::from_utf8(line).ok()?;
        let (before, behind) = line.split_once("<--- ").or_else(|| line.split_once("Reliably "))?;
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
        Some(Self { peer, transport, received, length, before: before.as_bytes().to_vec() })
    }

    /// The most bytes that its message has.
    fn most(&self) -> usize {
        self.length.unwrap_or(MAX_MESSAGE).min(MAX_MESSAGE)
    }

    /// A message of which all bytes are known, and perhaps the log's line end.
    fn cut(&self, mut message: Vec<u8>) -> Vec<u8> {
        message.truncate(self.most());
        message
    }

    /// The length of a line's prefix in bytes, and whether the line is another program's.
    fn prefix_of(&self, line: &[u8]) -> (usize, bool) {
        let (own, found) = (prefix::of(&self.before), prefix::of(line));
        if found.len > 0 {
            return (found.len, !own.owner.is_empty() && !found.owner.is_empty() && own.owner != found.owner);
        }
        let indent = own.outer;
        if indent >= LEAST_INDENT && line.iter().take(indent).filter(|byte| **byte == b' ').count() == indent
        {
            return (indent, false);
        }
        // A logger of another kind, whose prefix is the same for each line.
        let same = !self.before.is_empty() && line.starts_with(&self.before);
        (if same { self.before.len() } else { 0 }, false)
    }

    /// Whether a line stands behind the message, of which `before` has been read.
    fn ends(&self, before: &[u8], line: &[u8]) -> bool {
        let end_mark = || {
            let line = line.get(self.prefix_of(line).0..).unwrap_or_default().trim_ascii();
            line == b"---" || line.starts_with(b"<---") && line.ends_with(b"--->")
        };
        self.length.is_none() && !before.is_empty() && end_mark()
    }
}

/// Longer than any SIP message over UDP, and than any header block that counts.
const MAX_MESSAGE: usize = 64 * 1024;

/// CRs that a message may have lost: more than headers of a REGISTER or INVITE have lines. Bytes that are counted for
/// lost and were not there are the next bytes of the message, taken for the log: too few for a heading and an answer, so
/// that a stranger who sends bare LFs can't write either into a log.
const MAX_LOST: usize = 60;

/// Spaces with which the journal indents the second line of an entry are as many as its prefix has bytes.
const LEAST_INDENT: usize = 16;

/// What Asterisk calls the ways that SIP takes.
const TRANSPORTS: [&str; 5] = ["udp", "tcp", "tls", "wss", "ws"];

const GZIP: &[u8] = b"\x1f\x8b";

#[cfg(test)]
mod tests;
