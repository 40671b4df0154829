//! Events for systemd's journal: a line of text as people and programs that ban by the log read it, and the fields apart.
//!
//! The form is that of systemd's "Native Journal Protocol". An event too long for a datagram goes as a sealed file in
//! memory.

use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Writes each event to the journal.
pub(super) struct JournalLayer {
    socket: UnixDatagram,
    path: PathBuf,
    /// The name under which `journalctl` shows the lines.
    identifier: &'static str,
}

impl JournalLayer {
    /// A writer to the journal of this machine.
    ///
    /// # Errors
    /// If it can't be reached.
    pub(super) fn connect() -> io::Result<Self> {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let this = Self { socket: UnixDatagram::unbound()?, path: path.to_owned(), identifier: "sipknock" };
        // Nothing in it is nothing to store.
        this.socket.send_to(&[], path)?;
        Ok(this)
    }

    fn send(&self, entry: &[u8]) -> io::Result<()> {
        match self.socket.send_to(entry, &self.path) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => self.send_as_file(entry),
            sent => sent.map(drop),
        }
    }

    fn send_as_file(&self, entry: &[u8]) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(rustix::fs::memfd_create("sipknock log", flags)?);
        file.write_all(entry)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        let files = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        rights.push(SendAncillaryMessage::ScmRights(&files));
        let address = rustix::net::SocketAddrUnix::new(self.path.as_path())?;
        let nothing = &[IoSlice::new(&[])];
        rustix::net::sendmsg_addr(&self.socket, &address, nothing, &mut rights, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        // A journal that is gone is no reason to end: packets are decided all the same.
        let _ = self.send(&entry(event, self.identifier));
    }
}

/// An event as the journal takes it.
fn entry(event: &Event<'_>, identifier: &str) -> Vec<u8> {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let Fields { message, rest, mut entry } = fields;
    let metadata = event.metadata();
    put(&mut entry, "MESSAGE", &format!("{message}{rest}"));
    put(&mut entry, "PRIORITY", priority(*metadata.level()));
    put(&mut entry, "SYSLOG_IDENTIFIER", identifier);
    put(&mut entry, "TARGET", metadata.target());
    entry
}

/// The fields of an event: those of the journal, and how the line shows them.
#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
    entry: Vec<u8>,
}

impl Fields {
    /// `shown`: the value as the line has it.
    fn add(&mut self, field: &Field, value: &str, shown: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
            return;
        }
        // Writing to a string can't fail.
        let _ = write!(self.rest, " {}={shown}", field.name());
        let letters = field.name().chars().map(|letter| letter.to_ascii_uppercase());
        let name: String =
            letters.map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
        put(&mut self.entry, name.trim_start_matches('_'), value);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value, &format!("{value:?}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        self.add(field, &text, &text);
    }
}

/// Writes a field with its length, so that its value may hold anything.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// As syslog(3) counts.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

const SOCKET: &str = "/run/systemd/journal/socket";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::fd::OwnedFd;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    use tracing_subscriber::prelude::*;

    use super::*;

    /// A journal of our own; what an event is there.
    fn logged(log: impl FnOnce()) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let layer = JournalLayer::at(&path).unwrap();
        assert_eq!(journal.recv(&mut [0]).unwrap(), 0, "the first is nothing");
        // Some kernels' default lets more through in one datagram than others'.
        rustix::net::sockopt::set_socket_send_buffer_size(&layer.socket, 8192).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let (mut data, mut space) = ([0; 65_536], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [io::IoSliceMut::new(&mut data)];
        let length =
            rustix::net::recvmsg(&journal, &mut parts, &mut rights, RecvFlags::empty()).unwrap().bytes;
        let file = rights.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        });
        read(&file.map_or_else(|| data[..length].to_vec(), contents))
    }

    fn contents(file: OwnedFd) -> Vec<u8> {
        let length = rustix::fs::fstat(&file).unwrap().st_size;
        let mut data = vec![0; length.try_into().unwrap()];
        std::os::unix::fs::FileExt::read_exact_at(&File::from(file), &mut data, 0).unwrap();
        data
    }

    fn read(mut entry: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
            let name = String::from_utf8(entry[..end].to_vec()).unwrap();
            let length =
                usize::try_from(u64::from_le_bytes(entry[end + 1..end + 9].try_into().unwrap())).unwrap();
            let value = String::from_utf8(entry[end + 9..end + 9 + length].to_vec()).unwrap();
            assert_eq!(entry[end + 9 + length], b'\n');
            entry = &entry[end + 10 + length..];
            fields.push((name, value));
        }
        fields
    }

    #[test]
    fn an_event_is_a_line_and_its_fields() {
        let found = logged(|| {
            tracing::info!(
                target: "sipknock::drop",
                event = "dropped", src = %"203.0.113.66", count = 7, user_agent = "a \"phone\"\n",
                "packets dropped"
            );
        });
        let line =
            "packets dropped event=\"dropped\" src=203.0.113.66 count=7 user_agent=\"a \\\"phone\\\"\\n\"";
        let expected = [
            ("EVENT", "dropped"),
            ("SRC", "203.0.113.66"),
            ("COUNT", "7"),
            ("USER_AGENT", "a \"phone\"\n"),
            ("MESSAGE", line),
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "sipknock"),
            ("TARGET", "sipknock::drop"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_long_event_goes_as_a_file() {
        let long = "x".repeat(100_000);
        let found = logged(|| tracing::warn!(target: "sipknock", text = long, "long"));
        assert_eq!(found[0], ("TEXT".to_owned(), long.clone()));
        assert_eq!(found[1], ("MESSAGE".to_owned(), format!("long text=\"{long}\"")));
        assert_eq!(found[2], ("PRIORITY".to_owned(), "4".to_owned()));
    }
}
