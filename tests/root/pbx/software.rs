//! PBX, trunk, phones and callers.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use rustix::process::Signal;

use super::hosts::{Family, Host};
use super::site::{PBX4, Site, uri_host};
use crate::common::gate::PORT;
use crate::common::program::{Program, patiently};

/// A way to register: transport and family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) transport: &'static str,
    pub(crate) family: Family,
}

/// All ways. The first phone takes the first, and so on; so do the PBX's registrations with the trunk.
pub(crate) const WAYS: [Way; 4] = [
    Way { transport: "udp", family: Family::V4 },
    Way { transport: "tcp", family: Family::V4 },
    Way { transport: "udp", family: Family::V6 },
    Way { transport: "tcp", family: Family::V6 },
];

/// The Kamailio of `tests/data/pbx/pbx.cfg`.
pub(crate) struct Pbx {
    program: Option<Program>,
    netns_command: Box<dyn Fn() -> std::process::Command>,
    /// The log of those that were stopped.
    before: Vec<String>,
}

impl Pbx {
    /// Starts it, without registrations at a trunk.
    pub(crate) fn start(site: &Site) -> Self {
        Self::start_with(site, &[])
    }

    /// Starts it with registrations at a trunk: phone 201 is `line-201` there, over the first way, and so on.
    pub(crate) fn start_with(site: &Site, trunk: &[(&Host, Way)]) -> Self {
        let folder = site.folder().join("pbx");
        tables(&folder, trunk);
        let listen = [PBX4.to_owned(), uri_host(Family::V6)];
        Self::run(&site.pbx, folder, &listen)
    }

    /// Starts another one on a host of its own.
    pub(crate) fn start_on(site: &Site, host: &Host) -> Self {
        let folder = site.folder().join("pbx2");
        tables(&folder, &[]);
        Self::run(host, folder, &[host.v4.clone(), format!("[{}]", host.v6)])
    }

    fn run(host: &Host, folder: PathBuf, listen: &[String]) -> Self {
        let mut arguments = vec!["-A".to_owned(), format!("DB=\"text://{}\"", folder.display())];
        arguments.extend(["-A".to_owned(), "PING=2".to_owned()]);
        arguments.extend(listening(listen));
        let name = host.netns.name().to_owned();
        let netns_command = Box::new(move || kamailio(&name, "pbx.cfg", &folder, &arguments));
        let mut pbx = Self { program: None, netns_command, before: Vec::new() };
        pbx.go_on();
        pbx
    }

    /// Stops it, in an orderly way: it writes its contacts to disk. A phone that finds no PBX waits for half a minute, so
    /// this wants to be done in a pause between registrations.
    pub(crate) fn stop(&mut self) {
        let program = self.program.take().unwrap();
        let log = program.log();
        drop(program);
        self.before.extend(log);
    }

    /// Starts it again.
    pub(crate) fn go_on(&mut self) {
        let program = Program::start((self.netns_command)(), Signal::TERM);
        program.wait_for("Listening on");
        self.program = Some(program);
    }

    /// All lines so far, of all its runs.
    pub(crate) fn log(&self) -> Vec<String> {
        let now = self.program.as_ref().map(Program::log).unwrap_or_default();
        self.before.iter().cloned().chain(now).collect()
    }

    /// The number of requests of a method that came from an address; an empty method means all of them.
    pub(crate) fn heard(&self, method: &str, address: &str) -> usize {
        let from = format!(" from {address} over ");
        let method = format!("{method} ");
        let wanted = |line: &String| {
            line.split_once("<script>: ")
                .is_some_and(|(_, said)| said.contains(&from) && (method == " " || said.starts_with(&method)))
        };
        self.log().iter().filter(|line| wanted(line)).count()
    }

    /// Whether a request with a Call-ID came.
    pub(crate) fn heard_call(&self, call_id: &str) -> bool {
        self.log().iter().any(|line| line.contains(&format!(" of {call_id} from ")))
    }

    /// Waits until a phone has registered so often since the PBX was started for the first time.
    pub(crate) fn wait_for_registrations(&self, times: usize, phone: &Phone) {
        let text = format!("{} is registered at {} over {}", phone.user, phone.address, phone.way.transport);
        let seen = || self.log().iter().filter(|line| line.contains(&text)).count();
        let done = patiently(|| (seen() >= times).then_some(()));
        done.unwrap_or_else(|| {
            panic!(
                "{text:?} only {} times; PBX: {:#?}; phone: {:#?}",
                seen(),
                self.log(),
                phone.program.log()
            )
        });
    }

    /// Waits until each phone has registered once more.
    pub(crate) fn wait_for_next_registrations(&self, phones: &[Phone]) {
        let before: Vec<_> = phones.iter().map(|phone| self.registrations(phone)).collect();
        phones.iter().zip(before).for_each(|(phone, before)| self.wait_for_registrations(before + 1, phone));
    }

    /// How often a phone has registered.
    pub(crate) fn registrations(&self, phone: &Phone) -> usize {
        let text = format!("{} is registered at {} over ", phone.user, phone.address);
        self.log().iter().filter(|line| line.contains(&text)).count()
    }
}

/// The Kamailio of `tests/data/pbx/trunk.cfg`, in front of it a caller.
pub(crate) struct Trunk {
    pub(crate) host: Host,
    program: Program,
}

impl Trunk {
    pub(crate) fn start(site: &Site, number: u8) -> Self {
        let host = site.host(number);
        let folder = site.folder().join("trunk");
        fs::create_dir(&folder).unwrap();
        let listen = listening(&[host.v4.clone(), format!("[{}]", host.v6)]);
        let program =
            Program::start(kamailio(host.netns.name(), "trunk.cfg", &folder, &listen), Signal::TERM);
        program.wait_for("Listening on");
        Self { host, program }
    }

    /// Waits until the PBX has registered, over each of these ways.
    pub(crate) fn wait_for_registrations(&self, ways: &[Way]) {
        for (number, way) in (201..).zip(ways) {
            let pbx = if way.family == Family::V4 { PBX4 } else { super::site::PBX6 };
            self.program.wait_for(&format!("line-{number} is registered at {pbx} over {}", way.transport));
        }
    }

    /// Calls each phone, all at once, with that many bytes more in the INVITE than it needs.
    pub(crate) fn call_all(&self, site: &Site, phones: &[Phone], padding: usize) {
        thread::scope(|scope| {
            for phone in phones {
                scope.spawn(|| {
                    self.call(site, phone.user, padding).unwrap_or_else(|said| {
                        panic!("{}: {said}; phone: {:#?}", phone.user, phone.program.log())
                    });
                });
            }
        });
    }

    /// Calls a phone, by way of the registration. What went wrong, if the call is not answered and ended as it should.
    fn call(&self, site: &Site, number: u16, padding: usize) -> Result<(), String> {
        let mut command = self.host.netns.command("sipp");
        command.current_dir(site.folder());
        let scenario = data("sipp/call.xml");
        let (line, port) = (format!("line-{number}"), (5000 + number).to_string());
        command.args([
            "-sf",
            &scenario,
            "-m",
            "1",
            "-s",
            &line,
            "-i",
            &self.host.v4,
            "-p",
            &port,
            "-nostdin",
        ]);
        // A second for each phone's media, which nobody sends.
        let media = (20_000 + 10 * number).to_string();
        command.args(["-key", "padding", &"x".repeat(padding.max(1))]);
        command.args(["-mp", &media, "-recv_timeout", "10000", &format!("{}:{PORT}", self.host.v4)]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        output
            .status
            .success()
            .then_some(())
            .ok_or_else(|| format!("{}; trunk: {:#?}", String::from_utf8_lossy(&said), self.program.log()))
    }
}

/// A baresip that registers every ten seconds and answers calls.
pub(crate) struct Phone {
    pub(crate) host: Host,
    pub(crate) user: u16,
    pub(crate) way: Way,
    /// The address that it registers from.
    pub(crate) address: String,
    pub(crate) program: Program,
}

impl Phone {
    /// Phone 201 is the first one: at host 11, with [`instance`] 201.
    pub(crate) fn start(site: &Site, user: u16, way: Way) -> Self {
        let pbx = uri_host(way.family);
        Self::start_at(site, user, way, &pbx)
    }

    /// The same with another PBX: a host of a SIP URI.
    pub(crate) fn start_at(site: &Site, user: u16, way: Way, pbx: &str) -> Self {
        let host = site.host(u8::try_from(user - 190).unwrap());
        let folder = site.folder().join(format!("phone-{user}"));
        fs::create_dir(&folder).unwrap();
        let (listen, family) = if way.family == Family::V4 { ("0.0.0.0", "ipv4") } else { ("[::]", "ipv6") };
        let transport = way.transport;
        let config = format!(
            "sip_listen {listen}:{PORT}\nnet_interface eth0\nnet_af {family}\naudio_source aubridge,x\n\
             audio_player aubridge,x\naudio_alert aubridge,x\nmodule_path /usr/lib/baresip/modules\n\
             module g711.so\nmodule aubridge.so\nmodule_tmp uuid.so\nmodule_tmp account.so\n"
        );
        let account = format!(
            "\"A. Phone\" <sip:{user}@pbx.example;transport={transport}>;regint=10;sipnat=outbound;\
             outbound=\"sip:{pbx};transport={transport}\";auth_user={user};auth_pass=secret;answermode=auto\n"
        );
        // A line end in the uuid would be sent along.
        for (name, text) in [("config", config), ("uuid", instance(user)), ("accounts", account)] {
            fs::write(folder.join(name), text).unwrap();
        }
        let mut command = host.netns.command("stdbuf");
        // Or else it keeps what it says until it ends.
        command.args(["-oL", "baresip", "-f", folder.to_str().unwrap()]);
        host.iptables(way.family, "-A INPUT -m string --algo bm --string 'OPTIONS sip:'");
        let address = host.address(way.family).to_string();
        // Asked to end, it waits for the registrar's answer.
        Self { host, user, way, address, program: Program::start(command, Signal::KILL) }
    }

    /// Starts one for each way, 201 and up, and waits until all are registered.
    pub(crate) fn start_all(site: &Site, pbx: &Pbx) -> Vec<Self> {
        let phones: Vec<_> = (201..).zip(WAYS).map(|(user, way)| Self::start(site, user, way)).collect();
        phones.iter().for_each(|phone| pbx.wait_for_registrations(1, phone));
        phones
    }

    /// The PBX's pings that have reached its machine, whether it was able to take them or not.
    pub(crate) fn pings(&self) -> u64 {
        self.host.counted(self.way.family, "filter", "INPUT", "OPTIONS sip:")
    }

    /// Waits until each phone has been pinged so many times more.
    pub(crate) fn wait_for_pings(phones: &[Self], more: u64) {
        let before: Vec<_> = phones.iter().map(Self::pings).collect();
        for (phone, before) in phones.iter().zip(before) {
            patiently(|| (phone.pings() >= before + more).then_some(()))
                .unwrap_or_else(|| panic!("{} is not pinged: {:#?}", phone.user, phone.program.log()));
        }
    }
}

/// The knock of a phone.
pub(crate) fn instance(user: u16) -> String {
    format!("3f2b8c1e-5d47-4a09-9c66-0e7a51d2b{user:03}")
}

/// The folder of a PBX with its tables.
fn tables(folder: &Path, trunk: &[(&Host, Way)]) {
    fs::create_dir(folder).unwrap();
    let mut lines = UACREG.to_owned();
    for (index, (host, way)) in trunk.iter().enumerate() {
        let (number, user) = (index + 1, format!("line-{}", index + 201));
        let transport = way.transport;
        let there = if way.family == Family::V4 { host.v4.clone() } else { format!("[{}]", host.v6) };
        let escape = |text: String| text.replace(':', "\\:");
        let proxy = escape(format!("sip:{there}:{PORT};transport={transport}"));
        let contact = escape(format!("{}:{PORT};transport={transport}", uri_host(way.family)));
        writeln!(
            lines,
            "{number}:{user}:{user}:pbx.example:{user}:trunk.example:trunk.example:{user}:secret::{proxy}:3600:0:0:{contact}:"
        )
        .unwrap();
    }
    for (name, text) in [("uacreg", &lines[..]), ("location", LOCATION), ("location_attrs", ATTRIBUTES)] {
        fs::write(folder.join(name), text).unwrap();
    }
    fs::write(folder.join("version"), VERSION).unwrap();
}

fn kamailio(netns: &str, config: &str, folder: &Path, arguments: &[String]) -> std::process::Command {
    let folder = folder.to_str().unwrap();
    let mut command = std::process::Command::new("ip");
    command.args(["netns", "exec", netns, "kamailio", "-f", &data(&format!("pbx/{config}"))]);
    command.args(["-DD", "-E", "-m", "32", "-M", "8", "-Y", folder, "-w", folder]).args(arguments);
    command
}

fn listening(addresses: &[String]) -> Vec<String> {
    let one = |address: &String| {
        ["udp", "tcp"].map(|transport| ["-l".to_owned(), format!("{transport}:{address}:{PORT}")]).concat()
    };
    addresses.iter().flat_map(one).collect()
}

fn data(name: &str) -> String {
    format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Padding with which an INVITE needs three fragments.
pub(crate) const LONG: usize = 3000;

/// Tables of Kamailio 5.6, in the form of its module db_text.
const UACREG: &str = "id(int,auto) l_uuid(string) l_username(string) l_domain(string) r_username(string) \
    r_domain(string) realm(string) auth_username(string) auth_password(string) auth_ha1(string,null) \
    auth_proxy(string,null) expires(int) flags(int) reg_delay(int) contact_addr(string,null) socket(string,null) \n";
const LOCATION: &str = "id(int,auto) ruid(string) username(string) domain(string,null) contact(string) \
    received(string,null) path(string,null) expires(int) q(double) callid(string) cseq(int) last_modified(int) \
    flags(int) cflags(int) user_agent(string) socket(string,null) methods(int,null) instance(string,null) \
    reg_id(int) server_id(int) connection_id(int) keepalive(int) partition(int) \n";
const ATTRIBUTES: &str = "id(int,auto) ruid(string) username(string) domain(string,null) aname(string) atype(int) \
    avalue(string) last_modified(int) \n";
const VERSION: &str =
    "id(int,auto) table_name(string) table_version(int) \n1:location:9\n2:location_attrs:1\n3:uacreg:5\n";
