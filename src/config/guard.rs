//! Who can read the files that hold secrets.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::content::FileDigest;
use crate::config::place::Place;

/// A file that was read: the configuration, or one that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// Where it is.
    pub path: PathBuf,
    /// Where the configuration names it; without a key for the configuration itself.
    pub place: Place,
    /// A secret stands in it.
    pub holds_secrets: bool,
    /// Its permissions; `None` for what is no regular file, such as a pipe.
    pub(super) mode: Option<u32>,
    pub(super) group: u32,
    /// The digest of its bytes, for [`Digests`](crate::config::Digests).
    pub(super) content: FileDigest,
}

/// A file with secrets that more people can read or change than should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The file.
    pub path: PathBuf,
    place: Place,
    mode: u32,
    /// Everybody, or else the group of this number.
    group: Option<u32>,
}

impl SecretFile {
    /// Whether others than root, the owner and the groups of these numbers can read or change it, and it holds a secret.
    ///
    /// What the folder lets in does not count: the next one to move the file does not look at that.
    pub fn exposed(&self, own_groups: &[u32]) -> Option<Exposed> {
        let mode = self.mode.filter(|_| self.holds_secrets)?;
        let to_everybody = mode & EVERYBODY != 0;
        let to_group = mode & GROUP != 0 && self.group != ROOT && !own_groups.contains(&self.group);
        (to_everybody || to_group).then(|| Exposed {
            path: self.path.clone(),
            place: self.place.clone(),
            mode,
            group: (!to_everybody).then_some(self.group),
        })
    }
}

impl Exposed {
    /// The command after which it is not.
    pub fn mend(&self) -> String {
        // Who owns it, and who reads it as root or as the gate, goes on reading it.
        let mode = match self.group {
            Some(_) => self.mode & !GROUP & !EVERYBODY,
            None => self.mode & !EVERYBODY,
        };
        format!("chmod {mode:04o} {}", shell_word(&self.path))
    }
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, mode) = (self.path.display(), self.mode);
        if !self.place.key.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        match self.group {
            None => {
                write!(f, "{path} holds secrets, and every user can read or change it (mode {mode:04o})")?
            }
            Some(group) => write!(
                f,
                "{path} holds secrets, and group {group} can read or change it, which is neither root's nor sipknock's \
                 (mode {mode:04o})"
            )?,
        }
        write!(f, ": run '{}'", self.mend())
    }
}

/// Reads the configuration, with what it takes to say who else can.
pub(super) fn read(path: &Path) -> io::Result<(String, SecretFile)> {
    let (bytes, file) = read_bytes(path)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))?;
    Ok((text, file))
}

/// The same for a file that is no text.
pub(super) fn read_bytes(path: &Path) -> io::Result<(Vec<u8>, SecretFile)> {
    let mut file = File::open(path)?;
    // Of the file that was opened, whatever its name stands for by now.
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let found = SecretFile {
        path: path.to_owned(),
        place: Place::default(),
        holds_secrets: false,
        mode: metadata.is_file().then_some(metadata.mode() & 0o7777),
        group: metadata.gid(),
        content: FileDigest::of(&bytes),
    };
    Ok((bytes, found))
}

/// A text or a path as a shell takes it for one word. Quotes are left out around characters that mean nothing to a shell:
/// commas, as in a list of ports, and signs of equality among them.
pub(crate) fn shell_word(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:,=+@%".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.into_owned(),
        // It fails for a NUL alone, which neither a path nor a rule can have.
        false => shlex::try_quote(&word).unwrap_or_default().into_owned(),
    }
}

/// Bits of a file's mode (inode(7)): what those may who are neither owner nor group.
const EVERYBODY: u32 = 0o007;

/// The same for the group.
const GROUP: u32 = 0o070;

/// The number of root's group.
const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell() {
        for (word, expected) in [
            ("/etc/sipknock/sipknock.toml", "/etc/sipknock/sipknock.toml"),
            ("5060,5061:5063", "5060,5061:5063"),
            ("net/ipv4/conf/eth0.5/rp_filter=1", "net/ipv4/conf/eth0.5/rp_filter=1"),
            ("", "''"),
            ("!", "'!'"),
            ("/my sip.toml", "'/my sip.toml'"),
            ("it's", "\"it's\""),
            ("$(reboot) it's", "'$(reboot) it'\"'s\""),
        ] {
            assert_eq!(shell_word(word), expected);
            assert_eq!(shlex::split(&shell_word(word)), Some(vec![word.to_owned()]));
        }
    }

    #[test]
    fn who_else_can_read() {
        let file = |mode, group, holds_secrets| SecretFile {
            path: "/etc/sip knock/it's.toml".into(),
            place: Place::default(),
            holds_secrets,
            mode,
            group,
            content: FileDigest::default(),
        };
        for (mode, group, mend) in [
            (0o600, 0, None),
            (0o400, 1000, None),
            (0o640, 0, None),
            (0o640, 998, None),
            (0o640, 100, Some("chmod 0600")),
            (0o660, 100, Some("chmod 0600")),
            (0o644, 998, Some("chmod 0640")),
            (0o604, 998, Some("chmod 0600")),
            (0o602, 998, Some("chmod 0600")),
            (0o777, 0, Some("chmod 0770")),
        ] {
            let found = file(Some(mode), group, true).exposed(&[998]).map(|exposed| exposed.mend());
            let expected = mend.map(|mend| format!("{mend} \"/etc/sip knock/it's.toml\""));
            assert_eq!(found, expected, "{mode:o} of group {group}");
        }
        assert_eq!(file(Some(0o666), 100, false).exposed(&[]), None);
        // A pipe has no mode that would say anything.
        assert_eq!(file(None, 100, true).exposed(&[]), None);
        assert!(
            file(Some(0o640), 100, true).exposed(&[]).unwrap().to_string().contains("group 100 can read")
        );
    }
}
