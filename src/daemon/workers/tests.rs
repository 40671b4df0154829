//! The pool of queue threads, with queues that are fakes and a clock that stands still.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::daemon::testing::{
    FakeKernel, Stand, config, counters, datagram, eventually, gate, options, waker,
};
use crate::queue::fake::FakeFault;
use crate::queue::{QueueError, Unanswered};
use crate::verdict::{Reason, Verdict};

const SECRET: &str = "secret-one-of-alice";

/// A pool with the queues 3 and 4, whose threads run.
struct Site {
    stand: Stand,
    kernel: FakeKernel,
    maintenance: Maintenance,
    pool: WorkerPool,
    rings: UnixStream,
}

impl Site {
    fn new() -> Self {
        let stand = Stand::new(gate(&[("alice", SECRET)]));
        let (kernel, (waker, rings)) = (FakeKernel::default(), waker());
        let common = stand.context.clone();
        let outbound = Arc::new(OutboundReader::new(common.clone(), Vec::new()));
        let queues = Box::new(kernel.clone());
        let context = WorkerContext { common: common.clone(), queues, taps: Vec::new(), outbound, waker };
        let mut pool = WorkerPool::new(context, Systemd::of(None));
        let mut maintenance = Maintenance::new(common, false);
        for number in [4, 3] {
            pool.add(kernel.bind(number), &options(number), maintenance.watch(number)).unwrap();
        }
        pool.start().unwrap();
        Self { stand, kernel, maintenance, pool, rings }
    }

    /// Waits until a thread has said that it ends, and until it has.
    fn wait_for_end(&mut self) {
        self.rings.read_exact(&mut [0]).unwrap();
        eventually(|| self.pool.slots.iter().any(Slot::is_finished));
    }

    /// As many looks at the queues, which go well.
    fn look(&mut self, times: usize) {
        (0..times).for_each(|_| self.pool.check().unwrap());
    }

    fn numbers(&self) -> Vec<u16> {
        self.pool.bindings().iter().map(|binding| binding.queue).collect()
    }

    fn fault(&self, number: u16) -> Option<Fault> {
        let queues = self.pool.health().queues();
        let queue = queues.iter().find(|queue| queue.binding.queue == number).unwrap();
        queue.fault.map(|(fault, _)| fault)
    }

    /// Has a packet of this source decided, and says how.
    fn decide(&self, number: u16, source: u8, payload: &str) -> Verdict {
        let side = self.kernel.side(number);
        let before = side.verdicts().len();
        side.put([datagram(source, payload)]);
        eventually(|| side.verdicts().len() > before);
        side.verdicts()[before]
    }
}

#[test]
fn each_packet_gets_its_verdict_and_is_counted_and_told() {
    let mut site = Site::new();
    let knock = datagram(1, &format!("OPTIONS {SECRET}"));
    site.kernel.side(3).put([knock.clone(), datagram(1, "open"), datagram(9, "stranger")]);
    eventually(|| site.kernel.side(3).waiting() == 0);
    assert_eq!(site.kernel.side(3).verdicts(), [Verdict::Accept, Verdict::Accept, Verdict::Drop]);
    assert_eq!(site.decide(4, 1, "by the other queue"), Verdict::Accept, "the doors are one table");
    site.pool.shut().unwrap();
    let totals = site.maintenance.totals();
    let counts: Vec<_> = totals.occurred().collect();
    assert_eq!(counts, [(Reason::Knock, 1), (Reason::Door, 2), (Reason::NoKnock, 1)]);
    let opened = site.stand.events();
    assert!(matches!(opened.as_slice(), [Event::Knock(_)]), "{opened:?}");
}

#[test]
fn a_retired_queue_is_drained_while_the_other_goes_on() {
    let mut site = Site::new();
    let side = site.kernel.side(3);
    side.fail(FakeFault::Hang);
    side.put([datagram(9, "waits"), datagram(9, "waits, too")]);
    site.pool.retire(&[3]).unwrap();
    assert_eq!(site.numbers(), [4], "at once");
    side.free();
    site.wait_for_end();
    site.pool.join_ended().unwrap();
    assert_eq!(side.verdicts(), [Verdict::Drop; 2]);
    assert_eq!((site.pool.slots.len(), site.pool.health().queues().len()), (1, 1));
    site.look(1);
    assert_eq!(site.decide(4, 1, SECRET), Verdict::Accept);
    assert_eq!(site.stand.texts(), [""; 0], "that is no fault");
}

#[test]
fn counts_of_a_retired_queue_stay() {
    let mut site = Site::new();
    site.kernel.side(3).count(counters(5, 1));
    site.kernel.side(4).count(counters(2, 0));
    site.pool.retire(&[3]).unwrap();
    site.wait_for_end();
    site.pool.join_ended().unwrap();
    site.pool.shut().unwrap();
    assert_eq!(site.pool.finish(), (0, counters(7, 1)));
}

#[test]
fn a_stuck_queue_gets_another_thread_and_ends_the_gate_if_that_does_not_help() {
    let mut site = Site::new();
    let old = site.kernel.side(3);
    old.fail(FakeFault::Hang);
    old.put([datagram(1, SECRET)]);
    site.look(4);
    assert_eq!((site.kernel.ever(), site.fault(3)), (2, None), "not yet");
    site.look(1);
    assert_eq!((site.kernel.ever(), site.fault(3)), (3, Some(Fault::Stuck)));
    let told = site.stand.events();
    let [Event::QueueFault { queue: 3, fault: Fault::Stuck, waiting: 1 }, Event::Note(note)] =
        told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert!(note.contains("queue 3 is bound again"), "{note}");
    // The other thread works, which proves that this has helped.
    assert_eq!(site.decide(3, 9, "stranger"), Verdict::Drop);
    site.look(1);
    assert_eq!((site.fault(3), site.fault(4)), (None, None));
    // Freed, the old thread leaves what waits to the kernel, which has dropped it.
    old.free();
    site.rings.read_exact(&mut [0]).unwrap();
    assert_eq!(old.verdicts(), []);

    // Once more, and nothing is decided after it.
    for _ in 0..2 {
        let side = site.kernel.side(3);
        side.fail(FakeFault::Hang);
        side.put([datagram(1, SECRET)]);
        site.look(4);
        match site.kernel.ever() {
            3 => site.look(1),
            _ => assert!(matches!(site.pool.check(), Err(DaemonError::Stuck { queue: 3 }))),
        }
        side.free();
    }
    assert_eq!(site.kernel.ever(), 4);
}

#[test]
fn a_stolen_queue_is_tried_again_at_each_look_and_told_once_a_minute() {
    let mut site = Site::new();
    site.kernel.steal(3);
    site.kernel.refuse(true);
    site.look(1);
    let told = site.stand.events();
    let [Event::QueueFault { queue: 3, fault: Fault::Lost, .. }, Event::Warning(text)] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert!(text.contains("queue 3 can't be bound again") && text.contains("process 9, thief"), "{text}");
    site.look(3);
    assert_eq!(site.stand.events(), []);
    site.stand.hand.advance(Duration::from_secs(60));
    site.look(1);
    assert_eq!(site.stand.texts().len(), 1);
    assert_eq!((site.fault(3), site.fault(4)), (Some(Fault::Lost), None));
    site.kernel.refuse(false);
    site.look(1);
    assert_eq!(site.fault(3), None);
    assert_eq!(site.decide(3, 1, SECRET), Verdict::Accept);
    assert_eq!(site.pool.health().queues()[0].faults, 1, "one fault, however often it was tried");
}

#[test]
fn a_table_that_cannot_be_read_says_nothing_of_queues() {
    let mut site = Site::new();
    site.kernel.steal(3);
    site.kernel.hide(true);
    site.look(9);
    assert_eq!((site.stand.events(), site.kernel.ever()), (vec![], 2));
    site.kernel.hide(false);
    site.look(1);
    assert_eq!(site.kernel.ever(), 3);
}

#[test]
fn losses_are_told_with_what_there_is_room_for() {
    let mut site = Site::new();
    site.kernel.lose(3, 10, 0);
    site.look(1);
    site.kernel.lose(4, 0, 7);
    site.look(1);
    let kernel = Event::Overload { queue: 3, place: "kernel", count: 10, limit: 1024 };
    let socket = Event::Overload { queue: 4, place: "socket", count: 7, limit: 4096 };
    assert_eq!(site.stand.events(), [kernel, socket]);
    // Later ones are told at the end.
    site.kernel.lose(3, 2, 0);
    site.look(1);
    assert_eq!(site.stand.events(), []);
    site.pool.shut().unwrap();
    site.kernel.side(4).put([datagram(9, "nobody decides it")]);
    let (waiting, _) = site.pool.finish();
    let last = Event::Overload { queue: 3, place: "kernel", count: 2, limit: 1024 };
    assert_eq!((waiting, site.stand.events()), (1, vec![last]));
}

#[test]
fn a_panic_of_a_worker_is_not_swallowed() {
    let mut site = Site::new();
    site.kernel.side(3).fail(FakeFault::Panic);
    eventually(|| site.pool.slots.iter().any(Slot::is_finished));
    assert!(catch_unwind(AssertUnwindSafe(|| site.pool.join_ended())).is_err());
}

#[test]
fn an_error_of_a_worker_wakes_the_main_thread_and_ends_the_gate() {
    let mut site = Site::new();
    site.kernel.side(4).fail(FakeFault::Error);
    site.wait_for_end();
    let ended = site.pool.join_ended();
    assert!(matches!(ended, Err(DaemonError::Queue(QueueError::NetworkDown { queue: 4 }))), "{ended:?}");
}

#[test]
fn released_queues_stay_bound_and_are_served_again_after_a_resume() {
    let mut site = Site::new();
    site.pool.release().unwrap();
    let sockets: Vec<_> = site.pool.sockets().iter().map(|(number, _)| *number).collect();
    assert_eq!(sockets, [3, 4]);
    site.kernel.side(3).put([datagram(1, SECRET)]);
    assert!(site.kernel.side(3).verdicts().is_empty(), "it waits for the next process");
    site.pool.resume().unwrap();
    eventually(|| site.kernel.side(3).verdicts() == [Verdict::Accept]);
    assert_eq!(site.kernel.ever(), 2);
    assert!(site.pool.sockets().is_empty(), "its threads have them");
}

#[test]
fn a_queue_that_does_not_let_go_is_named_and_joined_later() {
    let mut site = Site::new();
    let side = site.kernel.side(4);
    side.fail(FakeFault::Hang);
    assert!(matches!(site.pool.release(), Err(DaemonError::Stuck { queue: 4 })));
    site.pool.resume().unwrap();
    assert_eq!(site.decide(3, 1, SECRET), Verdict::Accept);
    side.free();
    // Whether it has seen the release or not, it is at work in the end.
    side.put([datagram(9, "stranger")]);
    eventually(|| {
        site.pool.join_ended().unwrap();
        side.verdicts() == [Verdict::Drop]
    });
}

#[test]
fn the_end_waits_for_what_waits_but_not_for_a_thread_that_is_stuck() {
    let mut site = Site::new();
    let (stuck, busy) = (site.kernel.side(3), site.kernel.side(4));
    site.pool.health().set(3, Some(Fault::Stuck), site.stand.now());
    stuck.fail(FakeFault::Hang);
    busy.fail(FakeFault::Hang);
    busy.put((0..100).map(|_| datagram(9, "stranger")));
    let frees = thread::spawn({
        let busy = Arc::clone(&busy);
        move || busy.free()
    });
    site.pool.shut().unwrap();
    frees.join().unwrap();
    assert_eq!(busy.verdicts().len(), 100);
    stuck.free();
}

#[test]
fn queues_of_another_process_are_gone_on_with_or_shut() {
    let config =
        config(&format!("[queue]\nnumbers = \"3-5\"\n[[knock]]\nname = \"a\"\nsecret = \"{SECRET}\"\n"));
    let config = config.unwrap();
    // Messages to the kernel go nowhere.
    let (socket, _kernel) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let socket = || OwnedFd::from(socket.try_clone().unwrap());
    let mut site = Site::new();
    let sockets = vec![(3, socket()), (5, socket()), (9, socket())];
    let surplus = site.pool.inherit(sockets, &config, true, Unanswered::Drop, &mut site.maintenance).unwrap();
    assert_eq!((surplus, site.numbers()), (vec![9], vec![3, 4, 5, 9]));
    assert_eq!(site.kernel.ever(), 4, "3 is served already");
    let texts = site.stand.texts();
    assert!(texts.len() == 1 && texts[0].contains("queues [9] are no longer configured"), "{texts:?}");

    // Sockets of no use: a gate that runs goes on with its own, and those of one that is gone are bound again.
    let mut site = Site::new();
    site.kernel.refuse(true);
    let alive =
        site.pool.inherit(vec![(5, socket())], &config, true, Unanswered::Drop, &mut site.maintenance);
    let not_held =
        |error: &DaemonError| matches!(error, DaemonError::Queue(QueueError::NotHeld { queue: 5, .. }));
    assert!(alive.as_ref().is_err_and(not_held), "{alive:?}");
    let gone = site
        .pool
        .inherit(vec![(9, socket())], &config, false, Unanswered::Drop, &mut site.maintenance)
        .unwrap();
    assert_eq!((gone, site.numbers()), (vec![], vec![3, 4]), "nobody wants it");
    assert!(site.stand.texts()[0].contains("that the service manager has kept is bound again"));
    site.kernel.refuse(false);
    // One that is configured and not handed over.
    let missing = site.pool.inherit(vec![], &config, true, Unanswered::Drop, &mut site.maintenance);
    assert!(matches!(&missing, Err(DaemonError::Takeover(text)) if text.contains("queue 5")), "{missing:?}");
}
