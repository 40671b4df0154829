//! Signals, and the end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{fs, thread};

use rustix::process::Signal;

use crate::common::gate::{Gate, World, trusting, wait_until};
use crate::faults::{Outcome, PHONE, STRANGER, Site};

/// Each is a reload. Doors are swept all the same, and nothing is lost.
pub(crate) fn sighup_storm(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    let load = Load::default();
    let arrived = thread::scope(|scope| {
        let sending = load.begin(scope, world);
        let receiving = scope.spawn(|| load.receive(world));
        // As fast as signals go, with a door of a second that is opened and swept meanwhile.
        let mut door = None;
        let swept = wait_until(|| {
            (0..50).for_each(|_| site.gate.signal(Signal::HUP));
            let (status, said) =
                door.get_or_insert_with(|| site.sipknock(&["doors", "open", "198.51.100.20", "--for", "1s"]));
            assert_eq!(*status, 0, "{said}");
            let count = |kind: &str| site.gate.events(kind).len();
            (count("closed") > 0 && count("reloaded") > 1).then_some(())
        });
        load.end(sending);
        swept.expect("doors are swept");
        receiving.join().unwrap()
    });
    assert_eq!(arrived, load.sent(), "every packet of the open door");
    site.holds("after the storm");
    let log = site.ends();
    assert!(log.iter().filter(|line| line["event"] == "reloaded").count() > 1);
    Outcome::Held
}

/// Packets wait in the kernel for as long as there is room, and are decided when it goes on.
pub(crate) fn stopped_and_continued_under_load(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    for _ in 0..3 {
        site.gate.halt();
        for n in 0..2000 {
            site.phone.send(&format!("open {n}"));
            site.stranger.send("stranger");
        }
        world.wait_for_row(0, |row| row[0] == 4000);
        site.gate.signal(Signal::CONT);
        let delivered = world.delivered();
        assert_eq!(delivered.len(), 2000);
        assert!(delivered.iter().all(|text| text.starts_with("open")));
    }
    assert!(site.ends().iter().all(|line| line["event"] != "overload"));
    Outcome::Held
}

/// The reload comes to its end, or is never begun; the gate ends in order.
pub(crate) fn sigterm_during_a_reload(world: &World) -> Outcome {
    let site = Site::new(world, "", "");
    let mut text = fs::read_to_string(&site.config).unwrap();
    for n in 0..5000 {
        text += &format!("[[knock]]\nname = \"n{n}\"\nsecret = \"secret-number-{n}\"\n");
    }
    fs::write(&site.config, text).unwrap();
    let before = site.gate.cpu_time();
    let client = world.sipknock(&["--config", &site.config, "reload"]).spawn();
    site.gate.signal(Signal::HUP);
    site.phone.send("open");
    // A reload takes more than that, and the rest takes less.
    let at_work = || (site.gate.cpu_time() > before + Duration::from_millis(20)).then_some(());
    wait_until(at_work).expect("it reloads");
    let log = site.ends();
    _ = client.unwrap().wait();
    assert_eq!(world.arrives(), "open");
    assert_eq!(log.iter().filter(|line| line["event"] == "stopped").count(), 1);
    // And the doors are there.
    let gate = start_again(world);
    world.client(PHONE).send("open");
    world.client(STRANGER).send("stranger");
    assert_eq!(world.delivered(), ["open"]);
    assert!(gate.stop().0.success());
    Outcome::Held
}

/// Nobody passes while there is no gate, and the next one goes on with the doors.
pub(crate) fn killed_under_load(world: &World) -> Outcome {
    let mut site = Site::new(world, "", "");
    wait_until(|| (site.stats()["state"]["writes"].as_u64() > Some(0)).then_some(())).unwrap();
    let load = Load::default();
    thread::scope(|scope| {
        let sending = load.begin(scope, world);
        let receiving = scope.spawn(|| load.receive(world));
        for _ in 0..3 {
            site.gate.signal(Signal::KILL);
            assert!(!site.gate.wait().success());
            let sent = load.sent();
            wait_until(|| (load.sent() > sent + 500).then_some(())).expect("they go on sending");
            site.gate =
                Gate::start(world, &["--config", &site.config, "--state", &world.path("state/doors")]);
        }
        load.end(sending);
        // It has asserted that no stranger's packet came.
        let arrived = receiving.join().unwrap();
        assert!(arrived < load.sent(), "some came while nobody listened");
    });
    site.holds("afterwards");
    site.ends();
    Outcome::Held
}

fn start_again(world: &World) -> Gate {
    let config = world.config(&trusting(""), "");
    Gate::start(world, &["--config", &config, "--state", &world.path("state/doors")])
}

/// A phone whose door is open and a stranger, who both send all the time.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// Nothing more is sent.
    over: AtomicBool,
    sent: AtomicU64,
}

impl Load {
    fn begin<'scope>(
        &'scope self,
        scope: &'scope thread::Scope<'scope, '_>,
        world: &'scope World,
    ) -> thread::ScopedJoinHandle<'scope, ()> {
        scope.spawn(|| {
            let (phone, stranger) = (world.client(PHONE), world.client(STRANGER));
            while !self.stop.load(Ordering::SeqCst) {
                phone.send("open");
                stranger.send("stranger");
                self.sent.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_micros(200));
            }
        })
    }

    /// Counts what arrives until nothing does, and sees that it is the phone's.
    fn receive(&self, world: &World) -> u64 {
        let mut arrived = 0;
        loop {
            match world.receive() {
                Some(text) => {
                    assert_eq!(text, "open");
                    arrived += 1;
                }
                None if self.over.load(Ordering::SeqCst) => return arrived,
                None => {}
            }
        }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    fn end(&self, sending: thread::ScopedJoinHandle<'_, ()>) {
        self.stop.store(true, Ordering::SeqCst);
        sending.join().unwrap();
        self.over.store(true, Ordering::SeqCst);
    }
}
