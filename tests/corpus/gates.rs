//! Configurations made from a capture, always the same ones from the same capture: its ports, its sources, and
//! secrets that really are in its packets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use super::model::{self, Gate, Knock, Net, Packet};

/// A configuration and what it is about.
pub(crate) struct Setup {
    pub(crate) name: String,
    pub(crate) gate: Gate,
}

/// The lists of knocks that [`setups`] builds on, so that each has to be searched for only once.
pub(crate) struct Lists {
    pub(crate) lists: Vec<(&'static str, Vec<Knock>)>,
    ports: Vec<(u16, u16)>,
    trusted: Net,
}

impl Lists {
    pub(crate) fn of(packets: &[Packet], seed: &str) -> Self {
        let ports = sip_ports(packets);
        let bound = |packet: &&Packet| ports.contains(&(packet.dport, packet.dport));
        let mut of_interest: Vec<_> = packets.iter().filter(bound).collect();
        if of_interest.is_empty() {
            of_interest = packets.iter().collect();
        }
        let mut random = Random::new(seed);
        let trusted = match of_interest.get(of_interest.len() / 2).map(|packet| packet.src) {
            Some(src) => net_around(src),
            None => Net(IpAddr::from([192, 0, 2, 0]), 24),
        };
        let texts = texts(&of_interest);
        let one = one(&texts, &mut random);
        let capped = one.iter().map(|knock| Knock { max_doors: Some(1), ..knock.clone() }).collect();
        let lists = vec![
            ("one", one),
            ("capped", capped),
            ("three", three(&texts, &mut random)),
            ("many", many(&texts, &mut random)),
            ("short", short(&texts, &mut random)),
        ];
        Self { lists, ports, trusted }
    }

    /// Every setup to be tried, with the place of its list in [`Self::lists`].
    pub(crate) fn setups(&self) -> Vec<(usize, Setup)> {
        let mut setups = Vec::new();
        for list in ["one", "three", "many"] {
            for door_ms in [1000, 4_000_000] {
                for trusted in [vec![], vec![self.trusted]] {
                    let name = format!("door={door_ms}ms,trusted={}", trusted.len());
                    let gate = Gate { door_ms, trusted, ..self.plain() };
                    setups.push((list, name, gate));
                }
            }
        }
        let plain = self.plain();
        let everything = vec![(1, u16::MAX)];
        for (list, name, gate) in [
            ("three", "monitor", Gate { monitor: true, door_ms: 1000, ..plain.clone() }),
            ("three", "by-packet", Gate { renew_by_packet: true, door_ms: 1000, ..plain.clone() }),
            ("one", "by-packet-30s", Gate { renew_by_packet: true, door_ms: 30_000, ..plain.clone() }),
            ("many", "by-packet-many", Gate { renew_by_packet: true, ..plain.clone() }),
            ("one", "prefix", Gate { ipv4_prefix: 24, ipv6_prefix: 48, door_ms: 5000, ..plain.clone() }),
            ("three", "wide", Gate { ipv4_prefix: 0, ipv6_prefix: 0, door_ms: 1000, ..plain.clone() }),
            ("many", "host", Gate { ipv6_prefix: 128, door_ms: 1500, ..plain.clone() }),
            ("many", "limit", Gate { max_doors: 2, ..plain.clone() }),
            ("three", "limit-one", Gate { max_doors: 1, door_ms: 1000, ..plain.clone() }),
            ("capped", "capped", Gate { door_ms: 1000, ..plain.clone() }),
            ("capped", "capped-long", plain.clone()),
            ("short", "short", Gate { door_ms: 1, ..plain.clone() }),
            ("many", "all-ports", Gate { ports: everything.clone(), ..plain.clone() }),
            ("one", "all-ports-one", Gate { ports: everything.clone(), door_ms: 1000, ..plain.clone() }),
            (
                "three",
                "all-at-once",
                Gate {
                    ports: everything,
                    trusted: vec![self.trusted],
                    monitor: true,
                    renew_by_packet: true,
                    ipv4_prefix: 24,
                    max_doors: 2,
                    door_ms: 1000,
                    ..plain.clone()
                },
            ),
        ] {
            setups.push((list, name.to_owned(), gate));
        }
        let setups = setups.into_iter().map(|(list, name, gate)| {
            let index = self.lists.iter().position(|&(name, _)| name == list).unwrap();
            let name = format!("{list}:{name}");
            (index, Setup { name, gate: Gate { knocks: self.lists[index].1.clone(), ..gate } })
        });
        setups.collect()
    }

    fn plain(&self) -> Gate {
        Gate {
            ports: self.ports.clone(),
            door_ms: 4_000_000,
            trusted: Vec::new(),
            monitor: false,
            renew_by_packet: false,
            ipv4_prefix: 32,
            ipv6_prefix: 64,
            max_doors: 65_536,
            knocks: Vec::new(),
        }
    }
}

/// As the configuration file has it.
pub(crate) fn toml(gate: &Gate) -> String {
    let port = |&(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("\"{first}-{last}\"") }
    };
    let mut text = format!(
        "[inspect]\nports = [{}]\ntransports = [\"udp\"]\ndoor = \"{}ms\"\nipv4_prefix = {}\nipv6_prefix = {}\n\
         max_doors = {}\n",
        gate.ports.iter().map(port).collect::<Vec<_>>().join(", "),
        gate.door_ms,
        gate.ipv4_prefix,
        gate.ipv6_prefix,
        gate.max_doors,
    );
    for (wanted, line) in
        [(gate.monitor, "mode = \"monitor\"\n"), (gate.renew_by_packet, "renew = \"packet\"\n")]
    {
        text.push_str(if wanted { line } else { "" });
    }
    if !gate.trusted.is_empty() {
        writeln!(text, "trusted = [{}]", nets(&gate.trusted)).unwrap();
    }
    for knock in &gate.knocks {
        let (name, secret) = (quoted(&knock.name), quoted(&knock.secret));
        write!(text, "\n[[knock]]\nname = {name}\nsecret = {secret}\nignore_case = {}\n", knock.ignore_case)
            .unwrap();
        if !knock.methods.is_empty() {
            let methods: Vec<_> = knock.methods.iter().map(|method| quoted(method)).collect();
            writeln!(text, "methods = [{}]", methods.join(", ")).unwrap();
        }
        if !knock.sources.is_empty() {
            writeln!(text, "sources = [{}]", nets(&knock.sources)).unwrap();
        }
        if let Some(door_ms) = knock.door_ms {
            writeln!(text, "door = \"{door_ms}ms\"").unwrap();
        }
        if let Some(max_doors) = knock.max_doors {
            writeln!(text, "max_doors = {max_doors}").unwrap();
        }
    }
    text
}

fn nets(nets: &[Net]) -> String {
    nets.iter().map(|Net(address, prefix)| format!("\"{address}/{prefix}\"")).collect::<Vec<_>>().join(", ")
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            _ if char.is_control() => write!(quoted, "\\u{:04X}", u32::from(char)).unwrap(),
            _ => quoted.push(char),
        }
    }
    quoted + "\""
}

/// 5060, and the three ports that SIP is sent to most.
fn sip_ports(packets: &[Packet]) -> Vec<(u16, u16)> {
    let mut counts = BTreeMap::<u16, usize>::new();
    for packet in packets.iter().filter(|packet| is_sip(packet.payload()) && packet.dport != 0) {
        *counts.entry(packet.dport).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(port, count)| (std::cmp::Reverse(count), port));
    let ports: BTreeSet<_> = [5060].into_iter().chain(counts.iter().take(3).map(|&(port, _)| port)).collect();
    ports.into_iter().map(|port| (port, port)).collect()
}

fn is_sip(payload: &[u8]) -> bool {
    let line = payload.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.starts_with(b"SIP/") || line.windows(5).any(|window| window == b" SIP/")
}

/// Something that a packet says, and who said it how.
struct Text {
    text: String,
    src: IpAddr,
    method: Option<String>,
}

/// Values of header fields that tell phones apart; where there are none, any lines that are text.
fn texts(packets: &[&Packet]) -> Vec<Text> {
    let mut texts = Vec::new();
    for fields in [FIELDS, &[]] {
        for packet in packets {
            let method =
                model::method(packet.payload()).and_then(|word| String::from_utf8(word.to_vec()).ok());
            for line in packet.payload().split(|&byte| byte == b'\n') {
                let Ok(line) = std::str::from_utf8(line) else { continue };
                let wanted = match line.split_once(':') {
                    Some((name, _)) => fields.iter().any(|field| field.eq_ignore_ascii_case(name.trim())),
                    None => false,
                };
                if line.chars().count() >= SECRET_LEN && (wanted || fields.is_empty()) {
                    texts.push(Text { text: line.to_owned(), src: packet.src, method: method.clone() });
                }
            }
        }
        if !texts.is_empty() {
            break;
        }
    }
    texts
}

fn one(texts: &[Text], random: &mut Random) -> Vec<Knock> {
    let mut list = List::default();
    match random.pick(texts) {
        Some(text) => list.add(Knock { secret: random.slice(&text.text), ..Knock::default() }),
        None => list.add(random.knock()),
    };
    list.0
}

/// One inside the other, and one in the wrong case.
fn three(texts: &[Text], random: &mut Random) -> Vec<Knock> {
    let mut list = List::default();
    if let Some(text) = random.pick(texts) {
        let outer = random.slice(&text.text);
        let inner = outer.chars().skip(1).collect::<String>();
        list.add(Knock { secret: inner, methods: text.method.iter().cloned().collect(), ..Knock::default() });
        list.add(Knock { secret: outer, door_ms: Some(3000), ..Knock::default() });
    }
    if let Some(text) = random.pick(texts) {
        let methods = vec!["REGISTER".to_owned(), "INVITE".to_owned()];
        list.add(Knock {
            secret: flipped(&random.slice(&text.text)),
            ignore_case: true,
            methods,
            ..Knock::default()
        });
    }
    while list.0.len() < 3 {
        list.add(random.knock());
    }
    list.0
}

/// Two hundred, up to a third of which are in the capture, with every condition a knock can have.
fn many(texts: &[Text], random: &mut Random) -> Vec<Knock> {
    let mut list = List::default();
    for turn in 0..MANY / 3 {
        let Some(text) = random.pick(texts) else { break };
        let secret = random.slice(&text.text);
        let secret = match turn % 5 {
            0 => flipped(&secret),
            1 => list.0.last().map_or(secret, |last| last.secret.chars().skip(1).collect()),
            _ => secret,
        };
        let methods = match turn % 7 {
            0 => text.method.iter().cloned().collect(),
            1 => vec!["REGISTER".to_owned()],
            2 => vec!["INVITE".to_owned(), "OPTIONS".to_owned(), "register".to_owned()],
            _ => vec![],
        };
        let sources = match turn % 11 {
            0 | 1 => vec![Net(text.src, if text.src.is_ipv4() { 32 } else { 128 })],
            2 => vec![net_around(text.src), Net(IpAddr::from([203, 0, 113, 0]), 24)],
            3 => vec![Net(IpAddr::from([198, 51, 100, 0]), 24)],
            _ => vec![],
        };
        let door_ms = [None, Some(1000), Some(250), Some(4_000_000), None, Some(20_000)][turn % 6];
        let ignore_case = turn.is_multiple_of(4) || turn.is_multiple_of(10);
        list.add(Knock { secret, ignore_case, methods, sources, door_ms, ..Knock::default() });
    }
    while list.0.len() < MANY {
        let knock = random.knock();
        // Among the others, not behind them.
        let place = random.below(list.0.len() + 1);
        list.insert(place, knock);
    }
    list.0
}

fn net_around(address: IpAddr) -> Net {
    let prefix = if address.is_ipv4() { 24 } else { 64 };
    Net(model::cut(address, prefix), prefix)
}

/// Shorter than anybody should choose them.
fn short(texts: &[Text], random: &mut Random) -> Vec<Knock> {
    let mut list = List::default();
    for len in 1..=7 {
        let Some(text) = random.pick(texts) else { break };
        let chars: Vec<_> = text.text.chars().collect();
        let at = random.below(chars.len() - len);
        let secret = chars[at..at + len].iter().collect();
        let methods = if len < 4 { vec!["REGISTER".to_owned()] } else { vec![] };
        list.add(Knock { secret, ignore_case: len % 2 == 0, methods, ..Knock::default() });
    }
    list.add(random.knock());
    list.0
}

/// Knocks that the configuration lets stand beside each other.
#[derive(Default)]
struct List(Vec<Knock>);

impl List {
    fn add(&mut self, knock: Knock) {
        self.insert(self.0.len(), knock);
    }

    fn insert(&mut self, place: usize, mut knock: Knock) {
        let same = |other: &Knock| {
            if knock.ignore_case || other.ignore_case {
                other.secret.eq_ignore_ascii_case(&knock.secret)
            } else {
                other.secret == knock.secret
            }
        };
        if !knock.secret.is_empty() && !self.0.iter().any(same) {
            // Names that JSON has to escape.
            knock.name = format!("k {} \"\\ü", self.0.len());
            self.0.insert(place, knock);
        }
    }
}

/// Each ASCII letter in the other case.
fn flipped(text: &str) -> String {
    let flip = |char: char| {
        if char.is_ascii_lowercase() { char.to_ascii_uppercase() } else { char.to_ascii_lowercase() }
    };
    text.chars().map(flip).collect()
}

/// Numbers that are the same in every run: splitmix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: &str) -> Self {
        Self(seed.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into())))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % bound.max(1)
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// Some part of a text of [`SECRET_LEN`] characters or more, as long at least.
    fn slice(&mut self, text: &str) -> String {
        let chars: Vec<_> = text.chars().collect();
        let len = SECRET_LEN + self.below((chars.len() - SECRET_LEN + 1).min(40));
        let at = self.below(chars.len() - len + 1);
        chars[at..at + len].iter().collect()
    }

    /// One that nobody says.
    fn knock(&mut self) -> Knock {
        let len = 12 + self.below(20);
        let secret =
            (0..len).map(|_| char::from(b"abcdefghjkmnpqrstuvwxyz23456789"[self.below(31)])).collect();
        Knock { secret, ignore_case: self.below(4) == 0, ..Knock::default() }
    }
}

const FIELDS: &[&str] = &["From", "f", "User-Agent", "Call-ID", "i", "Contact", "m"];

/// In characters.
const SECRET_LEN: usize = 8;

const MANY: usize = 200;
