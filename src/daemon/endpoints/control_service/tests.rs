//! Each request that the control socket takes, without the socket.

use super::*;
use crate::control::protocol::{RulesChange, RulesFamily, RulesReport};
use crate::daemon::maintenance::Maintenance;
use crate::daemon::takeover::outgoing::TakeoverRequest;
use crate::daemon::testing::{Stand, config, datagram, outbound_door, source as numbered, waker};

const KNOCKS: &str = "[inspect]\nmax_doors = 3\n\
                      [[knock]]\nname = \"alice\"\nsecret = \"secret-one-of-alice\"\ndoor = \"500s\"\n\
                      [[knock]]\nname = \"bob\"\nsecret = \"secret-two-of-bob\"\nmax_doors = 1\n";

/// A service, and the text of its configuration file.
struct Site {
    stand: Stand,
    file: Arc<Mutex<String>>,
    service: ControlService,
    exit: Arc<TakeoverListener>,
    _requests: std::sync::mpsc::Receiver<TakeoverRequest>,
}

impl Site {
    fn new() -> Self {
        let stand = Stand::of(KNOCKS);
        let file = Arc::new(Mutex::new(KNOCKS.to_owned()));
        let load: LoadConfig = {
            let file = Arc::clone(&file);
            Box::new(move || Ok((config(&file.lock().unwrap())?, vec!["a warning".to_owned()])))
        };
        let (exit, requests) = TakeoverListener::new(waker().0, None, false);
        let exit = Arc::new(exit);
        let mut maintenance = Maintenance::new(stand.context.clone(), false);
        maintenance.watch(0);
        let service = ControlService::new(
            stand.context.clone(),
            maintenance.workers(),
            QueueHealth::default(),
            Arc::clone(&exit),
            Systemd::of(None),
            &config(KNOCKS).unwrap(),
            load,
        );
        Self { stand, file, service, exit, _requests: requests }
    }

    /// Carries a request out: the lines before the last one, and that one.
    fn ask(&self, request: ControlRequest) -> (Vec<Reply>, Result<Done, Refusal>) {
        let mut lines = Vec::new();
        let done = self.service.carry_out(request, &mut |line| {
            lines.push(line);
            Ok(())
        });
        (lines, done.unwrap())
    }

    /// The same for one that has no lines.
    fn done(&self, request: ControlRequest) -> Result<Done, Refusal> {
        let (lines, done) = self.ask(request);
        assert_eq!(lines, []);
        done
    }

    fn open(
        &self,
        address: &str,
        for_s: Option<u64>,
        knock: Option<&str>,
    ) -> Result<(DoorLine, Done), Refusal> {
        let request =
            ControlRequest::Open { address: address.to_owned(), for_s, knock: knock.map(str::to_owned) };
        let (lines, done) = self.ask(request);
        done.map(|done| match <[Reply; 1]>::try_from(lines) {
            Ok([Reply::Door(door)]) => (door, done),
            other => panic!("{other:?}"),
        })
    }

    fn close(&self, address: &str, mark: bool) -> Result<Done, Refusal> {
        self.done(ControlRequest::Close { address: address.to_owned(), mark })
    }

    /// The sources of the doors that are listed.
    fn listed(&self, knock: Option<&str>, source: Option<&str>) -> Vec<String> {
        let request =
            ControlRequest::Doors { knock: knock.map(str::to_owned), source: source.map(str::to_owned) };
        let (lines, done) = self.ask(request);
        assert_eq!(done.unwrap().doors, Some(lines.len() as u64));
        let mut sources: Vec<_> = lines
            .into_iter()
            .map(|line| match line {
                Reply::Door(door) => door.source,
                other => panic!("{other:?}"),
            })
            .collect();
        sources.sort_unstable();
        sources
    }

    /// A packet of 192.0.2.`n` opens a door by a knock.
    fn knock(&self, n: u8, secret: &str) {
        let packet = datagram(n, &format!("OPTIONS {secret}"));
        assert!(self.stand.gate().inspect(self.stand.now(), &packet).knocked.is_some());
    }

    /// A request of the PBX opens a door for 192.0.2.`n`.
    fn call(&self, n: u8) {
        let now = self.stand.now();
        assert!(self.stand.gate().outbound().restore(numbered(n), outbound_door(now), now));
    }
}

fn kind<T: std::fmt::Debug>(outcome: Result<T, Refusal>) -> RefusalKind {
    outcome.unwrap_err().kind
}

#[test]
fn doors_are_listed_by_knock_and_network() {
    let site = Site::new();
    site.knock(1, "secret-one-of-alice");
    site.knock(2, "secret-two-of-bob");
    site.call(130);
    for (knock, source, expected) in [
        (None, None, &["192.0.2.1", "192.0.2.130", "192.0.2.2"][..]),
        (Some("alice"), None, &["192.0.2.1"]),
        (Some("outbound"), None, &["192.0.2.130"]),
        (Some("manual"), None, &[]),
        (None, Some("192.0.2.128/25"), &["192.0.2.130"]),
        (None, Some("192.0.2.2"), &["192.0.2.2"]),
        (Some("bob"), Some("192.0.2.1"), &[]),
    ] {
        assert_eq!(site.listed(knock, source), expected, "{knock:?} {source:?}");
    }
    let doors = |knock: Option<&str>, source: Option<&str>| {
        site.done(ControlRequest::Doors {
            knock: knock.map(str::to_owned),
            source: source.map(str::to_owned),
        })
    };
    assert_eq!(kind(doors(Some("carol"), None)), RefusalKind::NotFound);
    assert_eq!(kind(doors(None, Some("192.0.2.0/33"))), RefusalKind::BadRequest);
    site.stand.hand.advance(Duration::from_secs(500));
    assert_eq!(site.listed(Some("alice"), None), [""; 0], "it has run out");
}

#[test]
fn a_door_is_opened_and_renewed_by_hand_or_for_a_knock() {
    let site = Site::new();
    let (door, done) = site.open("192.0.2.1", Some(60), None).unwrap();
    assert_eq!((door.knock.as_str(), door.expires_in_s), ("manual", 60));
    assert_eq!((done.event.as_deref(), done.doors, done.notes.len()), (Some("opened"), Some(1), 0));
    let (door, done) = site.open("192.0.2.1", Some(10), None).unwrap();
    assert_eq!((door.expires_in_s, done.event.as_deref()), (60, Some("renewed")));
    assert_eq!(done.notes, ["it was open for longer already, and stays so"]);
    let events = site.stand.events();
    let by_hand = |event: &Event| match event {
        Event::ByHand { event, source, .. } => Some((*event, source.clone())),
        _ => None,
    };
    let told: Vec<_> = events.iter().filter_map(by_hand).collect();
    assert_eq!(told, [("opened", "192.0.2.1".to_owned()), ("renewed", "192.0.2.1".to_owned())]);

    for (knock, life) in
        [(None, DEFAULT_DOOR.as_secs()), (Some("alice"), 500), (Some("bob"), DEFAULT_DOOR.as_secs())]
    {
        let (door, _) = site.open("192.0.2.2", None, knock).unwrap();
        assert!(door.expires_in_s >= life, "{knock:?}: {door:?}");
        site.stand.gate().doors().flush(|_, _| {});
    }
}

#[test]
fn a_door_that_cannot_be_opened_is_refused_with_the_limit() {
    let site = Site::new();
    for (address, knock, expected) in [
        ("192.0.2", None, RefusalKind::BadRequest),
        ("192.0.2.0/24", None, RefusalKind::BadRequest),
        ("192.0.2.1", Some("carol"), RefusalKind::NotFound),
    ] {
        assert_eq!(kind(site.open(address, None, knock)), expected, "{address} {knock:?}");
    }
    assert_eq!(kind(site.open("192.0.2.1", Some(0), None)), RefusalKind::BadRequest);
    site.open("192.0.2.1", None, Some("bob")).unwrap();
    let refusal = site.open("192.0.2.2", None, Some("bob")).unwrap_err();
    assert!(
        refusal.kind == RefusalKind::Full && refusal.text.contains("the knock's max_doors"),
        "{refusal:?}"
    );
    site.open("192.0.2.2", None, None).unwrap();
    site.open("192.0.2.3", None, None).unwrap();
    let refusal = site.open("192.0.2.4", None, None).unwrap_err();
    assert!(refusal.kind == RefusalKind::Full && refusal.text.contains("inspect.max_doors"), "{refusal:?}");
}

#[test]
fn a_door_is_closed_and_its_source_marked_if_a_knock_held_it() {
    let site = Site::new();
    site.open("192.0.2.1", None, None).unwrap();
    site.knock(2, "secret-one-of-alice");
    site.call(3);
    site.stand.events();
    for (n, mark, marked) in [(1, false, false), (2, false, true), (3, true, true)] {
        let done = site.close(&format!("192.0.2.{n}"), mark).unwrap();
        assert_eq!((done.doors, done.notes.len()), (Some(1), 1), "{n}");
        assert_eq!(done.notes[0].starts_with("it is marked"), marked, "{n}: {:?}", done.notes);
        assert_eq!(site.stand.gate().outbound().is_marked(numbered(n), site.stand.now()), marked, "{n}");
        assert_eq!(site.stand.events().len(), 1, "{n}");
    }
    assert_eq!(site.listed(None, None), [""; 0]);
    assert_eq!(kind(site.close("192.0.2.1", false)), RefusalKind::NotFound);
    assert_eq!(site.close("192.0.2.9", true).unwrap().doors, Some(0), "marked without a door");
    // Opened by hand, the mark is gone.
    let (_, done) = site.open("192.0.2.2", None, None).unwrap();
    assert!(done.notes[0].starts_with("its mark is taken away"), "{:?}", done.notes);
    assert!(!site.stand.gate().outbound().is_marked(numbered(2), site.stand.now()));
}

#[test]
fn a_door_that_has_run_out_is_forgotten_when_it_is_closed() {
    let site = Site::new();
    site.knock(1, "secret-one-of-alice");
    site.stand.hand.advance(Duration::from_secs(501));
    site.stand.gate().doors().sweep(site.stand.now());
    let done = site.close("192.0.2.1", false).unwrap();
    assert_eq!(done.doors, Some(0));
    assert_eq!(done.notes[0], "a door of before had run out, and is forgotten");
    assert!(site.stand.gate().outbound().is_marked(numbered(1), site.stand.now()));
}

#[test]
fn flush_closes_all_doors_and_marks_nobody() {
    let site = Site::new();
    site.knock(1, "secret-one-of-alice");
    site.open("192.0.2.2", None, None).unwrap();
    site.call(3);
    site.stand.events();
    assert_eq!(site.done(ControlRequest::Flush {}).unwrap().doors, Some(3));
    assert_eq!((site.listed(None, None), site.stand.events().len()), (vec![], 3));
    assert_eq!(site.stand.gate().outbound().mark_count(), 0);
    assert_eq!(site.done(ControlRequest::Flush {}).unwrap().doors, Some(0));
}

#[test]
fn stats_have_what_there_is() {
    let site = Site::new();
    site.knock(1, "secret-one-of-alice");
    site.stand.hand.advance(Duration::from_secs(65));
    let (lines, done) = site.ask(ControlRequest::Stats {});
    assert_eq!(done, Ok(Done::default()));
    let [Reply::Stats(stats)] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((stats.uptime_s, stats.mode.as_str(), stats.backend.as_str()), (65, "enforce", "batched"));
    assert_eq!((stats.doors.open, stats.doors.max, &stats.doors.by_knock["alice"]), (1, 3, &1.into()));
    assert_eq!((stats.packets, stats.events_lost, stats.state.is_none()), (0, 0, true));
    let config = stats.config.as_ref().unwrap();
    assert_eq!((config.ports.as_slice(), config.restart.len()), (&["5060".to_owned()][..], 0));
    assert!(site.service.stats().config.is_none(), "pages without a login do not have it");
}

#[test]
fn a_reload_says_what_it_has_done_or_that_it_has_not() {
    let site = Site::new();
    site.knock(2, "secret-two-of-bob");
    let without_bob = KNOCKS.split("[[knock]]\nname = \"bob\"").next().unwrap();
    without_bob.clone_into(&mut site.file.lock().unwrap());
    let done = site.done(ControlRequest::Reload {}).unwrap();
    assert_eq!((done.doors, done.notes), (Some(1), vec!["a warning".to_owned()]));
    "no TOML".clone_into(&mut site.file.lock().unwrap());
    let refusal = site.done(ControlRequest::Reload {}).unwrap_err();
    assert!(
        refusal.kind == RefusalKind::Failed && refusal.text.starts_with("not reloaded, all is as it was")
    );
    assert_eq!(site.service.reloads(), (1, 1));
}

#[test]
fn enforce_is_refused_where_the_configuration_says_otherwise() {
    let site = Site::new();
    assert_eq!(site.done(ControlRequest::Enforce {}).unwrap().notes, ["it did so already"]);
    format!("[inspect]\nmode = \"monitor\"\n{}", KNOCKS.trim_start_matches("[inspect]\n"))
        .clone_into(&mut site.file.lock().unwrap());
    site.done(ControlRequest::Reload {}).unwrap();
    assert_eq!(kind(site.done(ControlRequest::Enforce {})), RefusalKind::Failed);
    assert!(site.stand.gate().monitors());
}

#[test]
fn a_report_of_the_rules_is_taken_and_its_news_are_told() {
    let site = Site::new();
    let family = |state: &str| RulesFamily {
        family: "ipv4".to_owned(),
        chain: "INPUT".to_owned(),
        state: state.to_owned(),
        detail: String::new(),
    };
    assert_eq!(site.service.stats().rules, None, "nobody watches");
    let change = RulesChange {
        state: "missing".to_owned(),
        family: "ipv4".to_owned(),
        chain: "INPUT".to_owned(),
        by: None,
        missing_ms: None,
        detail: String::new(),
    };
    let report =
        RulesReport { families: vec![family("missing")], changes: vec![change], ..RulesReport::default() };
    assert_eq!(site.done(ControlRequest::Rules { report: Box::new(report) }), Ok(Done::default()));
    assert!(matches!(site.stand.events().as_slice(), [Event::Rules(_)]));
    assert_eq!(site.service.stats().rules.unwrap().families[0].state, "missing");
    assert_eq!(site.service.rules().faults().len(), 1);
}

/// A change at that time would be lost with this process.
#[test]
fn nothing_is_changed_while_doors_go_to_another_process() {
    let site = Site::new();
    site.knock(1, "secret-one-of-alice");
    site.exit.close(true);
    let address = || "192.0.2.1".to_owned();
    for request in [
        ControlRequest::Open { address: address(), for_s: None, knock: None },
        ControlRequest::Close { address: address(), mark: false },
        ControlRequest::Flush {},
        ControlRequest::Reload {},
        ControlRequest::Enforce {},
    ] {
        let refusal = site.done(request.clone()).unwrap_err();
        let expected = (RefusalKind::Failed, "another process is taking over: try again in a moment");
        assert_eq!((refusal.kind, refusal.text.as_str()), expected, "{request:?}");
    }
    assert_eq!(site.listed(None, None), ["192.0.2.1"], "it can be looked at");
    assert_eq!(site.ask(ControlRequest::Stats {}).0.len(), 1);
    site.exit.close(false);
    assert_eq!(site.done(ControlRequest::Flush {}).unwrap().doors, Some(1));
}

#[test]
fn a_client_that_is_gone_ends_its_list() {
    let site = Site::new();
    (1..=3).for_each(|n| _ = site.open(&format!("192.0.2.{n}"), None, None).unwrap());
    let mut said = 0;
    let outcome = site.service.carry_out(ControlRequest::Doors { knock: None, source: None }, &mut |_| {
        said += 1;
        Err(io::ErrorKind::BrokenPipe.into())
    });
    assert_eq!((outcome.unwrap_err().kind(), said), (io::ErrorKind::BrokenPipe, 1));
}

#[test]
fn those_who_watch_see_events_until_the_end() {
    let site = Site::new();
    let watch = site.service.watch().unwrap();
    site.open("192.0.2.1", None, None).unwrap();
    let next = || watch.next(Duration::ZERO);
    assert!(
        matches!(next(), crate::control::watch::WatchedEvent::Event(_, event) if matches!(*event, Event::ByHand { .. }))
    );
    site.service.close();
    assert_eq!(next(), crate::control::watch::WatchedEvent::End);
    // Without a log it goes on answering.
    assert_eq!(site.done(ControlRequest::Flush {}).unwrap().doors, Some(1));
}
