//! Where log events go, and in which form.

mod journal;

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

use self::journal::JournalLayer;
use crate::terminal::has_colours;

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people, on stderr.
    #[default]
    Text,
    /// An object per line, on stderr, with the event's fields at its top level.
    Json,
    /// Structured, to systemd's journal.
    Journald,
}

/// Starts logging. `verbosity` adds detail: 0 is what the guide describes, 1 debug, 2 trace.
///
/// # Errors
/// Where the journal can't be reached.
pub fn start(format: LogFormat, verbosity: u8) -> io::Result<()> {
    let level = match verbosity {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let registry = Registry::default().with(level);
    let started = match format {
        LogFormat::Text => {
            let colours = has_colours(&io::stderr());
            registry.with(fmt::layer().with_writer(io::stderr).with_ansi(colours)).try_init()
        }
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init()
        }
        LogFormat::Journald => registry.with(JournalLayer::connect()?).try_init(),
    };
    // Only a second start in one process fails; the first one's choice then stands.
    started.or(Ok(()))
}
