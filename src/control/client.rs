//! The commands' side of the socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{ControlRequest, Done, Refusal, Reply};

/// A connection to a running daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

/// Why a daemon did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It can't be reached.
    #[error("no sipknock can be reached at {}: {error}: {}", path.display(), advice(error))]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It answered, and did not.
    #[error("{0}")]
    Refused(String),
    /// It went away, or says what is no answer.
    #[error("the daemon at {} broke off: {error}", path.display())]
    BrokeOff {
        /// The socket.
        path: PathBuf,
        /// How.
        error: io::Error,
    },
    /// What it said can't be written down.
    #[error("write the output: {0}")]
    Output(io::Error),
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody listens, or one may not.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)
            .and_then(|stream| stream.set_write_timeout(Some(PATIENCE)).map(|()| stream))
            .map_err(|error| ClientError::Unreachable { path: path.to_owned(), error })?;
        Ok(Self { stream: BufReader::new(stream), path: path.to_owned() })
    }

    /// Asks, and gives each line of the answer but the last to `each`.
    ///
    /// # Errors
    /// Where it is refused, or does not come to its end, or `each` has one.
    pub fn ask(
        &mut self,
        request: &ControlRequest,
        mut each: impl FnMut(Reply) -> io::Result<()>,
    ) -> Result<Done, ClientError> {
        let endless = matches!(request, ControlRequest::Watch {});
        // A reload compiles ten thousand knocks, and a list has a million doors; nothing takes so long for one line.
        let patience = (!endless).then_some(PATIENCE);
        self.stream.get_ref().set_read_timeout(patience).map_err(|error| self.broke_off(error))?;
        let line = request.line().map_err(|error| self.broke_off(error.into()))?;
        self.stream.get_mut().write_all(&line).map_err(|error| self.broke_off(error))?;
        let mut line = Vec::new();
        loop {
            line.clear();
            match self.stream.read_until(b'\n', &mut line) {
                Ok(0) if endless => return Ok(Done::default()),
                Ok(0) => return Err(self.broke_off(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Err(self.broke_off(error)),
            }
            match serde_json::from_slice(&line) {
                Ok(Reply::Done(done)) => return Ok(done),
                Ok(Reply::Error(Refusal { text, .. })) => return Err(ClientError::Refused(text)),
                Ok(answer) => each(answer).map_err(ClientError::Output)?,
                Err(error) => return Err(self.broke_off(error.into())),
            }
        }
    }

    fn broke_off(&self, error: io::Error) -> ClientError {
        ClientError::BrokeOff { path: self.path.clone(), error }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "run this as root, or as a member of the group sipknock",
        _ => "is 'sipknock run' running? --control PATH names another socket",
    }
}

/// How long a daemon may take for the next line.
const PATIENCE: Duration = Duration::from_secs(60);
