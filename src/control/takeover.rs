//! How a running gate's queues and doors go to another process, over the control socket.
//!
//! The newcomer asks with [`super::protocol::ControlRequest::Takeover`]. Then each side says a [`TakeoverMessage`] in its turn, a JSON object
//! a line as always:
//!
//! | who | says | and then |
//! |---|---|---|
//! | old | `offer` | nothing has changed yet |
//! | new | `go` | the old one answers the packets that it has received, and stops receiving |
//! | old | `handed`, with descriptors | packets wait in the kernel |
//! | new | `taken` | the old one will not touch the queues again |
//! | old | `done` | the new one begins to receive |
//!
//! Until it has heard `taken` the old one goes on by itself whenever something goes wrong, and says `error` before it does,
//! so that never both receive. The descriptors, in this order (`SCM_RIGHTS`, unix(7)): the listening control socket, a file
//! with the doors as [`crate::state::format`] has them, the socket of each queue in the order of `queues`, and the one that has
//! the NFLOG group, where `outbound` says so.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};

use super::protocol::{Refusal, RefusalKind};

/// What is handed over, and how. Both sides must mean the same.
pub const FORMAT: u64 = 2;

/// Doors without their claims, as gates of before hand them over. They can be taken, and are not given.
pub const FIRST_FORMAT: u64 = 1;

/// What one side says to the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakeoverMessage {
    /// What there is to take over.
    Offer(Offer),
    /// Hand it over.
    Go {},
    /// Here it is.
    Handed {
        /// The queues whose sockets come along.
        queues: Vec<u16>,
        /// The socket that has the NFLOG group comes along, too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        outbound: bool,
    },
    /// It is mine now.
    Taken {},
    /// It is yours.
    Done {},
    /// It stays with me.
    Error(Refusal),
}

/// What a running gate would hand over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Of the program that runs.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its queues.
    pub queues: Vec<u16>,
    /// Leading bits that make a source of an IPv4 address.
    pub ipv4_prefix: u8,
    /// The same of an IPv6 address.
    pub ipv6_prefix: u8,
    /// It has put the firewall's rules in, and whoever comes after it is to take them out.
    pub rules: bool,
    /// Everything passes while its `run --grace` lasts.
    #[serde(default)]
    pub grace: bool,
    /// The NFLOG group that it reads what the PBX sends from; `None` if it reads none, or is of a version that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<u16>,
}

/// One side's end of the conversation.
#[derive(Debug)]
pub struct TakeoverConnection {
    stream: UnixStream,
    unread: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl TakeoverConnection {
    /// On a connection over which the request has gone.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, unread: Vec::new(), descriptors: Vec::new() }
    }

    /// Says something.
    ///
    /// # Errors
    /// Where the other does not listen any more.
    pub fn say(&self, word: &TakeoverMessage) -> io::Result<()> {
        self.say_with(word, &[])
    }

    /// The same, and hands over descriptors.
    ///
    /// # Errors
    /// Where the other does not listen any more, or there are more than [`MAX_DESCRIPTORS`].
    pub fn say_with(&self, word: &TakeoverMessage, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut line = serde_json::to_vec(word)?;
        line.push(b'\n');
        sockopt::set_socket_timeout(&self.stream, Timeout::Send, Some(PATIENCE))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let fits = descriptors.len() <= MAX_DESCRIPTORS;
        if !fits || !descriptors.is_empty() && !rights.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
        }
        let sent =
            rustix::net::sendmsg(&self.stream, &[IoSlice::new(&line)], &mut rights, SendFlags::NOSIGNAL)?;
        // A line is far shorter than the socket's buffer, and nothing else is in that.
        if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The next message of the other side, within a time. Descriptors that come along are there for [`TakeoverConnection::descriptors`].
    ///
    /// # Errors
    /// Where he says nothing, nothing that is understood, or has gone (`UnexpectedEof`).
    pub fn hear(&mut self, patience: Duration) -> io::Result<TakeoverMessage> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread) {
                let rest = self.unread.split_off(end + 1);
                let line = std::mem::replace(&mut self.unread, rest);
                return Ok(serde_json::from_slice(&line)?);
            }
            if self.unread.len() > MAX_LINE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            sockopt::set_socket_timeout(&self.stream, Timeout::Recv, Some(patience))?;
            let mut buffer = [0; MAX_LINE];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut rights = RecvAncillaryBuffer::new(&mut space);
            let received = rustix::net::recvmsg(
                &self.stream,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut rights,
                RecvFlags::CMSG_CLOEXEC,
            );
            let length = match received {
                Ok(message) => message.bytes,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            };
            for message in rights.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    self.descriptors.extend(descriptors);
                }
            }
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread.extend_from_slice(buffer.get(..length).unwrap_or_default());
        }
    }

    /// What was handed over so far.
    pub fn descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }
}

/// Who is at the other end, where he may take over: root, or whoever the gate runs as. Being in the socket's group, which
/// may open doors, is not enough: with the queues goes every packet.
///
/// # Errors
/// Where he may not, or can't be told.
pub fn entitled(stream: impl AsFd) -> Result<u32, Refusal> {
    let peer = sockopt::socket_peercred(stream)
        .map_err(|error| Refusal::failed(format!("the client's user can't be read: {error}")))?;
    if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
        let text = "only root, and the user that the gate runs as, may take it over".to_owned();
        return Err(Refusal { kind: RefusalKind::NotAllowed, text });
    }
    Ok(peer.pid.as_raw_nonzero().get().unsigned_abs())
}

/// Whether root is at the other end.
pub fn is_root(stream: impl AsFd) -> bool {
    sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid.is_root())
}

/// More than a gate has queues. The kernel takes 253 (`SCM_MAX_FD`).
pub const MAX_DESCRIPTORS: usize = 250;

const MAX_LINE: usize = 4096;

/// How long a line may take to leave.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::thread;

    use super::*;

    fn pair() -> (TakeoverConnection, TakeoverConnection) {
        let (one, other) = UnixStream::pair().unwrap();
        (TakeoverConnection::new(one), TakeoverConnection::new(other))
    }

    const SOON: Duration = Duration::from_secs(60);

    #[test]
    fn words_and_descriptors_arrive_as_they_were_said() {
        let (old, mut new) = pair();
        let offer = Offer {
            version: "1".into(),
            pid: 7,
            queues: vec![0, 65_535],
            ipv4_prefix: 32,
            ipv6_prefix: 64,
            rules: true,
            grace: true,
            outbound: Some(5060),
        };
        let (reader, mut writer) = io::pipe().unwrap();
        old.say(&TakeoverMessage::Offer(offer.clone())).unwrap();
        let many = vec![reader.as_fd(); MAX_DESCRIPTORS];
        old.say_with(&TakeoverMessage::Handed { queues: vec![0], outbound: true }, &many).unwrap();
        old.say(&TakeoverMessage::Error(Refusal::failed("no"))).unwrap();
        assert_eq!(new.hear(SOON).unwrap(), TakeoverMessage::Offer(offer));
        assert_eq!(new.hear(SOON).unwrap(), TakeoverMessage::Handed { queues: vec![0], outbound: true });
        let mut descriptors = new.descriptors();
        assert_eq!(descriptors.len(), MAX_DESCRIPTORS);
        let mut read = File::from(descriptors.pop().unwrap());
        writer.write_all(b"x").unwrap();
        let mut byte = [0];
        read.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
        assert_eq!(new.hear(SOON).unwrap(), TakeoverMessage::Error(Refusal::failed("no")));
        drop(old);
        assert_eq!(new.hear(SOON).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn too_many_descriptors_are_refused_and_silence_is_no_word() {
        let (old, mut new) = pair();
        let (reader, _writer) = io::pipe().unwrap();
        let too_many = vec![reader.as_fd(); MAX_DESCRIPTORS + 1];
        assert!(old.say_with(&TakeoverMessage::Done {}, &too_many).is_err());
        assert_eq!(new.hear(Duration::from_millis(20)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (mut one, other) = UnixStream::pair().unwrap();
        let babble = thread::spawn(move || while one.write_all(&[b'x'; 999]).is_ok() {});
        assert_eq!(TakeoverConnection::new(other).hear(SOON).unwrap_err().kind(), io::ErrorKind::InvalidData);
        babble.join().unwrap();
    }

    #[test]
    fn words_are_as_documented() {
        for (word, text) in [
            (TakeoverMessage::Go {}, r#"{"go":{}}"#),
            (
                TakeoverMessage::Handed { queues: vec![0, 1], outbound: false },
                r#"{"handed":{"queues":[0,1]}}"#,
            ),
            (
                TakeoverMessage::Handed { queues: vec![0], outbound: true },
                r#"{"handed":{"queues":[0],"outbound":true}}"#,
            ),
            (TakeoverMessage::Taken {}, r#"{"taken":{}}"#),
            (TakeoverMessage::Done {}, r#"{"done":{}}"#),
        ] {
            assert_eq!(serde_json::to_string(&word).unwrap(), text);
        }
    }

    #[test]
    fn whoever_runs_the_gate_is_entitled() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(entitled(&one), Ok(std::process::id()));
    }
}
