//! Asterisk's logs, as far as commands read them beside captures.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::captures::{CaptureOutcome, complain, open, unreadable};
use crate::learn::asterisk::{self, Logged, Obstacle};
use crate::sip::Message;

/// A file that is a log or a capture, opened.
pub(super) enum Input {
    /// A log of Asterisk's.
    Log(Box<dyn BufRead>),
    /// A capture, or neither.
    Other(Box<dyn Read>),
}

/// Opens a file, `-` for standard input, and looks which of both it is. An error is said on stderr.
pub(super) fn either(path: &Path) -> Result<Input, CaptureOutcome> {
    let file = open(path).map_err(|error| unreadable(path, error))?;
    let mut input = BufReader::with_capacity(BUFFER, file);
    let log = asterisk::is_log(input.fill_buf().map_err(|error| unreadable(path, error))?);
    Ok(if log { Input::Log(Box::new(input)) } else { Input::Other(Box::new(input)) })
}

/// Shows each SIP message of a log, with its number from 1 on. If none can be read, the reason is said on stderr.
pub(super) fn each_message(
    path: &Path,
    log: impl BufRead,
    mut visit: impl FnMut(u64, &Logged, &Message<'_>),
) -> CaptureOutcome {
    let (mut after, mut read) = (0, 0);
    let mut messages = asterisk::messages(log);
    let mut broken = None;
    for logged in messages.by_ref() {
        let logged = match logged {
            Ok(logged) => logged,
            Err(source) => {
                broken = Some(LogError::Io { after, source });
                break;
            }
        };
        after += 1;
        let Some(message) = Message::parse(&logged.bytes) else { continue };
        read += 1;
        visit(after, &logged, &message);
    }
    let problem = broken.or(match messages.obstacle() {
        _ if read > 0 => None,
        Some(Obstacle::Json) => Some(LogError::Json),
        Some(Obstacle::Blob) => Some(LogError::Blob),
        None if after > 0 => Some(LogError::Unread { after }),
        None => Some(LogError::NoMessages),
    });
    problem.iter().for_each(|problem| complain(path, problem));
    CaptureOutcome { packets: 0, failed: problem.is_some() }
}

/// Why a log can't be read.
#[derive(Debug, thiserror::Error)]
enum LogError {
    #[error("cannot read on after message {after}: {source}")]
    Io { after: u64, source: io::Error },
    #[error(
        "neither a capture nor an Asterisk log with SIP messages in it: let Asterisk write them with 'pjsip set \
         logger on' (chan_sip: 'sip set debug on'), or record with 'tcpdump -w capture.pcap port 5060'"
    )]
    NoMessages,
    #[error(
        "its lines are JSON objects, which are not read: take the text, with 'docker logs CONTAINER' or \
         'journalctl -a -o cat -u asterisk'"
    )]
    Json,
    #[error(
        "the journal has left the messages out ('blob data'), since their lines end with a CR: take them with \
         'journalctl -a -o cat -u asterisk'"
    )]
    Blob,
    #[error(
        "{after} SIP messages are announced in this log, and no line behind them reads as SIP: its lines have a prefix \
         that is not known; take the log without it, as in 'docker compose logs --no-log-prefix' or 'journalctl -a -o cat'"
    )]
    Unread { after: u64 },
}

/// Enough of a log to tell it by.
const BUFFER: usize = 64 * 1024;
