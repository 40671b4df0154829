//! Phones as they are, in front of a real registrar.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;
use std::{env, fs};

use rustix::process::Signal;
use serde_json::Value;

use super::{INSTANCE, count, start_with};
use crate::common::gate::{DEADLINE, PORT, SECRET, SENTINEL, SERVER4, World, wait_until};
use crate::common::program::Program;

pub(crate) fn sipp_registers_over_tcp(world: &World) {
    let kamailio = Kamailio::start(world);
    let mut gate = start_with(world, "", &knocks("4000s"));
    for (address, scenario, key, value, knock) in [
        ("198.51.100.7", "register", "display", SECRET, "alice"),
        ("198.51.100.8", "register-instance", "instance", INSTANCE, "desk"),
    ] {
        let answered = sipp(world, scenario, address, [key, value], DEADLINE);
        answered.unwrap_or_else(|said| panic!("{scenario}: {said}"));
        let opened = gate.wait_for("opened", |event| event["src"] == address);
        assert_eq!((&opened["knock"], &opened["transport"]), (&knock.into(), &"tcp".into()));
        kamailio.0.wait_for(&format!("REGISTER from {address} over tcp"));
    }
    for (address, scenario, key, value) in [
        ("198.51.100.9", "register", "display", "A. Phone"),
        ("198.51.100.10", "register-instance", "instance", OTHER_INSTANCE),
    ] {
        let answered = sipp(world, scenario, address, [key, value], Duration::from_secs(2));
        assert!(answered.is_err(), "{scenario} with {value}");
        kamailio.settle(world);
        assert!(!kamailio.heard(address), "{:?}", kamailio.0.log());
    }
    let (_, stopped, _) = gate.stop();
    assert!(count(&stopped, "no-knock") >= 2, "{stopped}");
}

pub(crate) fn baresip_registers_over_udp(world: &World) {
    let opened = baresip_registers(world, "udp", "4000s");
    assert_eq!(opened["door_s"], 4000);
}

pub(crate) fn baresip_registers_over_tcp(world: &World) {
    let opened = baresip_registers(world, "tcp", "expires");
    // It asks for 600 seconds, and comes back a little before they are over.
    assert_eq!(opened["door_s"], 660);
}

fn baresip_registers(world: &World, transport: &str, door: &str) -> Value {
    let kamailio = Kamailio::start(world);
    let mut gate = start_with(world, "", &knocks(door));
    let phone = baresip(world, transport, INSTANCE);
    let opened = gate.wait_for("opened", |_| true);
    phone.wait_for("200 OK");
    kamailio.0.wait_for(&format!("REGISTER from {BARESIP} over {transport}"));
    for (field, expected) in
        [("knock", "desk"), ("src", BARESIP), ("transport", transport), ("method", "REGISTER")]
    {
        assert_eq!(opened[field], expected, "{field}");
    }
    opened
}

pub(crate) fn baresip_without_a_knock_over_udp(world: &World) {
    baresip_without_a_knock(world, "udp");
}

pub(crate) fn baresip_without_a_knock_over_tcp(world: &World) {
    baresip_without_a_knock(world, "tcp");
}

/// It is unmistakably the same phone, with an instance that is no knock.
fn baresip_without_a_knock(world: &World, transport: &str) {
    let kamailio = Kamailio::start(world);
    let gate = start_with(world, "", &knocks("4000s"));
    let before = world.queue_row(0).unwrap()[3];
    let phone = baresip(world, transport, OTHER_INSTANCE);
    // Over TCP two are the handshake.
    let decided = wait_until(|| world.queue_row(0).filter(|row| row[3] >= before + 5));
    decided.unwrap_or_else(|| panic!("it has sent too little; it says: {:?}", phone.log()));
    kamailio.settle(world);
    assert!(!kamailio.heard(BARESIP), "{:?}", kamailio.0.log());
    assert!(!phone.log().iter().any(|line| line.contains("200 OK")), "{:?}", phone.log());
    drop(phone);
    let (_, stopped, log) = gate.stop();
    assert!(count(&stopped, "no-knock") >= 3, "{stopped}");
    assert!(log.iter().any(|line| line["event"] == "dropped" && line["src"] == BARESIP), "{log:?}");
    assert!(log.iter().all(|line| line["event"] != "opened"), "{log:?}");
}

/// A display name and an instance.
fn knocks(door: &str) -> String {
    format!(
        "[[knock]]\nname = \"alice\"\nsecret = \"{SECRET}\"\n\
         [[knock]]\nname = \"desk\"\nsecret = \"{INSTANCE}\"\nin = \"contact-instance\"\ndoor = \"{door}\"\n"
    )
}

/// SIPp's scenario from an address: once, with one key set. It waits so long for an answer, and says what went wrong.
fn sipp(
    world: &World,
    scenario: &str,
    address: &str,
    key: [&str; 2],
    patience: Duration,
) -> Result<(), String> {
    let mut command = world.clients.command("sipp");
    command.current_dir(world.folder());
    command.args([
        "-sf",
        &data(&format!("sipp/{scenario}.xml")),
        "-m",
        "1",
        "-s",
        "200",
        "-t",
        "t1",
        "-nostdin",
    ]);
    let patience = patience.as_millis().to_string();
    command.args(["-i", address, "-p", "5062", "-recv_timeout", &patience, "-key"]).args(key);
    let output = command.arg(format!("{SERVER4}:{PORT}")).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    output.status.success().then_some(()).ok_or_else(|| said.into_owned())
}

/// Starts baresip with an instance of its own, as `scripts/make-captures` does.
fn baresip(world: &World, transport: &str, instance: &str) -> Program {
    let folder = world.folder().join("baresip");
    fs::create_dir(&folder).unwrap();
    let server = format!("sip:{SERVER4};transport={transport}");
    for (name, text) in [
        (
            "config",
            "net_interface down0\nmodule_path /usr/lib/baresip/modules\nmodule_tmp uuid.so\nmodule_tmp account.so\n"
                .to_owned(),
        ),
        // Without a line end, which it would send along.
        ("uuid", instance.to_owned()),
        (
            "accounts",
            format!(
                "\"A. Phone\" <sip:301@{SERVER4};transport={transport}>;regint=600;sipnat=outbound;\
                 outbound=\"{server}\";auth_pass=none\n"
            ),
        ),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    let mut command = world.clients.command("stdbuf");
    // Or else it keeps what it says until it ends.
    command.args(["-oL", "baresip", "-f", folder.to_str().unwrap()]);
    // Asked to end, it waits for the registrar's answer.
    Program::start(command, Signal::KILL)
}

/// The registrar of `tests/data/kamailio.cfg`, which tells what it is asked.
struct Kamailio(Program);

impl Kamailio {
    /// To be started before there is a gate.
    fn start(world: &World) -> Self {
        let mut command = world.server.command("kamailio");
        let folder = world.folder().to_str().unwrap();
        command.args([
            "-f",
            &data("kamailio.cfg"),
            "-DD",
            "-E",
            "-m",
            "16",
            "-M",
            "4",
            "-Y",
            folder,
            "-w",
            folder,
        ]);
        for transport in ["udp", "tcp"] {
            command.args(["-l", &format!("{transport}:{SERVER4}:{PORT}")]);
        }
        // Asked to, it ends its children, too.
        let kamailio = Self(Program::start(command, Signal::TERM));
        let sentinel = world.client(SENTINEL);
        let up = wait_until(|| {
            sentinel.send(&options("udp"));
            kamailio.heard(SENTINEL).then_some(())
        });
        up.unwrap_or_else(|| panic!("it is not up: {:?}", kamailio.0.log()));
        kamailio
    }

    /// Whether anything came from an address.
    fn heard(&self, address: &str) -> bool {
        self.0.log().iter().any(|line| line.contains(&format!(" from {address} ")))
    }

    /// Waits until what trusted clients send now has been answered, over both transports, and with it all that came
    /// before.
    fn settle(&self, world: &World) {
        let heard = |transport| {
            let end = format!("OPTIONS from {SENTINEL} over {transport}");
            self.0.log().iter().filter(|line| line.ends_with(&end)).count()
        };
        let before = ["udp", "tcp"].map(heard);
        world.client(SENTINEL).send(&options("udp"));
        let sentinel = world.connect(SENTINEL.parse().unwrap());
        (&sentinel).write_all(options("tcp").as_bytes()).unwrap();
        let all =
            wait_until(|| ["udp", "tcp"].iter().zip(before).all(|(over, n)| heard(over) > n).then_some(()));
        all.unwrap_or_else(|| panic!("it does not hear trusted clients: {:?}", self.0.log()));
    }
}

/// A request that anybody may send.
fn options(transport: &str) -> String {
    format!(
        "OPTIONS sip:{SERVER4} SIP/2.0\r\nVia: SIP/2.0/{} {SENTINEL};branch=z9hG4bK1;rport\r\n\
         From: <sip:s@{SERVER4}>;tag=1\r\nTo: <sip:{SERVER4}>\r\nCall-ID: 1@s\r\nCSeq: 1 OPTIONS\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        transport.to_uppercase()
    )
}

fn data(name: &str) -> String {
    format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// baresip sends from the address of its network interface.
const BARESIP: &str = "192.0.2.2";

const OTHER_INSTANCE: &str = "99999999-9999-4999-8999-999999999999";
