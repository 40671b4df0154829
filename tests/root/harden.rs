//! What is left to a running gate: user, capabilities, system calls, files; and that it does all its work with that, in
//! network namespaces with real packets.

mod life;
mod rules;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::gate::{Gate, SECRET, SENTINEL, World, register, wait_until};
use crate::common::{commands, write_secret};
use crate::trials::{self, NetnsTrial, trials};
use rustix::process::{Gid, Signal, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde_json::{Value, json};

pub(crate) fn trials() -> Vec<NetnsTrial> {
    CASES.iter().map(|&(name, case)| trials::in_netns(name, case)).collect()
}

const CASES: &[(&str, fn())] = &trials![
    every_thread_is_the_users_with_one_capability,
    without_the_user_it_stays_root_with_one_capability,
    a_user_who_is_named_has_to_exist,
    a_user_of_its_own_needs_nothing_more,
    a_unit_that_forbids_all_of_it_is_no_obstacle,
    what_it_will_not_read_again_is_told_with_the_mend,
    other_folders_are_out_of_reach,
    what_was_roots_is_handed_over_and_links_are_not,
    life::a_whole_life_behind_the_strictest_filter_batched,
    life::a_whole_life_behind_the_strictest_filter_nfq,
    life::the_journal_behind_the_strictest_filter,
    rules::rules_are_taken_out_by_their_keeper,
    rules::rules_stay_after_a_fault_and_no_keeper_does,
    rules::a_probe_ends_with_its_caller,
];

/// Two namespaces, with users of their own in that of the server: ip-netns(8) puts files of /etc/netns/NAME over those
/// of /etc.
struct House {
    world: World,
    etc: PathBuf,
    with_user: bool,
}

impl House {
    /// With the user that a gate becomes, or without.
    fn new(with_user: bool) -> Self {
        let world = World::new("harden");
        fs::set_permissions(world.folder(), Permissions::from_mode(0o755)).unwrap();
        let etc = Path::new("/etc/netns").join(world.server.name());
        fs::create_dir_all(&etc).unwrap();
        for (file, line) in [
            ("passwd", format!("sipknock:x:{USER}:{GROUP}::/:/usr/sbin/nologin\n")),
            ("group", format!("sipknock:x:{GROUP}:\n")),
        ] {
            let mut text = fs::read_to_string(Path::new("/etc").join(file)).unwrap();
            text = text
                .lines()
                .filter(|line| !line.starts_with("sipknock:"))
                .map(|line| format!("{line}\n"))
                .collect();
            if with_user {
                text.push_str(&line);
            }
            fs::write(etc.join(file), text).unwrap();
        }
        Self { world, etc, with_user }
    }

    /// A configuration that the user can read, in a folder that he can read, with doors and a socket in folders that are
    /// not there yet.
    fn config(&self, more: &str) -> String {
        let folder = self.folder("etc", 0o750);
        let [state, socket] = ["lib/doors", "run/control.sock"].map(|name| self.world.path(name));
        let path = folder.join("sipknock.toml");
        write_secret(
            &path,
            &format!(
                "[inspect]\ntrusted = [\"{SENTINEL}\"]\n[control]\nsocket = {socket:?}\n[state]\nfile = {state:?}\n\
                 {more}\n[[knock]]\nname = \"alice\"\nsecret = \"{SECRET}\"\n"
            ),
        );
        if self.with_user {
            self.to_group(&path, 0o640);
        }
        path.to_str().unwrap().to_owned()
    }

    /// A folder of root's and the user's group.
    fn folder(&self, name: &str, mode: u32) -> PathBuf {
        let folder = self.world.folder().join(name);
        fs::create_dir_all(&folder).unwrap();
        self.to_group(&folder, mode);
        folder
    }

    fn to_group(&self, path: &Path, mode: u32) {
        chown(path, Some(0), Some(GROUP)).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn start(&self, args: &[&str]) -> Gate {
        let mut gate = self.spawn(args);
        gate.wait_for("started", |_| true);
        gate
    }

    /// With no word about the user.
    fn spawn(&self, args: &[&str]) -> Gate {
        let mut command = self.world.sipknock(&["--log-format", "json", "-v", "run"]);
        command.args(args);
        Gate::spawn_command(command)
    }

    /// What it says to a command that it carries out.
    fn says(&self, config: &str, args: &[&str]) -> String {
        commands::says(&self.world, config, args)
    }

    /// What the gate says holds it: as whom, with what, and whether system calls are filtered.
    fn protection(&self, config: &str) -> (Value, Value, Value) {
        let stats = commands::stats(&self.world, config);
        let of = |name: &str| stats["protection"][name].clone();
        (of("user"), of("capabilities"), of("seccomp"))
    }

    /// A stranger is kept out, and a phone gets in.
    fn the_gate_works(&self) {
        self.world.client("198.51.100.66").send("stranger");
        self.world.client("198.51.100.7").send(&register(SECRET));
        assert_eq!(wait_until(|| self.world.receive()), Some(register(SECRET)));
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.etc);
    }
}

/// All warnings of what happened so far, but for those of the knock that all tests have, and of rules that few have.
fn warned(gate: &Gate) -> Vec<String> {
    let usual = |text: &String| {
        let starts =
            ["weak knock", "no firewall rules lead", "the IPv4 firewall rules", "the IPv6 firewall rules"];
        starts.iter().any(|start| text.starts_with(start))
    };
    gate.warnings().into_iter().filter(|text| !usual(text)).collect()
}

/// Whether Landlock is on in a gate that was started with `-v`.
fn has_landlock(gate: &Gate) -> bool {
    gate.wait_for_detail("the gate runs as ").contains("landlock is on")
}

/// As [`House::protection`] has it.
fn held(user: &str, filtered: bool) -> (Value, Value, Value) {
    (user.into(), json!(["CAP_NET_ADMIN"]), filtered.into())
}

/// What /proc says of each thread, as `(name, value)`; several blanks are one.
fn threads(pid: u32) -> Vec<Vec<(String, String)>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // Those of clients end at any time.
    tasks.filter_map(|task| status(&task.unwrap().path())).collect()
}

/// `None` where it has ended.
fn status(process: &Path) -> Option<Vec<(String, String)>> {
    let text = fs::read_to_string(process.join("status")).ok()?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let values =
        lines.map(|(name, value)| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")));
    Some(values.collect())
}

/// Holds each thread to what is expected of all.
fn all_threads_have(pid: u32, expected: &[(&str, &str)]) {
    let threads = threads(pid);
    assert!(threads.len() > 3, "{} threads", threads.len());
    for thread in threads {
        for (name, value) in expected {
            let found = thread.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
            assert_eq!(found, Some(*value), "{name} of {:?}", thread.first());
        }
    }
}

const CONFINED: [(&str, &str); 7] = [
    ("CapInh", "0000000000000000"),
    ("CapPrm", NET_ADMIN),
    ("CapEff", NET_ADMIN),
    ("CapBnd", NET_ADMIN),
    ("CapAmb", "0000000000000000"),
    ("NoNewPrivs", "1"),
    // Filtered.
    ("Seccomp", "2"),
];

fn every_thread_is_the_users_with_one_capability() {
    let house = House::new(true);
    let config = house.config("");
    house.world.apply_rules(&config);
    let learned = house.folder("learned", 0o770).join("learned.toml");
    let gate = house.start(&["--config", &config, &format!("--learn={}", learned.display())]);
    house.the_gate_works();
    let pid = gate.pid();
    all_threads_have(pid, &CONFINED);
    let numbers = [USER, GROUP].map(|number| [number.to_string().as_str(); 4].join(" "));
    all_threads_have(pid, &[("Uid", &numbers[0]), ("Gid", &numbers[1]), ("Groups", "")]);
    // Its memory is nobody's: what is not dumpable is root's in /proc (proc(5)), and leaves no core.
    assert_eq!(fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(), 0);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);

    let doctor = house.world.sipknock(&["--config", &config, "doctor"]).output().unwrap();
    let findings = String::from_utf8(doctor.stdout).unwrap();
    let rights =
        format!("process {pid}, runs as user sipknock with CAP_NET_ADMIN alone and no new privileges");
    assert!(findings.contains(&rights), "{findings}");
    assert_eq!(house.protection(&config), held("sipknock", true));
    let landlock = if has_landlock(&gate) { "on" } else { "off" };
    let line =
        format!("\nruns as sipknock with CAP_NET_ADMIN alone; seccomp is on, landlock is {landlock}\n");
    let stats = house.says(&config, &["stats"]);
    assert!(stats.contains(&line), "{stats}");

    // Everything goes on as it did.
    assert_eq!(warned(&gate), [""; 0]);
    let socket = fs::metadata(house.world.path("run/control.sock")).unwrap();
    assert_eq!((socket.uid(), socket.gid(), socket.mode() & 0o777), (0, GROUP, 0o660));
    house.says(&config, &["reload"]);
    gate.signal(Signal::HUP);
    gate.wait_for_events("reloaded", 2);
    let doors = house.world.path("lib/doors");
    wait_until(|| Path::new(&doors).exists().then_some(())).unwrap();
    assert_eq!(fs::metadata(&doors).unwrap().uid(), USER);
    let (ended, last, log) = gate.stop();
    assert!(ended.success() && last["event"] == "stopped", "{log:#?}");
    assert!(!Path::new(&house.world.path("run/control.sock")).exists(), "the socket goes with the gate");
    assert_eq!(fs::metadata(&learned).unwrap().uid(), USER);

    // And the next one finds the doors.
    let _gate = house.start(&["--config", &config]);
    assert!(house.says(&config, &["doors"]).contains("198.51.100.7"));
}

fn without_the_user_it_stays_root_with_one_capability() {
    let house = House::new(false);
    let config = house.config("");
    house.world.apply_rules(&config);
    let gate = house.start(&["--config", &config]);
    house.the_gate_works();
    all_threads_have(gate.pid(), &CONFINED);
    all_threads_have(gate.pid(), &[("Uid", "0 0 0 0"), ("Groups", "")]);
    assert_eq!(house.protection(&config), held("root", true));
    let warnings = warned(&gate);
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(
        warning.contains("stays root") && warning.contains("systemd-sysusers --inline 'u sipknock -'"),
        "{warning}"
    );
    house.says(&config, &["reload"]);
    drop(gate);
    // Who says so himself need not be told.
    let gate = house.start(&["--config", &config, "--user", "root"]);
    all_threads_have(gate.pid(), &CONFINED);
    assert_eq!(warned(&gate), [""; 0]);
}

fn a_user_who_is_named_has_to_exist() {
    let house = House::new(false);
    let config = house.config("");
    for args in [&["--user", "nobody-here"][..], &["--user", "sipknock"]] {
        let output = house.world.sipknock(&[&["--config", &config, "run"], args].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("there is no user {}", args[1])), "{said}");
    }
}

/// A house with rules, a configuration, folders for the user, and the program in a place that he can get to.
fn as_a_service() -> (House, String, String) {
    let house = House::new(true);
    let config = house.config("");
    house.world.apply_rules(&config);
    for name in ["lib", "run"] {
        house.folder(name, 0o770);
    }
    let program = house.world.path("sipknock");
    let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_sipknock"), &program]).status().unwrap();
    assert!(copied.success());
    (house, config, program)
}

/// As systemd starts it: as the user already, with the capability that he needs, and the group for the counters of queues.
fn a_user_of_its_own_needs_nothing_more() {
    let (house, config, program) = as_a_service();
    let mut command = house.world.server.command("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={GROUP}"), "--groups=0"]);
    command.args([
        "--inh-caps=-all,+net_admin",
        "--ambient-caps=-all,+net_admin",
        "--bounding-set=-all,+net_admin",
    ]);
    command.args([&program, "--log-format", "json", "run", "--config", &config]);
    let mut gate = Gate::spawn_command(command);
    gate.wait_for("started", |_| true);
    house.the_gate_works();
    all_threads_have(gate.pid(), &CONFINED);
    all_threads_have(gate.pid(), &[("Uid", &[USER.to_string().as_str(); 4].join(" "))]);
    assert_eq!(house.protection(&config), held("sipknock", true));
    assert_eq!(warned(&gate), [""; 0]);
    house.says(&config, &["reload"]);
}

/// As a service whose own filter lets it give nothing up by itself, and has done so before.
fn a_unit_that_forbids_all_of_it_is_no_obstacle() {
    let (house, config, program) = as_a_service();
    // What a thread is, its children are.
    let mut gate = house.world.server.run(|| {
        let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(GROUP));
        let one = CapabilitySet::NET_ADMIN;
        thread::set_keep_capabilities(true).unwrap();
        thread::set_thread_groups(&[Gid::ROOT]).unwrap();
        thread::set_thread_res_gid(gid, gid, gid).unwrap();
        thread::set_thread_res_uid(uid, uid, uid).unwrap();
        let sets = CapabilitySets { effective: one, permitted: one, inheritable: one };
        thread::set_capabilities(None, sets).unwrap();
        thread::configure_capability_in_ambient_set(one, true).unwrap();
        thread::set_no_new_privs(true).unwrap();
        let forbidden =
            [libc::SYS_capset, libc::SYS_setgroups, libc::SYS_seccomp, libc::SYS_landlock_create_ruleset];
        let filter = SeccompFilter::new(
            forbidden.into_iter().map(|call| (call, Vec::new())).collect(),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EPERM.unsigned_abs()),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        let filter: BpfProgram = filter.unwrap().try_into().unwrap();
        seccompiler::apply_filter(&filter).unwrap();
        let mut command = Command::new(&program);
        command.args(["--log-format", "json", "run", "--config", &config]);
        Gate::spawn_command(command)
    });
    gate.wait_for("started", |_| true);
    house.the_gate_works();
    all_threads_have(gate.pid(), &[("CapPrm", NET_ADMIN), ("CapEff", NET_ADMIN), ("NoNewPrivs", "1")]);
    // No ip-netns(8) started it, so that it sees the machine's own /etc, where the user has no name.
    assert_eq!(house.protection(&config), held(&format!("user {USER}"), false));
    let warnings = warned(&gate);
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.contains("system calls are not filtered"), "{warning}");
}

fn what_it_will_not_read_again_is_told_with_the_mend() {
    let house = House::new(true);
    let config = house.config("");
    let folder = house.folder("closed", 0o700);
    let closed = folder.join("it's.toml");
    write_secret(&closed, &fs::read_to_string(&config).unwrap());
    let closed = closed.to_str().unwrap();
    let gate = house.start(&["--config", closed]);
    let warnings = warned(&gate);
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    let (says, mend) = warning.split_once(": run '").unwrap();
    assert!(says.contains("sipknock can't read") && says.contains("a reload would be refused"), "{warning}");
    let refused = house.world.sipknock(&["--config", closed, "reload"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Permission denied"), "{refused:?}");
    let mend = mend.strip_suffix('\'').unwrap();
    assert!(house.world.server.command("sh").args(["-c", mend]).status().unwrap().success(), "{mend}");
    house.says(closed, &["reload"]);
    // Neither is it readable for more people than it should be now.
    house.says(closed, &["check"]);
}

fn other_folders_are_out_of_reach() {
    let house = House::new(true);
    let secret = house.folder("elsewhere", 0o750).join("secret");
    write_secret(&secret, "another-long-secret\n");
    house.to_group(&secret, 0o640);
    let more = format!("[[knock]]\nname = \"bob\"\nsecret_file = {secret:?}\n");
    for (landlock, reached) in [(true, false), (false, true)] {
        let process = format!("[process]\nlandlock = {landlock}\n");
        let config = house.config(&process);
        let gate = house.start(&["--config", &config]);
        if landlock && !has_landlock(&gate) {
            eprintln!("no landlock in this kernel");
            continue;
        }
        house.config(&format!("{process}{more}"));
        let output = house.world.sipknock(&["--config", &config, "reload"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), reached, "{said}");
        assert!(reached || (said.contains("Permission denied") && said.contains("restart it")), "{said}");
        drop(gate);
        // What is known at the start is within reach later.
        let _gate = house.start(&["--config", &config]);
        house.says(&config, &["reload"]);
    }
}

fn what_was_roots_is_handed_over_and_links_are_not() {
    let house = House::new(true);
    let config = house.config("");
    // A folder of doors that is its owner's, and not the usual one, stays so.
    let folder = house.folder("lib", 0o700);
    chown(&folder, Some(0), Some(0)).unwrap();
    let gate = house.start(&["--config", &config]);
    gate.wait_for_warning("doors will not survive");
    assert_eq!(fs::metadata(&folder).unwrap().uid(), 0);
    drop(gate);
    // The usual one is handed over, in a mount namespace of its own, and what it links to is not.
    let target = house.world.folder().join("target");
    fs::write(&target, "root's").unwrap();
    let setup = "mount -t tmpfs tmpfs /var/lib && mkdir -m 700 /var/lib/sipknock && cd /var/lib/sipknock && \
                 touch doors.lock && ln -s \"$1\" doors.damaged && ln \"$2\" doors.new 2>/dev/null; shift 2; exec \"$@\"";
    let text = fs::read_to_string(&config).unwrap();
    let usual = text.replace(&house.world.path("lib/doors"), "/var/lib/sipknock/doors");
    write_secret(&config, &usual);
    house.to_group(Path::new(&config), 0o640);
    let mut command = house.world.server.command("sh");
    let target = target.to_str().unwrap();
    command.args([
        "-c",
        setup,
        "sh",
        target,
        target,
        env!("CARGO_BIN_EXE_sipknock"),
        "--log-format",
        "json",
        "run",
    ]);
    let mut gate = Gate::spawn_command({
        command.args(["--config", &config]);
        command
    });
    gate.wait_for("started", |_| true);
    assert_eq!(warned(&gate), [""; 0]);
    let inside = PathBuf::from(format!("/proc/{}/root/var/lib/sipknock", gate.pid()));
    assert_eq!(fs::metadata(&inside).unwrap().uid(), USER);
    assert_eq!(fs::metadata(inside.join("doors.lock")).unwrap().uid(), USER);
    assert_eq!(fs::metadata(target).unwrap().uid(), 0);
}

/// CAP_NET_ADMIN, as /proc shows it.
const NET_ADMIN: &str = "0000000000001000";

/// Nobody's on any machine, and not the same, so that they can be told apart.
const USER: u32 = 64_738;
const GROUP: u32 = 64_739;
