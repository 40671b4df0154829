//! A reload: its changes, the values that it leaves, and the doors after it.

use std::cell::RefCell;

use super::*;
use crate::daemon::testing::{Stand, config, eventually, outbound_door, source};
use crate::door::{Door, DoorState, Grant};

const KNOCKS: &str = "[[knock]]\nname = \"alice\"\nsecret = \"secret-one-of-alice\"\n\
                      [[knock]]\nname = \"bob\"\nsecret = \"secret-two-of-bob\"\n";
const ALICE: &str = "[[knock]]\nname = \"alice\"\nsecret = \"secret-one-of-alice\"\n";

/// A gate, and the text of its configuration file.
struct Site {
    stand: Stand,
    file: Arc<Mutex<String>>,
    reloader: Reloader,
    told: RefCell<Vec<Event>>,
}

impl Site {
    fn new(text: &str) -> Self {
        let stand = Stand::of(text);
        let file = Arc::new(Mutex::new(text.to_owned()));
        let load: LoadConfig = {
            let file = Arc::clone(&file);
            Box::new(move || Ok((config(&file.lock().unwrap())?, Vec::new())))
        };
        let (live, clock) = (Arc::clone(&stand.context.gate), stand.context.clock);
        let reloader = Reloader::new(live, clock, load, config(text).unwrap());
        Self { stand, file, reloader, told: RefCell::default() }
    }

    /// The same with a safe start of this time.
    fn with_grace(text: &str, span: Duration) -> Self {
        let site = Self::new(text);
        let (grace, _tap) =
            Grace::begin(span, None, &site.stand.context.gate, site.stand.context.clock).unwrap();
        Self { reloader: site.reloader.beginning_with(Some(grace)), ..site }
    }

    fn write(&self, text: &str) {
        text.clone_into(&mut self.file.lock().unwrap());
    }

    fn reload(&self) -> Result<ReloadOutcome, ConfigError> {
        self.reloader.reload(&|event| self.told.borrow_mut().push(event))
    }

    fn enforce(&self) -> Result<Vec<String>, Unenforced> {
        self.reloader.enforce(&|event| self.told.borrow_mut().push(event))
    }

    fn told(&self) -> Vec<Event> {
        self.told.take()
    }

    fn open_door(&self, n: u8, names: &[&str]) {
        let grant = |name: &&str| {
            let knock = if *name == "manual" { Door::by_hand() } else { self.stand.knock(name) };
            Grant { knock, life: Duration::from_secs(4000), registration: None }
        };
        let grants: Vec<_> = names.iter().map(grant).collect();
        self.stand.gate().doors().knock(source(n), self.stand.now(), &grants);
    }

    fn is_open(&self, n: u8) -> bool {
        self.stand.gate().doors().state(source(n), self.stand.now()) == DoorState::Open
    }

    fn is_marked(&self, n: u8) -> bool {
        self.stand.gate().outbound().is_marked(source(n), self.stand.now())
    }
}

#[test]
fn keys_that_a_reload_cannot_change_are_named_until_a_restart() {
    for (key, text) in [
        ("queue.numbers", "[queue]\nnumbers = \"0-1\"\n"),
        ("queue.backend", "[queue]\nbackend = \"nfq\"\n"),
        ("queue.max_len", "[queue]\nmax_len = 1000\n"),
        ("queue.receive_buffer", "[queue]\nreceive_buffer = \"1MiB\"\n"),
        ("queue.on_overload", "[queue]\non_overload = \"open\"\n"),
        ("queue.on_exit", "[queue]\non_exit = \"open\"\n"),
        ("queue.busy_poll", "[queue]\nbusy_poll = \"50us\"\n"),
        ("inspect.ipv4_prefix", "[inspect]\nipv4_prefix = 24\n"),
        ("inspect.ipv6_prefix", "[inspect]\nipv6_prefix = 56\n"),
        ("inspect.partial_bytes", "[inspect]\npartial_bytes = 4096\n"),
        ("inspect.partial_segments", "[inspect]\npartial_segments = 9\n"),
        ("inspect.max_flows", "[inspect]\nmax_flows = 999\n"),
        ("process.user", "[process]\nuser = \"nobody\"\n"),
        ("process.seccomp", "[process]\nseccomp = \"kill\"\n"),
        ("process.landlock", "[process]\nlandlock = false\n"),
        ("control.socket", "[control]\nsocket = \"/run/other.sock\"\n"),
        ("state.file", "[state]\nfile = \"/var/lib/other\"\n"),
        ("http.listen", "[http]\nlisten = \"127.0.0.1:9470\"\n"),
        ("http.hosts", "[http]\nhosts = [\"gate.example\"]\n"),
    ] {
        let site = Site::new(KNOCKS);
        site.write(&format!("{text}{KNOCKS}"));
        // It was not changed, so that it differs the next time as well.
        for round in 1..=2 {
            let notes = site.reload().unwrap().notes;
            let said = format!("{key} can't change while the gate runs");
            assert!(notes.iter().any(|note| note.contains(&said)), "{key}, round {round}: {notes:?}");
            assert_eq!(site.reloader.told().restart, [key]);
        }
        site.write(KNOCKS);
        assert_eq!(site.reload().unwrap().notes, [""; 0], "{key}, as it was");
        assert!(site.reloader.told().restart.is_empty(), "{key}");
    }
}

#[test]
fn keys_by_which_the_rules_go_are_named_once() {
    for (key, text) in [
        ("inspect.ports", "[inspect]\nports = [5070]\n"),
        ("inspect.transports", "[inspect]\ntransports = [\"udp\"]\n"),
        ("inspect.trusted", "[inspect]\ntrusted = [\"10.0.0.0/8\"]\n"),
        ("firewall.chains, firewall.pbx", "[firewall]\nchains = [\"FORWARD\"]\npbx = [\"192.0.2.80\"]\n"),
        ("firewall.families", "[firewall]\nfamilies = [\"ipv4\"]\n"),
        ("firewall.outbound", "[firewall]\noutbound = \"off\"\n"),
        ("firewall.outbound_ports", "[firewall]\noutbound_ports = [5080]\n"),
    ] {
        let site = Site::new(KNOCKS);
        site.write(&format!("{text}{KNOCKS}"));
        let notes = site.reload().unwrap().notes;
        let said = format!("{key} changed, and the firewall's rules go by it, too");
        assert!(notes.len() == 1 && notes[0].starts_with(&said), "{key}: {notes:?}");
        assert_eq!(site.reload().unwrap().notes, [""; 0], "{key} is in force by now");
    }
}

#[test]
fn outbound_that_was_off_at_the_start_takes_a_restart() {
    let off = format!("[firewall]\noutbound = \"off\"\n{KNOCKS}");
    let site = Site::new(&off);
    for (text, restart) in
        [(KNOCKS, &["firewall.outbound"][..]), (&off, &[]), (KNOCKS, &["firewall.outbound"])]
    {
        site.write(text);
        site.reload().unwrap();
        assert_eq!(site.reloader.told().restart, restart);
    }
}

#[test]
fn a_configuration_that_is_not_valid_changes_nothing_and_is_said() {
    let site = Site::new(KNOCKS);
    site.open_door(1, &["bob"]);
    let (gate, told) = (site.stand.gate(), site.reloader.told());
    for text in ["", "[inspect]\nport = 1\n", "[[knock]]\nname = \"a\"\n", "no TOML"] {
        site.write(text);
        assert!(site.reload().is_err(), "{text}");
        let events = site.told();
        let [Event::Warning(warning)] = events.as_slice() else { panic!("{events:?}") };
        assert!(warning.starts_with("not reloaded, all is as it was: "), "{warning}");
        assert!(
            Arc::ptr_eq(&gate, &site.stand.gate()) && Arc::ptr_eq(&told, &site.reloader.told()),
            "{text}"
        );
    }
    assert!(site.is_open(1));
}

#[test]
fn a_knock_taken_out_closes_its_doors_and_marks_their_sources() {
    let site = Site::new(KNOCKS);
    site.open_door(1, &["bob"]);
    site.open_door(2, &["alice", "bob"]);
    site.open_door(3, &["alice"]);
    site.open_door(4, &["manual"]);
    site.write(ALICE);
    let outcome = site.reload().unwrap();
    assert_eq!(outcome.closed, 1);
    assert!(
        outcome.notes.len() == 1 && outcome.notes[0].starts_with("1 door of knocks that are gone stays open")
    );
    assert_eq!([1, 2, 3, 4].map(|n| site.is_open(n)), [false, true, true, true]);
    assert_eq!([1, 2, 3, 4].map(|n| site.is_marked(n)), [true, true, false, false]);
    let events = site.told();
    let [Event::Closed { source, knock, why, .. }, Event::Reloaded(reloaded), Event::Warning(_)] =
        events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!((source.as_str(), knock.as_str(), *why), ("192.0.2.1", "bob", REVOKED));
    assert_eq!((reloaded.knocks, reloaded.closed, reloaded.monitor), (1, 1, false));
}

/// A batch is decided by one gate from its beginning to its end.
#[test]
fn a_door_that_a_batch_opens_meanwhile_for_a_knock_that_is_gone_is_closed_too() {
    let site = Site::new(KNOCKS);
    let (old, bob, now) = (site.stand.gate(), site.stand.knock("bob"), site.stand.now());
    site.write(ALICE);
    let reloader = &site.reloader;
    let closed = thread::scope(|scope| {
        let reload = scope.spawn(move || reloader.reload(&|_| {}).unwrap().closed);
        eventually(|| !Arc::ptr_eq(&old, &site.stand.gate()));
        let grant = Grant { knock: bob, life: Duration::from_secs(4000), registration: None };
        old.doors().knock(source(1), now, &[grant]);
        drop(old);
        reload.join().unwrap()
    });
    assert_eq!(closed, 1);
    assert!(!site.is_open(1) && site.is_marked(1));
}

#[test]
fn outbound_switched_off_closes_outbound_doors() {
    let site = Site::new(KNOCKS);
    let now = site.stand.now();
    assert!(site.stand.gate().outbound().restore(source(1), outbound_door(now), now));
    site.write(&format!("[firewall]\noutbound = \"off\"\n{KNOCKS}"));
    site.reload().unwrap();
    assert!(!site.stand.gate().outbound().admits(source(1), now));
    assert!(site.told().iter().any(|event| matches!(event, Event::Outbound(_))));
}

#[test]
fn a_lower_max_doors_puts_nobody_out() {
    let site = Site::new(KNOCKS);
    (1..=3).for_each(|n| site.open_door(n, &["alice"]));
    site.write(&format!("[inspect]\nmax_doors = 2\n{KNOCKS}"));
    site.reload().unwrap();
    site.open_door(4, &["alice"]);
    assert_eq!([1, 2, 3, 4].map(|n| site.is_open(n)), [true, true, true, false]);
}

#[test]
fn a_grace_outlasts_a_reload_and_ends_where_the_file_says_monitor() {
    let grace = Duration::from_secs(600);
    let site = Site::with_grace(KNOCKS, grace);
    let notes = site.reload().unwrap().notes;
    assert!(site.stand.gate().monitors());
    assert!(notes.len() == 1 && notes[0].starts_with("--grace continues"), "{notes:?}");

    site.write(&format!("[inspect]\nmode = \"monitor\"\n{KNOCKS}"));
    let notes = site.reload().unwrap().notes;
    assert!(notes.len() == 1 && notes[0].ends_with("--grace is over"), "{notes:?}");
    assert!(site.stand.gate().monitors() && !site.reloader.grace().unwrap().lasts());
    site.write(KNOCKS);
    assert_eq!(site.reload().unwrap().notes, [""; 0]);
    assert!(!site.stand.gate().monitors(), "a grace does not come back");
}

#[test]
fn enforce_ends_a_grace_and_nothing_else() {
    let site = Site::with_grace(KNOCKS, Duration::from_secs(600));
    site.reload().unwrap();
    site.told();
    assert_eq!(site.enforce().unwrap(), [""; 0], "nobody has registered");
    assert!(!site.stand.gate().monitors());
    assert!(matches!(site.told().as_slice(), [Event::Grace(_)]));
    assert_eq!(site.enforce().unwrap(), ["it did so already"]);

    site.write(&format!("[inspect]\nmode = \"monitor\"\n{KNOCKS}"));
    site.reload().unwrap();
    assert!(matches!(site.enforce(), Err(Unenforced::Configured)));
    assert!(site.stand.gate().monitors());
}

#[test]
fn values_for_others_are_those_in_force() {
    let site = Site::new(KNOCKS);
    assert_eq!(site.reloader.usual_door(), Life::Span(crate::config::DEFAULT_DOOR));
    assert!(site.reloader.pbx().is_empty());
    site.stand.hand.advance(Duration::from_secs(5));
    site.write(&format!(
        "[inspect]\ndoor = \"77s\"\n[firewall]\nchains = [\"FORWARD\"]\npbx = [\"192.0.2.80\"]\n{KNOCKS}"
    ));
    site.reload().unwrap();
    assert_eq!(site.reloader.usual_door(), Life::Span(Duration::from_secs(77)));
    assert_eq!(site.reloader.pbx().len(), 1);
    let told = site.reloader.told();
    assert_eq!(
        (told.read.clone(), told.chains.clone()),
        (site.stand.now().to_string(), vec!["FORWARD".to_owned()])
    );
}
