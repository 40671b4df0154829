use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::*;
use crate::firewall::{Family, Pbx, Plan};
use crate::inspect::Mode;
use crate::knock::{Extent, Life};
use crate::net::Prefixes;
use crate::packet::Transport;
use crate::queue::Backend;

fn pbx(networks: &[&str], interfaces: &[&str]) -> Pbx {
    Pbx {
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        interfaces: interfaces.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/sipknock.toml"), &Flags::default())
}

const KNOCK: &str = "[[knock]]\nname = \"alice\"\nsecret = \"mykn0ckstr1ng\"\n";

/// Every key that there is, as the guide shows it.
const WHOLE: &str = r#"
[inspect]
ports = [5060, "5061-5063"]
transports = ["udp", "tcp"]
door = "4000s"
trusted = ["10.10.1.0/24"]
mode = "enforce"
renew = "knock"
ipv4_prefix = 32
ipv6_prefix = 64
max_doors = 65536
grace = "1h"

[queue]
numbers = "0-3"
backend = "nfq"
max_len = 16384
receive_buffer = "32MiB"
on_overload = "open"
on_exit = "open"

[firewall]
backend = "iptables"
chains = ["INPUT", "DOCKER-USER"]
pbx = ["172.18.0.5", "192.168.10.0/24", "eth1"]
families = ["ipv6", "ipv4"]
keep = false
outbound = "2h"
outbound_ports = [5080, "5090-5099"]
max_outbound = 100

[[knock]]
name = "alice-desk"
secret = "mykn0ckstr1ng"
in = "anywhere"
match = "within"
methods = ["REGISTER"]
ignore_case = false
door = "86400s"
sources = ["198.51.100.0/24"]
max_doors = 5
"#;

#[test]
fn every_key() {
    let config = parse(WHOLE).unwrap();
    assert_eq!(config.inspect.scope.ports, [5060..=5060, 5061..=5063]);
    assert_eq!(config.inspect.scope.transports, [Transport::Udp, Transport::Tcp]);
    assert_eq!(config.inspect.door, Life::Span(Duration::from_secs(4000)));
    assert_eq!(config.inspect.trusted, ["10.10.1.0/24".parse::<IpNet>().unwrap()]);
    assert_eq!(config.queue.numbers, 0..=3);
    assert_eq!(config.queue.backend, Backend::Nfq);
    assert_eq!(config.queue.receive_buffer, 32 << 20);
    assert_eq!((config.queue.on_overload, config.queue.on_exit), (Fallback::Open, Fallback::Open));
    assert_eq!(config.inspect.grace, Duration::from_secs(3600));
    let rules = FirewallRules {
        backend: FirewallBackend::Iptables,
        chains: vec!["INPUT".to_owned(), "DOCKER-USER".to_owned()],
        typed: false,
        pbx: pbx(&["172.18.0.5/32", "192.168.10.0/24"], &["eth1"]),
        families: vec![Family::V4, Family::V6],
        keep: false,
        outbound: Some(Duration::from_secs(7200)),
        outbound_ports: vec![5080..=5080, 5090..=5099],
        max_outbound: 100,
    };
    assert_eq!(config.firewall, rules);
    let plan = config.firewall_plan();
    assert_eq!(
        (&plan.chains, &plan.pbx, plan.outbound, plan.bypass),
        (&rules.chains, &rules.pbx, true, true)
    );
    let knock = &config.knocks[0];
    assert_eq!(
        (knock.name.as_str(), knock.door, knock.max_doors),
        ("alice-desk", Life::Span(Duration::from_secs(86400)), Some(5))
    );
    assert!(knock.sources.as_ref().unwrap().contains("198.51.100.9".parse().unwrap()));
    assert!(config.notes.is_empty());
}

#[test]
fn defaults() {
    let config = parse(KNOCK).unwrap();
    assert_eq!(config.inspect.scope.ports, [5060..=5060]);
    assert_eq!(config.inspect.door, Life::Span(Duration::from_secs(4000)));
    assert_eq!(config.inspect.prefixes, Prefixes { v4: 32, v6: 64 });
    assert_eq!(config.inspect.nat64, ["64:ff9b::/96".parse().unwrap()]);
    assert_eq!(config.inspect.max_doors, 65536);
    assert_eq!(config.queue.numbers, 0..=0);
    assert_eq!(config.control.socket.as_deref(), Some(Path::new("/run/sipknock/control.sock")));
    assert_eq!(config.state.file.as_deref(), Some(Path::new("/var/lib/sipknock/doors")));
    assert_eq!((config.queue.max_len, config.queue.receive_buffer), (16384, 32 << 20));
    assert_eq!((config.queue.on_overload, config.queue.on_exit), (Fallback::Closed, Fallback::Closed));
    assert_eq!(config.knocks[0].door, Life::Span(Duration::from_secs(4000)));
    assert_eq!(config.knocks[0].extent, Extent::Within);
    assert_eq!(config.inspect.grace, Duration::ZERO);
    assert_eq!(config.firewall.outbound, Some(Duration::from_secs(4 * 3600)));
    assert_eq!(config.firewall_plan(), Plan::default());
}

#[test]
fn translators_have_prefixes_of_ipv6() {
    let nat64 = |value: &str| parse(&format!("[inspect]\nnat64 = {value}\n{KNOCK}"));
    let config = nat64("[\"2001:db8:64::/96\", \"64:ff9b::/96\"]").unwrap();
    assert_eq!((config.inspect.nat64.len(), config.notes.len()), (2, 0));
    assert_eq!(nat64("[]").unwrap().inspect.nat64, []);
    for (value, expected) in [
        (
            "[\"192.0.2.0/24\"]",
            ":2: inspect.nat64: 192.0.2.0/24 is of IPv4, in which ipv4_prefix makes each address a source",
        ),
        ("[\"64:ff9b::/129\"]", ":2: inspect.nat64: "),
        ("[\"nat64\"]", ":2: inspect.nat64: "),
        ("\"64:ff9b::/96\"", ":2: inspect.nat64: "),
    ] {
        let error = nat64(value).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let notes = nat64("[\"2000::/3\"]").unwrap().notes;
    assert!(notes.iter().any(|note| note.text.contains("wider than any translator's")), "{notes:?}");
}

#[test]
fn a_safe_start_has_an_end() {
    let grace = |text: &str| parse(&format!("[inspect]\n{text}\n{KNOCK}"));
    assert_eq!(grace("grace = \"0s\"").unwrap().inspect.grace, Duration::ZERO);
    assert_eq!(grace("grace = \"90m\"").unwrap().inspect.grace, Duration::from_secs(5400));
    let error = grace("grace = \"1y\"").unwrap_err().to_string();
    assert!(error.contains(":2: inspect.grace: \"1y\" is not a time to begin with"), "{error}");
    let notes = grace("grace = \"1h\"\nmode = \"monitor\"").unwrap().notes;
    assert!(
        notes.iter().any(|note| note.place.key == "inspect.grace" && note.place.line == Some(2)),
        "{notes:?}"
    );
}

/// Packets in both directions pass FORWARD and its like, and `pbx` tells which are which.
#[test]
fn chains_but_input_need_a_pbx() {
    let firewall = |text: &str| parse(&format!("{KNOCK}[firewall]\n{text}\n"));
    for (text, expected) in [
        (
            "chains = [\"INPUT\", \"FORWARD\"]",
            ":5: firewall.chains: packets to the PBX and packets from it both pass FORWARD",
        ),
        ("chains = []", ":5: firewall.chains: no chain at all"),
        ("chains = [\"SIPKNOCK\"]", ":5: firewall.chains: \"SIPKNOCK\" can't be a chain"),
        ("chains = [\"IN PUT\"]", ":5: firewall.chains: \"IN PUT\" can't be a chain"),
        ("pbx = [\"0.0.0.0/0\"]", ":5: firewall.pbx: 0.0.0.0/0 holds every address"),
        ("pbx = [\"pbx.example.org/24\"]", ":5: firewall.pbx: \"pbx.example.org/24\" is neither"),
        ("backend = \"nft\"", ":5: firewall.backend: this version writes rules by iptables alone"),
        ("backend = \"pf\"", ":5: firewall.backend: \"pf\" is not known here"),
        ("families = []", ":5: firewall.families: no family at all"),
        (
            "families = [\"ipx\"]",
            ":5: firewall.families: \"ipx\" is not known here: write \"ipv4\" or \"ipv6\"",
        ),
        ("keep = \"yes\"", ":5: firewall.keep: write true or false"),
        ("outbound = \"0s\"", ":5: firewall.outbound: \"0s\" is not the life of a door"),
        ("outbound_ports = [0]", ":5: firewall.outbound_ports: \"0\" is not a port"),
        ("max_outbound = 0", ":5: firewall.max_outbound: write a whole number from 1"),
        ("prefer = 1", ":5: prefer: unknown field `prefer`"),
    ] {
        let error = firewall(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let config =
        firewall("chains = [\"FORWARD\"]\npbx = [\"eth1\"]\noutbound = \"off\"\noutbound_ports = []");
    let config = config.unwrap();
    assert_eq!(config.firewall.pbx, pbx(&[], &["eth1"]));
    assert!(!config.firewall_plan().outbound);
    // `pbx` without a chain that leads to one.
    assert_eq!(firewall("pbx = [\"eth1\"]").unwrap().notes.len(), 1);

    let flags = |chains: &[&str], addresses: &[&str]| Flags {
        chains: chains.iter().map(|&chain| chain.to_owned()).collect(),
        pbx: addresses.iter().map(|text| values::pbx(text).unwrap()).collect(),
        ..Flags::default()
    };
    let parse = |flags: &Flags| Config::parse(WHOLE, Path::new("x.toml"), flags);
    let config = parse(&flags(&["FORWARD"], &["10.0.0.1"])).unwrap();
    assert_eq!(config.firewall.chains, ["FORWARD"]);
    assert_eq!(config.firewall.pbx, pbx(&["10.0.0.1/32"], &[]));
    let error = Config::parse(KNOCK, Path::new("x.toml"), &flags(&["FORWARD"], &[])).unwrap_err().to_string();
    assert!(error.starts_with("--chain: packets to the PBX") && error.contains("pbx = ["), "{error}");
}

#[test]
fn the_socket_and_the_state_may_be_off() {
    for (text, socket) in [("off", None), ("", None), ("/tmp/x.sock", Some("/tmp/x.sock"))] {
        let config = parse(&format!("[control]\nsocket = \"{text}\"\n{KNOCK}")).unwrap();
        assert_eq!(config.control.socket.as_deref(), socket.map(Path::new), "{text:?}");
        let config = parse(&format!("[state]\nfile = \"{text}\"\n{KNOCK}")).unwrap();
        assert_eq!(config.state.file.as_deref(), socket.map(Path::new), "{text:?}");
    }
}

#[test]
fn the_page_is_off_unless_said() {
    assert_eq!(parse(KNOCK).unwrap().http, HttpSection::default());
    assert_eq!(parse(&format!("[http]\nlisten = \"off\"\n{KNOCK}")).unwrap().http.listen, None);
    let text = format!("[http]\nlisten = \"127.0.0.1:9470\"\nhosts = [\"pbx.example.org\"]\n{KNOCK}");
    let http = parse(&text).unwrap().http;
    assert_eq!(http.listen, Some("127.0.0.1:9470".parse().unwrap()));
    assert_eq!(http.hosts, ["pbx.example.org"]);
}

#[test]
fn errors_name_file_line_and_key() {
    let second = |rest: &str| format!("{KNOCK}[[knock]]\n{rest}");
    for (text, expected) in [
        (
            format!("[inspect]\nprots = [5060]\n{KNOCK}"),
            ":2: prots: unknown field `prots`, expected one of `ports`",
        ),
        (format!("[inspekt]\nports = [5060]\n{KNOCK}"), ":1: [inspekt]: unknown field `inspekt`"),
        (second("name = \"b\"\nsecret = \"x\"\ncolour = 1\n"), ":7: colour: unknown field `colour`"),
        (format!("[inspect]\nports = [0]\n{KNOCK}"), ":2: inspect.ports: \"0\" is not a port"),
        (format!("[inspect]\nports = []\n{KNOCK}"), ":2: inspect.ports: no port at all"),
        (format!("[inspect]\nports = 5060\n{KNOCK}"), ":2: inspect.ports: write a list in brackets"),
        (
            format!("[inspect]\nports = [\"5063-5061\"]\n{KNOCK}"),
            ":2: inspect.ports: the range 5063-5061 runs backwards",
        ),
        (format!("[inspect]\nports = [65536]\n{KNOCK}"), ":2: inspect.ports: \"65536\" is not a port"),
        (
            format!("[inspect]\n\ntrusted = [\"10.0.0.0/33\"]\n{KNOCK}"),
            ":3: inspect.trusted: \"10.0.0.0/33\" is not a network",
        ),
        (
            format!("[inspect]\ntransports = [\"sctp\"]\n{KNOCK}"),
            ":2: inspect.transports: \"sctp\" is not known here: write \"udp\" or \"tcp\"",
        ),
        (format!("[inspect]\ndoor = 4000\n{KNOCK}"), ":2: inspect.door: write it in quotes"),
        (format!("[inspect]\ndoor = \"4000\"\n{KNOCK}"), ":2: inspect.door: \"4000\" is not a time span"),
        (format!("[inspect]\ndoor = \"0s\"\n{KNOCK}"), ":2: inspect.door: a door of no time"),
        (format!("[inspect]\nmode = \"off\"\n{KNOCK}"), ":2: inspect.mode: \"off\" is not known here"),
        (
            format!("[inspect]\nipv4_prefix = 33\n{KNOCK}"),
            ":2: inspect.ipv4_prefix: write a whole number from 0 to 32",
        ),
        (format!("[inspect]\nmax_doors = 0\n{KNOCK}"), ":2: inspect.max_doors: write a whole number from 1"),
        (format!("[queue]\nnumbers = \"3-1\"\n{KNOCK}"), ":2: queue.numbers: the range 3-1 runs backwards"),
        (
            format!("[queue]\nnumbers = \"0-999\"\n{KNOCK}"),
            ":2: queue.numbers: 1000 queues are more than 256",
        ),
        (
            format!("[queue]\nreceive_buffer = \"32MB\"\n{KNOCK}"),
            ":2: queue.receive_buffer: \"MB\" is not a unit",
        ),
        (
            format!("[http]\nlisten = \"9470\"\n{KNOCK}"),
            ":2: http.listen: \"9470\" is not an address and port",
        ),
        (
            format!("[http]\nlisten = \"pbx:9470\"\n{KNOCK}"),
            ":2: http.listen: \"pbx:9470\" is not an address",
        ),
        (format!("[http]\nlisten = \"127.0.0.1:0\"\n{KNOCK}"), ":2: http.listen: \"127.0.0.1:0\" is not"),
        (format!("[http]\nhosts = [\"a/b\"]\n{KNOCK}"), ":2: http.hosts: \"a/b\" is not the name of a host"),
        (format!("[queue]\nbackend = \"pcap\"\n{KNOCK}"), ":2: queue.backend: \"pcap\" is not a backend"),
        (format!("[queue]\non_exit = true\n{KNOCK}"), ":2: queue.on_exit: write it in quotes"),
        (
            format!("[queue]\nbusy_poll = \"2s\"\n{KNOCK}"),
            ":2: queue.busy_poll: \"2s\" is not a time to look for packets",
        ),
        (second("secret = \"x\"\n"), ":4: knock 2.name: a knock needs a name"),
        (second("name = \"\"\nsecret = \"x\"\n"), ":5: knock 2.name: a knock needs a name"),
        (second("name = \"a=b\"\nsecret = \"x\"\n"), ":5: knock 2.name: the name \"a=b\" has"),
        (second("name = \"b\"\n"), ":4: knock 2.secret: a knock needs a secret"),
        (second("name = \"b\"\nsecret = \"\"\n"), ":6: knock 2.secret: an empty secret"),
        (second("name = \"b\"\nsecret = 12345678\n"), ":6: knock 2.secret: write it in quotes"),
        (
            second("name = \"b\"\nsecret_file = \"/nonexistent\"\n"),
            ":6: knock 2.secret_file: /nonexistent: No such file",
        ),
        (second("name = \"b\"\nsecret = \"x\"\nsecret_file = \"y\"\n"), ":6: knock 2.secret: both"),
        (
            second("name = \"alice\"\nsecret = \"x\"\n"),
            ":4: knock 2.name: the name \"alice\" is taken already, at /etc/sipknock.toml:1",
        ),
        (
            second("name = \"b\"\nsecret = \"mykn0ckstr1ng\"\n"),
            ":4: knock 2.secret: this secret is that of knock \"alice\"",
        ),
        (
            second("name = \"b\"\nsecret = \"MYKN0CKSTR1NG\"\nignore_case = true\n"),
            ":4: knock 2.secret: this secret is that of",
        ),
        (
            second("name = \"b\"\nsecret = \"x\"\nmethods = [\"RE GISTER\"]\n"),
            ":7: knock 2.methods: \"RE GISTER\" is not a SIP method",
        ),
        (
            second("name = \"b\"\nsecret = \"x\"\nsources = [\"nowhere\"]\n"),
            ":7: knock 2.sources: \"nowhere\" is not a network",
        ),
        (second("name = \"b\"\nsecret = \"x\"\nin = \"body\"\n"), ":7: knock 2.in: \"body\""),
        (
            second("name = \"b\"\nsecret = \"\\\"<>\\\"\"\nin = \"contact-instance\"\n"),
            ":4: knock 2.secret: nothing is left",
        ),
        (
            second("name = \"b\"\nsecret = \" \"\nin = \"user-agent\"\nmatch = \"whole\"\n"),
            ":4: knock 2.secret: nothing is left",
        ),
        (
            second("name = \"b\"\nsecret = \"x\"\nmatch = \"whole\"\n"),
            ":7: knock 2.match: \"whole\" compares the secret with one part of a message, and in = \"anywhere\" is none",
        ),
        (
            second("name = \"b\"\nsecret = \"x\"\nin = \"headers\"\nmatch = \"whole\"\n"),
            ":8: knock 2.match: \"whole\" compares the secret with one part of a message, and in = \"headers\" is none",
        ),
        (
            second("name = \"b\"\nsecret = \"x\"\nin = \"user-agent\"\nmatch = \"part\"\n"),
            ":8: knock 2.match: \"part\" is not a way to match: there are \"within\" and \"whole\"",
        ),
        (
            format!("[inspect]\nexpires_min = \"2h\"\nexpires_max = \"1h\"\n{KNOCK}"),
            ":3: inspect.expires_max: the shortest life",
        ),
        (format!("[inspect]\npartial_bytes = \"1MiB\"\n{KNOCK}"), ":2: inspect.partial_bytes: 1048576 bytes"),
        (format!("[inspect]\npartial_segments = 0\n{KNOCK}"), ":2: inspect.partial_segments: write a whole"),
        (format!("{KNOCK}name = \"twice\"\n"), ":4: name: duplicate key"),
        (format!("{KNOCK}= nothing\n"), ":4: "),
        ("knock = \"mykn0ckstr1ng\"\n".to_owned(), ":1: knock: expected a sequence"),
    ] {
        let error = parse(&text).expect_err(&text).to_string();
        let expected = format!("/etc/sipknock.toml{expected}");
        assert!(error.starts_with(&expected), "{text}\n  {error}\n  {expected}");
        assert!(!error.contains("mykn0ckstr1ng"), "{error}");
    }
}

/// Found by fuzz/config: the part in front of an equals sign is not always a key.
#[test]
fn what_stands_where_a_secret_belongs_is_not_repeated() {
    for line in [
        "secret: \"mykn0ckstr1ng==\"",
        "secret \"mykn0ckstr1ng\" = 1",
        "secret mykn0ckstr1ng=",
        "secret = mykn0ckstr1ng",
        "secret = \"mykn0ckstr1ng",
        "secret = \"\"\"\nmykn0ckstr1ng = \\q\"\"\"",
        "secret = '''\nmykn0ckstr1ng''', door = \"1h\"",
        "[[knock]] secret \"mykn0ckstr1ng\"",
        "mykn0ckstr1ng",
    ] {
        let text = format!("[[knock]]\nname = \"alice\"\n{line}\n");
        let error = parse(&text).expect_err(&text);
        assert!(!format!("{error} {error:?}").contains("mykn0ck"), "{text}\n  {error}");
        assert!(error.to_string().starts_with("/etc/sipknock.toml:"), "{error}");
    }
}

#[test]
fn secrets_that_only_look_alike_are_two() {
    let text = format!(
        "{KNOCK}[[knock]]\nname = \"b\"\nsecret = \"MYKN0CKSTR1NG\"\n[[knock]]\nname = \"c\"\nsecret = \"mykn0ckstr1ng\"\n"
    );
    let error = parse(&text).unwrap_err().to_string();
    assert!(error.contains("knock 3.secret: this secret is that of knock \"alice\""), "{error}");
    let first_two = &text[..text.rfind("[[knock]]").unwrap()];
    assert_eq!(parse(first_two).unwrap().knocks.len(), 2);
}

#[test]
fn without_a_knock_nobody_could_get_in() {
    let error = parse("[inspect]\nports = [5060]\n").unwrap().inspector().unwrap_err();
    assert!(matches!(error, ConfigError::NoKnock { .. }));
    let error = error.to_string();
    assert!(
        error.contains("/etc/sipknock.toml")
            && error.contains("--knock NAME=SECRET")
            && error.contains("keygen"),
        "{error}"
    );
}

#[test]
fn secret_files_stand_beside_the_config() {
    let folder = tempfile::tempdir().unwrap();
    for (content, secret) in [
        ("s3cret", "s3cret"),
        ("s3cret\n", "s3cret"),
        ("s3cret\r\n", "s3cret"),
        (" s3 cret \n\n", " s3 cret \n"),
    ] {
        std::fs::write(folder.path().join("key"), content).unwrap();
        let text = "[[knock]]\nname = \"a\"\nsecret_file = \"key\"\n";
        let config = Config::parse(text, &folder.path().join("sipknock.toml"), &Flags::default()).unwrap();
        assert_eq!(config.knocks[0].secret.expose(), secret.as_bytes(), "{content:?}");
    }
}

#[test]
fn flags_win_and_add() {
    let flags = Flags {
        knocks: vec![values::name_and_secret("bob=0therkn0ck=x").unwrap()],
        ports: Some(values::ports("5080,5090-5099").unwrap()),
        door: Some(Life::Span(Duration::from_secs(60))),
        trusted: vec![values::network("192.0.2.7").unwrap()],
        queues: Some(values::queues("4-5").unwrap()),
        backend: Some(Backend::Batched),
        monitor: true,
        control: Some(None),
        state: Some(None),
        http: Some(values::listen("[::1]:80").unwrap()),
        user: Some("nobody".to_owned()),
        ..Flags::default()
    };
    let config = Config::parse(WHOLE, Path::new("x.toml"), &flags).unwrap();
    assert_eq!(config.inspect.scope.ports, [5080..=5080, 5090..=5099]);
    assert_eq!(config.inspect.trusted.len(), 2);
    assert_eq!(config.inspect.mode, Mode::Monitor);
    assert_eq!(config.http.listen, Some("[::1]:80".parse().unwrap()));
    assert_eq!((config.queue.numbers, config.queue.backend), (4..=5, Backend::Batched));
    assert_eq!(config.knocks[1].secret.expose(), b"0therkn0ck=x");
    assert_eq!(config.knocks[0].door, Life::Span(Duration::from_secs(86400)), "its own");
    assert_eq!(
        config.knocks[1].door,
        Life::Span(Duration::from_secs(60)),
        "the general one, as the flag has it"
    );

    let flags =
        Flags { knocks: vec![values::name_and_secret("alice-desk=other").unwrap()], ..Flags::default() };
    let error = Config::parse(WHOLE, Path::new("x.toml"), &flags).unwrap_err().to_string();
    assert!(
        error.starts_with("--knock alice-desk: the name \"alice-desk\" is taken already, at x.toml:"),
        "{error}"
    );
}

#[test]
fn networks_with_bits_to_spare_are_noted() {
    let config = parse(&format!("[inspect]\ntrusted = [\"10.10.1.5/24\"]\n{KNOCK}")).unwrap();
    assert_eq!(config.notes.len(), 1);
    assert_eq!(config.notes[0].place.to_string(), "/etc/sipknock.toml:2: inspect.trusted");
    assert!(config.notes[0].text.contains("means 10.10.1.0/24"));
}

#[test]
fn flag_values() {
    for (text, expected) in [
        ("5060", Some(vec![5060..=5060])),
        ("5060, 5061-5063", Some(vec![5060..=5060, 5061..=5063])),
        ("", None),
        ("5060,", None),
        ("a", None),
        ("-5", None),
        ("0", None),
        ("1-65535", Some(vec![1..=65535])),
    ] {
        assert_eq!(values::ports(text).ok(), expected, "{text:?}");
    }
    for (text, expected) in [
        ("32MiB", Some(32 << 20)),
        ("1 KiB", Some(1024)),
        ("7", Some(7)),
        ("1GiB", Some(1 << 30)),
        ("2GiB", None),
        ("99999999999GiB", None),
        ("MiB", None),
        ("-1", None),
        ("1.5MiB", None),
    ] {
        assert_eq!(values::size(text).ok(), expected, "{text:?}");
    }
    for (text, expected) in [
        ("4000s", Some(4000)),
        ("1h 30m", Some(5400)),
        ("90m", Some(5400)),
        ("1d", Some(86400)),
        ("4000", None),
        ("0s", None),
        ("-1s", None),
        ("", None),
    ] {
        assert_eq!(values::duration(text).ok().map(|span| span.as_secs()), expected, "{text:?}");
    }
    for text in ["noequals", "=secret", "name="] {
        let error = values::name_and_secret(text).unwrap_err();
        assert!(!error.contains("secret=") && !error.is_empty(), "{error}");
    }
}

#[test]
fn ten_thousand_knocks() {
    let text: String =
        (0..10_000).map(|n| format!("[[knock]]\nname = \"k{n}\"\nsecret = \"s3cret-{n:06}-x\"\n")).collect();
    assert_eq!(parse(&text).unwrap().knocks.len(), 10_000);
}
