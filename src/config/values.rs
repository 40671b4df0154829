//! Single values, as files and flags both write them. An error says what would be right.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::firewall::{CHAIN, Pbx, is_chain_name, is_interface_name};
use crate::inspect::{MANUAL, OUTBOUND};
use crate::knock::{Life, Secret};
use crate::queue::Backend;

/// `5060`, or a comma-separated list of ports and ranges: `5060,5061-5063`.
///
/// # Errors
/// On anything else, port 0, and ranges that run backwards.
pub fn ports(text: &str) -> Result<Vec<RangeInclusive<u16>>, String> {
    text.split(',').map(|item| range(item.trim(), "port", 1)).collect()
}

/// A range of ports as [`ports`] reads it: `5060`, or `5061-5063`.
pub fn ports_text(range: &RangeInclusive<u16>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

/// `0`, or a range: `0-3`.
///
/// # Errors
/// On anything else, and on more queues than the gate has threads for.
pub fn queues(text: &str) -> Result<RangeInclusive<u16>, String> {
    let queues = range(text.trim(), "queue number", 0)?;
    if queues.len() > MAX_QUEUES {
        return Err(format!(
            "{} queues are more than {MAX_QUEUES}: each is a thread, and one per core is plenty",
            queues.len()
        ));
    }
    Ok(queues)
}

/// A time span with its unit: `4000s`, `90m`, `1h 30m`, `1d`.
///
/// # Errors
/// On a bare number, nonsense, and nothing at all.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text.trim()) {
        Ok(Duration::ZERO) => {
            Err("a door of no time would never be open: give a span such as \"4000s\"".to_owned())
        }
        Ok(span) => Ok(span),
        Err(_) => Err(format!(
            "{text:?} is not a time span: write a number with its unit, as in \"4000s\", \"90m\" or \"1h\""
        )),
    }
}

/// How long to wait for somebody: `60s`, `5m`.
///
/// # Errors
/// On anything else, on what is over before anybody could answer, and on more than a day.
pub fn patience(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text.trim()) {
        Ok(span) if PATIENCE.contains(&span) => Ok(span),
        _ => Err(format!(
            "{text:?} is not a time to wait: write a number with its unit, from \"1s\" to \"24h\", as in \"60s\""
        )),
    }
}

/// How long everything passes at first: `1h`, `2d`.
///
/// # Errors
/// On anything else, and on what is less than a second or more than four weeks.
pub fn grace(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text.trim()) {
        Ok(span) if GRACE.contains(&span) => Ok(span),
        _ => Err(format!(
            "{text:?} is not a time to begin with: write a number with its unit, from \"1s\" to \"28d\", as in \"1h\""
        )),
    }
}

/// How long a request of the PBX opens a door for whom it calls: `4h`; `off` for not at all.
///
/// # Errors
/// On anything else, and on what is less than a second or more than four weeks.
pub fn outbound(text: &str) -> Result<Option<Duration>, String> {
    match (text.trim(), humantime::parse_duration(text.trim())) {
        ("off", _) => Ok(None),
        (_, Ok(span)) if GRACE.contains(&span) => Ok(Some(span)),
        _ => Err(format!(
            "{text:?} is not the life of a door: write a number with its unit, from \"1s\" to \"28d\", as in \"4h\", or \
             \"off\""
        )),
    }
}

/// A chain of table filter that can jump to ours: `INPUT`, `FORWARD`, `DOCKER-USER`.
///
/// # Errors
/// On what iptables does not take for a chain's name, and on one of ours.
pub fn chain(text: &str) -> Result<String, String> {
    match is_chain_name(text) && !text.starts_with(CHAIN) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} can't be a chain that packets come from: write \"INPUT\", \"FORWARD\", \"DOCKER-USER\" or the name of \
             one of your own"
        )),
    }
}

/// An address, a network or an interface of a PBX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PbxEntry {
    /// An address or a network.
    Network(IpNet),
    /// An interface.
    Interface(String),
}

impl PbxEntry {
    /// Networks and interfaces, each for themselves.
    pub(crate) fn collect(entries: Vec<Self>) -> Pbx {
        let mut pbx = Pbx::default();
        for entry in entries {
            match entry {
                Self::Network(net) => pbx.networks.push(net),
                Self::Interface(name) => pbx.interfaces.push(name),
            }
        }
        pbx
    }
}

/// An address, a network or an interface: `172.18.0.5`, `192.168.10.0/24`, `eth1`.
///
/// # Errors
/// On anything else, and on a network that holds every address.
pub fn pbx(text: &str) -> Result<PbxEntry, String> {
    match network(text) {
        Ok(net) if net.prefix_len() > 0 => Ok(PbxEntry::Network(net.trunc())),
        Ok(net) => Err(format!(
            "{net} holds every address, and so strangers': write the PBX's own, as in \"172.18.0.5\", or its interface"
        )),
        Err(_) if is_interface_name(text) => Ok(PbxEntry::Interface(text.to_owned())),
        Err(_) => Err(format!(
            "{text:?} is neither an address, a network nor an interface: write it as in \"172.18.0.5\", \
             \"192.168.10.0/24\" or \"eth1\""
        )),
    }
}

/// How long a door stays open: a span, or `expires` for as long as the registration lives.
///
/// # Errors
/// As [`duration`].
pub fn life(text: &str) -> Result<Life, String> {
    match text.trim() {
        "expires" => Ok(Life::Registration),
        span => duration(span).map(Life::Span),
    }
}

/// How long a queue thread may look for packets without sleeping: `0s` for not at all, up to a second.
///
/// # Errors
/// On anything else.
pub fn busy_poll(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).ok().filter(|span| *span <= MAX_BUSY_POLL).ok_or_else(|| {
        format!(
            "{text:?} is not a time to look for packets: write a number with its unit, from \"0s\" to \"1s\", as in \
             \"50us\""
        )
    })
}

/// A size in bytes: `32MiB`, `512KiB`, `1048576`.
///
/// # Errors
/// On anything else, and on more than a signed 32-bit number holds, as the kernel takes it.
pub fn size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default().trim();
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => {
            return Err(format!("{unit:?} is not a unit of size: write B, KiB, MiB or GiB, as in \"32MiB\""));
        }
    };
    let number: usize =
        digits.parse().map_err(|_| format!("{text:?} is not a size: write it as in \"32MiB\""))?;
    number
        .checked_mul(factor)
        .filter(|bytes| *bytes <= MAX_RECEIVE_BUFFER)
        .ok_or_else(|| format!("{text} is more than 1GiB, the most the kernel takes"))
}

/// A network, or an address that stands for itself: `10.10.1.0/24`, `2001:db8::/32`, `192.0.2.7`.
///
/// # Errors
/// On anything else.
pub fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    net.ok_or_else(|| {
        format!(
            "{text:?} is not a network: write it as in \"10.10.1.0/24\", \"2001:db8::/32\" or \"192.0.2.7\""
        )
    })
}

/// A single address: `192.0.2.7`, `2001:db8::7`.
///
/// # Errors
/// On anything else.
pub fn address(text: &str) -> Result<IpAddr, String> {
    let address = text.trim().parse();
    address
        .map_err(|_| format!("{text:?} is not an address: write it as in \"192.0.2.7\" or \"2001:db8::7\""))
}

/// A path, or `off` or nothing for none.
pub fn place(text: &str) -> Option<PathBuf> {
    match text {
        "" | "off" => None,
        path => Some(path.into()),
    }
}

/// An address with a port to listen on, as in `127.0.0.1:9470` or `[::1]:9470`; `off` or nothing for none.
///
/// # Errors
/// On anything else, a name among it, since what a name means can change while nobody looks.
pub fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    match text.trim() {
        "" | "off" => Ok(None),
        text => match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(Some(address)),
            _ => Err(format!(
                "{text:?} is not an address and port to listen on: write them as in \"127.0.0.1:9470\", \
                 \"[::1]:9470\", or \"off\""
            )),
        },
    }
}

/// The name of a host, as a browser's address line has it, without a port.
///
/// # Errors
/// On anything else.
pub fn host(text: &str) -> Result<String, String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || !text.bytes().all(known) {
        return Err(format!("{text:?} is not the name of a host: write it as in \"pbx.example.org\""));
    }
    Ok(text.to_owned())
}

/// A user's name, or its number.
///
/// # Errors
/// On what can be no user's name, as useradd(8) has it.
pub fn user(text: &str) -> Result<String, String> {
    let fit = |c: char| c.is_ascii_alphanumeric() || "_-.$".contains(c);
    match !text.is_empty() && text.len() <= MAX_USER && !text.starts_with('-') && text.chars().all(fit) {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("{text:?} is not a user: write a name, as in \"sipknock\", or \"root\" to stay root"))
        }
    }
}

/// A knock's name: up to 64 characters, none of them `=` or unprintable, and neither `manual` nor `outbound`.
///
/// # Errors
/// On anything else.
pub fn knock_name(text: &str) -> Result<String, String> {
    let odd = |c: char| c == '=' || c.is_control() || (c.is_whitespace() && c != ' ');
    if text.trim().is_empty() {
        return Err("a knock needs a name for the log, as in name = \"alice-desk\"".to_owned());
    }
    let shown = || text.chars().take(MAX_SHOWN).collect::<String>();
    let length = text.chars().count();
    if length > MAX_NAME {
        return Err(format!(
            "the name {:?}… has {length} characters, and a knock's name has at most {MAX_NAME}: give it a shorter one",
            shown()
        ));
    }
    if text.contains(odd) {
        return Err(format!(
            "the name {:?} has '=' or a control character in it: give it another one",
            shown()
        ));
    }
    if text == OUTBOUND {
        return Err(format!(
            "{OUTBOUND:?} is the name of doors that a request of the PBX opened, so no knock can have it: give it \
             another one"
        ));
    }
    if text == MANUAL {
        return Err(format!(
            "{MANUAL:?} is the name of doors that were opened by hand, so no knock can have it: give it another one"
        ));
    }
    Ok(text.to_owned())
}

/// A secret: any bytes, but some.
///
/// # Errors
/// On none.
pub fn secret(bytes: &[u8]) -> Result<Secret, String> {
    Secret::new(bytes).ok_or_else(|| {
        "an empty secret would stand in every packet: 'sipknock keygen' makes a good one".to_owned()
    })
}

/// `NAME=SECRET`.
///
/// # Errors
/// Where either is missing or not valid. The message never repeats the secret.
pub fn name_and_secret(text: &str) -> Result<(String, Secret), String> {
    let (name, rest) =
        text.split_once('=').ok_or("write it as NAME=SECRET, as in alice-desk=mykn0ckstr1ng")?;
    Ok((knock_name(name)?, secret(rest.as_bytes())?))
}

/// `batched` or `nfq`.
///
/// # Errors
/// On anything else.
pub fn backend(text: &str) -> Result<Backend, String> {
    let known = [Backend::Batched, Backend::Nfq];
    known
        .into_iter()
        .find(|backend| backend.name() == text)
        .ok_or_else(|| format!("{text:?} is not a backend: there are \"batched\" and \"nfq\""))
}

/// A SIP method, as RFC 3261, 25.1 has it: a token. They are case-sensitive, so `register` is none that phones send.
///
/// # Errors
/// On anything else.
pub fn method(text: &str) -> Result<String, String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
    if text.is_empty() || !text.bytes().all(token) {
        return Err(format!("{text:?} is not a SIP method: write it as in \"REGISTER\""));
    }
    Ok(text.to_owned())
}

/// `7`, or `7-9`.
fn range(text: &str, what: &str, least: u16) -> Result<RangeInclusive<u16>, String> {
    let number = |text: &str| match text.trim().parse::<u16>() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!(
            "{text:?} is not a {what}: write numbers from {least} to 65535, as in \"{example}\"",
            example = if least == 0 { "0-3" } else { "5060,5061-5063" }
        )),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("the range {first}-{last} runs backwards: write {last}-{first}"));
    }
    Ok(first..=last)
}

/// No shorter than a yes takes to type, no longer than anybody remembers what he is to say yes to.
const PATIENCE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// Beyond that the thread never sleeps anyway, where packets come at all.
const MAX_BUSY_POLL: Duration = Duration::from_secs(1);

/// No longer than anybody waits for phones that were on holiday.
const GRACE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(28 * 24 * 3600);

/// A thread each; more than any machine has use for.
const MAX_QUEUES: usize = 256;

/// `SO_RCVBUFFORCE` takes an int and doubles it (net/core/sock.c).
const MAX_RECEIVE_BUFFER: usize = 1 << 30;

/// The longest name that a user can have (useradd(8)).
const MAX_USER: usize = 32;

/// Enough for a name, and still readable in a table.
const MAX_NAME: usize = 64;

/// Characters of a name that an error shows.
const MAX_SHOWN: usize = 24;
