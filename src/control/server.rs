//! Clients of the socket, each with a thread, kept within bounds.
//!
//! None of them is ever waited for by whoever decides packets: they are read from and written to here, within
//! [`PATIENCE`], and what a request looks at is locked for moments only.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::protocol::{ControlRequest, Done, MAX_REQUEST, PATIENCE, Refusal, RefusalKind, Reply};
use super::socket::Socket;
use super::takeover;
use super::watch::{Watch, WatchedEvent};
use crate::clock::Clock;
use crate::time::Time;

/// What carries requests out.
pub trait RequestHandler: Send + Sync + 'static {
    /// Carries a request out, any but [`ControlRequest::Watch`]. Lines before the last one go through `say`.
    ///
    /// # Errors
    /// Those of `say`, for then nobody is there to listen.
    fn carry_out(&self, request: ControlRequest, say: Say<'_>) -> io::Result<Result<Done, Refusal>>;

    /// Hands over to the process at the other end, as [`super::takeover`] has it. What is returned is said as the last word.
    ///
    /// # Errors
    /// Where nothing more is to be said, since all is said or nobody listens.
    fn hand_over(&self, stream: &UnixStream, format: u64) -> io::Result<Refusal>;

    /// Events from now on, where not too many watch already.
    fn watch(&self) -> Option<Watch>;
}

/// Takes a line of an answer.
pub type Say<'a> = &'a mut dyn FnMut(Reply) -> io::Result<()>;

/// A listening socket and its clients.
#[derive(Debug)]
pub struct ControlServer {
    accepting: JoinHandle<()>,
    /// Ends it when it is closed.
    stop: UnixStream,
    counts: ClientCounts,
    listener: OwnedFd,
    owned: Arc<AtomicBool>,
}

/// How many clients there are and were. Copies share it.
#[derive(Clone, Debug, Default)]
pub struct ClientCounts {
    /// Clients that are there.
    seated: Arc<AtomicUsize>,
    /// Those of them that are being answered.
    answered: Arc<AtomicUsize>,
    /// Those who found no place.
    refused: Arc<AtomicU64>,
}

impl ClientCounts {
    /// How many clients are there.
    pub fn seated(&self) -> usize {
        self.seated.load(Ordering::Relaxed).min(MAX_CLIENTS)
    }

    /// How many found no place, ever.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl ControlServer {
    /// Starts to take clients.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(socket: Socket, clock: Clock, service: Arc<impl RequestHandler>) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let (listener, owned) = (OwnedFd::from(socket.listener.try_clone()?), socket.owned());
        let counts = ClientCounts::default();
        let theirs = counts.clone();
        let accept = move || accept(&socket, &stopped, clock, &service, &theirs);
        let accepting = thread::Builder::new().name("control".to_owned()).spawn(accept)?;
        Ok(Self { accepting, stop, counts, listener, owned })
    }

    /// Another descriptor of the listening socket, for the process that goes on with it.
    ///
    /// # Errors
    /// Where the process has none left.
    pub fn listener(&self) -> io::Result<OwnedFd> {
        self.listener.try_clone()
    }

    /// From here on the socket's place in the file system is another process's.
    pub fn disown(&self) {
        self.owned.store(false, Ordering::SeqCst);
    }

    /// How many clients there are and were.
    pub fn counts(&self) -> ClientCounts {
        self.counts.clone()
    }

    /// Takes no more clients, and lets those that are being answered hear the end of it, if they listen.
    pub fn finish(self) {
        drop(self.stop);
        // It can't panic where panics end the process.
        let _ = self.accepting.join();
        for _ in 0..LAST_WORDS.as_millis() / PAUSE.as_millis() {
            if self.counts.answered.load(Ordering::Relaxed) == 0 {
                break;
            }
            thread::sleep(PAUSE);
        }
    }
}

fn accept(
    socket: &Socket,
    stopped: &UnixStream,
    clock: Clock,
    service: &Arc<impl RequestHandler>,
    counts: &ClientCounts,
) {
    let owned = socket.owned();
    loop {
        let mut descriptors =
            [socket.listener.as_fd(), stopped.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let polled = rustix::event::poll(&mut descriptors, None);
        // Whoever comes when the socket is another daemon's is for that one to take in.
        if !descriptors[1].revents().is_empty() || !owned.load(Ordering::SeqCst) {
            return;
        }
        match (polled, socket.listener.accept()) {
            (Ok(_), Ok((stream, _))) => seat(stream, clock, service, counts),
            (Ok(_), Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Too many open files, most likely: whoever waits can wait a little longer.
            _ => thread::sleep(PAUSE),
        }
    }
}

/// Gives a client a thread, or tells him that there are enough.
fn seat(mut stream: UnixStream, clock: Clock, service: &Arc<impl RequestHandler>, counts: &ClientCounts) {
    let seat = Seat::take(&counts.seated);
    if seat.number > MAX_CLIENTS {
        counts.refused.fetch_add(1, Ordering::Relaxed);
        let text = format!("{MAX_CLIENTS} clients are connected already: try again in a moment");
        if let Ok(mut line) = serde_json::to_vec(&Reply::Error(Refusal { kind: RefusalKind::Full, text })) {
            line.push(b'\n');
            // A new socket has room for a line.
            let _ = stream.set_nonblocking(true).and_then(|()| stream.write_all(&line));
        }
        return;
    }
    let (service, counts) = (Arc::clone(service), counts.clone());
    let serve = move || {
        let _seat = seat;
        // An error means that he is gone, or might as well be.
        let _ = ConnectedClient { stream, clock, unread: Vec::new() }.serve(&*service, &counts);
    };
    // Without a thread for him he sees the end at once.
    let _ = thread::Builder::new().name("control client".to_owned()).stack_size(STACK).spawn(serve);
}

struct Seat {
    taken: Arc<AtomicUsize>,
    number: usize,
}

impl Seat {
    fn take(taken: &Arc<AtomicUsize>) -> Self {
        Self { number: taken.fetch_add(1, Ordering::Relaxed) + 1, taken: Arc::clone(taken) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

struct ConnectedClient {
    stream: UnixStream,
    clock: Clock,
    unread: Vec<u8>,
}

impl ConnectedClient {
    fn serve(&mut self, service: &impl RequestHandler, counts: &ClientCounts) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        while let Some(line) = self.line()? {
            let _answering = Seat::take(&counts.answered);
            let mut out =
                Out { stream: &self.stream, clock: self.clock, until: Time::MAX, unsent: Vec::new() };
            let last = match ControlRequest::parse(&line) {
                Ok(ControlRequest::Watch {}) => match service.watch() {
                    Some(watch) => show(&watch, &mut out)?,
                    None => {
                        let text = "too many are watching already: end one of them".to_owned();
                        Reply::Error(Refusal { kind: RefusalKind::Full, text })
                    }
                },
                Ok(ControlRequest::Takeover { format }) => {
                    Reply::Error(service.hand_over(&self.stream, format)?)
                }
                Ok(ControlRequest::Rules { .. }) if !takeover::is_root(&self.stream) => {
                    let text = "only root says how the firewall's rules are".to_owned();
                    Reply::Error(Refusal { kind: RefusalKind::NotAllowed, text })
                }
                Ok(request) => {
                    out.until = self.clock.now().after(LONGEST_ANSWER);
                    match service.carry_out(request, &mut |answer| out.add(&answer))? {
                        Ok(done) => Reply::Done(done),
                        Err(refusal) => Reply::Error(refusal),
                    }
                }
                Err(refusal) => Reply::Error(refusal),
            };
            out.add(&last)?;
            out.send()?;
        }
        Ok(())
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let until = self.clock.now().after(PATIENCE);
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread) {
                let rest = self.unread.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.unread, rest)));
            }
            if self.unread.len() > MAX_REQUEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.stream.set_read_timeout(Some(left(self.clock, until)?))?;
            let mut buffer = [0; MAX_REQUEST];
            match self.stream.read(&mut buffer)? {
                0 => return Ok(None),
                length => self.unread.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            }
        }
    }
}

/// Shows events until the daemon ends or nobody is there to see them.
fn show(watch: &Watch, out: &mut Out<'_>) -> io::Result<Reply> {
    loop {
        // What waits goes out together.
        let patience = if out.unsent.is_empty() { LOOK_UP } else { Duration::ZERO };
        match watch.next(patience) {
            WatchedEvent::Event(time, event) => out.add(&Reply::Event(event.to_json(time)))?,
            WatchedEvent::Lost(count) => out.add(&Reply::Lost(count))?,
            WatchedEvent::Nothing if out.unsent.is_empty() => out.look_for_the_client()?,
            WatchedEvent::Nothing => out.send()?,
            WatchedEvent::End => return Ok(Reply::Done(Done::default())),
        }
    }
}

/// Lines on their way to a client.
struct Out<'a> {
    stream: &'a UnixStream,
    clock: Clock,
    /// When it is enough.
    until: Time,
    unsent: Vec<u8>,
}

impl Out<'_> {
    fn add(&mut self, answer: &Reply) -> io::Result<()> {
        serde_json::to_writer(&mut self.unsent, answer)?;
        self.unsent.push(b'\n');
        if self.unsent.len() < CHUNK { Ok(()) } else { self.send() }
    }

    /// Sends all, within [`PATIENCE`].
    fn send(&mut self) -> io::Result<()> {
        let until = self.clock.now().after(PATIENCE).min(self.until);
        let mut rest = self.unsent.as_slice();
        while !rest.is_empty() {
            self.stream.set_write_timeout(Some(left(self.clock, until)?))?;
            match (&mut &*self.stream).write(rest) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.unsent.clear();
        Ok(())
    }

    /// An error where the client has left.
    fn look_for_the_client(&self) -> io::Result<()> {
        let mut descriptors = [PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::RDHUP)];
        rustix::event::poll(&mut descriptors, Some(&Timespec::default()))?;
        let gone = descriptors[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR);
        if gone { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

/// The time that is left, and an error where none is.
fn left(clock: Clock, until: Time) -> io::Result<Duration> {
    let left = until.since(clock.now());
    if left < Duration::from_millis(1) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Clients at a time: more than people and programs have need of, and a few threads.
pub const MAX_CLIENTS: usize = 32;

/// A client's thread walks no deep calls.
const STACK: usize = 256 * 1024;

/// As much of an answer as leaves at once.
const CHUNK: usize = 16 * 1024;

/// A million doors are read in a tenth of it.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);

/// How often one who watches a quiet gate is looked after.
const LOOK_UP: Duration = Duration::from_millis(500);

/// How long the daemon's end waits for answers to be heard.
const LAST_WORDS: Duration = Duration::from_millis(500);

const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::path::Path;
    use std::sync::Mutex;

    use serde_json::Value;

    use super::*;
    use crate::control::client::{Client, ClientError};
    use crate::control::watch::Watchers;
    use crate::event::Event;

    #[derive(Default)]
    struct Echo {
        watchers: Watchers,
        asked: Mutex<Vec<ControlRequest>>,
    }

    impl RequestHandler for Echo {
        fn carry_out(&self, request: ControlRequest, say: Say<'_>) -> io::Result<Result<Done, Refusal>> {
            self.asked.lock().unwrap().push(request.clone());
            Ok(match request {
                ControlRequest::Doors { .. } => {
                    // Far more than any socket buffer takes.
                    (0..100_000).try_for_each(|count| say(Reply::Lost(count)))?;
                    Ok(Done { doors: Some(100_000), ..Done::default() })
                }
                ControlRequest::Close { address, .. } => Err(Refusal::not_found(address)),
                _ => Ok(Done::default()),
            })
        }

        fn hand_over(&self, _: &UnixStream, _: u64) -> io::Result<Refusal> {
            Ok(Refusal::failed("there is nothing to hand over"))
        }

        fn watch(&self) -> Option<Watch> {
            self.watchers.add()
        }
    }

    fn start(folder: &Path) -> (ControlServer, Arc<Echo>, std::path::PathBuf) {
        let path = folder.join("control.sock");
        let service = Arc::<Echo>::default();
        let socket = Socket::make(&path).unwrap();
        (ControlServer::start(socket, Clock::start(), Arc::clone(&service)).unwrap(), service, path)
    }

    #[test]
    fn one_client_asks_several_times() {
        let folder = tempfile::tempdir().unwrap();
        let (server, service, path) = start(folder.path());
        let mut client = Client::connect(&path).unwrap();
        let mut lines = 0;
        let all = ControlRequest::Doors { knock: None, source: None };
        let done = client.ask(&all, |_| {
            lines += 1;
            Ok(())
        });
        assert_eq!((done.unwrap().doors, lines), (Some(100_000), 100_000));
        let close = ControlRequest::Close { address: "nobody".into(), mark: false };
        match client.ask(&close, |_| Ok(())) {
            Err(ClientError::Refused(text)) => assert_eq!(text, "nobody"),
            other => panic!("{other:?}"),
        }
        assert_eq!(*service.asked.lock().unwrap(), [all, close]);
        server.finish();
        assert!(!path.exists());
        assert!(matches!(Client::connect(&path), Err(ClientError::Unreachable { .. })));
    }

    #[test]
    fn a_socket_goes_from_one_daemon_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let (old, first, path) = start(folder.path());
        let listener = old.listener().unwrap();
        old.disown();
        let waiting = UnixStream::connect(&path).unwrap();
        let second = Arc::<Echo>::default();
        let socket = Socket::adopt(listener, &path).unwrap();
        let new = ControlServer::start(socket, Clock::start(), Arc::clone(&second)).unwrap();
        old.finish();
        Client::connect(&path).unwrap().ask(&ControlRequest::Flush {}, |_| Ok(())).unwrap();
        // Also whoever came in between is served, and by the new one.
        (&waiting).write_all(&ControlRequest::Flush {}.line().unwrap()).unwrap();
        let mut line = String::new();
        BufReader::new(&waiting).read_line(&mut line).unwrap();
        assert!(line.contains("done"), "{line}");
        assert_eq!((first.asked.lock().unwrap().len(), second.asked.lock().unwrap().len()), (0, 2));
        new.finish();
        assert!(!path.exists());
    }

    #[test]
    fn nonsense_is_answered_and_what_never_ends_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (_server, _, path) = start(folder.path());
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"\xff\xfe\n{}\n").unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        for _ in 0..2 {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            assert_eq!(line["error"]["kind"], "bad-request");
        }
        let _ = stream.write_all(&[b'x'; 3 * MAX_REQUEST]);
        assert!(lines.next().is_none_or(|line| line.is_err()), "he is shown the door");
    }

    #[test]
    fn a_thousand_clients_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let (_server, _, path) = start(folder.path());
        let clients: Vec<_> = (0..1000).filter_map(|_| UnixStream::connect(&path).ok()).collect();
        let mut refused = 0;
        for client in clients.iter().skip(MAX_CLIENTS) {
            let mut line = String::new();
            client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            if BufReader::new(client).read_line(&mut line).is_ok_and(|length| length > 0) {
                assert!(line.contains("\"full\""), "{line}");
                refused += 1;
            }
        }
        assert_eq!(refused, clients.len() - MAX_CLIENTS);
        drop(clients);
        // Seats are free again.
        let answered = (0..3000).any(|_| {
            thread::sleep(Duration::from_millis(20));
            Client::connect(&path).unwrap().ask(&ControlRequest::Flush {}, |_| Ok(())).is_ok()
        });
        assert!(answered);
    }

    #[test]
    fn who_watches_sees_events_and_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (server, service, path) = start(folder.path());
        let watching = thread::spawn(move || {
            let mut seen = Vec::new();
            let done = Client::connect(&path).unwrap().ask(&ControlRequest::Watch {}, |answer| {
                seen.push(answer);
                Ok(())
            });
            (done.unwrap(), seen)
        });
        let event = Arc::new(Event::Note("hello".into()));
        // Until he is there.
        while Arc::strong_count(&event) == 1 {
            service.watchers.tell(Time::default, &event);
            thread::sleep(Duration::from_millis(1));
        }
        service.watchers.end();
        let (done, seen) = watching.join().unwrap();
        assert_eq!(done, Done::default());
        let Some(Reply::Event(shown)) = seen.first() else { panic!("{seen:?}") };
        assert_eq!((&shown["message"], &shown["level"]), (&"hello".into(), &"INFO".into()));
        server.finish();
    }
}
