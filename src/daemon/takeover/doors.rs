//! Doors on their way from one process to the next, and how long each waits for the other.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags};

use crate::clock::Clock;
use crate::daemon::snapshot::write_doors;
use crate::inspect::Inspector;
use crate::state::format::{self, Saved};

/// All doors in a file that is nowhere, and that nobody can change.
pub(in crate::daemon) fn doors(gate: &Inspector, clock: Clock) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("sipknock doors", flags)?);
    let mut out = write_doors(gate, clock, BufWriter::with_capacity(BUFFER, file))?;
    out.flush()?;
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    Ok(file.into())
}

/// Reads them.
pub(super) fn read_doors(descriptor: OwnedFd) -> Result<Saved, format::Damage> {
    let mut file = File::from(descriptor);
    file.rewind().map_err(format::Damage::Io)?;
    format::read(BufReader::with_capacity(BUFFER, file))
}

/// The name of the doors in the service manager's store.
pub(in crate::daemon) const DOORS: &str = "doors";

/// How long one side waits for the other: longer than it takes to write or read a million doors.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A thousand doors at a time.
const BUFFER: usize = 64 * 1024;
