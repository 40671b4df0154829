//! The socket's place in the file system.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Mode;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::accounts::group_number;

/// A listening socket that is taken out of the file system when dropped.
#[derive(Debug)]
pub struct Socket {
    /// What accepts clients.
    pub listener: UnixListener,
    path: PathBuf,
    /// Device and inode, to take out our own only.
    identity: Option<(u64, u64)>,
    /// Whether that is to be done.
    owned: Arc<AtomicBool>,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon serves it.
    #[error("{} serves another sipknock: give this one its own with --control PATH or [control] socket", .0.display())]
    Taken(PathBuf),
    /// What is there is not ours to remove.
    #[error("{} is there and no socket: remove it, or name another place with --control PATH", .0.display())]
    NoSocket(PathBuf),
    /// The system refused.
    #[error("{}: {error}: run as root, or name another place with --control PATH", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Socket {
    /// Makes it, with mode 0660 and the group [`GROUP`] where there is one. One that a dead daemon has left is replaced.
    ///
    /// # Errors
    /// Where it can't be made, or is another's.
    pub fn make(path: &Path) -> Result<Self, SocketError> {
        let system = |error| SocketError::System { path: path.to_owned(), error };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NoSocket(path.to_owned()));
            }
            Ok(_) if is_served(path) => return Err(SocketError::Taken(path.to_owned())),
            Ok(_) => {}
            Err(_) => {
                if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
                    && !folder.exists()
                {
                    fs::create_dir(folder).map_err(system)?;
                    fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(system)?;
                }
            }
        }
        // It gets its name once it is as it shall be, and listens only where nobody else can reach it.
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        let _ = fs::remove_file(&unfinished);
        let finish = || -> io::Result<UnixListener> {
            let socket = nonblocking()?;
            // The file gets the socket's mode (unix(7)), and neither is changed by a name that may lead elsewhere by then.
            rustix::fs::fchmod(&socket, Mode::from_raw_mode(0o660))?;
            let mask = rustix::process::umask(Mode::from_raw_mode(0o117));
            let bound = net::bind(&socket, &SocketAddrUnix::new(&unfinished)?);
            rustix::process::umask(mask);
            bound?;
            if let Some(group) = group_number(GROUP) {
                // Who may not give files away keeps it for himself.
                let _ = lchown(&unfinished, None, Some(group));
            }
            net::listen(&socket, BACKLOG)?;
            fs::rename(&unfinished, path)?;
            Ok(socket.into())
        };
        let listener = finish().map_err(|error| {
            let _ = fs::remove_file(&unfinished);
            system(error)
        })?;
        Ok(Self::of(listener, path))
    }

    /// Goes on with one that another daemon has made and listens on.
    ///
    /// # Errors
    /// Where it can't be used.
    pub fn adopt(listener: OwnedFd, path: &Path) -> Result<Self, SocketError> {
        let listener = UnixListener::from(listener);
        let set = listener.set_nonblocking(true);
        set.map_err(|error| SocketError::System { path: path.to_owned(), error })?;
        Ok(Self::of(listener, path))
    }

    fn of(listener: UnixListener, path: &Path) -> Self {
        let owned = Arc::new(AtomicBool::new(true));
        Self { listener, identity: identity(path), path: path.to_owned(), owned }
    }

    /// Set to false where another daemon is to go on with the socket.
    pub(super) fn owned(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.owned)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.owned.load(Ordering::SeqCst)
            && self.identity.is_some()
            && identity(&self.path) == self.identity
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn nonblocking() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Whether somebody listens there, if only a process that was stopped and takes no more clients.
fn is_served(path: &Path) -> bool {
    let connect = || -> io::Result<()> { Ok(net::connect(&nonblocking()?, &SocketAddrUnix::new(path)?)?) };
    connect().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |()| true)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Clients that wait to be taken in.
const BACKLOG: i32 = 128;

/// Whose members may turn the gate.
pub const GROUP: &str = "sipknock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_replaced_and_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/control.sock");
        let socket = Socket::make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        assert!(matches!(Socket::make(&path), Err(SocketError::Taken(_))));
        // One whose daemon takes in nobody any more.
        let waiting: Vec<_> = (0..2 * BACKLOG).map(|_| is_served(&path)).collect();
        assert!(waiting.iter().all(|served| *served));
        drop(socket);
        assert!(!path.exists());
        // One whose daemon is dead.
        drop(UnixListener::bind(&path).unwrap());
        let socket = Socket::make(&path).unwrap();
        // Replaced by another: that one stays.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        drop(socket);
        assert!(path.exists());
        assert!(matches!(Socket::make(&path), Err(SocketError::NoSocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let nowhere = folder.path().join("no/such/folder.sock");
        assert!(matches!(Socket::make(&nowhere), Err(SocketError::System { .. })));
    }
}
