//! Connections, kept within bounds, on a thread of their own.
//!
//! Whoever opens a thousand connections takes places from others who have none to ask for: when all are taken, the oldest
//! one makes room. Who sends his request byte by byte, or reads his answer so, is cut off.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::answer::{self, Asked};
use super::service::PageService;
use crate::clock::Clock;
use crate::time::Time;

/// A listening socket and its connections.
#[derive(Debug)]
pub struct HttpServer {
    serving: JoinHandle<()>,
    /// Ends it when it is dropped.
    stop: oneshot::Sender<Infallible>,
}

impl HttpServer {
    /// Starts to serve. `names` are those of hosts that are answered to, beside addresses and `localhost`.
    ///
    /// An address that can't be had is tried for again and again: at boot its interface may not be up yet, and a port may
    /// still be that of a process which makes room for this one. The service is told.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(
        address: SocketAddr,
        names: Vec<String>,
        clock: Clock,
        service: impl PageService,
    ) -> io::Result<Self> {
        let first = bind(address);
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            let server = ServerState {
                service: RefCell::new(service),
                names,
                clock,
                evicted: Cell::new(0),
                checks: ClientPace::default(),
                scrapes: ClientPace::default(),
                looks: ClientPace::default(),
            };
            let local = LocalSet::new();
            runtime.block_on(local.run_until(async move {
                let server = Rc::new(server);
                spawn_local(tick(Rc::clone(&server)));
                spawn_local(listen(first, address, server));
                let _ = stopped.await;
            }));
        };
        let serving = thread::Builder::new().name("http".to_owned()).spawn(serve)?;
        Ok(Self { serving, stop })
    }

    /// Closes everything.
    pub fn finish(self) {
        drop(self.stop);
        // It can't panic where panics end the process.
        let _ = self.serving.join();
    }
}

/// What all connections share.
struct ServerState<S> {
    service: RefCell<S>,
    names: Vec<String>,
    clock: Clock,
    /// Connections that made room for others.
    evicted: Cell<u64>,
    checks: ClientPace,
    scrapes: ClientPace,
    looks: ClientPace,
}

async fn tick<S: PageService>(server: Rc<ServerState<S>>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        server.service.borrow_mut().tick();
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Waits until the address can be had, and serves there. The service hears of the first failure, and of success.
async fn listen<S: PageService>(
    first: io::Result<TcpListener>,
    address: SocketAddr,
    server: Rc<ServerState<S>>,
) {
    let mut tried = first.and_then(tokio::net::TcpListener::from_std);
    if let Err(error) = &tried {
        server.service.borrow_mut().listening(address, Err(error));
    }
    let listener = loop {
        match tried {
            Ok(listener) => break listener,
            Err(_) => sleep(TICK).await,
        }
        tried = bind(address).and_then(tokio::net::TcpListener::from_std);
    };
    server.service.borrow_mut().listening(address, Ok(()));
    accept(listener, server).await;
}

async fn accept<S: PageService>(listener: tokio::net::TcpListener, server: Rc<ServerState<S>>) {
    let mut seats: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                seats.retain(|seat| !seat.is_finished());
                while seats.len() >= MAX_CONNECTIONS {
                    seats.pop_front().inspect(AbortHandle::abort);
                    server.evicted.set(server.evicted.get() + 1);
                }
                seats.push_back(spawn_local(serve(stream, Rc::clone(&server))).abort_handle());
            }
            // Too many open files, most likely: whoever waits can wait a little longer.
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// One connection, to its end.
async fn serve<S: PageService>(stream: TcpStream, server: Rc<ServerState<S>>) {
    let respond = service_fn(|request| respond(request, &server));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_REQUEST);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), respond));
    if timeout(LONGEST, connection.as_mut()).await.is_err() {
        // After the answer that is on its way, if it is taken.
        connection.as_mut().graceful_shutdown();
        // An error means that he is gone, or might as well be.
        let _ = timeout(PATIENCE, connection).await;
    }
}

async fn respond<S: PageService>(
    request: Request<Incoming>,
    server: &ServerState<S>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let answer = match answer::read(&request, &server.names) {
        Ok(Asked::Fixed(kind, text)) => answer::fixed(kind, text),
        Ok(Asked::Health) => {
            server.checks.turn(server.clock, || answer::health(&server.service.borrow_mut().faults())).await
        }
        Ok(Asked::Metrics) => {
            let evicted = server.evicted.get();
            server
                .scrapes
                .turn(server.clock, || answer::metrics(server.service.borrow_mut().metrics(evicted)))
                .await
        }
        Ok(Asked::Status(wanted)) => {
            server
                .looks
                .turn(server.clock, || answer::status(&server.service.borrow_mut().status(&wanted)))
                .await
        }
        Err(refusal) => answer::refused(refusal),
    };
    Ok(answer.map(Full::new))
}

/// Keeps what costs something from being asked for all the time: of a core it takes a tenth at most.
#[derive(Debug, Default)]
struct ClientPace {
    next: Cell<Time>,
}

impl ClientPace {
    async fn turn<T>(&self, clock: Clock, work: impl FnOnce() -> T) -> T {
        loop {
            let wait = self.next.get().since(clock.now());
            if wait.is_zero() {
                break;
            }
            sleep(wait).await;
        }
        let began = clock.now();
        let done = work();
        let ended = clock.now();
        self.next.set(ended.after(ended.since(began) * REST));
        done
    }
}

/// How often the service looks at what changes.
pub const TICK: Duration = Duration::from_secs(2);

/// More than there are people and programs to look at one gate.
pub const MAX_CONNECTIONS: usize = 64;

/// How long a request may take to arrive, and so how long a connection may be idle.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection may last. A browser opens another one.
const LONGEST: Duration = Duration::from_secs(60);

/// A request's line and header fields, in bytes and in fields.
const MAX_REQUEST: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// So many times what an answer took is left to others before the next of its kind.
const REST: u32 = 9;

const PAUSE: Duration = Duration::from_millis(50);
