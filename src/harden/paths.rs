//! The files that a running gate reads and writes, and whether it will be able to.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

use super::user::Identity;
use crate::config::{Config, shell_word};
use crate::control::DEFAULT_SOCKET;
use crate::state::DEFAULT_FILE;

/// Where a gate reads, writes and listens.
#[derive(Clone, Debug, Default)]
pub struct HardenPaths {
    /// The configuration and files with secrets, which a reload reads again.
    pub(super) read: Vec<PathBuf>,
    /// The file of doors.
    state: Option<PathBuf>,
    /// The control socket.
    socket: Option<PathBuf>,
    /// What phones send, to be written at the end.
    learn: Option<PathBuf>,
    /// The TCP port of metrics and the status page.
    pub(super) port: Option<u16>,
}

impl HardenPaths {
    /// The places of a gate with this configuration.
    pub fn new(config: &Config, learn: Option<&Path>) -> Self {
        // A configuration that is not there yet may be by the next reload.
        let mut read = vec![config.path.clone()];
        let files = config.files.iter().map(|file| &file.path);
        read.extend(files.filter(|path| **path != config.path).cloned());
        // Files that come there later are read by a reload, too.
        read.extend(config.include_folders.iter().cloned());
        Self {
            read,
            state: config.state.file.clone(),
            socket: config.control.socket.clone(),
            learn: learn.filter(|path| *path != Path::new("-")).map(Path::to_owned),
            port: config.http.listen.map(|address| address.port()),
        }
    }

    /// Folders in which files come and go.
    pub(super) fn written(&self) -> impl Iterator<Item = &Path> {
        [&self.state, &self.socket, &self.learn].into_iter().flatten().map(|path| folder_of(path))
    }

    /// Makes the folders of state and socket where they are missing, since what is not there can't be kept within reach. Hands
    /// them over to whom the gate is to become: those it makes, and the usual ones where they are still root's from an
    /// earlier time. Others are their owner's.
    pub fn prepare(&self, identity: &Identity) {
        for (file, usual, mode) in [(&self.state, DEFAULT_FILE, 0o700), (&self.socket, DEFAULT_SOCKET, 0o755)]
        {
            let Some(file) = file else { continue };
            let folder = folder_of(file);
            let made = DirBuilder::new().mode(0o700).create(folder).is_ok();
            if made {
                // Whatever umask is set.
                let _ = fs::set_permissions(folder, Permissions::from_mode(mode));
            }
            if let &Identity::Become { uid, gid, .. } = identity
                && (made || file == Path::new(usual))
            {
                // What does not work shows when the file is to be written, and is told then.
                let _ = hand_over(folder, file, uid, gid);
            }
        }
    }

    /// What will not work, now that this process is who it shall be.
    pub(super) fn problems(&self, identity: &Identity) -> Vec<String> {
        let mut problems = Vec::new();
        let name = identity.name();
        for file in &self.read {
            let Err(error) = File::open(file) else { continue };
            if error.kind() == io::ErrorKind::PermissionDenied {
                problems.push(format!(
                    "{name} can't read {}, so a reload would be refused: run '{}'",
                    file.display(),
                    mend(file, identity)
                ));
            }
        }
        if let Some(file) = &self.learn {
            let folder = folder_of(file);
            if access_to_write(folder).is_err() {
                problems.push(format!(
                    "{name} can't write to {}, so the learned values would be lost: name a file elsewhere, as in \
                     --learn=/var/lib/sipknock/learned.toml, or give --user root",
                    folder.display()
                ));
            }
        }
        problems
    }
}

/// Gives a folder that is root's alone, and the state files in it, to somebody else. Where it is anybody else's already,
/// he may have put links there, and nothing is given away.
fn hand_over(folder: &Path, file: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let open = |path: &Path, flags| {
        OpenOptions::new().read(true).custom_flags(flags | libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
    };
    let opened = open(folder, libc::O_DIRECTORY)?;
    let found = opened.metadata()?;
    if found.uid() != 0 || found.mode() & 0o022 != 0 {
        return Ok(());
    }
    for ending in ["", ".lock", ".new", ".damaged"] {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        let Ok(file) = open(Path::new(&name), 0) else { continue };
        let found = file.metadata()?;
        if found.is_file() && found.uid() == 0 && found.nlink() == 1 {
            fchown(&file, Some(uid), Some(gid))?;
        }
    }
    fchown(&opened, Some(uid), Some(gid))
}

/// The commands after which the gate can read a file: those for folders that it can't pass, and that for the file.
fn mend(file: &Path, identity: &Identity) -> String {
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut commands = Vec::new();
    let (owner, folder_mode, file_mode) = match identity {
        Identity::Become { name, .. } => (format!("chgrp {name}"), "chmod g+x", "chmod 0640"),
        Identity::Stay { .. } => {
            (format!("chown {}", rustix::process::geteuid().as_raw()), "chmod u+x", "chmod u+r")
        }
    };
    let folders: Vec<_> = path.ancestors().skip(1).collect();
    for folder in folders.into_iter().rev() {
        if rustix::fs::access(folder, rustix::fs::Access::EXEC_OK).is_err() {
            let folder = shell_word(folder);
            commands.push(format!("{owner} {folder} && {folder_mode} {folder}"));
        }
    }
    let file = shell_word(&path);
    commands.push(format!("{owner} {file} && {file_mode} {file}"));
    commands.join(" && ")
}

fn access_to_write(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
}

/// The folder that a file is in.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The folder in which a file really is, where a link leads to it.
pub(super) fn real_folder_of(file: &Path) -> Option<PathBuf> {
    fs::canonicalize(file).ok()?.parent().map(Path::to_owned)
}
