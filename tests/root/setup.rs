//! `sipknock setup` on machines in small: network namespaces with something that listens for SIP. Answers come through a
//! pipe; the gate that follows from them lets everything pass for its grace, and drops strangers afterwards.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use serde_json::Value;

use crate::common::gate::{Gate, SECRET, SENTINEL, World, alice, wait_until};
use crate::common::{commands, write_secret};
use crate::trials::{self, NetnsTrial, trials};

pub(crate) fn trials() -> Vec<NetnsTrial> {
    CASES.iter().map(|&(name, case)| trials::in_netns(name, case)).collect()
}

type Case = fn();

const CASES: &[(&str, Case)] = &trials![
    from_piped_answers_to_a_gate_that_enforces,
    answers_that_end_change_nothing,
    a_second_run_changes_what_is_asked,
    a_pbx_on_another_port_is_found,
    a_list_of_phones_and_learned_knocks,
    wrong_words_end_with_2,
    a_second_gate_is_told_how_to_go_on,
];

/// A machine with a folder for its configuration.
struct Machine {
    world: World,
    config: PathBuf,
    children: Vec<Child>,
}

impl Machine {
    fn new() -> Self {
        Self::of(World::new("setup"))
    }

    fn of(world: World) -> Self {
        let config = world.folder().join("etc/sipknock.toml");
        Self { world, config, children: Vec::new() }
    }

    fn path(&self) -> &str {
        self.config.to_str().unwrap()
    }

    /// Exit status, stdout, stderr of setup with these answers.
    fn setup(&self, args: &[&str], answers: &str) -> (i32, String, String) {
        let mut command = self.world.sipknock(&["--config", self.path(), "setup"]);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A setup that has seen enough does not read the rest.
        let _ = child.stdin.take().unwrap().write_all(answers.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
        (output.status.code().unwrap(), out, err)
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.config).unwrap()
    }

    fn write(&self, text: &str) {
        fs::create_dir_all(self.config.parent().unwrap()).unwrap();
        write_secret(&self.config, text);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.config.parent().unwrap().join(name)
    }

    /// Names below the folder of the configuration.
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.config.parent().unwrap()) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    fn rules(&self) -> String {
        let output = self.world.server.command("iptables-save").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// A PBX of that name that listens on a port.
    fn pbx(&mut self, name: &str, port: u16) {
        let path = self.world.folder().join(name);
        symlink(env::current_exe().unwrap(), &path).unwrap();
        let mut command = Command::new(path);
        command.arg(format!("listen-on={port}")).stdout(Stdio::piped());
        let mut child = self.world.server.run(move || command.spawn().unwrap());
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        self.children.push(child);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A REGISTER with credentials, or before they were asked for.
fn register(name: &str, credentials: bool) -> String {
    let answer = if credentials {
        "Authorization: Digest username=\"u\", realm=\"pbx\", nonce=\"4f2\", uri=\"sip:pbx\", response=\"a1\"\r\n"
    } else {
        ""
    };
    format!(
        "REGISTER sip:pbx SIP/2.0\r\nFrom: \"{name}\" <sip:100@pbx>;tag=1\r\nTo: <sip:100@pbx>\r\nCall-ID: 1\r\n\
         CSeq: {} REGISTER\r\nUser-Agent: Phone 1\r\n{answer}\r\n",
        if credentials { 2 } else { 1 }
    )
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn from_piped_answers_to_a_gate_that_enforces() {
    let machine = Machine::new();
    let world = &machine.world;
    // Ports, trusted, chains, knock, grace, and a yes before files are written.
    let answers = format!("\nnone\n\nalice={SECRET}\n6s\nyes\n");
    let (status, out, err) = machine.setup(&["--user", "root"], &answers);
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("udp port 5060") && out.contains("run --firewall"), "{out}");
    let knocks = machine.file("knocks.d/setup.toml");
    assert_eq!([&machine.config, &knocks].map(|path| mode(path)), [0o600; 2], "root's alone");
    assert_eq!(mode(&machine.file("knocks.d")), 0o700);
    assert!(!machine.text().contains(SECRET));
    commands::says(world, machine.path(), &["check"]);
    assert!(!machine.rules().contains("SIPKNOCK"), "nothing is started");

    let (control, state) = (world.path("control.sock"), world.path("doors"));
    let args = ["--config", machine.path(), "--firewall", "--control", &control, "--state", &state];
    // The sentinel takes its turn in the queue, which the rules do not know.
    let mut gate = Gate::start(world, &args);
    assert_eq!(gate.wait_for("grace", |_| true)["grace_s"], 6);
    let (phone, stranger) = (world.client("198.51.100.7"), world.client("198.51.100.9"));
    stranger.send("stranger in the grace");
    assert_eq!(world.arrives(), "stranger in the grace");
    for credentials in [false, true] {
        phone.send(&register(SECRET, credentials));
        assert_eq!(world.arrives(), register(SECRET, credentials));
    }
    let ended = gate.wait_for("grace", |event| event["mode"] == "enforce");
    assert_eq!((&ended["phones"], &ended["unready"]), (&1.into(), &0.into()), "{ended}");
    stranger.send("stranger");
    phone.send("phone");
    assert_eq!(world.arrives(), "phone");
    assert_eq!(world.receive(), None, "the stranger's packet was before it");
    assert!(gate.stop().0.success());
}

fn answers_that_end_change_nothing() {
    let machine = Machine::new();
    let rules = machine.rules();
    let answers = ["", "none", "", "phones", "1h"];
    for count in 0..=answers.len() {
        let lines: String = answers.iter().take(count).map(|answer| format!("{answer}\n")).collect();
        let (status, _, err) = machine.setup(&["--user", "root"], &lines);
        assert_eq!(status, 1, "{count} answers: {err}");
        assert!(err.contains("nothing is changed"), "{err}");
        assert_eq!((machine.names(), machine.rules()), (vec![], rules.clone()), "{count} answers");
    }
    let (status, out, _) = machine.setup(&["--user", "root"], "\nnone\n\nphones\n1h\nno\n");
    assert_eq!((status, machine.names()), (0, vec![]), "{out}");
    let (status, out, _) = machine.setup(&["--user", "root", "--dry-run"], "");
    assert_eq!((status, machine.names()), (0, vec![]), "{out}");
    assert!(out.contains("ports = [5060]") && out.contains("nothing is changed"), "{out}");
}

fn a_second_run_changes_what_is_asked() {
    let machine = Machine::new();
    let text = format!(
        "# Mine\n[inspect]\n# Ours\nports = [5060]  # one\ndoor = \"1h\"\n\n[http]\nlisten = \"off\"\n[control]\n\
         socket = {:?}\n[[knock]]\nname = \"alice\"\nsecret = \"{SECRET}\"\n",
        machine.world.path("c.sock")
    );
    machine.write(&text);
    fs::set_permissions(&machine.config, fs::Permissions::from_mode(0o640)).unwrap();
    let args = ["--yes", "--port", "5060,5070", "--knock", &format!("alice={SECRET}")];
    let (status, out, err) = machine.setup(&args, "");
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(machine.text(), text.replace("[5060]", "[5060, 5070]"));
    assert_eq!(mode(&machine.config), 0o640, "as it was");
    let copies =
        || machine.names().into_iter().filter(|name| name.contains(".before-setup-")).collect::<Vec<_>>();
    assert_eq!(copies().len(), 1);
    assert_eq!(fs::read_to_string(machine.file(&copies()[0])).unwrap(), text);

    let (status, out, err) = machine.setup(&args, "");
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("no file is to be changed"), "{out}");
    assert_eq!(copies().len(), 1);

    // A new knock goes into a file of its own, and the configuration includes that.
    let (status, out, err) = machine.setup(&["--yes", "--knock", "bob=another-long-one"], "");
    assert_eq!(status, 0, "{out}{err}");
    assert!(
        machine.text().starts_with("# Mine\n") || machine.text().starts_with("include"),
        "{}",
        machine.text()
    );
    assert_eq!(machine.text().matches("include = [\"knocks.d/*.toml\"]").count(), 1);
    let checked = commands::objects(&machine.world, machine.path(), &["check", "--json"]).remove(0);
    assert_eq!(checked["knocks"], 2, "{checked}");
}

fn a_pbx_on_another_port_is_found() {
    let mut machine = Machine::of(World::without_receiver("setup"));
    machine.pbx("asterisk", 5070);
    let (status, out, err) = machine.setup(&["--dry-run", "--json", "--user", "root"], "");
    assert_eq!(status, 0, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["settings"]["ports"], serde_json::json!(["5070"]), "{report}");
    let sip = &report["found"]["sip"][0];
    assert_eq!((&sip["process"], &sip["pbx"]), (&"asterisk".into(), &true.into()));
    assert_eq!(machine.names(), [""; 0]);
}

fn a_list_of_phones_and_learned_knocks() {
    let machine = Machine::new();
    let (csv, learned) = (machine.world.path("phones.csv"), machine.world.path("learned.toml"));
    write_secret(&csv, &format!("name,secret\nalice,{SECRET}\nbob\n"));
    write_secret(
        &learned,
        "[[knock]]\nname = \"carol\"\nsecret = \"urn:uuid:0fd23c1a-73f5-4c8e-9b6c-8a4d1f0b9e27\"\nin = \"contact-instance\"\n\
         methods = [\"REGISTER\"]\n",
    );
    let (status, out, err) = machine
        .setup(&["--yes", "--user", "root", "--from", &csv, "--learned", &learned, "--trust", SENTINEL], "");
    assert_eq!(status, 0, "{out}{err}");
    let checked = commands::objects(&machine.world, machine.path(), &["check", "--json"]).remove(0);
    let names: Vec<_> = checked["strengths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|knock| knock["knock"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    let text = fs::read_to_string(machine.file("knocks.d/setup.toml")).unwrap();
    assert!(text.contains("methods = [\"REGISTER\"]") && text.contains("ignore_case = true"), "{text}");
    assert!(machine.text().contains(&format!("trusted = [\"{SENTINEL}\"]")), "{}", machine.text());

    // Knocks outlive the configuration, and a new one takes them.
    fs::remove_file(&machine.config).unwrap();
    let (status, out, err) = machine.setup(&["--yes", "--user", "root"], "");
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(fs::read_to_string(machine.file("knocks.d/setup.toml")).unwrap(), text);
    let checked = commands::objects(&machine.world, machine.path(), &["check", "--json"]).remove(0);
    assert_eq!(checked["knocks"], 3, "{checked}");
}

fn wrong_words_end_with_2() {
    let machine = Machine::new();
    let csv = machine.world.path("phones.csv");
    write_secret(&csv, "alice\nalice\n");
    for (args, wanted) in [
        (&["--yes", "--port", "0"][..], "port"),
        (&["--yes", "--trust", "10.0.0.0/33"], "not a network"),
        (&["--yes", "--trust", "0.0.0.0/0"], "every address"),
        (&["--yes", "--knock", "a=1234567890"], "a"),
        (&["--yes", "--from", &csv], "line 2"),
        (&["--yes", "--learned", "/no/such.toml"], "/no/such.toml"),
        (&["--yes", "--chain", "FORWARD"], "PBX"),
        (&["--yes", "--user", "nobody-of-that-name"], "no user"),
        (&["--yes", "--grace", "soon"], "soon"),
    ] {
        let (status, out, err) = machine.setup(args, "");
        assert_eq!((status, machine.names()), (2, vec![]), "{args:?}: {out}{err}");
        assert!(err.contains(wanted), "{args:?}: {err}");
    }
    let (status, _, err) = machine.setup(&["--user", "root"], "99999\n");
    assert_eq!(status, 2, "{err}");
    machine.write("[inspect]\nprots = 1\n");
    let (status, _, err) = machine.setup(&["--yes"], "");
    assert!(status == 2 && err.contains("prots"), "{err}");
    let gone = wait_until(|| (machine.names() == ["sipknock.toml"]).then_some(()));
    gone.expect("nothing but the file that was there");
}

fn a_second_gate_is_told_how_to_go_on() {
    let world = World::new("setup");
    let config = world.guarded("", "", &alice());
    let gate = Gate::start(&world, &["--config", &config]);
    let (status, _, err) = commands::sipknock(&world, &config, &["run", "--user", "root"]);
    assert_eq!(status, 1, "{err}");
    assert!(err.contains("'sipknock reload'") && err.contains("'sipknock run --takeover'"), "{err}");
    assert!(gate.stop().0.success());
}
