//! The running gate against the configuration.

use super::*;
use crate::config::SALT;
use crate::control::protocol::{BusiestStats, ConfigStats, GraceStats, OutboundStats, RefusedTrunk};
use crate::doctor::Finding;

/// What a gate says that goes by this configuration.
fn told(config: &Config) -> Stats {
    let digests = config.digests([7; SALT]);
    let scope = &config.inspect.scope;
    Stats {
        pid: 4,
        mode: "enforce".to_owned(),
        queues: vec![verdict(0, Some(3))],
        config: Some(Box::new(ConfigStats {
            file: config.file().map(|path| path.display().to_string()),
            read: "2026-11-22T14:00:00.000000Z".to_owned(),
            meaning: digests.meaning,
            files: digests.files,
            flags: config.flagged,
            ports: scope.ports.iter().map(crate::config::values::ports_text).collect(),
            transports: scope.transports.iter().map(|transport| transport.name().to_owned()).collect(),
            trusted: config.inspect.trusted.iter().map(ToString::to_string).collect(),
            chains: config.firewall.chains.clone(),
            restart: vec![],
        })),
        ..Stats::default()
    }
}

/// A file on disk, so that it has a path and bytes.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn config(&self, name: &str, inspect: &str, flags: &Flags) -> Config {
        let path = self.folder.path().join(name);
        let knock = "[[knock]]\nname = \"alice\"\nsecret = \"gwadjtpmagjwtdpmjgatwdm\"\n";
        std::fs::write(&path, format!("[inspect]\n{inspect}\n{knock}")).unwrap();
        let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
        std::fs::set_permissions(&path, private).unwrap();
        Config::load(&path, true, flags).unwrap()
    }
}

/// What is found of a gate, with a process of these facts.
fn find(config: &Config, stats: Stats, edit: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let plan =
        Plan { trusted: config.inspect.trusted.clone(), ports: config.inspect.scope.ports.clone(), ..plan() };
    let mut facts = Facts { gate: Some(Ok(stats)), ..sound() };
    facts.gate_process.clone_from(&facts.queues[0].owner);
    edit(&mut facts);
    let findings = all(Subject { config, plan: &plan }, &facts);
    findings.into_iter().filter(|finding| finding.severity != Severity::Ok).collect()
}

/// One finding, or none if `name` is empty.
#[track_caller]
fn assert_found(found: &[Finding], case: &str, name: &str, severity: Severity, mend: &str) {
    if name.is_empty() {
        assert!(found.is_empty(), "{case}: {found:#?}");
        return;
    }
    assert_eq!(found.len(), 1, "{case}: {found:#?}");
    assert_eq!((found[0].name.as_str(), found[0].severity), (name, severity), "{case}: {found:#?}");
    let command = found[0].mend.as_deref().unwrap_or_default();
    assert!(command.contains(mend), "{case}: {mend} is not in {command}");
}

#[test]
fn a_gate_that_lets_everything_pass() {
    type Edit = fn(&mut Stats);
    type EditFacts = fn(&mut Facts);
    let grace = |left_s, unready| Some(GraceStats { left_s, phones: 3, unready, borrowed: 0, overlooked: 0 });
    let files = Files::new();
    let enforce = files.config("a.toml", "", &Flags::default());
    let monitor = files.config("b.toml", "mode = \"monitor\"", &Flags::default());
    let none: EditFacts = |_| {};
    let rows: [(&str, &Config, Edit, EditFacts, &str, Severity, &str); 6] = [
        ("enforcing", &enforce, |_| {}, none, "", Severity::Ok, ""),
        (
            "by the file",
            &monitor,
            |stats| stats.mode = "monitor".to_owned(),
            none,
            "monitor",
            Severity::Fault,
            "sed -E -i",
        ),
        (
            "by a flag",
            &enforce,
            |stats| stats.mode = "monitor".to_owned(),
            |facts| facts.gate_process.as_mut().unwrap().monitors = true,
            "monitor",
            Severity::Fault,
            "run --takeover",
        ),
        (
            "by a flag in a unit",
            &enforce,
            |stats| stats.mode = "monitor".to_owned(),
            |facts| {
                let process = facts.gate_process.as_mut().unwrap();
                process.monitors = true;
                process.unit = Some("gate.service".to_owned());
            },
            "monitor",
            Severity::Fault,
            "systemctl restart gate.service",
        ),
        (
            "a flag of a gate that enforces",
            &enforce,
            |_| {},
            |facts| facts.gate_process.as_mut().unwrap().monitors = true,
            "",
            Severity::Ok,
            "",
        ),
        ("a file that says monitor to a gate that enforces", &monitor, |_| {}, none, "", Severity::Ok, ""),
    ];
    for (case, config, edit, edit_facts, name, severity, mend) in rows {
        let mut stats = told(config);
        edit(&mut stats);
        assert_found(&find(config, stats, edit_facts), case, name, severity, mend);
    }
    for (case, grace, severity) in [
        ("a grace that lasts", grace(60, 1), Severity::Warning),
        ("a grace that is up", grace(0, 1), Severity::Fault),
    ] {
        let stats = Stats { grace, mode: "monitor".to_owned(), ..told(&enforce) };
        assert_found(&find(&enforce, stats, |_| {}), case, "grace", severity, "enforce");
    }
}

#[test]
fn a_gate_that_goes_by_something_else() {
    let files = Files::new();
    let flags = Flags { trusted: vec!["192.0.2.0/24".parse().unwrap()], ..Flags::default() };
    let config = files.config("a.toml", "", &Flags::default());
    let reload = "a.toml reload";

    let edited = |inspect: &str, flags: &Flags| files.config("a.toml", inspect, flags);
    let same = told(&config);
    assert_found(&find(&config, same.clone(), |_| {}), "the same", "", Severity::Ok, "");
    assert_found(
        &find(&edited("# Hi", &Flags::default()), same.clone(), |_| {}),
        "a comment",
        "",
        Severity::Ok,
        "",
    );
    let other = edited("max_doors = 7", &Flags::default());
    assert_found(&find(&other, same.clone(), |_| {}), "a key", "not-reloaded", Severity::Fault, reload);

    // With flags bytes are all there is to compare, and bytes that are the same say that the file is.
    let flagged = told(&edited("", &flags));
    let found = find(&edited("", &flags), flagged.clone(), |_| {});
    assert_found(&found, "the same flags", "", Severity::Ok, "");
    let found = find(&edited("", &Flags::default()), flagged.clone(), |_| {});
    assert_found(&found, "a flag of the gate", "gate-differs", Severity::Fault, "$EDITOR");
    assert!(found[0].text.contains("trusted networks 192.0.2.0/24 and not none"), "{found:?}");
    let found = find(&edited("# Hi", &Flags::default()), flagged, |_| {});
    assert_found(&found, "a flag of the gate, and another file", "not-reloaded", Severity::Fault, reload);
    let ports = Flags { ports: Some(vec![5060..=5061]), ..Flags::default() };
    let found = find(&edited("", &Flags::default()), told(&edited("", &ports)), |_| {});
    assert_found(&found, "other ports", "gate-differs", Severity::Fault, "$EDITOR");
    assert!(found[0].text.contains("ports 5060-5061 and not 5060"), "{found:?}");
    // Ports that are written otherwise are the same ones.
    let written = edited("ports = [5060, 5060]", &Flags::default());
    let mut stats = told(&written);
    stats.config.as_mut().unwrap().ports = vec!["5060".to_owned()];
    assert_found(&find(&written, stats, |_| {}), "the same ports", "", Severity::Ok, "");
    let mut chains = told(&written);
    chains.config.as_mut().unwrap().chains = vec!["FORWARD".to_owned()];
    let found = find(&written, chains, |_| {});
    assert_found(&found, "another chain", "gate-differs", Severity::Fault, "$EDITOR");
    let mut trunk = told(&written);
    let refused = ["198.51.100.9", "2001:db8::9"].map(|source| RefusedTrunk {
        source: source.to_owned(),
        user: "100".to_owned(),
        calls: 3,
        last: "2026-11-22T14:00:00.000000Z".to_owned(),
    });
    trunk.refused_trunks = refused.to_vec();
    let found = find(&written, trunk, |_| {});
    let mend = "add \"198.51.100.9\" to [inspect] trusted";
    assert_found(&found, "calls of a provider", "trunk-refused", Severity::Warning, mend);
    let mut unwatched = told(&written);
    unwatched.rules = Some(crate::control::protocol::RulesStats::default());
    let found = find(&written, unwatched, |_| {});
    assert_found(&found, "a watch that is gone", "unwatched", Severity::Warning, "");
    let without = |config: &Config, off: &str| {
        let off = Some(off.to_owned());
        Stats { outbound: Some(OutboundStats { off, ..OutboundStats::default() }), ..told(config) }
    };
    let missing = "this kernel has no nfnetlink_log: load it with 'modprobe nfnetlink_log'";
    let found = find(&written, without(&written, missing), |_| {});
    let mend = "modprobe -a nfnetlink_log xt_NFLOG && ";
    assert_found(&found, "a kernel without NFLOG", "outbound-off", Severity::Warning, mend);
    let found = find(&written, without(&written, "NFLOG group 5060 is taken"), |_| {});
    assert_found(&found, "a taken group", "outbound-off", Severity::Warning, "run --takeover");
    for (evicted, open, full) in [(0, 100, false), (3, 50, false), (3, 51, true)] {
        let outbound = OutboundStats { evicted, open, max: 100, ..OutboundStats::default() };
        let stats = Stats { outbound: Some(outbound), ..told(&written) };
        let found = find(&written, stats, |_| {});
        let mend = found.iter().find(|finding| finding.name == "outbound-full").map(|finding| &finding.mend);
        assert_eq!(mend.is_some(), full, "{evicted} {open}: {found:#?}");
        assert!(
            !full || mend.unwrap().as_ref().unwrap().contains("max_outbound = 200, then: "),
            "{found:#?}"
        );
    }
    let off = edited("[firewall]\noutbound = \"off\"\n", &Flags::default());
    let found = find(&off, without(&off, "the configuration says so"), |_| {});
    assert!(found.iter().all(|finding| finding.name != "outbound-off"), "{found:#?}");
    let all = Flags {
        trusted: vec!["0.0.0.0/1".parse().unwrap(), "128.0.0.0/1".parse().unwrap()],
        ..Flags::default()
    };
    let found = find(&edited("", &Flags::default()), told(&edited("", &all)), |_| {});
    let names: Vec<_> = found.iter().map(|finding| finding.name.as_str()).collect();
    assert_eq!(names, ["gate-differs", "everybody-trusted"]);

    let config = edited("", &Flags::default());
    let mut waits = told(&config);
    waits.config.as_mut().unwrap().restart = vec!["queue.max_len".to_owned()];
    let found = find(&config, waits.clone(), |_| {});
    assert_found(&found, "what waits for a restart", "restart-needed", Severity::Warning, "run --takeover");
    let found = find(&config, waits, |facts| {
        facts.gate_process.as_mut().unwrap().unit = Some("sipknock.service".to_owned());
    });
    assert_found(
        &found,
        "of a unit",
        "restart-needed",
        Severity::Warning,
        "systemctl restart sipknock.service",
    );
}

#[test]
fn a_gate_of_another_file() {
    let files = Files::new();
    let config = files.config("a.toml", "", &Flags::default());
    let other = files.config("other file.toml", "max_doors = 7", &Flags::default());
    let path = other.file().unwrap();
    let mend = format!("sipknock --config '{}' doctor", path.display());
    let found = find(&config, told(&other), |_| {});
    assert_found(&found, "it says so", "other-config", Severity::Fault, &mend);
    // Its words say so, since nobody answers at the socket that this configuration names.
    let found = find(&config, told(&other), |facts| {
        facts.gate = Some(Err("/run/x.sock: no".to_owned()));
        edit_owner(facts, |owner| owner.config = Some(path));
    });
    assert_found(&found, "its words say so", "other-config", Severity::Fault, &mend);
    let mut none = told(&other);
    none.config.as_mut().unwrap().file = None;
    let found = find(&config, none, |_| {});
    assert_found(&found, "flags alone", "other-config", Severity::Fault, "a.toml run --takeover");
    let mut older = told(&other);
    older.config = None;
    assert_found(&find(&config, older, |_| {}), "a gate that does not say", "", Severity::Ok, "");
}

#[test]
fn one_address_for_everybody() {
    let files = Files::new();
    let config = files.config("a.toml", "", &Flags::default());
    let busiest =
        |address: &str, percent, of| Some(BusiestStats { address: address.to_owned(), percent, of });
    for (case, busiest, name, severity) in [
        ("few packets", busiest("198.51.100.7", 100, 299), "", Severity::Ok),
        ("a fair share", busiest("198.51.100.7", 90, 5000), "", Severity::Ok),
        ("from one place", busiest("198.51.100.7", 91, 300), "one-source", Severity::Warning),
        ("from this machine", busiest("172.17.0.1", 100, 300), "one-source", Severity::Fault),
        ("from the router", busiest("2001:db8::1", 100, 300), "one-source", Severity::Fault),
    ] {
        let stats = Stats { busiest, ..told(&config) };
        let found = find(&config, stats, |facts| {
            facts.own_addresses = vec!["172.17.0.1".parse().unwrap()];
            facts.gateways = vec!["2001:db8::1".parse().unwrap()];
        });
        assert_found(&found, case, name, severity, "tcpdump");
    }
}
