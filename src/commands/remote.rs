//! What the commands that talk to a running gate share.

use std::io::{self, Write};

use super::failure::{Failure, WorkError, write_json};
use crate::cli::{Cli, ControlArgs};
use crate::control::client::Client;
use crate::control::protocol::{ControlRequest, Done, Reply, Stats};

/// Asks the running gate, and gives each line of its answer to `each`.
pub(super) fn ask(
    cli: &Cli,
    args: &ControlArgs,
    request: &ControlRequest,
    each: impl FnMut(Reply) -> io::Result<()>,
) -> Result<Done, Failure> {
    let mut client = Client::connect(&cli.socket(args)?)?;
    Ok(client.ask(request, each)?)
}

/// What the running gate says of itself.
pub(super) fn stats(cli: &Cli, args: &ControlArgs) -> Result<Stats, Failure> {
    let mut seen = None;
    ask(cli, args, &ControlRequest::Stats {}, |answer| {
        if let Reply::Stats(stats) = answer {
            seen = Some(*stats);
        }
        Ok(())
    })?;
    seen.ok_or_else(|| Failure::Work(WorkError::Other("the gate says nothing of itself".to_owned())))
}

/// Prints how it ended.
pub(super) fn report(done: &Done, json: bool, text: &str) -> Result<(), Failure> {
    if json {
        return write_json(done);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    done.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
    Ok(())
}

/// A count with its noun.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Seconds as people say them.
pub(super) fn span(seconds: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}

/// A point in time without fractions of a second: `2026-11-22 14:00:00Z`.
pub(super) fn moment(time: &str) -> String {
    match (time.get(..10), time.get(11..19)) {
        (Some(date), Some(clock)) => format!("{date} {clock}Z"),
        _ => time.to_owned(),
    }
}
