//! Handing over, and taking over, between two ends of a socket pair: the queues are fakes, all else is as it is.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use crate::control::protocol::{ControlRequest, Done, Refusal, RefusalKind};
use crate::control::server::{ControlServer, RequestHandler, Say};
use crate::control::socket::Socket;
use crate::control::takeover::{FORMAT, TakeoverConnection, TakeoverMessage};
use crate::control::watch::Watch;
use crate::daemon::error::DaemonError;
use crate::daemon::maintenance::Maintenance;
use crate::daemon::outbound::OutboundReader;
use crate::daemon::systemd::Systemd;
use crate::daemon::takeover::doors::read_doors;
use crate::daemon::takeover::outgoing::{Handover, TakeoverListener, TakeoverRequest};
use crate::daemon::testing::{FakeKernel, Stand, config, datagram, eventually, gate, options, source, waker};
use crate::daemon::workers::{WorkerContext, WorkerPool};
use crate::door::Grant;
use crate::net::Prefixes;
use crate::queue::fake::FakeFault;
use crate::verdict::Verdict;

const SECRET: &str = "secret-one-of-alice";

/// A gate with the queues 3 and 4, a door that is open, and a control socket.
struct Site {
    stand: Stand,
    kernel: FakeKernel,
    pool: WorkerPool,
    outbound: Arc<OutboundReader>,
    exit: TakeoverListener,
    requests: Receiver<TakeoverRequest>,
    server: ControlServer,
    woken: UnixStream,
    folder: TempDir,
}

/// Nobody asks it anything.
struct Silent;

impl RequestHandler for Silent {
    fn carry_out(&self, _: ControlRequest, _: Say<'_>) -> std::io::Result<Result<Done, Refusal>> {
        Ok(Ok(Done::default()))
    }

    fn hand_over(&self, _: &UnixStream, _: u64) -> std::io::Result<Refusal> {
        Ok(Refusal::failed("no"))
    }

    fn watch(&self) -> Option<Watch> {
        None
    }
}

impl Site {
    fn new(obstacle: Option<&'static str>) -> Self {
        let stand = Stand::new(gate(&[("alice", SECRET)]));
        let grant = Grant { knock: stand.knock("alice"), life: Duration::from_secs(60), registration: None };
        stand.gate().doors().knock(source(1), stand.now(), &[grant]);
        let (kernel, common) = (FakeKernel::default(), stand.context.clone());
        let outbound = Arc::new(OutboundReader::new(common.clone(), Vec::new()));
        let context = WorkerContext {
            common: common.clone(),
            queues: Box::new(kernel.clone()),
            taps: Vec::new(),
            outbound: Arc::clone(&outbound),
            waker: waker().0,
        };
        let mut pool = WorkerPool::new(context, Systemd::of(None));
        let mut maintenance = Maintenance::new(common, false);
        for number in [3, 4] {
            pool.add(kernel.bind(number), &options(number), maintenance.watch(number)).unwrap();
        }
        pool.start().unwrap();
        let (waker, woken) = waker();
        let (exit, requests) = TakeoverListener::new(waker, obstacle, true);
        let folder = tempfile::tempdir().unwrap();
        let socket = Socket::make(&folder.path().join("control.sock")).unwrap();
        let server = ControlServer::start(socket, stand.context.clock, Arc::new(Silent)).unwrap();
        Self { stand, kernel, pool, outbound, exit, requests, server, woken, folder }
    }

    /// Serves one connection of a process that wants to take over, as the main thread and that of the client do. `newcomer` is
    /// the other process. Whether all was handed over.
    fn serve(
        &mut self,
        newcomer: impl FnOnce(TakeoverConnection) + Send,
    ) -> (Result<bool, DaemonError>, std::io::Result<Refusal>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let gate = self.stand.gate();
        let (exit, requests) = (&self.exit, &self.requests);
        thread::scope(|scope| {
            let client = receive(scope, exit, &ours, FORMAT);
            let newcomer = scope.spawn(|| newcomer(TakeoverConnection::new(theirs)));
            let mut request = requests.recv().unwrap();
            let mut handover = Handover {
                workers: &mut self.pool,
                outbound: &self.outbound,
                gate: &gate,
                clock: self.stand.context.clock,
                server: &self.server,
                exit,
                sink: &self.stand.context.sink,
            };
            let outcome = handover.hand_over(&mut request);
            drop(request);
            newcomer.join().unwrap();
            (outcome, client.join().unwrap())
        })
    }

    /// It goes on: packets are decided, and doors can be changed.
    fn goes_on(&self) {
        let side = self.kernel.side(3);
        side.put([datagram(1, "through the door")]);
        eventually(|| side.verdicts() == [Verdict::Accept]);
        assert!(self.exit.changing().is_some());
        let texts = self.stand.texts();
        assert!(
            texts.len() == 1 && texts[0].contains("could not take over, and this gate continues"),
            "{texts:?}"
        );
    }
}

/// The thread of a client that has asked for a takeover.
fn receive<'scope>(
    scope: &'scope Scope<'scope, '_>,
    exit: &'scope TakeoverListener,
    stream: &'scope UnixStream,
    format: u64,
) -> ScopedJoinHandle<'scope, std::io::Result<Refusal>> {
    scope.spawn(move || exit.receive(stream, format, Prefixes::default(), vec![3, 4], false, None))
}

const SOON: Duration = Duration::from_secs(20);

fn go(line: &mut TakeoverConnection) {
    let TakeoverMessage::Offer(offer) = line.hear(SOON).unwrap() else { panic!("no offer") };
    assert_eq!((offer.queues, offer.rules, offer.pid), (vec![3, 4], true, std::process::id()));
    line.say(&TakeoverMessage::Go {}).unwrap();
}

fn error(line: &mut TakeoverConnection) -> String {
    match line.hear(SOON).unwrap() {
        TakeoverMessage::Error(refusal) => refusal.text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn queues_doors_and_the_socket_go_to_the_process_that_asks() {
    let mut site = Site::new(None);
    let (outcome, last) = site.serve(|mut line| {
        go(&mut line);
        let handed = TakeoverMessage::Handed { queues: vec![3, 4], outbound: false };
        assert_eq!(line.hear(SOON).unwrap(), handed);
        let descriptors = line.descriptors();
        assert_eq!(descriptors.len(), 4);
        let doors = read_doors(descriptors.into_iter().nth(1).unwrap()).unwrap();
        assert_eq!((doors.names, doors.doors.len()), (vec!["alice".to_owned()], 1));
        line.say(&TakeoverMessage::Taken {}).unwrap();
        assert_eq!(line.hear(SOON).unwrap(), TakeoverMessage::Done {});
    });
    assert!(outcome.unwrap());
    assert_eq!(last.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted, "all is said");
    // This process changes nothing any more, and leaves the socket's name to the other.
    assert!(site.exit.changing().is_none());
    site.kernel.side(3).put([datagram(9, "for the other one")]);
    assert!(site.kernel.side(3).verdicts().is_empty());
    site.server.finish();
    assert!(site.folder.path().join("control.sock").exists());
}

#[test]
fn a_process_that_breaks_off_leaves_the_gate_as_it_was() {
    type Newcomer = fn(TakeoverConnection);
    let ways: [(&str, Newcomer); 3] = [
        ("it ends", |mut line| go(&mut line)),
        ("it says that it can't", |mut line| {
            go(&mut line);
            line.hear(SOON).unwrap();
            line.say(&TakeoverMessage::Error(Refusal::failed("no such queue"))).unwrap();
            assert_eq!(error(&mut line), "not handed over: no such queue");
        }),
        ("it says something else", |mut line| {
            go(&mut line);
            line.hear(SOON).unwrap();
            line.say(&TakeoverMessage::Go {}).unwrap();
            assert!(error(&mut line).contains("something else than was its turn"));
        }),
    ];
    for (name, newcomer) in ways {
        let mut site = Site::new(None);
        assert!(!site.serve(newcomer).0.unwrap(), "{name}");
        site.goes_on();
    }
}

#[test]
fn a_queue_that_is_stuck_is_not_handed_over_and_the_gate_goes_on() {
    let mut site = Site::new(None);
    let stuck = site.kernel.side(4);
    stuck.fail(FakeFault::Hang);
    let (outcome, _) = site.serve(|mut line| {
        go(&mut line);
        assert!(error(&mut line).contains("queue 4"));
    });
    assert!(!outcome.unwrap());
    site.goes_on();
    stuck.free();
}

#[test]
fn a_queue_that_has_failed_ends_the_gate_and_the_other_process_hears_why() {
    let mut site = Site::new(None);
    site.kernel.side(4).fail(FakeFault::Error);
    let (outcome, _) = site.serve(|mut line| {
        go(&mut line);
        assert!(error(&mut line).contains("ENETDOWN"));
    });
    assert!(matches!(outcome, Err(DaemonError::Queue(_))), "{outcome:?}");
}

#[test]
fn what_can_not_be_handed_over_is_refused_before_anything_stops() {
    for (name, obstacle, format, say, expected, text) in [
        ("an obstacle", Some("it has its reasons"), FORMAT, None, RefusalKind::Failed, "it has its reasons"),
        ("an older form", None, FORMAT - 1, None, RefusalKind::Version, "hands over in another form"),
        (
            "a wrong word",
            None,
            FORMAT,
            Some(TakeoverMessage::Taken {}),
            RefusalKind::BadRequest,
            "the word is",
        ),
    ] {
        let site = Site::new(obstacle);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let refusal = thread::scope(|scope| {
            let client = receive(scope, &site.exit, &ours, format);
            let line = TakeoverConnection::new(theirs);
            say.iter().for_each(|word| line.say(word).unwrap());
            client.join().unwrap().unwrap()
        });
        assert!(refusal.kind == expected && refusal.text.contains(text), "{name}: {refusal:?}");
        assert!(site.requests.try_recv().is_err(), "{name}: the main thread does not hear of it");
    }
}

#[test]
fn one_process_takes_over_at_a_time() {
    let site = Site::new(None);
    let [(ours, theirs), (our_second, their_second)] = [(); 2].map(|()| UnixStream::pair().unwrap());
    thread::scope(|scope| {
        let first = receive(scope, &site.exit, &ours, FORMAT);
        go(&mut TakeoverConnection::new(theirs));
        (&site.woken).read_exact(&mut [0]).unwrap();
        let second = receive(scope, &site.exit, &our_second, FORMAT);
        go(&mut TakeoverConnection::new(their_second));
        let refusal = second.join().unwrap();
        // The first one is released before anything is asserted: the scope waits for its thread.
        drop(site.requests.recv().unwrap());
        assert!(first.join().unwrap().is_err());
        let refusal = refusal.unwrap();
        assert_eq!(
            (refusal.kind, refusal.text.as_str()),
            (RefusalKind::Full, "another process is taking over")
        );
    });
    // A gate that ends has no main thread that would hand over.
    let Site { exit, requests, .. } = site;
    drop(requests);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let refusal = thread::scope(|scope| {
        let client = receive(scope, &exit, &ours, FORMAT);
        go(&mut TakeoverConnection::new(theirs));
        client.join().unwrap().unwrap()
    });
    assert_eq!(refusal.text, "the gate is ending");
}

mod incoming {
    //! The other side, which asks a gate at a control socket.

    use std::os::fd::{AsFd as _, OwnedFd};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::control::takeover::{FIRST_FORMAT, Offer};
    use crate::daemon::takeover::doors::doors;
    use crate::daemon::takeover::incoming::TakeoverOffer;

    fn offer() -> Offer {
        Offer {
            version: "1".to_owned(),
            pid: 77,
            queues: vec![0],
            ipv4_prefix: 32,
            ipv6_prefix: 64,
            rules: false,
            grace: false,
            outbound: None,
        }
    }

    /// A configuration with its control socket in a folder.
    fn configured(folder: &TempDir, more: &str) -> crate::config::Config {
        let socket = folder.path().join("control.sock");
        config(&format!(
            "{more}\n[control]\nsocket = {socket:?}\n[[knock]]\nname = \"alice\"\nsecret = \"{SECRET}\"\n"
        ))
        .unwrap()
    }

    /// The request that a process has sent, and its connection.
    fn accept(listener: &UnixListener) -> (ControlRequest, TakeoverConnection) {
        let mut stream = listener.accept().unwrap().0;
        let (mut line, mut byte) = (Vec::new(), [0]);
        while line.last() != Some(&b'\n') {
            stream.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        (ControlRequest::parse(&line).unwrap(), TakeoverConnection::new(stream))
    }

    /// Asks a gate that answers so.
    fn ask(more: &str, grace: bool, answers: &[TakeoverMessage]) -> Result<Option<TakeoverOffer>, String> {
        let folder = tempfile::tempdir().unwrap();
        let config = configured(&folder, more);
        let listener = UnixListener::bind(folder.path().join("control.sock")).unwrap();
        thread::scope(|scope| {
            let old = scope.spawn(|| {
                let answer = |(n, word): (u64, &TakeoverMessage)| {
                    let (request, line) = accept(&listener);
                    assert_eq!(request, ControlRequest::Takeover { format: FORMAT - n });
                    line.say(word).unwrap();
                    line
                };
                (0..).zip(answers).map(answer).collect::<Vec<_>>()
            });
            let asked = TakeoverOffer::ask(&config, grace).map_err(|error| error.to_string());
            drop(old.join().unwrap());
            asked
        })
    }

    #[test]
    fn there_is_nothing_to_take_over_where_nobody_serves_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let config_of = configured(&folder, "");
        assert!(TakeoverOffer::ask(&config_of, false).unwrap().is_none(), "there is no socket");
        drop(UnixListener::bind(folder.path().join("control.sock")).unwrap());
        assert!(TakeoverOffer::ask(&config_of, false).unwrap().is_none(), "nobody listens");
        let off =
            config(&format!("[control]\nsocket = \"off\"\n[[knock]]\nname = \"a\"\nsecret = \"{SECRET}\"\n"));
        assert!(TakeoverOffer::ask(&off.unwrap(), false).is_err());
    }

    #[test]
    fn an_offer_that_does_not_fit_is_refused_with_what_to_do() {
        let says = |offer: Offer| TakeoverMessage::Offer(offer);
        let refusal = |kind, text: &str| TakeoverMessage::Error(Refusal { kind, text: text.to_owned() });
        for (more, grace, answers, expected) in [
            ("", false, vec![says(offer())], None),
            (
                "",
                false,
                vec![says(Offer { ipv4_prefix: 24, ..offer() })],
                Some("ipv4_prefix and ipv6_prefix are 24"),
            ),
            ("", false, vec![says(Offer { grace: true, ..offer() })], Some("'sipknock enforce' first")),
            ("", true, vec![says(Offer { grace: true, ..offer() })], None),
            ("", false, vec![refusal(RefusalKind::BadRequest, "do?")], Some("can't hand over: restart it")),
            ("", false, vec![refusal(RefusalKind::Failed, "not now")], Some("not now")),
            ("", false, vec![TakeoverMessage::Done {}], Some("something else than was its turn")),
            // One of before is asked for its form.
            ("", false, vec![refusal(RefusalKind::Version, "other"), says(offer())], None),
        ] {
            assert_eq!(FORMAT - 1, FIRST_FORMAT);
            let shown = format!("{answers:?}");
            match (ask(more, grace, &answers), expected) {
                (Ok(Some(asked)), None) => assert_eq!(asked.offer.pid, 77),
                (Err(error), Some(part)) => assert!(error.contains(part), "{shown}: {error}"),
                (other, _) => panic!("{shown}: {}", other.is_ok()),
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(folder.path().join("control.sock")).unwrap();
        let nfq = configured(&folder, "[queue]\nbackend = \"nfq\"");
        assert!(TakeoverOffer::ask(&nfq, false).err().unwrap().to_string().contains("backend nfq"));
    }

    /// Has a gate hand over so many descriptors beside its doors.
    fn take(descriptors: usize, damaged: bool) -> Result<(Vec<u16>, usize), String> {
        let folder = tempfile::tempdir().unwrap();
        let config = configured(&folder, "");
        let listener = UnixListener::bind(folder.path().join("control.sock")).unwrap();
        let stand = Stand::new(gate(&[("alice", SECRET)]));
        let grant = Grant { knock: stand.knock("alice"), life: Duration::from_secs(60), registration: None };
        stand.gate().doors().knock(source(1), stand.now(), &[grant]);
        let saved = doors(&stand.gate(), stand.context.clock).unwrap();
        let other = OwnedFd::from(tempfile::tempfile().unwrap());
        thread::scope(|scope| {
            let old = scope.spawn(|| {
                let (_, mut line) = accept(&listener);
                line.say(&TakeoverMessage::Offer(offer())).unwrap();
                assert_eq!(line.hear(SOON).unwrap(), TakeoverMessage::Go {});
                let mut rights = vec![other.as_fd(); descriptors];
                rights.insert(1.min(descriptors), if damaged { other.as_fd() } else { saved.as_fd() });
                line.say_with(&TakeoverMessage::Handed { queues: vec![0], outbound: false }, &rights)
                    .unwrap();
                if descriptors == 2 && !damaged {
                    assert_eq!(line.hear(SOON).unwrap(), TakeoverMessage::Taken {});
                    line.say(&TakeoverMessage::Done {}).unwrap();
                }
            });
            let asked = TakeoverOffer::ask(&config, false).unwrap().unwrap();
            let taken = asked.go().map_err(|error| error.to_string()).map(|(inherited, pending)| {
                pending.taken().unwrap();
                let queues = inherited.sockets.iter().map(|(number, _)| *number).collect();
                (queues, inherited.doors.map_or(0, |doors| doors.doors.len()))
            });
            old.join().unwrap();
            taken
        })
    }

    #[test]
    fn what_is_handed_over_is_taken_whole_or_not_at_all() {
        assert_eq!(take(2, false), Ok((vec![0], 1)));
        assert!(take(1, false).unwrap_err().contains("2 descriptors came for 1 queues"));
        assert!(take(3, false).unwrap_err().contains("4 descriptors came for 1 queues"));
        assert!(take(2, true).unwrap_err().contains("the doors: "));
    }
}
