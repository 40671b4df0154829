//! The owner's last word about the rules, for those who watch over them.
//!
//! `sipknock firewall remove` beside a running gate is obeyed, so a watch has to tell the owner's change from a
//! stranger's. The word is a file in a folder that root alone can write, one for each network namespace. A watch makes the
//! file; `apply`, `remove` and an `apply --confirm` that nobody confirmed write into it, if it is there. It needs neither
//! the gate nor its control socket, and outlives both, so that a watch that is started again goes by it, too. It goes with
//! the next boot.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::confirm::FOLDER;
use crate::clock::Clock;
use crate::sys;

/// The owner's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The rules are to be there.
    Applied,
    /// They are to be out: `sipknock firewall remove`.
    Removed,
    /// They are to stay as they are: `sipknock firewall apply --confirm` put them back.
    PutBack,
}

/// A word, as it was given once: given again, it is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesWish {
    /// The word.
    pub wish: Wish,
    stamp: String,
}

names! { Wish { Applied = "applied", Removed = "removed", PutBack = "put-back" } }

impl Wish {
    /// The command that gives the word.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Applied => "sipknock firewall apply",
            Self::Removed => "sipknock firewall remove",
            Self::PutBack => "sipknock firewall apply --confirm",
        }
    }

    /// Gives the word to those who watch. Nothing happens if nobody does.
    ///
    /// # Errors
    /// If there is a watch, and its file can't be written: it would act against the owner.
    pub fn say(self) -> io::Result<()> {
        let path = path()?;
        if path.exists() { write(&path, self) } else { Ok(()) }
    }
}

impl RulesWish {
    /// The last word; a watch calls this first, and makes the file. `None` if there is none, and none can be had.
    pub fn hear() -> Option<Self> {
        let path = path().ok()?;
        let read = || fs::read_to_string(&path).ok();
        let text = read().or_else(|| {
            write(&path, Wish::Applied).ok()?;
            read()
        })?;
        let (name, stamp) = text.trim_end().split_once(' ')?;
        let wish = Wish::ALL.into_iter().find(|wish| wish.name() == name)?;
        Some(Self { wish, stamp: stamp.to_owned() })
    }

    /// The watch ends. A word that keeps the rules out stays.
    pub fn forget() {
        if Self::hear().is_some_and(|word| word.wish == Wish::Applied)
            && let Ok(path) = path()
        {
            let _ = fs::remove_file(path);
        }
    }
}

fn write(path: &Path, wish: Wish) -> io::Result<()> {
    DirBuilder::new().mode(0o755).recursive(true).create(FOLDER)?;
    let text = format!("{} {}\n", wish.name(), Clock::start().now().as_nanos());
    // Nobody reads half a word.
    let unfinished = path.with_extension(std::process::id().to_string());
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, path)
}

/// That of this thread's network namespace. An inode is used again for the next namespace, a cookie is not.
fn path() -> io::Result<PathBuf> {
    let cookie = UnixDatagram::unbound().and_then(|socket| sys::namespace_cookie(socket.as_fd()));
    let name = match cookie {
        Ok(cookie) => format!("wish-{cookie}"),
        Err(_) => format!("wish-inode-{}", fs::metadata("/proc/thread-self/ns/net")?.ino()),
    };
    Ok(Path::new(FOLDER).join(name))
}
