//! What commands that read captures have in common.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::cli::Cli;
use crate::config::{Config, ConfigError, DEFAULT_PATH, Flags};
use crate::replay::Intake;
use crate::replay::capture::{Capture, CaptureError};
#[cfg(feature = "bench")]
use crate::replay::gaps::Gaps;
use crate::replay::link::Skip;
use crate::time::Time;

/// An IP packet of a capture, as a netfilter hook sees it.
pub(super) struct Recorded<'a> {
    /// Its place among all packets of the file, from 1; of a datagram in fragments, that of the one that completed it.
    pub(super) number: u64,
    pub(super) time: Time,
    pub(super) bytes: &'a [u8],
}

/// What came of reading a file.
pub(super) struct CaptureOutcome {
    /// Packets of all kinds.
    pub(super) packets: u64,
    /// It could not be read, or not to its end.
    pub(super) failed: bool,
}

/// Shows each IP packet of a capture, `-` for standard input. What is wrong with it is said on stderr; what came before
/// that has been shown.
///
/// # Errors
/// As `visit`.
pub(super) fn each_packet(
    path: &Path,
    intake: &mut Intake,
    visit: impl FnMut(Recorded<'_>) -> io::Result<()>,
) -> io::Result<CaptureOutcome> {
    match open(path) {
        Ok(input) => each_packet_of(path, input, intake, visit),
        Err(error) => Ok(unreadable(path, error)),
    }
}

/// The same of a file that is open.
///
/// # Errors
/// As `visit`.
pub(super) fn each_packet_of(
    path: &Path,
    input: impl Read,
    intake: &mut Intake,
    mut visit: impl FnMut(Recorded<'_>) -> io::Result<()>,
) -> io::Result<CaptureOutcome> {
    let mut packets = 0;
    let mut unknown_link = None;
    let read = || {
        let mut capture = Capture::open(input)?;
        while let Some(record) = capture.next()? {
            packets += 1;
            match intake.packet(&record) {
                Ok(Some(bytes)) => {
                    let shown = visit(Recorded { number: record.number, time: record.time, bytes: &bytes });
                    if shown.is_err() {
                        return Ok(shown);
                    }
                }
                Ok(None) => {}
                Err(skip @ Skip::UnknownLink(_)) => unknown_link = Some(skip),
                Err(_) => {}
            }
        }
        Ok(Ok(()))
    };
    let failed = match read() {
        Ok(shown) => {
            shown?;
            unknown_link.into_iter().for_each(|skip| complain(path, &skip));
            false
        }
        Err(problem) => {
            complain(path, &problem);
            // What was recorded before somebody stopped tcpdump the hard way is whole.
            !matches!(problem, CaptureError::Truncated { .. })
        }
    };
    Ok(CaptureOutcome { packets, failed })
}

/// The configuration for a command that can do without the file: one in the usual place that this user may not read is
/// left out, which is said on stderr. The second value is the error about it.
///
/// # Errors
/// If a file was named that can't be read, or the configuration is not valid.
pub(super) fn config_or_flags(
    cli: &Cli,
    flags: &Flags,
) -> Result<(Config, Option<ConfigError>), ConfigError> {
    match cli.configuration_of(flags) {
        Err(unread @ ConfigError::Unreadable { .. })
            if cli.named_config().is_none() && is_denied(&unread) =>
        {
            let config = Config::parse("", Path::new(DEFAULT_PATH), flags)?;
            Ok((config, Some(unread)))
        }
        config => Ok((config?, None)),
    }
}

fn is_denied(error: &ConfigError) -> bool {
    matches!(error, ConfigError::Unreadable { error, .. } if error.kind() == io::ErrorKind::PermissionDenied)
}

/// Says on stderr that the configuration was left out.
pub(super) fn say_left_out() {
    let _ = writeln!(
        io::stderr(),
        "sipknock: {DEFAULT_PATH} can't be read by this user, and is left out: flags and defaults count"
    );
}

/// Opens a file, or standard input for `-`.
///
/// # Errors
/// As the system.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path)?),
    })
}

/// Says on stderr that a file can't be read.
pub(super) fn unreadable(path: &Path, source: io::Error) -> CaptureOutcome {
    complain(path, &CaptureError::Io { after: 0, source });
    CaptureOutcome { packets: 0, failed: true }
}

/// Says on stderr what is wrong with a file. A closed stderr is no reason to stop.
pub(super) fn complain(path: &Path, problem: &dyn std::error::Error) {
    let _ = writeln!(io::stderr(), "sipknock: {}: {problem}", path.to_string_lossy());
}

/// Says on stderr what captures do not show.
#[cfg(feature = "bench")]
pub(super) fn say(gaps: &Gaps) {
    for sentence in gaps.sentences(false) {
        let _ = writeln!(io::stderr(), "sipknock: {sentence}");
    }
}
