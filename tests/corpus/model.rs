//! What a replay has to say, worked out the slow way from the design alone: every offset spelled out, plain substring
//! search, one `HashMap` of doors. It shares no line with the crate it judges.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::json;

use super::datagrams::{Datagrams, Fate};

/// A UDP packet that can be decided: it has addresses and a destination port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// From 1, over every packet in the file.
    pub(crate) number: u64,
    pub(crate) nanos: u64,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
    pub(crate) body: Body,
    /// The capture has not all of it.
    pub(crate) is_cut: bool,
}

/// The view that a hook has of a capture.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) packets: Vec<Packet>,
    /// Packets without the ports, which a snap length has cut off.
    pub(crate) without_ports: u64,
    /// Fragments of datagrams that never became whole, with the destination port of those whose first one came.
    pub(crate) lost: Vec<(Option<u16>, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Whole, or the first of several fragments, or as much of it as was captured.
    Payload(Vec<u8>),
    /// A fragment after the first. Its ports are the first one's.
    Later,
    /// The UDP header contradicts the IP header, or is not there to its end.
    Malformed,
}

impl Packet {
    pub(crate) fn payload(&self) -> &[u8] {
        match &self.body {
            Body::Payload(payload) => payload,
            Body::Later | Body::Malformed => &[],
        }
    }
}

/// Reads IP packets one after the other, since a later fragment has its ports from the first.
#[derive(Default)]
pub(crate) struct Reader {
    /// Those that are put together in front of INPUT; in FORWARD none are.
    datagrams: Option<Datagrams>,
    without_ports: u64,
    /// Source, destination and id of a datagram, to the ports in its first fragment.
    firsts: HashMap<(IpAddr, IpAddr, u32), (u16, u16)>,
}

impl Reader {
    pub(crate) fn at(hook: &str) -> Self {
        Self { datagrams: (hook == "input").then(Datagrams::default), ..Self::default() }
    }

    /// Counts beside the packets.
    pub(crate) fn not_seen(self) -> Seen {
        let lost = self.datagrams.map(Datagrams::lost).unwrap_or_default();
        Seen { packets: Vec::new(), without_ports: self.without_ports, lost }
    }

    /// The UDP packet in `ip`, which begins with an IP header and of whose end `cut_off` bytes are missing; `None` for all
    /// that gets no line.
    pub(crate) fn read(&mut self, number: u64, nanos: u64, ip: &[u8], cut_off: u32) -> Option<Packet> {
        let ip = with_length(ip, cut_off);
        match self.datagrams.as_mut().map(|datagrams| datagrams.packet(nanos, &ip)) {
            None | Some(Fate::Alone) => self.udp_in(number, nanos, &ip),
            Some(Fate::Withheld) => None,
            Some(Fate::Whole(whole)) => self.udp_in(number, nanos, &whole),
        }
    }

    fn udp_in(&mut self, number: u64, nanos: u64, ip: &[u8]) -> Option<Packet> {
        let found = match ip.first()? >> 4 {
            4 => ipv4(ip)?,
            6 => ipv6(ip)?,
            _ => return None,
        };
        if found.protocol != UDP {
            return None;
        }
        let datagram = (found.src, found.dst, found.id);
        let is_cut = ip.len() < found.whole;
        let packet = |(sport, dport), body| Packet {
            is_cut,
            number,
            nanos,
            src: unmapped(found.src),
            dst: unmapped(found.dst),
            sport,
            dport,
            body,
        };
        if found.offset > 0 {
            return self.firsts.get(&datagram).map(|&ports| packet(ports, Body::Later));
        }
        let first_of_several = found.more;
        let udp = found.inside;
        if udp.len() < 4 {
            self.without_ports += u64::from(is_cut);
        }
        let ports = (u16_at(udp, 0)?, u16_at(udp, 2)?);
        let body = match u16_at(udp, 4).map(usize::from) {
            // How long the whole datagram is, its first fragment can't say.
            Some(len) if len >= 8 && udp.len() >= 8 && (first_of_several || len <= found.left) => {
                Body::Payload(udp[8..len.min(udp.len())].to_vec())
            }
            _ => Body::Malformed,
        };
        // Whose UDP header is not sound is not remembered, as the program has it; the design does not say.
        if first_of_several && body != Body::Malformed {
            self.firsts.insert(datagram, ports);
        }
        Some(packet(ports, body))
    }
}

/// A length of 0, as a machine records that has its network card cut large segments: the rest of the frame is the packet.
fn with_length(ip: &[u8], cut_off: u32) -> Vec<u8> {
    let mut ip = ip.to_vec();
    let all = ip.len() + cut_off as usize;
    match ip.first().map(|byte| byte >> 4) {
        Some(4) if ip.len() >= 20 && ip[2..4] == [0, 0] => {
            ip[2..4].copy_from_slice(&(all as u16).to_be_bytes());
        }
        // No packet here has hop-by-hop options that say another length.
        Some(6) if ip.len() >= 40 && ip[4..6] == [0, 0] && ip[6] != 59 => {
            ip[4..6].copy_from_slice(&((all - 40) as u16).to_be_bytes());
        }
        _ => {}
    }
    ip
}

/// What an IP header, with its extension headers, says.
pub(crate) struct Ip<'a> {
    src: IpAddr,
    dst: IpAddr,
    pub(crate) protocol: u8,
    /// Of the datagram that this is a fragment of.
    id: u32,
    /// In units of 8 bytes.
    offset: u16,
    /// More fragments.
    more: bool,
    /// How long the packet was.
    whole: usize,
    /// How many bytes the header leaves for what is inside.
    left: usize,
    /// As many of them as were captured.
    pub(crate) inside: &'a [u8],
}

pub(crate) fn ipv4(ip: &[u8]) -> Option<Ip<'_>> {
    let header = usize::from(ip[0] & 0x0f) * 4;
    let total = usize::from(u16_at(ip, 2)?);
    if header < 20 || total < header || ip.len() < header {
        return None;
    }
    let flags = u16_at(ip, 6)?;
    Some(Ip {
        src: Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]).into(),
        dst: Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]).into(),
        protocol: ip[9],
        id: u16_at(ip, 4)?.into(),
        offset: flags & 0x1fff,
        more: flags & 0x2000 != 0,
        whole: total,
        left: total - header,
        inside: &ip[header..total.min(ip.len())],
    })
}

pub(crate) fn ipv6(ip: &[u8]) -> Option<Ip<'_>> {
    if ip.len() < 40 {
        return None;
    }
    let end = 40 + usize::from(u16_at(ip, 4)?);
    let address = |at: usize| {
        let bytes: [u8; 16] = ip[at..at + 16].try_into().ok()?;
        Some(IpAddr::from(Ipv6Addr::from(bytes)))
    };
    let (src, dst) = (address(8)?, address(24)?);
    let (mut protocol, mut at) = (ip[6], 40);
    let (mut id, mut offset, mut more) = (0, 0, false);
    loop {
        let len = match protocol {
            // RFC 8200: hop-by-hop options, routing, destination options.
            0 | 43 | 60 => (usize::from(*ip.get(at + 1)?) + 1) * 8,
            // RFC 4302: authentication.
            51 => (usize::from(*ip.get(at + 1)?) + 2) * 4,
            44 => {
                let flags = u16_at(ip, at + 2)?;
                (offset, more) = (flags >> 3, flags & 1 != 0);
                id = u32::from(u16_at(ip, at + 4)?) << 16 | u32::from(u16_at(ip, at + 6)?);
                8
            }
            _ => break,
        };
        protocol = ip[at];
        at += len;
        if at > end || at > ip.len() {
            return None;
        }
        if offset > 0 {
            break;
        }
    }
    let inside = &ip[at..end.min(ip.len())];
    Some(Ip { src, dst, protocol, id, offset, more, whole: end, left: end - at, inside })
}

/// An IPv4 address in IPv6 clothes is an IPv4 address.
fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from(*bytes.get(at)?) << 8 | u16::from(*bytes.get(at + 1)?))
}

const UDP: u8 = 17;

/// The part of a configuration that the trials turn.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    /// First and last of each range.
    pub(crate) ports: Vec<(u16, u16)>,
    pub(crate) door_ms: u64,
    pub(crate) trusted: Vec<Net>,
    pub(crate) monitor: bool,
    pub(crate) renew_by_packet: bool,
    pub(crate) ipv4_prefix: u8,
    pub(crate) ipv6_prefix: u8,
    pub(crate) max_doors: usize,
    pub(crate) knocks: Vec<Knock>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Knock {
    pub(crate) name: String,
    pub(crate) secret: String,
    pub(crate) ignore_case: bool,
    pub(crate) methods: Vec<String>,
    pub(crate) sources: Vec<Net>,
    pub(crate) door_ms: Option<u64>,
    /// Only for a gate with a single knock: there is nothing to count twice then.
    pub(crate) max_doors: Option<usize>,
}

/// An address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Net(pub(crate) IpAddr, pub(crate) u8);

impl Net {
    fn contains(self, address: IpAddr) -> bool {
        self.0.is_ipv4() == address.is_ipv4() && cut(self.0, self.1) == cut(address, self.1)
    }
}

/// Every bit behind the first `prefix` ones is zero.
pub(crate) fn cut(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let kept = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & kept).into()
        }
        IpAddr::V6(v6) => {
            let kept = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & kept).into()
        }
    }
}

/// For each packet the knocks, by their place in the list, whose secret is in its payload.
pub(crate) fn search(packets: &[Packet], knocks: &[Knock]) -> Vec<Vec<usize>> {
    packets.iter().map(|packet| search_in(packet.payload(), knocks)).collect()
}

fn search_in(payload: &[u8], knocks: &[Knock]) -> Vec<usize> {
    // At each byte only those that begin with it: all that is clever here, and it saves minutes.
    let mut by_first = vec![Vec::new(); 256];
    for (index, knock) in knocks.iter().enumerate() {
        let first = knock.secret.as_bytes()[0];
        by_first[usize::from(first)].push(index);
        let other =
            if first.is_ascii_lowercase() { first.to_ascii_uppercase() } else { first.to_ascii_lowercase() };
        if knock.ignore_case && other != first {
            by_first[usize::from(other)].push(index);
        }
    }
    let mut found = vec![false; knocks.len()];
    for (at, &byte) in payload.iter().enumerate() {
        for &index in &by_first[usize::from(byte)] {
            let Knock { secret, ignore_case, .. } = &knocks[index];
            if let Some(window) = payload.get(at..at + secret.len()) {
                found[index] |= if *ignore_case {
                    window.eq_ignore_ascii_case(secret.as_bytes())
                } else {
                    window == secret.as_bytes()
                };
            }
        }
    }
    (0..knocks.len()).filter(|&index| found[index]).collect()
}

/// What a replay prints: a line per inspected packet, as text, and the summary.
#[derive(Debug)]
pub(crate) struct Forecast {
    pub(crate) lines: Vec<String>,
    pub(crate) summary: serde_json::Value,
}

/// Decides every packet. `hits` is what [`search`] found, `packets_in_file` counts those that get no line, too.
pub(crate) fn forecast(gate: &Gate, seen: &Seen, hits: &[Vec<usize>], packets_in_file: u64) -> Forecast {
    let mut doors = Doors::default();
    let mut lines = Vec::new();
    let (mut accepted, mut dropped, mut would_drop) = (0, 0, 0);
    let mut reasons = BTreeMap::<_, u64>::new();
    let mut counts = BTreeMap::<_, u64>::new();
    let is_inspected = |port: u16| gate.ports.iter().any(|&(first, last)| (first..=last).contains(&port));
    let mut truncated = seen.without_ports;
    for (packet, hits) in seen.packets.iter().zip(hits) {
        if !is_inspected(packet.dport) {
            continue;
        }
        truncated += u64::from(packet.is_cut && packet.body != Body::Later);
        let (reason, knocks) = decide(gate, &mut doors, packet, hits);
        let passes = ["trusted", "knock", "door"].contains(&reason);
        let accept = passes || gate.monitor;
        *if accept { &mut accepted } else { &mut dropped } += 1;
        would_drop += u64::from(accept && !passes);
        *reasons.entry(reason).or_default() += 1;
        let names: Vec<_> = knocks.iter().map(|&index| gate.knocks[index].name.as_str()).collect();
        for &name in &names {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
        lines.push(format!(
            concat!(
                r#"{{"n":{},"time":"{}","src":"{}","sport":{},"dst":"{}","dport":{},"transport":"udp","#,
                r#""verdict":"{}","reason":"{}","knocks":{}{}}}"#
            ),
            packet.number,
            rfc3339(packet.nanos),
            packet.src,
            packet.sport,
            packet.dst,
            packet.dport,
            if accept { "accept" } else { "drop" },
            reason,
            json!(names),
            if accept && !passes { WOULD_DROP } else { "" },
        ));
    }
    let mut summary = json!({
        "packets": packets_in_file, "inspected": lines.len(), "accepted": accepted, "dropped": dropped,
        "reasons": reasons, "knocks": counts,
    });
    if would_drop > 0 {
        summary["would_drop"] = json!(would_drop);
    }
    let lost = seen.lost.iter().filter(|(port, _)| port.is_none_or(is_inspected));
    let incomplete: u64 = lost.map(|(_, fragments)| fragments).sum();
    for (field, count) in [("truncated", truncated), ("incomplete", incomplete)] {
        if count > 0 {
            summary[field] = json!(count);
        }
    }
    let summary = json!({ "summary": summary });
    Forecast { lines, summary }
}

fn decide(gate: &Gate, doors: &mut Doors, packet: &Packet, hits: &[usize]) -> (&'static str, Vec<usize>) {
    let (src, now) = (packet.src, packet.nanos);
    if gate.trusted.iter().any(|net| net.contains(src)) {
        return ("trusted", Vec::new());
    }
    let source = cut(src, if src.is_ipv4() { gate.ipv4_prefix } else { gate.ipv6_prefix });
    let open = doors.is_open(source, now);
    let method = method(packet.payload());
    let counts = |&index: &usize| {
        let knock = &gate.knocks[index];
        (knock.methods.is_empty() || knock.methods.iter().any(|wanted| Some(wanted.as_bytes()) == method))
            && (knock.sources.is_empty() || knock.sources.iter().any(|net| net.contains(src)))
    };
    let knocks: Vec<_> = hits.iter().copied().filter(counts).collect();
    if !knocks.is_empty() {
        let limit = knocks.iter().filter_map(|&index| gate.knocks[index].max_doors).min();
        let full = doors.open_at(now) >= limit.unwrap_or(usize::MAX).min(gate.max_doors);
        if full && !open {
            return ("door-limit", knocks);
        }
        for &index in &knocks {
            doors.renew(
                source,
                now,
                index,
                gate.knocks[index].door_ms.unwrap_or(gate.door_ms) * NANOS_PER_MS,
            );
        }
        return ("knock", knocks);
    }
    match doors.remembers(source, now) {
        _ if open => {
            if gate.renew_by_packet {
                doors.extend(source, now);
            }
            ("door", Vec::new())
        }
        true => ("expired", Vec::new()),
        _ => match packet.body {
            Body::Payload(_) => ("no-knock", Vec::new()),
            Body::Later => ("fragment", Vec::new()),
            Body::Malformed => ("malformed", Vec::new()),
        },
    }
}

/// The claims of knocks to the door of each source. Nothing is ever taken out.
#[derive(Default)]
struct Doors(HashMap<IpAddr, Vec<Claim>>);

#[derive(Clone, Copy)]
struct Claim {
    /// By its place in the list.
    knock: usize,
    until: u64,
    life: u64,
}

impl Doors {
    fn claims(&self, source: IpAddr) -> impl Iterator<Item = &Claim> {
        self.0.get(&source).into_iter().flatten()
    }

    fn is_open(&self, source: IpAddr, now: u64) -> bool {
        self.claims(source).any(|claim| now < claim.until)
    }

    fn remembers(&self, source: IpAddr, now: u64) -> bool {
        self.claims(source).any(|claim| now < claim.until + claim.life)
    }

    fn open_at(&self, now: u64) -> usize {
        self.0.keys().filter(|source| self.is_open(**source, now)).count()
    }

    fn renew(&mut self, source: IpAddr, now: u64, knock: usize, life: u64) {
        let claims = self.0.entry(source).or_default();
        let new = Claim { knock, until: now + life, life };
        match claims.iter_mut().find(|claim| claim.knock == knock) {
            Some(claim) if now >= claim.until || new.until > claim.until => *claim = new,
            Some(_) => {}
            None => claims.push(new),
        }
    }

    /// Lets a packet renew all claims that hold the door, each by its own life.
    fn extend(&mut self, source: IpAddr, now: u64) {
        for claim in self.0.get_mut(&source).into_iter().flatten() {
            if now < claim.until {
                claim.until = claim.until.max(now + claim.life);
            }
        }
    }
}

/// The first word of a request line: `METHOD URI SIP/…` (RFC 3261, 7.1). A response has none.
pub(crate) fn method(payload: &[u8]) -> Option<&[u8]> {
    let start = payload.iter().position(|byte| !b"\r\n".contains(byte))?;
    let line = payload[start..].split(|&byte| byte == b'\n').next()?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|&byte| byte == b' ');
    let (word, _uri, version) = (words.next()?, words.next()?, words.next_back()?);
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte);
    let sip = version.to_ascii_uppercase().starts_with(b"SIP/");
    (sip && !word.is_empty() && word.iter().all(token)).then_some(word)
}

/// UTC with microseconds, by the calendar: years are counted off, then months.
fn rfc3339(nanos: u64) -> String {
    let secs = nanos / 1_000_000_000;
    let (mut days, of_day) = (secs / 86_400, secs % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= if leap(year) { 366 } else { 365 } {
        days -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for len in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < len {
            break;
        }
        days -= len;
        month += 1;
    }
    format!(
        "{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        days + 1,
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        nanos % 1_000_000_000 / 1000,
    )
}

/// What monitor mode adds to a line. Where in it, the design does not say.
pub(crate) const WOULD_DROP: &str = r#","would":"drop""#;

const NANOS_PER_MS: u64 = 1_000_000;
