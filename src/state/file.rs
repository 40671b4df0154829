//! A file of doors in its place: read once, then replaced as a whole each time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::format::{self, Damage, Saved};

/// The place of the doors of one gate.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// Held for as long as this lives, so that two gates don't write into each other's doors.
    _lock: File,
}

/// Why doors can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another gate keeps its own there.
    #[error("{} holds the doors of another sipknock that runs: give this one its own with --state PATH", .0.display())]
    Taken(PathBuf),
    /// The system refused.
    #[error("{}: {error}: run as root, name another place with --state PATH, or give --state off", path.display())]
    System {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What was there.
#[derive(Debug)]
pub enum SavedDoors {
    /// Nothing.
    Nothing,
    /// Doors.
    Doors(Saved),
    /// Something that can't be used, and where it is now.
    SetAside(Damage, PathBuf),
}

impl StateFile {
    /// Takes the place, and makes its folder where that is missing.
    ///
    /// # Errors
    /// Where it is another's, or can't be had.
    pub fn take(path: &Path) -> Result<Self, StateError> {
        let system = |path: &Path| {
            let path = path.to_owned();
            |error| StateError::System { path, error }
        };
        if let Some(folder) =
            path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        {
            DirBuilder::new().mode(0o700).create(folder).map_err(system(folder))?;
        }
        let lock_path = beside(path, ".lock");
        // Open for reading only, it keeps nobody from making the file system read-only, and can be had on one that is.
        let made = private().open(&lock_path);
        let lock = File::open(&lock_path).map_err(|error| system(&lock_path)(made.err().unwrap_or(error)))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateError::Taken(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(system(&lock_path)(error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is there. What can't be used gets another name, so that it can be looked at and is not read again.
    ///
    /// # Errors
    /// Where it can neither be read nor moved.
    pub fn read(&self) -> Result<SavedDoors, StateError> {
        let damage = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SavedDoors::Nothing),
            Err(error) => Damage::Io(error),
            Ok(file) => match format::read(BufReader::with_capacity(BUFFER, file)) {
                Ok(saved) => return Ok(SavedDoors::Doors(saved)),
                Err(damage) => damage,
            },
        };
        let aside = beside(&self.path, ".damaged");
        fs::rename(&self.path, &aside)
            .map_err(|error| StateError::System { path: self.path.clone(), error })?;
        Ok(SavedDoors::SetAside(damage, aside))
    }

    /// Takes note that the gate of this place has dropped strangers, for [`has_enforced`]. Once is enough.
    ///
    /// # Errors
    /// Where the disk is full, read-only or broken.
    pub fn note_enforced(&self) -> io::Result<()> {
        let path = enforced(&self.path);
        if path.exists() {
            return Ok(());
        }
        let file = private().open(path)?;
        (&file).write_all(ENFORCED_TEXT)?;
        file.sync_all()?;
        sync_folder(&self.path);
        Ok(())
    }

    /// Replaces it by what `write` writes, once that is on the disk as a whole.
    ///
    /// # Errors
    /// Where the disk is full, read-only or broken. Then the old one is still there.
    pub fn replace(
        &self,
        write: impl FnOnce(BufWriter<File>) -> io::Result<BufWriter<File>>,
    ) -> io::Result<()> {
        replace(&self.path, write)
    }
}

/// Replaces a file by what `write` writes, for its owner's eyes, once that is on the disk as a whole.
///
/// # Errors
/// If the disk is full, read-only or broken. Then the old file is still there.
pub fn replace(
    path: &Path,
    write: impl FnOnce(BufWriter<File>) -> io::Result<BufWriter<File>>,
) -> io::Result<()> {
    let unfinished = beside(path, ".new");
    let write_and_rename = || {
        let file = private().truncate(true).open(&unfinished)?;
        let mut out = write(BufWriter::with_capacity(BUFFER, file))?;
        out.flush()?;
        out.get_ref().sync_all()?;
        fs::rename(&unfinished, path)
    };
    // Half a file is of no use, and may be in the way of a whole one.
    write_and_rename().inspect_err(|_| _ = fs::remove_file(&unfinished))?;
    sync_folder(path);
    Ok(())
}

fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Not every file system knows how to; the file itself is safe.
    let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
}

/// Whether a gate that keeps its doors in this file has ever dropped strangers. If that can't be told, it has: a gate that
/// was shut is not opened for want of a file.
pub fn has_enforced(path: &Path) -> bool {
    match fs::metadata(enforced(path)) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// What says so, beside the file of doors.
pub fn enforced(path: &Path) -> PathBuf {
    beside(path, ".enforced")
}

/// The record of a safe start that lasts, beside the file of doors.
pub fn grace(path: &Path) -> PathBuf {
    beside(path, ".grace")
}

/// For whoever looks into that file.
const ENFORCED_TEXT: &[u8] =
    b"This gate has dropped strangers: [inspect] grace is over, and begins again without this file.\n";

/// For its owner's eyes: it says who may pass.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A thousand doors at a time.
const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Prefixes;
    use crate::state::format::Writer;
    use crate::state::stamp::Stamp;

    fn write(file: &StateFile) -> io::Result<()> {
        file.replace(|out| {
            Writer::new(out, &Stamp::default(), Prefixes::default(), ["alice"].into_iter())?.finish()
        })
    }

    #[test]
    fn taken_written_read_and_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/doors");
        let file = StateFile::take(&path).unwrap();
        assert!(matches!(StateFile::take(&path), Err(StateError::Taken(_))));
        assert!(matches!(file.read(), Ok(SavedDoors::Nothing)));
        write(&file).unwrap();
        drop(file);
        let file = StateFile::take(&path).unwrap();
        let Ok(SavedDoors::Doors(saved)) = file.read() else { panic!() };
        assert_eq!(saved.names, ["alice"]);
        assert!(!beside(&path, ".new").exists());
    }

    #[test]
    fn what_is_damaged_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doors");
        let file = StateFile::take(&path).unwrap();
        fs::write(&path, "somebody's notes").unwrap();
        let Ok(SavedDoors::SetAside(Damage::Foreign, aside)) = file.read() else { panic!() };
        assert_eq!(fs::read(aside).unwrap(), b"somebody's notes");
        assert!(matches!(file.read(), Ok(SavedDoors::Nothing)));
        // A folder is moved out of the way as well.
        fs::create_dir(&path).unwrap();
        fs::remove_file(beside(&path, ".damaged")).unwrap();
        assert!(matches!(file.read(), Ok(SavedDoors::SetAside(Damage::Io(_), _))));
    }

    #[test]
    fn a_failure_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doors");
        let file = StateFile::take(&path).unwrap();
        write(&file).unwrap();
        let before = fs::read(&path).unwrap();
        let full = file.replace(|mut out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(!beside(&path, ".new").exists());
    }
}
