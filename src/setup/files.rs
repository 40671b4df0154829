//! Files of the configuration, written so that none is lost.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

/// Writes a file as a whole. A new one is for root and, if there is one, for a group to read. One that was there keeps its
/// owner and its permissions, and is kept in a copy beside it. Returns the copy.
///
/// # Errors
/// If the system refuses; the old file is then as it was.
pub fn write(path: &Path, text: &str, group: Option<u32>, now: &str) -> io::Result<Option<PathBuf>> {
    // A link stays one.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let copy = copy(&path, now)?;
    let old = fs::metadata(&path).ok();
    let new = beside(&path, ".setup-new");
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).or_else(|error| {
            // One that a setup left which was cut off.
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
            fs::remove_file(&new)?;
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)
        })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| {
        if let Some(old) = old {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
            file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
        } else if let Some(group) = group {
            fchown(&file, None, Some(group))?;
            file.set_permissions(Permissions::from_mode(0o640))?;
        }
        file.sync_all()?;
        fs::rename(&new, &path)
    });
    if let Err(error) = written {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    if let Some(folder) = path.parent() {
        // A file system that can't do that has it anyway.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(copy)
}

/// Makes a folder, and those above it, for root and, if there is one, for a group to read. One that is there stays as it is. Returns whether it
/// was made.
///
/// # Errors
/// If the system refuses.
pub fn make_folder(path: &Path, group: Option<u32>) -> io::Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(above, group)?;
    }
    DirBuilder::new().mode(0o700).create(path)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group))?;
        fs::set_permissions(path, Permissions::from_mode(0o750))?;
    }
    Ok(true)
}

/// Copies a file that is there, with its permissions, under a name that is free.
fn copy(path: &Path, now: &str) -> io::Result<Option<PathBuf>> {
    if !path.exists() {
        return Ok(None);
    }
    let mut number = 0;
    let copy = loop {
        let tail = if number == 0 { String::new() } else { format!(".{number}") };
        let copy = beside(path, &format!(".before-setup-{now}{tail}"));
        if copy.symlink_metadata().is_err() {
            break copy;
        }
        number += 1;
    };
    let bytes = fs::read(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(Some(copy))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        assert_eq!(write(&path, "one", None, "T").unwrap(), None);
        let first = write(&path, "two", None, "T").unwrap().unwrap();
        let second = write(&path, "three", None, "T").unwrap().unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!((read(&path), read(&first), read(&second)), ("three".into(), "one".into(), "two".into()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([&path, &first, &second].map(|path| mode(path)), [0o600; 3]);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write(&path, "three", None, "V").unwrap();
        assert_eq!(mode(&path), 0o640, "as it was");
        // As a setup leaves it that is cut off.
        fs::write(folder.path().join("a.toml.setup-new"), "x").unwrap();
        write(&path, "four", None, "U").unwrap();
        assert_eq!(read(&path), "four");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
    }

    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, "two", None, "T").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "two");
    }

    #[test]
    fn folders_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        assert!(make_folder(&path, None).unwrap());
        assert!(!make_folder(&path, None).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
