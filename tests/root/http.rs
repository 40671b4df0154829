//! The running gate over HTTP: metrics, health and the status page, with promtool, with a browser, and with those who
//! mean it no good.

mod browser;
mod shipped;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::gate::{DEADLINE, Gate, SECRET, World, register, wait_until};
use crate::trials::{self, NetnsTrial, missing_program, trials};
use serde_json::Value;

pub(crate) fn trials() -> Vec<NetnsTrial> {
    let groups = [(WITH_A_BROWSER, &["chromium"][..]), (WITH_PROMTOOL, &["promtool"]), (CASES, &[])];
    let of_group = |(cases, programs): (&'static [(&'static str, Case)], &[&str])| {
        let missing = missing_program(programs);
        cases.iter().map(move |&(name, case)| {
            trials::in_netns_with(missing.clone(), name, move || case(&World::new("http")))
        })
    };
    groups.into_iter().flat_map(of_group).collect()
}

type Case = fn(&World);

const WITH_PROMTOOL: &[(&str, Case)] = &trials![
    metrics_pass_promtool,
    shipped::rules_and_queries_pass_promtool,
    shipped::alerts_fire_when_they_should,
];

const CASES: &[(&str, Case)] = &trials![
    metrics_agree_with_stats,
    monitor_mode_is_told_apart,
    shipped::what_is_shipped_asks_for_what_there_is,
    the_page_has_doors_knocks_and_events,
    who_is_not_meant_gets_nothing,
    a_thousand_idle_connections,
    slow_requests_are_cut_off,
    a_port_in_use_is_a_warning,
];

const WITH_A_BROWSER: &[(&str, Case)] = &trials![
    browser::a_hostile_user_agent_is_shown_and_not_run,
    browser::the_page_asks_nobody_else,
    browser::the_page_fits_a_phone_in_light_and_dark,
];

const LISTEN: &str = "127.0.0.1:9470";

/// A gate with its rules and its page, and the configuration that it runs with.
fn start(world: &World, inspect: &str, knocks: &str) -> (Gate, String) {
    let config = with_state(world, &world.guarded(inspect, "", knocks));
    (Gate::start(world, &["--config", &config, "--http", LISTEN]), config)
}

/// The same configuration with doors that are kept.
fn with_state(world: &World, config: &str) -> String {
    let text = fs::read_to_string(config).unwrap();
    let text = text.replace("file = \"off\"", &format!("file = {:?}", world.path("doors")));
    fs::write(config, text).unwrap();
    config.to_owned()
}

fn knocks() -> String {
    format!(
        "[[knock]]\nname = \"alice-desk\"\nsecret = \"{SECRET}\"\n\
         [[knock]]\nname = \"bob \\\"the\\\" <b>\\\\\"\nsecret = \"another-long-one\"\nmax_doors = 1\n"
    )
}

/// What comes back for a request.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

fn connect(world: &World) -> TcpStream {
    let stream = world.server.run(|| TcpStream::connect(LISTEN).unwrap());
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends a request as it is, with the end of its header, and reads until the end.
fn ask_raw(world: &World, request: &str) -> Answer {
    let mut stream = connect(world);
    stream.write_all(format!("{request}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) =
        text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request:?}: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

fn get(world: &World, path: &str) -> String {
    let answer = ask_raw(world, &format!("GET {path} HTTP/1.1\r\nHost: {LISTEN}"));
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

fn status(world: &World, query: &str) -> Value {
    serde_json::from_str(&get(world, &format!("/status.json{query}"))).unwrap()
}

/// The value of a series; nothing where there is none.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// Some of everything: doors opened, renewed and refused, strangers, a door by hand, a reload that fails.
fn make_traffic(world: &World, gate: &mut Gate, config: &str) {
    let (alice, bob) = (world.client("198.51.100.7"), world.client("198.51.100.10"));
    let (carol, stranger) = (world.client("198.51.100.11"), world.client("198.51.100.66"));
    alice.send(&register(SECRET));
    bob.send(&register("another-long-one"));
    carol.send(&register("another-long-one"));
    (0..3).for_each(|_| alice.send(&register(SECRET)));
    (0..5).for_each(|_| alice.send("open"));
    (0..7).for_each(|_| stranger.send("let me in"));
    world.delivered();
    gate.settle();
    let opened = world.sipknock(&["--config", config, "doors", "open", "198.51.100.20"]).output().unwrap();
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    gate.wait_for("opened", |event| event["by"] == "control");
    let right = fs::read_to_string(config).unwrap();
    fs::write(config, "[inspect]\nports = [0]\n").unwrap();
    let refused =
        world.sipknock(&["reload", "--control", &config.replace(".toml", ".sock")]).output().unwrap();
    assert!(!refused.status.success());
    fs::write(config, right).unwrap();
}

fn metrics_pass_promtool(world: &World) {
    let (mut gate, config) = start(world, "", &knocks());
    let series = "sipknock_queue_last_verdict_timestamp_seconds{queue=\"0\"}";
    assert_eq!(value(&get(world, "/metrics"), series), Some(0.0), "there was none");
    make_traffic(world, &mut gate, &config);
    let mut promtool = Command::new("promtool");
    let mut promtool = promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(get(world, "/metrics").as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

fn metrics_agree_with_stats(world: &World) {
    let (mut gate, config) = start(world, "max_doors = 10", &knocks());
    make_traffic(world, &mut gate, &config);
    let written = wait_until(|| {
        let metrics = get(world, "/metrics");
        (value(&metrics, "sipknock_state_writes_total")? > 0.0).then_some(metrics)
    });
    let metrics = written.expect("doors are written");
    for (series, expected) in [
        ("sipknock_packets_total{verdict=\"accept\",reason=\"knock\"}", 5.0),
        ("sipknock_packets_total{verdict=\"accept\",reason=\"door\"}", 5.0),
        ("sipknock_packets_total{verdict=\"accept\",reason=\"trusted\"}", 1.0),
        ("sipknock_packets_total{verdict=\"drop\",reason=\"no-knock\"}", 7.0),
        ("sipknock_packets_total{verdict=\"drop\",reason=\"door-limit\"}", 1.0),
        ("sipknock_packets_total{verdict=\"drop\",reason=\"expired\"}", 0.0),
        ("sipknock_knocks_total{knock=\"alice-desk\",event=\"opened\"}", 1.0),
        ("sipknock_knocks_total{knock=\"alice-desk\",event=\"renewed\"}", 3.0),
        ("sipknock_knocks_total{knock=\"alice-desk\",event=\"refused\"}", 0.0),
        (r#"sipknock_knocks_total{knock="bob \"the\" <b>\\",event="refused"}"#, 1.0),
        ("sipknock_doors_open", 3.0),
        ("sipknock_doors_max", 10.0),
        ("sipknock_doors_held{knock=\"alice-desk\"}", 1.0),
        ("sipknock_doors_held{knock=\"manual\"}", 1.0),
        ("sipknock_queue_dropped_total{queue=\"0\",where=\"kernel\"}", 0.0),
        ("sipknock_queue_dropped_total{queue=\"0\",where=\"socket\"}", 0.0),
        ("sipknock_queue_waiting{queue=\"0\"}", 0.0),
        ("sipknock_queue_bound{queue=\"0\"}", 1.0),
        ("sipknock_inspect_seconds_count", 19.0),
        ("sipknock_inspect_seconds_bucket{le=\"+Inf\"}", 19.0),
        ("sipknock_healthy", 1.0),
        ("sipknock_monitor_mode", 0.0),
        ("sipknock_reloads_total{result=\"failed\"}", 1.0),
        ("sipknock_events_lost_total", 0.0),
        ("sipknock_state_failures_total", 0.0),
        ("sipknock_control_refused_total", 0.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series} in\n{metrics}");
    }
    let sum = value(&metrics, "sipknock_inspect_seconds_sum").unwrap();
    assert!(sum > 19.0 * 10e-9 && sum < 19.0, "{sum}");
    let last = value(&metrics, "sipknock_queue_last_verdict_timestamp_seconds{queue=\"0\"}").unwrap();
    let started = value(&metrics, "process_start_time_seconds").unwrap();
    assert!((started..started + 3600.0).contains(&last), "{last} is not after {started}");
    assert!(!metrics.contains("198.51.100") && !metrics.contains(SECRET), "{metrics}");

    // The same through the control socket.
    let output = world.sipknock(&["--config", &config, "stats", "--json"]).output().unwrap();
    let stats: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (reason, count) in stats["reasons"].as_object().unwrap() {
        let series = ["accept", "drop"].map(|verdict| {
            value(&metrics, &format!("sipknock_packets_total{{verdict=\"{verdict}\",reason=\"{reason}\"}}"))
        });
        assert_eq!(series.into_iter().flatten().sum::<f64>(), count.as_f64().unwrap(), "{reason}");
    }
    assert_eq!(value(&metrics, "sipknock_doors_open"), stats["doors"]["open"].as_f64());
    assert_eq!(value(&metrics, "sipknock_doors_known"), stats["doors"]["known"].as_f64());
    assert_eq!(get(world, "/healthz"), "ok\n");
    assert!(gate.stop().0.success());
}

fn monitor_mode_is_told_apart(world: &World) {
    let (gate, _) = start(world, "mode = \"monitor\"", &knocks());
    let stranger = world.client("198.51.100.66");
    (0..3).for_each(|_| stranger.send("let me in"));
    assert_eq!(world.delivered().len(), 3);
    gate.settle();
    let metrics = get(world, "/metrics");
    for (series, expected) in [
        ("sipknock_packets_total{verdict=\"accept\",reason=\"no-knock\"}", 3.0),
        ("sipknock_packets_total{verdict=\"drop\",reason=\"no-knock\"}", 0.0),
        ("sipknock_monitor_mode", 1.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}");
    }
    let status = status(world, "");
    assert_eq!(
        (&status["stats"]["mode"], &status["stats"]["reasons"]["no-knock"]),
        (&"monitor".into(), &3.into())
    );
    assert_eq!(status["stats"].get("protection"), None, "that is nothing for strangers");
}

fn the_page_has_doors_knocks_and_events(world: &World) {
    let (mut gate, config) = start(world, "", &knocks());
    make_traffic(world, &mut gate, &config);
    let whole =
        wait_until(|| Some(status(world, "")).filter(|status| status["flow"]["accepted"][0].is_number()));
    let whole = whole.expect("it looks every two seconds");
    for (pointer, expected) in [
        ("/doors/matching", Value::from(3)),
        ("/knocks/all", 2.into()),
        ("/knocks/rows/0/knock", "alice-desk".into()),
        ("/knocks/rows/0/opened", 1.into()),
        ("/knocks/rows/0/renewed", 3.into()),
        ("/knocks/rows/1/refused", 1.into()),
        ("/faults", Value::Array(Vec::new())),
        ("/reloads/failed", 1.into()),
        ("/stats/queues/0/waiting", 0.into()),
    ] {
        assert_eq!(whole.pointer(pointer), Some(&expected), "{pointer} in {whole:#}");
    }
    let sources = |query: &str| -> Vec<String> {
        let rows = status(world, query)["doors"]["rows"].as_array().unwrap().clone();
        rows.iter().map(|door| door["source"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(sources("?sort=packets")[0], "198.51.100.7");
    assert_eq!(sources("?filter=198.51.100.1").len(), 0);
    assert_eq!(sources("?filter=198.51.100.10"), ["198.51.100.10"]);
    assert_eq!(sources("?filter=198.51.").len(), 3);
    assert_eq!(sources("?filter=DESK"), ["198.51.100.7"]);
    assert_eq!(sources("?filter=%3Cb%3E"), ["198.51.100.10"]);
    assert_eq!(sources("?filter=manual"), ["198.51.100.20"]);
    let kinds: Vec<_> =
        whole["events"].as_array().unwrap().iter().map(|event| event["event"].clone()).collect();
    for kind in ["opened", "renewed", "refused"] {
        assert!(kinds.contains(&kind.into()), "{kind} in {kinds:?}");
    }
    assert!(!whole.to_string().contains(SECRET));
    // Who watches over the page takes no place of those who may watch.
    let output = world.sipknock(&["--config", &config, "stats", "--json"]).output().unwrap();
    let stats: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&stats["packets"], &stats["doors"]), (&whole["stats"]["packets"], &whole["stats"]["doors"]));
}

fn who_is_not_meant_gets_nothing(world: &World) {
    world.apply_rules(&world.config("", ""));
    let config = world.config("", "");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}[http]\nlisten = \"0.0.0.0:9470\"\nhosts = [\"pbx.example.org\"]\n"))
        .unwrap();
    let gate = Gate::start(world, &["--config", &config]);
    // An address that others reach.
    gate.wait_for_warning("has no login");
    for (line, host, expected) in [
        ("GET / HTTP/1.1", "127.0.0.1:9470", 200),
        ("GET / HTTP/1.1", "[::1]:9470", 200),
        ("GET / HTTP/1.1", "localhost:9470", 200),
        ("GET / HTTP/1.1", "PBX.example.org", 200),
        ("HEAD /metrics HTTP/1.1", "localhost", 200),
        ("GET / HTTP/1.1", "evil.example:9470", 421),
        ("GET /metrics HTTP/1.1", "rebound.evil.example", 421),
        ("GET /status.json HTTP/1.1", "127.0.0.1.evil.example", 421),
        ("GET http://evil.example/metrics HTTP/1.1", "127.0.0.1", 421),
        ("GET / HTTP/1.1", "127.0.0.1\r\nHost: evil.example", 400),
        ("GET /secret HTTP/1.1", "localhost", 404),
        ("POST /metrics HTTP/1.1", "localhost", 405),
        ("DELETE / HTTP/1.1", "localhost", 405),
    ] {
        let answer = ask_raw(world, &format!("{line}\r\nHost: {host}"));
        assert_eq!(answer.status, expected, "{line}, {host}");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "x-frame-options: deny",
            "cross-origin-resource-policy: same-origin",
            "cache-control: no-store",
        ] {
            assert!(answer.head.contains(header), "{line}, {host}: no {header} in {}", answer.head);
        }
        assert!(
            !answer.head.contains("unsafe") && !answer.head.contains("access-control"),
            "{}",
            answer.head
        );
    }
    assert_eq!(ask_raw(world, "GET /healthz HTTP/1.1\r\nX: y").status, 400, "no Host at all");
    assert_eq!(ask_raw(world, "GET /healthz HTTP/1.0\r\nX: y").status, 200, "as old load balancers ask");
    // What it says of itself at a reload, and goes on.
    let moved = fs::read_to_string(&config).unwrap().replace("0.0.0.0:9470", "127.0.0.1:9471");
    fs::write(&config, moved).unwrap();
    let said = world.sipknock(&["--config", &config, "reload"]).output().unwrap();
    let said = [said.stdout, said.stderr].concat();
    assert!(
        String::from_utf8_lossy(&said).contains("http.listen can't change"),
        "{}",
        String::from_utf8_lossy(&said)
    );
    assert_eq!(get(world, "/healthz"), "ok\n");
}

fn a_thousand_idle_connections(world: &World) {
    let (gate, _) = start(world, "", &knocks());
    let descriptors = || value(&get(world, "/metrics"), "process_open_fds").unwrap();
    let before = descriptors();
    let phone = world.client("198.51.100.7");
    let idle: Vec<_> = (0..1000).map(|_| connect(world)).collect();
    for (n, mut stream) in idle.iter().enumerate() {
        // Some have begun to say something; some are gone already.
        let _ = if n % 2 == 0 { stream.write(b"GET / HTTP/1.1\r\nHost:") } else { Ok(0) };
    }
    // Packets are decided, and others are answered, while all of them are there.
    phone.send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    let metrics = get(world, "/metrics");
    let open = value(&metrics, "process_open_fds").unwrap();
    assert!(open <= before + 64.0, "{before} descriptors before, {open} now");
    assert!(value(&metrics, "sipknock_http_evicted_total").unwrap() >= 1000.0 - 64.0, "{metrics}");
    assert_eq!(gate.threads().iter().filter(|name| *name == "http").count(), 1);
    drop(idle);
    wait_until(|| (descriptors() <= before).then_some(())).expect("nothing is left of them");
    assert!(gate.stop().0.success());
}

fn slow_requests_are_cut_off(world: &World) {
    let (_gate, _) = start(world, "", &knocks());
    // One says nothing, one a byte now and then, one is done and stays.
    let (silent, mut slow, mut kept) = (connect(world), connect(world), connect(world));
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut request = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".iter().cycle();
    let mut open = vec![&silent, &kept];
    let mut slow_is_open = true;
    wait_until(|| {
        if slow_is_open {
            slow_is_open = slow.write_all(&[*request.next().unwrap()]).is_ok() && !is_closed(&slow);
        }
        open.retain(|stream| !is_closed(stream));
        // No faster than a tool that does this: 20 bytes a second.
        std::thread::sleep(Duration::from_millis(50));
        (open.is_empty() && !slow_is_open).then_some(())
    })
    .expect("they are cut off");
    assert_eq!(get(world, "/healthz"), "ok\n");
}

/// Whether the other side has closed it, whatever there is to read before.
fn is_closed(stream: &TcpStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut descriptors = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::RDHUP)];
    poll(&mut descriptors, Some(&Timespec::default())).unwrap();
    descriptors[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}

fn a_port_in_use_is_a_warning(world: &World) {
    let other = world.server.run(|| std::net::TcpListener::bind(LISTEN).unwrap());
    let (gate, _) = start(world, "", &knocks());
    let phone = world.client("198.51.100.7");
    phone.send(&register(SECRET));
    assert_eq!(world.delivered().len(), 1);
    let warned =
        |warning: &String| warning.contains("127.0.0.1:9470 can't be had") && warning.contains("--http");
    gate.wait_for_warning("127.0.0.1:9470 can't be had");
    // It is had as soon as it is free.
    drop(other);
    wait_until(|| world.server.run(|| TcpStream::connect(LISTEN).ok())).expect("it is tried again");
    assert_eq!(get(world, "/healthz"), "ok\n");
    assert_eq!(gate.warnings().iter().filter(|warning| warned(warning)).count(), 1);
    assert!(gate.stop().0.success());
}
